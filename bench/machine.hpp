// What this machine can do, measured in the process that is measured against it: memory bandwidth and arithmetic peaks.
// Workers read the clock themselves: a main thread that waits for busy cores is late, and flatters.
#pragma once
#include <atomic>
#include <coterie/dtype.hpp>
#include <coterie/host/buffer.hpp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <map>
#include <sched.h>
#include <string>
#include <thread>
#include <vector>
#include "kernels.hpp"

namespace bench {

using coterie::DType;

inline double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
inline double wall_seconds() { return seconds(CLOCK_MONOTONIC); }
inline double cpu_seconds() { return seconds(CLOCK_PROCESS_CPUTIME_ID); }          // of all threads

// Best rates of `passes`, `amount` per thread and pass; work(thread, pass). Passes take milliseconds, so that on a busy
// machine some fall between other processes' turns. wall: over the time from the first start to the last end.
// cpu: over the longest CPU time of a thread, as if each had had a processor to itself.
struct Rate { double wall = 0, cpu = 0; };
template <class Work> Rate best_rate(int threads, int passes, double amount, Work const& work) {
  struct alignas(64) Span { double start, end, cpu; };
  std::vector<Span> spans(static_cast<std::size_t>(threads));
  std::atomic<int> here{0};
  Rate best;
  auto const meet = [&](int round) {
    here.fetch_add(1);
    while (here.load() < round * threads) sched_yield();
  };
  auto const run = [&](int id) {
    for (int pass = 0, round = 0; pass < passes; ++pass) {
      meet(++round);
      Span& mine = spans[static_cast<std::size_t>(id)];
      double const cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
      mine.start = wall_seconds();
      work(id, pass);
      mine.end = wall_seconds();
      mine.cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
      meet(++round);
      if (id) continue;
      double first = mine.start, last = mine.end, longest = mine.cpu;
      for (Span const& s : spans)
        first = s.start < first ? s.start : first, last = s.end > last ? s.end : last, longest = s.cpu > longest ? s.cpu : longest;
      double const wall = amount * threads / (last - first), own = amount * threads / longest;
      best = {.wall = wall > best.wall ? wall : best.wall, .cpu = own > best.cpu ? own : best.cpu};
    }
  };
  std::vector<std::thread> workers;
  for (int id = 1; id < threads; ++id) workers.emplace_back(run, id);
  run(0);
  for (auto& w : workers) w.join();
  return best;
}

// Memory that no cache holds: every pass reads another chunk.
class Memory {
 public:
  explicit Memory(int threads) : threads_(threads), memory_(each * static_cast<std::size_t>(threads)) {
    best_rate(threads_, 1, 1, [&](int id, int) { std::memset(part(id, 0), id + 1, each); });
  }
  Rate read(int passes) { return best_rate(threads_, passes, chunk, [&](int id, int pass) { kernel::read_best(part(id, pass), chunk); }); }
  Rate stream(Isa isa, int passes) { return best_rate(threads_, passes, chunk, [&](int id, int pass) { kernel::stream(isa, part(id, pass), chunk); }); }
  Rate copy(int passes) {
    return best_rate(threads_, passes, chunk, [&](int id, int pass) { std::memcpy(part(id, pass), part(id, pass) + chunk / 2, chunk / 2), keep(part(id, pass)); });
  }

 private:
  static constexpr std::size_t chunk = std::size_t{32} << 20, chunks = 12, each = chunks * chunk;              // per thread
  std::byte* part(int id, int pass) { return memory_.data() + static_cast<std::size_t>(id) * each + static_cast<std::size_t>(pass) % chunks * chunk; }
  int threads_;
  coterie::host::Buffer memory_;
};

struct Limits {
  Rate read{}, copy{};                           // bytes per second; a copied byte counts twice
  double stream[6]{};                            // bytes of bf16 weights per second, by Isa: read and multiplied by one row, and nothing else
  double flops[6]{};                             // per second, by Isa: fp32 fused multiply-adds, bf16 pairs, AMX bf16; 0: not on this processor
  double int8_flops = 0, int8_tile_flops = 0;    // of 8-bit products, counted as the multiply-adds they stand for; 0: no VNNI, no AMX-INT8
  // What a layer of bf16 activations (int8: rounded to 8 bits) whose weights have this type could reach on this path.
  double peak(Isa path, DType weights, int int8 = 0) const {
    if (int8 && int8_tile_flops > 0 && path == Isa::amx) return int8_tile_flops;
    if (int8 && int8_flops > 0 && path >= Isa::avx512) return int8_flops;
    bool const pairs = weights == DType::bf16 || !coterie::is_float(weights);
    return flops[static_cast<int>(pairs ? path : coterie::host::vector_path(path))];
  }
};

inline Limits probe(int threads) {
  Limits l;
  Memory memory{threads};
  l.read = memory.read(96);
  l.copy = memory.copy(48);
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx})
    if (coterie::host::supports(isa)) {
      std::int64_t const n = isa == Isa::amx ? 50'000 : 500'000;
      l.flops[static_cast<int>(isa)] = best_rate(threads, 32, kernel::step_flops(isa) * static_cast<double>(n), [&](int, int) { kernel::steps(isa, n); }).cpu;
      l.stream[static_cast<int>(isa)] = memory.stream(isa, 24).wall;
    }
#if defined(__x86_64__)
  if (coterie::host::supports_amx_int8()) l.int8_tile_flops = best_rate(threads, 32, 4 * 32768. * 50'000, [&](int, int) { kernel::amx<kernel::TileProducts::int8>(50'000); }).cpu;
  if (coterie::host::supports_vnni()) l.int8_flops = best_rate(threads, 32, 16 * 128. * 500'000, [&](int, int) { kernel::int8_dot(500'000); }).cpu;
#endif
  return l;
}

// Measured when first asked for.
inline Limits const& limits(int threads) {
  static std::map<int, Limits> known;
  auto const found = known.find(threads);
  return found != known.end() ? found->second : known.emplace(threads, probe(threads)).first->second;
}

inline std::string value_of(char const* file, char const* key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (line.rfind(key, 0) == 0) {
      std::size_t const at = line.find_first_not_of(" \t", line.find(':') + 1);
      return at == std::string::npos ? "" : line.substr(at);
    }
  return "";
}
inline std::string processor() {
  std::string const model = value_of("/proc/cpuinfo", "model name");
  return model.empty() ? "unknown" : model;
}
inline double available_bytes() {
  std::string const kib = value_of("/proc/meminfo", "MemAvailable");
  return kib.empty() ? 1e18 : 1024 * std::strtod(kib.c_str(), nullptr);
}
inline std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}
// COTERIE_COMMIT, or what git says of the current directory.
inline std::string commit() {
  if (char const* const named = std::getenv("COTERIE_COMMIT")) return named;
  char text[64]{};
  if (FILE* const git = popen("git describe --always --dirty 2>/dev/null", "r")) {
    if (!std::fgets(text, sizeof text, git)) text[0] = 0;
    pclose(git);
  }
  text[std::strcspn(text, "\n")] = 0;
  return text[0] ? text : "unknown";
}
inline std::string today() {
  std::time_t const now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

}

// What this machine can do, measured in the process that is measured against it: memory bandwidth and arithmetic peaks.
// Workers read the clock themselves: a main thread that waits for busy cores is late, and flatters.
#pragma once
#include <atomic>
#include <coterie/dtype.hpp>
#include <coterie/host/buffer.hpp>
#include <coterie/host/cpu.hpp>
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

namespace bench {

using coterie::DType;
using coterie::Isa;

inline double seconds(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
inline double wall_seconds() { return seconds(CLOCK_MONOTONIC); }
inline double cpu_seconds() { return seconds(CLOCK_PROCESS_CPUTIME_ID); }          // of all threads

// Work that the compiler must believe in.
inline void keep(void const* p) { asm volatile("" : : "r"(p) : "memory"); }

namespace kernel {

template <class T, int N> struct vector_of { typedef T type __attribute__((vector_size(N * sizeof(T)))); };

// Four streams, software prefetch 2 KiB ahead.
template <int Words> [[gnu::always_inline]] inline void read(std::byte const* from, std::size_t bytes) {
  using Vector = typename vector_of<std::uint64_t, Words>::type;
  std::size_t const stream = bytes / 4 / 64 * 64;
  Vector sum[4]{};
  for (std::size_t at = 0; at < stream; at += 64)
    for (std::size_t s = 0; s < 4; ++s) {
      std::byte const* const line = from + s * stream + at;
      __builtin_prefetch(line + 2048);
      for (std::size_t i = 0; i < 64; i += sizeof(Vector)) {
        Vector v;
        std::memcpy(&v, line + i, sizeof v);
        sum[s] ^= v;
      }
    }
  keep(sum);
}
// Fused multiply-adds in registers, `Chains` of them independent: enough to hide the latency of any core with 2 units.
template <int Lanes, int Chains> [[gnu::always_inline]] inline void fma(std::int64_t steps, float start) {
  using Vector = typename vector_of<float, Lanes>::type;
  Vector acc[Chains], const_x = Vector{} + start, const_y = Vector{} + 1e-3f;
  for (int c = 0; c < Chains; ++c) acc[c] = Vector{} + static_cast<float>(c);
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < Chains; ++c) acc[c] = acc[c] * const_x + const_y;
  keep(acc);
}

inline void read_portable(std::byte const* from, std::size_t bytes) { read<2>(from, bytes); }
inline void fma_portable(std::int64_t steps) { fma<4, 12>(steps, 0.5f); }
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] inline void read_avx2(std::byte const* from, std::size_t bytes) { read<4>(from, bytes); }
[[gnu::target("avx2,fma")]] inline void fma_avx2(std::int64_t steps) { fma<8, 12>(steps, 0.5f); }
[[gnu::target("avx512f,fma")]] inline void read_avx512(std::byte const* from, std::size_t bytes) { read<8>(from, bytes); }
[[gnu::target("avx512f,fma")]] inline void fma_avx512(std::int64_t steps) { fma<16, 12>(steps, 0.5f); }

// Pairs of bf16 products in registers, 16 sums: their latency is longer.
[[gnu::target("avx512f")]] inline void dot(std::int64_t steps) {
  using Vector = typename vector_of<float, 16>::type;
  using Words = typename vector_of<std::uint32_t, 16>::type;
  Vector acc[16]{};
  Words const x = Words{} + 0x3f803f80u, y = Words{} + 0x3a003a00u;
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) asm("vdpbf16ps %2, %1, %0" : "+v"(acc[c]) : "v"(x), "v"(y));
  Vector sum{};                                    // not the array's address: it would keep all of it in memory
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) sum += acc[c];
  keep(&sum);
}
// Quadruples of 8-bit products in registers.
[[gnu::target("avx512f")]] inline void int8_dot(std::int64_t steps) {
  using Words = typename vector_of<std::int32_t, 16>::type;
  Words acc[16]{}, const_x = Words{} + 0x01020304, const_y = Words{} + 0x01010101;
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) asm("vpdpbusd %2, %1, %0" : "+v"(acc[c]) : "v"(const_x), "v"(const_y));
  Words sum{};
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) sum += acc[c];
  keep(&sum);
}
// Tile products in registers, 4 accumulators, by hand: the compiler's own tile intrinsics name too few operands.
enum class TileProducts : int { bf16, int8 };
template <TileProducts Kind> void amx(std::int64_t steps) {
  struct alignas(64) TileConfig {
    std::uint8_t palette = 1, start_row = 0, reserved[14]{};
    std::uint16_t row_bytes[16]{64, 64, 64, 64, 64, 64, 64, 64};
    std::uint8_t rows[16]{16, 16, 16, 16, 16, 16, 16, 16};
  };
  static_assert(sizeof(TileConfig) == 64);
  TileConfig const config;
  asm volatile("ldtilecfg %0" : : "m"(config));
  asm volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3\n\t"
               "tilezero %tmm4\n\ttilezero %tmm5\n\ttilezero %tmm6\n\ttilezero %tmm7");
  for (std::int64_t i = 0; i < steps; ++i) {
    if constexpr (Kind == TileProducts::bf16)
      asm volatile("tdpbf16ps %tmm6, %tmm4, %tmm0\n\ttdpbf16ps %tmm7, %tmm4, %tmm1\n\t"
                   "tdpbf16ps %tmm6, %tmm5, %tmm2\n\ttdpbf16ps %tmm7, %tmm5, %tmm3");
    else
      asm volatile("tdpbssd %tmm6, %tmm4, %tmm0\n\ttdpbssd %tmm7, %tmm4, %tmm1\n\t"
                   "tdpbssd %tmm6, %tmm5, %tmm2\n\ttdpbssd %tmm7, %tmm5, %tmm3");
  }
  asm volatile("tilerelease");
}
#endif

inline void read_best(std::byte const* from, std::size_t bytes) {
#if defined(__x86_64__)
  if (coterie::host::supports(Isa::avx512)) return read_avx512(from, bytes);
  if (coterie::host::supports(Isa::avx2)) return read_avx2(from, bytes);
#endif
  read_portable(from, bytes);
}
// Floating-point operations of one step of a path's loop.
inline double step_flops(Isa isa) { return isa == Isa::amx ? 4 * 16384 : isa == Isa::avx512_bf16 ? 16 * 64 : 12 * 2 * (isa == Isa::avx512 ? 16 : isa == Isa::avx2 ? 8 : 4); }
inline void steps(Isa isa, std::int64_t n) {
#if defined(__x86_64__)
  if (isa == Isa::amx) return amx<TileProducts::bf16>(n);
  if (isa == Isa::avx512_bf16) return dot(n);
  if (isa == Isa::avx512) return fma_avx512(n);
  if (isa == Isa::avx2) return fma_avx2(n);
#endif
  (void)isa;
  fma_portable(n);
}

}

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

struct Limits {
  Rate read{}, copy{};                           // bytes per second; a copied byte counts twice
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
  constexpr std::size_t chunk = std::size_t{32} << 20, chunks = 12;                // per thread; every pass another chunk: never from a cache
  std::size_t const each = chunks * chunk;
  coterie::host::Buffer memory{each * static_cast<std::size_t>(threads)};
  auto const part = [&](int id, int pass) { return memory.data() + static_cast<std::size_t>(id) * each + static_cast<std::size_t>(pass) % chunks * chunk; };
  best_rate(threads, 1, 1, [&](int id, int) { std::memset(part(id, 0), id + 1, each); });
  l.read = best_rate(threads, 96, chunk, [&](int id, int pass) { kernel::read_best(part(id, pass), chunk); });
  l.copy = best_rate(threads, 48, chunk, [&](int id, int pass) { std::memcpy(part(id, pass), part(id, pass) + chunk / 2, chunk / 2), keep(part(id, pass)); });
  for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx})
    if (coterie::host::supports(isa)) {
      std::int64_t const n = isa == Isa::amx ? 50'000 : 500'000;
      l.flops[static_cast<int>(isa)] = best_rate(threads, 32, kernel::step_flops(isa) * static_cast<double>(n), [&](int, int) { kernel::steps(isa, n); }).cpu;
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

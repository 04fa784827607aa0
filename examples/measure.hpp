// What the examples measure with: a clock, what this machine can do, how much memory is free, random numbers.
#pragma once
#include "../bench/machine.hpp"
#include <coterie/coterie.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <vector>

namespace example {

namespace ct = coterie;

// The folder of the repository: the current one or one above it, or where these sources were compiled.
inline std::filesystem::path root() {
  for (auto here = std::filesystem::current_path();; here = here.parent_path()) {
    if (exists(here / "tests/golden")) return here;
    if (here == here.parent_path()) return std::filesystem::absolute(__FILE__).parent_path().parent_path();
  }
}

// A NaN on either side stays, so that no broken value hides behind a good one.
inline double larger(double a, double b) { return std::isnan(a) || b <= a ? a : b; }

// The best of at least two runs, and of as many more (up to 1000) as fit into the budget: by the clock on the wall, and as
// processor time of all threads over their number, which other programs do not lengthen.
struct Time { double wall, own; };
template <class Work> Time best_time(ct::Host const& on, double budget, Work&& work) {
  Time best{1e30, 1e30};
  double spent = 0;
  for (int n = 0; n < 2 || (spent < budget && n < 1000); ++n) {
    double const cpu = bench::cpu_seconds(), start = bench::wall_seconds();
    work();
    double const wall = bench::wall_seconds() - start, own = (bench::cpu_seconds() - cpu) / on.pool->size();
    best = {std::min(best.wall, wall), std::min(best.own, own)};
    spent += wall;
  }
  return best;
}

// What this machine can do, and whether other programs leave it to us.
struct ThisMachine : ct::Machine {
  bool busy = false;
  // What a repeated piece of work took. A busy machine: processor time, where a piece is long enough for all threads.
  double seconds(Time t) const { return busy && t.wall > 1e-3 ? t.own : t.wall; }
  char const* remark() const { return busy ? "\n  other programs keep this machine busy: times from 1 ms up are processor time per thread" : ""; }
};
// Multiply-adds in registers on the path that the kernels take, and reading `data`, which should be much larger than the
// caches; on all threads of `on`.
inline ThisMachine this_machine(ct::Host const& on, ct::DType weights, std::span<std::byte const> data) {
  constexpr std::size_t chunk = std::size_t{8} << 20;
  int const threads = on.pool->size();
  std::size_t const chunks = data.size() / chunk;
  ct::Isa const path = weights == ct::DType::bf16 ? on.path() : ct::host::vector_path(on.path());
  std::int64_t const steps = path == ct::Isa::amx ? 50'000 : 500'000;
  auto const arithmetic = [&](int passes, std::int64_t n) {
    return bench::best_rate(threads, passes, bench::kernel::step_flops(path) * double(n), [&](int, int) { bench::kernel::steps(path, n); });
  };
  auto const one = arithmetic(1, 200 * steps);                         // long enough to meet the others
  double const read = bench::best_rate(threads, 128, double(chunk), [&](int id, int pass) {
    auto const i = static_cast<std::size_t>(pass * threads + id) % chunks;
    bench::kernel::read_best(data.data() + i * chunk, chunk);
  }).wall;
  return {{.flops_per_second = arithmetic(64, steps).cpu, .bytes_per_second = read, .name = "this machine"}, one.wall < 0.8 * one.cpu};
}

// Bytes of memory that may still be used: what the system has, or less where a control group says so.
inline double free_memory() {
  double const free = bench::available_bytes();
  std::ifstream most{"/sys/fs/cgroup/memory.max"}, now{"/sys/fs/cgroup/memory.current"};
  double limit = 0, used = 0;
  return most >> limit && now >> used ? std::min(free, limit - used) : free;
}
// The most this process has held so far, in bytes.
inline double peak_memory() { return 1024 * std::strtod(bench::value_of("/proc/self/status", "VmHWM").c_str(), nullptr); }

// ---- random numbers: uniform between -size and size, the same ones for a seed whatever the number of threads

template <class T> void fill_random(ct::Host const& on, std::span<T> to, std::uint64_t seed, float size) {
  constexpr std::int64_t chunk = 1 << 16;
  auto const n = static_cast<std::int64_t>(to.size());
  on.pool->run((n + chunk - 1) / chunk, [&](std::int64_t c) {
    for (std::int64_t i = c * chunk; i < std::min(n, (c + 1) * chunk); ++i) {
      std::uint64_t z = (static_cast<std::uint64_t>(i) + (seed << 40)) * 0x9e3779b97f4a7c15u;   // splitmix64, one step
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
      to[static_cast<std::size_t>(i)] = ct::from_float<T>(static_cast<float>(static_cast<std::int32_t>(z >> 32)) * 0x1p-31f * size);
    }
  });
}
template <class T> std::vector<T> random_values(ct::Host const& on, std::int64_t n, std::uint64_t seed, float size) {
  std::vector<T> values(static_cast<std::size_t>(n));
  fill_random(on, std::span<T>{values}, seed, size);
  return values;
}

}

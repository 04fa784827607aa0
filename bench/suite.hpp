// What the benchmark programs share: timing one call at a time, the counters of a row, registration and main().
#pragma once
#include <benchmark/benchmark.h>
#include <functional>
#include <tuple>
#include "workload.hpp"

namespace bench {

// One row: a stage of a preset in some type, a trace, tokens per call, threads.
struct Case {
  Trace trace = Trace::uniform;
  int tokens = 1, threads = 1;
  Isa isa = Isa::best;
  int int8 = 0;                                  // Host::int8_activations
};

inline Host const& host_of(int threads, Isa isa = Isa::best, int int8 = 0) {
  static std::map<std::tuple<int, Isa, int>, Host> hosts;
  std::tuple const key{threads, isa, int8};
  auto const found = hosts.find(key);
  return found != hosts.end() ? found->second : hosts.emplace(key, Host{.threads = threads, .isa = isa, .int8_activations = int8}).first->second;
}
inline std::vector<int> thread_counts() {
  int const all = host::processors();
  return all > 1 ? std::vector<int>{1, all} : std::vector<int>{1};
}

// What one call did: its arithmetic, the bytes of weights it had to read, all bytes it had to move.
struct Work {
  double flops = 0, weight_bytes = 0, bytes = 0;
  std::int64_t experts = 0;                      // distinct ones hit
  std::vector<std::int64_t> rows{};              // of each of them, where the call is a layer's
};
// What work is measured against: bytes and operations per second.
struct Roof {
  double read = 0, peak = 0;
  // Seconds that the work needs at least.
  double floor(Work const& w) const { return std::max(w.bytes / read, w.flops / peak); }
  // The same where experts do not overlap: some of a call's experts may have few rows and wait for memory, others many and compute.
  double floor_by_expert(Work const& w) const {
    if (w.rows.empty()) return floor(w);
    double rows = 0, sum = 0;
    for (std::int64_t const r : w.rows) rows += static_cast<double>(r);
    for (std::int64_t const r : w.rows)
      sum += std::max(w.weight_bytes / static_cast<double>(w.rows.size()) / read, w.flops * static_cast<double>(r) / rows / peak);
    return std::max(sum, floor(w));
  }
};
struct Sample {
  double wall = 0, cpu = 0;                      // seconds; cpu: of all threads together
  Work work{};
  Roof roof{};
  double share(int threads) const { return cpu / wall / threads; }
  double roofline() const { return roof.floor(work) / wall; }
};
template <class Call> Sample timed(Call const& call) {
  double const wall = wall_seconds(), cpu = cpu_seconds();
  call();
  double const end = wall_seconds();
  return {.wall = end - wall, .cpu = cpu_seconds() - cpu};
}
// As probed in this process.
inline Roof roof(int threads, DType weights, Isa isa = Isa::best, int int8 = 0) {
  Limits const& l = limits(threads);
  return {.read = l.read.wall, .peak = l.peak(isa == Isa::best ? host::best() : isa, weights, int8)};
}

// The calls of one row. The best is the one nearest to the roofline (calls differ in the experts they hit) among those
// that got 90 % of their processors; if none did, the one nearest to it by CPU time.
class Samples {
 public:
  Samples(int threads, Roof roof) : threads_(threads), roof_(roof) {}
  void against(Roof roof) { roof_ = roof; }      // for what is added from now on
  void add(Sample const& s) { all_.push_back(s), all_.back().roof = roof_; }
  Sample const& last() const { return all_.back(); }
  Sample best() const {
    Sample const *quiet = nullptr, *busy = nullptr;
    for (Sample const& s : all_) {
      double const share = s.share(threads_);
      if (share >= 0.9 && (!quiet || s.roofline() > quiet->roofline())) quiet = &s;
      if (!busy || s.roofline() / share > busy->roofline() / busy->share(threads_)) busy = &s;
    }
    return quiet ? *quiet : busy ? *busy : Sample{};
  }
  double quantile(double q) const {
    std::vector<double> walls;
    for (Sample const& s : all_) walls.push_back(s.wall);
    std::sort(walls.begin(), walls.end());
    return walls[static_cast<std::size_t>(q * static_cast<double>(walls.size() - 1))];
  }
  void report(benchmark::State& state, int tokens) const {
    if (all_.empty()) return;
    Sample const b = best();
    auto& c = state.counters;
    c["best_ms"] = 1e3 * b.wall;
    c["median_ms"] = 1e3 * quantile(0.5);
    c["spread"] = (quantile(0.75) - quantile(0.25)) / quantile(0.5);
    c["cpu_share"] = b.share(threads_);
    c["GFLOP/s"] = 1e-9 * b.work.flops / b.wall;
    c["weights_GB/s"] = 1e-9 * b.work.weight_bytes / b.wall;
    c["roofline_%"] = 100 * b.roofline();
    if (!b.work.rows.empty()) c["roofline_by_expert_%"] = 100 * b.roof.floor_by_expert(b.work) / b.wall;
    c["roofline_%_by_cpu"] = 100 * b.roofline() / b.share(threads_);       // as if it had had all its processors
    c["experts_hit"] = static_cast<double>(b.work.experts);
    c["tokens/s"] = tokens / b.wall;
  }

 private:
  std::vector<Sample> all_;
  int threads_;
  Roof roof_;
};

// prepare() and account() are not timed; call() is.
template <class Prepare, class Call, class Account>
void measure(benchmark::State& state, Case const& c, DType weights, Prepare const& prepare, Call const& call, Account const& account) {
  Samples samples{c.threads, roof(c.threads, weights)};
  prepare();
  if (c.tokens <= 64) call();                    // the first call finds cold pages
  for (auto _ : state) {
    prepare();
    Sample s = timed(call);
    s.work = account();
    state.SetIterationTime(s.wall);
    samples.add(s);
  }
  samples.report(state, c.tokens);
}

// One set of weights at a time: the benchmarks of a preset follow each other. Null if there is not enough memory.
inline std::shared_ptr<void>& current_workload() {
  static std::shared_ptr<void> current;
  return current;
}
template <Config C> Workload<C>* workload(bool experts) {
  static std::weak_ptr<Workload<C>> mine;
  if (auto const here = mine.lock()) return here.get();
  current_workload().reset();
  if (Workload<C>::bytes_needed(experts) * 1.1 + 5e8 > available_bytes()) return nullptr;
  auto const made = std::make_shared<Workload<C>>(host_of(0), experts);
  mine = made, current_workload() = made;
  return made.get();
}

// stage/preset/dtype/trace/T=tokens/threads=n
template <class Run> void add(char const* stage, char const* preset, DType dtype, Run const& run) {
  for (Trace trace : traces)
    for (int tokens : {1, 4, 16, 64, 256, 512})
      for (int threads : thread_counts()) {
        std::string const row = std::string(stage) + "/" + preset + "/" + coterie::name(dtype) + "/" + name(trace) + "/T=" + std::to_string(tokens) + "/threads=" + std::to_string(threads);
        benchmark::RegisterBenchmark(row.c_str(), [run, c = Case{trace, tokens, threads}](benchmark::State& state) { run(state, c); })
            ->UseManualTime()->Unit(benchmark::kMillisecond);
      }
}

inline void add_context() {
  auto const add = [](std::string const& key, std::string const& value) { benchmark::AddCustomContext(key, value); };
  add("processor", processor());
  add("compiler", compiler());
  add("commit", commit());
  add("path", coterie::name(host::best()));
  for (int threads : thread_counts()) {
    Limits const& l = limits(threads);
    std::string at = "threads=";
    at += std::to_string(threads);
    add(at + "/read_GB/s", std::to_string(1e-9 * l.read.wall));
    add(at + "/copy_GB/s", std::to_string(1e-9 * l.copy.wall));
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx})
      if (host::supports(isa)) add(at + "/peak_GFLOP/s/" + coterie::name(isa), std::to_string(1e-9 * l.flops[static_cast<int>(isa)]));
  }
}

// main() of every program: the machine is probed, then what the filter leaves is run.
inline int run(int argc, char** argv) {
  bool listing = false;
  for (int i = 1; i < argc; ++i) listing |= std::strncmp(argv[i], "--benchmark_list_tests", 22) == 0;
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  if (!listing) add_context();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}

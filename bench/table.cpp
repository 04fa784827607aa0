// The layer in every weight type, on all processors: time, and how near it comes to what the machine allows.
//   bench_table [--shape qwen3_30b_a3b|mixtral_8x7b|small] [--weights NAME] [--isa portable|AVX2|AVX-512|"AVX-512 BF16"|AMX] [--tokens N] [--trace uniform|zipf|one] [--seconds S] [--int8] [--tax]
// Each cell: the best call's time, GB/s of the weights it had to read (scales included) with their share of the bandwidth measured
// in the same seconds, GFLOP/s, and the share of the roofline: of the larger of bytes over bandwidth and operations
// over peak, for the experts and rows that were hit; behind it the same summed expert by expert, where that is more. "~": even the best
// call got less than 90 % of its processors. --int8: with 8-bit activations, where the weights are integers. --tax: instead, layer and
// a dense FFN of the same active size in turns; their ratio, and that of their floors.
#include "promises.hpp"

namespace bench {

struct Options {
  std::string shape, weights;
  Isa isa = Isa::best;
  int tokens = 0;                                  // 0: 1, 4, 16, 64, 512
  Trace trace = Trace::uniform;
  double seconds = 2;                              // per cell
  int int8 = 0, tax = 0;
};

constexpr int most_tokens = 2048;
constexpr int token_counts[] = {1, 4, 16, 64, 512, most_tokens};


// Calls and readings of memory in turns, a fifth of a second each: memory of shared machines changes its speed, and the best call is
// set against the best reading of the same seconds.
template <class Run> Sample best_of(Run& run, Samples& samples, Roof roof, Memory& memory, double seconds) {
  constexpr int passes = 12;                       // 0.8 GB with two threads
  constexpr double piece = 0.2;
  roof.read = memory.read(passes).wall;
  std::vector<Sample> calls;
  for (double const end = wall_seconds() + seconds; wall_seconds() < end;) {
    double const until = wall_seconds() + piece;
    do calls.push_back(run.sample());
    while (wall_seconds() < until);
    roof.read = std::max(roof.read, memory.read(passes).wall);
  }
  samples.against(roof);
  for (Sample const& s : calls) samples.add(s);
  return samples.best();
}

template <Config C> void cell(Options const& o, Workload<C>& load, Case const& c, Memory& memory) {
  Roof const limit = roof(c.threads, C.weights, o.isa, o.int8);
  LayerRun<C> run{load, c};
  Samples samples{c.threads, limit};
  run.sample();                                    // cold pages
  Sample const b = best_of(run, samples, limit, memory, o.seconds);
  double const roofline = 100 * b.roofline(), by_expert = 100 * b.roof.floor_by_expert(b.work) / b.wall;
  std::printf(" |%c%8.2f ms %5.1f GB/s %3.0f%% %5.0f GF %3.0f%%", b.share(c.threads) < 0.9 ? '~' : ' ', 1e3 * b.wall, 1e-9 * b.work.weight_bytes / b.wall,
              100 * b.work.weight_bytes / b.wall / b.roof.read, 1e-9 * b.work.flops / b.wall, roofline);
  if (by_expert > 1.02 * roofline) std::printf(" (%.0f%%)", by_expert);
}
template <Config C> void tax_cell(Options const& o, Workload<C>& load, Workload<dense_of(C)>& dense_load, Case const& c) {
  Roof const limit = roof(c.threads, C.weights, o.isa, o.int8);
  LayerRun<C> run{load, c};
  DenseRun<C> dense{dense_load, c};
  Samples calls{c.threads, limit}, dense_calls{c.threads, limit};
  run.sample(), dense.sample();
  for (double const end = wall_seconds() + o.seconds; wall_seconds() < end;) repeat(calls, run, 0.1), repeat(dense_calls, dense, 0.1);
  Sample const b = calls.best(), d = dense_calls.best();
  std::printf(" |%c%8.2f ms, dense %8.2f ms %5.0f GF, tax %.2f (floor %.2f)", std::min(b.share(c.threads), d.share(c.threads)) < 0.9 ? '~' : ' ', 1e3 * b.wall,
              1e3 * d.wall, 1e-9 * d.work.flops / d.wall, b.wall / d.wall, b.roof.floor(b.work) / d.roof.floor(d.work));
}
template <Config C> void row(Options const& o, char const* shape, char const* weights, Memory& memory) {
  if ((!o.shape.empty() && o.shape != shape) || (!o.weights.empty() && o.weights != weights) || (o.int8 && !Experts<C, Host>::takes_int8)) return;
  int const threads = host::processors();
  std::printf("%-14s %-16s", shape, weights);
  std::fflush(stdout);
  auto* const load = workload<C>(true);
  if (!load) return void(std::printf("  skipped: %.1f GB of memory are needed\n", 1e-9 * Workload<C>::bytes_needed(true)));
  std::unique_ptr<Workload<dense_of(C)>> const dense_load = o.tax ? std::make_unique<Workload<dense_of(C)>>(host_of(0)) : nullptr;
  for (int tokens : token_counts) {
    if (o.tokens ? tokens != o.tokens : tokens == most_tokens && !o.tax) continue;
    Case const c{.trace = o.trace, .tokens = tokens, .threads = threads, .isa = o.isa, .int8 = o.int8};
    if (dense_load) tax_cell<C>(o, *load, *dense_load, c);
    else cell<C>(o, *load, c, memory);
    std::fflush(stdout);
  }
  std::printf("\n");
}
template <Config C> void rows(Options const& o, char const* shape, Memory& memory) {
  row<with_dtype(C, DType::fp32)>(o, shape, "fp32", memory);
  row<C>(o, shape, "bf16", memory);
  row<with_weights(C, DType::int8)>(o, shape, "int8", memory);
  row<with_weights(C, DType::int8, {.group = 128})>(o, shape, "int8/128", memory);
  row<with_weights(C, DType::fp8_e4m3, {.group = 128, .group_rows = 128})>(o, shape, "fp8_e4m3/128x128", memory);
  row<with_weights(C, DType::int4, {.group = 32})>(o, shape, "int4/32", memory);
  row<with_weights(C, DType::int4, {.group = 128})>(o, shape, "int4/128", memory);
  row<with_weights(C, DType::int4, {.group = 128, .zero_points = 1})>(o, shape, "int4/128 zeros", memory);
  row<with_weights(C, DType::mxfp4)>(o, shape, "mxfp4", memory);
}

int table(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    std::string const flag = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (flag == "--int8" || flag == "--tax") {
      (flag == "--tax" ? o.tax : o.int8) = 1;
      continue;
    }
    if (flag == "--shape") o.shape = value;
    else if (flag == "--weights") o.weights = value;
    else if (flag == "--tokens") o.tokens = std::atoi(value.c_str());
    else if (flag == "--trace") {
      bool known = false;
      for (Trace trace : {Trace::uniform, Trace::zipf, Trace::one})
        if (value == name(trace)) o.trace = trace, known = true;
      if (!known) return std::fprintf(stderr, "bench_table: no trace %s\n", value.c_str()), 2;
    } else if (flag == "--seconds") o.seconds = std::atof(value.c_str());
    else if (flag == "--isa") {
      for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx})
        if (value == coterie::name(isa)) o.isa = isa;
      if (o.isa == Isa::best || !host::supports(o.isa)) return std::fprintf(stderr, "bench_table: this processor has no %s\n", value.c_str()), 2;
    } else return std::fprintf(stderr, "bench_table: unknown option %s\n", flag.c_str()), 2;
    ++i;
  }
  int const threads = host::processors();
  Limits const& l = limits(threads);
  Isa const path = o.isa == Isa::best ? host::best() : o.isa;
  std::printf("%s, %d threads, %s; %s; %s; %s\n", processor().c_str(), threads, coterie::name(path), compiler().c_str(), commit().c_str(), today().c_str());
  Memory memory{threads};
  std::printf("measured here: read %.1f GB/s, read and multiplied by one bf16 row %.1f GB/s, fp32 FMA %.0f GFLOP/s", 1e-9 * l.read.wall, 1e-9 * l.stream[static_cast<int>(path)], 1e-9 * l.peak(path, DType::fp32));
  if (path > Isa::avx512) std::printf(", bf16 %.0f GFLOP/s", 1e-9 * l.peak(path, DType::bf16));
  if (o.int8) std::printf("; int8 activations where weights are integers: %.0f Gop/s", 1e-9 * l.peak(path, DType::int8, 1));
  std::printf("\n%s routing, tokens", name(o.trace));
  for (int tokens : token_counts)
    if (o.tokens ? tokens == o.tokens : tokens != most_tokens || o.tax) std::printf(" %d", tokens);
  std::printf("\n");
  rows<small>(o, "small", memory);
  rows<presets::qwen3_30b_a3b>(o, "qwen3_30b_a3b", memory);
  rows<presets::mixtral_8x7b>(o, "mixtral_8x7b", memory);
  return 0;
}

}

int main(int argc, char** argv) { return bench::table(argc, argv); }

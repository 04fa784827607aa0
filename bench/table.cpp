// The layer in every weight type, on all processors: time, and how near it comes to what the machine allows.
//   bench_table [--shape qwen3_30b_a3b|mixtral_8x7b|small] [--weights NAME] [--isa portable|AVX2|AVX-512|"AVX-512 BF16"|AMX] [--tokens N] [--trace uniform|zipf|one] [--seconds S] [--int8]
// Each cell: the best call's time, GB/s of the weights it had to read (scales included) with the share of the bandwidth measured
// in this run, GFLOP/s, and the share of the roofline: of the larger of bytes over bandwidth and operations over peak, for the experts
// and rows that were hit. "~": even the best call got less than 90 % of its processors. --int8: with 8-bit activations, where the
// weights are integers.
#include "promises.hpp"

namespace bench {

struct Options {
  std::string shape, weights;
  Isa isa = Isa::best;
  int tokens = 0;                                  // 0: 1, 4, 16, 64, 512
  Trace trace = Trace::uniform;
  double seconds = 2;                              // per cell
  int int8 = 0;
};

template <Config C> void row(Options const& o, char const* shape, char const* weights) {
  if ((!o.shape.empty() && o.shape != shape) || (!o.weights.empty() && o.weights != weights) || (o.int8 && !Experts<C, Host>::takes_int8)) return;
  int const threads = host::processors();
  Limits const& l = limits(threads);
  std::printf("%-14s %-16s", shape, weights);
  std::fflush(stdout);
  auto* const load = workload<C>(true);
  if (!load) return void(std::printf("  skipped: %.1f GB of memory are needed\n", 1e-9 * Workload<C>::bytes_needed(true)));
  for (int tokens : {1, 4, 16, 64, 512}) {
    if (o.tokens && tokens != o.tokens) continue;
    Case const c{.trace = o.trace, .tokens = tokens, .threads = threads, .isa = o.isa, .int8 = o.int8};
    LayerRun<C> run{*load, c};
    Samples samples{threads, C.weights, o.isa, o.int8};
    run.sample();                                  // cold pages
    repeat(samples, run, o.seconds);
    Sample const b = samples.best();
    std::printf(" |%c%8.2f ms %5.1f GB/s %3.0f%% %5.0f GF %3.0f%%", b.share(threads) < 0.9 ? '~' : ' ', 1e3 * b.wall, 1e-9 * b.work.weight_bytes / b.wall,
                100 * b.work.weight_bytes / b.wall / l.read.wall, 1e-9 * b.work.flops / b.wall, 100 * samples.roofline(b));
    std::fflush(stdout);
  }
  std::printf("\n");
}
template <Config C> void rows(Options const& o, char const* shape) {
  row<with_dtype(C, DType::fp32)>(o, shape, "fp32");
  row<C>(o, shape, "bf16");
  row<with_weights(C, DType::int8)>(o, shape, "int8");
  row<with_weights(C, DType::int8, {.group = 128})>(o, shape, "int8/128");
  row<with_weights(C, DType::fp8_e4m3, {.group = 128, .group_rows = 128})>(o, shape, "fp8_e4m3/128x128");
  row<with_weights(C, DType::int4, {.group = 32})>(o, shape, "int4/32");
  row<with_weights(C, DType::int4, {.group = 128})>(o, shape, "int4/128");
  row<with_weights(C, DType::int4, {.group = 128, .zero_points = 1})>(o, shape, "int4/128 zeros");
  row<with_weights(C, DType::mxfp4)>(o, shape, "mxfp4");
}

int table(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    std::string const flag = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (flag == "--int8") {
      o.int8 = 1;
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
  std::printf("measured here: read %.1f GB/s, fp32 FMA %.0f GFLOP/s", 1e-9 * l.read.wall, 1e-9 * l.peak(path, DType::fp32));
  if (path > Isa::avx512) std::printf(", bf16 %.0f GFLOP/s", 1e-9 * l.peak(path, DType::bf16));
  if (o.int8) std::printf("; int8 activations where weights are integers: %.0f Gop/s", 1e-9 * l.peak(path, DType::int8, 1));
  std::printf("\n%s routing, tokens %s\n", name(o.trace), o.tokens ? std::to_string(o.tokens).c_str() : "1, 4, 16, 64, 512");
  rows<small>(o, "small");
  rows<presets::qwen3_30b_a3b>(o, "qwen3_30b_a3b");
  rows<presets::mixtral_8x7b>(o, "mixtral_8x7b");
  return 0;
}

}

int main(int argc, char** argv) { return bench::table(argc, argv); }

// bench_cuda [--preset name] [--tokens n] [--trace name] [--json file]: options may stand more than once. Layers of published models
// on the GPU at hand, beside the limits and a dense FFN measured in the same run.
#include <cstring>
#include <iterator>
#include "benchmark.cuh"

namespace {
struct Entry {
  char const* preset;
  bench::Benchmark run;
};
std::vector<Entry>& entries() {
  static std::vector<Entry> all;
  return all;
}
// Largest last, where the time may run out: the run's order, then what is not named here.
std::size_t place(char const* preset) {
  constexpr char const* order[] = {"qwen3_30b_a3b", "mixtral_8x7b", "training/", "gpt_oss", "deepseek_v3"};
  std::size_t i = 0;
  while (i < std::size(order) && std::strncmp(preset, order[i], std::strlen(order[i])) != 0) ++i;
  return i;
}
int usage() {
  std::fprintf(stderr, "bench_cuda [--preset name] [--tokens n] [--trace uniform|zipf|one] [--json file]; presets:");
  for (Entry const& e : entries()) std::fprintf(stderr, " %s", e.preset);
  std::fprintf(stderr, "\n");
  return 2;
}
}
void bench::add_benchmark(char const* preset, Benchmark run) { entries().push_back({preset, run}); }

int main(int argc, char** argv) try {
  using namespace bench;
  std::sort(entries().begin(), entries().end(), [](Entry const& a, Entry const& b) { return place(a.preset) != place(b.preset) ? place(a.preset) < place(b.preset) : std::strcmp(a.preset, b.preset) < 0; });
  Options options, given;
  char const* json = nullptr;
  given.tokens.clear(), given.traces.clear();
  for (int i = 1; i < argc; i += 2) {
    std::string const option = argv[i];
    if (i + 1 == argc) return usage();
    if (option == "--preset") given.presets.push_back(argv[i + 1]);
    else if (option == "--tokens") given.tokens.push_back(std::atoll(argv[i + 1]));
    else if (option == "--trace") given.traces.push_back(argv[i + 1]);
    else if (option == "--json") json = argv[i + 1];
    else return usage();
  }
  if (given.tokens.size()) options.tokens = given.tokens;
  if (given.traces.size()) options.traces = given.traces;
  options.presets = given.presets;
  for (std::int64_t n : options.tokens)
    if (n < 1) return usage();

  Cuda on;
  (void)on.path();                               // a device that the kernels cannot use is refused here
  coterie::check(cudaStreamCreateWithFlags(&on.stream, cudaStreamNonBlocking));
  Stopwatch time{on};
  Limits const limits = measure_limits(on, time);
  cudaDeviceProp device{};
  coterie::check(cudaGetDeviceProperties(&device, on.device.id));
  int clock_khz = 0;
  coterie::check(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, on.device.id));
  std::printf("%s, %d multiprocessors, up to %.0f MHz; path %s%s\ncopy %.0f GB/s, read %.0f GB/s, dense bf16 %.1f TFLOP/s, an empty kernel %.1f us; medians, cold cache, captured graphs\n", device.name, on.device.multiprocessors, 1e-3 * clock_khz,
              coterie::name(on.path()), on.remark().c_str(), 1e-9 * limits.copy, 1e-9 * limits.read, 1e-12 * limits.flops, limits.empty_us);
  if (json && !(options.json = std::fopen(json, "w"))) throw std::runtime_error(std::string("cannot write ") + json);
  if (options.json)
    std::fprintf(options.json, "{\"device\": \"%s\", \"path\": \"%s\", \"copy_bytes_per_s\": %.6g, \"read_bytes_per_s\": %.6g, \"dense_bf16_flops\": %.6g, \"empty_us\": %.2f}\n", device.name, coterie::name(on.path()), limits.copy,
                 limits.read, limits.flops, limits.empty_us);
  print_header();
  for (Entry const& e : entries()) {
    bool const wanted = options.presets.empty() || std::any_of(options.presets.begin(), options.presets.end(), [&](std::string const& p) { return std::strncmp(e.preset, p.c_str(), p.size()) == 0; });
    if (wanted && !enough_memory([&] { e.run(on, options, limits, time); })) std::printf("%s: skipped: not enough device memory\n", e.preset);
  }
  if (options.json) std::fclose(options.json);
} catch (std::exception const& e) {
  std::fprintf(stderr, "bench_cuda: %s\n", e.what());
  return 1;
}

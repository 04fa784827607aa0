// What the CUDA benchmarks print and write.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace bench {

struct Row {
  std::string preset, trace;
  std::int64_t tokens = 0, experts_hit = 0;
  double layer_us = 0, eager_us = 0;                                       // captured graph; launched one by one
  double host_us = 0, graph_host_us = 0;                                   // the host's own time of forward, and of the graph's launch
  double select_us = 0, maps_us = 0;                                       // the router over given logits; the same and dispatch: all routing behind the logits
  double router_us = 0, dispatch_us = 0, experts_us = 0, shared_us = 0, combine_us = 0;
  double dense_us = 0;                                                     // a dense FFN of the same active size by cuBLASLt
  double libraries_us = 0, cub_us = 0;                                       // the layer by LibraryStages (not captured); dispatch by CUB
  double floor_us = 0, flops = 0, weight_bytes = 0;
};

inline void print_header() {
  std::printf("%-22s %-8s %6s %5s %10s %8s %9s %9s %7s | %8s %8s %9s %8s %8s | %8s %8s | %8s %9s %6s %10s %8s\n", "preset", "trace", "tokens", "hit", "layer us", "TFLOP/s", "weightGB/s", "floor us", "roof %",
              "router", "dispatch", "experts", "shared", "combine", "select", "maps", "host us", "graph us", "tax", "library us", "CUB");
}
inline void print(Row const& r) {
  std::printf("%-22s %-8s %6lld %5lld %10.1f %8.1f %9.0f %9.1f %7.1f | %8.1f %8.1f %9.1f %8.1f %8.1f | %8.1f %8.1f | %8.1f %9.1f %6.2f %10.1f %8.1f\n", r.preset.c_str(), r.trace.c_str(), static_cast<long long>(r.tokens),
              static_cast<long long>(r.experts_hit), r.layer_us, 1e-6 * r.flops / r.layer_us, 1e-3 * r.weight_bytes / r.layer_us, r.floor_us, 100 * r.floor_us / r.layer_us, r.router_us,
              r.dispatch_us, r.experts_us, r.shared_us, r.combine_us, r.select_us, r.maps_us, r.host_us, r.graph_host_us, r.dense_us > 0 ? r.layer_us / r.dense_us : 0, r.libraries_us, r.cub_us);
  std::fflush(stdout);
}
// A row, or a peer's part of the row above.
inline void print_skipped(std::string const& preset, std::string const& trace, std::int64_t tokens, std::string const& peer) {
  std::printf("%-22s %-8s %6lld %s%sskipped: not enough device memory\n", preset.c_str(), trace.c_str(), static_cast<long long>(tokens), peer.c_str(), peer.empty() ? "" : " ");
  std::fflush(stdout);
}
// One line of JSON a row.
inline void write(std::FILE* f, Row const& r) {
  std::fprintf(f,
               "{\"preset\": \"%s\", \"trace\": \"%s\", \"tokens\": %lld, \"experts_hit\": %lld, \"layer_us\": %.2f, \"eager_us\": %.2f, \"host_us\": %.2f, \"graph_host_us\": %.2f, \"select_us\": %.2f, \"maps_us\": %.2f, \"router_us\": %.2f, "
               "\"dispatch_us\": %.2f, \"experts_us\": %.2f, \"shared_us\": %.2f, \"combine_us\": %.2f, \"dense_us\": %.2f, \"libraries_us\": %.2f, \"cub_us\": %.2f, \"floor_us\": %.2f, \"flops\": %.6g, \"weight_bytes\": %.6g}\n",
               r.preset.c_str(), r.trace.c_str(), static_cast<long long>(r.tokens), static_cast<long long>(r.experts_hit), r.layer_us, r.eager_us, r.host_us, r.graph_host_us, r.select_us, r.maps_us, r.router_us, r.dispatch_us,
               r.experts_us, r.shared_us, r.combine_us, r.dense_us, r.libraries_us, r.cub_us, r.floor_us, r.flops, r.weight_bytes);
  std::fflush(f);
}

// A stage of a backward pass, or a part of one, and the stage of the forward pass that it is the way back of; 0: none.
struct StageRow {
  char const* stage;
  double us = 0, flops = 0, bytes = 0, forward_us = 0, forward_flops = 0;
};
inline void print_stage_header(char const* products) {
  std::printf("%-28s %-8s %6s %-22s | %10s %8s %8s %9s %7s | %10s %8s %10s\n", (std::string("backwards ") + products).c_str(), "trace", "tokens", "stage", "us", "TFLOP/s", "GB/s", "floor us", "roof %",
              "forward us", "TFLOP/s", "of forw. %");
}
// floor_us: what the bytes and FLOPs take at the limits of the run.
inline void print(std::string const& preset, std::string const& trace, std::int64_t tokens, StageRow const& r, double floor_us, std::FILE* json) {
  std::printf("%-28s %-8s %6lld %-22s | %10.1f %8.1f %8.0f %9.1f %7.1f", preset.c_str(), trace.c_str(), static_cast<long long>(tokens), r.stage, r.us,
              1e-6 * r.flops / r.us, 1e-3 * r.bytes / r.us, floor_us, 100 * floor_us / r.us);
  if (r.forward_us > 0) std::printf(" | %10.1f %8.1f %10.1f", r.forward_us, 1e-6 * r.forward_flops / r.forward_us, 100 * (r.flops / r.us) / (r.forward_flops / r.forward_us));
  std::printf("\n");
  std::fflush(stdout);
  if (!json) return;
  char const* const stage = r.stage + std::strspn(r.stage, " ");
  std::fprintf(json, "{\"preset\": \"%s\", \"trace\": \"%s\", \"tokens\": %lld, \"stage\": \"%s\", \"us\": %.2f, \"flops\": %.6g, \"bytes\": %.6g, \"floor_us\": %.2f, \"forward_us\": %.2f, \"forward_flops\": %.6g}\n",
               preset.c_str(), trace.c_str(), static_cast<long long>(tokens), stage, r.us, r.flops, r.bytes, floor_us, r.forward_us, r.forward_flops);
  std::fflush(json);
}

struct Options {
  std::vector<std::int64_t> tokens{1, 2, 4, 8, 16, 64, 256, 512, 1024, 4096, 16384, 32768};
  std::vector<std::string> traces{"uniform", "zipf"};
  std::vector<std::string> presets;                                        // empty: all
  std::FILE* json = nullptr;
};

}

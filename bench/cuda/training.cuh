// A training step of one preset's layer: the forward pass that keeps, the backward pass, and packing the new weights in place.
#pragma once
#include <coterie/training.cuh>
#include <utility>
#include "benchmark.cuh"
#include "weights.cuh"

namespace bench {

template <Config C> class CudaStep {
 public:
  static constexpr Config config = C;
  static constexpr std::int64_t E = C.experts, H = C.hidden, F = C.ffn, N = logit_columns(C), each = F * H;
  using V = element_t<C.dtype>;
  using T = element_t<C.weights>;
  static_assert(gated(C.expert.act) && C.expert.latent == 0 && C.shared.ffn == 0, "what is counted is routed, gated experts");

  explicit CudaStep(Cuda const& on) : on_(on), packed_(pack_noise<config>(on)), gradients_(3 * E * each + N * H), raw_(3 * E * each), again_(static_cast<std::int64_t>(Packer<config, Cuda>::bytes())) {
    place(*added_), place(*written_);
    written_->overwrite = 1;
    noise(on, raw_.data(), 3 * E * each, 0.02f, 7);
    weights_->router.data = reinterpret_cast<element_t<C.router.weights> const*>(raw_.data());           // any numbers
  }
  void measure(char const* preset, Options const& options, Limits const& limits, Stopwatch& time) {
    std::printf("%-28s %-8s %6s | %10s %8s | %10s %8s %10s %8s | %10s %8s %7s | %10s %7s | %12s\n", "training step", "trace", "tokens", "forward us", "TFLOP/s", "backward", "TFLOP/s", "written", "TFLOP/s", "both us",
                "TFLOP/s", "dense %", "pack us", "pack %", "bytes/token");
    for (std::string const& trace : options.traces)
      for (std::int64_t tokens : options.tokens)
        if (tokens >= 512 && !enough_memory([&] { one(preset, tokens, trace, options, limits, time); })) print_skipped(preset, trace, tokens, "");
  }

 private:
  template <DType D> void place(Gradients<config, D>& g) {
    auto* at = gradients_.data();
    g.router = std::exchange(at, at + N * H);
    auto const next = [&] { return std::exchange(at, at + each); };
    for (std::size_t e = 0; e < static_cast<std::size_t>(E); ++e) g.gate[e].data = next(), g.up[e].data = next(), g.down[e].data = next();
  }
  void pack() const {
    Packer<config, Cuda> packer{on_, again_.span()};
    packer.router(*weights_);
    for (int e = 0; e < C.experts; ++e) {
      T const* const w = raw_.data() + 3 * each * e;
      packer.template expert<C.weights>(e, {.data = w}, {.data = w + each}, {.data = w + 2 * each});
    }
  }
  void one(char const* preset, std::int64_t n, std::string const& trace, Options const& options, Limits const& limits, Stopwatch& time) {
    Memory<V> const x(n * H), y(n * H), dy(n * H), dx(n * H);
    noise(on_, x.data(), n * H, 1, token_seed(n), H, {steer(trace_named(trace), 0), steer(trace_named(trace), 1)});
    noise(on_, dy.data(), n * H, 1, 3);
    Inputs<config> in;
    in.x = {x.data(), n};
    Layer<config, Cuda> const layer{packed_.view()};
    Memory<std::byte> const cache(static_cast<std::int64_t>(layer.cache_bytes(on_, n))), workspace(static_cast<std::int64_t>(layer.training_workspace_bytes(on_, n)));
    auto const forward = [&] { layer.forward(on_, in, Rows<V, C.hidden>{y.data(), n}, cache.span(), workspace.span()); };
    auto const backward = [&](auto const& to) { layer.backward(on_, in, cache.span(), Rows<V, C.hidden>{dy.data(), n}, Rows<V, C.hidden>{dx.data(), n}, to, workspace.span()); };
    forward();
    auto const graph = [&](auto const& f) {
      Graph const g{on_.stream, f};
      return time([&] { g.launch(on_.stream); }).median;
    };
    double const f = graph(forward), b = graph([&] { backward(*added_); }), w = graph([&] { backward(*written_); }), both = graph([&] { forward(), backward(*written_); });
    double const p = graph([&] { pack(); });
    double const flops = 2. * static_cast<double>(n) * (C.top_k * 3. * static_cast<double>(each) + static_cast<double>(N * H)), kept = static_cast<double>(layer.cache_bytes(on_, n)) / static_cast<double>(n);
    std::printf("%-28s %-8s %6lld | %10.1f %8.1f | %10.1f %8.1f %10.1f %8.1f | %10.1f %8.1f %7.1f | %10.1f %7.2f | %12.0f\n", preset, trace.c_str(), static_cast<long long>(n), f, 1e-6 * flops / f, b, 2e-6 * flops / b, w,
                2e-6 * flops / w, both, 3e-6 * flops / both, 100 * 3e6 * flops / both / limits.flops, p, 100 * p / both, kept);
    std::fflush(stdout);
    if (options.json)
      std::fprintf(options.json, "{\"preset\": \"%s\", \"trace\": \"%s\", \"tokens\": %lld, \"forward_us\": %.2f, \"backward_us\": %.2f, \"backward_written_us\": %.2f, \"both_us\": %.2f, \"pack_us\": %.2f, \"flops_forward\": %.6g, \"cache_bytes_per_token\": %.1f}\n",
                   preset, trace.c_str(), static_cast<long long>(n), f, b, w, both, p, flops, kept), std::fflush(options.json);
  }

  Cuda on_;
  Packed<config, Cuda> packed_;
  Memory<float> gradients_;
  Memory<T> raw_;
  Memory<std::byte> again_;
  std::unique_ptr<Weights<config>> weights_ = std::make_unique<Weights<config>>();
  std::unique_ptr<Gradients<config>> added_ = std::make_unique<Gradients<config>>(), written_ = std::make_unique<Gradients<config>>();
};

}

// A training step of one preset's layer: the forward pass that keeps, the backward pass, and packing the new weights in place; then the backward
// pass by its stages (backward.cuh).
#pragma once
#include <utility>
#include "backward.cuh"
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
    place(to_->added), place(to_->written), place(to_->narrow);
    to_->written.overwrite = to_->narrow.overwrite = 1;
    noise(on, raw_.data(), 3 * E * each, 0.02f, 7);
    weights_->router.data = reinterpret_cast<element_t<C.router.weights> const*>(raw_.data());           // any numbers
  }
  // Whole steps; then, of the first trace, from 4,096 tokens on, the backward pass stage by stage.
  void measure(char const* preset, Options const& options, Limits const& limits, Stopwatch& time) {
    std::printf("%-28s %-8s %6s | %10s %8s | %10s %8s %10s %8s %10s %8s | %10s %8s %7s | %10s %7s | %12s\n", "training step", "trace", "tokens", "forward us", "TFLOP/s", "backward", "TFLOP/s", "written", "TFLOP/s", "bf16",
                "TFLOP/s", "both us", "TFLOP/s", "dense %", "pack us", "pack %", "bytes/token");
    for (std::string const& trace : options.traces)
      for (std::int64_t tokens : options.tokens)
        if (tokens >= 512 && !enough_memory([&] { one(preset, tokens, trace, options, limits, time); })) print_skipped(preset, trace, tokens, "");
    std::string const& trace = options.traces.front();
    bool said = false;
    for (std::int64_t tokens : options.tokens) {
      if (tokens < 4096) continue;
      Arch const path = on_.path();
      if (!std::exchange(said, true)) print_stage_header(path == Arch::sm_90a ? "by wgmma" : path == Arch::sm_80 ? "by mma.sync" : "by plain kernels");
      if (!enough_memory([&] { stages(preset, tokens, trace, options, limits, time); })) print_skipped(preset, trace, tokens, "stages");
    }
  }

 private:
  // One call's memory, and what both passes read.
  struct Call {
    std::int64_t n;
    Memory<V> x, y, dy, dx;
    Inputs<config> in;
    Layer<config, Cuda> layer;
    Memory<std::byte> cache, workspace;

    Call(CudaStep const& of, std::int64_t tokens, std::string const& trace)
        : n(tokens), x(n * H), y(n * H), dy(n * H), dx(n * H), layer(of.packed_.view()), cache(static_cast<std::int64_t>(layer.cache_bytes(of.on_, n))),
          workspace(static_cast<std::int64_t>(layer.training_workspace_bytes(of.on_, n))) {
      noise(of.on_, x.data(), n * H, 1, token_seed(n), H, {steer(trace_named(trace), 0), steer(trace_named(trace), 1)});
      noise(of.on_, dy.data(), n * H, 1, 3);
      in.x = {x.data(), n};
    }
    Rows<V, C.hidden> rows(Memory<V> const& m) const { return {m.data(), n}; }
    void forward(Cuda const& on) const { layer.forward(on, in, rows(y), cache.span(), workspace.span()); }
    template <DType D> void backward(Cuda const& on, Gradients<config, D> const& to) const { layer.backward(on, in, cache.span(), rows(dy), rows(dx), to, workspace.span()); }
  };
  template <DType D> void place(Gradients<config, D>& g) {
    g.router = gradients_.data();
    auto* at = reinterpret_cast<element_t<D>*>(gradients_.data() + N * H);
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
  template <class F> double graph(F const& f, Stopwatch& time) const {
    Graph const g{on_.stream, f};
    return time([&] { g.launch(on_.stream); }).median;
  }
  void stages(char const* preset, std::int64_t n, std::string const& trace, Options const& options, Limits const& limits, Stopwatch& time) {
    Call const c{*this, n, trace};
    c.forward(on_);
    BackwardStages<config> stages{on_, packed_.view(), c.in, c.rows(c.y), c.rows(c.dy), c.rows(c.dx), c.cache.span(), c.workspace.span()};
    for (StageRow const& row : stages.measure(*to_, [&](auto const& f) { return graph(f, time); }))
      print(preset, trace, n, row, 1e6 * std::max(row.bytes / limits.bytes, row.flops / limits.flops), options.json);
  }
  void one(char const* preset, std::int64_t n, std::string const& trace, Options const& options, Limits const& limits, Stopwatch& time) {
    Call const c{*this, n, trace};
    c.forward(on_);
    double const f = graph([&] { c.forward(on_); }, time), b = graph([&] { c.backward(on_, to_->added); }, time), w = graph([&] { c.backward(on_, to_->written); }, time);
    double const narrow = graph([&] { c.backward(on_, to_->narrow); }, time), both = graph([&] { c.forward(on_), c.backward(on_, to_->written); }, time);
    double const p = graph([&] { pack(); }, time);
    double const flops = 2. * static_cast<double>(n) * (C.top_k * 3. * static_cast<double>(each) + static_cast<double>(N * H)), kept = static_cast<double>(c.cache.span().size()) / static_cast<double>(n);
    std::printf("%-28s %-8s %6lld | %10.1f %8.1f | %10.1f %8.1f %10.1f %8.1f %10.1f %8.1f | %10.1f %8.1f %7.1f | %10.1f %7.2f | %12.0f\n", preset, trace.c_str(), static_cast<long long>(n), f, 1e-6 * flops / f, b, 2e-6 * flops / b, w,
                2e-6 * flops / w, narrow, 2e-6 * flops / narrow, both, 3e-6 * flops / both, 100 * 3e6 * flops / both / limits.flops, p, 100 * p / both, kept);
    std::fflush(stdout);
    if (options.json)
      std::fprintf(options.json, "{\"preset\": \"%s\", \"trace\": \"%s\", \"tokens\": %lld, \"forward_us\": %.2f, \"backward_us\": %.2f, \"backward_written_us\": %.2f, \"backward_bf16_us\": %.2f, \"both_us\": %.2f, \"pack_us\": %.2f, \"flops_forward\": %.6g, \"cache_bytes_per_token\": %.1f}\n",
                   preset, trace.c_str(), static_cast<long long>(n), f, b, w, narrow, both, p, flops, kept), std::fflush(options.json);
  }

  Cuda on_;
  Packed<config, Cuda> packed_;
  Memory<float> gradients_;
  Memory<T> raw_;
  Memory<std::byte> again_;
  std::unique_ptr<Weights<config>> weights_ = std::make_unique<Weights<config>>();
  std::unique_ptr<GradientPlaces<config>> to_ = std::make_unique<GradientPlaces<config>>();
};

}

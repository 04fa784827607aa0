// What training a layer takes on the GPU: a forward pass that keeps what a backward pass needs, and that backward pass, with the calls and the
// promises of the host (training.hpp), on device memory. Both only enqueue, and can be captured in a graph. Nothing is read back: of a cache only
// the size is checked, so that backward() is the caller's promise to have called forward() with this cache, as many tokens and these options.
#pragma once
#include "combine/backward.cuh"
#include "cuda.cuh"
#include "experts/backward.cuh"
#include "experts/shared_backward.cuh"
#include "router/backward.cuh"
#include "training/cache.cuh"
#include "training/passes.hpp"

namespace coterie { inline namespace v0 {

template <> inline constexpr bool trainable<Cuda> = true;

namespace training {

template <Config C> class Backward<C, Cuda> {
  using Mixing = CombineBackward<C, Cuda>;

 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  struct Own {
    V* dsum;                                     // [T,W] gradients of routed sums, where they are not dy
    float* through;                              // [T]

    static Own carve(Arena& arena, Cuda const&, std::int64_t tokens) {
      Own p{};
      if constexpr (Mixing::own_sum) p.dsum = arena.take<V>(tokens * width(C));
      if constexpr (C.expert.identity > 0) p.through = arena.take<float>(tokens);
      return p;
    }
  };

  // Zeros where an overwriting call has nothing to write: without tokens everywhere, else in vectors that the config has not.
  template <DType G> static void clear(Cuda const& on, Gradients<config, G> const& to, std::int64_t tokens, Where at) {
    constexpr std::int64_t H = C.hidden, N = logit_columns(C);
    constexpr bool learned = Router<C, Cuda>::learned, has_router = C.router.input != RouterInput::given;
    auto const zero = [&](float* data, std::int64_t n) {
      if (data && n > 0) coterie::check(cudaMemsetAsync(data, 0, static_cast<std::size_t>(n) * sizeof(float), on.stream), at);
    };
    if (tokens == 0)
      return each_gradient(to, 0, [&](char const*, float* data, std::int64_t n) { zero(data, n); }, [&](char const*, auto const& m) {
        using E = typename std::remove_cvref_t<decltype(m)>::value;
        if (m.data)
          device::add_gradient(on, on.path(at), device::GradientProduct<float, float, device::DenseGradient<E>>{.p = nullptr, .p_stride = 0, .p_map = nullptr, .q = nullptr, .q_stride = 0, .q_map = nullptr,
                               .outputs = m.outputs, .inputs = m.inputs, .groups = {.rows = 0}, .to = {.data = m.data, .out_stride = m.out_stride, .in_stride = m.in_stride, .overwrite = 1}}, at);
      });
    if constexpr (!learned) zero(to.router, N * H);
    if constexpr (!Router<C, Cuda>::has_logits || !C.router.bias) zero(to.router_bias, N);
    if constexpr (C.router.noise != Noise::softplus) zero(to.noise, N * H);
    if constexpr (!has_router || C.router.expert_scale == 0) zero(to.expert_scale, C.experts);
    if constexpr (!has_router) zero(to.router_scale, 1);
    if constexpr (C.expert.bias && !gated(C.expert.act))
      for (float* bias : to.gate_bias) zero(bias, C.ffn);
    if constexpr (C.shared.ffn > 0 && Mixing::mixes == 0) zero(to.shared.mix, H), zero(to.shared.mix_bias, 1);
    if constexpr (C.expert.latent > 0 && !Mixing::rms) zero(to.latent.norm, width(C));
    if constexpr (C.router.input != RouterInput::separate) zero(to.router_x, tokens * H);
    if constexpr (C.router.input != RouterInput::logits) zero(to.logits, tokens * N);
    if constexpr (has_router) zero(to.routing_weight, tokens * slots(C));
  }

  template <DType G> static void run(Step<config, Cuda> const& s, Gradients<config, G> const& to) {
    auto const& p = s.p;
    std::int64_t const n = s.in.x.rows;
    typename Mixing::Call const call{s.in, s.weights, s.k.routing, s.k.batch, s.k.sums, s.dy, {p.own.dsum, n}, p.mix_routed, p.mix_shared, p.dmix_routed, p.dmix_shared, p.own.through, p.out_weight};
    Mixing{}.enter(s.on, call, to, p.scratch, s.at);
    ExpertsBackward<config, Cuda>{}.run(s.on, s.x, s.weights, s.k.batch, s.k.pre, Mixing::sum_of(call), p.out_weight, p.drows, p.din, p.dout, to, p.scratch, s.at);
    if constexpr (C.shared.ffn > 0)
      SharedBackward<config, Cuda>{}(s.on, s.in, s.weights, s.k.routing, s.k.shared_pre, s.dy, p.mix_shared, p.dshared, p.dmix_shared, p.dshared_rows, to, p.scratch, s.at);
    Mixing{}.leave(s.on, call, p.din, p.dout, p.dweight, to, p.scratch, s.at);
    route(s, to);
    Mixing{}.gather(s.on, call, p.drows, C.router.input == RouterInput::hidden ? p.drouter : nullptr, p.dshared, s.dx, to, p.scratch, s.at);
  }

 private:
  // From the gradients of the routing weights to those of the router, and what it read.
  template <DType G> static void route(Step<config, Cuda> const& s, Gradients<config, G> const& to) {
    constexpr bool given_logits = C.router.input == RouterInput::logits;
    auto const& p = s.p;
    std::int64_t const n = s.in.x.rows;
    if constexpr (C.router.input != RouterInput::given) {
      RouterGradients<config> const d{.weight = {p.dweight, n}, .shared = {p.dshared_rows, n}, .logits = s.dlogits, .noise_logits = s.dnoise_logits};
      RouterBackward<config, Cuda>{}(s.on, s.in, s.weights, s.k.routing, s.k.batch.slot, d, given_logits ? nullptr : p.drouter, given_logits ? p.drouter : nullptr, to, p.scratch, s.at);
      if constexpr (given_logits)
        if (to.logits) device::add_to(s.on, p.drouter, n * logit_columns(C), to.logits, to.overwrite, s.at);
      if constexpr (C.router.input == RouterInput::separate)
        if (to.router_x) device::add_to(s.on, p.drouter, n * C.hidden, to.router_x, to.overwrite, s.at);
    } else if (to.routing_weight) {
      if constexpr (route::Program<config>::deferred)                    // Dispatch divided them by what it kept
        launch(device::after_drop_kernel<Backward>, {.grid = dim3(device::grid_of(device::ceil_div(n, 4), "Layer::backward: too many tokens", s.at)), .block = dim3(128), .programmatic = s.on.device.programmatic},
               s.on.stream, s.at, s.in.routing.weight, s.k.batch.slot, p.dweight);
      device::add_to(s.on, p.dweight, n * slots(C), to.routing_weight, to.overwrite, s.at);
    }
  }
};

}}}

// Gradients on the device: that they are there, and zeros where an overwriting backward pass has nothing to write.
#pragma once
#include "../combine/backward.cuh"
#include "../device/multiply_backward.cuh"
#include "../router/backward.cuh"
#include "checks.hpp"

namespace coterie { inline namespace v0 { namespace training {

template <Config C, DType G> void resident(Cuda const& on, Gradients<C, G> const& to, std::int64_t tokens, Where at) {
  auto const one = [&](char const* name, void const* data) {
    if (data) on.needs_device_memory("Layer::backward", name, data, at);
  };
  each_gradient(to, tokens, [&](char const* name, float const* data, std::int64_t) { one(name, data); }, [&](char const* name, auto const& m) { one(name, m.data); });
}

// Without tokens everywhere, else in vectors that the config has not.
template <Config C, DType G> void clear(Cuda const& on, Gradients<C, G> const& to, std::int64_t tokens, Where at) {
  using Mixing = CombineBackward<C, Cuda>;
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

}}}

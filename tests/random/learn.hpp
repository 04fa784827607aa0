// One config's forward and backward pass behind gradients.hpp. Kept thin: it is compiled once per config.
#pragma once
#include <coterie/training.hpp>
#include "compiled.hpp"
#include "gradients.hpp"

namespace cases {

template <ct::Config C, ct::DType S> void learn(ct::Host const& on, Tensors const& tensors, Feed const& feed, Lesson& lesson) {
  using V = ct::element_t<C.dtype>;
  struct Views : Compiled<C, S> {
    using Compiled<C, S>::raw, Compiled<C, S>::feed_view;
  };
  auto const packed = ct::pack(on, Views::raw(tensors));
  ct::Inputs<C> const in = Views::feed_view(feed);
  std::int64_t const n = feed.tokens;

  auto const owner = std::make_unique<ct::Gradients<C, C.dtype>>();
  ct::Gradients<C, C.dtype>& to = *owner;
  Sink& sink = lesson.sink;
  to.overwrite = sink.overwrite;
  Found& found = lesson.found;
  auto const matrix = [&](auto& m, ref::Numbers& numbers) {
    Sink::Place const p = sink.matrix(numbers, C.dtype, m.outputs, m.inputs);
    m.data = static_cast<V*>(p.data), m.out_stride = p.out_stride, m.in_stride = p.in_stride;
  };
  auto const vector = [&](float*& v, ref::Numbers& numbers, std::int64_t size) { v = static_cast<float*>(sink.vector(numbers, size).data); };
  constexpr bool reads = C.router.input == ct::RouterInput::hidden || C.router.input == ct::RouterInput::separate, gated = ct::gated(C.expert.act);
  constexpr bool scales = C.router.input != ct::RouterInput::given && !ct::normalises_after_drop(C);
  ref::Numbers factor;
  if constexpr (reads) vector(to.router, found.w.router, std::int64_t{to.N} * to.H);
  if constexpr (C.router.noise == ct::Noise::softplus) vector(to.noise, found.w.noise, std::int64_t{to.N} * to.H);
  if constexpr (C.router.bias != 0) vector(to.router_bias, found.w.router_bias, to.N);
  if constexpr (C.router.expert_scale != 0) vector(to.expert_scale, found.w.expert_scale, to.E);
  if constexpr (scales) vector(to.router_scale, factor, 1);
  found.w.gate.resize(gated ? C.experts : 0), found.w.up.resize(C.experts), found.w.down.resize(C.experts);
  found.w.gate_bias.resize(gated && C.expert.bias ? C.experts : 0), found.w.up_bias.resize(to.biased), found.w.down_bias.resize(to.biased);
  for (std::size_t e = 0; e < to.up.size(); ++e) {
    if constexpr (gated) matrix(to.gate[e], found.w.gate[e]);
    matrix(to.up[e], found.w.up[e]), matrix(to.down[e], found.w.down[e]);
    if constexpr (C.expert.bias != 0) {
      if constexpr (gated) vector(to.gate_bias[e], found.w.gate_bias[e], to.F);
      vector(to.up_bias[e], found.w.up_bias[e], to.F), vector(to.down_bias[e], found.w.down_bias[e], to.W);
    }
  }
  if constexpr (C.shared.ffn > 0) {
    if constexpr (gated) matrix(to.shared.gate, found.w.shared_gate);
    matrix(to.shared.up, found.w.shared_up), matrix(to.shared.down, found.w.shared_down);
    constexpr int mixes = C.shared.mix == ct::SharedMix::sigmoid_gate ? 1 : C.shared.mix == ct::SharedMix::coefficients ? 2 : 0;
    if constexpr (mixes > 0) vector(to.shared.mix, found.w.mix, std::int64_t{mixes} * to.H), vector(to.shared.mix_bias, found.w.mix_bias, mixes);
  }
  if constexpr (C.expert.latent > 0) {
    matrix(to.latent.down, found.w.latent_down), matrix(to.latent.up, found.w.latent_up);
    if constexpr (C.expert.latent_norm == ct::LatentNorm::rms) vector(to.latent.norm, found.w.latent_norm, to.W);
  }
  if constexpr (C.router.input == ct::RouterInput::separate) vector(to.router_x, found.router_x, n * C.hidden);
  if constexpr (C.router.input == ct::RouterInput::logits) vector(to.logits, found.logits, n * to.N);
  if constexpr (C.router.input == ct::RouterInput::given) vector(to.routing_weight, found.given_weight, n * ct::slots(C));

  ct::Layer<C, ct::Host> const layer{packed.view(), {}, {.recompute = lesson.recompute}};
  Guarded cache{layer.cache_bytes(on, n), lesson.poison}, forward{layer.training_workspace_bytes(on, n), lesson.poison}, backward{forward.size(), lesson.poison};
  layer.forward(on, in, ct::Rows<V, C.hidden>{static_cast<V*>(lesson.y), n, feed.y_stride}, cache.span(), forward.span());
  ct::Rows<float const, ct::logit_columns(C)> dlogits{};
  if (lesson.dlogits) dlogits = {lesson.dlogits, n, lesson.dlogits_stride};
  layer.backward(on, in, cache.span(), ct::Rows<V const, C.hidden>{static_cast<V const*>(lesson.dy), n, feed.y_stride},
                 ct::Rows<V, C.hidden>{static_cast<V*>(lesson.dx), n, feed.x_stride}, to, backward.span(), dlogits);
  lesson.intact = sink.collect() && cache.intact() && forward.intact() && backward.intact();
  if (!factor.empty()) found.w.router_scale = factor[0];
}

}

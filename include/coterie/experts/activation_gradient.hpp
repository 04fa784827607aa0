// The activation backwards: from the gradient of a hidden value to those of gate and up, the same code on host and device.
// Where a clamp bites, and at a kink, the gradient is 0 (as torch's clamp inside its limits, relu at 0).
#pragma once
#include "activation.hpp"

namespace coterie { inline namespace v0 {

struct ActivationGradient {
  float hidden = 0;                              // activate(g, u)
  float gate = 0, up = 0;                        // its derivatives
};

namespace act {

inline constexpr float density = 0.398942280f;                                             // 1/sqrt(2 pi)
struct Slope { float value, slope; };
[[gnu::always_inline]] COTERIE_HD inline Slope at_most(float v, float limit) { return {is_nan(v) ? v : v > limit ? limit : v, v > limit ? 0.f : 1.f}; }
[[gnu::always_inline]] COTERIE_HD inline Slope within(float v, float limit) { return {is_nan(v) ? v : v > limit ? limit : v < -limit ? -limit : v, v > limit || v < -limit ? 0.f : 1.f}; }
[[gnu::always_inline]] COTERIE_HD inline Slope positive(float v) { return {is_nan(v) ? v : v > 0.f ? v : 0.f, v > 0.f ? 1.f : is_nan(v) ? v : 0.f}; }
// v * sigmoid(alpha * v).
template <class M> [[gnu::always_inline]] COTERIE_HD inline Slope silu(float v, float alpha) {
  float const s = M::sigmoid(alpha * v);
  return {v * s, s + alpha * v * s * (1 - s)};
}
[[gnu::always_inline]] COTERIE_HD inline Slope gelu(float v) {
  float const p = 0.5f * (1.f + math::erf(v * root));
  return {v * p, math::fma(v * density, math::exp(-0.5f * v * v), p)};
}
[[gnu::always_inline]] COTERIE_HD inline Slope gelu_tanh(float v) {
  float const t = math::tanh(tanh_scale * math::fma(0.044715f * v * v, v, v)), inner = tanh_scale * math::fma(3 * 0.044715f * v, v, 1.f);
  return {0.5f * v * (1.f + t), math::fma(0.5f * v * (1.f - t * t), inner, 0.5f * (1.f + t))};
}
[[gnu::always_inline]] COTERIE_HD inline Slope tanh(float v, float limit) {
  float const t = math::tanh(v / limit);
  return {limit * t, 1 - t * t};
}

}

// gate, up -> the hidden value and its derivatives; ungated activations have only up.
template <ExpertConfig X, class M = act::Portable> [[gnu::always_inline]] COTERIE_HD inline ActivationGradient activation_gradient(float g, float u) {
  auto const product = [](act::Slope a, act::Slope b) { return ActivationGradient{a.value * b.value, a.slope * b.value, a.value * b.slope}; };
  auto const alone = [](act::Slope a) { return ActivationGradient{a.value, 0, a.slope}; };
  act::Slope const plain{u, 1};
  if constexpr (X.act == Act::silu_mul) return product(act::silu<M>(g, 1), plain);
  else if constexpr (X.act == Act::gelu_tanh_mul) return product(act::gelu_tanh(g), plain);
  else if constexpr (X.act == Act::gelu_mul) return product(act::gelu(g), plain);
  else if constexpr (X.act == Act::relu_mul) return product(act::positive(g), plain);
  else if constexpr (X.act == Act::oai_mul || X.act == Act::silu_mul_clamp_before) {
    act::Slope const c = act::at_most(g, X.limit), s = act::silu<M>(c.value, X.act == Act::oai_mul ? X.alpha : 1.f), w = act::within(u, X.limit);
    return product({s.value, s.slope * c.slope}, {w.value + (X.act == Act::oai_mul ? 1.f : 0.f), w.slope});
  } else if constexpr (X.act == Act::silu_mul_clamp_after) {
    act::Slope const s = act::silu<M>(g, 1), c = act::at_most(s.value, X.limit);
    return product({c.value, s.slope * c.slope}, act::within(u, X.limit));
  } else if constexpr (X.act == Act::situ_mul) {
    act::Slope const t = act::tanh(g, X.alpha);
    float const s = M::sigmoid(g);
    return product({t.value * s, math::fma(t.value * s, 1 - s, t.slope * s)}, act::tanh(u, X.limit));
  } else if constexpr (X.act == Act::relu2) {
    act::Slope const p = act::positive(u);
    return alone({p.value * p.value, 2 * p.value});
  } else if constexpr (X.act == Act::relu) return alone(act::positive(u));
  else return alone(act::gelu(u));
}

}}

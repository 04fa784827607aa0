// What an expert does between its two products, as each model defines it. Errors follow from the operations: slopes are
// taken where the argument may be, so |silu'| <= 1.0998, |gelu'| <= 1.13 and |sigmoid'| <= 1/4 are never worse than that.
#pragma once
#include "real.hpp"

namespace coterie { inline namespace v0 { namespace reference {

// Roundoffs of a sigmoid at a inside an activation: where the hidden value becomes 16 bits, a GPU may take units that are faster (device/sigmoid.cuh).
// Below -110 it is less than the least fp32, whatever its roundoffs.
inline double activation_ulps(DType hidden, Real a) { return hidden == DType::fp32 || std::isnan(a.value) ? 8 : 20 + std::fmin(std::fmax(a.error - a.value, 0.), 110.); }

// g: gate row's output, u: up row's. Ungated activations read u alone. hidden: what the result is stored in afterwards.
inline Real activate(ExpertConfig const& x, Real g, Real u, DType hidden) {
  Real const one{1, 0}, half{0.5, 0}, alpha{double{x.alpha}, 0}, limit{double{x.limit}, 0};
  auto const within = [&](Real v) { return at_least(at_most(v, limit.value), -limit.value); };
  auto const sigmoid = [&](Real v) { return reference::sigmoid(v, activation_ulps(hidden, v)); };
  auto const silu = [&](Real v) { return v * sigmoid(v); };
  auto const gelu = [&](Real v) { return half * v * (one + erf(v * constant(0.70710678118654752))); };
  switch (x.act) {
    case Act::silu_mul: return silu(g) * u;
    case Act::gelu_tanh_mul:
      return half * g * (one + tanh(constant(0.79788456080286536) * (g + constant(0.044715) * g * g * g))) * u;
    case Act::gelu_mul: return gelu(g) * u;
    case Act::relu_mul: return at_least(g, 0) * u;
    case Act::oai_mul: {
      Real const c = at_most(g, limit.value);
      return c * sigmoid(alpha * c) * (within(u) + one);
    }
    case Act::silu_mul_clamp_before: return silu(at_most(g, limit.value)) * within(u);
    case Act::silu_mul_clamp_after: return at_most(silu(g), limit.value) * within(u);
    case Act::situ_mul: return alpha * tanh(g / alpha) * sigmoid(g) * (limit * tanh(u / limit));
    case Act::relu2: return at_least(u, 0) * at_least(u, 0);
    case Act::relu: return at_least(u, 0);
    case Act::gelu: return gelu(u);
  }
  return unknown;
}

}}}

// What an expert does between its two products (formulas and sources: docs/experts.md).
#pragma once
#include "../config.hpp"
#include "../router/math.hpp"

namespace coterie { inline namespace v0 {

namespace act {
inline constexpr float root = 0.707106781f, tanh_scale = 0.797884561f;                     // 1/sqrt 2, sqrt(2/pi)
// Who takes the sigmoid: the same bits everywhere. (Or a unit of the GPU, where 16 bits are left of it: device/sigmoid.cuh.)
struct Portable {
  [[gnu::always_inline]] COTERIE_HD static inline float sigmoid(float x) { return math::sigmoid(x); }
};
}

// gate, up -> hidden value, fp32. limit > 0 replaces the config's limit (shared experts may have their own).
template <ExpertConfig X, class M = act::Portable>
[[gnu::always_inline]] COTERIE_HD inline float activate(float g, float u) {
  constexpr float limit = X.limit, alpha = X.alpha;
  auto const at_most = [](float v) { return is_nan(v) ? v : v > limit ? limit : v; };      // NaN stays NaN, by bits
  auto const within = [](float v) { return is_nan(v) ? v : v > limit ? limit : v < -limit ? -limit : v; };
  auto const positive = [](float v) { return is_nan(v) ? v : v > 0.f ? v : 0.f; };
  if constexpr (X.act == Act::silu_mul) return g * M::sigmoid(g) * u;
  else if constexpr (X.act == Act::gelu_tanh_mul) return 0.5f * g * (1.f + math::tanh(act::tanh_scale * math::fma(0.044715f * g * g, g, g))) * u;
  else if constexpr (X.act == Act::gelu_mul) return 0.5f * g * (1.f + math::erf(g * act::root)) * u;
  else if constexpr (X.act == Act::relu_mul) return positive(g) * u;
  else if constexpr (X.act == Act::oai_mul) {
    float const c = at_most(g);
    return c * M::sigmoid(alpha * c) * (within(u) + 1.f);
  } else if constexpr (X.act == Act::silu_mul_clamp_before) {
    float const c = at_most(g);
    return c * M::sigmoid(c) * within(u);
  } else if constexpr (X.act == Act::silu_mul_clamp_after) return at_most(g * M::sigmoid(g)) * within(u);
  else if constexpr (X.act == Act::situ_mul) return alpha * math::tanh(g / alpha) * M::sigmoid(g) * (limit * math::tanh(u / limit));
  else if constexpr (X.act == Act::relu2) return positive(u) * positive(u);
  else if constexpr (X.act == Act::relu) return positive(u);
  else return 0.5f * u * (1.f + math::erf(u * act::root));
}

}}

// One expert applied to one row, and what stands around the experts: shared experts, the latent width, the final sum.
#pragma once
#include "activation.hpp"
#include "select.hpp"
#include "weights.hpp"

namespace coterie { inline namespace v0 { namespace reference {

// One row of a matrix times one vector, plus a bias. roundoff: relative error of numbers that fp32 does not hold; code: what they are
// before their scales.
inline Real product(DType layer, Numbers const& matrix, std::size_t row, std::vector<Real> const& a, Numbers const* bias = nullptr, double roundoff = 0, Numbers const* code = nullptr) {
  Sum sum{layer};
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const w = matrix[row * a.size() + i];
    sum.add(a[i], {w, roundoff == 0 || !std::isfinite(w) || holds32(w) ? 0 : roundoff * std::fabs(w) + tiny});
    if (code) sum.unscaled(a[i], w, (*code)[row * a.size() + i]);
  }
  if (bias && !bias->empty()) sum.add({(*bias)[row], 0});
  return sum.total();
}

// Output of real expert e for one row, not yet rounded to dtype: x[W] -> [W].
inline std::vector<Real> expert(Config const& c, Weights const& w, int e, std::vector<Real> const& x) {
  auto const i = static_cast<std::size_t>(e);
  auto const of = [i](bool has, std::vector<Numbers> const& all) { return has ? &all[i] : nullptr; };
  bool const biased = c.expert.bias != 0, coded = !w.up_code.empty();
  std::vector<Real> h, out;
  for (std::size_t f = 0; f < static_cast<std::size_t>(c.ffn); ++f) {
    Real const g = gated(c.expert.act) ? product(c.dtype, w.gate[i], f, x, of(biased, w.gate_bias), w.expert_roundoff, of(coded, w.gate_code)) : Real{};
    Real const u = product(c.dtype, w.up[i], f, x, of(biased, w.up_bias), w.expert_roundoff, of(coded, w.up_code));
    h.push_back(to(c.dtype, activate(c.expert, g, u, c.dtype)));
  }
  for (std::size_t o = 0; o < static_cast<std::size_t>(width(c)); ++o) out.push_back(product(c.dtype, w.down[i], o, h, of(biased, w.down_bias), w.expert_roundoff, of(coded, w.down_code)));
  return out;
}

// All shared experts for one token, not yet rounded: x[H] -> [H]. gamma: the router's weights for them, or empty.
inline std::vector<Real> shared_experts(Config const& c, Weights const& w, std::vector<Real> const& x, std::vector<Real> const& gamma) {
  ExpertConfig own = c.expert;
  if (c.shared.limit > 0) own.limit = c.shared.limit;
  std::vector<Real> h, out;
  for (int f = 0; f < c.shared.ffn; ++f) {
    auto const i = static_cast<std::size_t>(f);
    Real const g = gated(own.act) ? product(c.dtype, w.shared_gate, i, x) : Real{};
    Real v = to(c.dtype, activate(own, g, product(c.dtype, w.shared_up, i, x), c.dtype));
    if (!gamma.empty()) v = to(c.dtype, v * gamma[static_cast<std::size_t>(f / (c.shared.ffn / c.shared.count))]);
    h.push_back(v);
  }
  for (std::size_t o = 0; o < static_cast<std::size_t>(c.hidden); ++o) out.push_back(product(c.dtype, w.shared_down, o, h));
  return out;
}

// Factors of the routed sum and of the shared experts' output.
struct Mix { Real routed{1, 0}, shared{1, 0}; };
inline Mix mix_of(Config const& c, Weights const& w, std::vector<Real> const& x) {
  auto const value = [&](std::size_t row) {
    Sum sum{c.dtype};
    for (std::size_t h = 0; h < x.size(); ++h) sum.add(x[h], {w.mix[row * x.size() + h], 0});
    sum.add({w.mix_bias[row], 0});
    return sum.total();
  };
  Mix m;
  if (c.shared.mix == SharedMix::sigmoid_gate) m.shared = sigmoid(value(0));
  if (c.shared.mix == SharedMix::average) m = {{0.5, 0}, {0.5, 0}};
  if (c.shared.mix == SharedMix::coefficients) {
    std::vector<Real> const p = softmax({value(0), value(1)});
    m = {p[0], p[1]};
  }
  return m;
}

// x * rsqrt(mean(x^2) + epsilon) * norm.
inline std::vector<Real> rms_norm(Weights const& w, std::vector<Real> const& x) {
  Sum square;
  for (Real a : x) square.add(a, a);
  Real const root = sqrt(square.total() / Real{static_cast<double>(x.size()), 0} + Real{w.latent_epsilon, 0}), r = Real{1, 0} / root;
  std::vector<Real> to_;
  for (std::size_t i = 0; i < x.size(); ++i) to_.push_back(x[i] * r * Real{w.latent_norm[i], 0});
  return to_;
}

}}}

// Derivatives of all activations against central differences of the reference in double; clamps, kinks, far ends and NaN.
#include <coterie/experts/activation_gradient.hpp>
#include <coterie/reference/activation.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <cstdio>
#include "../cases.hpp"

namespace {
using namespace coterie;

constexpr ExpertConfig of(Act a, float alpha = 1.702f, float limit = 7) { return {.act = a, .alpha = alpha, .limit = limit}; }
double value(ExpertConfig const& x, double g, double u) { return reference::activate(x, {g, 0}, {u, 0}, DType::fp32).value; }
// Whether a clamp or a kink lies within h of the point.
bool kinked(ExpertConfig const& x, double g, double u, double h) {
  auto const near = [h](double v, double at) { return std::fabs(v - at) < 2 * h; };
  bool const limited = x.act == Act::oai_mul || x.act == Act::silu_mul_clamp_before || x.act == Act::silu_mul_clamp_after;
  double const limit = double{x.limit}, clamped = x.act == Act::silu_mul_clamp_after ? g * reference::sigmoid(g) : g;
  return near(g, 0) || near(u, 0) || (limited && (near(clamped, limit) || near(u, limit) || near(u, -limit)));
}

template <ExpertConfig X> double worst() {
  cases::Random random{9};
  double const h = 1e-5;
  double error = 0;
  for (int i = 0; i < 20000; ++i) {
    double const size = i % 4 == 0 ? 0.1 : i % 4 == 1 ? 2 : 9;
    float const g = static_cast<float>(size * random.normal()), u = static_cast<float>(size * random.normal());
    double const dg = double{g}, du = double{u};
    if (kinked(X, dg, du, h)) continue;
    ActivationGradient const got = activation_gradient<X>(g, u);
    double const gate = (value(X, dg + h, du) - value(X, dg - h, du)) / (2 * h), up = (value(X, dg, du + h) - value(X, dg, du - h)) / (2 * h);
    // What fp32 makes of it: a few roundings of what is multiplied, and of the difference's own noise.
    double const scale = 1 + std::fabs(dg) + std::fabs(du);
    error = std::fmax(error, std::fabs(double{got.gate} - gate) / scale);
    error = std::fmax(error, std::fabs(double{got.up} - up) / scale);
    float const forward = activate<X>(g, u);
    CHECK(std::fabs(double{got.hidden} - double{forward}) <= 4e-7 * std::fabs(double{forward}) + 1e-30);
  }
  return error;
}
template <ExpertConfig X> void check(char const* name) {
  double const error = worst<X>();
  std::printf("activation gradient, %s: worst error %.1e of the larger operand\n", name, error);
  CHECK(error < 2e-6);
}

TEST_CASE("derivatives of activations are those of the reference") {
  check<of(Act::silu_mul)>("silu_mul"), check<of(Act::gelu_tanh_mul)>("gelu_tanh_mul"), check<of(Act::gelu_mul)>("gelu_mul");
  check<of(Act::relu_mul)>("relu_mul"), check<of(Act::oai_mul)>("oai_mul"), check<of(Act::silu_mul_clamp_before, 1, 4)>("silu_mul_clamp_before");
  check<of(Act::silu_mul_clamp_after, 1, 4)>("silu_mul_clamp_after"), check<of(Act::situ_mul, 1.5f, 3)>("situ_mul");
  check<of(Act::relu2)>("relu2"), check<of(Act::relu)>("relu"), check<of(Act::gelu)>("gelu");
}

TEST_CASE("at kinks and beyond clamps the derivative is 0, and NaN stays NaN") {
  CHECK(activation_gradient<of(Act::relu)>(0, 0).up == 0);
  CHECK(activation_gradient<of(Act::relu_mul)>(0, 3).gate == 0);
  CHECK(activation_gradient<of(Act::oai_mul)>(7.5f, 1).gate == 0);
  CHECK(activation_gradient<of(Act::oai_mul)>(7, 7).up != 0);                    // a clamp's own limit lets it through, as torch's does
  CHECK(activation_gradient<of(Act::oai_mul)>(1, -7.5f).up == 0);
  float const nan = bit_cast<float>(0x7fc00000u);
  CHECK(is_nan(activation_gradient<of(Act::silu_mul)>(nan, 1).gate));
  CHECK(is_nan(activation_gradient<of(Act::silu_mul)>(1, nan).gate));
  CHECK(is_nan(activation_gradient<of(Act::relu)>(0, nan).up));
  CHECK(activation_gradient<of(Act::silu_mul)>(-200, 1).gate == 0);              // exp underflows, nothing overflows
  CHECK(activation_gradient<of(Act::silu_mul)>(200, 1).gate == 1);
}

}

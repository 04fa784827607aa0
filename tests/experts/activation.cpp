// All activations against their definitions in double, clamps and NaN included.
#include <coterie/experts/activation.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <initializer_list>
#include <limits>

namespace {
using namespace coterie;

double sigmoid(double a) { return a >= 0 ? 1 / (1 + std::exp(-a)) : std::exp(a) / (1 + std::exp(a)); }
double gelu(double v) { return 0.5 * v * std::erfc(-v / std::sqrt(2.)); }
double at_most(double v, double limit) { return std::fmin(v, limit); }
double within(double v, double limit) { return std::fmax(-limit, std::fmin(v, limit)); }

// The definition (model zoo, section 1).
double define(ExpertConfig const& x, double g, double u) {
  double const a = double{x.alpha}, lim = double{x.limit}, pi = 3.14159265358979323846;
  switch (x.act) {
    case Act::silu_mul: return g * sigmoid(g) * u;
    case Act::gelu_tanh_mul: return .5 * g * (1 + std::tanh(std::sqrt(2 / pi) * (g + .044715 * g * g * g))) * u;
    case Act::gelu_mul: return gelu(g) * u;
    case Act::relu_mul: return std::fmax(g, 0.) * u;
    case Act::oai_mul: return at_most(g, lim) * sigmoid(a * at_most(g, lim)) * (within(u, lim) + 1);
    case Act::silu_mul_clamp_before: return at_most(g, lim) * sigmoid(at_most(g, lim)) * within(u, lim);
    case Act::silu_mul_clamp_after: return at_most(g * sigmoid(g), lim) * within(u, lim);
    case Act::situ_mul: return a * std::tanh(g / a) * sigmoid(g) * (lim * std::tanh(u / lim));
    case Act::relu2: return std::fmax(u, 0.) * std::fmax(u, 0.);
    case Act::relu: return std::fmax(u, 0.);
    case Act::gelu: return gelu(u);
  }
  return NAN;
}
// What 1 + erf and 1 + tanh lose to cancellation is a roundoff of the factor before them.
double magnitude(ExpertConfig const& x, double g, double u) {
  if (x.act == Act::gelu_tanh_mul || x.act == Act::gelu_mul) return std::fabs(0.5 * g * u);
  return x.act == Act::gelu ? std::fabs(0.5 * u) : 0;
}

// The worst |error| over 16 roundoffs of the value (a function of 3 ulp whose argument is off by one, and three products)
// plus 8 of what cancels.
template <ExpertConfig X> double worst() {
  double most = 0;
  for (int i = -260; i <= 260; ++i)
    for (int j = -130; j <= 130; ++j) {
      float const g = static_cast<float>(i * 0.0771), u = static_cast<float>(j * 0.1543);
      double const want = define(X, double{g}, double{u});
      double const allowed = 16 * 0x1p-24 * std::fabs(want) * (1 + std::fabs(double{g})) + 8 * 0x1p-24 * magnitude(X, double{g}, double{u}) + 0x1p-140;
      most = std::fmax(most, std::fabs(double{activate<X>(g, u)} - want) / allowed);
    }
  return most;
}
template <ExpertConfig X> void check_nan() {
  float const nan = std::numeric_limits<float>::quiet_NaN();
  for (float v : {0.f, -3.f, 2.f, 100.f, -100.f}) {
    CHECK(is_nan(activate<X>(v, nan)));
    if (gated(X.act)) CHECK(is_nan(activate<X>(nan, v)));
    if (!gated(X.act)) CHECK(activate<X>(nan, v) == activate<X>(0, v));            // there is no gate
  }
}
template <ExpertConfig X> void check() {
  double const w = worst<X>();
  CAPTURE(static_cast<int>(X.act));
  CHECK(w <= 1);
  CHECK(w > 1e-4);                               // a bound that nothing comes near would say nothing
  check_nan<X>();
}
template <ExpertConfig X> void check_exact() {
  CAPTURE(static_cast<int>(X.act));
  CHECK(worst<X>() <= 1);
  check_nan<X>();
}
}

TEST_SUITE("experts") {
  TEST_CASE("activations are their definitions") {
    check<ExpertConfig{.act = Act::silu_mul}>();
    check<ExpertConfig{.act = Act::gelu_tanh_mul}>();
    check<ExpertConfig{.act = Act::gelu_mul}>();
    check<ExpertConfig{.act = Act::relu_mul}>();
    check<ExpertConfig{.act = Act::oai_mul}>();
    check<ExpertConfig{.act = Act::oai_mul, .alpha = 1.5f, .limit = 3}>();
    check<ExpertConfig{.act = Act::silu_mul_clamp_before, .limit = 10}>();
    check<ExpertConfig{.act = Act::silu_mul_clamp_after, .limit = 7}>();
    check<ExpertConfig{.act = Act::situ_mul, .alpha = 4, .limit = 25}>();
    check<ExpertConfig{.act = Act::relu2}>();
    check_exact<ExpertConfig{.act = Act::relu}>();
    check<ExpertConfig{.act = Act::gelu}>();
  }
  TEST_CASE("clamps bite where they are defined to") {
    constexpr ExpertConfig oai{.act = Act::oai_mul}, before{.act = Act::silu_mul_clamp_before, .limit = 10}, after{.act = Act::silu_mul_clamp_after, .limit = 10};
    CHECK(activate<oai>(50, 1) == activate<oai>(7, 1));                  // the gate only from above
    CHECK(activate<oai>(-8, 1) != activate<oai>(-7, 1));
    CHECK(activate<oai>(2, 50) == activate<oai>(2, 7));                  // up from both sides
    CHECK(activate<oai>(2, -50) == activate<oai>(2, -7));
    CHECK(activate<oai>(2, -1) == 0);                                    // (up + 1)
    CHECK(activate<before>(50, 50) == activate<before>(10, 10));
    CHECK(activate<after>(50, -50) == -100);                             // the same limit after silu is another function
    CHECK(activate<before>(50, -50) != -100);
    float const infinity = std::numeric_limits<float>::infinity();
    CHECK(activate<oai>(infinity, infinity) == activate<oai>(7, 7));
    CHECK(activate<before>(infinity, -infinity) == activate<before>(10, -10));
    CHECK(activate<after>(infinity, infinity) == 100);
  }
  TEST_CASE("ReLU kinds are exact, negative zero and infinities included") {
    constexpr ExpertConfig relu{.act = Act::relu}, relu2{.act = Act::relu2}, mul{.act = Act::relu_mul};
    float const infinity = std::numeric_limits<float>::infinity();
    for (int i = -300; i < 300; ++i) {
      float const v = static_cast<float>(i), p = i > 0 ? v : 0;
      CHECK(activate<relu>(7, v) == p);
      CHECK(activate<relu2>(7, v) == p * p);
      CHECK(activate<mul>(v, 3) == 3 * p);
    }
    CHECK(activate<relu>(0, -0.f) == 0);
    CHECK(activate<relu>(0, infinity) == infinity);
    CHECK(activate<relu>(0, -infinity) == 0);
  }
}

// The router's own functions against double, conversions over every 16-bit value, random numbers against known answers.
#include <coterie/router/random.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <initializer_list>

namespace {
using namespace coterie;

// One unit in fp32's last place at t.
double ulp(double t) {
  int const e = t == 0 ? -126 : std::ilogb(t);
  return std::ldexp(1., (e < -126 ? -126 : e) - 23);
}
// The worst error in ulp (or absolute) over bit patterns of [low, high], `step` apart: every exponent, mantissas at random.
template <class F, class G> double worst(float low, float high, F const& f, G const& exact, bool absolute = false, std::uint64_t step = 8191) {
  double most = 0;
  for (std::uint64_t b = 0; b < std::uint64_t{1} << 32; b += step) {
    float const x = math::of_bits(static_cast<std::uint32_t>(b));
    if (!(x >= low && x <= high)) continue;
    double const t = exact(double{x}), error = std::fabs(double{f(x)} - t);
    most = std::fmax(most, absolute ? error : error / ulp(t));
    if (std::isnan(error)) return error;
  }
  return most;
}

double exact_sigmoid(double x) { return x >= 0 ? 1 / (1 + std::exp(-x)) : std::exp(x) / (1 + std::exp(x)); }
double exact_softplus(double x) { return std::fmax(x, 0.) + std::log1p(std::exp(-std::fabs(x))); }
constexpr double pi = 3.14159265358979323846;

// The nearest number with `digits` binary digits, exponents from `least`, by double arithmetic; beyond `most`: infinity.
double nearest(double v, int digits, int least, double most) {
  if (v == 0 || !std::isfinite(v)) return v;
  int const e = std::ilogb(v) < least ? least : std::ilogb(v);
  double const quantum = std::ldexp(1., e - digits + 1), r = std::nearbyint(v / quantum) * quantum;
  return std::fabs(r) > most ? std::copysign(INFINITY, v) : r;
}
double nearest_bf16(double v) { return nearest(v, 8, -126, 0x1.fep127); }
double nearest_fp16(double v) { return nearest(v, 11, -14, 65504); }
// What a 16-bit pattern means, by its definition.
double meaning(unsigned bits, int mantissa_bits, int bias) {
  unsigned const exponents = (1u << (15 - mantissa_bits)) - 1;
  unsigned const exponent = bits >> mantissa_bits & exponents, mantissa = bits & ((1u << mantissa_bits) - 1);
  double const sign = bits >> 15 ? -1 : 1;
  if (exponent == exponents) return mantissa ? NAN : sign * INFINITY;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp(mantissa + (1u << mantissa_bits), static_cast<int>(exponent) - bias - mantissa_bits);
}

template <class T, class Nearest> void check_conversions(int mantissa_bits, int bias, Nearest const& near) {
  long wrong_to = 0, wrong_from = 0, wrong_nan = 0;
  auto const rounds = [&](float v) {
    float const got = rounded<T>(v);
    double const want = near(double{v});
    wrong_from += !(double{got} == want && std::signbit(got) == std::signbit(v));
  };
  for (unsigned b = 0; b < 65536; ++b) {
    T const value{static_cast<std::uint16_t>(b)};
    double const want = meaning(b, mantissa_bits, bias);
    float const got = to_float(value);
    if (std::isnan(want)) {
      wrong_to += !is_nan(got);
      wrong_nan += !is_nan(rounded<T>(got)) || std::signbit(rounded<T>(got)) != (b >> 15 != 0);
      continue;
    }
    wrong_to += !(double{got} == want && std::signbit(got) == (b >> 15 != 0));
    wrong_from += from_float<T>(got).bits != b;
    // Around the value and around the tie with the next one of larger magnitude.
    rounds(std::nextafter(got, INFINITY)), rounds(std::nextafter(got, -INFINITY));
    double const next = meaning(b + 1, mantissa_bits, bias);
    if ((b & 0x7fffu) == 0x7fffu || !std::isfinite(next) || !std::isfinite(want)) continue;
    float const tie = static_cast<float>((want + next) / 2);             // exact: one digit more than T has
    rounds(tie), rounds(std::nextafter(tie, INFINITY)), rounds(std::nextafter(tie, -INFINITY));
  }
  CHECK(wrong_to == 0);
  CHECK(wrong_nan == 0);
  for (std::uint64_t b = 0; b < std::uint64_t{1} << 32; b += 10007) {
    float const v = math::of_bits(static_cast<std::uint32_t>(b));
    if (is_nan(v)) wrong_nan += !is_nan(rounded<T>(v));
    else rounds(v);
  }
  CHECK(wrong_from == 0);
  CHECK(wrong_nan == 0);
}

// Philox 4x32-10 as its paper reads.
struct Words { std::uint32_t w[4]; };
Words philox(Words c, std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round, k0 += 0x9e3779b9u, k1 += 0xbb67ae85u) {
    std::uint64_t const a = 0xd2511f53ull * c.w[0], b = 0xcd9e8d57ull * c.w[2];
    c = {{static_cast<std::uint32_t>(b >> 32) ^ c.w[1] ^ k0, static_cast<std::uint32_t>(b),
          static_cast<std::uint32_t>(a >> 32) ^ c.w[3] ^ k1, static_cast<std::uint32_t>(a)}};
  }
  return c;
}

// Mean, variance, third and fourth central moment.
struct Moments { double mean, variance, third, fourth; };
template <class Draw> Moments moments(int n, Draw const& draw) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += double{draw(i)};
  Moments m{sum / n, 0, 0, 0};
  for (int i = 0; i < n; ++i) {
    double const d = double{draw(i)} - m.mean;
    m.variance += d * d / n, m.third += d * d * d / n, m.fourth += d * d * d * d / n;
  }
  return m;
}
}

TEST_SUITE("router") {
  // The limits are rounded up from scans with a step of 53 bit patterns; denormal results count in their own ulp.
  TEST_CASE("math: exp is within 1 ulp and saturates") {
    CHECK(worst(-104.f, 88.7228317f, [](float x) { return math::exp(x); }, [](double x) { return std::exp(x); }) < 1);     // 0.89
    CHECK(math::exp(0.f) == 1.f);
    CHECK(math::exp(-0.f) == 1.f);
    CHECK(math::exp(88.7228394f) == INFINITY);
    CHECK(math::exp(INFINITY) == INFINITY);
    CHECK(math::exp(-INFINITY) == 0.f);
    CHECK(math::exp(-104.f) == 0.f);
    CHECK(math::exp(-103.9f) == 0x1p-149f);
    CHECK(math::exp(-3e38f) == 0.f);
  }
  TEST_CASE("math: logarithms are within 2 ulp") {
    CHECK(worst(0, 1.f / 3, [](float x) { return math::twice_atanh(x); }, [](double x) { return 2 * std::atanh(x); }) < 0.6);    // 0.55
    CHECK(worst(0, 1, [](float x) { return math::log1p_unit(x); }, [](double x) { return std::log1p(x); }) < 2);                // 1.93
    CHECK(worst(0x1p-126f, 0x1.fffffep127f, [](float x) { return math::log(x); }, [](double x) { return std::log(x); }) < 2);   // 1.91
    CHECK(math::log(1.f) == 0.f);
    CHECK(math::log1p_unit(0.f) == 0.f);
  }
  TEST_CASE("math: sigmoid, softplus, tanh and erf are within 3 ulp") {
    CHECK(worst(-3e38f, 3e38f, [](float x) { return math::sigmoid(x); }, exact_sigmoid) < 2.5);                                 // 2.37
    CHECK(worst(-3e38f, 3e38f, [](float x) { return math::softplus(x); }, exact_softplus) < 2.8);                               // 2.60
    CHECK(worst(-3e38f, 3e38f, [](float x) { return math::tanh(x); }, [](double x) { return std::tanh(x); }) < 1.6);            // 1.50
    CHECK(worst(-3e38f, 3e38f, [](float x) { return math::erf(x); }, [](double x) { return std::erf(x); }) < 2.6);              // 2.46
    CHECK(math::sigmoid(INFINITY) == 1.f);
    CHECK(math::sigmoid(-INFINITY) == 0.f);
    CHECK(math::sigmoid(0.f) == 0.5f);
    CHECK(math::softplus(INFINITY) == INFINITY);
    CHECK(math::softplus(-INFINITY) == 0.f);
    for (float sign : {1.f, -1.f}) {
      CHECK(math::tanh(sign * INFINITY) == sign);
      CHECK(math::erf(sign * INFINITY) == sign);
      CHECK(math::tanh(sign * 0.f) == 0.f);
      CHECK(math::erf(sign * 0.f) == 0.f);
    }
  }
  TEST_CASE("math: odd functions are odd") {
    long wrong = 0;
    for (std::uint64_t b = 0; b < 0x7f800000u; b += 8191) {
      float const x = math::of_bits(static_cast<std::uint32_t>(b));
      wrong += math::tanh(-x) != -math::tanh(x) || math::erf(-x) != -math::erf(x);
    }
    CHECK(wrong == 0);
  }
  TEST_CASE("math: cos_turn is within 2^-22") {
    auto const f = [](float u) { return math::cos_turn(u); };
    CHECK(worst(0, 0x1.fffffep-1f, f, [](double u) { return std::cos(2 * pi * u); }, true) < 0x1p-22);                          // 1.5e-7
    CHECK(math::cos_turn(0.f) == 1.f);
    CHECK(math::cos_turn(0.5f) == -1.f);
    CHECK(math::cos_turn(0.25f) == 0.f);
    CHECK(math::cos_turn(0.75f) == 0.f);
  }
  TEST_CASE("math: NaN stays NaN") {
    for (std::uint32_t bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xffffffffu, 0x7fc12345u}) {
      float const nan = math::of_bits(bits);
      CHECK(is_nan(nan));
      CHECK(is_nan(math::exp(nan)));
      CHECK(is_nan(math::sigmoid(nan)));
      CHECK(is_nan(math::softplus(nan)));
      CHECK(is_nan(math::tanh(nan)));
      CHECK(is_nan(math::erf(nan)));
      CHECK(is_nan(rounded<bf16>(nan)));
      CHECK(is_nan(rounded<fp16>(nan)));
    }
    CHECK_FALSE(is_nan(INFINITY));
    CHECK_FALSE(is_nan(-INFINITY));
  }

  TEST_CASE("dtype: bf16, all values both ways, ties to even") { check_conversions<bf16>(7, 127, nearest_bf16); }
  TEST_CASE("dtype: fp16, all values both ways, ties to even") { check_conversions<fp16>(10, 15, nearest_fp16); }
  TEST_CASE("dtype: overflow goes to infinity, the largest numbers stay") {
    CHECK(rounded<fp16>(65504.f) == 65504.f);
    CHECK(rounded<fp16>(65519.996f) == 65504.f);
    CHECK(rounded<fp16>(65520.f) == INFINITY);
    CHECK(rounded<bf16>(0x1.fffffep127f) == INFINITY);
    CHECK(rounded<bf16>(0x1.fefffep127f) == 0x1.fep127f);
    CHECK(rounded<fp16>(0x1p-25f) == 0.f);                               // a tie, to even
    CHECK(rounded<fp16>(0x1.000002p-25f) == 0x1p-24f);
  }

  TEST_CASE("random: Philox known answers (Random123)") {
    Words const zeros = philox({{0, 0, 0, 0}}, 0, 0), ones = philox({{~0u, ~0u, ~0u, ~0u}}, ~0u, ~0u);
    std::uint32_t const want_zeros[]{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, want_ones[]{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    std::uint32_t const want_pi[]{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    for (std::uint32_t i = 0; i < 4; ++i) {
      CHECK(zeros.w[i] == want_zeros[i]);
      CHECK(ones.w[i] == want_ones[i]);
      CHECK(random::word(0, static_cast<random::Stream>(0), 0, i) == want_zeros[i]);
      CHECK(random::word(0x299f31d0a4093822u, static_cast<random::Stream>(0x03707344), 0x85a308d3243f6a88u, 4 * 0x13198a2eu + i) == want_pi[i]);
    }
    long wrong = 0;
    for (std::uint32_t i = 0; i < 20000; ++i) {                          // words that word() cannot be asked for are covered by its twin
      std::uint64_t const seed = i * 0x9e3779b97f4a7c15u, token = i * 0xbf58476d1ce4e5b9u;
      std::uint32_t const index = i * 2654435761u, stream = 1 + i % 5;
      Words const w = philox({{static_cast<std::uint32_t>(token), static_cast<std::uint32_t>(token >> 32), index / 4, stream}},
                             static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
      wrong += random::word(seed, static_cast<random::Stream>(stream), token, index) != w.w[index % 4];
    }
    CHECK(wrong == 0);
  }
  TEST_CASE("random: uniform lies inside (0, 1) with the moments of one") {
    float low = 1, high = 0;
    auto const draw = [&](int i) {
      float const u = random::uniform(7, random::Stream::jitter, static_cast<std::uint64_t>(i / 64), static_cast<std::uint32_t>(i % 64));
      low = u < low ? u : low, high = u > high ? u : high;
      return u;
    };
    Moments const m = moments(200000, draw);                             // limits: five standard errors
    CHECK(low > 0);
    CHECK(high < 1);
    CHECK(std::fabs(m.mean - 0.5) < 5 * std::sqrt(1. / 12 / 200000));
    CHECK(std::fabs(m.variance - 1. / 12) < 5 * std::sqrt((1. / 80 - 1. / 144) / 200000));
    CHECK(std::fabs(m.third) < 5 * std::sqrt(1. / 448 / 200000));
  }
  TEST_CASE("random: gaussian and gumbel have their moments and are finite") {
    auto const g = [](int i) { return random::gaussian(11, random::Stream::softplus, static_cast<std::uint64_t>(i), 3); };
    Moments const normal = moments(200000, g);                           // five standard errors of a normal sample
    CHECK(std::fabs(normal.mean) < 5 * std::sqrt(1. / 200000));
    CHECK(std::fabs(normal.variance - 1) < 5 * std::sqrt(2. / 200000));
    CHECK(std::fabs(normal.third) < 5 * std::sqrt(15. / 200000));
    CHECK(std::fabs(normal.fourth - 3) < 5 * std::sqrt(96. / 200000));
    Moments const gumbel = moments(200000, [](int i) { return random::gumbel(11, random::Stream::gumbel, static_cast<std::uint64_t>(i), 0); });
    CHECK(std::fabs(gumbel.mean - 0.57721566) < 5 * std::sqrt(pi * pi / 6 / 200000));
    CHECK(std::fabs(gumbel.variance - pi * pi / 6) < 5 * std::sqrt(4.4 * pi * pi * pi * pi / 36 / 200000));   // kurtosis 5.4
    // The ends of uniform's range.
    for (float u : {0x1p-24f, 1 - 0x1p-24f}) {
      CHECK(std::isfinite(std::sqrt(-2 * math::log(u))));
      CHECK(std::isfinite(-math::log(-math::log(u))));
    }
  }
  TEST_CASE("random: seeds, streams, tokens and indices are apart") {
    int same = 0;
    for (std::uint32_t i = 0; i < 1000; ++i) {
      std::uint32_t const w = random::word(1, random::Stream::jitter, 5, i);
      same += w == random::word(2, random::Stream::jitter, 5, i);
      same += w == random::word(1, random::Stream::order, 5, i);
      same += w == random::word(1, random::Stream::jitter, 6, i);
      same += w == random::word(1, random::Stream::jitter, 5, i + 1);
      same += w == random::word(1 + (std::uint64_t{1} << 32), random::Stream::jitter, 5, i);
      same += w == random::word(1, random::Stream::jitter, 5 + (std::uint64_t{1} << 32), i);
    }
    CHECK(same == 0);
  }
}

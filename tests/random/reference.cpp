// The reference against what can be known without it: fp32 arithmetic in shuffled orders stays inside its bounds, its
// roundings are those of the types, and hand-worked figures of the originals come out.
#include <doctest/doctest.h>
#include <algorithm>
#include <coterie/reference.hpp>
#include "../cases.hpp"

namespace {

using namespace cases;

TEST_CASE("reference: rounding from double is the types' rounding") {
  Random random{base_seed()};
  for (int i = 0; i < 200'000; ++i) {
    float const v = std::bit_cast<float>(static_cast<std::uint32_t>(random.next()));
    if (std::isnan(v)) continue;
    REQUIRE_EQ(ref::nearest(ct::DType::bf16, ref::number(v)), ref::number(ct::from_float<ct::bf16>(v)));
    REQUIRE_EQ(ref::nearest(ct::DType::fp16, ref::number(v)), ref::number(ct::from_float<ct::fp16>(v)));
    REQUIRE_EQ(ref::nearest(ct::DType::fp32, ref::number(v)), ref::number(v));
  }
}

TEST_CASE("reference: fp32 sums in any order, fused or not, stay inside the bound") {
  Random random{base_seed() + 1};
  double worst = 0;
  int exact = 0;
  for (int round = 0; round < 4000; ++round) {
    int const n = 1 + random.below(90);
    bool const whole = random.one_in(4);
    std::vector<std::pair<float, float>> terms;
    ref::Sum sum;
    for (int i = 0; i < n; ++i) {
      auto const draw = [&] { return whole ? static_cast<float>(random.below(9) - 4) : static_cast<float>(std::ldexp(random.normal(), random.below(12) - 6)); };
      terms.push_back({draw(), draw()});
      sum.add({ref::number(terms.back().first), 0}, {ref::number(terms.back().second), 0});
    }
    ref::Real const want = sum.total();
    exact += want.error == 0;
    for (int order = 0; order < 6; ++order) {
      float fused = 0, plain = 0;
      for (auto const& [a, b] : terms) {
        fused = std::fma(a, b, fused);
        float const product = a * b;
        plain = plain + product;
      }
      for (float const got : {fused, plain}) {
        double const off = std::fabs(ref::number(got) - want.value);
        CHECK_LE(off, want.error);
        if (want.error > 0) worst = std::fmax(worst, off / want.error);
      }
      for (std::size_t i = terms.size(); i > 1; --i) std::swap(terms[i - 1], terms[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(i)))]);
    }
    if (whole) CHECK_EQ(want.error, 0);
  }
  MESSAGE("worst |difference| / bound of a sum: " << worst << "; sums known to be exact: " << exact);
  CHECK_GT(worst, 0.01);                         // a bound that is never approached would hide errors
}

TEST_CASE("reference: sums of quantised products, scaled before or a part at a time, stay inside the bound") {
  Random random{base_seed() + 4};
  double worst = 0;
  int exact = 0, overflown = 0, underflown = 0;
  for (int round = 0; round < 20'000; ++round) {
    int const n = 1 + random.below(90), size = random.below(6);          // 0: of near-overflow, 1: of near-underflow, 2: whole numbers
    int const exponent = size == 0 ? 118 + random.below(4) : size == 1 ? -128 + random.below(10) : 0;
    float before = 0, parts = 0;
    ref::Sum sum;
    for (int i = 0; i < n;) {
      auto const scale = static_cast<float>(size == 2 ? std::ldexp(1, random.below(3) - 1) : std::ldexp(random.normal(), size == 0 ? -12 : size == 1 ? 12 : -4));
      float part = 0;
      for (int end = std::min(n, i + 1 + random.below(40)); i < end; ++i) {
        auto const code = static_cast<float>(size == 2 ? random.below(5) - 2 : std::ldexp(random.below(511) - 255, size == 1 ? -8 : 0));
        float const a = size == 2 ? static_cast<float>(random.below(5) - 2) : ct::rounded<ct::bf16>(static_cast<float>(std::ldexp(random.normal(), exponent))), weight = code * scale;
        double const b = double{code} * double{scale};
        sum.add({double{a}, 0}, {b, ref::holds32(b) ? 0 : ref::unit * std::fabs(b) + ref::tiny}), sum.unscaled({double{a}, 0}, b, double{code});
        before = std::fma(a, weight, before);
        part = std::fma(std::fabs(a) < 0x1p-126f ? 0.f : a, code, part); // as the units that multiply bf16 do, without subnormal numbers
        if (std::fabs(part) < 0x1p-126f) underflown += part != 0, part = 0;
      }
      parts = std::fma(part, scale, parts);
    }
    ref::Real const want = sum.total();
    overflown += !std::isfinite(parts) && std::isfinite(before);
    if (!ref::known(want)) continue;
    exact += want.error == 0;
    if (size == 2) CHECK_EQ(want.error, 0);
    for (float const got : {before, parts}) {
      double const off = std::fabs(double{got} - want.value);
      CHECK_LE(off, want.error);
      if (want.error > 0) worst = std::fmax(worst, off / want.error);
    }
  }
  MESSAGE("worst |difference| / bound: " << worst << "; exact: " << exact << ", overflown in parts only: " << overflown << ", underflown: " << underflown);
  CHECK_GT(worst, 0.01);
  CHECK_GT(overflown, 0);
  CHECK_GT(underflown, 0);
}

TEST_CASE("reference: every activation in fp32 stays inside its bound") {
  Random random{base_seed() + 2};
  for (int a = 0; a <= static_cast<int>(ct::Act::gelu); ++a)
    for (int i = 0; i < 20'000; ++i) {
      ct::ExpertConfig const x{.act = static_cast<ct::Act>(a), .alpha = 1.702f, .limit = random.one_in(2) ? 7.f : 0.75f};
      double const size = std::ldexp(1., random.below(8) - 4);
      auto const g = static_cast<float>(size * random.normal()), u = static_cast<float>(size * random.normal());
      ref::Real const sharp = ref::activate(x, {ref::number(g), 0}, {ref::number(u), 0}, ct::DType::fp32);
      // Moving the operands inside their errors must not leave the bound: the slopes are right.
      double const eg = 1e-3 * size, eu = 1e-3 * size;
      ref::Real const loose = ref::activate(x, {ref::number(g), eg}, {ref::number(u), eu}, ct::DType::fp32);
      for (double sg : {-1., 0., 1.})
        for (double su : {-1., 0., 1.}) {
          ref::Real const moved = ref::activate(x, {ref::number(g) + sg * eg, 0}, {ref::number(u) + su * eu, 0}, ct::DType::fp32);
          REQUIRE_LE(std::fabs(moved.value - loose.value), loose.error * (1 + 1e-9));     // double has its own rounding
        }
      REQUIRE_LE(sharp.error, 1e-5 * (1 + std::fabs(sharp.value)) * (1 + size * size));
    }
}

TEST_CASE("reference: capacity rules of the originals for T=1000, E=7, factor 1.25") {
  auto const places = [](ct::Rounding rounding, int k, float factor) {
    ct::Config c{.experts = 7, .top_k = k, .hidden = 1, .ffn = 1};
    c.capacity = {.rounding = rounding, .factor = factor};
    return ref::places_of(c, 1000);
  };
  CHECK_EQ(places(ct::Rounding::mesh, 2, 1.25f), 178);
  CHECK_EQ(places(ct::Rounding::flaxformer, 2, 1.25f), 179);
  CHECK_EQ(places(ct::Rounding::deepspeed, 2, 1.25f), 358);
  CHECK_EQ(places(ct::Rounding::megablocks, 2, 1.25f), 357);
  CHECK_EQ(places(ct::Rounding::fastmoe, 2, 1.25f), 357);
  CHECK_EQ(places(ct::Rounding::nllb, 2, 0), 286);
}

TEST_CASE("reference: softmax of errors covers every corner of them") {
  Random random{base_seed() + 3};
  for (int round = 0; round < 2000; ++round) {
    std::size_t const n = static_cast<std::size_t>(1 + random.below(6));
    std::vector<ref::Real> z;
    for (std::size_t i = 0; i < n; ++i) z.push_back({3 * random.normal(), 0.1 * random.uniform()});
    std::vector<ref::Real> const p = ref::softmax(z);
    for (unsigned corner = 0; corner < 1u << n; ++corner) {
      std::vector<ref::Real> moved;
      for (std::size_t i = 0; i < n; ++i) moved.push_back({z[i].value + (corner >> i & 1 ? z[i].error : -z[i].error), 0});
      std::vector<ref::Real> const q = ref::softmax(moved);
      for (std::size_t i = 0; i < n; ++i) REQUIRE_LE(std::fabs(q[i].value - p[i].value), p[i].error);
    }
  }
}

}

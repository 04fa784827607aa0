// Quantised panels: every format and every path against the definition in double; packing from numbers and from codes; refusals.
#include <coterie/coterie.hpp>
#include <coterie/reference/quant.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>
#include "../cases.hpp"
#include "software_tiles.hpp"

namespace {
using namespace coterie;
using namespace coterie::host;

// A quantised matrix of a checkpoint with random codes, and its panels.
template <DType D, QuantConfig Q, int Out, int In> struct Case {
  using T = Quantised<D, Q>;
  static constexpr PanelShape shape{.outputs = Out, .inputs = In};
  static constexpr std::int64_t size = group_inputs(D, Q, In), groups = (In + size - 1) / size, scales = (Out + Q.group_rows - 1) / Q.group_rows * groups;
  std::vector<element_t<D>> data;
  std::vector<float> scale;
  std::vector<std::uint8_t> zero;
  std::vector<std::byte> packed;
  Matrix<D, Out, In> matrix;

  Case(cases::Random& random, bool transposed, bool integers) {
    std::int64_t const pitch = transposed ? Out + 3 : In + 5;                                // rows of 4-bit codes may begin inside a byte
    data.resize(static_cast<std::size_t>(pitch * (transposed ? In : Out)));
    for (auto& v : data) {
      auto byte = static_cast<std::uint8_t>(random.next());
      if (D == DType::fp8_e4m3 && (byte & 0x7f) == 0x7f) byte = 0;                           // NaN has a test of its own
      if (D == DType::fp8_e5m2 && (byte & 0x7c) == 0x7c) byte = 0;
      if (integers && D == DType::fp8_e4m3) byte = (byte & 0x83) | 0x38;                     // 1 to 1.75
      if (integers && D == DType::fp8_e5m2) byte = (byte & 0x83) | 0x3c;
      v = bit_cast<element_t<D>>(byte);
    }
    for (std::int64_t i = 0; i < scales; ++i) {
      scale.push_back(integers || D == DType::mxfp4 ? std::ldexp(1.f, random.below(3) - 1) : rounded<scale_t<D>>(static_cast<float>((0.1 + random.uniform()) * (random.one_in(8) ? 1e-6 : 1))));
      zero.push_back(static_cast<std::uint8_t>(random.below(D == DType::int4 ? 16 : 256)));
    }
    matrix = {.data = data.data(), .out_stride = transposed ? 1 : pitch, .in_stride = transposed ? pitch : 1, .scale = scale.data(), .zero = zero.data()};
    packed.resize(PanelShape::bytes<T>(shape) + 1);
    packed.back() = std::byte{0x5a};
    Pool pool{1};
    Copier<D, Q> const from{codes<Q>(matrix)};
    pack_quantised(pool, panels(), shape, from, from);
    CHECK(packed.back() == std::byte{0x5a});
  }
  T* panels() { return reinterpret_cast<T*>(packed.data()); }
};

template <class Engine, class T>
std::vector<float> multiply_rows(Engine const& engine, T const* packed, PanelShape shape, std::vector<typename Engine::Operand> const& a, int rows) {
  std::int64_t const k = shape.padded_inputs();
  std::vector<float> y(static_cast<std::size_t>(rows * shape.outputs), NAN);
  engine.multiply(packed, shape, rows, 0, shape.panels(), [&](std::int64_t r) { return a.data() + r * k; },
                  [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                    for (int m = 0; m < height; ++m)
                      for (std::int64_t o = 0; o < n * panel_outputs && p * panel_outputs + o < shape.outputs; ++o)
                        y[static_cast<std::size_t>((r + m) * shape.outputs + p * panel_outputs + o)] = sums[m * stride + o];
                  });
  return y;
}

// On tiles, and the same rows three times in one go, in chunks.
template <class Tiles, class Check, class Case> void check_tiles([[maybe_unused]] Check const& check, [[maybe_unused]] std::vector<bf16> const& a, [[maybe_unused]] Case& c) {
#if defined(__x86_64__)
  TileEngine<Tiles> const engine{Isa::avx512};
  auto const once = check(engine, a);
  std::vector<bf16> three;
  for (int i = 0; i < 3; ++i) three.insert(three.end(), a.begin(), a.end());
  auto const all = multiply_rows(engine, c.panels(), c.shape, three, static_cast<int>(three.size() / static_cast<std::size_t>(c.shape.padded_inputs())));
  REQUIRE(all.size() == 3 * once.size());
  for (std::size_t i = 0; i < 3; ++i) CHECK(std::equal(once.begin(), once.end(), all.begin() + static_cast<std::ptrdiff_t>(i * once.size())));
#endif
}

// The worst |difference| / bound over all paths; whole numbers must be exact. A row's result must not depend on how many there are,
// and AVX2 and AVX-512 must agree bit for bit.
template <DType D, QuantConfig Q, int Out, int In> void agrees(bool transposed, bool integers) {
  cases::Random random{static_cast<std::uint64_t>(Out * 1000 + In)};
  Case<D, Q, Out, In> c{random, transposed, integers};
  std::vector<double> const w = reference::dequantised<Q>(c.matrix);
  constexpr int most = 110;
  std::int64_t const k = c.shape.padded_inputs();
  std::vector<float> a(static_cast<std::size_t>(most * k));
  for (int r = 0; r < most; ++r)
    for (int i = 0; i < In; ++i) a[static_cast<std::size_t>(r * k + i)] = integers ? static_cast<float>(random.below(5) - 2) : rounded<bf16>(static_cast<float>(random.normal()));
  std::vector<bf16> narrow;
  for (float v : a) narrow.push_back(from_float<bf16>(v));
  std::vector<double> const bound_of_weight = [&] {
    std::vector<double> to;
    for (double v : w) to.push_back(reference::holds32(v) ? 0 : reference::unit * std::fabs(v));
    return to;
  }();
  std::vector<reference::Real> want;
  for (std::size_t r = 0; r < most; ++r)
    for (std::size_t o = 0; o < Out; ++o) {
      reference::Sum sum;
      for (std::size_t i = 0; i < In; ++i) sum.add({double{a[r * static_cast<std::size_t>(k) + i]}, 0}, {w[o * In + i], bound_of_weight[o * In + i]});
      want.push_back(sum.total());
    }
  // All rows, after they were compared.
  auto const check = [&](auto const& engine, auto const& inputs) {
    auto const all = multiply_rows(engine, c.panels(), c.shape, inputs, most);
    double worst = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
      double const got = double{all[i]}, difference = std::fabs(got - want[i].value);
      if (difference != 0 || std::isnan(got)) worst = std::fmax(worst, std::isnan(got) || want[i].error == 0 ? INFINITY : difference / want[i].error);
    }
    CHECK(worst <= 1);
    if (!integers && In > 40) CHECK(worst > 1e-4);
    for (int rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 32, 33, 47, 48, 49, 97}) {
      CAPTURE(rows);
      auto const some = multiply_rows(engine, c.panels(), c.shape, inputs, rows);
      CHECK(std::equal(some.begin(), some.end(), all.begin()));
    }
    return all;
  };
  std::vector<float> wide;
  for (Isa isa : cases::paths()) {
    INFO(std::string(name(isa)));
    if (isa == Isa::avx512_bf16) check(DotEngine{isa}, narrow);
#if defined(__x86_64__)
    else if (isa == Isa::amx) check_tiles<AmxTiles>(check, narrow, c);
#endif
    else {
      auto const all = check(VectorEngine{isa}, a);
      if (isa == Isa::avx2) wide = all;
      if (isa == Isa::avx512) CHECK(wide == all);
    }
  }
  if (supports(Isa::avx512_bf16)) {                                                          // which decodes for tiles, too
    INFO("software tiles");
    test::SoftwareTiles::state().faults = 0;
    check_tiles<test::SoftwareTiles>(check, narrow, c);
    CHECK(test::SoftwareTiles::state().faults == 0);
    CHECK_FALSE(test::SoftwareTiles::state().configured);                                    // released after use
  }
  // And back.
  auto data = c.data;
  std::vector<float> scale(c.scale.size(), -1);
  std::vector<std::uint8_t> zero(c.zero.size(), 77);
  for (auto& v : data) v = {};
  Matrix<D, Out, In, true> const back{.data = data.data(), .out_stride = c.matrix.out_stride, .in_stride = c.matrix.in_stride, .scale = scale.data(), .zero = zero.data()};
  for (std::int64_t p = 0; p < c.shape.panels(); ++p) unpack_quantised_panel(c.panels() + p * Quantised<D, Q>::panel_bytes(c.shape), c.shape, p, codes<Q>(back), codes<Q>(back));
  auto const was = codes<Q>(c.matrix);
  auto const is = codes<Q>(back);
  long different = 0;
  for (int o = 0; o < Out; ++o)
    for (int i = 0; i < In; ++i) different += is(o, i) != was(o, i);
  CHECK(different == 0);
  CHECK(scale == c.scale);
  if (Q.zero_points) CHECK(zero == c.zero);
}
template <DType D, QuantConfig Q> void agrees_everywhere() {
  INFO(std::string(name(D)));
  for (bool transposed : {false, true})
    for (bool integers : {false, true}) {
#if defined(__SANITIZE_ADDRESS__)                  // five times as slow: each of the two once
      if (transposed != integers) continue;
#endif
      agrees<D, Q, 1, 1>(transposed, integers);
      agrees<D, Q, 33, 70>(transposed, integers);
      agrees<D, Q, 130, 288>(transposed, integers);
    }
}

// Numbers to codes: the worst |number - what its code stands for| over what rounding to nearest allows.
template <DType D, QuantConfig Q> void rounds() {
  constexpr int Out = 40, In = 160;
  INFO(std::string(name(D)));
  cases::Random random{3};
  for (float size : {1.f, 1e-3f, 3000.f}) {
    std::vector<float> w(Out * In);
    for (float& v : w) v = size * static_cast<float>(random.normal());
    for (int i = 0; i < In; ++i) w[static_cast<std::size_t>(2 * In + i)] = 0;                // a row of zeros
    Matrix<DType::fp32, Out, In> const matrix{w.data()};
    Quantiser<D, Q, float> const q{strided(matrix)};
    double worst = 0;
    for (int o = 0; o < Out; ++o)
      for (int i = 0; i < In; ++i) {
        GroupScale const g = q.group_scale(o, i);
        REQUIRE(holds_scale<D>(g.scale));
        double const v = double{w[static_cast<std::size_t>(o * In + i)]}, is = reference::coded(D, q.code(o, i, g), Q.zero_points ? g.zero : -1) * double{g.scale};
        // Half a step of the grid around v. Integers: half a scale, and at the ends what rounding the scale to fp16 or the zero point moves.
        double const s = double{g.scale}, x = s > 0 ? std::fabs(v) / s : 0;
        double bound = s / 2;
        if (D == DType::fp8_e4m3) bound = s * std::ldexp(1., std::max(std::ilogb(std::fmax(x, 0x1p-6)), -6) - 4);
        if (D == DType::fp8_e5m2) bound = s * std::ldexp(1., std::max(std::ilogb(std::fmax(x, 0x1p-14)), -14) - 3);
        if (D == DType::mxfp4) bound = x > 6 ? s * 2 : s * (x < 2 ? 0.25 : x < 4 ? 0.5 : 1);   // OCP's scale saturates what lies between 6 and 8
        if (Q.zero_points) bound = s;                                                        // the zero point is rounded as well
        if (D == DType::int4) bound += 7 * s * 0x1p-11;
        worst = std::fmax(worst, std::fabs(v - is) / (bound * (1 + 1e-5) + 1e-30));
      }
    CHECK(worst <= 1);
    CHECK(worst > 0.4);
  }
}

// Every code there is but infinities and NaN, under a scale of 1.
template <DType D, QuantConfig Q> struct EveryCode {
  static constexpr unsigned most = (1u << bits(D)) - 1, special = D == DType::fp8_e4m3 ? 0x7f : D == DType::fp8_e5m2 ? 0x7c : ~0u;
  int outputs = 32, inputs = 64;
  GroupScale group_scale(std::int64_t o, std::int64_t) const { return {1, Q.zero_points ? static_cast<int>(static_cast<unsigned>(7 * o) & most) : 0}; }
  unsigned code(std::int64_t o, std::int64_t i, GroupScale) const {
    unsigned const c = static_cast<unsigned>(o * 8 + i) & most;
    return (c & special) == special ? 0 : c;
  }
  double value(std::int64_t o, std::int64_t i) const { return reference::coded(D, code(o, i, {}), Q.zero_points ? group_scale(o, i).zero : -1); }
};
// One input of a row is 1 and the others 0: exact, for few rows and many.
template <DType D, QuantConfig Q> void decodes_every_code() {
  constexpr EveryCode<D, Q> source;
  constexpr int Out = source.outputs, In = source.inputs;
  using T = Quantised<D, Q>;
  constexpr PanelShape shape{.outputs = Out, .inputs = In};
  INFO(std::string(name(D)));
  std::vector<std::byte> packed(PanelShape::bytes<T>(shape));
  Pool pool{1};
  pack_quantised(pool, reinterpret_cast<T*>(packed.data()), shape, source, source);
  std::vector<float> a(In * In);
  for (int i = 0; i < In; ++i) a[static_cast<std::size_t>(i * In + i)] = 1;
  std::vector<bf16> narrow;
  for (float v : a) narrow.push_back(from_float<bf16>(v));
  auto const check = [&](auto const& engine, auto const& inputs) {
    for (int rows : {1, 2, 3, 8, 16, 32}) {
      CAPTURE(rows);
      long wrong = 0;
      for (int r = 0; r < In; r += rows) {
        int const n = std::min(rows, In - r);
        auto const y = multiply_rows(engine, reinterpret_cast<T const*>(packed.data()), shape, std::remove_cvref_t<decltype(inputs)>(inputs.begin() + r * In, inputs.begin() + (r + n) * In), n);
        for (int m = 0; m < n; ++m)
          for (int o = 0; o < Out; ++o) wrong += double{y[static_cast<std::size_t>(m * Out + o)]} != source.value(o, r + m);
      }
      CHECK(wrong == 0);
    }
  };
  for (Isa isa : cases::paths()) {
    INFO(std::string(name(isa)));
    if (isa <= Isa::avx512) check(VectorEngine{isa}, a);
    else if (isa == Isa::avx512_bf16) check(DotEngine{isa}, narrow);
  }
}
// Ones under every scale that e8m0 has, 2^-127 to 2^127 and NaN, a group each.
struct EveryScale {
  int outputs = 32, inputs = 256;
  GroupScale group_scale(std::int64_t o, std::int64_t i) const {
    int const e = static_cast<int>(o * 8 + i / 32);
    return {e == 255 ? NAN : std::ldexp(1.f, e - 127), 0};
  }
  unsigned code(std::int64_t, std::int64_t, GroupScale) const { return 2; }
};

template <class Each> void with_flushed_subnormals([[maybe_unused]] Each const& each) {     // as -ffast-math has them
#if defined(__x86_64__)
  unsigned const was = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr(was | 0x8040);
  each();
  __builtin_ia32_ldmxcsr(was);
#endif
}

constexpr Config layer_of(DType d, QuantConfig q, int hidden = 64, int ffn = 96) {
  return {.experts = 2, .top_k = 1, .hidden = hidden, .ffn = ffn, .dtype = DType::fp32, .weights = d, .quant = q, .router = {.input = RouterInput::given, .weights = DType::fp32}};
}
// What packing one expert says.
template <Config C> std::string says(float scale, int zero, bool scales = true, bool zeros = true) {
  constexpr std::size_t n = std::size_t{C.hidden} * C.ffn;
  std::vector<element_t<C.weights>> data(n);
  std::vector<float> all(n, 1.f);
  std::vector<std::uint8_t> zero_points(n, 3);
  all[1] = scale, zero_points[1] = static_cast<std::uint8_t>(zero);
  Matrix<C.weights, C.ffn, C.hidden> const up{.data = data.data(), .scale = scales ? all.data() : nullptr, .zero = zeros ? zero_points.data() : nullptr};
  Matrix<C.weights, C.hidden, C.ffn> const down{.data = data.data(), .scale = all.data(), .zero = zero_points.data()};
  try {
    Packer<C, Host> packer{Host{.threads = 1}};
    packer.expert(1, up, up, down);
  } catch (Error const& e) {
    return e.what();
  }
  return "";
}
bool has(std::string const& text, char const* part) {
  bool const found = text.find(part) != std::string::npos;
  if (!found) MESSAGE(text);
  return found;
}
}

TEST_SUITE("host") {
  TEST_CASE("8-bit floats and e2m1: every code, and numbers to the nearest code") {
    for (unsigned c = 0; c < 256; ++c) {
      auto const byte = static_cast<std::uint8_t>(c);
      for (DType d : {DType::fp8_e4m3, DType::fp8_e5m2}) {
        double const want = reference::coded(d, c, -1), got = double{code_value(d, false, c)};
        CHECK((std::isnan(want) ? std::isnan(got) : want == got));
      }
      if ((c & 0x7f) != 0x7f) CHECK(from_float<fp8_e4m3>(to_float(fp8_e4m3{byte})).bits == c);
      if ((c & 0x7c) != 0x7c || (c & 3) == 0) CHECK(from_float<fp8_e5m2>(to_float(fp8_e5m2{byte})).bits == c);
    }
    for (unsigned c = 0; c < 16; ++c) CHECK(double{code_value(DType::mxfp4, false, c)} == reference::coded(DType::mxfp4, c, -1));
    CHECK(from_float<fp8_e4m3>(1e9f).bits == 0x7e);
    CHECK(from_float<fp8_e4m3>(-INFINITY).bits == 0xfe);
    CHECK(from_float<fp8_e5m2>(61440.f).bits == 0x7c);
    CHECK(is_nan(to_float(from_float<fp8_e4m3>(NAN))));
    CHECK(is_nan(to_float(from_float<fp8_e5m2>(-NAN))));
    cases::Random random{1};
    for (int n = 0; n < 20000; ++n) {                                    // nearest among all codes, ties to the even one
      float const v = static_cast<float>(std::ldexp(random.normal(), random.below(22) - 14));
      auto const nearest = [&](DType d, unsigned code) {
        double const error = std::fabs(reference::coded(d, code, -1) - double{v});
        for (unsigned c = 0; c < 256; ++c) {
          double const other = reference::coded(d, c, -1), e = std::fabs(other - double{v});
          if (std::isfinite(other) && (e < error || (e == error && other != reference::coded(d, code, -1) && code % 2))) return false;
        }
        return true;
      };
      if (std::fabs(v) < 448) CHECK(nearest(DType::fp8_e4m3, from_float<fp8_e4m3>(v).bits));
      CHECK(nearest(DType::fp8_e5m2, from_float<fp8_e5m2>(v).bits));
    }
  }
  TEST_CASE("quantised panels agree with the definition on every path, for any number of rows, and unpack to what was packed") {
    agrees_everywhere<DType::int8, QuantConfig{}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 32, .zero_points = 1}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 96}>();                                    // ends inside a block of tiles
    agrees_everywhere<DType::int4, QuantConfig{.group = 32}>();
    agrees_everywhere<DType::int4, QuantConfig{.group = 128, .zero_points = 1}>();
    agrees_everywhere<DType::fp8_e4m3, QuantConfig{.group = 128, .group_rows = 128}>();
    agrees_everywhere<DType::fp8_e4m3, QuantConfig{.group = 4096, .group_rows = 4096}>();        // one scale for the matrix
    agrees_everywhere<DType::fp8_e5m2, QuantConfig{.group = 64}>();
    agrees_everywhere<DType::mxfp4, QuantConfig{}>();
  }
  TEST_CASE("the paths of AVX2, AVX-512 and AVX512_BF16 decode every code exactly, subnormal ones too where subnormals are flushed") {
    auto const all = [] {
      decodes_every_code<DType::int8, QuantConfig{}>();
      decodes_every_code<DType::int8, QuantConfig{.group = 32, .zero_points = 1}>();
      decodes_every_code<DType::int4, QuantConfig{}>();
      decodes_every_code<DType::int4, QuantConfig{.group = 32, .zero_points = 1}>();
      decodes_every_code<DType::fp8_e4m3, QuantConfig{}>();
      decodes_every_code<DType::fp8_e5m2, QuantConfig{}>();
      decodes_every_code<DType::mxfp4, QuantConfig{}>();
    };
    all();
    with_flushed_subnormals(all);
  }
  TEST_CASE("every scale of mxfp4 is itself on every path, the least (a subnormal number) and NaN too") {
    using T = Quantised<DType::mxfp4, QuantConfig{}>;
    constexpr EveryScale source;
    constexpr PanelShape shape{.outputs = source.outputs, .inputs = source.inputs};
    std::vector<std::byte> packed(PanelShape::bytes<T>(shape));
    Pool pool{1};
    pack_quantised(pool, reinterpret_cast<T*>(packed.data()), shape, source, source);
    std::vector<float> a(256 * 24);
    for (std::size_t r = 0; r < 24; ++r) a[r * 256 + r % 8 * 32 + r] = 1;                      // row r reads group r % 8
    std::vector<bf16> narrow;
    for (float v : a) narrow.push_back(from_float<bf16>(v));
    auto const check = [&](auto const& engine, auto const& inputs) {
      for (int rows : {8, 24}) {
        auto const y = multiply_rows(engine, reinterpret_cast<T const*>(packed.data()), shape, inputs, rows);
        long wrong = 0;
        for (int r = 0; r < rows; ++r)
          for (int o = 0; o < 31; ++o) wrong += y[static_cast<std::size_t>(r * 32 + o)] != source.group_scale(o, r % 8 * 32).scale;
        CHECK(wrong == 0);
        for (std::size_t r = 0; r < 8; ++r) CHECK(is_nan(y[r * 32 + 31]));
      }
    };
    for (Isa isa : cases::paths()) {
      INFO(std::string(name(isa)));
      if (isa <= Isa::avx512) check(VectorEngine{isa}, a);
      else if (isa == Isa::avx512_bf16) check(DotEngine{isa}, narrow);
    }
  }
  TEST_CASE("infinite and NaN codes of e5m2 are infinities and NaN on the vector paths") {
    constexpr int Out = 16, In = 32;
    using T = Quantised<DType::fp8_e5m2, QuantConfig{}>;
    constexpr PanelShape shape{.outputs = Out, .inputs = In};
    std::vector<fp8_e5m2> codes_(Out * In, fp8_e5m2{0x3c});
    for (int o = 1; o < 8; ++o) codes_[static_cast<std::size_t>(o * In + 3 * o)].bits = static_cast<std::uint8_t>(0x7c + o / 2 + (o % 2 ? 0x80 : 0));       // 1: -inf, 2 to 7: NaN
    codes_[9 * In + 31].bits = 0x7c;
    std::vector<float> scale(Out, 0.5f);
    Matrix<DType::fp8_e5m2, Out, In> const coded{.data = codes_.data(), .scale = scale.data()};
    std::vector<std::byte> packed(PanelShape::bytes<T>(shape));
    Pool pool{1};
    Copier<DType::fp8_e5m2, QuantConfig{}> const from{codes<QuantConfig{}>(coded)};
    pack_quantised(pool, reinterpret_cast<T*>(packed.data()), shape, from, from);
    std::vector<float> const a(12 * In, 1.f);
    for (Isa isa : cases::paths()) {
      if (isa > Isa::avx512) continue;
      INFO(std::string(name(isa)));
      for (int rows : {1, 12}) {
        auto const y = multiply_rows(VectorEngine{isa}, reinterpret_cast<T const*>(packed.data()), shape, a, rows);
        CHECK(y[0] == 16);
        CHECK(y[1] == -INFINITY);
        for (std::size_t o = 2; o < 8; ++o) CHECK(is_nan(y[o]));
        CHECK(y[9] == INFINITY);
        CHECK(y[15] == 16);
      }
    }
  }
  TEST_CASE("numbers round to the nearest code") {
    rounds<DType::int8, QuantConfig{.group = 32}>();
    rounds<DType::int8, QuantConfig{.group = 64, .zero_points = 1}>();
    rounds<DType::int4, QuantConfig{.group = 32}>();
    rounds<DType::int4, QuantConfig{.zero_points = 1}>();
    rounds<DType::fp8_e4m3, QuantConfig{.group = 128, .group_rows = 32}>();
    rounds<DType::fp8_e5m2, QuantConfig{}>();
    rounds<DType::mxfp4, QuantConfig{}>();
  }
  TEST_CASE("a NaN weight, a NaN scale, an infinite weight: the output is NaN, and only that one") {
    constexpr int Out = 20, In = 96;
    auto const outputs = [](auto const& source, auto* tag, std::vector<float> const& a) {
      using T = std::remove_cvref_t<decltype(*tag)>;
      PanelShape const shape{.outputs = Out, .inputs = In};
      std::vector<std::byte> packed(PanelShape::bytes<T>(shape));
      Pool pool{1};
      pack_quantised(pool, reinterpret_cast<T*>(packed.data()), shape, source, source);
      return multiply_rows(VectorEngine{host::vector_path(host::best())}, reinterpret_cast<T const*>(packed.data()), shape, a, 1);
    };
    std::vector<float> const a(In, 0.5f);
    std::vector<float> w(Out * In, 0.25f);
    w[7 * In + 40] = NAN, w[9 * In + 3] = INFINITY;
    Matrix<DType::fp32, Out, In> const matrix{w.data()};
    auto const only = [](std::vector<float> const& y, std::vector<int> const& which) {
      for (int o = 0; o < Out; ++o) CHECK(is_nan(y[static_cast<std::size_t>(o)]) == (std::find(which.begin(), which.end(), o) != which.end()));
    };
    only(outputs(Quantiser<DType::int4, QuantConfig{.group = 32}, float>{strided(matrix)}, static_cast<Quantised<DType::int4, QuantConfig{.group = 32}>*>(nullptr), a), {7, 9});
    only(outputs(Quantiser<DType::int8, QuantConfig{.zero_points = 1}, float>{strided(matrix)}, static_cast<Quantised<DType::int8, QuantConfig{.zero_points = 1}>*>(nullptr), a), {7, 9});
    only(outputs(Quantiser<DType::mxfp4, QuantConfig{}, float>{strided(matrix)}, static_cast<Quantised<DType::mxfp4, QuantConfig{}>*>(nullptr), a), {7, 9});
    std::vector<fp8_e4m3> codes_(Out * In, fp8_e4m3{0x38});
    std::vector<float> scale(Out, 1.f);
    codes_[5 * In + 95].bits = 0xff, scale[2] = NAN;
    Matrix<DType::fp8_e4m3, Out, In> const coded{.data = codes_.data(), .scale = scale.data()};
    only(outputs(Copier<DType::fp8_e4m3, QuantConfig{}>{codes<QuantConfig{}>(coded)}, static_cast<Quantised<DType::fp8_e4m3, QuantConfig{}>*>(nullptr), a), {2, 5});
  }
  TEST_CASE("quantised weights that cannot be packed are refused by sentences") {
    constexpr QuantConfig zeros{.group = 32, .zero_points = 1};
    CHECK(says<layer_of(DType::int4, zeros)>(1, 15).empty());
    CHECK(has(says<layer_of(DType::int4, zeros)>(1, 16), "pack: expert 1's gate: zero point 1 is 16, want at most 15"));
    CHECK(has(says<layer_of(DType::int4, zeros)>(1, 1, true, false), "pack: expert 1's gate has no zero points"));
    CHECK(has(says<layer_of(DType::int8, zeros)>(1, 1, false), "pack: expert 1's gate has no scales"));
    CHECK(says<layer_of(DType::int8, zeros)>(1e-30f, 255).empty());
    for (float scale : {1e-5f, 1e-8f, 70000.f, INFINITY}) CHECK(has(says<layer_of(DType::int4, {.group = 32})>(scale, 0), "fp16 holds"));
    for (float scale : {0x1p-24f, 0x1.8p-20f, 0.f, -0x1p-3f}) CHECK(says<layer_of(DType::int4, {.group = 32})>(scale, 0).empty());          // subnormal ones too, where they are exact
    for (float scale : {3.f, 0.f, -1.f, INFINITY}) CHECK(has(says<layer_of(DType::mxfp4, {})>(scale, 0), "want a power of two"));
    CHECK(has(says<layer_of(DType::int8, {.group = 32})>(INFINITY, 0), "is inf, want a finite number"));
    CHECK(has(says<layer_of(DType::fp8_e5m2, {.group = 32})>(-INFINITY, 0), "is -inf, want a finite number"));
    for (float scale : {0x1p-127f, 0x1p127f, 1.f}) CHECK(says<layer_of(DType::mxfp4, {})>(scale, 0).empty());
    CHECK(has(says<layer_of(DType::fp8_e4m3, {.group = 32})>(0x1p120f, 0), "want a size below 2^119"));
    CHECK(says<layer_of(DType::fp8_e4m3, {.group = 32})>(0x1p118f, 0).empty());
    CHECK(says<layer_of(DType::int4, {.group = 32})>(NAN, 0).empty());
    CHECK(has(says<layer_of(DType::int8, {.group = 48})>(1, 0), "does not hold int8 expert weights in groups of 48 (multiples of 32, or whole rows)"));
    CHECK(says<layer_of(DType::int8, {.group = 96})>(1, 0).empty());      // whole rows of both
  }
}

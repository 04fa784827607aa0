// Products of 8-bit activations: every type of weights, group and path, and software tiles, for any number and order of rows, bit for bit as
// their definition in integers says; rows of NaN, infinity and zeros; what is rounded, and by how much.
#include <coterie/coterie.hpp>
#include <coterie/reference/quant.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <vector>
#include "../cases.hpp"
#include "software_tiles.hpp"

namespace {
using namespace coterie;
using namespace coterie::host;

// What a row of activations is rounded to.
struct Rounded {
  float scale = 0;
  std::vector<int> code;
};
Rounded rounded_row(float const* v, int n) {
  Rounded r;
  float most = 0;
  bool finite = true;
  for (int i = 0; i < n; ++i) finite &= std::isfinite(v[i]), most = std::fmax(most, std::fabs(v[i]));
  r.scale = !finite ? NAN : most == 0 ? 0 : std::fmax(most / 127, 0x1p-120f);
  float const inverse = r.scale > 0x1p-120f ? 127 / most : 0x1p120f;
  for (int i = 0; i < n; ++i) r.code.push_back(finite ? static_cast<int>(std::nearbyint(v[i] * inverse)) : 0);
  return r;
}

// A quantised matrix of a checkpoint with random codes, and its panels.
template <DType D, QuantConfig Q, int Out, int In> struct Case {
  using T = Quantised<D, Q>;
  static constexpr PanelShape shape{.outputs = Out, .inputs = In};
  static constexpr int size = static_cast<int>(group_inputs(D, Q, In)), groups = (In + size - 1) / size;
  std::vector<element_t<D>> data;
  std::vector<float> scale;
  std::vector<std::uint8_t> zero;
  std::vector<std::byte> packed;
  Matrix<D, Out, In> matrix;

  explicit Case(cases::Random& random) : data(static_cast<std::size_t>(Out * In)) {
    for (auto& v : data) v = bit_cast<element_t<D>>(static_cast<std::uint8_t>(random.one_in(3) ? 0x80 : random.next()));       // -128, too
    for (int i = 0; i < Out * groups; ++i) {
      scale.push_back(D == DType::mxfp4 ? std::ldexp(1.f, random.below(9) - 4) : rounded<scale_t<D>>(static_cast<float>(0.1 + random.uniform())));
      zero.push_back(static_cast<std::uint8_t>(random.below(D == DType::int4 ? 16 : 256)));
    }
    matrix = {.data = data.data(), .scale = scale.data(), .zero = zero.data()};
    packed.resize(PanelShape::bytes<T>(shape));
    Pool pool{1};
    Copier<D, Q> const from{codes<Q>(matrix)};
    pack_quantised(pool, reinterpret_cast<T*>(packed.data()), shape, from, from);
  }
  T const* panels() const { return reinterpret_cast<T const*>(packed.data()); }

  // The definition: of every group, or 512 inputs of it, an exact sum, then one fused multiply-add; the row's scale at last.
  std::vector<float> definition(std::vector<float> const& a, int rows) const {
    auto const from = codes<Q>(matrix);
    int const factor = D == DType::mxfp4 ? 2 : 1;
    std::vector<int> w;
    for (int o = 0; o < Out; ++o)
      for (int i = 0; i < In; ++i) w.push_back(static_cast<int>(reference::coded(D, from(o, i), Q.zero_points ? zero[static_cast<std::size_t>(o * groups + i / size)] : -1) * factor));
    std::vector<float> y;
    for (int r = 0; r < rows; ++r) {
      Rounded const x = rounded_row(a.data() + r * In, In);
      for (int o = 0; o < Out; ++o) {
        float sum = 0;
        for (int g = 0; g < In; g += size)
          for (int i = g, end = i; i < std::min(g + size, In); i = end) {
            end = std::min({i + 512, g + size, In});
            std::int64_t products = 0;
            for (int k = i; k < end; ++k) products += w[static_cast<std::size_t>(o * In + k)] * x.code[static_cast<std::size_t>(k)];
            REQUIRE(std::abs(products) < 1 << 24);
            sum = std::fma(static_cast<float>(products), scale[static_cast<std::size_t>(o * groups + g / size)], sum);
          }
        y.push_back(sum * (x.scale / static_cast<float>(factor)));
      }
    }
    return y;
  }
};

std::vector<std::byte> records(auto const* panels, Isa isa, PanelShape shape, std::vector<float> const& a, int rows) {
  using T = std::remove_cvref_t<decltype(*panels)>;
  Int8Engine const engine{isa};
  std::int64_t const bytes = Int8Engine::row_stride<T>(shape);
  std::vector<std::byte> to(static_cast<std::size_t>(bytes * rows), std::byte{0x5a});
  for (int r = 0; r < rows; ++r) engine.encode<T>(a.data() + r * shape.inputs, shape.inputs, shape, to.data() + r * bytes);
  return to;
}
// Of the records in a, those that `which` names.
template <class Engine, class T> std::vector<float> multiply_rows(Engine const& engine, T const* panels, PanelShape shape, std::vector<std::byte> const& a, std::vector<int> const& which) {
  std::int64_t const bytes = Int8Engine::row_stride<T>(shape), rows = static_cast<std::int64_t>(which.size());
  std::vector<float> y(static_cast<std::size_t>(rows * shape.outputs), -77);
  engine.multiply(panels, shape, rows, 0, shape.panels(), [&](std::int64_t r) { return a.data() + which[static_cast<std::size_t>(r)] * bytes; },
                  [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                    for (int m = 0; m < height; ++m)
                      for (std::int64_t o = 0; o < n * panel_outputs && p * panel_outputs + o < shape.outputs; ++o)
                        y[static_cast<std::size_t>((r + m) * shape.outputs + p * panel_outputs + o)] = sums[m * stride + o];
                  });
  return y;
}
// Which records: one after the other, half of them without order, backwards, one again and again.
constexpr int orders = 4;
std::vector<int> row_order(int order, int rows, int of) {
  std::vector<int> which;
  for (int r = 0; r < rows; ++r) which.push_back(order == 1 && r > rows / 2 ? (r * r + 11 * r + 2) % of : order == 2 ? rows - 1 - r : order == 3 ? rows % of : r);
  return which;
}
bool same(std::vector<float> const& a, std::vector<float> const& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](float x, float y) { return is_nan(x) ? is_nan(y) : bit_cast<std::uint32_t>(x) == bit_cast<std::uint32_t>(y); });
}

template <DType D, QuantConfig Q, int Out, int In> void agrees() {
  CAPTURE(Out);
  CAPTURE(In);
  cases::Random random{static_cast<std::uint64_t>(Out * 1000 + In)};
  Case<D, Q, Out, In> const c{random};
  constexpr int most = 97;
  std::vector<float> a;
  for (int i = 0; i < most * In; ++i) a.push_back(static_cast<float>(std::ldexp(random.normal(), random.below(4))));
  for (int i = 0; i < In; ++i) a[static_cast<std::size_t>(2 * In + i)] = 0;                        // a row of zeros
  for (int i = 0; i < In; ++i) a[static_cast<std::size_t>(3 * In + i)] *= 0x1p-123f;               // scales below 2^-120
  for (int i = 0; i < In; ++i) a[static_cast<std::size_t>(5 * In + i)] = i % 2 ? 300.f : -300.f;     // the largest codes
  a[static_cast<std::size_t>(4 * In + In / 2)] = NAN, a[static_cast<std::size_t>(7 * In)] = -INFINITY;
  auto const want = c.definition(a, most);
  for (std::size_t r = 0; r < most; ++r) CHECK(is_nan(want[r * Out]) == (r == 4 || r == 7));
  auto const first = records(c.panels(), Isa::portable, c.shape, a, most);
  std::vector<int> counts{1, 2, 4, 5, 9, 12, 13, 16, 17, 32, 40};
  if (In < 100) counts.resize(40), std::iota(counts.begin(), counts.end(), 1);
  counts.insert(counts.end(), {65, most});
  auto const check = [&](auto const& engine, std::vector<std::byte> const& coded, int rows, int order) {
    CAPTURE(rows);
    CAPTURE(order);
    auto const which = row_order(order, rows, most);
    std::vector<float> some;
    for (int r : which) some.insert(some.end(), want.begin() + r % most * Out, want.begin() + (r % most + 1) * Out);
    CHECK(same(multiply_rows(engine, c.panels(), c.shape, coded, which), some));
  };
  for (Isa isa : cases::paths()) {
    INFO(std::string(name(isa)));
    auto const coded = records(c.panels(), isa, c.shape, a, most);
    std::int64_t const bytes = Int8Engine::row_stride<Quantised<D, Q>>(c.shape), used = c.shape.padded_inputs() + 4 + 4 * Int8Record<Quantised<D, Q>>::runs(c.shape.padded_inputs() / tile_inputs);
    for (std::int64_t r = 0; r < most; ++r) CHECK(std::equal(coded.begin() + r * bytes, coded.begin() + r * bytes + used, first.begin() + r * bytes));
    for (int rows : counts) check(Int8Engine{isa}, coded, rows, rows / 2 % orders);
  }
#if defined(__x86_64__)
  if (!supports(Isa::avx512)) return;
  INFO("software tiles");
  auto& tiles = test::SoftwareTiles::state();
  tiles.faults = tiles.products = 0;
  std::vector<std::byte> three;                    // more rows than one chunk has
  for (int i = 0; i < 3; ++i) three.insert(three.end(), first.begin(), first.end());
  for (int rows : counts) check(test::SoftwareInt8Engine{}, first, rows, rows / 2 % 2);
  for (int order = 0; order < orders; ++order) check(test::SoftwareInt8Engine{}, first, 33 + order, order);
  for (int order : {0, 1}) check(test::SoftwareInt8Engine{}, three, 3 * most, order);
  CHECK(tiles.products > 0);
  CHECK(tiles.faults == 0);
  CHECK_FALSE(tiles.configured);                   // released after use
#endif
}
template <DType D, QuantConfig Q> void agrees_everywhere() {
  INFO(std::string(name(D)));
  agrees<D, Q, 1, 1>();
  agrees<D, Q, 33, 70>();
  agrees<D, Q, 130, 288>();
#if !defined(__SANITIZE_ADDRESS__)                 // five times as slow
  agrees<D, Q, 70, 1200>();
#endif
}
}

TEST_SUITE("host") {
  TEST_CASE("products of 8-bit activations are their definition to the bit: types, groups, paths, rows") {
    agrees_everywhere<DType::int8, QuantConfig{}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 128}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 96}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 544}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 32, .zero_points = 1}>();
    agrees_everywhere<DType::int8, QuantConfig{.group = 1024, .zero_points = 1}>();
    agrees_everywhere<DType::int4, QuantConfig{.group = 32}>();
    agrees_everywhere<DType::int4, QuantConfig{}>();
    agrees_everywhere<DType::int4, QuantConfig{.group = 640}>();
    agrees_everywhere<DType::int4, QuantConfig{.group = 128, .zero_points = 1}>();
    agrees_everywhere<DType::mxfp4, QuantConfig{}>();
  }
  TEST_CASE("rounding to 8 bits: at most half a step away, of any type") {
    cases::Random random{5};
    constexpr int n = 70;
    constexpr PanelShape shape{.outputs = 1, .inputs = n};
    using T = Quantised<DType::int8, QuantConfig{}>;
    double worst = 0;
    auto const check = [&](auto tag) {
      using V = decltype(tag);
      for (int turn = 0; turn < 200; ++turn) {
        std::vector<V> v;
        for (int i = 0; i < n; ++i) v.push_back(from_float<V>(static_cast<float>(std::ldexp(random.normal(), random.below(20) - 10))));
        for (Isa isa : cases::paths()) {
          std::vector<std::byte> record(static_cast<std::size_t>(Int8Record<T>::bytes(shape.padded_inputs())));
          Int8Engine{isa}.encode<T>(v.data(), n, shape, record.data());
          float scale = 0;
          std::memcpy(&scale, record.data() + shape.padded_inputs(), sizeof scale);
          for (std::size_t i = 0; i < 96; ++i) {
            double const is = static_cast<std::int8_t>(record[i]) * double{scale}, was = i < n ? double{to_float(v[i])} : 0;
            worst = std::fmax(worst, std::fabs(is - was) / (double{scale} / 2));
          }
        }
      }
    };
    check(float{}), check(bf16{}), check(fp16{});
    CHECK(worst <= 1 + 0x1p-15);
    CHECK(worst > 0.99);
  }
}

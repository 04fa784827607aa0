// The micro-kernels against a double-precision product: every path this processor has, and the tile kernel on software tiles.
#include <coterie/host/dot_engine.hpp>
#include <coterie/host/tiles.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <vector>
#include "software_tiles.hpp"

namespace {
using namespace coterie;
using namespace coterie::host;

template <class T> constexpr DType dtype_of = std::is_same_v<T, float> ? DType::fp32 : std::is_same_v<T, bf16> ? DType::bf16 : DType::fp16;

float noise(std::uint32_t& state) {
  state = state * 1664525u + 1013904223u;
  return static_cast<float>(state >> 8) * 0x1p-23f - 1.f;
}

// Packs Out x In, multiplies `rows` rows by it, and returns the worst |difference| / bound.
template <class T, int Out, int In, class Engine> double worst_ratio(Engine const& engine, int rows, bool integers) {
  using Operand = typename Engine::Operand;
  PanelShape const shape{.outputs = Out, .inputs = In};
  std::uint32_t state = static_cast<std::uint32_t>(rows * 7919 + Out * 31 + In);
  std::vector<T> w(Out * In), packed(static_cast<std::size_t>(shape.elements()));
  for (T& v : w) v = from_float<T>(integers ? std::floor(4 * noise(state)) : noise(state));
  Matrix<dtype_of<T>, Out, In> const matrix{w.data()};
  for (std::int64_t p = 0; p < shape.panels(); ++p)
    for_tiles(packed.data(), shape, p, [&](T* tile, int, std::int64_t o, std::int64_t i) { pack_tile(tile, strided(matrix), o, i); });
  std::int64_t const k = shape.padded_inputs();
  std::vector<Operand> a(static_cast<std::size_t>(rows * k));
  for (int r = 0; r < rows; ++r)
    for (int i = 0; i < In; ++i) a[static_cast<std::size_t>(r * k + i)] = from_float<Operand>(integers ? std::floor(4 * noise(state)) : noise(state));
  std::vector<float> y(static_cast<std::size_t>(rows * Out), NAN);
  engine.multiply(packed.data(), shape, rows, 0, shape.panels(), [&](std::int64_t r) { return a.data() + r * k; },
                  [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                    for (int m = 0; m < height; ++m)
                      for (std::int64_t o = 0; o < n * panel_outputs && p * panel_outputs + o < Out; ++o)
                        y[static_cast<std::size_t>((r + m) * Out + p * panel_outputs + o)] = sums[m * stride + o];
                  });
  double worst = 0;
  for (int r = 0; r < rows; ++r)
    for (int o = 0; o < Out; ++o) {
      double sum = 0, size = 0;
      for (int i = 0; i < In; ++i) {
        double const product = double{to_float(a[static_cast<std::size_t>(r * k + i)])} * to_float(w[static_cast<std::size_t>(o * In + i)]);
        sum += product, size += std::fabs(product);
      }
      double const difference = std::fabs(sum - y[static_cast<std::size_t>(r * Out + o)]), bound = (In + 2) * 0x1p-24 * size;
      if (integers ? !(difference == 0) : !(difference <= bound)) worst = std::fmax(worst, std::isnan(difference) ? INFINITY : difference / bound);
    }
  return worst;
}

template <class T, class Engine> void all_shapes(Engine const& engine) {
  for (int rows : {1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 48, 49, 97})
    for (bool integers : {false, true}) {
      CAPTURE(rows);
      CAPTURE(integers);
      CHECK(worst_ratio<T, 1, 1>(engine, rows, integers) <= 1);
      CHECK(worst_ratio<T, 33, 7>(engine, rows, integers) <= 1);
      CHECK(worst_ratio<T, 64, 64>(engine, rows, integers) <= 1);
      CHECK(worst_ratio<T, 130, 257>(engine, rows, integers) <= 1);
      CHECK(worst_ratio<T, 16, 640>(engine, rows, integers) <= 1);
    }
}
}

TEST_SUITE("host") {
  TEST_CASE("vector kernels on every path agree with the definition") {
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
      if (supports(isa)) {
        INFO(std::string(name(isa)));
        all_shapes<float>(VectorEngine{isa});
        all_shapes<bf16>(VectorEngine{isa});
        all_shapes<fp16>(VectorEngine{isa});
      } else {
        MESSAGE("skipped: this processor has no " << std::string(name(isa)));
      }
  }
  TEST_CASE("the tile kernel agrees with the definition on software tiles") {
    all_shapes<bf16>(TileEngine<test::SoftwareTiles>{Isa::portable});
    CHECK(test::SoftwareTiles::state().products > 0);
    CHECK(test::SoftwareTiles::state().faults == 0);
    CHECK_FALSE(test::SoftwareTiles::state().configured);                // released after use
  }
  TEST_CASE("the tile kernel agrees with the definition on AMX") {
#if defined(__x86_64__)
    if (supports(Isa::amx)) all_shapes<bf16>(TileEngine<AmxTiles>{Isa::amx});
    else MESSAGE("skipped: this processor has no AMX");
#endif
  }
  TEST_CASE("the dot kernel agrees with the definition on AVX512_BF16, and a row's result does not depend on its neighbours") {
    if (!supports(Isa::avx512_bf16)) {
      MESSAGE("skipped: this processor has no AVX512_BF16");
      return;
    }
    all_shapes<bf16>(DotEngine{Isa::avx512_bf16});
    constexpr PanelShape shape{.outputs = 40, .inputs = 96};
    std::uint32_t state = 5;
    std::vector<bf16> packed(static_cast<std::size_t>(shape.elements())), a(61 * 96);
    for (std::vector<bf16>* all : {&packed, &a})
      for (bf16& v : *all) v = from_float<bf16>(noise(state));
    auto const run = [&](int rows) {
      std::vector<float> y;
      DotEngine{Isa::avx512_bf16}.multiply(packed.data(), shape, rows, 0, 1, [&](std::int64_t r) { return a.data() + r * 96; },
                                           [&](std::int64_t, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) { y.insert(y.end(), sums, sums + height * stride); });
      return y;
    };
    auto const all = run(61);
    for (int rows : {1, 2, 5, 11, 12, 13, 25, 48, 49}) {
      auto const some = run(rows);
      CHECK(std::equal(some.begin(), some.end(), all.begin()));
    }
  }
  TEST_CASE("AVX2 and AVX-512 give the same bits, and a row's result does not depend on its neighbours") {
    PanelShape const shape{.outputs = 96, .inputs = 320};
    std::vector<bf16> packed(static_cast<std::size_t>(shape.elements()));
    std::uint32_t state = 5;
    for (bf16& v : packed) v = from_float<bf16>(noise(state));
    std::vector<float> a(49 * 320);
    for (float& v : a) v = noise(state);
    auto const product = [&](Isa isa, int first, int rows) {
      std::vector<float> y(static_cast<std::size_t>(rows) * 96);
      multiply(isa, packed.data(), shape, rows, 0, shape.panels(), [&](std::int64_t r) { return a.data() + (first + r) * 320; },
               [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                 for (int m = 0; m < height; ++m) std::memcpy(&y[static_cast<std::size_t>((r + m) * 96 + p * 32)], sums + m * stride, static_cast<std::size_t>(n) * 32 * sizeof(float));
               });
      return y;
    };
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512})
      if (supports(isa)) {
        std::vector<float> const all = product(isa, 0, 49);
        for (int r = 0; r < 49; ++r) {
          std::vector<float> const one = product(isa, r, 1);
          CHECK(std::memcmp(one.data(), &all[static_cast<std::size_t>(r) * 96], 96 * sizeof(float)) == 0);
        }
      }
    if (supports(Isa::avx512)) CHECK(product(Isa::avx2, 0, 49) == product(Isa::avx512, 0, 49));
  }
}

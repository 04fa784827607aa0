// The micro-kernels against a double-precision product: every path this processor has, and the tile kernel on software tiles.
#include <coterie/host/dot_engine.hpp>
#include <coterie/host/tile_engine.hpp>
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
  long twice = 0;
  engine.multiply(packed.data(), shape, rows, 0, shape.panels(), [&](std::int64_t r) { return a.data() + r * k; },
                  [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                    for (int m = 0; m < height; ++m)
                      for (std::int64_t o = 0; o < n * panel_outputs && p * panel_outputs + o < Out; ++o) {
                        float& to = y[static_cast<std::size_t>((r + m) * Out + p * panel_outputs + o)];
                        twice += !std::isnan(to), to = sums[m * stride + o];
                      }
                  });
  CHECK(twice == 0);
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

// The first rows of many bring the same bits alone.
template <class Engine> void ignores_neighbours(Engine const& engine, int most, std::vector<int> const& counts) {
  constexpr PanelShape shape{.outputs = 40, .inputs = 600};
  std::int64_t const k = shape.padded_inputs();
  std::uint32_t state = 5;
  std::vector<bf16> packed(static_cast<std::size_t>(shape.elements())), a(static_cast<std::size_t>(most * k));
  for (std::vector<bf16>* all : {&packed, &a})
    for (bf16& v : *all) v = from_float<bf16>(noise(state));
  auto const run = [&](int rows) {
    std::vector<float> y(static_cast<std::size_t>(rows) * 64);
    engine.multiply(packed.data(), shape, rows, 0, 2, [&](std::int64_t r) { return a.data() + r * k; },
                    [&](std::int64_t r, int height, std::int64_t p, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m) std::copy(sums + m * stride, sums + m * stride + 32, y.begin() + (r + m) * 64 + p * 32);
                    });
    return y;
  };
  auto const all = run(most);
  for (int rows : counts) {
    CAPTURE(rows);
    auto const some = run(rows);
    CHECK(std::equal(some.begin(), some.end(), all.begin()));
  }
}

template <class T, class Engine> void all_shapes(Engine const& engine, std::vector<int> const& more = {}) {
  std::vector<int> counts{1, 2, 3, 4, 5, 6, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 48, 49, 97};
  counts.insert(counts.end(), more.begin(), more.end());
  for (int rows : counts)
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
  // Rows of one block, of several, that share some, and of several chunks.
  std::vector<int> const many_rows{64, 65, 130, 256, 257, 300};
  TEST_CASE("the tile kernel agrees with the definition on software tiles, and a row's result does not depend on its neighbours") {
    TileEngine<test::SoftwareTiles> const engine{Isa::portable};
    all_shapes<bf16>(engine, many_rows);
    ignores_neighbours(engine, 300, {1, 2, 16, 17, 32, 33, 64, 65, 100, 256, 257});
    CHECK(test::SoftwareTiles::state().products > 0);
    CHECK(test::SoftwareTiles::state().faults == 0);
    CHECK_FALSE(test::SoftwareTiles::state().configured);                // released after use
  }
  TEST_CASE("the tile kernel agrees with the definition on AMX, and a row's result does not depend on its neighbours") {
#if defined(__x86_64__)
    if (!supports(Isa::amx)) {
      MESSAGE("skipped: this processor has no AMX");
      return;
    }
    all_shapes<bf16>(TileEngine<AmxTiles>{Isa::amx}, many_rows);
    ignores_neighbours(TileEngine<AmxTiles>{Isa::amx}, 300, {1, 2, 16, 17, 32, 33, 64, 65, 100, 256, 257});
#endif
  }
  TEST_CASE("the dot kernel agrees with the definition on AVX512_BF16, and a row's result does not depend on its neighbours") {
    if (!supports(Isa::avx512_bf16)) {
      MESSAGE("skipped: this processor has no AVX512_BF16");
      return;
    }
    all_shapes<bf16>(DotEngine{Isa::avx512_bf16});
    ignores_neighbours(DotEngine{Isa::avx512_bf16}, 61, {1, 2, 5, 11, 12, 13, 25, 48, 49});
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

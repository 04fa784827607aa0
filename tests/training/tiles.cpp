// An ffn backwards on tiles, in software, against the vector engine: tiles read rows one after the other, so their products are cut otherwise.
#include <coterie/experts/backward.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <vector>
#include "../cases.hpp"
#include "../host/software_tiles.hpp"

namespace {
using namespace coterie;

constexpr std::int64_t W = 80, F = 1100, R = 300;
constexpr host::FfnShapes shapes{.up = {.outputs = F, .inputs = W, .paired = 1}, .down = {.outputs = W, .inputs = F}};
using Ffn = host::FfnBackward<host::FfnKind<bf16, bf16, ExpertConfig{}>>;

struct Problem {
  std::vector<bf16> up, down, x, dy, pre;
  std::vector<float> weight;
  std::vector<std::int32_t> begin{0, 3, 3, 270, 300}, hit{0, 2, 3};
  static std::vector<bf16> numbers(cases::Random& random, std::int64_t n, double size) {
    std::vector<bf16> v(static_cast<std::size_t>(n));
    for (bf16& a : v) a = from_float<bf16>(static_cast<float>(size * random.normal()));
    return v;
  }
  explicit Problem(cases::Random random) {
    x = numbers(random, R * W, 1), dy = numbers(random, R * W, 1), pre = numbers(random, R * shapes.columns(), 1);
    up = numbers(random, 4 * shapes.up.elements(), 0.1), down = numbers(random, 4 * shapes.down.elements(), 0.03);
    for (std::int64_t i = 0; i < R; ++i) weight.push_back(static_cast<float>(random.uniform()));
    // Packed weights are zero outside the matrix, and so are pre-activations.
    auto const clear = [](std::vector<bf16>& packed, host::PanelShape s) {
      for (std::int64_t e = 0; e < 4; ++e)
        for (std::int64_t p = 0; p < s.panels(); ++p)
          host::for_tiles(packed.data() + e * s.elements(), s, p, [&](bf16* tile, int, std::int64_t o, std::int64_t i) {
            for (int a = 0; a < 16; ++a)
              for (int b = 0; b < 32; ++b)
                if (o + a >= s.outputs || i + b >= s.inputs) tile[host::tile_offset<bf16>(a, b)] = bf16{};
          });
    };
    clear(up, shapes.up), clear(down, shapes.down);
    for (std::int64_t r = 0; r < R; ++r)
      for (std::int64_t c = 0; c < shapes.columns(); ++c)
        if (c / 32 * 16 + c % 16 >= F) pre[static_cast<std::size_t>(r * shapes.columns() + c)] = bf16{};
  }
};
template <class Engine> std::vector<float> run(Problem const& p, Engine const& engine) {
  host::Pool pool{1};
  std::vector<float> all(static_cast<std::size_t>(R * W + R + 4 * 3 * F * W));
  std::vector<bf16> dx(static_cast<std::size_t>(R * W));
  float *const dweight = all.data() + R * W, *const gradients = dweight + R;
  Arena count;
  Ffn::Pieces::carve(count, pool, shapes, R, 3);
  std::vector<std::byte> memory(count.used(), std::byte{0xff});
  Arena arena{memory};
  auto const pieces = Ffn::Pieces::carve(arena, pool, shapes, R, 3);
  std::vector<bf16> weights;                     // of each expert up, then down
  for (std::int64_t e = 0; e < 4; ++e)
    weights.insert(weights.end(), p.up.begin() + e * shapes.up.elements(), p.up.begin() + (e + 1) * shapes.up.elements()),
        weights.insert(weights.end(), p.down.begin() + e * shapes.down.elements(), p.down.begin() + (e + 1) * shapes.down.elements());
  std::size_t const up_bytes = static_cast<std::size_t>(shapes.up.elements()) * sizeof(bf16), stride = up_bytes + static_cast<std::size_t>(shapes.down.elements()) * sizeof(bf16);
  host::FfnGroups<bf16> const groups{.count = 3, .hit = p.hit.data(), .begin = p.begin.data(), .first = 0, .weights = reinterpret_cast<std::byte const*>(weights.data()), .stride = stride, .down = up_bytes,
                                     .gate_bias = nullptr, .up_bias = nullptr, .down_bias = nullptr, .ffn = F, .width = W};
  host::FfnBackwardRows<bf16> const rows{.x = p.x.data(), .x_stride = W, .dy = p.dy.data(), .dy_stride = W, .map = nullptr, .in_weight = nullptr, .out_weight = p.weight.data(), .pre = p.pre.data(),
                                         .dx = dx.data(), .dx_stride = W, .din_weight = nullptr, .dout_weight = dweight};
  Ffn::run(pool, engine, shapes, groups, rows, pieces, [&](std::int64_t i) {
    float* const at = gradients + i * 3 * F * W;
    return host::FfnGradient{.gate = {at, W, 1}, .up = {at + F * W, 1, F}, .down = {at + 2 * F * W, F, 1}};            // up's inputs are F apart
  });
  for (std::int64_t i = 0; i < R * W; ++i) all[static_cast<std::size_t>(i)] = to_float(dx[static_cast<std::size_t>(i)]);
  return all;
}
double difference(std::vector<float> const& a, std::vector<float> const& b) {
  double off = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const d = std::fabs(double{a[i]} - double{b[i]});
    off = std::fmax(off, std::isnan(d) ? INFINITY : d), largest = std::fmax(largest, std::fabs(double{a[i]}));
  }
  return off / largest;
}

TEST_CASE("an ffn backwards on tiles is the vector engine's, but for roundings of bf16") {
  Problem const p{cases::Random{8}};
  auto& tiles = test::SoftwareTiles::state();
  tiles.faults = tiles.products = 0;
  auto const vector = run(p, host::VectorEngine{Isa::portable});
  CHECK(difference(vector, run(p, host::TileEngine<test::SoftwareTiles>{Isa::portable})) < 4e-3);
#if defined(__x86_64__)
  if (host::supports(Isa::avx2)) {
    CHECK(difference(vector, run(p, host::VectorEngine{Isa::avx2})) < 4e-3);
    CHECK(difference(vector, run(p, host::TileEngine<test::SoftwareTiles>{Isa::avx2})) < 4e-3);
  }
  if (host::supports(Isa::avx512_bf16)) CHECK(difference(vector, run(p, host::DotEngine{Isa::avx512_bf16})) < 4e-3);
#endif
  CHECK(tiles.faults == 0);
  CHECK(tiles.products > 0);
}

}

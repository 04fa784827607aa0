// A token that a table gives no expert has no gradient, and takes nothing from the others': a sum of no weights is 0.
#include <coterie/training.hpp>
#include <doctest/doctest.h>
#include <memory>
#include <vector>
#include "../cases.hpp"

namespace {

using namespace coterie;
constexpr Config c{.experts = 6, .top_k = 2, .hidden = 24, .ffn = 20, .dtype = DType::fp32, .weights = DType::fp32, .router = {.precision = Precision::fp32, .weights = DType::fp32, .select = Select::table, .expert_scale = 1}};
using Floats = std::vector<float>;

struct Found {
  Floats dx, router, expert_scale, router_scale;
};
Found learn(Floats const& numbers, float const* x, float const* dy, std::vector<std::int32_t> ids) {
  Host const on{.threads = 2};
  auto const n = static_cast<std::int64_t>(ids.size()) / c.top_k;
  auto raw = std::make_unique<Weights<c>>();
  raw->router.data = numbers.data(), raw->expert_scale = numbers.data();
  for (std::size_t e = 0; e < 6; ++e) raw->gate[e].data = raw->up[e].data = raw->down[e].data = numbers.data() + e;
  auto const packed = pack(on, *raw);
  Layer<c, Host> const layer{packed.view()};
  Found f{.dx = Floats(static_cast<std::size_t>(n) * c.hidden), .router = Floats(6 * 24), .expert_scale = Floats(6), .router_scale = Floats(1)};
  auto const to = std::make_unique<Gradients<c>>();
  to->router = f.router.data(), to->expert_scale = f.expert_scale.data(), to->router_scale = f.router_scale.data();
  std::vector<std::byte> cache(layer.cache_bytes(on, n)), workspace(layer.training_workspace_bytes(on, n));
  Floats y(f.dx.size());
  Inputs<c> const in{.x = {x, n}, .routing = {.expert = {ids.data(), n}}};
  layer.forward(on, in, rows<c.hidden>(y.data(), n), cache, workspace);
  layer.backward(on, in, cache, rows<c.hidden>(dy, n), rows<c.hidden>(f.dx.data(), n), *to, workspace);
  return f;
}

TEST_CASE("tokens without an expert have no gradient") {
  cases::Random random{5};
  Floats numbers, x, dy;
  for (int i = 0; i < 6 + 24 * 20; ++i) numbers.push_back(static_cast<float>(random.normal()) / 4);
  for (int i = 0; i < 3 * 24; ++i) x.push_back(static_cast<float>(random.normal())), dy.push_back(static_cast<float>(random.normal()));
  Found const all = learn(numbers, x.data(), dy.data(), {-1, -1, 0, 1, 2, -1}), rest = learn(numbers, x.data() + 24, dy.data() + 24, {0, 1, 2, -1});
  for (std::size_t i = 0; i < 24; ++i) CHECK(all.dx[i] == 0);
  CHECK(Floats(all.dx.begin() + 24, all.dx.end()) == rest.dx);
  CHECK(all.router == rest.router);
  CHECK(all.expert_scale == rest.expert_scale);
  CHECK(all.router_scale == rest.router_scale);
}

}

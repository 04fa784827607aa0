// The sparse mixer in training (Noise::gumbel and a seed): what it draws, how often, and its gradient, against the estimator as GRIN
// (arXiv 2409.12136) and its authors' code state it, in double.
#include <coterie/reference.hpp>
#include <coterie/reference/weights.hpp>
#include <coterie/training.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <map>
#include <memory>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Floats = std::vector<float>;

constexpr Config mixer(Noise noise) {
  return {.experts = 6, .top_k = 2, .hidden = 16, .ffn = 8, .dtype = DType::fp32, .weights = DType::fp32,
          .router = {.input = RouterInput::logits, .precision = Precision::fp32, .weights = DType::fp32, .score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none,
                     .scale = 1.5f, .noise = noise, .noise_size = 0.3f}};
}
constexpr Config drawn = mixer(Noise::gumbel), quiet = mixer(Noise::none);
constexpr int E = drawn.experts, H = drawn.hidden, F = drawn.ffn;

struct Routed {
  std::vector<std::int32_t> expert;
  Floats weight;
  bool operator==(Routed const&) const = default;
};
template <Config C> Routed route(Floats& logits, std::uint64_t seed) {
  Host const on{.threads = 2};
  auto const n = static_cast<std::int64_t>(logits.size()) / E;
  Routed r{std::vector<std::int32_t>(static_cast<std::size_t>(2 * n)), Floats(static_cast<std::size_t>(2 * n))};
  std::vector<std::byte> scratch(Router<C, Host>{}.workspace_bytes(on, n));
  Floats const x(static_cast<std::size_t>(n * H));
  Router<C, Host>{}(on, {.x = {x.data(), n}, .logits = {logits.data(), n}, .seed = seed}, {}, Routing<C>{.expert = {r.expert.data(), n}, .weight = {r.weight.data(), n}}, scratch);
  return r;
}
Floats random_logits(std::int64_t tokens) {
  cases::Random random{12};
  Floats z;
  for (std::int64_t i = 0; i < tokens * E; ++i) z.push_back(static_cast<float>(2 + random.normal()));
  return z;
}
// One round as the paper has it: the softmax over the logits within 2 * noise_size of the largest but `first`.
std::vector<double> near(float const* z, int first, int& largest) {
  largest = first == 0 ? 1 : 0;
  for (int e = 0; e < E; ++e) if (e != first && z[e] > z[largest]) largest = e;
  std::vector<double> p(E, 0);
  double const m = z[largest];
  double sum = 0;
  for (int e = 0; e < E; ++e)
    if (e != first && !((m - z[e]) / std::fmax(std::fabs(double{z[e]}), m) > 2 * double{drawn.router.noise_size})) sum += p[static_cast<std::size_t>(e)] = std::exp(z[e] - m);
  for (double& v : p) v /= sum;
  return p;
}

TEST_CASE("sparse mixer: without a seed nothing is drawn, bit for bit; with one, what the seed says") {
  Floats z = random_logits(500);
  CHECK(route<drawn>(z, 0) == route<quiet>(z, 0));
  CHECK(route<quiet>(z, 3) == route<quiet>(z, 0));
  CHECK(route<drawn>(z, 3) == route<drawn>(z, 3));
  CHECK(route<drawn>(z, 3) != route<drawn>(z, 4));
  reference::Inputs in;
  in.tokens = 500, in.seed = 3, in.x.assign(500 * H, 0), in.logits.assign(z.begin(), z.end());
  reference::Routing const want = reference::route(drawn, {}, in);
  Routed const got = route<drawn>(z, 3);
  int sure = 0;
  for (std::size_t t = 0; t < 500; ++t) {
    if (!(want.margin[t] > 1)) continue;
    ++sure;
    for (std::size_t s = 2 * t; s < 2 * t + 2; ++s) {
      CHECK(got.expert[s] == want.expert[s]);
      CHECK(std::fabs(double{got.weight[s]} - want.weight[s].value) <= want.weight[s].error);
    }
  }
  CHECK(sure > 490);
}
TEST_CASE("sparse mixer: experts are drawn by the softmax near the largest, and others than the largest keep a third three times in four") {
  constexpr int n = 40'000;
  float const row[E]{1.0f, 1.9f, 2.0f, -1.0f, 1.2f, 1.5f};
  Floats z;
  for (int t = 0; t < n; ++t) z.insert(z.end(), row, row + E);
  Routed const r = route<drawn>(z, 9);
  std::map<std::pair<int, int>, int> pairs;
  int others = 0, whole = 0;
  for (std::size_t t = 0; t < n; ++t) {
    int first = -1;
    for (std::size_t s = 2 * t; s < 2 * t + 2; ++s) {
      int largest = 0;
      double const p = near(row, first, largest)[static_cast<std::size_t>(r.expert[s])] * 1.5, part = double{r.weight[s]} / p;
      bool const one = std::fabs(part - 1) < 1e-5;
      CHECK((one || std::fabs(part - 1. / 3) < 1e-5));
      if (r.expert[s] == largest) CHECK(one);
      else ++others, whole += one;
      first = r.expert[s];
    }
    ++pairs[{r.expert[2 * t], r.expert[2 * t + 1]}];
  }
  auto const often = [](double count, double of, double p) { return std::fabs(count - of * p) < 5 * std::sqrt(of * p * (1 - p)) + 1e-9; };
  CHECK(often(whole, others, 0.25));
  int largest = 0;
  std::vector<double> const first = near(row, -1, largest);
  for (int a = 0; a < E; ++a)
    for (int b = 0; b < E; ++b) {
      double const p = first[static_cast<std::size_t>(a)] * near(row, a, largest)[static_cast<std::size_t>(b)];
      CHECK(often(pairs[{a, b}], n, p));
    }
}

TEST_CASE("sparse mixer: a layer's gradient of logits is the estimator's") {
  constexpr std::int64_t T = 64;
  Host const on{.threads = 2};
  cases::Random random{5};
  Floats numbers, x, dy, z = random_logits(T);
  for (int i = 0; i < 3 * E * F * H; ++i) numbers.push_back(static_cast<float>(random.normal() / 4));
  for (std::int64_t i = 0; i < T * H; ++i) x.push_back(static_cast<float>(random.normal())), dy.push_back(static_cast<float>(random.normal()));
  auto const raw = std::make_unique<Weights<drawn>>();
  raw->router_scale = 1.25f;
  for (std::size_t e = 0; e < E; ++e) raw->gate[e].data = numbers.data() + 3 * e * F * H, raw->up[e].data = raw->gate[e].data + F * H, raw->down[e].data = raw->up[e].data + F * H;
  auto const packed = pack(on, *raw);
  Inputs<drawn> const in{.x = {x.data(), T}, .logits = {z.data(), T}, .seed = 21};
  Layer<drawn, Host> const layer{packed.view()};
  std::vector<std::byte> cache(layer.cache_bytes(on, T)), workspace(layer.training_workspace_bytes(on, T));
  Floats y(T * H), plain(T * H), dx(T * H), dz(T * E), router_scale(1);
  layer.forward(on, in, rows<H>(y.data(), T), cache, workspace);
  layer.forward(on, in, rows<H>(plain.data(), T), workspace);
  CHECK(y == plain);
  auto const to = std::make_unique<Gradients<drawn>>();
  to->logits = dz.data(), to->router_scale = router_scale.data();
  layer.backward(on, in, cache, rows<H>(dy.data(), T), rows<H>(dx.data(), T), *to, workspace);

  // dy . y is linear in the weights, and y in the definition's: by differences. Where all of a weight counts it is p times factors that do not
  // move, so its own differences are the estimator; where a third does, three times them.
  reference::Weights w = reference::weights(*raw);
  reference::Inputs numbers_in = reference::inputs(in);
  reference::Routing r = reference::route(drawn, w, numbers_in);
  auto const loss = [&](reference::Routing const& routing) {
    reference::Result const result = reference::finish(drawn, w, numbers_in, routing);
    double sum = 0;
    for (std::size_t i = 0; i < result.y.size(); ++i) sum += double{dy[i]} * result.y[i];
    return sum;
  };
  double worst = 0, worst_difference = 0, scale = 0;
  int thirds = 0, differences = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    if (!(r.margin[static_cast<std::size_t>(t)] > 1)) continue;
    std::vector<double> want(E, 0), by_differences(E, 0);
    bool fixed = true;
    int first = -1;
    for (std::size_t s = static_cast<std::size_t>(2 * t); s < static_cast<std::size_t>(2 * t + 2); ++s) {
      double& weight = r.weight[s].value;
      double const was = weight;
      weight = was + 1;
      double const high = loss(r);
      weight = was - 1;
      double const d = (high - loss(r)) / 2;
      weight = was;
      scale += d * was / 1.25;

      int largest = 0;
      auto const e = static_cast<std::size_t>(r.expert[s]);
      std::vector<double> const p = near(z.data() + t * E, first, largest);
      bool const third = was < p[e] * 1.5 * 1.25 / 2;
      thirds += third, first = r.expert[s];
      for (std::size_t j = 0; j < E; ++j) {
        want[j] += d * 1.5 * 1.25 * p[e] * ((j == e) - p[j]);
        double& moved = numbers_in.logits[static_cast<std::size_t>(t * E) + j];
        double const stood = moved, h = 1e-5;
        moved = stood + h;
        reference::Routing const up = reference::route(drawn, w, numbers_in);
        moved = stood - h;
        reference::Routing const down = reference::route(drawn, w, numbers_in);
        moved = stood;
        ++differences, fixed &= up.expert == r.expert && down.expert == r.expert;
        by_differences[j] += d * (third ? 3 : 1) * (up.weight[s].value - down.weight[s].value) / (2 * h);
      }
    }
    for (std::size_t j = 0; j < E; ++j) {
      double const got = dz[static_cast<std::size_t>(t * E) + j];
      worst = std::fmax(worst, std::fabs(got - want[j]) / std::fmax(1, std::fabs(want[j])));
      if (fixed) worst_difference = std::fmax(worst_difference, std::fabs(got - by_differences[j]) / std::fmax(1, std::fabs(want[j])));
    }
  }
  CHECK(worst < 1e-5);
  CHECK(worst_difference < 1e-5);
  CHECK(thirds > 10);
  CHECK(std::fabs(double{router_scale[0]} - scale) < 1e-4 * std::fmax(1, std::fabs(scale)));
  std::printf("sparse mixer: worst error of the estimator's gradient %.1e, of %d differences %.1e; %d weights counted a third\n", worst, differences, worst_difference, thirds);
}

}

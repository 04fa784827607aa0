// Balance losses: values at loads that are known, against their formulas written out here, and gradients by central differences.
#include <coterie/balance.hpp>
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <cstdio>
#include <functional>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Doubles = std::vector<double>;

constexpr Config of(int experts, int top_k, Score score) {
  Config c{.experts = experts, .top_k = top_k, .hidden = 4, .ffn = 4, .dtype = DType::fp32, .weights = DType::fp32};
  c.router.score = score;
  return c;
}

// Random logits, multiples of 2^-10 so that steps of 2^-9 are exact, and the top k of them.
template <Config C> struct Case {
  static constexpr int N = logit_columns(C), S = slots(C), E = candidates(C);
  std::int64_t tokens;
  std::vector<float> logits, weight, gradient, weight_gradient;
  std::vector<std::int32_t> expert;
  Routing<C> routing;
  explicit Case(std::int64_t n, std::uint64_t seed = 4) : tokens(n), logits(size(n * N)), weight(size(n * S)), gradient(size(n * N)), weight_gradient(size(n * S)), expert(size(n * S)) {
    cases::Random random{seed};
    for (float& z : logits) z = static_cast<float>(std::nearbyint(1024 * 1.5 * random.normal()) / 1024);
    for (float& w : weight) w = static_cast<float>(std::nearbyint(1024 * random.uniform() + 64) / 1024);
    for (std::int64_t t = 0; t < n; ++t) {
      std::vector<std::uint64_t> heap(size(C.top_k));
      route::top_k(&logits[size(t * N)], E, C.top_k, heap.data(), &expert[size(t * S)]);
    }
    routing = {.expert = {expert.data(), n}, .weight = {weight.data(), n}, .logits = {logits.data(), n}};
  }
  static std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }
  Rows<float, N> dz() { return {gradient.data(), tokens}; }
  Rows<float, S> dw() { return {weight_gradient.data(), tokens}; }
};
// The worst difference to central differences of `value`, relative to the largest gradient.
double worst(std::vector<float>& of, std::vector<float> const& got, std::function<double()> const& value) {
  double error = 0, largest = 0;
  float const h = 0x1p-9f;
  for (std::size_t i = 0; i < of.size(); ++i) {
    float const was = of[i];
    of[i] = was + h;
    double const up = value();
    of[i] = was - h;
    double const down = value();
    of[i] = was;
    double const want = (up - down) / (2 * double{h});
    largest = std::fmax(largest, std::fabs(want)), error = std::fmax(error, std::fabs(want - double{got[i]}));
  }
  CHECK(largest > 1e-6);
  return error / largest;
}

template <Config C> void check(char const* name) {
  using balance::Losses;
  Case<C> c{24};
  auto const run = [&](char const* what, std::function<double(Losses<C> const&, Rows<float, Case<C>::N>)> const& loss) {
    for (std::int64_t sequence : {0, 24, 7}) {
      Losses<C> const losses{.routing = c.routing, .sequence = sequence, .coefficient = 0.25};
      std::fill(c.gradient.begin(), c.gradient.end(), 0.f);
      double const value = loss(losses, c.dz());
      CHECK(loss(losses, {}) == value);
      double const error = worst(c.logits, c.gradient, [&] { return loss(losses, {}); });
      INFO(std::string(what), " sequence ", sequence);
      CHECK(error < 5e-5);                             // h^2 times a third derivative
      if (sequence == 7) std::printf("balance, %s, %s: value %.5f, worst gradient error %.1e\n", name, what, value, error);
    }
  };
  run("load", [](auto const& l, auto g) { return l.load(g); });
  run("load of first choices", [](auto const& l, auto g) { return l.load(g, 1); });
  run("sequence-wise", [](auto const& l, auto g) { return l.sequence_wise(g); });
  run("mutual information", [](auto const& l, auto g) { return l.mutual_information(g); });
  if constexpr (balance::Probabilities<C>::softmax) run("z", [](auto const& l, auto g) { return l.z(g); });
  Losses<C> const losses{.routing = c.routing, .sequence = 7, .coefficient = 0.25};
  losses.importance(c.dw());
  double const error = worst(c.weight, c.weight_gradient, [&] { return losses.importance(); });
  CHECK(error < 5e-5);
}

TEST_CASE("gradients of balance losses are central differences of their values") {
  check<of(8, 2, Score::softmax)>("softmax"), check<of(5, 3, Score::sigmoid)>("sigmoid"), check<of(6, 2, Score::sqrt_softplus)>("sqrt_softplus");
}

TEST_CASE("at uniform load: k, 1, and no variation; with one expert: E") {
  constexpr Config c = of(4, 2, Score::softmax);
  std::vector<float> const logits(8 * 4, 0.f);
  std::vector<std::int32_t> expert;
  std::vector<float> weight(16, 0.5f);
  for (int t = 0; t < 8; ++t) expert.push_back(2 * t % 4), expert.push_back((2 * t + 1) % 4);
  auto* const z = const_cast<float*>(logits.data());
  balance::Losses<c> losses{.routing = {.expert = {expert.data(), 8}, .weight = {weight.data(), 8}, .logits = {z, 8}}};
  CHECK(losses.load() == doctest::Approx(2));
  CHECK(losses.load({}, 1) == doctest::Approx(1));
  CHECK(losses.sequence_wise() == doctest::Approx(1));
  CHECK(losses.importance() == doctest::Approx(0));
  CHECK(losses.z() == doctest::Approx(std::log(4.) * std::log(4.)));
  CHECK(losses.mutual_information() == doctest::Approx(0));
  std::vector<float> sure(8 * 4);
  for (int t = 0; t < 8; ++t) sure[static_cast<std::size_t>(4 * t)] = 60, expert[static_cast<std::size_t>(2 * t)] = 0, expert[static_cast<std::size_t>(2 * t + 1)] = 1;
  losses.routing.logits = {sure.data(), 8};
  CHECK(losses.load({}, 1) == doctest::Approx(4));
  CHECK(losses.load() == doctest::Approx(4));
  CHECK(losses.importance() == doctest::Approx(1));    // two of four experts share everything
  for (int t = 0; t < 8; ++t) sure[static_cast<std::size_t>(4 * t)] = 0, sure[static_cast<std::size_t>(4 * t + t % 4)] = 60;
  CHECK(losses.mutual_information() == doctest::Approx(-std::log(4.)));
}

TEST_CASE("sequences are averaged, and a missing input is a sentence") {
  constexpr Config c = of(8, 2, Score::softmax);
  Case<c> all{20};
  balance::Losses<c> losses{.routing = all.routing, .sequence = 8};
  double mean = 0;
  for (std::int64_t first : {0, 8, 16}) {
    std::int64_t const n = first == 16 ? 4 : 8;
    balance::Losses<c> const one{.routing = {.expert = {all.routing.expert[first], n}, .weight = {all.routing.weight[first], n}, .logits = {all.routing.logits[first], n}}};
    mean += one.load() / 3;
  }
  CHECK(losses.load() == doctest::Approx(mean));
  CHECK(balance::Losses<c>{}.load() == 0);
  losses.sequence = -1;
  CHECK_THROWS_WITH_AS(losses.load(), doctest::Contains("balance: sequence must not be negative: got -1, want 0"), Error);
  losses.sequence = 0, losses.routing.logits = {};
  CHECK_THROWS_WITH_AS(losses.z(), doctest::Contains("balance: routing.logits must have as many rows as routing.expert"), Error);
  losses.routing.weight = {};
  CHECK_THROWS_WITH_AS(losses.importance(), doctest::Contains("balance: routing.weight must have as many rows"), Error);
}

TEST_CASE("statistics of known choices") {
  constexpr Config c = of(4, 2, Score::softmax);
  std::vector<std::int32_t> expert{0, 1, 0, 1, 0, 2, 0, -1}, slot{0, 1, 2, -1, 3, 4, -1, -1};
  std::vector<float> const logits{3, 2, 1, 0, 3, 2.5f, 1, 0, 5, 0, 4, 1, 2, 1, 0, 0};
  balance::Statistics const s = balance::statistics<c>({.expert = {expert.data(), 4}, .logits = {const_cast<float*>(logits.data()), 4}}, {.slot = {slot.data(), 4}});
  CHECK(s.load == std::vector<std::int64_t>{4, 2, 1, 0});
  CHECK(s.dead == 1);
  CHECK(s.max_violation == doctest::Approx(4 / 1.75 - 1));
  CHECK(s.variation == doctest::Approx(std::sqrt((2.25 * 2.25 + 0.25 * 0.25 + 0.75 * 0.75 + 1.75 * 1.75) / 4) / 1.75));
  CHECK(s.entropy == doctest::Approx(-(4 / 7. * std::log(4 / 7.) + 2 / 7. * std::log(2 / 7.) + 1 / 7. * std::log(1 / 7.)) / std::log(4.)));
  CHECK(s.drop_rate == doctest::Approx(2 / 7.));
  CHECK(s.margin == doctest::Approx((1 + 1.5 + 3 + 1) / 4));
  CHECK(s.json() == "{\"tokens\": 4, \"load\": [4, 2, 1, 0], \"dead\": 1, \"max_violation\": 1.285714, \"variation\": 0.845154, \"entropy\": 0.689392, \"drop_rate\": 0.285714, \"margin\": 1.625000}");
  balance::Statistics const none = balance::statistics<c>({});
  CHECK(none.dead == 4);
  CHECK(none.max_violation == 0);
}

TEST_CASE("biases move against the load, and stop where it is even") {
  std::vector<float> bias{0, 0, 0.5f, 0};
  balance::update_bias(bias.data(), {10, 2, 4, 0}, {.rate = 0.125});
  CHECK(bias == std::vector<float>{-0.125f, 0.125f, 0.5f, 0.125f});
  balance::update_bias(bias.data(), {4, 4, 4, 4});
  CHECK(bias == std::vector<float>{-0.125f, 0.125f, 0.5f, 0.125f});
  balance::update_bias(bias.data(), {8, 4, 4, 0}, {.rule = balance::BiasRule::proportional, .rate = 0.5, .centre = 1});
  CHECK(bias == std::vector<float>{-0.78125f, -0.03125f, 0.34375f, 0.46875f});
  balance::update_bias(bias.data(), {0, 0, 0, 0});
  CHECK(bias[0] == -0.78125f);
  CHECK_THROWS_WITH_AS(balance::update_bias(bias.data(), {1, -1, 0, 0}), doctest::Contains("a load must not be negative: got -1"), Error);
}

}

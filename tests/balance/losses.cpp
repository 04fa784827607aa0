// Balance losses: values at loads that are known, against their formulas written out here, and gradients by central differences.
#include <coterie/balance.hpp>
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <algorithm>
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
constexpr Config with_null_experts = [] {
  Config c = of(6, 3, Score::softmax);
  c.expert.identity = 2, c.expert.skip = 1;
  return c;
}();
constexpr Config with_shared_rows = [] {
  Config c = of(6, 2, Score::sigmoid);
  c.shared = {.ffn = 8, .count = 2, .mix = SharedMix::router_rows};
  return c;
}();
constexpr Config noisy(int experts, int top_k, float size) {
  Config c = of(experts, top_k, Score::identity);
  c.router.post = Post::softmax, c.router.normalise = Normalise::none, c.router.noise = Noise::softplus, c.router.noise_size = size;
  return c;
}
std::size_t size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Random logits, multiples of 2^-10 so that steps of 2^-8 and 2^-7 are exact, and the top k of them.
template <Config C> struct Case {
  static constexpr int N = logit_columns(C), S = slots(C), E = candidates(C);
  std::int64_t tokens;
  std::vector<float> logits, weight, gradient, weight_gradient;
  std::vector<std::int32_t> expert;
  Routing<C> routing;
  explicit Case(std::int64_t n, std::uint64_t seed = 4, double spread = 1.5) : tokens(n), logits(size(n * N)), weight(size(n * S)), gradient(size(n * N)), weight_gradient(size(n * S)), expert(size(n * S)) {
    cases::Random random{seed};
    for (float& z : logits) z = static_cast<float>(std::nearbyint(1024 * spread * random.normal()) / 1024);
    for (float& w : weight) w = static_cast<float>(std::nearbyint(1024 * random.uniform() + 512) / 1024);
    for (std::int64_t t = 0; t < n; ++t) {
      std::vector<std::uint64_t> heap(size(C.top_k));
      route::top_k(&logits[size(t * N)], E, C.top_k, heap.data(), &expert[size(t * S)]);
    }
    routing = {.expert = {expert.data(), n}, .weight = {weight.data(), n}, .logits = {logits.data(), n}};
  }
  Rows<float, N> dz() { return {gradient.data(), tokens}; }
  Rows<float, S> dw() { return {weight_gradient.data(), tokens}; }
};
// The derivative of value() by what moves by x(step): of fourth order, as good as doubles allow where value is smooth over 2^-6.
template <class Number> double derivative(Number& x, std::function<double()> const& value) {
  Number const was = x;
  double const h = 0x1p-8;
  auto const at = [&](double step) {
    x = static_cast<Number>(double{was} + step);
    return value();
  };
  double const near = at(h) - at(-h), far = at(2 * h) - at(-2 * h);
  x = was;
  return (8 * near - far) / (12 * h);
}
// The worst difference to `got`, relative to the largest derivative.
template <class Number> double worst(std::vector<Number>& of, std::vector<float> const& got, std::function<double()> const& value) {
  double error = 0, largest = 0;
  for (std::size_t i = 0; i < of.size(); ++i) {
    double const want = derivative(of[i], value);
    largest = std::fmax(largest, std::fabs(want)), error = std::fmax(error, std::fabs(want - double{got[i]}));
  }
  return largest > 1e-9 ? error / largest : error;
}
// A gradient is rounded to fp32 once (2^-24, of its own size), behind doubles; h^4 times a fifth derivative is less than as much again.
constexpr double rounded_once = 0x1p-23;

template <Config C> void check(char const* name) {
  using balance::Losses;
  cases::Random random{11};
  double most = 0;
  int cases = 0;
  for (int i = 0; i < 24; ++i) {
    Case<C> c{1 + random.below(24), random.next(), 0.25 + 2 * random.uniform()};
    std::int64_t const sequence = i % 3 == 0 ? 0 : 1 + random.below(c.tokens);
    Losses<C> const losses{.routing = c.routing, .sequence = sequence, .coefficient = 0.25};
    auto const run = [&](char const* what, std::function<double(Rows<float, Case<C>::N>)> const& loss) {
      std::fill(c.gradient.begin(), c.gradient.end(), 0.f);
      CHECK(loss({}) == doctest::Approx(loss(c.dz())).epsilon(1e-12));
      double const error = worst(c.logits, c.gradient, [&] { return loss({}); });
      INFO(std::string(name), ", ", std::string(what), ": case ", i, " of ", c.tokens, " tokens in sequences of ", sequence);
      CHECK(error < rounded_once);
      most = std::fmax(most, error), ++cases;
    };
    run("load", [&](auto g) { return losses.load(g); });
    run("gshard", [&](auto g) { return losses.gshard(g); });
    run("sequence-wise", [&](auto g) { return losses.sequence_wise(g); });
    run("entropy", [&](auto g) { return losses.entropy(g); });
    run("mutual information", [&](auto g) { return losses.mutual_information(g); });
    if constexpr (balance::Probabilities<C>::softmax) run("z", [&](auto g) { return losses.z(g); });
    CHECK(losses.importance(c.dw()) == doctest::Approx(losses.importance()).epsilon(1e-12));
    double const error = worst(c.weight, c.weight_gradient, [&] { return losses.importance(); });
    CHECK(error < rounded_once);
    most = std::fmax(most, error), ++cases;
  }
  std::printf("balance, gradients of losses, %s: %d random cases, worst relative error %.1e, allowed %.1e\n", name, cases, most, rounded_once);
}

TEST_CASE("gradients of balance losses are central differences of their values") {
  check<of(8, 2, Score::softmax)>("softmax"), check<of(5, 3, Score::sigmoid)>("sigmoid"), check<of(6, 2, Score::sqrt_softplus)>("sqrt_softplus");
  check<with_null_experts>("null experts"), check<with_shared_rows>("shared rows");
}

// CV^2 of the smooth load as the paper has it, all in double: noisy = z + deviation * drawn.
double smooth_load(Config const& c, Doubles const& z, Doubles const& n, Doubles const& drawn, std::int64_t first, std::int64_t last) {
  std::size_t const E = size(c.experts);
  Doubles load(E);
  for (std::size_t t = size(first); t < size(last); ++t) {
    Doubles deviation(E), h(E);
    for (std::size_t e = 0; e < E; ++e) deviation[e] = std::log1p(std::exp(n[t * E + e])) + double{c.router.noise_size}, h[e] = z[t * E + e] + deviation[e] * drawn[t * E + e];
    for (std::size_t e = 0; e < E; ++e) {
      Doubles others;
      for (std::size_t i = 0; i < E; ++i) if (i != e) others.push_back(h[i]);
      std::sort(others.rbegin(), others.rend());
      load[e] += 0.5 * (1 + std::erf((z[t * E + e] - others[size(c.top_k - 1)]) / deviation[e] / std::sqrt(2.)));
    }
  }
  double mean = 0, variance = 0;
  for (double v : load) mean += v / static_cast<double>(E);
  for (double v : load) variance += (v - mean) * (v - mean) / static_cast<double>(E);
  return variance / (mean * mean);
}

template <Config C> void check_smooth_load() {
  constexpr int E = C.experts;
  cases::Random random{12};
  double most = 0, most_value = 0;
  for (int i = 0; i < 12; ++i) {
    Case<C> c{2 + random.below(10), random.next()};
    std::size_t const all = c.logits.size();
    std::vector<float> n(all), noisy_z(all), dn(all);
    for (float& v : n) v = static_cast<float>(random.normal());
    std::uint64_t const seed = 1 + random.next() / 2;
    auto const in = [&](std::vector<float>& v) { return Rows<float, E>{v.data(), c.tokens}; };
    balance::noisy_logits<C>(in(c.logits), in(n), seed, in(noisy_z));
    for (std::int64_t t = 0; t < c.tokens; ++t) {        // the router chooses by these
      float z[E], scratch[E], weight[C.top_k];
      std::int32_t expert[C.top_k], by_noisy[C.top_k];
      std::uint64_t heap[C.top_k];
      std::copy_n(&c.logits[size(t * E)], E, z);
      route::Program<C>::run(z, scratch, heap, {.noise_logits = &n[size(t * E)], .seed = seed, .index = t}, expert, weight, nullptr);
      route::top_k(&noisy_z[size(t * E)], E, C.top_k, heap, by_noisy);
      CHECK(std::equal(expert, expert + C.top_k, by_noisy));
    }
    std::int64_t const sequence = i % 2 ? 0 : 1 + c.tokens / 2;
    balance::Losses<C> const losses{.routing = c.routing, .sequence = sequence, .coefficient = 0.5};
    balance::Drawn<C> const drawn{.noise_logits = in(n), .noisy = in(noisy_z)};
    double const value = losses.smooth_load(drawn, {.logits = c.dz(), .noise_logits = in(dn)});
    CHECK(losses.smooth_load(drawn) == value);

    Doubles z(c.logits.begin(), c.logits.end()), noise(n.begin(), n.end()), unit(all);
    for (std::size_t j = 0; j < all; ++j) unit[j] = (double{noisy_z[j]} - z[j]) / (std::log1p(std::exp(noise[j])) + double{C.router.noise_size});
    auto const reference = [&] {
      std::int64_t const length = sequence ? sequence : c.tokens;
      double sum = 0, count = 0;
      for (std::int64_t t = 0; t < c.tokens; t += length, ++count) sum += smooth_load(C, z, noise, unit, t, std::min(c.tokens, t + length));
      return 0.5 * sum / count;
    };
    most_value = std::fmax(most_value, std::fabs(reference() - value) / std::fabs(value));
    // In double steps can be small: 2^-20, whose square is nothing, and 1e-16 of a value over it 1e-10.
    auto const slope = [&](Doubles& x, std::vector<float> const& got) {
      double error = 0, largest = 0;
      for (std::size_t j = 0; j < all; ++j) {
        double const was = x[j], h = 0x1p-20;
        x[j] = was + h;
        double const up = reference();
        x[j] = was - h;
        double const want = (up - reference()) / (2 * h);
        x[j] = was, largest = std::fmax(largest, std::fabs(want)), error = std::fmax(error, std::fabs(want - double{got[j]}));
      }
      return error / largest;
    };
    most = std::fmax(most, std::fmax(slope(z, c.gradient), slope(noise, dn)));
  }
  CHECK(most_value < 1e-12);
  CHECK(most < 1e-6);
  std::printf("balance, smooth load, %d experts: 12 random cases, worst relative error of values %.1e, of gradients %.1e\n", E, most_value, most);
}
TEST_CASE("the smooth load of a noisy router is the paper's, its gradients are central differences") {
  check_smooth_load<noisy(8, 2, 0.01f)>(), check_smooth_load<noisy(5, 1, 0)>(), check_smooth_load<noisy(6, 5, 0.01f)>();
  constexpr Config all = noisy(4, 4, 0.01f);
  Case<all> c{3};
  Rows<float, 4> const z = c.dz();
  CHECK(balance::Losses<all>{.routing = c.routing}.smooth_load({.noise_logits = z, .noisy = z}) == 0);
  CHECK(balance::Losses<noisy(8, 2, 0)>{}.smooth_load({}) == 0);
  CHECK_THROWS_WITH_AS(balance::noisy_logits<all>(z, z, 1, {}), doctest::Contains("balance: noisy must have as many rows as logits: got 0, want 3"), Error);
  balance::Losses<all> const losses{.routing = c.routing};
  CHECK_THROWS_WITH_AS(losses.smooth_load({}), doctest::Contains("balance: noise_logits must have as many rows as the routing: got 0, want 3"), Error);
  CHECK_THROWS_WITH_AS(losses.smooth_load({.noise_logits = z}), doctest::Contains("balance: noisy must have as many rows as the routing: got 0, want 3"), Error);
  CHECK_THROWS_WITH_AS(losses.smooth_load({.noise_logits = z, .noisy = z}, {.noise_logits = {z.data, 2}}), doctest::Contains("balance: the gradient must have as many rows as the routing: got 2, want 3"), Error);
}

// d<a, weight>/dz of weights s / sum(s) of the chosen, s a sigmoid or the exponential of the noisy logits: w_k c_k (a_k - <a, w>), with
// c the logarithmic slope of s. Through the program in fp32: a few units of the largest.
template <Config C> double through_router() {
  Case<C> c{16};
  constexpr int N = Case<C>::N, K = C.top_k;
  bool const drew = C.router.noise == Noise::softplus;
  cases::Random random{13};
  std::vector<float> a(size(16 * K)), n(size(16 * N)), noisy_z = c.logits, dn(n.size());
  for (float& v : a) v = static_cast<float>(random.normal());
  for (float& v : n) v = static_cast<float>(random.normal());
  auto const in = [&](std::vector<float>& v) { return Rows<float, N>{v.data(), 16}; };
  if constexpr (C.router.noise == Noise::softplus) balance::noisy_logits<C>(in(c.logits), in(n), 7, in(noisy_z));
  c.expert[3] = -1, c.expert[5] = 99;            // neither has a weight
  balance::through_router<C>(c.routing, {a.data(), 16}, {.logits = c.dz(), .noise_logits = in(dn)}, in(n), drew ? 7 : 0);
  double error = 0, largest = 0;
  Doubles dz(c.logits.size()), dnoise(c.logits.size());
  for (std::int64_t t = 0; t < 16; ++t) {
    double sum = 0, along = 0;
    auto const each = [&](auto const& f) {
      for (std::int64_t k = t * K; k < (t + 1) * K; ++k)
        if (std::int32_t const e = c.expert[size(k)]; e >= 0 && e < N) {
          double const z = double{noisy_z[size(t * N + e)]}, s = C.router.score == Score::sigmoid ? 1 / (1 + std::exp(-z)) : std::exp(z);
          f(size(t * N + e), s, C.router.score == Score::sigmoid ? 1 - s : 1., double{a[size(k)]});
        }
    };
    each([&](std::size_t, double s, double, double of) { sum += s, along += s * of; });
    each([&](std::size_t i, double s, double slope, double of) {
      dz[i] = s / sum * slope * (of - along / sum);
      double const deviation = std::log1p(std::exp(double{n[i]})) + double{C.router.noise_size};
      if (drew) dnoise[i] = dz[i] * (double{noisy_z[i]} - double{c.logits[i]}) / deviation / (1 + std::exp(-double{n[i]}));
    });
  }
  for (std::size_t i = 0; i < dz.size(); ++i) {
    largest = std::fmax(largest, std::fabs(dz[i]));
    error = std::fmax(error, std::fmax(std::fabs(dz[i] - double{c.gradient[i]}), std::fabs(dnoise[i] - double{dn[i]})));
  }
  return error / largest;
}
TEST_CASE("gradients of weights reach the logits and the noise through the router") {
  double const softmax = through_router<of(8, 2, Score::softmax)>(), sigmoid = through_router<of(5, 3, Score::sigmoid)>(), drew = through_router<noisy(8, 3, 0.01f)>();
  CHECK(std::fmax(softmax, std::fmax(sigmoid, drew)) < 2e-6);
  std::printf("balance, through the router: worst relative error, softmax %.1e, sigmoid %.1e, noisy %.1e\n", softmax, sigmoid, drew);
  constexpr Config c = of(4, 2, Score::softmax);
  Case<c> one{3};
  CHECK_NOTHROW(balance::through_router<c>({}, {}, {}));
  constexpr Config mixer{.experts = 5, .top_k = 2, .hidden = 32, .ffn = 32, .router = {.score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none, .noise_size = 4}};
  std::vector<float> z{1, 2, 3, 4, 5, 1, 2, 3, 4, 5}, dz(10), ones(4, 1.f);
  std::vector<std::int32_t> absent{4, -1, -1, 4};                        // as many rounds without an expert: no gradient of theirs
  Routing<mixer> rounds{.expert = {absent.data(), 2}, .logits = {z.data(), 2}};
  balance::through_router<mixer>(rounds, {ones.data(), 2}, {.logits = {dz.data(), 2}});
  CHECK(dz[4] > 0);
  CHECK(std::fabs(dz[0] + dz[1] + dz[2] + dz[3] + dz[4]) < 1e-6f);
  absent = {-1, -1, -1, -1}, std::fill(dz.begin(), dz.end(), 0.f);
  balance::through_router<mixer>(rounds, {ones.data(), 2}, {.logits = {dz.data(), 2}});
  CHECK(std::all_of(dz.begin(), dz.end(), [](float v) { return v == 0; }));
  CHECK_THROWS_WITH_AS(balance::through_router<c>(one.routing, {one.weight.data(), 2}, {.logits = one.dz()}), doctest::Contains("balance: dweight must have as many rows as routing.expert: got 2, want 3"), Error);
  CHECK_THROWS_WITH_AS(balance::through_router<c>(one.routing, one.routing.weight, {}), doctest::Contains("balance: the gradient must have as many rows as the routing: got 0, want 3"), Error);
}

TEST_CASE("GShard's loss by hand: first choices alone, E^2 times the paper's") {
  constexpr Config c = of(4, 2, Score::softmax);
  float const two = std::log(2.f), four = std::log(4.f);
  std::vector<float> logits{0, two, 0, four, four, 0, 0, two, 0, 0, four, two};        // p: (1 2 1 4) / 8, (4 1 1 2) / 8, (1 1 4 2) / 8
  std::vector<std::int32_t> expert{3, 1, 0, 3, 2, 3};
  balance::Losses<c> const losses{.routing = {.expert = {expert.data(), 3}, .logits = {logits.data(), 3}}};
  // Mean gates (6 4 6 8) / 24; first choices (1 0 1 1) / 3; the paper: 1/4 * sum = 1/4 * 20 / 72.
  CHECK(losses.gshard() == doctest::Approx(16 * 20. / 72 / 4));
  CHECK(losses.load() == doctest::Approx(4 * (1 * 6 + 1 * 4 + 1 * 6 + 3 * 8) / 72.));
  CHECK(losses.load({}, 1, 1) == doctest::Approx(losses.gshard()));
  std::vector<float> gradient(12);
  losses.gshard({gradient.data(), 3});
  // d/dz_te = 4 / 3 p_te (f_e - sum f p): of token 0, sum f p = 6 / 24.
  for (int e = 0; e < 4; ++e) CHECK(gradient[size(e)] == doctest::Approx(4. / 3 * (e == 3 ? 4 : e == 1 ? 2 : 1) / 8. * ((e == 1 ? 0 : 1 / 3.) - 6 / 24.)));
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
  CHECK(losses.gshard() == doctest::Approx(1));
  CHECK(losses.sequence_wise() == doctest::Approx(1));
  CHECK(losses.importance() == doctest::Approx(0));
  CHECK(losses.z() == doctest::Approx(std::log(4.) * std::log(4.)));
  CHECK(losses.mutual_information() == doctest::Approx(0));
  CHECK(losses.entropy() == doctest::Approx(std::log(4.)));
  std::vector<float> sure(8 * 4);
  for (int t = 0; t < 8; ++t) sure[static_cast<std::size_t>(4 * t)] = 60, expert[static_cast<std::size_t>(2 * t)] = 0, expert[static_cast<std::size_t>(2 * t + 1)] = 1;
  losses.routing.logits = {sure.data(), 8};
  CHECK(losses.load({}, 1) == doctest::Approx(4));
  CHECK(losses.load() == doctest::Approx(4));
  CHECK(losses.importance() == doctest::Approx(1));    // two of four experts share everything
  for (int t = 0; t < 8; ++t) sure[static_cast<std::size_t>(4 * t)] = 0, sure[static_cast<std::size_t>(4 * t + t % 4)] = 60;
  CHECK(losses.mutual_information() == doctest::Approx(-std::log(4.)));
  CHECK(losses.entropy() == doctest::Approx(0));
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
  losses.sequence = 0;
  std::vector<float> const untouched(all.gradient.size(), 0.f);
  CHECK_THROWS_WITH_AS(losses.load({all.gradient.data(), 19}), doctest::Contains("balance: the gradient must have as many rows as the routing: got 19, want 20"), Error);
  losses.routing.logits.rows = 19;
  CHECK_THROWS_WITH_AS(losses.entropy(all.dz()), doctest::Contains("balance: routing.logits must have as many rows as routing.expert (set Routing::logits before the router runs): got 19, want 20"), Error);
  CHECK(all.gradient == untouched);
  losses.routing.expert.rows = losses.routing.logits.rows = -1;
  CHECK_THROWS_WITH_AS(losses.load(), doctest::Contains("balance: routing.expert's rows must not be negative: got -1, want 0"), Error);
  losses.routing.expert.rows = 20, losses.routing.logits = {};
  CHECK_THROWS_WITH_AS(losses.z(), doctest::Contains("balance: routing.logits must have as many rows as routing.expert"), Error);
  losses.routing.weight = {};
  CHECK_THROWS_WITH_AS(losses.importance(), doctest::Contains("balance: routing.weight must have as many rows"), Error);
}

TEST_CASE("indices that no expert has count nowhere") {
  constexpr Config c = of(4, 2, Score::softmax);
  Case<c> one{8};
  balance::Losses<c> losses{.routing = one.routing};
  for (std::int64_t t = 0; t < 8; ++t) one.expert[size(2 * t + 1)] = -1;
  double const load = losses.load(), importance = losses.importance();
  for (std::int64_t t = 0; t < 8; ++t) one.expert[size(2 * t + 1)] = t % 2 ? INT32_MIN : INT32_MAX;
  CHECK(losses.load() == load);
  CHECK(losses.importance(one.dw()) == importance);
  for (std::int64_t t = 0; t < 8; ++t) CHECK(one.weight_gradient[size(2 * t + 1)] == 0);
}

}

// Statistics of choices that are known, biases that move against a load, and a skewed router that every rule evens out.
#include <coterie/balance.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <numeric>
#include <vector>

namespace {
using namespace coterie;
using balance::BiasMemory, balance::BiasRule, balance::Statistics, balance::statistics, balance::update_bias;
using Loads = std::vector<std::int64_t>;
using Floats = std::vector<float>;
using Indices = std::vector<std::int32_t>;

constexpr Config four{.experts = 4, .top_k = 2, .hidden = 4, .ffn = 4};
constexpr Config null_experts{.experts = 4, .top_k = 2, .hidden = 4, .ffn = 4, .expert = {.identity = 2, .skip = 1}};
constexpr Config chosen_by_experts{.experts = 4, .top_k = 2, .hidden = 4, .ffn = 4, .router = {.select = Select::expert_choice}};
constexpr Config given{.experts = 4, .top_k = 2, .hidden = 4, .ffn = 4, .router = {.input = RouterInput::given}};

TEST_CASE("statistics of known choices") {
  Indices expert{0, 1, 0, 1, 0, 2, 0, -1}, slot{0, 1, 2, -1, 3, 4, -1, -1};
  Floats logits{3, 2, 1, 0, 3, 2.5f, 1, 0, 5, 0, 4, 1, 2, 1, 0, 0};
  Statistics const s = statistics<four>({.expert = {expert.data(), 4}, .logits = {logits.data(), 4}}, {.slot = {slot.data(), 4}});
  CHECK(s.load == Loads{4, 2, 1, 0});
  CHECK(s.dead == 1);
  CHECK(s.max_violation == doctest::Approx(4 / 1.75 - 1));
  CHECK(s.variation == doctest::Approx(std::sqrt((2.25 * 2.25 + 0.25 * 0.25 + 0.75 * 0.75 + 1.75 * 1.75) / 4) / 1.75));
  CHECK(s.entropy == doctest::Approx(-(4 / 7. * std::log(4 / 7.) + 2 / 7. * std::log(2 / 7.) + 1 / 7. * std::log(1 / 7.)) / std::log(4.)));
  CHECK(s.drop_rate == doctest::Approx(2 / 7.));
  CHECK(s.margin == doctest::Approx((1 + 1.5 + 3 + 1) / 4));
  CHECK(s.json().starts_with("{\"tokens\": 4, \"load\": [4, 2, 1, 0], \"dead\": 1, \"max_violation\": 1.2857142857142"));
  CHECK(s.json().ends_with(", \"margin\": 1.625, \"null_choices\": 0}"));

  Statistics const none = statistics<four>({});
  CHECK(none.load == Loads{0, 0, 0, 0});
  CHECK(none.dead == 4);
  CHECK(none.max_violation == 0);
  CHECK(none.margin == 0);
}

TEST_CASE("statistics of two halves add up to those of the whole") {
  Indices expert{0, 1, 0, 1, 0, 2, 0, -1, 3, 2, 1, 0}, slot{0, 1, 2, -1, 3, 4, -1, -1, -1, 5, 6, 7};
  Floats logits{3, 2, 1, 0, 3, 2.5f, 1, 0, 5, 0, 4, 1, 2, 1, 0, 0, 0, 0, 1, NAN, 1, 2, 0, 0};       // a chosen logit is no number: its margin is left out
  auto const part = [&](std::int64_t first, std::int64_t n) {
    return statistics<four>({.expert = {&expert[static_cast<std::size_t>(2 * first)], n}, .logits = {&logits[static_cast<std::size_t>(4 * first)], n}},
                            {.slot = {&slot[static_cast<std::size_t>(2 * first)], n}});
  };
  Statistics const whole = part(0, 6);
  CHECK(whole.margins == 5);
  for (std::int64_t first : {0, 1, 4, 5, 6}) {
    Statistics sum;                              // empty: of no experts
    sum += first ? part(0, first) : Statistics{};
    sum += part(first < 6 ? first : 0, 6 - first);
    CHECK(sum.json() == whole.json());
    CHECK(sum.margins == 5);
  }
  Statistics reduced = part(0, 3), other = part(3, 3);                    // over devices: load, dropped, then the figures
  for (std::size_t e = 0; e < 4; ++e) reduced.load[e] += other.load[e];
  reduced.dropped += other.dropped, reduced.derive();
  CHECK(reduced.drop_rate == whole.drop_rate);
  CHECK(reduced.max_violation == whole.max_violation);
  Statistics five{.load = Loads(5)};
  CHECK_THROWS_WITH_AS(five += whole, doctest::Contains("balance: statistics of as many experts must be added: got 4, want 5"), Error);
}

TEST_CASE("statistics of null experts, of expert choice, of a given routing") {
  Indices expert{0, 4, 6, 5, 1, 7, INT32_MAX, INT32_MIN};               // 4, 5, 6: identity and skip; then no expert at all
  Statistics const s = statistics<null_experts>({.expert = {expert.data(), 4}});
  CHECK(s.load == Loads{1, 1, 0, 0});
  CHECK(s.null_choices == 3);
  CHECK(s.dead == 2);

  Indices slots{0, -1, 2, 3, -1, 1, -1, 3};                              // an expert in its own column
  Floats logits(8);
  Statistics const c = statistics<chosen_by_experts>({.expert = {slots.data(), 2}, .logits = {logits.data(), 2}});
  CHECK(c.load == Loads{1, 1, 1, 2});
  CHECK(c.margin == 0);

  Statistics const g = statistics<given>({.expert = {expert.data(), 1}, .logits = {logits.data(), 1}});
  CHECK(g.load == Loads{1, 0, 0, 0});
  CHECK(g.entropy == 0);
}

TEST_CASE("statistics in JSON: numbers that read back exactly, null for what is no number, a point in every locale") {
  Statistics s{.load = {1}, .max_violation = NAN, .variation = HUGE_VAL, .entropy = -HUGE_VAL, .margin = 0.5};
  std::setlocale(LC_NUMERIC, "de_DE.UTF-8");     // where there is one, its numbers have commas
  std::string const text = s.json();
  std::setlocale(LC_NUMERIC, "C");
  CHECK(text == "{\"tokens\": 0, \"load\": [1], \"dead\": 0, \"max_violation\": null, \"variation\": null, \"entropy\": null, \"drop_rate\": 0, \"margin\": 0.5, \"null_choices\": 0}");
  for (double v : {1. / 3, -2. / 7, 1e-9, std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::lowest(), std::nextafter(1., 2.)}) {
    s.variation = v;
    std::string const one = s.json(), before = "\"variation\": ";
    CHECK(std::strtod(one.c_str() + one.find(before) + before.size(), nullptr) == v);
  }
  CHECK(Statistics{}.json().find("\"load\": []") != std::string::npos);
}

TEST_CASE("margins: infinite and NaN logits are left out, and what does not match is a sentence") {
  Indices expert{0, 1, 0, 1, 2, 3};
  float const inf = HUGE_VALF;
  Floats logits{2, 1, 0, 0, inf, inf, 1, 0, NAN, NAN, NAN, NAN};
  Routing<four> r{.expert = {expert.data(), 3}, .logits = {logits.data(), 3}};
  std::int64_t counted = -1;
  CHECK(balance::margin(r, &counted) == 1);
  CHECK(counted == 1);
  r.logits.rows = 2;
  CHECK_THROWS_WITH_AS(balance::margin(r), doctest::Contains("balance: routing.logits must have as many rows as routing.expert (set Routing::logits before the router runs): got 2, want 3"), Error);
  CHECK_THROWS_WITH_AS(statistics(r), doctest::Contains("got 2, want 3"), Error);
  CHECK_THROWS_WITH_AS(statistics<four>({.expert = {expert.data(), 3}}, {.slot = {expert.data(), 2}}), doctest::Contains("balance: batch.slot must have as many rows as routing.expert: got 2, want 3"), Error);
  CHECK_THROWS_WITH_AS(statistics<four>({.expert = {nullptr, 3}}), doctest::Contains("balance: routing.expert must be given"), Error);
  CHECK_THROWS_WITH_AS(statistics<four>({.expert = {expert.data(), -3}}), doctest::Contains("balance: routing.expert's rows must not be negative: got -3, want 0"), Error);
}

TEST_CASE("biases move against the load, and stop where it is even") {
  Floats bias{0, 0, 0.5f, 0};
  update_bias(bias.data(), {10, 2, 4, 0}, {.rate = 0.125});
  CHECK(bias == Floats{-0.125f, 0.125f, 0.5f, 0.125f});
  update_bias(bias.data(), {4, 4, 4, 4});
  CHECK(bias == Floats{-0.125f, 0.125f, 0.5f, 0.125f});
  update_bias(bias.data(), {8, 4, 4, 0}, {.rule = BiasRule::proportional, .rate = 0.5, .centre = 1});
  CHECK(bias == Floats{-0.78125f, -0.03125f, 0.34375f, 0.46875f});
  update_bias(bias.data(), {0, 0, 0, 0});
  CHECK(bias[0] == -0.78125f);
  CHECK_THROWS_WITH_AS(update_bias(bias.data(), {1, -1, 0, 0}), doctest::Contains("a load must not be negative: got -1"), Error);
  CHECK_THROWS_WITH_AS(update_bias(nullptr, {1, 0}), doctest::Contains("balance: bias must be given: got 0, want 1"), Error);
  CHECK_NOTHROW(update_bias(nullptr, {}));
}

TEST_CASE("a target: LongCat's rule, with null experts beside") {
  // 4 real experts, K = 3 of which 2 should be real: of 8 tokens 4 choices each. mu (K_real / (K E) - T_e / (K T)) = 0.6 (1/6 - T_e / 24).
  Floats bias(4);
  update_bias(bias.data(), {4, 8, 0, 2}, {.rule = BiasRule::proportional, .rate = 0.6 * 2 / 12, .target = 8 * 2 / 4.});
  for (std::size_t e = 0; e < 4; ++e) CHECK(bias[e] == doctest::Approx(0.6 * (1 / 6. - std::vector<double>{4, 8, 0, 2}[e] / 24)));
}

TEST_CASE("pid: without gains the proportional rule, with them the differences of the gaps") {
  Floats plain(2), pid(2), braked(2);
  BiasMemory none, memory;
  double sum = 0, before = 0, last = 0;
  for (std::int64_t n : {16, 12, 9, 8, 6}) {
    Loads const load{n, 16 - n};
    update_bias(plain.data(), load, {.rule = BiasRule::proportional, .rate = 0.25});
    update_bias(pid.data(), load, {.rule = BiasRule::pid, .rate = 0.25, .memory = &none});
    update_bias(braked.data(), load, {.rule = BiasRule::pid, .rate = 0.25, .proportional = 2, .derivative = 0.5, .memory = &memory});
    CHECK(plain == pid);
    before = last, last = 1 - static_cast<double>(n) / 8, sum += last;
    CHECK(braked[0] == doctest::Approx(0.25 * (sum + 2 * last + 0.5 * (last - before))));                // summed up: a controller of the gap
  }
  CHECK_THROWS_WITH_AS(update_bias(pid.data(), {1, 1}, {.rule = BiasRule::pid}), doctest::Contains("balance: BiasUpdate::memory must be given for BiasRule::pid"), Error);
  CHECK_THROWS_WITH_AS(update_bias(pid.data(), {1, 1, 1}, {.rule = BiasRule::pid, .memory = &none}), doctest::Contains("balance: BiasUpdate::memory must be of as many experts as the load: got 2, want 3"), Error);
}

// A router whose experts are liked unequally: logits of mean -1.5 to 1.5 and deviation 1, of 8 batches that come round.
struct Skewed {
  static constexpr Config config{.experts = 16, .top_k = 2, .hidden = 4, .ffn = 4, .router = {.score = Score::sigmoid, .select_bias = 1}};
  static constexpr int E = 16, K = 2, batches = 8;
  static constexpr std::int64_t tokens = 2048;
  Floats logits = Floats(E * tokens * batches), bias = Floats(E);
  Indices expert = Indices(K * tokens);
  Routing<config> routing{.expert = {expert.data(), tokens}};

  Skewed() {
    for (std::size_t i = 0; i < logits.size(); ++i)
      logits[i] = 3 * (static_cast<float>(i % E) / (E - 1) - 0.5f) + random::gaussian(5, random::Stream::softplus, i / E, static_cast<std::uint32_t>(i % E));
  }
  Statistics step(int at) {
    routing.logits = {&logits[static_cast<std::size_t>(at % batches * tokens * E)], tokens};
    for (std::int64_t t = 0; t < tokens; ++t) {
      float c[E];
      for (int e = 0; e < E; ++e) c[e] = math::sigmoid(routing.logits[t][e]) + bias[static_cast<std::size_t>(e)];
      std::uint64_t heap[K];
      route::top_k(c, E, K, heap, routing.expert[t]);
    }
    return statistics(routing);
  }
};
TEST_CASE("a skewed router becomes even, monotonically, by every rule") {
  // Even loads are 256 choices, binomial with a deviation of 15: the largest of 16 is expected 1.8 of them above the mean, 0.11.
  // The sign rule ends in steps of its rate, each some 5 % of a load.
  BiasMemory memory;
  struct Rule {
    char const* name;
    int steps, window;
    double bound;
    std::function<void(Skewed&, Loads const&)> apply;
  };
  Rule const rules[]{
    {"sign, rate 0.01", 50, 10, 0.25, [](Skewed& to, Loads const& load) { update_bias(to.bias.data(), load, {.rate = 0.01}); }},
    {"sign, centred", 50, 10, 0.25, [](Skewed& to, Loads const& load) { update_bias(to.bias.data(), load, {.rate = 0.01, .centre = 1}); }},
    {"proportional, rate 0.02", 50, 10, 0.2, [](Skewed& to, Loads const& load) { update_bias(to.bias.data(), load, {.rule = BiasRule::proportional, .rate = 0.02}); }},
    {"pid, rate 0.02", 50, 10, 0.2, [&](Skewed& to, Loads const& load) { update_bias(to.bias.data(), load, {.rule = BiasRule::pid, .rate = 0.02, .proportional = 1, .memory = &memory}); }},
    {"quantile", 12, 2, 0.2, [](Skewed& to, Loads const&) { balance::quantile_bias(to.bias.data(), to.routing); }},
    {"quantile, half way", 12, 2, 0.2, [](Skewed& to, Loads const&) { balance::quantile_bias(to.bias.data(), to.routing, 0.5); }}};
  Skewed s;
  for (Rule const& rule : rules) {
    CAPTURE(rule.name);
    std::fill(s.bias.begin(), s.bias.end(), 0.f);
    double first = 0, before = HUGE_VAL, mean = 0;
    int even_after = 0;
    for (int i = 0; i < rule.steps; ++i) {
      Statistics const at = s.step(i);
      if (i == 0) first = at.max_violation;
      if (!even_after && at.max_violation < rule.bound) even_after = i;
      mean += at.max_violation / rule.window;
      if ((i + 1) % rule.window == 0) {          // the mean of a window is below the last one's, until it is below the bound
        CHECK((mean < before || mean < rule.bound));
        before = mean, mean = 0;
      }
      rule.apply(s, at.load);
    }
    CHECK(first > 2);
    CHECK(before < rule.bound);
    float const sum = std::accumulate(s.bias.begin(), s.bias.end(), 0.f);
    std::printf("balance, %s: MaxVio %.2f, below %.2f after %d steps, %.3f in the last %d of %d; the biases' sum %.1e\n", rule.name, first, rule.bound, even_after, before, rule.window, rule.steps, double{sum});
  }
}

TEST_CASE("quantile biases of one batch: the share of tokens that pass their cutoff, and what is no number left out") {
  constexpr Config c{.experts = 4, .top_k = 1, .hidden = 4, .ffn = 4, .router = {.score = Score::identity, .select_bias = 1, .post = Post::softmax, .normalise = Normalise::none}};
  // Scores are logits. Cutoffs, the second largest: 3, 2, 5, 4; of 4 tokens 1 an expert: the second smallest of cutoff - score.
  Floats logits{9, 3, 1, 0, 8, 2, 0, 1, 7, 5, 4, 0, 6, 1, 4, 3, NAN, 1, 2, 3};
  Routing<c> const r{.logits = {logits.data(), 5}};
  Floats bias(4);
  balance::quantile_bias(bias.data(), r);
  // expert 0: -6 -6 -2 -2; 1: 0 0 0 3; 2: 2 2 1 0; 3: 3 1 5 1. Their second smallest: -6, 0, 1, 1; mean -1.
  CHECK(bias == Floats{-5, 1, 2, 2});
  Floats half(4);
  balance::quantile_bias(half.data(), r, 0.5);
  CHECK(half == Floats{-2.5f, 0.5f, 1, 1});
  balance::quantile_bias<c>(half.data(), {});
  balance::quantile_bias<c>(half.data(), {.logits = {&logits[16], 1}});
  CHECK(half == Floats{-2.5f, 0.5f, 1, 1});
  std::vector<float> barred(bias.size(), -1e6f);                         // far away: the whole way in one rounding; an infinite one bars its expert
  balance::quantile_bias(barred.data(), r);
  CHECK(barred[0] != 0);
  CHECK(std::fabs(barred[0]) < 10);
  barred[1] = -HUGE_VALF;
  balance::quantile_bias(barred.data(), r);
  balance::update_bias(barred.data(), std::vector<std::int64_t>(barred.size(), 3), {.centre = 1});
  CHECK(barred[1] == -HUGE_VALF);
  CHECK(std::isfinite(barred[0]));
  CHECK_THROWS_WITH_AS(balance::quantile_bias(nullptr, r), doctest::Contains("balance: bias must be given"), Error);
  CHECK_THROWS_WITH_AS(balance::quantile_bias<c>(half.data(), {.logits = {nullptr, 3}}), doctest::Contains("balance: routing.logits must be given"), Error);
  constexpr Config every{.experts = 2, .top_k = 2, .hidden = 4, .ffn = 4, .router = {.select_bias = 1}};
  balance::quantile_bias<every>(half.data(), {.logits = {logits.data(), 2}});
  CHECK(half[0] == -2.5f);
}

}

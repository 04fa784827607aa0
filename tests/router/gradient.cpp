// Gradients of the routing program against central differences of the reference, in double: every score, rule of normalisation, scale,
// noise and selection; random logits, and the choices that the program itself makes of them.
#include <coterie/coterie.hpp>
#include <coterie/reference.hpp>
#include <coterie/router/gradient.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Floats = std::vector<float>;

// Logits are the bias alone plus what x brings: shifting an expert's bias shifts its logit.
constexpr Config of(int experts, int top_k, RouterConfig r) {
  r.precision = Precision::fp32, r.weights = DType::fp32, r.bias = 1;
  return {.experts = experts, .top_k = top_k, .hidden = 6, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32, .router = r};
}
constexpr Config with_null(Config c, int identity, int skip) {
  c.expert.identity = identity, c.expert.skip = skip;
  return c;
}
constexpr Config with_shared_rows(Config c, int count) {
  c.shared = {.ffn = count, .count = count, .mix = SharedMix::router_rows, .weights = DType::fp32};
  return c;
}
constexpr Config with_capacity(Config c, CapacityConfig capacity) {
  c.capacity = capacity;
  return c;
}

// sum over one token's weights of weight * gradient, as the reference routes it; ids and places go to `chosen`.
struct Loss {
  double value = 0;
  std::vector<std::int32_t> chosen;
};

template <Config C> class Check {
 public:
  static constexpr int N = logit_columns(C), E = candidates(C), S = slots(C), H = C.hidden, tokens = 5;
  explicit Check(std::uint64_t seed) : random_(seed) {
    for (int i = 0; i < N * H; ++i) w_.router.push_back(fp(0.5)), w_.noise.push_back(fp(0.5));
    for (int e = 0; e < N; ++e) w_.router_bias.push_back(fp(1));
    for (int e = 0; e < E; ++e) w_.select_bias.push_back(fp(0.3));
    for (int e = 0; e < C.experts; ++e) w_.expert_scale.push_back(1 + fp(0.3));
    w_.router_scale = C.router.select == Select::top_k && C.capacity.rounding == Rounding::none ? 1.25 : 1;
    in_.tokens = tokens, in_.seed = 77;
    for (int i = 0; i < tokens * H; ++i) in_.x.push_back(fp(1));
    for (int i = 0; i < tokens * C.top_k; ++i) in_.given.expert.push_back(random_.one_in(5) ? -1 : (i % C.top_k + random_.below(E / C.top_k) * C.top_k) % E);
    for (int i = 0; i < tokens * S; ++i) dweight_.push_back(fp(1));
    for (int i = 0; i < tokens * shared_rows(C); ++i) dshared_.push_back(fp(1));
  }

  // The worst error relative to the largest gradient of its kind in the token; how many central differences were taken.
  double worst() {
    double error = 0;
    reference::Routing const r = reference::route(C, w_, in_);
    bool sure = true;
    std::vector<bool> const kept = reference::keep(C, in_, r, sure);
    for (int t = 0; t < tokens && sure; ++t)
      if (r.margin[static_cast<std::size_t>(t)] > 1) error = std::fmax(error, token(t, r, kept));
    return error;
  }
  int differences() const { return differences_; }

 private:
  double fp(double size) { return static_cast<double>(static_cast<float>(size * random_.normal())); }
  Loss loss(int t) const {
    reference::Routing r = reference::route(C, w_, in_);
    bool sure = true;
    std::vector<bool> const kept = reference::keep(C, in_, r, sure);
    if (reference::deferred(C)) reference::after_drop(C, w_, kept, r);
    Loss l;
    for (int s = 0; s < S; ++s) {
      std::size_t const at = static_cast<std::size_t>(t * S + s);
      l.chosen.push_back(r.expert[at]), l.chosen.push_back(kept[at]);
      if (takes(r.expert[at], kept[at])) l.value += r.weight[at].value * dweight_[at];
    }
    for (int i = 0; i < shared_rows(C); ++i) l.value += r.shared[static_cast<std::size_t>(t * shared_rows(C) + i)].value * dshared_[static_cast<std::size_t>(t * shared_rows(C) + i)];
    return l;
  }
  // Whether Combine uses the weight: of experts that kept their place, and of null experts that return x.
  static bool takes(std::int32_t expert, bool kept) { return kept || (expert >= C.experts && expert < C.experts + C.expert.identity); }
  // Central difference of token t's loss by one number; NaN where the choice changes.
  double difference(double& by, int t) {
    double const was = by, h = 1e-4;
    by = was + h;
    Loss const up = loss(t);
    by = was - h;
    Loss const down = loss(t);
    by = was;
    ++differences_;
    return up.chosen == down.chosen ? (up.value - down.value) / (2 * h) : std::nan("");
  }
  template <class By> double compare(Floats const& got, By const& by, int t) {
    double error = 0, largest = 0.02;                                   // below, what is left of larger ones that cancel
    for (std::size_t i = 0; i < got.size(); ++i) {
      double const want = difference(by(i), t);
      if (std::isnan(want)) continue;
      largest = std::fmax(largest, std::fabs(want)), error = std::fmax(error, std::fabs(double{got[i]} - want));
    }
    return error / largest;
  }

  double token(int t, reference::Routing const& r, std::vector<bool> const& kept) {
    Floats z(N), s(N), c(N), dz(N), dn(N), des(S), select_bias, expert_scale, noise(N), weight(S), dweight(S), dshared(shared_rows(C) + 1);
    std::vector<std::int32_t> expert(S), slot(S), ids(C.top_k);
    for (double v : w_.select_bias) select_bias.push_back(static_cast<float>(v));
    for (double v : w_.expert_scale) expert_scale.push_back(static_cast<float>(v));
    for (int e = 0; e < N; ++e) {
      double sum = w_.router_bias[static_cast<std::size_t>(e)], n = 0;
      for (int h = 0; h < H; ++h) sum += x(t, h) * w_.router[static_cast<std::size_t>(e * H + h)], n += x(t, h) * w_.noise[static_cast<std::size_t>(e * H + h)];
      z[static_cast<std::size_t>(e)] = static_cast<float>(sum), noise[static_cast<std::size_t>(e)] = static_cast<float>(n);
    }
    for (int i = 0; i < S; ++i) {
      std::size_t const at = static_cast<std::size_t>(t * S + i);
      expert[static_cast<std::size_t>(i)] = r.expert[at], slot[static_cast<std::size_t>(i)] = kept[at] ? 0 : -1;
      dweight[static_cast<std::size_t>(i)] = takes(r.expert[at], kept[at]) ? static_cast<float>(dweight_[at]) : 0.f;
    }
    for (int i = 0; i < shared_rows(C); ++i) dshared[static_cast<std::size_t>(i)] = static_cast<float>(dshared_[static_cast<std::size_t>(t * shared_rows(C) + i)]);
    for (int k = 0; k < C.top_k; ++k) ids[static_cast<std::size_t>(k)] = in_.given.expert[static_cast<std::size_t>(t * C.top_k + k)];
    route::Token<C> const token{.ids = ids.data(), .noise_logits = noise.data(), .select_bias = select_bias.data(), .expert_scale = expert_scale.data(),
                                .router_scale = static_cast<float>(w_.router_scale), .seed = in_.seed, .index = t};
    route::TokenGradient g{.weight = dweight.data(), .shared = dshared.data(), .logits = dz.data(), .noise_logits = dn.data(), .expert_scale = des.data()};
    route::ProgramGradient<C>::run(z.data(), s.data(), c.data(), token, expert.data(), slot.data(), g);

    double error = compare(dz, [this](std::size_t e) -> double& { return w_.router_bias[e]; }, t);
    if constexpr (C.router.noise == Noise::softplus) {                   // by the noise of input 0: x times the gradient of the noise logit
      Floats by_weight;
      for (float d : dn) by_weight.push_back(d * static_cast<float>(x(t, 0)));
      error = std::fmax(error, compare(by_weight, [this](std::size_t e) -> double& { return w_.noise[e * H]; }, t));
    }
    if constexpr (C.router.expert_scale != 0) {
      Floats of_expert(C.experts);
      for (int i = 0; i < S; ++i)
        if (expert[static_cast<std::size_t>(i)] >= 0 && expert[static_cast<std::size_t>(i)] < C.experts) of_expert[static_cast<std::size_t>(expert[static_cast<std::size_t>(i)])] += des[static_cast<std::size_t>(i)];
      error = std::fmax(error, compare(of_expert, [this](std::size_t e) -> double& { return w_.expert_scale[e]; }, t));
    }
    if constexpr (!route::Program<C>::deferred) error = std::fmax(error, compare({g.router_scale}, [this](std::size_t) -> double& { return w_.router_scale; }, t));
    return error;
  }
  double x(int t, int h) const { return in_.x[static_cast<std::size_t>(t * H + h)]; }

  cases::Random random_;
  reference::Weights w_;
  reference::Inputs in_;
  std::vector<double> dweight_, dshared_;
  int differences_ = 0;
};

template <Config C> void check(char const* name) {
  CAPTURE(std::string(name));
  double worst = 0;
  int differences = 0;
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    Check<C> one{seed};
    double const error = one.worst();
    CHECK(error < 3e-5);
    worst = std::fmax(worst, error), differences += one.differences();
  }
  CHECK(differences > 40);
  std::printf("gradients, %s: worst relative error %.1e of %d central differences\n", name, worst, differences);
}

TEST_CASE("gradients of logits, scales and noise are those of the reference") {
  constexpr RouterConfig softmax{}, sigmoid{.score = Score::sigmoid, .normalise = Normalise::sum_add, .epsilon = 1e-20f};
  check<of(8, 2, softmax)>("softmax, normalised");
  check<of(8, 3, {.normalise = Normalise::none, .scale = 2.5f})>("softmax, scaled");
  check<of(8, 2, {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none})>("softmax of the selected");
  check<of(8, 2, {.score = Score::identity, .post = Post::sigmoid, .normalise = Normalise::none, .expert_scale = 1})>("sigmoid of the selected, learned factors");
  check<of(8, 3, {.score = Score::identity, .normalise = Normalise::none})>("logits as weights");
  check<of(9, 3, sigmoid)>("sigmoid, normalised");
  check<of(8, 4, {.score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4, .groups_kept = 2, .epsilon = 1e-20f, .scale = 2.5f})>("DeepSeek-V3");
  check<of(8, 3, {.score = Score::sqrt_softplus, .epsilon = 1e-6f, .scale = 1.5f})>("square root of softplus");
  check<of(8, 2, {.soft_cap = 1.5f, .normalise = Normalise::sum_clamp, .epsilon = 0.05f})>("soft cap; clamped sum that moves");
  check<of(8, 2, {.normalise = Normalise::sum_clamp, .epsilon = 0.95f})>("clamped sum that mostly does not move");
  check<of(8, 2, {.normalise = Normalise::sum_add, .epsilon = 0.1f, .expert_scale = 1})>("epsilon that is felt, learned factors");
  check<of(8, 2, {.noise = Noise::softplus, .noise_size = 0.01f})>("Shazeer's noise");
  check<of(8, 2, {.noise = Noise::gumbel, .noise_size = 0.7f})>("gumbel");
  check<of(8, 2, {.epsilon = 1e-9f, .noise = Noise::random_second, .noise_size = 0.9f})>("GShard's second");
  check<of(8, 2, {.score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none, .noise_size = 0.1f})>("sparsemixer");
  check<of(6, 2, {.select = Select::expert_choice, .normalise = Normalise::none})>("expert choice");
  check<of(8, 3, {.score = Score::sigmoid, .select = Select::table})>("table with absent choices");
  check<of(8, 3, {.score = Score::identity, .select = Select::table, .post = Post::softmax, .normalise = Normalise::none})>("table, softmax of those present");
  check<with_null(of(6, 3, {.select_bias = 1, .normalise = Normalise::none, .scale = 6}), 2, 1)>("null experts");
  check<with_shared_rows(of(6, 2, sigmoid), 2)>("router-weighed shared experts");
  constexpr CapacityConfig few{.rounding = Rounding::mesh, .factor = 1.5f}, after{.rounding = Rounding::deepspeed, .factor = 0.6f, .normalise = When::after};
  check<with_capacity(of(4, 2, softmax), few)>("capacity, normalised before");
  check<with_capacity(of(4, 2, softmax), after)>("capacity, normalised after");
  check<with_capacity(of(4, 2, {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::sum_clamp, .epsilon = 1e-3f}), after)>("capacity, softmax of the selected, normalised after");
}

}

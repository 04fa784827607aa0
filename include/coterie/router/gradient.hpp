// The routing program backwards: from the gradients of one token's weights to those of its logits, the same code on host and device.
// Roundings hand a gradient on as it is (straight through); which experts are chosen has none.
#pragma once
#include "program.hpp"

namespace coterie { inline namespace v0 { namespace route {

// One token's gradients, fp32: of the weights that Combine used, and what follows from them.
struct TokenGradient {
  float const* weight = nullptr;                 // [S]  in; of a choice that was dropped or absent: 0
  float const* shared = nullptr;                 // [shared_rows]  in
  float* logits = nullptr;                       // [N]  out
  float* noise_logits = nullptr;                 // [N]  out: Noise::softplus
  float* expert_scale = nullptr;                 // [S]  out: what expert[s]'s factor gets of this token
  float router_scale = 0;                        // out
};

// The division of weights by their sum, backwards.
template <Config C> struct NormaliseGradient {
  static constexpr Config config = C;
  static constexpr RouterConfig R = C.router;
  // What the n weights are divided by, and whether it moves with them.
  struct Divisor {
    float by = 1;
    bool moves = false;
  };
  [[gnu::always_inline]] COTERIE_HD static inline Divisor divisor(float const* w, int n) {
    if constexpr (R.normalise == Normalise::none) return {};
    float sum = 0;
    for (int i = 0; i < n; ++i) sum += w[i];
    if constexpr (R.normalise == Normalise::sum_add) return {sum + R.epsilon, true};
    return sum > R.epsilon || is_nan(sum) ? Divisor{sum, true} : Divisor{R.epsilon, false};
  }
  // d of w / divisor, in place; w before the division, shared experts' behind them.
  [[gnu::always_inline]] COTERIE_HD static inline void through_normalise(float const* w, Divisor divisor, float* d, int n) {
    float along = 0;
    for (int i = 0; i < n; ++i) along = math::fma(d[i], w[i], along);
    along = divisor.moves ? along / divisor.by : 0.f;
    for (int i = 0; i < n; ++i) d[i] = (d[i] - along) / divisor.by;
  }
  // Of renormalise(): w[S] before it, slot[S]; d[S] of what it made, becomes that of w.
  [[gnu::always_inline]] COTERIE_HD static inline void after_drop(float const* w, std::int32_t const* slot, float* d) {
    constexpr int S = slots(C);
    float kept[S];
    for (int s = 0; s < S; ++s) kept[s] = slot[s] < 0 ? 0.f : w[s], d[s] = slot[s] < 0 ? 0.f : R.scale_on == ScaleOn::weights ? d[s] * R.scale : d[s];
    through_normalise(kept, divisor(kept, S), d, S);
    for (int s = 0; s < S; ++s) d[s] = slot[s] < 0 ? 0.f : d[s];
  }
};

template <Config C> struct ProgramGradient {
  static constexpr Config config = C;
  static constexpr int E = candidates(C), N = logit_columns(C), K = C.top_k, S = slots(C), shared = shared_rows(C);
  static constexpr RouterConfig R = C.router;
  using P = Program<config>;
  static_assert(R.input != RouterInput::given, "coterie: given routing has no router to train");

  // sigmoid(z) of sqrt(softplus(z)), whose square is -log(1 - sigmoid(z)).
  [[gnu::always_inline]] COTERIE_HD static inline float sigmoid_of_root(float root) {
    float const u = root * root;
    return u < 0x1p-6f ? u * (1 - u * (0.5f - u / 6)) : 1 - math::exp(-u);
  }
  // d[n], the gradients of p = softmax, in place.
  [[gnu::always_inline]] COTERIE_HD static inline void through_softmax(float const* p, float* d, int n) {
    float sum = 0;
    for (int i = 0; i < n; ++i) sum = math::fma(d[i], p[i], sum);
    for (int i = 0; i < n; ++i) d[i] = p[i] * (d[i] - sum);
  }
  // The softmax around each round's largest: exponents of the candidates that have a part, and their sum. z: prepared.
  [[gnu::always_inline]] COTERIE_HD static inline float mixed(float const* z, std::int32_t const* expert, int round, float* p) {
    int const first = round ? expert[0] : -1, top = R.noise == Noise::gumbel ? P::largest(z, first) : expert[round];
    float sum = 0;
    for (int e = 0; e < E; ++e) {
      p[e] = P::mixes(z, e, top, first) ? math::exp(z[e] - z[top]) : 0.f;
      sum += p[e];
    }
    return sum;
  }

  // z[N]: the logits before prepare(); s, c: [N] scratch; expert[S] as routed; slot[S]: where dispatch put them, needed by configs that
  // normalise after dropping. A router by token id has no logits, and gradients of its factors alone.
  [[gnu::always_inline]] COTERIE_HD static inline void run(float const* z, float* s, float* c, Token<C> const& t, std::int32_t const* expert, std::int32_t const* slot, TokenGradient& g) {
    if constexpr (R.input == RouterInput::token_ids) {
      float w[S], d[S];
      for (int k = 0; k < S; ++k) w[k] = t.ids[k] >= 0 ? 1.f : 0.f;
      return through_scales(w, NormaliseGradient<config>::divisor(w, S).by, t, expert, g, d);
    }
    for (int e = 0; e < N; ++e) s[e] = z[e], g.logits[e] = 0;
    P::prepare(s, t);
    if constexpr (R.select == Select::sparse_mixer) mixer(s, c, t, expert, g);
    else scores(s, c, t, expert, slot, g);
    if constexpr (R.noise == Noise::softplus)
      for (int e = 0; e < N; ++e)
        g.noise_logits[e] = t.seed && e < E ? g.logits[e] * random::gaussian(t.seed, random::Stream::softplus, static_cast<std::uint64_t>(t.index), static_cast<std::uint32_t>(e)) *
                                                  math::sigmoid(t.noise_logits[e])
                                            : 0.f;
    if constexpr (R.soft_cap > 0)
      for (int e = 0; e < N; ++e) {
        float const h = math::tanh(z[e] / R.soft_cap);
        g.logits[e] *= 1 - h * h;
      }
  }

 private:
  // What scaled() multiplies a weight by; a config that normalises after dropping leaves the learned factor out.
  [[gnu::always_inline]] COTERIE_HD static inline float fixed_scale() { return R.scale_on == ScaleOn::weights ? R.scale : 1.f; }
  [[gnu::always_inline]] COTERIE_HD static inline float weight_scale(Token<C> const& t) { return P::deferred ? fixed_scale() : fixed_scale() * t.router_scale; }

  // Of a weight w = p or p / 3, p the drawn expert's in its round's softmax, the gradient is p's: GRIN's estimator, and exact where nothing is drawn.
  [[gnu::always_inline]] COTERIE_HD static inline void mixer(float const* z, float* p, Token<C> const& t, std::int32_t const* expert, TokenGradient& g) {
    float w[2], d[2];
    for (int round = 0; round < 2; ++round) {
      float const sum = mixed(z, expert, round, p);
      w[round] = p[expert[round]] / sum;
      if (P::draws(t)) w[round] *= P::drawn_part(t, round, expert[round] == P::largest(z, round ? expert[0] : -1));
    }
    through_scales(w, 1, t, expert, g, d);
    for (int round = 0; round < 2; ++round) {
      float const sum = mixed(z, expert, round, p), own = d[round] * p[expert[round]] / sum;
      for (int e = 0; e < E; ++e) g.logits[e] += own * ((e == expert[round] ? 1.f : 0.f) - p[e] / sum);
    }
  }
  // The way back through weights and scores; s: prepared logits, becomes scores.
  [[gnu::always_inline]] COTERIE_HD static inline void scores(float* s, float* c, Token<C> const& t, std::int32_t const* expert, std::int32_t const* slot, TokenGradient& g) {
    std::int32_t id[S];
    for (int k = 0; k < S; ++k) id[k] = expert[k];
    if constexpr (R.noise == Noise::random_second) {                     // a second choice that was left out still had a part in the sum
      std::uint64_t heap[P::heap_size];
      float w[S + shared];
      for (int e = 0; e < N; ++e) c[e] = s[e];
      P::choose(c, g.logits, heap, t, id, w, w + S);
      for (int e = 0; e < N; ++e) g.logits[e] = 0;
    }
    P::score(s);

    // Weights as they were before the division, shared experts' behind them, and their gradients.
    constexpr int W = S + shared;
    float w[W], p[S], d[W];
    int at[S], n = 0;
    for (int k = 0; k < S; ++k)
      if (id[k] >= 0 && (!P::deferred || slot[k] >= 0 || R.post == Post::softmax)) at[n] = k, p[n++] = s[id[k]];
    if constexpr (R.post == Post::softmax) softmax(p, n);
    if constexpr (R.post == Post::sigmoid) for (int i = 0; i < n; ++i) p[i] = math::sigmoid(p[i]);
    for (int k = 0; k < W; ++k) w[k] = k < S ? 0.f : s[E + k - S];
    for (int i = 0; i < n; ++i) w[at[i]] = P::deferred && slot[at[i]] < 0 ? 0.f : p[i];
    auto const by = NormaliseGradient<config>::divisor(w, W);
    through_scales(w, by.by, t, expert, g, d);
    NormaliseGradient<config>::through_normalise(w, by, d, W);

    float weight[S];                                                     // of the present ones, in their order
    for (int i = 0; i < n; ++i) weight[i] = P::deferred && slot[at[i]] < 0 ? 0.f : d[at[i]];
    if constexpr (R.post == Post::softmax) through_softmax(p, weight, n);
    if constexpr (R.post == Post::sigmoid) for (int i = 0; i < n; ++i) weight[i] *= p[i] * (1 - p[i]);
    for (int i = 0; i < n; ++i) g.logits[id[at[i]]] += weight[i];
    for (int i = 0; i < shared; ++i) g.logits[E + i] = d[S + i];
    if constexpr (R.score == Score::softmax) through_softmax(s, g.logits, E);
    if constexpr (R.score == Score::sigmoid) for (int e = 0; e < N; ++e) g.logits[e] *= s[e] * (1 - s[e]);
    if constexpr (R.score == Score::sqrt_softplus)
      for (int e = 0; e < E; ++e) g.logits[e] = s[e] > 0 ? g.logits[e] * sigmoid_of_root(s[e]) / (2 * s[e]) : 0.f;
  }
  // d[S + shared]: gradients behind the division by `by`; w: before it.
  [[gnu::always_inline]] COTERIE_HD static inline void through_scales(float const* w, float by, Token<C> const& t, std::int32_t const* expert, TokenGradient& g, float* d) {
    constexpr int W = S + shared;
    g.router_scale = 0;
    for (int k = 0; k < W; ++k) {
      if (k < S && expert[k] < 0) {                                      // and where no choice is one, `by` may be 0
        d[k] = 0;
        if constexpr (R.expert_scale != 0) g.expert_scale[k] = 0;
        continue;
      }
      float const share = w[k] / by;
      float flow = k < S ? g.weight[k] : g.shared[k - S];
      if constexpr (R.expert_scale != 0)
        if (k < S) {
          bool const real = expert[k] < C.experts;
          g.expert_scale[k] = real ? flow * share * weight_scale(t) : 0.f;
          if (real) flow *= t.expert_scale[expert[k]];
        }
      if constexpr (!P::deferred) g.router_scale = math::fma(flow * share, fixed_scale(), g.router_scale);
      d[k] = flow * weight_scale(t);
    }
  }
};

}}}

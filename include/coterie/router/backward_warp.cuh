// The routing program backwards by a warp: what gradient.hpp's does with arrays, which a thread would keep in local memory, by registers. Lane l
// holds candidates l, l + 32, ...; lane k choice k. Scores are those of the forward pass, bit for bit; sums of gradients go by trees.
#pragma once
#include "gradient.hpp"
#include "warp.cuh"

namespace coterie { inline namespace v0 { namespace route {

template <Config C> struct WarpGradient {
  static constexpr Config config = C;
  using Warp = WarpProgram<config>;
  using One = Program<config>;
  using Normalised = NormaliseGradient<config>;
  static constexpr int E = One::E, N = One::N, K = C.top_k, shared = One::shared, P = Warp::P;
  static constexpr RouterConfig R = C.router;
  static constexpr int at_once = K * P > 256 ? 1 : K;                    // choices side by side in the code: with 32 of 1,024 registers do not last
  static constexpr bool by_expert = R.select == Select::expert_choice;   // a slot for every expert: lanes hold them as they hold candidates
  static_assert(N <= 1024, "coterie::RouterBackward: on CUDA a router that is trained has at most 1,024 candidates");
  static_assert(by_expert || K <= 32, "coterie::RouterBackward: on CUDA a token of a router that is trained has at most 32 choices");
  static_assert(shared <= 32, "coterie::RouterBackward: on CUDA a router that is trained weighs at most 32 shared experts");
  static_assert(R.select != Select::table || R.noise != Noise::random_second, "coterie::RouterBackward: on CUDA Noise::random_second over a table's choices has no backward pass");

  // A lane's choice: as routed, where dispatch put it, the gradient of its weight. out: of its learned factor.
  struct Choice {
    std::int32_t expert = -1, slot = -1;
    float weight = 0, scale = 0;
  };

  // Of every lane's v, in all lanes.
  COTERIE_DEVICE static float sum(float v) {
    for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(~0u, v, by);
    return v;
  }
  template <class Of> COTERIE_DEVICE static float sum_of(int n, Of const& of) {
    float mine = 0;
#pragma unroll
    for (int j = 0; j < P; ++j)
      if (Warp::index(j) < n) mine += of(j);
    return sum(mine);
  }

  // As WarpProgram::run prepares logits and makes scores of them.
  COTERIE_DEVICE static void prepare(float (&s)[P], Token<config> const& t) {
    if constexpr (R.soft_cap > 0)
      for (int j = 0; j < P; ++j) s[j] = One::step(math::times(math::tanh(s[j] / R.soft_cap), R.soft_cap));
    if constexpr (R.noise == Noise::softplus)
      if (t.seed)
        for (int j = 0; j < P; ++j)
          if (Warp::index(j) < E) s[j] = math::fma(noise_of(t, Warp::index(j)), math::softplus(t.noise_logits[Warp::index(j)]) + R.noise_size, s[j]);
  }
  COTERIE_DEVICE static float noise_of(Token<config> const& t, int e) {
    return random::gaussian(t.seed, random::Stream::softplus, static_cast<std::uint64_t>(t.index), static_cast<std::uint32_t>(e));
  }
  COTERIE_DEVICE static void score(float (&s)[P]) {
    if constexpr (R.score == Score::softmax) Warp::softmax(s, E);
    if constexpr (R.score == Score::sigmoid) for (int j = 0; j < P; ++j) s[j] = math::sigmoid(s[j]);
    if constexpr (R.score == Score::sqrt_softplus) for (int j = 0; j < P; ++j) s[j] = __builtin_sqrtf(math::softplus(s[j]));
    if constexpr (R.score != Score::identity) for (int j = 0; j < P; ++j) s[j] = One::step(s[j]);
  }

  // From the gradients of its weights to those of a token's logits as prepare() left them: s, which becomes scores, to g. from_shared: lane i's, of
  // shared expert i's weight. router_scale: of the learned global factor, in all lanes.
  COTERIE_DEVICE static void run(float (&s)[P], float (&g)[P], Token<config> const& t, Choice& own, float from_shared, float& router_scale) {
    for (int j = 0; j < P; ++j) g[j] = 0;
    if constexpr (R.select == Select::sparse_mixer) {
      mixer(s, g, t, own, router_scale);
    } else {
      std::int32_t const id = chosen(s, t, own.expert);
      score(s);
      scores(s, g, t, own, id, from_shared, router_scale);
    }
  }
  // The same where experts choose: their choices and the gradients of the weights, a token's rows.
  COTERIE_DEVICE static void run_by_expert(float (&s)[P], float (&g)[P], Token<config> const& t, std::int32_t const* expert, float const* weight, float& router_scale) {
    score(s);
    router_scale = fixed_scale() * sum_of(E, [&](int j) { return expert[Warp::index(j)] >= 0 ? weight[Warp::index(j)] * s[j] : 0.f; });
    for (int j = 0; j < P; ++j) g[j] = Warp::index(j) < E && expert[Warp::index(j)] >= 0 ? weight[Warp::index(j)] * weight_scale(t) : 0.f;
    through_score(s, g);
  }
  // A router by token id has no logits, and gradients of its factors alone.
  COTERIE_DEVICE static void factors(Token<config> const& t, Choice& own, float& router_scale) {
    float const w = own.expert >= 0 ? 1.f : 0.f;
    (void)through_scales(w, 0, divisor(w, 0).by, t, own, router_scale);
  }

 private:
  COTERIE_DEVICE static float fixed_scale() { return R.scale_on == ScaleOn::weights ? R.scale : 1.f; }
  COTERIE_DEVICE static float weight_scale(Token<config> const& t) { return One::deferred ? fixed_scale() : fixed_scale() * t.router_scale; }

  // Lane k's candidate. A second choice that was left out still had a part in the sum.
  COTERIE_DEVICE static std::int32_t chosen([[maybe_unused]] float const (&prepared)[P], [[maybe_unused]] Token<config> const& t, std::int32_t expert) {
    if constexpr (R.noise == Noise::random_second) {
      float c[P];
      for (int j = 0; j < P; ++j) c[j] = prepared[j];
      score(c);
      if constexpr (R.select_bias != 0)
        for (int j = 0; j < P; ++j) c[j] = Warp::index(j) < E ? c[j] + t.select_bias[Warp::index(j)] : c[j];
      if constexpr (R.select == Select::group_top_k && R.groups > 1) Warp::keep_groups(c);
      int const first = __shfl_sync(~0u, expert, 0), second = Warp::best(c, [&](int j) { return Warp::index(j) < E && Warp::index(j) != first; });
      return Warp::lane() == 1 ? second : expert;
    } else {
      return expert;
    }
  }
  // What lanes' weights and shared weights are divided by, and whether it moves with them; added as the forward pass adds.
  COTERIE_DEVICE static typename Normalised::Divisor divisor(float w, float of_shared) {
    if constexpr (R.normalise == Normalise::none) return {};
    float all = 0;
    for (int k = 0; k < K; ++k) all += __shfl_sync(~0u, w, k);
    for (int i = 0; i < shared; ++i) all += __shfl_sync(~0u, of_shared, i);
    return Normalised::divisor(&all, 1);
  }
  // Gradient of the divided weight w / by of a lane's choice.
  COTERIE_DEVICE static float through_scales(float w, float shared_flow, float by, Token<config> const& t, Choice& own, float& router_scale) {
    float d = 0, moved = shared_flow;
    own.scale = 0;
    if (Warp::lane() < K && own.expert >= 0) {                           // and where no choice is one, `by` may be 0
      float const share = w / by;
      float flow = own.weight;
      if constexpr (R.expert_scale != 0)
        if (own.expert < C.experts) own.scale = flow * share * weight_scale(t), flow *= t.expert_scale[own.expert];
      moved = math::fma(flow, share, moved);
      d = flow * weight_scale(t);
    }
    router_scale = One::deferred ? 0.f : fixed_scale() * sum(moved);
    return d;
  }

  COTERIE_DEVICE static void scores(float (&s)[P], float (&g)[P], Token<config> const& t, Choice& own, std::int32_t id, float from_shared, float& router_scale) {
    bool const dropped = One::deferred && own.slot < 0, mine = Warp::lane() < K && id >= 0 && (!dropped || R.post == Post::softmax);
    float p = 0;
#pragma unroll at_once
    for (int k = 0; k < K; ++k) {
      float const v = Warp::value_at(s, max(__shfl_sync(~0u, id, k), 0));
      if (Warp::lane() == k && mine) p = v;
    }
    if constexpr (R.post == Post::softmax) softmax(p, mine);
    if constexpr (R.post == Post::sigmoid) p = mine ? math::sigmoid(p) : 0.f;
    float const w = mine && !dropped ? p : 0.f;
    float w_shared = 0;
    for (int i = 0; i < shared; ++i) {
      float const v = Warp::value_at(s, E + i);
      if (Warp::lane() == i) w_shared = v;
    }
    bool const weighs = Warp::lane() < shared;
    auto const by = divisor(w, w_shared);
    float d = through_scales(w, weighs ? from_shared * (w_shared / by.by) : 0.f, by.by, t, own, router_scale), d_shared = weighs ? from_shared * weight_scale(t) : 0.f;
    if constexpr (R.normalise != Normalise::none) {
      float const along = by.moves ? sum(math::fma(d, w, d_shared * w_shared)) / by.by : 0.f;
      d = (d - along) / by.by, d_shared = (d_shared - along) / by.by;
    }
    d = mine && !dropped ? d : 0.f;
    if constexpr (R.post == Post::softmax) {
      float const along = sum(mine ? d * p : 0.f);
      d = mine ? p * (d - along) : 0.f;
    }
    if constexpr (R.post == Post::sigmoid) d = mine ? d * (p * (1 - p)) : 0.f;
#pragma unroll at_once
    for (int k = 0; k < K; ++k) {
      std::int32_t const e = __shfl_sync(~0u, mine ? id : -1, k);
      float const v = __shfl_sync(~0u, d, k);
      for (int j = 0; j < P; ++j) g[j] += Warp::index(j) == e ? v : 0.f;
    }
    for (int i = 0; i < shared; ++i) {
      float const v = __shfl_sync(~0u, d_shared, i);
      for (int j = 0; j < P; ++j) g[j] = Warp::index(j) == E + i ? v : g[j];
    }
    through_score(s, g);
  }
  // Over the lanes that have a part.
  COTERIE_DEVICE static void softmax(float& p, bool mine) {
    float const top = Warp::of_key(__reduce_max_sync(~0u, mine ? order_key(p) : 0u));
    bool const none = __any_sync(~0u, mine && is_nan(p)) || math::absolute(top) == math::infinity;
    p = none || !mine ? 0.f : math::exp(p - top);
    p = none ? math::quiet_nan : p / Warp::tree_sum(p);
  }
  COTERIE_DEVICE static void through_score(float (&s)[P], float (&g)[P]) {
    if constexpr (R.score == Score::softmax) {
      float const along = sum_of(E, [&](int j) { return g[j] * s[j]; });
      for (int j = 0; j < P; ++j) g[j] = Warp::index(j) < E ? s[j] * (g[j] - along) : g[j];
    }
    if constexpr (R.score == Score::sigmoid) for (int j = 0; j < P; ++j) g[j] *= s[j] * (1 - s[j]);
    if constexpr (R.score == Score::sqrt_softplus)
      for (int j = 0; j < P; ++j)
        if (Warp::index(j) < E) g[j] = s[j] > 0 ? g[j] * ProgramGradient<config>::sigmoid_of_root(s[j]) / (2 * s[j]) : 0.f;
  }

  // Two rounds, each a softmax around its largest candidate, of which one was taken or drawn.
  COTERIE_DEVICE static void mixer(float (&z)[P], float (&g)[P], Token<config> const& t, Choice& own, float& router_scale) {
    std::int32_t const first = __shfl_sync(~0u, own.expert, 0);
    int largest[2]{};
    float top[2]{}, total[2], share[2], w[2];
    auto const part = [&](int j, int round) {
      int const e = Warp::index(j);
      float const both[2]{z[j], top[round]};
      bool const mixes = e < E && (e == largest[round] || One::mixes(both, 0, 1, round != 0 && e == first ? 0 : -1));
      return mixes ? math::exp(z[j] - top[round]) : 0.f;
    };
#pragma unroll
    for (int round = 0; round < 2; ++round) {
      std::int32_t const i = __shfl_sync(~0u, own.expert, round);
      largest[round] = Warp::best(z, [&](int j) { return Warp::index(j) < E && (round == 0 || Warp::index(j) != first); });
      top[round] = Warp::value_at(z, largest[round]);
      total[round] = sum_of(E, [&](int j) { return part(j, round); });
      share[round] = math::exp(Warp::value_at(z, i) - top[round]) / total[round];
      w[round] = One::draws(t) ? share[round] * One::drawn_part(t, round, i == largest[round]) : share[round];
    }
    float const d = through_scales(Warp::lane() == 0 ? w[0] : w[1], 0, 1, t, own, router_scale);
#pragma unroll
    for (int round = 0; round < 2; ++round) {
      std::int32_t const i = __shfl_sync(~0u, own.expert, round);
      float const flow = __shfl_sync(~0u, d, round) * share[round];
      for (int j = 0; j < P; ++j) g[j] += Warp::index(j) < E ? flow * ((Warp::index(j) == i ? 1.f : 0.f) - part(j, round) / total[round]) : 0.f;
    }
  }
};

}}}

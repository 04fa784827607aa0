// The routing program: from one token's logits to its experts and weights, the same code on host and device.
// Meaning and sources of every option: docs/router.md.
#pragma once
#include "../checked.hpp"
#include "order.hpp"
#include "random.hpp"

namespace coterie { inline namespace v0 { namespace route {

// Sum over 32 interleaved lanes, then a tree: the order a warp can reproduce.
[[gnu::always_inline]] COTERIE_HD inline float lane_sum(float const* v, int n) {
  float lane[32];
  for (int l = 0; l < 32; ++l) lane[l] = 0;
  int i = 0;
  for (; i + 32 <= n; i += 32)
    for (int l = 0; l < 32; ++l) lane[l] += v[i + l];
  for (int l = 0; i < n; ++i, ++l) lane[l] += v[i];
  for (int half = 16; half > 0; half /= 2)
    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
  return lane[0];
}

// In place. A NaN or an infinity on top makes every probability NaN, as in torch.
[[gnu::always_inline]] COTERIE_HD inline void softmax(float* v, int n) {
  std::uint32_t best = 0;
  float top = -math::infinity;
  bool nan = false;
  for (int i = 0; i < n; ++i) {
    nan |= is_nan(v[i]);
    std::uint32_t const key = order_key(v[i]);
    if (key > best) best = key, top = v[i];
  }
  if (nan || math::absolute(top) == math::infinity) {                    // infinity - infinity, also where -ffast-math forgets it
    for (int i = 0; i < n; ++i) v[i] = math::quiet_nan;
    return;
  }
  for (int i = 0; i < n; ++i) v[i] = math::exp(v[i] - top);
  float const sum = lane_sum(v, n);
  for (int i = 0; i < n; ++i) v[i] = v[i] / sum;
}

template <Config C>
struct Token {
  std::int32_t const* ids = nullptr;             // [K] Select::table
  float const* noise_logits = nullptr;           // [N] Noise::softplus
  float const* select_bias = nullptr;            // [E+Z]
  float const* expert_scale = nullptr;           // [E]
  float router_scale = 1;
  std::uint64_t seed = 0;                        // 0: evaluation
  std::int64_t index = 0;                        // of the token, for its random numbers
};

template <Config C> struct Program {
  static constexpr Config config = C;
  using T = element_t<C.dtype>;
  static constexpr int E = candidates(C), N = logit_columns(C), K = C.top_k, shared = shared_rows(C);
  static constexpr RouterConfig R = C.router;
  static constexpr int heap_size = R.select == Select::group_top_k && R.groups_kept > K ? R.groups_kept : K;
  // Whether weights are normalised and scaled by dispatch, once it knows who was dropped.
  static constexpr bool deferred = normalises_after_drop(C);

  [[gnu::always_inline]] COTERIE_HD static inline float step(float v) { return R.precision == Precision::model ? rounded<T>(v) : v; }

  // What happens to every logit before scores are made of them.
  [[gnu::always_inline]] COTERIE_HD static inline void prepare(float* z, Token<C> const& t) {
    if constexpr (R.soft_cap > 0)
      for (int e = 0; e < N; ++e) z[e] = step(math::times(math::tanh(z[e] / R.soft_cap), R.soft_cap));
    if constexpr (R.noise == Noise::softplus)
      if (t.seed)
        for (int e = 0; e < E; ++e)
          z[e] = math::fma(random::gaussian(t.seed, random::Stream::softplus, static_cast<std::uint64_t>(t.index), static_cast<std::uint32_t>(e)),
                           math::softplus(t.noise_logits[e]) + R.noise_size, z[e]);
  }
  [[gnu::always_inline]] COTERIE_HD static inline void score(float* s) {
    if constexpr (R.score == Score::softmax) softmax(s, E);
    if constexpr (R.score == Score::sigmoid) for (int e = 0; e < N; ++e) s[e] = math::sigmoid(s[e]);
    if constexpr (R.score == Score::sqrt_softplus) for (int e = 0; e < E; ++e) s[e] = __builtin_sqrtf(math::softplus(s[e]));
    if constexpr (R.score != Score::identity) for (int e = 0; e < N; ++e) s[e] = step(s[e]);
  }
  // A group's score: its best candidate's, or the sum of its two best.
  [[gnu::always_inline]] COTERIE_HD static inline float group_score(float const* c) {
    std::uint64_t first = 0, second = 0;
    for (int i = 0; i < E / R.groups; ++i) {
      std::uint64_t const key = order_key(c[i], i);
      if (key > first) second = first, first = key;
      else if (key > second) second = key;
    }
    return R.group_score == GroupScore::top2_sum ? step(c[index_of(first)] + c[index_of(second)]) : c[index_of(first)];
  }
  // Masks the experts of the groups that are not kept.
  [[gnu::always_inline]] COTERIE_HD static inline void keep_groups(float* c, std::uint64_t* heap) {
    constexpr int size = E / R.groups;
    best([c](int g) { return group_score(c + g * size); }, R.groups, R.groups_kept, heap);
    for (int g = 0; g < R.groups; ++g) {
      bool keep = false;
      for (int i = 0; i < R.groups_kept; ++i) keep |= index_of(heap[i]) == g;
      for (int i = 0; i < size && !keep; ++i) c[g * size + i] = R.group_fill == Fill::zero ? 0.f : -math::infinity;
    }
  }
  // Whether candidate e has a part in the softmax around the maximum i of a round. NaN has; by bits, for -ffast-math.
  [[gnu::always_inline]] COTERIE_HD static inline bool mixes(float const* z, int e, int i, int first) {
    float const a = math::absolute(z[e]), factor = a > z[i] ? a : z[i], far = factor == 0 ? 0 : (z[i] - z[e]) / factor;
    return e != first && (e == i || is_nan(far) || far <= 2 * R.noise_size);
  }
  // The largest candidate that is not `first`.
  [[gnu::always_inline]] COTERIE_HD static inline int largest(float const* z, int first) {
    std::uint64_t best = 0;
    for (int e = 0; e < E; ++e)
      if (e != first) {
        std::uint64_t const key = order_key(z[e], e);
        if (key > best) best = key;
      }
    return index_of(best);
  }
  // Whether the sparse mixer draws (training), and the part of a drawn expert's weight that is used: all of the largest's; of another's a
  // third, and one time in four all of it.
  [[gnu::always_inline]] COTERIE_HD static inline bool draws(Token<C> const& t) { return R.select == Select::sparse_mixer && R.noise == Noise::gumbel && t.seed != 0; }
  [[gnu::always_inline]] COTERIE_HD static inline float drawn_part(Token<C> const& t, int round, bool is_largest) {
    return is_largest || random::uniform(t.seed, random::Stream::gumbel, static_cast<std::uint64_t>(t.index), static_cast<std::uint32_t>(2 * E + round)) > 0.75f ? 1.f : 1.f / 3;
  }
  // Phi-3.5-MoE, GRIN (arXiv 2409.12136): two rounds, each takes the largest, weighed by a softmax over the logits near it. In training one of
  // these is drawn by that softmax, Gumbel's way, and its weight is cut as Heun's method of third order has it; gradient: ProgramGradient::mixer.
  [[gnu::always_inline]] COTERIE_HD static inline void sparse_mixer(float const* z, float* p, Token<C> const& t, std::int32_t* expert, float* weight) {
    int first = -1;
    for (int round = 0; round < 2; ++round) {
      int const i = largest(z, first);
      int kept = 0, at = 0, chosen = i;
      [[maybe_unused]] std::uint64_t best = 0;
#if defined(__CUDA_ARCH__)
#pragma unroll 1                                 // unrolled, the divisions of `mixes` take more registers than there are
#endif
      for (int e = 0; e < E; ++e) {
        if (e == i && !draws(t)) at = kept;
        if (!mixes(z, e, i, first)) continue;
        if constexpr (R.noise == Noise::gumbel)
          if (t.seed) {
            float const g = random::gumbel(t.seed, random::Stream::gumbel, static_cast<std::uint64_t>(t.index), static_cast<std::uint32_t>(round * E + e));
            if (std::uint64_t const key = order_key(z[e] + g, e); key > best) best = key, at = kept, chosen = e;
          }
        p[kept++] = z[e];
      }
      softmax(p, kept);
      expert[round] = chosen;
      weight[round] = step(p[at]);
      if (draws(t)) weight[round] = step(weight[round] * drawn_part(t, round, chosen == i));
      first = chosen;
    }
  }
  // Weights of the selected, in their order; shared[] follows them in a joint normalisation.
  [[gnu::always_inline]] COTERIE_HD static inline void normalise(float* weight, int n, float* shared_weight) {
    if constexpr (R.normalise == Normalise::none) return;
    float sum = 0;
    for (int k = 0; k < n; ++k) sum += weight[k];
    for (int i = 0; i < shared; ++i) sum += shared_weight[i];
    float const d = R.normalise == Normalise::sum_add ? step(sum) + R.epsilon : sum > R.epsilon || is_nan(sum) ? sum : R.epsilon;
    for (int k = 0; k < n; ++k) weight[k] = step(weight[k] / step(d));
    for (int i = 0; i < shared; ++i) shared_weight[i] = step(shared_weight[i] / step(d));
  }
  [[gnu::always_inline]] COTERIE_HD static inline float scaled(float w, float router_scale) {
    if constexpr (R.scale_on == ScaleOn::weights && R.scale != 1) w = w * R.scale;
    return router_scale == 1 ? w : w * router_scale;
  }
  [[gnu::always_inline]] COTERIE_HD static inline float final(float w) { return R.round_weight || R.precision == Precision::model ? rounded<T>(w) : w; }

  // Selection and raw weights from prepared logits, which become scores. heap: [heap_size] scratch.
  [[gnu::always_inline]] COTERIE_HD static inline void choose(float* z, float* c, std::uint64_t* heap, Token<C> const& t, std::int32_t* expert,
                                                              float* weight, float* shared_weight) {
    if constexpr (R.select == Select::sparse_mixer) {
      sparse_mixer(z, c, t, expert, weight);
    } else {
      bool const perturbed = R.noise == Noise::gumbel && t.seed != 0;
      if (perturbed)
        for (int e = 0; e < E; ++e)
          c[e] = math::fma(R.noise_size, random::gumbel(t.seed, random::Stream::gumbel, static_cast<std::uint64_t>(t.index), static_cast<std::uint32_t>(e)), z[e]);
      score(z);
      if constexpr (R.select == Select::table) {
        for (int k = 0; k < K; ++k) expert[k] = t.ids[k];
      } else {
        if (!perturbed)
          for (int e = 0; e < E; ++e) c[e] = R.select_bias ? z[e] + t.select_bias[e] : z[e];
        if constexpr (R.select == Select::group_top_k && R.groups > 1) keep_groups(c, heap);
        top_k(c, E, K, heap, expert);
      }
      int n = 0;                                 // only a table can say -1, no expert: it has no part in what follows
      for (int k = 0; k < K; ++k)
        if (expert[k] >= 0) weight[n++] = z[expert[k]];
      if constexpr (R.post == Post::softmax) softmax(weight, n);
      if constexpr (R.post == Post::sigmoid) for (int k = 0; k < n; ++k) weight[k] = math::sigmoid(weight[k]);
      if constexpr (R.post != Post::none) for (int k = 0; k < n; ++k) weight[k] = step(weight[k]);
      for (int k = K - 1; n < K && k >= 0; --k) weight[k] = expert[k] >= 0 ? weight[--n] : 0.f;
    }
    for (int i = 0; i < shared; ++i) shared_weight[i] = z[E + i];
  }

  // z[N]: logits, overwritten; c[N]: scratch; expert, weight: [K]; shared: [shared_rows].
  [[gnu::always_inline]] COTERIE_HD static inline void run(float* z, float* c, std::uint64_t* heap, Token<C> const& t, std::int32_t* expert, float* weight, float* shared_weight) {
    if constexpr (R.input == RouterInput::token_ids) {
      for (int k = 0; k < K; ++k) expert[k] = t.ids[k], weight[k] = t.ids[k] >= 0 ? 1.f : 0.f;
    } else {
      prepare(z, t);
      choose(z, c, heap, t, expert, weight, shared_weight);
    }
    if constexpr (R.noise == Noise::random_second)
      if (t.seed) {
        float const sum = weight[0] + weight[1], share = weight[1] / (sum + R.epsilon);
        if (!(share >= R.noise_size * random::uniform(t.seed, random::Stream::second, static_cast<std::uint64_t>(t.index), 0))) expert[1] = -1;
      }
    if constexpr (!deferred) {
      normalise(weight, K, shared_weight);
      for (int k = 0; k < K; ++k) {
        weight[k] = scaled(weight[k], t.router_scale);
        if constexpr (R.expert_scale != 0) weight[k] = expert[k] < 0 || expert[k] >= C.experts ? weight[k] : weight[k] * t.expert_scale[expert[k]];
        weight[k] = final(weight[k]);
      }
      for (int i = 0; i < shared; ++i) shared_weight[i] = final(scaled(shared_weight[i], t.router_scale));
    }
    for (int k = 0; k < K; ++k) if (expert[k] < 0) weight[k] = 0;
  }
};

// One token's weights over what dispatch kept (slot >= 0), for configs that normalise after dropping.
template <Config C> COTERIE_HD inline void renormalise(float* weight, std::int32_t const* slot) {
  using P = Program<C>;
  constexpr int S = slots(C);
  constexpr RouterConfig R = C.router;
  float sum = 0;
  for (int s = 0; s < S; ++s) {
    if (slot[s] < 0) weight[s] = 0;
    sum += weight[s];
  }
  float const d = R.normalise == Normalise::sum_add ? P::step(sum) + R.epsilon : sum > R.epsilon || is_nan(sum) ? sum : R.epsilon;
  for (int s = 0; s < S; ++s) weight[s] = slot[s] < 0 ? 0.f : P::final(P::scaled(P::step(weight[s] / P::step(d)), 1));
}

}}}

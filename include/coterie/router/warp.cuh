// The routing program of program.hpp by a warp: lane l holds logits l, l + 32, ... in registers. Every sum has the order of
// route::lane_sum and every comparison that of route::order_key, so the bits are those of one thread.
#pragma once
#include "../device/ptx.cuh"
#include "program.hpp"

namespace coterie { inline namespace v0 { namespace route {

template <Config C> struct WarpProgram {
  static constexpr Config config = C;
  using One = Program<config>;
  static constexpr int E = One::E, N = One::N, K = One::K, shared = One::shared, P = (N + 31) / 32;
  static constexpr RouterConfig R = C.router;
  // What a warp takes on; the rest goes token by token.
  static constexpr bool suits = (R.select == Select::top_k || R.select == Select::group_top_k) && R.input != RouterInput::token_ids && R.input != RouterInput::given && N <= 1024 &&
                                K <= 32 && R.groups <= 32 && shared <= 32;

  COTERIE_DEVICE static int lane() { return static_cast<int>(threadIdx.x % 32); }
  COTERIE_DEVICE static int index(int j) { return j * 32 + lane(); }

  // Value of index e, which lane e % 32 holds; the same in all lanes.
  COTERIE_DEVICE static float value_at(float const (&v)[P], int e) {
    float mine = 0;
    for (int j = 0; j < P; ++j) mine = j == e / 32 ? v[j] : mine;
    return __shfl_sync(~0u, mine, e % 32);
  }
  // One value a lane, n of them: summed as route::lane_sum's tree does.
  COTERIE_DEVICE static float tree_sum(float v) {
    for (int half = 16; half > 0; half /= 2) {
      float const other = __shfl_down_sync(~0u, v, half);
      if (lane() < half) v += other;
    }
    return __shfl_sync(~0u, v, 0);
  }
  // In place, over the first n indices.
  template <int Count> COTERIE_DEVICE static void softmax(float (&v)[Count], int n) {
    std::uint32_t best = 0;
    int nan = 0;
    for (int j = 0; j < Count; ++j)
      if (index(j) < n) {
        nan |= is_nan(v[j]);
        std::uint32_t const key = order_key(v[j]);
        best = key > best ? key : best;
      }
    best = __reduce_max_sync(~0u, best);
    float const top = of_key(best);
    if (__any_sync(~0u, nan) || math::absolute(top) == math::infinity) {
      for (int j = 0; j < Count; ++j) v[j] = math::quiet_nan;
      return;
    }
    float sum = 0;
    for (int j = 0; j < Count; ++j)
      if (index(j) < n) {
        v[j] = math::exp(v[j] - top);
        sum += v[j];
      }
    sum = tree_sum(sum);
    for (int j = 0; j < Count; ++j) v[j] = v[j] / sum;
  }
  // The score that has this key (but for the sign of 0); key 0, a NaN: minus infinity, as softmax starts.
  COTERIE_DEVICE static float of_key(std::uint32_t key) {
    if (key == 0) return -math::infinity;
    return math::of_bits(key >> 31 ? key & 0x7fffffffu : ~key);
  }

  // The best index among those with wanted(j), by larger score, then lower index; -1: none.
  template <class Wanted> COTERIE_DEVICE static int best(float const (&v)[P], Wanted const& wanted) {
    std::uint32_t top = 0;                       // order keys plus 1, so that 0 is nobody's
    for (int j = 0; j < P; ++j)
      if (wanted(j)) {
        std::uint32_t const key = order_key(v[j]) + 1;
        top = key > top ? key : top;
      }
    top = __reduce_max_sync(~0u, top);
    std::uint32_t first = 0xffffffffu;
    for (int j = P - 1; j >= 0; --j)
      if (wanted(j) && order_key(v[j]) + 1 == top) first = static_cast<std::uint32_t>(index(j));
    first = __reduce_min_sync(~0u, first);
    return static_cast<int>(first);
  }

  // Masks the experts of the groups that are not kept.
  COTERIE_DEVICE static void keep_groups(float (&c)[P]) {
    constexpr int G = R.groups, size = E / G;
    float mine = 0;                              // lane g: score of group g
    for (int g = 0; g < G; ++g) {
      int const first = best(c, [&](int j) { return index(j) < E && index(j) / size == g; });
      float score = value_at(c, first);
      if constexpr (R.group_score == GroupScore::top2_sum) {
        int const second = best(c, [&](int j) { return index(j) < E && index(j) / size == g && index(j) != first; });
        score = One::step(score + value_at(c, second));
      }
      if (lane() == g) mine = score;
    }
    std::uint32_t kept = 0;
    for (int i = 0; i < R.groups_kept; ++i) {
      std::uint32_t const key = lane() < G && !(kept >> lane() & 1) ? order_key(mine) + 1 : 0;
      std::uint32_t const top = __reduce_max_sync(~0u, key);
      unsigned const holders = __ballot_sync(~0u, key == top && key != 0);
      kept |= 1u << (__ffs(static_cast<int>(holders)) - 1);
    }
    for (int j = 0; j < P; ++j)
      if (index(j) < E && !(kept >> (index(j) / size) & 1)) c[j] = R.group_fill == Fill::zero ? 0.f : -math::infinity;
  }

  // z: this lane's logits. Lane k of the first K gets expert and weight of choice k; lane i of the first `shared` the weight
  // of shared expert i.
  COTERIE_DEVICE static void run(float (&z)[P], Token<config> const& t, std::int32_t& expert, float& weight, float& shared_weight) {
    auto const token = static_cast<std::uint64_t>(t.index);
    bool const noisy = t.seed != 0;
    if constexpr (R.soft_cap > 0)
      for (int j = 0; j < P; ++j) z[j] = One::step(math::times(math::tanh(z[j] / R.soft_cap), R.soft_cap));
    if constexpr (R.noise == Noise::softplus)
      if (noisy)
        for (int j = 0; j < P; ++j)
          if (index(j) < E)
            z[j] = math::fma(random::gaussian(t.seed, random::Stream::softplus, token, static_cast<std::uint32_t>(index(j))), math::softplus(t.noise_logits[index(j)]) + R.noise_size, z[j]);
    float c[P];
    bool const perturbed = R.noise == Noise::gumbel && noisy;
    if (perturbed)
      for (int j = 0; j < P; ++j) c[j] = math::fma(R.noise_size, random::gumbel(t.seed, random::Stream::gumbel, token, static_cast<std::uint32_t>(index(j))), z[j]);
    if constexpr (R.score == Score::softmax) softmax_scores(z);
    if constexpr (R.score == Score::sigmoid) for (int j = 0; j < P; ++j) z[j] = math::sigmoid(z[j]);
    if constexpr (R.score == Score::sqrt_softplus)
      for (int j = 0; j < P; ++j) if (index(j) < E) z[j] = __builtin_sqrtf(math::softplus(z[j]));
    if constexpr (R.score != Score::identity) for (int j = 0; j < P; ++j) z[j] = One::step(z[j]);
    if (!perturbed)
      for (int j = 0; j < P; ++j) {
        if constexpr (R.select_bias != 0) c[j] = index(j) < E ? z[j] + t.select_bias[index(j)] : z[j];
        else c[j] = z[j];
      }
    if constexpr (R.select == Select::group_top_k && R.groups > 1) keep_groups(c);

    std::uint32_t taken = 0;                     // bit j: this lane's value j
    expert = -1, weight = 0;
    for (int k = 0; k < K; ++k) {
      int const e = best(c, [&](int j) { return index(j) < E && !(taken >> j & 1); });
      float const w = value_at(z, e);
      if (lane() == e % 32) taken |= 1u << (e / 32);
      if (lane() == k) expert = e, weight = w;
    }
    if constexpr (R.post == Post::softmax) {
      float one[1]{weight};
      softmax(one, K);
      weight = lane() < K ? one[0] : 0;
    }
    if constexpr (R.post == Post::sigmoid) weight = math::sigmoid(weight);
    if constexpr (R.post != Post::none) weight = One::step(weight);
    shared_weight = 0;
    for (int i = 0; i < shared; ++i) {
      float const w = value_at(z, E + i);
      if (lane() == i) shared_weight = w;
    }

    if constexpr (R.noise == Noise::random_second)
      if (noisy) {
        float const first = __shfl_sync(~0u, weight, 0), second = __shfl_sync(~0u, weight, 1), share = second / (first + second + R.epsilon);
        if (lane() == 1 && !(share >= R.noise_size * random::uniform(t.seed, random::Stream::second, token, 0))) expert = -1;
      }
    if constexpr (!One::deferred) {
      if constexpr (R.normalise != Normalise::none) {
        float sum = 0;
        for (int k = 0; k < K; ++k) sum += __shfl_sync(~0u, weight, k);
        for (int i = 0; i < shared; ++i) sum += __shfl_sync(~0u, shared_weight, i);
        float const d = R.normalise == Normalise::sum_add ? One::step(sum) + R.epsilon : sum > R.epsilon || is_nan(sum) ? sum : R.epsilon;
        weight = One::step(weight / One::step(d));
        shared_weight = One::step(shared_weight / One::step(d));
      }
      weight = One::scaled(weight, t.router_scale);
      if constexpr (R.expert_scale != 0) weight = expert < 0 || expert >= C.experts ? weight : weight * t.expert_scale[expert];
      weight = One::final(weight);
      shared_weight = One::final(One::scaled(shared_weight, t.router_scale));
    }
    if (expert < 0) weight = 0;
  }

 private:
  // Over the candidates; logits of shared experts behind them stay as they are.
  COTERIE_DEVICE static void softmax_scores(float (&z)[P]) {
    if constexpr (shared == 0) {
      softmax(z, E);
    } else {
      float s[P];
      for (int j = 0; j < P; ++j) s[j] = z[j];
      softmax(s, E);
      for (int j = 0; j < P; ++j) if (index(j) < E) z[j] = s[j];
    }
  }
};

}}}

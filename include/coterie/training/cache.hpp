// What a forward pass leaves for its backward pass, on the host: views into the caller's cache.
#pragma once
#include "../experts/backward.hpp"
#include "../experts/shared_backward.hpp"
#include "../layer.hpp"
#include "../router/backward.hpp"

namespace coterie { inline namespace v0 { namespace training {

// Whether unselected candidates' logits receive gradient from the routing weights. A softmax over all of them that is divided by the sum of
// the chosen is a softmax over the chosen; an epsilon beside that sum vanishes where the chosen are the largest, whose sum is K/N at least.
constexpr bool unselected_count(Config const& c) {
  RouterConfig const& r = c.router;
  if (r.select == Select::sparse_mixer || r.select == Select::expert_choice || r.noise == Noise::random_second) return true;
  if (r.score != Score::softmax) return false;
  bool const largest = r.select == Select::top_k && !r.select_bias && r.noise != Noise::gumbel && !normalises_after_drop(c);
  bool const cancels = r.normalise != Normalise::none && r.post == Post::none && r.epsilon <= (largest ? 0x1p-26f / static_cast<float>(candidates(c)) : 0.f);
  return !cancels || r.soft_cap > 0 || r.precision == Precision::model || shared_rows(c) > 0;
}

// Pieces of a cache for T tokens, R = rows_bound(C, T). What the options leave out is null.
template <Config C> struct Kept {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr int E = C.experts, S = slots(C), W = width(C), N = logit_columns(C), count = shared_rows(C);
  static constexpr bool has_logits = Router<config, Host>::has_logits, all_logits = has_logits && unselected_count(C);
  // Of a whole cache of this config: other layers' differ where their memory does.
  static constexpr std::int64_t whole = [] {
    std::uint64_t mixed = 0x65697265746f63;                              // "coterie"
    for (int part : {E, C.top_k, C.hidden, C.ffn, W, N, C.shared.ffn, static_cast<int>(C.dtype), static_cast<int>(C.router.input), int{all_logits}, int{gated(C.expert.act)}})
      mixed = (mixed ^ static_cast<std::uint64_t>(part)) * 0x100000001b3;
    return static_cast<std::int64_t>(mixed);
  }();
  std::int64_t* mark = nullptr;                  // [4] whole, the tokens, recompute, the address of it all modulo 256: once forward() is through
  Routing<config> routing;                       // logits[T,N]: where all of them count
  Batch<config> batch;
  float* chosen = nullptr;                       // [T,S + count] else: of the chosen, then of the shared experts
  V *pre = nullptr, *shared_pre = nullptr;       // [R,columns], [T,columns] gate and up before the activation
  float* sums = nullptr;                         // [T,W] latent sums

  static Kept carve(Arena& arena, std::int64_t tokens, TrainingOptions options) {
    std::int64_t const rows = rows_bound(C, tokens), n = tokens * S;
    Kept k{};
    k.mark = arena.take<std::int64_t>(4);
    k.routing.expert = {arena.take<std::int32_t>(n), tokens}, k.routing.weight = {arena.take<float>(n), tokens};
    if constexpr (count > 0) k.routing.shared = {arena.take<float>(tokens * count), tokens};
    if constexpr (all_logits) k.routing.logits = {arena.take<float>(tokens * N), tokens};
    else if constexpr (has_logits) k.chosen = arena.take<float>(tokens * (S + count));
    k.batch.begin = arena.take<std::int32_t>(E + 1), k.batch.token = arena.take<std::int32_t>(rows);
    k.batch.weight = arena.take<float>(rows), k.batch.slot = {arena.take<std::int32_t>(n), tokens};
    if (!options.recompute) carve_pre(arena, tokens, k);
    if constexpr (C.expert.latent > 0) k.sums = arena.take<float>(tokens * W);
    return k;
  }
  void open() const { mark[0] = 0; }
  void close(std::span<std::byte const> cache, TrainingOptions options) const {
    mark[1] = routing.expert.rows, mark[2] = options.recompute, mark[3] = place(cache), mark[0] = whole;
  }
  void check(Arguments const& arguments, std::span<std::byte const> cache, TrainingOptions options) const {
    arguments.require(mark[0] == whole && mark[3] == place(cache), "cache must hold what forward() left, at the same address", mark[0] == whole, 1);
    arguments.require(mark[1] == routing.expert.rows, "cache is of another number of tokens", mark[1], routing.expert.rows);
    arguments.require(mark[2] == options.recompute, "cache is of another TrainingOptions::recompute", mark[2], options.recompute);
  }
  static std::int64_t place(std::span<std::byte const> cache) { return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(cache.data()) % 256); }
  // The pre-activations alone, for a backward pass that makes them again.
  static void carve_pre(Arena& arena, std::int64_t tokens, Kept& k) {
    k.pre = arena.take<V>(rows_bound(C, tokens) * ExpertsBackward<config, Host>::columns);
    if constexpr (C.shared.ffn > 0) k.shared_pre = arena.take<V>(tokens * SharedBackward<config, Host>::columns);
  }

  // logits[T,N] -> chosen, once experts are chosen.
  void keep(Host const& on, float const* logits) const {
    host::for_chunks(*on.pool, routing.expert.rows, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float const* const z = logits + t * N;
        float* const to = chosen + t * (S + count);
        for (int s = 0; s < S; ++s) to[s] = routing.expert[t][s] >= 0 ? z[routing.expert[t][s]] : 0.f;
        for (int i = 0; i < count; ++i) to[S + i] = z[N - count + i];
      }
    });
  }
  // And back: unselected candidates have no part in a softmax. Where a weight is NaN, some logit was.
  void spread(Host const& on, float* logits) const {
    host::for_chunks(*on.pool, routing.expert.rows, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float* const z = logits + t * N;
        float const* const from = chosen + t * (S + count);
        bool any = count > 0;                                            // without a choice no softmax of those alone
        for (int s = 0; s < S; ++s) any |= routing.expert[t][s] >= 0;
        float const other = C.router.score != Score::softmax || !any ? 0.f : is_nan(routing.weight[t][0]) ? math::quiet_nan : -math::infinity;
        for (int e = 0; e < N; ++e) z[e] = other;
        for (int s = 0; s < S; ++s)
          if (routing.expert[t][s] >= 0) z[routing.expert[t][s]] = from[s];
        for (int i = 0; i < count; ++i) z[N - count + i] = from[S + i];
      }
    });
  }
};

}}}

// What a forward pass leaves for its backward pass, on any backend: views into the caller's cache.
#pragma once
#include "../experts/backward.hpp"
#include "../experts/shared_backward.hpp"
#include "../layer.hpp"

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

// Pieces for T tokens, R = rows_bound(C, T). What the options leave out is null.
template <Config C, class B> struct KeptPieces {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr int S = slots(C), W = width(C), N = logit_columns(C), count = shared_rows(C);
  static constexpr bool has_logits = Router<config, B>::has_logits, all_logits = has_logits && unselected_count(C), folds = has_logits && !all_logits;
  Routing<config> routing;                       // logits[T,N]: where all of them count, or the options ask for them
  Batch<config> batch;
  float* chosen = nullptr;                       // [T,S + count] else: of the chosen, then of the shared experts
  V *pre = nullptr, *shared_pre = nullptr;       // [R,columns], [T,columns] gate and up before the activation
  float* sums = nullptr;                         // [T,W] latent sums

  static KeptPieces carve(Arena& arena, std::int64_t tokens, TrainingOptions options) {
    std::int64_t const rows = rows_bound(C, tokens), n = tokens * S;
    KeptPieces k{};
    k.routing.expert = {arena.take<std::int32_t>(n), tokens}, k.routing.weight = {arena.take<float>(n), tokens};
    if constexpr (count > 0) k.routing.shared = {arena.take<float>(tokens * count), tokens};
    if constexpr (folds) k.chosen = arena.take<float>(tokens * (S + count));
    if (all_logits || (folds && options.logits)) k.routing.logits = {arena.take<float>(tokens * N), tokens};
    k.batch.begin = arena.take<std::int32_t>(C.experts + 1), k.batch.token = arena.take<std::int32_t>(rows);
    k.batch.weight = arena.take<float>(rows), k.batch.slot = {arena.take<std::int32_t>(n), tokens};
    if (!options.recompute) k.carve_pre(arena, tokens);
    if constexpr (C.expert.latent > 0) k.sums = arena.take<float>(tokens * W);
    return k;
  }
  // The pre-activations alone, for a backward pass that makes them again.
  void carve_pre(Arena& arena, std::int64_t tokens) {
    pre = arena.take<V>(rows_bound(C, tokens) * ExpertsBackward<config, B>::columns);
    if constexpr (C.shared.ffn > 0) shared_pre = arena.take<V>(tokens * SharedBackward<config, B>::columns);
  }
};

// The same with what a backend does to it (cache.hpp, cache.cuh): open() and close() around a forward pass, filled() for a cache that one has left,
// keep() and spread() where of the logits only the chosen are kept.
template <Config C, class B> struct Kept;

// Of K, a Kept: the bytes of a cache, exact, and a caller's, if it is large enough. Routing and Batch are views that can write.
template <class K> std::size_t cache_bytes(std::int64_t tokens, TrainingOptions options) {
  Arena arena;
  if (tokens > 0) K::carve(arena, tokens, options);
  return arena.used();
}
template <class K> K cached(Arguments const& arguments, std::span<std::byte const> cache, std::int64_t tokens, TrainingOptions options) {
  std::size_t const want = cache_bytes<K>(tokens, options);
  arguments.require(cache.size() >= want, "cache is too small", static_cast<std::int64_t>(cache.size()), static_cast<std::int64_t>(want));
  Arena arena{std::span{const_cast<std::byte*>(cache.data()), cache.size()}};
  return K::carve(arena, tokens, options);
}

}}}

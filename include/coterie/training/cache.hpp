// A cache on the host: what any backend keeps, behind a mark by which backward() knows it.
#pragma once
#include "../router/host.hpp"
#include "kept.hpp"

namespace coterie { inline namespace v0 { namespace training {

template <Config C> struct Kept<C, Host> : KeptPieces<C, Host> {
  static constexpr Config config = C;
  using Pieces = KeptPieces<config, Host>;
  using Pieces::routing, Pieces::chosen;
  static constexpr int E = C.experts, S = slots(C), W = width(C), N = logit_columns(C), count = shared_rows(C);
  // Of a whole cache of this config: other layers' differ where their memory does.
  static constexpr std::int64_t whole = [] {
    std::uint64_t mixed = 0x65697265746f63;                              // "coterie"
    for (int part : {E, C.top_k, C.hidden, C.ffn, W, N, C.shared.ffn, static_cast<int>(C.dtype), static_cast<int>(C.router.input), int{Pieces::all_logits}, int{gated(C.expert.act)}})
      mixed = (mixed ^ static_cast<std::uint64_t>(part)) * 0x100000001b3;
    return static_cast<std::int64_t>(mixed);
  }();
  std::int64_t* mark = nullptr;                  // [4] whole, the tokens, the options, the address of it all modulo 256: once forward() is through

  static Kept carve(Arena& arena, std::int64_t tokens, TrainingOptions options) {
    std::int64_t* const mark = arena.take<std::int64_t>(4);
    return {Pieces::carve(arena, tokens, options), mark};
  }
  // One that forward() has filled.
  static Kept filled(Arguments const& arguments, std::span<std::byte const> cache, std::int64_t tokens, TrainingOptions options) {
    Kept const k = cached<Kept>(arguments, cache, tokens, options);
    arguments.require(k.mark[0] == whole && k.mark[3] == place(cache), "cache must hold what forward() left, at the same address", k.mark[0] == whole, 1);
    arguments.require(k.mark[1] == tokens, "cache is of another number of tokens", k.mark[1], tokens);
    arguments.require(k.mark[2] == bits(options), "cache is of other TrainingOptions (recompute + 2 logits)", k.mark[2], bits(options));
    return k;
  }
  void open() const { mark[0] = 0; }
  void close(std::span<std::byte const> cache, TrainingOptions options) const {
    mark[1] = routing.expert.rows, mark[2] = bits(options), mark[3] = place(cache), mark[0] = whole;
  }

  // logits[T,N] -> chosen, once experts are chosen.
  void keep(Host const& on, float const* logits, Where) const {
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
  void spread(Host const& on, float* logits, Where) const {
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

 private:
  static std::int64_t place(std::span<std::byte const> cache) { return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(cache.data()) % 256); }
  static std::int64_t bits(TrainingOptions options) { return (options.recompute != 0) + 2 * (options.logits != 0); }
};

}}}

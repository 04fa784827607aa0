// The workspace of either pass, on every backend, and all that a backward pass works on.
#pragma once
#include "../combine/backward.hpp"
#include "../router/backward_arguments.hpp"
#include "kept.hpp"

namespace coterie { inline namespace v0 { namespace training {

// A backend's own way back (training.hpp, training.cuh): run() and clear(), and what it adds to the workspace, Own.
template <Config C, class B> class Backward;

// What stages that run one after the other share.
template <class B, class... Stage> std::span<std::byte> rest(Arena& arena, B const& on, std::int64_t tokens, Stage const&... stage) {
  std::size_t most = 0;
  ((most = scratch_bytes(stage, on, tokens) > most ? scratch_bytes(stage, on, tokens) : most), ...);
  return arena.rest(most);
}

template <Config C, class B> struct ForwardPieces {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  Rows<V, width(C)> z, out;                      // [T,W], [R,W]
  Rows<V, C.hidden> shared;                      // [T,H]
  float* logits;                                 // [T,N] where the cache has not all of them
  std::span<std::byte> scratch;

  static ForwardPieces carve(Arena& arena, B const& on, std::int64_t tokens) {
    std::int64_t const rows = rows_bound(C, tokens);
    ForwardPieces p{};
    if constexpr (C.expert.latent > 0) p.z = {arena.take<V>(tokens * width(C)), tokens};
    p.out = {arena.take<V>(rows * width(C)), rows};
    if constexpr (C.shared.ffn > 0) p.shared = {arena.take<V>(tokens * C.hidden), tokens};
    if constexpr (KeptPieces<config, B>::folds) p.logits = arena.take<float>(tokens * logit_columns(C));
    p.scratch = rest(arena, on, tokens, Router<config, B>{}, Dispatch<config, B>{}, Experts<config, B>{}, Latent<config, B>{}, Shared<config, B>{}, Combine<config, B>{});
    return p;
  }
};

template <Config C, class B> struct BackwardPieces {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  using Kept = KeptPieces<config, B>;
  Rows<V, width(C)> z, drows;                    // [T,W]; [R,W] gradients of x, row by row
  Rows<V, C.hidden> dshared;                     // [T,H] of x, by the shared experts
  float *mix_routed, *mix_shared, *dmix_routed, *dmix_shared;            // [T]
  float *out_weight, *din, *dout;                // [R]
  float *dweight, *dshared_rows;                 // [T,S], [T,count]
  float *drouter, *logits;                       // [T,H] of what the router reads, given logits: [T,N]; [T,N]
  V *pre, *shared_pre;                           // recomputed: as Kept's
  typename Backward<config, B>::Own own;
  std::span<std::byte> scratch;

  static BackwardPieces carve(Arena& arena, B const& on, std::int64_t tokens, TrainingOptions options) {
    constexpr std::int64_t N = logit_columns(C), H = C.hidden, W = width(C), S = slots(C), count = shared_rows(C);
    std::int64_t const rows = rows_bound(C, tokens);
    BackwardPieces p{};
    if constexpr (C.expert.latent > 0) p.z = {arena.take<V>(tokens * W), tokens};
    p.drows = {arena.take<V>(rows * W), rows};
    if constexpr (C.shared.ffn > 0) p.dshared = {arena.take<V>(tokens * H), tokens};
    for (float** one : {&p.mix_routed, &p.mix_shared, &p.dmix_routed, &p.dmix_shared}) *one = arena.take<float>(tokens);
    for (float** one : {&p.out_weight, &p.din, &p.dout}) *one = arena.take<float>(rows);
    p.dweight = arena.take<float>(tokens * S);
    if constexpr (count > 0) p.dshared_rows = arena.take<float>(tokens * count);
    if constexpr (Kept::has_logits) p.drouter = arena.take<float>(tokens * (C.router.input == RouterInput::logits ? N : H));
    if constexpr (Kept::folds) p.logits = arena.take<float>(tokens * N);
    if (options.recompute) {
      Kept k{};
      k.carve_pre(arena, tokens);
      p.pre = k.pre, p.shared_pre = k.shared_pre;
    }
    p.own = Backward<config, B>::Own::carve(arena, on, tokens);
    p.scratch = rest(arena, on, tokens, CombineBackward<config, B>{}, ExpertsBackward<config, B>{}, SharedBack{}, RouterBack{}, Latent<config, B>{});
    return p;
  }

 private:
  struct Nothing {};
  using SharedBack = std::conditional_t<(C.shared.ffn > 0), SharedBackward<config, B>, Nothing>;
  using RouterBack = std::conditional_t<C.router.input != RouterInput::given, RouterBackward<config, B>, Nothing>;
};

// A backward pass: what it was called with, what forward() kept, its workspace, and x at the experts' width.
template <Config C, class B> struct Step {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  B const& on;
  Inputs<config> const& in;
  PackedView<config, B> weights;
  KeptPieces<config, B> k;                       // with pre-activations and logits, wherever they were kept
  BackwardPieces<config, B> p;
  Rows<V const, width(C)> x;                     // [T,W]
  Rows<V const, C.hidden> dy;                    // [T,H]
  Rows<V, C.hidden> dx;                          // [T,H]
  Rows<float const, logit_columns(C)> dlogits, dnoise_logits;          // [T,N], or none
  Where at;
};

}}}

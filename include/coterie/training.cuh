// What training a layer takes on the GPU: a forward pass that keeps what a backward pass needs, and that backward pass, with the calls and the
// promises of the host (training.hpp), on device memory. Both only enqueue, and can be captured in a graph. Nothing is read back: of a cache only
// the size is checked, so that backward() is the caller's promise to have called forward() with this cache, as many tokens and these options.
#pragma once
#include "combine/backward.cuh"
#include "cuda.cuh"
#include "experts/backward.cuh"
#include "experts/shared_backward.cuh"
#include "router/backward.cuh"
#include "training/clear.cuh"
#include "training/kept.hpp"
#include "training/kept_kernels.cuh"

namespace coterie { inline namespace v0 {

template <> inline constexpr bool trainable<Cuda> = true;

template <Config C>
class Training<C, Cuda> {
 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr int H = C.hidden, S = slots(C), W = width(C), N = logit_columns(C), count = shared_rows(C);

  explicit Training(PackedView<config, Cuda> weights, TrainingOptions options = {}) : weights_(weights), options_(options) {}

  // Bytes that forward() leaves for backward(), exact.
  std::size_t cache_bytes(Cuda const&, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    return training::cache_bytes<Kept>(tokens, options_);
  }
  // Bytes of scratch, for either.
  std::size_t workspace_bytes(Cuda const& on, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    if (tokens == 0) return 0;
    Arena forward, backward;
    (void)carve_forward(forward, on, tokens), (void)carve_backward(backward, on, tokens);
    return forward.used() > backward.used() ? forward.used() : backward.used();
  }

  // x[T,H] -> y[T,H], as Layer::forward.
  void forward(Cuda const& on, Inputs<config> const& in, Rows<V, C.hidden> y, std::span<std::byte> cache, std::span<std::byte> workspace, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Layer::forward", at};
    check(arguments, on, in, cache, workspace);
    arguments.require(y.rows == n, "y must have as many rows as x", y.rows, n);
    if (n == 0) return;
    arguments.writes("y", y, n);
    arguments.resident(on, weights_.data);
    Arena kept{cache}, arena{workspace};
    Kept k = Kept::carve(kept, n, options_);
    Forward const p = carve_forward(arena, on, n);
    if (Kept::folds && !options_.logits) k.routing.logits = {p.logits, n};
    Router<config, Cuda>{}(on, in, weights_, k.routing, p.scratch, at);
    if constexpr (Kept::folds) device::keep_logits<Training>(on, {.expert = k.routing.expert, .weight = k.routing.weight, .chosen = k.chosen, .logits = k.routing.logits.data}, at);
    Dispatch<config, Cuda>{}(on, in, k.routing, k.batch, p.scratch, at);
    auto const x = experts_x(on, in, p.z, p.scratch, at);
    if (k.pre) Experts<config, Cuda>{}.keeping(on, x, weights_, k.batch, p.out, k.pre, p.scratch, at);
    else Experts<config, Cuda>{}(on, x, weights_, k.batch, p.out, p.scratch, at);
    if constexpr (C.shared.ffn > 0) {
      if (k.shared_pre) Shared<config, Cuda>{}.keeping(on, in, weights_, k.routing, p.shared, k.shared_pre, p.scratch, at);
      else Shared<config, Cuda>{}(on, in, weights_, k.routing, p.shared, p.scratch, at);
    }
    Combine<config, Cuda>{}.keeping(on, in, weights_, k.routing, k.batch, p.out, p.shared, y, k.sums, p.scratch, at);
  }

  Chosen<config> chosen(Cuda const&, std::span<std::byte const> cache, std::int64_t tokens, Where at = Where::here()) const {
    Arguments arguments{"Layer::chosen", at};
    arguments.tokens<config>(tokens);
    if (tokens == 0) return {};
    Kept const k = training::cached<Kept>(arguments, cache, tokens, options_);
    return {.routing = k.routing, .batch = k.batch};
  }
  // dy[T,H] -> dx[T,H]; gradients go to `to`. dlogits[T,N]: gradients of the logits by auxiliary losses; optional.
  template <DType G = DType::fp32>
  void backward(Cuda const& on, Inputs<config> const& in, std::span<std::byte const> cache, Rows<V const, C.hidden> dy, Rows<V, C.hidden> dx, Gradients<config, G> const& to,
                std::span<std::byte> workspace, Rows<float const, logit_columns(C)> dlogits = {}, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Layer::backward", at};
    check(arguments, on, in, cache, workspace);
    arguments.require(dy.rows == n, "dy must have as many rows as x", dy.rows, n), arguments.require(dx.rows == n, "dx must have as many rows as x", dx.rows, n);
    if (n > 0) arguments.reads("dy", dy, n), arguments.writes("dx", dx, n);
    arguments.require(has_logits || !dlogits.data, "dlogits: a router without logits takes no gradient of them", 1, 0);
    if (dlogits.data) arguments.require(dlogits.rows == n, "dlogits must have as many rows as x", dlogits.rows, n), arguments.reads("dlogits", dlogits, n);
    training::check_gradients(arguments, to, n);
    arguments.resident(on, n > 0 ? weights_.data : nullptr);
    training::resident(on, to, n, at);
    if (to.overwrite) training::clear(on, to, n, at);
    if (n == 0) return;
    Arena arena{workspace};
    Kept k = training::cached<Kept>(arguments, cache, n, options_);
    Backward const p = carve_backward(arena, on, n);
    if constexpr (Kept::folds) {
      device::spread_logits<Training>(on, {.expert = k.routing.expert, .weight = k.routing.weight, .chosen = k.chosen, .logits = p.logits}, at);
      k.routing.logits = {p.logits, n};
    }
    auto const x = experts_x(on, in, p.z, p.scratch, at);
    if (options_.recompute) {
      k.pre = p.pre, k.shared_pre = p.shared_pre;
      ExpertsBackward<config, Cuda>{}.recompute(on, x, weights_, k.batch, k.pre, p.scratch, at);
      if constexpr (C.shared.ffn > 0) SharedBackward<config, Cuda>{}.recompute(on, in, weights_, k.shared_pre, p.scratch, at);
    }
    typename Mixing::Call const call{in, weights_, k.routing, k.batch, k.sums, dy, {p.dsum, n}, p.mix_routed, p.mix_shared, p.dmix_routed, p.dmix_shared, p.through, p.out_weight};
    Mixing{}.enter(on, call, to, p.scratch, at);
    ExpertsBackward<config, Cuda>{}.run(on, x, weights_, k.batch, k.pre, Mixing::sum_of(call), p.out_weight, p.drows, p.din, p.dout, to, p.scratch, at);
    if constexpr (C.shared.ffn > 0)
      SharedBackward<config, Cuda>{}(on, in, weights_, k.routing, k.shared_pre, dy, p.mix_shared, p.dshared, p.dmix_shared, p.dshared_rows, to, p.scratch, at);
    Mixing{}.leave(on, call, p.din, p.dout, p.dweight, to, p.scratch, at);
    route(on, in, k, p, dlogits, to, at);
    Mixing{}.gather(on, call, p.drows, C.router.input == RouterInput::hidden ? p.drouter : nullptr, p.dshared, dx, to, p.scratch, at);
  }

 private:
  using Kept = training::KeptPieces<config, Cuda>;
  using Mixing = CombineBackward<config, Cuda>;
  static constexpr bool has_logits = Kept::has_logits, latent = C.expert.latent > 0, learned = Router<config, Cuda>::learned, has_router = C.router.input != RouterInput::given;
  struct Forward {
    Rows<V, width(C)> z, out;                    // [T,W], [R,W]
    Rows<V, C.hidden> shared;                    // [T,H]
    float* logits;                               // [T,N] where the cache has not all of them
    std::span<std::byte> scratch;
  };
  struct Backward {
    Rows<V, width(C)> z, drows;                  // [T,W]; [R,W] gradients of x, row by row
    Rows<V, C.hidden> dshared;                   // [T,H] of x, by the shared experts
    V* dsum;                                     // [T,W], where it is not dy
    float *mix_routed, *mix_shared, *dmix_routed, *dmix_shared, *through;          // [T]
    float *out_weight, *din, *dout;              // [R]
    float *dweight, *dshared_rows;               // [T,S], [T,count]
    float *drouter, *logits;                     // [T,H] of what the router reads, given logits: [T,N]; [T,N]
    V *pre, *shared_pre;                         // recomputed: as Kept's
    std::span<std::byte> scratch;
  };
  struct Nothing {};
  template <class... Stage> static std::span<std::byte> rest(Arena& arena, Cuda const& on, std::int64_t tokens, Stage const&... stage) {
    std::size_t most = 0;
    ((most = scratch_bytes(stage, on, tokens) > most ? scratch_bytes(stage, on, tokens) : most), ...);
    return arena.rest(most);
  }
  static Forward carve_forward(Arena& arena, Cuda const& on, std::int64_t tokens) {
    std::int64_t const rows = rows_bound(C, tokens);
    Forward p{};
    if constexpr (latent) p.z = {arena.take<V>(tokens * W), tokens};
    p.out = {arena.take<V>(rows * W), rows};
    if constexpr (C.shared.ffn > 0) p.shared = {arena.take<V>(tokens * H), tokens};
    if constexpr (Kept::folds) p.logits = arena.take<float>(tokens * N);
    p.scratch = rest(arena, on, tokens, Router<config, Cuda>{}, Dispatch<config, Cuda>{}, Experts<config, Cuda>{}, Latent<config, Cuda>{}, Shared<config, Cuda>{}, Combine<config, Cuda>{});
    return p;
  }
  static auto shared_backward() {
    if constexpr (C.shared.ffn > 0) return SharedBackward<config, Cuda>{};
    else return Nothing{};
  }
  static auto router_backward() {
    if constexpr (has_router) return RouterBackward<config, Cuda>{};
    else return Nothing{};
  }
  Backward carve_backward(Arena& arena, Cuda const& on, std::int64_t tokens) const {
    std::int64_t const rows = rows_bound(C, tokens);
    Backward p{};
    if constexpr (latent) p.z = {arena.take<V>(tokens * W), tokens};
    p.drows = {arena.take<V>(rows * W), rows};
    if constexpr (C.shared.ffn > 0) p.dshared = {arena.take<V>(tokens * H), tokens};
    if constexpr (Mixing::own_sum) p.dsum = arena.take<V>(tokens * W);
    for (float** one : {&p.mix_routed, &p.mix_shared, &p.dmix_routed, &p.dmix_shared}) *one = arena.take<float>(tokens);
    if constexpr (C.expert.identity > 0) p.through = arena.take<float>(tokens);
    for (float** one : {&p.out_weight, &p.din, &p.dout}) *one = arena.take<float>(rows);
    p.dweight = arena.take<float>(tokens * S);
    if constexpr (count > 0) p.dshared_rows = arena.take<float>(tokens * count);
    if constexpr (has_logits) p.drouter = arena.take<float>(tokens * (learned ? H : N));
    if constexpr (Kept::folds) p.logits = arena.take<float>(tokens * N);
    if (options_.recompute) {
      Kept k{};
      k.carve_pre(arena, tokens);
      p.pre = k.pre, p.shared_pre = k.shared_pre;
    }
    p.scratch = rest(arena, on, tokens, Mixing{}, ExpertsBackward<config, Cuda>{}, shared_backward(), router_backward(), Latent<config, Cuda>{});
    return p;
  }

  template <class Bytes> void check(Arguments& arguments, Cuda const& on, Inputs<config> const& in, Bytes cache, std::span<std::byte> workspace) const {
    std::int64_t const n = in.x.rows;
    arguments.tokens<config>(n);
    arguments.require(weights_.first_expert == 0 && weights_.experts == C.experts, "the whole layer's experts are needed", weights_.experts, C.experts);
    if (n == 0) return;
    arguments.packed(weights_.data);
    arguments.reads("x", in.x, n);
    training::check_inputs<config>(arguments, in);
    std::size_t const want = cache_bytes(on, n);
    arguments.require(cache.size() >= want, "cache is too small", static_cast<std::int64_t>(cache.size()), static_cast<std::int64_t>(want));
    if constexpr (std::is_same_v<Bytes, std::span<std::byte>>) arguments.writes("cache", cache.data(), static_cast<std::int64_t>(want));
    else arguments.reads("cache", cache.data(), static_cast<std::int64_t>(want));
    arguments.scratch("workspace", workspace, workspace_bytes(on, n));
  }
  // x at the experts' width.
  Rows<V const, width(C)> experts_x([[maybe_unused]] Cuda const& on, Inputs<config> const& in, [[maybe_unused]] Rows<V, width(C)> z, [[maybe_unused]] std::span<std::byte> scratch, [[maybe_unused]] Where at) const {
    if constexpr (latent) {
      Latent<config, Cuda>{}(on, in.x, weights_, z, scratch, at);
      return z;
    } else {
      return in.x;
    }
  }

  // From the gradients of the routing weights to those of the router, and what it read.
  template <DType G>
  void route(Cuda const& on, Inputs<config> const& in, Kept const& k, Backward const& p, Rows<float const, logit_columns(C)> dlogits, Gradients<config, G> const& to, Where at) const {
    std::int64_t const n = in.x.rows;
    if constexpr (has_router) {
      RouterGradients<config> const d{.weight = {p.dweight, n}, .shared = {p.dshared_rows, n}, .logits = dlogits};
      RouterBackward<config, Cuda>{}(on, in, weights_, k.routing, k.batch.slot, d, learned ? p.drouter : nullptr, learned ? nullptr : p.drouter, to, p.scratch, at);
      if constexpr (C.router.input == RouterInput::logits)
        if (to.logits) device::add_to(on, p.drouter, n * N, to.logits, to.overwrite, at);
      if constexpr (C.router.input == RouterInput::separate)
        if (to.router_x) device::add_to(on, p.drouter, n * H, to.router_x, to.overwrite, at);
    } else if (to.routing_weight) {
      (void)dlogits;
      if constexpr (route::Program<config>::deferred)                    // Dispatch divided them by what it kept
        launch(device::after_drop_kernel<Training>, {.grid = dim3(device::grid_of(device::ceil_div(n, 4), "Layer::backward: too many tokens", at)), .block = dim3(128), .programmatic = on.device.programmatic},
               on.stream, at, in.routing.weight, k.batch.slot, p.dweight);
      device::add_to(on, p.dweight, n * S, to.routing_weight, to.overwrite, at);
    }
  }

  PackedView<config, Cuda> weights_;
  TrainingOptions options_;
};

}}

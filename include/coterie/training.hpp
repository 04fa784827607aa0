// What training a layer takes on the host: a forward pass that keeps what a backward pass needs, and that backward pass. A Layer's members:
//
//   Layer<C, Host> layer{packed.view()};
//   layer.forward(on, in, y, cache, workspace);                         // cache: layer.cache_bytes(on, tokens) bytes, of any alignment; they stay where they are
//   layer.backward(on, in, cache, dy, dx, gradients, workspace);        // the same in, packed weights and cache
// Kept beside x: training/kept.hpp; nothing of size T*K*H.
#pragma once
#include "coterie.hpp"
#include "training/cache.hpp"
#include "training/places.hpp"

namespace coterie { inline namespace v0 {

template <> inline constexpr bool trainable<Host> = true;

template <Config C>
class Training<C, Host> {
 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr int H = C.hidden, S = slots(C), W = width(C), N = logit_columns(C), count = shared_rows(C);

  explicit Training(PackedView<config, Host> weights, TrainingOptions options = {}) : weights_(weights), options_(options) {}

  // Bytes that forward() leaves for backward(), exact.
  std::size_t cache_bytes([[maybe_unused]] Host const& on, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    return training::cache_bytes<Kept>(tokens, options_);
  }
  // Bytes of scratch, for either.
  std::size_t workspace_bytes(Host const& on, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    if (tokens == 0) return 0;
    Arena forward, backward;
    (void)carve_forward(forward, on, tokens), (void)carve_backward(backward, on, tokens);
    return forward.used() > backward.used() ? forward.used() : backward.used();
  }

  // x[T,H] -> y[T,H], as Layer::forward.
  void forward(Host const& on, Inputs<config> const& in, Rows<V, C.hidden> y, std::span<std::byte> cache, std::span<std::byte> workspace, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Layer::forward", at};
    check(arguments, on, in, cache, workspace);
    arguments.require(y.rows == n, "y must have as many rows as x", y.rows, n);
    if (n == 0) return;
    arguments.writes("y", y, n);
    Arena kept{cache}, arena{workspace};
    Kept k = Kept::carve(kept, n, options_);
    k.open();
    Forward const p = carve_forward(arena, on, n);
    if (folds && !options_.logits) k.routing.logits = {p.logits, n};
    Router<config, Host>{}(on, in, weights_, k.routing, p.scratch, at);
    if constexpr (folds) k.keep(on, k.routing.logits.data);
    Dispatch<config, Host>{}(on, in, k.routing, k.batch, p.scratch, at);
    Experts<config, Host>{}.keeping(on, experts_x(on, in, p.z, p.scratch, at), weights_, k.batch, p.out, k.pre, p.scratch, at);
    if constexpr (C.shared.ffn > 0) Shared<config, Host>{}.keeping(on, in, weights_, k.routing, p.shared, k.shared_pre, p.scratch, at);
    Combine<config, Host>{}.keeping(on, in, weights_, k.routing, k.batch, p.out, p.shared, y, k.sums, p.scratch, at);
    k.close(cache, options_);
  }

  Chosen<config> chosen(Host const&, std::span<std::byte const> cache, std::int64_t tokens, Where at = Where::here()) const {
    Arguments arguments{"Layer::chosen", at};
    arguments.tokens<config>(tokens);
    Kept const k = tokens > 0 ? Kept::filled(arguments, cache, tokens, options_) : Kept{};
    return {.routing = k.routing, .batch = k.batch};
  }
  // dy[T,H] -> dx[T,H]; gradients go to `to`. dlogits[T,N]: gradients of the logits by auxiliary losses; optional.
  template <DType G = DType::fp32>
  void backward(Host const& on, Inputs<config> const& in, std::span<std::byte const> cache, Rows<V const, C.hidden> dy, Rows<V, C.hidden> dx, Gradients<config, G> const& to,
                std::span<std::byte> workspace, Rows<float const, logit_columns(C)> dlogits = {}, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Layer::backward", at};
    check(arguments, on, in, cache, workspace);
    arguments.require(dy.rows == n, "dy must have as many rows as x", dy.rows, n), arguments.require(dx.rows == n, "dx must have as many rows as x", dx.rows, n);
    if (n > 0) arguments.reads("dy", dy, n), arguments.writes("dx", dx, n);
    arguments.require(has_logits || !dlogits.data, "dlogits: a router without logits takes no gradient of them", 1, 0);
    if (dlogits.data) arguments.require(dlogits.rows == n, "dlogits must have as many rows as x", dlogits.rows, n), arguments.reads("dlogits", dlogits, n);
    training::check_gradients(arguments, to, n);
    Kept const kept = n > 0 ? Kept::filled(arguments, cache, n, options_) : Kept{};          // refuses before anything is written
    if (to.overwrite) training::clear_gradients(*on.pool, on.path(at), to, n);
    if (n > 0) run(on, in, kept, dy, dx, Places::of(to), workspace, dlogits, at);
  }

 private:
  using Kept = training::Kept<config>;
  using Places = training::Places<config>;
  void run(Host const& on, Inputs<config> const& in, Kept k, Rows<V const, C.hidden> dy, Rows<V, C.hidden> dx, Places const& to,
           std::span<std::byte> workspace, Rows<float const, logit_columns(C)> dlogits, Where at) const {
    std::int64_t const n = in.x.rows;
    Arena arena{workspace};
    Backward const p = carve_backward(arena, on, n);
    if constexpr (folds) k.spread(on, p.logits), k.routing.logits = {p.logits, n};
    auto const x = experts_x(on, in, p.z, p.scratch, at);
    if (options_.recompute) {
      k.pre = p.pre, k.shared_pre = p.shared_pre;
      ExpertsBackward<config, Host>{}.recompute(on, x, weights_, k.batch, k.pre, p.scratch, at);
      if constexpr (C.shared.ffn > 0) SharedBackward<config, Host>{}.recompute(on, in, weights_, k.shared_pre, p.scratch, at);
    }

    using Mixing = CombineBackward<config, Host>;
    typename Mixing::Call const call{in, weights_, k.routing, k.batch, to.mixing, k.sums, {p.dsum, n}, p.mix_routed, p.mix_shared, p.dmix_routed, p.dmix_shared, p.out_weight};
    Mixing{}.enter(on, call, dy, p.scratch, at);
    ExpertsBackward<config, Host>{}.run(on, x, weights_, k.batch, k.pre, {p.dsum, n}, p.out_weight, p.drows, p.din, p.dout, to.experts, p.scratch, at);
    if constexpr (C.shared.ffn > 0)
      SharedBackward<config, Host>{}.run(on, in, weights_, k.routing, k.shared_pre, dy, p.mix_shared, p.dshared, p.dmix_shared, p.dshared_rows, to.shared, p.scratch, at);

    std::memset(p.dx, 0, static_cast<std::size_t>(n * H) * sizeof(float));
    Mixing{}.leave(on, call, p.din, p.dout, p.dweight, p.dx);
    route(on, in, k, p, dlogits, to, at);
    gather(on, in, k, p, to.latent_down, on.path(at));
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t)
        for (int h = 0; h < H; ++h) dx[t][h] = from_float<V>(C.shared.ffn > 0 ? p.dx[t * H + h] + to_float(p.dshared[t][h]) : p.dx[t * H + h]);
    });
  }

  static constexpr bool has_logits = Kept::has_logits, folds = Kept::folds, latent = C.expert.latent > 0;
  static constexpr bool given_logits = C.router.input == RouterInput::logits, has_router = C.router.input != RouterInput::given;
  template <class... Stage> static std::span<std::byte> rest(Arena& arena, Host const& on, std::int64_t tokens, Stage const&... stage) {
    std::size_t most = 0;
    ((most = scratch_bytes(stage, on, tokens) > most ? scratch_bytes(stage, on, tokens) : most), ...);
    return arena.rest(most);
  }
  struct Forward {
    Rows<V, width(C)> z, out;                    // [T,W], [R,W]
    Rows<V, C.hidden> shared;                    // [T,H]
    float* logits;                               // [T,N] where the cache has not all of them
    std::span<std::byte> scratch;
  };
  static Forward carve_forward(Arena& arena, Host const& on, std::int64_t tokens) {
    std::int64_t const rows = rows_bound(C, tokens);
    Forward p{};
    if constexpr (latent) p.z = {arena.take<V>(tokens * W), tokens};
    p.out = {arena.take<V>(rows * W), rows};
    if constexpr (C.shared.ffn > 0) p.shared = {arena.take<V>(tokens * H), tokens};
    if constexpr (folds) p.logits = arena.take<float>(tokens * N);
    p.scratch = rest(arena, on, tokens, Router<config, Host>{}, Dispatch<config, Host>{}, Experts<config, Host>{}, Latent<config, Host>{}, Shared<config, Host>{}, Combine<config, Host>{});
    return p;
  }
  using Entry = host::DenseBackward<V>;          // of the way into the latent width
  struct Backward {
    Rows<V, width(C)> z, drows;                  // [T,W]; [R,W] gradients of x, row by row
    Rows<V, C.hidden> dshared;                   // [T,H] of x, by the shared experts
    V* dsum;                                     // [T,W]
    float *mix_routed, *mix_shared, *dmix_routed, *dmix_shared;          // [T]
    float *out_weight, *din, *dout;              // [R]
    float *dweight, *dshared_rows, *dx;          // [T,S], [T,count], [T,H]
    float *dz, *drouter, *logits;                // [T,W] latent; [T,H], given logits: [T,N]; [T,N]
    V *pre, *shared_pre;                         // recomputed: as Kept's
    typename Entry::Pieces entry;
    std::span<std::byte> scratch;
  };
  struct Nothing {};
  using SharedBack = std::conditional_t<(C.shared.ffn > 0), SharedBackward<config, Host>, Nothing>;
  using RouterBack = std::conditional_t<has_router, RouterBackward<config, Host>, Nothing>;
  Backward carve_backward(Arena& arena, Host const& on, std::int64_t tokens) const {
    std::int64_t const rows = rows_bound(C, tokens);
    Backward p{};
    if constexpr (latent) p.z = {arena.take<V>(tokens * W), tokens};
    p.drows = {arena.take<V>(rows * W), rows};
    if constexpr (C.shared.ffn > 0) p.dshared = {arena.take<V>(tokens * H), tokens};
    p.dsum = arena.take<V>(tokens * W);
    for (float** one : {&p.mix_routed, &p.mix_shared, &p.dmix_routed, &p.dmix_shared}) *one = arena.take<float>(tokens);
    for (float** one : {&p.out_weight, &p.din, &p.dout}) *one = arena.take<float>(rows);
    p.dweight = arena.take<float>(tokens * S), p.dx = arena.take<float>(tokens * H);
    if constexpr (count > 0) p.dshared_rows = arena.take<float>(tokens * count);
    if constexpr (has_logits) p.drouter = arena.take<float>(tokens * (given_logits ? N : H));
    if constexpr (folds) p.logits = arena.take<float>(tokens * N);
    if constexpr (latent) p.dz = arena.take<float>(tokens * W), p.entry = Entry::carve(arena, *on.pool, host::PackedLayout<config>::latent_down, tokens);
    if (options_.recompute) {
      Kept k{};
      k.carve_pre(arena, tokens);
      p.pre = k.pre, p.shared_pre = k.shared_pre;
    }
    p.scratch = rest(arena, on, tokens, CombineBackward<config, Host>{}, ExpertsBackward<config, Host>{}, SharedBack{}, RouterBack{}, Latent<config, Host>{});
    return p;
  }

  template <class Bytes> void check(Arguments& arguments, Host const& on, Inputs<config> const& in, Bytes cache, std::span<std::byte> workspace) const {
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
  Rows<V const, width(C)> experts_x([[maybe_unused]] Host const& on, Inputs<config> const& in, [[maybe_unused]] Rows<V, width(C)> z, [[maybe_unused]] std::span<std::byte> scratch, [[maybe_unused]] Where at) const {
    if constexpr (latent) {
      Latent<config, Host>{}(on, in.x, weights_, z, scratch, at);
      return z;
    } else {
      return in.x;
    }
  }

  // From the gradients of the routing weights to those of the router, and what it read.
  void route(Host const& on, Inputs<config> const& in, Kept const& k, Backward const& p, Rows<float const, logit_columns(C)> dlogits, Places const& to, Where at) const {
    std::int64_t const n = in.x.rows;
    auto const add = [&](float const* from, std::int64_t size, float* into) {
      if (into) host::for_chunks(*on.pool, size, 4096, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) into[i] += from[i];
      });
    };
    if constexpr (has_router) {
      RouterGradients<config> const d{.weight = {p.dweight, n}, .shared = {p.dshared_rows, n}, .logits = dlogits};
      RouterBackward<config, Host>{}.run(on, in, weights_, k.routing, k.batch.slot, d, given_logits ? nullptr : p.drouter, given_logits ? p.drouter : nullptr, to.router, p.scratch, at);
      if constexpr (given_logits) add(p.drouter, n * N, to.logits);
      if constexpr (C.router.input == RouterInput::separate) add(p.drouter, n * H, to.router_x);
      if constexpr (C.router.input == RouterInput::hidden) add(p.drouter, n * H, p.dx);
    } else {
      (void)in, (void)k, (void)dlogits, (void)at;
      if constexpr (route::Program<config>::deferred)                    // Dispatch divided them by what it kept
        for (std::int64_t t = 0; t < n; ++t) route::NormaliseGradient<config>::after_drop(in.routing.weight[t], k.batch.slot[t], p.dweight + t * S);
      add(p.dweight, n * S, to.routing_weight);
    }
  }
  // dx += what the rows of each token found, slot after slot; from a latent width through the way in.
  void gather(Host const& on, Inputs<config> const& in, Kept const& k, Backward const& p, host::GradientMatrix const& to, Isa path) const {
    std::int64_t const n = in.x.rows;
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float* const sum = latent ? p.dz + t * W : p.dx + t * H;
        if (latent) std::memset(sum, 0, W * sizeof(float));
        for (int s = 0; s < S; ++s)
          if (std::int32_t const r = k.batch.slot[t][s]; r >= 0)
            for (int j = 0; j < W; ++j) sum[j] += to_float(p.drows[r][j]);
      }
    });
    if constexpr (latent) {
      using Layout = host::PackedLayout<config>;
      host::Reader<config> const weights{weights_};
      if (to.data) Entry::set_inputs(*on.pool, Layout::latent_down, n, p.entry, [&](std::int64_t t, std::int64_t h) { return to_float(in.x[t][h]); });
      Entry::run(*on.pool, host::VectorEngine{host::vector_path(path)}, weights.template at<V>(weights.layout.latent_down_panels), Layout::latent_down, p.dz, n, p.entry, to, p.dx, true);
    } else {
      (void)to, (void)path;
    }
  }

  PackedView<config, Host> weights_;
  TrainingOptions options_;
};

}}

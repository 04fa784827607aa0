// What training a layer takes, on every backend, as a Layer's members: sizes, what is refused, the forward pass, and the backward pass up to its
// stages, which are each backend's own (training.hpp, training.cuh).
#pragma once
#include "checks.hpp"
#include "pieces.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> class Training {
 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;

  explicit Training(PackedView<config, B> weights, TrainingOptions options = {}) : weights_(weights), options_(options) {}

  // Bytes that forward() leaves for backward(), exact.
  std::size_t cache_bytes(B const&, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    return training::cache_bytes<Kept>(tokens, options_);
  }
  // Bytes of scratch, for either.
  std::size_t workspace_bytes(B const& on, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    if (tokens == 0) return 0;
    Arena forward, backward;
    (void)ForwardPieces::carve(forward, on, tokens), (void)BackwardPieces::carve(backward, on, tokens, options_);
    return forward.used() > backward.used() ? forward.used() : backward.used();
  }

  // x[T,H] -> y[T,H], as Layer::forward.
  void forward(B const& on, Inputs<config> const& in, Rows<V, C.hidden> y, std::span<std::byte> cache, std::span<std::byte> workspace, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Layer::forward", at};
    check(arguments, on, in, cache, workspace);
    arguments.require(y.rows == n, "y must have as many rows as x", y.rows, n);
    if (n == 0) return;
    arguments.writes("y", y, n);
    arguments.resident(on, weights_.data);
    Arena kept{cache}, arena{workspace};
    Kept k = Kept::carve(kept, n, options_);
    k.open();
    ForwardPieces const p = ForwardPieces::carve(arena, on, n);
    if (Kept::folds && !options_.logits) k.routing.logits = {p.logits, n};
    Router<config, B>{}(on, in, weights_, k.routing, p.scratch, at);
    if constexpr (Kept::folds) k.keep(on, k.routing.logits.data, at);
    Dispatch<config, B>{}(on, in, k.routing, k.batch, p.scratch, at);
    auto const x = experts_x(on, in, p.z, p.scratch, at);
    if (k.pre) Experts<config, B>{}.keeping(on, x, weights_, k.batch, p.out, k.pre, p.scratch, at);
    else Experts<config, B>{}(on, x, weights_, k.batch, p.out, p.scratch, at);
    if constexpr (C.shared.ffn > 0) {
      if (k.shared_pre) Shared<config, B>{}.keeping(on, in, weights_, k.routing, p.shared, k.shared_pre, p.scratch, at);
      else Shared<config, B>{}(on, in, weights_, k.routing, p.shared, p.scratch, at);
    }
    Combine<config, B>{}.keeping(on, in, weights_, k.routing, k.batch, p.out, p.shared, y, k.sums, p.scratch, at);
    k.close(cache, options_);
  }

  Chosen<config> chosen(B const&, std::span<std::byte const> cache, std::int64_t tokens, Where at = Where::here()) const {
    Arguments arguments{"Layer::chosen", at};
    arguments.tokens<config>(tokens);
    Kept const k = tokens > 0 ? Kept::filled(arguments, cache, tokens, options_) : Kept{};
    return {.routing = k.routing, .batch = k.batch};
  }

  // dy[T,H] -> dx[T,H]; gradients go to `to`. dlogits[T,N], dnoise_logits[T,N]: gradients of the logits, and of the noise's, by auxiliary losses; optional.
  template <DType G = DType::fp32>
  void backward(B const& on, Inputs<config> const& in, std::span<std::byte const> cache, Rows<V const, C.hidden> dy, Rows<V, C.hidden> dx, Gradients<config, G> const& to,
                std::span<std::byte> workspace, Rows<float const, logit_columns(C)> dlogits = {}, Rows<float const, logit_columns(C)> dnoise_logits = {}, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Layer::backward", at};
    check(arguments, on, in, cache, workspace);
    arguments.require(dy.rows == n, "dy must have as many rows as x", dy.rows, n), arguments.require(dx.rows == n, "dx must have as many rows as x", dx.rows, n);
    if (n > 0) arguments.reads("dy", dy, n), arguments.writes("dx", dx, n);
    arguments.require(Kept::has_logits || !dlogits.data, "dlogits: a router without logits takes no gradient of them", 1, 0);
    if (dlogits.data) arguments.require(dlogits.rows == n, "dlogits must have as many rows as x", dlogits.rows, n), arguments.reads("dlogits", dlogits, n);
    arguments.require((C.router.noise == Noise::softplus && in.seed) || !dnoise_logits.data, "dnoise_logits: only Noise::softplus with a seed has logits of noise", 1, 0);
    if (dnoise_logits.data) arguments.require(dnoise_logits.rows == n, "dnoise_logits must have as many rows as x", dnoise_logits.rows, n), arguments.reads("dnoise_logits", dnoise_logits, n);
    training::check_gradients(arguments, to, n);
    arguments.resident(on, n > 0 ? weights_.data : nullptr);
    training::check_resident(on, to, n, at);
    Kept k = n > 0 ? Kept::filled(arguments, cache, n, options_) : Kept{};
    if constexpr (std::is_same_v<B, Host> && C.router.select == Select::table)
      if (n > 0) training::check_table<config>(arguments, weights_, in, k.routing);          // the last that may refuse: from here on gradients are written
    if (to.overwrite) training::Backward<config, B>::clear(on, to, n, at);
    if (n == 0) return;
    Arena arena{workspace};
    BackwardPieces const p = BackwardPieces::carve(arena, on, n, options_);
    if constexpr (Kept::folds) k.spread(on, p.logits, at), k.routing.logits = {p.logits, n};
    auto const x = experts_x(on, in, p.z, p.scratch, at);
    if (options_.recompute) {
      k.pre = p.pre, k.shared_pre = p.shared_pre;
      ExpertsBackward<config, B>{}.recompute(on, x, weights_, k.batch, k.pre, p.scratch, at);
      if constexpr (C.shared.ffn > 0) SharedBackward<config, B>{}.recompute(on, in, weights_, k.shared_pre, p.scratch, at);
    }
    training::Backward<config, B>::run({.on = on, .in = in, .weights = weights_, .k = k, .p = p, .x = x, .dy = dy, .dx = dx, .dlogits = dlogits, .dnoise_logits = dnoise_logits, .at = at}, to);
  }

 private:
  using Kept = training::Kept<config, B>;
  using ForwardPieces = training::ForwardPieces<config, B>;
  using BackwardPieces = training::BackwardPieces<config, B>;

  template <class Bytes> void check(Arguments& arguments, B const& on, Inputs<config> const& in, Bytes cache, std::span<std::byte> workspace) const {
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
  Rows<V const, width(C)> experts_x([[maybe_unused]] B const& on, Inputs<config> const& in, [[maybe_unused]] Rows<V, width(C)> z, [[maybe_unused]] std::span<std::byte> scratch, [[maybe_unused]] Where at) const {
    if constexpr (C.expert.latent > 0) {
      Latent<config, B>{}(on, in.x, weights_, z, scratch, at);
      return z;
    } else {
      return in.x;
    }
  }

  PackedView<config, B> weights_;
  TrainingOptions options_;
};

}}

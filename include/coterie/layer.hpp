// The layer: four stages in a row (and two more where the config has shared or latent experts).
#pragma once
#include "arguments.hpp"
#include "dispatch/capacity.hpp"

namespace coterie { inline namespace v0 {

// Few tokens without a kernel for each stage, where a backend has that: what the library's own stages give, bit for bit.
template <Config C, class B> struct Decode { static constexpr bool suits = false; };

// Training: what a forward pass leaves for the backward pass. recompute (flag): no pre-activations; backward() makes them again from x, the
// same bits for two thirds of a forward pass's products more (half of them where experts have no gate). logits (flag): all of them are kept,
// for auxiliary losses (Layer::chosen).
struct TrainingOptions {
  int recompute = 0, logits = 0;
};
// What a forward pass with a cache chose, as views into the cache: Batch::slot says what was dropped.
template <Config C> struct Chosen {
  static constexpr Config config = C;
  Routing<config> routing;                       // logits[T,N]: where all were kept
  Batch<config> batch;
};
template <Config C, class B> class Training;                             // coterie/training.hpp
template <class B> inline constexpr bool trainable = false;

template <Config C, class B, class Bundle = void>
class Layer {
 public:
  static constexpr Config config = C;
  using S = typename pick_stages<Bundle, config, B>::type;
  using value = element_t<C.dtype>;

 private:
  static_assert(sizeof(Checked<config>));
  static_assert(IsRouter<decltype(S::router), config, B>,
                "coterie::Layer: stages.router must be callable as router(backend, inputs, packed, routing, scratch)");
  static_assert(IsDispatch<decltype(S::dispatch), config, B>,
                "coterie::Layer: stages.dispatch must be callable as dispatch(backend, inputs, routing, batch, scratch)");
  static_assert(IsExperts<decltype(S::experts), config, B>,
                "coterie::Layer: stages.experts must be callable as experts(backend, x, packed, batch, out, scratch)");
  static_assert(IsCombine<decltype(S::combine), config, B>,
                "coterie::Layer: stages.combine must be callable as combine(backend, inputs, packed, routing, batch, out, shared, y, scratch)");

 public:
  explicit Layer(PackedView<config, B> weights, S stages = {}, TrainingOptions training = {}) : weights_(weights), stages_(stages), training_(training) {}

  // Bytes forward() needs for up to `tokens` tokens, alignment included; exact, and never less for more tokens.
  std::size_t workspace_bytes(B const& on, std::int64_t tokens, Where at = Where::here()) const {
    Arguments{"Layer", at}.tokens<config>(tokens);
    if (tokens == 0) return 0;
    Arena arena;
    carve(arena, on, tokens);
    return arena.used();
  }
  std::size_t workspace_bytes(std::int64_t tokens, Where at = Where::here()) const requires std::is_same_v<B, Host> {
    return workspace_bytes(Host{.threads = 1}, tokens, at);              // the host's stages need the same on any number of threads
  }

  // x[T,H] -> y[T,H]. y must not overlap x; workspace is scratch of at least workspace_bytes(on, x.rows).
  template <class X, int N, class Y, int M>
  void forward(B const& on, Rows<X, N> x, Rows<Y, M> y, std::span<std::byte> workspace, Where at = Where::here()) const {
    static_assert(N == config.hidden, "coterie::Layer::forward: x must have Config::hidden columns");
    static_assert(std::is_same_v<std::remove_const_t<X>, value>, "coterie::Layer::forward: x must have elements of Config::dtype");
    if constexpr (N == config.hidden && std::is_same_v<std::remove_const_t<X>, value>) forward(on, Inputs<config>{.x = x}, y, workspace, at);
  }
  template <class Y, int M>
  void forward(B const& on, Inputs<config> const& in, Rows<Y, M> y, std::span<std::byte> workspace, Where at = Where::here()) const {
    static_assert(M == config.hidden, "coterie::Layer::forward: y must have Config::hidden columns");
    static_assert(std::is_same_v<Y, value>, "coterie::Layer::forward: y must have mutable elements of Config::dtype");
    if constexpr (M == config.hidden && std::is_same_v<Y, value>) run(on, in, y, workspace, at);
  }

  // Training (coterie/training.hpp; docs/training.md): a forward pass with the same y, bit for bit, that leaves cache_bytes(on, x.rows) for
  // backward() in `cache`; then dy[T,H] -> dx[T,H], by the same inputs, weights, backend and cache, while gradients go to `to`.
  // dlogits[T,N], dnoise_logits[T,N]: gradients of the logits, and of the noise's (Noise::softplus with a seed), by auxiliary losses; optional.
  // workspace: training_workspace_bytes(on, x.rows), for either. Of any alignment; exact, one byte fewer is refused.
  template <class Y, int M>
  void forward(B const& on, Inputs<config> const& in, Rows<Y, M> y, std::span<std::byte> cache, std::span<std::byte> workspace, Where at = Where::here()) const {
    static_assert(M == config.hidden, "coterie::Layer::forward: y must have Config::hidden columns");
    static_assert(std::is_same_v<Y, value>, "coterie::Layer::forward: y must have mutable elements of Config::dtype");
    if constexpr (M == config.hidden && std::is_same_v<Y, value> && trains()) training().forward(on, in, y, cache, workspace, at);
  }
  template <class D, int N, class X, int M, DType G = DType::fp32>
  void backward(B const& on, Inputs<config> const& in, std::span<std::byte const> cache, Rows<D, N> dy, Rows<X, M> dx, Gradients<config, G> const& to, std::span<std::byte> workspace,
                Rows<float const, logit_columns(C)> dlogits = {}, Rows<float const, logit_columns(C)> dnoise_logits = {}, Where at = Where::here()) const {
    static_assert(N == config.hidden && M == config.hidden, "coterie::Layer::backward: dy and dx must have Config::hidden columns");
    static_assert(std::is_same_v<std::remove_const_t<D>, value> && std::is_same_v<X, value>, "coterie::Layer::backward: dy and dx must have elements of Config::dtype, dx mutable ones");
    if constexpr (N == config.hidden && M == config.hidden && std::is_same_v<std::remove_const_t<D>, value> && std::is_same_v<X, value> && trains())
      training().backward(on, in, cache, dy, dx, to, workspace, dlogits, dnoise_logits, at);
  }
  // Of the forward pass of `tokens` tokens that filled the cache: for balance.hpp's statistics, losses and biases.
  Chosen<config> chosen(B const& on, std::span<std::byte const> cache, std::int64_t tokens, Where at = Where::here()) const {
    if constexpr (trains()) return training().chosen(on, cache, tokens, at);
    else return {};
  }
  std::size_t cache_bytes(B const& on, std::int64_t tokens, Where at = Where::here()) const {
    if constexpr (trains()) return training().cache_bytes(on, tokens, at);
    else return 0;
  }
  std::size_t cache_bytes(std::int64_t tokens, Where at = Where::here()) const requires std::is_same_v<B, Host> { return cache_bytes(Host{.threads = 1}, tokens, at); }
  std::size_t training_workspace_bytes(B const& on, std::int64_t tokens, Where at = Where::here()) const {
    if constexpr (trains()) return training().workspace_bytes(on, tokens, at);
    else return 0;
  }

  // Stage by stage, what would run for `tokens` tokens and on which path; behind the logits `decode` runs instead of the stages where it can.
  std::string explain(B const& on, std::int64_t tokens) const {
    auto const line = [&](char const* title, auto const& stage) {
      if constexpr (requires { stage.explain(on, tokens); }) return title + stage.explain(on, tokens) + "\n";
      else return title + std::string("the caller's own stage\n");
    };
    if constexpr (decodes())
      if (Decode<config, B>::few(on, tokens))
        return line("router:   ", stages_.router) + line("decode:   ", Decode<config, B>{}) + (C.shared.ffn > 0 ? line("shared:   ", stages_.shared) : "");
    std::string text = line("router:   ", stages_.router) + line("dispatch: ", stages_.dispatch);
    if constexpr (C.expert.latent > 0) text += line("latent:   ", stages_.latent);
    text += line("experts:  ", stages_.experts);
    if constexpr (C.shared.ffn > 0) text += line("shared:   ", stages_.shared);
    return text + line("combine:  ", stages_.combine);
  }

 private:
  struct Pieces {
    Routing<config> routing;
    Batch<config> batch;
    Rows<value, width(C)> z;                     // [T,W] x at the experts' width
    Rows<value, width(C)> out;                   // [R,W]
    Rows<value, C.hidden> shared;                // [T,H]
    std::span<std::byte> scratch;                // the stages run one after the other and share it
  };
  template <class Stage, class Own> static constexpr bool is_own = std::is_same_v<std::remove_cv_t<Stage>, Own>;
  static constexpr bool decodes() {
    return Decode<config, B>::suits && is_own<decltype(S::router), Router<config, B>> && is_own<decltype(S::dispatch), Dispatch<config, B>> &&
           is_own<decltype(S::experts), Experts<config, B>> && is_own<decltype(S::combine), Combine<config, B>>;
  }
  static constexpr bool trains() {
    constexpr bool own = is_own<decltype(S::router), Router<config, B>> && is_own<decltype(S::dispatch), Dispatch<config, B>> && is_own<decltype(S::experts), Experts<config, B>> &&
                         is_own<decltype(S::combine), Combine<config, B>> && is_own<decltype(S::shared), Shared<config, B>> && is_own<decltype(S::latent), Latent<config, B>>;
    static_assert(trainable<B>, "coterie::Layer: this backend's backward pass is not included: #include <coterie/training.hpp> for Host, <coterie/training.cuh> for Cuda");
    static_assert(own, "coterie::Layer: only the library's own stages have a backward pass");
    static_assert(is_float(C.weights), "coterie::Layer: quantised expert weights have no gradients (train in fp32, bf16 or fp16)");
    return trainable<B> && own && is_float(C.weights);
  }
  auto training() const { return Training<config, B>{weights_, training_}; }
  Pieces carve(Arena& arena, B const& on, std::int64_t tokens) const {
    std::int64_t const rows = rows_bound(C, tokens), n = tokens * slots(C);
    Pieces p{};
    p.routing.expert = {arena.take<std::int32_t>(n), tokens};
    p.routing.weight = {arena.take<float>(n), tokens};
    if constexpr (shared_rows(C) > 0) p.routing.shared = {arena.take<float>(tokens * shared_rows(C)), tokens};
    p.batch.begin = arena.take<std::int32_t>(C.experts + 1);
    p.batch.token = arena.take<std::int32_t>(rows);
    p.batch.weight = arena.take<float>(rows);
    p.batch.slot = {arena.take<std::int32_t>(n), tokens};
    if constexpr (C.expert.latent > 0) p.z = {arena.take<value>(tokens * width(C)), tokens};
    p.out = {arena.take<value>(rows * width(C)), rows};
    if constexpr (C.shared.ffn > 0) p.shared = {arena.take<value>(tokens * C.hidden), tokens};
    std::size_t scratch = 0;
    auto const most = [&](std::size_t bytes) { scratch = bytes > scratch ? bytes : scratch; };
    most(scratch_bytes(stages_.router, on, tokens));
    most(scratch_bytes(stages_.dispatch, on, tokens));
    most(scratch_bytes(stages_.experts, on, tokens));
    most(scratch_bytes(stages_.combine, on, tokens));
    if constexpr (C.shared.ffn > 0) most(scratch_bytes(stages_.shared, on, tokens));
    if constexpr (C.expert.latent > 0) most(scratch_bytes(stages_.latent, on, tokens));
    if constexpr (decodes()) most(Decode<config, B>{}.workspace_bytes(on, tokens) + shared_scratch(on, tokens));
    p.scratch = arena.rest(scratch);
    return p;
  }

  void run(B const& on, Inputs<config> const& in, Rows<value, C.hidden> y, std::span<std::byte> workspace, Where at) const {
    std::int64_t const tokens = in.x.rows;
    Arguments arguments{"Layer::forward", at};
    require(y.rows == tokens, "Layer::forward: y must have as many rows as x", y.rows, tokens, at);
    arguments.scratch("workspace", workspace, workspace_bytes(on, tokens, at));
    if (tokens == 0) return;
    require(weights_.first_expert == 0 && weights_.experts == C.experts, "Layer::forward: a shard computes part of the rows only; give the whole view, or call Experts alone",
            weights_.experts, C.experts, at);
    arguments.reads("x", in.x, tokens);
    router_reads<config>(arguments, in, {});
    arguments.writes("y", y, tokens);
    arguments.resident(on, weights_.data);

    Arena arena{workspace};
    Pieces const p = carve(arena, on, tokens);
    if constexpr (decodes())
      if (Decode<config, B> const decode; decode.takes(on, in, at)) {
        std::size_t const shared = shared_scratch(on, tokens);           // beside the hidden values, which wait for it
        decode.hidden(on, in, weights_, p.routing, p.batch, p.scratch.subspan(shared), at);
        if constexpr (C.shared.ffn > 0) call(stages_.shared, at, on, in, weights_, p.routing, p.shared, p.scratch.first(shared));
        return decode.out(on, in, weights_, p.routing, p.shared, y, p.scratch.subspan(shared), at);
      }
    call(stages_.router, at, on, in, weights_, p.routing, p.scratch);
    call(stages_.dispatch, at, on, in, p.routing, p.batch, p.scratch);
    Rows<value const, width(C)> x{};
    if constexpr (C.expert.latent > 0) {
      call(stages_.latent, at, on, in.x, weights_, p.z, p.scratch);
      x = p.z;
    } else {
      x = in.x;
    }
    call(stages_.experts, at, on, x, weights_, p.batch, p.out, p.scratch);
    if constexpr (C.shared.ffn > 0) call(stages_.shared, at, on, in, weights_, p.routing, p.shared, p.scratch);
    call(stages_.combine, at, on, in, weights_, p.routing, p.batch, p.out, p.shared, y, p.scratch);
  }

  std::size_t shared_scratch(B const& on, std::int64_t tokens) const {
    if constexpr (C.shared.ffn > 0) return scratch_bytes(stages_.shared, on, tokens);
    else return 0;
  }
  // Errors inside a stage name the caller of forward(), where the stage takes a Where.
  template <class Stage, class... Arguments> static void call(Stage const& stage, Where at, Arguments const&... arguments) {
    if constexpr (requires { stage(arguments..., at); }) stage(arguments..., at);
    else stage(arguments...);
  }

  PackedView<config, B> weights_;
  [[no_unique_address]] S stages_;
  TrainingOptions training_;
};

}}

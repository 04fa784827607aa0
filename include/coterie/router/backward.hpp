// The router backwards on the host: from the gradients of its weights, and of its logits by auxiliary losses, to those of what it reads
// and of its parameters.
#pragma once
#include "../host/dense_backward.hpp"
#include "../host/tile_engine.hpp"
#include "backward_arguments.hpp"
#include "gradient.hpp"
#include "host.hpp"

namespace coterie { inline namespace v0 {

namespace route {

// Gradients of the logits of tokens [first, last): dz[T,N], and of the noise's; parts of the learned factors.
template <Config C> struct TokensBackward {
  static constexpr Config config = C;
  float const *logits, *noise;                   // [T,N] or null
  std::int32_t const* table_ids;                 // [T,K] or null
  Rows<std::int32_t const, slots(C)> expert{}, slot{};
  Rows<float const, slots(C)> dweight{};
  Rows<float const, shared_rows(C)> dshared{};
  float *dz, *dnoise, *dscale, *drouter;         // [T,N], [T,N], [T,S], [T]
};
template <Config C> [[gnu::always_inline]] inline void tokens_backward(TokensBackward<C> const& b, Token<C> token, std::int64_t first, std::int64_t last) {
  constexpr int N = logit_columns(C), S = slots(C);
  float s[N], c[N];
  for (std::int64_t t = first; t < last; ++t) {
    token.index = t;
    token.ids = b.table_ids ? b.table_ids + t * C.top_k : nullptr;
    token.noise_logits = b.noise ? b.noise + t * N : nullptr;
    TokenGradient g{.weight = b.dweight[t], .shared = shared_rows(C) ? b.dshared[t] : nullptr, .logits = b.dz ? b.dz + t * N : nullptr, .noise_logits = b.dnoise ? b.dnoise + t * N : nullptr,
                    .expert_scale = b.dscale ? b.dscale + t * S : nullptr};
    ProgramGradient<C>::run(b.logits ? b.logits + t * N : nullptr, s, c, token, b.expert[t], b.slot.data ? b.slot[t] : nullptr, g);
    b.drouter[t] = g.router_scale;
  }
}
template <Config C> void tokens_backward_portable(TokensBackward<C> const& b, Token<C> const& token, std::int64_t first, std::int64_t last) { tokens_backward<C>(b, token, first, last); }
#if defined(__x86_64__)
template <Config C> [[gnu::target("avx2,fma")]] void tokens_backward_avx2(TokensBackward<C> const& b, Token<C> const& token, std::int64_t first, std::int64_t last) { tokens_backward<C>(b, token, first, last); }
#endif

}

// Where gradients of a router's parameters go; null: not wanted.
struct RouterPlaces {
  float *router = nullptr, *router_bias = nullptr, *noise = nullptr, *expert_scale = nullptr, *router_scale = nullptr;
  int overwrite = 0;                             // flag: not added to what is there
};

template <Config C>
struct RouterBackward<C, Host> {
  static constexpr Config config = C;
  using Forward = Router<config, Host>;
  using Layout = host::PackedLayout<config>;
  using V = element_t<C.dtype>;
  static constexpr int E = C.experts, N = logit_columns(C), H = C.hidden, S = slots(C);
  static constexpr bool learned = C.router.input == RouterInput::hidden || C.router.input == RouterInput::separate;
  static constexpr bool noisy = C.router.noise == Noise::softplus;
  static constexpr bool has_logits = Forward::has_logits;
  static_assert(C.router.input != RouterInput::given, "coterie::RouterBackward: given routing has no router to train");

  std::size_t workspace_bytes(Host const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens);
    return arena.used();
  }

  // routing as the forward pass left it, logits included (a router by token id has none, and gradients of its factors alone); slot[T,S] of the
  // batch, where weights are normalised after dropping. Gradients of the parameters go to `to`. dx[T,H], fp32: of what the router reads,
  // overwritten; or of the caller's logits, [T,N] (RouterInput::logits): dlogits.
  template <DType G = DType::fp32>
  void operator()(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Rows<std::int32_t const, slots(C)> slot,
                  RouterGradients<config> const& d, float* dx, float* dlogits, Gradients<config, G> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    RouterPlaces const places{.router = to.router, .router_bias = to.router_bias, .noise = to.noise, .expert_scale = to.expert_scale, .router_scale = to.router_scale, .overwrite = to.overwrite};
    run(on, in, packed, routing, slot, d, dx, dlogits, places, scratch, at);
  }
  // The same, whatever the type of other gradients.
  void run(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Rows<std::int32_t const, slots(C)> slot, RouterGradients<config> const& d,
           float* dx, float* dlogits, RouterPlaces const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"RouterBackward", at};
    router_backward_arguments<config>(arguments, in, routing, slot, d);
    if (n == 0) return clear(to);
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    Isa const path = on.path(at);
    Arena arena{scratch};
    Pieces const p = carve(arena, on, n);
    host::Reader<config> const weights{packed};
    if constexpr (C.router.select == Select::table) route::table_ids<config>(weights, in, p.ids, n, at);        // routing lacks a second expert left out
    clear(to);                                   // nothing refuses from here on
    if constexpr (learned) read(on, in, p);
    if constexpr (noisy)
      if (in.seed) host::dense(*on.pool, path, weights.template at<typename Layout::RouterT>(weights.layout.noise_panels), Layout::router, p.x, n, host::Output<float, Rounded>{p.noise, N, nullptr});

    route::Token<config> token;
    token.seed = in.seed;
    if constexpr (C.router.select_bias) token.select_bias = weights.floats(weights.layout.select_bias);
    if constexpr (C.router.expert_scale) token.expert_scale = weights.floats(weights.layout.expert_scale);
    if (packed.data) token.router_scale = weights.header().router_scale;
    for (std::int64_t t = 0; has_logits && t < n; ++t)
      for (int e = 0; e < N; ++e) p.logits[t * N + e] = routing.logits[t][e];
    route::TokensBackward<config> const work{.logits = p.logits, .noise = p.noise, .table_ids = p.ids, .expert = {routing.expert.data, n, routing.expert.stride}, .slot = slot,
                                             .dweight = d.weight, .dshared = d.shared, .dz = p.dz, .dnoise = p.dnoise, .dscale = p.dscale, .drouter = p.drouter};
    auto* run = &route::tokens_backward_portable<config>;
#if defined(__x86_64__)
    if (path != Isa::portable) run = &route::tokens_backward_avx2<config>;
#endif
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      run(work, token, first, last);
      for (std::int64_t t = first; d.logits.data && t < last; ++t)
        for (int e = 0; e < N; ++e) p.dz[t * N + e] += d.logits[t][e];
      for (std::int64_t t = first; d.noise_logits.data && t < last; ++t)
        for (int e = 0; e < N; ++e) p.dnoise[t * N + e] += d.noise_logits[t][e];
    });
    factors(routing, p, n, to);
    if constexpr (C.router.input == RouterInput::logits) {
      if (dlogits) std::memcpy(dlogits, p.dz, static_cast<std::size_t>(n * N) * sizeof(float));
    }
    if constexpr (learned) {
      host::VectorEngine const engine{host::vector_path(path)};
      auto const product = [&](std::size_t panels, float const* dz, float* matrix, bool add) {
        Dense::run(*on.pool, engine, weights.template at<typename Layout::RouterT>(panels), Layout::router, dz, n, p.dense, {matrix, H, 1}, dx, add);
      };
      product(weights.layout.router_panels, p.dz, to.router, false);
      if constexpr (noisy)
        if (in.seed) product(weights.layout.noise_panels, p.dnoise, to.noise, true);
      if constexpr (C.router.noise == Noise::jitter)
        if (in.seed && dx)
          for (std::int64_t t = 0; t < n; ++t)
            for (int h = 0; h < H; ++h) dx[t * H + h] = random::jittered(dx[t * H + h], C.router.noise_size, in.seed, t, h);
    }
  }

 private:
  using Rounded = std::conditional_t<C.router.precision != Precision::fp32 && bits(C.router.weights) <= bits(C.dtype), V, float>;
  using Dense = host::DenseBackward<typename Layout::RouterT>;
  static constexpr std::int64_t padded = Layout::router.padded_inputs();
  struct Pieces {
    float *x, *logits, *noise, *dz, *dnoise;     // [T,padded H], [T,N]...
    float *dscale, *drouter;                     // [T,S], [T]
    std::int32_t* ids;                           // [T,K]
    typename Dense::Pieces dense;
  };
  static Pieces carve(Arena& arena, Host const& on, std::int64_t tokens) {
    Pieces p{};
    if constexpr (has_logits) p.logits = arena.take<float>(tokens * N), p.dz = arena.take<float>(tokens * N);
    if constexpr (noisy) p.noise = arena.take<float>(tokens * N), p.dnoise = arena.take<float>(tokens * N);
    if constexpr (learned) {
      p.x = arena.take<float>(tokens * padded);
      p.dense = Dense::carve(arena, *on.pool, Layout::router, tokens);
    }
    if constexpr (C.router.expert_scale != 0) p.dscale = arena.take<float>(tokens * S);
    p.drouter = arena.take<float>(tokens);
    if constexpr (C.router.select == Select::table) p.ids = arena.take<std::int32_t>(tokens * C.top_k);
    return p;
  }
  static void clear(RouterPlaces const& to) {
    if (to.overwrite) host::clear(to.router, N * H), host::clear(to.router_bias, N), host::clear(to.noise, N * H), host::clear(to.expert_scale, E), host::clear(to.router_scale, 1);
  }
  // What the router saw.
  static void read(Host const& on, Inputs<config> const& in, Pieces const& p) {
    auto const from = C.router.input == RouterInput::separate ? in.router_x : in.x;
    std::int64_t const n = in.x.rows;
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float* const x = p.x + t * padded;
        host::widen_row(from[t], H, padded, x);
        if (C.router.noise == Noise::jitter && in.seed)
          for (int h = 0; h < H; ++h) x[h] = random::jittered(x[h], C.router.noise_size, in.seed, t, h);
      }
    });
    Dense::set_inputs(*on.pool, Layout::router, n, p.dense, [&](std::int64_t t, std::int64_t h) { return p.x[t * padded + h]; });
  }
  // The learned factors and the bias, token after token.
  static void factors(Routing<config> const& routing, Pieces const& p, std::int64_t n, RouterPlaces const& to) {
    for (std::int64_t t = 0; t < n; ++t) {
      if constexpr (C.router.bias)
        if (to.router_bias)
          for (int e = 0; e < N; ++e) to.router_bias[e] += p.dz[t * N + e];
      if constexpr (C.router.expert_scale != 0)
        if (to.expert_scale)
          for (int s = 0; s < S; ++s)
            if (std::int32_t const e = routing.expert[t][s]; e >= 0 && e < E) to.expert_scale[e] += p.dscale[t * S + s];
      if (to.router_scale) *to.router_scale += p.drouter[t];
    }
  }
};

}}

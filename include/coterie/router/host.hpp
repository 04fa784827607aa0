// The router on the host: logits by one product, then the routing program token by token.
#pragma once
#include "../arguments.hpp"
#include "../dispatch/capacity.hpp"
#include "../host/dense.hpp"
#include "../host/packed.hpp"
#include "program.hpp"

namespace coterie { inline namespace v0 {

namespace route {

// Runs the program over tokens [first, last); logits in z, results in `to`.
template <Config C>
[[gnu::always_inline]] inline void tokens(float* z, Token<C> token, std::int32_t const* table_ids, float const* noise, Routing<C> const& to,
                                          std::int64_t first, std::int64_t last) {
  constexpr int N = logit_columns(C);
  float c[N];
  std::uint64_t heap[Program<C>::heap_size];
  for (std::int64_t t = first; t < last; ++t) {
    token.index = t;
    token.ids = table_ids ? table_ids + t * C.top_k : nullptr;
    token.noise_logits = noise ? noise + t * N : nullptr;
    float none[1];
    Program<C>::run(z + t * N, c, heap, token, to.expert[t], to.weight[t], shared_rows(C) ? to.shared[t] : none);
  }
}
// Scores of tokens [first, last), in place: all that expert choice needs of the program.
template <Config C> [[gnu::always_inline]] inline void scores(float* z, Token<C> token, float const* noise, std::int64_t first, std::int64_t last) {
  constexpr int N = logit_columns(C);
  for (std::int64_t t = first; t < last; ++t) {
    token.index = t;
    token.noise_logits = noise ? noise + t * N : nullptr;
    Program<C>::prepare(z + t * N, token);
    Program<C>::score(z + t * N);
  }
}
// The program is compiled twice: with fused multiply-add in hardware, and without (the same bits, by library call).
template <Config C> void tokens_portable(float* z, Token<C> token, std::int32_t const* ids, float const* noise, Routing<C> const& to, std::int64_t first, std::int64_t last) {
  if constexpr (C.router.select == Select::expert_choice) scores<C>(z, token, noise, first, last);
  else tokens<C>(z, token, ids, noise, to, first, last);
}
#if defined(__x86_64__)
template <Config C>
[[gnu::target("avx2,fma")]] void tokens_avx2(float* z, Token<C> token, std::int32_t const* ids, float const* noise, Routing<C> const& to, std::int64_t first, std::int64_t last) {
  if constexpr (C.router.select == Select::expert_choice) scores<C>(z, token, noise, first, last);
  else tokens<C>(z, token, ids, noise, to, first, last);
}
#endif

// Select::table: ids[T,K], from the caller to replay, or from the table by token id.
template <Config C> void table_ids(host::Reader<C> const& weights, Inputs<C> const& in, std::int32_t* ids, std::int64_t n, Where at) {
  bool const replay = in.routing.expert.data != nullptr;
  require(replay || in.token_ids != nullptr, "Router: Select::table needs Inputs::token_ids, or Inputs::routing to replay", 0, 1, at);
  if (replay) require(in.routing.expert.rows == n, "Router: Inputs::routing must have as many rows as x", in.routing.expert.rows, n, at);
  std::int64_t const rows = replay ? 0 : weights.header().table_rows;
  std::int32_t const* const table = replay ? nullptr : weights.template at<std::int32_t>(weights.layout.table);
  for (std::int64_t t = 0; t < n; ++t) {
    if (!replay && (in.token_ids[t] < 0 || in.token_ids[t] >= rows))
      fail("Router: token id out of the table: got " + std::to_string(in.token_ids[t]) + ", want 0 to " + std::to_string(rows - 1), at);
    std::int32_t const* const from = replay ? in.routing.expert[t] : table + in.token_ids[t] * std::int64_t{C.top_k};
    for (int k = 0; k < C.top_k; ++k) {
      if (from[k] < -1 || from[k] >= candidates(C))
        fail("Router: expert id out of range: got " + std::to_string(from[k]) + ", want -1 to " + std::to_string(candidates(C) - 1), at);
      ids[t * C.top_k + k] = from[k];
    }
  }
}

}

template <Config C>
struct Router<C, Host> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int E = C.experts, N = logit_columns(C), H = C.hidden;
  using T = element_t<C.dtype>;
  using Layout = host::PackedLayout<config>;
  static constexpr bool has_logits = C.router.input != RouterInput::token_ids && C.router.input != RouterInput::given;

  std::size_t workspace_bytes(Host const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  void operator()(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& to,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Router", at};
    router_arguments<config>(arguments, in, to, has_logits);
    if (n == 0) return;
    if constexpr (C.router.input == RouterInput::given) {
      for (std::int64_t t = 0; t < n; ++t)
        for (int s = 0; s < slots(C); ++s) {
          to.expert[t][s] = in.routing.expert[t][s];
          to.weight[t][s] = in.routing.weight[t][s];
        }
    } else {
      arguments.scratch("scratch", scratch, workspace_bytes(on, n));
      if constexpr (Layout::has_router || C.router.bias || C.router.select_bias || C.router.expert_scale || C.router.select == Select::table) arguments.packed(packed.data);
      Isa const path = on.path(at);
      Arena arena{scratch};
      Pieces const p = carve(arena, n);
      host::Reader<config> const weights{packed};
      if constexpr (C.router.select == Select::table) route::table_ids<config>(weights, in, p.ids, n, at);
      logits(on, path, weights, in, to, p, at);
      route::Token<config> token;
      token.seed = in.seed;
      if constexpr (C.router.select_bias) token.select_bias = weights.floats(weights.layout.select_bias);
      if constexpr (C.router.expert_scale) token.expert_scale = weights.floats(weights.layout.expert_scale);
      if (packed.data) token.router_scale = weights.header().router_scale;
      auto* run = &route::tokens_portable<config>;
#if defined(__x86_64__)
      if (path != Isa::portable) run = &route::tokens_avx2<config>;
#endif
      host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) { run(p.z, token, p.ids, p.noise, to, first, last); });
      if constexpr (C.router.select == Select::expert_choice) choose(on, in, p, token.router_scale, to);
    }
  }

  std::string explain(Host const& on, std::int64_t tokens) const {
    if constexpr (C.router.input == RouterInput::given) return "the caller's own Routing";
    std::string const logits = Layout::has_router ? std::string("logits by ") + name(host::vector_path(on.path())) + " on " + name(C.router.weights) + " panels, fp32 sums, blocks of " + std::to_string(host::row_block) + " rows x 128 columns"
                                                  : std::string(C.router.input == RouterInput::logits ? "the caller's logits" : "no logits");
    return logits + "; then token by token, " + name(on.path() == Isa::portable ? Isa::portable : Isa::avx2) + ": top " + std::to_string(C.top_k) + " of " + std::to_string(candidates(C)) + " for " + std::to_string(tokens) + " tokens";
  }

 private:
  struct Pieces {
    float* a;                                    // [T,padded H]
    float* z;                                    // [T,N]
    float* noise;                                // [T,N]
    std::int32_t* ids;                           // [T,K]
    std::uint64_t* heap;                         // [E,places]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    constexpr bool learned = C.router.input == RouterInput::hidden || C.router.input == RouterInput::separate;
    Pieces p{};
    if constexpr (C.router.input == RouterInput::given) return p;
    if constexpr (learned) p.a = arena.take<float>(tokens * Layout::router.padded_inputs());
    if constexpr (C.router.input != RouterInput::token_ids) p.z = arena.take<float>(tokens * N);
    if constexpr (C.router.noise == Noise::softplus) p.noise = arena.take<float>(tokens * N);
    if constexpr (C.router.select == Select::table) p.ids = arena.take<std::int32_t>(tokens * C.top_k);
    if constexpr (C.router.select == Select::expert_choice) p.heap = arena.take<std::uint64_t>(E * (capacity(C, tokens) + 1));
    return p;
  }

  // z[T,N], with bias, in the precision the config asks for; copied to Routing::logits if the caller wants them.
  static void logits(Host const& on, Isa path, host::Reader<config> const& weights, Inputs<config> const& in, Routing<config> const& to, Pieces const& p, Where at) {
    std::int64_t const n = in.x.rows;
    // A router kept in fp32 beside bf16 activations computes in fp32 whatever the rule says: nothing to round to.
    constexpr bool round = C.router.precision != Precision::fp32 && bits(C.router.weights) <= bits(C.dtype);
    float const* const bias = C.router.bias ? weights.floats(weights.layout.router_bias) : nullptr;
    if constexpr (C.router.input == RouterInput::logits) {
      require(in.logits.data && in.logits.rows == n, "Router: RouterInput::logits needs Inputs::logits with as many rows as x", in.logits.rows, n, at);
      for (std::int64_t t = 0; t < n; ++t)
        for (int e = 0; e < N; ++e) p.z[t * N + e] = in.logits[t][e] + (bias ? bias[e] : 0);
    } else if constexpr (C.router.input != RouterInput::token_ids) {
      auto const x = C.router.input == RouterInput::separate ? in.router_x : in.x;
      if constexpr (C.router.input == RouterInput::separate)
        require(x.data && x.rows == n, "Router: RouterInput::separate needs Inputs::router_x with as many rows as x", x.rows, n, at);
      constexpr std::int64_t padded = Layout::router.padded_inputs();
      host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t t = first; t < last; ++t) {
          host::widen_row(x[t], H, padded, p.a + t * padded);
          if (C.router.noise == Noise::jitter && in.seed)
            for (int h = 0; h < H; ++h) p.a[t * padded + h] = random::jittered(p.a[t * padded + h], C.router.noise_size, in.seed, t, h);
        }
      });
      auto const multiply = [&](std::size_t panels, float const* add, float* z) {
        using Rounded = std::conditional_t<round, T, float>;
        host::dense(*on.pool, path, weights.template at<typename Layout::RouterT>(panels), Layout::router, p.a, n, host::Output<float, Rounded>{z, N, add});
      };
      multiply(weights.layout.router_panels, bias, p.z);
      if (C.router.noise == Noise::softplus && in.seed) multiply(weights.layout.noise_panels, nullptr, p.noise);
    }
    if (has_logits && to.logits.data)
      for (std::int64_t t = 0; t < n; ++t)
        for (int e = 0; e < N; ++e) to.logits[t][e] = p.z[t * N + e];
  }

  // Expert choice: each expert takes the tokens of a group that score it highest.
  static void choose(Host const& on, Inputs<config> const& in, Pieces const& p, float router_scale, Routing<config> const& to) {
    std::int64_t const n = in.x.rows, group = group_tokens(n, in.sequence), stride = capacity(C, n) + 1;
    for (std::int64_t t = 0; t < n; ++t)
      for (int e = 0; e < E; ++e) to.expert[t][e] = -1, to.weight[t][e] = 0;
    on.pool->run(E, [&](std::int64_t expert) {
      int const e = static_cast<int>(expert);
      std::uint64_t* const heap = p.heap + expert * stride;
      for (std::int64_t first = 0; first < n; first += group) {
        int const size = static_cast<int>(n - first < group ? n - first : group), places = static_cast<int>(capacity(C, size));
        auto const score = [&](int i) { return p.z[(first + i) * N + e]; };
        if (places > 0) route::best(score, size, places, heap);
        for (int i = 0; i < places; ++i) {
          std::int64_t const t = route::index_of(heap[i]);
          to.expert[first + t][e] = e;
          to.weight[first + t][e] = route::Program<config>::final(route::Program<config>::scaled(score(static_cast<int>(t)), router_scale));
        }
      }
    });
  }
};

}}

// Shared experts on the host: one wide expert for every token.
#pragma once
#include "../arguments.hpp"
#include "../host/ffn.hpp"
#include "../host/packed.hpp"

namespace coterie { inline namespace v0 {

template <Config C>
struct Shared<C, Host> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int H = C.hidden;
  using V = element_t<C.dtype>;
  using Layout = host::PackedLayout<config>;
  static constexpr bool tiled = C.dtype == DType::bf16 && C.shared.weights == DType::bf16;
  // The shared experts' activation: their own limit where the config gives one.
  static constexpr ExpertConfig expert = [] {
    ExpertConfig e = C.expert;
    if (C.shared.limit > 0) e.limit = C.shared.limit;
    return e;
  }();

  std::size_t workspace_bytes(Host const&, std::int64_t tokens) const {
    Arena arena;
    if constexpr (C.shared.ffn > 0) carve(arena, tokens);
    return arena.used();
  }

  // x[T,H] -> shared[T,H], before it is mixed with the routed sum (combine does that).
  void operator()(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing,
                  Rows<V, C.hidden> shared, std::span<std::byte> scratch, Where at = Where::here()) const {
    launch(on, in, packed, routing, shared, nullptr, scratch, at);
  }
  // The same, and pre[T, panels of up x 32]: gate and up before the activation, which a backward pass wants.
  void keeping(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Rows<V, C.hidden> shared, V* pre, std::span<std::byte> scratch, Where at = Where::here()) const {
    launch(on, in, packed, routing, shared, pre, scratch, at);
  }

  struct Pieces {
    float* a;                                    // [T,padded H]
    float* h;                                    // [T,padded shared ffn]
    V* pre = nullptr;                            // [T, panels of up x 32], the caller's
  };
  // On an engine of the caller's choice; p is carved from scratch.
  template <class Engine>
  static void run(Host const& on, Engine const& engine, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing,
                  Rows<V, C.hidden> shared, Pieces const& p) {
    using Operand = typename Engine::Operand;
    std::int64_t const tokens = in.x.rows;
    Operand* const a = reinterpret_cast<Operand*>(p.a);
    host::Reader<config> const weights{packed};
    constexpr std::int64_t padded = Layout::shared_gate_up.padded_inputs();
    host::for_chunks(*on.pool, tokens, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) host::widen_row(in.x[t], H, padded, a + t * padded);
    });
    using T = typename Layout::SharedT;
    auto const& l = weights.layout;
    std::int32_t const one_group = 0, bounds[2]{0, static_cast<std::int32_t>(tokens)};
    host::FfnGroups<T> const groups{.count = 1, .hit = &one_group, .begin = bounds, .first = 0, .weights = packed.data + l.shared_gate_up_panels,
                                    .stride = 0, .down = l.shared_down_panels - l.shared_gate_up_panels, .gate_bias = nullptr, .up_bias = nullptr,
                                    .down_bias = nullptr, .ffn = C.shared.ffn, .width = H};
    host::FfnRows<Operand, V> rows{.a = a, .map = nullptr, .h = reinterpret_cast<Operand*>(p.h), .out = shared.data, .out_stride = shared.stride, .pre = p.pre};
    if constexpr (shared_rows(C) > 0)            // each shared expert's columns times its weight, before down (Inkling)
      rows.gamma = routing.shared.data, rows.gamma_stride = routing.shared.stride, rows.gamma_columns = C.shared.ffn / C.shared.count;
    host::ffn<V, T>(*on.pool, engine, host::activation_for<expert, V>(engine.path), Layout::has_gate, Layout::shared_gate_up, Layout::shared_down, groups, rows);
    (void)routing;
  }

  std::string explain(Host const& on, std::int64_t tokens) const {
    if constexpr (C.shared.ffn == 0) return "none";
    else return host::explain_ffn(host::ffn_path(on.path(), C.dtype, C.shared.weights), C.shared.weights, tokens, Layout::shared_gate_up, Layout::shared_down);
  }

  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    p.a = arena.take<float>(tokens * Layout::shared_gate_up.padded_inputs());
    p.h = arena.take<float>(tokens * Layout::shared_down.padded_inputs());
    return p;
  }

 private:
  void launch(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Rows<V, C.hidden> shared, V* pre, std::span<std::byte> scratch, Where at) const {
    if constexpr (C.shared.ffn > 0) {
      std::int64_t const tokens = in.x.rows;
      Arguments arguments{"Shared", at};
      arguments.tokens<config>(tokens);
      require(shared.rows == tokens, "Shared: the output must have as many rows as x", shared.rows, tokens, at);
      if (tokens == 0) return;
      shared_arguments<config>(arguments, in, packed.data, routing, shared);
      arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
      Isa const path = on.path(at);
      Arena arena{scratch};
      Pieces p = carve(arena, tokens);
      p.pre = pre;
#if defined(__x86_64__)
      if constexpr (tiled) {
        if (path == Isa::amx) return run(on, host::TileEngine<host::AmxTiles>{path}, in, packed, routing, shared, p);
        if (path == Isa::avx512_bf16) return run(on, host::DotEngine{path}, in, packed, routing, shared, p);
      }
#endif
      run(on, host::VectorEngine{path}, in, packed, routing, shared, p);
    } else {
      (void)on, (void)in, (void)packed, (void)routing, (void)shared, (void)pre, (void)scratch, (void)at;
    }
  }
};

}}

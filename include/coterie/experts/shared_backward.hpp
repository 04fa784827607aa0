// Shared experts backwards on the host: one group of all tokens, weighed by the mix.
#pragma once
#include "../host/ffn_backward.hpp"
#include "../host/ffn_recompute.hpp"
#include "shared.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct SharedBackward;

template <Config C>
struct SharedBackward<C, Host> {
  static constexpr Config config = C;
  using Forward = Shared<config, Host>;
  using Layout = host::PackedLayout<config>;
  using V = element_t<C.dtype>;
  using T = typename Layout::SharedT;
  using Ffn = host::FfnBackward<host::FfnKind<V, T, Forward::expert>>;
  static constexpr host::FfnShapes shapes{.up = Layout::shared_gate_up, .down = Layout::shared_down, .gamma = shared_rows(C) > 0};
  static constexpr std::int64_t columns = shapes.columns();              // of a row of pre-activations

  std::size_t workspace_bytes(Host const& on, std::int64_t tokens) const {
    Arena arena;
    Ffn::Pieces::carve(arena, *on.pool, shapes, tokens, 1);
    return arena.used();
  }

  // pre[T,columns] as the forward pass kept it, dy[T,H], mix[T] the weight of a token's shared experts in y -> dx[T,H]; dmix[T];
  // drows[T,count] of Routing::shared (SharedMix::router_rows; else null). Gradients of the weights go to `to`.
  template <DType G = DType::fp32>
  void operator()(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, V const* pre, Rows<V const, C.hidden> dy, float const* mix,
                  Rows<V, C.hidden> dx, float* dmix, float* drows, Gradients<config, G> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    static_assert(C.shared.ffn > 0, "coterie::SharedBackward: the config has no shared experts");
    run(on, in, packed, routing, pre, dy, mix, dx, dmix, drows, places(to), scratch, at);
  }
  template <DType G> static host::FfnGradient places(Gradients<config, G> const& to) {
    return {.gate = host::gradient_of(to.shared.gate, to.overwrite), .up = host::gradient_of(to.shared.up, to.overwrite), .down = host::gradient_of(to.shared.down, to.overwrite)};
  }
  // The same, whatever the gradients' type.
  void run(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, V const* pre, Rows<V const, C.hidden> dy, float const* mix,
           Rows<V, C.hidden> dx, float* dmix, float* drows, host::FfnGradient const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"SharedBackward", at};
    arguments.tokens<config>(n);
    arguments.require(dy.rows == n, "dy must have as many rows as x", dy.rows, n), arguments.require(dx.rows == n, "dx must have as many rows as x", dx.rows, n);
    if (n > 0) {
      arguments.packed(packed.data);
      arguments.reads("x", in.x, n), arguments.reads("dy", dy, n), arguments.reads("pre", pre, n * columns), arguments.writes("dx", dx, n);
      arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    }
    Isa const path = on.path(at);
    if (to.up.kind.overwrite) {
      if (n == 0 || !gated(C.expert.act)) host::clear_gradient(*on.pool, path, to.gate, C.shared.ffn, C.hidden);
      if (n == 0) host::clear_gradient(*on.pool, path, to.up, C.shared.ffn, C.hidden), host::clear_gradient(*on.pool, path, to.down, C.hidden, C.shared.ffn);
    }
    if (n == 0) return;
    Arena arena{scratch};
    typename Ffn::Pieces const p = Ffn::Pieces::carve(arena, *on.pool, shapes, n, 1);
    host::FfnBackwardRows<V> rows{.x = in.x.data, .x_stride = in.x.stride, .dy = dy.data, .dy_stride = dy.stride, .map = nullptr, .in_weight = nullptr, .out_weight = mix,
                                  .pre = pre, .dx = dx.data, .dx_stride = dx.stride, .din_weight = nullptr, .dout_weight = dmix};
    if constexpr (shared_rows(C) > 0)
      rows.gamma = routing.shared.data, rows.gamma_stride = routing.shared.stride, rows.gamma_columns = C.shared.ffn / C.shared.count, rows.dgamma = drows;
    (void)routing, (void)drows;
    One const all{n};
    on_engine(path, [&](auto const& engine) { Ffn::run(*on.pool, engine, shapes, all.groups(packed), rows, p, [&](std::int64_t) { return to; }); });
  }
  // pre[T,columns] of in.x, as the forward pass made them; scratch as above.
  void recompute(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, V* pre, std::span<std::byte> scratch, Where at = Where::here()) const {
    Arena arena{scratch};
    typename Ffn::Pieces const p = Ffn::Pieces::carve(arena, *on.pool, shapes, in.x.rows, 1);
    host::FfnBackwardRows<V> rows{};
    rows.x = in.x.data, rows.x_stride = in.x.stride;
    One const all{in.x.rows};
    on_engine(on.path(at), [&]<class Engine>(Engine const& engine) {
      host::recompute(*on.pool, engine, shapes.up, all.groups(packed), rows, reinterpret_cast<typename Engine::Operand*>(p.dy_rows), pre);
    });
  }

 private:
  // The one group of all tokens.
  struct One {
    explicit One(std::int64_t tokens) : bounds{0, static_cast<std::int32_t>(tokens)} {}
    std::int32_t hit = 0, bounds[2];
    host::FfnGroups<T> groups(PackedView<config, Host> packed) const {
      host::Reader<config> const weights{packed};
      auto const& l = weights.layout;
      return {.count = 1, .hit = &hit, .begin = bounds, .first = 0, .weights = packed.data + l.shared_gate_up_panels, .stride = 0, .down = l.shared_down_panels - l.shared_gate_up_panels,
              .gate_bias = nullptr, .up_bias = nullptr, .down_bias = nullptr, .ffn = C.shared.ffn, .width = C.hidden};
    }
  };
  // The engine of the forward pass.
  template <class Go> static void on_engine(Isa path, Go const& go) {
#if defined(__x86_64__)
    if constexpr (Forward::tiled) {
      if (path == Isa::amx) return go(host::TileEngine<host::AmxTiles>{path});
      if (path == Isa::avx512_bf16) return go(host::DotEngine{path});
    }
#endif
    go(host::VectorEngine{path});
  }
};

}}

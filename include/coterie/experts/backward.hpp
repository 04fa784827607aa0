// The experts backwards on the host: from the gradient of the routed sum to those of x, of the routing weights and of the experts' weights.
#pragma once
#include "../host/ffn_backward.hpp"
#include "../host/ffn_recompute.hpp"
#include "host.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct ExpertsBackward;

template <Config C>
struct ExpertsBackward<C, Host> {
  static constexpr Config config = C;
  using Forward = Experts<config, Host>;
  using Layout = host::PackedLayout<config>;
  using V = element_t<C.dtype>;
  using Ffn = host::FfnBackward<host::FfnKind<V, typename Layout::ExpertT, C.expert>>;
  static constexpr int E = C.experts, W = width(C);
  static constexpr bool weigh_input = C.router.place == Place::input;
  static constexpr host::FfnShapes shapes{.up = Layout::gate_up, .down = Layout::down};
  static constexpr std::int64_t columns = shapes.columns();              // of a row of pre-activations
  static_assert(is_float(C.weights), "coterie::ExpertsBackward: quantised expert weights have no gradients (train in fp32, bf16 or fp16)");

  std::size_t workspace_bytes(Host const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens);
    return arena.used();
  }

  // x[T,W], pre[R,columns] as the forward pass kept it, dy[T,W] the gradient of the routed sum -> dx[R,W] of every routed row (the rows of a
  // token are to be summed), dweight[R] of batch.weight; gradients of the experts' weights go to `to`.
  template <DType G = DType::fp32>
  void operator()(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, V const* pre, Rows<V const, width(C)> dy,
                  Rows<V, width(C)> dx, float* dweight, Gradients<config, G> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    run(on, x, packed, batch, pre, dy, nullptr, dx, dweight, nullptr, places(to), scratch, at);
  }
  // Where the gradients of expert e go, whatever their type.
  struct Places {
    void const* all;
    host::FfnGradient (*of)(void const* all, std::size_t e);
    int overwrite;
  };
  template <DType G> static Places places(Gradients<config, G> const& to) {
    return {.all = &to, .of = [](void const* all, std::size_t e) {
              auto const& of = *static_cast<Gradients<config, G> const*>(all);
              host::FfnGradient g{.gate = host::gradient_of(of.gate[e], of.overwrite), .up = host::gradient_of(of.up[e], of.overwrite), .down = host::gradient_of(of.down[e], of.overwrite)};
              if constexpr (C.expert.bias) g.gate_bias = of.gate_bias[e], g.up_bias = of.up_bias[e], g.down_bias = of.down_bias[e];
              return g;
            }, .overwrite = to.overwrite};
  }
  // The same where a row's output is weighed by out_weight[R], whose gradient is dout[R]; batch.weight then only counts with Place::input.
  void run(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, V const* pre, Rows<V const, width(C)> dy, float const* out_weight,
           Rows<V, width(C)> dx, float* dweight, float* dout, Places const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    Arguments arguments{"ExpertsBackward", at};
    arguments.tokens<config>(x.rows);
    if (x.rows == 0) {
      if (to.overwrite) clear(on, to, nullptr, at);
      return;
    }
    experts_arguments<config>(arguments, x, packed, batch);
    arguments.require(packed.first_expert == 0 && packed.experts == E, "the whole layer's experts are needed", packed.experts, E);
    arguments.require(dy.rows == x.rows, "dy must have as many rows as x", dy.rows, x.rows);
    arguments.scratch("scratch", scratch, workspace_bytes(on, x.rows));
    std::int64_t const routed = batch.begin[E];
    arguments.require(dx.rows >= routed, "dx must have a row for every routed row", dx.rows, routed);
    arguments.reads("batch.token", batch.token, routed), arguments.reads("batch.weight", batch.weight, routed), arguments.reads("dy", dy, routed ? dy.rows : 0);
    arguments.reads("pre", pre, routed * columns), arguments.writes("dx", dx, routed);
    if (dweight) arguments.writes("dweight", dweight, routed);
    if (to.overwrite) clear(on, to, batch.begin, at);
    if (routed == 0) return;
    Arena arena{scratch};
    Pieces const p = carve(arena, on, x.rows);
    Groups const groups = hit(packed, batch, p);
    host::FfnBackwardRows<V> const rows{.x = x.data, .x_stride = x.stride, .dy = dy.data, .dy_stride = dy.stride, .map = batch.token, .in_weight = weigh_input ? batch.weight : nullptr,
                                        .out_weight = out_weight || weigh_input ? out_weight : batch.weight, .pre = pre, .dx = dx.data, .dx_stride = dx.stride,
                                        .din_weight = weigh_input ? dweight : nullptr, .dout_weight = out_weight || weigh_input ? dout : dweight};
    on_engine(on.path(at), [&](auto const& engine) {
      Ffn::run(*on.pool, engine, shapes, groups, rows, p.ffn, [&](std::int64_t i) { return to.of(to.all, static_cast<std::size_t>(p.hit[i])); });
    });
  }
  // pre[R,columns] of x[T,W], as the forward pass made them; scratch as above.
  void recompute(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, V* pre, std::span<std::byte> scratch, Where at = Where::here()) const {
    Arena arena{scratch};
    Pieces const p = carve(arena, on, x.rows);
    Groups const groups = hit(packed, batch, p);
    host::FfnBackwardRows<V> rows{};
    rows.x = x.data, rows.x_stride = x.stride, rows.map = batch.token, rows.in_weight = weigh_input ? batch.weight : nullptr;
    on_engine(on.path(at), [&]<class Engine>(Engine const& engine) {
      host::recompute(*on.pool, engine, shapes.up, groups, rows, reinterpret_cast<typename Engine::Operand*>(p.ffn.dy_rows), pre);
    });
  }

 private:
  using Groups = host::FfnGroups<typename Layout::ExpertT>;
  struct Pieces {
    typename Ffn::Pieces ffn;
    std::int32_t* hit;                           // [E]
  };
  static Pieces carve(Arena& arena, Host const& on, std::int64_t tokens) {
    Pieces p{};
    p.ffn = Ffn::Pieces::carve(arena, *on.pool, shapes, rows_bound(C, tokens), E);
    p.hit = arena.take<std::int32_t>(E);
    return p;
  }
  // Zeros in biases, which are added to, and in matrices where an expert has no rows (begin null: none has), or no gate.
  static void clear(Host const& on, Places const& to, std::int32_t const* begin, Where at) {
    Isa const path = on.path(at);
    for (int e = 0; e < E; ++e) {
      bool const none = !begin || begin[e] == begin[e + 1];
      host::FfnGradient const g = to.of(to.all, static_cast<std::size_t>(e));
      if (none || !gated(C.expert.act)) host::clear_gradient(*on.pool, path, g.gate, C.ffn, W);
      if (none) host::clear_gradient(*on.pool, path, g.up, C.ffn, W), host::clear_gradient(*on.pool, path, g.down, W, C.ffn);
      host::clear(g.gate_bias, C.ffn), host::clear(g.up_bias, C.ffn), host::clear(g.down_bias, W);
    }
  }
  // The experts that have rows.
  static Groups hit(PackedView<config, Host> packed, Batch<config> const& batch, Pieces const& p) {
    std::int64_t hits = 0;
    for (int e = 0; e < E; ++e)
      if (batch.begin[e] < batch.begin[e + 1]) p.hit[hits++] = e;
    host::Reader<config> const weights{packed};
    auto const& l = weights.layout;
    auto const bias = [&](std::size_t offset, bool has) { return C.expert.bias && has ? weights.floats(offset) : nullptr; };
    return {.count = hits, .hit = p.hit, .begin = batch.begin, .first = 0, .weights = packed.data + l.expert_panels, .stride = l.expert_stride, .down = l.expert_down,
            .gate_bias = bias(l.gate_bias, Layout::has_gate), .up_bias = bias(l.up_bias, true), .down_bias = bias(l.down_bias, true), .ffn = C.ffn, .width = W};
  }
  // The engine of the forward pass.
  template <class Go> static void on_engine(Isa path, Go const& go) {
#if defined(__x86_64__)
    if constexpr (Forward::tiled)
      if (path == Isa::amx) return go(host::TileEngine<host::AmxTiles>{path});
    if constexpr (Forward::dotted)
      if (path == Isa::avx512_bf16) return go(host::DotEngine{path});
#endif
    go(host::VectorEngine{path});
  }
};

}}

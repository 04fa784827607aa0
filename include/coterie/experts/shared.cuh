// Shared experts on the GPU: one wide expert for every token.
#pragma once
#include "../arguments.hpp"
#include "../device/ffn.cuh"

namespace coterie { inline namespace v0 {

template <Config C>
struct Shared<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int H = C.hidden;
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  // The shared experts' activation: their own limit where the config gives one.
  static constexpr ExpertConfig expert = [] {
    ExpertConfig e = C.expert;
    if (C.shared.limit > 0) e.limit = C.shared.limit;
    return e;
  }();
  using Stage = device::FfnStage<V, typename Layout::SharedT, expert>;
  static constexpr bool staged = H % 8 != 0;

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    if constexpr (C.shared.ffn > 0) carve(arena, tokens);
    return arena.used();
  }

  // The shared experts' weights as products read them.
  static device::FfnWeights<Stage> weights(PackedView<config, Cuda> packed) {
    using T = typename Stage::T;
    device::Reader<config> const from{packed.data};
    auto const& l = from.layout;
    return {.gate_up = from.template at<T>(l.shared_gate_up_panels), .down = from.template at<T>(l.shared_down_panels), .group = 0,
            .gate_up_shape = Layout::shared_gate_up, .down_shape = Layout::shared_down};
  }

  // Rows of x, where products do not read them as they are, to a[T,pitch H]; r then reads them there.
  static void stage(Cuda const& on, Rows<V const, C.hidden> x, V* a, device::FfnRows<Stage>& r, Where at) {
    if constexpr (staged) {
      device::stage_rows(on, device::StageRows<V>{.from = x.data, .from_stride = x.stride, .inputs = H, .map = nullptr, .weight = nullptr, .rows = nullptr, .most = x.rows,
                                                  .to = a, .pitch = Layout::shared_gate_up.pitch()}, at);
      r.a = a, r.a_stride = Layout::shared_gate_up.pitch();
    } else {
      (void)on, (void)x, (void)a, (void)r, (void)at;
    }
  }

  // x[T,H] -> shared[T,H], before it is mixed with the routed sum (combine does that).
  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing,
                  Rows<V, C.hidden> shared, std::span<std::byte> scratch, Where at = Where::here()) const {
    if constexpr (C.shared.ffn > 0)
      run(on, in, packed, routing, shared, scratch, at, [&](Arch path, device::Groups const& groups, auto const& w, auto const& r, device::Few few) { device::ffn<Stage>(on, path, groups, w, r, few, at); });
    else (void)on, (void)in, (void)packed, (void)routing, (void)shared, (void)scratch, (void)at;
  }
  // The same bits, and pre[T, pre_columns of gate_up] (device/ffn.cuh): gate and up before the activation, which a backward pass wants.
  void keeping(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Rows<V, C.hidden> shared, V* pre, std::span<std::byte> scratch,
               Where at = Where::here()) const {
    run(on, in, packed, routing, shared, scratch, at, [&](Arch path, device::Groups const& groups, auto const& w, auto const& r, device::Few few) {
      on.needs_device_memory("Shared", "pre", pre, at);
      device::ffn_keeping<Stage>(on, path, groups, w, r, pre, few, at);
      device::multiply(on, path, device::down_product(groups, w, r), few, at);
    });
  }

  std::string explain(Cuda const& on, std::int64_t tokens) const {
    if constexpr (C.shared.ffn == 0) return "none";
    else return device::explain_ffn<Stage>(on, tokens, 1, device::few_of(tokens, C.batch_invariant));
  }

 private:
  // go(path, groups, weights, rows, few) multiplies, where there are tokens.
  template <class Go> void run(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Rows<V, C.hidden> shared, std::span<std::byte> scratch,
                               Where at, Go const& go) const {
    std::int64_t const tokens = in.x.rows;
    Arguments arguments{"Shared", at};
    arguments.tokens<config>(tokens);
    require(shared.rows == tokens, "Shared: the output must have as many rows as x", shared.rows, tokens, at);
    if (tokens == 0) return;
    shared_arguments<config>(arguments, in, packed.data, routing, shared);
    arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
    arguments.resident(on, packed.data);
    Arch const path = on.path(at);
    Arena arena{scratch};
    Pieces const p = carve(arena, tokens);
    device::FfnWeights<Stage> const w = weights(packed);
    device::FfnRows<Stage> r{.a = in.x.data, .a_stride = in.x.stride, .map = nullptr, .h = p.h, .out = shared.data, .out_stride = shared.stride};
    if constexpr (shared_rows(C) > 0)            // each shared expert's columns times its weight, before down (Inkling)
      r.gamma = routing.shared.data, r.gamma_stride = routing.shared.stride, r.gamma_columns = C.shared.ffn / C.shared.count;
    stage(on, in.x, p.a, r, at);
    go(path, device::Groups{.begin = nullptr, .first = 0, .count = 1, .rows = tokens}, w, r, device::few_of(tokens, C.batch_invariant));
  }

  struct Pieces {
    V* a;                                        // [T,pitch H]
    V* h;                                        // [T,pitch shared ffn]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    if constexpr (staged) p.a = arena.take<V>(tokens * Layout::shared_gate_up.pitch());
    p.h = arena.take<V>(tokens * Layout::shared_down.pitch());
    return p;
  }
};

}}

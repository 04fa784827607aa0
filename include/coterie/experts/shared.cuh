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

  // x[T,H] -> shared[T,H], before it is mixed with the routed sum (combine does that).
  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing,
                  Rows<V, C.hidden> shared, std::span<std::byte> scratch, Where at = Where::here()) const {
    if constexpr (C.shared.ffn > 0) {
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
      device::Reader<config> const weights{packed.data};
      auto const& l = weights.layout;
      using T = typename Stage::T;
      device::FfnWeights<Stage> const w{.gate_up = weights.template at<T>(l.shared_gate_up_panels), .down = weights.template at<T>(l.shared_down_panels), .group = 0,
                                        .gate_up_shape = Layout::shared_gate_up, .down_shape = Layout::shared_down};
      device::FfnRows<Stage> r{.a = in.x.data, .a_stride = in.x.stride, .map = nullptr, .h = p.h, .out = shared.data, .out_stride = shared.stride};
      if constexpr (shared_rows(C) > 0)          // each shared expert's columns times its weight, before down (Inkling)
        r.gamma = routing.shared.data, r.gamma_stride = routing.shared.stride, r.gamma_columns = C.shared.ffn / C.shared.count;
      if constexpr (staged) {
        device::stage_rows(on, device::StageRows<V>{.from = in.x.data, .from_stride = in.x.stride, .inputs = H, .map = nullptr, .weight = nullptr, .rows = nullptr, .most = tokens,
                                                    .to = p.a, .pitch = Layout::shared_gate_up.pitch()}, at);
        r.a = p.a, r.a_stride = Layout::shared_gate_up.pitch();
      }
      device::ffn<Stage>(on, path, {.begin = nullptr, .first = 0, .count = 1, .rows = tokens}, w, r, device::few_of(tokens, C.batch_invariant), at);
    } else {
      (void)on, (void)in, (void)packed, (void)routing, (void)shared, (void)scratch, (void)at;
    }
  }

  std::string explain(Cuda const& on, std::int64_t tokens) const {
    if constexpr (C.shared.ffn == 0) return "none";
    else return device::explain_ffn<Stage>(on, tokens, 1, device::few_of(tokens, C.batch_invariant));
  }

 private:
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

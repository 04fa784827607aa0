// The experts on the GPU: two grouped products over the rows of the batch, gathered by its map.
#pragma once
#include "../arguments.hpp"
#include "../device/ffn.cuh"
#include "../device/memory.cuh"
#include "../dispatch/capacity.hpp"

namespace coterie { inline namespace v0 {

template <Config C>
struct Experts<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int E = C.experts, F = C.ffn, W = width(C);
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  using Stage = device::FfnStage<V, typename Layout::ExpertT, C.expert>;
  static constexpr bool weigh_input = C.router.place == Place::input;
  // Rows that no 16-byte copy can read where they are, or that are not what the caller gave.
  static constexpr bool staged = weigh_input || W % 8 != 0;

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  // The experts' weights as products read them.
  static device::FfnWeights<Stage> weights(PackedView<config, Cuda> packed) {
    using T = typename Stage::T;
    device::Reader<config> const from{packed.data};
    auto const& l = from.layout;
    auto const bias = [&](std::size_t offset, bool has) { return C.expert.bias && has ? from.floats(offset) : nullptr; };
    return {.gate_up = from.template at<T>(l.expert_panels), .down = from.template at<T>(l.expert_panels + l.expert_down), .group = static_cast<std::int64_t>(l.expert_stride / sizeof(T)),
            .gate_bias = bias(l.gate_bias, Layout::has_gate), .up_bias = bias(l.up_bias, true), .down_bias = bias(l.down_bias, true), .gate_up_shape = Layout::gate_up, .down_shape = Layout::down};
  }

  // Rows of x, where products do not read them as they are, to a[T,pitch W] or, weighted, [R,pitch W]; r then reads them there.
  static void stage(Cuda const& on, Rows<V const, width(C)> x, Batch<config> const& batch, V* a, device::FfnRows<Stage>& r, Where at) {
    if constexpr (staged) {
      device::StageRows<V> const rows_of{.from = x.data, .from_stride = x.stride, .inputs = W, .map = weigh_input ? batch.token : nullptr, .weight = weigh_input ? batch.weight : nullptr,
                                         .rows = weigh_input ? batch.begin + E : nullptr, .most = weigh_input ? rows_bound(C, x.rows) : x.rows, .to = a, .pitch = Layout::gate_up.pitch()};
      device::stage_rows(on, rows_of, at);
      r.a = a, r.a_stride = Layout::gate_up.pitch();
      if (weigh_input) r.map = nullptr;
    } else {
      (void)on, (void)x, (void)batch, (void)a, (void)r, (void)at;
    }
  }

  // x[T,W] -> out[R,W]: row r is expert(x[batch.token[r]]), unweighted (or of the weighted input: Place::input).
  void operator()(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, Rows<V, width(C)> out,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    run(on, x, packed, batch, out, scratch, at, [&](Arch path, device::Groups const& groups, device::FfnRows<Stage> const& r, device::Few few) {
      device::ffn<Stage>(on, path, groups, weights(packed), r, few, at);
    });
  }
  // The same bits, and pre[R, pre_columns of gate_up] (device/ffn.cuh): gate and up before the activation, which a backward pass wants.
  void keeping(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, Rows<V, width(C)> out, V* pre, std::span<std::byte> scratch,
               Where at = Where::here()) const {
    run(on, x, packed, batch, out, scratch, at, [&](Arch path, device::Groups const& groups, device::FfnRows<Stage> const& r, device::Few few) {
      on.needs_device_memory("Experts", "pre", pre, at);
      device::ffn_keeping<Stage>(on, path, groups, weights(packed), r, pre, few, at);
      device::multiply(on, path, device::down_product(groups, weights(packed), r), few, at);
    });
  }

  std::string explain(Cuda const& on, std::int64_t tokens) const {
    return device::explain_ffn<Stage>(on, rows_bound(C, tokens), E, device::few_of(tokens, C.batch_invariant));
  }

 private:
  // go(path, groups, rows, few) multiplies, where there is anything to multiply.
  template <class Go> void run(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, Rows<V, width(C)> out, std::span<std::byte> scratch,
                               Where at, Go const& go) const {
    std::int64_t const tokens = x.rows, rows = rows_bound(C, tokens);
    Arguments arguments{"Experts", at};
    arguments.tokens<config>(tokens);
    if (tokens == 0) return;
    if constexpr (!is_float(C.weights)) fail(std::string("Experts: the CUDA backend does not compute with ") + name(C.weights) + " expert weights yet", at);
    experts_arguments<config>(arguments, x, packed, batch);
    require(out.rows >= rows, "Experts: out must have a row for every row that the tokens may be routed to", out.rows, rows, at);
    arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
    arguments.reads("batch.token", batch.token, rows);
    if constexpr (weigh_input) arguments.reads("batch.weight", batch.weight, rows);
    arguments.writes("out", out, rows);
    arguments.resident(on, packed.data);
    Arch const path = on.path(at);
    Arena arena{scratch};
    Pieces const p = carve(arena, tokens);
    if (rows == 0 || packed.experts == 0) return;
    device::FfnRows<Stage> r{.a = x.data, .a_stride = x.stride, .map = batch.token, .h = p.h, .out = out.data, .out_stride = out.stride};
    stage(on, x, batch, p.a, r, at);
    go(path, device::Groups{.begin = batch.begin, .first = packed.first_expert, .count = packed.experts, .rows = rows, .all = E}, r, device::few_of(tokens, C.batch_invariant));
  }

  struct Pieces {
    V* a;                                        // [T,pitch W] or, weighted, [R,pitch W]
    V* h;                                        // [R,pitch F]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    std::int64_t const rows = rows_bound(C, tokens);
    Pieces p{};
    if constexpr (staged) p.a = arena.take<V>((weigh_input ? rows : tokens) * Layout::gate_up.pitch());
    p.h = arena.take<V>(rows * Layout::down.pitch());
    return p;
  }
};

}}

// The experts backwards on the GPU: from the gradient of the routed sum to those of x, of the routing weights and of the experts' weights.
#pragma once
#include "../device/ffn_backward.cuh"
#include "cuda.cuh"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct ExpertsBackward;

template <Config C>
struct ExpertsBackward<C, Cuda> {
  static constexpr Config config = C;
  using Forward = Experts<config, Cuda>;
  using Layout = typename Forward::Layout;
  using Stage = typename Forward::Stage;
  using V = element_t<C.dtype>;
  static constexpr int E = C.experts, W = width(C);
  static constexpr bool weigh_input = C.router.place == Place::input;
  static constexpr std::int64_t columns = device::pre_columns(Layout::gate_up);      // of a row of pre-activations
  static_assert(is_float(C.weights), "coterie::ExpertsBackward: quantised expert weights have no gradients (train in fp32, bf16 or fp16)");

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  // x[T,W], pre[R,columns] as Experts::keeping left it, dy[T,W] the gradient of the routed sum -> dx[R,W] of every routed row (the rows of a
  // token are to be summed), dweight[R] of batch.weight; gradients of the experts' weights are added to `to`, or written there
  // (Gradients::overwrite). R: all rows that the tokens may be routed to; how many there are is known to the device. Enqueues only.
  template <DType D>
  void operator()(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, V const* pre, Rows<V const, width(C)> dy,
                  Rows<V, width(C)> dx, float* dweight, Gradients<config, D> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    run(on, x, packed, batch, pre, dy, nullptr, dx, dweight, nullptr, to, scratch, at);
  }
  // The same where a row's output is weighed by out_weight[R], whose gradient is dout[R]; batch.weight then only counts with Place::input.
  template <DType D>
  void run(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, V const* pre, Rows<V const, width(C)> dy, float const* out_weight,
           Rows<V, width(C)> dx, float* dweight, float* dout, Gradients<config, D> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const tokens = x.rows, rows = rows_bound(C, tokens);
    Arguments arguments{"ExpertsBackward", at};
    arguments.tokens<config>(tokens);
    if (tokens == 0 && !to.overwrite) return;
    experts_arguments<config>(arguments, x, packed, batch);
    arguments.require(packed.first_expert == 0 && packed.experts == E, "the whole layer's experts are needed", packed.experts, E);
    arguments.require(dy.rows == tokens, "dy must have as many rows as x", dy.rows, tokens);
    arguments.require(dx.rows >= rows, "dx must have a row for every row that the tokens may be routed to", dx.rows, rows);
    arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
    arguments.reads("batch.token", batch.token, rows), arguments.reads("batch.weight", batch.weight, rows), arguments.reads("dy", dy, tokens);
    arguments.reads("pre", pre, rows * columns), arguments.writes("dx", dx, rows);
    if (dweight) arguments.writes("dweight", dweight, rows);
    if (dout) arguments.writes("dout", dout, rows);
    if (out_weight) arguments.reads("out_weight", out_weight, rows);
    arguments.resident(on, packed.data);
    Arch const path = on.path(at);
    Arena arena{scratch};
    Pieces const p = carve(arena, tokens);
    device::FfnBackwardRows<Stage> const r{.x = x.data, .x_stride = x.stride, .dy = dy.data, .dy_stride = dy.stride, .map = batch.token, .in_weight = weigh_input ? batch.weight : nullptr,
                                           .out_weight = out_weight || weigh_input ? out_weight : batch.weight, .pre = pre, .dx = dx.data, .dx_stride = dx.stride,
                                           .din_weight = weigh_input ? dweight : nullptr, .dout_weight = out_weight || weigh_input ? dout : dweight};
    auto const place = [&](int i) {
      auto const e = static_cast<std::size_t>(i);
      device::FfnGradient g{.gate = device::gradient_of(to.gate[e]), .up = device::gradient_of(to.up[e]), .down = device::gradient_of(to.down[e])};
      if constexpr (C.expert.bias) g.gate_bias = to.gate_bias[e], g.up_bias = to.up_bias[e], g.down_bias = to.down_bias[e];
      return g;
    };
    using Input = std::conditional_t<weigh_input, device::StoreWeighedInput<V>, device::StoreRows<V>>;
    device::ffn_backward<Stage, element_t<D>, Input>(on, path, groups(batch, rows), Forward::weights(packed), r, p, {.tokens = tokens, .overwrite = to.overwrite}, place, at);
  }
  // pre[R,columns] of x[T,W], as the forward pass made them, to the same bits; scratch as above.
  void recompute(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, V* pre, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const tokens = x.rows, rows = rows_bound(C, tokens);
    if (tokens == 0 || rows == 0) return;
    Arena arena{scratch};
    Pieces const p = carve(arena, tokens);
    device::FfnRows<Stage> r{.a = x.data, .a_stride = x.stride, .map = batch.token, .h = p.hidden, .out = nullptr, .out_stride = 0};
    Forward::stage(on, x, batch, p.x, r, at);
    device::ffn_keeping<Stage>(on, on.path(at), groups(batch, rows), Forward::weights(packed), r, pre, device::few_of(tokens, C.batch_invariant), at);
  }

 private:
  using Pieces = device::FfnBackwardPieces<V>;
  static Pieces carve(Arena& arena, std::int64_t tokens) { return Pieces::carve(arena, Layout::gate_up, Layout::down, tokens, rows_bound(C, tokens), E, weigh_input, 0); }
  // Without tokens nobody has counted: empty groups.
  static device::Groups groups(Batch<config> const& batch, std::int64_t rows) { return {.begin = rows ? batch.begin : nullptr, .first = 0, .count = E, .rows = rows, .all = E}; }
};

}}

// Shared experts backwards on the GPU: one group of all tokens, weighed by the mix.
#pragma once
#include "../device/ffn_backward.cuh"
#include "shared.cuh"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct SharedBackward;

template <Config C>
struct SharedBackward<C, Cuda> {
  static constexpr Config config = C;
  using Forward = Shared<config, Cuda>;
  using Layout = typename Forward::Layout;
  using Stage = typename Forward::Stage;
  using V = element_t<C.dtype>;
  static constexpr std::int64_t columns = device::pre_columns(Layout::shared_gate_up);      // of a row of pre-activations

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  // pre[T,columns] as Shared::keeping left it, dy[T,H], mix[T] the weight of a token's shared experts in y (null: 1) -> dx[T,H]; dmix[T] (null:
  // not wanted); drows[T,count] of Routing::shared, with its stride (SharedMix::router_rows; else null). Gradients of the weights are added to
  // `to`, or written there (Gradients::overwrite). Enqueues only.
  template <DType D>
  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, V const* pre, Rows<V const, C.hidden> dy, float const* mix,
                  Rows<V, C.hidden> dx, float* dmix, float* drows, Gradients<config, D> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    static_assert(C.shared.ffn > 0, "coterie::SharedBackward: the config has no shared experts");
    std::int64_t const n = in.x.rows;
    Arguments arguments{"SharedBackward", at};
    arguments.tokens<config>(n);
    arguments.require(dy.rows == n, "dy must have as many rows as x", dy.rows, n), arguments.require(dx.rows == n, "dx must have as many rows as x", dx.rows, n);
    if (n == 0 && !to.overwrite) return;
    arguments.packed(packed.data);
    arguments.reads("x", in.x, n), arguments.reads("dy", dy, n), arguments.reads("pre", pre, n * columns), arguments.writes("dx", dx, n);
    if (mix) arguments.reads("mix", mix, n);
    if (dmix) arguments.writes("dmix", dmix, n);
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    arguments.resident(on, packed.data);
    Arch const path = on.path(at);
    Arena arena{scratch};
    Pieces const p = carve(arena, n);
    device::FfnBackwardRows<Stage> r{.x = in.x.data, .x_stride = in.x.stride, .dy = dy.data, .dy_stride = dy.stride, .map = nullptr, .in_weight = nullptr, .out_weight = mix,
                                     .pre = pre, .dx = dx.data, .dx_stride = dx.stride, .din_weight = nullptr, .dout_weight = dmix};
    if constexpr (shared_rows(C) > 0) r.gamma = routing.shared.data, r.gamma_stride = routing.shared.stride, r.gamma_columns = C.shared.ffn / C.shared.count, r.dgamma = drows;
    (void)routing, (void)drows;
    auto const place = [&](int) { return device::FfnGradient{.gate = device::gradient_of(to.shared.gate), .up = device::gradient_of(to.shared.up), .down = device::gradient_of(to.shared.down)}; };
    device::ffn_backward<Stage, element_t<D>, device::StoreRows<V>>(on, path, {.rows = n}, Forward::weights(packed), r, p, {.tokens = n, .overwrite = to.overwrite}, place, at);
  }
  // pre[T,columns] of in.x, as the forward pass made them, to the same bits; scratch as above.
  void recompute(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, V* pre, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    if (n == 0) return;
    Arena arena{scratch};
    Pieces const p = carve(arena, n);
    device::FfnRows<Stage> r{.a = in.x.data, .a_stride = in.x.stride, .map = nullptr, .h = p.hidden, .out = nullptr, .out_stride = 0};
    Forward::stage(on, in.x, p.x, r, at);
    device::ffn_keeping<Stage>(on, on.path(at), {.rows = n}, Forward::weights(packed), r, pre, device::few_of(n, C.batch_invariant), at);
  }

 private:
  using Pieces = device::FfnBackwardPieces<V>;
  static Pieces carve(Arena& arena, std::int64_t tokens) { return Pieces::carve(arena, Layout::shared_gate_up, Layout::shared_down, tokens, tokens, 1, 0, shared_rows(C) > 0); }
};

}}

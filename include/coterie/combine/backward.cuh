// Combine backwards on the GPU, in three parts around the experts and the router: enter() takes the gradient of y to that of each token's routed
// sum, leave() what the experts found to the routing weights and the mix, gather() everything that x gets to dx.
#pragma once
#include "../training/sums.cuh"
#include "../device/multiply_backward.cuh"
#include "backward.hpp"
#include "backward_kernels.cuh"
#include "cuda.cuh"
#include "gather_kernels.cuh"

namespace coterie { inline namespace v0 {

template <Config C>
struct CombineBackward<C, Cuda> {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  using Kernels = device::CombineBackwardKernels<Combine<config, Cuda>>;
  static constexpr int H = C.hidden, S = slots(C), W = width(C), mixes = Kernels::mixes;
  static constexpr bool latent = C.expert.latent > 0, rms = C.expert.latent_norm == LatentNorm::rms;
  static constexpr bool own_sum = latent || Kernels::scale != 1;         // dsum is more than dy
  static constexpr bool mixed = C.shared.ffn > 0 && (mixes > 0 || C.shared.mix == SharedMix::average);

  // A layer's call, and what its parts hand each other. routed, shared: weights of the two sums in y.
  struct Call {
    Inputs<config> const& in;
    PackedView<config, Cuda> packed;
    Routing<config> const& routing;
    Batch<config> const& batch;
    float const* sums;                           // [T,W] latent sums as the forward pass kept them
    Rows<V const, C.hidden> dy;                  // [T,H]
    Rows<V, width(C)> dsum;                      // [T,W] gradient of the routed sum, without mix_routed unless there is a latent width; only where own_sum
    float *mix_routed, *mix_shared, *dmix_routed, *dmix_shared, *through;            // [T]; through: only with null experts
    float* out_weight;                           // [R] of a row's output in its sum
  };
  // The gradient of the routed sum, wherever it is.
  static Rows<V const, width(C)> sum_of(Call const& c) {
    if constexpr (own_sum) return c.dsum;
    else return c.dy;
  }

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  // -> dsum, the mixes, out_weight, and, latent, dmix_routed and the gradients of the way up and of its norm.
  template <DType D> void enter(Cuda const& on, Call const& c, Gradients<config, D> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = c.in.x.rows;
    Pieces const p = pieces(on, n, scratch, at);
    if (n == 0) return;
    auto const work = work_of(c, p);
    by_token(device::combine_enter_kernel<Kernels>, on, work, n, at);
    if constexpr (latent) {
      Arch const path = callers_path(on, at);
      device::Reader<config> const weights{c.packed.data};
      constexpr std::int64_t pitch = Layout::latent_up.pitch();
      device::multiply_backward(on, path, device::BackwardProduct<V, V, device::StoreRows<float>>{.a = c.dy.data, .a_stride = c.dy.stride, .map = nullptr, .b = weights.template at<V>(weights.layout.latent_up_panels),
                                .b_group = 0, .b_pitch = pitch, .inputs = H, .groups = one(n), .epilogue = {.to = p.du, .stride = W, .columns = W}}, at);
      by_token(device::latent_backward_kernel<Kernels>, on, work, n, at);
      if (to.latent.up.data)
        device::add_gradient(on, path, device::GradientProduct<V, V, device::DenseGradient<element_t<D>>>{.p = c.dy.data, .p_stride = c.dy.stride, .p_map = nullptr, .q = p.z, .q_stride = pitch, .q_map = nullptr,
                             .outputs = H, .inputs = W, .groups = one(n), .to = {.data = to.latent.up.data, .out_stride = to.latent.up.out_stride, .in_stride = to.latent.up.in_stride, .overwrite = to.overwrite}}, at);
      if constexpr (rms)
        if (to.latent.norm) device::token_sums(on, p.du, W, nullptr, n, W, to.latent.norm, to.overwrite, p.pieces, at);
    }
  }

  // din[R], dout[R]: gradients of Batch::weight (Place::input) and of out_weight; dmix_shared: of the shared experts' backward. ->
  // dweight[T,S] of Routing::weight; gradients of the mix, and of what it was before its sigmoid or softmax.
  template <DType D>
  void leave(Cuda const& on, Call const& c, float const* din, float const* dout, float* dweight, Gradients<config, D> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = c.in.x.rows;
    Pieces const p = pieces(on, n, scratch, at);
    if (n == 0) return;
    auto work = work_of(c, p);
    work.din = din, work.dout = dout, work.dweight = dweight;
    by_token(device::combine_leave_kernel<Kernels>, on, work, n, at);
    if constexpr (mixes > 0)
      for (int m = 0; m < mixes; ++m) {
        float const* const d = m == 0 ? c.dmix_routed : c.dmix_shared;
        if (to.shared.mix_bias) device::token_sums(on, d, 1, nullptr, n, 1, to.shared.mix_bias + m, to.overwrite, p.pieces, at);
        if (to.shared.mix) device::token_sums(on, c.in.x.data, c.in.x.stride, d, n, H, to.shared.mix + m * H, to.overwrite, p.pieces, at);
      }
  }

  // rows[R,W]: gradients of x, row by row; router[T,H], fp32, of x by the router, null: none; shared[T,H] by the shared experts. -> dx[T,H], and
  // the gradient of the way into a latent width.
  template <DType D>
  void gather(Cuda const& on, Call const& c, Rows<V const, width(C)> rows, float const* router, Rows<V const, C.hidden> shared, Rows<V, C.hidden> dx, Gradients<config, D> const& to,
              std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = c.in.x.rows;
    Pieces const p = pieces(on, n, scratch, at);
    if (n == 0) return;
    device::Reader<config> const weights{c.packed.data};
    device::GatherWork<config> const work{.slot = c.batch.slot, .rows = rows, .dsum = sum_of(c), .through = c.through, .dmix_routed = c.dmix_routed, .dmix_shared = c.dmix_shared,
                                          .mix_vectors = weights.floats(weights.layout.shared_mix), .router = router, .latent = p.du, .shared = shared, .dx = dx, .dz = p.z};
    auto const wide = [&](auto const& view) { return device::wide_rows(view.data, view.stride); };
    bool const narrow = !wide(dx) || (C.shared.ffn > 0 && !wide(shared)) || (C.expert.identity > 0 && !wide(work.dsum));
    if constexpr (latent) {
      by_block<W>(on, n, !wide(rows), at, [&]<class Kernel>() { return device::gather_kernel<Kernel>; }, work);
      Arch const path = on.path(at);
      constexpr std::int64_t pitch = Layout::latent_up.pitch();
      if (to.latent.down.data)
        device::add_gradient(on, callers_path(on, at), device::GradientProduct<V, V, device::DenseGradient<element_t<D>>>{.p = p.z, .p_stride = pitch, .p_map = nullptr, .q = c.in.x.data, .q_stride = c.in.x.stride, .q_map = nullptr,
                             .outputs = W, .inputs = H, .groups = one(n), .to = {.data = to.latent.down.data, .out_stride = to.latent.down.out_stride, .in_stride = to.latent.down.in_stride, .overwrite = to.overwrite}}, at);
      device::multiply_backward(on, path, device::BackwardProduct<V, V, device::StoreRows<float>>{.a = p.z, .a_stride = pitch, .map = nullptr, .b = weights.template at<V>(weights.layout.latent_down_panels),
                                .b_group = 0, .b_pitch = Layout::latent_down.pitch(), .inputs = W, .groups = one(n), .epilogue = {.to = p.du, .stride = H, .columns = H}}, at);
      by_block<H>(on, n, narrow, at, [&]<class Kernel>() { return device::gather_finish_kernel<Kernel>; }, work);
    } else {
      by_block<H>(on, n, narrow || !wide(rows), at, [&]<class Kernel>() { return device::gather_kernel<Kernel>; }, work);
    }
  }

 private:
  // Where rows of the caller are multiplied: what stands behind them, up to a multiple of 8, may be anything, NaN too.
  static Arch callers_path(Cuda const& on, Where at) { return C.hidden % 8 == 0 ? on.path(at) : Arch::plain; }
  struct Pieces {
    V* z;                                        // [T,pitch W]
    float *du, *factor, *pieces;                 // [T,the wider of W and H], [T], scratch of sums
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    if constexpr (latent) p.z = arena.take<V>(tokens * Layout::latent_up.pitch()), p.du = arena.take<float>(tokens * (W > H ? W : H));
    if constexpr (rms) p.factor = arena.take<float>(tokens);
    if constexpr (rms || mixes > 0) p.pieces = arena.take<float>(device::sum_pieces(tokens, mixes > 0 && (!rms || H > W) ? H : W));
    return p;
  }
  Pieces pieces(Cuda const& on, std::int64_t tokens, std::span<std::byte> scratch, Where at) const {
    Arguments arguments{"CombineBackward", at};
    arguments.tokens<config>(tokens);
    if (tokens == 0) return {};
    arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
    arguments.resident(on, nullptr);
    Arena arena{scratch};
    return carve(arena, tokens);
  }
  static device::Groups one(std::int64_t tokens) { return {.begin = nullptr, .first = 0, .count = 1, .rows = tokens}; }
  static device::CombineBackwardWork<config> work_of(Call const& c, Pieces const& p) {
    device::Reader<config> const weights{c.packed.data};
    auto const& l = weights.layout;
    Rows<V, width(C)> sum = c.dsum;
    if constexpr (!own_sum) sum = {const_cast<V*>(c.dy.data), c.dy.rows, c.dy.stride};                        // only read
    return {.x = c.in.x, .dy = c.dy, .expert = c.routing.expert, .slot = c.batch.slot, .weight = c.routing.weight, .mix_vectors = weights.floats(l.shared_mix), .mix_bias = weights.floats(l.shared_mix_bias),
            .norm = weights.floats(l.latent_norm), .sums = c.sums, .header = c.packed.data + l.header, .dsum = sum, .mix_routed = c.mix_routed, .mix_shared = c.mix_shared,
            .dmix_routed = c.dmix_routed, .dmix_shared = c.dmix_shared, .through = c.through, .out_weight = c.out_weight, .din = nullptr, .dout = nullptr, .dweight = nullptr,
            .z = p.z, .du = p.du, .factor = p.factor};
  }
  template <class Kernel> static void by_token(Kernel* kernel, Cuda const& on, device::CombineBackwardWork<config> const& work, std::int64_t tokens, Where at) {
    launch(kernel, {.grid = dim3(device::grid_of(device::ceil_div(tokens, 4), "CombineBackward: too many tokens", at)), .block = dim3(128), .programmatic = on.device.programmatic}, on.stream, at, work);
  }
  // kernel<Kernel>() by 16 bytes of Columns at a time, or one value.
  template <int Columns, class Of> static void by_block(Cuda const& on, std::int64_t tokens, bool narrow, Where at, Of const& kernel, device::GatherWork<config> const& work) {
    using Stage = Combine<config, Cuda>;
    auto const go = [&]<class Kernel>(Kernel const*) {
      launch(kernel.template operator()<Kernel>(), {.grid = dim3(device::grid_of(tokens, "CombineBackward: too many tokens", at)), .block = dim3(Kernel::threads), .programmatic = on.device.programmatic}, on.stream, at, work);
    };
    constexpr int wide = device::wide_of<V>;
    if constexpr (Columns % wide == 0) {
      if (!narrow) return go(static_cast<device::GatherKernel<Stage, wide> const*>(nullptr));
    }
    go(static_cast<device::GatherKernel<Stage, 1> const*>(nullptr));
  }
};

}}

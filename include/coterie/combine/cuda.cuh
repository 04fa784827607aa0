// Combine on the GPU: the routed sum of each token with its shared experts (kernels.cuh); the way back from a latent width.
#pragma once
#include "../arguments.hpp"
#include "../device/multiply.cuh"
#include "kernels.cuh"

namespace coterie { inline namespace v0 {

template <Config C>
struct Combine<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  static constexpr int W = width(C);

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  std::string explain(Cuda const&, std::int64_t) const {
    return std::string("a block per token, ") + (C.combine == Accumulate::model ? "experts in order, rounded to dtype at every step" : "slots in order, fp32 sums") +
           (W % device::wide_of<V> == 0 ? ", 16 bytes at a time" : ", one value at a time");
  }

  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Batch<config> const& batch,
                  Rows<V const, width(C)> out, Rows<V const, C.hidden> shared, Rows<V, C.hidden> y, std::span<std::byte> scratch, Where at = Where::here()) const {
    keeping(on, in, packed, routing, batch, out, shared, y, nullptr, scratch, at);
  }
  // The same, and sums[T,W]: latent sums before their norm, which a backward pass wants.
  void keeping(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Batch<config> const& batch,
               Rows<V const, width(C)> out, Rows<V const, C.hidden> shared, Rows<V, C.hidden> y, float* sums, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Combine", at};
    arguments.tokens<config>(n);
    require(y.rows == n, "Combine: y must have as many rows as x", y.rows, n, at);
    if (n == 0) return;
    combine_arguments<config>(arguments, in, packed, routing, batch, out, shared, y);
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    arguments.resident(on, combine_reads_weights(C) ? packed.data : nullptr);
    [[maybe_unused]] Arch const path = on.path(at);
    Arena arena{scratch};
    Pieces const p = carve(arena, n);
    device::Reader<config> const weights{packed.data};
    auto const& l = weights.layout;
    device::CombineWork<config> const work{.x = in.x, .expert = routing.expert, .slot = batch.slot, .weight = routing.weight, .out = out, .shared = shared, .y = y,
                                           .mix_vectors = weights.floats(l.shared_mix), .mix_bias = weights.floats(l.shared_mix_bias), .norm = weights.floats(l.latent_norm),
                                           .header = packed.data + l.header, .z = p.z, .mix = p.mix, .sums = sums};
    constexpr int wide = device::wide_of<V>;
    bool const aligned = device::wide_rows(in.x.data, in.x.stride) && device::wide_rows(out.data, out.stride) && device::wide_rows(y.data, y.stride) &&
                         (C.shared.ffn == 0 || device::wide_rows(shared.data, shared.stride));
    if constexpr (W % wide == 0) {
      if (aligned) run<wide>(on, work, n, at);
      else run<1>(on, work, n, at);
    } else {
      run<1>(on, work, n, at);
    }
    if constexpr (C.expert.latent > 0) {
      using Store = device::StoreLatent<Combine>;
      device::multiply(on, path, device::Product<V, V, Store>{.a = p.z, .a_stride = Layout::latent_up.pitch(), .map = nullptr, .b = weights.template at<V>(l.latent_up_panels), .b_group = 0,
                            .b_rows = Layout::latent_up.rows(), .b_pitch = Layout::latent_up.pitch(), .inputs = Layout::latent_up.inputs,
                            .groups = {.begin = nullptr, .first = 0, .count = 1, .rows = n}, .epilogue = {.y = y, .shared = shared, .mix = p.mix}}, device::few_of(n, C.batch_invariant), at);
    }
  }

 private:
  struct Pieces {
    V* z;
    device::Mix* mix;
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    if constexpr (C.expert.latent > 0) {
      p.z = arena.take<V>(tokens * Layout::latent_up.pitch());
      if constexpr (C.shared.ffn > 0) p.mix = arena.take<device::Mix>(tokens);
    }
    return p;
  }
  template <int Wide> static void run(Cuda const& on, device::CombineWork<config> const& work, std::int64_t tokens, Where at) {
    using Kernel = device::CombineKernel<Combine, Wide>;
    launch(device::combine_kernel<Kernel>, {.grid = dim3(device::grid_of(tokens, "Combine: too many tokens", at)), .block = dim3(Kernel::threads),
                                            .shared = sizeof(typename Kernel::Slots), .programmatic = on.device.programmatic}, on.stream, at, work);
  }
};

}}

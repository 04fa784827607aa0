// Latent experts on the GPU: tokens enter the experts' own, narrower width.
#pragma once
#include "../arguments.hpp"
#include "../device/multiply.cuh"

namespace coterie { inline namespace v0 {

template <Config C>
struct Latent<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;

  std::size_t workspace_bytes(Cuda const&, std::int64_t) const { return 0; }

  std::string explain(Cuda const& on, std::int64_t tokens) const {
    return device::explain_product<V, V>(C.hidden % 8 == 0 ? on.path() : Arch::plain, tokens, 1, device::few_of(tokens, C.batch_invariant)) + ", fp32 sums";
  }

  // x[T,H] -> z[T,W]. The way back is part of combine.
  void operator()(Cuda const& on, Rows<V const, C.hidden> x, PackedView<config, Cuda> packed, Rows<V, width(C)> z, std::span<std::byte>, Where at = Where::here()) const {
    if constexpr (C.expert.latent > 0) {
      std::int64_t const tokens = x.rows;
      Arguments arguments{"Latent", at};
      arguments.tokens<config>(tokens);
      require(z.rows == tokens, "Latent: the output must have as many rows as x", z.rows, tokens, at);
      if (tokens == 0) return;
      arguments.packed(packed.data);
      arguments.reads("x", x, tokens), arguments.writes("the output", z, tokens);
      arguments.resident(on, packed.data);
      device::Reader<config> const weights{packed.data};
      using Store = device::StoreRows<V>;
      Arch const path = C.hidden % 8 == 0 && device::wide_rows(x.data, x.stride) ? on.path(at) : Arch::plain;
      device::multiply(on, path, device::Product<V, V, Store>{.a = x.data, .a_stride = x.stride, .map = nullptr, .b = weights.template at<V>(weights.layout.latent_down_panels), .b_group = 0,
                            .b_rows = Layout::latent_down.rows(), .b_pitch = Layout::latent_down.pitch(), .inputs = Layout::latent_down.inputs,
                            .groups = {.begin = nullptr, .first = 0, .count = 1, .rows = tokens}, .epilogue = {.to = z.data, .stride = z.stride, .columns = width(C)}}, device::few_of(tokens, C.batch_invariant), at);
    } else {
      (void)on, (void)x, (void)packed, (void)z, (void)at;
    }
  }
};

}}

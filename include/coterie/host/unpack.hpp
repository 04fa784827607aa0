// The inverse of packing, bit for bit: one expert, or the router, back to checkpoint layout. Scales of quantised weights come back as
// the kernels use them: those of int4 rounded to fp16, NaN for a group of e4m3 that holds a NaN.
#pragma once
#include "packed.hpp"

namespace coterie { inline namespace v0 {

// gate is not written for ungated activations.
template <Config C>
void unpack_expert(Host const& on, PackedView<C, Host> packed, int expert, Matrix<C.weights, C.ffn, width(C), true> gate,
                   Matrix<C.weights, C.ffn, width(C), true> up, Matrix<C.weights, width(C), C.ffn, true> down, Where at = Where::here()) {
  using Layout = host::PackedLayout<C>;
  static_assert(host::computable<C>, "coterie::unpack_expert: the host backend does not hold experts quantised in such groups");
  require(packed.data != nullptr, "unpack: packed weights are not set", 0, 1, at);
  require(packed.first_expert >= 0 && packed.experts >= 0 && packed.first_expert <= C.experts - packed.experts,
          "unpack: the packed shard must lie within the config's experts", packed.first_expert + packed.experts, C.experts, at);
  require(expert >= packed.first_expert, "unpack: expert lies before the first of this view", expert, packed.first_expert, at);
  require(expert < packed.first_expert + packed.experts, "unpack: expert lies behind the last of this view", expert, packed.first_expert + packed.experts - 1, at);
  require(up.data && down.data && (!Layout::has_gate || gate.data), "unpack: a matrix to write is not set", 0, 1, at);
  host::Reader<C> const weights{packed};
  if constexpr (!is_float(C.weights)) {
    auto const bare = [](auto const& m) { return !m.scale || (C.quant.zero_points && !m.zero); };
    if (bare(up) || bare(down) || (Layout::has_gate && bare(gate))) fail("unpack: scales or zero points to write are not set", at);
    auto const unpack = [&](auto const* from, host::PanelShape shape, auto const& first, auto const& second) {
      using T = std::remove_cvref_t<decltype(*from)>;              // one thread: rows of 4-bit codes may share a byte, groups of rows a scale
      for (std::int64_t p = 0; p < shape.panels(); ++p) host::unpack_quantised_panel(from + p * T::panel_bytes(shape), shape, p, codes<C.quant>(first), codes<C.quant>(second));
    };
    unpack(weights.gate_up(expert), Layout::gate_up, Layout::has_gate ? gate : up, up), unpack(weights.down(expert), Layout::down, down, down);
    return;
  } else {
    host::unpack_panels(*on.pool, weights.gate_up(expert), Layout::gate_up, host::strided(Layout::has_gate ? gate : up), host::strided(up));
    host::unpack_panels(*on.pool, weights.down(expert), Layout::down, host::strided(down), host::strided(down));
  }
}

template <Config C>
void unpack_router(Host const& on, PackedView<C, Host> packed, Matrix<C.router.weights, logit_columns(C), C.hidden, true> router, Where at = Where::here()) {
  using Layout = host::PackedLayout<C>;
  static_assert(Layout::has_router, "coterie::unpack_router: this config has no router weights");
  require(packed.data != nullptr && router.data != nullptr, "unpack: packed weights or the matrix to write are not set", 0, 1, at);
  host::Reader<C> const weights{packed};
  host::unpack_panels(*on.pool, weights.template at<typename Layout::RouterT>(weights.layout.router_panels), Layout::router, host::strided(router),
                      host::strided(router));
}

}}

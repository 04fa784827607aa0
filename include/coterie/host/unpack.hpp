// The inverse of packing, bit for bit: one expert, or the router, back to checkpoint layout.
#pragma once
#include "packed.hpp"

namespace coterie { inline namespace v0 {

// gate is not written for ungated activations.
template <Config C>
void unpack_expert(Host const& on, PackedView<C, Host> packed, int expert, Matrix<C.weights, C.ffn, width(C), true> gate,
                   Matrix<C.weights, C.ffn, width(C), true> up, Matrix<C.weights, width(C), C.ffn, true> down, Where at = Where::here()) {
  using Layout = host::PackedLayout<C>;
  static_assert(is_float(C.weights), "coterie::unpack_expert: the host backend holds fp32, bf16 and fp16 experts");
  require(packed.data != nullptr, "unpack: packed weights are not set", 0, 1, at);
  require(packed.first_expert >= 0 && packed.experts >= 0 && packed.first_expert <= C.experts - packed.experts,
          "unpack: the packed shard must lie within the config's experts", packed.first_expert + packed.experts, C.experts, at);
  require(expert >= packed.first_expert, "unpack: expert lies before the first of this view", expert, packed.first_expert, at);
  require(expert < packed.first_expert + packed.experts, "unpack: expert lies behind the last of this view", expert, packed.first_expert + packed.experts - 1, at);
  require(up.data && down.data && (!Layout::has_gate || gate.data), "unpack: a matrix to write is not set", 0, 1, at);
  host::Reader<C> const weights{packed};
  host::unpack_panels(*on.pool, weights.gate_up(expert), Layout::gate_up, host::strided(Layout::has_gate ? gate : up), host::strided(up));
  host::unpack_panels(*on.pool, weights.down(expert), Layout::down, host::strided(down), host::strided(down));
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

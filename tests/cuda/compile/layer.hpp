// A layer as nvcc is to compile it: every kernel that packing and a forward of this config may start.
#pragma once
#include <coterie/cuda.cuh>

namespace ct = coterie;

template <ct::Config C, class Bundle = void> void use_layer(ct::Weights<C> const& raw, void const* x, void* y, std::int64_t tokens, std::span<std::byte> workspace) {
  using V = ct::element_t<C.dtype>;
  ct::Cuda const on;
  auto const packed = ct::pack(on, raw);
  ct::Layer<C, ct::Cuda, Bundle> const layer{packed.view()};
  layer.forward(on, ct::rows<C.hidden>(static_cast<V const*>(x), tokens), ct::rows<C.hidden>(static_cast<V*>(y), tokens), workspace);
}

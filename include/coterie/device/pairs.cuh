// Two neighbouring values at once.
#pragma once
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// From an address that is aligned to both. Four lanes read half a sector of 16-bit values.
template <class V> COTERIE_DEVICE float2 load_two(V const* from) {
  if constexpr (sizeof(V) == 2) return ptx::unpack2<V>(ptx::load4(from));
  else return bit_cast<float2>(ptx::load8(from));
}

}}}}

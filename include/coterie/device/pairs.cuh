// Two neighbouring values at once.
#pragma once
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// As they are stored: what is asked for ahead stays so until it is used.
template <class V> using Two = std::conditional_t<sizeof(V) == 2, std::uint32_t, uint2>;
template <class V> COTERIE_DEVICE float2 to_floats(Two<V> v) {
  if constexpr (sizeof(V) == 2) return ptx::unpack2<V>(v);
  else return bit_cast<float2>(v);
}
// From an address that is aligned to both. Four lanes read half a sector of 16-bit values.
template <class V> COTERIE_DEVICE Two<V> load_stored_two(V const* from) {
  if constexpr (sizeof(V) == 2) return ptx::load4(from);
  else return ptx::load8(from);
}
template <class V> COTERIE_DEVICE float2 load_two(V const* from) { return to_floats<V>(load_stored_two(from)); }

}}}}

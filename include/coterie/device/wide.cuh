// Several neighbouring values at once: one 16-byte access where Wide values of V are 16 bytes, one value where Wide is 1.
#pragma once
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

template <class V> inline constexpr int wide_of = 16 / sizeof(V);

template <class V, int Wide> struct Wides { V v[Wide]; };

// As they are stored: what is to be under way together is loaded so, and becomes floats where it is used.
template <int Wide, class V> COTERIE_DEVICE Wides<V, Wide> load_stored(V const* from) {
  if constexpr (Wide == 1) {
    return {{*from}};
  } else {
    static_assert(Wide == wide_of<V>);
    return bit_cast<Wides<V, Wide>>(ptx::load16(from));
  }
}
template <int Wide, class V> COTERIE_DEVICE void load_wide(V const* from, float (&to)[Wide]) {
  auto const all = load_stored<Wide>(from);
  for (int i = 0; i < Wide; ++i) to[i] = to_float(all.v[i]);
}
template <int Wide, class V> COTERIE_DEVICE void store_wide(V* to, float const (&from)[Wide]) {
  if constexpr (Wide == 1) {
    *to = from_float<V>(from[0]);
  } else {
    static_assert(Wide == wide_of<V>);
    Wides<V, Wide> all;
    for (int i = 0; i < Wide; ++i) all.v[i] = from_float<V>(from[i]);
    ptx::store16(to, bit_cast<uint4>(all));
  }
}
// Whether rows can be read 16 bytes at a time. (Host side.)
template <class V> bool wide_rows(V const* data, std::int64_t stride) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride * sizeof(V) % 16 == 0; }

}}}}

// The sigmoid inside an expert's activation, on the GPU.
#pragma once
#include "../experts/activation_gradient.hpp"
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Where hidden values are rounded to 16 bits: by the special function units, 5 instructions instead of 37. They flush what is not a normal number,
// so 1 / (1 + e^-x) is taken of 2^-24 of its denominator: results go down to the least fp32. The error is up to (20 + max(-x, 0)) 2^-24 of the result,
// and 2^-149, which reference::activation_ulps allows. Otherwise as on the host.
template <class V> struct Sigmoid {
  [[gnu::always_inline]] COTERIE_HD static inline float sigmoid(float x) {
#if defined(__CUDA_ARCH__) || defined(COTERIE_SIMT)
    if constexpr (sizeof(V) == 2) return 0x1p-24f * ptx::reciprocal(0x1p-24f + ptx::exp2(math::fma(x, -1.44269504f, -24.f)));
#endif
    return math::sigmoid(x);
  }
};

}}}}

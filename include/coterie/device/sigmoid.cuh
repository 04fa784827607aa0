// The sigmoid inside an expert's activation, on the GPU.
#pragma once
#include "../experts/activation_gradient.hpp"
#include "ptx.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Where hidden values are rounded to 16 bits: by the special function units, 4 instructions instead of 37. Of the exponential's argument the last
// bit is lost, so the error is up to 2^-21 + |x| 2^-23 of the result, far below 2^-9 or 2^-12 (tests/cuda/product.cpp); below x = -87 it is 0. Otherwise as on the host.
template <class V> struct Sigmoid {
  [[gnu::always_inline]] COTERIE_HD static inline float sigmoid(float x) {
#if defined(__CUDA_ARCH__) || defined(COTERIE_SIMT)
    if constexpr (sizeof(V) == 2) return ptx::reciprocal(1.f + ptx::exp2(-1.44269504f * x));
#endif
    return math::sigmoid(x);
  }
};

}}}}

// 16-bit floating point as the matrix units read it, and the one product they all are.
#pragma once
#include <bit>
#include <cstdint>
#include "../operations.hpp"

namespace simt {

float const* fp16_values();                      // of all 65536 numbers
inline float value_of(std::uint16_t bits, Half type) {
  return type == Half::bf16 ? std::bit_cast<float>(std::uint32_t{bits} << 16) : fp16_values()[bits];
}
// How matrix units of sm_80 and of sm_90 add (Fasi et al., PeerJ Computer Science 7:e330, 2021; Xie et al., arXiv:2511.10909): so many exact products
// at a time and what stands there, each cut to a fixed point `extra` bits below fp32's last bit of the largest; the sum's own rest is cut off.
// (A GPU looks at the factors' exponents: where the largest product's significand is 2 or more, it may keep one bit more than this.)
struct MatrixUnit { int products, extra; };
inline MatrixUnit matrix_unit(int major) { return major < 9 ? MatrixUnit{8, 1} : MatrixUnit{16, 2}; }

// d[rows x n] += a[rows x 16] * b[16 x n]. Sums with infinities, NaN or nothing above 2^-96: in fp32, one after another.
void multiply_add(float* d, float const* a, float const* b, int rows, int n, MatrixUnit);

}

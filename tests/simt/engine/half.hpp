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
// d[rows x n] += a[rows x 16] * b[16 x n], k in ascending order.
void multiply_add(float* d, float const* a, float const* b, int rows, int n);

}

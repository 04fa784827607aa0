#include "half.hpp"
#include <cmath>
#include <vector>

namespace simt {
namespace {

// From the format's definition, and not from the library's conversion: a mistake shared by both would go unseen.
float fp16_value(std::uint16_t bits) {
  int const exponent = bits >> 10 & 31, mantissa = bits & 1023;
  float const size = exponent == 31 ? (mantissa ? NAN : INFINITY)
                     : exponent     ? std::ldexp(1024.f + static_cast<float>(mantissa), exponent - 25)
                                    : std::ldexp(static_cast<float>(mantissa), -24);
  return bits & 0x8000 ? -size : size;
}

}

float const* fp16_values() {
  static std::vector<float> const table = [] {
    std::vector<float> t(65536);
    for (unsigned i = 0; i < 65536; ++i) t[i] = fp16_value(static_cast<std::uint16_t>(i));
    return t;
  }();
  return table.data();
}

[[gnu::target_clones("avx512f", "avx2", "default")]] void multiply_add(float* d, float const* a, float const* b, int rows, int n) {
  for (int i = 0; i < rows; ++i)
    for (int k = 0; k < 16; ++k) {
      float const factor = a[i * 16 + k];
      for (int j = 0; j < n; ++j) d[i * n + j] += factor * b[k * n + j];
    }
}

}

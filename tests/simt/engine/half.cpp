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

[[gnu::target_clones("avx512f", "avx2", "default")]] void multiply_add(float* d, float const* a, float const* b, int rows, int n, MatrixUnit unit) {
  constexpr int most = 256;
  float largest[most], scale[most];
  std::int32_t sum[most];
  for (int i = 0; i < rows; ++i, a += 16, d += n)
    for (int first = 0; first < 16; first += unit.products) {
      int const last = first + unit.products;
      for (int j = 0; j < n; ++j) largest[j] = std::fabs(d[j]);
      for (int k = first; k < last; ++k)
        for (int j = 0; j < n; ++j) {
          float const p = std::fabs(a[k] * b[k * n + j]);
          largest[j] = p > largest[j] || p != p ? p : largest[j];                    // a NaN that is there stays
        }
      for (int j = 0; j < n; ++j) {                                                 // 2^(23 + extra) over the largest's power of two
        bool const fits = largest[j] > 0x1p-96f && largest[j] < INFINITY;
        std::uint32_t const exponent = std::bit_cast<std::uint32_t>(largest[j]) >> 23;
        scale[j] = fits ? std::bit_cast<float>((277u + static_cast<std::uint32_t>(unit.extra) - exponent) << 23) : 0.f;
        sum[j] = static_cast<std::int32_t>(fits ? d[j] * scale[j] : 0.f);
      }
      for (int k = first; k < last; ++k)
        for (int j = 0; j < n; ++j) sum[j] += static_cast<std::int32_t>(scale[j] > 0 ? a[k] * b[k * n + j] * scale[j] : 0.f);
      for (int j = 0; j < n; ++j) {
        double const whole = sum[j];
        auto const cut = static_cast<float>(std::bit_cast<double>(std::bit_cast<std::uint64_t>(whole) & ~std::uint64_t{0x1fffffff}));
        d[j] = scale[j] > 0 ? cut / scale[j] : d[j];
      }
      for (int j = 0; j < n; ++j)
        for (int k = first; k < last && !(scale[j] > 0); ++k) d[j] += a[k] * b[k * n + j];
    }
}

}

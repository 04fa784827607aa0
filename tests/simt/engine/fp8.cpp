// Conversions of 8-bit floating point, from the definition of the formats: e4m3 has one NaN and no infinities, e5m2 is like IEEE's.
#include <algorithm>
#include <cmath>
#include "engine.hpp"

namespace simt {
namespace {

struct Format { int mantissa, bias; float largest; };
Format format_of(Fp8 type) { return type == Fp8::e4m3 ? Format{3, 7, 448.f} : Format{2, 15, 57344.f}; }

}

std::uint8_t to_fp8(float v, Fp8 type) {
  Inside const inside;
  require_sm(89, "a conversion to fp8");
  Format const f = format_of(type);
  if (std::isnan(v)) return 0x7f;
  float const size = std::min(std::fabs(v), f.largest);
  int const exponent = std::max(size > 0 ? std::ilogb(size) : -1000, 1 - f.bias);              // below the smallest normal number steps are as above it
  int const steps = static_cast<int>(std::nearbyint(std::ldexp(size, f.mantissa - exponent)));
  return static_cast<std::uint8_t>((std::signbit(v) ? 128 : 0) | (((exponent + f.bias - 1) << f.mantissa) + steps));
}

float of_fp8(std::uint8_t bits, Fp8 type) {
  Inside const inside;
  require_sm(89, "a conversion from fp8");
  Format const f = format_of(type);
  int const all = bits & 127, ones = 1 << f.mantissa, exponent = std::max(all >> f.mantissa, 1);
  float size = std::ldexp(static_cast<float>(all - ((exponent - 1) << f.mantissa)), exponent - f.bias - f.mantissa);
  if (type == Fp8::e4m3 && all == 127) size = NAN;
  if (type == Fp8::e5m2 && all >= 31 * ones) size = all == 31 * ones ? INFINITY : NAN;
  return bits & 128 ? -size : size;
}

}

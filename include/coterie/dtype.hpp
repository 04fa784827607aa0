// Element types, bit-identical to CUDA's, and their conversions (round to nearest even, NaN stays NaN, by bits).
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include "config.hpp"

namespace coterie { inline namespace v0 {

// std::bit_cast, which device code may not call.
template <class To, class From> COTERIE_HD constexpr To bit_cast(From v) { return __builtin_bit_cast(To, v); }

struct bf16 { std::uint16_t bits; };
struct fp16 { std::uint16_t bits; };
struct fp8_e4m3 { std::uint8_t bits; };
struct fp8_e5m2 { std::uint8_t bits; };
struct packed4 { std::uint8_t pair; };             // two int4 or two e2m1, low nibble first
static_assert(std::is_trivially_copyable_v<bf16> && sizeof(bf16) == 2 && sizeof(packed4) == 1);

template <DType D> struct element;
template <> struct element<DType::fp32> { using type = float; };
template <> struct element<DType::bf16> { using type = bf16; };
template <> struct element<DType::fp16> { using type = fp16; };
template <> struct element<DType::fp8_e4m3> { using type = fp8_e4m3; };
template <> struct element<DType::fp8_e5m2> { using type = fp8_e5m2; };
template <> struct element<DType::int8> { using type = std::int8_t; };
template <> struct element<DType::int4> { using type = packed4; };
template <> struct element<DType::mxfp4> { using type = packed4; };
template <DType D> using element_t = typename element<D>::type;

COTERIE_HD constexpr int bits(DType d) {
  switch (d) {
    case DType::fp32: return 32;
    case DType::bf16: case DType::fp16: return 16;
    case DType::int4: case DType::mxfp4: return 4;
    default: return 8;
  }
}
constexpr char const* name(DType d) {
  switch (d) {
    case DType::fp32: return "fp32";
    case DType::bf16: return "bf16";
    case DType::fp16: return "fp16";
    case DType::fp8_e4m3: return "fp8_e4m3";
    case DType::fp8_e5m2: return "fp8_e5m2";
    case DType::int8: return "int8";
    case DType::int4: return "int4";
    case DType::mxfp4: return "mxfp4";
  }
  return "?";
}
// Types that stand for one number each, without scales.
COTERIE_HD constexpr bool is_float(DType d) { return d == DType::fp32 || d == DType::bf16 || d == DType::fp16; }

COTERIE_HD constexpr float to_float(float v) { return v; }
COTERIE_HD constexpr float to_float(bf16 v) { return bit_cast<float>(std::uint32_t{v.bits} << 16); }
COTERIE_HD constexpr float to_float(fp16 v) {
  std::uint32_t const sign = std::uint32_t{v.bits & 0x8000u} << 16, exponent = (v.bits >> 10) & 31u, mantissa = v.bits & 0x3ffu;
  if (exponent == 31) return bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  if (exponent) return bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
  float const tiny = static_cast<float>(mantissa) * 0x1p-24f;          // exact
  return bit_cast<float>(sign | bit_cast<std::uint32_t>(tiny));
}

// OCP 8-bit floats: e4m3 has no infinity and one NaN per sign; e5m2 is the upper half of an fp16.
COTERIE_HD constexpr float to_float(fp8_e5m2 v) { return to_float(fp16{static_cast<std::uint16_t>(v.bits << 8)}); }
COTERIE_HD constexpr float to_float(fp8_e4m3 v) {
  std::uint32_t const sign = std::uint32_t{v.bits & 0x80u} << 24, magnitude = v.bits & 0x7fu;
  if (magnitude == 0x7f) return bit_cast<float>(sign | 0x7fc00000u);
  if (magnitude >= 8) return bit_cast<float>(sign | ((magnitude << 20) + (120u << 23)));
  float const tiny = static_cast<float>(magnitude) * 0x1p-9f;          // exact
  return bit_cast<float>(sign | bit_cast<std::uint32_t>(tiny));
}
// OCP e2m1, the values of mxfp4: 0, 0.5, 1, 1.5, 2, 3, 4, 6, and their negatives from code 8 on.
COTERIE_HD constexpr float e2m1_to_float(unsigned code) {
  unsigned const exponent = code >> 1 & 3, mantissa = code & 1;
  float const magnitude = exponent ? static_cast<float>((2 + mantissa) << exponent) * 0.25f : static_cast<float>(mantissa) * 0.5f;
  return code & 8 ? -magnitude : magnitude;
}

COTERIE_HD constexpr bool is_nan(float v) { return (bit_cast<std::uint32_t>(v) & 0x7fffffffu) > 0x7f800000u; }

template <class T> struct round_to;                // round_to<bf16>::from(float)
template <> struct round_to<float> {
  COTERIE_HD static constexpr float from(float v) { return v; }
};
template <> struct round_to<bf16> {
  COTERIE_HD static constexpr bf16 from(float v) {
    std::uint32_t const b = bit_cast<std::uint32_t>(v);
    std::uint32_t const rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16, quiet = (b >> 16) | 0x40u;
    return {static_cast<std::uint16_t>(is_nan(v) ? quiet : rounded)};
  }
};
template <> struct round_to<fp16> {
  COTERIE_HD static constexpr fp16 from(float v) {
    std::uint32_t const b = bit_cast<std::uint32_t>(v), sign = (b >> 16) & 0x8000u, a = b & 0x7fffffffu;
    std::uint32_t half = 0;
    if (a > 0x7f800000u) half = 0x7e00u | ((a >> 13) & 0x3ffu);                    // NaN
    else if (a >= 0x477ff000u) half = 0x7c00u;                                     // 65520 and above round to infinity
    else if (a >= 0x38800000u) half = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
    else if (a > 0x33000000u) {                                                    // subnormal: units of 2^-24
      std::uint32_t const shift = 126u - (a >> 23), m = (a & 0x7fffffu) | 0x800000u;
      std::uint32_t const low = m & ((1u << shift) - 1u), tie = 1u << (shift - 1);
      half = m >> shift;
      half += low > tie || (low == tie && (half & 1u));
    }
    return {static_cast<std::uint16_t>(sign | half)};
  }
};
// Beyond their range e5m2 rounds to infinity, as fp16 does; e4m3, which has none, saturates at 448.
namespace detail {
// Round to nearest even onto a grid of `mantissa` bits, smallest normal exponent `least`: the code without its sign, not yet limited.
COTERIE_HD constexpr std::uint32_t round_magnitude(std::uint32_t a, int mantissa, int least) {
  int const exponent = static_cast<int>(a >> 23) - 127, at = exponent < least ? least : exponent, shift = 23 - mantissa + (at - exponent);
  if (a >> 23 == 0 || shift > 25) return 0;                            // below half of the smallest subnormal
  std::uint32_t const m = (a & 0x7fffffu) | 0x800000u, low = m & ((1u << shift) - 1u), tie = 1u << (shift - 1);
  std::uint32_t const units = (m >> shift) + (low > tie || (low == tie && (m >> shift & 1u)));
  return (static_cast<std::uint32_t>(at - least) << mantissa) + units;
}
}
template <> struct round_to<fp8_e4m3> {
  COTERIE_HD static constexpr fp8_e4m3 from(float v) {
    std::uint32_t const b = bit_cast<std::uint32_t>(v), sign = b >> 24 & 0x80u, code = is_nan(v) ? 0x7fu : detail::round_magnitude(b & 0x7fffffffu, 3, -6);
    return {static_cast<std::uint8_t>(sign | (is_nan(v) ? 0x7fu : code > 0x7eu ? 0x7eu : code))};
  }
};
template <> struct round_to<fp8_e5m2> {
  COTERIE_HD static constexpr fp8_e5m2 from(float v) {
    std::uint32_t const b = bit_cast<std::uint32_t>(v), sign = b >> 24 & 0x80u, code = is_nan(v) ? 0x7eu : detail::round_magnitude(b & 0x7fffffffu, 2, -14);
    return {static_cast<std::uint8_t>(sign | (is_nan(v) ? 0x7eu : code > 0x7cu ? 0x7cu : code))};
  }
};
template <class T> COTERIE_HD constexpr T from_float(float v) { return round_to<T>::from(v); }
// The nearest value that T can hold.
template <class T> COTERIE_HD constexpr float rounded(float v) { return to_float(from_float<T>(v)); }

}}

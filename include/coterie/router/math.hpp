// Elementary functions from IEEE operations and explicit fused multiply-adds: the same bits on host and device.
// The polynomials are minimax fits made for this file; tests/router/math.cpp states and checks their errors. They are
// written with fma throughout, so that no compiler finds a product and a sum to contract its own way.
#pragma once
#include "../dtype.hpp"

namespace coterie { inline namespace v0 { namespace math {

COTERIE_HD constexpr std::uint32_t bits_of(float v) { return bit_cast<std::uint32_t>(v); }
COTERIE_HD constexpr float of_bits(std::uint32_t b) { return bit_cast<float>(b); }
inline constexpr float infinity = bit_cast<float>(0x7f800000u), quiet_nan = bit_cast<float>(0x7fc00000u);

[[gnu::always_inline]] COTERIE_HD inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
// a * b where a sum may follow: nothing is left for a compiler to contract. (A zero comes out positive.)
[[gnu::always_inline]] COTERIE_HD inline float times(float a, float b) { return fma(a, b, 0.f); }
[[gnu::always_inline]] COTERIE_HD inline float absolute(float x) { return of_bits(bits_of(x) & 0x7fffffffu); }
[[gnu::always_inline]] COTERIE_HD inline float with_sign(float magnitude, float sign) {
  return of_bits((bits_of(magnitude) & 0x7fffffffu) | (bits_of(sign) & 0x80000000u));
}

// e^x, at most 2 ulp; overflows to infinity above 88.72, underflows gradually to 0 below -103.97.
[[gnu::always_inline]] COTERIE_HD inline float exp(float x) {
  float const c = x > 89.f ? 89.f : x < -104.f ? -104.f : x;
  constexpr float round_bits = 12582912.f;                               // 1.5 * 2^23: the sum's low bits are the integer
  std::int32_t const n = static_cast<std::int32_t>(bits_of(fma(c, 1.44269504f, round_bits)) - bits_of(round_bits));
  float const f = static_cast<float>(n);
  float r = fma(f, -0.693145752f, c);
  r = fma(f, -1.42860677e-6f, r);                                        // ln 2 in two parts
  float p = 0.00139517173f;
  p = fma(p, r, 0.00836959841f);
  p = fma(p, r, 0.0416661873f);
  p = fma(p, r, 0.166665129f);
  p = fma(p, r, 0.50000001f);
  p = fma(fma(p, r, 1.f), r, 1.f);
  std::int32_t const half = n >> 1, rest = n - half;                     // two factors: 2^n alone may not be a normal number
  float const y = times(p * of_bits(static_cast<std::uint32_t>(half + 127) << 23), of_bits(static_cast<std::uint32_t>(rest + 127) << 23));
  std::uint32_t const nan = 0u - static_cast<std::uint32_t>(is_nan(x));          // by bits: g++ 12 vectorises no choice between floats
  return of_bits((bits_of(x) & nan) | (bits_of(y) & ~nan));
}

// 2 atanh(s) for 0 <= s <= 1/3.
[[gnu::always_inline]] COTERIE_HD inline float twice_atanh(float s) {
  float const z = s * s;
  float p = 0.243016768f;
  p = fma(p, z, 0.214274763f);
  p = fma(p, z, 0.286168999f);
  p = fma(p, z, 0.399988773f);
  p = fma(p, z, 0.666666756f);
  return fma(s * z, p, s + s);
}
// log(1 + x) for 0 <= x <= 1.
[[gnu::always_inline]] COTERIE_HD inline float log1p_unit(float x) { return twice_atanh(x / (2.f + x)); }
// log(x) for positive normal x.
[[gnu::always_inline]] COTERIE_HD inline float log(float x) {
  std::uint32_t const b = bits_of(x) - 0x3f3504f3u;                      // mantissa in [sqrt 1/2, sqrt 2)
  float const n = static_cast<float>(static_cast<std::int32_t>(b) >> 23), m = of_bits((b & 0x7fffffu) + 0x3f3504f3u);
  float const s = (m - 1.f) / (m + 1.f);
  return fma(n, 0.693145752f, fma(n, 1.42860677e-6f, with_sign(twice_atanh(absolute(s)), s)));
}

[[gnu::always_inline]] COTERIE_HD inline float sigmoid(float x) {
  float const e = exp(-absolute(x));
  return (bits_of(x) >> 31 ? e : 1.f) / (1.f + e);
}
[[gnu::always_inline]] COTERIE_HD inline float softplus(float x) {
  float const tail = log1p_unit(exp(-absolute(x)));
  return is_nan(x) ? x : (x > 0.f ? x : 0.f) + tail;
}
[[gnu::always_inline]] COTERIE_HD inline float tanh(float x) {
  float const a = absolute(x), z = x * x, e = exp(-2.f * a);
  float p = -0.00571703656f;
  p = fma(p, z, 0.020650579f);
  p = fma(p, z, -0.0537434953f);
  p = fma(p, z, 0.133314912f);
  p = fma(p, z, -0.333332839f);
  float const small = fma(x * z, p, x), large = with_sign((1.f - e) / (1.f + e), x);
  return is_nan(x) ? x : a < 0.625f ? small : large;
}
[[gnu::always_inline]] COTERIE_HD inline float erf(float x) {
  float const a = absolute(x), z = x * x, t = a < 4.f ? a : 4.f;
  float p = 7.8891194e-5f;
  p = fma(p, z, -0.000802084124f);
  p = fma(p, z, 0.00518953533f);
  p = fma(p, z, -0.0268544446f);
  p = fma(p, z, 0.112836002f);
  p = fma(p, z, -0.376126271f);
  p = fma(p, z, 1.12837917f);
  float q = -2.168685e-5f;                                               // log erfc on [1, 4]
  q = fma(q, t, 0.000441336377f);
  q = fma(q, t, -0.00420456187f);
  q = fma(q, t, 0.0252082567f);
  q = fma(q, t, -0.108418577f);
  q = fma(q, t, -0.633219893f);
  q = fma(q, t, -1.12957842f);
  q = fma(q, t, 0.000188040231f);
  return is_nan(x) ? x : a < 1.f ? times(x, p) : with_sign(1.f - exp(q), x);
}
// cos(2 pi u) for 0 <= u < 1.
[[gnu::always_inline]] COTERIE_HD inline float cos_turn(float u) {
  float const d = absolute(u - 0.5f);                                    // cos(2 pi u) = -cos(2 pi d), d in [0, 1/2]
  float const w = d < 0.25f ? d + d : 1.f - (d + d);                     // cos(pi w), w in [0, 1/2], sign by the half
  bool const inner = w < 0.25f;
  float const v = inner ? w : 0.5f - w, z = v * v;
  float c = 0.231323364f;
  c = fma(c, z, -1.33504387f);
  c = fma(c, z, 4.05870724f);
  c = fma(c, z, -4.93480216f);
  c = fma(c, z, 1.f);
  float s = 0.0810000348f;
  s = fma(s, z, -0.59920191f);
  s = fma(s, z, 2.55016264f);
  s = fma(s, z, -5.16771277f);
  s = fma(s, z, 3.14159265f);
  float const y = inner ? c : s * v;
  return d < 0.25f ? -y : y;
}

}}}

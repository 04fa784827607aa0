// What quantised weights stand for, in double; written from the formats' documents, apart from what the backends use.
#pragma once
#include <vector>
#include "../view.hpp"
#include "real.hpp"

namespace coterie { inline namespace v0 { namespace reference {

// What a code of a quantised matrix stands for, written from the formats' documents (OCP OFP8, OCP MX): value = code * scale.
inline double small_float(unsigned code, int mantissa, int bias) {       // without infinities and NaN; the sign is the caller's
  unsigned const m = code & ((1u << mantissa) - 1), e = code >> mantissa;
  return e ? std::ldexp(1 + std::ldexp(double(m), -mantissa), static_cast<int>(e) - bias) : std::ldexp(double(m), 1 - bias - mantissa);
}
inline double coded(DType d, unsigned code, int zero) {                  // zero: -1 for two's complement
  bool const negative = code >> (bits(d) - 1);
  unsigned const magnitude = code & ((1u << (bits(d) - 1)) - 1);
  if (d == DType::int8 || d == DType::int4) return zero >= 0 ? double(code) - zero : double(magnitude) - (negative ? std::ldexp(1., bits(d) - 1) : 0);
  double v = 0;
  if (d == DType::mxfp4) v = small_float(magnitude, 1, 1);
  if (d == DType::fp8_e4m3) v = magnitude == 0x7f ? std::nan("") : small_float(magnitude, 3, 7);
  if (d == DType::fp8_e5m2) v = magnitude > 0x7c ? std::nan("") : magnitude == 0x7c ? infinity : small_float(magnitude, 2, 15);
  return negative ? -v : v;
}
// Codes less their zero points, [Out,In], and the scale of each.
struct Coded { std::vector<double> code, scale; };
template <QuantConfig Q, DType D, int Out, int In> Coded coded(Matrix<D, Out, In> const& m) {
  Coded to;
  if (!m.data) return to;
  std::int64_t const size = D == DType::mxfp4 ? 32 : Q.group == 0 ? In : Q.group, per_row = (In + size - 1) / size;
  for (std::int64_t o = 0; o < Out; ++o)
    for (std::int64_t i = 0; i < In; ++i) {
      std::int64_t const at = o * m.out_stride + i * m.in_stride, g = o / Q.group_rows * per_row + i / size;
      auto const* const bytes = reinterpret_cast<unsigned char const*>(m.data);
      unsigned const code = bits(D) == 8 ? bytes[at] : at % 2 ? bytes[at / 2] >> 4 : bytes[at / 2] & 15u;
      to.code.push_back(coded(D, code, Q.zero_points ? m.zero[g] : -1));
      to.scale.push_back(double{D == DType::int4 ? static_cast<float>(nearest(DType::fp16, m.scale[g])) : m.scale[g]});
    }
  return to;
}
inline std::vector<double> products(Coded const& c) {
  std::vector<double> to;
  for (std::size_t i = 0; i < c.code.size(); ++i) to.push_back(c.code[i] * c.scale[i]);
  return to;
}
template <QuantConfig Q, DType D, int Out, int In> std::vector<double> dequantised(Matrix<D, Out, In> const& m) { return products(coded<Q>(m)); }

}}}

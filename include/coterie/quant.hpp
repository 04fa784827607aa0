// Quantised matrices: what their codes stand for, and how numbers become codes (round to nearest).
//
//   int8, int4                 w = code * scale                 two's complement
//   the same, zero_points      w = (code - zero) * scale        code and zero unsigned (AWQ, GPTQ)
//   fp8_e4m3, fp8_e5m2         w = code * scale                 OCP 8-bit floats (DeepSeek: blocks of 128 x 128)
//   mxfp4                      w = code * scale                 OCP e2m1; scale a power of two (e8m0), per 32 inputs
//
// One scale serves quant.group inputs (0: the row) of quant.group_rows outputs; the last group of a row may be shorter.
#pragma once
#include "view.hpp"

namespace coterie { inline namespace v0 {

// Inputs that share a scale, in a row of so many.
constexpr std::int64_t group_inputs(DType d, QuantConfig q, std::int64_t inputs) {
  std::int64_t const group = d == DType::mxfp4 ? 32 : q.group;
  return group == 0 || group > inputs ? inputs : group;
}

// What a code stands for, before its scale and without a zero point.
constexpr float code_value(DType d, bool zero_points, unsigned code) {
  switch (d) {
    case DType::int8: return static_cast<float>(zero_points ? static_cast<int>(code) : static_cast<int>(static_cast<std::int8_t>(code)));
    case DType::int4: return static_cast<float>(zero_points || code < 8 ? static_cast<int>(code) : static_cast<int>(code) - 16);
    case DType::fp8_e4m3: return to_float(fp8_e4m3{static_cast<std::uint8_t>(code)});
    case DType::fp8_e5m2: return to_float(fp8_e5m2{static_cast<std::uint8_t>(code)});
    case DType::mxfp4: return e2m1_to_float(code);
    default: return 0;
  }
}

// A scale as packed weights hold it, and back: e8m0 for mxfp4, fp16 for int4, fp32 for the others.
struct e8m0 { std::uint8_t bits; };
COTERIE_HD constexpr float to_float(e8m0 v) { return v.bits == 255 ? bit_cast<float>(0x7fc00000u) : v.bits == 0 ? 0x1p-127f : bit_cast<float>(std::uint32_t{v.bits} << 23); }
template <> struct round_to<e8m0> {                // of a power of two
  COTERIE_HD static constexpr e8m0 from(float v) { return {static_cast<std::uint8_t>(is_nan(v) ? 255u : bit_cast<std::uint32_t>(v) >> 23)}; }
};
template <DType D> using scale_t = std::conditional_t<D == DType::mxfp4, e8m0, std::conditional_t<D == DType::int4, fp16, float>>;

// Whether packed weights hold this scale: exactly, but for int4, whose scales are rounded to fp16 within 2^-11; e4m3's below 2^119. NaN is one: it makes
// every weight of its group NaN.
template <DType D> constexpr bool holds_scale(float s) {
  if (is_nan(s)) return true;
  float const held = rounded<scale_t<D>>(s), error = held < s ? s - held : held - s, size = s < 0 ? -s : s;
  if (D == DType::fp8_e4m3) return size < 0x1p119f;                    // kernels decode by way of 2^8 times the scale
  return D == DType::int4 ? size <= 65504 && error <= size * 0x1p-11f : held == s && size <= 0x1.fffffep127f;
}

struct GroupScale { float scale; int zero; };

// The scale of a group whose numbers lie within [low, high]; a group that holds a NaN or an infinity gets a NaN.
template <DType D> constexpr GroupScale group_scale(float low, float high, bool zero_points) {
  float const nan = bit_cast<float>(0x7fc00000u);
  std::uint32_t const worst = (bit_cast<std::uint32_t>(low) & 0x7fffffffu) > (bit_cast<std::uint32_t>(high) & 0x7fffffffu) ? bit_cast<std::uint32_t>(low) : bit_cast<std::uint32_t>(high);
  if ((worst & 0x7fffffffu) >= 0x7f800000u) return {nan, 0};
  float const most = bit_cast<float>(worst & 0x7fffffffu);
  if constexpr (D == DType::mxfp4) {               // OCP MX: the largest number's power of two, less e2m1's own largest (4)
    int const exponent = static_cast<int>(bit_cast<std::uint32_t>(most) >> 23) - 2;
    return {bit_cast<float>(static_cast<std::uint32_t>(exponent < 1 ? 1 : exponent) << 23), 0};
  } else {
    float const steps = D == DType::int8 ? (zero_points ? 255.f : 127.f) : D == DType::int4 ? (zero_points ? 15.f : 7.f) : D == DType::fp8_e4m3 ? 448.f : 57344.f;
    float const down = low < 0 ? low : 0.f, up = high > 0 ? high : 0.f;                       // zero is always a code of its own
    float s = (zero_points ? up / steps - down / steps : most / steps);
    if constexpr (D == DType::int4) {
      s = rounded<fp16>(s);
      if (s > 65504.f) s = 65504.f;
    }
    constexpr float least = D == DType::int4 ? 0x1p-14f : 0x1p-126f;                          // no subnormals
    if (s < least) s = most > 0 ? least : 0.f;
    if (!zero_points || s == 0) return {s, 0};
    float const z = __builtin_rintf(-down / s);
    return {s, static_cast<int>(z > steps ? steps : z)};
  }
}
// The nearest code; numbers beyond the last code become that.
template <DType D> constexpr unsigned code_of(float v, GroupScale g, bool zero_points) {
  if (g.scale == 0 || is_nan(g.scale)) return zero_points ? static_cast<unsigned>(g.zero) : 0u;
  float const q = v / g.scale;
  if constexpr (D == DType::fp8_e4m3 || D == DType::fp8_e5m2) {
    return from_float<element_t<D>>(q).bits;
  } else if constexpr (D == DType::mxfp4) {
    float const a = q < 0 ? -q : q;
    unsigned const code = a <= 0.25f ? 0 : a < 0.75f ? 1 : a <= 1.25f ? 2 : a < 1.75f ? 3 : a <= 2.5f ? 4 : a < 3.5f ? 5 : a <= 5.f ? 6 : 7;     // ties to even
    return code | (bit_cast<std::uint32_t>(q) >> 28 & 8u);
  } else {
    int const most = (D == DType::int8 ? 127 : 7) + (zero_points ? (D == DType::int8 ? 128 : 8) : 0), least = zero_points ? 0 : -most;
    float const r = __builtin_rintf(q);
    int const i = (r > 1024 ? 1024 : r < -1024 ? -1024 : static_cast<int>(r)) + (zero_points ? g.zero : 0);
    return static_cast<unsigned>(i > most ? most : i < least ? least : i) & (D == DType::int8 ? 0xffu : 0xfu);
  }
}

// A quantised matrix of a checkpoint without its shape in the type.
template <class Byte, class Float> struct CodesOf {
  Byte* data = nullptr;
  std::int64_t out_stride = 0, in_stride = 1;      // in codes
  int outputs = 0, inputs = 0, bits = 8;
  Float* scale = nullptr;
  Byte* zero = nullptr;
  std::int64_t group = 1, group_rows = 1;
  unsigned operator()(std::int64_t o, std::int64_t i) const {
    std::int64_t const at = o * out_stride + i * in_stride;
    return bits == 8 ? data[at] : data[at / 2] >> (at % 2 * 4) & 15u;
  }
  void put(std::int64_t o, std::int64_t i, unsigned code) const {
    std::int64_t const at = o * out_stride + i * in_stride;
    if (bits == 8) data[at] = static_cast<std::uint8_t>(code);
    else data[at / 2] = static_cast<std::uint8_t>(at % 2 ? (data[at / 2] & 15u) | code << 4 : (data[at / 2] & 0xf0u) | code);
  }
  std::int64_t scales() const { return (outputs + group_rows - 1) / group_rows * groups(); }
  std::int64_t groups() const { return (inputs + group - 1) / group; }
  GroupScale group_scale(std::int64_t o, std::int64_t first_input) const {
    std::int64_t const at = o / group_rows * groups() + first_input / group;
    return {scale[at], zero ? zero[at] : 0};
  }
};
using Codes = CodesOf<std::uint8_t const, float const>;
using MutableCodes = CodesOf<std::uint8_t, float>;
template <QuantConfig Q, DType D, int Out, int In, bool Mutable> auto codes(Matrix<D, Out, In, Mutable> const& m) {
  using To = std::conditional_t<Mutable, MutableCodes, Codes>;
  using Byte = std::conditional_t<Mutable, std::uint8_t, std::uint8_t const>;
  return To{.data = reinterpret_cast<Byte*>(m.data), .out_stride = m.out_stride, .in_stride = m.in_stride, .outputs = Out, .inputs = In, .bits = bits(D),
            .scale = m.scale, .zero = Q.zero_points ? m.zero : nullptr, .group = group_inputs(D, Q, In), .group_rows = Q.group_rows};
}

}}

// Numbers of the reference: the value that the definition gives, in double, and how far an fp32 computation of it may be
// from there. Every operation carries its own rounding, so that a bound is derived beside each value and never chosen.
// An error of 0 means that every fp32 computation gives exactly this value; infinity means that nothing is known (some
// intermediate result may overflow). Needs IEEE semantics: not for -ffast-math.
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include "../config.hpp"

namespace coterie { inline namespace v0 { namespace reference {

inline constexpr double unit = 0x1p-24 * (1 + 0x1p-20);                  // fp32's roundoff, and double's own on top
inline constexpr double least_normal = 0x1p-126, tiny = 0x1p-149, largest = 0x1.fffffep127, infinity = std::numeric_limits<double>::infinity();

struct Real {
  double value = 0, error = 0;
};
inline bool known(Real a) { return a.error < infinity; }
inline constexpr Real unknown{0, infinity};
// gamma_n: relative error of n roundings.
inline double gamma(double n) { return n * unit / (1 - n * unit); }
// A constant that fp32 holds only rounded.
inline Real constant(double v) { return {v, unit * std::fabs(v)}; }

// A result before its rounding to fp32; operands were known. Infinities and NaN that come from operands are exact.
inline Real rounded32(double value, double error) {
  if (!std::isfinite(value)) return {value, 0};
  error += unit * (std::fabs(value) + error) + tiny;
  return std::fabs(value) + error > largest ? unknown : Real{value, error};
}
inline bool holds32(double v) { return std::fabs(v) <= largest && static_cast<double>(static_cast<float>(v)) == v; }

inline Real operator-(Real a) { return {-a.value, a.error}; }
inline Real operator+(Real a, Real b) {
  if (!known(a) || !known(b)) return unknown;
  double const s = a.value + b.value;
  if (a.error == 0 && b.error == 0 && holds32(s)) {
    double const part = s - a.value;
    if ((a.value - (s - part)) + (b.value - part) == 0) return {s, 0};
  }
  return rounded32(s, a.error + b.error);
}
inline Real operator-(Real a, Real b) { return a + -b; }
// Infinity times what may be 0 may be anything.
inline bool vague(Real a, Real b) { return std::isinf(a.value) && b.error > 0 && std::fabs(b.value) <= b.error; }
inline Real operator*(Real a, Real b) {
  if (!known(a) || !known(b) || vague(a, b) || vague(b, a)) return unknown;
  double const p = a.value * b.value;
  if (a.error == 0 && b.error == 0 && holds32(p)) return {p, 0};
  if (!std::isfinite(p)) return {p, 0};
  if (b.error == 0 && std::fabs(b.value) == 1) return {p, a.error};
  if (a.error == 0 && std::fabs(a.value) == 1) return {p, b.error};
  return rounded32(p, (std::isfinite(a.value) ? std::fabs(a.value) : 0) * b.error + (std::isfinite(b.value) ? std::fabs(b.value) : 0) * a.error + a.error * b.error);
}
inline Real operator/(Real a, Real b) {
  if (!known(a) || !known(b)) return unknown;
  double const q = a.value / b.value;
  if (std::isnan(a.value) || !std::isfinite(b.value)) return {q, 0};
  double const least = std::fabs(b.value) - b.error;
  if (a.error == 0 && b.error == 0 && (b.value == 0 || (holds32(q) && std::fma(q, b.value, -a.value) == 0))) return {q, 0};
  if (least <= 0) return unknown;
  if (std::isinf(a.value)) return {q, 0};
  return rounded32(q, (a.error + std::fabs(q) * b.error) / least);
}

// A sum of products, fp32, in any order, fused or not: gamma_n of the magnitudes. Small whole numbers stay exact. Subnormal operands,
// products and sums may count as zero: AMX and AVX512_BF16 flush them. Sums in a layer of 16 bits may be a GPU's matrix units', which cut off sums and,
// at a bit or two more, each term of 8 or 16 (Fasi et al., PeerJ Computer Science 7:e330, 2021; Xie et al., arXiv:2511.10909): twice the roundoff.
class Sum {
 public:
  explicit Sum(DType layer = DType::fp32) : roundings_(layer == DType::fp32 ? 1 : 2) {}
  void add(Real a, Real b) {
    ++terms_;
    known_ = known_ && known(a) && known(b) && !vague(a, b) && !vague(b, a);
    double const p = a.value * b.value;
    value_ += p;
    if (!std::isfinite(p)) return;
    magnitude_ += std::fabs(p);
    if (a.error != 0 || b.error != 0) {
      exact_ = false;
      spread_ += std::fabs(a.value) * b.error + std::fabs(b.value) * a.error + a.error * b.error;
    }
    if (p != 0 && (std::fabs(a.value) < least_normal || std::fabs(b.value) < least_normal || std::fabs(p) < least_normal)) {
      exact_ = false;
      spread_ += std::fabs(p) + least_normal;
    }
    if (exact_ && p != 0) {                                              // the finest binary digit of any term
      std::uint64_t const bits = std::bit_cast<std::uint64_t>(p);
      int const digit = static_cast<int>(bits >> 52 & 0x7ff) - 1075 + std::countr_zero((bits & 0xfffffffffffffu) | 0x10000000000000u);
      if (digit < finest_) finest_ = digit;
      exact_ = finest_ >= -149 && magnitude_ <= std::ldexp(1., finest_ + 24);
    }
  }
  void add(Real a) { add(a, {1, 0}); }
  // Of the term just added: b is code * scale, and may also enter its sum as a code. Two ways to compute n terms of quantised weights:
  //   weights rounded to fp32 first: an error of b's own where fp32 does not hold it, then as above.
  //   products with codes, in parts of n_1 + ... + n_B = n; a part is scaled and added by one fused multiply-add. Codes and a (of 16
  //   bits) are exact and so is their product, so a term of part p is rounded n_p - 1 times inside, 1 + B - p times outside: at
  //   most n times, gamma_n as above; once more where a product with some a (of fp32) is not exact. Whole numbers stay exact:
  //   unscaled sums have no more digits than scaled ones. But what underflows is scaled afterwards (in a part so small that 2^-126
  //   is more than a rounding), and a part may overflow alone.
  void unscaled(Real a, double b, double code) {
    double const product = (std::fabs(a.value) + a.error) * std::fabs(code);
    if (!std::isfinite(product) || !std::isfinite(b) || product == 0) return;
    unscaled_ += product;
    if (!holds32(a.value * code)) wide_ = 1;
    if (product >= 0x1p-100) return;
    exact_ = false;
    spread_ += std::fabs(b / code) * least_normal;
  }
  Real total() const {
    if (!known_ || !(magnitude_ + spread_ <= largest) || !(unscaled_ * (1 + gamma(roundings_ * terms_)) <= largest)) return unknown;
    if (!std::isfinite(value_)) return {value_, 0};
    bool const small = magnitude_ < 0x1p-100;                            // partial sums may be subnormal
    if (exact_ && (!small || magnitude_ == 0)) return {value_, 0};
    double const error = spread_ + gamma(roundings_ * (terms_ + wide_)) * (magnitude_ + spread_) + terms_ * (small ? least_normal : tiny);
    return std::fabs(value_) + error > largest ? unknown : Real{value_, error};
  }

 private:
  double value_ = 0, magnitude_ = 0, spread_ = 0, unscaled_ = 0;
  int roundings_, terms_ = 0, wide_ = 0, finest_ = 2000;
  bool known_ = true, exact_ = true;
};

// The nearest number of a storage type, ties to even, overflow to infinity.
inline double nearest(DType d, double v) {
  if (!std::isfinite(v) || v == 0) return v;
  int const digits = d == DType::fp32 ? 24 : d == DType::bf16 ? 8 : 11, least = d == DType::fp16 ? -14 : -126;
  int exponent = std::ilogb(v);
  if (exponent < least) exponent = least;
  double const quantum = std::ldexp(1., exponent - digits + 1), r = std::nearbyint(v / quantum) * quantum;
  double const most = d == DType::fp32 ? largest : d == DType::bf16 ? 0x1.fep127 : 65504;
  return std::fabs(r) > most ? std::copysign(infinity, v) : r;
}
// Rounding is monotone: what is surely on one side of every tie rounds to one number, with no error left.
struct Range { double low, high; };
inline Range range(DType d, Real a) {
  if (!known(a)) return {-infinity, infinity};
  if (!std::isfinite(a.value)) return {a.value, a.value};
  return {nearest(d, a.value - a.error), nearest(d, a.value + a.error)};
}
inline Real to(DType d, Real a) {
  if (d == DType::fp32 || !known(a) || !std::isfinite(a.value)) return a;
  Range const r = range(d, a);
  if (r.low == r.high) return {r.low, 0};
  double const v = nearest(d, a.value);
  if (!std::isfinite(r.low) || !std::isfinite(r.high)) return unknown;
  return {v, std::fmax(r.high - v, v - r.low)};
}
// |stored - value| <= bound: the reliability formula e + u|y|, with u the storage type's.
inline double stored_bound(DType d, Real a) {
  if (!std::isfinite(a.value) || !known(a)) return a.error;
  if (a.error == 0 && nearest(d, a.value) == a.value) return 0;
  double const most = d == DType::fp16 ? 65504 : d == DType::bf16 ? 0x1.fep127 : largest;
  if (std::fabs(a.value) + a.error > most) return infinity;
  if (d == DType::fp32) return a.error;
  return a.error + (d == DType::bf16 ? 0x1p-8 : 0x1p-11) * (std::fabs(a.value) + a.error) + (d == DType::bf16 ? 0x1p-134 : 0x1p-25);
}

// A function with derivative at most `slope` within the error, itself computed to `ulps` roundoffs (and a denormal or two).
inline Real through(Real a, double value, double slope, double ulps) {
  if (!known(a)) return unknown;
  if (std::isnan(a.value)) return {a.value, 0};
  if (!std::isfinite(value)) return {value, 0};
  double const error = slope * a.error + ulps * unit * std::fabs(value) + 4 * tiny;
  return std::fabs(value) + error > largest ? unknown : Real{value, error};
}
inline double sigmoid(double a) { return a >= 0 ? 1 / (1 + std::exp(-a)) : std::exp(a) / (1 + std::exp(a)); }
inline double softplus(double a) { return std::fmax(a, 0.) + std::log1p(std::exp(-std::fabs(a))); }
// The point within the error at which a bell-shaped derivative is steepest.
inline double steepest(Real a) { return std::fmax(0., std::fabs(a.value) - a.error); }
inline Real sigmoid(Real a, double ulps = 8) {
  double const m = steepest(a);
  return through(a, sigmoid(a.value), sigmoid(m) * sigmoid(-m), ulps);
}
inline Real softplus(Real a) { return through(a, std::isnan(a.value) ? a.value : softplus(a.value), sigmoid(a.value + a.error), 10); }
inline Real tanh(Real a) {
  double const c = std::cosh(steepest(a));
  return through(a, std::tanh(a.value), 1 / (c * c), 10);
}
inline Real erf(Real a) {
  double const m = steepest(a);
  return through(a, std::erf(a.value), 1.1283791670955126 * std::exp(-m * m), 10);
}
inline Real sqrt(Real a) {
  if (!known(a) || std::isnan(a.value)) return a;
  double const r = std::sqrt(a.value), more = std::sqrt(a.value + a.error) - r, less = r - std::sqrt(std::fmax(a.value - a.error, 0.));
  return std::isfinite(r) ? rounded32(r, std::fmax(more, less)) : Real{r, 0};
}
// Clamps are 1-Lipschitz, and exact where they surely bite. NaN stays NaN.
inline Real at_most(Real a, double limit) { return std::isnan(a.value) || !known(a) ? a : a.value - a.error >= limit ? Real{limit, 0} : Real{a.value > limit ? limit : a.value, a.error}; }
inline Real at_least(Real a, double limit) { return -at_most(-a, -limit); }

}}}

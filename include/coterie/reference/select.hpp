// Choosing: value descending, index ascending, NaN below -infinity; and how sure a choice is.
#pragma once
#include <algorithm>
#include <vector>
#include "real.hpp"

namespace coterie { inline namespace v0 { namespace reference {

// Whether a ranks before b by value; ties are left to the caller's index.
inline bool above(double a, double b) { return std::isnan(b) ? !std::isnan(a) : a > b; }

// |a - b| against what may be wrong with it; more than 1: an fp32 computation cannot order them otherwise.
inline double sureness(Real a, Real b) {
  if (!known(a) || !known(b)) return 0;
  if ((a.error == 0 && b.error == 0) || !std::isfinite(a.value) || !std::isfinite(b.value)) return infinity;
  return std::fabs(a.value - b.value) / (a.error + b.error);
}

// The first k of values in rank order. `same(i, j)`: both come from the same exact operands, so that a tie is a tie in
// any computation. Lowers margin[i], margin[j] to the sureness of every comparison that the outcome depends on:
// chosen against not chosen, and, if `ordered`, chosen against each other.
template <class Same, class Doubt>
std::vector<int> best(std::vector<Real> const& values, int k, bool ordered, Same const& same, Doubt const& doubt) {
  int const n = static_cast<int>(values.size());
  std::vector<int> order(values.size());
  for (int i = 0; i < n; ++i) order[static_cast<std::size_t>(i)] = i;
  auto const at = [&](int i) { return values[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]; };
  std::sort(order.begin(), order.end(), [&](int i, int j) {              // ties to the lower index
    double const a = values[static_cast<std::size_t>(i)].value, b = values[static_cast<std::size_t>(j)].value;
    return above(a, b) || (!above(b, a) && i < j);
  });
  for (int i = 0; i < k; ++i)
    for (int j = ordered ? i + 1 : k; j < n; ++j) {
      double const sure = sureness(at(i), at(j));
      int const a = order[static_cast<std::size_t>(i)], b = order[static_cast<std::size_t>(j)];
      if (sure < 2 && !same(a, b)) doubt(a, b, sure);
    }
  order.resize(static_cast<std::size_t>(k));
  return order;
}

// Probabilities. NaN or an infinite maximum makes all of them NaN.
inline std::vector<Real> softmax(std::vector<Real> const& z) {
  double top = -infinity;
  bool broken = false, vague = false;
  for (Real a : z) broken |= std::isnan(a.value), vague |= !known(a), top = std::fmax(top, a.value);
  if (vague) return std::vector<Real>(z.size(), unknown);
  if (broken || std::isinf(top)) return std::vector<Real>(z.size(), {std::nan(""), 0});
  // How far an exponent may be off, once the common shift has dropped out; exp itself is good to a few roundoffs.
  auto const off = [&](Real a) { return std::isinf(a.value) ? 0 : a.error + unit * (std::fabs(a.value - top) + 2 * a.error) + 6 * unit; };
  double sum = 0, less = 0, more = 0;
  for (Real a : z) sum += std::exp(a.value - top);
  for (Real a : z) {
    double const p = std::exp(a.value - top) / sum;
    less += p * std::exp(-off(a)), more += p * std::exp(off(a));
  }
  std::vector<Real> to;
  for (Real a : z) {
    double const p = std::exp(a.value - top) / sum, up = std::exp(off(a)), down = 1 / up;
    double const high = up / (p * up + less - p * down) - 1, low = 1 - down / (p * down + more - p * up);
    double const error = p * (std::fmax(high, low) * (1 + 0x1p-20) + gamma(static_cast<double>(z.size()) + 1)) + 8 * tiny;
    to.push_back(known(Real{p, error}) && error < 2 ? Real{p, error} : unknown);
  }
  return to;
}

}}}

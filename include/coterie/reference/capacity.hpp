// Places and weights: how many tokens an expert takes, who keeps a place, and how weights are normalised and scaled.
#pragma once
#include <algorithm>
#include "../router/random.hpp"
#include "select.hpp"
#include "weights.hpp"

namespace coterie { inline namespace v0 { namespace reference {

// Weights are normalised and scaled after dropping instead of by the router.
inline bool deferred(Config const& c) {
  return c.capacity.rounding != Rounding::none && c.capacity.normalise == When::after && c.router.normalise != Normalise::none;
}
inline Real step(Config const& c, Real a) { return c.router.precision == Precision::model ? to(c.dtype, a) : a; }
inline Real final(Config const& c, Real a) { return c.router.round_weight ? to(c.dtype, a) : step(c, a); }
inline Real scale(Config const& c, Weights const& w, Real a) {
  if (c.router.scale_on == ScaleOn::weights) a = a * Real{number(c.router.scale), 0};
  return a * Real{w.router_scale, 0};
}
// w / (sum + epsilon) or w / max(sum, epsilon), shared experts' weights included.
inline void normalise(Config const& c, std::vector<Real>& weight, std::vector<Real>& shared) {
  if (c.router.normalise == Normalise::none) return;
  Real const epsilon{number(c.router.epsilon), 0};
  Sum all;
  for (Real a : weight) all.add(a);
  for (Real a : shared) all.add(a);
  Real sum = all.total();
  if (c.router.normalise == Normalise::sum_add) sum = step(c, sum) + epsilon;
  else sum = -at_most(-sum, -epsilon.value);
  sum = step(c, sum);
  for (Real& a : weight) a = step(c, a / sum);
  for (Real& a : shared) a = step(c, a / sum);
}

// Each original's rule, in its own words (model zoo: capacity()). For expert choice: what each expert takes.
inline std::int64_t places_of(Config const& c, std::int64_t tokens) {
  double const t = static_cast<double>(tokens), e = c.experts, k = c.top_k, f = number(c.capacity.factor);
  double places = 0;
  switch (c.capacity.rounding) {
    case Rounding::none: places = c.router.select == Select::expert_choice ? std::floor(f * k * t / e) : t; break;
    case Rounding::mesh: places = std::fmin(t, std::floor(t * f / e)); break;
    case Rounding::flaxformer: places = std::nearbyint(f * t / e); break;
    case Rounding::deepspeed: places = std::ceil(t / e * f * k); break;
    case Rounding::megablocks: places = std::floor(f * (k * t / e)); break;
    case Rounding::fastmoe: places = std::floor(std::ceil(f * t) * k / e); break;
    case Rounding::nllb: places = f > 0 ? std::ceil(f * t) : 2 * std::ceil(t / e); break;
  }
  return std::max<std::int64_t>(static_cast<std::int64_t>(places), c.capacity.minimum);
}

// Who keeps a place: all first choices of a group in order, then all second ones; a dropped token's position counts.
// Returns kept[T,S]; `sure` becomes false where the order of tokens hangs on a rounding.
inline std::vector<bool> keep(Config const& c, Inputs const& in, Routing const& r, bool& sure) {
  int const s = slots(c);
  std::vector<bool> kept;
  for (std::int32_t e : r.expert) kept.push_back(e >= 0 && e < c.experts);
  if (c.capacity.rounding == Rounding::none || c.router.select == Select::expert_choice) return kept;
  std::int64_t const group = in.sequence > 0 ? in.sequence : in.tokens;
  for (std::int64_t first = 0; first < in.tokens; first += group) {
    std::int64_t const size = std::min(group, in.tokens - first), places = places_of(c, size);
    std::vector<Real> key;
    for (std::int64_t t = first; t < first + size; ++t) {
      if (c.capacity.order == Order::probability) key.push_back(r.weight[static_cast<std::size_t>(t * s)]);
      else if (c.capacity.order == Order::random) key.push_back({number(random::uniform(in.seed, random::Stream::order, static_cast<std::uint64_t>(t), 0)), 0});
      else key.push_back({});
    }
    auto const never = [](int, int) { return false; };
    auto const doubt = [&sure](int, int, double d) { sure = sure && d > 1; };
    std::vector<int> const order = best(key, static_cast<int>(size), true, never, doubt);
    std::vector<std::int64_t> fill(static_cast<std::size_t>(c.experts), 0);
    for (int j = 0; j < s; ++j)
      for (int i : order) {
        std::size_t const at = static_cast<std::size_t>((first + i) * s + j);
        if (r.expert[at] >= 0) kept[at] = fill[static_cast<std::size_t>(r.expert[at])]++ < places;
      }
  }
  return kept;
}

}}}

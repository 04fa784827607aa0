// The layer as its definition reads: token by token, in double, without dispatch maps, sharing nothing with a backend; and
// beside every number a derived bound on what an fp32 computation with the same rounding points may differ by.
//
//   reference::Weights w = reference::weights(raw);         // raw: coterie::Weights<C, Stored>
//   reference::Inputs in = reference::inputs(inputs);       // inputs: coterie::Inputs<C>, host memory
//   reference::Result r = reference::layer(C, w, in);       // |y - r.y| <= r.bound wherever r.margin > 1
//   reference::Result s = reference::finish(C, w, in, reference::facts(…));   // the same from a given routing
//
// Numbers are rounded to dtype where the definition rounds: hidden values, every expert's row, latent values, a weighted
// input, and with Precision::model and Accumulate::model every step. Included on its own; not for -ffast-math.
#pragma once
#include "reference/experts.hpp"
#include "reference/router.hpp"

namespace coterie { inline namespace v0 { namespace reference {

struct Result {
  Routing routing;                               // weights as combine uses them
  std::vector<bool> kept;                        // [T,S]  computed by a real expert
  std::vector<std::vector<Real>> out;            // [T,S][W]  experts' rows before they are rounded; empty where not kept
  std::vector<std::vector<Real>> shared;         // [T][H]    shared experts before they are rounded
  std::vector<Real> sum;                         // [T,H]     y before it is rounded to dtype
  Numbers y, bound;                              // [T,H]
  std::vector<Range> range;                      // [T,H]  what y may be once rounded; one number where low == high
  double margin = infinity;                      // least of routing.margin; <= 1: another routing is as right
};

inline std::vector<Real> row(Numbers const& x, std::int64_t t, int n) {
  std::vector<Real> to;
  for (int h = 0; h < n; ++h) to.push_back({x[static_cast<std::size_t>(t * n + h)], 0});
  return to;
}
inline std::vector<Real> to(DType d, std::vector<Real> v) {
  for (Real& a : v) a = to(d, a);
  return v;
}

// Weights after capacity: dropped choices weigh nothing; the rest normalised now if the config waits for it.
inline void after_drop(Config const& c, Weights const& w, std::vector<bool> const& kept, Routing& r) {
  int const s = slots(c);
  for (std::int64_t t = 0; t < static_cast<std::int64_t>(r.weight.size()) / s; ++t) {
    std::vector<Real> weight, none;
    for (int i = 0; i < s; ++i) weight.push_back(kept[static_cast<std::size_t>(t * s + i)] ? r.weight[static_cast<std::size_t>(t * s + i)] : Real{});
    normalise(c, weight, none);
    for (int i = 0; i < s; ++i) {
      std::size_t const at = static_cast<std::size_t>(t * s + i);
      r.weight[at] = kept[at] ? final(c, scale(c, w, weight[static_cast<std::size_t>(i)])) : Real{};
    }
  }
}

// One token's routed sum at the experts' width: out[S][W] rounded rows, x what null experts return.
inline std::vector<Real> routed_sum(Config const& c, std::int32_t const* id, Real const* weight, std::vector<std::vector<Real>> const& out, std::vector<Real> const& x) {
  int const s = slots(c);
  bool const model = c.combine == Accumulate::model;
  std::vector<int> order;
  for (int i = 0; i < s; ++i) order.push_back(i);
  if (model) std::sort(order.begin(), order.end(), [&](int i, int j) { return id[i] != id[j] ? id[i] < id[j] : i < j; });   // as an index_add over experts
  std::vector<Real> to_;
  for (std::size_t o = 0; o < static_cast<std::size_t>(width(c)); ++o) {
    Sum sum;
    Real rounded;
    for (int i : order) {
      bool const identity = id[i] >= c.experts && id[i] < c.experts + c.expert.identity;
      std::vector<Real> const& from = identity ? x : out[static_cast<std::size_t>(i)];
      if (from.empty()) continue;
      Real const factor = c.router.place == Place::input ? Real{1, 0} : weight[i];
      if (model) rounded = to(c.dtype, rounded + to(c.dtype, factor * from[o]));
      else sum.add(factor, from[o]);
    }
    Real v = model ? rounded : sum.total();
    if (c.router.scale_on == ScaleOn::routed_sum) {
      v = v * Real{number(c.router.scale), 0};
      if (model) v = to(c.dtype, v);
    }
    to_.push_back(v);
  }
  return to_;
}

// Everything after the router.
inline Result finish(Config const& c, Weights const& w, Inputs const& in, Routing const& routing) {
  int const s = slots(c);
  Result r;
  r.routing = routing;
  for (double m : routing.margin) r.margin = std::fmin(r.margin, m);
  bool sure = true;
  r.kept = keep(c, in, routing, sure);
  if (!sure) r.margin = 0;
  if (deferred(c)) after_drop(c, w, r.kept, r.routing);
  for (std::int64_t t = 0; t < in.tokens; ++t) {
    std::vector<Real> const x = row(in.x, t, c.hidden);
    std::vector<Real> z = x;
    if (c.expert.latent) {
      z.clear();
      for (std::size_t o = 0; o < static_cast<std::size_t>(c.expert.latent); ++o) z.push_back(to(c.dtype, product(c.dtype, w.latent_down, o, x)));
    }
    std::size_t const first = static_cast<std::size_t>(t * s);
    std::vector<std::vector<Real>> rows;
    for (int i = 0; i < s; ++i) {
      std::size_t const at = first + static_cast<std::size_t>(i);
      std::vector<Real> a = z, out;
      if (c.router.place == Place::input) for (Real& v : a) v = to(c.dtype, v * r.routing.weight[at]);
      if (r.kept[at]) out = expert(c, w, r.routing.expert[at], a);
      rows.push_back(to(c.dtype, out));
      r.out.push_back(out);
    }
    std::vector<Real> y = routed_sum(c, &r.routing.expert[first], &r.routing.weight[first], rows, x);
    if (c.expert.latent) {
      if (c.expert.latent_norm == LatentNorm::rms) y = rms_norm(w, y);
      y = to(c.dtype, y);
      std::vector<Real> up;
      for (std::size_t o = 0; o < static_cast<std::size_t>(c.hidden); ++o) up.push_back(to(c.dtype, product(c.dtype, w.latent_up, o, y)));
      y = up;
    }
    if (c.shared.ffn) {
      std::vector<Real> gamma;
      for (int i = 0; i < shared_rows(c); ++i) gamma.push_back(r.routing.shared[static_cast<std::size_t>(t * shared_rows(c) + i)]);
      r.shared.push_back(shared_experts(c, w, x, gamma));
      std::vector<Real> const shared = to(c.dtype, r.shared.back());
      Mix const mix = mix_of(c, w, x);
      for (std::size_t o = 0; o < y.size(); ++o) {
        Real const a = mix.routed * y[o], b = mix.shared * shared[o];
        y[o] = c.combine == Accumulate::model ? to(c.dtype, to(c.dtype, a) + to(c.dtype, b)) : a + b;
      }
    }
    for (Real v : y) {
      r.sum.push_back(v);
      r.y.push_back(v.value), r.bound.push_back(stored_bound(c.dtype, v)), r.range.push_back(range(c.dtype, v));
    }
  }
  return r;
}

inline Routing route(Config const& c, Weights const& w, Inputs const& in) { return Router{c, w, in}.route(); }
inline Result layer(Config const& c, Weights const& w, Inputs const& in) { return finish(c, w, in, route(c, w, in)); }

}}}

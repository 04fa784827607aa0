// Logits and scores as their definition reads, one token at a time.
#pragma once
#include "../router/random.hpp"
#include "capacity.hpp"
#include "select.hpp"
#include "weights.hpp"

namespace coterie { inline namespace v0 { namespace reference {

// One row of a matrix times one vector.
inline Real dot(DType layer, std::vector<Real> const& a, double const* row) {
  Sum sum{layer};
  for (std::size_t i = 0; i < a.size(); ++i) sum.add(a[i], {row[i], 0});
  return sum.total();
}

class Logits {
 protected:
  Logits(Config const& config, Weights const& weights, Inputs const& inputs) : c(config), r(config.router), w(weights), in(inputs) {}

  using List = std::vector<Real>;
  Config const& c;
  RouterConfig const& r;
  Weights const& w;
  Inputs const& in;
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
  static std::uint32_t small(std::int64_t i) { return static_cast<std::uint32_t>(i); }
  bool model() const { return r.precision == Precision::model; }
  Real step(Real a) const { return model() ? to(c.dtype, a) : a; }
  Real fact(float v) const { return {number(v), 0}; }

  List logits(std::int64_t t) const {
    List z;
    if (r.input == RouterInput::logits) {
      for (int e = 0; e < logit_columns(c); ++e) {
        Real const a{in.logits[at(t * logit_columns(c) + e)], 0};
        z.push_back(r.bias ? a + Real{w.router_bias[at(e)], 0} : a);
      }
      return z;
    }
    List const x = read(t);
    // A router kept wider than the activations computes wider: nothing to round to.
    bool const rounds = r.precision != Precision::fp32 && bits(r.weights) <= bits(c.dtype);
    for (int e = 0; e < logit_columns(c); ++e) {
      Sum sum{c.dtype};
      for (int h = 0; h < c.hidden; ++h) sum.add(x[at(h)], {w.router[at(std::int64_t{e} * c.hidden + h)], 0});
      if (r.bias) sum.add({w.router_bias[at(e)], 0});
      z.push_back(rounds ? to(c.dtype, sum.total()) : sum.total());
    }
    return z;
  }
  // What the router sees of x: jitter multiplies its own copy by 1 + size * (2u - 1).
  List read(std::int64_t t) const {
    List x;
    Numbers const& from = r.input == RouterInput::separate ? in.router_x : in.x;
    for (int h = 0; h < c.hidden; ++h) {
      Real a{from[at(t * c.hidden + h)], 0};
      if (r.noise == Noise::jitter && in.seed) {
        Real const u = fact(random::uniform(in.seed, random::Stream::jitter, static_cast<std::uint64_t>(t), small(h)));
        a = a * (Real{1, 0} + fact(r.noise_size) * (Real{2, 0} * u - Real{1, 0}));
      }
      x.push_back(a);
    }
    return x;
  }
  List prepared(std::int64_t t, List z) const {
    if (r.soft_cap > 0)
      for (Real& a : z) a = step(tanh(a / fact(r.soft_cap)) * fact(r.soft_cap));
    if (r.noise == Noise::softplus && in.seed) {
      List const x = read(t);
      bool const rounds = r.precision != Precision::fp32 && bits(r.weights) <= bits(c.dtype);
      for (int e = 0; e < candidates(c); ++e) {
        Real noise = dot(c.dtype, x, &w.noise[at(std::int64_t{e} * c.hidden)]);
        if (rounds) noise = to(c.dtype, noise);
        Real const g = fact(random::gaussian(in.seed, random::Stream::softplus, static_cast<std::uint64_t>(t), small(e)));
        z[at(e)] = z[at(e)] + g * (softplus(noise) + fact(r.noise_size));
      }
    }
    return z;
  }
  List scores(List z) const {
    List const candidate(z.begin(), z.begin() + candidates(c));
    if (r.score == Score::softmax) z = softmax(candidate);
    if (r.score == Score::sigmoid) for (Real& a : z) a = sigmoid(a);
    if (r.score == Score::sqrt_softplus) for (Real& a : z) a = sqrt(softplus(a));
    if (r.score != Score::identity) for (Real& a : z) a = step(a);
    return z;
  }
};

}}}

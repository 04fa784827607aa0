// The router as its definition reads: selection and weights, one token at a time.
#pragma once
#include "logits.hpp"

namespace coterie { inline namespace v0 { namespace reference {

class Router : Logits {
 public:
  Router(Config const& config, Weights const& weights, Inputs const& inputs) : Logits(config, weights, inputs) {}

  Routing route() const {
    if (r.input == RouterInput::given) return in.given;
    Routing to;
    std::int64_t const n = in.tokens * slots(c);
    to.expert.assign(static_cast<std::size_t>(n), -1), to.weight.assign(static_cast<std::size_t>(n), {});
    to.shared.assign(static_cast<std::size_t>(in.tokens * shared_rows(c)), {});
    to.margin.assign(static_cast<std::size_t>(in.tokens), infinity);
    std::vector<std::vector<Real>> all;                                  // [T][N] logits as selection sees them
    for (std::int64_t t = 0; t < in.tokens; ++t) {
      std::vector<Real> z;
      if (r.input != RouterInput::token_ids) {
        z = logits(t);
        to.logits.insert(to.logits.end(), z.begin(), z.end());
        z = prepared(t, z);
      }
      if (r.select == Select::expert_choice) all.push_back(z);
      else token(t, z, to);
    }
    if (r.select == Select::expert_choice) expert_choice(all, to);
    return to;
  }

 private:
  void token(std::int64_t t, List const& z, Routing& to) const {
    int const k = c.top_k;
    double& margin = to.margin[at(t)];
    auto const doubt = [&margin](int, int, double sure) { margin = std::fmin(margin, sure); };
    std::vector<int> chosen;
    List weight, s = r.input == RouterInput::token_ids ? List{} : scores(z);
    if (r.select == Select::sparse_mixer) {
      sparse_mixer(t, z, chosen, weight, doubt);
    } else {
      if (r.select == Select::table) {
        for (int i = 0; i < k; ++i) chosen.push_back(in.given.expert.empty() ? w.table[at(std::int64_t{in.token_ids[at(t)]} * k + i)] : in.given.expert[at(t * k + i)]);
      } else {
        chosen = select(t, z, s, doubt);
      }
      List present;                                                      // an absent choice has no part in what follows
      for (int e : chosen) if (e >= 0) present.push_back(s.empty() ? Real{1, 0} : s[at(e)]);
      if (!s.empty() && r.post == Post::softmax && !present.empty()) present = softmax(present);
      if (!s.empty() && r.post == Post::sigmoid) for (Real& a : present) a = sigmoid(a);
      if (!s.empty() && r.post != Post::none) for (Real& a : present) a = step(a);
      std::size_t next = 0;
      for (int e : chosen) weight.push_back(e >= 0 ? present[next++] : Real{});
    }
    List shared(s.begin() + (s.empty() ? 0 : candidates(c)), s.end());
    if (r.score == Score::softmax) shared.clear();
    if (r.noise == Noise::random_second && in.seed) {
      Real const share = weight[1] / (weight[0] + weight[1] + fact(r.epsilon));
      Real const bar = fact(r.noise_size) * fact(random::uniform(in.seed, random::Stream::second, static_cast<std::uint64_t>(t), 0));
      doubt(0, 1, sureness(share, bar));
      if (!(share.value >= bar.value)) chosen[1] = -1;
    }
    if (!deferred(c)) {
      normalise(c, weight, shared);
      for (int i = 0; i < k; ++i) {
        weight[at(i)] = scale(c, w, weight[at(i)]);
        if (r.expert_scale && chosen[at(i)] >= 0 && chosen[at(i)] < c.experts) weight[at(i)] = weight[at(i)] * Real{w.expert_scale[at(chosen[at(i)])], 0};
        weight[at(i)] = final(c, weight[at(i)]);
      }
      for (Real& a : shared) a = final(c, scale(c, w, a));
    }
    for (int i = 0; i < k; ++i) {
      to.expert[at(t * k + i)] = chosen[at(i)];
      to.weight[at(t * k + i)] = chosen[at(i)] < 0 ? Real{} : weight[at(i)];
    }
    for (int i = 0; i < shared_rows(c); ++i) to.shared[at(t * shared_rows(c) + i)] = shared[at(i)];
  }

  template <class Doubt> std::vector<int> select(std::int64_t t, List const& z, List const& s, Doubt const& doubt) const {
    int const n = candidates(c);
    bool const perturbed = r.noise == Noise::gumbel && in.seed;
    List v;                                                              // what selection compares
    for (int e = 0; e < n; ++e) {
      if (perturbed) v.push_back(z[at(e)] + fact(r.noise_size) * fact(random::gumbel(in.seed, random::Stream::gumbel, static_cast<std::uint64_t>(t), small(e))));
      else v.push_back(r.select_bias ? s[at(e)] + Real{w.select_bias[at(e)], 0} : s[at(e)]);
    }
    auto const equal = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
    auto const same = [&](int i, int j) {
      return !perturbed && z[at(i)].error == 0 && z[at(j)].error == 0 && equal(z[at(i)].value, z[at(j)].value) &&
             (!r.select_bias || w.select_bias[at(i)] == w.select_bias[at(j)]);
    };
    if (r.select == Select::group_top_k && r.groups > 1) {
      int const size = n / r.groups;
      List statistic;
      for (int g = 0; g < r.groups; ++g) statistic.push_back(group(List(v.begin() + g * size, v.begin() + (g + 1) * size)));
      auto const same_group = [&](int g, int h) {
        for (int i = 0; i < size; ++i) if (!same(g * size + i, h * size + i)) return false;
        return true;
      };
      std::vector<int> const kept = best(statistic, r.groups_kept, false, same_group, doubt);
      std::vector<bool> keep(at(r.groups), false);
      for (int g : kept) keep[at(g)] = true;
      for (int e = 0; e < n; ++e) if (!keep[at(e / size)]) v[at(e)] = {r.group_fill == Fill::zero ? 0 : -infinity, 0};
      return best(v, c.top_k, true, [&](int i, int j) { return keep[at(i / size)] == keep[at(j / size)] && same(i, j); }, doubt);
    }
    return best(v, c.top_k, true, same, doubt);
  }
  // The group's maximum, or the sum of its best two.
  Real group(List const& v) const {
    auto const top = [&](auto const& of) {
      Numbers n;
      for (Real a : v) n.push_back(of(a));
      std::sort(n.begin(), n.end(), above);
      return n;
    };
    for (Real a : v) if (!known(a)) return unknown;
    Numbers const mid = top([](Real a) { return a.value; }), low = top([](Real a) { return a.value - a.error; }), high = top([](Real a) { return a.value + a.error; });
    auto const nth = [&](std::size_t i) { return Real{mid[i], std::isfinite(mid[i]) ? std::fmax(high[i] - mid[i], mid[i] - low[i]) : 0}; };
    return r.group_score == GroupScore::max ? nth(0) : step(nth(0) + nth(1));
  }
  // Phi-3.5-MoE: each round weighs the maximum among the logits near it; both compare with all logits. In training (Noise::gumbel and a seed) one
  // of those near is drawn by that weight, and one that is not the maximum counts a third, but for one time in four.
  template <class Doubt> void sparse_mixer(std::int64_t t, List const& z, std::vector<int>& chosen, List& weight, Doubt const& doubt) const {
    Real const threshold = Real{2, 0} * fact(r.noise_size);
    for (int round = 0; round < 2; ++round) {
      List near, drawn;
      std::vector<int> left, who;
      List value;
      for (int e = 0; e < candidates(c); ++e) if (round == 0 || e != chosen[0]) left.push_back(e), value.push_back(z[at(e)]);
      auto const same = [&](int i, int j) { return value[at(i)].error == 0 && value[at(j)].error == 0; };
      int const best_of = best(value, 1, false, same, doubt)[0], i = left[at(best_of)];
      Real const m = z[at(i)];
      std::size_t own = 0;
      for (int e : left) {
        Real const a = z[at(e)], size{std::fabs(a.value), a.error};
        Real const factor{size.value > m.value || std::isnan(size.value) ? size.value : m.value, std::fmax(size.error, m.error)};
        Real const distance = e == i ? Real{} : (m - a) / factor;
        if (e == i) own = near.size();
        if (e != i) doubt(e, i, sureness(distance, threshold));
        if (!(distance.value > threshold.value)) near.push_back(a), who.push_back(e);
      }
      std::size_t taken = own;
      if (r.noise == Noise::gumbel && in.seed) {
        auto const token = static_cast<std::uint64_t>(t);
        for (std::size_t n = 0; n < near.size(); ++n) drawn.push_back(near[n] + fact(random::gumbel(in.seed, random::Stream::gumbel, token, small(round * candidates(c) + who[n]))));
        taken = static_cast<std::size_t>(best(drawn, 1, false, [](int, int) { return false; }, doubt)[0]);
        Real const whole = step(softmax(near)[taken]);
        bool const third = taken != own && !(random::uniform(in.seed, random::Stream::gumbel, token, small(2 * candidates(c) + round)) > 0.75f);
        weight.push_back(third ? step(whole * fact(1.f / 3)) : whole);
      } else {
        weight.push_back(step(softmax(near)[own]));
      }
      chosen.push_back(who[taken]);
    }
  }
  // Every expert takes the tokens of a group that score it highest.
  void expert_choice(std::vector<List> const& z, Routing& to) const {
    std::vector<List> s;
    for (List const& row : z) s.push_back(scores(row));
    std::int64_t const group = in.sequence > 0 ? in.sequence : in.tokens;
    for (std::int64_t first = 0; first < in.tokens; first += group) {
      std::int64_t const size = std::min(group, in.tokens - first);
      int const places = static_cast<int>(std::min(places_of(c, size), size));
      auto const same = [&](int i, int j) {                              // all of the row: softmax mixes it
        for (int e = 0; e < candidates(c); ++e) {
          Real const a = z[at(first + i)][at(e)], b = z[at(first + j)][at(e)];
          if (a.error != 0 || b.error != 0 || !(a.value == b.value || (std::isnan(a.value) && std::isnan(b.value)))) return false;
        }
        return true;
      };
      auto const doubt = [&](int i, int j, double sure) {
        for (int t : {i, j}) to.margin[at(first + t)] = std::fmin(to.margin[at(first + t)], sure);
      };
      for (int e = 0; e < c.experts; ++e) {
        List column;
        for (std::int64_t t = first; t < first + size; ++t) column.push_back(s[at(t)][at(e)]);
        for (int t : best(column, places, false, same, doubt)) {
          std::size_t const slot = at((first + t) * c.experts + e);
          to.expert[slot] = e;
          Real weight = scale(c, w, column[at(t)]);
          if (r.expert_scale) weight = weight * Real{w.expert_scale[at(e)], 0};
          to.weight[slot] = final(c, weight);
        }
      }
    }
  }
};

}}}

// How evenly a router uses its experts: figures to watch while training, of choices in host memory.
#pragma once
#include <cmath>
#include <vector>
#include "../error.hpp"
#include "../router/order.hpp"
#include "../stages.hpp"

namespace coterie { inline namespace v0 { namespace balance {

struct Statistics {
  std::int64_t tokens = 0;
  std::vector<std::int64_t> load;                // [E] choices of each expert, dropped ones included
  std::int64_t dead = 0;                         // experts that nobody chose
  double max_violation = 0;                      // MaxVio: (largest load - mean) / mean (arXiv 2408.15664)
  double variation = 0;                          // coefficient of variation of the loads
  double entropy = 0;                            // of the loads' shares over log E: 1 is even, 0 one expert
  double drop_rate = 0;                          // choices of experts that got no place, of all choices; needs Batch::slot
  double margin = 0;                             // mean gap between the last chosen logit and the best one not chosen; needs Routing::logits

  std::string json() const {
    auto const number = [](double v) {
      std::string text = std::to_string(v);
      return std::isfinite(v) ? text : "null";
    };
    std::string text = "{\"tokens\": " + std::to_string(tokens) + ", \"load\": [";
    for (std::size_t e = 0; e < load.size(); ++e) text += (e ? ", " : "") + std::to_string(load[e]);
    return text + "], \"dead\": " + std::to_string(dead) + ", \"max_violation\": " + number(max_violation) + ", \"variation\": " + number(variation) +
           ", \"entropy\": " + number(entropy) + ", \"drop_rate\": " + number(drop_rate) + ", \"margin\": " + number(margin) + "}";
  }
};

// Mean over tokens of (the least chosen logit - the largest one that was not chosen); negative where a bias or groups overrule logits.
template <Config C> double margin(Routing<C> const& routing) {
  constexpr int E = candidates(C), S = slots(C);
  double sum = 0;
  std::int64_t counted = 0;
  for (std::int64_t t = 0; t < routing.expert.rows; ++t) {
    float const* const z = routing.logits[t];
    auto const chosen = [&](int e) {
      for (int s = 0; s < S; ++s) if (routing.expert[t][s] == e) return true;
      return false;
    };
    int in = -1, out = -1;
    for (int e = 0; e < E; ++e) {
      int& best = chosen(e) ? in : out;
      if (best < 0 || (&best == &in ? route::order_key(z[e]) < route::order_key(z[best]) : route::order_key(z[e]) > route::order_key(z[best]))) best = e;
    }
    if (in >= 0 && out >= 0 && std::isfinite(z[in]) && std::isfinite(z[out])) sum += double{z[in]} - double{z[out]}, ++counted;
  }
  return counted ? sum / static_cast<double>(counted) : 0;
}

// routing: expert[T,S], and logits[T,N] for the margin; batch: slot[T,S] for the drop rate.
template <Config C> Statistics statistics(Routing<C> const& routing, Batch<C> const& batch = {}, Where at = Where::here()) {
  constexpr int E = C.experts, S = slots(C);
  std::int64_t const tokens = routing.expert.rows;
  require(routing.expert.data || tokens == 0, "balance: routing.expert must be given", 0, 1, at);
  Statistics to{.tokens = tokens, .load = std::vector<std::int64_t>(E)};
  std::int64_t choices = 0, dropped = 0;
  for (std::int64_t t = 0; t < tokens; ++t)
    for (int s = 0; s < S; ++s) {
      std::int32_t const e = routing.expert[t][s];
      if (e < 0 || e >= E) continue;
      ++to.load[static_cast<std::size_t>(e)], ++choices;
      if (batch.slot.data && batch.slot[t][s] < 0) ++dropped;
    }
  double const mean = static_cast<double>(choices) / E;
  double variance = 0, entropy = 0, most = 0;
  for (std::int64_t const n : to.load) {
    double const v = static_cast<double>(n);
    to.dead += n == 0;
    most = std::fmax(most, v), variance += (v - mean) * (v - mean) / E;
    if (n) entropy -= v / static_cast<double>(choices) * std::log(v / static_cast<double>(choices));
  }
  if (choices) to.max_violation = (most - mean) / mean, to.variation = std::sqrt(variance) / mean, to.drop_rate = static_cast<double>(dropped) / static_cast<double>(choices);
  to.entropy = E > 1 ? entropy / std::log(static_cast<double>(E)) : 1;
  if (routing.logits.data && C.router.select != Select::expert_choice) to.margin = margin(routing);
  return to;
}
}}}

// How evenly a router uses its experts: figures to watch while training, of choices in host memory.
#pragma once
#include <charconv>
#include <cmath>
#include <vector>
#include "../router/order.hpp"
#include "../stages.hpp"
#include "arguments.hpp"

namespace coterie { inline namespace v0 { namespace balance {

struct Statistics {
  std::int64_t tokens = 0;
  std::vector<std::int64_t> load;                // [E] choices of each expert, dropped ones included
  std::int64_t dead = 0;                         // experts that nobody chose
  double max_violation = 0;                      // MaxVio: (largest load - mean) / mean (arXiv 2408.15664)
  double variation = 0;                          // coefficient of variation of the loads
  double entropy = 0;                            // of the loads' shares over log E: 1 is even, 0 one expert (or no choice at all)
  double drop_rate = 0;                          // choices of experts that got no place, of all choices; needs Batch::slot
  double margin = 0;                             // mean gap between the last chosen logit and the best one not chosen; needs Routing::logits
  std::int64_t null_choices = 0;                 // choices of null experts
  std::int64_t dropped = 0, margins = 0;         // choices of experts that got no place; tokens that the mean of `margin` is of

  // Another batch of the same layer: of the next step, of another device.
  Statistics& operator+=(Statistics const& more) {
    bool const alike = load.empty() || more.load.empty() || load.size() == more.load.size();
    require(alike, "balance: statistics of as many experts must be added", static_cast<std::int64_t>(more.load.size()), static_cast<std::int64_t>(load.size()));
    if (load.empty()) load.resize(more.load.size());
    for (std::size_t e = 0; e < more.load.size(); ++e) load[e] += more.load[e];
    double const of = static_cast<double>(margins + more.margins);
    if (of > 0) margin = (margin * static_cast<double>(margins) + more.margin * static_cast<double>(more.margins)) / of;
    tokens += more.tokens, null_choices += more.null_choices, dropped += more.dropped, margins += more.margins;
    derive();
    return *this;
  }
  // From load and dropped, which may have been summed over devices: dead, max_violation, variation, entropy, drop_rate.
  void derive() {
    double choices = 0, variance = 0, most = 0;
    dead = 0, max_violation = variation = drop_rate = 0, entropy = load.size() > 1 ? 0 : 1;
    for (std::int64_t const n : load) dead += n == 0, choices += static_cast<double>(n), most = std::fmax(most, static_cast<double>(n));
    if (choices == 0) return;
    double const experts = static_cast<double>(load.size()), mean = choices / experts;
    for (std::int64_t const n : load) {
      double const v = static_cast<double>(n), share = v / choices;
      variance += (v - mean) * (v - mean) / experts;
      if (n && load.size() > 1) entropy -= share * std::log(share) / std::log(experts);
    }
    max_violation = (most - mean) / mean, variation = std::sqrt(variance) / mean, drop_rate = static_cast<double>(dropped) / choices;
  }
  // Numbers read back exactly, in any locale; what is not finite is null.
  std::string json() const {
    auto const number = [](double v) {
      char text[32];                             // the shortest that reads back has at most 24 characters
      return finite(v) ? std::string(text, std::to_chars(text, text + sizeof text, v).ptr) : std::string("null");
    };
    std::string text = "{\"tokens\": " + std::to_string(tokens) + ", \"load\": [";
    for (std::size_t e = 0; e < load.size(); ++e) text += (e ? ", " : "") + std::to_string(load[e]);
    return text + "], \"dead\": " + std::to_string(dead) + ", \"max_violation\": " + number(max_violation) + ", \"variation\": " + number(variation) +
           ", \"entropy\": " + number(entropy) + ", \"drop_rate\": " + number(drop_rate) + ", \"margin\": " + number(margin) + ", \"null_choices\": " + std::to_string(null_choices) + "}";
  }
};

// Mean over tokens of (the least chosen logit - the largest one that was not chosen); negative where a bias or groups overrule logits.
// Tokens whose two logits are not both finite are left out; counted, if given, becomes the number of the others.
template <Config C> double margin(Routing<C> const& routing, std::int64_t* counted = nullptr, Where at = Where::here()) {
  constexpr int E = candidates(C), S = slots(C);
  std::int64_t const tokens = routing.expert.rows;
  require_rows(routing.logits, tokens, needs_logits, at);
  double sum = 0;
  std::int64_t n = 0;
  for (std::int64_t t = 0; t < tokens; ++t) {
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
    if (in >= 0 && out >= 0 && finite(z[in]) && finite(z[out])) sum += double{z[in]} - double{z[out]}, ++n;
  }
  if (counted) *counted = n;
  return n ? sum / static_cast<double>(n) : 0;
}

// routing: expert[T,S], and logits[T,N] for the margin (not of expert choice); batch: slot[T,S] for the drop rate. Indices that no expert
// has count nowhere. Load is of the real experts; of null experts, null_choices.
template <Config C> Statistics statistics(Routing<C> const& routing, Batch<C> const& batch = {}, Where at = Where::here()) {
  constexpr int E = C.experts, S = slots(C);
  std::int64_t const tokens = routing.expert.rows;
  require(tokens >= 0, "balance: routing.expert's rows must not be negative", tokens, 0, at);
  require(routing.expert.data || tokens == 0, "balance: routing.expert must be given", 0, 1, at);
  if (batch.slot.data) require_rows(batch.slot, tokens, "balance: batch.slot must have as many rows as routing.expert", at);
  Statistics to{.tokens = tokens, .load = std::vector<std::int64_t>(E)};
  for (std::int64_t t = 0; t < tokens; ++t)
    for (int s = 0; s < S; ++s) {
      std::int32_t const e = routing.expert[t][s];
      if (e >= E && e < candidates(C)) ++to.null_choices;
      if (e < 0 || e >= E) continue;
      ++to.load[static_cast<std::size_t>(e)];
      if (batch.slot.data && batch.slot[t][s] < 0) ++to.dropped;
    }
  to.derive();
  if (routing.logits.data && C.router.select != Select::expert_choice) to.margin = margin(routing, &to.margins, at);
  return to;
}
}}}

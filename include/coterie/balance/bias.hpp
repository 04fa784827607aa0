// Balance without an auxiliary loss: after a step the selection biases move against the load. Weights never see them.
#pragma once
#include "statistics.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// sign: b_e += rate * sign(mean - load_e) (DeepSeek-V3, arXiv 2408.15664, algorithm 1; rate 1e-3, at the end 0).
// proportional: b_e += rate * (1 - load_e / mean), LongCat's rule up to its factor.
enum class BiasRule : int { sign, proportional };
struct BiasUpdate {
  BiasRule rule = BiasRule::sign;
  double rate = 1e-3;
  int centre = 0;                                // 1: the biases' mean is taken off, which no selection sees
};

// bias[E], fp32, in checkpoint layout (Weights::select_bias); load[E] of one step (Statistics::load), summed over devices before.
inline void update_bias(float* bias, std::vector<std::int64_t> const& load, BiasUpdate const& update = {}, Where at = Where::here()) {
  require(bias != nullptr || load.empty(), "balance: bias must be given", 0, 1, at);
  double total = 0, shift = 0;
  for (std::int64_t const n : load) {
    require(n >= 0, "balance: a load must not be negative", n, 0, at);
    total += static_cast<double>(n);
  }
  if (total == 0) return;
  double const mean = total / static_cast<double>(load.size());
  for (std::size_t e = 0; e < load.size(); ++e) {
    double const gap = 1 - static_cast<double>(load[e]) / mean;
    bias[e] += static_cast<float>(update.rate * (update.rule == BiasRule::sign ? (gap > 0) - (gap < 0) : gap));
    shift += double{bias[e]} / static_cast<double>(load.size());
  }
  if (update.centre)
    for (std::size_t e = 0; e < load.size(); ++e) bias[e] -= static_cast<float>(shift);
}

}}}

// Balance without an auxiliary loss: after a step the selection biases move against the load. Weights never see them.
#pragma once
#include <vector>
#include "arguments.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// With gap_e = 1 - load_e / target:
// sign: b_e += rate * sign(gap_e) (DeepSeek-V3, arXiv 2408.15664, algorithm 1, 2412.19437; rate 1e-3, at the end 0).
// proportional: b_e += rate * gap_e. LongCat-Flash's rule (arXiv 2509.01322) with target = T K_real / E and rate = mu K_real / (K E).
// pid: b_e += rate * (gap_e + proportional * (gap_e - gap'_e) + derivative * (gap_e - 2 gap'_e + gap''_e)), gap' and gap'' of the two steps
// before: a controller whose integral is the rule above. It answers a jump of the load at once, and brakes.
enum class BiasRule : int { sign, proportional, pid };
// What BiasRule::pid remembers, one for each layer: gaps of the last step and the one before, [E] each.
struct BiasMemory {
  std::vector<double> gap, before;
};
struct BiasUpdate {
  BiasRule rule = BiasRule::sign;
  double rate = 1e-3;
  // 1: their mean is taken off the biases, as torchtitan takes it off their steps. No selection sees it, but where null experts, whose
  // biases stay, or groups filled with 0 stand beside.
  int centre = 0;
  double target = 0;                             // the load that every expert should have; 0: their mean
  double proportional = 0, derivative = 0;       // pid
  BiasMemory* memory = nullptr;                  // pid: the caller's, empty at first
};

// bias[E], fp32, in checkpoint layout (Weights::select_bias); load[E] of one step (Statistics::load), summed over devices before.
inline void update_bias(float* bias, std::vector<std::int64_t> const& load, BiasUpdate const& update = {}, Where at = Where::here()) {
  require(bias != nullptr || load.empty(), "balance: bias must be given", 0, 1, at);
  require(update.rule != BiasRule::pid || update.memory, "balance: BiasUpdate::memory must be given for BiasRule::pid", 0, 1, at);
  double total = 0, shift = 0, counted = 0;
  for (std::int64_t const n : load) {
    require(n >= 0, "balance: a load must not be negative", n, 0, at);
    total += static_cast<double>(n);
  }
  if (total == 0) return;
  double const experts = static_cast<double>(load.size()), target = update.target > 0 ? update.target : total / experts;
  if (BiasMemory* const m = update.memory; m && update.rule == BiasRule::pid) {
    std::size_t const kept = m->gap.size();
    require(kept == 0 || kept == load.size(), "balance: BiasUpdate::memory must be of as many experts as the load", static_cast<std::int64_t>(kept), static_cast<std::int64_t>(load.size()), at);
    m->gap.resize(load.size()), m->before.resize(load.size());
  }
  for (std::size_t e = 0; e < load.size(); ++e) {
    double const gap = 1 - static_cast<double>(load[e]) / target;
    double step = gap;
    if (update.rule == BiasRule::sign) step = (gap > 0) - (gap < 0);
    if (update.rule == BiasRule::pid) {
      double &last = update.memory->gap[e], &before = update.memory->before[e];
      step += update.proportional * (gap - last) + update.derivative * (gap - 2 * last + before);
      before = last, last = gap;
    }
    bias[e] += static_cast<float>(update.rate * step);
    if (finite(bias[e])) shift += double{bias[e]}, ++counted;            // an infinite one bars its expert, and stays
  }
  if (update.centre && counted > 0)
    for (std::size_t e = 0; e < load.size(); ++e) bias[e] -= static_cast<float>(shift / counted);
}

}}}

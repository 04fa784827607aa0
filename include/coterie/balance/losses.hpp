// Auxiliary losses of a router, on the host: each gives its value and adds its gradient to that of the logits or weights, which the
// router's backward then takes on. Choices carry no gradient: the shares f are constants, the probabilities p are not.
// Coefficients, and where papers and implementations differ: docs/balance.md.
#pragma once
#include "../error.hpp"
#include "probabilities.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// The arguments that the losses share.
template <Config C> struct Losses {
  static constexpr Config config = C;
  static constexpr int E = candidates(C), N = logit_columns(C), S = slots(C);
  using Logits = Rows<float, N>;

  // What the router saw and chose: logits[T,N] (before soft cap and noise), expert[T,S], weight[T,S].
  Routing<config> routing;
  std::int64_t sequence = 0;                     // tokens of a sequence, each with a loss of its own, of which the mean is taken; 0: one
  double coefficient = 1;                        // of value and gradient

  // E * sum_e f_e P_e: f_e the share of the tokens that chose e among their first `choices` (0: all), P_e its mean probability.
  // Switch Transformers (arXiv 2101.03961, eq. 4); `choices` = 1: GShard (arXiv 2006.16668; with the factor E^2 of its code).
  // At uniform load: the number of choices (transformers' load_balancing_loss_func); per_choice divides by it (megablocks: 1).
  double load(Logits gradient = {}, int choices = 0, int per_choice = 0, Where at = Where::here()) const {
    needs_logits(at);
    int const k = choices > 0 && choices < S ? choices : S;
    double const scale = per_choice ? 1. / C.top_k : 1.;
    return over_sequences(gradient, at, [&](std::int64_t first, std::int64_t last, double part) {
      double const n = static_cast<double>(last - first);
      double f[E]{};
      for (std::int64_t t = first; t < last; ++t)
        for (int s = 0; s < k; ++s)
          if (std::int32_t const e = routing.expert[t][s]; e >= 0 && e < E) f[e] += scale * E / n;
      double value = 0;
      for (std::int64_t t = first; t < last; ++t) {
        Probabilities<config> const p{routing.logits[t]};
        for (int e = 0; e < E; ++e) value += f[e] * p[e] / n;
        if (gradient.data) p.backward(f, part / n, gradient[t]);
      }
      return value;
    });
  }
  // sum_e f_e P_e with f_e = E / (K T) * choices of e, by sequence (DeepSeek-V2 and V3, arXiv 2412.19437 eq. 17-20). At uniform load: 1.
  double sequence_wise(Logits gradient = {}, Where at = Where::here()) const { return load(gradient, 0, 1, at); }

  // mean over tokens of log(sum_e exp(z_e))^2 (ST-MoE, arXiv 2202.08906, eq. 5).
  double z(Logits gradient = {}, Where at = Where::here()) const {
    needs_logits(at);
    static_assert(Probabilities<config>::softmax, "coterie::balance: the z-loss is of a softmax over the logits");
    return over_sequences(gradient, at, [&](std::int64_t first, std::int64_t last, double part) {
      double const n = static_cast<double>(last - first);
      double value = 0;
      for (std::int64_t t = first; t < last; ++t) {
        Probabilities<config> const p{routing.logits[t]};
        double const l = p.log_sum_exp();
        value += l * l / n;
        if (gradient.data)
          for (int e = 0; e < E; ++e) gradient[t][e] += static_cast<float>(part * 2 * l * p[e] / n);
      }
      return value;
    });
  }

  // The mean entropy of a token's probabilities less the entropy of their mean: minus the mutual information between tokens and
  // experts, least when every token is sure and all experts are used alike.
  double mutual_information(Logits gradient = {}, Where at = Where::here()) const {
    needs_logits(at);
    return over_sequences(gradient, at, [&](std::int64_t first, std::int64_t last, double part) {
      double const n = static_cast<double>(last - first);
      auto const log = [](double v) { return v > 0 ? std::log(v) : 0.; };
      double mean[E]{}, value = 0;
      for (std::int64_t t = first; t < last; ++t) {
        Probabilities<config> const p{routing.logits[t]};
        for (int e = 0; e < E; ++e) mean[e] += p[e] / n, value -= p[e] * log(p[e]) / n;
      }
      for (int e = 0; e < E; ++e) value += mean[e] * log(mean[e]);
      if (gradient.data)
        for (std::int64_t t = first; t < last; ++t) {
          Probabilities<config> const p{routing.logits[t]};
          double d[E];
          for (int e = 0; e < E; ++e) d[e] = log(mean[e]) - log(p[e]);
          p.backward(d, part / n, gradient[t]);
        }
      return value;
    });
  }

  // CV^2 of the experts' importance, the sum of their weights over the tokens (Shazeer et al., arXiv 1701.06538, eq. 6-7; the variance
  // of a population). gradient[T,S] is that of the weights.
  double importance(Rows<float, S> gradient = {}, Where at = Where::here()) const {
    require(routing.weight.data && routing.weight.rows == routing.expert.rows, "balance: routing.weight must have as many rows as routing.expert", routing.weight.data ? routing.weight.rows : 0, routing.expert.rows, at);
    return over_sequences(gradient, at, [&](std::int64_t first, std::int64_t last, double part) {
      double sum[E]{}, mean = 0, variance = 0;
      for (std::int64_t t = first; t < last; ++t)
        for (int s = 0; s < S; ++s)
          if (std::int32_t const e = routing.expert[t][s]; e >= 0 && e < E) sum[e] += double{routing.weight[t][s]};
      for (int e = 0; e < E; ++e) mean += sum[e] / E;
      for (int e = 0; e < E; ++e) variance += (sum[e] - mean) * (sum[e] - mean) / E;
      if (mean == 0) return 0.;
      if (gradient.data)
        for (std::int64_t t = first; t < last; ++t)
          for (int s = 0; s < S; ++s)
            if (std::int32_t const e = routing.expert[t][s]; e >= 0 && e < E)
              gradient[t][s] += static_cast<float>(part * 2 / (E * mean * mean) * (sum[e] - mean - variance / mean));
      return variance / (mean * mean);
    });
  }

 private:
  void needs_logits(Where at) const {
    require(routing.expert.rows == 0 || (routing.logits.data && routing.logits.rows == routing.expert.rows), "balance: routing.logits must have as many rows as routing.expert (set Routing::logits before the router runs)",
            routing.logits.data ? routing.logits.rows : 0, routing.expert.rows, at);
  }
  // The mean over sequences of value(first, last, what its gradient is multiplied by), times the coefficient.
  template <int Columns, class Value>
  double over_sequences(Rows<float, Columns> gradient, Where at, Value const& value) const {
    std::int64_t const tokens = routing.expert.rows;
    require(sequence >= 0, "balance: sequence must not be negative", sequence, 0, at);
    if (tokens == 0) return 0;
    require(routing.expert.data != nullptr, "balance: routing.expert must be given", 0, 1, at);
    if (gradient.data) require(gradient.rows == tokens, "balance: the gradient must have as many rows as the routing", gradient.rows, tokens, at);
    std::int64_t count = 0;
    for_sequences(tokens, sequence, [&](std::int64_t, std::int64_t) { ++count; });
    double const part = coefficient / static_cast<double>(count);
    double sum = 0;
    for_sequences(tokens, sequence, [&](std::int64_t first, std::int64_t last) { sum += value(first, last, part); });
    return part * sum;
  }
};

}}}

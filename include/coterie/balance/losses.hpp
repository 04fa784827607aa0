// Auxiliary losses of a router, on the host: each gives its value and adds its gradient to that of the logits or weights, which the
// router's backward then takes on. Choices carry no gradient: the shares f are constants, the probabilities p are not.
// Coefficients, and where papers and implementations differ: docs/balance.md.
#pragma once
#include "arguments.hpp"
#include "probabilities.hpp"
#include "smooth_load.hpp"

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
  // Switch Transformers (arXiv 2101.03961, eq. 4). At uniform load: the number of choices (transformers' load_balancing_loss_func);
  // per_choice divides by it (megablocks: 1).
  double load(Logits gradient = {}, int choices = 0, int per_choice = 0, Where at = Where::here()) const {
    require_rows(routing.logits, routing.expert.rows, needs_logits, at);
    int const k = choices > 0 && choices < S ? choices : S;
    double const scale = per_choice ? 1. / (k < S ? k : C.top_k) : 1.;
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
  // The same of first choices alone, whether or not they find a place: GShard (arXiv 2006.16668, algorithm 1, line 13) as its code
  // (Lingvo, Mesh TensorFlow) has it. The paper's is a mean over experts, without the code's factor E^2: coefficient / E^2 gives it.
  double gshard(Logits gradient = {}, Where at = Where::here()) const { return load(gradient, 1, 0, at); }
  // sum_e f_e P_e with f_e = E / (K T) * choices of e, by sequence (DeepSeek-V2 and V3, arXiv 2412.19437 eq. 17-20). At uniform load: 1.
  double sequence_wise(Logits gradient = {}, Where at = Where::here()) const { return load(gradient, 0, 1, at); }

  // mean over tokens of log(sum_e exp(z_e))^2 (ST-MoE, arXiv 2202.08906, eq. 5). Of sigmoids that sum is no divisor, and pulling it to 1
  // would pull E scores down together: refused, though Megatron-LM takes it of any logits.
  double z(Logits gradient = {}, Where at = Where::here()) const {
    require_rows(routing.logits, routing.expert.rows, needs_logits, at);
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

  // The mean entropy of a token's probabilities: least, 0, when every token is sure; log E when no logit stands out (LIMoE's local loss,
  // arXiv 2206.02770; with a negative coefficient, what keeps a router undecided).
  double entropy(Logits gradient = {}, Where at = Where::here()) const { return entropies(0, gradient, at); }

  // The mean entropy of a token's probabilities less the entropy of their mean: minus the mutual information between tokens and
  // experts, least when every token is sure and all experts are used alike (ModuleFormer, arXiv 2306.04640; LIMoE's local and global losses
  // together, without its threshold; Mod-Squad, arXiv 2212.08066, has tasks for tokens).
  double mutual_information(Logits gradient = {}, Where at = Where::here()) const { return entropies(1, gradient, at); }

  // CV^2 of the experts' importance, the sum of their weights over the tokens (Shazeer et al., arXiv 1701.06538, eq. 6-7). The variance of a
  // population, as in the authors' tensor2tensor; ports to PyTorch (fastmoe) take a sample's, which is E / (E - 1) times as much.
  // gradient[T,S] is that of the weights.
  double importance(Rows<float, S> gradient = {}, Where at = Where::here()) const {
    require_rows(routing.weight, routing.expert.rows, "balance: routing.weight must have as many rows as routing.expert", at);
    return over_sequences(gradient, at, [&](std::int64_t first, std::int64_t last, double part) {
      double sum[E]{};
      for (std::int64_t t = first; t < last; ++t)
        for (int s = 0; s < S; ++s)
          if (std::int32_t const e = routing.expert[t][s]; e >= 0 && e < E) sum[e] += double{routing.weight[t][s]};
      double const value = variation(sum);
      if (gradient.data)
        for (std::int64_t t = first; t < last; ++t)
          for (int s = 0; s < S; ++s)
            if (std::int32_t const e = routing.expert[t][s]; e >= 0 && e < E) gradient[t][s] += static_cast<float>(part * sum[e]);
      return value;
    });
  }
  // CV^2 of the smooth load, the sum over tokens of an expert's probability to be chosen (the same paper, eq. 8-11), of a router that drew
  // noise. Where all experts are chosen: 0.
  double smooth_load(Drawn<config> const& drawn, DrawnGradient<config> const& gradient = {}, Where at = Where::here()) const {
    static_assert(C.router.noise == Noise::softplus && C.router.select == Select::top_k && !C.router.select_bias && !(C.router.soft_cap > 0),
                  "coterie::balance: smooth_load is of a router with Noise::softplus that takes the top k, without selection bias and soft cap");
    require_rows(routing.logits, routing.expert.rows, needs_logits, at);
    std::int64_t const tokens = routing.expert.rows;
    require_rows(drawn.noise_logits, tokens, "balance: noise_logits must have as many rows as the routing", at);
    require_rows(drawn.noisy, tokens, "balance: noisy must have as many rows as the routing", at);
    if (gradient.noise_logits.data) require_rows(gradient.noise_logits, tokens, "balance: the gradient must have as many rows as the routing", at);
    return over_sequences(gradient.logits, at, [&](std::int64_t first, std::int64_t last, double part) {
      if constexpr (C.top_k >= E) return 0.;
      else {
        double sum[E]{};
        for (std::int64_t t = first; t < last; ++t) {
          TopProbability<config> const p{routing.logits[t], drawn.noise_logits[t], drawn.noisy[t]};
          for (int e = 0; e < E; ++e) sum[e] += p[e];
        }
        double const value = variation(sum);
        if (gradient.logits.data || gradient.noise_logits.data)
          for (std::int64_t t = first; t < last; ++t)
            TopProbability<config>{routing.logits[t], drawn.noise_logits[t], drawn.noisy[t]}.backward(
                sum, part, gradient.logits.data ? gradient.logits[t] : nullptr, gradient.noise_logits.data ? gradient.noise_logits[t] : nullptr);
        return value;
      }
    });
  }

 private:
  // The mean entropy of a token's probabilities, less `global` times the entropy of their mean.
  double entropies(int global, Logits gradient, Where at) const {
    require_rows(routing.logits, routing.expert.rows, needs_logits, at);
    return over_sequences(gradient, at, [&](std::int64_t first, std::int64_t last, double part) {
      double const n = static_cast<double>(last - first);
      auto const log = [](double v) { return v > 0 ? std::log(v) : 0.; };
      double mean[E]{}, value = 0;
      for (std::int64_t t = first; t < last; ++t) {
        Probabilities<config> const p{routing.logits[t]};
        for (int e = 0; e < E; ++e) mean[e] += p[e] / n, value -= p[e] * log(p[e]) / n;
      }
      for (int e = 0; e < E; ++e) value += global * mean[e] * log(mean[e]);
      if (gradient.data)
        for (std::int64_t t = first; t < last; ++t) {
          Probabilities<config> const p{routing.logits[t]};
          double d[E];
          for (int e = 0; e < E; ++e) d[e] = global * log(mean[e]) - log(p[e]);
          p.backward(d, part / n, gradient[t]);
        }
      return value;
    });
  }
  // CV^2 of sum[E], which becomes its gradient of them.
  static double variation(double (&sum)[E]) {
    double mean = 0, variance = 0;
    for (double const v : sum) mean += v / E;
    for (double const v : sum) variance += (v - mean) * (v - mean) / E;
    for (double& v : sum) v = mean == 0 ? 0 : 2 / (E * mean * mean) * (v - mean - variance / mean);
    return mean == 0 ? 0 : variance / (mean * mean);
  }
  // The mean over sequences of value(first, last, what its gradient is multiplied by), times the coefficient.
  template <int Columns, class Value>
  double over_sequences(Rows<float, Columns> gradient, Where at, Value const& value) const {
    std::int64_t const tokens = routing.expert.rows;
    require(sequence >= 0, "balance: sequence must not be negative", sequence, 0, at);
    require(tokens >= 0, "balance: routing.expert's rows must not be negative", tokens, 0, at);
    if (tokens == 0) return 0;
    require(routing.expert.data != nullptr, "balance: routing.expert must be given", 0, 1, at);
    if (gradient.data) require_rows(gradient, tokens, "balance: the gradient must have as many rows as the routing", at);
    std::int64_t count = 0;
    for_sequences(tokens, sequence, [&](std::int64_t, std::int64_t) { ++count; });
    double const part = coefficient / static_cast<double>(count);
    double sum = 0;
    for_sequences(tokens, sequence, [&](std::int64_t first, std::int64_t last) { sum += value(first, last, part); });
    return part * sum;
  }
};

}}}

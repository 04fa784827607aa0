// What balance losses call probabilities: a softmax over a token's logits, or its activated scores divided by their sum.
#pragma once
#include <cmath>
#include "../stages.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// Score::identity and softmax: softmax(z), as most implementations take it whatever the weights are. sigmoid and sqrt_softplus:
// s / (sum(s) + 1e-20) (DeepSeek-V3, arXiv 2412.19437, eq. 18).
template <Config C> class Probabilities {
 public:
  static constexpr Config config = C;
  static constexpr int E = candidates(C);
  static constexpr bool softmax = C.router.score == Score::identity || C.router.score == Score::softmax;

  explicit Probabilities(float const* z) {       // z[N]
    double sum = 0, top = -HUGE_VAL;
    for (int e = 0; e < E; ++e) top = std::fmax(top, double{z[e]});
    for (int e = 0; e < E; ++e) {
      double const v = double{z[e]};
      if constexpr (softmax) p_[e] = std::exp(v - top);
      else {
        double const s = v >= 0 ? 1 / (1 + std::exp(-v)) : std::exp(v) / (1 + std::exp(v));
        p_[e] = C.router.score == Score::sigmoid ? s : std::sqrt(std::fmax(v, 0.) + std::log1p(std::exp(-std::fabs(v))));
        slope_[e] = C.router.score == Score::sigmoid ? s * (1 - s) : p_[e] > 0 ? s / (2 * p_[e]) : 0;
      }
      sum += p_[e];
    }
    by_ = softmax ? sum : sum + 1e-20;
    for (int e = 0; e < E; ++e) p_[e] /= by_;
    log_sum_ = top + std::log(sum);
  }
  double operator[](int e) const { return p_[e]; }
  double log_sum_exp() const requires softmax { return log_sum_; }
  // dz[e] += factor * (gradient of the logits, when d[E] are those of the probabilities).
  void backward(double const* d, double factor, float* dz) const {
    double along = 0;
    for (int e = 0; e < E; ++e) along += d[e] * p_[e];
    for (int e = 0; e < E; ++e) dz[e] += static_cast<float>(factor * (d[e] - along) * (softmax ? p_[e] : slope_[e] / by_));
  }

 private:
  double p_[E], slope_[softmax ? 1 : E], by_ = 1, log_sum_ = 0;
};

// Calls each(first, last) for every sequence of `length` tokens; 0: all tokens are one.
template <class Each> void for_sequences(std::int64_t tokens, std::int64_t length, Each const& each) {
  std::int64_t const size = length > 0 ? length : tokens;
  for (std::int64_t first = 0; first < tokens; first += size) each(first, tokens - first < size ? tokens : first + size);
}

}}}

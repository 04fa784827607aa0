// How likely a noisy router was to choose each expert, a load with a gradient (Shazeer et al., arXiv 1701.06538, appendix A, eq. 8-10).
#pragma once
#include <cmath>
#include "../router/program.hpp"
#include "../stages.hpp"
#include "arguments.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// What a router with Noise::softplus drew. It keeps none of it: logits of deviations are W_noise x (Weights::noise), and noisy_logits() below
// makes its noisy ones again.
template <Config C> struct Drawn {
  static constexpr Config config = C;
  static constexpr int N = logit_columns(C);
  Rows<float const, N> noise_logits{};                                   // [T,N]  a deviation is softplus(n) + RouterConfig::noise_size
  Rows<float const, N> noisy{};                                          // [T,N]  logits + deviation * N(0,1), by which the experts were chosen
};
template <Config C> struct DrawnGradient {
  static constexpr Config config = C;
  static constexpr int N = logit_columns(C);
  Rows<float, N> logits{}, noise_logits{};                               // [T,N], added to; either may be left out
};

// noisy[T,N] as the router had them, bit for bit where noise_logits are: logits[T,N], noise_logits[T,N], Inputs::seed.
template <Config C>
void noisy_logits(Rows<float const, logit_columns(C)> logits, Rows<float const, logit_columns(C)> noise_logits, std::uint64_t seed,
                  Rows<float, logit_columns(C)> noisy, Where at = Where::here()) {
  static_assert(C.router.noise == Noise::softplus, "coterie::balance: noisy_logits are of a router with Noise::softplus");
  require(logits.rows >= 0 && (logits.data || logits.rows == 0), "balance: logits must be given", logits.rows, 0, at);
  require_rows(noise_logits, logits.rows, "balance: noise_logits must have as many rows as logits", at);
  require_rows(noisy, logits.rows, "balance: noisy must have as many rows as logits", at);
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    for (int e = 0; e < logit_columns(C); ++e) noisy[t][e] = logits[t][e];
    route::Program<C>::prepare(noisy[t], {.noise_logits = noise_logits[t], .seed = seed, .index = t});
  }
}

// P(e) of one token: that z_e with new noise would exceed the k-th largest of the other experts' noisy logits. The gradient goes through
// that threshold too, as in the authors' code (tensor2tensor).
template <Config C> class TopProbability {
 public:
  static constexpr Config config = C;
  static constexpr int E = candidates(C), K = C.top_k;

  TopProbability(float const* z, float const* noise_logits, float const* noisy) : z_(z), noise_(noise_logits), noisy_(noisy) {
    std::uint64_t heap[K + 1];
    route::best([noisy](int e) { return noisy[e]; }, E, K + 1, heap);
    for (int e = 0; e < E; ++e)                                          // of the chosen, the others' k-th is the first that was not
      above_[e] = route::index_of(heap[route::order_key(noisy[e], e) < heap[K - 1] ? K - 1 : K]);
  }
  double operator[](int e) const { return std::erfc(-distance(e) / std::sqrt(2.)) / 2; }
  // dz[e], dnoise[e] += factor * (gradient, when d[E] are those of the probabilities); either may be null.
  void backward(double const* d, double factor, float* dz, float* dnoise) const {
    double of_z[E]{}, of_deviation[E]{};
    for (int e = 0; e < E; ++e) {
      double const u = distance(e), s = deviation(e), slope = d[e] * 0.3989422804014327 * std::exp(-u * u / 2) / s;   // 1 / sqrt(2 pi)
      int const j = above_[e];
      of_z[e] += slope, of_deviation[e] -= slope * u;
      of_z[j] -= slope, of_deviation[j] -= slope * (double{noisy_[j]} - double{z_[j]}) / deviation(j);
    }
    for (int e = 0; e < E; ++e) {
      if (dz) dz[e] += static_cast<float>(factor * of_z[e]);
      if (dnoise) dnoise[e] += static_cast<float>(factor * of_deviation[e] / (1 + std::exp(-double{noise_[e]})));
    }
  }

 private:
  double deviation(int e) const {
    double const n = double{noise_[e]};
    return std::fmax(std::fmax(n, 0.) + std::log1p(std::exp(-std::fabs(n))) + double{C.router.noise_size}, 1e-30);     // where exp is 0
  }
  double distance(int e) const { return (double{z_[e]} - double{noisy_[above_[e]]}) / deviation(e); }

  float const *z_, *noise_, *noisy_;
  int above_[E];                                 // whose noisy logit e has to exceed
};

}}}

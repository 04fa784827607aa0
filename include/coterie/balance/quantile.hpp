// Selection biases that a batch itself asks for: each expert's is the quantile that would have given it its even share.
#pragma once
#include <algorithm>
#include <vector>
#include "../router/program.hpp"
#include "../stages.hpp"
#include "arguments.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// Quantile balancing (Kimi K3's technical report, section 2.3.3; exact as in Megatron-LM PR 5349, where TransformerEngine PR 3395 and torchtitan
// PR 4577 count histograms): a token's cutoff is the (k+1)-th largest score + bias, and b_e becomes the (T k / E + 1)-th smallest of
// cutoff - score_e over the T tokens, so that T k / E of them pass theirs; then the mean is taken off. One step of an alternation, to be called
// once after every step; rate below 1 goes that part of the way. bias[E], checkpoint layout; routing: logits[T,N] of the step's tokens.
// Tokens with a score that is not finite are left out; where every token has every expert, nothing changes.
template <Config C> void quantile_bias(float* bias, Routing<C> const& routing, double rate = 1, Where at = Where::here()) {
  static_assert(C.router.select == Select::top_k && C.router.select_bias != 0 && candidates(C) == C.experts,
                "coterie::balance: quantile_bias is of a router that takes the top k of scores with a selection bias, without groups and null experts");
  using Program = route::Program<C>;
  constexpr int E = C.experts, N = logit_columns(C), K = C.top_k;
  std::int64_t const tokens = routing.logits.rows;
  require(bias != nullptr, "balance: bias must be given", 0, 1, at);
  require(tokens >= 0 && (routing.logits.data || tokens == 0), "balance: routing.logits must be given (set Routing::logits before the router runs)", tokens, 0, at);
  if constexpr (K < E) {
    std::vector<float> gap[E];                   // [E][tokens]: cutoff - score
    std::vector<float> z(static_cast<std::size_t>(N));
    for (auto& g : gap) g.reserve(static_cast<std::size_t>(tokens));
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::copy_n(routing.logits[t], N, z.data());
      Program::prepare(z.data(), {});            // without noise: its seed is 0
      Program::score(z.data());
      std::uint64_t heap[K + 1];
      route::best([&](int e) { return z[static_cast<std::size_t>(e)] + bias[e]; }, E, K + 1, heap);
      float const last = z[static_cast<std::size_t>(route::index_of(heap[K]))], cutoff = last + bias[route::index_of(heap[K])];
      bool whole = finite(cutoff);
      for (int e = 0; e < E; ++e) whole = whole && finite(z[static_cast<std::size_t>(e)]);
      for (int e = 0; e < E && whole; ++e) gap[e].push_back(cutoff - z[static_cast<std::size_t>(e)]);
    }
    std::size_t const n = gap[0].size(), below = n * K / E;
    if (n == 0) return;
    double mean = 0;
    for (auto& g : gap) {
      std::nth_element(g.begin(), g.begin() + static_cast<std::ptrdiff_t>(below), g.end());
      mean += double{g[below]} / E;
    }
    for (int e = 0; e < E; ++e)                  // an infinite bias, by which the caller bars an expert, stays
      if (finite(bias[e])) bias[e] = static_cast<float>(double{bias[e]} + rate * (double{gap[e][below]} - mean - double{bias[e]}));
  }
}

}}}

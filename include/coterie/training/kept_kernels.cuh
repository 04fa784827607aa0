// Logits between a forward pass and its backward pass on the GPU, where those of the chosen are enough: a warp per token.
#pragma once
#include "../device/product.cuh"
#include "../router/program.hpp"
#include "../stages.hpp"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

template <Config C> struct ChosenLogits {
  Rows<std::int32_t const, slots(C)> expert;     // [T,S]
  Rows<float const, slots(C)> weight;            // [T,S]
  float *chosen, *logits;                        // [T,S + count], [T,N]
};
// logits -> chosen, once experts are chosen.
template <class Stage> __global__ void __launch_bounds__(128) keep_logits_kernel(ChosenLogits<Stage::config> const w) {
  constexpr Config c = Stage::config;
  constexpr int S = slots(c), count = shared_rows(c), N = logit_columns(c);
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  int const lane = static_cast<int>(threadIdx.x % 32);
  COTERIE_SYNC("keep_logits: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t >= w.expert.rows) return;
  for (int i = lane; i < S + count; i += 32) {
    std::int32_t const e = i < S ? w.expert[t][i] : N - count + i - S;
    w.chosen[t * (S + count) + i] = e >= 0 ? w.logits[t * N + e] : 0.f;
  }
}
// And back: unselected candidates have no part in a softmax. Where a weight is NaN, some logit was.
template <class Stage> __global__ void __launch_bounds__(128) spread_logits_kernel(ChosenLogits<Stage::config> const w) {
  constexpr Config c = Stage::config;
  constexpr int S = slots(c), count = shared_rows(c), N = logit_columns(c);
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  int const lane = static_cast<int>(threadIdx.x % 32);
  COTERIE_SYNC("spread_logits: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t >= w.expert.rows) return;
  int any = count > 0;                           // without a choice no softmax of those alone
  for (int s = lane; s < S; s += 32) any |= w.expert[t][s] >= 0;
  any = __any_sync(~0u, any);
  float const other = c.router.score != Score::softmax || !any ? 0.f : is_nan(w.weight[t][0]) ? math::quiet_nan : -math::infinity;
  float const* const from = w.chosen + t * (S + count);
  for (int e = lane; e < N; e += 32) {
    float z = e >= N - count ? from[S + e - (N - count)] : other;
    for (int s = 0; s < S; ++s)
      if (w.expert[t][s] == e) z = from[s];
    w.logits[t * N + e] = z;
  }
}

}}}}

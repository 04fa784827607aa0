// The rest of a transformer block as plain kernels, a block of threads per token; what block.hpp does on the host.
#pragma once
#include <coterie/cuda.cuh>
#include "block.hpp"

namespace example {

// A block of threads per token: y = x / rms(x) * weight, in the type of who reads it.
template <int H, class V> __global__ void rms_norm_kernel(float const* x, float const* weight, V* y) {
  COTERIE_SHARED(sum, float[1]);
  std::int64_t const t = blockIdx.x;
  if (threadIdx.x == 0) {
    sum[0] = 0;
    for (int h = 0; h < H; ++h) sum[0] += x[t * H + h] * x[t * H + h];
  }
  __syncthreads();
  for (int h = static_cast<int>(threadIdx.x); h < H; h += static_cast<int>(blockDim.x)) y[t * H + h] = coterie::from_float<V>(x[t * H + h] / sqrtf(sum[0] / H + 1e-5f) * weight[h]);
}
// y[t] (+)= w x[t], a block of Outputs threads per token.
template <int Outputs, int Inputs, bool Add> __global__ void matrix_kernel(float const* w, float const* x, float* y) {
  std::int64_t const t = blockIdx.x, o = threadIdx.x;
  float sum = Add ? y[t * Outputs + o] : 0.f;
  for (int i = 0; i < Inputs; ++i) sum = fmaf(w[o * Inputs + i], x[t * Inputs + i], sum);
  y[t * Outputs + o] = sum;
}
// Rotary positions, a thread per pair of a head.
template <int D> __global__ void rotate_kernel(float* x, int heads, std::int64_t position) {
  int const head = static_cast<int>(threadIdx.x) / (D / 2), i = static_cast<int>(threadIdx.x) % (D / 2);
  float* const p = x + (std::int64_t{blockIdx.x} * heads + head) * D;
  float const angle = static_cast<float>(position + blockIdx.x) * powf(1e6f, -2.f * static_cast<float>(i) / D), c = cosf(angle), s = sinf(angle), a = p[i], b = p[i + D / 2];
  p[i] = a * c - b * s, p[i + D / 2] = b * c + a * s;
}
// Causal attention over the cache, a thread per head of a token, with a running maximum.
template <int Heads, int KvHeads, int D> __global__ void attention_kernel(float const* q, float const* keys, float const* values, float* mixed, std::int64_t past) {
  constexpr int Q = Heads * D, KV = KvHeads * D;
  int const head = static_cast<int>(threadIdx.x), group = head / (Heads / KvHeads);
  std::int64_t const t = blockIdx.x;
  float most = -INFINITY, sum = 0, out[D] = {};
  for (std::int64_t p = 0; p <= past + t; ++p) {
    float score = 0;
    for (int d = 0; d < D; ++d) score += q[t * Q + head * D + d] * keys[p * KV + group * D + d];
    score /= sqrtf(static_cast<float>(D));
    float const higher = fmaxf(most, score), keep = expf(most - higher), weight = expf(score - higher);
    for (int d = 0; d < D; ++d) out[d] = out[d] * keep + weight * values[p * KV + group * D + d];
    sum = sum * keep + weight, most = higher;
  }
  for (int d = 0; d < D; ++d) mixed[t * Q + head * D + d] = out[d] / sum;
}
// x += y, a block of H threads per token.
template <int H, class V> __global__ void add_kernel(V const* y, float* x) { x[std::int64_t{blockIdx.x} * H + threadIdx.x] += coterie::to_float(y[std::int64_t{blockIdx.x} * H + threadIdx.x]); }

}

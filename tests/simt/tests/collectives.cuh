// Kernels around barriers, warp functions, atomics and fences.
#pragma once
#include <coterie/device/launch.cuh>

namespace samples {
using namespace coterie;

// out[block] = the sum of the block's share of x
template <int Threads> __global__ void block_sum_kernel(float const* x, float* out, int n) {
  COTERIE_SHARED(sums, float[Threads / 32]);
  int const thread = static_cast<int>(threadIdx.x);
  float v = 0;
  for (int i = static_cast<int>(blockIdx.x) * Threads + thread; i < n; i += static_cast<int>(gridDim.x) * Threads) v += x[i];
  for (int bit = 16; bit; bit /= 2) v += __shfl_xor_sync(~0u, v, bit);
  if (thread % 32 == 0) sums[thread / 32] = v;
  COTERIE_SYNC("sum: warps' sums written", __syncthreads());
  if (thread >= 32) return;
  v = thread < Threads / 32 ? sums[thread] : 0.f;
  for (int bit = 16; bit; bit /= 2) v += __shfl_xor_sync(~0u, v, bit);
  if (thread == 0) out[blockIdx.x] = v;
}

// The K largest of E values of each row, largest first, ties to the lower index; one warp a row.
template <int E, int K> __global__ void top_k_kernel(float const* x, int rows, int* index) {
  int const row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (row >= rows) return;
  unsigned key[E / 32];
  for (int i = 0; i < E / 32; ++i) {
    unsigned const bits = __float_as_uint(x[row * E + 32 * i + lane]);
    key[i] = bits ^ (static_cast<unsigned>(static_cast<int>(bits) >> 31) | 0x80000000u);                     // same order as the floats
  }
  for (int k = 0; k < K; ++k) {
    unsigned best = 0;
    for (unsigned v : key) best = max(best, v);
    unsigned const largest = __reduce_max_sync(~0u, best);
    int mine = E;
    for (int i = E / 32; i-- > 0;)
      if (key[i] == largest) mine = 32 * i + lane;
    int const winner = __reduce_min_sync(~0u, mine);
    for (int i = 0; i < E / 32; ++i)
      if (32 * i + lane == winner) key[i] = 0;
    if (lane == k) index[row * K + k] = winner;
  }
}

// A stable counting sort by one block of 256: order lists the positions of e by value, begin[v] the first of value v.
struct SortShared { int count[256], begin[256], warp_total[8]; };
[[maybe_unused]] __global__ static void __launch_bounds__(256) sort_kernel(int const* e, int n, int values, int* begin, int* order) {
  auto& s = ptx::dynamic_shared<SortShared>();
  int const thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  s.count[thread] = 0;
  COTERIE_SYNC("sort: counters zero", __syncthreads());
  for (int i = thread; i < n; i += 256) atomicAdd(&s.count[e[i]], 1);
  COTERIE_SYNC("sort: counted", __syncthreads());
  int const count = s.count[thread];
  int sum = count;
  for (int by = 1; by < 32; by *= 2) {
    int const left = __shfl_up_sync(~0u, sum, by);
    if (lane >= by) sum += left;
  }
  if (lane == 31) s.warp_total[warp] = sum;
  COTERIE_SYNC("sort: warps' totals", __syncthreads());
  int before = sum - count;
  for (int w = 0; w < warp; ++w) before += s.warp_total[w];
  s.begin[thread] = before;
  if (thread <= values) begin[thread] = before;
  COTERIE_SYNC("sort: beginnings", __syncthreads());
  if (warp > 0) return;
  for (int first = 0; first < n; first += 32) {
    int const i = first + lane, value = i < n ? e[i] : -1;
    unsigned const peers = __match_any_sync(~0u, value);
    int const rank = __popc(peers & ((1u << lane) - 1));
    int const at = value < 0 ? 0 : s.begin[value] + rank;
    COTERIE_SYNC("sort: beginnings read", __syncwarp());
    if (value >= 0 && rank == 0) s.begin[value] += __popc(peers);
    COTERIE_SYNC("sort: beginnings moved", __syncwarp());
    if (value >= 0) order[at] = i;
  }
}

// Warp 0 fills a box and hands it over, warp 1 empties it and hands it back.
[[maybe_unused]] __global__ static void hand_over_kernel(int const* in, int* out, int rounds) {
  COTERIE_SHARED(box, int[32]);
  int const lane = static_cast<int>(threadIdx.x) % 32;
  for (int i = 0; i < rounds; ++i)
    if (threadIdx.x < 32) {
      if (i > 0) COTERIE_SYNC("hand over: box empty", ptx::bar_sync(2, 64));
      box[lane] = in[i * 32 + lane];
      ptx::bar_arrive(1, 64);
    } else {
      COTERIE_SYNC("hand over: box full", ptx::bar_sync(1, 64));
      out[i * 32 + lane] = box[31 - lane];
      if (i + 1 < rounds) ptx::bar_arrive(2, 64);
    }
}

// The block that is done last adds up what all blocks wrote, in their order, and leaves the counter at zero.
[[maybe_unused]] __global__ static void last_block_kernel(float const* x, float* parts, unsigned* done, float* out) {
  COTERIE_SHARED(last, bool[1]);
  int const thread = static_cast<int>(threadIdx.x), size = static_cast<int>(blockDim.x), blocks = static_cast<int>(gridDim.x);
  parts[static_cast<int>(blockIdx.x) * size + thread] = 2 * x[static_cast<int>(blockIdx.x) * size + thread];
  COTERIE_SYNC("last block: part written", __syncthreads());
  if (thread == 0) {
    COTERIE_SYNC("last block: released", __threadfence());
    last[0] = atomicInc(done, gridDim.x - 1) == gridDim.x - 1;
    COTERIE_SYNC("last block: acquired", __threadfence());
  }
  COTERIE_SYNC("last block: everybody knows", __syncthreads());
  if (!last[0]) return;
  float sum = 0;
  for (int b = 0; b < blocks; ++b) sum += parts[b * size + thread];
  out[thread] = sum;
}

// Blocks draw tickets, and add to the sum in the order of their tickets.
[[maybe_unused]] __global__ static void turnstile_kernel(float const* x, float* sum, unsigned* tickets, unsigned* turn) {
  COTERIE_SHARED(ticket, unsigned[1]);
  if (threadIdx.x == 0) {
    ticket[0] = atomicAdd(tickets, 1u);
    while (atomicAdd(turn, 0u) != ticket[0]) {}
    COTERIE_SYNC("turnstile: acquired", __threadfence());
  }
  COTERIE_SYNC("turnstile: our turn", __syncthreads());
  sum[threadIdx.x] += x[ticket[0] * blockDim.x + threadIdx.x];
  COTERIE_SYNC("turnstile: added", __syncthreads());
  if (threadIdx.x == 0) {
    COTERIE_SYNC("turnstile: released", __threadfence());
    atomicAdd(turn, 1u);
  }
}

}

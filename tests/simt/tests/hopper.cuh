// Kernels of sm_90a: TMA, mbarriers, products of warpgroups, TMA stores.
#pragma once
#include <coterie/device/launch.cuh>

namespace samples {
using namespace coterie;

COTERIE_DEVICE int chunk_of(int row, int chunk) { return row * 64 + (chunk ^ row % 8) * 8; }       // of 16 bytes in a row of 64, swizzled

// c[M x N] = a[M x K] * b[N x K]^T in tiles of 64 x N. Warpgroup 0 loads, warpgroup 1 multiplies and stores; blocks walk the tiles.
template <class T, int N> struct PipelineShared {
  static constexpr int stages = 3;
  T a[stages][64 * 64], b[stages][N * 64], c[N / 64][64 * 64];             // tiles at multiples of 1024 bytes
  std::uint64_t full[stages], empty[stages];
};
template <class T, int N>
__global__ void __launch_bounds__(256, 1) pipeline_kernel(__grid_constant__ CUtensorMap const map_a, __grid_constant__ CUtensorMap const map_b,
                                                          __grid_constant__ CUtensorMap const map_c, int tiles_m, int tiles_n, int steps) {
  auto& s = ptx::dynamic_shared<PipelineShared<T, N>>();
  constexpr int stages = PipelineShared<T, N>::stages;
  int const warp = __shfl_sync(~0u, static_cast<int>(threadIdx.x) / 32, 0), lane = static_cast<int>(threadIdx.x) % 32;
  if (threadIdx.x == 0) {
    for (int i = 0; i < stages; ++i) {
      ptx::mbarrier_init(&s.full[i], 1);
      ptx::mbarrier_init(&s.empty[i], 4);
    }
    COTERIE_SYNC("pipeline: mbarriers known to TMA", ptx::fence_barrier_init());
  }
  COTERIE_SYNC("pipeline: mbarriers initialised", __syncthreads());
  if (warp < 4) {
    ptx::setmaxnreg_dec<40>();
    if (warp == 0 && ptx::elect_one()) {
      int stage = 0;
      unsigned phase = 1;
#pragma unroll 1
      for (int tile = static_cast<int>(blockIdx.x); tile < tiles_m * tiles_n; tile += static_cast<int>(gridDim.x))
#pragma unroll 1
        for (int k = 0; k < steps; ++k) {
          COTERIE_SYNC("pipeline: the stage is free", ptx::mbarrier_wait(&s.empty[stage], phase));
          ptx::mbarrier_arrive_expect_tx(&s.full[stage], (64 + N) * 64 * sizeof(T));
          ptx::tma_load_2d(s.a[stage], &map_a, &s.full[stage], k * 64, tile / tiles_n * 64);
          ptx::tma_load_2d(s.b[stage], &map_b, &s.full[stage], k * 64, tile % tiles_n * N, ptx::L2::evict_last);
          if (++stage == stages) stage = 0, phase ^= 1;
        }
    }
  } else {
    ptx::setmaxnreg_inc<232>();
    int stage = 0;
    unsigned phase = 0;
#pragma unroll 1
    for (int tile = static_cast<int>(blockIdx.x); tile < tiles_m * tiles_n; tile += static_cast<int>(gridDim.x)) {
      float d[N / 2];
#pragma unroll 1
      for (int k = 0; k < steps; ++k) {
        COTERIE_SYNC("pipeline: the stage has arrived", ptx::mbarrier_wait(&s.full[stage], phase));
        COTERIE_SYNC("pipeline: accumulators before products", ptx::wgmma_fence(d));
#pragma unroll
        for (int i = 0; i < 4; ++i)
          ptx::wgmma_m64k16<N, T>(d, ptx::descriptor_k128(s.a[stage]) + 2 * i, ptx::descriptor_k128(s.b[stage]) + 2 * i, (k | i) != 0);
        ptx::wgmma_commit();
        COTERIE_SYNC("pipeline: products over", ptx::wgmma_wait<0>(d));
        if (lane == 0) ptx::mbarrier_arrive(&s.empty[stage]);
        if (++stage == stages) stage = 0, phase ^= 1;
      }
      if (threadIdx.x == 128) COTERIE_SYNC("pipeline: the last tile has been read", ptx::tma_store_wait_read<0>());
      COTERIE_SYNC("pipeline: for all who write the next", ptx::bar_sync(1, 128));
#pragma unroll
      for (int j = 0; j < N / 16; ++j) {
        std::uint32_t const r[4]{ptx::pack2<T>(d[8 * j], d[8 * j + 1]), ptx::pack2<T>(d[8 * j + 2], d[8 * j + 3]),
                                 ptx::pack2<T>(d[8 * j + 4], d[8 * j + 5]),
                                 ptx::pack2<T>(d[8 * j + 6], d[8 * j + 7])};
        ptx::stmatrix_x4(&s.c[j / 4][chunk_of(warp % 4 * 16 + lane % 16, j % 4 * 2 + lane / 16)], r);
      }
      COTERIE_SYNC("pipeline: the tile visible to TMA", ptx::fence_proxy_async());
      COTERIE_SYNC("pipeline: the tile complete", ptx::bar_sync(1, 128));
      if (threadIdx.x == 128) {
        for (int i = 0; i < N / 64; ++i) ptx::tma_store_2d(&map_c, s.c[i], tile % tiles_n * N + 64 * i, tile / tiles_n * 64);
        ptx::tma_store_commit();
      }
    }
    if (threadIdx.x == 128) COTERIE_SYNC("pipeline: stores have read before the end", ptx::tma_store_wait_read<0>());
  }
}

// A warpgroup's sums as c[64 x N].
template <int N> COTERIE_DEVICE void store_sums(float const (&d)[N / 2], float* c) {
  int const lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
#pragma unroll
  for (int j = 0; j < N / 8; ++j)
#pragma unroll
    for (int h = 0; h < 2; ++h)
      ptx::store8(c + (warp * 16 + lane / 4 + 8 * h) * N + 8 * j + 2 * (lane % 4),
                  {__float_as_uint(d[4 * j + 2 * h]), __float_as_uint(d[4 * j + 2 * h + 1])});
}

// c[64 x N] = a[64 x 64] * b[N x 64]^T with operands written by ordinary stores, in two groups of products.
template <class T, int N> struct FillShared { T a[64 * 64], b[N * 64]; };
template <class T, int N> __global__ void __launch_bounds__(128) fill_kernel(T const* a, T const* b, float* c) {
  auto& s = ptx::dynamic_shared<FillShared<T, N>>();
  int const thread = static_cast<int>(threadIdx.x);
  for (int i = thread; i < 64 * 8; i += 128) ptx::store16(&s.a[chunk_of(i / 8, i % 8)], ptx::load16_stream(a + i * 8));
  for (int i = thread; i < N * 8; i += 128) ptx::store16(&s.b[chunk_of(i / 8, i % 8)], ptx::load16_stream(b + i * 8));
  COTERIE_SYNC("fill: written before the async proxy reads", ptx::fence_proxy_async());
  COTERIE_SYNC("fill: by all", __syncthreads());
  float d[N / 2];
  COTERIE_SYNC("fill: accumulators before products", ptx::wgmma_fence(d));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    ptx::wgmma_m64k16<N, T>(d, ptx::descriptor_k128(s.a) + 2 * i, ptx::descriptor_k128(s.b) + 2 * i, i != 0);
    if (i == 1) ptx::wgmma_commit();
  }
  ptx::wgmma_commit();
  ptx::wgmma_wait<1>(d);
  COTERIE_SYNC("fill: products over", ptx::wgmma_wait<0>(d));
  store_sums<N>(d, c);
}

// The same from operands that TMA loads, of which those that M names lie in memory as [64 x 64] and [64 x N], rows along K.
template <class T, int N> struct MnShared { T a[64 * 64], b[N * 64]; std::uint64_t bar; };
template <ptx::MnMajor M, int N, class T>
__global__ void __launch_bounds__(128) mn_kernel(__grid_constant__ CUtensorMap const map_a, __grid_constant__ CUtensorMap const map_b, float* c) {
  constexpr bool a_mn = M != ptx::MnMajor::b, b_mn = M != ptx::MnMajor::a;
  auto& s = ptx::dynamic_shared<MnShared<T, N>>();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&s.bar, 1);
    ptx::fence_barrier_init();
    ptx::mbarrier_arrive_expect_tx(&s.bar, (64 + N) * 64 * sizeof(T));
    ptx::tma_load_2d(s.a, &map_a, &s.bar, 0, 0);
    for (int i = 0; i < (b_mn ? N / 64 : 1); ++i) ptx::tma_load_2d(s.b + i * 64 * 64, &map_b, &s.bar, i * 64, 0);
  }
  __syncthreads();
  ptx::mbarrier_wait(&s.bar, 0);
  float d[N / 2];
  ptx::wgmma_fence(d);
#pragma unroll
  for (int i = 0; i < 4; ++i)
    ptx::wgmma_m64k16_mn<M, N, T>(d, a_mn ? ptx::descriptor_mn128(s.a, 64) + 128 * i : ptx::descriptor_k128(s.a) + 2 * i,
                                  b_mn ? ptx::descriptor_mn128(s.b, 64) + 128 * i : ptx::descriptor_k128(s.b) + 2 * i, i != 0);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
  store_sums<N>(d, c);
}

// c[64 x 128] = a^T b over `count` (not 0) rows before row `end` of packed tensors [rows x 64] and [rows x 128]: a sum of ragged length, by maps
// whose bounds end with the group.
template <class T>
__global__ void __launch_bounds__(128) ragged_kernel(__grid_constant__ CUtensorMap const map_a, __grid_constant__ CUtensorMap const map_b, int count,
                                                     int end, float* c) {
  auto& s = ptx::dynamic_shared<MnShared<T, 128>>();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&s.bar, 1);
    ptx::fence_barrier_init();
  }
  __syncthreads();
  float d[64];
  unsigned phase = 0;
#pragma unroll 1
  for (int row = 0; row < count; row += 64, phase ^= 1) {
    if (threadIdx.x == 0) {
      ptx::mbarrier_arrive_expect_tx(&s.bar, (64 + 128) * 64 * sizeof(T));             // rows beyond the group are zeros, and count
      ptx::tma_load_4d(s.a, &map_a, &s.bar, 0, (1 << 30) - count + row, 1 << 30, end);
      for (int i = 0; i < 2; ++i) ptx::tma_load_4d(s.b + i * 64 * 64, &map_b, &s.bar, i * 64, (1 << 30) - count + row, 1 << 30, end);
    }
    COTERIE_SYNC("ragged: the rows have arrived", ptx::mbarrier_wait(&s.bar, phase));
    COTERIE_SYNC("ragged: accumulators before products", ptx::wgmma_fence(d));
#pragma unroll
    for (int i = 0; i < 4; ++i)
      ptx::wgmma_m64k16_mn<ptx::MnMajor::both, 128, T>(d, ptx::descriptor_mn128(s.a, 64) + 128 * i, ptx::descriptor_mn128(s.b, 64) + 128 * i,
                                                       (row | i) != 0);
    ptx::wgmma_commit();
    COTERIE_SYNC("ragged: products over", ptx::wgmma_wait<0>(d));
    COTERIE_SYNC("ragged: the rows have been read", __syncthreads());
  }
  store_sums<128>(d, c);
}

}

// Kernels around the matrix instructions.
#pragma once
#include <coterie/device/launch.cuh>

namespace samples {
using namespace coterie;

// c[M x N] = a[M x K] * b[N x K]^T for multiples of 64: tiles of 64 x 64 x 64, three stages of cp.async, rows of 128 bytes swizzled.
template <class T> struct RingShared { T a[3][64 * 64], b[3][64 * 64]; };
COTERIE_DEVICE int swizzled_chunk(int row, int chunk) { return row * 64 + (chunk ^ row % 8) * 8; }

template <class T> __global__ void __launch_bounds__(128) ring_gemm_kernel(T const* a, T const* b, float* c, int columns, int depth) {
  auto& s = ptx::dynamic_shared<RingShared<T>>();
  int const thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  int const m0 = static_cast<int>(blockIdx.y) * 64, n0 = static_cast<int>(blockIdx.x) * 64, m = warp / 2 * 32, n = warp % 2 * 32, steps = depth / 64;
  auto const load = [&](int step) {
    if (step < steps)
      for (int i = thread; i < 512; i += 128) {
        int const row = i / 8, chunk = i % 8;
        ptx::cp_async16(&s.a[step % 3][swizzled_chunk(row, chunk)], a + std::int64_t{m0 + row} * depth + step * 64 + chunk * 8);
        ptx::cp_async16(&s.b[step % 3][swizzled_chunk(row, chunk)], b + std::int64_t{n0 + row} * depth + step * 64 + chunk * 8);
      }
    ptx::cp_async_commit();
  };
  float d[2][4][4] = {};
  load(0);
  load(1);
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    COTERIE_SYNC("ring: the stage has arrived", ptx::cp_async_wait<1>());
    COTERIE_SYNC("ring: for everybody, and the next stage is free", __syncthreads());
    load(step + 2);
#pragma unroll
    for (int k = 0; k < 8; k += 2) {
      std::uint32_t fa[2][4], fb[2][4];
      for (int i = 0; i < 2; ++i) ptx::ldmatrix_x4(fa[i], &s.a[step % 3][swizzled_chunk(m + 16 * i + lane % 16, k + lane / 16)]);
      for (int j = 0; j < 2; ++j) ptx::ldmatrix_x4(fb[j], &s.b[step % 3][swizzled_chunk(n + 16 * j + lane % 8 + lane / 16 * 8, k + lane / 8 % 2)]);
      for (int i = 0; i < 2; ++i)
        for (int j = 0; j < 4; ++j) ptx::mma_m16n8k16<T>(d[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  }
  for (int i = 0; i < 2; ++i)
    for (int j = 0; j < 4; ++j)
      for (int h = 0; h < 2; ++h) {
        float* const to = c + std::int64_t{m0 + m + 16 * i + lane / 4 + 8 * h} * columns + n0 + n + 8 * j + lane % 4 * 2;
        ptx::store8(to, {__float_as_uint(d[i][j][2 * h]), __float_as_uint(d[i][j][2 * h + 1])});
      }
}

}

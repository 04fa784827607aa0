// Kernels that meet other kernels.
#pragma once
#include <coterie/device/launch.cuh>

namespace samples {
using namespace coterie;

[[maybe_unused]] __global__ static void add_kernel(float const* x, float* y, float by, int n) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + by;
}
// As add_kernel, in a chain of programmatic launches.
[[maybe_unused]] __global__ static void chained_add_kernel(float const* x, float* y, float by, int n) {
  COTERIE_SHARED(constants, float[1]);
  if (threadIdx.x == 0) constants[0] = by;       // what needs nobody's results
  __syncthreads();
  ptx::grid_dependency_launch();
  COTERIE_SYNC("chain: the kernels before are over", ptx::grid_dependency_wait());
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + constants[0];
}
// One thread waits, a barrier tells the others.
[[maybe_unused]] __global__ static void chained_by_one_kernel(float const* x, float* y, float by, int n) {
  if (threadIdx.x == 0) ptx::grid_dependency_wait();
  COTERIE_SYNC("chain: told the block", __syncthreads());
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) y[i] = x[i] + by;
}
// Writes the same number wherever it starts, and needs nothing: it does not wait, and who follows it must not rely on more.
[[maybe_unused]] __global__ static void careless_kernel(float* y, float v) {
  ptx::grid_dependency_launch();
  y[threadIdx.x] = v;
}

}

// What nvcc.sh must refuse: a local array that needs a stack; more values than there are registers; for sm_90a, accumulators read while a product works on them; and
// instructions, kernels and waits that are not there.
// opcodes sm_80 stack_kernel: LDSM
// opcodes sm_80 spill_kernel absent_kernel: FENCE
// opcodes sm_90a early_kernel: HGMMA HMMA
#include <coterie/device/ptx.cuh>

__global__ void stack_kernel(int const* index, int* out) {
  int local[64];
  for (int i = 0; i < 64; ++i) local[index[i]] = i;
  out[threadIdx.x] = local[index[threadIdx.x]];
}
__global__ void __launch_bounds__(1024, 2) spill_kernel(float const* x, float* y) {
  float v[64], sum = 0;
  for (int i = 0; i < 64; ++i) v[i] = x[i * 1024 + threadIdx.x];
  __syncthreads();
  for (int i = 0; i < 64; ++i)
    for (int j = 0; j < 64; ++j) sum = sum * v[i] + v[j];
  y[threadIdx.x] = sum;
}
__global__ void __launch_bounds__(128) early_kernel(float* out) {
  auto const tile = coterie::ptx::dynamic_shared<coterie::bf16[64 * 64]>();
  float d[32];
  coterie::ptx::wgmma_fence(d);
  coterie::ptx::wgmma_m64k16<64, coterie::bf16>(d, coterie::ptx::descriptor_k128(tile), coterie::ptx::descriptor_k128(tile), false);
  coterie::ptx::wgmma_commit();
  out[threadIdx.x] = d[0];
}
// As the library's, but without the architecture in its name, and started beside the kernel ahead without a wait for it.
namespace coterie {
__global__ void late_kernel(float* out) { out[threadIdx.x] += 1; }
}

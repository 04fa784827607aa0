// What nvcc.sh must refuse: a local array that needs a stack; and, for sm_90a, accumulators read while a product works on them.
#include <coterie/device/ptx.cuh>

__global__ void stack_kernel(int const* index, int* out) {
  int local[64];
  for (int i = 0; i < 64; ++i) local[index[i]] = i;
  out[threadIdx.x] = local[index[threadIdx.x]];
}
__global__ void __launch_bounds__(128) early_kernel(float* out) {
  auto const tile = coterie::ptx::dynamic_shared<coterie::bf16[64 * 64]>();
  float d[32];
  coterie::ptx::wgmma_fence(d);
  coterie::ptx::wgmma_m64k16<64, coterie::bf16>(d, coterie::ptx::descriptor_k128(tile), coterie::ptx::descriptor_k128(tile), false);
  coterie::ptx::wgmma_commit();
  out[threadIdx.x] = d[0];
}

// The emulator's sample kernels and every width of product, for nvcc.
// opcodes sm_90a to_fp8_kernel: F2FP
// opcodes sm_90a of_fp8_kernel: F2FP
// opcodes sm_90a mn_kernel ragged_kernel: HGMMA UTMALDG
#include "../tests/collectives.cuh"
#include "../tests/grids.cuh"
#include "../tests/hopper.cuh"
#include "../tests/instructions.cuh"
#include "../tests/matrices.cuh"

namespace {
using namespace coterie;

template <class... P> void use(void (*kernel)(P...)) {
  cudaFuncAttributes attributes;
  check(cudaFuncGetAttributes(&attributes, reinterpret_cast<void const*>(kernel)));
}
template <class T> void use_all() {
  use(samples::ring_gemm_kernel<T>), use(samples::mma_kernel<T>), use(samples::convert_kernel<T>);
  use(samples::pipeline_kernel<T, 64>), use(samples::pipeline_kernel<T, 128>), use(samples::pipeline_kernel<T, 256>);
  use(samples::fill_kernel<T, 8>), use(samples::fill_kernel<T, 16>), use(samples::fill_kernel<T, 32>), use(samples::fill_kernel<T, 64>);
  use(samples::fill_kernel<T, 128>), use(samples::fill_kernel<T, 192>), use(samples::fill_kernel<T, 256>);
  use(samples::mn_kernel<ptx::MnMajor::a, 128, T>), use(samples::mn_kernel<ptx::MnMajor::b, 128, T>), use(samples::mn_kernel<ptx::MnMajor::both, 128, T>);
  use(samples::ragged_kernel<T>);
  use(samples::mn_kernel<ptx::MnMajor::a, 256, T>), use(samples::mn_kernel<ptx::MnMajor::b, 256, T>), use(samples::mn_kernel<ptx::MnMajor::both, 256, T>);
}
}

void use_samples(float const* x, float* y, cudaStream_t stream) {
  use_all<bf16>();
  use_all<fp16>();
  use(samples::to_fp8_kernel<fp8_e4m3>), use(samples::to_fp8_kernel<fp8_e5m2>), use(samples::of_fp8_kernel<fp8_e4m3>), use(samples::of_fp8_kernel<fp8_e5m2>);
  use(samples::block_sum_kernel<256>), use(samples::top_k_kernel<96, 7>), use(samples::sort_kernel), use(samples::hand_over_kernel);
  use(samples::last_block_kernel), use(samples::turnstile_kernel), use(samples::chained_by_one_kernel), use(samples::careless_kernel);
  use(samples::ldmatrix_kernel<samples::Matrices::x4>), use(samples::ldmatrix_kernel<samples::Matrices::x4_transposed>);
  use(samples::ldmatrix_kernel<samples::Matrices::x2>), use(samples::stmatrix_kernel), use(samples::move_kernel), use(samples::special_kernel), use(samples::zero_fill_kernel);
  use(samples::elect_kernel), use(samples::parity_kernel), use(samples::box_kernel<2>), use(samples::box_kernel<3>), use(samples::box_kernel<4>);
  use(samples::unbox_kernel<2>), use(samples::unbox_kernel<3>);
  launch(samples::add_kernel, Launch{.grid = 1, .block = 64}, stream, Where::here(), x, y, 1.f, 64);
  launch(samples::chained_add_kernel, Launch{.grid = 1, .block = 64, .shared = 0, .programmatic = 1}, stream, Where::here(), x, y, 1.f, 64);
}

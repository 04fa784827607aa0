// One kernel for each instruction: what goes in and what comes out, thread by thread.
#pragma once
#include <coterie/device/launch.cuh>

namespace samples {
using namespace coterie;

enum class Matrices : int { x4, x4_transposed, x2 };
// Four 8x8 matrices one after the other in, each lane's registers out.
template <Matrices How> __global__ void ldmatrix_kernel(std::uint16_t const* in, std::uint32_t* out) {
  COTERIE_SHARED(tile, uint4[32]);
  tile[threadIdx.x] = ptx::load16(in + threadIdx.x * 8);
  __syncwarp();
  std::uint32_t r[4] = {}, pair[2];
  if constexpr (How == Matrices::x4) ptx::ldmatrix_x4(r, &tile[threadIdx.x]);
  else if constexpr (How == Matrices::x4_transposed) ptx::ldmatrix_x4_trans(r, &tile[threadIdx.x]);
  else ptx::ldmatrix_x2(pair, &tile[threadIdx.x % 16]), r[0] = pair[0], r[1] = pair[1];
  ptx::store16(out + threadIdx.x * 4, {r[0], r[1], r[2], r[3]});
}
[[maybe_unused]] __global__ static void stmatrix_kernel(std::uint32_t const* in, std::uint16_t* out) {
  COTERIE_SHARED(tile, uint4[32]);
  uint4 const v = ptx::load16(in + threadIdx.x * 4);
  std::uint32_t const r[4]{v.x, v.y, v.z, v.w};
  ptx::stmatrix_x4(&tile[threadIdx.x], r);
  __syncwarp();
  ptx::store16(out + threadIdx.x * 8, ptx::load16(&tile[threadIdx.x]));
}
// Fragments in: a[lane][4], b[lane][2], d[lane][4]; d out.
template <class T> __global__ void mma_kernel(std::uint32_t const* a, std::uint32_t const* b, float* d) {
  std::uint32_t fa[4];
  float fd[4];
  for (int i = 0; i < 4; ++i) fa[i] = a[threadIdx.x * 4 + i], fd[i] = d[threadIdx.x * 4 + i];
  ptx::mma_m16n8k16<T>(fd, fa, b[threadIdx.x * 2], b[threadIdx.x * 2 + 1]);
  for (int i = 0; i < 4; ++i) d[threadIdx.x * 4 + i] = fd[i];
}
template <class T> __global__ void convert_kernel(float const* in, std::uint32_t* packed, float2* back) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  packed[i] = ptx::pack2<T>(in[2 * i], in[2 * i + 1]);
  back[i] = ptx::unpack2<T>(packed[i]);
}
template <class T> __global__ void to_fp8_kernel(float const* in, std::uint16_t* packed) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  packed[i] = ptx::pack2_fp8<T>(in[2 * i], in[2 * i + 1]);
}
template <class T> __global__ void of_fp8_kernel(std::uint16_t const* packed, std::uint32_t* back) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  back[i] = ptx::unpack2_fp8<T>(packed[i]);
}
[[maybe_unused]] __global__ static void special_kernel(float const* in, float2* out) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  out[i] = {ptx::exp2(in[i]), ptx::reciprocal(in[i])};
}
[[maybe_unused]] __global__ static void move_kernel(char const* in, char* out) {            // 16 + 16 + 8 + 4 bytes
  ptx::store16(out, ptx::load16(in));
  ptx::store16(out + 16, ptx::load16_stream(in + 16));
  ptx::store8(out + 32, ptx::load8(in + 32));
  ptx::store4(out + 40, ptx::load4(in + 40));
}
[[maybe_unused]] __global__ static void zero_fill_kernel(uint4 const* in, uint4* out) {       // odd lanes ask for zeros
  COTERIE_SHARED(tile, uint4[32]);
  ptx::cp_async16(&tile[threadIdx.x], in + threadIdx.x, threadIdx.x % 2 == 0);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  out[threadIdx.x] = tile[threadIdx.x];
}
[[maybe_unused]] __global__ static void elect_kernel(int* chosen) {
  for (int i = 0; i < 3; ++i) chosen[i * 32 + threadIdx.x] = ptx::elect_one();
}
[[maybe_unused]] __global__ static void parity_kernel(int* out) {
  COTERIE_SHARED(bar, std::uint64_t[1]);
  ptx::mbarrier_init(bar, 2);
  out[0] = ptx::mbarrier_test(bar, 1), out[1] = ptx::mbarrier_test(bar, 0);
  ptx::mbarrier_arrive(bar);
  out[2] = ptx::mbarrier_test(bar, 0);
  ptx::mbarrier_arrive(bar);
  out[3] = ptx::mbarrier_test(bar, 0), out[4] = ptx::mbarrier_test(bar, 1);
}
// One box from the tensor, as it lies in shared memory.
struct BoxShared { unsigned char tile[16384]; std::uint64_t bar; };
template <int Rank> __global__ void box_kernel(__grid_constant__ CUtensorMap const map, int4 at, int bytes, unsigned char* out) {
  auto& s = ptx::dynamic_shared<BoxShared>();
  if (threadIdx.x == 0) {
    ptx::mbarrier_init(&s.bar, 1);
    ptx::fence_barrier_init();
    ptx::tma_prefetch_map(&map);
    ptx::mbarrier_arrive_expect_tx(&s.bar, static_cast<unsigned>(bytes));
    if constexpr (Rank == 2) ptx::tma_load_2d(s.tile, &map, &s.bar, at.x, at.y, ptx::L2::evict_first);
    else if constexpr (Rank == 3) ptx::tma_load_3d(s.tile, &map, &s.bar, at.x, at.y, at.z, ptx::L2::evict_last);
    else ptx::tma_load_4d(s.tile, &map, &s.bar, at.x, at.y, at.z, at.w);
  }
  __syncthreads();
  ptx::mbarrier_wait(&s.bar, 0);
  for (int i = static_cast<int>(threadIdx.x); i < bytes; i += static_cast<int>(blockDim.x)) out[i] = s.tile[i];
}
// And a box of bytes back into it.
template <int Rank> __global__ void unbox_kernel(__grid_constant__ CUtensorMap const map, int4 at, int bytes, unsigned char const* in) {
  auto& s = ptx::dynamic_shared<BoxShared>();
  for (int i = static_cast<int>(threadIdx.x); i < bytes; i += static_cast<int>(blockDim.x)) s.tile[i] = in[i];
  ptx::fence_proxy_async();
  __syncthreads();
  if (threadIdx.x > 0) return;
  if constexpr (Rank == 2) ptx::tma_store_2d(&map, s.tile, at.x, at.y);
  else ptx::tma_store_3d(&map, s.tile, at.x, at.y, at.z);
  ptx::tma_store_commit();
  ptx::tma_store_wait<0>();
}

}

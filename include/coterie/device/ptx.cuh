// Every PTX instruction the library uses, one thin function each; no other file has asm, but for tma.cuh, wgmma.cuh and wgmma_mn.cuh,
// which this one includes. Compiled by g++ with COTERIE_SIMT the same names come from the emulator (tests/simt/), so that the kernels
// run without a GPU. Pointers are ordinary ones: the 32-bit addresses of shared memory exist in these files only.
#pragma once
#include "../dtype.hpp"
#if defined(__CUDACC__)
#include <cuda.h>
#include <cuda_runtime.h>

// The mark of a device function.
#define COTERIE_DEVICE __device__ __forceinline__
// A small array in shared memory: COTERIE_SHARED(sums, float[8]);
#define COTERIE_SHARED(name, ...) __shared__ ::coterie::ptx::same<__VA_ARGS__> name
// A synchronisation with a name, so that a test can leave it out and demand that this is noticed.
#define COTERIE_SYNC(name, ...) __VA_ARGS__
// Kernels, and what starts them, carry the list of architectures they were compiled for in their names (sm_800900 for 8.0 and 9.0), so
// that one program may link code compiled for different ones.
#define COTERIE_PASTE(a, b, c, d, e, f, g, h, ...) sm_##a##b##c##d##e##f##g##h
#define COTERIE_PASTE_LIST(...) COTERIE_PASTE(__VA_ARGS__)
#define COTERIE_CUDA_BUILD COTERIE_PASTE_LIST(__CUDA_ARCH_LIST__, , , , , , , , )

namespace coterie { inline namespace v0 { namespace ptx {

template <class T> using same = T;

COTERIE_DEVICE std::uint32_t shared_address(void const* p) { return static_cast<std::uint32_t>(__cvta_generic_to_shared(p)); }

// The kernel's struct over its dynamic shared memory, which starts at a multiple of 1024 bytes.
template <class T> COTERIE_DEVICE T& dynamic_shared() {
  extern __shared__ __align__(1024) unsigned char coterie_dynamic_shared[];
  return *reinterpret_cast<T*>(coterie_dynamic_shared);
}

// Loads and stores of one instruction, aligned to their size.
COTERIE_DEVICE uint4 load16(void const* p) { return *static_cast<uint4 const*>(p); }
COTERIE_DEVICE uint2 load8(void const* p) { return *static_cast<uint2 const*>(p); }
COTERIE_DEVICE std::uint32_t load4(void const* p) { return *static_cast<std::uint32_t const*>(p); }
COTERIE_DEVICE void store16(void* p, uint4 v) { *static_cast<uint4*>(p) = v; }
COTERIE_DEVICE void store8(void* p, uint2 v) { *static_cast<uint2*>(p) = v; }
COTERIE_DEVICE void store4(void* p, std::uint32_t v) { *static_cast<std::uint32_t*>(p) = v; }
// 16 bytes of global memory that this kernel does not write and that nobody reads again soon.
COTERIE_DEVICE uint4 load16_stream(void const* p) {
  uint4 v;
  asm volatile("ld.global.nc.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];" : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w) : "l"(p) : "memory");
  return v;
}

// Asynchronous copies of 16 bytes from global to shared memory; zeros when not valid (the address must be one all the same).
COTERIE_DEVICE void cp_async16(void* shared, void const* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0) : "memory");
}
COTERIE_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Waits until at most N of this thread's newest groups are under way.
template <int N> COTERIE_DEVICE void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

// 8x8 matrices of 16-bit elements; lane i gives the address of row i % 8 of matrix i / 8 (16 bytes, aligned).
COTERIE_DEVICE void ldmatrix_x4(std::uint32_t (&r)[4], void const* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
COTERIE_DEVICE void ldmatrix_x4_trans(std::uint32_t (&r)[4], void const* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(row)) : "memory");
}
COTERIE_DEVICE void ldmatrix_x2(std::uint32_t (&r)[2], void const* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0, %1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(row)) : "memory");
}
// sm_90
COTERIE_DEVICE void stmatrix_x4(void* row, std::uint32_t const (&r)[4]) {
#if __CUDA_ARCH__ >= 900
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};"
               ::"r"(shared_address(row)), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
#else
  __trap();
#endif
}

// d[16x8] += a[16x16] * b[16x8]. With g = lane / 4 and t = lane % 4, low half first:
// a[0] is (g, 2t), a[1] (g + 8, 2t), a[2] (g, 2t + 8), a[3] (g + 8, 2t + 8); b0 is (2t, g), b1 (2t + 8, g);
// d[0] and d[1] are (g, 2t) and (g, 2t + 1), d[2] and d[3] the same of row g + 8.
template <class T> COTERIE_DEVICE void mma_m16n8k16(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t b0, std::uint32_t b1) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, fp16>, "mma_m16n8k16: T is coterie::bf16 or coterie::fp16");
  if constexpr (std::is_same_v<T, bf16>)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Two floats, rounded to nearest even, in one register; and back.
template <class T> COTERIE_DEVICE std::uint32_t pack2(float low, float high) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, fp16>, "pack2: T is coterie::bf16 or coterie::fp16");
  std::uint32_t v;
  if constexpr (std::is_same_v<T, bf16>) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(v) : "f"(high), "f"(low));
  return v;
}
template <class T> COTERIE_DEVICE float2 unpack2(std::uint32_t v) {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, fp16>, "unpack2: T is coterie::bf16 or coterie::fp16");
  float2 r;
  if constexpr (std::is_same_v<T, bf16>) r = {__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u)};
  else asm("{\n.reg .b16 l, h;\nmov.b32 {l, h}, %2;\ncvt.f32.f16 %0, l;\ncvt.f32.f16 %1, h;\n}" : "=f"(r.x), "=f"(r.y) : "r"(v));
  return r;
}

// 2^x and 1/x by the special function units, within 2 units in the last place and 1; what is not a normal number counts as 0.
COTERIE_DEVICE float exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
COTERIE_DEVICE float reciprocal(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Two floats as two numbers of 8 bits, rounded to nearest even; what is larger than the largest becomes the largest, a NaN a NaN. sm_89.
template <class T> COTERIE_DEVICE std::uint16_t pack2_fp8(float low, float high) {
  static_assert(std::is_same_v<T, fp8_e4m3> || std::is_same_v<T, fp8_e5m2>, "pack2_fp8: T is coterie::fp8_e4m3 or coterie::fp8_e5m2");
  std::uint16_t v = 0;
#if __CUDA_ARCH__ >= 890
  if constexpr (std::is_same_v<T, fp8_e4m3>) asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(v) : "f"(high), "f"(low));
  else asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(v) : "f"(high), "f"(low));
#else
  __trap();
#endif
  return v;
}
// And back, to two fp16 in one register, exactly. sm_89.
template <class T> COTERIE_DEVICE std::uint32_t unpack2_fp8(std::uint16_t v) {
  static_assert(std::is_same_v<T, fp8_e4m3> || std::is_same_v<T, fp8_e5m2>, "unpack2_fp8: T is coterie::fp8_e4m3 or coterie::fp8_e5m2");
  std::uint32_t r = 0;
#if __CUDA_ARCH__ >= 890
  if constexpr (std::is_same_v<T, fp8_e4m3>) asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(r) : "h"(v));
  else asm("cvt.rn.f16x2.e5m2x2 %0, %1;" : "=r"(r) : "h"(v));
#else
  __trap();
#endif
  return r;
}

// Barriers 1 to 15 of the block; threads (a multiple of 32) counts those who wait and those who only arrive.
COTERIE_DEVICE void bar_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
COTERIE_DEVICE void bar_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

// True in one lane of a full warp, always the same one. sm_90; below, lane 0.
COTERIE_DEVICE bool elect_one() {
#if __CUDA_ARCH__ >= 900
  std::uint32_t chosen;
  asm volatile("{\n.reg .pred p;\nelect.sync _|p, 0xffffffff;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(chosen)::"memory");
  return chosen;
#else
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32 == 0;
#endif
}

// Registers per thread of this warpgroup, a multiple of 8 from 24 to 256; every warp of it must take part. sm_90a.
template <int R> COTERIE_DEVICE void setmaxnreg_inc() {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg: a multiple of 8 from 24 to 256");
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(R));
#else
  __trap();
#endif
}
template <int R> COTERIE_DEVICE void setmaxnreg_dec() {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg: a multiple of 8 from 24 to 256");
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(R));
#else
  __trap();
#endif
}

// A kernel launched as programmatic: waits until the kernels before it are over and what they wrote is visible. Nothing below sm_90.
COTERIE_DEVICE void grid_dependency_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Lets a programmatic kernel behind this one start, once every block has said so or is over.
COTERIE_DEVICE void grid_dependency_launch() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

COTERIE_DEVICE void trap() { __trap(); }

}}}
#include "tma.cuh"
#include "wgmma.cuh"
#include "wgmma_mn.cuh"
#elif defined(COTERIE_SIMT)
#include "simt.hpp"
#endif

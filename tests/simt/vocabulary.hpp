// CUDA's device vocabulary for g++: built-in variables, barriers, warp functions, atomics, bit tricks. The types come from CUDA's own
// headers, which leave the rest out when nvcc does not compile.
#pragma once
#include "operations.hpp"
#include <bit>
#include <cmath>
#include <cstring>

#if !defined(__launch_bounds__)
#define __launch_bounds__(...)
#endif

// Set by the scheduler whenever another thread runs.
inline uint3 threadIdx, blockIdx;
inline dim3 blockDim, gridDim;
inline constexpr int warpSize = 32;

#define SIMT_AT simt::Where at = simt::Where::here()

SIMT_INLINE void __syncthreads(SIMT_AT) { simt::block_barrier(at); }
SIMT_INLINE int __syncthreads_count(int p, SIMT_AT) { return simt::block_vote(simt::Vote::count, p != 0, at); }
SIMT_INLINE int __syncthreads_and(int p, SIMT_AT) { return simt::block_vote(simt::Vote::all, p != 0, at); }
SIMT_INLINE int __syncthreads_or(int p, SIMT_AT) { return simt::block_vote(simt::Vote::any, p != 0, at); }
SIMT_INLINE void __syncwarp(unsigned mask = ~0u, SIMT_AT) { simt::warp_barrier(mask, at); }

namespace simt {
// A lane outside [first of its segment, last] reads itself.
template <class T> SIMT_INLINE T shuffled(unsigned mask, T v, int source, char const* kind, Where at) {
  static_assert(sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8);
  T result;
  shuffle(mask, &v, &result, sizeof(T), source, kind, at);
  return result;
}
SIMT_INLINE int first_of(int width) { return static_cast<int>(lane()) & ~(width - 1); }
}
template <class T> SIMT_INLINE T __shfl_sync(unsigned mask, T v, int source, int width = 32, SIMT_AT) {
  return simt::shuffled(mask, v, simt::first_of(width) | (source & (width - 1)), "__shfl_sync", at);
}
template <class T> SIMT_INLINE T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32, SIMT_AT) {
  int const me = static_cast<int>(simt::lane()), other = me ^ bits;
  return simt::shuffled(mask, v, other > (me | (width - 1)) ? me : other, "__shfl_xor_sync", at);
}
template <class T> SIMT_INLINE T __shfl_up_sync(unsigned mask, T v, unsigned by, int width = 32, SIMT_AT) {
  int const me = static_cast<int>(simt::lane()), other = me - static_cast<int>(by);
  return simt::shuffled(mask, v, other < simt::first_of(width) ? me : other, "__shfl_up_sync", at);
}
template <class T> SIMT_INLINE T __shfl_down_sync(unsigned mask, T v, unsigned by, int width = 32, SIMT_AT) {
  int const me = static_cast<int>(simt::lane()), other = me + static_cast<int>(by);
  return simt::shuffled(mask, v, other > (me | (width - 1)) ? me : other, "__shfl_down_sync", at);
}
SIMT_INLINE unsigned __ballot_sync(unsigned mask, int p, SIMT_AT) { return simt::ballot(mask, p != 0, "__ballot_sync", at); }
SIMT_INLINE int __any_sync(unsigned mask, int p, SIMT_AT) { return simt::ballot(mask, p != 0, "__any_sync", at) != 0; }
SIMT_INLINE int __all_sync(unsigned mask, int p, SIMT_AT) { return simt::ballot(mask, p != 0, "__all_sync", at) == mask; }
template <class T> SIMT_INLINE unsigned __match_any_sync(unsigned mask, T v, SIMT_AT) { return simt::match(mask, &v, sizeof v, false, at); }
template <class T> SIMT_INLINE unsigned __match_all_sync(unsigned mask, T v, int* same, SIMT_AT) {
  unsigned const peers = simt::match(mask, &v, sizeof v, true, at);
  *same = peers == mask;
  return peers;
}
SIMT_INLINE unsigned __reduce_add_sync(unsigned mask, unsigned v, SIMT_AT) { return simt::reduce(mask, simt::Fold::add, v, at); }
SIMT_INLINE int __reduce_add_sync(unsigned mask, int v, SIMT_AT) { return simt::reduce(mask, simt::Fold::add, v, at); }
SIMT_INLINE unsigned __reduce_min_sync(unsigned mask, unsigned v, SIMT_AT) { return simt::reduce(mask, simt::Fold::min, v, at); }
SIMT_INLINE int __reduce_min_sync(unsigned mask, int v, SIMT_AT) { return simt::reduce(mask, simt::Fold::min, v, at); }
SIMT_INLINE unsigned __reduce_max_sync(unsigned mask, unsigned v, SIMT_AT) { return simt::reduce(mask, simt::Fold::max, v, at); }
SIMT_INLINE int __reduce_max_sync(unsigned mask, int v, SIMT_AT) { return simt::reduce(mask, simt::Fold::max, v, at); }
SIMT_INLINE unsigned __reduce_and_sync(unsigned mask, unsigned v, SIMT_AT) { return simt::reduce(mask, simt::Fold::bit_and, v, at); }
SIMT_INLINE unsigned __reduce_or_sync(unsigned mask, unsigned v, SIMT_AT) { return simt::reduce(mask, simt::Fold::bit_or, v, at); }
SIMT_INLINE unsigned __reduce_xor_sync(unsigned mask, unsigned v, SIMT_AT) { return simt::reduce(mask, simt::Fold::bit_xor, v, at); }

// Atomics are relaxed: they order nothing without a fence on both sides.
namespace simt { template <class T> using same_type = std::type_identity_t<T>; }
template <class T> SIMT_INLINE T atomicAdd(T* p, simt::same_type<T> v) {
  return simt::read_modify_write(p, [v](T old) { return static_cast<T>(old + v); });
}
template <class T> SIMT_INLINE T atomicSub(T* p, simt::same_type<T> v) {
  return simt::read_modify_write(p, [v](T old) { return static_cast<T>(old - v); });
}
template <class T> SIMT_INLINE T atomicMin(T* p, simt::same_type<T> v) { return simt::read_modify_write(p, [v](T old) { return v < old ? v : old; }); }
template <class T> SIMT_INLINE T atomicMax(T* p, simt::same_type<T> v) { return simt::read_modify_write(p, [v](T old) { return v > old ? v : old; }); }
template <class T> SIMT_INLINE T atomicAnd(T* p, simt::same_type<T> v) {
  return simt::read_modify_write(p, [v](T old) { return static_cast<T>(old & v); });
}
template <class T> SIMT_INLINE T atomicOr(T* p, simt::same_type<T> v) {
  return simt::read_modify_write(p, [v](T old) { return static_cast<T>(old | v); });
}
template <class T> SIMT_INLINE T atomicXor(T* p, simt::same_type<T> v) {
  return simt::read_modify_write(p, [v](T old) { return static_cast<T>(old ^ v); });
}
template <class T> SIMT_INLINE T atomicExch(T* p, simt::same_type<T> v) { return simt::read_modify_write(p, [v](T) { return v; }); }
template <class T> SIMT_INLINE T atomicCAS(T* p, simt::same_type<T> expected, simt::same_type<T> v) {
  return simt::read_modify_write(p, [expected, v](T old) { return std::memcmp(&old, &expected, sizeof(T)) == 0 ? v : old; });
}
SIMT_INLINE unsigned atomicInc(unsigned* p, unsigned limit) {
  return simt::read_modify_write(p, [limit](unsigned old) { return old >= limit ? 0u : old + 1; });
}
SIMT_INLINE unsigned atomicDec(unsigned* p, unsigned limit) {
  return simt::read_modify_write(p, [limit](unsigned old) { return old == 0 || old > limit ? limit : old - 1; });
}
SIMT_INLINE void __threadfence() { simt::fence_device(); }
SIMT_INLINE void __threadfence_system() { simt::fence_device(); }
SIMT_INLINE void __threadfence_block() {}        // orders nothing here: use a barrier
SIMT_INLINE void __nanosleep(unsigned) { simt::yield(); }
[[noreturn]] SIMT_INLINE void __trap() { simt::trap("__trap()"); }

template <class T> SIMT_INLINE T __ldg(T const* p) { return *p; }
template <class T> SIMT_INLINE T __ldcs(T const* p) { return *p; }
template <class T> SIMT_INLINE T __ldcg(T const* p) { return *p; }
template <class T> SIMT_INLINE void __stcs(T* p, T v) { *p = v; }

SIMT_INLINE int __popc(unsigned v) { return std::popcount(v); }
SIMT_INLINE int __popcll(unsigned long long v) { return std::popcount(v); }
SIMT_INLINE int __clz(int v) { return std::countl_zero(static_cast<unsigned>(v)); }
SIMT_INLINE int __clzll(long long v) { return std::countl_zero(static_cast<unsigned long long>(v)); }
SIMT_INLINE int __ffs(int v) { return v ? std::countr_zero(static_cast<unsigned>(v)) + 1 : 0; }
SIMT_INLINE int __ffsll(long long v) { return v ? std::countr_zero(static_cast<unsigned long long>(v)) + 1 : 0; }
SIMT_INLINE unsigned __brev(unsigned v) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (v >> i & 1) << (31 - i);
  return r;
}
SIMT_INLINE unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  std::uint64_t const bytes = std::uint64_t{y} << 32 | x;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) {
    unsigned const s = selector >> 4 * i & 15, byte = static_cast<unsigned>(bytes >> 8 * (s & 7)) & 255;
    r |= (s & 8 ? (byte & 128 ? 255u : 0u) : byte) << 8 * i;
  }
  return r;
}
SIMT_INLINE unsigned __funnelshift_l(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) << (by & 31) >> 32);
}
SIMT_INLINE unsigned __funnelshift_r(unsigned low, unsigned high, unsigned by) {
  return static_cast<unsigned>((std::uint64_t{high} << 32 | low) >> (by & 31));
}
SIMT_INLINE unsigned __umulhi(unsigned a, unsigned b) { return static_cast<unsigned>(std::uint64_t{a} * b >> 32); }
SIMT_INLINE unsigned __float_as_uint(float v) { return std::bit_cast<unsigned>(v); }
SIMT_INLINE int __float_as_int(float v) { return std::bit_cast<int>(v); }
SIMT_INLINE float __uint_as_float(unsigned v) { return std::bit_cast<float>(v); }
SIMT_INLINE float __int_as_float(int v) { return std::bit_cast<float>(v); }
SIMT_INLINE int __float2int_rn(float v) { return static_cast<int>(std::nearbyint(v)); }
SIMT_INLINE int __float2int_rz(float v) { return static_cast<int>(v); }
SIMT_INLINE float __int2float_rn(int v) { return static_cast<float>(v); }
SIMT_INLINE float __fadd_rn(float a, float b) { return a + b; }
SIMT_INLINE float __fsub_rn(float a, float b) { return a - b; }
SIMT_INLINE float __fmul_rn(float a, float b) { return a * b; }
SIMT_INLINE float __fdiv_rn(float a, float b) { return a / b; }
SIMT_INLINE float __frcp_rn(float v) { return 1.f / v; }
SIMT_INLINE float __fsqrt_rn(float v) { return std::sqrt(v); }
SIMT_INLINE float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
SIMT_INLINE float __fdividef(float a, float b) { return a / b; }
SIMT_INLINE float __expf(float v) { return std::exp(v); }
SIMT_INLINE float __logf(float v) { return std::log(v); }
SIMT_INLINE float __log2f(float v) { return std::log2(v); }
SIMT_INLINE float __powf(float a, float b) { return std::pow(a, b); }
SIMT_INLINE float __saturatef(float v) { return v > 0.f ? (v < 1.f ? v : 1.f) : 0.f; }
SIMT_INLINE float rsqrtf(float v) { return 1.f / std::sqrt(v); }
template <class T> SIMT_INLINE constexpr T min(T a, simt::same_type<T> b) { return b < a ? b : a; }
template <class T> SIMT_INLINE constexpr T max(T a, simt::same_type<T> b) { return a < b ? b : a; }
SIMT_INLINE long long clock64() { return 0; }

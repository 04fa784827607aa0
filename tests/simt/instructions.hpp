// The names of include/coterie/device/ptx.cuh, tma.cuh, wgmma.cuh and wgmma_mn.cuh, made of the engine's operations instead of PTX.
#pragma once
#include <cmath>
#include <coterie/dtype.hpp>
#include <limits>
#include "operations.hpp"

#define COTERIE_DEVICE [[gnu::always_inline]] inline
// g++ drops the section attribute on statics of templates, so a shared variable is found by the address of a key.
#define COTERIE_SHARED(name, ...)                                                                                                           \
  static char name##_key;                                                                                                                   \
  auto& name = *static_cast<::coterie::ptx::same<__VA_ARGS__>*>(::simt::shared_variable(&name##_key, sizeof(__VA_ARGS__), alignof(__VA_ARGS__)))
#define COTERIE_CUDA_BUILD emulated
#define COTERIE_SYNC(name, ...)                                                                                                             \
  do {                                                                                                                                      \
    static constinit ::simt::Sync simt_sync{name, false};                                                                                   \
    if (::simt::kept(simt_sync)) { __VA_ARGS__; }                                                                                           \
  } while (0)

namespace coterie { inline namespace v0 { namespace ptx {

using At = simt::Where;
template <class T> using same = T;

template <class T> constexpr simt::Half half_of() {
  static_assert(std::is_same_v<T, bf16> || std::is_same_v<T, fp16>, "T is coterie::bf16 or coterie::fp16");
  return std::is_same_v<T, bf16> ? simt::Half::bf16 : simt::Half::fp16;
}

template <class T> constexpr simt::Fp8 fp8_of() {
  static_assert(std::is_same_v<T, fp8_e4m3> || std::is_same_v<T, fp8_e5m2>, "T is coterie::fp8_e4m3 or coterie::fp8_e5m2");
  return std::is_same_v<T, fp8_e4m3> ? simt::Fp8::e4m3 : simt::Fp8::e5m2;
}

template <class T> COTERIE_DEVICE T& dynamic_shared() { return *static_cast<T*>(simt::dynamic_shared(sizeof(T))); }

COTERIE_DEVICE uint4 load16(void const* p) {
  uint4 v;
  simt::load(p, &v, 16);
  return v;
}
COTERIE_DEVICE uint2 load8(void const* p) {
  uint2 v;
  simt::load(p, &v, 8);
  return v;
}
COTERIE_DEVICE std::uint32_t load4(void const* p) {
  std::uint32_t v;
  simt::load(p, &v, 4);
  return v;
}
COTERIE_DEVICE uint4 load16_stream(void const* p) { return load16(p); }
COTERIE_DEVICE void store16(void* p, uint4 v) { simt::store(p, &v, 16); }
COTERIE_DEVICE void store8(void* p, uint2 v) { simt::store(p, &v, 8); }
COTERIE_DEVICE void store4(void* p, std::uint32_t v) { simt::store(p, &v, 4); }

COTERIE_DEVICE void cp_async16(void* shared, void const* global, bool valid = true) { simt::cp_async(shared, global, 16, valid); }
COTERIE_DEVICE void cp_async_commit() { simt::cp_async_commit(); }
template <int N> COTERIE_DEVICE void cp_async_wait() { simt::cp_async_wait(N); }

COTERIE_DEVICE void ldmatrix_x4(std::uint32_t (&r)[4], void const* row, At at = At::here()) { simt::ldmatrix(r, 4, row, false, at); }
COTERIE_DEVICE void ldmatrix_x4_trans(std::uint32_t (&r)[4], void const* row, At at = At::here()) { simt::ldmatrix(r, 4, row, true, at); }
COTERIE_DEVICE void ldmatrix_x2(std::uint32_t (&r)[2], void const* row, At at = At::here()) { simt::ldmatrix(r, 2, row, false, at); }
COTERIE_DEVICE void stmatrix_x4(void* row, std::uint32_t const (&r)[4], At at = At::here()) { simt::stmatrix(row, r, 4, at); }
template <class T> COTERIE_DEVICE void mma_m16n8k16(float (&d)[4], std::uint32_t const (&a)[4], std::uint32_t b0, std::uint32_t b1,
                                                    At at = At::here()) {
  simt::mma(d, a, b0, b1, half_of<T>(), at);
}

template <class T> COTERIE_DEVICE std::uint32_t pack2(float low, float high) {
  return from_float<T>(low).bits | std::uint32_t{from_float<T>(high).bits} << 16;
}
template <class T> COTERIE_DEVICE float2 unpack2(std::uint32_t v) {
  return {to_float(T{static_cast<std::uint16_t>(v)}), to_float(T{static_cast<std::uint16_t>(v >> 16)})};
}

// Units that may be off in the last places are: some of their results are the wrong neighbour, the same for the same argument.
COTERIE_DEVICE float normal(float v) { return std::fabs(v) < std::numeric_limits<float>::min() ? std::copysign(0.f, v) : v; }
COTERIE_DEVICE float neighbour(float v, bool larger, float x) {
  float const next = std::nextafter(v, larger ? std::copysign(std::numeric_limits<float>::infinity(), v) : 0.f);
  bool const takes = __float_as_uint(x) * 0x9e3779b9u >> 31;
  return takes && std::isnormal(v) && std::isnormal(next) ? next : v;
}
COTERIE_DEVICE float exp2(float x) {
  float const a = normal(x), v = normal(std::exp2(a));
  return a == 0 ? v : neighbour(v, __float_as_uint(x) & 1u, x);
}
COTERIE_DEVICE float reciprocal(float x) {
  float const a = normal(x), v = normal(1.f / a);
  double const off = std::fma(double{v}, double{a}, -1.);              // exact in double
  return off == 0 ? v : neighbour(v, off < 0, x);
}

template <class T> COTERIE_DEVICE std::uint16_t pack2_fp8(float low, float high) {
  return static_cast<std::uint16_t>(simt::to_fp8(low, fp8_of<T>()) | simt::to_fp8(high, fp8_of<T>()) << 8);
}
template <class T> COTERIE_DEVICE std::uint32_t unpack2_fp8(std::uint16_t v) {
  return pack2<fp16>(simt::of_fp8(static_cast<std::uint8_t>(v), fp8_of<T>()), simt::of_fp8(static_cast<std::uint8_t>(v >> 8), fp8_of<T>()));
}

COTERIE_DEVICE void bar_sync(int id, int threads, At at = At::here()) { simt::named_barrier(id, threads, true, at); }
COTERIE_DEVICE void bar_arrive(int id, int threads, At at = At::here()) { simt::named_barrier(id, threads, false, at); }
COTERIE_DEVICE bool elect_one(At at = At::here()) { return simt::elect(at); }
template <int R> COTERIE_DEVICE void setmaxnreg_inc(At at = At::here()) {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg: a multiple of 8 from 24 to 256");
  simt::set_registers(R, true, at);
}
template <int R> COTERIE_DEVICE void setmaxnreg_dec(At at = At::here()) {
  static_assert(R >= 24 && R <= 256 && R % 8 == 0, "setmaxnreg: a multiple of 8 from 24 to 256");
  simt::set_registers(R, false, at);
}
COTERIE_DEVICE void grid_dependency_wait() { simt::grid_dependency_wait(); }
COTERIE_DEVICE void grid_dependency_launch() { simt::grid_dependency_launch(); }
[[noreturn]] COTERIE_DEVICE void trap() { simt::trap("ptx::trap()"); }

enum class L2 : std::uint64_t { normal = 0x1000000000000000u, evict_first = 0x12F0000000000000u, evict_last = 0x14F0000000000000u };
COTERIE_DEVICE void mbarrier_init(std::uint64_t* bar, unsigned count) { simt::mbarrier_init(bar, count); }
COTERIE_DEVICE void mbarrier_arrive(std::uint64_t* bar) { simt::mbarrier_arrive(bar, 0, false); }
COTERIE_DEVICE void mbarrier_arrive_expect_tx(std::uint64_t* bar, unsigned bytes) { simt::mbarrier_arrive(bar, bytes, true); }
COTERIE_DEVICE bool mbarrier_test(std::uint64_t* bar, unsigned parity) { return simt::mbarrier_test(bar, parity); }
COTERIE_DEVICE void mbarrier_wait(std::uint64_t* bar, unsigned parity, At at = At::here()) { simt::mbarrier_wait(bar, parity, at); }
COTERIE_DEVICE void fence_barrier_init() { simt::fence_barrier_init(); }
COTERIE_DEVICE void fence_proxy_async() { simt::fence_proxy_async(); }
COTERIE_DEVICE void tma_prefetch_map(CUtensorMap const* map) { simt::tma_prefetch(map); }
COTERIE_DEVICE void tma_load_2d(void* to, CUtensorMap const* map, std::uint64_t* bar, int c0, int c1, L2 = L2::normal) {
  int const at[]{c0, c1};
  simt::tma_load(to, map, bar, 2, at);
}
COTERIE_DEVICE void tma_load_3d(void* to, CUtensorMap const* map, std::uint64_t* bar, int c0, int c1, int c2, L2 = L2::normal) {
  int const at[]{c0, c1, c2};
  simt::tma_load(to, map, bar, 3, at);
}
COTERIE_DEVICE void tma_load_4d(void* to, CUtensorMap const* map, std::uint64_t* bar, int c0, int c1, int c2, int c3, L2 = L2::normal) {
  int const at[]{c0, c1, c2, c3};
  simt::tma_load(to, map, bar, 4, at);
}
COTERIE_DEVICE void tma_store_2d(CUtensorMap const* map, void const* from, int c0, int c1) {
  int const at[]{c0, c1};
  simt::tma_store(map, from, 2, at);
}
COTERIE_DEVICE void tma_store_3d(CUtensorMap const* map, void const* from, int c0, int c1, int c2) {
  int const at[]{c0, c1, c2};
  simt::tma_store(map, from, 3, at);
}
COTERIE_DEVICE void tma_store_commit() { simt::bulk_commit(); }
template <int N> COTERIE_DEVICE void tma_store_wait_read() { simt::bulk_wait(N, true); }
template <int N> COTERIE_DEVICE void tma_store_wait() { simt::bulk_wait(N, false); }

COTERIE_DEVICE std::uint64_t descriptor_k128(void const* tile) { return simt::descriptor(tile, 16); }
COTERIE_DEVICE std::uint64_t descriptor_mn128(void const* tile, unsigned depth) { return simt::descriptor(tile, depth * 128); }
COTERIE_DEVICE void wgmma_fence(At at = At::here()) { simt::wgmma_fence(at); }
template <int M> COTERIE_DEVICE void wgmma_fence(float (&)[M], At at = At::here()) { simt::wgmma_fence(at); }
template <int M, int L> COTERIE_DEVICE void wgmma_fence(float (&)[M], float (&)[L], At at = At::here()) { simt::wgmma_fence(at); }
COTERIE_DEVICE void wgmma_commit(At at = At::here()) { simt::wgmma_commit(at); }
template <int N> COTERIE_DEVICE void wgmma_wait(At at = At::here()) { simt::wgmma_wait(N, at); }
template <int N, int M> COTERIE_DEVICE void wgmma_wait(float (&)[M], At at = At::here()) { simt::wgmma_wait(N, at); }
template <int N, int M, int L> COTERIE_DEVICE void wgmma_wait(float (&)[M], float (&)[L], At at = At::here()) { simt::wgmma_wait(N, at); }
template <int N, class T> COTERIE_DEVICE void wgmma_m64k16(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate, At at = At::here()) {
  static_assert(N == 8 || N == 16 || N == 32 || N == 64 || N == 128 || N == 192 || N == 256, "wgmma_m64k16: a width that the library has");
  simt::wgmma(d, N, {.descriptor = a}, {.descriptor = b}, accumulate, half_of<T>(), at);
}
enum class MnMajor : int { b = 1, a = 2, both = 3 };
template <MnMajor M, int N, class T> COTERIE_DEVICE void wgmma_m64k16_mn(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate, At at = At::here()) {
  static_assert(N == 128 || N == 256, "wgmma_m64k16_mn: a width that the library has");
  simt::wgmma(d, N, {.descriptor = a, .mn_major = M != MnMajor::b}, {.descriptor = b, .mn_major = M != MnMajor::a}, accumulate, half_of<T>(), at);
}

}}}

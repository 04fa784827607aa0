// Scales and zero points of quantised groups as vectors of fp32.
#pragma once
#include "multiply.hpp"
#include "quantised.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Bytes to words. g++ 12 converts them one at a time, so that the vector paths say how.
inline void widen_bytes(std::byte const* from, words<4>& to) {
  vector_of<std::uint8_t, 4>::type bytes;
  std::memcpy(&bytes, from, sizeof bytes);
  to = __builtin_convertvector(bytes, words<4>);
}
// fp16 to fp32. Subnormal ones do not pass through subnormal fp32, which -ffast-math may flush.
inline void widen_halves(vector_of<short, 4>::type const& half, floats<4>& to) {
  words<4> const h = __builtin_convertvector((vector_of<std::uint16_t, 4>::type)half, words<4>), magnitude = h & 0x7fffu;
  words<4> const normal = (magnitude << 13) + (112u << 23), nan = (words<4>)(magnitude > 0x7c00u), small = (words<4>)(magnitude < 0x400u);
  words<4> const tiny = (words<4>)(__builtin_convertvector((vector_of<std::int32_t, 4>::type)magnitude, floats<4>) * 0x1p-24f);
  to = (floats<4>)(((normal | (nan & 0x7fc00000u)) & ~small) | (tiny & small) | (h & 0x8000u) << 16);
}
#if defined(__x86_64__)
[[gnu::target("avx2,f16c,fma")]] inline void widen_bytes(std::byte const* from, words<8>& to) {
  asm("vpmovzxbd %1, %0" : "=v"(to) : "m"(*reinterpret_cast<std::byte const(*)[8]>(from)));
}
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void widen_bytes(std::byte const* from, words<16>& to) {
  asm("vpmovzxbd %1, %0" : "=v"(to) : "m"(*reinterpret_cast<std::byte const(*)[16]>(from)));
}
[[gnu::target("avx2,f16c,fma")]] inline void widen_halves(vector_of<short, 8>::type const& half, floats<8>& to) { asm("vcvtph2ps %1, %0" : "=v"(to) : "v"(half)); }
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void widen_halves(vector_of<short, 16>::type const& half, floats<16>& to) { asm("vcvtph2ps %1, %0" : "=v"(to) : "v"(half)); }
#endif

template <int Lanes> [[gnu::always_inline]] inline void load_scales(float const* from, floats<Lanes>& to) { std::memcpy(&to, from, sizeof to); }
template <int Lanes> [[gnu::always_inline]] inline void load_scales(fp16 const* from, floats<Lanes>& to) {
  typename vector_of<short, Lanes>::type half;
  std::memcpy(&half, from, sizeof half);
  widen_halves(half, to);
}
template <int Lanes> [[gnu::always_inline]] inline void load_scales(e8m0 const* from, floats<Lanes>& to) {
  words<Lanes> e;
  widen_bytes(reinterpret_cast<std::byte const*>(from), e);
  words<Lanes> const least_or_nan = (words<Lanes>)(((e + 1u) & 254u) == 0u);        // 0 and 255 have one more bit
  to = (floats<Lanes>)(e << 23 | (least_or_nan & 0x00400000u));
}
template <int Lanes> [[gnu::always_inline]] inline void load_zeros(std::byte const* from, floats<Lanes>& to) {
  words<Lanes> zero;
  widen_bytes(from, zero);
  to = __builtin_convertvector((typename vector_of<std::int32_t, Lanes>::type)zero, floats<Lanes>);
}

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

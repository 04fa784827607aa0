// The loops that measure a machine: reading memory, multiplying in registers, and both at once. Nothing here is the library's.
#pragma once
#include <coterie/host/cpu.hpp>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bench {

using coterie::Isa;

// Work that the compiler must believe in.
inline void keep(void const* p) { asm volatile("" : : "r"(p) : "memory"); }

namespace kernel {

template <class T, int N> struct vector_of { typedef T type __attribute__((vector_size(N * sizeof(T)))); };

// Four streams of lines, software prefetch 2 KiB ahead; `Line` takes a line of its stream into the stream's sum.
template <class Line> [[gnu::always_inline]] inline void lines(std::byte const* from, std::size_t bytes) {
  std::size_t const stream = bytes / 4 / 64 * 64;
  typename Line::Sum sum[4]{};
  for (std::size_t at = 0; at < stream; at += 64)
    for (std::size_t s = 0; s < 4; ++s) {
      std::byte const* const line = from + s * stream + at;
      __builtin_prefetch(line + 2048);
      Line::add(sum[s], line);
    }
  keep(sum);
}
template <int Words> struct ReadLine {
  using Vector = typename vector_of<std::uint64_t, Words>::type;
  using Sum = Vector;
  [[gnu::always_inline]] static void add(Sum& sum, std::byte const* line) {
    for (std::size_t i = 0; i < 64; i += sizeof(Vector)) {
      Vector v;
      std::memcpy(&v, line + i, sizeof v);
      sum ^= v;
    }
  }
};
// A line of bf16 weights times an input in a register, widened by a shift and a mask: one row's product, nothing else.
template <int Lanes> struct MultiplyLine {
  using Floats = typename vector_of<float, Lanes>::type;
  using Words = typename vector_of<std::uint32_t, Lanes>::type;
  struct Sum { Floats even, odd; };
  [[gnu::always_inline]] static void add(Sum& sum, std::byte const* line) {
    for (std::size_t i = 0; i < 64; i += sizeof(Words)) {
      Words v;
      std::memcpy(&v, line + i, sizeof v);
      Floats even, odd;
      Words const low = v << 16, high = v & 0xffff0000u;
      std::memcpy(&even, &low, sizeof even), std::memcpy(&odd, &high, sizeof odd);
      sum.even = even * (Floats{} + 1e-3f) + sum.even, sum.odd = odd * (Floats{} + 1e-3f) + sum.odd;
    }
  }
};
// Fused multiply-adds in registers, `Chains` of them independent: enough to hide the latency of any core with 2 units.
template <int Lanes, int Chains> [[gnu::always_inline]] inline void fma(std::int64_t steps, float start) {
  using Vector = typename vector_of<float, Lanes>::type;
  Vector acc[Chains], const_x = Vector{} + start, const_y = Vector{} + 1e-3f;
  for (int c = 0; c < Chains; ++c) acc[c] = Vector{} + static_cast<float>(c);
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < Chains; ++c) acc[c] = acc[c] * const_x + const_y;
  keep(acc);
}

inline void read_portable(std::byte const* from, std::size_t bytes) { lines<ReadLine<2>>(from, bytes); }
inline void stream_portable(std::byte const* from, std::size_t bytes) { lines<MultiplyLine<4>>(from, bytes); }
inline void fma_portable(std::int64_t steps) { fma<4, 12>(steps, 0.5f); }
#if defined(__x86_64__)
[[gnu::target("avx2,fma")]] inline void read_avx2(std::byte const* from, std::size_t bytes) { lines<ReadLine<4>>(from, bytes); }
[[gnu::target("avx2,fma")]] inline void stream_avx2(std::byte const* from, std::size_t bytes) { lines<MultiplyLine<8>>(from, bytes); }
[[gnu::target("avx2,fma")]] inline void fma_avx2(std::int64_t steps) { fma<8, 12>(steps, 0.5f); }
[[gnu::target("avx512f,fma")]] inline void read_avx512(std::byte const* from, std::size_t bytes) { lines<ReadLine<8>>(from, bytes); }
[[gnu::target("avx512f,fma")]] inline void stream_avx512(std::byte const* from, std::size_t bytes) { lines<MultiplyLine<16>>(from, bytes); }
[[gnu::target("avx512f,fma")]] inline void fma_avx512(std::int64_t steps) { fma<16, 12>(steps, 0.5f); }

// Pairs of bf16 products in registers, 16 sums: their latency is longer.
[[gnu::target("avx512f")]] inline void dot(std::int64_t steps) {
  using Vector = typename vector_of<float, 16>::type;
  using Words = typename vector_of<std::uint32_t, 16>::type;
  Vector acc[16]{};
  Words const x = Words{} + 0x3f803f80u, y = Words{} + 0x3a003a00u;
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) asm("vdpbf16ps %2, %1, %0" : "+v"(acc[c]) : "v"(x), "v"(y));
  Vector sum{};                                    // not the array's address: it would keep all of it in memory
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) sum += acc[c];
  keep(&sum);
}
[[gnu::target("avx512f")]] inline void stream_dot(std::byte const* from, std::size_t bytes) {
  using Vector = typename vector_of<float, 16>::type;
  using Words = typename vector_of<std::uint32_t, 16>::type;
  Vector sum[4]{};
  Words const x = Words{} + 0x3a003a00u;
  std::size_t const stream = bytes / 4 / 64 * 64;
  for (std::size_t at = 0; at < stream; at += 64)
#pragma GCC unroll 4
    for (std::size_t s = 0; s < 4; ++s) {
      std::byte const* const line = from + s * stream + at;
      __builtin_prefetch(line + 2048);
      asm volatile("vdpbf16ps %2, %1, %0" : "+v"(sum[s]) : "v"(x), "m"(*reinterpret_cast<std::byte const(*)[64]>(line)));
    }
  Vector const all = sum[0] + sum[1] + sum[2] + sum[3];
  keep(&all);
}
// Quadruples of 8-bit products in registers.
[[gnu::target("avx512f")]] inline void int8_dot(std::int64_t steps) {
  using Words = typename vector_of<std::int32_t, 16>::type;
  Words acc[16]{}, const_x = Words{} + 0x01020304, const_y = Words{} + 0x01010101;
  for (std::int64_t i = 0; i < steps; ++i)
#pragma GCC unroll 16
    for (int c = 0; c < 16; ++c) asm("vpdpbusd %2, %1, %0" : "+v"(acc[c]) : "v"(const_x), "v"(const_y));
  Words sum{};
#pragma GCC unroll 16
  for (int c = 0; c < 16; ++c) sum += acc[c];
  keep(&sum);
}
// Tile products in registers, 4 accumulators, by hand: the compiler's own tile intrinsics name too few operands.
enum class TileProducts : int { bf16, int8 };
struct alignas(64) TileConfig {
  std::uint8_t palette = 1, start_row = 0, reserved[14]{};
  std::uint16_t row_bytes[16]{64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16]{16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);
template <TileProducts Kind> void amx(std::int64_t steps) {
  TileConfig const config;
  asm volatile("ldtilecfg %0" : : "m"(config));
  asm volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3\n\t"
               "tilezero %tmm4\n\ttilezero %tmm5\n\ttilezero %tmm6\n\ttilezero %tmm7");
  for (std::int64_t i = 0; i < steps; ++i) {
    if constexpr (Kind == TileProducts::bf16)
      asm volatile("tdpbf16ps %tmm6, %tmm4, %tmm0\n\ttdpbf16ps %tmm7, %tmm4, %tmm1\n\t"
                   "tdpbf16ps %tmm6, %tmm5, %tmm2\n\ttdpbf16ps %tmm7, %tmm5, %tmm3");
    else
      asm volatile("tdpbssd %tmm6, %tmm4, %tmm0\n\ttdpbssd %tmm7, %tmm4, %tmm1\n\t"
                   "tdpbssd %tmm6, %tmm5, %tmm2\n\ttdpbssd %tmm7, %tmm5, %tmm3");
  }
  asm volatile("tilerelease");
}
// Tiles of weights from memory, each times a tile of one row of inputs.
inline void stream_amx(std::byte const* from, std::size_t bytes) {
  TileConfig config;
  for (int t = 0; t < 5; ++t) config.rows[t] = 1;                                   // four sums and the inputs; tmm5 and tmm6 hold weights
  asm volatile("ldtilecfg %0" : : "m"(config));
  asm volatile("tilezero %tmm0\n\ttilezero %tmm1\n\ttilezero %tmm2\n\ttilezero %tmm3\n\ttilezero %tmm4");
  std::size_t const stream = bytes / 4 / 1024 * 1024;
  std::byte const* const streams[4]{from, from + stream, from + 2 * stream, from + 3 * stream};
  for (std::size_t at = 0; at < stream; at += 1024) {
    for (std::byte const* s : streams)
      for (int line = 0; line < 16; ++line) __builtin_prefetch(s + at + 8192 + 64 * line);
    asm volatile("tileloadd (%0,%4,1), %%tmm5\n\ttdpbf16ps %%tmm5, %%tmm4, %%tmm0\n\ttileloadd (%1,%4,1), %%tmm6\n\ttdpbf16ps %%tmm6, %%tmm4, %%tmm1\n\t"
                 "tileloadd (%2,%4,1), %%tmm5\n\ttdpbf16ps %%tmm5, %%tmm4, %%tmm2\n\ttileloadd (%3,%4,1), %%tmm6\n\ttdpbf16ps %%tmm6, %%tmm4, %%tmm3"
                 : : "r"(streams[0] + at), "r"(streams[1] + at), "r"(streams[2] + at), "r"(streams[3] + at), "r"(std::int64_t{64}) : "memory");
  }
  asm volatile("tilerelease");
}
#endif

inline void read_best(std::byte const* from, std::size_t bytes) {
#if defined(__x86_64__)
  if (coterie::host::supports(Isa::avx512)) return read_avx512(from, bytes);
  if (coterie::host::supports(Isa::avx2)) return read_avx2(from, bytes);
#endif
  read_portable(from, bytes);
}
inline void stream(Isa isa, std::byte const* from, std::size_t bytes) {
#if defined(__x86_64__)
  if (isa == Isa::amx) return stream_amx(from, bytes);
  if (isa == Isa::avx512_bf16) return stream_dot(from, bytes);
  if (isa == Isa::avx512) return stream_avx512(from, bytes);
  if (isa == Isa::avx2) return stream_avx2(from, bytes);
#endif
  (void)isa;
  stream_portable(from, bytes);
}
// Floating-point operations of one step of a path's loop.
inline double step_flops(Isa isa) { return isa == Isa::amx ? 4 * 16384 : isa == Isa::avx512_bf16 ? 16 * 64 : 12 * 2 * (isa == Isa::avx512 ? 16 : isa == Isa::avx2 ? 8 : 4); }
inline void steps(Isa isa, std::int64_t n) {
#if defined(__x86_64__)
  if (isa == Isa::amx) return amx<TileProducts::bf16>(n);
  if (isa == Isa::avx512_bf16) return dot(n);
  if (isa == Isa::avx512) return fma_avx512(n);
  if (isa == Isa::avx2) return fma_avx2(n);
#endif
  (void)isa;
  fma_portable(n);
}

}

}

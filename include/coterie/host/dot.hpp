// The matrix micro-kernel by AVX512_BF16: pairs of bf16 products summed into fp32, twice the arithmetic of fp32 on processors
// that run vdpbf16ps at full rate (Zen 4 and 5; half rate, so no gain, on Sapphire Rapids).
//
// Every element is one chain over pairs of inputs, for any number of rows. The instruction flushes subnormals, in and out.
#pragma once
#include "multiply.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

inline constexpr int dot_rows = 12;                        // 24 of 32 registers are sums
// Tile pairs that several strips of rows share: 16 KiB, which the first cache holds; 128 KiB where blocks of rows find them in the second. (One thread of a
// Zen 5, the one and the other, GFLOP/s: 16 rows 402 and 332, 32 rows 438 and 423, 256 rows 447 and 462.)
inline constexpr std::int64_t dot_depth_of_strips = 8, dot_depth_of_blocks = 64;

#if defined(__x86_64__)
// M rows times tiles of one panel: every weight is loaded once, the sums stay in registers from the first tile to the last. Lines are asked
// for `ahead` bytes before they are used: stream_ahead, or, when these tiles are in the cache already, how far the next ones are away.
// In memory: the order in which few rows read (one row 39 GB/s, 24 otherwise; 5 to 8 rows of a whole layer 3 % faster). By pairs: both
// halves of a panel in turn, twice the chains, which rows of several strips need.
enum class Order : int { memory, pairs };
template <int M, Order O>
[[gnu::target("avx512f")]] inline void dot_panel(bf16 const* const* a, bf16 const* panel, std::int64_t tiles, float* sums, std::int64_t stride, std::int64_t ahead, bool accumulate) {
  floats<16> acc[2][M]{};
  if (accumulate)
#pragma GCC unroll 12
    for (int m = 0; m < M; ++m) std::memcpy(&acc[0][m], sums + m * stride, sizeof acc[0][m]), std::memcpy(&acc[1][m], sums + m * stride + tile_outputs, sizeof acc[1][m]);
  for (std::int64_t t = 0; t < tiles; ++t, panel += 2 * tile_elements) {
    if constexpr (O == Order::memory) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half)
#pragma GCC unroll 16
        for (int pair = 0; pair < tile_inputs / 2; ++pair) {
          bf16 const* const at = panel + half * tile_elements + pair * 2 * tile_outputs;
          fetch(at, ahead);
          words<16> w;
          std::memcpy(&w, at, sizeof w);
#pragma GCC unroll 8
          for (int m = 0; m < M; ++m) {
            std::uint32_t both;
            std::memcpy(&both, a[m] + t * tile_inputs + 2 * pair, sizeof both);
            words<16> const x = words<16>{} + both;
            asm("vdpbf16ps %2, %1, %0" : "+v"(acc[half][m]) : "v"(w), "v"(x));
          }
        }
    } else {
      for (int pair = 0; pair < tile_inputs / 2; ++pair) {
        bf16 const* const at = panel + pair * 2 * tile_outputs;
        fetch_later(at, ahead), fetch_later(at + tile_elements, ahead);
        words<16> w[2];
        std::memcpy(&w[0], at, sizeof w[0]), std::memcpy(&w[1], at + tile_elements, sizeof w[1]);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m) {
          std::uint32_t both;
          std::memcpy(&both, a[m] + t * tile_inputs + 2 * pair, sizeof both);
          words<16> const x = words<16>{} + both;
          asm("vdpbf16ps %2, %1, %0" : "+v"(acc[0][m]) : "v"(w[0]), "v"(x));
          asm("vdpbf16ps %2, %1, %0" : "+v"(acc[1][m]) : "v"(w[1]), "v"(x));
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
    std::memcpy(sums + m * stride, &acc[0][m], sizeof acc[0][m]), std::memcpy(sums + m * stride + tile_outputs, &acc[1][m], sizeof acc[1][m]);
}
using DotFunction = void (*)(bf16 const* const* a, bf16 const* panel, std::int64_t tiles, float* sums, std::int64_t stride, std::int64_t ahead, bool accumulate);
inline constexpr DotFunction dot_panels[dot_rows + 1]{nullptr, &dot_panel<1, Order::memory>, &dot_panel<2, Order::memory>, &dot_panel<3, Order::memory>, &dot_panel<4, Order::memory>,
                                                      &dot_panel<5, Order::memory>, &dot_panel<6, Order::memory>, &dot_panel<7, Order::memory>, &dot_panel<8, Order::memory>,
                                                      &dot_panel<9, Order::pairs>, &dot_panel<10, Order::pairs>, &dot_panel<11, Order::pairs>, &dot_panel<12, Order::pairs>};
// Strips of several have six rows at least.
inline constexpr DotFunction dot_strips[dot_rows + 1]{nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, &dot_panel<6, Order::pairs>, &dot_panel<7, Order::pairs>, &dot_panel<8, Order::pairs>,
                                                      &dot_panel<9, Order::pairs>, &dot_panel<10, Order::pairs>, &dot_panel<11, Order::pairs>, &dot_panel<12, Order::pairs>};
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

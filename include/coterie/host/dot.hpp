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

#if defined(__x86_64__)
// M rows times one panel: every weight is loaded once, the sums stay in registers from the first tile to the last. Lines are asked for
// `ahead` bytes before they are used: stream_ahead, or, when the panel is in the cache already, a panel (32 rows: 537 to 602 GFLOP/s).
template <int M>
[[gnu::target("avx512f")]] inline void dot_panel(bf16 const* const* a, bf16 const* panel, std::int64_t tiles, float* sums, std::int64_t stride, std::int64_t ahead) {
  floats<16> acc[2][M]{};
  constexpr int in_turn = 8;                      // few rows read in the order of memory (one row 39 GB/s, 24 otherwise); more share a loaded pair of inputs
  for (std::int64_t t = 0; t < tiles; ++t, panel += 2 * tile_elements) {
    if constexpr (M <= in_turn) {
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
using DotFunction = void (*)(bf16 const* const* a, bf16 const* panel, std::int64_t tiles, float* sums, std::int64_t stride, std::int64_t ahead);
inline constexpr DotFunction dot_panels[dot_rows + 1]{nullptr,       &dot_panel<1>, &dot_panel<2>, &dot_panel<3>, &dot_panel<4>,  &dot_panel<5>,  &dot_panel<6>,
                                                      &dot_panel<7>, &dot_panel<8>, &dot_panel<9>, &dot_panel<10>, &dot_panel<11>, &dot_panel<12>};
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

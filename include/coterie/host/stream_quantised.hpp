// Few rows of fp32 activations times quantised panels: codes are decoded in registers and multiplied at once.
#pragma once
#include "decode.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Tile pairs whose products are summed before they are scaled; a longer group is several such sums. 16 KiB of decoded tiles.
inline constexpr std::int64_t run_pairs = 4;

// Bytes of codes that are fetched ahead; behind the panels come those that are read next. (One thread of a Zen 5, 2, 4 and 8 KiB: int4 in groups of
// 32 on AVX-512, one row 29, 35 and 32 GB/s; of 128, four rows 12.4, 14.4 and 14.3.)
inline constexpr std::int64_t code_ahead = 4096;

// sums[M][Q * 32] += scale * (rows times a run of codes), run after run, of Q panels panel_bytes apart.
template <class T, int Lanes, int M, int Q>
[[gnu::always_inline]] inline void stream_codes(float const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums, std::int64_t stride) {
  using Decode = Codes<T, Lanes>;
  constexpr int vectors = panel_outputs / Lanes, blocks = tile_inputs / Decode::inputs;
  constexpr int together = M <= 2 ? vectors : 2;   // of a panel: one or two rows take all, or too few sums would wait for each other; those of more would leave the registers
  std::int64_t const group = T::group_tiles(tiles);
  auto const *panel = reinterpret_cast<std::byte const*>(packed), *const behind = panel + panel_bytes;
  for (std::int64_t t = 0; t < tiles; panel += T::scale_bytes + group * T::pair_bytes) {
    std::int64_t const end = tiles - t < group ? tiles : t + group;
    std::byte const* run = panel + T::scale_bytes;
    Decode decode[Q];
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) decode[q].begin(panel + q * panel_bytes);
    for (std::int64_t last = t; t < end; run += (last - t) * T::pair_bytes, t = last) {
      last = end - t < run_pairs ? end : t + run_pairs;
#pragma GCC unroll 4
      for (int first = 0; first < vectors; first += together) {
        floats<Lanes> acc[Q][together][M]{};
        std::byte const* codes = run;
        for (std::int64_t pair = t; pair < last; ++pair, codes += T::pair_bytes) {
          std::int64_t const ahead = behind - codes > code_ahead ? code_ahead : code_ahead + (Q - 1) * panel_bytes;
          for (int block = 0; block < blocks; ++block)
#pragma GCC unroll 2
            for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
              for (int v = 0; v < together; v += 2) {
                typename Decode::Word word[2];
#pragma GCC unroll 2
                for (int i = 0; i < 2; ++i) {
                  std::byte const* const from = codes + q * panel_bytes + code_offset<T, Lanes>(block, first + v + i);
                  if ((v + i) * Lanes % tile_outputs == 0) fetch(from, ahead);
                  decode[q].load(from, word[i]);
                }
#pragma GCC unroll 8
                for (int input = 0; input < Decode::inputs; ++input) {
                  floats<Lanes> w[2];
#pragma GCC unroll 2
                  for (int i = 0; i < 2; ++i) decode[q].value(word[i], input, (first + v + i) * Lanes, w[i]);
#pragma GCC unroll 8
                  for (int m = 0; m < M; ++m) {
                    float const x = a[m][pair * tile_inputs + block * Decode::inputs + input];
#pragma GCC unroll 2
                    for (int i = 0; i < 2; ++i) acc[q][v + i][m] = w[i] * x + acc[q][v + i][m];
                  }
                }
              }
        }
#pragma GCC unroll 2
        for (int q = 0; q < Q; ++q)
#pragma GCC unroll 8
          for (int v = 0; v < together; ++v) {
            int const column = (first + v) * Lanes;
            floats<Lanes> scale, sum;
            load_code_scales<T, Lanes>(panel + q * panel_bytes, column, scale);
#pragma GCC unroll 8
            for (int m = 0; m < M; ++m) {
              float* const to = sums + m * stride + q * panel_outputs + column;
              std::memcpy(&sum, to, sizeof sum);
              sum = acc[q][v][m] * scale + sum;
              std::memcpy(to, &sum, sizeof sum);
            }
          }
      }
    }
  }
}

template <class T> using StreamCodes = void (*)(float const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums, std::int64_t stride);
template <class T, int M, int Q> void stream_codes_portable(float const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums, std::int64_t stride) {
  stream_codes<T, 4, M, Q>(a, packed, panel_bytes, tiles, sums, stride);
}
#if defined(__x86_64__)
template <class T, int M, int Q>
[[gnu::target("avx2,f16c,fma"), gnu::flatten]] void stream_codes_avx2(float const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums, std::int64_t stride) {
  stream_codes<T, 8, M, Q>(a, packed, panel_bytes, tiles, sums, stride);
}
template <class T, int M, int Q>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma"), gnu::flatten]] void stream_codes_avx512(float const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums,
                                                                                                std::int64_t stride) {
  stream_codes<T, 16, M, Q>(a, packed, panel_bytes, tiles, sums, stride);
}
#endif

// The kernels of a path by rows: of one panel and, where fewer sums would wait for each other, of two side by side. More rows share decoded tiles.
// (int4 on a Zen 5, so and from decoded tiles: AVX-512, eight rows 238 and 199 GFLOP/s; AVX2, four rows 113 and 87.)
template <class T> struct StreamKernels {
  int rows = 1, rows_of_two = 0;                   // up to so many
  StreamCodes<T> const *one, *two = nullptr;
  explicit StreamKernels([[maybe_unused]] Isa path) {
    static constexpr StreamCodes<T> portable[]{nullptr, &stream_codes_portable<T, 1, 1>};
    one = portable;
#if defined(__x86_64__)
    static constexpr StreamCodes<T> avx2[]{nullptr, &stream_codes_avx2<T, 1, 1>, &stream_codes_avx2<T, 2, 1>, &stream_codes_avx2<T, 3, 1>, &stream_codes_avx2<T, 4, 1>};
    static constexpr StreamCodes<T> avx2_two[]{nullptr, &stream_codes_avx2<T, 1, 2>};
    static constexpr StreamCodes<T> avx512[]{nullptr, &stream_codes_avx512<T, 1, 1>, &stream_codes_avx512<T, 2, 1>, &stream_codes_avx512<T, 3, 1>, &stream_codes_avx512<T, 4, 1>, &stream_codes_avx512<T, 5, 1>,
                                             &stream_codes_avx512<T, 6, 1>, &stream_codes_avx512<T, 7, 1>, &stream_codes_avx512<T, 8, 1>};
    static constexpr StreamCodes<T> avx512_two[]{nullptr, &stream_codes_avx512<T, 1, 2>, &stream_codes_avx512<T, 2, 2>};
    if (path == Isa::avx2) rows = 4, rows_of_two = 1, one = avx2, two = avx2_two;
    if (path >= Isa::avx512) rows = 8, rows_of_two = 2, one = avx512, two = avx512_two;
#endif
  }
};

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

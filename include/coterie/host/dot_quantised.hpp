// Quantised panels by AVX512_BF16: every code is exactly a bf16, so codes become pairs of bf16 by look-ups, a group's products
// are summed unscaled, and the scale is applied once to the sum.
#pragma once
#include "code_pairs.hpp"
#include "dot.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

#if defined(__x86_64__)
inline constexpr std::int64_t dot_block = 8;               // tile pairs summed at once, 16 KiB of bf16; a longer group is several such sums
inline constexpr std::int64_t dot_row_block = 96;          // rows that share decoded tiles
inline constexpr int dot_stream_rows = 4;                  // so many rows take codes straight to registers

// Tile pairs from t on that are summed before they are scaled: the same whatever the rows.
constexpr std::int64_t dot_depth(std::int64_t t, std::int64_t tiles, std::int64_t group) {
  std::int64_t const left = group - t % group, depth = left < dot_block ? left : dot_block;
  return tiles - t < depth ? tiles - t : depth;
}

// sums[M][32] += scale[32] * acc[2][M].
template <int M>
[[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void add_scaled(floats<16> const (&acc)[2][M], float const* scale, float* sums, std::int64_t stride) {
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      floats<16> sum, s;
      std::memcpy(&s, scale + half * tile_outputs, sizeof s);
      std::memcpy(&sum, sums + m * stride + half * tile_outputs, sizeof sum);
      sum = acc[half][m] * s + sum;
      std::memcpy(sums + m * stride + half * tile_outputs, &sum, sizeof sum);
    }
}

// Decoded tile pairs of one group (or a block of it): sums[M][32] += scale[32] * (rows times tiles).
template <int M>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void dot_group(bf16 const* const* a, bf16 const* pairs, std::int64_t tiles, float const* scale, float* sums,
                                                                                           std::int64_t stride) {
  floats<16> acc[2][M]{};
  for (std::int64_t t = 0; t < tiles; ++t, pairs += 2 * tile_elements)
    for (int pair = 0; pair < tile_inputs / 2; ++pair) {
      words<16> w[2];
      std::memcpy(&w[0], pairs + pair * 2 * tile_outputs, sizeof w[0]), std::memcpy(&w[1], pairs + tile_elements + pair * 2 * tile_outputs, sizeof w[1]);
#pragma GCC unroll 12
      for (int m = 0; m < M; ++m) {
        std::uint32_t both;
        std::memcpy(&both, a[m] + t * tile_inputs + 2 * pair, sizeof both);
        words<16> const x = words<16>{} + both;
        asm("vdpbf16ps %2, %1, %0" : "+v"(acc[0][m]) : "v"(w[0]), "v"(x));
        asm("vdpbf16ps %2, %1, %0" : "+v"(acc[1][m]) : "v"(w[1]), "v"(x));
      }
    }
  add_scaled(acc, scale, sums, stride);
}
using GroupFunction = void (*)(bf16 const* const* a, bf16 const* pairs, std::int64_t tiles, float const* scale, float* sums, std::int64_t stride);
inline constexpr GroupFunction dot_groups[dot_rows + 1]{nullptr,       &dot_group<1>, &dot_group<2>, &dot_group<3>,  &dot_group<4>,  &dot_group<5>, &dot_group<6>,
                                                        &dot_group<7>, &dot_group<8>, &dot_group<9>, &dot_group<10>, &dot_group<11>, &dot_group<12>};

template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] void group_scales(PairOf<T> const& at, float* to) {
  for (int half = 0; half < 2; ++half) {
    floats<16> scale;
    load_scales<16>(reinterpret_cast<typename T::Scale const*>(at.scales) + half * tile_outputs, scale);
    std::memcpy(to + half * tile_outputs, &scale, sizeof scale);
  }
}

// The same sums of few rows times Q panels (panel_bytes apart) without decoded tiles in memory: two panels are independent chains.
template <class T, int M, int Q>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] void dot_stream(bf16 const* const* a, T const* panel, std::int64_t panel_bytes, std::int64_t tiles, float* sums,
                                                                                      std::int64_t stride) {
  using Decode = CodePairs<T>;
  Decode const decode;
  std::int64_t const group = T::group_tiles(tiles);
  for (std::int64_t t = 0, depth = 0; t < tiles; t += depth) {
    depth = dot_depth(t, tiles, group);
    floats<16> acc[Q][2][M]{};
    for (std::int64_t k = t; k < t + depth; ++k)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half)
        for (int block = 0; block < Decode::blocks; ++block) {
          words<16> w[Q][Decode::pairs];
#pragma GCC unroll 2
          for (int q = 0; q < Q; ++q) {
            PairOf<T> const at(panel + q * panel_bytes, k, group);
            std::byte const* const codes = at.tiles + half * T::tile_bytes + block * 64;
            fetch(codes, stream_ahead);
            decode.block(codes, at, half, w[q]);
          }
#pragma GCC unroll 4
          for (int pair = 0; pair < Decode::pairs; ++pair)
#pragma GCC unroll 4
            for (int m = 0; m < M; ++m) {
              std::uint32_t both;
              std::memcpy(&both, a[m] + k * tile_inputs + 2 * (block * Decode::pairs + pair), sizeof both);
              words<16> const x = words<16>{} + both;
#pragma GCC unroll 2
              for (int q = 0; q < Q; ++q) asm("vdpbf16ps %2, %1, %0" : "+v"(acc[q][half][m]) : "v"(w[q][pair]), "v"(x));
            }
        }
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) {
      alignas(64) float scale[panel_outputs];
      group_scales<T>(PairOf<T>(panel + q * panel_bytes, t, group), scale);
      add_scaled(acc[q], scale, sums + q * panel_outputs, stride);
    }
  }
}
template <class T, int Q> void dot_stream_rows_of(bf16 const* const* a, int rows, T const* panel, std::int64_t panel_bytes, std::int64_t tiles, float* sums, std::int64_t stride) {
  if (rows == 1) dot_stream<T, 1, Q>(a, panel, panel_bytes, tiles, sums, stride);
  else if (rows == 2) dot_stream<T, 2, Q>(a, panel, panel_bytes, tiles, sums, stride);
  else if (rows == 3) dot_stream<T, 3, Q>(a, panel, panel_bytes, tiles, sums, stride);
  else dot_stream<T, 4, Q>(a, panel, panel_bytes, tiles, sums, stride);
}

template <class T, class Row, class Epilogue>
void dot_quantised(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) {
  constexpr std::int64_t stride = 2 * panel_outputs;
  alignas(64) float sums[dot_row_block * stride], scale[panel_outputs];
  alignas(64) bf16 pairs[dot_block * 2 * tile_elements];
  bf16 const *a[dot_row_block], *near[dot_rows];
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape);
  for (std::int64_t p = first, width = 1; p < last; p += width)
    for (std::int64_t r = 0; r < rows; r += dot_row_block) {
      int const height = static_cast<int>(rows - r < dot_row_block ? rows - r : dot_row_block);
      for (int m = 0; m < height; ++m) a[m] = row(r + m);
      std::memset(sums, 0, static_cast<std::size_t>(height) * stride * sizeof(float));
      T const* const panel = packed + p * panel_bytes;
      width = rows <= dot_stream_rows && p + 1 < last ? 2 : 1;
      if (rows <= dot_stream_rows) {
        if (width == 2) dot_stream_rows_of<T, 2>(a, height, panel, panel_bytes, tiles, sums, stride);
        else dot_stream_rows_of<T, 1>(a, height, panel, panel_bytes, tiles, sums, stride);
      } else {
        int const strips = (height + dot_rows - 1) / dot_rows, low = height / strips, high = height % strips;
        for (std::int64_t t = 0, depth = 0; t < tiles; t += depth) {
          depth = dot_depth(t, tiles, group);
          for (std::int64_t k = 0; k < depth; ++k) code_pairs<T>(PairOf<T>(panel, t + k, group), pairs + k * 2 * tile_elements);
          group_scales<T>(PairOf<T>(panel, t, group), scale);
          for (int s = 0, m = 0; s < strips; ++s) {
            int const n = s < high ? low + 1 : low;
            for (int i = 0; i < n; ++i) near[i] = a[m + i] + t * tile_inputs;
            dot_groups[n](near, pairs, depth, scale, sums + m * stride, stride);
            m += n;
          }
        }
      }
      epilogue(r, height, p, width, sums, stride);
    }
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

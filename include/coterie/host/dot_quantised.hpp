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
inline constexpr std::int64_t dot_block = 8;               // tile pairs decoded at once, 16 KiB of bf16; a longer group is several such sums
inline constexpr std::int64_t dot_row_block = 96;          // rows that share decoded tiles
// So many rows take codes straight to registers, and two panels at once where the sums of one would wait for each other.
inline constexpr int dot_stream_rows = 8, dot_rows_of_two = 4;
// Rows that stream, in two passes unless codes are dear to decode. (One thread of a Zen 5, twelve rows, so and from decoded tiles: int4 10.0 and 8.5 GB/s,
// int8 17.5 and 15.3, int8 with zero points 13.2 and 14.1.)
template <class T> inline constexpr std::int64_t dot_rows_streamed = T::zeros && bits(T::dtype) == 8 ? dot_stream_rows : 2 * dot_stream_rows;
// Bytes of codes and scales that are fetched ahead, of all panels together. (The same from DRAM, one row, of 8 and 16 KiB: int8 37.7 and 31.1 GB/s, e4m3 34.7
// and 29.5; four panels at once are no faster, 33 GB/s.)
inline constexpr std::int64_t dot_ahead = 8192;

// Tile pairs from t on that are summed before they are scaled: the same whatever the rows.
constexpr std::int64_t dot_depth(std::int64_t t, std::int64_t tiles, std::int64_t group) {
  std::int64_t const left = group - t % group, depth = left < dot_block ? left : dot_block;
  return tiles - t < depth ? tiles - t : depth;
}

// Scales of 16 outputs.
template <class T> [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void half_scales(std::byte const* group, int half, floats<16>& to) {
  load_scales<16>(reinterpret_cast<typename T::Scale const*>(group) + half * tile_outputs, to);
}
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] void group_scales(PairOf<T> const& at, float* to) {
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    floats<16> scale;
    half_scales<T>(at.scales, half, scale);
    std::memcpy(to + half * tile_outputs, &scale, sizeof scale);
  }
}

// Decoded tile pairs: runs that are summed before they are scaled, as many as there is room for, or one.
struct DotRuns {
  std::int64_t count, pairs;                       // of each
  alignas(64) bf16 tiles[dot_block * 2 * tile_elements];
  alignas(64) float scale[dot_block][panel_outputs];
  template <class T> void decode(T const* panel, std::int64_t t, std::int64_t all, std::int64_t group) {
    pairs = dot_depth(t, all, group), count = 1;
    if (pairs == group)
      while ((count + 1) * group <= dot_block && t + (count + 1) * group <= all) ++count;
    for (std::int64_t k = 0; k < count * pairs; ++k) {
      PairOf<T> const at(panel, t + k, group);
      code_pairs<T>(at, tiles_at(k));
      if (k % pairs == 0) group_scales<T>(at, scale[k / pairs]);
    }
  }
  bf16* tiles_at(std::int64_t k) { return tiles + k * 2 * tile_elements; }
};

// sums[M][32] += scale * (rows times tiles), run after run.
template <int M>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void dot_runs(bf16 const* const* a, DotRuns const& runs, float* sums, std::int64_t stride) {
  bf16 const* tiles = runs.tiles;
  std::int64_t input = 0;
  for (std::int64_t run = 0; run < runs.count; ++run) {
    floats<16> acc[2][M]{};
    for (std::int64_t t = 0; t < runs.pairs; ++t, tiles += 2 * tile_elements)
      for (int pair = 0; pair < tile_inputs / 2; ++pair, input += 2) {
        words<16> w[2];
        std::memcpy(&w[0], tiles + pair * 2 * tile_outputs, sizeof w[0]), std::memcpy(&w[1], tiles + tile_elements + pair * 2 * tile_outputs, sizeof w[1]);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m) {
          std::uint32_t both;
          std::memcpy(&both, a[m] + input, sizeof both);
          words<16> const x = words<16>{} + both;
          asm("vdpbf16ps %2, %1, %0" : "+v"(acc[0][m]) : "v"(w[0]), "v"(x));
          asm("vdpbf16ps %2, %1, %0" : "+v"(acc[1][m]) : "v"(w[1]), "v"(x));
        }
      }
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      floats<16> scale, sum;
      std::memcpy(&scale, runs.scale[run] + half * tile_outputs, sizeof scale);
#pragma GCC unroll 12
      for (int m = 0; m < M; ++m) {
        float* const to = sums + m * stride + half * tile_outputs;
        std::memcpy(&sum, to, sizeof sum);
        sum = acc[half][m] * scale + sum;
        std::memcpy(to, &sum, sizeof sum);
      }
    }
  }
}
using DotRunsFunction = void (*)(bf16 const* const* a, DotRuns const& runs, float* sums, std::int64_t stride);
// Strips of more rows than stream have six at least.
inline constexpr DotRunsFunction dot_runs_of[dot_rows + 1]{nullptr,      nullptr,      nullptr,      nullptr,       nullptr,       nullptr,       &dot_runs<6>,
                                                           &dot_runs<7>, &dot_runs<8>, &dot_runs<9>, &dot_runs<10>, &dot_runs<11>, &dot_runs<12>};

// The same sums of few rows times Q panels (panel_bytes apart) without decoded tiles in memory. Behind the panels come those that are read next.
template <class T, int M, int Q>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] void dot_stream(bf16 const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums,
                                                                                      std::int64_t stride) {
  using Decode = CodePairs<T>;
  constexpr int vectors = 2 * Q;
  constexpr std::int64_t near = dot_ahead / Q;
  Decode decode;
  decode.begin();
  std::int64_t const group = T::group_tiles(tiles);
  auto const *panel = reinterpret_cast<std::byte const*>(packed), *const behind = panel + panel_bytes;
  for (std::int64_t t = 0; t < tiles; panel += T::scale_bytes + group * T::pair_bytes) {
    std::int64_t const end = tiles - t < group ? tiles : t + group;
    std::byte const* codes = panel + T::scale_bytes;
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
      for (std::int64_t line = 0; line < T::scale_bytes; line += 64) fetch(panel + q * panel_bytes + line, behind - panel > near ? near : near + (Q - 1) * panel_bytes);
    typename Decode::Zeros zeros[vectors];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) zeros[v].load(panel + v / 2 * panel_bytes + zeros_at<T>(v % 2));
    while (t < end) {
      floats<16> acc[vectors][M]{};
      for (std::int64_t const last = end - t < dot_block ? end : t + dot_block; t < last; ++t, codes += T::pair_bytes) {
        std::int64_t const ahead = behind - codes > near ? near : near + (Q - 1) * panel_bytes;
        for (int block = 0; block < Decode::blocks; ++block) {
          words<16> w[vectors][Decode::pairs];
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) {
            std::byte const* const from = codes + v / 2 * panel_bytes + v % 2 * T::tile_bytes + block * 64;
            fetch(from, ahead);
            decode.block(from, zeros[v], w[v]);
          }
#pragma GCC unroll 4
          for (int pair = 0; pair < Decode::pairs; ++pair)
#pragma GCC unroll 8
            for (int m = 0; m < M; ++m) {
              std::uint32_t both;
              std::memcpy(&both, a[m] + t * tile_inputs + 2 * (block * Decode::pairs + pair), sizeof both);
              words<16> const x = words<16>{} + both;
#pragma GCC unroll 4
              for (int v = 0; v < vectors; ++v) asm("vdpbf16ps %2, %1, %0" : "+v"(acc[v][m]) : "v"(w[v][pair]), "v"(x));
            }
        }
      }
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        floats<16> scale, sum;
        half_scales<T>(panel + v / 2 * panel_bytes, v % 2, scale);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
          float* const to = sums + m * stride + v * tile_outputs;
          std::memcpy(&sum, to, sizeof sum);
          sum = acc[v][m] * scale + sum;
          std::memcpy(to, &sum, sizeof sum);
        }
      }
    }
  }
}
template <class T> using DotStream = void (*)(bf16 const* const* a, T const* packed, std::int64_t panel_bytes, std::int64_t tiles, float* sums, std::int64_t stride);
template <class T> inline constexpr DotStream<T> dot_streams[dot_stream_rows + 1]{nullptr,                &dot_stream<T, 1, 1>, &dot_stream<T, 2, 1>, &dot_stream<T, 3, 1>, &dot_stream<T, 4, 1>,
                                                                                 &dot_stream<T, 5, 1>, &dot_stream<T, 6, 1>, &dot_stream<T, 7, 1>, &dot_stream<T, 8, 1>};
template <class T> inline constexpr DotStream<T> dot_streams_of_two[dot_rows_of_two + 1]{nullptr, &dot_stream<T, 1, 2>, &dot_stream<T, 2, 2>, &dot_stream<T, 3, 2>, &dot_stream<T, 4, 2>};

template <class T, class Row, class Epilogue>
void dot_quantised(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) {
  alignas(64) float sums[dot_row_block * panel_outputs];
  DotRuns runs;
  bf16 const *a[dot_row_block], *near[dot_rows];
  bool const streams = rows <= dot_rows_streamed<T>;
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape), at_once = rows <= dot_rows_of_two ? 2 : 1;
  for (std::int64_t p = first, width = 0; p < last; p += width) {
    width = last - p < at_once ? 1 : at_once;
    std::int64_t const stride = width * panel_outputs;
    for (std::int64_t r = 0, height = 0; r < rows; r += height) {
      height = ceil_div(rows - r, ceil_div(rows - r, streams ? dot_stream_rows : dot_row_block));        // 97 rows are 49 and 48, not 96 and 1
      for (std::int64_t m = 0; m < height; ++m) a[m] = row(r + m);
      std::memset(sums, 0, static_cast<std::size_t>(height * stride) * sizeof(float));
      T const* const panel = packed + p * panel_bytes;
      if (streams) {
        (width > 1 ? dot_streams_of_two<T> : dot_streams<T>)[height](a, panel, panel_bytes, tiles, sums, stride);
      } else {
        std::int64_t const strips = ceil_div(height, dot_rows), low = height / strips, high = height % strips;
        for (std::int64_t t = 0; t < tiles; t += runs.count * runs.pairs) {
          runs.decode(panel, t, tiles, group);
          for (std::int64_t s = 0, m = 0, n = 0; s < strips; ++s, m += n) {
            n = s < high ? low + 1 : low;
            for (std::int64_t i = 0; i < n; ++i) near[i] = a[m + i] + t * tile_inputs;
            dot_runs_of[n](near, runs, sums + m * stride, stride);
          }
        }
      }
      epilogue(r, static_cast<int>(height), p, width, sums, stride);
    }
  }
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

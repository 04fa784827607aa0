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

inline constexpr std::int64_t dot_block = 8;               // tile pairs that are summed before they are scaled; a longer group is several such sums
// So many rows share decoded codes, which never leave the registers; and two panels at once where the sums of one would wait for each other. (One thread
// of a Zen 5, 32 and 512 rows an expert, passes of 8, 10 and 12 rows, and codes decoded into the first cache for 96 rows, GFLOP/s: e4m3 417, 417, 449, 343 and
// 431, 430, 415, 409; int4 in groups of 32 421, 422, 426, 363 and 423, 413, 365, 374.)
inline constexpr int dot_stream_rows = 10, dot_rows_of_two = 4;
// Bytes of codes and scales that are fetched ahead, of all panels together. (The same from DRAM, one row, of 8 and 16 KiB: int8 37.7 and 31.1 GB/s, e4m3 34.7
// and 29.5; four panels at once are no faster, 33 GB/s.)
inline constexpr std::int64_t dot_ahead = 8192;

#if defined(__x86_64__)
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

// sums[M][Q * 32] += scale * (rows times tiles), block after block, for Q panels that are panel_bytes apart. Behind the panels come those that are read next.
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
#pragma GCC unroll 10
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
#pragma GCC unroll 10
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
template <class T>
inline constexpr DotStream<T> dot_streams[dot_stream_rows + 1]{nullptr,              &dot_stream<T, 1, 1>, &dot_stream<T, 2, 1>, &dot_stream<T, 3, 1>, &dot_stream<T, 4, 1>, &dot_stream<T, 5, 1>,
                                                               &dot_stream<T, 6, 1>, &dot_stream<T, 7, 1>, &dot_stream<T, 8, 1>, &dot_stream<T, 9, 1>, &dot_stream<T, 10, 1>};
template <class T> inline constexpr DotStream<T> dot_streams_of_two[dot_rows_of_two + 1]{nullptr, &dot_stream<T, 1, 2>, &dot_stream<T, 2, 2>, &dot_stream<T, 3, 2>, &dot_stream<T, 4, 2>};

template <class T, class Row, class Epilogue>
void dot_quantised(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) {
  alignas(64) float sums[dot_stream_rows * panel_outputs];
  static_assert(2 * dot_rows_of_two <= dot_stream_rows);
  bf16 const* a[dot_stream_rows];
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, panel_bytes = T::panel_bytes(shape), at_once = rows <= dot_rows_of_two ? 2 : 1;
  for (std::int64_t p = first, width = 0; p < last; p += width) {
    width = last - p < at_once ? 1 : at_once;
    std::int64_t const stride = width * panel_outputs;
    for (std::int64_t r = 0, height = 0; r < rows; r += height) {
      height = ceil_div(rows - r, ceil_div(rows - r, dot_stream_rows));        // 11 rows are 6 and 5, not 10 and 1
      for (std::int64_t m = 0; m < height; ++m) a[m] = row(r + m);
      std::memset(sums, 0, static_cast<std::size_t>(height * stride) * sizeof(float));
      (width > 1 ? dot_streams_of_two<T> : dot_streams<T>)[height](a, packed + p * panel_bytes, panel_bytes, tiles, sums, stride);
      epilogue(r, static_cast<int>(height), p, width, sums, stride);
    }
  }
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

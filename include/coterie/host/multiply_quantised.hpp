// Rows of fp32 activations times quantised panels: pairs of tiles are decoded into the cache and multiplied there, so that
// the weights stream through memory as codes.
#pragma once
#include "decode.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// M rows times the decoded pairs of Q panels, [Q][2][32 inputs][16 outputs]: 2 * Q * M independent sums.
template <int Lanes, int M, int Q>
[[gnu::always_inline]] inline void pair_product(float const* const* a, float const* tiles, float* sums, std::int64_t stride, bool accumulate) {
  constexpr int V = tile_outputs / Lanes, N = 2 * Q;
  floats<Lanes> acc[N][M][V];
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) {
        if (accumulate) std::memcpy(&acc[n][m][v], sums + m * stride + n * tile_outputs + v * Lanes, sizeof acc[n][m][v]);
        else acc[n][m][v] = floats<Lanes>{};
      }
#pragma GCC unroll 2
  for (int i = 0; i < tile_inputs; ++i) {
    floats<Lanes> w[N][V];
#pragma GCC unroll 4
    for (int n = 0; n < N; ++n)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) std::memcpy(&w[n][v], tiles + n * tile_elements + i * tile_outputs + v * Lanes, sizeof w[n][v]);
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m) {
      float const x = a[m][i];
#pragma GCC unroll 4
      for (int n = 0; n < N; ++n)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[n][m][v] = w[n][v] * x + acc[n][m][v];
    }
  }
#pragma GCC unroll 4
  for (int n = 0; n < N; ++n)
#pragma GCC unroll 6
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) std::memcpy(sums + m * stride + n * tile_outputs + v * Lanes, &acc[n][m][v], sizeof acc[n][m][v]);
}

// Decoding sets the pace here, and 2 KiB ahead is enough (int4, one row: 12 GB/s, 10.6 with 8 KiB).
inline constexpr std::int64_t decode_fetch = 2048;
template <class T> void decode_ahead(DecodeFunction<T> decode, T const* panel, std::int64_t t, std::int64_t group, float* to) {
  PairOf<T> const at(panel, t, group);
  for (std::int64_t line = 0; line < T::pair_bytes; line += 64) fetch(at.tiles + line, decode_fetch);
  decode(at, to);
}

// Few rows: memory sets the pace. One row takes two panels at once, since two sums alone would wait for each other.
template <int Lanes, class T>
[[gnu::always_inline]] inline void stream_pairs(DecodeFunction<T> decode, float const* const* a, int rows, T const* packed, std::int64_t panel_bytes, std::int64_t panels,
                                                std::int64_t tiles, float* sums, std::int64_t stride) {
  constexpr int most = Lanes == 16 ? 6 : 3;        // rows whose sums stay in registers
  std::int64_t const group = T::group_tiles(tiles);
  alignas(64) float wide[4 * tile_elements];
  std::int64_t q = 0;
  if (rows == 1 && Lanes == 16)
    for (; q + 2 <= panels; q += 2)
      for (std::int64_t t = 0; t < tiles; ++t) {
        decode_ahead(decode, packed + q * panel_bytes, t, group, wide);
        decode_ahead(decode, packed + (q + 1) * panel_bytes, t, group, wide + 2 * tile_elements);
        float const* const near[1]{a[0] + t * tile_inputs};
        pair_product<Lanes, 1, 2>(near, wide, sums + q * panel_outputs, stride, t != 0);
      }
  int const strips = (rows + most - 1) / most, low = rows / strips, high = rows % strips;
  for (; q < panels; ++q)
    for (std::int64_t t = 0; t < tiles; ++t) {
      decode_ahead(decode, packed + q * panel_bytes, t, group, wide);
      for (int s = 0, r = 0; s < strips; ++s) {
        int const n = s < high ? low + 1 : low;
        float const* near[most];
        for (int m = 0; m < n; ++m) near[m] = a[r + m] + t * tile_inputs;
        float* const to = sums + q * panel_outputs + r * stride;
        bool const accumulate = t != 0;
        if constexpr (most == 6) {
          if (n == 6) pair_product<Lanes, 6, 1>(near, wide, to, stride, accumulate);
          else if (n == 5) pair_product<Lanes, 5, 1>(near, wide, to, stride, accumulate);
          else if (n == 4) pair_product<Lanes, 4, 1>(near, wide, to, stride, accumulate);
        }
        if (n == 3) pair_product<Lanes, 3, 1>(near, wide, to, stride, accumulate);
        else if (n == 2) pair_product<Lanes, 2, 1>(near, wide, to, stride, accumulate);
        else if (n == 1) pair_product<Lanes, 1, 1>(near, wide, to, stride, accumulate);
        r += n;
      }
    }
}

template <class T>
using PairsFunction = void (*)(DecodeFunction<T> decode, float const* const* a, int rows, T const* packed, std::int64_t panel_bytes, std::int64_t panels, std::int64_t tiles,
                               float* sums, std::int64_t stride);
template <class T>
void stream_pairs_portable(DecodeFunction<T> decode, float const* const* a, int rows, T const* packed, std::int64_t panel_bytes, std::int64_t panels, std::int64_t tiles,
                           float* sums, std::int64_t stride) {
  stream_pairs<4>(decode, a, rows, packed, panel_bytes, panels, tiles, sums, stride);
}
#if defined(__x86_64__)
template <class T>
[[gnu::target("avx2,fma")]] void stream_pairs_avx2(DecodeFunction<T> decode, float const* const* a, int rows, T const* packed, std::int64_t panel_bytes, std::int64_t panels,
                                                   std::int64_t tiles, float* sums, std::int64_t stride) {
  stream_pairs<8>(decode, a, rows, packed, panel_bytes, panels, tiles, sums, stride);
}
template <class T>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void stream_pairs_avx512(DecodeFunction<T> decode, float const* const* a, int rows, T const* packed, std::int64_t panel_bytes,
                                                                                   std::int64_t panels, std::int64_t tiles, float* sums, std::int64_t stride) {
  stream_pairs<16>(decode, a, rows, packed, panel_bytes, panels, tiles, sums, stride);
}
#endif
template <class T> PairsFunction<T> stream_pairs_for(Isa path) {
#if defined(__x86_64__)
  if (path >= Isa::avx512) return &stream_pairs_avx512<T>;
  if (path == Isa::avx2) return &stream_pairs_avx2<T>;
#endif
  (void)path;
  return &stream_pairs_portable<T>;
}

// As multiply() of multiply.hpp, for quantised panels.
template <DType D, QuantConfig Q, class Row, class Epilogue>
void multiply(Isa path, Quantised<D, Q> const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) {
  using T = Quantised<D, Q>;
  DecodeFunction<T> const decode = decode_for<T>(path);
  PairsFunction<T> const stream = stream_pairs_for<T>(path);
  BlockFunction<float> const run = block_for<float>(path);
  constexpr std::int64_t stride = column_block * panel_outputs;
  alignas(64) float sums[row_block * stride], wide[tile_block * 2 * tile_elements];
  float const* a[row_block];
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape);
  for (std::int64_t p = first; p < last; p += column_block) {
    std::int64_t const panels = last - p < column_block ? last - p : column_block;
    for (std::int64_t r = 0; r < rows; r += row_block) {
      int const height = static_cast<int>(rows - r < row_block ? rows - r : row_block);
      if (height < stream_below) {
        for (int m = 0; m < height; ++m) a[m] = row(r + m);
        stream(decode, a, height, packed + p * panel_bytes, panel_bytes, panels, tiles, sums, stride);
      } else {
        for (std::int64_t t = 0; t < tiles; t += tile_block) {
          std::int64_t const depth = tiles - t < tile_block ? tiles - t : tile_block;
          for (int m = 0; m < height; ++m) a[m] = row(r + m) + t * tile_inputs;
          for (std::int64_t q = 0; q < panels; ++q) {
            for (std::int64_t k = 0; k < depth; ++k) decode_ahead(decode, packed + (p + q) * panel_bytes, t + k, group, wide + k * 2 * tile_elements);
            run(a, height, wide, depth, sums + q * panel_outputs, stride, t != 0, wide);
          }
        }
      }
      epilogue(r, height, p, panels, sums, stride);
    }
  }
}

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

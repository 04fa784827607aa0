// Rows of fp32 activations times quantised panels. The products of a run of inputs with codes are summed unscaled, one chain in the order of inputs
// (block.hpp), and the sum is scaled and added: for any number of rows, and on AVX2 and AVX-512, the same bits.
#pragma once
#include "stream_quantised.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Runs of a panel decoded for many rows, [inputs][32 outputs], and the scales of each: one run, or as many whole groups as one run holds.
struct DecodedRuns {
  int count;
  std::int64_t pairs;                              // of each
  alignas(64) float codes[run_pairs * tile_inputs * panel_outputs];
  alignas(64) float scale[run_pairs][panel_outputs];
};
template <class T, int Lanes> [[gnu::always_inline]] inline void decode_runs(PairOf<T> at, DecodedRuns& to) {
  using Decode = Codes<T, Lanes>;
  constexpr int vectors = panel_outputs / Lanes;
  float* put = to.codes;
  for (int run = 0; run < to.count; ++run) {
    Decode decode;
    decode.begin(at.scales);
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      floats<Lanes> scale;
      load_code_scales<T, Lanes>(at.scales, v * Lanes, scale);
      std::memcpy(to.scale[run] + v * Lanes, &scale, sizeof scale);
    }
    for (std::int64_t t = 0; t < to.pairs; ++t, at.tiles += T::pair_bytes)
      for (int block = 0; block < tile_inputs / Decode::inputs; ++block, put += Decode::inputs * panel_outputs)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; ++v) {
          typename Decode::Word word;
          std::byte const* const from = at.tiles + code_offset<T, Lanes>(block, v);
          if (v * Lanes % tile_outputs == 0) fetch(from, run_pairs * T::pair_bytes);
          decode.load(from, word);
#pragma GCC unroll 8
          for (int input = 0; input < Decode::inputs; ++input) {
            floats<Lanes> w;
            decode.value(word, input, v * Lanes, w);
            std::memcpy(put + input * panel_outputs + v * Lanes, &w, sizeof w);
          }
        }
    at.scales = at.tiles, at.tiles += T::scale_bytes;      // of whole groups the next
  }
}
template <class T> using DecodeRuns = void (*)(PairOf<T> const& at, DecodedRuns& to);
template <class T> void decode_runs_portable(PairOf<T> const& at, DecodedRuns& to) { decode_runs<T, 4>(at, to); }
#if defined(__x86_64__)
template <class T> [[gnu::target("avx2,f16c,fma"), gnu::flatten]] void decode_runs_avx2(PairOf<T> const& at, DecodedRuns& to) { decode_runs<T, 8>(at, to); }
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma"), gnu::flatten]] void decode_runs_avx512(PairOf<T> const& at, DecodedRuns& to) { decode_runs<T, 16>(at, to); }
#endif
template <class T> DecodeRuns<T> decode_runs_for(Isa path) {
#if defined(__x86_64__)
  if (path >= Isa::avx512) return &decode_runs_avx512<T>;
  if (path == Isa::avx2) return &decode_runs_avx2<T>;
#endif
  (void)path;
  return &decode_runs_portable<T>;
}

// M rows times V vectors of decoded runs from `column` on.
template <int Lanes, int M, int V>
[[gnu::always_inline]] inline void multiply_run(float const* const* a, DecodedRuns const& runs, int column, float* sums, std::int64_t stride) {
  float const* codes = runs.codes + column;
  std::int64_t i = 0;
  for (int run = 0; run < runs.count; ++run) {
    floats<Lanes> acc[M][V]{};
    for (std::int64_t const last = i + runs.pairs * tile_inputs; i < last; i += 2)
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd, codes += panel_outputs) {
        floats<Lanes> w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) std::memcpy(&w[v], codes + v * Lanes, sizeof w[v]);
#pragma GCC unroll 12
        for (int m = 0; m < M; ++m) {
          float const x = a[m][i + odd];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[m][v] = w[v] * x + acc[m][v];
        }
      }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      floats<Lanes> scale, sum;
      std::memcpy(&scale, runs.scale[run] + column + v * Lanes, sizeof scale);
#pragma GCC unroll 12
      for (int m = 0; m < M; ++m) {
        float* const to = sums + m * stride + column + v * Lanes;
        std::memcpy(&sum, to, sizeof sum);
        sum = acc[m][v] * scale + sum;
        std::memcpy(to, &sum, sizeof sum);
      }
    }
  }
}
using MultiplyRun = void (*)(float const* const* a, DecodedRuns const& runs, float* sums, std::int64_t stride);
template <int M> void multiply_run_portable(float const* const* a, DecodedRuns const& runs, float* sums, std::int64_t stride) {
  for (int column = 0; column < panel_outputs; column += 16) multiply_run<4, M, 4>(a, runs, column, sums, stride);
}
#if defined(__x86_64__)
template <int M> [[gnu::target("avx2,fma")]] void multiply_run_avx2(float const* const* a, DecodedRuns const& runs, float* sums, std::int64_t stride) {
  for (int column = 0; column < panel_outputs; column += 16) multiply_run<8, M, 2>(a, runs, column, sums, stride);
}
template <int M> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void multiply_run_avx512(float const* const* a, DecodedRuns const& runs, float* sums, std::int64_t stride) {
  multiply_run<16, M, 2>(a, runs, 0, sums, stride);
}
#endif
// Register blocks of a path: of up to `most` rows.
struct RunKernels {
  int most = 2;
  MultiplyRun const* rows;
  explicit RunKernels([[maybe_unused]] Isa path) {
    static constexpr MultiplyRun portable[]{nullptr, &multiply_run_portable<1>, &multiply_run_portable<2>};
    rows = portable;
#if defined(__x86_64__)
    static constexpr MultiplyRun avx2[]{nullptr, &multiply_run_avx2<1>, &multiply_run_avx2<2>, &multiply_run_avx2<3>, &multiply_run_avx2<4>, &multiply_run_avx2<5>, &multiply_run_avx2<6>};
    static constexpr MultiplyRun avx512[]{nullptr, &multiply_run_avx512<1>, &multiply_run_avx512<2>, &multiply_run_avx512<3>, &multiply_run_avx512<4>, &multiply_run_avx512<5>, &multiply_run_avx512<6>,
                                          &multiply_run_avx512<7>, &multiply_run_avx512<8>, &multiply_run_avx512<9>, &multiply_run_avx512<10>, &multiply_run_avx512<11>, &multiply_run_avx512<12>};
    if (path == Isa::avx2) most = 6, rows = avx2;
    if (path >= Isa::avx512) most = 12, rows = avx512;
#endif
  }
  // Strips of equal height: 13 rows are 7 and 6, not 12 and 1.
  void operator()(float const* const* a, int height, DecodedRuns const& runs, float* sums, std::int64_t stride) const {
    int const strips = (height + most - 1) / most, low = height / strips, high = height % strips;
    for (int s = 0, m = 0; s < strips; ++s) {
      int const n = s < high ? low + 1 : low;
      rows[n](a + m, runs, sums + m * stride, stride);
      m += n;
    }
  }
};

// As multiply() of multiply.hpp, for quantised panels.
template <DType D, QuantConfig Q, class Row, class Epilogue>
void multiply(Isa path, Quantised<D, Q> const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) {
  using T = Quantised<D, Q>;
  DecodeRuns<T> const decode = decode_runs_for<T>(path);
  StreamKernels<T> const streams(path);
  RunKernels const kernels(path);
  constexpr std::int64_t stride = column_block * panel_outputs;
  alignas(64) float sums[row_block * stride];
  DecodedRuns runs;
  float const* a[row_block];
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape);
  for (std::int64_t p = first; p < last; p += column_block) {
    std::int64_t const panels = last - p < column_block ? last - p : column_block;
    T const* const from = packed + p * panel_bytes;
    for (std::int64_t r = 0; r < rows; r += row_block) {
      int const height = static_cast<int>(rows - r < row_block ? rows - r : row_block);
      std::memset(sums, 0, static_cast<std::size_t>(height) * stride * sizeof(float));
      if (height <= streams.rows) {
        for (int m = 0; m < height; ++m) a[m] = row(r + m);
        std::int64_t q = 0;
        if (height <= streams.rows_of_two)
          for (; q + 2 <= panels; q += 2) streams.two[height](a, from + q * panel_bytes, panel_bytes, tiles, sums + q * panel_outputs, stride);
        for (; q < panels; ++q) streams.one[height](a, from + q * panel_bytes, panel_bytes, tiles, sums + q * panel_outputs, stride);
      } else {
        for (std::int64_t t = 0; t < tiles; t += runs.count * runs.pairs) {
          std::int64_t const of_group = group - t % group, left = tiles - t < of_group ? tiles - t : of_group;
          runs.pairs = left < run_pairs ? left : run_pairs;
          runs.count = 1;
          if (runs.pairs == group)
            while ((runs.count + 1) * group <= run_pairs && t + (runs.count + 1) * group <= tiles) ++runs.count;
          for (int m = 0; m < height; ++m) a[m] = row(r + m) + t * tile_inputs;
          for (std::int64_t q = 0; q < panels; ++q) {
            decode(PairOf<T>(from + q * panel_bytes, t, group), runs);
            kernels(a, height, runs, sums + q * panel_outputs, stride);
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

// Grouped products for few rows: each row of the weights is streamed once, by one warp, past up to eight rows of a. Memory sets
// the pace, so there are no tiles and no shared memory; lanes take eight inputs at a time. Any type, where rows are aligned.
#pragma once
#include "product.cuh"
#include "wide.cuh"

namespace coterie { inline namespace v0 { namespace device {

inline constexpr int stream_rows = 8, stream_threads = 256, stream_outputs = 2;

// Eight neighbouring values of weights that nobody reads again, or of rows that every warp reads.
template <class V> COTERIE_DEVICE void load_eight(V const* from, float (&to)[8], bool once) {
  constexpr int wide = wide_of<V>;
  for (int part = 0; part < 8 / wide; ++part) {
    auto const all = bit_cast<Wides<V, wide>>(once ? ptx::load16_stream(from + part * wide) : ptx::load16(from + part * wide));
    for (int i = 0; i < wide; ++i) to[part * wide + i] = to_float(all.v[i]);
  }
}

template <class P> __global__ void __launch_bounds__(stream_threads) stream_product_kernel(P const p) {
  constexpr bool paired = P::Epilogue::paired;
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("stream_product: the kernel ahead", ptx::grid_dependency_wait());
  TileWalk walk{p.groups, stream_rows, column_tiles(p, stream_outputs)};
  for (std::int64_t number = std::int64_t{blockIdx.x} * (stream_threads / 32) + warp;; number += std::int64_t{gridDim.x} * (stream_threads / 32)) {
    Tile const tile = walk(number);
    if (tile.group < 0) return;
    // The warp's two rows of the weights: of a gate and its up, or of two neighbouring outputs.
    std::int64_t const output[2]{paired ? tile.column / interleave * (2 * interleave) + tile.column % interleave : std::int64_t{tile.column} * 2,
                                 paired ? tile.column / interleave * (2 * interleave) + tile.column % interleave + interleave : std::int64_t{tile.column} * 2 + 1};
    typename P::A const* a[stream_rows];
    typename P::B const* b[2];
#pragma unroll
    for (int m = 0; m < stream_rows; ++m) {
      std::int64_t const row = tile.first + m < tile.end ? tile.first + m : tile.first;
      a[m] = p.a + (p.map ? p.map[row] : row) * p.a_stride;
    }
#pragma unroll
    for (int n = 0; n < 2; ++n) b[n] = p.b + tile.group * p.b_group + (output[n] < p.b_rows ? output[n] : 0) * p.b_pitch;
    int const rows = tile.end - tile.first < stream_rows ? static_cast<int>(tile.end - tile.first) : stream_rows;
    float sum[2][stream_rows] = {};
#pragma unroll 2
    for (std::int64_t k = lane * 8; k < p.inputs; k += 256) {
      float w[2][8];
#pragma unroll
      for (int n = 0; n < 2; ++n) load_eight(b[n] + k, w[n], true);
#pragma unroll
      for (int m = 0; m < stream_rows; ++m) {
        if (m >= rows) break;
        float v[8];
        load_eight(a[m] + k, v, false);
#pragma unroll
        for (int n = 0; n < 2; ++n)
#pragma unroll
          for (int i = 0; i < 8; ++i) sum[n][m] = fmaf(w[n][i], v[i], sum[n][m]);
      }
    }
    float mine[2] = {};                          // lane m: the sums of row m
#pragma unroll
    for (int m = 0; m < stream_rows; ++m)
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        float v = sum[n][m];
#pragma unroll
        for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(~0u, v, by);
        if (lane == m) mine[n] = output[n] < p.b_rows ? v : 0.f;
      }
    if (lane >= rows) continue;
    std::int64_t const row = tile.first + lane;
    if constexpr (paired) {
      using To = typename P::Epilogue::To;
      if (tile.column < p.epilogue.columns) *p.epilogue.at(row, tile.column) = from_float<To>(p.epilogue.value(tile.group, row, tile.column, mine[0], mine[1]));
    } else {
      int const column = static_cast<int>(output[0]);
      store_columns(p.epilogue, row, column, p.epilogue.value(tile.group, row, column, mine[0]), p.epilogue.value(tile.group, row, column + 1, mine[1]));
    }
  }
}

// Whether rows of a can be read eight inputs at a time, as those of b can, without reaching beyond their stride.
template <class P> bool streams(P const& p) { return wide_rows(p.a, p.a_stride) && p.a_stride >= round_up(p.inputs, 8); }

template <class P> void stream_product(Cuda const& on, P const& p, Where at) {
  std::int64_t const warps = p.groups.tiles(stream_rows) * column_tiles(p, stream_outputs), blocks = ceil_div(warps, stream_threads / 32);
  std::int64_t const most = std::int64_t{on.device.multiprocessors} * 8;                     // as many as fit: 2,048 threads a multiprocessor
  launch(stream_product_kernel<P>, {.grid = dim3(static_cast<unsigned>(blocks < most ? blocks : most)), .block = dim3(stream_threads), .programmatic = on.device.hopper}, on.stream, at, p);
}

}}}

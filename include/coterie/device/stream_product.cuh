// Grouped products for few rows: each row of the weights is streamed once, by one warp, past up to eight rows of a. Memory sets
// the pace, so there are no tiles and no shared memory; lanes take eight inputs at a time. Any type, where rows are aligned.
#pragma once
#include "product.cuh"
#include "wide.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

inline constexpr int stream_rows = 8, stream_threads = 128, stream_outputs = 2;
// Blocks of a multiprocessor, and for how many steps of 256 inputs a warp asks for weights before it uses any: 3 blocks of 4 warps with
// 4 steps of 1 KiB each have 48 KiB under way, more than memory's latency needs at full bandwidth. More rows, and wider types, leave fewer registers.
template <class P> inline constexpr int stream_blocks = sizeof(typename P::A) + sizeof(typename P::B) == 4 ? 3 : 2;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
template <class P> inline constexpr int stream_resident = 2;             // with 168 registers ptxas spills there
#else
template <class P> inline constexpr int stream_resident = stream_blocks<P>;
#endif
template <class B> COTERIE_HD constexpr int stream_ahead(int rows) { return (rows > 4 ? 2 : 4) / (sizeof(B) == 2 ? 1 : 2); }

// Eight neighbouring values as they are loaded.
template <class V> struct Eight {
  static constexpr int words = static_cast<int>(sizeof(V)) * 8 / 16;
  uint4 v[words];

  // Of weights that nobody reads again.
  COTERIE_DEVICE void load_once(V const* from) {
#pragma unroll
    for (int i = 0; i < words; ++i) v[i] = ptx::load16_stream(reinterpret_cast<uint4 const*>(from) + i);
  }
  // Of rows that every warp reads.
  COTERIE_DEVICE void load(V const* from) {
#pragma unroll
    for (int i = 0; i < words; ++i) v[i] = ptx::load16(reinterpret_cast<uint4 const*>(from) + i);
  }
  COTERIE_DEVICE void floats(float (&to)[8]) const {
    if constexpr (sizeof(V) == 2) {
      std::uint32_t const pair[4]{v[0].x, v[0].y, v[0].z, v[0].w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        float2 const f = ptx::unpack2<V>(pair[i]);
        to[2 * i] = f.x, to[2 * i + 1] = f.y;
      }
    } else {
#pragma unroll
      for (int i = 0; i < words; ++i)
        to[4 * i] = bit_cast<float>(v[i].x), to[4 * i + 1] = bit_cast<float>(v[i].y), to[4 * i + 2] = bit_cast<float>(v[i].z), to[4 * i + 3] = bit_cast<float>(v[i].w);
    }
  }
};

// mine[n]: in lane m the product of row a[m] and weights b[n], for Rows rows. A warp calls.
template <int Rows, class A, class B> COTERIE_DEVICE void stream_sums(A const* const (&a)[stream_rows], B const* const (&b)[2], std::int64_t inputs, float (&mine)[2]) {
  int const lane = static_cast<int>(threadIdx.x % 32);
  constexpr int at_once = Rows < 4 ? Rows : sizeof(A) == 2 ? 4 : 2;                        // rows whose values are in registers
  constexpr int ahead = stream_ahead<B>(Rows);
  float sum[2][Rows] = {};
#pragma unroll 1
  for (std::int64_t first = lane * 8; first < inputs; first += 256 * ahead) {
    Eight<B> weights[ahead][2];
#pragma unroll
    for (int i = 0; i < ahead; ++i)
#pragma unroll
      for (int n = 0; n < 2; ++n)
        if (first + i * 256 < inputs) weights[i][n].load_once(b[n] + first + i * 256);
#pragma unroll
    for (int i = 0; i < ahead; ++i) {
      std::int64_t const k = first + i * 256;
      if (k >= inputs) break;
      float w[2][8];
      weights[i][0].floats(w[0]), weights[i][1].floats(w[1]);
#pragma unroll
      for (int m0 = 0; m0 < Rows; m0 += at_once) {
        Eight<A> rows[at_once];
#pragma unroll
        for (int m = 0; m < at_once; ++m) rows[m].load(a[m0 + m] + k);
#pragma unroll
        for (int m = 0; m < at_once; ++m) {
          float v[8];
          rows[m].floats(v);
#pragma unroll
          for (int n = 0; n < 2; ++n)
#pragma unroll
            for (int j = 0; j < 8; ++j) sum[n][m0 + m] = fmaf(w[n][j], v[j], sum[n][m0 + m]);
        }
      }
    }
  }
#pragma unroll
  for (int m = 0; m < Rows; ++m)
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      float v = sum[n][m];
#pragma unroll
      for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(~0u, v, by);
      if (lane == m) mine[n] = v;
    }
}

// The same for `rows` rows, 1 to stream_rows.
template <class A, class B> COTERIE_DEVICE void stream_sums(int rows, A const* const (&a)[stream_rows], B const* const (&b)[2], std::int64_t inputs, float (&mine)[2]) {
  if (rows == 1) stream_sums<1>(a, b, inputs, mine);
  else if (rows == 2) stream_sums<2>(a, b, inputs, mine);
  else if (rows <= 4) stream_sums<4>(a, b, inputs, mine);
  else stream_sums<stream_rows>(a, b, inputs, mine);
}

template <class P> __global__ void __launch_bounds__(stream_threads, stream_resident<P>) stream_product_kernel(P const p) {
  constexpr bool paired = P::Epilogue::paired;
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("stream_product: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  TileWalk walk{p.groups, stream_rows, column_tiles(p, stream_outputs)};
#pragma unroll 1
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
    float mine[2] = {};                          // lane m: the sums of row m
    stream_sums(rows, a, b, p.inputs, mine);
    for (int n = 0; n < 2; ++n)
      if (output[n] >= p.b_rows) mine[n] = 0;
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
  std::int64_t const most = std::int64_t{on.device.multiprocessors} * (on.device.major < 10 ? stream_blocks<P> : 2);
  launch(stream_product_kernel<P>, {.grid = dim3(static_cast<unsigned>(blocks < most ? blocks : most)), .block = dim3(stream_threads), .programmatic = on.device.programmatic}, on.stream, at, p);
}

}}}}

// Products of few rows with small weights (a router's): a block takes a few outputs of a few rows, and its warps share the inputs. So many
// multiprocessors work on a matrix of a few outputs, and each warp waits for memory about once; the warps' sums are added in their order.
#pragma once
#include "mma_product.cuh"
#include "stream_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

inline constexpr int split_warps = 8;
// Rows and outputs of a block: 16 x 8, one mma.sync, for few rows; 32 x 16 for more, where both operands would be read too often. Types without
// mma.sync: what a warp keeps sums of.
template <class P, int Blocks> struct SplitTile {
  static constexpr int blocks = Blocks;          // of 16 rows and of 8 outputs
  static constexpr int rows = has_mma<P> ? 16 * Blocks : stream_rows, outputs = has_mma<P> ? 8 * Blocks : stream_outputs, threads = 32 * split_warps;
  float sum[split_warps][rows][outputs];
  // Where a sum of row r, output c stands: eight outputs of four neighbouring rows meet no bank twice.
  COTERIE_DEVICE static int place(int r, int c) { return outputs == 16 ? c ^ r / 2 % 2 * 8 : c; }
};

// Sums of 16 rows and 8 rows of b, or Blocks times as many, over inputs [from, to), as mma.sync holds them. Lanes 4 i to 4 i + 3 read 32
// neighbouring inputs of row i, 16 bytes each; in which order mma.sync meets them is the same for both operands. A warp calls.
template <class P, int Blocks> COTERIE_DEVICE void split_mma(P const& p, std::int64_t first_row, std::int64_t first_output, std::int64_t from, std::int64_t to, float (&sum)[Blocks][Blocks][4]) {
  using V = typename P::A;
  constexpr int ahead = Blocks == 1 ? 4 : 2, step = 32;                  // 48 KiB of a block are under way
  int const lane = static_cast<int>(threadIdx.x % 32), i = lane / 4;
  V const *rows[Blocks][2], *weights[Blocks];
#pragma unroll
  for (int m = 0; m < Blocks; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      std::int64_t const r = first_row + m * 16 + half * 8 + i;
      rows[m][half] = p.a + (r < p.groups.rows ? r : 0) * p.a_stride;
    }
    std::int64_t const output = first_output + m * 8 + i;
    weights[m] = p.b + (output < p.b_rows ? output : 0) * p.b_pitch;
  }
#pragma unroll 1
  for (std::int64_t first = from; first < to; first += ahead * step) {
    uint4 a[ahead][Blocks][2], b[ahead][Blocks];
#pragma unroll
    for (int s = 0; s < ahead; ++s) {
      std::int64_t const k = first + s * step + lane % 4 * 8;
      bool const inside = k < to;
#pragma unroll
      for (int m = 0; m < Blocks; ++m) {
        b[s][m] = inside ? ptx::load16(weights[m] + k) : uint4{};
        a[s][m][0] = inside ? ptx::load16(rows[m][0] + k) : uint4{};
        a[s][m][1] = inside ? ptx::load16(rows[m][1] + k) : uint4{};
      }
    }
    __syncwarp();                                // lanes load or not, and mma wants them together. No name: the emulator gathers them there by itself
#pragma unroll
    for (int s = 0; s < ahead; ++s)
#pragma unroll
      for (int m = 0; m < Blocks; ++m) {
        uint4 const upper = a[s][m][0], lower = a[s][m][1];
        std::uint32_t const front[4]{upper.x, lower.x, upper.y, lower.y}, back[4]{upper.z, lower.z, upper.w, lower.w};
#pragma unroll
        for (int n = 0; n < Blocks; ++n) {
          ptx::mma_m16n8k16<V>(sum[m][n], front, b[s][n].x, b[s][n].y);
          ptx::mma_m16n8k16<V>(sum[m][n], back, b[s][n].z, b[s][n].w);
        }
      }
  }
}

template <class P, class T> __global__ void __launch_bounds__(T::threads, 1) split_product_kernel(P const p) {
  static_assert(!P::Epilogue::paired);
  T& s = ptx::dynamic_shared<T>();
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("split_product: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  std::int64_t const tall = ceil_div(p.groups.rows, T::rows), row0 = blockIdx.x % tall * T::rows, output0 = blockIdx.x / tall * T::outputs;
  // A warp's inputs: whole steps, so that its loads are whole lines.
  std::int64_t const part = round_up(ceil_div(p.inputs, split_warps), 128), from = warp * part < p.inputs ? warp * part : p.inputs;
  std::int64_t const to = from + part < p.inputs ? from + part : p.inputs;
  if constexpr (has_mma<P>) {
    float sum[T::blocks][T::blocks][4] = {};
    split_mma(p, row0, output0, from, to, sum);
#pragma unroll
    for (int m = 0; m < T::blocks; ++m)
#pragma unroll
      for (int n = 0; n < T::blocks; ++n) {
        int const r = m * 16 + lane / 4, c = T::place(r, n * 8 + lane % 4 * 2);                // the same eight rows further on
        store_two(&s.sum[warp][r][c], sum[m][n][0], sum[m][n][1], true);
        store_two(&s.sum[warp][r + 8][c], sum[m][n][2], sum[m][n][3], true);
      }
  } else {
    typename P::A const* a[stream_rows];
    typename P::B const* b[stream_outputs];
    for (int m = 0; m < stream_rows; ++m) a[m] = p.a + (row0 + m < p.groups.rows ? row0 + m : row0) * p.a_stride + from;
    for (int n = 0; n < stream_outputs; ++n) b[n] = p.b + (output0 + n < p.b_rows ? output0 + n : 0) * p.b_pitch + from;
    float mine[stream_outputs] = {};
    std::int64_t const rows = p.groups.rows - row0;
    stream_sums(rows < stream_rows ? static_cast<int>(rows) : stream_rows, a, b, to - from, mine);
    if (lane < stream_rows)
      for (int n = 0; n < stream_outputs; ++n) s.sum[warp][lane][n] = mine[n];
  }
  COTERIE_SYNC("split_product: sums of the warps", __syncthreads());
  for (int t = static_cast<int>(threadIdx.x); t < T::rows * T::outputs; t += T::threads) {
    int const r = t / T::outputs, c = t % T::outputs;
    std::int64_t const row = row0 + r, output = output0 + c;
    if (row >= p.groups.rows || output >= p.epilogue.columns) continue;
    float sum = 0;
    for (int w = 0; w < split_warps; ++w) sum += s.sum[w][r][T::place(r, c)];
    *p.epilogue.at(row, static_cast<int>(output)) = from_float<typename P::Epilogue::To>(p.epilogue.value(0, row, static_cast<int>(output), sum));
  }
}

// One group, rows as they stand; both operands readable eight inputs at a time.
template <class T, class P> void split_product(Cuda const& on, P const& p, Where at) {
  std::int64_t const blocks = ceil_div(p.groups.rows, T::rows) * ceil_div(p.epilogue.columns, T::outputs);
  launch(split_product_kernel<P, T>, {.grid = dim3(grid_of(blocks, "Cuda: too many tiles", at)), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}
// A tile's size does not show in its sums. (Where it changes: by arithmetic, not yet measured on a GPU.)
template <class P> void split_product(Cuda const& on, P const& p, Where at) {
  if constexpr (has_mma<P>)
    if (p.groups.rows > 64) return split_product<SplitTile<P, 2>>(on, p, at);
  split_product<SplitTile<P, 1>>(on, p, at);
}
// Rows up to which whole tiles would leave most multiprocessors idle.
template <class P> inline constexpr std::int64_t split_rows = has_mma<P> ? 512 : 64;

}}}}

// Products of few rows with small weights (a router's): a block takes a few outputs of a few rows, and its warps share the inputs. So many
// multiprocessors work on a matrix of a few outputs, and each warp waits for memory about once; the warps' sums are added in their order.
#pragma once
#include "mma_product.cuh"
#include "stream_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

inline constexpr int split_warps = 8;
// Rows and outputs of a block: one mma.sync, where there is one for the types; otherwise what a warp keeps sums of.
template <class P> struct SplitTile {
  static constexpr int rows = has_mma<P> ? 16 : stream_rows, outputs = has_mma<P> ? 8 : stream_outputs, threads = 32 * split_warps;
  float sum[split_warps][rows][outputs];
};

// Sums of 16 rows and 8 rows of b over inputs [from, to), as mma.sync holds them. Lanes 4 i to 4 i + 3 read 32 neighbouring inputs of row i,
// 16 bytes each; in which order mma.sync meets them is the same for both operands. A warp calls.
template <class P> COTERIE_DEVICE void split_mma(P const& p, std::int64_t first_row, std::int64_t first_output, std::int64_t from, std::int64_t to, float (&sum)[4]) {
  using V = typename P::A;
  constexpr int ahead = 4, step = 32;            // 48 bytes a lane each: 48 KiB of a block are under way
  int const lane = static_cast<int>(threadIdx.x % 32), i = lane / 4;
  auto const row = [&](std::int64_t r) { return p.a + (r < p.groups.rows ? r : 0) * p.a_stride; };
  std::int64_t const output = first_output + i < p.b_rows ? first_output + i : 0;
  V const *const upper = row(first_row + i), *const lower = row(first_row + i + 8), *const weights = p.b + output * p.b_pitch;
#pragma unroll 1
  for (std::int64_t first = from; first < to; first += ahead * step) {
    uint4 a[ahead][2], b[ahead];
#pragma unroll
    for (int s = 0; s < ahead; ++s) {
      std::int64_t const k = first + s * step + lane % 4 * 8;
      bool const inside = k < to;
      b[s] = inside ? ptx::load16(weights + k) : uint4{};
      a[s][0] = inside ? ptx::load16(upper + k) : uint4{};
      a[s][1] = inside ? ptx::load16(lower + k) : uint4{};
    }
#pragma unroll
    for (int s = 0; s < ahead; ++s) {
      std::uint32_t const front[4]{a[s][0].x, a[s][1].x, a[s][0].y, a[s][1].y}, back[4]{a[s][0].z, a[s][1].z, a[s][0].w, a[s][1].w};
      ptx::mma_m16n8k16<V>(sum, front, b[s].x, b[s].y);
      ptx::mma_m16n8k16<V>(sum, back, b[s].z, b[s].w);
    }
  }
}

template <class P> __global__ void __launch_bounds__(SplitTile<P>::threads, 1) split_product_kernel(P const p) {
  using T = SplitTile<P>;
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
    float sum[4] = {};
    split_mma(p, row0, output0, from, to, sum);
    store_two(&s.sum[warp][lane / 4][lane % 4 * 2], sum[0], sum[1], true);
    store_two(&s.sum[warp][lane / 4 + 8][lane % 4 * 2], sum[2], sum[3], true);
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
  int const t = static_cast<int>(threadIdx.x), column = t % T::outputs;
  std::int64_t const row = row0 + t / T::outputs, output = output0 + column;
  if (t >= T::rows * T::outputs || row >= p.groups.rows || output >= p.epilogue.columns) return;
  float sum = 0;
  for (int w = 0; w < split_warps; ++w) sum += s.sum[w][t / T::outputs][column];
  *p.epilogue.at(row, static_cast<int>(output)) = from_float<typename P::Epilogue::To>(p.epilogue.value(0, row, static_cast<int>(output), sum));
}

// One group, rows as they stand; both operands readable eight inputs at a time.
template <class P> void split_product(Cuda const& on, P const& p, Where at) {
  using T = SplitTile<P>;
  std::int64_t const blocks = ceil_div(p.groups.rows, T::rows) * ceil_div(p.epilogue.columns, T::outputs);
  launch(split_product_kernel<P>, {.grid = dim3(grid_of(blocks, "Cuda: too many tiles", at)), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}

}}}}

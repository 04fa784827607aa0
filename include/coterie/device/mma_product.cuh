// Grouped products for sm_80 and later: rows gathered by cp.async, ldmatrix, mma.sync, fp32 sums. 16-bit types only.
//
// A block computes one tile. Four stages of 32 inputs stand in shared memory, each row 64 bytes of four 16-byte chunks; chunk
// c of row r stands at c ^ (r / 2 % 4), so that neither the copies nor ldmatrix meet a bank twice.
#pragma once
#include "product.cuh"
#include "stages.cuh"
#include "wide.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// A tile of rows x columns; what a warp computes of it; blocks that share a multiprocessor.
struct MmaShape { int rows, columns, warp_rows, warp_columns, blocks; };
template <MmaShape S> struct MmaTile {
  static constexpr int rows = S.rows, columns = S.columns, warp_rows = S.warp_rows, warp_columns = S.warp_columns, depth = 32, stages = 4, blocks = S.blocks;
  static constexpr int row_warps = rows / warp_rows, threads = 32 * row_warps * (columns / warp_columns), chunks = depth / 8;
  static constexpr int row_fragments = warp_rows / 16, column_fragments = warp_columns / 8;
  static_assert(rows * chunks % threads == 0 && columns * chunks % threads == 0 && warp_columns % 16 == 0);
  static constexpr char const *has_landed = "mma_product: stage has landed", *is_everybodys = "mma_product: stage is everybody's";
  uint4 a[stages][rows * chunks], b[stages][columns * chunks];
};

// This lane's two sums of a block of 8 columns of one row, as mma and wgmma hold them; second: of the next block, whose sums are
// those of `up` where they come in pairs. column: of the packed rows, where the block begins.
template <class Epilogue> COTERIE_DEVICE void store_block(Epilogue const& epilogue, int group, std::int64_t row, int column, float const* sum, float const* second) {
  int const lane = static_cast<int>(threadIdx.x % 32);
  if constexpr (Epilogue::paired) store_two_sums(epilogue, group, row, column / 2 + lane % 4 * 2, {sum[0], sum[1]}, {second[0], second[1]});
  else store_two_sums(epilogue, group, row, column + lane % 4 * 2, {}, {sum[0], sum[1]});
}

template <class P, class T> __global__ void __launch_bounds__(T::threads, T::blocks) mma_product_kernel(P const p) {
  using V = typename P::A;
  T& s = ptx::dynamic_shared<T>();
  int const t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32;
  int const warp_row = warp % T::row_warps * T::warp_rows, warp_column = warp / T::row_warps * T::warp_columns;
  COTERIE_SYNC("mma_product: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  Tile const tile = TileWalk{p.groups, T::rows, column_tiles(p, T::columns)}(blockIdx.x);
  if (tile.group < 0) return;
  std::int64_t const column0 = std::int64_t{tile.column} * T::columns;

  // Of both whole chunks: what lies between inputs and the pitch is zero.
  RowCopies<T, V, T::rows> const a(p.a, p.a_stride, p.map, tile.first, tile.end);
  RowCopies<T, V, T::columns> const b(p.b + tile.group * p.b_group, p.b_pitch, nullptr, column0, p.b_rows);
  auto const load = [&](int stage, int step) {
    std::int64_t const k = std::int64_t{step} * T::depth;
    a.load(s.a[stage], k, p.inputs), b.load(s.b[stage], k, p.inputs);
  };

  float acc[T::row_fragments][T::column_fragments][4] = {};
  int const steps = static_cast<int>((p.inputs + T::depth - 1) / T::depth);
  through_stages<T>(steps, load, [&](int stage) {
    uint4 const* const sa = s.a[stage];
    uint4 const* const sb = s.b[stage];
#pragma unroll
    for (int half = 0; half < T::depth / 16; ++half) {
      std::uint32_t fa[T::row_fragments][4], fb[T::column_fragments / 2][4];
#pragma unroll
      for (int i = 0; i < T::row_fragments; ++i) ptx::ldmatrix_x4(fa[i], &sa[swizzled(warp_row + i * 16 + lane % 16, half * 2 + lane / 16)]);
#pragma unroll
      for (int j = 0; j < T::column_fragments / 2; ++j) ptx::ldmatrix_x4(fb[j], &sb[swizzled(warp_column + j * 16 + lane % 8 + lane / 16 * 8, half * 2 + lane / 8 % 2)]);
#pragma unroll
      for (int i = 0; i < T::row_fragments; ++i)
#pragma unroll
        for (int j = 0; j < T::column_fragments; ++j) ptx::mma_m16n8k16<V>(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  });

#pragma unroll
  for (int i = 0; i < T::row_fragments; ++i)
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      std::int64_t const row = tile.first + warp_row + i * 16 + lane / 4 + upper * 8;
      if (row >= tile.end) continue;
#pragma unroll
      for (int j = 0; j < T::column_fragments; j += P::Epilogue::paired ? 2 : 1)
        store_block(p.epilogue, tile.group, row, static_cast<int>(column0) + warp_column + j * 8, &acc[i][j][upper * 2], &acc[i][j + P::Epilogue::paired][upper * 2]);
    }
}

template <class T, class P> void mma_product(Cuda const& on, P const& p, Where at) {
  // A block takes 1 KiB more of shared memory than it asks for: as many as registers are shared out for fit in the 164 KiB of 8.0, one where a
  // multiprocessor has 100 KiB (8.6, 8.9, 12.0).
  static_assert(T::blocks * (sizeof(T) + 1024) <= 164 * 1024 && sizeof(T) <= 99 * 1024);
  launch(mma_product_kernel<P, T>, {.grid = tile_grid(p, T::rows, T::columns, at), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}
// Few rows a group: a short tile wastes less. (Not yet measured on a GPU.)
using MmaTall = MmaTile<MmaShape{.rows = 128, .columns = 128, .warp_rows = 64, .warp_columns = 32, .blocks = 2}>;
using MmaShort = MmaTile<MmaShape{.rows = 32, .columns = 128, .warp_rows = 32, .warp_columns = 32, .blocks = 4}>;
template <class P> void mma_product(Cuda const& on, P const& p, Where at) {
  if (p.groups.rows <= 48 * p.groups.sharing()) mma_product<MmaShort>(on, p, at);
  else mma_product<MmaTall>(on, p, at);
}
template <class P> inline constexpr bool has_mma = std::is_same_v<typename P::A, typename P::B> && sizeof(typename P::A) == 2;

}}}}

// Grouped products of a backward pass: out(r, n) = sum over k of a(map[r], k) * b[group of r](k, n), with whatever is done to a sum before it is
// stored. b is what the forward pass multiplies by, [outputs][pitch], summed over its outputs and not over its inputs. Beside it
// gradient_product.cuh, the gradients of the weights. fp32 sums; no atomics; each sum is one chain over k, whatever else is in the batch.
#pragma once
#include "gradient_product.cuh"
#include "mma_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// One group of dense rows: .groups = {.rows = T}. A matrix that is not packed serves as well: its rows are b's, b_pitch apart.
// Epilogue: as of Product (product.cuh; StoreRows writes rows of To with any stride), or one that keeps parts of rows (keeps_parts).
template <class A_, class B_, class Epilogue_> struct BackwardProduct {
  using A = A_;
  using B = B_;
  using Epilogue = Epilogue_;
  A const* a;                                    // [.][inputs]
  std::int64_t a_stride;
  std::int32_t const* map;                       // row of the product -> row of a; null: the same
  B const* b;                                    // [groups][inputs][b_pitch], of group g at b + g * b_group
  std::int64_t b_group, b_pitch, inputs;
  Groups groups;
  Epilogue epilogue;                             // .columns: how many n there are
};

// An epilogue that takes two neighbouring sums of a row, stores what it likes, and returns what they add to a part of the row: parts are of
// part_columns columns, and each is handed over once. What it reads it reads ahead: the compiler does not move a load over a store.
//   int columns; using Read; Read read(row, column); float store(group, row, column, first, second, Read const&): column even, `second` the sum of
//   column + 1, both asked for up to a multiple of part_columns; void part(row, number, sum)
inline constexpr int part_columns = 32;
template <class E> inline constexpr bool keeps_parts = requires(E const& e) { e.part(std::int64_t{}, 0, 0.f); };

struct ReadNothing {};
template <class E> COTERIE_DEVICE auto read_ahead(E const& e, std::int64_t row, int column) {
  if constexpr (keeps_parts<E>) return e.read(row, column);
  else return ReadNothing{};
}
template <class E, class Read> COTERIE_DEVICE float store_sums(E const& e, int group, std::int64_t row, int column, float first, float second, Read const& read) {
  if constexpr (keeps_parts<E>) {
    return e.store(group, row, column, first, second, read);
  } else {
    store_columns(e, row, column, e.value(group, row, column, first), e.value(group, row, column + 1, second));
    return 0;
  }
}
// Of neighbouring lanes, `lanes` of them: the sum over all, in each.
template <int Lanes> COTERIE_DEVICE float lane_sum(float v) {
#pragma unroll
  for (int by = 1; by < Lanes; by *= 2) v += __shfl_xor_sync(~0u, v, by);
  return v;
}

// Tiles of 64 rows x 64 columns, 16 of depth at a time; of a thread's four columns two are neighbours, and 32 the others away.
template <class P> __global__ void __launch_bounds__(PlainTile::threads, 2) plain_backward_kernel(P const p) {
  PlainTile& s = ptx::dynamic_shared<PlainTile>();
  constexpr int columns = PlainTile::columns, depth = PlainTile::inputs;
  int const t = static_cast<int>(threadIdx.x), x = t % 16, y = t / 16;
  COTERIE_SYNC("plain_backward: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  Tile const tile = TileWalk{p.groups, PlainTile::rows, static_cast<int>(ceil_div(p.epilogue.columns, columns))}(blockIdx.x);
  if (tile.group < 0) return;
  int const column0 = tile.column * columns;
  // Of a: input x of rows y, y + 16, ...; of b: column t % 64 of its rows t / 64, 4 further, ...
  typename P::A const* from_a[4];
  bool has_a[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    std::int64_t const row = tile.first + y + i * 16;
    has_a[i] = row < tile.end;
    from_a[i] = p.a + (has_a[i] ? p.map ? p.map[row] : row : 0) * p.a_stride;
  }
  bool const has_b = column0 + t % columns < p.epilogue.columns;
  typename P::B const* const from_b = p.b + tile.group * p.b_group + (has_b ? column0 + t % columns : 0);
  auto const place = [x](int n) { return n / 2 * part_columns + x * 2 + n % 2; };
  float sum[4][4] = {};
  for (std::int64_t k = 0; k < p.inputs; k += depth) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      std::int64_t const row = k + t / columns + i * 4;
      s.a[x][y + i * 16] = has_a[i] && k + x < p.inputs ? to_float(from_a[i][k + x]) : 0.f;
      s.b[t / columns + i * 4][t % columns] = has_b && row < p.inputs ? to_float(from_b[row * p.b_pitch]) : 0.f;
    }
    COTERIE_SYNC("plain_backward: tile is loaded", __syncthreads());
#pragma unroll
    for (int i = 0; i < depth; ++i)
#pragma unroll
      for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n) sum[m][n] = fmaf(s.a[i][y * 4 + m], s.b[i][place(n)], sum[m][n]);
    COTERIE_SYNC("plain_backward: tile is read", __syncthreads());
  }
  using Read = decltype(read_ahead(p.epilogue, 0, 0));
#pragma unroll
  for (int m = 0; m < 4; ++m) {
    std::int64_t const r = tile.first + y * 4 + m;
    Read read[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (r < tile.end) read[half] = read_ahead(p.epilogue, r, column0 + place(half * 2));
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float part = r < tile.end ? store_sums(p.epilogue, tile.group, r, column0 + place(half * 2), sum[m][half * 2], sum[m][half * 2 + 1], read[half]) : 0.f;
      if constexpr (keeps_parts<typename P::Epilogue>) {
        part = lane_sum<16>(part);
        if (x == 0 && r < tile.end && column0 + half * part_columns < p.epilogue.columns) p.epilogue.part(r, column0 / part_columns + half, part);
      }
    }
  }
}

// Rows [first, end) of a group and 128 columns from `column` on, whose sums stand in shared memory: (first, column) at sums[sum_at(0, 0)]. Stored by
// `warps` of them, of which this one is number `warp`; each reads and stores 64 neighbouring columns of two rows at a time.
struct StagedRows {
  int group, column;
  std::int64_t first, end;
};
template <class E> COTERIE_DEVICE void store_staged(E const& epilogue, StagedRows const& tile, float const* sums, int warp, int warps) {
  constexpr int at_once = 4;
  int const lane = static_cast<int>(threadIdx.x % 32), items = 2 * static_cast<int>(tile.end - tile.first);
#pragma unroll 1
  for (int first = warp * at_once; first < items; first += warps * at_once) {
    auto const row = [&](int n) { return (first + n) / 2; };
    auto const column = [&](int n) { return (first + n) % 2 * 64 + lane * 2; };
    decltype(read_ahead(epilogue, 0, 0)) read[at_once];
#pragma unroll
    for (int n = 0; n < at_once; ++n)
      if (first + n < items) read[n] = read_ahead(epilogue, tile.first + row(n), tile.column + column(n));
#pragma unroll
    for (int n = 0; n < at_once; ++n) {
      if (first + n >= items) break;
      float2 const sum = load_two(&sums[sum_at(row(n), column(n))]);
      float part = store_sums(epilogue, tile.group, tile.first + row(n), tile.column + column(n), sum.x, sum.y, read[n]);
      if constexpr (keeps_parts<E>) {
        part = lane_sum<16>(part);
        if (lane % 16 == 0 && tile.column + column(n) < epilogue.columns) epilogue.part(tile.first + row(n), (tile.column + column(n)) / part_columns, part);
      }
    }
  }
}

// The stages of mma_product's tiles, but for b: its rows stand as they are, 32 of depth by all columns of the tile, and ldmatrix turns them.
// In the end sums stand in their place.
template <MmaShape S> struct MmaBackwardTile : MmaTile<S> {
  static constexpr int b_chunks = S.columns / 8;
  static constexpr char const *has_landed = "mma_backward: stage has landed", *is_everybodys = "mma_backward: stage is everybody's";
  COTERIE_DEVICE static int b_at(int k, int chunk) { return k * b_chunks + (chunk ^ k % 8); }
  COTERIE_DEVICE float* sums() { return reinterpret_cast<float*>(this->a); }
};

template <class P, class T> __global__ void __launch_bounds__(T::threads, T::blocks) mma_backward_kernel(P const p) {
  using V = typename P::A;
  constexpr int b_copies = T::columns * T::chunks / T::threads, b_by = T::threads / T::b_chunks;
  static_assert(T::columns == 128 && T::rows * T::columns * sizeof(float) <= sizeof(T));
  T& s = ptx::dynamic_shared<T>();
  int const t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32;
  int const warp_row = warp % T::row_warps * T::warp_rows, warp_column = warp / T::row_warps * T::warp_columns;
  COTERIE_SYNC("mma_backward: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  Tile const tile = TileWalk{p.groups, T::rows, static_cast<int>(ceil_div(p.epilogue.columns, T::columns))}(blockIdx.x);
  if (tile.group < 0) return;
  int const column0 = tile.column * T::columns;

  // Of b this thread copies one column of chunks, rows b_by apart.
  RowCopies<T, V, T::rows> const a(p.a, p.a_stride, p.map, tile.first, tile.end);
  int const b_chunk = t % T::b_chunks, b_row = t / T::b_chunks;
  bool const has_b = column0 + b_chunk * 8 < p.epilogue.columns;
  V const* const from_b = p.b + tile.group * p.b_group + b_row * p.b_pitch + column0 + b_chunk * 8;
  auto const load = [&](int stage, int step) {
    std::int64_t const k = std::int64_t{step} * T::depth;
    a.load(s.a[stage], k, p.inputs);
#pragma unroll
    for (int i = 0; i < b_copies; ++i) {
      bool const valid = has_b && k + b_row + i * b_by < p.inputs;
      ptx::cp_async16(&s.b[stage][T::b_at(b_row + i * b_by, b_chunk)], valid ? from_b + (k + i * b_by) * p.b_pitch : p.b, valid);
    }
  };

  float acc[T::row_fragments][T::column_fragments][4] = {};
  int const steps = static_cast<int>((p.inputs + T::depth - 1) / T::depth);
  through_stages<T>(steps, load, [&](int stage) {
    uint4 const* const sa = s.a[stage];
    uint4 const* const sb = s.b[stage];
#pragma unroll
    for (int half = 0; half < T::depth / 16; ++half) {
      std::uint32_t fb[T::column_fragments / 2][4];
#pragma unroll
      for (int j = 0; j < T::column_fragments / 2; ++j) ptx::ldmatrix_x4_trans(fb[j], &sb[T::b_at(half * 16 + lane % 16, warp_column / 8 + j * 2 + lane / 16)]);
#pragma unroll
      for (int i = 0; i < T::row_fragments; ++i) {
        std::uint32_t fa[4];
        ptx::ldmatrix_x4(fa, &sa[swizzled(warp_row + i * 16 + lane % 16, half * 2 + lane / 16)]);
#pragma unroll
        for (int j = 0; j < T::column_fragments; ++j) ptx::mma_m16n8k16<V>(acc[i][j], fa, fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
      }
    }
  });

  // In a fragment a thread has pairs of columns of eight rows. Through shared memory, so that a warp reads and stores 64 neighbouring columns.
  COTERIE_SYNC("mma_backward: stages are read", __syncthreads());
  float* const sums = s.sums();
#pragma unroll
  for (int i = 0; i < T::row_fragments; ++i)
#pragma unroll
    for (int j = 0; j < T::column_fragments; ++j)
#pragma unroll
      for (int upper = 0; upper < 2; ++upper)
        store_two(&sums[sum_at(warp_row + i * 16 + upper * 8 + lane / 4, warp_column + j * 8 + lane % 4 * 2)], acc[i][j][upper * 2], acc[i][j][upper * 2 + 1], true);
  COTERIE_SYNC("mma_backward: sums are everybody's", __syncthreads());
  std::int64_t const rows = tile.end - tile.first < T::rows ? tile.end - tile.first : T::rows;
  store_staged(p.epilogue, StagedRows{.group = tile.group, .column = column0, .first = tile.first, .end = tile.first + rows}, sums, warp, T::threads / 32);
}

// How the stages of the forward pass are shared out (mma_product.cuh), and where a short tile wastes less.
using MmaBackwardTall = MmaBackwardTile<MmaShape{.rows = 128, .columns = 128, .warp_rows = 64, .warp_columns = 32, .blocks = 2}>;
using MmaBackwardShort = MmaBackwardTile<MmaShape{.rows = 32, .columns = 128, .warp_rows = 32, .warp_columns = 32, .blocks = 4}>;
template <class T, class P> void mma_backward(Cuda const& on, P const& p, Where at) {
  dim3 const grid(grid_of(p.groups.tiles(T::rows) * ceil_div(p.epilogue.columns, T::columns), "Cuda: too many tiles", at));
  launch(mma_backward_kernel<P, T>, {.grid = grid, .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}
template <class P> void plain_backward(Cuda const& on, P const& p, Where at) {
  dim3 const grid(grid_of(p.groups.tiles(PlainTile::rows) * ceil_div(p.epilogue.columns, PlainTile::columns), "Cuda: too many tiles", at));
  launch(plain_backward_kernel<P>, {.grid = grid, .block = dim3(PlainTile::threads), .shared = sizeof(PlainTile), .programmatic = on.device.programmatic}, on.stream, at, p);
}

}}}}

// Grouped products for few rows a group, with the weights as the M operand: a tile is 64 packed rows of the weights by 8, 16, 32 or 64
// rows of a, so that three rows cost one block of eight. 16-bit types only.
//
// Memory sets the pace, on Hopper too: mma.sync keeps up with 64 rows of a, and a block needs no more than to have enough copies under
// way. So blocks are persistent and their ring of stages never runs dry: copies go on into the next tile while the last stages of this
// one are multiplied and its sums are stored. A stage is 64 inputs, rows of 128 bytes, 16-byte chunk c of row r at c ^ (r % 8).
//
// Each sum is one chain over the inputs in steps of 16, as mma_product's.
#pragma once
#include "mma_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// 97 KiB: two blocks where a multiprocessor has 228 KiB, one elsewhere (8.6, 8.9 and 12.0 have 99). Four stages of weights are under way, 32 KiB
// a block; latency at an H200's bandwidth asks for 29 to 36, and there are two blocks. (Not yet measured on a GPU.)
struct SwappedTile {
  static constexpr int rows = 64, columns = 64, depth = 64, stages = 5, threads = 128, chunks = depth / 8, blocks = 2, copies = columns * chunks / threads;
  uint4 a[stages][rows * chunks], b[stages][columns * chunks];
  // [row of a][packed row], gates first where they come in pairs. Four words further each row: neither those who write columns of
  // fragments nor those who read rows meet a bank twice.
  float sums[rows][columns + 4];
  COTERIE_DEVICE static int rows_of(Tile const& tile) { return tile.end - tile.first < rows ? static_cast<int>(tile.end - tile.first) : rows; }
  // Rows of a that are multiplied for so many.
  COTERIE_DEVICE static int multiplied(int n) { return n <= 8 ? 8 : n <= 16 ? 16 : n <= 32 ? 32 : 64; }
  COTERIE_DEVICE static int at(int row, int chunk) { return row * chunks + (chunk ^ row % 8); }
};

// Starts copies of one step of 64 inputs after the other, of all tiles of this block.
template <class P> class SwappedFeed {
 public:
  COTERIE_DEVICE SwappedFeed(P const& p, SwappedTile& s)
      : p_(p), s_(s), walk_(p.groups, T::rows, column_tiles(p, T::columns)), row_(static_cast<int>(threadIdx.x) / T::chunks), chunk_(static_cast<int>(threadIdx.x) % T::chunks),
        number_(blockIdx.x) {
    enter();
  }

  // The next step, to this stage; nothing when there are no more.
  COTERIE_DEVICE void start(int stage) {
    if (!any_) return;
    bool const inside = k_ < p_.inputs;          // whole chunks: what lies between inputs and the pitch is zero
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      bool const valid = inside && i * by < b_left_;
      ptx::cp_async16(&s_.b[stage][T::at(row_, chunk_) + i * by * T::chunks], valid ? from_b_ + i * by * p_.b_pitch + k_ : p_.b, valid);
    }
#pragma unroll
    for (int i = 0; i < T::copies; ++i)
      if (row_ + i * by < multiplied_) {
        bool const valid = inside && from_a_[i];
        ptx::cp_async16(&s_.a[stage][T::at(row_, chunk_) + i * by * T::chunks], valid ? from_a_[i] + k_ : p_.a, valid);
      }
    k_ += T::depth;
    if (k_ - chunk_ * 8 < p_.inputs) return;
    number_ += gridDim.x;
    enter();
  }

 private:
  using T = SwappedTile;
  static constexpr int by = T::threads / T::chunks;                      // rows between a thread's copies: their swizzle is the same

  COTERIE_DEVICE void enter() {
    Tile const tile = walk_(number_);
    any_ = tile.group >= 0;
    if (!any_) return;
    multiplied_ = T::multiplied(T::rows_of(tile));
    std::int64_t const b_row = std::int64_t{tile.column} * T::columns + row_;
    b_left_ = p_.b_rows - b_row;
    from_b_ = p_.b + tile.group * p_.b_group + b_row * p_.b_pitch;
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      std::int64_t const row = tile.first + row_ + i * by;
      from_a_[i] = row < tile.end ? p_.a + (p_.map ? p_.map[row] : row) * p_.a_stride : nullptr;
    }
    k_ = chunk_ * 8;
  }

  P const& p_;
  SwappedTile& s_;
  TileWalk walk_;
  int row_, chunk_, multiplied_ = 0;
  std::int64_t number_, k_ = 0;                  // of the tile; input of this thread's chunk in the next step
  bool any_ = false;                             // is there a tile
  std::int64_t b_left_ = 0;                      // packed rows from this thread's first one on
  typename P::B const* from_b_ = nullptr;
  typename P::A const* from_a_[T::copies] = {};  // null: beyond the end of the group
};

// Adds a stage to the sums of Blocks blocks of 8 rows of a. Warps stand on top of each other, 16 packed rows each; with 64 rows of a two by
// two, which reads less of shared memory.
template <class V, int Blocks> COTERIE_DEVICE void add_stage(uint4 const* weights, uint4 const* rows, float (&acc)[8][4]) {
  constexpr int side = Blocks == 8 ? 2 : 1, mine = Blocks / side;
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32), top = warp / side * side * 16, left = warp % side * mine * 8;
#pragma unroll
  for (int pair = 0; pair < SwappedTile::depth / 32; ++pair) {
    std::uint32_t fb[mine][4];                   // of both steps of 16 inputs
#pragma unroll
    for (int n = 0; n < mine; ++n) ptx::ldmatrix_x4(fb[n], &rows[SwappedTile::at(left + n * 8 + lane % 8, pair * 4 + lane / 8)]);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int m = 0; m < side; ++m) {
        std::uint32_t fa[4];
        ptx::ldmatrix_x4(fa, &weights[SwappedTile::at(top + m * 16 + lane % 16, pair * 4 + half * 2 + lane / 16)]);
#pragma unroll
        for (int n = 0; n < mine; ++n) ptx::mma_m16n8k16<V>(acc[m * mine + n], fa, fb[n][half * 2], fb[n][half * 2 + 1]);
      }
  }
}
// The sums of `rows` rows of a from fragments to shared memory.
template <class P> COTERIE_DEVICE void spread_sums(SwappedTile& s, int rows, float const (&acc)[8][4]) {
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  bool const square = rows > 32;                 // two by two warps
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    int const fragment = square ? warp / 2 * 2 + i / 4 : warp, row = square ? warp % 2 * 32 + i % 4 * 8 : i * 8;
    if (row >= rows) continue;
#pragma unroll
    for (int lower = 0; lower < 2; ++lower) {
      int const column = P::Epilogue::paired ? lower * (SwappedTile::columns / 2) + fragment * 8 : fragment * 16 + lower * 8;
#pragma unroll
      for (int j = 0; j < 2; ++j) s.sums[row + lane % 4 * 2 + j][column + lane / 4] = acc[i][lower * 2 + j];
    }
  }
}

template <class P> __global__ void __launch_bounds__(SwappedTile::threads, SwappedTile::blocks) swapped_product_kernel(P const p) {
  using T = SwappedTile;
  using V = typename P::A;
  constexpr bool paired = P::Epilogue::paired;
  constexpr int outputs = paired ? T::columns / 2 : T::columns;          // of a tile
  T& s = ptx::dynamic_shared<T>();
  COTERIE_SYNC("swapped_product: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  SwappedFeed<P> feed(p, s);
#pragma unroll 1
  for (int i = 0; i < T::stages - 1; ++i) {
    feed.start(i);
    ptx::cp_async_commit();
  }
  TileWalk walk{p.groups, T::rows, column_tiles(p, T::columns)};
  int const steps = static_cast<int>((p.inputs + T::depth - 1) / T::depth);
  int stage = 0;
#pragma unroll 1
  for (std::int64_t number = blockIdx.x;; number += gridDim.x) {
    Tile const tile = walk(number);
    if (tile.group < 0) return;                  // every copy has landed: the groups that are still under way are empty
    int const rows = T::rows_of(tile), multiplied = T::multiplied(rows);
    float acc[8][4] = {};
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      COTERIE_SYNC("swapped_product: stage has landed", ptx::cp_async_wait<T::stages - 2>());
      COTERIE_SYNC("swapped_product: stage is everybody's", __syncthreads());
      feed.start(stage == 0 ? T::stages - 1 : stage - 1);                // the one that everybody has read
      ptx::cp_async_commit();
      // Lanes copy rows of a or not, and ldmatrix and mma want them together. No name: the emulator gathers them there by itself.
      __syncwarp();
      if (multiplied == 8) add_stage<V, 1>(s.b[stage], s.a[stage], acc);
      else if (multiplied == 16) add_stage<V, 2>(s.b[stage], s.a[stage], acc);
      else if (multiplied == 32) add_stage<V, 4>(s.b[stage], s.a[stage], acc);
      else add_stage<V, 8>(s.b[stage], s.a[stage], acc);
      stage = stage == T::stages - 1 ? 0 : stage + 1;
    }
    // A thread of a fragment has one column of two rows. Through shared memory, so that full sectors are stored; the sums of the tile before
    // have been read since the last stage was everybody's.
    spread_sums<P>(s, rows, acc);
    COTERIE_SYNC("swapped_product: sums are everybody's", __syncthreads());
#pragma unroll 1
    for (int i = static_cast<int>(threadIdx.x); i < rows * outputs; i += T::threads) {
      int const r = i / outputs, c = i % outputs, column = tile.column * outputs + c;
      if (column >= p.epilogue.columns) continue;
      std::int64_t const row = tile.first + r;
      float v;
      if constexpr (paired) v = p.epilogue.value(tile.group, row, column, s.sums[r][c], s.sums[r][outputs + c]);
      else v = p.epilogue.value(tile.group, row, column, s.sums[r][c]);
      *p.epilogue.at(row, column) = from_float<typename P::Epilogue::To>(v);
    }
  }
}

template <class P> void swapped_product(Cuda const& on, P const& p, Where at) {
  using T = SwappedTile;
  static_assert(sizeof(T) <= 99 * 1024 && T::blocks * (sizeof(T) + 1024) <= 228 * 1024);             // each takes 1 KiB more than it asks for
  dim3 const tiles = tile_grid(p, T::rows, T::columns, at);
  auto const most = static_cast<unsigned>(on.device.multiprocessors * (on.device.shared_bytes >= T::blocks * static_cast<int>(sizeof(T)) ? T::blocks : 1));
  launch(swapped_product_kernel<P>, {.grid = dim3(tiles.x < most ? tiles.x : most), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}

}}}}

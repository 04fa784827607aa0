// Grouped products for sm_90a, forwards (Product) and backwards (BackwardProduct): warp-specialised and persistent. A warpgroup of producers
// gathers rows by cp.async and lets TMA bring the weights, the group as a coordinate; one or two warpgroups of consumers multiply by wgmma.
// 16-bit types only.
//
// Two consumers share a tile, 64 rows each: the largest tile, the fewest bytes. Or they take tiles in turn (alternating): one
// stores while the other multiplies, which pays where few inputs leave little time between stores. They must not multiply both:
// a barrier tells one round from the next only, and who skips the other's stages would take a full one of two rounds ago for
// its own. Who has no rows, at the ragged end of a group, multiplies nothing.
//
// Stages of 64 inputs stand in shared memory as TMA writes them: rows of 128 bytes, 16-byte chunk c of row r at c ^ (r % 8). Backwards a
// row of the weights is one input of 64 columns, box beside box, and wgmma reads it so (wgmma_mn.cuh): nothing is transposed.
// Rows past the end of a group are zeros and are not stored.
#pragma once
#include "backward_product.cuh"
#include "wgmma_ring.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// A tile of rows x columns, of which each consumer computes blocks of 64 rows.
struct WgmmaShape {
  int rows, columns, stages, consumers;
  int alternating = 0;                           // flag: consumers take tiles in turn
  int backwards = 0;                             // flag: weights are [inputs][columns] in memory, not [columns][inputs]
};
template <class V, WgmmaShape S> struct WgmmaTile {
  static constexpr int rows = S.rows, columns = S.columns, stages = S.stages, consumers = S.consumers, depth = 64, threads = 128 * (1 + consumers), copies = rows / 16;
  static constexpr bool alternating = S.alternating;
  static constexpr int blocks = rows / 64 / (alternating ? 1 : consumers);       // of 64 rows, each consumer's in a tile
  // Registers: 65,536 of a multiprocessor over the block's threads; producers need few.
  static constexpr int producer_registers = 56, consumer_registers = consumers == 1 ? 240 : 224;
  static constexpr int box = S.backwards ? depth : columns;              // rows of the weights in a box of 64 of their columns
  V a[stages][rows * depth], b[stages][columns * depth];
  alignas(16) float sums[consumers * 4][buffered_rows * buffered_columns];         // a warp's
  std::uint64_t full[stages], empty[stages], turn[2];

  // The weights of one tile and step.
  COTERIE_DEVICE void load(CUtensorMap const& weights, int stage, int step, Tile const& tile) {
    if constexpr (S.backwards) {
#pragma unroll
      for (int i = 0; i < columns / 64; ++i) ptx::tma_load_3d(b[stage] + i * 64 * depth, &weights, &full[stage], tile.column * columns + i * 64, step * depth, tile.group);
    } else {
      ptx::tma_load_3d(b[stage], &weights, &full[stage], step * depth, tile.column * columns, tile.group);
    }
  }
  // 64 rows from `first` on by all columns, of inputs 16 i .. 16 i + 15 of a stage.
  COTERIE_DEVICE void multiply(float (&sum)[columns / 2], int stage, int first, int i, bool accumulate) const {
    std::uint64_t const of_a = ptx::descriptor_k128(a[stage] + first * depth) + 2 * i;
    if constexpr (S.backwards) ptx::wgmma_m64k16_mn<ptx::MnMajor::b, columns, V>(sum, of_a, ptx::descriptor_mn128(b[stage], depth) + 128 * i, accumulate);
    else ptx::wgmma_m64k16<columns, V>(sum, of_a, ptx::descriptor_k128(b[stage]) + 2 * i, accumulate);
  }
};

template <class P, class T> COTERIE_DEVICE void produce(P const& p, CUtensorMap const& weights, T& s, int steps) {
  using V = typename P::A;
  ptx::setmaxnreg_dec<T::producer_registers>();
  int const t = static_cast<int>(threadIdx.x), chunk = t % 8, row0 = t / 8;        // chunk of rows row0, row0 + 16, ...
  TileWalk walk{p.groups, T::rows, column_tiles(p, T::columns)};
  Ring ring;
  Copies<T> copies(s);
#pragma unroll 1
  for (std::int64_t number = blockIdx.x;; number += gridDim.x) {
    Tile const tile = walk(number);
    if (tile.group < 0) break;
    V const* from[T::copies];
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      std::int64_t const row = tile.first + row0 + i * 16;
      from[i] = row < tile.end ? p.a + (p.map ? p.map[row] : row) * p.a_stride : nullptr;
    }
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      COTERIE_SYNC("wgmma_product: stage is free", ptx::mbarrier_wait(&s.empty[ring.stage], ring.phase ^ 1));
      if (t == 0) {
        ptx::mbarrier_arrive_expect_tx(&s.full[ring.stage], T::columns * T::depth * sizeof(V));
        s.load(weights, ring.stage, step, tile);
      }
      std::int64_t const k = std::int64_t{step} * T::depth + chunk * 8;
      V* const to = s.a[ring.stage] + row0 * T::depth + (chunk ^ row0 % 8) * 8;      // 16 rows further is the same chunk
#pragma unroll
      for (int i = 0; i < T::copies; ++i) {
        bool const valid = from[i] && k < p.inputs;
        ptx::cp_async16(to + i * 16 * T::depth, valid ? from[i] + k : p.a, valid);
      }
      copies.issued(ring.stage);
      ring.template next<T::stages>();
    }
  }
  copies.finish();
}

// Rows [first, end), no more than eight, and 128 columns whose sums stand in shared memory. A lane takes two neighbouring columns of a row, four
// times in a turn of the loop. Where sums come in pairs, lanes share two rows, so that gates, and then ups, meet no bank twice.
template <class A, class B, class E> COTERIE_DEVICE void store_rows(Product<A, B, E> const& p, StagedRows const& tile, float const* sums) {
  constexpr int by = E::paired ? 2 : 1;
  int const lane = static_cast<int>(threadIdx.x % 32), rows = static_cast<int>(tile.end - tile.first);
  int const r0 = E::paired ? lane / 8 % 2 : 0, c0 = E::paired ? lane / 16 * 16 + lane % 8 * 2 : lane * 2;
#pragma unroll 1
  for (int first = r0; first < rows; first += 2 * by)
#pragma unroll
    for (int n = 0; n < 4; ++n) {
      int const r = first + n / 2 * by, c = c0 + n % 2 * (64 / by), column = tile.column / by + c;
      if (r >= rows || column >= p.epilogue.columns) continue;
      std::int64_t const row = tile.first + r;
      if constexpr (E::paired) {
        int const at = c / interleave * (2 * interleave) + c % interleave;
        float2 const gate = load_two(&sums[sum_at(r, at)]), up = load_two(&sums[sum_at(r, at + interleave)]);
        store_two_sums(p.epilogue, tile.group, row, column, gate, up);
      } else {
        store_two_sums(p.epilogue, tile.group, row, column, {}, load_two(&sums[sum_at(r, c)]));
      }
    }
}

template <class P, class T> COTERIE_DEVICE void consume(P const& p, T& s, int steps) {
  ptx::setmaxnreg_inc<T::consumer_registers>();
  int const t = static_cast<int>(threadIdx.x), warp = t / 32 - 4, consumer = warp / 4, lane = t % 32;
  int const first = T::alternating ? 0 : consumer * T::blocks * 64;      // of this consumer's rows in a tile
  TileWalk walk{p.groups, T::rows, column_tiles(p, T::columns)};
  Ring ring;
  int tiles = 0, turns = 0;                      // of the block; this consumer's
#pragma unroll 1
  for (std::int64_t number = blockIdx.x;; number += gridDim.x) {
    Tile const tile = walk(number);
    if (tile.group < 0) break;
    if (T::alternating && tiles++ % T::consumers != consumer) {
      ring.template skip<T::stages>(steps);
      continue;
    }
    if constexpr (T::alternating)                // consumer 0 begins; the parity of rounds that were never counted is odd
      COTERIE_SYNC("wgmma_product: it is this consumer's turn", ptx::mbarrier_wait(&s.turn[consumer], static_cast<unsigned>(turns++ & 1) ^ (consumer == 0)));
    bool const any = tile.first + first < tile.end;
    float acc[T::blocks][T::columns / 2];
    multiply_stages(s, ring, steps, first, any, acc);
    if (T::alternating && lane == 0) COTERIE_SYNC("wgmma_product: the turn is handed over", ptx::mbarrier_arrive(&s.turn[1 - consumer]));
    if (!any) continue;
#pragma unroll
    for (int m = 0; m < T::blocks; ++m) {
      std::int64_t const row = tile.first + first + m * 64 + warp % 4 * 16;
      through_shared<T::columns>(acc[m], tile.end - row, s.sums[warp], [&](int r, int column) {
        std::int64_t const from = row + r, end = from + buffered_rows < tile.end ? from + buffered_rows : tile.end;
        store_rows(p, StagedRows{.group = tile.group, .column = tile.column * T::columns + column, .first = from, .end = end}, s.sums[warp]);
      });
    }
  }
}

template <class P, class T> __global__ void __launch_bounds__(T::threads, 1) wgmma_product_kernel(P const p, __grid_constant__ CUtensorMap const weights) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(COTERIE_SIMT)
  T& s = ptx::dynamic_shared<T>();
  int const steps = static_cast<int>((p.inputs + T::depth - 1) / T::depth);
  if (threadIdx.x == 0) {
    ptx::tma_prefetch_map(&weights);
    init_ring(s);
    for (std::uint64_t& turn : s.turn) ptx::mbarrier_init(&turn, 4);
    COTERIE_SYNC("wgmma_product: mbarriers known to TMA", ptx::fence_barrier_init());
  }
  COTERIE_SYNC("wgmma_product: mbarriers initialised", __syncthreads());
  COTERIE_SYNC("wgmma_product: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  int const warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x / 128), 0);
  if (warpgroup == 0) produce(p, weights, s, steps);
  else consume(p, s, steps);
#else
  (void)p, (void)weights;
  ptx::trap();                                   // refused by the host: Cuda::path()
#endif
}

template <class A, class B, class E> Matrices<B> weights_of(Product<A, B, E> const& p) {
  return {.data = p.b, .columns = p.b_pitch, .rows = p.b_rows, .pitch = p.b_pitch, .group = p.b_group, .groups = p.groups.first + p.groups.count};
}
template <class T, class P> void wgmma_product(Cuda const& on, P const& p, Where at) {
  static_assert(sizeof(T) <= wgmma_shared);
  CUtensorMap const weights = matrices_map(weights_of(p), T::box, at);
  dim3 const tiles = tile_grid(p, T::rows, T::columns, at);
  auto const most = static_cast<unsigned>(on.device.multiprocessors);
  launch(wgmma_product_kernel<P, T>, {.grid = dim3(tiles.x < most ? tiles.x : most), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p, weights);
}
template <class V> using WgmmaTall = WgmmaTile<V, WgmmaShape{.rows = 128, .columns = 256, .stages = 4, .consumers = 2}>;
template <class V> using WgmmaAlternating = WgmmaTile<V, WgmmaShape{.rows = 128, .columns = 128, .stages = 6, .consumers = 2, .alternating = 1}>;
template <class V> using WgmmaShort = WgmmaTile<V, WgmmaShape{.rows = 64, .columns = 256, .stages = 5, .consumers = 1}>;
// Few rows a group: a tile of 64 wastes less. Few inputs: stores take a large part of the time. (Not yet measured on a GPU.) There is no 128 x 192
// by turns: beside 192 sums a thread nvcc 13.0 spills, with 224 registers as with 232.
inline constexpr std::int64_t wgmma_short_rows = 96, wgmma_few_inputs = 1024;
template <class P> void wgmma_product(Cuda const& on, P const& p, Where at) {
  using V = typename P::A;
  if (p.groups.rows <= wgmma_short_rows * p.groups.sharing()) wgmma_product<WgmmaShort<V>>(on, p, at);
  else if (p.inputs < wgmma_few_inputs) wgmma_product<WgmmaAlternating<V>>(on, p, at);
  else wgmma_product<WgmmaTall<V>>(on, p, at);
}

}}}}

// Grouped products for sm_90a: warp-specialised and persistent. A warpgroup of producers gathers rows by cp.async and lets TMA
// bring the weights, the group as a coordinate; one or two warpgroups of consumers multiply by wgmma. 16-bit types only.
//
// Two consumers share a tile, 64 rows each: the largest tile, the fewest bytes. Or they take tiles in turn (alternating): one
// stores while the other multiplies, which pays where few inputs leave little time between stores. They must not multiply both:
// a barrier tells one round from the next only, and who skips the other's stages would take a full one of two rounds ago for
// its own. Who has no rows, at the ragged end of a group, multiplies nothing.
//
// Stages of 64 inputs stand in shared memory as TMA writes them: rows of 128 bytes, 16-byte chunk c of row r at c ^ (r % 8).
// A stage is full when its weights have landed and every producer thread has seen its own copies land, which it says one stage
// late, so that copies of the next stage are under way meanwhile. Rows past the end of a group are zeros and are not stored.
#pragma once
#include "mma_product.cuh"
#include "tensor_map.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// A tile of rows x columns, of which each consumer computes blocks of 64 rows.
struct WgmmaShape {
  int rows, columns, stages, consumers;
  int alternating = 0;                           // flag: consumers take tiles in turn
};
template <class V, WgmmaShape S> struct WgmmaTile {
  static constexpr int rows = S.rows, columns = S.columns, stages = S.stages, consumers = S.consumers, depth = 64, threads = 128 * (1 + consumers), copies = rows / 16;
  static constexpr bool alternating = S.alternating;
  static constexpr int blocks = rows / 64 / (alternating ? 1 : consumers);       // of 64 rows, each consumer's in a tile
  // Registers: 65,536 of a multiprocessor over the block's threads; producers need few.
  static constexpr int producer_registers = 56, consumer_registers = consumers == 1 ? 240 : 224;
  V a[stages][rows * depth], b[stages][columns * depth];
  std::uint64_t full[stages], empty[stages], turn[2];
};
// Where a ring of stages stands; phase is the parity of the barriers' rounds.
struct Ring {
  int stage = 0;
  unsigned phase = 0;
  template <int Stages> COTERIE_DEVICE void next() {
    if (++stage == Stages) stage = 0, phase ^= 1;
  }
  template <int Stages> COTERIE_DEVICE void skip(int steps) {
    int const at = stage + steps;
    phase ^= static_cast<unsigned>(at / Stages) & 1;
    stage = at % Stages;
  }
};

template <class P, class T> COTERIE_DEVICE void produce(P const& p, CUtensorMap const& weights, T& s, int steps) {
  using V = typename P::A;
  ptx::setmaxnreg_dec<T::producer_registers>();
  int const t = static_cast<int>(threadIdx.x), chunk = t % 8, row0 = t / 8;        // chunk of rows row0, row0 + 16, ...
  TileWalk walk{p.groups, T::rows, column_tiles(p, T::columns)};
  Ring ring;
  int behind = -1;                               // the stage whose copies this thread has not yet vouched for
  auto const vouch = [&] {
    COTERIE_SYNC("wgmma_product: copies are seen by wgmma", ptx::fence_proxy_async());
    COTERIE_SYNC("wgmma_product: copies are vouched for", ptx::mbarrier_arrive(&s.full[behind]));
  };
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
        ptx::tma_load_3d(s.b[ring.stage], &weights, &s.full[ring.stage], step * T::depth, tile.column * T::columns, tile.group);
      }
      std::int64_t const k = std::int64_t{step} * T::depth + chunk * 8;
      V* const to = s.a[ring.stage] + row0 * T::depth + (chunk ^ row0 % 8) * 8;      // 16 rows further is the same chunk
#pragma unroll
      for (int i = 0; i < T::copies; ++i) {
        bool const valid = from[i] && k < p.inputs;
        ptx::cp_async16(to + i * 16 * T::depth, valid ? from[i] + k : p.a, valid);
      }
      ptx::cp_async_commit();
      if (behind >= 0) {
        COTERIE_SYNC("wgmma_product: copies have landed", ptx::cp_async_wait<1>());
        vouch();
      }
      behind = ring.stage;
      ring.template next<T::stages>();
    }
  }
  COTERIE_SYNC("wgmma_product: last copies have landed", ptx::cp_async_wait<0>());
  if (behind >= 0) vouch();
}

template <class P, class T> COTERIE_DEVICE void consume(P const& p, T& s, int steps) {
  using V = typename P::A;
  ptx::setmaxnreg_inc<T::consumer_registers>();
  int const t = static_cast<int>(threadIdx.x), consumer = t / 128 - 1, warp = t / 32 % 4, lane = t % 32;
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
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      COTERIE_SYNC("wgmma_product: stage is full", ptx::mbarrier_wait(&s.full[ring.stage], ring.phase));
      if (any) {
        std::uint64_t const a = ptx::descriptor_k128(s.a[ring.stage] + first * T::depth), b = ptx::descriptor_k128(s.b[ring.stage]);
#pragma unroll
        for (int m = 0; m < T::blocks; ++m) COTERIE_SYNC("wgmma_product: accumulators before products", ptx::wgmma_fence(acc[m]));
#pragma unroll
        for (int i = 0; i < T::depth / 16; ++i)
#pragma unroll
          for (int m = 0; m < T::blocks; ++m)    // 64 rows of 64 16-bit values further: 8 KiB, in units of 16 bytes
            ptx::wgmma_m64k16<T::columns, V>(acc[m], a + m * 512 + 2 * i, b + 2 * i, (step | i) != 0);
        ptx::wgmma_commit();
#pragma unroll
        for (int m = 0; m < T::blocks; ++m) COTERIE_SYNC("wgmma_product: products are over", ptx::wgmma_wait<0>(acc[m]));
      } else {                                   // products keep a warp together; here a lane could fall two rounds behind
        COTERIE_SYNC("wgmma_product: the warp has seen the stage", __syncwarp());
      }
      if (lane == 0) COTERIE_SYNC("wgmma_product: stage is given back", ptx::mbarrier_arrive(&s.empty[ring.stage]));
      ring.template next<T::stages>();
    }
    if (T::alternating && lane == 0) COTERIE_SYNC("wgmma_product: the turn is handed over", ptx::mbarrier_arrive(&s.turn[1 - consumer]));
    if (!any) continue;
#pragma unroll
    for (int m = 0; m < T::blocks; ++m)
#pragma unroll
      for (int upper = 0; upper < 2; ++upper) {
        std::int64_t const row = tile.first + first + m * 64 + warp * 16 + lane / 4 + upper * 8;
        if (row >= tile.end) continue;
#pragma unroll
        for (int j = 0; j < T::columns / 8; j += P::Epilogue::paired ? 2 : 1)
          store_block(p.epilogue, tile.group, row, tile.column * T::columns + j * 8, &acc[m][4 * j + upper * 2], &acc[m][4 * (j + P::Epilogue::paired) + upper * 2]);
      }
    // Rows ended a warp's lanes apart, and products want them together. No name: the emulator gathers the lanes at a product by itself.
    __syncwarp();
  }
}

template <class P, class T> __global__ void __launch_bounds__(T::threads, 1) wgmma_product_kernel(P const p, __grid_constant__ CUtensorMap const weights) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(COTERIE_SIMT)
  T& s = ptx::dynamic_shared<T>();
  int const steps = static_cast<int>((p.inputs + T::depth - 1) / T::depth);
  if (threadIdx.x == 0) {
    ptx::tma_prefetch_map(&weights);
    for (int i = 0; i < T::stages; ++i) {
      ptx::mbarrier_init(&s.full[i], 1 + 128);   // who expects the weights, and every producer thread
      ptx::mbarrier_init(&s.empty[i], 4 * (T::alternating ? 1 : T::consumers));     // a warp can vouch for its own products only
    }
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

template <class T, class P> void wgmma_product(Cuda const& on, P const& p, Where at) {
  static_assert(sizeof(T) <= 227 * 1024);        // what a block may have on 9.0
  CUtensorMap const weights = weights_map(p.b, p.b_pitch, p.b_rows, p.b_group, p.groups.first + p.groups.count, T::columns, at);
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

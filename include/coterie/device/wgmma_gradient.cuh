// Gradients of weights for sm_90a: warp-specialised and persistent, as wgmma_product.cuh. Both operands are summed over their rows, and wgmma
// reads them so (wgmma_mn.cuh): stages of 64 rows, 128 outputs and 256 inputs, in boxes of 64 rows x 64 columns side by side.
//
// Where an operand's rows follow one another, TMA brings those of a whole stage. Producers gather the others by cp.async, and the last rows of a
// group, behind which come zeros: never another group's numbers, which may be infinite.
#pragma once
#include "gradient_product.cuh"
#include "wgmma_ring.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

template <class V> struct WgmmaGradientTile {
  static constexpr int outputs = 128, inputs = 256, columns = inputs, depth = 64, stages = 4, consumers = 2, blocks = 1, threads = 128 * (1 + consumers);
  static constexpr bool alternating = false;
  static constexpr int producer_registers = 56, consumer_registers = 224;
  V p[stages][outputs * depth], q[stages][inputs * depth];
  alignas(16) float sums[consumers * 4][buffered_rows * buffered_columns];         // a warp's
  std::uint64_t full[stages], empty[stages];

  // 64 outputs from `first` on by all inputs, over rows 16 i .. 16 i + 15 of a stage.
  COTERIE_DEVICE void multiply(float (&sum)[inputs / 2], int stage, int first, int i, bool accumulate) const {
    ptx::wgmma_m64k16_mn<ptx::MnMajor::both, inputs, V>(sum, ptx::descriptor_mn128(p[stage] + first * depth, depth) + 128 * i, ptx::descriptor_mn128(q[stage], depth) + 128 * i, accumulate);
  }
};

// Which rows of an operand this thread copies: of each stage row0, row0 + 16, ..., one chunk of each box's. Gathered ones are asked for a stage ahead.
template <class V, int Columns> struct GradientRows {
  static constexpr int depth = 64, copies = depth / 16, boxes = Columns / 64;
  V const* data;
  std::int64_t stride;
  std::int32_t const* map;
  std::int64_t columns;
  std::int32_t rows[copies] = {};

  COTERIE_DEVICE bool bulk(std::int64_t first, std::int64_t end) const { return !map && end - first >= depth; }
  COTERIE_DEVICE void look(std::int64_t first, std::int64_t end) {
    int const row0 = static_cast<int>(threadIdx.x) / 8;
#pragma unroll
    for (int i = 0; i < copies; ++i)
      if (std::int64_t const r = first + row0 + i * 16; r < end) rows[i] = map ? map[r] : static_cast<std::int32_t>(r);
  }
  // By TMA, from one thread.
  COTERIE_DEVICE void load(V* stage, CUtensorMap const& from, std::uint64_t* full, std::int64_t column, std::int64_t first) const {
#pragma unroll
    for (int j = 0; j < boxes; ++j) ptx::tma_load_3d(stage + j * 64 * depth, &from, full, static_cast<int>(column) + j * 64, static_cast<int>(first), 0);
  }
  COTERIE_DEVICE void gather(V* stage, std::int64_t column, std::int64_t first, std::int64_t end) const {
    int const chunk = static_cast<int>(threadIdx.x) % 8, row0 = static_cast<int>(threadIdx.x) / 8;
    V* const to = stage + row0 * 64 + (chunk ^ row0 % 8) * 8;            // 16 rows further is the same chunk
#pragma unroll
    for (int i = 0; i < copies; ++i) {
      bool const inside = first + row0 + i * 16 < end;
      V const* const from = data + rows[i] * stride + column + chunk * 8;
#pragma unroll
      for (int j = 0; j < boxes; ++j) {
        bool const valid = inside && column + j * 64 + chunk * 8 < columns;
        ptx::cp_async16(to + j * 64 * depth + i * 16 * 64, valid ? from + j * 64 : data, valid);
      }
    }
  }
};

template <class P, class T> COTERIE_DEVICE void produce_gradient(P const& p, CUtensorMap const& map_p, CUtensorMap const& map_q, std::int64_t tiles, T& s) {
  using V = typename P::L;
  ptx::setmaxnreg_dec<T::producer_registers>();
  GradientRows<V, T::outputs> of_p{p.p, p.p_stride, p.p_map, p.outputs};
  GradientRows<V, T::inputs> of_q{p.q, p.q_stride, p.q_map, p.inputs};
  Ring ring;
  Copies<T> copies(s);
#pragma unroll 1
  for (std::int64_t number = blockIdx.x; number < tiles; number += gridDim.x) {
    GradientTile const tile = gradient_tile(p, number, T::outputs, T::inputs);
    of_p.look(tile.first, tile.end), of_q.look(tile.first, tile.end);
#pragma unroll 1
    for (std::int64_t row = tile.first; row < tile.end; row += T::depth) {
      bool const bulk_p = of_p.bulk(row, tile.end), bulk_q = of_q.bulk(row, tile.end);
      COTERIE_SYNC("wgmma_gradient: stage is free", ptx::mbarrier_wait(&s.empty[ring.stage], ring.phase ^ 1));
      if (threadIdx.x == 0) {
        ptx::mbarrier_arrive_expect_tx(&s.full[ring.stage], ((bulk_p ? T::outputs : 0) + (bulk_q ? T::inputs : 0)) * T::depth * sizeof(V));
        if (bulk_p) of_p.load(s.p[ring.stage], map_p, &s.full[ring.stage], tile.output, row);
        if (bulk_q) of_q.load(s.q[ring.stage], map_q, &s.full[ring.stage], tile.input, row);
      }
      if (!bulk_p) of_p.gather(s.p[ring.stage], tile.output, row, tile.end);
      if (!bulk_q) of_q.gather(s.q[ring.stage], tile.input, row, tile.end);
      of_p.look(row + T::depth, tile.end), of_q.look(row + T::depth, tile.end);
      copies.issued(ring.stage);
      ring.template next<T::stages>();
    }
  }
  copies.finish();
}

template <class P, class T> COTERIE_DEVICE void consume_gradient(P const& p, std::int64_t tiles, T& s) {
  ptx::setmaxnreg_inc<T::consumer_registers>();
  int const t = static_cast<int>(threadIdx.x), warp = t / 32 - 4, first = warp / 4 * 64;
  float* const sums = s.sums[warp];
  Ring ring;
#pragma unroll 1
  for (std::int64_t number = blockIdx.x; number < tiles; number += gridDim.x) {
    GradientTile const tile = gradient_tile(p, number, T::outputs, T::inputs);
    int const steps = static_cast<int>((tile.end - tile.first + T::depth - 1) / T::depth);
    if (steps == 0 && !p.to.overwrite) continue;
    bool const any = tile.output + first < p.outputs;
    float acc[T::blocks][T::inputs / 2];
    if (steps == 0)
#pragma unroll
      for (float& sum : acc[0]) sum = 0;
    multiply_stages(s, ring, steps, first, any, acc);
    if (!any) continue;
    std::int64_t const output = tile.output + first + warp % 4 * 16;
    through_shared<T::inputs>(acc[0], p.outputs - output, sums, [&](int r, int input) {
      std::int64_t const from = output + r, end = from + buffered_rows < p.outputs ? from + buffered_rows : p.outputs;
      store_staged(p, StagedGradients{.group = tile.group, .first = from, .end = end, .input = tile.input + input}, sums, 0, 1);
    });
  }
}

template <class P, class T>
__global__ void __launch_bounds__(T::threads, 1) wgmma_gradient_kernel(P const p, __grid_constant__ CUtensorMap const map_p, __grid_constant__ CUtensorMap const map_q, std::int64_t tiles) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(COTERIE_SIMT)
  T& s = ptx::dynamic_shared<T>();
  if (threadIdx.x == 0) {
    init_ring(s);
    COTERIE_SYNC("wgmma_gradient: mbarriers known to TMA", ptx::fence_barrier_init());
  }
  COTERIE_SYNC("wgmma_gradient: mbarriers initialised", __syncthreads());
  COTERIE_SYNC("wgmma_gradient: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  int const warpgroup = __shfl_sync(~0u, static_cast<int>(threadIdx.x / 128), 0);
  if (warpgroup == 0) produce_gradient(p, map_p, map_q, tiles, s);
  else consume_gradient(p, tiles, s);
#else
  (void)p, (void)map_p, (void)map_q, (void)tiles;
  ptx::trap();                                   // refused by the host: Cuda::path()
#endif
}

// Rows of an operand that follow one another. A gathered one has no map, and none is looked at.
template <class V> CUtensorMap rows_map(V const* data, std::int64_t stride, std::int32_t const* map, std::int64_t columns, std::int64_t rows, Where at) {
  if (map || rows == 0) return {};
  return matrices_map(Matrices<V>{.data = data, .columns = columns, .rows = rows, .pitch = stride, .group = 0, .groups = 1}, 64, at);
}
template <class P> void wgmma_gradient(Cuda const& on, P const& p, Where at) {
  using T = WgmmaGradientTile<typename P::L>;
  static_assert(sizeof(T) <= wgmma_shared);
  CUtensorMap const map_p = rows_map(p.p, p.p_stride, p.p_map, p.outputs, p.groups.rows, at), map_q = rows_map(p.q, p.q_stride, p.q_map, p.inputs, p.groups.rows, at);
  unsigned const tiles = gradient_grid(p, T::outputs, T::inputs, at).x, most = static_cast<unsigned>(on.device.multiprocessors);
  launch(wgmma_gradient_kernel<P, T>, {.grid = dim3(tiles < most ? tiles : most), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p, map_p, map_q,
         std::int64_t{tiles});
}

}}}}

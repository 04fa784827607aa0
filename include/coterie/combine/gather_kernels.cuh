// What a token's x gets, summed in fp32 and rounded once: its rows, slot after slot, then null experts, mix, router and shared experts.
#pragma once
#include "kernels.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

template <Config C> struct GatherWork {
  using V = element_t<C.dtype>;
  Rows<std::int32_t const, slots(C)> slot;                               // [T,S]
  Rows<V const, width(C)> rows, dsum;                                    // [R,W] gradients of x, row by row; [T,W] of the routed sum
  float const *through, *dmix_routed, *dmix_shared, *mix_vectors;        // [T], [T], [T], [mixes,H]; what a config has of them
  float const *router, *latent;                                          // [T,H]; null: none
  Rows<V const, C.hidden> shared;                                        // [T,H]
  Rows<V, C.hidden> dx;
  V* dz;                                         // [T,pitch W] at the latent width
};

template <class Stage, int Wide> struct GatherKernel {
  static constexpr Config config = Stage::config;
  using V = element_t<config.dtype>;
  using Work = GatherWork<config>;
  static constexpr int S = slots(config), W = width(config), H = config.hidden, threads = 128, mixes = CombineKernel<Stage, 1>::mix_vectors;

  // Up to eight slots' rows are asked for before any is used, then added in order.
  COTERIE_DEVICE static void add_rows(Work const& w, std::int32_t const* row, int column, float (&sum)[Wide]) {
    constexpr int rounds = (S + 7) / 8, at_once = (S + rounds - 1) / rounds;
#pragma unroll 1
    for (int first = 0; first < S; first += at_once) {
      Wides<V, Wide> rows[at_once]{};
      bool has[at_once];
#pragma unroll
      for (int i = 0; i < at_once; ++i)
        if (has[i] = first + i < S && row[first + i] >= 0; has[i]) rows[i] = load_stored<Wide>(w.rows[row[first + i]] + column);
#pragma unroll
      for (int i = 0; i < at_once; ++i)
        if (has[i])
          for (int j = 0; j < Wide; ++j) sum[j] += to_float(rows[i].v[j]);
    }
  }
  COTERIE_DEVICE static void add_floats(float const* from, float (&sum)[Wide]) {
    if constexpr (Wide % 4 == 0) {
#pragma unroll
      for (int i = 0; i < Wide; i += 4) {
        uint4 const v = ptx::load16(from + i);
        sum[i] += __uint_as_float(v.x), sum[i + 1] += __uint_as_float(v.y), sum[i + 2] += __uint_as_float(v.z), sum[i + 3] += __uint_as_float(v.w);
      }
    } else {
      for (int j = 0; j < Wide; ++j) sum[j] += from[j];
    }
  }
  COTERIE_DEVICE static void add_beside(Work const& w, std::int64_t t, int column, float (&sum)[Wide]) {
    if constexpr (config.expert.identity > 0) {
      float v[Wide];
      load_wide<Wide>(w.dsum[t] + column, v);
      for (int j = 0; j < Wide; ++j) sum[j] = fmaf(w.through[t], v[j], sum[j]);
    }
    if constexpr (mixes > 0)
      for (int j = 0; j < Wide; ++j) {
        sum[j] = fmaf(w.dmix_routed[t], w.mix_vectors[column + j], sum[j]);
        if constexpr (mixes == 2) sum[j] = fmaf(w.dmix_shared[t], w.mix_vectors[H + column + j], sum[j]);
      }
    if (w.router) add_floats(w.router + t * H + column, sum);
    if constexpr (config.shared.ffn > 0) {
      float v[Wide];
      load_wide<Wide>(w.shared[t] + column, v);
      for (int j = 0; j < Wide; ++j) sum[j] += v[j];
    }
  }
  // The rows of token blockIdx.x: to dx, or at the latent width to dz.
  COTERIE_DEVICE static void gather(Work const& w) {
    COTERIE_SHARED(row, std::int32_t[S]);
    std::int64_t const t = blockIdx.x;
    COTERIE_SYNC("gather: the kernel ahead", ptx::grid_dependency_wait());
    ptx::grid_dependency_launch();
    for (int i = static_cast<int>(threadIdx.x); i < S; i += threads) row[i] = w.slot[t][i];
    COTERIE_SYNC("gather: slots are known", __syncthreads());
    for (int c = static_cast<int>(threadIdx.x) * Wide; c < W; c += threads * Wide) {
      float sum[Wide] = {};
      add_rows(w, row, c, sum);
      if constexpr (config.expert.latent > 0) {
        store_wide<Wide>(w.dz + t * PackedLayout<config>::latent_up.pitch() + c, sum);
      } else {
        add_beside(w, t, c, sum);
        store_wide<Wide>(w.dx[t] + c, sum);
      }
    }
    if constexpr (config.expert.latent > 0)
      for (int c = W + static_cast<int>(threadIdx.x); c < PackedLayout<config>::latent_up.pitch(); c += threads) w.dz[t * PackedLayout<config>::latent_up.pitch() + c] = V{};
  }
  // Behind a latent width: what has come through the way in, and all the rest.
  COTERIE_DEVICE static void finish(Work const& w) {
    std::int64_t const t = blockIdx.x;
    COTERIE_SYNC("gather_finish: the kernel ahead", ptx::grid_dependency_wait());
    ptx::grid_dependency_launch();
    for (int c = static_cast<int>(threadIdx.x) * Wide; c < H; c += threads * Wide) {
      float sum[Wide] = {};
      add_floats(w.latent + t * H + c, sum);
      add_beside(w, t, c, sum);
      store_wide<Wide>(w.dx[t] + c, sum);
    }
  }
};
template <class Kernel> __global__ void __launch_bounds__(Kernel::threads) gather_kernel(typename Kernel::Work const w) { Kernel::gather(w); }
template <class Kernel> __global__ void __launch_bounds__(Kernel::threads) gather_finish_kernel(typename Kernel::Work const w) { Kernel::finish(w); }

}}}}

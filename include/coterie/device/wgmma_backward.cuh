// Grouped products of a backward pass for sm_90a: the kernel of wgmma_product.cuh, with weights read along their rows. What goes back through an
// activation, or keeps parts of rows, is stored through shared memory: a warp then reads and stores 64 neighbouring columns of a row, and its
// code stands once and not once for each sum. While one consumer is at it the other multiplies.
#pragma once
#include "backward_product.cuh"
#include "wgmma_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

template <class A, class B, class E> COTERIE_HD int column_tiles(BackwardProduct<A, B, E> const& p, int width) { return static_cast<int>(ceil_div(p.epilogue.columns, width)); }
template <class A, class B, class E> Matrices<B> weights_of(BackwardProduct<A, B, E> const& p) {
  return {.data = p.b, .columns = p.epilogue.columns, .rows = p.inputs, .pitch = p.b_pitch, .group = p.b_group, .groups = p.groups.first + p.groups.count};
}

template <class A, class B, class E, int N> COTERIE_DEVICE void store_fragments(BackwardProduct<A, B, E> const& p, Tile const& tile, std::int64_t row, int column, float const (&acc)[N]) {
  int const c = column + static_cast<int>(threadIdx.x) % 4 * 2;
#pragma unroll
  for (int upper = 0; upper < 2; ++upper) {
    if (row + upper * 8 >= tile.end) continue;
#pragma unroll
    for (int j = 0; j < N / 4; ++j) store_sums(p.epilogue, tile.group, row + upper * 8, c + j * 8, acc[4 * j + upper * 2], acc[4 * j + upper * 2 + 1], ReadNothing{});
  }
}

// A warp's 16 rows from `row` on, through `sums`, its own [16][128].
template <class A, class B, class E, int N> COTERIE_DEVICE void store_buffered(BackwardProduct<A, B, E> const& p, Tile const& tile, std::int64_t row, int column, float const (&acc)[N], float* sums) {
  std::int64_t const end = row < tile.end ? tile.end - row < 16 ? tile.end : row + 16 : row;
#pragma unroll
  for (int half = 0; half < N / 64; ++half) {
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) stage_fragments(&acc[half * 64 + upper * 2], sums + upper * 8 * 128);
    COTERIE_SYNC("wgmma_backward: sums are the warp's", __syncwarp());
    store_staged(p.epilogue, StagedRows{.group = tile.group, .column = column + half * 128, .first = row, .end = end}, sums, 0, 1);
    COTERIE_SYNC("wgmma_backward: sums are read", __syncwarp());
  }
}

template <class P> using WgmmaBackwardTall = WgmmaTile<typename P::A, WgmmaShape{.rows = 128, .columns = 256, .stages = 4, .consumers = 2, .backwards = 1}>;
template <class P> using WgmmaBackwardAlternating =
    WgmmaTile<typename P::A, WgmmaShape{.rows = 128, .columns = 128, .stages = keeps_parts<typename P::Epilogue> ? 5 : 6, .consumers = 2, .alternating = 1, .backwards = 1, .buffered = keeps_parts<typename P::Epilogue>}>;
template <class P> using WgmmaBackwardShort =
    WgmmaTile<typename P::A, WgmmaShape{.rows = 64, .columns = 256, .stages = keeps_parts<typename P::Epilogue> ? 4 : 5, .consumers = 1, .backwards = 1, .buffered = keeps_parts<typename P::Epilogue>}>;

// As forwards; where much is done to a sum, consumers take turns however many inputs there are. (Not yet measured on a GPU.)
template <class P> void wgmma_backward(Cuda const& on, P const& p, Where at) {
  if (p.groups.rows <= wgmma_short_rows * p.groups.sharing()) return wgmma_product<WgmmaBackwardShort<P>>(on, p, at);
  if constexpr (!keeps_parts<typename P::Epilogue>)
    if (p.inputs >= wgmma_few_inputs) return wgmma_product<WgmmaBackwardTall<P>>(on, p, at);
  wgmma_product<WgmmaBackwardAlternating<P>>(on, p, at);
}

}}}}

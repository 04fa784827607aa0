// Grouped products of a backward pass for sm_90a: the kernel of wgmma_product.cuh, with weights read along their rows.
#pragma once
#include "wgmma_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

template <class A, class B, class E> COTERIE_HD int column_tiles(BackwardProduct<A, B, E> const& p, int width) { return static_cast<int>(ceil_div(p.epilogue.columns, width)); }
template <class A, class B, class E> Matrices<B> weights_of(BackwardProduct<A, B, E> const& p) {
  return {.data = p.b, .columns = p.epilogue.columns, .rows = p.inputs, .pitch = p.b_pitch, .group = p.b_group, .groups = p.groups.first + p.groups.count};
}

template <class A, class B, class E> COTERIE_DEVICE void store_rows(BackwardProduct<A, B, E> const& p, StagedRows const& tile, float const* sums) { store_staged(p.epilogue, tile, sums, 0, 1); }

template <class V> using WgmmaBackwardTall = WgmmaTile<V, WgmmaShape{.rows = 128, .columns = 256, .stages = 4, .consumers = 2, .backwards = 1}>;
template <class V> using WgmmaBackwardAlternating = WgmmaTile<V, WgmmaShape{.rows = 128, .columns = 128, .stages = 6, .consumers = 2, .alternating = 1, .backwards = 1}>;
template <class V> using WgmmaBackwardShort = WgmmaTile<V, WgmmaShape{.rows = 64, .columns = 256, .stages = 5, .consumers = 1, .backwards = 1}>;

// As forwards; where much is done to a sum, consumers take turns however many inputs there are. (Not yet measured on a GPU.)
template <class P> void wgmma_backward(Cuda const& on, P const& p, Where at) {
  using V = typename P::A;
  if (p.groups.rows <= wgmma_short_rows * p.groups.sharing()) wgmma_product<WgmmaBackwardShort<V>>(on, p, at);
  else if (keeps_parts<typename P::Epilogue> || p.inputs < wgmma_few_inputs) wgmma_product<WgmmaBackwardAlternating<V>>(on, p, at);
  else if constexpr (!keeps_parts<typename P::Epilogue>) wgmma_product<WgmmaBackwardTall<V>>(on, p, at);
}

}}}}

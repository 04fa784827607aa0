// The gradient of one matrix, by many dense rows, in pieces: each piece of the rows has sums of its own, and a second kernel adds them in order. A
// matrix of few tiles, such as a router's, would else be a few blocks' work, each with one chain over all rows.
#pragma once
#include "multiply_backward.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Pieces of up to 512 rows each, or fewer and larger ones, so that all together have up to 8 Mi sums: 2,048 tiles of 64 x 64, 512 of 128 x 128, where
// 132 multiprocessors hold 264 blocks. By shapes alone: so bits are the same on every device. (Not yet measured on a GPU.)
constexpr std::int64_t gradient_pieces(std::int64_t rows, std::int64_t outputs, std::int64_t inputs) {
  if (outputs == 0 || inputs == 0) return 1;
  std::int64_t const most = (std::int64_t{8} << 20) / (outputs * inputs), pieces = ceil_div(rows, 512);
  return pieces <= 1 || most <= 1 ? 1 : pieces < most ? pieces : most;
}
// Numbers of scratch that add_dense_gradient takes.
constexpr std::int64_t gradient_scratch(std::int64_t rows, std::int64_t outputs, std::int64_t inputs) {
  std::int64_t const pieces = gradient_pieces(rows, outputs, inputs);
  return pieces > 1 ? pieces * outputs * inputs : 0;
}

// -> sums[pieces][outputs][inputs] of one group of dense rows (not 0), at most gradient_pieces() of them, wherever p.to is; returns how many there are.
template <class P> std::int64_t gradient_sums(Cuda const& on, Arch path, P p, float* sums, Where at) {
  p.piece = round_up(ceil_div(p.groups.rows, gradient_pieces(p.groups.rows, p.outputs, p.inputs)), 32);
  p.groups.count = static_cast<int>(ceil_div(p.groups.rows, p.piece));
  p.to = {.data = sums, .out_stride = p.inputs, .in_stride = 1, .overwrite = 1, .group_stride = p.outputs * p.inputs};
  add_gradient(on, path, p, at);
  return p.groups.count;
}
// from[0] + from[apart] + ..., in this order.
COTERIE_DEVICE float sum_of_pieces(float const* from, std::int64_t apart, std::int64_t pieces) {
  float sum = from[0];
#pragma unroll 8
  for (std::int64_t i = 1; i < pieces; ++i) sum += from[i * apart];
  return sum;
}
// to[i] (+)= the sum of from[piece][i].
template <int Threads> __global__ void __launch_bounds__(Threads) add_pieces_kernel(float const* from, std::int64_t pieces, std::int64_t n, float* to, int overwrite) {
  COTERIE_SYNC("add_pieces: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  std::int64_t const i = std::int64_t{blockIdx.x} * Threads + threadIdx.x;
  if (i >= n) return;
  float const sum = sum_of_pieces(from + i, n, pieces);
  to[i] = overwrite ? sum : to[i] + sum;
}

// As add_gradient, of one group of dense rows, into a matrix without gaps. scratch: gradient_scratch(rows, outputs, inputs) numbers. Enqueues one kernel or
// two.
template <class P> void add_dense_gradient(Cuda const& on, Arch path, P const& p, float* scratch, Where at) {
  if (!p.to.data || gradient_pieces(p.groups.rows, p.outputs, p.inputs) == 1) return add_gradient(on, path, p, at);
  std::int64_t const count = gradient_sums(on, path, p, scratch, at), n = p.outputs * p.inputs;
  dim3 const grid(grid_of(ceil_div(n, 256), "Cuda: too many tiles", at));
  launch(add_pieces_kernel<256>, {.grid = grid, .block = dim3(256), .programmatic = on.device.programmatic}, on.stream, at, scratch, count, n, p.to.data, p.to.overwrite);
}

}}}}

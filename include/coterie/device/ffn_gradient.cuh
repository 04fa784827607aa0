// What the backward pass of an ffn is given and gives on the GPU, and its small sums: of parts of rows, of columns of rows.
#pragma once
#include "../weights.hpp"
#include "activate_rows.cuh"
#include "multiply_backward.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Where the gradients of one group's matrices and biases go: element (o, i) at data[o * out_stride + i * in_stride]. Null: not wanted.
struct GradientMatrix {
  void* data = nullptr;
  std::int64_t out_stride = 0, in_stride = 1;
  template <class Element> COTERIE_DEVICE GradientRow<Element> row(std::int64_t output) const {
    return {data ? static_cast<Element*>(data) + output * out_stride : nullptr, in_stride};
  }
};
struct FfnGradient {
  GradientMatrix gate, up, down;
  float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};
template <DType D, int Out, int In> GradientMatrix gradient_of(Matrix<D, Out, In, true> const& m) { return {m.data, m.out_stride, m.in_stride}; }

// A table of them in device memory, which is written by launches that carry as many as fit into a kernel's parameters: nothing is read from
// the host later.
struct FfnGradients {
  static constexpr int most = 40;
  FfnGradient of[most];
};
static_assert(sizeof(FfnGradients) <= 3840);
template <class Table> __global__ void __launch_bounds__(64) gradient_table_kernel(Table const from, int count, FfnGradient* to) {
  COTERIE_SYNC("gradient_table: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (int const i = static_cast<int>(threadIdx.x); i < count) to[i] = from.of[i];
}
// of(i): the gradients of group i.
template <class Of> void gradient_table(Cuda const& on, int groups, FfnGradient* to, Of const& of, Where at) {
  for (int first = 0; first < groups; first += FfnGradients::most) {
    FfnGradients some{};
    int const n = groups - first < FfnGradients::most ? groups - first : FfnGradients::most;
    for (int i = 0; i < n; ++i) some.of[i] = of(first + i);
    launch(gradient_table_kernel<FfnGradients>, {.grid = dim3(1), .block = dim3(64), .programmatic = on.device.programmatic}, on.stream, at, some, n, to + first);
  }
}

// Of packed rows of gate and up (RowShape): in a matrix each, and in a bias each. Of rows of down.
template <class Element_> struct GateUpGradient {
  using Element = Element_;
  FfnGradient const* of;
  int ffn, paired, overwrite;
  COTERIE_DEVICE bool gate(std::int64_t row) const { return paired && row / interleave % 2 == 0; }
  COTERIE_DEVICE std::int64_t output(std::int64_t row) const { return paired ? row / (2 * interleave) * interleave + row % interleave : row; }
  COTERIE_DEVICE GradientRow<Element> row(int group, std::int64_t r) const {
    if (output(r) >= ffn) return {};
    return (gate(r) ? of[group].gate : of[group].up).template row<Element>(output(r));
  }
  COTERIE_DEVICE float* bias(int group, std::int64_t r) const {
    float* const to = gate(r) ? of[group].gate_bias : of[group].up_bias;
    return to && output(r) < ffn ? to + output(r) : nullptr;
  }
};
template <class Element_> struct DownGradient {
  using Element = Element_;
  FfnGradient const* of;
  int overwrite;
  COTERIE_DEVICE GradientRow<Element> row(int group, std::int64_t r) const { return of[group].down.template row<Element>(r); }
  COTERIE_DEVICE float* bias(int group, std::int64_t r) const { return of[group].down_bias ? of[group].down_bias + r : nullptr; }
};

// to[r * to_stride + i] = sum of from[r * from_stride + i * each ...] over `each` numbers, or those that there are of `all`, and of
// <dy[map[r]], bias of r's group>, for i < count: a warp for each, lanes first, then a tree.
template <class V> struct RowSums {
  float const* from;
  std::int64_t from_stride, each, all, count;
  float* to;
  std::int64_t to_stride;
  Groups groups;
  V const* dy = nullptr;
  std::int64_t dy_stride = 0;
  std::int32_t const* map = nullptr;
  float const* bias = nullptr;                   // [groups][width]; null: none
  int width = 0;
};
template <class V> __global__ void __launch_bounds__(256) row_sums_kernel(RowSums<V> const p) {
  COTERIE_SYNC("row_sums: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  GroupRows const rows{p.groups.begin, p.groups.first, p.groups.count};
  std::int64_t const first = p.groups.begin ? rows.from() : 0, end = p.groups.begin ? rows.to() : p.groups.rows, lane = threadIdx.x % 32;
  for (std::int64_t n = blockIdx.x * 8 + threadIdx.x / 32; n < (end - first) * p.count; n += std::int64_t{gridDim.x} * 8) {
    std::int64_t const r = first + n / p.count, i = n % p.count, last = (i + 1) * p.each < p.all ? (i + 1) * p.each : p.all;
    float sum = 0;
    for (std::int64_t j = i * p.each + lane; j < last; j += 32) sum += p.from[r * p.from_stride + j];
    if (p.bias) {
      V const* const dy = p.dy + (p.map ? p.map[r] : r) * p.dy_stride;
      float const* const bias = p.bias + std::int64_t{rows.group(r)} * p.width;
      for (std::int64_t j = lane; j < p.width; j += 32) sum = fmaf(to_float(dy[j]), bias[j], sum);
    }
    sum = lane_sum<32>(sum);
    if (lane == 0) p.to[r * p.to_stride + i] = sum;
  }
}
template <class V> void row_sums(Cuda const& on, RowSums<V> const& p, Where at) {
  std::int64_t const blocks = ceil_div(p.groups.rows * p.count, 8), most = 65536;
  if (blocks == 0) return;
  launch(row_sums_kernel<V>, {.grid = dim3(static_cast<unsigned>(blocks < most ? blocks : most)), .block = dim3(256), .programmatic = on.device.programmatic}, on.stream, at, p);
}

// bias(group, c) (+)= sum over the group's rows of weight[r] * from(map[r], c): a block for 32 columns, eight warps with every eighth row.
template <class V, class To> struct ColumnSums {
  V const* from;
  std::int64_t stride;
  std::int32_t const* map;                       // null: the same row
  float const* weight;                           // [R]; null: 1
  std::int64_t columns;
  Groups groups;
  To to;
};
template <class P> __global__ void __launch_bounds__(256) column_sums_kernel(P const p) {
  COTERIE_SHARED(sums, float[8][32]);
  int const x = static_cast<int>(threadIdx.x % 32), y = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("column_sums: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  std::int64_t const blocks = ceil_div(p.columns, 32), column = blockIdx.x % blocks * 32 + x;
  int const group = p.groups.first + static_cast<int>(blockIdx.x / blocks);
  std::int64_t const first = p.groups.begin ? p.groups.begin[group] : 0, end = p.groups.begin ? p.groups.begin[group + 1] : p.groups.rows;
  float sum = 0;
  if (column < p.columns)
    for (std::int64_t r = first + y; r < end; r += 8) sum = fmaf(p.weight ? p.weight[r] : 1.f, to_float(p.from[(p.map ? p.map[r] : r) * p.stride + column]), sum);
  sums[y][x] = sum;
  COTERIE_SYNC("column_sums: sums are everybody's", __syncthreads());
  if (y || column >= p.columns) return;
  for (int i = 1; i < 8; ++i) sum += sums[i][x];
  if (float* const to = p.to.bias(group, column)) *to = p.to.overwrite ? sum : *to + sum;
}
template <class P> void column_sums(Cuda const& on, P const& p, Where at) {
  launch(column_sums_kernel<P>, {.grid = dim3(grid_of(p.groups.count * ceil_div(p.columns, 32), "Cuda: too many tiles", at)), .block = dim3(256), .programmatic = on.device.programmatic}, on.stream, at, p);
}

}}}}

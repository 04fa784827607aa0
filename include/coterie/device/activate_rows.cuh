// What lies between and behind the two products of experts when a library multiplies: the activation, and the last bias.
#pragma once
#include "ffn.cuh"
#include "wide.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Rows of the groups [first, first + count).
struct GroupRows {
  std::int32_t const* begin;
  int first, count;
  COTERIE_DEVICE std::int64_t from() const { return begin[first]; }
  COTERIE_DEVICE std::int64_t to() const { return begin[first + count]; }
  // The group of a row that is in one.
  COTERIE_DEVICE int group(std::int64_t row) const {
    int low = first, high = first + count - 1;
    while (low < high) {
      int const middle = (low + high) / 2;
      if (row < begin[middle + 1]) high = middle;
      else low = middle + 1;
    }
    return low;
  }
};

// What the first product left, [R][2 F interleaved] or [R][F], to hidden values [R][pitch]: a block a row.
template <class Stage> struct ActivateRows {
  GroupRows rows;
  typename Stage::V const* from;
  std::int64_t pitch;
  StoreHidden<Stage> hidden;
};
template <class Stage> __global__ void __launch_bounds__(256, 4) activate_rows_kernel(ActivateRows<Stage> const p) {
  using V = typename Stage::V;
  constexpr int wide = wide_of<V>;
  constexpr bool paired = StoreHidden<Stage>::paired;
  std::int64_t const end = p.rows.to();
  for (std::int64_t r = p.rows.from() + blockIdx.x; r < end; r += gridDim.x) {
    int const group = p.rows.group(r);
    for (int c = static_cast<int>(threadIdx.x) * wide; c < p.hidden.columns; c += 256 * wide) {
      V const* const at = p.from + r * p.pitch + (paired ? c / interleave * 2 * interleave + c % interleave : c);
      float up[wide], gate[wide] = {}, value[wide];
      if constexpr (paired) load_wide<wide>(at, gate), load_wide<wide>(at + interleave, up);
      else if (c + wide <= p.hidden.valid) load_wide<wide>(at, up);
      else
        for (int i = 0; i < wide; ++i) up[i] = c + i < p.hidden.valid ? to_float(at[i]) : 0.f;             // nobody wrote the padding
#pragma unroll
      for (int i = 0; i < wide; ++i) {
        if constexpr (paired) value[i] = p.hidden.value(group, r, c + i, gate[i], up[i]);
        else value[i] = p.hidden.value(group, r, c + i, up[i]);
      }
      store_wide<wide>(p.hidden.at(r, c), value);
    }
  }
}
// out[r] += bias of its group.
template <class V> __global__ void __launch_bounds__(256) add_bias_kernel(GroupRows rows, V* out, std::int64_t stride, int columns, float const* bias) {
  ptx::grid_dependency_launch();                 // launched behind the library's kernels, which are over
  std::int64_t const end = rows.to();
  for (std::int64_t r = rows.from() + blockIdx.x; r < end; r += gridDim.x) {
    std::int64_t const group = rows.group(r);
    for (int c = static_cast<int>(threadIdx.x); c < columns; c += 256) out[r * stride + c] = from_float<V>(to_float(out[r * stride + c]) + bias[group * columns + c]);
  }
}

}}}}

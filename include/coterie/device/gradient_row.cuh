// Where gradients of a weight matrix go, row by row, with the strides of a checkpoint.
#pragma once
#include "pairs.cuh"
#include "product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Where one output's gradients go: input i at data[i * stride]; null: not wanted.
template <class Element> struct GradientRow {
  Element* data = nullptr;
  std::int64_t stride = 1;
};

// One matrix with the strides of a checkpoint, for one group.
template <class Element_> struct DenseGradient {
  using Element = Element_;
  Element* data;                                 // null: nothing is computed
  std::int64_t out_stride, in_stride;
  int overwrite = 0;                             // flag: written, not added to
  COTERIE_DEVICE GradientRow<Element> row(int, std::int64_t output) const { return {data ? data + output * out_stride : nullptr, in_stride}; }
};

// Gradients of inputs i and i + 1, as many of them as there are: what memory holds, and what it shall hold.
template <class Element> COTERIE_DEVICE bool together(GradientRow<Element> const& row, std::int64_t i, std::int64_t inputs) {
  return row.stride == 1 && i + 1 < inputs && reinterpret_cast<std::uintptr_t>(row.data + i) % (2 * sizeof(Element)) == 0;
}
template <class Element> COTERIE_DEVICE float2 load_gradients(GradientRow<Element> const& row, std::int64_t i, std::int64_t inputs) {
  if (!row.data || i >= inputs) return {0, 0};
  Element const* const at = row.data + i * row.stride;
  if (together(row, i, inputs)) return load_two(at);
  return {to_float(*at), i + 1 < inputs ? to_float(at[row.stride]) : 0.f};
}
template <class Element> COTERIE_DEVICE void store_gradients(GradientRow<Element> const& row, std::int64_t i, std::int64_t inputs, float first, float second) {
  if (!row.data || i >= inputs) return;
  Element* const at = row.data + i * row.stride;
  if (together(row, i, inputs)) return store_two(at, first, second, true);
  *at = from_float<Element>(first);
  if (i + 1 < inputs) at[row.stride] = from_float<Element>(second);
}

}}}}

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

// One matrix with the strides of a checkpoint; of more groups one behind the other.
template <class Element_> struct DenseGradient {
  using Element = Element_;
  Element* data;                                 // null: nothing is computed
  std::int64_t out_stride, in_stride;
  int overwrite = 0;                             // flag: written, not added to
  std::int64_t group_stride = 0;
  COTERIE_DEVICE GradientRow<Element> row(int group, std::int64_t output) const { return {data ? data + group * group_stride + output * out_stride : nullptr, in_stride}; }
};

// Two gradients, as many of them as there are: what memory holds, and what it shall hold.
template <class Element> struct GradientPair {
  Element *first = nullptr, *second = nullptr;
  COTERIE_DEVICE bool together() const { return first && second == first + 1 && reinterpret_cast<std::uintptr_t>(first) % (2 * sizeof(Element)) == 0; }
};
template <class Element> COTERIE_DEVICE float2 load_gradients(GradientPair<Element> const& at) {
  if (at.together()) return load_two(at.first);
  return {at.first ? to_float(*at.first) : 0.f, at.second ? to_float(*at.second) : 0.f};
}
template <class Element> COTERIE_DEVICE void store_gradients(GradientPair<Element> const& at, float first, float second) {
  if (at.together()) return store_two(at.first, first, second, true);
  if (at.first) *at.first = from_float<Element>(first);
  if (at.second) *at.second = from_float<Element>(second);
}
// Of inputs i and i + 1 of an output, or of two outputs for input i.
template <class Element> COTERIE_DEVICE Element* gradient_at(GradientRow<Element> const& row, std::int64_t i, std::int64_t inputs) {
  return row.data && i < inputs ? row.data + i * row.stride : nullptr;
}
template <class Element> COTERIE_DEVICE GradientPair<Element> along_row(GradientRow<Element> const& row, std::int64_t i, std::int64_t inputs) {
  return {gradient_at(row, i, inputs), gradient_at(row, i + 1, inputs)};
}
template <class Element> COTERIE_DEVICE GradientPair<Element> across_rows(GradientRow<Element> const (&rows)[2], std::int64_t i, std::int64_t inputs) {
  return {gradient_at(rows[0], i, inputs), gradient_at(rows[1], i, inputs)};
}

}}}}

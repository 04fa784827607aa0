// Views: nothing here owns memory.
#pragma once
#include "dtype.hpp"

namespace coterie { inline namespace v0 {

// A matrix of dynamic rows and compile-time columns; row r starts at data + r * stride.
template <class T, int Cols>
struct Rows {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t stride = Cols;
  static constexpr int columns = Cols;
  COTERIE_HD constexpr T* operator[](std::int64_t row) const { return data + row * stride; }
  template <class U> requires(std::is_same_v<U, T const> && !std::is_const_v<T>)
  COTERIE_HD constexpr operator Rows<U, Cols>() const { return {data, rows, stride}; }
};
template <int Cols, class T> constexpr Rows<T, Cols> rows(T* data, std::int64_t n) { return {data, n}; }
static_assert(std::is_trivially_copyable_v<Rows<bf16, 4>>);

// One expert's weight matrix in a checkpoint, element (o, i) at data[o * out_stride + i * in_stride]: interleaved and
// transposed files need no copy.
template <DType D, int Out, int In, bool Mutable = false>
struct Matrix {
  using value = element_t<D>;
  static constexpr DType type = D;
  static constexpr int outputs = Out, inputs = In;
  std::conditional_t<Mutable, value*, value const*> data = nullptr;
  std::int64_t out_stride = In, in_stride = 1;
};
// Quantised weights: strides count elements; one scale per QuantConfig group of inputs (and group_rows outputs), row-major.
template <DType D, int Out, int In> requires(bits(D) <= 8)
struct Matrix<D, Out, In, false> {
  using value = element_t<D>;
  static constexpr DType type = D;
  static constexpr int outputs = Out, inputs = In;
  element_t<D> const* data = nullptr;
  std::int64_t out_stride = In, in_stride = 1;
  float const* scale = nullptr;
  std::uint8_t const* zero = nullptr;
};
template <DType D, int Out, int In> requires(bits(D) <= 8)
struct Matrix<D, Out, In, true> {
  using value = element_t<D>;
  static constexpr DType type = D;
  static constexpr int outputs = Out, inputs = In;
  element_t<D>* data = nullptr;
  std::int64_t out_stride = In, in_stride = 1;
  float* scale = nullptr;
  std::uint8_t* zero = nullptr;
};

}}

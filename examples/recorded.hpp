// What an original implementation recorded (tests/golden/), and how near we come to it.
#pragma once
#include "measure.hpp"
#include <coterie/io/safetensors.hpp>
#include <cmath>

namespace example {

// A whole tensor of type T.
template <class T> std::vector<T> read(ct::Safetensors const& file, std::string_view name) {
  ct::TensorInfo const& tensor = file.at(name);
  ct::require(static_cast<std::size_t>(ct::bits(tensor.dtype)) == 8 * sizeof(T), "recorded tensor: bits per element", ct::bits(tensor.dtype), 8 * sizeof(T));
  std::vector<T> values(tensor.bytes() / sizeof(T));
  file.read(tensor, std::as_writable_bytes(std::span(values)));
  return values;
}
// The committed text's tokens are its bytes.
inline std::string text_of(std::vector<std::int32_t> const& tokens) {
  std::string text;
  for (std::int32_t const t : tokens) text += static_cast<char>(t);
  return text;
}

struct Difference { double most, relative; };                          // absolute, and over the largest value; NaN where any is
inline Difference compare(std::vector<float> const& got, std::vector<float> const& want) {
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    double const d = std::abs(double{got[i]} - double{want[i]});
    most = larger(most, d);
    largest = std::max(largest, std::abs(double{want[i]}));
  }
  return {most, most / largest};
}
// Tokens that chose the same experts in the same order.
inline std::int64_t agreeing(std::vector<std::int32_t> const& got, std::vector<std::int32_t> const& want, int top_k) {
  std::int64_t same = 0;
  for (std::size_t t = 0; t + 1 <= want.size() / static_cast<std::size_t>(top_k); ++t)
    same += std::equal(got.begin() + std::ptrdiff_t(t) * top_k, got.begin() + std::ptrdiff_t(t + 1) * top_k, want.begin() + std::ptrdiff_t(t) * top_k);
  return same;
}

}

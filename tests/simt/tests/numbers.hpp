// Inputs, and the products they should give.
#pragma once
#include <coterie/dtype.hpp>
#include <cmath>
#include <vector>

namespace samples {

// Small integers: sums of their products are exact in any order.
template <class T> std::vector<T> integers(std::size_t n, unsigned seed) {
  std::vector<T> v(n);
  for (T& x : v) {
    seed = seed * 1664525u + 1013904223u;
    x = coterie::from_float<T>(static_cast<float>(static_cast<int>(seed >> 24) % 7 - 3));
  }
  return v;
}
// c[m x n] = a[m x k] * b[n x k]^T
template <class T> std::vector<float> product(std::vector<T> const& a, std::vector<T> const& b, int m, int n, int k) {
  std::vector<float> c(static_cast<std::size_t>(m) * static_cast<std::size_t>(n));
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float sum = 0;
      for (int x = 0; x < k; ++x)
        sum += coterie::to_float(a[static_cast<std::size_t>(i * k + x)]) * coterie::to_float(b[static_cast<std::size_t>(j * k + x)]);
      c[static_cast<std::size_t>(i * n + j)] = sum;
    }
  return c;
}

}

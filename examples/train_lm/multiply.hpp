// Matrix products in plain loops: one kernel, compiled for several processors, of which the program loader takes the best one.
#pragma once
#include <algorithm>
#include <cstddef>

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define LM_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define LM_EVERY_PROCESSOR
#endif

namespace lm {

// A matrix of which element (row, column) is data[row * rows_by + column * columns_by].
struct Strided { float const* data; std::ptrdiff_t rows_by, columns_by; };
inline Strided by_rows(float const* data, std::ptrdiff_t columns) { return {data, columns, 1}; }
inline Strided transposed(float const* data, std::ptrdiff_t columns) { return {data, 1, columns}; }

typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));

// c[M,N] = a[M,K] b[K,N], or added to it. M is a multiple of 4, N of 32: a tile of c stays in registers (8 of AVX-512, 16 of AVX).
LM_EVERY_PROCESSOR
static void multiply(int M, int N, int K, Strided a, float const* b, std::ptrdiff_t b_row, float* c, std::ptrdiff_t c_row, bool add = false) {
  for (int n = 0; n < N; n += 32)
    for (int m = 0; m < M; m += 4) {
      Vector sum[4][2] = {};
      float const* const from = a.data + m * a.rows_by;
      for (int k = 0; k < K; ++k) {
        float const* const row = b + k * b_row + n;
        Vector const b0 = *reinterpret_cast<Vector const*>(row), b1 = *reinterpret_cast<Vector const*>(row + 16);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          float const v = from[i * a.rows_by + k * a.columns_by];
          sum[i][0] += v * b0, sum[i][1] += v * b1;
        }
      }
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i)
        for (int j = 0; j < 2; ++j) {
          Vector& to = *reinterpret_cast<Vector*>(c + (m + i) * c_row + n + 16 * j);
          to = add ? to + sum[i][j] : sum[i][j];
        }
    }
}

// to[columns,rows] = from[rows,columns], transposed.
inline void transpose(float const* from, std::ptrdiff_t from_row, int rows, int columns, float* to) {
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < columns; ++j) to[j * rows + i] = from[i * from_row + j];
}

}

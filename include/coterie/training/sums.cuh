// What gradients of vectors are made of on the GPU: sums down the columns of a matrix in fixed order, and what is added to the caller's.
#pragma once
#include "../device/backend.cuh"
#include "../device/packed.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// to[piece][columns]: sums of `chunk` rows each. A block takes 32 columns of a piece, its warps every eighth row.
template <class T> struct TokenSums {
  using V = T;
  V const* from;
  std::int64_t stride;                           // of its rows
  float const* weight;                           // of a row; null: 1
  std::int64_t rows, chunk;
  int columns;                                   // of from and to
  float* to;
  int overwrite;                                 // flag: not added to what is there
};
template <class P, int Warps> __global__ void __launch_bounds__(Warps * 32) token_sums_kernel(P const p) {
  COTERIE_SHARED(part, float[Warps][32]);
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32);
  std::int64_t const tiles = ceil_div(p.columns, 32), piece = blockIdx.x / tiles, end = (piece + 1) * p.chunk < p.rows ? (piece + 1) * p.chunk : p.rows;
  std::int64_t const c = blockIdx.x % tiles * 32 + lane;
  COTERIE_SYNC("token_sums: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  float sum = 0;
  if (c < p.columns)
    for (std::int64_t r = piece * p.chunk + warp; r < end; r += Warps) sum += to_float(p.from[r * p.stride + c]) * (p.weight ? p.weight[r] : 1.f);
  part[warp][lane] = sum;
  COTERIE_SYNC("token_sums: parts of the warps", __syncthreads());
  if (warp != 0 || c >= p.columns) return;
  sum = 0;
  for (int i = 0; i < Warps; ++i) sum += part[i][lane];
  float& to = p.to[piece * p.columns + c];
  to = p.overwrite ? sum : to + sum;
}
// Rows of a piece: one kernel sums so many, and a second one the pieces of more.
inline constexpr std::int64_t summed_rows = 512;
inline std::int64_t sum_pieces(std::int64_t rows, int columns) { return rows > summed_rows ? ceil_div(rows, summed_rows) * columns : 0; }
// to[columns] (+)= sums over rows of weight[row] * from[row][columns], rows stride apart (weight null: 1); pieces: sum_pieces(rows, columns)
// numbers of scratch.
template <class V> void token_sums(Cuda const& on, V const* from, std::int64_t stride, float const* weight, std::int64_t rows, int columns, float* to, int overwrite, float* pieces, Where at) {
  auto const sums = [&]<class T>(TokenSums<T> const& p) {
    launch(token_sums_kernel<TokenSums<T>, 8>, {.grid = dim3(static_cast<unsigned>(ceil_div(columns, 32) * ceil_div(p.rows, p.chunk))), .block = dim3(256), .programmatic = on.device.programmatic}, on.stream, at, p);
  };
  bool const whole = rows <= summed_rows;
  sums(TokenSums<V>{.from = from, .stride = stride, .weight = weight, .rows = rows, .chunk = summed_rows, .columns = columns, .to = whole ? to : pieces, .overwrite = whole ? overwrite : 1});
  if (whole) return;
  std::int64_t const count = ceil_div(rows, summed_rows);
  sums(TokenSums<float>{.from = pieces, .stride = columns, .weight = nullptr, .rows = count, .chunk = count, .columns = columns, .to = to, .overwrite = overwrite});
}

// to[n] (+)= from[n].
template <int Threads> __global__ void __launch_bounds__(Threads) add_kernel(float const* from, std::int64_t n, float* to, int overwrite) {
  COTERIE_SYNC("add: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (std::int64_t i = std::int64_t{blockIdx.x} * Threads + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * Threads) to[i] = overwrite ? from[i] : to[i] + from[i];
}
inline void add_to(Cuda const& on, float const* from, std::int64_t n, float* to, int overwrite, Where at) {
  std::int64_t const blocks = ceil_div(n, 256);
  launch(add_kernel<256>, {.grid = dim3(static_cast<unsigned>(blocks < 8192 ? blocks : 8192)), .block = dim3(256), .programmatic = on.device.programmatic}, on.stream, at, from, n, to, overwrite);
}

}}}}

// Gradients of weights whose sums stand in shared memory, 128 floats a row, on their way to where a checkpoint has its matrices, transposed or not.
#pragma once
#include "gradient_row.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Where a tile's sum stands: so that neither those who write fragments of mma.sync meet a bank twice, nor those who read 64 columns of a row. And
// where one that is turned does: who reads two columns of 32 rows, a pair of rows a lane, meets no bank twice either, nor who reads 8 of up to 8.
COTERIE_DEVICE int sum_at(int row, int column) { return row * 128 + (column ^ (row ^ row / 4 % 2) % 4 * 8); }
COTERIE_DEVICE int turned_at(int row, int column) { return sum_at(row, column) ^ (row / 8 % 2 * 4 + row / 16 % 2 * 2); }

// Whether gradients from an output on are transposed: neighbouring outputs, and not inputs, are neighbours in memory. As its first row is.
template <class P> COTERIE_DEVICE bool turned(P const& p, int group, std::int64_t output) { return p.to.row(group, output).stride != 1; }

// Gradients of outputs [first, end) and 128 inputs from `input` on: the sum of (first, input) at sums[0], the others where sum_at() or, of those that
// are turned, turned_at() has them. Stored by `warps` of them, of which this one is number `warp`. What is added to is asked for ahead, since
// the compiler does not move a load over a store.
struct StagedGradients {
  int group;
  std::int64_t first, end, input;
};
// 128 neighbouring inputs of four outputs at a time.
template <class P> COTERIE_DEVICE void store_along(P const& p, StagedGradients const& tile, float const* sums, int warp, int warps) {
  constexpr int at_once = 4;                     // outputs
  int const lane = static_cast<int>(threadIdx.x % 32), outputs = static_cast<int>(tile.end - tile.first);
  std::int64_t const input = tile.input + lane * 2;
#pragma unroll 1
  for (int first = warp * at_once; first < outputs; first += warps * at_once) {
    GradientRow<typename P::To::Element> to[at_once];
    float2 old[at_once][2] = {};
#pragma unroll
    for (int n = 0; n < at_once; ++n)
      if (first + n < outputs) to[n] = p.to.row(tile.group, tile.first + first + n);
    if (!p.to.overwrite)
#pragma unroll
      for (int n = 0; n < at_once; ++n)
#pragma unroll
        for (int half = 0; half < 2; ++half) old[n][half] = load_gradients(along_row(to[n], input + half * 64, p.inputs));
#pragma unroll
    for (int n = 0; n < at_once; ++n) {
      if (first + n >= outputs) break;
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float2 const sum = load_two(&sums[sum_at(first + n, half * 64 + lane * 2)]);
        store_gradients(along_row(to[n], input + half * 64, p.inputs), old[n][half].x + sum.x, old[n][half].y + sum.y);
      }
    }
  }
}
// 32 neighbouring outputs of two inputs at a time, or up to eight of eight.
template <class P> COTERIE_DEVICE void store_turned(P const& p, StagedGradients const& tile, float const* sums, int warp, int warps) {
  constexpr int at_once = 8;
  int const lane = static_cast<int>(threadIdx.x % 32), outputs = static_cast<int>(tile.end - tile.first), across = outputs > 8 ? 16 : 4, inputs = 32 / across, parts = 128 / (inputs * at_once);
#pragma unroll 1
  for (int number = warp; number / parts * 2 * across < outputs; number += warps) {
    int const output = number / parts * 2 * across + lane % across * 2, input = number % parts * at_once * inputs + lane / across;
    GradientRow<typename P::To::Element> rows[2];
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (output + i < outputs) rows[i] = p.to.row(tile.group, tile.first + output + i);
    auto const to = [&](int n) { return across_rows(rows, tile.input + input + n * inputs, p.inputs); };
    float2 old[at_once] = {};
    if (!p.to.overwrite)
#pragma unroll
      for (int n = 0; n < at_once; ++n) old[n] = load_gradients(to(n));
#pragma unroll
    for (int n = 0; n < at_once; ++n) {
      if (output >= outputs) break;
      int const column = input + n * inputs;
      store_gradients(to(n), old[n].x + sums[turned_at(output, column)], old[n].y + sums[turned_at(output + 1, column)]);
    }
  }
}
template <class P> COTERIE_DEVICE void store_staged(P const& p, StagedGradients const& tile, float const* sums, int warp, int warps) {
  if (turned(p, tile.group, tile.first)) store_turned(p, tile, sums, warp, warps);
  else store_along(p, tile, sums, warp, warps);
}

}}}}

// Gradients of weights: gradient[group](o, i) (+)= sum over the group's rows of p(p_map[r], o) * q(q_map[r], i), each sum one chain over the rows
// in fp32, rounded once. No atomics. An empty group adds nothing, or writes zeros.
#pragma once
#include "staged_gradients.cuh"
#include "stages.cuh"
#include "wide.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// One group of dense rows: .groups = {.rows = T}. Rows of groups that are summed lie below .groups.rows. To: where gradients go.
//   using Element (float, bf16 or fp16); int overwrite; GradientRow<Element> row(group, output)
template <class L_, class R_, class To_> struct GradientProduct {
  using L = L_;
  using R = R_;
  using To = To_;
  L const* p;                                    // [.][outputs]
  std::int64_t p_stride;
  std::int32_t const* p_map;                     // row of the product -> row of p; null: the same
  R const* q;                                    // [.][inputs]
  std::int64_t q_stride;
  std::int32_t const* q_map;
  std::int64_t outputs, inputs;
  Groups groups;
  To to;
  std::int64_t piece = 0;                        // of dense rows: each of groups.count sums so many of them; 0: all
};

// A tile of a group's gradient, by number: groups one after the other, in a group along the shorter side first, whose rows stay in the L2 cache.
struct GradientTile {
  int group;
  std::int64_t output, input, first, end;        // where it begins; the group's rows
};
template <class P> COTERIE_DEVICE GradientTile gradient_tile(P const& p, std::int64_t number, int outputs, int inputs) {
  std::int64_t const high = ceil_div(p.outputs, outputs), wide = ceil_div(p.inputs, inputs), at = number % (high * wide);
  int const group = p.groups.first + static_cast<int>(number / (high * wide));
  std::int64_t const row = high < wide ? at % high : at / wide, column = high < wide ? at / high : at % wide;
  GradientTile tile{group, row * outputs, column * inputs, p.piece * group, p.groups.rows};
  if (p.groups.begin) tile.first = p.groups.begin[group], tile.end = p.groups.begin[group + 1];
  else if (p.piece && tile.first + p.piece < tile.end) tile.end = tile.first + p.piece;
  return tile;
}
template <class P> dim3 gradient_grid(P const& p, int outputs, int inputs, Where at) {
  return dim3(grid_of(p.groups.count * ceil_div(p.outputs, outputs) * ceil_div(p.inputs, inputs), "Cuda: too many tiles", at));
}

// Tiles of 64 x 64, 16 rows at a time, 256 threads with 4 x 4 sums.
struct PlainGradientTile {
  static constexpr int outputs = 64, inputs = 64, depth = 16, threads = 256;
  float p[depth][outputs], q[depth][inputs];
};
template <class P> __global__ void __launch_bounds__(PlainGradientTile::threads, 2) plain_gradient_kernel(P const p) {
  using T = PlainGradientTile;
  T& s = ptx::dynamic_shared<T>();
  int const t = static_cast<int>(threadIdx.x), x = t % 16, y = t / 16, column = t % 64;
  COTERIE_SYNC("plain_gradient: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  GradientTile const tile = gradient_tile(p, blockIdx.x, T::outputs, T::inputs);
  if (tile.first == tile.end && !p.to.overwrite) return;
  bool const has_p = tile.output + column < p.outputs, has_q = tile.input + column < p.inputs, is_turned = turned(p, tile.group, tile.output);
  float const (*const down)[64] = is_turned ? s.q : s.p, (*const along)[64] = is_turned ? s.p : s.q;
  float sum[4][4] = {};
  for (std::int64_t r = tile.first; r < tile.end; r += T::depth) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      int const k = t / 64 + i * 4;
      std::int64_t const row = r + k;
      bool const inside = row < tile.end;
      s.p[k][column] = inside && has_p ? to_float(p.p[(p.p_map ? p.p_map[row] : row) * p.p_stride + tile.output + column]) : 0.f;
      s.q[k][column] = inside && has_q ? to_float(p.q[(p.q_map ? p.q_map[row] : row) * p.q_stride + tile.input + column]) : 0.f;
    }
    COTERIE_SYNC("plain_gradient: tile is loaded", __syncthreads());
#pragma unroll
    for (int k = 0; k < T::depth; ++k)
#pragma unroll
      for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n) sum[m][n] = fmaf(down[k][y * 4 + m], along[k][n / 2 * 32 + x * 2 + n % 2], sum[m][n]);
    COTERIE_SYNC("plain_gradient: tile is read", __syncthreads());
  }
  // Neighbours in a row of sums are neighbouring inputs of an output, or outputs of an input.
  using Row = GradientRow<typename P::To::Element>;
  Row rows[2][2];
  if (is_turned)
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (std::int64_t const output = tile.output + i / 2 * 32 + x * 2 + i % 2; output < p.outputs) rows[i / 2][i % 2] = p.to.row(tile.group, output);
#pragma unroll
  for (int m = 0; m < 4; ++m) {
    std::int64_t const output = tile.output + y * 4 + m;
    Row const row = !is_turned && output < p.outputs ? p.to.row(tile.group, output) : Row{};
    GradientPair<typename P::To::Element> to[2];
#pragma unroll
    for (int half = 0; half < 2; ++half)
      to[half] = is_turned ? across_rows(rows[half], tile.input + y * 4 + m, p.inputs) : along_row(row, tile.input + half * 32 + x * 2, p.inputs);
    float2 old[2] = {};
    if (!p.to.overwrite) old[0] = load_gradients(to[0]), old[1] = load_gradients(to[1]);
#pragma unroll
    for (int half = 0; half < 2; ++half) store_gradients(to[half], old[half].x + sum[m][half * 2], old[half].y + sum[m][half * 2 + 1]);
  }
}

// Tiles of 128 x 128, four stages of 32 rows, and in the end sums in their place. A row of a stage is 256 bytes of p and as many of q, chunk c of row k at c ^ (k % 8); ldmatrix
// turns both. 8 warps of 64 x 32, two blocks a multiprocessor.
struct MmaGradientTile {
  static constexpr int outputs = 128, inputs = 128, depth = 32, stages = 4, threads = 256, blocks = 2, chunks = 16, copies = depth * chunks / threads, by = threads / chunks;
  static constexpr int row_fragments = 4, column_fragments = 4;
  static constexpr char const *has_landed = "mma_gradient: stage has landed", *is_everybodys = "mma_gradient: stage is everybody's";
  uint4 p[stages][depth * chunks], q[stages][depth * chunks];
  COTERIE_DEVICE static int at(int k, int chunk) { return k * chunks + (chunk ^ k % 8); }
  COTERIE_DEVICE float* sums() { return reinterpret_cast<float*>(p); }
};
template <class P> __global__ void __launch_bounds__(MmaGradientTile::threads, MmaGradientTile::blocks) mma_gradient_kernel(P const p) {
  using T = MmaGradientTile;
  using V = typename P::L;
  T& s = ptx::dynamic_shared<T>();
  int const t = static_cast<int>(threadIdx.x), lane = t % 32, warp = t / 32, warp_output = warp % 2 * 64, warp_input = warp / 2 * 32;
  COTERIE_SYNC("mma_gradient: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  GradientTile const tile = gradient_tile(p, blockIdx.x, T::outputs, T::inputs);
  if (tile.first == tile.end && !p.to.overwrite) return;

  // This thread copies one column of chunks, of rows t / 16 and 16 further of each stage. Which rows of p and q those are is asked for a step ahead.
  int const chunk = t % T::chunks, k = t / T::chunks;
  bool const has_p = tile.output + chunk * 8 < p.outputs, has_q = tile.input + chunk * 8 < p.inputs;
  V const *const from_p = p.p + tile.output + chunk * 8, *const from_q = p.q + tile.input + chunk * 8;
  std::int64_t row = tile.first + k, p_row[T::copies] = {}, q_row[T::copies] = {};
  auto const look = [&] {
#pragma unroll
    for (int i = 0; i < T::copies; ++i)
      if (std::int64_t const r = row + i * T::by; r < tile.end) p_row[i] = p.p_map ? p.p_map[r] : r, q_row[i] = p.q_map ? p.q_map[r] : r;
  };
  auto const load = [&](int stage, int) {
#pragma unroll
    for (int i = 0; i < T::copies; ++i) {
      bool const inside = row + i * T::by < tile.end;
      int const to = T::at(k + i * T::by, chunk);
      ptx::cp_async16(&s.p[stage][to], inside && has_p ? from_p + p_row[i] * p.p_stride : p.p, inside && has_p);
      ptx::cp_async16(&s.q[stage][to], inside && has_q ? from_q + q_row[i] * p.q_stride : p.q, inside && has_q);
    }
    row += T::depth;
    look();
  };

  float acc[T::row_fragments][T::column_fragments][4] = {};
  int const steps = static_cast<int>((tile.end - tile.first + T::depth - 1) / T::depth);
  look();
  through_stages<T>(steps, load, [&](int stage) {
    // Lanes look for rows or not, and ldmatrix and mma want them together. No name: the emulator gathers them there by itself.
    __syncwarp();
    uint4 const* const sp = s.p[stage];
    uint4 const* const sq = s.q[stage];
#pragma unroll
    for (int half = 0; half < T::depth / 16; ++half) {
      std::uint32_t fq[T::column_fragments / 2][4];
#pragma unroll
      for (int j = 0; j < T::column_fragments / 2; ++j) ptx::ldmatrix_x4_trans(fq[j], &sq[T::at(half * 16 + lane % 16, warp_input / 8 + j * 2 + lane / 16)]);
#pragma unroll
      for (int i = 0; i < T::row_fragments; ++i) {
        std::uint32_t fp[4];
        ptx::ldmatrix_x4_trans(fp, &sp[T::at(half * 16 + lane % 8 + lane / 16 * 8, warp_output / 8 + i * 2 + lane / 8 % 2)]);
#pragma unroll
        for (int j = 0; j < T::column_fragments; ++j) ptx::mma_m16n8k16<V>(acc[i][j], fp, fq[j / 2][j % 2 * 2], fq[j / 2][j % 2 * 2 + 1]);
      }
    }
  });

  // In a fragment a thread has pairs of inputs of eight outputs. Through shared memory, so that a warp adds to 64 neighbouring ones.
  static_assert(T::outputs * T::inputs * sizeof(float) <= sizeof(T));
  COTERIE_SYNC("mma_gradient: stages are read", __syncthreads());
  float* const sums = s.sums();
  bool const is_turned = turned(p, tile.group, tile.output);
  auto const at = [is_turned](int r, int c) { return is_turned ? turned_at(r, c) : sum_at(r, c); };
#pragma unroll
  for (int i = 0; i < T::row_fragments; ++i)
#pragma unroll
    for (int j = 0; j < T::column_fragments; ++j)
#pragma unroll
      for (int upper = 0; upper < 2; ++upper)
        store_two(&sums[at(warp_output + i * 16 + upper * 8 + lane / 4, warp_input + j * 8 + lane % 4 * 2)], acc[i][j][upper * 2], acc[i][j][upper * 2 + 1], true);
  COTERIE_SYNC("mma_gradient: sums are everybody's", __syncthreads());
  std::int64_t const end = p.outputs - tile.output < T::outputs ? p.outputs : tile.output + T::outputs;
  store_staged(p, StagedGradients{.group = tile.group, .first = tile.output, .end = end, .input = tile.input}, sums, warp, T::threads / 32);
}

template <class P> void mma_gradient(Cuda const& on, P const& p, Where at) {
  using T = MmaGradientTile;
  launch(mma_gradient_kernel<P>, {.grid = gradient_grid(p, T::outputs, T::inputs, at), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}
template <class P> void plain_gradient(Cuda const& on, P const& p, Where at) {
  using T = PlainGradientTile;
  launch(plain_gradient_kernel<P>, {.grid = gradient_grid(p, T::outputs, T::inputs, at), .block = dim3(T::threads), .shared = sizeof(T), .programmatic = on.device.programmatic}, on.stream, at, p);
}

}}}}

// A layer for few tokens by two kernels behind the logits: the first selects, sorts, and streams gate and up of the experts that are hit;
// the second streams their down and combines. A block has all warps of its multiprocessor, and finds out for itself who was selected:
// the tokens are few, and a kernel that did it for all would cost more than that.
#pragma once
#include "../combine/kernels.cuh"
#include "../router/kernels.cuh"
#include "ffn.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

inline constexpr int decode_tokens = stream_rows;
template <class P> inline constexpr int decode_threads = stream_threads * stream_resident<P>;

// Pairs of token and slot in the order in which dispatch gives them rows: by expert, then as they stand.
template <int S> struct FewRows {
  static constexpr int most = decode_tokens * S;
  struct Hit { std::int32_t expert, first, rows; };                      // an expert with rows, from which one on
  std::int32_t expert[most];                     // of pair t * S + s; -1: it has no row
  std::int32_t row[most];                        // of the pair
  std::int32_t rows[most];                       // of the pair's expert, at its first pair; else 0
  std::int32_t token[most];                      // of the row
  Hit hit[most];                                 // by expert
  int hits;                                      // 0 before they are sorted
};

// From the experts of the pairs, which all threads of the block have written, to the rest. All threads call.
template <int S> COTERIE_DEVICE void sort_few(FewRows<S>& s, int pairs) {
  COTERIE_SYNC("decode: experts are known", __syncthreads());
  for (int i = static_cast<int>(threadIdx.x); i < pairs; i += static_cast<int>(blockDim.x)) {
    int const expert = s.expert[i];
    int below = 0, equal = 0, earlier = 0;
    for (int j = 0; j < pairs; ++j) {
      int const other = s.expert[j];
      below += other >= 0 && other < expert, equal += other == expert, earlier += other == expert && j < i;
    }
    s.row[i] = expert < 0 ? -1 : below + earlier;
    s.rows[i] = expert < 0 || earlier > 0 ? 0 : equal;
    if (expert >= 0) s.token[below + earlier] = i / S;
  }
  COTERIE_SYNC("decode: rows are known", __syncthreads());
  for (int i = static_cast<int>(threadIdx.x); i < pairs; i += static_cast<int>(blockDim.x)) {
    if (s.rows[i] == 0) continue;
    int below = 0;
    for (int j = 0; j < pairs; ++j) below += s.rows[j] > 0 && s.expert[j] < s.expert[i];
    s.hit[below] = {s.expert[i], s.row[i], s.rows[i]};
    atomicAdd(&s.hits, 1);                       // only the sum is used
  }
  COTERIE_SYNC("decode: hits are known", __syncthreads());
}

// Sums of the rows of one hit with two packed rows of its weights, in lane m for row m of the hit, which is at row_at(m). Lanes may
// come here apart, from stores that not all of them had: shuffles name their lanes and wait for them, and nothing here is `.aligned`.
template <class P, class Hit, class RowAt> COTERIE_DEVICE void hit_sums(P const& p, Hit const& hit, std::int64_t const (&output)[2], RowAt const& row_at, float (&mine)[2]) {
  typename P::A const* a[stream_rows];
  typename P::B const* b[2];
#pragma unroll
  for (int m = 0; m < stream_rows; ++m) a[m] = row_at(m < hit.rows ? m : 0);
#pragma unroll
  for (int n = 0; n < 2; ++n) b[n] = p.b + hit.expert * p.b_group + (output[n] < p.b_rows ? output[n] : 0) * p.b_pitch;
  stream_sums(hit.rows, a, b, p.inputs, mine);
}

// The dot products of each token with the vectors that weigh its shared experts, each in as many parts as combine's block has warps.
template <class Stage> struct MixDots {
  using Combiner = CombineKernel<Stage, 1>;
  static constexpr int vectors = Combiner::mix_vectors, parts = Combiner::warps, count = vectors * parts;
  // Number n of all tokens' parts. A warp calls.
  COTERIE_DEVICE static void make(float const* mix_vectors, Rows<typename Stage::V const, Stage::config.hidden> const& x, int n, float* dots) {
    float const dot = Combiner::mix_part(mix_vectors + n / parts % vectors * Stage::config.hidden, x[n / count], n % parts);
    if (threadIdx.x % 32 == 0) dots[n] = dot;
  }
  COTERIE_DEVICE static Mix mix(float const* bias, float const* dots) { return Combiner::mix_of_parts(bias, [&](int m, int i) { return dots[m * parts + i]; }); }
};

template <class Stage> struct DecodeHidden {
  RouteWork<Stage::config> route;
  typename Stage::Up up;                         // x[T,W] to h[R,pitch]; its groups and map are not used
  float const* mix_vectors;
  float* dots;                                   // [T][MixDots::count]
};
template <class Stage> __global__ void __launch_bounds__(decode_threads<typename Stage::Up>, 1) decode_hidden_kernel(DecodeHidden<Stage> const w) {
  constexpr Config c = Stage::config;
  using To = typename Stage::Up::Epilogue::To;
  constexpr bool paired = Stage::Up::Epilogue::paired;
  constexpr int S = slots(c), columns = static_cast<int>(paired ? round_up(c.ffn, interleave) : round_up(c.ffn, 8) / 2);
  auto& s = ptx::dynamic_shared<FewRows<S>>();
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32), tokens = static_cast<int>(w.route.in.x.rows);
  COTERIE_SYNC("decode_hidden: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (threadIdx.x == 0) s.hits = 0;
  if constexpr (MixDots<Stage>::vectors > 0)
    if (warp == warps - 1)                       // while the others select
      for (int n = static_cast<int>(blockIdx.x); n < tokens * MixDots<Stage>::count; n += static_cast<int>(gridDim.x)) MixDots<Stage>::make(w.mix_vectors, w.route.in.x, n, w.dots);
  for (int t = warp; t < tokens; t += warps) {
    std::int32_t const expert = route_token<c>(w.route, t, blockIdx.x == 0);       // one block says it to the kernels behind
    if (lane < S) s.expert[t * S + lane] = expert < c.experts ? expert : -1;
  }
  sort_few(s, tokens * S);
#pragma unroll 1
  for (std::int64_t n = std::int64_t{blockIdx.x} * warps + warp; n < std::int64_t{s.hits} * columns; n += std::int64_t{gridDim.x} * warps) {
    auto const hit = s.hit[n / columns];
    int const column = static_cast<int>(n % columns) * (paired ? 1 : 2), packed = column / interleave * (2 * interleave) + column % interleave;
    // The warp's two rows of the weights: of a gate and its up, or of two neighbouring outputs.
    std::int64_t const output[2]{paired ? packed : column, paired ? packed + interleave : column + 1};
    float mine[2] = {};
    hit_sums(w.up, hit, output, [&](int m) { return w.up.a + s.token[hit.first + m] * w.up.a_stride; }, mine);
    if (lane >= hit.rows) continue;
    auto const& epilogue = w.up.epilogue;
    std::int64_t const row = hit.first + lane;
    if constexpr (paired) *epilogue.at(row, column) = from_float<To>(epilogue.value(hit.expert, row, column, mine[0], mine[1]));
    else store_columns(epilogue, row, column, epilogue.value(hit.expert, row, column, mine[0]), epilogue.value(hit.expert, row, column + 1, mine[1]));
  }
}

// Pairs of columns that a block takes at a time, at most: with both a warp has as many columns as lanes, when it combines.
inline constexpr int decode_pairs = 16;

template <class Stage> struct DecodeOutShared {
  static constexpr int S = slots(Stage::config);
  FewRows<S> rows;
  CombineSlots<S> of[decode_tokens];              // a token
  // As the experts' stage would store them; eight rows are written at once, each from another bank on.
  typename Stage::V out[FewRows<S>::most][2 * decode_pairs + 2];
};
template <class Stage> struct DecodeOut {
  typename Stage::Down down;                     // h[R,pitch] to rows of W; its groups and where it stores are not used
  CombineWork<Stage::config> combine;            // without the rows that are in shared memory
  float const* dots;
  int pairs;                                     // that a block takes at a time
};
template <class Stage> __global__ void __launch_bounds__(decode_threads<typename Stage::Down>, 1) decode_out_kernel(DecodeOut<Stage> const w) {
  constexpr Config c = Stage::config;
  using V = typename Stage::V;
  using Combiner = CombineKernel<Stage, 1>;
  constexpr int S = slots(c), all = c.hidden / 2;
  auto& s = ptx::dynamic_shared<DecodeOutShared<Stage>>();
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  int const tokens = static_cast<int>(w.combine.x.rows);
  COTERIE_SYNC("decode_out: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (threadIdx.x == 0) s.rows.hits = 0;
  for (int t = warp; t < tokens; t += warps) {
    if (lane >= S) continue;
    int const expert = w.combine.expert[t][lane];
    s.rows.expert[t * S + lane] = expert < c.experts ? expert : -1;
    s.of[t].expert[lane] = expert, s.of[t].weight[lane] = w.combine.weight[t][lane];
  }
  sort_few(s.rows, tokens * S);
  for (int t = warp; t < tokens; t += warps) {
    if (lane >= S) continue;
    s.of[t].row[lane] = s.rows.row[t * S + lane];
    if constexpr (Combiner::model) Combiner::place(s.of[t], lane);
  }
#pragma unroll 1
  for (int first = static_cast<int>(blockIdx.x) * w.pairs; first < all; first += static_cast<int>(gridDim.x) * w.pairs) {
    int const pairs = all - first < w.pairs ? all - first : w.pairs;
#pragma unroll 1
    for (int n = warp; n < s.rows.hits * pairs; n += warps) {
      auto const hit = s.rows.hit[n / pairs];
      int const column = (first + n % pairs) * 2;
      std::int64_t const output[2]{column, column + 1};
      float mine[2] = {};
      hit_sums(w.down, hit, output, [&](int m) { return w.down.a + (hit.first + m) * w.down.a_stride; }, mine);
      if (lane >= hit.rows) continue;
      auto const& epilogue = w.down.epilogue;
      store_two(s.out[hit.first + lane] + n % pairs * 2, epilogue.value(hit.expert, 0, column, mine[0]), epilogue.value(hit.expert, 0, column + 1, mine[1]), true);
    }
    COTERIE_SYNC("decode_out: rows are complete", __syncthreads());
    // A warp for a token, a lane for a column; as combine does, but for where the rows are.
    CombineWork<c> part = w.combine;
    part.x.data += first * 2;
    part.out = {s.out[0], FewRows<S>::most, 2 * decode_pairs + 2};
    for (int t = warp; t < tokens; t += warps) {
      if (lane >= 2 * pairs) continue;
      int const column = first * 2 + lane;
      float sum[1];
      Combiner::routed_sum(part, s.of[t], t, lane, sum);
      if constexpr (c.shared.ffn > 0) {
        Mix mix;
        if constexpr (Combiner::learned_mix) mix = MixDots<Stage>::mix(w.combine.mix_bias, w.dots + t * MixDots<Stage>::count);
        else mix = Combiner::mix_of(w.combine, s.of[t], nullptr);
        sum[0] = mixed<c>(sum[0], to_float(w.combine.shared[t][column]), mix);
      }
      w.combine.y[t][column] = from_float<V>(sum[0]);
    }
    COTERIE_SYNC("decode_out: rows are read", __syncthreads());
  }
}

}}}}

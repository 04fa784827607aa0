// A stable counting sort of (token, slot) pairs by expert, without atomics whose order could show.
//
// A warp owns a run of (token, slot) pairs. It counts them per expert; sums over warps and experts say where each warp's rows
// of each expert begin; then it walks its run once more, 32 pairs at a time, and equal experts in a step find their order by
// __match_any_sync. One block does all of it for few pairs; for many, a first kernel counts the pairs of each block.
#pragma once
#include "../device/backend.cuh"
#include "../device/packed.cuh"
#include "../router/program.hpp"
#include "capacity.hpp"

namespace coterie { inline namespace v0 {

namespace device { inline namespace COTERIE_CUDA_BUILD {

// Warps of a block, so that their counters of all experts fit into shared memory.
constexpr int sort_warps(int experts) { return experts <= 512 ? 32 : experts <= 1024 ? 16 : experts <= 4096 ? 8 : experts <= 16384 ? 2 : 1; }

template <int Warps, int Experts> struct SortShared {
  std::int32_t count[Warps][Experts];            // pairs of a warp, then where its next row of an expert goes
  std::int32_t warp_sum[32];
};

// Pairs in the order in which they take rows: number i is slot i % S of token i / S, as the host walks them.
struct Run { std::int64_t first, end; };
COTERIE_DEVICE Run part_of(std::int64_t n, std::int64_t parts, std::int64_t part) {
  std::int64_t const size = (n + parts - 1) / parts, first = part * size;
  return {first < n ? first : n, first + size < n ? first + size : n};
}

// Counts a warp's pairs; expert(i) is -1 for a pair without a row. The block calls with its counters zeroed and synchronised.
template <class Expert> COTERIE_DEVICE void count_run(std::int32_t* count, Run run, Expert const& expert) {
  for (std::int64_t i = run.first + threadIdx.x % 32; i < run.end; i += 32) {
    int const e = expert(i);
    if (e >= 0) atomicAdd(&count[e], 1);         // only the sum is used
  }
}
// Calls each(i, e, position) for a warp's pairs, position counting up from next[e] in the order of i.
template <class Expert, class Each> COTERIE_DEVICE void walk_run(std::int32_t* next, Run run, Expert const& expert, Each const& each) {
  int const lane = static_cast<int>(threadIdx.x % 32);
  for (std::int64_t from = run.first; from < run.end; from += 32) {
    std::int64_t const i = from + lane;
    int const e = i < run.end ? expert(i) : -1;
    unsigned const peers = __match_any_sync(~0u, e);
    int const before = __popc(peers & ((1u << lane) - 1));
    std::int32_t position = 0;
    if (e >= 0) position = next[e] + before;
    COTERIE_SYNC("dispatch: counters are read", __syncwarp());
    if (e >= 0 && before == 0) next[e] += __popc(peers);
    COTERIE_SYNC("dispatch: counters are written", __syncwarp());
    if (i < run.end) each(i, e, position);
  }
}
// Exclusive sums of v over the block's threads; all is the total. All threads call; sums is shared memory.
COTERIE_DEVICE std::int32_t block_scan(std::int32_t v, std::int32_t* sums, std::int32_t& all) {
  int const lane = static_cast<int>(threadIdx.x % 32), warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  std::int32_t sum = v;
  for (int by = 1; by < 32; by *= 2) {
    std::int32_t const below = __shfl_up_sync(~0u, sum, by);
    if (lane >= by) sum += below;
  }
  if (lane == 31) sums[warp] = sum;
  COTERIE_SYNC("dispatch: sums of warps", __syncthreads());
  std::int32_t before = 0;
  all = 0;
  for (int w = 0; w < warps; ++w) {
    if (w < warp) before += sums[w];
    all += sums[w];
  }
  COTERIE_SYNC("dispatch: sums are read", __syncthreads());
  return before + sum - v;
}

template <Config C> struct SortWork {
  Rows<std::int32_t const, slots(C)> expert;     // [T,S]
  Rows<float const, slots(C)> weight;            // [T,S]
  Batch<C> batch;                                // slot holds 0 or -1 already where capacity has marked it
  std::int32_t* block_count;                     // [blocks][E]; null: one block
  std::int32_t rows;                             // that the batch has: a routing for expert choice that asks for more loses the last
};
// The expert of pair i that gets a row, else -1.
template <Config C> COTERIE_DEVICE int expert_of(SortWork<C> const& w, std::int64_t i) {
  constexpr int S = slots(C);
  constexpr bool marked = C.capacity.rounding != Rounding::none && C.router.select != Select::expert_choice;
  std::int64_t const t = i / S;
  int const s = static_cast<int>(i % S);
  std::int32_t const e = w.expert[t][s];
  if (e < 0 || e >= C.experts) return -1;
  if constexpr (marked) return w.batch.slot[t][s] < 0 ? -1 : e;
  return e;
}

// Of the pairs of every block, how many go to each expert.
template <class Stage> __global__ void __launch_bounds__(Stage::threads) sort_count_kernel(SortWork<Stage::config> const w) {
  typename Stage::SortMemory& s = ptx::dynamic_shared<typename Stage::SortMemory>();
  constexpr int E = Stage::config.experts, S = slots(Stage::config);
  COTERIE_SYNC("sort_count: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (int e = static_cast<int>(threadIdx.x); e < E; e += Stage::threads) s.count[0][e] = 0;
  COTERIE_SYNC("sort_count: counters are zero", __syncthreads());
  Run const block = part_of(w.expert.rows * S, gridDim.x, blockIdx.x);
  Run run = part_of(block.end - block.first, Stage::warps, threadIdx.x / 32);
  run.first += block.first, run.end += block.first;
  count_run(s.count[0], run, [&](std::int64_t i) { return expert_of<Stage::config>(w, i); });
  COTERIE_SYNC("sort_count: pairs are counted", __syncthreads());
  for (int e = static_cast<int>(threadIdx.x); e < E; e += Stage::threads) w.block_count[std::int64_t{blockIdx.x} * E + e] = s.count[0][e];
}

template <class Stage> __global__ void __launch_bounds__(Stage::threads) sort_kernel(SortWork<Stage::config> const w) {
  typename Stage::SortMemory& s = ptx::dynamic_shared<typename Stage::SortMemory>();
  constexpr int E = Stage::config.experts, S = slots(Stage::config), warps = Stage::warps, threads = Stage::threads;
  int const warp = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("sort: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (int i = static_cast<int>(threadIdx.x); i < warps * E; i += threads) s.count[i / E][i % E] = 0;
  COTERIE_SYNC("sort: counters are zero", __syncthreads());
  Run const block = part_of(w.expert.rows * S, gridDim.x, blockIdx.x);
  Run run = part_of(block.end - block.first, warps, warp);
  run.first += block.first, run.end += block.first;
  auto const expert = [&](std::int64_t i) { return expert_of<Stage::config>(w, i); };
  count_run(s.count[warp], run, expert);
  COTERIE_SYNC("sort: pairs are counted", __syncthreads());
  std::int32_t begin = 0;                        // of the experts before this round's
  for (int e0 = 0; e0 < E; e0 += threads) {
    int const e = e0 + static_cast<int>(threadIdx.x);
    std::int32_t mine = 0, before = 0;           // rows of e: all, and of the blocks before this one
    if (e < E) {
      if (w.block_count)
        for (unsigned b = 0; b < gridDim.x; ++b) {
          std::int32_t const n = w.block_count[std::int64_t{b} * E + e];
          if (b < blockIdx.x) before += n;
          mine += n;
        }
      else
        for (int v = 0; v < warps; ++v) mine += s.count[v][e];
    }
    std::int32_t all;
    std::int32_t const at = begin + block_scan(mine, s.warp_sum, all);
    if (e < E) {
      if (blockIdx.x == 0) w.batch.begin[e] = at < w.rows ? at : w.rows;
      std::int32_t next = at + before;
      for (int v = 0; v < warps; ++v) {
        std::int32_t const n = s.count[v][e];
        s.count[v][e] = next;
        next += n;
      }
    }
    begin += all;
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) w.batch.begin[E] = begin < w.rows ? begin : w.rows;
  COTERIE_SYNC("sort: places are known", __syncthreads());
  walk_run(s.count[warp], run, expert, [&](std::int64_t i, int e, std::int32_t row) {
    std::int64_t const t = i / S;
    int const slot = static_cast<int>(i % S);
    bool const placed = e >= 0 && row < w.rows;
    w.batch.slot[t][slot] = placed ? row : -1;
    if (!placed) return;
    w.batch.token[row] = static_cast<std::int32_t>(t);
    w.batch.weight[row] = w.weight[t][slot];
  });
}

}}}}

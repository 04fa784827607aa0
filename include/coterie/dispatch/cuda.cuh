// Dispatch on the GPU: the same maps as the host's, by a stable counting sort without atomics whose order could show.
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

namespace device {

// Warps of a block, so that their counters of all experts fit into shared memory.
constexpr int sort_warps(int experts) { return experts <= 512 ? 32 : experts <= 1024 ? 16 : experts <= 4096 ? 8 : experts <= 16384 ? 2 : 1; }
inline constexpr int sort_experts = 36864;       // 144 KiB of counters: what a block of sm_80 may have

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
  for (int i = static_cast<int>(threadIdx.x); i < warps * E; i += threads) s.count[0][i] = 0;
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
      if (blockIdx.x == 0) w.batch.begin[e] = at;
      std::int32_t next = at + before;
      for (int v = 0; v < warps; ++v) {
        std::int32_t const n = s.count[v][e];
        s.count[v][e] = next;
        next += n;
      }
    }
    begin += all;
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) w.batch.begin[E] = begin;
  COTERIE_SYNC("sort: places are known", __syncthreads());
  walk_run(s.count[warp], run, expert, [&](std::int64_t i, int e, std::int32_t row) {
    std::int64_t const t = i / S;
    int const slot = static_cast<int>(i % S);
    w.batch.slot[t][slot] = e < 0 ? -1 : row;
    if (e < 0) return;
    w.batch.token[row] = static_cast<std::int32_t>(t);
    w.batch.weight[row] = w.weight[t][slot];
  });
}

// ---- capacity: who has no place

template <Config C> struct MarkWork {
  Rows<std::int32_t const, slots(C)> expert;     // [T,S]
  Rows<float, slots(C)> weight;                  // [T,S]
  Rows<std::int32_t, slots(C)> slot;             // [T,S]
  std::int32_t* order;                           // [T] tokens of a group in the order in which they ask; null: as they stand
  std::int64_t group, places, last_places;       // of a whole group, and of the last one, which may be smaller
  std::uint64_t seed;
};
// order[first + rank] = token, rank by the first choice's weight or at random, as the host's sort.
template <class Stage> __global__ void __launch_bounds__(256) rank_kernel(MarkWork<Stage::config> const w) {
  constexpr Config c = Stage::config;
  std::int64_t const t = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, n = w.expert.rows;
  COTERIE_SYNC("rank: the kernel ahead", ptx::grid_dependency_wait());
  if (t >= n) return;
  std::int64_t const first = t / w.group * w.group, end = first + w.group < n ? first + w.group : n;
  auto const key = [&](std::int64_t i) {
    float score;
    if constexpr (c.capacity.order == Order::probability) score = w.weight[i][0];
    else score = random::uniform(w.seed, random::Stream::order, static_cast<std::uint64_t>(i), 0);
    return route::order_key(score, static_cast<int>(i - first));
  };
  std::uint64_t const mine = key(t);
  std::int64_t before = 0;
  for (std::int64_t i = first; i < end; ++i) before += key(i) > mine;
  w.order[first + before] = static_cast<std::int32_t>(t);
}
// A block per group: all first choices before any second one; a dropped token still counts its position.
template <class Stage> __global__ void __launch_bounds__(Stage::threads) mark_kernel(MarkWork<Stage::config> const w) {
  typename Stage::SortMemory& s = ptx::dynamic_shared<typename Stage::SortMemory>();
  constexpr Config c = Stage::config;
  constexpr int E = c.experts, S = slots(c), warps = Stage::warps;
  int const warp = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("mark: the kernel ahead", ptx::grid_dependency_wait());
  std::int64_t const n = w.expert.rows, first = blockIdx.x * w.group, size = n - first < w.group ? n - first : w.group;
  std::int64_t const places = size < w.group ? w.last_places : w.places;
  auto const token = [&](std::int64_t i) { return w.order ? std::int64_t{w.order[first + i % size]} : first + i % size; };
  auto const expert = [&](std::int64_t i) {
    std::int32_t const e = w.expert[token(i)][i / size];
    return e >= 0 && e < E ? static_cast<int>(e) : -1;
  };
  for (int i = static_cast<int>(threadIdx.x); i < warps * E; i += Stage::threads) s.count[0][i] = 0;
  COTERIE_SYNC("mark: counters are zero", __syncthreads());
  Run const run = part_of(size * S, warps, warp);
  count_run(s.count[warp], run, expert);
  COTERIE_SYNC("mark: pairs are counted", __syncthreads());
  for (int e = static_cast<int>(threadIdx.x); e < E; e += Stage::threads) {
    std::int32_t next = 0;
    for (int v = 0; v < warps; ++v) {
      std::int32_t const count = s.count[v][e];
      s.count[v][e] = next;
      next += count;
    }
  }
  COTERIE_SYNC("mark: positions are known", __syncthreads());
  walk_run(s.count[warp], run, expert, [&](std::int64_t i, int e, std::int32_t position) { w.slot[token(i)][i / size] = e >= 0 && position < places ? 0 : -1; });
}
// Weights over what was kept, where the config normalises after dropping.
template <class Stage> __global__ void __launch_bounds__(256) renormalise_kernel(MarkWork<Stage::config> const w) {
  std::int64_t const t = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  COTERIE_SYNC("renormalise: the kernel ahead", ptx::grid_dependency_wait());
  if (t < w.expert.rows) route::renormalise<Stage::config>(w.weight[t], w.slot[t]);
}

}

template <Config C>
struct Dispatch<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int E = C.experts, S = slots(C), warps = device::sort_warps(E), threads = 32 * warps;
  using SortMemory = device::SortShared<warps, E>;
  static constexpr bool drops = C.capacity.rounding != Rounding::none && C.router.select != Select::expert_choice;
  static constexpr std::int64_t one_block = 16384, most_blocks = 64;     // pairs that one block sorts in a few microseconds

  // Blocks that sort so many pairs.
  static constexpr std::int64_t blocks(std::int64_t pairs) {
    std::int64_t const n = device::ceil_div(pairs, one_block);
    return n < 1 ? 1 : n < most_blocks ? n : most_blocks;
  }

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  void operator()(Cuda const& on, Inputs<config> const& in, Routing<config> const& routing, Batch<config> const& batch,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = routing.expert.rows;
    require(n <= ((std::int64_t{1} << 31) - 1) / S, "Dispatch: tokens times slots must stay below 2^31", n, ((std::int64_t{1} << 31) - 1) / S, at);
    require(batch.begin != nullptr, "Dispatch: batch.begin is not set", 0, 1, at);
    require(routing.weight.rows == n, "Dispatch: routing.weight must have as many rows as routing.expert", routing.weight.rows, n, at);
    require(batch.slot.rows == n, "Dispatch: batch.slot must have as many rows as routing", batch.slot.rows, n, at);
    require(in.sequence >= 0, "Dispatch: Inputs::sequence must not be negative", in.sequence, 0, at);
    (void)on.path(at);
    require(E <= device::sort_experts, "Dispatch: more experts than the CUDA backend can sort by", E, device::sort_experts, at);
    if (n == 0) return check(cudaMemsetAsync(batch.begin, 0, (E + 1) * sizeof(std::int32_t), on.stream), at);
    std::size_t const want = workspace_bytes(on, n);
    require(scratch.size() >= want, "Dispatch: scratch is too small", static_cast<std::int64_t>(scratch.size()), static_cast<std::int64_t>(want), at);
    require(routing.expert.data && routing.weight.data, "Dispatch: routing is not set", 0, 1, at);
    require(batch.token && batch.weight && batch.slot.data, "Dispatch: batch is not set", 0, 1, at);
    Arena arena{scratch};
    Pieces const p = carve(arena, n);
    if constexpr (drops) mark(on, in, routing, batch, p, at);
    std::int64_t const grid = blocks(n * S);
    device::SortWork<config> const work{.expert = routing.expert, .weight = routing.weight, .batch = batch, .block_count = grid > 1 ? p.block_count : nullptr};
    Launch const how{.grid = dim3(static_cast<unsigned>(grid)), .block = dim3(threads), .shared = sizeof(SortMemory), .programmatic = on.device.hopper};
    if (grid > 1) launch(device::sort_count_kernel<Dispatch>, how, on.stream, at, work);
    launch(device::sort_kernel<Dispatch>, how, on.stream, at, work);
  }

  std::string explain(Cuda const&, std::int64_t tokens) const {
    std::int64_t const grid = blocks(tokens * S);
    return "stable counting sort by " + std::to_string(grid) + (grid > 1 ? " blocks" : " block") + " of " + std::to_string(threads) + " threads, up to " +
           std::to_string(rows_bound(C, tokens)) + " rows for " + std::to_string(E) + " experts" +
           (drops ? ", at most " + std::to_string(capacity(C, tokens)) + " rows an expert" : "");
  }

 private:
  struct Pieces {
    std::int32_t* block_count;                   // [blocks][E]
    std::int32_t* order;                         // [T]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    std::int64_t const grid = blocks(tokens * S);
    if (grid > 1) p.block_count = arena.take<std::int32_t>(grid * E);
    if constexpr (drops && C.capacity.order != Order::sequence) p.order = arena.take<std::int32_t>(tokens);
    return p;
  }

  static void mark(Cuda const& on, Inputs<config> const& in, Routing<config> const& routing, Batch<config> const& batch, Pieces const& p, Where at) {
    std::int64_t const n = routing.expert.rows, group = group_tokens(n, in.sequence), groups = device::ceil_div(n, group), last = n - (groups - 1) * group;
    device::MarkWork<config> const work{.expert = routing.expert, .weight = routing.weight, .slot = batch.slot, .order = p.order, .group = group,
                                        .places = capacity(C, group), .last_places = capacity(C, last), .seed = in.seed};
    Launch const by_token{.grid = dim3(static_cast<unsigned>(device::ceil_div(n, 256))), .block = dim3(256), .programmatic = on.device.hopper};
    if constexpr (C.capacity.order != Order::sequence) launch(device::rank_kernel<Dispatch>, by_token, on.stream, at, work);
    launch(device::mark_kernel<Dispatch>, {.grid = dim3(static_cast<unsigned>(groups)), .block = dim3(threads), .shared = sizeof(SortMemory), .programmatic = on.device.hopper}, on.stream, at, work);
    if constexpr (route::Program<config>::deferred) launch(device::renormalise_kernel<Dispatch>, by_token, on.stream, at, work);
  }
};

}}

// Dispatch on the GPU: the same maps as the host's, by a stable counting sort (sort.cuh); before it, who has no place.
#pragma once
#include "../arguments.hpp"
#include "sort.cuh"

namespace coterie { inline namespace v0 {

namespace device { inline namespace COTERIE_CUDA_BUILD {

template <Config C> struct MarkWork {
  Rows<std::int32_t const, slots(C)> expert;     // [T,S]
  Rows<float, slots(C)> weight;                  // [T,S]
  Rows<std::int32_t, slots(C)> slot;             // [T,S]
  std::int32_t* order;                           // [T] tokens of a group in the order in which they ask; null: as they stand
  std::int64_t group, places, last_places;       // of a whole group, and of the last one, which may be smaller
  std::uint64_t seed;
};
// order[first + rank] = token, rank by the first choice's weight or at random, as the host's sort. A thread per token; a block makes the
// keys of all groups that its tokens belong to 256 at a time, each once.
template <class Stage> __global__ void __launch_bounds__(256) rank_kernel(MarkWork<Stage::config> const w) {
  COTERIE_SHARED(keys, std::uint64_t[256]);
  std::int64_t const n = w.expert.rows, begin = std::int64_t{blockIdx.x} * 256, t = begin + threadIdx.x, last = (begin + 256 < n ? begin + 256 : n) - 1;
  auto const group_end = [&](std::int64_t i) { return i / w.group * w.group + w.group < n ? i / w.group * w.group + w.group : n; };
  COTERIE_SYNC("rank: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  auto const key = [&](std::int64_t i) {
    float score;
    if constexpr (Stage::config.capacity.order == Order::probability) score = w.weight[i][0];
    else score = random::uniform(w.seed, random::Stream::order, static_cast<std::uint64_t>(i), 0);
    return route::order_key(score, static_cast<int>(i % w.group));
  };
  std::int64_t const first = t / w.group * w.group, end = t < n ? group_end(t) : 0;
  std::uint64_t const mine = t < n ? key(t) : 0;
  std::int64_t before = 0;
  for (std::int64_t from = begin / w.group * w.group, all = group_end(last); from < all; from += 256) {
    std::int64_t const i = from + threadIdx.x;
    keys[threadIdx.x] = i < all ? key(i) : 0;
    COTERIE_SYNC("rank: keys are there", __syncthreads());
    for (int j = 0; j < 256; ++j) before += from + j >= first && from + j < end && keys[j] > mine;
    COTERIE_SYNC("rank: keys are read", __syncthreads());
  }
  if (t < n) w.order[first + before] = static_cast<std::int32_t>(t);
}
// A block per group: all first choices before any second one; a dropped token still counts its position.
template <class Stage> __global__ void __launch_bounds__(Stage::threads, 1) mark_kernel(MarkWork<Stage::config> const w) {
  typename Stage::SortMemory& s = ptx::dynamic_shared<typename Stage::SortMemory>();
  constexpr Config c = Stage::config;
  constexpr int E = c.experts, S = slots(c), warps = Stage::warps;
  int const warp = static_cast<int>(threadIdx.x / 32);
  COTERIE_SYNC("mark: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  std::int64_t const n = w.expert.rows, first = blockIdx.x * w.group, size = n - first < w.group ? n - first : w.group;
  std::int64_t const places = size < w.group ? w.last_places : w.places;
  auto const token = [&](std::int64_t i) { return w.order ? std::int64_t{w.order[first + i % size]} : first + i % size; };
  auto const expert = [&](std::int64_t i) {
    std::int32_t const e = w.expert[token(i)][i / size];
    return e >= 0 && e < E ? static_cast<int>(e) : -1;
  };
  for (int i = static_cast<int>(threadIdx.x); i < warps * E; i += Stage::threads) s.count[i / E][i % E] = 0;
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
  ptx::grid_dependency_launch();
  if (t < w.expert.rows) route::renormalise<Stage::config>(w.weight[t], w.slot[t]);
}

}}

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
    Arguments arguments{"Dispatch", at};
    dispatch_arguments<config>(arguments, in, routing, batch);
    arguments.writes("batch.token", batch.token, rows_bound(C, n)), arguments.writes("batch.weight", batch.weight, rows_bound(C, n));
    arguments.scratch("scratch", scratch, n ? workspace_bytes(on, n) : 0);
    (void)on.path(at);
    arguments.resident(on, nullptr);
    require(static_cast<std::int64_t>(sizeof(SortMemory)) <= on.device.shared_bytes, "Dispatch: the counters of so many experts do not fit into a block's shared memory (bytes)",
            on.device.shared_bytes, static_cast<std::int64_t>(sizeof(SortMemory)), at);
    if (n == 0) return check(cudaMemsetAsync(batch.begin, 0, (E + 1) * sizeof(std::int32_t), on.stream), at);
    Arena arena{scratch};
    Pieces const p = carve(arena, n);
    if constexpr (drops) mark(on, in, routing, batch, p, at);
    std::int64_t const grid = blocks(n * S);
    device::SortWork<config> const work{.expert = routing.expert, .weight = routing.weight, .batch = batch, .block_count = grid > 1 ? p.block_count : nullptr,
                                        .rows = static_cast<std::int32_t>(rows_bound(C, n))};
    Launch const how{.grid = dim3(static_cast<unsigned>(grid)), .block = dim3(threads), .shared = sizeof(SortMemory), .programmatic = on.device.programmatic};
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
  template <Config> friend struct CubDispatch;   // drops by the same kernels
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
    Launch const by_token{.grid = dim3(static_cast<unsigned>(device::ceil_div(n, 256))), .block = dim3(256), .programmatic = on.device.programmatic};
    if constexpr (C.capacity.order != Order::sequence) launch(device::rank_kernel<Dispatch>, by_token, on.stream, at, work);
    launch(device::mark_kernel<Dispatch>, {.grid = dim3(static_cast<unsigned>(groups)), .block = dim3(threads), .shared = sizeof(SortMemory), .programmatic = on.device.programmatic}, on.stream, at, work);
    if constexpr (route::Program<config>::deferred) launch(device::renormalise_kernel<Dispatch>, by_token, on.stream, at, work);
  }
};

}}

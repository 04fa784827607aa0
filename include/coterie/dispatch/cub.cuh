// Dispatch by CUB's radix sort: the maps of Dispatch<C, Cuda>, equal in every element. An alternative for very many experts, and a
// second opinion. Not part of cuda.cuh: CUB costs seconds of compile time.
//   template <ct::Config C> struct Mine : ct::Stages<C, ct::Cuda> { ct::CubDispatch<C> dispatch; };
#pragma once
#include <bit>
#include <cub/device/device_radix_sort.cuh>
#include "../arguments.hpp"
#include "cuda.cuh"

namespace coterie { inline namespace v0 {

namespace device { inline namespace COTERIE_CUDA_BUILD {

// Pair i = slot i % S of token i / S, by the expert it goes to; E: none.
template <class Stage> __global__ void __launch_bounds__(256) pair_keys_kernel(SortWork<Stage::config> const w, typename Stage::Key* key, std::int32_t* pair) {
  constexpr int S = slots(Stage::config);
  std::int64_t const i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  COTERIE_SYNC("pair_keys: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (i >= w.expert.rows * S) return;
  int const e = expert_of<Stage::config>(w, i);
  key[i] = static_cast<typename Stage::Key>(e < 0 ? Stage::config.experts : e);
  pair[i] = static_cast<std::int32_t>(i);
}
// From the sorted pairs: where each expert begins, and the maps both ways. Position n stands for the end.
template <class Stage> __global__ void __launch_bounds__(256) sorted_maps_kernel(SortWork<Stage::config> const w, typename Stage::Key const* key, std::int32_t const* pair) {
  constexpr int E = Stage::config.experts, S = slots(Stage::config);
  std::int64_t const n = w.expert.rows * S, at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  ptx::grid_dependency_launch();                 // launched behind CUB's kernels, which are over
  if (at > n) return;
  int const mine = at < n ? static_cast<int>(key[at]) : E, before = at > 0 ? static_cast<int>(key[at - 1]) : -1;
  for (int e = before + 1; e <= mine; ++e) w.batch.begin[e] = at < w.rows ? static_cast<std::int32_t>(at) : w.rows;
  if (at == n) return;
  std::int32_t const i = pair[at], t = i / S;
  bool const placed = mine < E && at < w.rows;
  w.batch.slot[t][i % S] = placed ? static_cast<std::int32_t>(at) : -1;
  if (!placed) return;
  w.batch.token[at] = t;
  w.batch.weight[at] = w.weight[t][i % S];
}

}}

template <Config C>
struct CubDispatch {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int E = C.experts, S = slots(C);
  using Own = Dispatch<config, Cuda>;
  using Key = std::uint32_t;                     // of 16 bits CUB sorts on sm_80 by its older kernels, which spill
  static constexpr int key_bits = std::bit_width(static_cast<unsigned>(E));                     // of 0..E

  std::size_t workspace_bytes(Cuda const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens, Where::here());
    return arena.used();
  }

  void operator()(Cuda const& on, Inputs<config> const& in, Routing<config> const& routing, Batch<config> const& batch,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = routing.expert.rows;
    Arguments arguments{"CubDispatch", at};
    dispatch_arguments<config>(arguments, in, routing, batch);
    arguments.writes("batch.token", batch.token, rows_bound(C, n)), arguments.writes("batch.weight", batch.weight, rows_bound(C, n));
    (void)on.path(at);
    arguments.scratch("scratch", scratch, n ? workspace_bytes(on, n) : 0);
    arguments.resident(on, nullptr);
    if constexpr (Own::drops)
      require(static_cast<std::int64_t>(sizeof(typename Own::SortMemory)) <= on.device.shared_bytes,
              "CubDispatch: with capacity, the counters of so many experts do not fit into a block's shared memory (bytes)", on.device.shared_bytes,
              static_cast<std::int64_t>(sizeof(typename Own::SortMemory)), at);
    if (n == 0) return check(cudaMemsetAsync(batch.begin, 0, (E + 1) * sizeof(std::int32_t), on.stream), at);
    Arena arena{scratch};
    Pieces p = carve(arena, on, n, at);
    if constexpr (Own::drops) Own::mark(on, in, routing, batch, {.block_count = nullptr, .order = p.order}, at);
    device::SortWork<config> const work{.expert = routing.expert, .weight = routing.weight, .batch = batch, .block_count = nullptr, .rows = static_cast<std::int32_t>(rows_bound(C, n))};
    Launch const pairs{.grid = dim3(static_cast<unsigned>(device::ceil_div(n * S, 256))), .block = dim3(256), .programmatic = on.device.programmatic};
    Launch const ends{.grid = dim3(static_cast<unsigned>(device::ceil_div(n * S + 1, 256))), .block = dim3(256)};              // CUB's kernels let nobody begin early
    launch(device::pair_keys_kernel<CubDispatch>, pairs, on.stream, at, work, p.key[0], p.pair[0]);
    cub::DoubleBuffer<Key> key(p.key[0], p.key[1]);
    cub::DoubleBuffer<std::int32_t> pair(p.pair[0], p.pair[1]);
    check(cub::DeviceRadixSort::SortPairs(p.temporary, p.temporary_bytes, key, pair, static_cast<int>(n * S), 0, key_bits, on.stream), at);
    launch(device::sorted_maps_kernel<CubDispatch>, ends, on.stream, at, work, key.Current(), pair.Current());
  }

  std::string explain(Cuda const&, std::int64_t tokens) const {
    return "CUB's radix sort of " + std::to_string(tokens * S) + " pairs by " + std::to_string(key_bits) + " bits, up to " + std::to_string(rows_bound(C, tokens)) + " rows for " +
           std::to_string(E) + " experts" + (Own::drops ? ", at most " + std::to_string(capacity(C, tokens)) + " rows an expert" : "");
  }

 private:
  struct Pieces {
    std::int32_t* order;                         // [T]
    Key* key[2];                                 // [T*S] each: before and after a pass
    std::int32_t* pair[2];                       // [T*S] each
    std::byte* temporary;                        // what CUB asks for
    std::size_t temporary_bytes;
  };
  static Pieces carve(Arena& arena, Cuda const& on, std::int64_t tokens, Where at) {
    Pieces p{};
    if constexpr (Own::drops && C.capacity.order != Order::sequence) p.order = arena.take<std::int32_t>(tokens);
    for (Key*& k : p.key) k = arena.take<Key>(tokens * S);
    for (std::int32_t*& i : p.pair) i = arena.take<std::int32_t>(tokens * S);
    cub::DoubleBuffer<Key> key(p.key[0], p.key[1]);
    cub::DoubleBuffer<std::int32_t> pair(p.pair[0], p.pair[1]);
    check(cub::DeviceRadixSort::SortPairs(nullptr, p.temporary_bytes, key, pair, static_cast<int>(tokens * S), 0, key_bits, on.stream), at);
    p.temporary = arena.take<std::byte>(static_cast<std::int64_t>(p.temporary_bytes));
    return p;
  }
};

}}

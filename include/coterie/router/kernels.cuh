// Kernels of the router: the routing program, a warp per token (or a thread, for configs that no warp takes on), expert choice, and
// what happens to logits around it.
#pragma once
#include "../device/backend.cuh"
#include "../device/packed.cuh"
#include "warp.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Everything the routing program reads and writes.
template <Config C> struct RouteWork {
  Inputs<C> in;
  Routing<C> to;
  std::byte const* header;
  float const *select_bias, *expert_scale;
  std::int32_t const* table;
  float *z, *noise;                              // [T,N]; z is overwritten
  float* c;                                      // [T,N] a thread's scratch
  std::uint64_t* heap;                           // [T,heap_size] the same
  std::int32_t* ids;                             // [T,K] the same
};
template <Config C> COTERIE_DEVICE route::Token<C> token_of(RouteWork<C> const& w, std::int64_t t) {
  route::Token<C> token;
  token.noise_logits = w.noise + t * logit_columns(C);
  token.select_bias = w.select_bias;
  token.expert_scale = w.expert_scale;
  token.router_scale = w.header ? reinterpret_cast<typename PackedLayout<C>::Header const*>(w.header)->router_scale : 1.f;
  token.seed = w.in.seed;
  token.index = t;
  return token;
}
// Ids of a table: the caller's to replay, or by token id; what is out of range selects no expert.
template <Config C> COTERIE_DEVICE void fetch_ids(RouteWork<C> const& w, std::int64_t t, std::int32_t* ids) {
  bool const replay = w.in.routing.expert.data != nullptr;
  std::int64_t const rows = replay ? 0 : reinterpret_cast<typename PackedLayout<C>::Header const*>(w.header)->table_rows;
  for (int k = 0; k < C.top_k; ++k) {
    std::int32_t e = -1;
    if (replay) e = w.in.routing.expert[t][k];
    else if (w.in.token_ids[t] >= 0 && w.in.token_ids[t] < rows) e = w.table[std::int64_t{w.in.token_ids[t]} * C.top_k + k];
    ids[k] = e >= -1 && e < candidates(C) ? e : -1;
  }
}

// Lane k of the first K gets the expert of choice k of token t; where `written`, the routing says it. A warp calls.
template <Config C> COTERIE_DEVICE std::int32_t route_token(RouteWork<C> const& w, std::int64_t t, bool written) {
  using Warp = route::WarpProgram<C>;
  int const lane = Warp::lane();
  float z[Warp::P];
  for (int j = 0; j < Warp::P; ++j) z[j] = Warp::index(j) < Warp::N ? w.z[t * Warp::N + Warp::index(j)] : 0.f;
  std::int32_t expert;
  float weight, shared;
  Warp::run(z, token_of<C>(w, t), expert, weight, shared);
  if (written) {
    if (lane < C.top_k) w.to.expert[t][lane] = expert, w.to.weight[t][lane] = weight;
    if (lane < Warp::shared) w.to.shared[t][lane] = shared;
  }
  return expert;
}
template <class Stage> __global__ void __launch_bounds__(128) route_warp_kernel(RouteWork<Stage::config> const w) {
  constexpr Config c = Stage::config;
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  COTERIE_SYNC("route_warp: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t < w.in.x.rows) (void)route_token<c>(w, t, true);
}
template <class Stage> __global__ void __launch_bounds__(64) route_thread_kernel(RouteWork<Stage::config> const w) {
  constexpr Config c = Stage::config;
  constexpr int N = logit_columns(c);
  std::int64_t const t = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  COTERIE_SYNC("route_thread: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t >= w.in.x.rows) return;
  route::Token<c> token = token_of<c>(w, t);
  if constexpr (c.router.select == Select::table) {
    fetch_ids<c>(w, t, w.ids + t * c.top_k);
    token.ids = w.ids + t * c.top_k;
  }
  if constexpr (c.router.select == Select::expert_choice) {
    route::Program<c>::prepare(w.z + t * N, token);
    route::Program<c>::score(w.z + t * N);
  } else {
    float none[1];
    route::Program<c>::run(w.z + t * N, w.c + t * N, w.heap + t * route::Program<c>::heap_size, token, w.to.expert[t], w.to.weight[t], shared_rows(c) ? w.to.shared[t] : none);
  }
}

// Expert choice: a block per group and expert finds the key of the last token that has a place, bit by bit; who is not below it is
// chosen. The grid has one dimension, since the others end at 65,535. Threads read and write down a column, a sector for each value: the
// blocks of the other experts use the rest of it from the cache, and a transposed copy would cost a pass of its own over [T,E].
struct ChoiceShared { int count[32]; };
template <class Stage> __global__ void __launch_bounds__(256) choose_kernel(RouteWork<Stage::config> const w, std::int64_t group, std::int64_t places, std::int64_t last_places) {
  constexpr Config c = Stage::config;
  ChoiceShared& s = ptx::dynamic_shared<ChoiceShared>();
  int const e = static_cast<int>(blockIdx.x % c.experts), warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  COTERIE_SYNC("choose: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  std::int64_t const n = w.in.x.rows, first = blockIdx.x / c.experts * group, size = n - first < group ? n - first : group, wanted = size < group ? last_places : places;
  auto const score = [&](std::int64_t i) { return w.z[(first + i) * logit_columns(c) + e]; };
  std::uint64_t bar = 0;                         // no key that `wanted` tokens reach is larger
  std::int64_t reached = size;                   // so many are not below it
  for (int bit = 63; bit >= 0 && reached != wanted; --bit) {
    std::uint64_t const higher = bar | std::uint64_t{1} << bit;
    if (bit < 32 && (size - 1) >> bit == 0) {    // every key has it: no index of the group does
      bar = higher;
      continue;
    }
    int reach = 0;
    for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) reach += route::order_key(score(i), static_cast<int>(i)) >= higher;
    reach = __reduce_add_sync(~0u, reach);
    if (threadIdx.x % 32 == 0) s.count[warp] = reach;
    COTERIE_SYNC("choose: counts of warps", __syncthreads());
    reach = 0;
    for (int v = 0; v < warps; ++v) reach += s.count[v];
    if (reach >= wanted) bar = higher, reached = reach;
    COTERIE_SYNC("choose: counts are read", __syncthreads());
  }
  float const scale = token_of<c>(w, 0).router_scale;
  for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) {
    bool const chosen = wanted > 0 && route::order_key(score(i), static_cast<int>(i)) >= bar;
    w.to.expert[first + i][e] = chosen ? e : -1;
    w.to.weight[first + i][e] = chosen ? route::Program<c>::final(route::Program<c>::scaled(score(i), scale)) : 0.f;
  }
}

// x times 1 + U(-size, size), as the router sees it.
template <class Stage> __global__ void __launch_bounds__(256) jitter_kernel(Rows<element_t<Stage::config.dtype> const, Stage::config.hidden> x, std::uint64_t seed, float* to) {
  constexpr Config c = Stage::config;
  std::int64_t const n = x.rows * c.hidden, step = std::int64_t{gridDim.x} * blockDim.x;
  COTERIE_SYNC("jitter: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) {
    std::int64_t const t = at / c.hidden;
    int const h = static_cast<int>(at % c.hidden);
    to[at] = random::jittered(to_float(x[t][h]), c.router.noise_size, seed, t, h);
  }
}
// The caller's logits, with the router's bias; and copies of logits for the caller.
template <int N> __global__ void __launch_bounds__(256) logits_kernel(Rows<float const, N> from, float const* bias, Rows<float, N> to) {
  std::int64_t const n = from.rows * N, step = std::int64_t{gridDim.x} * blockDim.x;
  COTERIE_SYNC("logits: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) to[at / N][at % N] = from[at / N][at % N] + (bias ? bias[at % N] : 0.f);
}
template <int S> __global__ void __launch_bounds__(256) given_kernel(Rows<std::int32_t const, S> expert, Rows<float const, S> weight, Rows<std::int32_t, S> to, Rows<float, S> to_weight) {
  std::int64_t const n = expert.rows * S, step = std::int64_t{gridDim.x} * blockDim.x;
  COTERIE_SYNC("given: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) {
    to[at / S][at % S] = expert[at / S][at % S];
    to_weight[at / S][at % S] = weight[at / S][at % S];
  }
}
// So many values in a grid that no device finds too large.
inline Launch strided(Cuda const& on, std::int64_t n) {
  std::int64_t const blocks = ceil_div(n, 256);
  return {.grid = dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks < 8192 ? blocks : 8192)), .block = dim3(256), .programmatic = on.device.programmatic};
}

}}}}

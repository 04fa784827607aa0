// The router on the GPU: logits by one product, then the routing program, a warp per token (or a thread, for configs that
// no warp takes on).
#pragma once
#include "../device/memory.cuh"
#include "../device/multiply.cuh"
#include "../dispatch/capacity.hpp"
#include "warp.cuh"

namespace coterie { inline namespace v0 {

namespace device {

// Everything the routing program reads and writes.
template <Config C> struct RouteWork {
  Inputs<C> in;
  Routing<C> to;
  std::byte const* header;
  float const *select_bias, *expert_scale;
  std::int32_t const* table;
  float *z, *noise;                              // [T,N]; z is overwritten
  float* c;                                      // [T,N] a thread's scratch
  std::uint64_t* heap;                           // [T,K] the same
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

template <class Stage> __global__ void __launch_bounds__(128) route_warp_kernel(RouteWork<Stage::config> const w) {
  constexpr Config c = Stage::config;
  using Warp = route::WarpProgram<c>;
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  int const lane = Warp::lane();
  COTERIE_SYNC("route_warp: the kernel ahead", ptx::grid_dependency_wait());
  if (t >= w.in.x.rows) return;
  float z[Warp::P];
  for (int j = 0; j < Warp::P; ++j) z[j] = Warp::index(j) < Warp::N ? w.z[t * Warp::N + Warp::index(j)] : 0.f;
  std::int32_t expert;
  float weight, shared;
  Warp::run(z, token_of<c>(w, t), expert, weight, shared);
  if (lane < c.top_k) w.to.expert[t][lane] = expert, w.to.weight[t][lane] = weight;
  if (lane < Warp::shared) w.to.shared[t][lane] = shared;
}
template <class Stage> __global__ void __launch_bounds__(64) route_thread_kernel(RouteWork<Stage::config> const w) {
  constexpr Config c = Stage::config;
  constexpr int N = logit_columns(c);
  std::int64_t const t = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  COTERIE_SYNC("route_thread: the kernel ahead", ptx::grid_dependency_wait());
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
    route::Program<c>::run(w.z + t * N, w.c + t * N, w.heap + t * c.top_k, token, w.to.expert[t], w.to.weight[t], shared_rows(c) ? w.to.shared[t] : none);
  }
}

// Expert choice: a block per expert and group finds the key of the last token that has a place, bit by bit; who is not below
// it is chosen.
struct ChoiceShared { int count[32]; };
template <class Stage> __global__ void __launch_bounds__(256) choose_kernel(RouteWork<Stage::config> const w, std::int64_t group, std::int64_t places, std::int64_t last_places) {
  constexpr Config c = Stage::config;
  ChoiceShared& s = ptx::dynamic_shared<ChoiceShared>();
  int const e = static_cast<int>(blockIdx.y), warp = static_cast<int>(threadIdx.x / 32), warps = static_cast<int>(blockDim.x / 32);
  COTERIE_SYNC("choose: the kernel ahead", ptx::grid_dependency_wait());
  std::int64_t const n = w.in.x.rows, first = blockIdx.x * group, size = n - first < group ? n - first : group, wanted = size < group ? last_places : places;
  auto const score = [&](std::int64_t i) { return w.z[(first + i) * logit_columns(c) + e]; };
  std::uint64_t bar = 0;                         // the largest key that `wanted` tokens reach
  for (int bit = 63; bit >= 0; --bit) {
    std::uint64_t const higher = bar | std::uint64_t{1} << bit;
    int reach = 0;
    for (std::int64_t i = threadIdx.x; i < size; i += blockDim.x) reach += route::order_key(score(i), static_cast<int>(i)) >= higher;
    reach = __reduce_add_sync(~0u, reach);
    if (threadIdx.x % 32 == 0) s.count[warp] = reach;
    COTERIE_SYNC("choose: counts of warps", __syncthreads());
    reach = 0;
    for (int v = 0; v < warps; ++v) reach += s.count[v];
    if (reach >= wanted) bar = higher;
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
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) {
    std::int64_t const t = at / c.hidden;
    auto const h = static_cast<std::uint32_t>(at % c.hidden);
    to[at] = to_float(x[t][h]) * (1 + c.router.noise_size * (2 * random::uniform(seed, random::Stream::jitter, static_cast<std::uint64_t>(t), h) - 1));
  }
}
// The caller's logits, with the router's bias; and copies of logits for the caller.
template <int N> __global__ void __launch_bounds__(256) logits_kernel(Rows<float const, N> from, float const* bias, Rows<float, N> to) {
  std::int64_t const n = from.rows * N, step = std::int64_t{gridDim.x} * blockDim.x;
  COTERIE_SYNC("logits: the kernel ahead", ptx::grid_dependency_wait());
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) to[at / N][at % N] = from[at / N][at % N] + (bias ? bias[at % N] : 0.f);
}
template <int S> __global__ void __launch_bounds__(256) given_kernel(Rows<std::int32_t const, S> expert, Rows<float const, S> weight, Rows<std::int32_t, S> to, Rows<float, S> to_weight) {
  std::int64_t const n = expert.rows * S, step = std::int64_t{gridDim.x} * blockDim.x;
  COTERIE_SYNC("given: the kernel ahead", ptx::grid_dependency_wait());
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) {
    to[at / S][at % S] = expert[at / S][at % S];
    to_weight[at / S][at % S] = weight[at / S][at % S];
  }
}
// So many values in a grid that no device finds too large.
inline Launch strided(Cuda const& on, std::int64_t n) {
  std::int64_t const blocks = ceil_div(n, 256);
  return {.grid = dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks < 8192 ? blocks : 8192)), .block = dim3(256), .programmatic = on.device.hopper};
}

}

template <Config C>
struct Router<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int N = logit_columns(C), H = C.hidden;
  using T = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  static constexpr bool learned = Layout::has_router, by_warp = route::WarpProgram<config>::suits;
  static constexpr bool jittered = C.router.noise == Noise::jitter;

  static constexpr bool few(std::int64_t tokens) { return tokens <= device::stream_router_tokens && !C.batch_invariant; }

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    require(to.expert.rows == n, "Router: routing.expert must have as many rows as x", to.expert.rows, n, at);
    require(to.weight.rows == n, "Router: routing.weight must have as many rows as x", to.weight.rows, n, at);
    if (n == 0) return;
    require(to.expert.data && to.weight.data, "Router: routing is not set", 0, 1, at);
    if constexpr (shared_rows(C) > 0)
      require(to.shared.data && to.shared.rows == n, "Router: Routing::shared must be set, with as many rows as x", to.shared.rows, n, at);
    Arch const path = on.path(at);
    (void)path;
    if constexpr (C.router.input == RouterInput::given) {
      require(in.routing.expert.data && in.routing.weight.data && in.routing.expert.rows == n && in.routing.weight.rows == n,
              "Router: RouterInput::given needs Inputs::routing with as many rows as x", in.routing.expert.rows, n, at);
      launch(device::given_kernel<slots(C)>, device::strided(on, n * slots(C)), on.stream, at, in.routing.expert, in.routing.weight, to.expert, to.weight);
    } else {
      std::size_t const want = workspace_bytes(on, n);
      require(scratch.size() >= want, "Router: scratch is too small", static_cast<std::int64_t>(scratch.size()), static_cast<std::int64_t>(want), at);
      if constexpr (learned || C.router.bias || C.router.select_bias || C.router.expert_scale)
        require(packed.data != nullptr, "Router: packed weights are not set", 0, 1, at);
      if constexpr (C.router.select == Select::table) {
        bool const replay = in.routing.expert.data != nullptr;
        require(replay || (in.token_ids && packed.data), "Router: Select::table needs Inputs::token_ids and packed weights, or Inputs::routing to replay", 0, 1, at);
        if (replay) require(in.routing.expert.rows == n, "Router: Inputs::routing must have as many rows as x", in.routing.expert.rows, n, at);
      }
      Arena arena{scratch};
      Pieces const p = carve(arena, n);
      logits(on, path, in, packed, to, p, at);
      device::Reader<config> const weights{packed.data};
      auto const& l = weights.layout;
      device::RouteWork<config> const work{.in = in, .to = to, .header = packed.data ? packed.data + l.header : nullptr, .select_bias = weights.floats(l.select_bias),
                                           .expert_scale = weights.floats(l.expert_scale), .table = weights.template at<std::int32_t>(l.table), .z = p.z, .noise = p.noise,
                                           .c = p.c, .heap = p.heap, .ids = p.ids};
      if constexpr (by_warp) {
        launch(device::route_warp_kernel<Router>, {.grid = dim3(device::grid_of(device::ceil_div(n, 4), "Router: too many tokens", at)), .block = dim3(128), .programmatic = on.device.hopper}, on.stream, at, work);
      } else {
        launch(device::route_thread_kernel<Router>, {.grid = dim3(device::grid_of(device::ceil_div(n, 64), "Router: too many tokens", at)), .block = dim3(64), .programmatic = on.device.hopper}, on.stream, at, work);
        if constexpr (C.router.select == Select::expert_choice) {
          std::int64_t const group = group_tokens(n, in.sequence), groups = device::ceil_div(n, group), last = n - (groups - 1) * group;
          launch(device::choose_kernel<Router>, {.grid = dim3(static_cast<unsigned>(groups), C.experts), .block = dim3(256), .shared = sizeof(device::ChoiceShared), .programmatic = on.device.hopper},
                 on.stream, at, work, group, capacity(C, group), capacity(C, last));
        }
      }
    }
  }

  std::string explain(Cuda const& on, std::int64_t tokens) const {
    if constexpr (C.router.input == RouterInput::given) return "the caller's own Routing";
    return (learned ? "logits: " + device::explain_product<T, typename Layout::RouterT>(H % 8 == 0 ? on.path() : Arch::plain, tokens, 1, few(tokens)) + ", fp32 sums" : std::string(C.router.input == RouterInput::logits ? "the caller's logits" : "no logits")) +
           (by_warp ? "; a warp per token" : "; a thread per token") + ": top " + std::to_string(C.top_k) + " of " + std::to_string(candidates(C)) + " for " + std::to_string(tokens) +
           " tokens" + on.remark();
  }

 private:
  struct Pieces {
    float *z, *noise, *c;                        // [T,N]
    float* x;                                    // [T,H] jittered
    std::uint64_t* heap;                         // [T,K]
    std::int32_t* ids;                           // [T,K]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    if constexpr (C.router.input == RouterInput::given) return p;
    if constexpr (C.router.input != RouterInput::token_ids) p.z = arena.take<float>(tokens * N);
    if constexpr (C.router.noise == Noise::softplus) p.noise = arena.take<float>(tokens * N);
    if constexpr (jittered) p.x = arena.take<float>(tokens * H);
    if constexpr (!by_warp && C.router.select != Select::expert_choice) {
      p.c = arena.take<float>(tokens * N);
      p.heap = arena.take<std::uint64_t>(tokens * C.top_k);
    }
    if constexpr (C.router.select == Select::table) p.ids = arena.take<std::int32_t>(tokens * C.top_k);
    return p;
  }

  // z[T,N], with bias, in the precision the config asks for; copied to Routing::logits if the caller wants them.
  static void logits(Cuda const& on, Arch path, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to, Pieces const& p, Where at) {
    std::int64_t const n = in.x.rows;
    (void)path;
    constexpr bool round = C.router.precision != Precision::fp32 && bits(C.router.weights) <= bits(C.dtype);
    device::Reader<config> const weights{packed.data};
    float const* const bias = C.router.bias ? weights.floats(weights.layout.router_bias) : nullptr;
    if constexpr (C.router.input == RouterInput::logits) {
      require(in.logits.data && in.logits.rows == n, "Router: RouterInput::logits needs Inputs::logits with as many rows as x", in.logits.rows, n, at);
      launch(device::logits_kernel<N>, device::strided(on, n * N), on.stream, at, in.logits, bias, Rows<float, N>{p.z, n});
    } else if constexpr (learned) {
      auto const x = C.router.input == RouterInput::separate ? in.router_x : in.x;
      if constexpr (C.router.input == RouterInput::separate)
        require(x.rows == n, "Router: RouterInput::separate needs Inputs::router_x with as many rows as x", x.rows, n, at);
      require(x.data != nullptr, "Router: what the router reads is not set", 0, 1, at);
      using Store = device::StoreRows<float, std::conditional_t<round, T, float>>;
      auto const multiply = [&](auto const* a, std::int64_t stride, std::size_t panels, float const* add, float* z) {
        using A = std::remove_cv_t<std::remove_pointer_t<decltype(a)>>;
        bool const wide = H % 8 == 0 && device::wide_rows(a, stride);
        device::multiply(on, wide ? path : Arch::plain, device::Product<A, typename Layout::RouterT, Store>{.a = a, .a_stride = stride, .map = nullptr, .b = weights.template at<typename Layout::RouterT>(panels), .b_group = 0,
                              .b_rows = Layout::router.rows(), .b_pitch = Layout::router.pitch(), .inputs = H, .groups = {.begin = nullptr, .first = 0, .count = 1, .rows = n},
                              .epilogue = {.to = z, .stride = N, .columns = N, .bias = add}}, few(n), at);
      };
      bool const noisy = in.seed != 0;
      if (jittered && noisy) {
        if constexpr (jittered) {
          launch(device::jitter_kernel<Router>, device::strided(on, n * H), on.stream, at, x, in.seed, p.x);
          multiply(static_cast<float const*>(p.x), H, weights.layout.router_panels, bias, p.z);
        }
      } else {
        multiply(x.data, x.stride, weights.layout.router_panels, bias, p.z);
      }
      if (C.router.noise == Noise::softplus && noisy) multiply(x.data, x.stride, weights.layout.noise_panels, nullptr, p.noise);
    }
    if (C.router.input != RouterInput::token_ids && to.logits.data) {
      require(to.logits.rows == n, "Router: Routing::logits must have as many rows as x", to.logits.rows, n, at);
      launch(device::logits_kernel<N>, device::strided(on, n * N), on.stream, at, Rows<float const, N>{p.z, n}, nullptr, to.logits);
    }
  }
};

}}

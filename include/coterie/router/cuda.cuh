// The router on the GPU: logits by one product, then the routing program.
#pragma once
#include "../arguments.hpp"
#include "../device/multiply.cuh"
#include "../device/split_product.cuh"
#include "../dispatch/capacity.hpp"
#include "kernels.cuh"

namespace coterie { inline namespace v0 {

namespace device { inline namespace COTERIE_CUDA_BUILD {

// Who multiplies for the logits: few tokens by inputs split over warps, many by tiles. wide: rows that 16-byte copies can read; split: whether
// the order of adding may depend on the number of tokens.
struct OwnLogits {
  template <class P> void operator()(Cuda const& on, Arch path, P const& p, bool wide, bool split, Where at) const {
    if (wide && path != Arch::plain && split && p.groups.rows <= split_rows<P>) split_product(on, p, at);
    else multiply_tiles(on, wide ? path : Arch::plain, p, at);
  }
};

}}

template <Config C>
struct Router<C, Cuda> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int N = logit_columns(C), H = C.hidden;
  using T = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  static constexpr bool learned = Layout::has_router, by_warp = route::WarpProgram<config>::suits;
  static constexpr bool has_logits = C.router.input != RouterInput::token_ids && C.router.input != RouterInput::given;
  static constexpr bool jittered = C.router.noise == Noise::jitter;


  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    run(on, in, packed, to, scratch, at, device::OwnLogits{});
  }
  // With a multiplication of the caller's choice.
  template <class Multiply> void run(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to, std::span<std::byte> scratch, Where at, Multiply const& multiply) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Router", at};
    router_arguments<config>(arguments, in, to, has_logits);
    if (n == 0) return;
    if constexpr (C.router.input == RouterInput::given) {
      (void)on.path(at);
      arguments.resident(on, nullptr);
      launch(device::given_kernel<slots(C)>, device::strided(on, n * slots(C)), on.stream, at, in.routing.expert, in.routing.weight, to.expert, to.weight);
    } else {
      device::RouteWork<config> const work = prepare(on, in, packed, to, scratch, arguments, at, multiply);
      if constexpr (by_warp) {
        launch(device::route_warp_kernel<Router>, {.grid = dim3(device::grid_of(device::ceil_div(n, 4), "Router: too many tokens", at)), .block = dim3(128), .programmatic = on.device.programmatic}, on.stream, at, work);
      } else {
        launch(device::route_thread_kernel<Router>, {.grid = dim3(device::grid_of(device::ceil_div(n, 64), "Router: too many tokens", at)), .block = dim3(64), .programmatic = on.device.programmatic}, on.stream, at, work);
        if constexpr (C.router.select == Select::expert_choice) {
          std::int64_t const group = group_tokens(n, in.sequence), groups = device::ceil_div(n, group), last = n - (groups - 1) * group;
          auto const threads = static_cast<unsigned>(group < 256 ? device::round_up(group, 32) : 256);
          launch(device::choose_kernel<Router>, {.grid = dim3(device::grid_of(groups * C.experts, "Router: too many groups of tokens, times experts", at)), .block = dim3(threads),
                                                 .shared = sizeof(device::ChoiceShared), .programmatic = on.device.programmatic},
                 on.stream, at, work, group, capacity(C, group), capacity(C, last));
        }
      }
    }
  }

  // Asks for what the routing program reads, and launches the logits; a kernel that runs the program needs no more than what is returned.
  template <class Multiply = device::OwnLogits>
  device::RouteWork<config> prepare(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to,
                                    std::span<std::byte> scratch, Arguments& arguments, Where at, Multiply const& multiply = {}) const {
    std::int64_t const n = in.x.rows;
    [[maybe_unused]] Arch const path = on.path(at);
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    if constexpr (learned || C.router.bias || C.router.select_bias || C.router.expert_scale || C.router.select == Select::table) arguments.packed(packed.data);
    if constexpr (C.router.select == Select::table) {
      bool const replay = in.routing.expert.data != nullptr;
      require(replay || in.token_ids != nullptr, "Router: Select::table needs Inputs::token_ids, or Inputs::routing to replay", 0, 1, at);
      if (replay) require(in.routing.expert.rows == n, "Router: Inputs::routing must have as many rows as x", in.routing.expert.rows, n, at);
    }
    arguments.resident(on, packed.data);
    if constexpr (C.router.input == RouterInput::logits)
      require(in.logits.data && in.logits.rows == n, "Router: RouterInput::logits needs Inputs::logits with as many rows as x", in.logits.rows, n, at);
    if constexpr (C.router.input == RouterInput::separate)
      require(in.router_x.data && in.router_x.rows == n, "Router: RouterInput::separate needs Inputs::router_x with as many rows as x", in.router_x.rows, n, at);
    Arena arena{scratch};
    Pieces const p = carve(arena, n);
    logits(on, path, in, packed, to, p, at, multiply);
    device::Reader<config> const weights{packed.data};
    auto const& l = weights.layout;
    return {.in = in, .to = to, .header = packed.data ? packed.data + l.header : nullptr, .select_bias = weights.floats(l.select_bias),
            .expert_scale = weights.floats(l.expert_scale), .table = weights.template at<std::int32_t>(l.table), .z = p.z, .noise = p.noise,
            .c = p.c, .heap = p.heap, .ids = p.ids};
  }

  // a[T,H] times the router's weights, or those of its noise, to z[T,N], in the precision the config asks for.
  template <class A, class Multiply>
  static void product(Cuda const& on, Arch path, A const* a, std::int64_t stride, std::int64_t tokens, typename Layout::RouterT const* weights, float const* bias, float* z, Multiply const& by, Where at) {
    constexpr bool round = C.router.precision != Precision::fp32 && bits(C.router.weights) <= bits(C.dtype);
    using Store = device::StoreRows<float, std::conditional_t<round, T, float>>;
    by(on, path, device::Product<A, typename Layout::RouterT, Store>{.a = a, .a_stride = stride, .map = nullptr, .b = weights, .b_group = 0, .b_rows = Layout::router.rows(),
                       .b_pitch = Layout::router.pitch(), .inputs = H, .groups = {.begin = nullptr, .first = 0, .count = 1, .rows = tokens},
                       .epilogue = {.to = z, .stride = N, .columns = N, .bias = bias}}, H % 8 == 0 && device::wide_rows(a, stride), !C.batch_invariant, at);
  }

  std::string explain(Cuda const& on, std::int64_t tokens) const {
    if constexpr (C.router.input == RouterInput::given) return "the caller's own Routing";
    Arch const path = H % 8 == 0 ? on.path() : Arch::plain;
    using Product = device::Product<T, typename Layout::RouterT, device::StoreRows<float>>;
    std::string const product = !C.batch_invariant && tokens <= device::split_rows<Product> && path != Arch::plain ? "inputs split over " + std::to_string(device::split_warps) + " warps" : device::explain_product<T, typename Layout::RouterT>(path, tokens, 1, device::Few::alike);
    return (learned ? "logits: " + product + ", fp32 sums" : std::string(C.router.input == RouterInput::logits ? "the caller's logits" : "no logits")) +
           (by_warp ? "; a warp per token" : "; a thread per token") + ": top " + std::to_string(C.top_k) + " of " + std::to_string(candidates(C)) + " for " + std::to_string(tokens) +
           " tokens" + on.remark();
  }

 private:
  struct Pieces {
    float *z, *noise, *c;                        // [T,N]
    float* x;                                    // [T,H] jittered
    std::uint64_t* heap;                         // [T,heap_size]
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
      p.heap = arena.take<std::uint64_t>(tokens * route::Program<config>::heap_size);
    }
    if constexpr (C.router.select == Select::table) p.ids = arena.take<std::int32_t>(tokens * C.top_k);
    return p;
  }

  // z[T,N], with bias, in the precision the config asks for; copied to Routing::logits if the caller wants them.
  template <class Multiply>
  static void logits(Cuda const& on, Arch path, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to, Pieces const& p, Where at, Multiply const& by) {
    std::int64_t const n = in.x.rows;
    (void)path, (void)by;
    device::Reader<config> const weights{packed.data};
    float const* const bias = C.router.bias ? weights.floats(weights.layout.router_bias) : nullptr;
    if constexpr (C.router.input == RouterInput::logits) {
      launch(device::logits_kernel<N>, device::strided(on, n * N), on.stream, at, in.logits, bias, Rows<float, N>{p.z, n});
    } else if constexpr (learned) {
      auto const x = C.router.input == RouterInput::separate ? in.router_x : in.x;
      auto const multiply = [&](auto const* a, std::int64_t stride, std::size_t panels, float const* add, float* z) { product(on, path, a, stride, n, weights.template at<typename Layout::RouterT>(panels), add, z, by, at); };
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
    if (has_logits && to.logits.data) launch(device::logits_kernel<N>, device::strided(on, n * N), on.stream, at, Rows<float const, N>{p.z, n}, nullptr, to.logits);
  }
};

}}

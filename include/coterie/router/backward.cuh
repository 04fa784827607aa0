// The router backwards on the GPU: from the gradients of its weights, and of its logits by auxiliary losses, to those of what it reads and of
// its parameters. Gradients of the logits are fp32; where inputs and weights are bf16 they are multiplied as two bf16 each, by tensor cores.
#pragma once
#include "../training/sums.cuh"
#include "backward_arguments.hpp"
#include "backward_kernels.cuh"
#include "cuda.cuh"

namespace coterie { inline namespace v0 {

template <Config C>
struct RouterBackward<C, Cuda> {
  static constexpr Config config = C;
  using Forward = Router<config, Cuda>;
  using Layout = device::PackedLayout<config>;
  using V = element_t<C.dtype>;
  using RouterT = typename Layout::RouterT;
  static constexpr int E = C.experts, N = logit_columns(C), H = C.hidden, S = slots(C);
  static constexpr bool learned = Forward::learned, has_logits = Forward::has_logits, noisy = C.router.noise == Noise::softplus, jittered = C.router.noise == Noise::jitter;
  static constexpr bool halved = learned && !jittered && H % 8 == 0 && std::is_same_v<V, bf16> && std::is_same_v<RouterT, bf16>;
  static constexpr int columns = device::half_columns<RouterBackward>;   // of half a row
  static_assert(C.router.input != RouterInput::given, "coterie::RouterBackward: given routing has no router to train");

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  // As the host's: routing as the forward pass left it, logits included; slot[T,S] of the batch, where weights are normalised after dropping.
  // Gradients of the parameters go to `to`. dx[T,H], fp32: of what the router reads, overwritten; or dlogits[T,N]: of the caller's logits.
  template <DType D>
  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Rows<std::int32_t const, slots(C)> slot,
                  RouterGradients<config> const& d, float* dx, float* dlogits, Gradients<config, D> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"RouterBackward", at};
    router_backward_arguments<config>(arguments, in, routing, slot, d);
    if (n == 0) return;
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    arguments.resident(on, packed.data);
    Arch const path = on.path(at);
    Arena arena{scratch};
    Pieces p = carve(arena, n);
    if (C.router.input == RouterInput::logits && dlogits) p.dz = dlogits;
    device::Reader<config> const weights{packed.data};
    auto const& l = weights.layout;
    [[maybe_unused]] auto const from = C.router.input == RouterInput::separate ? in.router_x : in.x;
    if constexpr (noisy)
      if (in.seed) Forward::product(on, path, from.data, from.stride, n, weights.template at<RouterT>(l.noise_panels), nullptr, p.noise, device::OwnLogits{}, at);
    if constexpr (jittered)
      if (in.seed) launch(device::jitter_kernel<Forward>, device::strided(on, n * H), on.stream, at, from, in.seed, p.x);
    launch(device::route_backward_kernel<RouterBackward>, {.grid = dim3(device::grid_of(device::ceil_div(n, 4), "RouterBackward: too many tokens", at)), .block = dim3(128), .programmatic = on.device.programmatic},
           on.stream, at, device::RouteGradientWork<config>{.header = packed.data ? packed.data + l.header : nullptr, .select_bias = weights.floats(l.select_bias), .expert_scale = weights.floats(l.expert_scale),
                                                            .noise = p.noise, .seed = in.seed, .logits = routing.logits, .expert = routing.expert, .slot = slot, .d = d, .dlogits = p.dz,
                                                            .dnoise = p.dnoise, .dscale = p.dscale, .drouter = p.drouter,
                                                            .halves = path == Arch::plain ? nullptr : p.halves});
    auto const sums = [&](float const* values, int columns, float* into) {
      if (into) device::token_sums(on, values, columns, nullptr, n, columns, into, to.overwrite, p.pieces, at);
    };
    if constexpr (has_logits && C.router.bias) sums(p.dz, N, to.router_bias);
    if constexpr (C.router.expert_scale != 0) sums(p.dscale, E, to.expert_scale);
    sums(p.drouter, 1, to.router_scale);
    if constexpr (learned) {
      auto const matrix = [&](float const* dz, float* into) {
        auto const gradient = [&](auto const* x, std::int64_t stride) {
          using X = std::remove_cv_t<std::remove_pointer_t<decltype(x)>>;
          device::add_dense_gradient(on, path, device::GradientProduct<float, X, device::DenseGradient<float>>{.p = dz, .p_stride = N, .p_map = nullptr, .q = x, .q_stride = stride, .q_map = nullptr,
                               .outputs = N, .inputs = H, .groups = one(n), .to = {.data = into, .out_stride = H, .in_stride = 1, .overwrite = to.overwrite}}, p.sums, at);
        };
        if (!into) return;
        if (jittered && in.seed) gradient(static_cast<float const*>(p.x), H);
        else gradient(from.data, from.stride);
      };
      auto const through = [&]<class Store>(float const* dz, std::size_t panels, Store const& store) {
        device::multiply_backward(on, path, device::BackwardProduct<float, RouterT, Store>{.a = dz, .a_stride = N, .map = nullptr, .b = weights.template at<RouterT>(panels), .b_group = 0,
                                  .b_pitch = Layout::router.pitch(), .inputs = N, .groups = one(n), .epilogue = store}, at);
      };
      if (halved && path != Arch::plain) {
        if constexpr (halved) by_halves(on, path, from, weights.template at<RouterT>(l.router_panels), p, n, dx, to.router, to.overwrite, at);
      } else {
        matrix(p.dz, to.router);
        if (dx) through(p.dz, l.router_panels, device::StoreRows<float>{.to = dx, .stride = H, .columns = H});
      }
      if constexpr (noisy) {
        if (in.seed) {
          matrix(p.dnoise, to.noise);
          if (dx) through(p.dnoise, l.noise_panels, device::AddRows{.to = dx, .stride = H, .columns = H});
        } else if (to.noise && to.overwrite) {
          check(cudaMemsetAsync(to.noise, 0, std::size_t{N} * H * sizeof(float), on.stream), at);
        }
      }
      if constexpr (jittered)
        if (in.seed && dx) launch(device::jitter_backward_kernel<RouterBackward>, device::strided(on, n * H), on.stream, at, dx, n, in.seed);
    }
  }

 private:
  // dx, and the gradient of the weights, from both halves of dz.
  static void by_halves(Cuda const& on, Arch path, Rows<V const, C.hidden> x, RouterT const* weights, auto const& p, std::int64_t tokens, float* dx, float* to, int overwrite, Where at) {
    auto const through = [&]<class Store>(bf16 const* half, Store const& store) {
      device::multiply_backward(on, path, device::BackwardProduct<bf16, bf16, Store>{.a = half, .a_stride = 2 * columns, .map = nullptr, .b = weights, .b_group = 0, .b_pitch = Layout::router.pitch(), .inputs = N,
                                .groups = one(tokens), .epilogue = store}, at);
    };
    if (to) {
      std::int64_t const pieces = device::gradient_sums(on, path, device::GradientProduct<bf16, bf16, device::DenseGradient<float>>{.p = p.halves, .p_stride = 2 * columns, .p_map = nullptr, .q = x.data, .q_stride = x.stride, .q_map = nullptr,
                           .outputs = 2 * columns, .inputs = H, .groups = one(tokens), .to = {}}, p.sums, at);
      launch(device::add_halves_kernel<256>, device::strided(on, std::int64_t{N} * H), on.stream, at, p.sums, std::int64_t{columns} * H, std::int64_t{2} * columns * H, pieces, std::int64_t{N} * H, to, overwrite);
    }
    if (dx) through(p.halves, device::StoreRows<float>{.to = dx, .stride = H, .columns = H}), through(p.halves + columns, device::AddRows{.to = dx, .stride = H, .columns = H});
  }
  static device::Groups one(std::int64_t tokens) { return {.begin = nullptr, .first = 0, .count = 1, .rows = tokens}; }
  struct Pieces {
    float *x, *noise, *dz, *dnoise;              // [T,H] jittered, [T,N]...
    float *dscale, *drouter, *pieces;            // [T,E], [T], scratch of sums
    bf16* halves;                                // [T,2 columns] dz
    float* sums;                                 // [pieces,2 columns,H] or [pieces,N,H]
  };
  static Pieces carve(Arena& arena, std::int64_t tokens) {
    Pieces p{};
    if constexpr (has_logits) p.dz = arena.take<float>(tokens * N);
    if constexpr (noisy) p.noise = arena.take<float>(tokens * N), p.dnoise = arena.take<float>(tokens * N);
    if constexpr (jittered) p.x = arena.take<float>(tokens * H);
    if constexpr (C.router.expert_scale != 0) p.dscale = arena.take<float>(tokens * E);
    if constexpr (halved) p.halves = arena.take<bf16>(tokens * 2 * columns);
    if constexpr (learned) {
      std::int64_t const whole = device::gradient_scratch(tokens, N, H), halves = halved ? device::gradient_pieces(tokens, 2 * columns, H) * 2 * columns * H : 0;
      p.sums = arena.take<float>(whole > halves ? whole : halves);
    }
    p.drouter = arena.take<float>(tokens);
    p.pieces = arena.take<float>(device::sum_pieces(tokens, C.router.bias || C.router.expert_scale ? N : 1));
    return p;
  }
};

}}

// Kernels of the router backwards: the routing program's way back, a warp per token; and what stands around it.
#pragma once
#include "../device/gradient_pieces.cuh"
#include "backward.hpp"
#include "backward_warp.cuh"
#include "kernels.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Everything that kernel reads and writes; null: is not wanted, or not there.
template <Config C> struct RouteGradientWork {
  std::byte const* header;
  float const *select_bias, *expert_scale, *noise;                       // noise[T,N]: logits of the noise
  std::uint64_t seed;
  Rows<float const, logit_columns(C)> logits;                            // [T,N] as the forward pass left them
  Rows<std::int32_t const, slots(C)> expert, slot;                       // [T,S]
  RouterGradients<C> d;
  float *dlogits, *dnoise, *dscale, *drouter;                            // [T,N], [T,N], [T,E], [T]
  bf16* halves;                                                          // [T,2 padded N] dlogits as two bf16 that add up to 16 bits of it
};
// Of a row of halves: the larger ones, then as far behind them the rest; zeros up to a multiple of 8.
template <class Stage> inline constexpr int half_columns = static_cast<int>(round_up(logit_columns(Stage::config), 8));
// Three blocks of a multiprocessor leave the registers that more than 512 candidates take; others fit into what more blocks leave.
template <class Stage> inline constexpr int route_backward_blocks = logit_columns(Stage::config) > 512 ? 3 : 8;
template <class Stage> __global__ void __launch_bounds__(128, route_backward_blocks<Stage>) route_backward_kernel(RouteGradientWork<Stage::config> const w) {
  constexpr Config c = Stage::config;
  using Back = route::WarpGradient<c>;
  using Warp = typename Back::Warp;
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  int const lane = Warp::lane();
  COTERIE_SYNC("route_backward: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t >= w.expert.rows) return;
  route::Token<c> token;
  token.noise_logits = w.noise + t * Back::N;
  token.select_bias = w.select_bias;
  token.expert_scale = w.expert_scale;
  token.router_scale = w.header ? reinterpret_cast<typename PackedLayout<c>::Header const*>(w.header)->router_scale : 1.f;
  token.seed = w.seed, token.index = t;
  typename Back::Choice own;
  if constexpr (!Back::by_expert)
    if (lane < Back::K) {
      own.expert = w.expert[t][lane], own.weight = w.d.weight[t][lane];
      if constexpr (Back::One::deferred) own.slot = w.slot[t][lane];
    }
  float router_scale;
  if constexpr (Stage::has_logits) {
    float s[Back::P], g[Back::P], from_shared = 0;
    for (int j = 0; j < Back::P; ++j) s[j] = Warp::index(j) < Back::N ? w.logits[t][Warp::index(j)] : 0.f;
    if constexpr (Back::shared > 0)
      if (lane < Back::shared) from_shared = w.d.shared[t][lane];
    Back::prepare(s, token);
    if constexpr (Back::by_expert) Back::run_by_expert(s, g, token, w.expert[t], w.d.weight[t], router_scale);
    else Back::run(s, g, token, own, from_shared, router_scale);
    for (int j = 0; j < Back::P; ++j) {
      int const e = Warp::index(j);
      if (e >= Back::N) continue;
      if constexpr (c.router.noise == Noise::softplus)
        w.dnoise[t * Back::N + e] = (token.seed && e < Back::E ? g[j] * Back::noise_of(token, e) * math::sigmoid(token.noise_logits[e]) : 0.f) + (w.d.noise_logits.data ? w.d.noise_logits[t][e] : 0.f);
      float d = g[j];
      if constexpr (c.router.soft_cap > 0) {
        float const h = math::tanh(w.logits[t][e] / c.router.soft_cap);
        d *= 1 - h * h;
      }
      if (w.d.logits.data) d += w.d.logits[t][e];
      w.dlogits[t * Back::N + e] = d, g[j] = d;
    }
    if (w.halves)
      for (int j = 0; j < Back::P; ++j) {
        constexpr int columns = half_columns<Stage>;
        int const e = Warp::index(j);
        if (e >= columns) continue;
        float const d = e < Back::N ? g[j] : 0.f;
        bf16 const large = from_float<bf16>(d);
        bf16* const to = w.halves + t * 2 * columns + e;
        to[0] = large, to[columns] = from_float<bf16>(d - to_float(large));
      }
  } else {
    Back::factors(token, own, router_scale);
  }
  if constexpr (c.router.expert_scale != 0)
    for (int first = 0; first < c.experts; first += 32) {
      float sum = 0;
      for (int k = 0; k < Back::K; ++k) {
        std::int32_t const e = __shfl_sync(~0u, own.expert, k);
        float const v = __shfl_sync(~0u, own.scale, k);
        sum += e == first + lane ? v : 0.f;
      }
      if (first + lane < c.experts) w.dscale[t * c.experts + first + lane] = sum;
    }
  if (lane == 0) w.drouter[t] = router_scale;
}

// Sums added to rows of floats.
struct AddRows {
  using To = float;
  static constexpr int paired = 0;
  float* to;
  std::int64_t stride;
  int columns;
  COTERIE_DEVICE float value(int, std::int64_t row, int column, float sum) const { return column < columns ? *at(row, column) + sum : 0.f; }
  COTERIE_DEVICE float* at(std::int64_t row, int column) const { return to + row * stride + column; }
  COTERIE_DEVICE bool even() const { return (reinterpret_cast<std::uintptr_t>(to) / sizeof(float) | static_cast<std::uintptr_t>(stride)) % 2 == 0; }
};

// to[i] (+)= sums over pieces, `apart` from each other, of from[i], and of from[behind + i].
template <int Threads> __global__ void __launch_bounds__(Threads) add_halves_kernel(float const* from, std::int64_t behind, std::int64_t apart, std::int64_t pieces, std::int64_t n, float* to, int overwrite) {
  COTERIE_SYNC("add_halves: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (std::int64_t i = std::int64_t{blockIdx.x} * Threads + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * Threads) {
    float const sum = sum_of_pieces(from + i, apart, pieces) + sum_of_pieces(from + behind + i, apart, pieces);
    to[i] = overwrite ? sum : to[i] + sum;
  }
}

// d[T,H] of x times 1 + U(-size, size): what the router saw, in place.
template <class Stage> __global__ void __launch_bounds__(256) jitter_backward_kernel(float* d, std::int64_t tokens, std::uint64_t seed) {
  constexpr Config c = Stage::config;
  COTERIE_SYNC("jitter_backward: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  for (std::int64_t i = std::int64_t{blockIdx.x} * 256 + threadIdx.x; i < tokens * c.hidden; i += std::int64_t{gridDim.x} * 256)
    d[i] = random::jittered(d[i], c.router.noise_size, seed, i / c.hidden, static_cast<int>(i % c.hidden));
}
// Of weights that dispatch normalised over what it kept: d[T,S] becomes that of what was given. A warp per token.
template <class Stage> __global__ void __launch_bounds__(128) after_drop_kernel(Rows<float const, slots(Stage::config)> given, Rows<std::int32_t const, slots(Stage::config)> slot, float* d) {
  constexpr Config c = Stage::config;
  constexpr int S = slots(c);
  using Normalised = route::NormaliseGradient<c>;
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  int const lane = static_cast<int>(threadIdx.x % 32);
  COTERIE_SYNC("after_drop: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t >= slot.rows) return;
  float all = 0, along = 0;
  for (int s = 0; s < S; ++s) all += slot[t][s] < 0 ? 0.f : given[t][s];                                  // as the forward pass adds
  auto const by = Normalised::divisor(&all, 1);
  auto const flow = [&](int s) { return c.router.scale_on == ScaleOn::weights ? d[t * S + s] * c.router.scale : d[t * S + s]; };
  for (int s = lane; s < S; s += 32)
    if (slot[t][s] >= 0) along = math::fma(flow(s), given[t][s], along);
  for (int half = 16; half > 0; half /= 2) along += __shfl_xor_sync(~0u, along, half);
  along = by.moves ? along / by.by : 0.f;
  for (int s = lane; s < S; s += 32) d[t * S + s] = slot[t][s] < 0 ? 0.f : (flow(s) - along) / by.by;
}

}}}}

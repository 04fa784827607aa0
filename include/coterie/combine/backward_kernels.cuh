// Kernels of combine backwards: what a token's slots and its shared experts weigh, what their gradients make of those of the weights, and the
// sum of everything that x gets. A warp per token where little is moved, a block per token where rows are.
#pragma once
#include "kernels.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// All that these kernels read and write; null: not there.
template <Config C> struct CombineBackwardWork {
  using V = element_t<C.dtype>;
  Rows<V const, C.hidden> x, dy;
  Rows<std::int32_t const, slots(C)> expert, slot;                       // [T,S]
  Rows<float const, slots(C)> weight;                                    // [T,S]
  float const *mix_vectors, *mix_bias, *norm, *sums;                     // sums[T,W]: latent, before their norm
  std::byte const* header;
  Rows<V, width(C)> dsum;                        // [T,W] gradient of the routed sum, without mix_routed unless there is a latent width
  float *mix_routed, *mix_shared, *dmix_routed, *dmix_shared, *through;  // [T]; through: what null experts make x weigh
  float* out_weight;                             // [R]
  float const *din, *dout;                       // [R] gradients of batch.weight (Place::input) and of out_weight
  float* dweight;                                // [T,S]
  V* z;                                          // [T,pitch W] the latent sums behind their norm; then with mix_routed
  float *du, *factor;                            // [T,W] of z, and then of the norm's weight; [T] of the norm
};

template <class Stage> struct CombineBackwardKernels {
  static constexpr Config config = Stage::config;
  using V = element_t<config.dtype>;
  using Work = CombineBackwardWork<config>;
  using Forward = CombineKernel<Stage, 1>;
  static constexpr int S = slots(config), W = width(config), H = config.hidden, mixes = Forward::mix_vectors;
  static constexpr bool latent = config.expert.latent > 0, rms = config.expert.latent_norm == LatentNorm::rms, weigh_input = config.router.place == Place::input;
  static constexpr float scale = config.router.scale_on == ScaleOn::routed_sum ? config.router.scale : 1.f;
  static constexpr std::int64_t pitch = PackedLayout<config>::latent_up.pitch();

  COTERIE_DEVICE static int lane() { return static_cast<int>(threadIdx.x % 32); }
  template <class T> COTERIE_DEVICE static T sum(T v) {
    for (int by = 16; by > 0; by /= 2) v += __shfl_xor_sync(~0u, v, by);
    return v;
  }
  COTERIE_DEVICE static Mix mix_of(Work const& w, V const* x) {
    if constexpr (config.shared.ffn > 0 && config.shared.mix == SharedMix::average) return {0.5f, 0.5f};
    else if constexpr (mixes > 0) return Forward::mix_of_parts(w.mix_bias, [&](int m, int i) { return Forward::mix_part(w.mix_vectors + m * H, x, i); });
    else return {};
  }

  // The mix and out_weight of token t; dsum, where it is more than dy.
  COTERIE_DEVICE static void enter(Work const& w, std::int64_t t) {
    Mix const mix = mix_of(w, w.x[t]);
    if (lane() == 0) w.mix_routed[t] = mix.routed, w.mix_shared[t] = mix.shared;
    for (int s = lane(); s < S; s += 32)
      if (std::int32_t const r = w.slot[t][s]; r >= 0) w.out_weight[r] = (weigh_input ? 1.f : w.weight[t][s]) * (latent ? 1.f : mix.routed);
    if constexpr (!latent && scale != 1)
      for (int h = lane(); h < H; h += 32) w.dsum[t][h] = from_float<V>(scale * to_float(w.dy[t][h]));
    if constexpr (latent) {                      // z as the forward pass had it
      float const* const s = w.sums + t * W;
      float factor = 1;
      if constexpr (rms) {
        double square = 0;
        for (int j = lane(); j < W; j += 32) square += double{s[j]} * double{s[j]};
        factor = static_cast<float>(1 / sqrt(sum(square) / W + double{reinterpret_cast<typename PackedLayout<config>::Header const*>(w.header)->latent_epsilon}));
        if (lane() == 0) w.factor[t] = factor;
      }
      for (int j = lane(); j < pitch; j += 32) w.z[t * pitch + j] = from_float<V>(j >= W ? 0.f : rms ? s[j] * factor * w.norm[j] : s[j]);
    }
  }
  // Behind du = up^T dy: dsum, dmix_routed, and what the gradients of the way up and of its norm are made of.
  COTERIE_DEVICE static void through_latent(Work const& w, std::int64_t t) {
    float const* const s = w.sums + t * W;
    float *const du = w.du + t * W, mix = w.mix_routed[t], r = rms ? w.factor[t] : 1.f;
    V* const z = w.z + t * pitch;
    float mixed = 0, along = 0;
    for (int j = lane(); j < W; j += 32) {
      mixed = fmaf(du[j], to_float(z[j]), mixed);
      if constexpr (rms) along = fmaf(du[j] * mix * w.norm[j], s[j], along);
      z[j] = from_float<V>(to_float(z[j]) * mix);
    }
    mixed = sum(mixed), along = sum(along);
    if (lane() == 0) w.dmix_routed[t] = mixed;
    for (int j = lane(); j < W; j += 32) {
      float d = du[j] * mix;
      if constexpr (rms) {
        float const of_norm = d * s[j] * r;
        d = r * (w.norm[j] * d - s[j] * (r * r * along / W));
        du[j] = of_norm;
      }
      w.dsum[t][j] = from_float<V>(scale * d);
    }
  }
  // What the experts found: to dweight, and to the mix before its sigmoid or softmax.
  COTERIE_DEVICE static void leave(Work const& w, std::int64_t t) {
    float const mix = latent ? 1.f : w.mix_routed[t];
    [[maybe_unused]] auto const is_null = [&](int s) {
      std::int32_t const e = w.expert[t][s];
      return w.slot[t][s] < 0 && e >= config.experts && e < config.experts + config.expert.identity;
    };
    float dot = 0, through = 0, moved = 0;
    if constexpr (config.expert.identity > 0) {
      int any = 0;
      for (int s = lane(); s < S; s += 32) any |= is_null(s);
      if (__any_sync(~0u, any)) {
        for (int h = lane(); h < H; h += 32) dot = fmaf(to_float(w.dsum[t][h]), to_float(w.x[t][h]), dot);
        dot = sum(dot);
      }
    }
    for (int s = lane(); s < S; s += 32) {
      float const weight = weigh_input ? 1.f : w.weight[t][s];
      float d = 0;
      if (std::int32_t const r = w.slot[t][s]; r >= 0) {
        d = weigh_input ? w.din[r] : mix * w.dout[r];
        if constexpr (!latent) moved = fmaf(weight, w.dout[r], moved);
      } else if constexpr (config.expert.identity > 0) {
        if (is_null(s)) d = mix * dot, moved = fmaf(weight, dot, moved), through = fmaf(weight, mix, through);
      }
      w.dweight[t * S + s] = d;
    }
    if constexpr (config.expert.identity > 0) {
      through = sum(through);
      if (lane() == 0) w.through[t] = through;
    }
    if constexpr (mixes > 0) {
      moved = sum(moved);
      if (lane() != 0) return;
      if constexpr (latent) moved = w.dmix_routed[t];
      float const a = w.mix_routed[t], b = w.mix_shared[t], db = w.dmix_shared[t], along = moved * a + db * b;
      w.dmix_routed[t] = mixes == 1 ? db * b * (1 - b) : a * (moved - along);
      w.dmix_shared[t] = mixes == 1 ? 0.f : b * (db - along);
    }
  }
};
template <class Kernels> __global__ void __launch_bounds__(128) combine_enter_kernel(typename Kernels::Work const w) {
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  COTERIE_SYNC("combine_enter: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t < w.x.rows) Kernels::enter(w, t);
}
template <class Kernels> __global__ void __launch_bounds__(128) latent_backward_kernel(typename Kernels::Work const w) {
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  COTERIE_SYNC("latent_backward: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t < w.x.rows) Kernels::through_latent(w, t);
}
template <class Kernels> __global__ void __launch_bounds__(128) combine_leave_kernel(typename Kernels::Work const w) {
  std::int64_t const t = std::int64_t{blockIdx.x} * 4 + threadIdx.x / 32;
  COTERIE_SYNC("combine_leave: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  if (t < w.x.rows) Kernels::leave(w, t);
}

}}}}

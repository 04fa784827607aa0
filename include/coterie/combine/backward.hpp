// Combine backwards on the host, in two halves around the experts: enter() takes the gradient of y to that of each token's routed sum, leave()
// takes what the experts found back to the routing weights, the mix with the shared experts, and x.
#pragma once
#include "../host/dense_backward.hpp"
#include "../host/tile_engine.hpp"
#include "host.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct CombineBackward;

template <Config C>
struct CombineBackward<C, Host> {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  using Layout = host::PackedLayout<config>;
  using Dense = host::DenseBackward<V>;
  static constexpr int H = C.hidden, S = slots(C), W = width(C), mixes = C.shared.ffn == 0 ? 0 : C.shared.mix == SharedMix::sigmoid_gate ? 1 : C.shared.mix == SharedMix::coefficients ? 2 : 0;
  static constexpr bool latent = C.expert.latent > 0, weigh_input = C.router.place == Place::input;

  // Where gradients go; null: not wanted. Those of vectors are added to.
  struct Places {
    host::GradientMatrix latent_up{};            // [H,W]
    float *latent_norm = nullptr, *mix = nullptr, *mix_bias = nullptr;   // [W], [mixes,H], [mixes]
  };
  // A layer's call, and what enter() and leave() hand each other. routed, shared: weights of the two sums in y.
  struct Call {
    Inputs<config> const& in;
    PackedView<config, Host> packed;
    Routing<config> const& routing;
    Batch<config> const& batch;
    Places to;
    float const* sums;                           // [T,W] latent sums as the forward pass kept them
    Rows<V, width(C)> dsum;                      // [T,W] gradient of the routed sum, without mix_routed unless there is a latent width
    float *mix_routed, *mix_shared, *dmix_routed, *dmix_shared;          // [T]
    float* out_weight;                           // [R] of a row's output in its sum
  };

  std::size_t workspace_bytes(Host const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens);
    return arena.used();
  }

  // dy[T,H] -> dsum, the mixes, out_weight, and, latent, dmix_routed and the gradients of the way up and of its norm.
  void enter(Host const& on, Call const& c, Rows<V const, C.hidden> dy, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = c.in.x.rows;
    Arguments arguments{"CombineBackward", at};
    arguments.tokens<config>(n);
    if (n == 0) return;
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    [[maybe_unused]] Arena arena{scratch};
    host::Reader<config> const weights{c.packed};
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        combine::Mix mix;
        if constexpr (C.shared.ffn > 0) mix = combine::mix_of<config>(static_cast<V const*>(c.in.x[t]), weights.floats(weights.layout.shared_mix), weights.floats(weights.layout.shared_mix_bias));
        c.mix_routed[t] = mix.routed, c.mix_shared[t] = mix.shared;
        if constexpr (!latent)
          for (int h = 0; h < H; ++h) c.dsum[t][h] = from_float<V>(scale() * to_float(dy[t][h]));
        for (int s = 0; s < S; ++s)
          if (std::int32_t const r = c.batch.slot[t][s]; r >= 0) c.out_weight[r] = (weigh_input ? 1.f : c.routing.weight[t][s]) * (latent ? 1.f : mix.routed);
      }
    });
    if constexpr (latent) through_latent(on, c, dy, carve(arena, on, n), on.path(at));
  }

  // din[R], dout[R]: gradients of Batch::weight (Place::input) and of out_weight; dmix_shared: of the shared experts' backward. ->
  // dweight[T,S] of Routing::weight; dx[T,H], fp32, is added to; gradients of the mix.
  void leave(Host const& on, Call const& c, float const* din, float const* dout, float* dweight, float* dx) const {
    std::int64_t const n = c.in.x.rows;
    host::Reader<config> const weights{c.packed};
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float const mix = latent ? 1.f : c.mix_routed[t];
        float moved = latent ? c.dmix_routed[t] : 0.f;
        for (int s = 0; s < S; ++s) {
          float const w = weigh_input ? 1.f : c.routing.weight[t][s];
          float& d = dweight[t * S + s] = 0;
          if (std::int32_t const r = c.batch.slot[t][s]; r >= 0) {
            d = weigh_input ? din[r] : mix * dout[r];
            if constexpr (!latent) moved = math::fma(w, dout[r], moved);
          } else if constexpr (C.expert.identity > 0) {
            if (std::int32_t const e = c.routing.expert[t][s]; e >= C.experts && e < C.experts + C.expert.identity) {
              float dot = 0;
              for (int h = 0; h < H; ++h) dot = math::fma(to_float(c.dsum[t][h]), to_float(c.in.x[t][h]), dot), dx[t * H + h] = math::fma(w * mix, to_float(c.dsum[t][h]), dx[t * H + h]);
              if (!weigh_input) d = mix * dot;
              moved = math::fma(w, dot, moved);
            }
          }
        }
        c.dmix_routed[t] = moved;
        if constexpr (mixes > 0) {
          float const a = c.mix_routed[t], b = c.mix_shared[t], db = c.dmix_shared[t], along = moved * a + db * b;
          float const first_of = mixes == 1 ? db * b * (1 - b) : a * (moved - along), second_of = mixes == 1 ? 0.f : b * (db - along);
          c.dmix_routed[t] = first_of, c.dmix_shared[t] = second_of;      // now of the mix before its sigmoid or softmax
          float const* const vectors = weights.floats(weights.layout.shared_mix);
          for (int h = 0; h < H; ++h) {
            float sum = dx[t * H + h] + first_of * vectors[h];
            if (mixes == 2) sum += second_of * vectors[H + h];
            dx[t * H + h] = sum;
          }
        }
      }
    });
    if constexpr (mixes > 0)
      for (int m = 0; m < mixes; ++m) {
        float const* const d = m == 0 ? c.dmix_routed : c.dmix_shared;
        if (float* const bias = c.to.mix_bias)
          for (std::int64_t t = 0; t < n; ++t) bias[m] += d[t];
        if (float* const vector = c.to.mix)
          by_column(on, H, [&](int h) {
            for (std::int64_t t = 0; t < n; ++t) vector[m * H + h] = math::fma(d[t], to_float(c.in.x[t][h]), vector[m * H + h]);
          });
      }
  }

 private:
  static constexpr float scale() { return C.router.scale_on == ScaleOn::routed_sum ? C.router.scale : 1.f; }
  struct Pieces {
    float *dy, *du, *z, *factor;                 // [T,H], [T,W], [T,W], [T]
    typename Dense::Pieces dense;
  };
  static Pieces carve(Arena& arena, Host const& on, std::int64_t tokens) {
    Pieces p{};
    if constexpr (latent) {
      p.dy = arena.take<float>(tokens * H), p.du = arena.take<float>(tokens * W), p.z = arena.take<float>(tokens * W), p.factor = arena.take<float>(tokens);
      p.dense = Dense::carve(arena, *on.pool, Layout::latent_up, tokens);
    }
    return p;
  }
  template <class Each> static void by_column(Host const& on, int columns, Each const& each) {
    host::for_chunks(*on.pool, columns, 32, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t j = first; j < last; ++j) each(static_cast<int>(j));
    });
  }

  // y's routed part is mix_routed * up z, z the sums, after their norm, rounded to V.
  static void through_latent(Host const& on, Call const& c, Rows<V const, C.hidden> dy, Pieces const& p, Isa path) {
    constexpr bool rms = C.expert.latent_norm == LatentNorm::rms;
    std::int64_t const n = c.in.x.rows;
    host::Reader<config> const weights{c.packed};
    host::VectorEngine const engine{host::vector_path(path)};
    float const* const norm = rms ? weights.floats(weights.layout.latent_norm) : nullptr;
    auto const* const up = weights.template at<V>(weights.layout.latent_up_panels);
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        double square = 0;
        for (int j = 0; j < W; ++j) square += double{c.sums[t * W + j]} * double{c.sums[t * W + j]};
        p.factor[t] = rms ? static_cast<float>(1 / __builtin_sqrt(square / W + double{weights.header().latent_epsilon})) : 1.f;
        for (int j = 0; j < W; ++j) p.z[t * W + j] = rounded<V>(rms ? c.sums[t * W + j] * p.factor[t] * norm[j] : c.sums[t * W + j]);
        for (int h = 0; h < H; ++h) p.dy[t * H + h] = to_float(dy[t][h]);
      }
    });
    Dense::set_inputs(*on.pool, Layout::latent_up, n, p.dense, [&](std::int64_t t, std::int64_t j) { return p.z[t * W + j]; });
    Dense::run(*on.pool, engine, up, Layout::latent_up, p.dy, n, p.dense, {}, p.du, false);
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float *const du = p.du + t * W, *const z = p.z + t * W;
        float const mix = c.mix_routed[t], r = p.factor[t];
        float mixed = 0;
        for (int j = 0; j < W; ++j) mixed = math::fma(du[j], z[j], mixed);
        c.dmix_routed[t] = mixed;
        for (int h = 0; h < H; ++h) p.dy[t * H + h] *= mix;
        float const* const s = c.sums + t * W;
        float along = 0;
        for (int j = 0; j < W; ++j) {
          du[j] *= mix;
          if constexpr (rms) along = math::fma(du[j] * norm[j], s[j], along);
        }
        for (int j = 0; j < W; ++j) {
          float d = du[j];
          if constexpr (rms) d = r * (norm[j] * du[j] - s[j] * (r * r * along / W)), z[j] = du[j] * s[j] * r;    // z: now of the norm's weight
          c.dsum[t][j] = from_float<V>(scale() * d);
        }
      }
    });
    if (c.to.latent_up.data) Dense::run(*on.pool, engine, up, Layout::latent_up, p.dy, n, p.dense, c.to.latent_up, nullptr, false);
    if (float* const to = c.to.latent_norm; rms && to)
      by_column(on, W, [&](int j) {
        for (std::int64_t t = 0; t < n; ++t) to[j] += p.z[t * W + j];
      });
  }
};

}}

// Layers that have between them every part a gradient goes through.
#pragma once
#include "case.hpp"

namespace steps {

constexpr ct::Config fp32(ct::Config c) { return in(ct::DType::fp32, c); }

inline constexpr ct::Config biased = fp32({.experts = 5, .top_k = 3, .hidden = 33, .ffn = 18, .router = {.bias = 1, .soft_cap = 3, .score = ct::Score::identity, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .noise = ct::Noise::jitter, .noise_size = 0.1f}, .expert = {.act = ct::Act::oai_mul, .bias = 1}});
inline constexpr ct::Config grouped = fp32({.experts = 8, .top_k = 3, .hidden = 40, .ffn = 17, .router = {.score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 2, .epsilon = 1e-20f, .scale = 2.5f}, .shared = {.ffn = 34}});
inline constexpr ct::Config null_experts = fp32({.experts = 5, .top_k = 3, .hidden = 24, .ffn = 16, .router = {.normalise = ct::Normalise::none, .noise = ct::Noise::softplus, .noise_size = 0.01f}, .expert = {.identity = 2, .skip = 1}, .shared = {.ffn = 16, .mix = ct::SharedMix::sigmoid_gate}});
inline constexpr ct::Config latent = fp32({.experts = 6, .top_k = 2, .hidden = 40, .ffn = 16, .router = {.input = ct::RouterInput::separate, .scale = 1.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1}, .expert = {.act = ct::Act::relu2, .latent = 24, .latent_norm = ct::LatentNorm::rms}, .shared = {.ffn = 8, .mix = ct::SharedMix::coefficients}});
inline constexpr ct::Config latent_bf16 = in(ct::DType::bf16, latent);
inline constexpr ct::Config latent_odd = [] {
  ct::Config c = latent_bf16;
  c.hidden = 33;
  return c;
}();
inline constexpr ct::Config router_rows = fp32({.experts = 6, .top_k = 2, .hidden = 24, .ffn = 16, .router = {.score = ct::Score::sigmoid, .place = ct::Place::input}, .shared = {.ffn = 32, .count = 2, .mix = ct::SharedMix::router_rows}});
inline constexpr ct::Config dropping = fp32({.experts = 4, .top_k = 2, .hidden = 24, .ffn = 16, .capacity = {.rounding = ct::Rounding::mesh, .factor = 1, .normalise = ct::When::after}, .shared = {.ffn = 16, .mix = ct::SharedMix::average}});
inline constexpr ct::Config given = fp32({.experts = 4, .top_k = 2, .hidden = 24, .ffn = 16, .router = {.input = ct::RouterInput::given}, .capacity = {.rounding = ct::Rounding::mesh, .factor = 1, .normalise = ct::When::after}, .shared = {.ffn = 16, .mix = ct::SharedMix::sum}});
inline constexpr ct::Config given_logits = fp32({.experts = 6, .top_k = 3, .hidden = 24, .ffn = 16, .router = {.input = ct::RouterInput::logits, .bias = 1, .score = ct::Score::identity, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp}});
inline constexpr ct::Config choice = fp32({.experts = 48, .top_k = 2, .hidden = 24, .ffn = 8, .router = {.score = ct::Score::sqrt_softplus, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none}});
inline constexpr ct::Config mixer = fp32({.experts = 6, .top_k = 2, .hidden = 24, .ffn = 8, .router = {.score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .noise = ct::Noise::gumbel, .noise_size = 0.5f}});
inline constexpr ct::Config by_id = fp32({.experts = 6, .top_k = 2, .hidden = 24, .ffn = 8, .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .scale = 1.5f, .expert_scale = 1}});
inline constexpr ct::Config random_second = fp32({.experts = 6, .top_k = 2, .hidden = 24, .ffn = 8, .router = {.noise = ct::Noise::random_second, .noise_size = 2}});

}

// Written by cover.py --seed 1 --rows 128: 128 configs, 10538 of 10621 pairs of values.
#pragma once
#include "compiled.hpp"

namespace cases {

inline constexpr ct::Config config_2{.experts = 8, .top_k = 1, .hidden = 33, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .minimum = 4},
    .expert = {.bias = 1},
    .shared = {.ffn = 48, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_10{.experts = 3, .top_k = 1, .hidden = 40, .ffn = 65,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::none, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1, .skip = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_18{.experts = 7, .top_k = 3, .hidden = 40, .ffn = 32, .dtype = ct::DType::fp16,
    .router = {.weights = ct::DType::fp16, .score = ct::Score::identity, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .minimum = 4, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::oai_mul, .bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_26{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .post = ct::Post::sigmoid, .epsilon = 1e-20f, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.identity = 2, .skip = 1}};
inline constexpr ct::Config config_34{.experts = 60, .top_k = 6, .hidden = 40, .ffn = 17, .weights = ct::DType::fp32,
    .router = {.soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_42{.experts = 2, .top_k = 1, .hidden = 7, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::flaxformer, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_50{.experts = 1, .top_k = 1, .hidden = 33, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms}};
inline constexpr ct::Config config_58{.experts = 7, .top_k = 2, .hidden = 7, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .expert_scale = 1, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .order = ct::Order::random},
    .expert = {.bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_66{.experts = 7, .top_k = 2, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .epsilon = 0.25f, .place = ct::Place::input, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f, .bias = 1, .latent = 32},
    .shared = {.ffn = 48, .count = 2, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_74{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp16, .bias = 1, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 2, .scale = 2.5f, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::flaxformer, .minimum = 4, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_mul, .latent = 32},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_82{.experts = 1, .top_k = 1, .hidden = 33, .ffn = 1, .weights = ct::DType::fp16,
    .router = {.select_bias = 1, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu_mul, .bias = 1}};
inline constexpr ct::Config config_90{.experts = 64, .top_k = 1, .hidden = 7, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::given, .epsilon = 0.25f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .limit = 2}};
inline constexpr ct::Config config_98{.experts = 7, .top_k = 7, .hidden = 33, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f},
    .expert = {.act = ct::Act::oai_mul},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients}};
inline constexpr ct::Config config_106{.experts = 8, .top_k = 6, .hidden = 1, .ffn = 48,
    .router = {.select = ct::Select::expert_choice, .normalise = ct::Normalise::none},
    .capacity = {.rounding = ct::Rounding::nllb, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul, .bias = 1},
    .shared = {.ffn = 48, .count = 2, .limit = 2}};
inline constexpr ct::Config config_114{.experts = 60, .top_k = 2, .hidden = 7, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::identity, .select = ct::Select::group_top_k, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .round_weight = 1},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1, .identity = 2},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_122{.experts = 1, .top_k = 2, .hidden = 40, .ffn = 1, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::softmax, .epsilon = 1e-20f, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_tanh_mul, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};

inline void add_2(std::vector<std::unique_ptr<Subject>>& to) {
  to[2].reset(new Compiled<config_2>);
  to[10].reset(new Compiled<config_10, ct::DType::fp32>);
  to[18].reset(new Compiled<config_18, ct::DType::fp32>);
  to[26].reset(new Compiled<config_26>);
  to[34].reset(new Compiled<config_34>);
  to[42].reset(new Compiled<config_42>);
  to[50].reset(new Compiled<config_50>);
  to[58].reset(new Compiled<config_58, ct::DType::fp32>);
  to[66].reset(new Compiled<config_66>);
  to[74].reset(new Compiled<config_74>);
  to[82].reset(new Compiled<config_82>);
  to[90].reset(new Compiled<config_90>);
  to[98].reset(new Compiled<config_98>);
  to[106].reset(new Compiled<config_106, ct::DType::fp32>);
  to[114].reset(new Compiled<config_114>);
  to[122].reset(new Compiled<config_122>);
}

}

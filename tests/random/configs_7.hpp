// Written by cover.py --seed 1 --rows 128: 128 configs, 10538 of 10621 pairs of values.
#pragma once
#include "compiled.hpp"

namespace cases {

inline constexpr ct::Config config_7{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 1, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .soft_cap = 3, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .epsilon = 1e-20f, .scale = 2.5f, .expert_scale = 1},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .bias = 1, .identity = 2},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_15{.experts = 60, .top_k = 3, .hidden = 33, .ffn = 17, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 3, .group_score = ct::GroupScore::max, .epsilon = 0.25f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_tanh_mul, .latent = 32, .latent_norm = ct::LatentNorm::rms}};
inline constexpr ct::Config config_23{.experts = 8, .top_k = 6, .hidden = 64, .ffn = 5, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .epsilon = 0.25f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .order = ct::Order::random},
    .expert = {.act = ct::Act::relu, .latent = 5},
    .shared = {.ffn = 48, .count = 2, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_31{.experts = 8, .top_k = 3, .hidden = 7, .ffn = 32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::relu, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_39{.experts = 64, .top_k = 3, .hidden = 7, .ffn = 17, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_after},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_47{.experts = 8, .top_k = 2, .hidden = 33, .ffn = 17, .dtype = ct::DType::fp16,
    .router = {.bias = 1, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 2, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu2, .bias = 1}};
inline constexpr ct::Config config_55{.experts = 3, .top_k = 3, .hidden = 33, .ffn = 17, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .soft_cap = 3, .score = ct::Score::identity, .post = ct::Post::sigmoid, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f},
    .expert = {.act = ct::Act::gelu_tanh_mul},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_63{.experts = 60, .top_k = 60, .hidden = 33, .ffn = 17, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f},
    .expert = {.act = ct::Act::gelu_mul},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average}};
inline constexpr ct::Config config_71{.experts = 7, .top_k = 7, .hidden = 64, .ffn = 5,
    .router = {.weights = ct::DType::fp32, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .minimum = 4},
    .expert = {.act = ct::Act::relu},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate}};
inline constexpr ct::Config config_79{.experts = 64, .top_k = 2, .hidden = 33, .ffn = 5,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .post = ct::Post::sigmoid, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4}};
inline constexpr ct::Config config_87{.experts = 3, .top_k = 3, .hidden = 64, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .bias = 1, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f},
    .shared = {.ffn = 48, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_95{.experts = 8, .top_k = 2, .hidden = 7, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows}};
inline constexpr ct::Config config_103{.experts = 7, .top_k = 3, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul, .latent = 5},
    .shared = {.ffn = 6, .count = 2, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_111{.experts = 8, .top_k = 6, .hidden = 7, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 0.5f},
    .expert = {.act = ct::Act::oai_mul, .bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_119{.experts = 3, .top_k = 2, .hidden = 64, .ffn = 17, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp16, .score = ct::Score::sqrt_softplus, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f},
    .expert = {.act = ct::Act::gelu}};
inline constexpr ct::Config config_127{.experts = 8, .top_k = 2, .hidden = 40, .ffn = 32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .post = ct::Post::sigmoid, .normalise = ct::Normalise::none, .scale = 2.5f, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f},
    .shared = {.ffn = 48, .limit = 2},
    .combine = ct::Accumulate::model};

inline void add_7(std::vector<std::unique_ptr<Subject>>& to) {
  to[7].reset(new Compiled<config_7>);
  to[15].reset(new Compiled<config_15>);
  to[23].reset(new Compiled<config_23>);
  to[31].reset(new Compiled<config_31>);
  to[39].reset(new Compiled<config_39, ct::DType::fp32>);
  to[47].reset(new Compiled<config_47>);
  to[55].reset(new Compiled<config_55>);
  to[63].reset(new Compiled<config_63>);
  to[71].reset(new Compiled<config_71, ct::DType::fp32>);
  to[79].reset(new Compiled<config_79>);
  to[87].reset(new Compiled<config_87>);
  to[95].reset(new Compiled<config_95>);
  to[103].reset(new Compiled<config_103, ct::DType::fp32>);
  to[111].reset(new Compiled<config_111>);
  to[119].reset(new Compiled<config_119>);
  to[127].reset(new Compiled<config_127>);
}

}

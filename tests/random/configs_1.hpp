// Written by cover.py --seed 1 --rows 128: 128 configs, 10538 of 10621 pairs of values.
#pragma once
#include "compiled.hpp"

namespace cases {

inline constexpr ct::Config config_1{.experts = 60, .top_k = 6, .hidden = 64, .ffn = 17, .dtype = ct::DType::fp16,
    .router = {.bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 3, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .expert_scale = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::mesh},
    .expert = {.act = ct::Act::oai_mul, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_9{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.score = ct::Score::sigmoid, .epsilon = 0.25f, .place = ct::Place::input, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .limit = 2}};
inline constexpr ct::Config config_17{.experts = 64, .top_k = 64, .hidden = 7, .ffn = 1, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .expert_scale = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh},
    .expert = {.act = ct::Act::relu_mul, .bias = 1, .latent = 32},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average}};
inline constexpr ct::Config config_25{.experts = 7, .top_k = 2, .hidden = 40, .ffn = 1, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_33{.experts = 64, .top_k = 64, .hidden = 33, .ffn = 1, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::relu, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients}};
inline constexpr ct::Config config_41{.experts = 60, .top_k = 1, .hidden = 64, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 20, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_49{.experts = 2, .top_k = 2, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu_mul, .latent = 32},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_57{.experts = 3, .top_k = 3, .hidden = 40, .ffn = 65, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .score = ct::Score::sqrt_softplus, .select = ct::Select::table, .normalise = ct::Normalise::none, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .expert = {.act = ct::Act::oai_mul, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .limit = 2}};
inline constexpr ct::Config config_65{.experts = 3, .top_k = 2, .hidden = 64, .ffn = 65, .dtype = ct::DType::fp16,
    .router = {.weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.latent = 32}};
inline constexpr ct::Config config_73{.experts = 1, .top_k = 1, .hidden = 64, .ffn = 65, .dtype = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.factor = 1.25f},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1},
    .shared = {.ffn = 48, .count = 2, .limit = 2}};
inline constexpr ct::Config config_81{.experts = 2, .top_k = 2, .hidden = 33, .ffn = 65, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::nllb, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_89{.experts = 7, .top_k = 2, .hidden = 1, .ffn = 5,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::identity, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_97{.experts = 2, .top_k = 2, .hidden = 64, .ffn = 65,
    .router = {.soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 2, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::gelu, .bias = 1, .identity = 2}};
inline constexpr ct::Config config_105{.experts = 2, .top_k = 2, .hidden = 33, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::given, .epsilon = 0.25f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .order = ct::Order::random},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_113{.experts = 3, .top_k = 2, .hidden = 7, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1},
    .expert = {.act = ct::Act::gelu_tanh_mul, .skip = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average, .limit = 2}};
inline constexpr ct::Config config_121{.experts = 3, .top_k = 3, .hidden = 40, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::nllb},
    .expert = {.act = ct::Act::gelu_tanh_mul, .latent = 32},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};

inline void add_1(std::vector<std::unique_ptr<Subject>>& to) {
  to[1].reset(new Compiled<config_1>);
  to[9].reset(new Compiled<config_9>);
  to[17].reset(new Compiled<config_17>);
  to[25].reset(new Compiled<config_25, ct::DType::fp32>);
  to[33].reset(new Compiled<config_33>);
  to[41].reset(new Compiled<config_41, ct::DType::fp32>);
  to[49].reset(new Compiled<config_49>);
  to[57].reset(new Compiled<config_57>);
  to[65].reset(new Compiled<config_65, ct::DType::fp32>);
  to[73].reset(new Compiled<config_73>);
  to[81].reset(new Compiled<config_81, ct::DType::fp32>);
  to[89].reset(new Compiled<config_89, ct::DType::fp32>);
  to[97].reset(new Compiled<config_97>);
  to[105].reset(new Compiled<config_105>);
  to[113].reset(new Compiled<config_113>);
  to[121].reset(new Compiled<config_121>);
}

}

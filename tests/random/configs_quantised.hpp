// Written by cover.py --seed 1: 13 configs.
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_123{.experts = 3, .top_k = 3, .hidden = 33, .ffn = 300, .weights = ct::DType::int8,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1},
    .expert = {.act = ct::Act::oai_mul, .bias = 1, .skip = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_124{.experts = 1, .top_k = 1, .hidden = 160, .ffn = 160, .dtype = ct::DType::fp32, .weights = ct::DType::int8, .quant = {.group = 32},
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu2, .latent = 40}};
inline constexpr ct::Config config_125{.experts = 8, .top_k = 4, .hidden = 264, .ffn = 300, .weights = ct::DType::int8, .quant = {.group = 128, .zero_points = 1},
    .router = {.precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::relu_mul, .latent = 40},
    .shared = {.ffn = 6, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_126{.experts = 8, .top_k = 8, .hidden = 264, .ffn = 17, .weights = ct::DType::int4, .quant = {.group = 32},
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.bias = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_127{.experts = 2, .top_k = 2, .hidden = 1, .ffn = 160, .dtype = ct::DType::fp32, .weights = ct::DType::int4, .quant = {.zero_points = 1},
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 5}};
inline constexpr ct::Config config_128{.experts = 8, .top_k = 6, .hidden = 40, .ffn = 300, .weights = ct::DType::int4, .quant = {.group = 128, .zero_points = 1},
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .soft_cap = 3, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .order = ct::Order::random},
    .expert = {.act = ct::Act::relu, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients}};
inline constexpr ct::Config config_129{.experts = 7, .top_k = 1, .hidden = 160, .ffn = 65, .weights = ct::DType::fp8_e4m3, .quant = {.group = 128, .group_rows = 128},
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .score = ct::Score::sqrt_softplus, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_130{.experts = 7, .top_k = 3, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp8_e4m3, .quant = {.group = 32, .group_rows = 5},
    .router = {.precision = ct::Precision::model, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::sigmoid, .epsilon = 0.25f, .scale = 2.5f, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f, .latent = 40, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average}};
inline constexpr ct::Config config_131{.experts = 2, .top_k = 2, .hidden = 64, .ffn = 160, .weights = ct::DType::fp8_e4m3,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::nllb, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::relu_mul, .latent = 40, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_132{.experts = 3, .top_k = 3, .hidden = 64, .ffn = 300, .weights = ct::DType::fp8_e5m2, .quant = {.group = 96, .group_rows = 3},
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu_mul, .bias = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_133{.experts = 2, .top_k = 2, .hidden = 264, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp8_e5m2,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .epsilon = 0.25f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f},
    .expert = {.act = ct::Act::gelu_mul},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_134{.experts = 7, .top_k = 6, .hidden = 40, .ffn = 32, .weights = ct::DType::mxfp4,
    .router = {.precision = ct::Precision::fp32, .soft_cap = 3, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .bias = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .limit = 2}};
inline constexpr ct::Config config_135{.experts = 1, .top_k = 1, .hidden = 264, .ffn = 65, .dtype = ct::DType::fp32, .weights = ct::DType::mxfp4, .quant = {.group = 32},
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::gelu_tanh_mul, .latent = 5},
    .combine = ct::Accumulate::model};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_quantised(Visit const& visit) {
  visit.template operator()<123, config_123, config_123.weights>();
  visit.template operator()<124, config_124, config_124.weights>();
  visit.template operator()<125, config_125, config_125.weights>();
  visit.template operator()<126, config_126, config_126.weights>();
  visit.template operator()<127, config_127, config_127.weights>();
  visit.template operator()<128, config_128, config_128.weights>();
  visit.template operator()<129, config_129, config_129.weights>();
  visit.template operator()<130, config_130, config_130.weights>();
  visit.template operator()<131, config_131, config_131.weights>();
  visit.template operator()<132, config_132, config_132.weights>();
  visit.template operator()<133, config_133, config_133.weights>();
  visit.template operator()<134, config_134, config_134.weights>();
  visit.template operator()<135, config_135, config_135.weights>();
}

}

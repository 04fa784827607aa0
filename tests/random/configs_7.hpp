// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_7{.experts = 60, .top_k = 6, .hidden = 1, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 3, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1, .latent = 32},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_15{.experts = 64, .top_k = 4, .hidden = 7, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .post = ct::Post::softmax, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::nllb, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu2, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_23{.experts = 2, .top_k = 2, .hidden = 1, .ffn = 1, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .post = ct::Post::softmax, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_31{.experts = 3, .top_k = 3, .hidden = 40, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::given, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .latent = 32},
    .shared = {.ffn = 6, .count = 2, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_39{.experts = 7, .top_k = 3, .hidden = 33, .ffn = 65, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .minimum = 4},
    .expert = {.bias = 1}};
inline constexpr ct::Config config_47{.experts = 60, .top_k = 8, .hidden = 8, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_fill = ct::Fill::zero, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .minimum = 4, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1, .latent = 32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_55{.experts = 3, .top_k = 3, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.score = ct::Score::sigmoid, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .place = ct::Place::input, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul, .bias = 1, .latent = 5},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_63{.experts = 8, .top_k = 8, .hidden = 7, .ffn = 17,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.factor = 1.25f},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .bias = 1, .latent = 32},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_71{.experts = 8, .top_k = 6, .hidden = 1, .ffn = 5, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu2, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_79{.experts = 7, .top_k = 3, .hidden = 7, .ffn = 1, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1, .skip = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_87{.experts = 1, .top_k = 1, .hidden = 33, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.score = ct::Score::identity, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f},
    .expert = {.act = ct::Act::gelu_tanh_mul},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_95{.experts = 8, .top_k = 1, .hidden = 40, .ffn = 32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .normalise = ct::Normalise::none, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .order = ct::Order::probability},
    .expert = {.act = ct::Act::silu_mul_clamp_before},
    .shared = {.ffn = 6, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_103{.experts = 60, .top_k = 60, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .soft_cap = 3, .select_bias = 1, .epsilon = 0.25f, .round_weight = 1},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .bias = 1, .identity = 2}};
inline constexpr ct::Config config_111{.experts = 60, .top_k = 2, .hidden = 64, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .group_fill = ct::Fill::zero, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul, .bias = 1}};
inline constexpr ct::Config config_119{.experts = 3, .top_k = 4, .hidden = 40, .ffn = 65, .dtype = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::sqrt_softplus, .select = ct::Select::table, .normalise = ct::Normalise::none, .expert_scale = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f, .bias = 1, .identity = 2},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_7(Visit const& visit) {
  visit.template operator()<7, config_7, config_7.weights>();
  visit.template operator()<15, config_15, ct::DType::fp32>();
  visit.template operator()<23, config_23, config_23.weights>();
  visit.template operator()<31, config_31, ct::DType::fp32>();
  visit.template operator()<39, config_39, ct::DType::fp32>();
  visit.template operator()<47, config_47, config_47.weights>();
  visit.template operator()<55, config_55, ct::DType::fp32>();
  visit.template operator()<63, config_63, config_63.weights>();
  visit.template operator()<71, config_71, config_71.weights>();
  visit.template operator()<79, config_79, config_79.weights>();
  visit.template operator()<87, config_87, config_87.weights>();
  visit.template operator()<95, config_95, config_95.weights>();
  visit.template operator()<103, config_103, config_103.weights>();
  visit.template operator()<111, config_111, config_111.weights>();
  visit.template operator()<119, config_119, ct::DType::fp32>();
}

}

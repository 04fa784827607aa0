// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_2{.experts = 8, .top_k = 4, .hidden = 33, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients}};
inline constexpr ct::Config config_10{.experts = 60, .top_k = 2, .hidden = 40, .ffn = 1, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .group_fill = ct::Fill::zero, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::mesh, .minimum = 4, .order = ct::Order::probability},
    .expert = {.bias = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .limit = 2}};
inline constexpr ct::Config config_18{.experts = 2, .top_k = 2, .hidden = 7, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .expert_scale = 1, .round_weight = 1, .noise_size = 0.2f},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 48},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_26{.experts = 1, .top_k = 1, .hidden = 40, .ffn = 65,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::relu, .identity = 2, .skip = 1}};
inline constexpr ct::Config config_34{.experts = 8, .top_k = 4, .hidden = 1, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp16, .score = ct::Score::sigmoid, .select_bias = 1, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::gelu_tanh_mul, .latent = 32},
    .shared = {.ffn = 6, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_42{.experts = 60, .top_k = 4, .hidden = 33, .ffn = 5, .dtype = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .select = ct::Select::group_top_k, .expert_scale = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_50{.experts = 1, .top_k = 1, .hidden = 7, .ffn = 17,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::fastmoe},
    .expert = {.act = ct::Act::relu_mul, .bias = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .limit = 2}};
inline constexpr ct::Config config_58{.experts = 60, .top_k = 6, .hidden = 7, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::none, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_66{.experts = 64, .top_k = 1, .hidden = 1, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.weights = ct::DType::fp32, .bias = 1, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 2, .group_fill = ct::Fill::zero, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 0.5f, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu_mul, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_74{.experts = 7, .top_k = 8, .hidden = 33, .ffn = 48, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .epsilon = 0.25f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_82{.experts = 60, .top_k = 2, .hidden = 33, .ffn = 5, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .expert_scale = 1, .round_weight = 1, .noise_size = 0.2f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_90{.experts = 60, .top_k = 4, .hidden = 64, .ffn = 48, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .latent = 32}};
inline constexpr ct::Config config_98{.experts = 2, .top_k = 2, .hidden = 8, .ffn = 32, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .noise_size = 0.2f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1, .latent = 32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_106{.experts = 7, .top_k = 1, .hidden = 33, .ffn = 32,
    .router = {.soft_cap = 3, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu, .latent = 5, .latent_norm = ct::LatentNorm::rms}};
inline constexpr ct::Config config_114{.experts = 8, .top_k = 8, .hidden = 40, .ffn = 17, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f},
    .expert = {.latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_122{.experts = 7, .top_k = 2, .hidden = 40, .ffn = 32, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .expert_scale = 1, .round_weight = 1, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::random},
    .expert = {.bias = 1},
    .combine = ct::Accumulate::model};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_2(Visit const& visit) {
  visit.template operator()<2, config_2, config_2.weights>();
  visit.template operator()<10, config_10, config_10.weights>();
  visit.template operator()<18, config_18, config_18.weights>();
  visit.template operator()<26, config_26, ct::DType::fp32>();
  visit.template operator()<34, config_34, config_34.weights>();
  visit.template operator()<42, config_42, config_42.weights>();
  visit.template operator()<50, config_50, ct::DType::fp32>();
  visit.template operator()<58, config_58, ct::DType::fp32>();
  visit.template operator()<66, config_66, ct::DType::fp32>();
  visit.template operator()<74, config_74, ct::DType::fp32>();
  visit.template operator()<82, config_82, ct::DType::fp32>();
  visit.template operator()<90, config_90, ct::DType::fp32>();
  visit.template operator()<98, config_98, ct::DType::fp32>();
  visit.template operator()<106, config_106, config_106.weights>();
  visit.template operator()<114, config_114, ct::DType::fp32>();
  visit.template operator()<122, config_122, ct::DType::fp32>();
}

}

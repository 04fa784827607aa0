// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_4{.experts = 60, .top_k = 2, .hidden = 8, .ffn = 5, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .group_fill = ct::Fill::zero, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows}};
inline constexpr ct::Config config_12{.experts = 8, .top_k = 8, .hidden = 40, .ffn = 5, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 0.5f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu_mul},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_20{.experts = 8, .top_k = 8, .hidden = 1, .ffn = 65, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::flaxformer},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1, .latent = 32},
    .shared = {.ffn = 6, .count = 2}};
inline constexpr ct::Config config_28{.experts = 7, .top_k = 6, .hidden = 33, .ffn = 17, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .bias = 1, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::sigmoid_gate}};
inline constexpr ct::Config config_36{.experts = 3, .top_k = 6, .hidden = 1, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_score = ct::GroupScore::max, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .expert = {.bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_44{.experts = 7, .top_k = 4, .hidden = 64, .ffn = 5, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::deepspeed},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_52{.experts = 2, .top_k = 4, .hidden = 40, .ffn = 17,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1},
    .expert = {.identity = 2, .skip = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_60{.experts = 2, .top_k = 2, .hidden = 7, .ffn = 65, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .epsilon = 1e-20f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_68{.experts = 8, .top_k = 8, .hidden = 1, .ffn = 1,
    .router = {.precision = ct::Precision::fp32, .epsilon = 1e-20f, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu, .bias = 1, .latent = 32},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_76{.experts = 64, .top_k = 4, .hidden = 64, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .expert_scale = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .order = ct::Order::probability},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_84{.experts = 3, .top_k = 3, .hidden = 40, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::fp32, .score = ct::Score::sigmoid, .normalise = ct::Normalise::none, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::nllb, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu2, .bias = 1, .latent = 32},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_92{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::probability},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_100{.experts = 64, .top_k = 2, .hidden = 1, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_108{.experts = 8, .top_k = 2, .hidden = 40, .ffn = 1, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .noise_size = 0.2f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_116{.experts = 2, .top_k = 2, .hidden = 33, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .identity = 2},
    .shared = {.ffn = 6, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_4(Visit const& visit) {
  visit.template operator()<4, config_4, ct::DType::fp32>();
  visit.template operator()<12, config_12, config_12.weights>();
  visit.template operator()<20, config_20, ct::DType::fp32>();
  visit.template operator()<28, config_28, ct::DType::fp32>();
  visit.template operator()<36, config_36, ct::DType::fp32>();
  visit.template operator()<44, config_44, ct::DType::fp32>();
  visit.template operator()<52, config_52, config_52.weights>();
  visit.template operator()<60, config_60, ct::DType::fp32>();
  visit.template operator()<68, config_68, config_68.weights>();
  visit.template operator()<76, config_76, config_76.weights>();
  visit.template operator()<84, config_84, config_84.weights>();
  visit.template operator()<92, config_92, config_92.weights>();
  visit.template operator()<100, config_100, ct::DType::fp32>();
  visit.template operator()<108, config_108, ct::DType::fp32>();
  visit.template operator()<116, config_116, ct::DType::fp32>();
}

}

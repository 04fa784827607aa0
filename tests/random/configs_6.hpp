// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_6{.experts = 8, .top_k = 8, .hidden = 7, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.weights = ct::DType::fp32, .score = ct::Score::identity, .select = ct::Select::group_top_k, .post = ct::Post::sigmoid, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .order = ct::Order::random},
    .expert = {.latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_14{.experts = 1, .top_k = 1, .hidden = 8, .ffn = 32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f, .minimum = 4},
    .expert = {.act = ct::Act::relu2, .latent = 5},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_22{.experts = 2, .top_k = 2, .hidden = 8, .ffn = 1, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.weights = ct::DType::fp32, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::fastmoe},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_30{.experts = 3, .top_k = 2, .hidden = 8, .ffn = 17, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .bias = 1, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .minimum = 4},
    .expert = {.act = ct::Act::gelu_mul, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_38{.experts = 64, .top_k = 1, .hidden = 64, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_46{.experts = 64, .top_k = 64, .hidden = 33, .ffn = 48,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .soft_cap = 3, .score = ct::Score::identity, .post = ct::Post::sigmoid, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_54{.experts = 7, .top_k = 6, .hidden = 40, .ffn = 5, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .epsilon = 1e-20f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_62{.experts = 2, .top_k = 2, .hidden = 8, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::sum_clamp, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f},
    .expert = {.latent = 32},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::router_rows},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_70{.experts = 7, .top_k = 2, .hidden = 64, .ffn = 1, .weights = ct::DType::fp16,
    .router = {.weights = ct::DType::fp32, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::relu2},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_78{.experts = 60, .top_k = 2, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .minimum = 4},
    .expert = {.act = ct::Act::gelu, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_86{.experts = 64, .top_k = 2, .hidden = 8, .ffn = 5, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select = ct::Select::table, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu, .bias = 1, .skip = 1},
    .shared = {.ffn = 48, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_94{.experts = 3, .top_k = 3, .hidden = 33, .ffn = 5, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .post = ct::Post::softmax, .epsilon = 0.25f, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu}};
inline constexpr ct::Config config_102{.experts = 1, .top_k = 4, .hidden = 64, .ffn = 1,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_110{.experts = 8, .top_k = 8, .hidden = 40, .ffn = 5, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::none, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu2, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::sigmoid_gate},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_118{.experts = 60, .top_k = 2, .hidden = 40, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .epsilon = 1e-20f, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::relu, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp32, .limit = 2}};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_6(Visit const& visit) {
  visit.template operator()<6, config_6, ct::DType::fp32>();
  visit.template operator()<14, config_14, ct::DType::fp32>();
  visit.template operator()<22, config_22, config_22.weights>();
  visit.template operator()<30, config_30, ct::DType::fp32>();
  visit.template operator()<38, config_38, config_38.weights>();
  visit.template operator()<46, config_46, config_46.weights>();
  visit.template operator()<54, config_54, ct::DType::fp32>();
  visit.template operator()<62, config_62, ct::DType::fp32>();
  visit.template operator()<70, config_70, ct::DType::fp32>();
  visit.template operator()<78, config_78, config_78.weights>();
  visit.template operator()<86, config_86, ct::DType::fp32>();
  visit.template operator()<94, config_94, config_94.weights>();
  visit.template operator()<102, config_102, config_102.weights>();
  visit.template operator()<110, config_110, config_110.weights>();
  visit.template operator()<118, config_118, ct::DType::fp32>();
}

}

// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_5{.experts = 1, .top_k = 2, .hidden = 64, .ffn = 17, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::sigmoid, .epsilon = 1e-20f, .expert_scale = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_13{.experts = 7, .top_k = 3, .hidden = 64, .ffn = 5,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .score = ct::Score::sigmoid, .select = ct::Select::table, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::router_rows, .limit = 2}};
inline constexpr ct::Config config_21{.experts = 8, .top_k = 4, .hidden = 8, .ffn = 65, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu_mul, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_29{.experts = 1, .top_k = 1, .hidden = 33, .ffn = 5,
    .router = {.weights = ct::DType::fp32, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::flaxformer, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::oai_mul, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average}};
inline constexpr ct::Config config_37{.experts = 60, .top_k = 2, .hidden = 7, .ffn = 5, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu2, .bias = 1, .latent = 32},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_45{.experts = 3, .top_k = 3, .hidden = 64, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::none, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::relu, .bias = 1, .latent = 5},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_53{.experts = 2, .top_k = 3, .hidden = 7, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate}};
inline constexpr ct::Config config_61{.experts = 2, .top_k = 2, .hidden = 40, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_mul},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_69{.experts = 64, .top_k = 1, .hidden = 64, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.bias = 1},
    .shared = {.ffn = 48, .count = 2, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_77{.experts = 60, .top_k = 3, .hidden = 8, .ffn = 1, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::oai_mul, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average}};
inline constexpr ct::Config config_85{.experts = 60, .top_k = 2, .hidden = 7, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.soft_cap = 3, .select = ct::Select::group_top_k, .groups = 20, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .order = ct::Order::probability},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_93{.experts = 64, .top_k = 2, .hidden = 33, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::nllb},
    .expert = {.act = ct::Act::relu_mul, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_101{.experts = 1, .top_k = 1, .hidden = 8, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 0.5f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_109{.experts = 3, .top_k = 2, .hidden = 33, .ffn = 65, .dtype = ct::DType::fp32,
    .router = {.bias = 1, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .place = ct::Place::input, .round_weight = 1, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .order = ct::Order::random},
    .expert = {.act = ct::Act::gelu, .bias = 1},
    .shared = {.ffn = 6, .count = 2, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_117{.experts = 3, .top_k = 3, .hidden = 7, .ffn = 17, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .groups = 2, .epsilon = 1e-20f, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_mul, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp32},
    .combine = ct::Accumulate::model};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_5(Visit const& visit) {
  visit.template operator()<5, config_5, config_5.weights>();
  visit.template operator()<13, config_13, config_13.weights>();
  visit.template operator()<21, config_21, config_21.weights>();
  visit.template operator()<29, config_29, ct::DType::fp32>();
  visit.template operator()<37, config_37, config_37.weights>();
  visit.template operator()<45, config_45, config_45.weights>();
  visit.template operator()<53, config_53, config_53.weights>();
  visit.template operator()<61, config_61, config_61.weights>();
  visit.template operator()<69, config_69, config_69.weights>();
  visit.template operator()<77, config_77, config_77.weights>();
  visit.template operator()<85, config_85, config_85.weights>();
  visit.template operator()<93, config_93, ct::DType::fp32>();
  visit.template operator()<101, config_101, config_101.weights>();
  visit.template operator()<109, config_109, ct::DType::fp32>();
  visit.template operator()<117, config_117, ct::DType::fp32>();
}

}

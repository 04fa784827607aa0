// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_0{.experts = 64, .top_k = 3, .hidden = 40, .ffn = 17, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_8{.experts = 7, .top_k = 2, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .soft_cap = 3, .select = ct::Select::group_top_k, .groups = 4, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_16{.experts = 3, .top_k = 3, .hidden = 7, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.weights = ct::DType::fp32, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .expert_scale = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_24{.experts = 7, .top_k = 6, .hidden = 8, .ffn = 48, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp16, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu, .latent = 5},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_32{.experts = 60, .top_k = 8, .hidden = 64, .ffn = 17, .dtype = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp16, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 3, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 0.5f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_tanh_mul},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_40{.experts = 2, .top_k = 2, .hidden = 33, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .expert_scale = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f},
    .expert = {.act = ct::Act::relu_mul, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_48{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::softmax, .epsilon = 0.25f, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_56{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 17, .dtype = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_64{.experts = 60, .top_k = 4, .hidden = 7, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 3, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .minimum = 4, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_72{.experts = 64, .top_k = 6, .hidden = 40, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .bias = 1, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::mesh, .minimum = 4},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_80{.experts = 7, .top_k = 1, .hidden = 64, .ffn = 65, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::relu_mul, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_88{.experts = 1, .top_k = 2, .hidden = 7, .ffn = 5, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .noise_size = 0.01f},
    .expert = {.act = ct::Act::relu, .identity = 2},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .limit = 2}};
inline constexpr ct::Config config_96{.experts = 60, .top_k = 8, .hidden = 64, .ffn = 17, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .score = ct::Score::sqrt_softplus, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f},
    .expert = {.act = ct::Act::gelu_mul, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_104{.experts = 64, .top_k = 3, .hidden = 1, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .epsilon = 1e-20f, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_112{.experts = 8, .top_k = 1, .hidden = 40, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.weights = ct::DType::fp16, .bias = 1, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .place = ct::Place::input, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.factor = 0.5f},
    .expert = {.latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::coefficients},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_120{.experts = 8, .top_k = 8, .hidden = 33, .ffn = 65, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .place = ct::Place::input},
    .expert = {.act = ct::Act::gelu, .bias = 1},
    .shared = {.ffn = 6, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_0(Visit const& visit) {
  visit.template operator()<0, config_0, config_0.weights>();
  visit.template operator()<8, config_8, ct::DType::fp32>();
  visit.template operator()<16, config_16, ct::DType::fp32>();
  visit.template operator()<24, config_24, config_24.weights>();
  visit.template operator()<32, config_32, ct::DType::fp32>();
  visit.template operator()<40, config_40, config_40.weights>();
  visit.template operator()<48, config_48, ct::DType::fp32>();
  visit.template operator()<56, config_56, ct::DType::fp32>();
  visit.template operator()<64, config_64, config_64.weights>();
  visit.template operator()<72, config_72, config_72.weights>();
  visit.template operator()<80, config_80, config_80.weights>();
  visit.template operator()<88, config_88, ct::DType::fp32>();
  visit.template operator()<96, config_96, config_96.weights>();
  visit.template operator()<104, config_104, config_104.weights>();
  visit.template operator()<112, config_112, config_112.weights>();
  visit.template operator()<120, config_120, ct::DType::fp32>();
}

}

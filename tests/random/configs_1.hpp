// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_1{.experts = 2, .top_k = 1, .hidden = 64, .ffn = 48, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu, .latent = 32},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_9{.experts = 64, .top_k = 2, .hidden = 8, .ffn = 65, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .bias = 1, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_17{.experts = 60, .top_k = 3, .hidden = 33, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .expert_scale = 1, .place = ct::Place::input, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .order = ct::Order::random},
    .expert = {.act = ct::Act::relu2, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_25{.experts = 64, .top_k = 8, .hidden = 40, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .identity = 2},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_33{.experts = 64, .top_k = 2, .hidden = 1, .ffn = 17, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp16, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise_size = 0.2f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .order = ct::Order::random},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .latent = 32},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_41{.experts = 8, .top_k = 8, .hidden = 64, .ffn = 17, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu, .bias = 1, .latent = 5},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_49{.experts = 8, .top_k = 3, .hidden = 8, .ffn = 17,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::relu2, .bias = 1, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .limit = 2}};
inline constexpr ct::Config config_57{.experts = 3, .top_k = 1, .hidden = 7, .ffn = 5,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 32}};
inline constexpr ct::Config config_65{.experts = 8, .top_k = 2, .hidden = 40, .ffn = 65,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise_size = 0.2f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 0.5f, .order = ct::Order::probability},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_73{.experts = 3, .top_k = 2, .hidden = 33, .ffn = 17, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .post = ct::Post::sigmoid, .epsilon = 1e-20f, .scale = 2.5f, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_81{.experts = 2, .top_k = 2, .hidden = 8, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms}};
inline constexpr ct::Config config_89{.experts = 7, .top_k = 4, .hidden = 8, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp16,
    .router = {.soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::expert_choice, .normalise = ct::Normalise::none, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::relu},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average}};
inline constexpr ct::Config config_97{.experts = 60, .top_k = 8, .hidden = 8, .ffn = 48, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 3, .group_score = ct::GroupScore::max, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::deepspeed, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_105{.experts = 64, .top_k = 6, .hidden = 1, .ffn = 65, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::given, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::fastmoe, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms}};
inline constexpr ct::Config config_113{.experts = 60, .top_k = 1, .hidden = 33, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .order = ct::Order::random},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .bias = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_121{.experts = 2, .top_k = 2, .hidden = 40, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .groups = 2, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_mul, .bias = 1, .identity = 2}};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_1(Visit const& visit) {
  visit.template operator()<1, config_1, ct::DType::fp32>();
  visit.template operator()<9, config_9, config_9.weights>();
  visit.template operator()<17, config_17, ct::DType::fp32>();
  visit.template operator()<25, config_25, ct::DType::fp32>();
  visit.template operator()<33, config_33, ct::DType::fp32>();
  visit.template operator()<41, config_41, config_41.weights>();
  visit.template operator()<49, config_49, config_49.weights>();
  visit.template operator()<57, config_57, config_57.weights>();
  visit.template operator()<65, config_65, ct::DType::fp32>();
  visit.template operator()<73, config_73, ct::DType::fp32>();
  visit.template operator()<81, config_81, config_81.weights>();
  visit.template operator()<89, config_89, config_89.weights>();
  visit.template operator()<97, config_97, config_97.weights>();
  visit.template operator()<105, config_105, config_105.weights>();
  visit.template operator()<113, config_113, ct::DType::fp32>();
  visit.template operator()<121, config_121, config_121.weights>();
}

}

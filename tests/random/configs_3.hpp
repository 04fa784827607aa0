// Written by cover.py --seed 1: 123 configs, all 11062 pairs of values that can stand together (306 cannot).
#pragma once
#include <cases.hpp>

namespace cases {

inline constexpr ct::Config config_3{.experts = 3, .top_k = 3, .hidden = 33, .ffn = 65, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::sigmoid, .select = ct::Select::table, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .latent = 5},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_11{.experts = 3, .top_k = 1, .hidden = 7, .ffn = 17, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .bias = 1, .latent = 32},
    .shared = {.ffn = 48, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_19{.experts = 64, .top_k = 6, .hidden = 64, .ffn = 1, .dtype = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::relu_mul, .latent = 5}};
inline constexpr ct::Config config_27{.experts = 1, .top_k = 1, .hidden = 40, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .minimum = 4, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp32, .limit = 2}};
inline constexpr ct::Config config_35{.experts = 7, .top_k = 7, .hidden = 7, .ffn = 1, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_tanh_mul, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_43{.experts = 1, .top_k = 3, .hidden = 33, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .soft_cap = 3, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::sum_clamp, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1},
    .expert = {.act = ct::Act::gelu, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_51{.experts = 60, .top_k = 1, .hidden = 33, .ffn = 65, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.weights = ct::DType::fp16, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .group_score = ct::GroupScore::max, .post = ct::Post::softmax, .epsilon = 1e-20f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::relu},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_59{.experts = 60, .top_k = 3, .hidden = 40, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp16, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .post = ct::Post::softmax, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::megablocks, .factor = 1.25f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_67{.experts = 64, .top_k = 6, .hidden = 64, .ffn = 32, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .groups = 2, .groups_kept = 2, .group_fill = ct::Fill::zero, .epsilon = 1e-20f, .expert_scale = 1, .round_weight = 1},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f, .identity = 2},
    .shared = {.ffn = 48, .count = 2, .mix = ct::SharedMix::average, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_75{.experts = 1, .top_k = 3, .hidden = 40, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .scale = 2.5f, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::relu2, .identity = 2},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_83{.experts = 60, .top_k = 4, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .epsilon = 1e-20f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .minimum = 4, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_91{.experts = 2, .top_k = 2, .hidden = 1, .ffn = 1,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::relu2, .bias = 1, .identity = 2},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_99{.experts = 1, .top_k = 2, .hidden = 8, .ffn = 32, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .soft_cap = 3, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .bias = 1, .identity = 2, .skip = 1}};
inline constexpr ct::Config config_107{.experts = 3, .top_k = 1, .hidden = 64, .ffn = 48,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::gelu, .bias = 1, .latent = 32},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_115{.experts = 60, .top_k = 4, .hidden = 1, .ffn = 1, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::gelu_mul, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2}};

// visit.template operator()<number, config, how the checkpoint holds the experts>() for each.
template <class Visit> void visit_3(Visit const& visit) {
  visit.template operator()<3, config_3, ct::DType::fp32>();
  visit.template operator()<11, config_11, config_11.weights>();
  visit.template operator()<19, config_19, ct::DType::fp32>();
  visit.template operator()<27, config_27, config_27.weights>();
  visit.template operator()<35, config_35, ct::DType::fp32>();
  visit.template operator()<43, config_43, ct::DType::fp32>();
  visit.template operator()<51, config_51, ct::DType::fp32>();
  visit.template operator()<59, config_59, config_59.weights>();
  visit.template operator()<67, config_67, config_67.weights>();
  visit.template operator()<75, config_75, ct::DType::fp32>();
  visit.template operator()<83, config_83, config_83.weights>();
  visit.template operator()<91, config_91, ct::DType::fp32>();
  visit.template operator()<99, config_99, ct::DType::fp32>();
  visit.template operator()<107, config_107, config_107.weights>();
  visit.template operator()<115, config_115, ct::DType::fp32>();
}

}

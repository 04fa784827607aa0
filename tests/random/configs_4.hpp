// Written by cover.py --seed 1 --rows 128: 128 configs, 10538 of 10621 pairs of values.
#pragma once
#include "compiled.hpp"

namespace cases {

inline constexpr ct::Config config_4{.experts = 8, .top_k = 2, .hidden = 40, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::sigmoid, .epsilon = 0.25f, .scale = 2.5f, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::megablocks},
    .expert = {.latent = 32},
    .shared = {.ffn = 6, .count = 2, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_12{.experts = 7, .top_k = 2, .hidden = 64, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .bias = 1, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::sigmoid, .place = ct::Place::input, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .factor = 0.5f, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_20{.experts = 2, .top_k = 1, .hidden = 64, .ffn = 17,
    .router = {.precision = ct::Precision::model, .weights = ct::DType::fp16, .bias = 1, .soft_cap = 3, .select = ct::Select::group_top_k, .normalise = ct::Normalise::none, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::oai_mul, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_28{.experts = 3, .top_k = 3, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp16,
    .router = {.soft_cap = 3, .select = ct::Select::group_top_k, .groups = 2, .group_fill = ct::Fill::zero, .epsilon = 0.25f, .expert_scale = 1, .round_weight = 1},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_36{.experts = 60, .top_k = 60, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::table, .normalise = ct::Normalise::none, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::mesh, .order = ct::Order::random},
    .expert = {.act = ct::Act::oai_mul, .limit = 0.75f},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp32, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_44{.experts = 64, .top_k = 2, .hidden = 64, .ffn = 65,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .scale = 2.5f, .expert_scale = 1, .noise_size = 0.2f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 0.5f, .order = ct::Order::probability},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .latent = 32},
    .shared = {.ffn = 48, .mix = ct::SharedMix::sigmoid_gate, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_52{.experts = 64, .top_k = 6, .hidden = 33, .ffn = 48, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp16, .bias = 1, .score = ct::Score::sigmoid, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .order = ct::Order::random},
    .expert = {.act = ct::Act::gelu, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .limit = 2},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_60{.experts = 64, .top_k = 1, .hidden = 7, .ffn = 5, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::fp32, .score = ct::Score::identity, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 2, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .round_weight = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .capacity = {.rounding = ct::Rounding::deepspeed},
    .expert = {.act = ct::Act::relu_mul, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2}};
inline constexpr ct::Config config_68{.experts = 8, .top_k = 1, .hidden = 1, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 4, .groups_kept = 3, .post = ct::Post::softmax, .epsilon = 1e-20f, .scale = 2.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.act = ct::Act::gelu, .bias = 1},
    .shared = {.ffn = 6, .mix = ct::SharedMix::sigmoid_gate, .limit = 2}};
inline constexpr ct::Config config_76{.experts = 2, .top_k = 1, .hidden = 64, .ffn = 48, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .score = ct::Score::sigmoid, .scale = 2.5f},
    .capacity = {.rounding = ct::Rounding::deepspeed, .minimum = 4},
    .expert = {.act = ct::Act::relu2},
    .shared = {.ffn = 6, .mix = ct::SharedMix::router_rows}};
inline constexpr ct::Config config_84{.experts = 3, .top_k = 2, .hidden = 40, .ffn = 1,
    .router = {.input = ct::RouterInput::given, .scale = 2.5f},
    .expert = {.act = ct::Act::relu2, .identity = 2, .skip = 1}};
inline constexpr ct::Config config_92{.experts = 64, .top_k = 1, .hidden = 64, .ffn = 17, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::fp32, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .epsilon = 1e-20f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .order = ct::Order::probability, .normalise = ct::When::after},
    .expert = {.bias = 1}};
inline constexpr ct::Config config_100{.experts = 8, .top_k = 1, .hidden = 64, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .scale = 2.5f},
    .capacity = {.rounding = ct::Rounding::megablocks, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::relu, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 48, .count = 2, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_108{.experts = 64, .top_k = 2, .hidden = 1, .ffn = 48,
    .router = {.input = ct::RouterInput::separate, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .place = ct::Place::input, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f},
    .expert = {.act = ct::Act::relu2, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_116{.experts = 60, .top_k = 6, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp16, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::fp32, .weights = ct::DType::fp32, .score = ct::Score::sqrt_softplus, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .group_score = ct::GroupScore::max, .scale = 2.5f, .expert_scale = 1, .noise = ct::Noise::softplus, .noise_size = 0.01f},
    .expert = {.bias = 1},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_124{.experts = 7, .top_k = 3, .hidden = 7, .ffn = 5,
    .router = {.input = ct::RouterInput::given, .scale = 2.5f, .place = ct::Place::input},
    .capacity = {.rounding = ct::Rounding::nllb, .factor = 1.25f, .normalise = ct::When::after},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1},
    .combine = ct::Accumulate::model};

inline void add_4(std::vector<std::unique_ptr<Subject>>& to) {
  to[4].reset(new Compiled<config_4>);
  to[12].reset(new Compiled<config_12>);
  to[20].reset(new Compiled<config_20, ct::DType::fp32>);
  to[28].reset(new Compiled<config_28>);
  to[36].reset(new Compiled<config_36>);
  to[44].reset(new Compiled<config_44>);
  to[52].reset(new Compiled<config_52>);
  to[60].reset(new Compiled<config_60>);
  to[68].reset(new Compiled<config_68>);
  to[76].reset(new Compiled<config_76>);
  to[84].reset(new Compiled<config_84, ct::DType::fp32>);
  to[92].reset(new Compiled<config_92>);
  to[100].reset(new Compiled<config_100>);
  to[108].reset(new Compiled<config_108>);
  to[116].reset(new Compiled<config_116>);
  to[124].reset(new Compiled<config_124>);
}

}

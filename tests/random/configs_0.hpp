// Written by cover.py --seed 1 --rows 128: 128 configs, 10538 of 10621 pairs of values.
#pragma once
#include "compiled.hpp"

namespace cases {

inline constexpr ct::Config config_0{.experts = 60, .top_k = 2, .hidden = 33, .ffn = 48,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp16, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .expert_scale = 1},
    .capacity = {.rounding = ct::Rounding::flaxformer, .factor = 1.25f, .minimum = 4},
    .expert = {.act = ct::Act::relu2, .latent = 5},
    .shared = {.ffn = 6, .mix = ct::SharedMix::average},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_8{.experts = 2, .top_k = 2, .hidden = 1, .ffn = 32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .select = ct::Select::table, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::mesh, .factor = 0.5f, .order = ct::Order::random},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 32}};
inline constexpr ct::Config config_16{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 48, .dtype = ct::DType::fp16,
    .router = {.bias = 1, .score = ct::Score::sigmoid, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 4, .group_score = ct::GroupScore::max, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::nllb, .order = ct::Order::probability},
    .expert = {.act = ct::Act::silu_mul_clamp_after, .limit = 0.75f, .bias = 1, .latent = 32},
    .shared = {.ffn = 6, .mix = ct::SharedMix::router_rows, .weights = ct::DType::fp16},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_24{.experts = 1, .top_k = 1, .hidden = 7, .ffn = 32, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .bias = 1, .score = ct::Score::identity, .select = ct::Select::table, .post = ct::Post::softmax, .normalise = ct::Normalise::sum_clamp, .epsilon = 0.25f, .expert_scale = 1, .place = ct::Place::input, .round_weight = 1},
    .capacity = {.rounding = ct::Rounding::fastmoe, .factor = 1.25f, .order = ct::Order::random},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .bias = 1, .latent = 5, .latent_norm = ct::LatentNorm::rms}};
inline constexpr ct::Config config_32{.experts = 8, .top_k = 8, .hidden = 1, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::given, .epsilon = 1e-20f, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum},
    .capacity = {.rounding = ct::Rounding::mesh, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::situ_mul, .alpha = 4, .limit = 0.75f, .bias = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_40{.experts = 64, .top_k = 6, .hidden = 40, .ffn = 17, .dtype = ct::DType::fp32,
    .router = {.precision = ct::Precision::model, .soft_cap = 3, .score = ct::Score::identity, .select = ct::Select::group_top_k, .post = ct::Post::softmax, .epsilon = 1e-20f, .scale = 2.5f, .place = ct::Place::input, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::megablocks, .minimum = 4, .order = ct::Order::random, .normalise = ct::When::after},
    .expert = {.act = ct::Act::relu_mul},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_48{.experts = 60, .top_k = 2, .hidden = 64, .ffn = 17,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .normalise = ct::Normalise::none, .noise = ct::Noise::random_second, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::deepspeed},
    .expert = {.act = ct::Act::gelu, .bias = 1, .latent = 5},
    .shared = {.ffn = 48, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16}};
inline constexpr ct::Config config_56{.experts = 7, .top_k = 1, .hidden = 1, .ffn = 65,
    .router = {.input = ct::RouterInput::logits, .score = ct::Score::sigmoid, .epsilon = 1e-20f},
    .capacity = {.rounding = ct::Rounding::megablocks},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::router_rows}};
inline constexpr ct::Config config_64{.experts = 7, .top_k = 2, .hidden = 1, .ffn = 32, .dtype = ct::DType::fp32,
    .router = {.bias = 1, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .normalise = ct::Normalise::none, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .expert = {.act = ct::Act::relu2, .identity = 2, .skip = 1},
    .shared = {.ffn = 48, .mix = ct::SharedMix::average, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_72{.experts = 3, .top_k = 1, .hidden = 40, .ffn = 5,
    .router = {.input = ct::RouterInput::separate, .precision = ct::Precision::model, .weights = ct::DType::fp32, .bias = 1, .score = ct::Score::sqrt_softplus, .select = ct::Select::group_top_k, .epsilon = 0.25f, .round_weight = 1, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::deepspeed},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_80{.experts = 60, .top_k = 1, .hidden = 64, .ffn = 48, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .epsilon = 0.25f},
    .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::random},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .limit = 0.75f, .bias = 1, .latent = 5},
    .shared = {.ffn = 6}};
inline constexpr ct::Config config_88{.experts = 60, .top_k = 2, .hidden = 40, .ffn = 1, .weights = ct::DType::fp32,
    .router = {.soft_cap = 3, .select_bias = 1, .select = ct::Select::group_top_k, .groups = 20, .groups_kept = 2, .epsilon = 0.25f, .expert_scale = 1, .place = ct::Place::input, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .capacity = {.rounding = ct::Rounding::fastmoe, .minimum = 4, .order = ct::Order::random},
    .expert = {.act = ct::Act::oai_mul, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .combine = ct::Accumulate::model};
inline constexpr ct::Config config_96{.experts = 1, .top_k = 3, .hidden = 1, .ffn = 17, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::separate, .score = ct::Score::identity, .select_bias = 1, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .noise = ct::Noise::jitter, .noise_size = 0.1f},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .bias = 1, .identity = 2},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::coefficients, .weights = ct::DType::fp16, .limit = 2}};
inline constexpr ct::Config config_104{.experts = 64, .top_k = 2, .hidden = 64, .ffn = 17, .dtype = ct::DType::fp32, .weights = ct::DType::fp16,
    .router = {.input = ct::RouterInput::logits, .precision = ct::Precision::model, .bias = 1, .score = ct::Score::identity, .select = ct::Select::sparse_mixer, .normalise = ct::Normalise::none, .scale = 2.5f, .scale_on = ct::ScaleOn::routed_sum, .expert_scale = 1, .round_weight = 1, .noise_size = 0.2f},
    .capacity = {.rounding = ct::Rounding::megablocks, .minimum = 4, .order = ct::Order::probability},
    .expert = {.act = ct::Act::gelu_tanh_mul, .bias = 1, .latent = 32, .latent_norm = ct::LatentNorm::rms},
    .shared = {.ffn = 6, .count = 2, .limit = 2}};
inline constexpr ct::Config config_112{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 65,
    .router = {.precision = ct::Precision::model, .score = ct::Score::identity, .select = ct::Select::group_top_k, .groups = 2, .group_score = ct::GroupScore::max, .group_fill = ct::Fill::zero, .post = ct::Post::sigmoid, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f, .place = ct::Place::input, .noise = ct::Noise::gumbel, .noise_size = 0.5f},
    .capacity = {.rounding = ct::Rounding::megablocks, .normalise = ct::When::after},
    .expert = {.bias = 1},
    .shared = {.ffn = 6, .count = 2, .weights = ct::DType::fp32}};
inline constexpr ct::Config config_120{.experts = 3, .top_k = 6, .hidden = 40, .ffn = 5, .weights = ct::DType::fp32,
    .router = {.input = ct::RouterInput::token_ids, .select = ct::Select::table, .normalise = ct::Normalise::sum_clamp, .scale = 2.5f},
    .expert = {.act = ct::Act::silu_mul_clamp_before, .identity = 2, .skip = 1},
    .shared = {.ffn = 6, .count = 2, .mix = ct::SharedMix::average, .limit = 2}};

inline void add_0(std::vector<std::unique_ptr<Subject>>& to) {
  to[0].reset(new Compiled<config_0, ct::DType::fp32>);
  to[8].reset(new Compiled<config_8>);
  to[16].reset(new Compiled<config_16>);
  to[24].reset(new Compiled<config_24>);
  to[32].reset(new Compiled<config_32>);
  to[40].reset(new Compiled<config_40>);
  to[48].reset(new Compiled<config_48>);
  to[56].reset(new Compiled<config_56>);
  to[64].reset(new Compiled<config_64>);
  to[72].reset(new Compiled<config_72>);
  to[80].reset(new Compiled<config_80>);
  to[88].reset(new Compiled<config_88>);
  to[96].reset(new Compiled<config_96, ct::DType::fp32>);
  to[104].reset(new Compiled<config_104, ct::DType::fp32>);
  to[112].reset(new Compiled<config_112>);
  to[120].reset(new Compiled<config_120>);
}

}

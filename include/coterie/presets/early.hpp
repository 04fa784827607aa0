// 2017 to 2022: experts with a capacity, and selections that are not token choice.
#pragma once
#include "../config.hpp"

namespace coterie { inline namespace v0 { namespace presets {

// Shazeer et al. 2017, "Outrageously Large Neural Networks": noisy top-k, the flat language model of 256 experts.
inline constexpr Config shazeer_moe_256{.experts = 256, .top_k = 4, .hidden = 512, .ffn = 1024,
  .dtype = DType::fp32, .weights = DType::fp32,
  .router = {.precision = Precision::model, .weights = DType::fp32, .score = Score::identity, .post = Post::softmax,
             .normalise = Normalise::none, .noise = Noise::softplus},
  .expert = {.act = Act::relu}};

// GShard (Lepikhin et al. 2020): top-2, weights normalised before dropping, the second expert kept at random.
inline constexpr Config gshard_600b{.experts = 2048, .top_k = 2, .hidden = 1024, .ffn = 8192,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .epsilon = 1e-9f,
             .noise = Noise::random_second, .noise_size = 0.5f},
  .capacity = {.rounding = Rounding::mesh, .factor = 1.25f, .minimum = 4}, .expert = {.act = Act::relu}};

// Switch Transformer (Fedus et al. 2021), switch-base-128 model card: top-1, raw probability, fp32 router.
inline constexpr Config switch_base{.experts = 128, .top_k = 1, .hidden = 768, .ffn = 3072,
  .dtype = DType::fp32, .weights = DType::fp32,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .normalise = Normalise::none,
             .noise = Noise::jitter, .noise_size = 0.01f},
  .capacity = {.rounding = Rounding::flaxformer, .factor = 1.25f, .minimum = 4}, .expert = {.act = Act::relu}};

// Switch-C, switch-c-2048 model card: as above, an MoE in every layer.
inline constexpr Config switch_c{.experts = 2048, .top_k = 1, .hidden = 2080, .ffn = 6144,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .normalise = Normalise::none,
             .noise = Noise::jitter, .noise_size = 0.01f},
  .capacity = {.rounding = Rounding::flaxformer, .factor = 1.25f, .minimum = 4}, .expert = {.act = Act::relu}};

// GLaM (Du et al. 2021), 64B/64E: GShard routing, experts of two matrices (the activation is assumed to be GShard's).
inline constexpr Config glam_64b_64e{.experts = 64, .top_k = 2, .hidden = 8192, .ffn = 32768,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .epsilon = 1e-9f},
  .capacity = {.rounding = Rounding::mesh, .factor = 1.25f, .minimum = 4}, .expert = {.act = Act::relu}};

// ST-MoE (Zoph et al. 2022), 32B: raw top-2 probabilities, GEGLU. The encoder ranks by probability; decoders must not.
inline constexpr Config st_moe_32b{.experts = 64, .top_k = 2, .hidden = 5120, .ffn = 20480,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .normalise = Normalise::none},
  .capacity = {.rounding = Rounding::flaxformer, .factor = 1.25f, .minimum = 4},
  .expert = {.act = Act::gelu_tanh_mul}};
inline constexpr Config st_moe_32b_encoder = [] { Config c = st_moe_32b; c.capacity.order = Order::probability; return c; }();

// NLLB-MoE (NLLB Team 2022), nllb-moe-54b model card: probabilities in the model's dtype, normalised after dropping.
// In inference factor 1 keeps every token (NLLB counts the fraction against all tokens).
inline constexpr Config nllb_moe_54b{.experts = 128, .top_k = 2, .hidden = 2048, .ffn = 8192,
  .dtype = DType::fp32, .weights = DType::fp32,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .normalise = Normalise::sum_clamp,
             .epsilon = 1.1920929e-07f, .scale = 0.8f, .scale_on = ScaleOn::routed_sum, .round_weight = 1},   // 1 - moe_token_dropout
  .capacity = {.rounding = Rounding::nllb, .factor = 1, .normalise = When::after},
  .expert = {.act = Act::relu, .bias = 1}};

// Hash layers (Roller et al. 2021): the expert is a table of the token id, the weight is 1. Widths recalled.
inline constexpr Config hash{.experts = 64, .top_k = 1, .hidden = 1024, .ffn = 4096,
  .router = {.input = RouterInput::token_ids, .score = Score::identity, .select = Select::table,
             .normalise = Normalise::none},
  .expert = {.act = Act::relu}};

// Expert Choice (Zhou et al. 2022): every expert takes its best tokens, top_k of them per token on average. A small layer.
inline constexpr Config expert_choice{.experts = 64, .top_k = 2, .hidden = 512, .ffn = 1024,
  .router = {.precision = Precision::fp32, .select = Select::expert_choice, .normalise = Normalise::none}};

// Expert Choice 8B/64E: the paper's largest, on GLaM's 8B/64E shape.
inline constexpr Config expert_choice_8b_64e{.experts = 64, .top_k = 2, .hidden = 4096, .ffn = 16384,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .select = Select::expert_choice,
             .normalise = Normalise::none},
  .expert = {.act = Act::relu}};

// No published model: thousands of very small experts, the limit that fine-grained MoE tends to.
inline constexpr Config thousands{.experts = 4096, .top_k = 32, .hidden = 1024, .ffn = 64};

}}}

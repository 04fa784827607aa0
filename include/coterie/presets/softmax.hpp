// Routers that take a softmax over all logits and select on the probabilities.
#pragma once
#include "../config.hpp"

namespace coterie { inline namespace v0 { namespace presets {

// Mixtral of Experts (Jiang et al. 2024): the defaults of Config are this layer.
inline constexpr Config mixtral_8x7b{.experts = 8, .top_k = 2, .hidden = 4096, .ffn = 14336};
// Mixtral-8x22B model card.
inline constexpr Config mixtral_8x22b{.experts = 8, .top_k = 2, .hidden = 6144, .ffn = 16384};
// MiniMax-Text-01 and M1 (MiniMax 2025): Mixtral's routing.
inline constexpr Config minimax_text_01{.experts = 32, .top_k = 2, .hidden = 6144, .ffn = 9216};
// Snowflake Arctic model card: Mixtral's routing beside a dense residual MLP, which is layer wiring.
inline constexpr Config snowflake_arctic{.experts = 128, .top_k = 2, .hidden = 7168, .ffn = 4864};

// Grok-1 (xAI, grok-1 release): fp32 router, raw probabilities rounded to bf16, tanh GELU on the gate.
inline constexpr Config grok_1{.experts = 8, .top_k = 2, .hidden = 6144, .ffn = 32768,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .normalise = Normalise::none, .round_weight = 1},
  .expert = {.act = Act::gelu_tanh_mul}};
// DBRX (Databricks 2024): p-norm of the weights with p = 1, which is their sum.
inline constexpr Config dbrx{.experts = 16, .top_k = 4, .hidden = 6144, .ffn = 10752, .router = {.round_weight = 1}};

// Jamba (Lieber et al. 2024): raw probabilities.
inline constexpr Config jamba_v0_1{.experts = 16, .top_k = 2, .hidden = 4096, .ffn = 14336,
  .router = {.normalise = Normalise::none, .round_weight = 1}};
// Jamba 1.5 Large model card.
inline constexpr Config jamba_1_5_large{.experts = 16, .top_k = 2, .hidden = 8192, .ffn = 24576,
  .router = {.normalise = Normalise::none, .round_weight = 1}};

// Qwen1.5-MoE-A2.7B model card: raw probabilities, one shared expert behind a sigmoid gate.
inline constexpr Config qwen1_5_moe_a2_7b{.experts = 60, .top_k = 4, .hidden = 2048, .ffn = 1408,
  .router = {.normalise = Normalise::none, .round_weight = 1}, .shared = {.ffn = 5632, .mix = SharedMix::sigmoid_gate}};
// Qwen2 (Yang et al. 2024), 57B-A14B.
inline constexpr Config qwen2_57b_a14b{.experts = 64, .top_k = 8, .hidden = 3584, .ffn = 2560,
  .router = {.normalise = Normalise::none, .round_weight = 1}, .shared = {.ffn = 20480, .mix = SharedMix::sigmoid_gate}};
// Qwen3 (Yang et al. 2025): released checkpoints normalise (norm_topk_prob), the library's default does not.
inline constexpr Config qwen3_30b_a3b{.experts = 128, .top_k = 8, .hidden = 2048, .ffn = 768, .router = {.round_weight = 1}};
inline constexpr Config qwen3_235b_a22b{.experts = 128, .top_k = 8, .hidden = 4096, .ffn = 1536, .router = {.round_weight = 1}};
// Qwen3-Next-80B-A3B model card.
inline constexpr Config qwen3_next_80b_a3b{.experts = 512, .top_k = 10, .hidden = 2048, .ffn = 512,
  .router = {.round_weight = 1}, .shared = {.ffn = 512, .mix = SharedMix::sigmoid_gate}};
// Qwen3.5 model cards.
inline constexpr Config qwen3_5_35b_a3b{.experts = 256, .top_k = 8, .hidden = 2048, .ffn = 512,
  .router = {.round_weight = 1}, .shared = {.ffn = 512, .mix = SharedMix::sigmoid_gate}};
inline constexpr Config qwen3_5_397b_a17b{.experts = 512, .top_k = 10, .hidden = 4096, .ffn = 1024,
  .router = {.round_weight = 1}, .shared = {.ffn = 1024, .mix = SharedMix::sigmoid_gate}};

// OLMoE (Muennighoff et al. 2024): raw probabilities.
inline constexpr Config olmoe_1b_7b{.experts = 64, .top_k = 8, .hidden = 2048, .ffn = 1024,
  .router = {.normalise = Normalise::none, .round_weight = 1}};
// FlexOlmo (Shi et al. 2025), 7x7B-1T.
inline constexpr Config flex_olmo_7x7b_1t{.experts = 7, .top_k = 5, .hidden = 4096, .ffn = 11008,
  .router = {.normalise = Normalise::none, .round_weight = 1}};

// DeepSeekMoE (Dai et al. 2024), 16B: fp32 router, raw probabilities, two shared experts as one.
inline constexpr Config deepseek_moe_16b{.experts = 64, .top_k = 6, .hidden = 2048, .ffn = 1408,
  .router = {.precision = Precision::fp32, .normalise = Normalise::none}, .shared = {.ffn = 2816, .count = 2}};
// DeepSeek-V2 (2024), Lite.
inline constexpr Config deepseek_v2_lite{.experts = 64, .top_k = 6, .hidden = 2048, .ffn = 1408,
  .router = {.precision = Precision::fp32, .normalise = Normalise::none}, .shared = {.ffn = 2816, .count = 2}};
// DeepSeek-V2 (2024): device groups by their best probability, raw probabilities times 16.
inline constexpr Config deepseek_v2{.experts = 160, .top_k = 6, .hidden = 5120, .ffn = 1536,
  .router = {.precision = Precision::fp32, .select = Select::group_top_k, .groups = 8, .groups_kept = 3,
             .group_score = GroupScore::max, .group_fill = Fill::zero, .normalise = Normalise::none, .scale = 16},
  .shared = {.ffn = 3072, .count = 2}};
// Mistral Small 4 model card: softmax in the model's dtype.
inline constexpr Config mistral_small_4{.experts = 128, .top_k = 4, .hidden = 4096, .ffn = 2048,
  .router = {.precision = Precision::model, .epsilon = 1e-20f}, .shared = {.ffn = 2048}};

// Hunyuan-Large (Sun et al. 2024): top-1 with a shared expert; training re-sends dropped tokens, inference drops none.
inline constexpr Config hunyuan_large{.experts = 16, .top_k = 1, .hidden = 6400, .ffn = 18304,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .normalise = Normalise::none},
  .shared = {.ffn = 18304}};
// Hunyuan-A13B model card: the router's weights are kept in fp32.
inline constexpr Config hunyuan_a13b{.experts = 64, .top_k = 8, .hidden = 4096, .ffn = 3072,
  .router = {.precision = Precision::fp32, .weights = DType::fp32}, .shared = {.ffn = 3072}};

// ERNIE 4.5 (Baidu 2025): a bias on the probabilities for selection, sum clamped from below.
inline constexpr Config ernie_4_5_300b_a47b{.experts = 64, .top_k = 8, .hidden = 8192, .ffn = 3584,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .select_bias = 1, .normalise = Normalise::sum_clamp,
             .epsilon = 1e-12f, .round_weight = 1}};
inline constexpr Config ernie_4_5_21b_a3b{.experts = 64, .top_k = 6, .hidden = 2560, .ffn = 1536,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .select_bias = 1, .normalise = Normalise::sum_clamp,
             .epsilon = 1e-12f, .round_weight = 1},
  .shared = {.ffn = 3072, .count = 2}};

// LongCat-Flash (Meituan 2025): 256 identity experts share the softmax with 512 real ones.
inline constexpr Config longcat_flash{.experts = 512, .top_k = 12, .hidden = 6144, .ffn = 2048,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .select_bias = 1, .normalise = Normalise::none,
             .scale = 6},
  .expert = {.identity = 256}};

// Gemma 4 26B-A4B model card: the router reads its own normalised tensor; a learned factor per expert.
inline constexpr Config gemma_4_26b_a4b{.experts = 128, .top_k = 8, .hidden = 2816, .ffn = 704,
  .router = {.input = RouterInput::separate, .expert_scale = 1}, .expert = {.act = Act::gelu_tanh_mul}};
// ZAYA1-8B model card: logits come from the layer's own router MLP; the last class skips the experts.
inline constexpr Config zaya1_8b{.experts = 16, .top_k = 1, .hidden = 2048, .ffn = 2048,
  .router = {.input = RouterInput::logits, .precision = Precision::model, .select_bias = 1,
             .normalise = Normalise::none},
  .expert = {.skip = 1}};

}}}

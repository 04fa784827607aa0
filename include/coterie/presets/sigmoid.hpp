// Routers that score every expert on its own and add a learned bias for selection only: the DeepSeek-V3 lineage.
#pragma once
#include "../config.hpp"

namespace coterie { inline namespace v0 { namespace presets {

// "noaux_tc": sigmoid in fp32, selection on score + bias, weights scores / (sum + 1e-20) * scale.
constexpr RouterConfig balanced_by_bias(float scale) {
  return {.precision = Precision::fp32, .score = Score::sigmoid, .select_bias = 1, .epsilon = 1e-20f, .scale = scale};
}
// The same with the experts in 8 groups, of which the 4 best by the sum of their two best stay.
constexpr RouterConfig balanced_in_groups(float scale) {
  RouterConfig r = balanced_by_bias(scale);
  r.select = Select::group_top_k; r.groups = 8; r.groups_kept = 4;
  return r;
}

// DeepSeek-V3 (2024), also R1 and V3.1.
inline constexpr Config deepseek_v3{.experts = 256, .top_k = 8, .hidden = 7168, .ffn = 2048,
  .router = balanced_in_groups(2.5f), .shared = {.ffn = 2048}};
// DeepSeek-V3.2 model card: V3's layer under another attention.
inline constexpr Config deepseek_v3_2 = deepseek_v3;
// DeepSeek-V4 (2026): sqrt(softplus) scores, pre-activations clamped to 10.
inline constexpr Config deepseek_v4_flash{.experts = 256, .top_k = 6, .hidden = 4096, .ffn = 2048,
  .router = {.precision = Precision::fp32, .score = Score::sqrt_softplus, .select_bias = 1, .epsilon = 1e-20f,
             .scale = 1.5f},
  .expert = {.act = Act::silu_mul_clamp_before, .limit = 10}, .shared = {.ffn = 2048}};
inline constexpr Config deepseek_v4_pro{.experts = 384, .top_k = 6, .hidden = 7168, .ffn = 3072,
  .router = deepseek_v4_flash.router,
  .expert = {.act = Act::silu_mul_clamp_before, .limit = 10}, .shared = {.ffn = 3072}};
// The first three layers of V4: the experts are a table of the token id, the weights are still learned scores.
inline constexpr Config deepseek_v4_flash_hash = [] {
  Config c = deepseek_v4_flash;
  c.router.select = Select::table; c.router.select_bias = 0;
  return c;
}();

// Moonlight-16B-A3B (Liu et al. 2025).
inline constexpr Config moonlight_16b_a3b{.experts = 64, .top_k = 6, .hidden = 2048, .ffn = 1408,
  .router = balanced_by_bias(2.446f), .shared = {.ffn = 2816, .count = 2}};
// Kimi K2 (Moonshot 2025).
inline constexpr Config kimi_k2{.experts = 384, .top_k = 8, .hidden = 7168, .ffn = 2048,
  .router = balanced_by_bias(2.827f), .shared = {.ffn = 2048}};
// Kimi Linear 48B-A3B (Moonshot 2025). Widths and scale recalled.
inline constexpr Config kimi_linear_48b_a3b{.experts = 256, .top_k = 8, .hidden = 2304, .ffn = 1024,
  .router = balanced_by_bias(2.446f), .shared = {.ffn = 1024}};
// Kimi K3 model card: mxfp4 experts that work at a latent width, normalised on the way back, SiTU activation.
inline constexpr Config kimi_k3{.experts = 896, .top_k = 16, .hidden = 7168, .ffn = 3072, .weights = DType::mxfp4,
  .quant = {.group = 32}, .router = balanced_by_bias(1),
  .expert = {.act = Act::situ_mul, .alpha = 4, .limit = 25, .latent = 3584, .latent_norm = LatentNorm::rms},
  .shared = {.ffn = 6144, .count = 2}};

// GLM-4.5 and GLM-4.5-Air (Zhipu 2025).
inline constexpr Config glm_4_5{.experts = 160, .top_k = 8, .hidden = 5120, .ffn = 1536,
  .router = balanced_by_bias(2.5f), .shared = {.ffn = 1536}};
inline constexpr Config glm_4_5_air{.experts = 128, .top_k = 8, .hidden = 4096, .ffn = 1408,
  .router = balanced_by_bias(1), .shared = {.ffn = 1408}};
// GLM-4.7-Flash model card.
inline constexpr Config glm_4_7_flash{.experts = 64, .top_k = 4, .hidden = 2048, .ffn = 1536,
  .router = balanced_by_bias(1.8f), .shared = {.ffn = 1536}};
// GLM-5 model card.
inline constexpr Config glm_5{.experts = 256, .top_k = 8, .hidden = 6144, .ffn = 2048,
  .router = balanced_by_bias(2.5f), .shared = {.ffn = 2048}};
// dots.llm1 (Huo et al. 2025).
inline constexpr Config dots_llm1{.experts = 128, .top_k = 6, .hidden = 4096, .ffn = 1408,
  .router = balanced_by_bias(2.5f), .shared = {.ffn = 2816, .count = 2}};
// K-EXAONE-236B-A23B model card. Widths recalled.
inline constexpr Config k_exaone_236b_a23b{.experts = 128, .top_k = 8, .hidden = 6144, .ffn = 2048,
  .router = balanced_by_bias(2.5f), .shared = {.ffn = 2048}};
// Solar-Open-100B model card.
inline constexpr Config solar_open_100b{.experts = 128, .top_k = 8, .hidden = 4096, .ffn = 1280,
  .router = balanced_by_bias(1), .shared = {.ffn = 1280}};
// MiMo-V2-Flash model card: no shared expert.
inline constexpr Config mimo_v2_flash{.experts = 256, .top_k = 8, .hidden = 4096, .ffn = 2048,
  .router = balanced_by_bias(1)};
// A.X-K1 model card: DeepSeek-V3's layer with 192 experts, normalised outside. Widths recalled.
inline constexpr Config a_x_k1{.experts = 192, .top_k = 8, .hidden = 7168, .ffn = 2048,
  .router = balanced_in_groups(2.5f), .shared = {.ffn = 2048}};
// Ling 2.0 (inclusionAI 2025): fp32 only after the matmul, weights rounded. Widths recalled.
inline constexpr RouterConfig ling_router = [] {
  RouterConfig r = balanced_in_groups(2.5f);
  r.precision = Precision::matmul_then_fp32; r.round_weight = 1;
  return r;
}();
inline constexpr Config ling_mini_2_0{.experts = 256, .top_k = 8, .hidden = 2048, .ffn = 512, .router = ling_router,
  .shared = {.ffn = 512}};
inline constexpr Config ling_1t{.experts = 256, .top_k = 8, .hidden = 8192, .ffn = 2048, .router = ling_router,
  .shared = {.ffn = 2048}};
// Hy3-preview model card (Tencent 2026).
inline constexpr Config hy3_preview{.experts = 192, .top_k = 8, .hidden = 4096, .ffn = 1536,
  .router = balanced_by_bias(2.826f), .shared = {.ffn = 1536}};

// MiniMax-M2 model card: router in fp32, no epsilon, no shared expert.
inline constexpr Config minimax_m2{.experts = 256, .top_k = 8, .hidden = 3072, .ffn = 1536,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .score = Score::sigmoid, .select_bias = 1}};
// MiniMax-M3 (transformers): the scale multiplies the routed sum; gpt-oss's activation without biases.
inline constexpr Config minimax_m3{.experts = 128, .top_k = 4, .hidden = 6144, .ffn = 3072,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .score = Score::sigmoid, .select_bias = 1, .scale = 2,
             .scale_on = ScaleOn::routed_sum},
  .expert = {.act = Act::oai_mul}, .shared = {.ffn = 3072}};
// Step-3.5-Flash model card: most layers are unclamped, the last ones clamp after silu (the shared expert at 16).
inline constexpr Config step_3_5_flash{.experts = 288, .top_k = 8, .hidden = 4096, .ffn = 1280,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .score = Score::sigmoid, .select_bias = 1, .scale = 3,
             .scale_on = ScaleOn::routed_sum},
  .shared = {.ffn = 1280}};
inline constexpr Config step_3_5_flash_clamped = [] {
  Config c = step_3_5_flash;
  c.expert.act = Act::silu_mul_clamp_after; c.expert.limit = 7; c.shared.limit = 16;
  return c;
}();
// Laguna XS.2 model card (Poolside 2026): the scale multiplies the routed sum; the soft cap of its family is off here.
inline constexpr Config laguna_xs_2{.experts = 256, .top_k = 8, .hidden = 2048, .ffn = 512,
  .router = {.score = Score::sigmoid, .select_bias = 1, .scale = 2.5f, .scale_on = ScaleOn::routed_sum,
             .round_weight = 1},
  .shared = {.ffn = 512}};

// Trinity Mini and Nano model cards (Arcee AFMoE): fp32 after the matmul.
inline constexpr RouterConfig afmoe_router = [] {
  RouterConfig r = balanced_by_bias(2.826f);
  r.precision = Precision::matmul_then_fp32;
  return r;
}();
inline constexpr Config trinity_mini{.experts = 128, .top_k = 8, .hidden = 2048, .ffn = 1024, .router = afmoe_router,
  .shared = {.ffn = 1024}};
inline constexpr Config trinity_nano{.experts = 128, .top_k = 8, .hidden = 1024, .ffn = 256, .router = afmoe_router,
  .shared = {.ffn = 256}};
// LFM2-8B-A1B model card (Liquid AI): sigmoid in the model's dtype.
inline constexpr Config lfm2_8b_a1b{.experts = 32, .top_k = 4, .hidden = 2048, .ffn = 1792,
  .router = {.precision = Precision::model, .score = Score::sigmoid, .select_bias = 1, .epsilon = 1e-6f}};
// Klear-46B-A2.5B model card: routed and shared outputs mixed by a softmax of two learned coefficients.
inline constexpr Config klear_46b_a2_5b{.experts = 256, .top_k = 8, .hidden = 2048, .ffn = 896,
  .router = {.score = Score::sigmoid, .select_bias = 1}, .shared = {.ffn = 896, .mix = SharedMix::coefficients}};
// Nemotron 3 (NVIDIA 2025): ungated relu^2 experts; Nano at full width, Super in a latent space.
inline constexpr Config nemotron_3_nano_30b_a3b{.experts = 128, .top_k = 6, .hidden = 2688, .ffn = 1856,
  .router = balanced_by_bias(2.5f), .expert = {.act = Act::relu2}, .shared = {.ffn = 3712}};
inline constexpr Config nemotron_3_super_120b_a12b{.experts = 512, .top_k = 22, .hidden = 4096, .ffn = 2688,
  .router = balanced_by_bias(5), .expert = {.act = Act::relu2, .latent = 1024}, .shared = {.ffn = 5376}};
// Inkling (transformers): two shared experts are rows of the router and share its normalisation.
inline constexpr Config inkling{.experts = 256, .top_k = 6, .hidden = 6144, .ffn = 3072,
  .router = {.precision = Precision::model, .score = Score::sigmoid, .select_bias = 1, .scale = 8},
  .shared = {.ffn = 6144, .count = 2, .mix = SharedMix::router_rows}};

}}}

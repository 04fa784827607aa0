// One Model per published model, by the routing of its layer, and comparators.
#pragma once
#include "models/early.hpp"
#include "models/softmax.hpp"
#include "models/selected.hpp"
#include "models/sigmoid.hpp"
#include "models/dense.hpp"

namespace coterie { inline namespace v0 { namespace models {

// Every model, oldest lineage first, comparators and undisclosed ones last.
inline constexpr Model all[] = {
  gshard_600b, switch_base, switch_c, glam_64b_64e, st_moe_32b, nllb_moe_54b,
  mixtral_8x7b, mixtral_8x22b, minimax_text_01, grok_1, dbrx, jamba_v0_1, jamba_1_5_large, snowflake_arctic,
  qwen1_5_moe_a2_7b, qwen2_57b_a14b, qwen3_30b_a3b, qwen3_235b_a22b, qwen3_next_80b_a3b, qwen3_5_35b_a3b,
  qwen3_5_397b_a17b, olmoe_1b_7b, flex_olmo_7x7b_1t, deepseek_moe_16b, deepseek_v2_lite, deepseek_v2, hunyuan_large,
  hunyuan_a13b, ernie_4_5_300b_a47b, ernie_4_5_21b_a3b, longcat_flash,
  jetmoe_8b, granite_3_0_1b_a400m, granite_3_0_3b_a800m, gpt_oss_120b, gpt_oss_20b, llama4_scout, llama4_maverick,
  phi_3_5_moe,
  deepseek_v3, deepseek_v3_2, deepseek_v4_flash, deepseek_v4_pro, moonlight_16b_a3b, kimi_k2, kimi_k3, glm_4_5,
  glm_4_5_air, glm_4_7_flash, glm_5, mimo_v2_flash, hy3_preview, dots_llm1, ling_1t, minimax_m2, minimax_m3, trinity_mini,
  trinity_nano, lfm2_8b_a1b, nemotron_3_nano_30b_a3b, nemotron_3_super_120b_a12b,
  llama2_70b, llama3_70b, gpt3_175b, gpt4, gemini_1_5,
};

}}}

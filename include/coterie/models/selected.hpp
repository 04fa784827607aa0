// Models whose routers select on raw logits.
#pragma once
#include "../presets/selected.hpp"
#include "mixers.hpp"
#include "model.hpp"

namespace coterie { inline namespace v0 { namespace models {

// Attention is itself a top-2 mixture of 8: q and o per expert, k and v shared, a router; one output bias per MoE layer.
inline constexpr Model jetmoe_8b{.layer = presets::jetmoe_8b, .layers = 24, .moe_layers = 24,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 32000, .tied = true, .name = "jetmoe_8b",
  .mixer_parameters = 24 * (8 * 2 * 2048 * 2048 + 2 * 2048 * 2048 + 8 * 2048), .extra_parameters = 24 * 2 * 2048,
  .idle_parameters = 24 * 6 * 2 * 2048 * 2048,
  .published = {.total = 8.5, .active = 2.2, .quoted = Quoted::without_embeddings, .tolerance = 0.035}};
inline constexpr Model granite_3_0_1b_a400m{.layer = presets::granite_3_0_1b_a400m, .layers = 24, .moe_layers = 24,
  .heads = 16, .kv_heads = 8, .head_dim = 64, .vocabulary = 49155, .tied = true, .name = "granite_3_0_1b_a400m",
  .published = {.total = 1.3, .active = 0.4, .tolerance = 0.08}};
inline constexpr Model granite_3_0_3b_a800m{.layer = presets::granite_3_0_3b_a800m, .layers = 32, .moe_layers = 32,
  .heads = 24, .kv_heads = 8, .head_dim = 64, .vocabulary = 49155, .tied = true, .name = "granite_3_0_3b_a800m",
  .published = {.total = 3.3, .active = 0.8, .tolerance = 0.12}};

// Attention has biases on q, k, v and o, and one sink logit per head.
inline constexpr Model gpt_oss_120b{.layer = presets::gpt_oss_120b, .layers = 36, .moe_layers = 36,
  .heads = 64, .kv_heads = 8, .head_dim = 64, .vocabulary = 201088, .name = "gpt_oss_120b",
  .mixer_parameters = 36 * (attention(2880, 64, 8, 64) + qkv_bias(64, 8, 64) + 2880 + 64),
  .published = {.total = 116.83, .active = 5.13, .quoted = Quoted::without_input_embedding, .tolerance = 0.004}};
inline constexpr Model gpt_oss_20b{.layer = presets::gpt_oss_20b, .layers = 24, .moe_layers = 24,
  .heads = 64, .kv_heads = 8, .head_dim = 64, .vocabulary = 201088, .name = "gpt_oss_20b",
  .mixer_parameters = 24 * (attention(2880, 64, 8, 64) + qkv_bias(64, 8, 64) + 2880 + 64),
  .published = {.total = 20.91, .active = 3.61, .quoted = Quoted::without_input_embedding, .tolerance = 0.004}};

inline constexpr Model llama4_scout{.layer = presets::llama4_scout, .layers = 48, .moe_layers = 48,
  .heads = 40, .kv_heads = 8, .head_dim = 128, .vocabulary = 202048, .name = "llama4_scout",
  .published = {.total = 109, .active = 17, .tolerance = 0.02, .note = "text only; the published 109 includes the vision tower"}};
inline constexpr Model llama4_maverick{.layer = presets::llama4_maverick, .layers = 48, .moe_layers = 24, .dense_ffn = 16384,
  .heads = 40, .kv_heads = 8, .head_dim = 128, .vocabulary = 202048, .name = "llama4_maverick",
  .published = {.total = 400, .active = 17, .tolerance = 0.02, .note = "text only"}};

// LayerNorms with weight and bias, a bias on the head.
inline constexpr Model phi_3_5_moe{.layer = presets::phi_3_5_moe, .layers = 32, .moe_layers = 32,
  .heads = 32, .kv_heads = 8, .head_dim = 128, .vocabulary = 32064, .name = "phi_3_5_moe", .norms = 4,
  .mixer_parameters = 32 * (attention(4096, 32, 8, 128) + qkv_bias(32, 8, 128) + 4096), .extra_parameters = 32064,
  .published = {.total = 41.9, .active = 6.6}};

}}}

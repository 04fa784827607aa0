// Models whose routers take a softmax over all logits.
#pragma once
#include "../presets/softmax.hpp"
#include "mixers.hpp"
#include "model.hpp"

namespace coterie { inline namespace v0 { namespace models {

inline constexpr Model mixtral_8x7b{.layer = presets::mixtral_8x7b, .layers = 32, .moe_layers = 32,
  .heads = 32, .kv_heads = 8, .head_dim = 128, .vocabulary = 32000, .name = "mixtral_8x7b",
  .published = {.total = 46.7, .active = 12.9}};
inline constexpr Model mixtral_8x22b{.layer = presets::mixtral_8x22b, .layers = 56, .moe_layers = 56,
  .heads = 48, .kv_heads = 8, .head_dim = 128, .vocabulary = 32768, .name = "mixtral_8x22b",
  .published = {.total = 141, .active = 39}};
inline constexpr Model minimax_text_01{.layer = presets::minimax_text_01, .layers = 80, .moe_layers = 80,
  .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 200064, .name = "minimax_text_01",
  .mixer_parameters = 10 * attention(6144, 64, 8, 128) + 70 * lightning_attention(6144, 64, 128),
  .published = {.total = 456, .active = 45.9, .quoted = Quoted::without_embeddings}};
inline constexpr Model grok_1{.layer = presets::grok_1, .layers = 64, .moe_layers = 64,
  .heads = 48, .kv_heads = 8, .head_dim = 128, .vocabulary = 131072, .tied = true, .name = "grok_1", .norms = 4,
  .published = {.total = 314, .note = "all public; active only as \"25 % of the weights\"; 314 leaves out the embedding"}};
inline constexpr Model dbrx{.layer = presets::dbrx, .layers = 40, .moe_layers = 40,
  .heads = 48, .kv_heads = 8, .head_dim = 128, .vocabulary = 100352, .name = "dbrx",
  .published = {.total = 132, .active = 36, .tolerance = 0.015}};
inline constexpr Model jamba_v0_1{.layer = presets::jamba_v0_1, .layers = 32, .moe_layers = 16, .dense_ffn = 14336,
  .heads = 32, .kv_heads = 8, .head_dim = 128, .vocabulary = 65536, .name = "jamba_v0_1",
  .mixer_parameters = 4 * attention(4096, 32, 8, 128) + 28 * mamba(4096),
  .published = {.total = 52, .active = 12, .tolerance = 0.02}};
inline constexpr Model jamba_1_5_large{.layer = presets::jamba_1_5_large, .layers = 72, .moe_layers = 36, .dense_ffn = 24576,
  .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 65536, .name = "jamba_1_5_large",
  .mixer_parameters = 9 * attention(8192, 64, 8, 128) + 63 * mamba(8192),
  .published = {.total = 398, .active = 94, .tolerance = 0.02}};
inline constexpr Model snowflake_arctic{.layer = presets::snowflake_arctic, .layers = 35, .moe_layers = 35, .dense_ffn = 7168,
  .heads = 56, .kv_heads = 8, .head_dim = 128, .vocabulary = 32000, .name = "snowflake_arctic", .dense_layers = 35, .norms = 3,
  .published = {.total = 480, .active = 17, .tolerance = 0.02, .note = "a dense MLP of width hidden beside every MoE layer"}};

inline constexpr Model qwen1_5_moe_a2_7b{.layer = presets::qwen1_5_moe_a2_7b, .layers = 24, .moe_layers = 24,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 151936, .name = "qwen1_5_moe_a2_7b",
  .mixer_parameters = 24 * (attention(2048, 16, 16, 128) + qkv_bias(16, 16, 128)),
  .published = {.total = 14.3, .active = 2.7}};
inline constexpr Model qwen2_57b_a14b{.layer = presets::qwen2_57b_a14b, .layers = 28, .moe_layers = 28,
  .heads = 28, .kv_heads = 4, .head_dim = 128, .vocabulary = 151936, .name = "qwen2_57b_a14b",
  .mixer_parameters = 28 * (attention(3584, 28, 4, 128) + qkv_bias(28, 4, 128)),
  .published = {.total = 57.4, .active = 14.2}};
inline constexpr Model qwen3_30b_a3b{.layer = presets::qwen3_30b_a3b, .layers = 48, .moe_layers = 48,
  .heads = 32, .kv_heads = 4, .head_dim = 128, .vocabulary = 151936, .name = "qwen3_30b_a3b",
  .mixer_parameters = 48 * (attention(2048, 32, 4, 128) + 256),
  .published = {.total = 30.5, .active = 3.3, .tolerance = 0.02}};
inline constexpr Model qwen3_235b_a22b{.layer = presets::qwen3_235b_a22b, .layers = 94, .moe_layers = 94,
  .heads = 64, .kv_heads = 4, .head_dim = 128, .vocabulary = 151936, .name = "qwen3_235b_a22b",
  .mixer_parameters = 94 * (attention(4096, 64, 4, 128) + 256),
  .published = {.total = 235, .active = 22}};
// From Qwen3-Next on every fourth layer is attention with a gate as wide as q, the others gated delta nets.
inline constexpr Model qwen3_next_80b_a3b{.layer = presets::qwen3_next_80b_a3b, .layers = 48, .moe_layers = 48,
  .heads = 16, .kv_heads = 2, .head_dim = 256, .vocabulary = 151936, .name = "qwen3_next_80b_a3b",
  .mixer_parameters = 12 * (attention(2048, 16, 2, 256) + 2048 * 16 * 256 + 512)
                    + 36 * gated_delta_net(2048, {.key_heads = 16, .value_heads = 32, .key_dim = 128, .value_dim = 128}),
  .published = {.total = 80, .active = 3, .quoted = Quoted::without_embeddings, .tolerance = 0.15, .note = "\"A3B\" is nominal"}};
inline constexpr Model qwen3_5_35b_a3b{.layer = presets::qwen3_5_35b_a3b, .layers = 40, .moe_layers = 40,
  .heads = 16, .kv_heads = 2, .head_dim = 256, .vocabulary = 248320, .name = "qwen3_5_35b_a3b",
  .mixer_parameters = 10 * (attention(2048, 16, 2, 256) + 2048 * 16 * 256 + 512)
                    + 30 * gated_delta_net(2048, {.key_heads = 16, .value_heads = 32, .key_dim = 128, .value_dim = 128}),
  .published = {.total = 35, .active = 3, .tolerance = 0.2, .note = "\"A3B\" is nominal"}};
inline constexpr Model qwen3_5_397b_a17b{.layer = presets::qwen3_5_397b_a17b, .layers = 60, .moe_layers = 60,
  .heads = 32, .kv_heads = 2, .head_dim = 256, .vocabulary = 248320, .name = "qwen3_5_397b_a17b",
  .mixer_parameters = 15 * (attention(4096, 32, 2, 256) + 4096 * 32 * 256 + 512)
                    + 45 * gated_delta_net(4096, {.key_heads = 16, .value_heads = 64, .key_dim = 128, .value_dim = 128}),
  .published = {.total = 397, .active = 17, .tolerance = 0.02}};

inline constexpr Model olmoe_1b_7b{.layer = presets::olmoe_1b_7b, .layers = 16, .moe_layers = 16,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 50304, .name = "olmoe_1b_7b",
  .mixer_parameters = 16 * (attention(2048, 16, 16, 128) + 4096),
  .published = {.total = 6.9, .active = 1.3, .tolerance = 0.02}};
inline constexpr Model flex_olmo_7x7b_1t{.layer = presets::flex_olmo_7x7b_1t, .layers = 32, .moe_layers = 32,
  .heads = 32, .kv_heads = 32, .head_dim = 128, .vocabulary = 100352, .name = "flex_olmo_7x7b_1t",
  .mixer_parameters = 32 * (attention(4096, 32, 32, 128) + 8192),
  .published = {.total = 33, .tolerance = 0.02}};

inline constexpr Model deepseek_moe_16b{.layer = presets::deepseek_moe_16b, .layers = 28, .moe_layers = 27, .dense_ffn = 10944,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 102400, .name = "deepseek_moe_16b",
  .published = {.total = 16.4, .active = 2.8, .tolerance = 0.02}};
inline constexpr Model deepseek_v2_lite{.layer = presets::deepseek_v2_lite, .layers = 27, .moe_layers = 26, .dense_ffn = 10944,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 102400, .name = "deepseek_v2_lite",
  .mixer_parameters = 27 * latent_attention(2048,
                        {.heads = 16, .q_rank = 0, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128}),
  .published = {.total = 15.7, .active = 2.4, .quoted = Quoted::without_input_embedding, .tolerance = 0.03}};
inline constexpr Model deepseek_v2{.layer = presets::deepseek_v2, .layers = 60, .moe_layers = 59, .dense_ffn = 12288,
  .heads = 128, .kv_heads = 128, .head_dim = 128, .vocabulary = 102400, .name = "deepseek_v2",
  .mixer_parameters = 60 * latent_attention(5120,
                        {.heads = 128, .q_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128}),
  .published = {.total = 236, .active = 21, .tolerance = 0.025}};

inline constexpr Model hunyuan_large{.layer = presets::hunyuan_large, .layers = 64, .moe_layers = 64,
  .heads = 80, .kv_heads = 8, .head_dim = 80, .vocabulary = 128512, .tied = true, .name = "hunyuan_large",
  .mixer_parameters = 64 * attention(6400, 80, 0, 80) + 32 * attention(6400, 0, 8, 80),
  .published = {.total = 389, .active = 52, .tolerance = 0.02, .note = "every second layer reuses k and v"}};
inline constexpr Model hunyuan_a13b{.layer = presets::hunyuan_a13b, .layers = 32, .moe_layers = 32,
  .heads = 32, .kv_heads = 8, .head_dim = 128, .vocabulary = 128167, .tied = true, .name = "hunyuan_a13b",
  .mixer_parameters = 32 * (attention(4096, 32, 8, 128) + 256),
  .published = {.total = 80, .active = 13, .tolerance = 0.03}};
inline constexpr Model ernie_4_5_300b_a47b{.layer = presets::ernie_4_5_300b_a47b, .layers = 54, .moe_layers = 51,
  .dense_ffn = 28672, .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 103424, .name = "ernie_4_5_300b_a47b",
  .published = {.total = 300, .active = 47, .tolerance = 0.02}};
inline constexpr Model ernie_4_5_21b_a3b{.layer = presets::ernie_4_5_21b_a3b, .layers = 28, .moe_layers = 27, .dense_ffn = 12288,
  .heads = 20, .kv_heads = 4, .head_dim = 128, .vocabulary = 103424, .tied = true, .name = "ernie_4_5_21b_a3b",
  .published = {.total = 21, .active = 3, .quoted = Quoted::without_embeddings, .tolerance = 0.05}};
inline constexpr Model longcat_flash{.layer = presets::longcat_flash, .layers = 28, .moe_layers = 28, .dense_ffn = 12288,
  .heads = 64, .kv_heads = 64, .head_dim = 128, .vocabulary = 131072, .name = "longcat_flash", .dense_layers = 56, .norms = 4,
  .mixer_parameters = 56 * latent_attention(6144,
                        {.heads = 64, .q_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128}),
  .published = {.total = 560, .active = 27, .quoted = Quoted::without_input_embedding, .tolerance = 0.03,
                .note = "two attentions and two dense FFNs per layer; on average 8 of 12 choices are real experts"}};

}}}

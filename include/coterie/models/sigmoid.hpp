// Models of the DeepSeek-V3 lineage: a score per expert, a bias for selection.
#pragma once
#include "../presets/sigmoid.hpp"
#include "mixers.hpp"
#include "model.hpp"

namespace coterie { inline namespace v0 { namespace models {

inline constexpr Model deepseek_v3{.layer = presets::deepseek_v3, .layers = 61, .moe_layers = 58, .dense_ffn = 18432,
  .heads = 128, .kv_heads = 128, .head_dim = 128, .vocabulary = 129280, .name = "deepseek_v3",
  .mixer_parameters = 61 * latent_attention(7168,
                        {.heads = 128, .q_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128}),
  .published = {.total = 671, .active = 37, .quoted = Quoted::without_input_embedding}};
inline constexpr Model deepseek_v3_2{.layer = presets::deepseek_v3_2, .layers = 61, .moe_layers = 58, .dense_ffn = 18432,
  .heads = 128, .kv_heads = 128, .head_dim = 128, .vocabulary = 129280, .name = "deepseek_v3_2",
  .mixer_parameters = 61 * (latent_attention(7168,
                        {.heads = 128, .q_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128})
                           + lightning_indexer(7168, 1536, 64, 128)),
  .published = {.note = "V3 and its indexer"}};
// V4's attention: q through a rank, one shared k and v of width 512, outputs projected in groups through a rank.
struct Grouped { Count heads, q_rank, groups, out_rank; };
constexpr Count grouped_output_attention(Count hidden, Grouped g) {
  Count const width = 512;
  return hidden * g.q_rank + g.q_rank + g.q_rank * g.heads * width + hidden * width + width
       + g.heads * width / g.groups * g.groups * g.out_rank + g.groups * g.out_rank * hidden + g.heads;
}
inline constexpr Model deepseek_v4_flash{.layer = presets::deepseek_v4_flash, .layers = 43, .moe_layers = 43,
  .heads = 64, .kv_heads = 1, .head_dim = 512, .vocabulary = 129280, .name = "deepseek_v4_flash",
  .mixer_parameters = 43 * grouped_output_attention(4096, {.heads = 64, .q_rank = 1024, .groups = 8, .out_rank = 1024}),
  .published = {.total = 284, .active = 13, .tolerance = 0.03,
                .note = "compressor, indexer and hyper-connections not counted; the selection bias is counted in all layers"}};
inline constexpr Model deepseek_v4_pro{.layer = presets::deepseek_v4_pro, .layers = 61, .moe_layers = 61,
  .heads = 128, .kv_heads = 1, .head_dim = 512, .vocabulary = 129280, .name = "deepseek_v4_pro",
  .mixer_parameters = 61 * grouped_output_attention(7168, {.heads = 128, .q_rank = 1536, .groups = 16, .out_rank = 1024}),
  .published = {.total = 1600, .active = 49, .tolerance = 0.04, .note = "as Flash; the rank of q is assumed"}};

inline constexpr Model moonlight_16b_a3b{.layer = presets::moonlight_16b_a3b, .layers = 27, .moe_layers = 26, .dense_ffn = 11264,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 163840, .name = "moonlight_16b_a3b",
  .mixer_parameters = 27 * latent_attention(2048,
                        {.heads = 16, .q_rank = 0, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128}),
  .published = {.total = 16, .active = 3, .tolerance = 0.05}};
inline constexpr Model kimi_k2{.layer = presets::kimi_k2, .layers = 61, .moe_layers = 60, .dense_ffn = 18432,
  .heads = 64, .kv_heads = 64, .head_dim = 128, .vocabulary = 163840, .name = "kimi_k2",
  .mixer_parameters = 61 * latent_attention(7168,
                        {.heads = 64, .q_rank = 1536, .kv_rank = 512, .nope = 128, .rope = 64, .value = 128}),
  .published = {.total = 1026, .active = 32, .quoted = Quoted::without_input_embedding, .tolerance = 0.02}};
inline constexpr Model kimi_k3{.layer = presets::kimi_k3, .layers = 93, .moe_layers = 92, .vocabulary = 163840, .name = "kimi_k3",
  .published = {.note = "MoE layers, norms and embeddings only: attention and the one dense FFN not counted"}};

inline constexpr Model glm_4_5{.layer = presets::glm_4_5, .layers = 92, .moe_layers = 89, .dense_ffn = 12288,
  .heads = 96, .kv_heads = 8, .head_dim = 128, .vocabulary = 151552, .name = "glm_4_5",
  .mixer_parameters = 92 * (attention(5120, 96, 8, 128) + qkv_bias(96, 8, 128) + 256),
  .published = {.total = 355, .active = 32, .quoted = Quoted::without_embeddings, .tolerance = 0.03,
                .note = "the published figure includes a prediction layer"}};
inline constexpr Model glm_4_5_air{.layer = presets::glm_4_5_air, .layers = 46, .moe_layers = 45, .dense_ffn = 10944,
  .heads = 96, .kv_heads = 8, .head_dim = 128, .vocabulary = 151552, .name = "glm_4_5_air",
  .mixer_parameters = 46 * (attention(4096, 96, 8, 128) + qkv_bias(96, 8, 128)),
  .published = {.total = 106, .active = 12, .quoted = Quoted::without_embeddings, .tolerance = 0.02}};
inline constexpr Model glm_5{.layer = presets::glm_5, .layers = 78, .moe_layers = 75, .dense_ffn = 12288,
  .heads = 64, .kv_heads = 64, .head_dim = 256, .vocabulary = 154880, .name = "glm_5",
  .mixer_parameters = 78 * (latent_attention(6144,
                        {.heads = 64, .q_rank = 2048, .kv_rank = 512, .nope = 192, .rope = 64, .value = 256})
                           + lightning_indexer(6144, 2048, 32, 128)),
  .published = {.total = 744, .active = 40, .quoted = Quoted::without_embeddings, .tolerance = 0.03}};
inline constexpr Model glm_4_7_flash{.layer = presets::glm_4_7_flash, .layers = 47, .moe_layers = 46, .dense_ffn = 10240,
  .heads = 20, .kv_heads = 20, .head_dim = 256, .vocabulary = 154880, .name = "glm_4_7_flash",
  .mixer_parameters = 47 * latent_attention(2048,
                           {.heads = 20, .q_rank = 768, .kv_rank = 512, .nope = 192, .rope = 64, .value = 256}),
  .published = {.total = 30, .active = 3, .quoted = Quoted::without_embeddings, .tolerance = 0.1, .note = "\"A3B\" is nominal"}};
// Keys of width 192, values of 128; 9 layers attend to everything, 39 to a window with more key/value heads and sinks.
inline constexpr Model mimo_v2_flash{.layer = presets::mimo_v2_flash, .layers = 48, .moe_layers = 47, .dense_ffn = 16384,
  .heads = 64, .kv_heads = 4, .head_dim = 192, .vocabulary = 152576, .name = "mimo_v2_flash",
  .mixer_parameters = 4096LL * (48 * 64 + 9 * 4 + 39 * 8) * (192 + 128) + 39 * 64,
  .published = {.total = 309, .active = 15, .tolerance = 0.02}};
inline constexpr Model hy3_preview{.layer = presets::hy3_preview, .layers = 80, .moe_layers = 79, .dense_ffn = 13312,
  .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 120832, .name = "hy3_preview",
  .mixer_parameters = 80 * (attention(4096, 64, 8, 128) + 256),
  .published = {.total = 295, .active = 21, .tolerance = 0.02}};
inline constexpr Model dots_llm1{.layer = presets::dots_llm1, .layers = 62, .moe_layers = 61, .dense_ffn = 10944,
  .heads = 32, .kv_heads = 32, .head_dim = 128, .vocabulary = 152064, .name = "dots_llm1",
  .mixer_parameters = 62 * (attention(4096, 32, 32, 128) + 256),
  .published = {.total = 142, .active = 14, .tolerance = 0.03}};
inline constexpr Model ling_1t{.layer = presets::ling_1t, .layers = 80, .moe_layers = 76, .dense_ffn = 18432,
  .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 157184, .name = "ling_1t",
  .mixer_parameters = 80 * (attention(8192, 64, 8, 128) + 256),
  .published = {.total = 1000, .active = 50, .tolerance = 0.03, .note = "shape recalled; the counts it gives are its evidence"}};

inline constexpr Model minimax_m2{.layer = presets::minimax_m2, .layers = 62, .moe_layers = 62,
  .heads = 48, .kv_heads = 8, .head_dim = 128, .vocabulary = 200064, .name = "minimax_m2",
  .mixer_parameters = 62 * (attention(3072, 48, 8, 128) + 56 * 128),
  .published = {.total = 230, .active = 10, .quoted = Quoted::without_embeddings, .tolerance = 0.025}};
inline constexpr Model minimax_m3{.layer = presets::minimax_m3, .layers = 60, .moe_layers = 57, .dense_ffn = 12288,
  .heads = 64, .kv_heads = 4, .head_dim = 128, .vocabulary = 200064, .name = "minimax_m3",
  .mixer_parameters = 60 * (attention(6144, 64, 4, 128) + 256),
  .published = {.note = "text only, the library's default shape; 3 leading dense layers assumed, indexer not counted"}};

// AFMoE gates attention's output by a sigmoid as wide as q.
inline constexpr Model trinity_mini{.layer = presets::trinity_mini, .layers = 32, .moe_layers = 30, .dense_ffn = 6144,
  .heads = 32, .kv_heads = 4, .head_dim = 128, .vocabulary = 200192, .name = "trinity_mini", .norms = 4,
  .mixer_parameters = 32 * (attention(2048, 32, 4, 128) + 2048 * 32 * 128 + 256),
  .published = {.total = 26, .active = 3, .quoted = Quoted::without_input_embedding, .tolerance = 0.05}};
inline constexpr Model trinity_nano{.layer = presets::trinity_nano, .layers = 56, .moe_layers = 54, .dense_ffn = 3072,
  .heads = 8, .kv_heads = 2, .head_dim = 128, .vocabulary = 200192, .name = "trinity_nano", .norms = 4,
  .mixer_parameters = 56 * (attention(1024, 8, 2, 128) + 1024 * 8 * 128 + 256),
  .published = {.total = 6, .active = 1, .tolerance = 0.06}};
inline constexpr Model lfm2_8b_a1b{.layer = presets::lfm2_8b_a1b, .layers = 24, .moe_layers = 22, .dense_ffn = 7168,
  .heads = 32, .kv_heads = 8, .head_dim = 64, .vocabulary = 65536, .tied = true, .name = "lfm2_8b_a1b",
  .mixer_parameters = 6 * (attention(2048, 32, 8, 64) + 128) + 18 * short_convolution(2048),
  .published = {.total = 8.3, .active = 1.5, .tolerance = 0.05}};
// 52 blocks of one kind each: 6 attention, 23 Mamba-2, 23 MoE.
inline constexpr Model nemotron_3_nano_30b_a3b{.layer = presets::nemotron_3_nano_30b_a3b, .layers = 52, .moe_layers = 23,
  .heads = 32, .kv_heads = 2, .head_dim = 128, .vocabulary = 131072, .name = "nemotron_3_nano_30b_a3b", .norms = 1,
  .mixer_parameters = 6 * attention(2688, 32, 2, 128) + 23 * mamba2(2688, 64, 64, 8, 128),
  .published = {.total = 31.6, .active = 3.6, .tolerance = 0.02}};
// 88 blocks of one kind each: 8 attention, 40 Mamba-2, 40 MoE.
inline constexpr Model nemotron_3_super_120b_a12b{.layer = presets::nemotron_3_super_120b_a12b, .layers = 88, .moe_layers = 40,
  .heads = 32, .kv_heads = 2, .head_dim = 128, .vocabulary = 131072, .name = "nemotron_3_super_120b_a12b", .norms = 1,
  .mixer_parameters = 8 * attention(4096, 32, 2, 128) + 40 * mamba2(4096, 128, 64, 8, 128),
  .published = {.total = 120, .active = 12, .quoted = Quoted::without_embeddings, .tolerance = 0.02}};

}}}

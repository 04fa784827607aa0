// Encoder-decoders and decoders of 2020 to 2022. The decoder's cross attention counts as a mixer.
#pragma once
#include "../presets/early.hpp"
#include "mixers.hpp"
#include "model.hpp"

namespace coterie { inline namespace v0 { namespace models {

inline constexpr Model gshard_600b{.layer = presets::gshard_600b, .layers = 36, .moe_layers = 18, .dense_ffn = 8192,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 64000, .tied = true, .name = "gshard_600b", .dense_matrices = 2,
  .published = {.total = 600, .tolerance = 0.05,
                .note = "one stack of 36 layers and the vocabulary are assumed; 2048 experts every second layer are 618e9"}};
inline constexpr Model switch_base{.layer = presets::switch_base, .layers = 24, .moe_layers = 12, .dense_ffn = 3072,
  .heads = 12, .kv_heads = 12, .head_dim = 64, .vocabulary = 32128, .tied = true, .name = "switch_base", .dense_matrices = 2,
  .mixer_parameters = (12 + 24) * attention(768, 12, 12, 64),
  .published = {.total = 7.4, .note = "switch-base-128: encoder 12, decoder 12"}};
inline constexpr Model switch_c{.layer = presets::switch_c, .layers = 30, .moe_layers = 30,
  .heads = 30, .kv_heads = 30, .head_dim = 64, .vocabulary = 32128, .tied = true, .name = "switch_c",
  .mixer_parameters = (15 + 30) * attention(2080, 30, 30, 64),
  .published = {.total = 1571, .tolerance = 0.02, .note = "encoder 15, decoder 15 with cross attention"}};
inline constexpr Model glam_64b_64e{.layer = presets::glam_64b_64e, .layers = 64, .moe_layers = 32, .dense_ffn = 32768,
  .heads = 128, .kv_heads = 128, .head_dim = 128, .vocabulary = 256000, .tied = true, .name = "glam_64b_64e",
  .published = {.total = 1162, .active = 96.6,
                .note = "both figures match only with two-matrix experts and gated dense layers"}};
inline constexpr Model st_moe_32b{.layer = presets::st_moe_32b, .layers = 48, .moe_layers = 12, .dense_ffn = 20480,
  .heads = 64, .kv_heads = 64, .head_dim = 128, .vocabulary = 256000, .tied = true, .name = "st_moe_32b", .dense_layers = 48,
  .mixer_parameters = 72 * attention(5120, 64, 64, 128),
  .published = {.total = 269, .tolerance = 0.01, .note = "36 dense layers and a dense FFN beside each of the 12 MoE layers"}};
inline constexpr Model nllb_moe_54b{.layer = presets::nllb_moe_54b, .layers = 48, .moe_layers = 12, .dense_ffn = 8192,
  .heads = 16, .kv_heads = 16, .head_dim = 128, .vocabulary = 256206, .tied = true, .name = "nllb_moe_54b", .dense_matrices = 2,
  .mixer_parameters = 72 * (attention(2048, 16, 16, 128) + 4 * 2048),
  .published = {.total = 54.5, .tolerance = 0.01, .note = "encoder 24, decoder 24; dense FFN biases not counted"}};

}}}

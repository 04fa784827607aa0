// Dense models to compare with, and models of which too little is known to compute anything.
#pragma once
#include "mixers.hpp"
#include "model.hpp"

namespace coterie { inline namespace v0 { namespace models {

inline constexpr Model llama2_70b{.layer = {.hidden = 8192}, .layers = 80, .dense_ffn = 28672,
  .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 32000, .name = "llama2_70b",
  .published = {.total = 69, .active = 69, .note = "dense"}};
inline constexpr Model llama3_70b{.layer = {.hidden = 8192}, .layers = 80, .dense_ffn = 28672,
  .heads = 64, .kv_heads = 8, .head_dim = 128, .vocabulary = 128256, .name = "llama3_70b",
  .published = {.total = 70.6, .active = 70.6, .note = "dense"}};
// LayerNorms with weight and bias, biases everywhere, learned positions.
inline constexpr Model gpt3_175b{.layer = {.hidden = 12288}, .layers = 96, .dense_ffn = 49152,
  .heads = 96, .kv_heads = 96, .head_dim = 128, .vocabulary = 50257, .tied = true, .name = "gpt3_175b", .dense_matrices = 2,
  .norms = 4, .extra_parameters = 96 * 9 * 12288 + 2048 * 12288 + 12288,
  .published = {.total = 175, .active = 175, .note = "dense"}};

// No shape, hence no footprint but the rumoured total.
inline constexpr Model gpt4{.layer = {.experts = 8, .top_k = 2}, .name = "gpt4",
  .published = {.total = 1760, .status = Status::rumoured,
                .note = "\"8x220B\" was reported by third parties in 2023; OpenAI has disclosed neither size nor architecture"}};
inline constexpr Model gemini_1_5{.name = "gemini_1_5",
  .published = {.status = Status::undisclosed,
                .note = "the report calls it a sparse mixture-of-experts Transformer and gives no figure"}};

}}}

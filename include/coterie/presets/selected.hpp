// Routers that select on the raw logits and activate only what they selected.
#pragma once
#include "../config.hpp"

namespace coterie { inline namespace v0 { namespace presets {

// IBM Granite 3.0 model cards: softmax over the selected logits, rounded to the model's dtype.
inline constexpr Config granite_3_0_1b_a400m{.experts = 32, .top_k = 8, .hidden = 1024, .ffn = 512,
  .router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .round_weight = 1}};
inline constexpr Config granite_3_0_3b_a800m{.experts = 40, .top_k = 8, .hidden = 1536, .ffn = 512,
  .router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .round_weight = 1}};
// JetMoE (Shen et al. 2024), 8B: as Granite; its one output bias is added outside the layer.
inline constexpr Config jetmoe_8b{.experts = 8, .top_k = 2, .hidden = 2048, .ffn = 5632,
  .router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .round_weight = 1}};
// Aria (Li et al. 2024): as Granite with the softmax in the model's dtype and two shared experts. Widths recalled.
inline constexpr Config aria{.experts = 64, .top_k = 6, .hidden = 2560, .ffn = 1664,
  .router = {.precision = Precision::model, .score = Score::identity, .post = Post::softmax,
             .normalise = Normalise::none},
  .shared = {.ffn = 3328, .count = 2}};

// gpt-oss (OpenAI 2025): biased bf16 logits and softmax, mxfp4 experts with biases, clamped SwiGLU with up + 1.
inline constexpr Config gpt_oss_120b{.experts = 128, .top_k = 4, .hidden = 2880, .ffn = 2880, .weights = DType::mxfp4,
  .quant = {.group = 32},
  .router = {.precision = Precision::model, .bias = 1, .score = Score::identity, .post = Post::softmax,
             .normalise = Normalise::none},
  .expert = {.act = Act::oai_mul, .bias = 1}};
inline constexpr Config gpt_oss_20b{.experts = 32, .top_k = 4, .hidden = 2880, .ffn = 2880, .weights = DType::mxfp4,
  .quant = {.group = 32},
  .router = {.precision = Precision::model, .bias = 1, .score = Score::identity, .post = Post::softmax,
             .normalise = Normalise::none},
  .expert = {.act = Act::oai_mul, .bias = 1}};
// OpenAI privacy-filter model card: gpt-oss in fp32 routing. Its softmax / k and output * k cancel.
inline constexpr Config openai_privacy_filter{.experts = 128, .top_k = 4, .hidden = 640, .ffn = 640,
  .router = {.precision = Precision::fp32, .bias = 1, .score = Score::identity, .post = Post::softmax,
             .normalise = Normalise::none},
  .expert = {.act = Act::oai_mul, .bias = 1}};

// Llama 4 model cards: top-1, the sigmoid weight multiplies the expert's input.
inline constexpr Config llama4_scout{.experts = 16, .top_k = 1, .hidden = 5120, .ffn = 8192,
  .router = {.score = Score::identity, .post = Post::sigmoid, .normalise = Normalise::none, .place = Place::input,
             .round_weight = 1},
  .shared = {.ffn = 8192}};
inline constexpr Config llama4_maverick{.experts = 128, .top_k = 1, .hidden = 5120, .ffn = 8192,
  .router = {.score = Score::identity, .post = Post::sigmoid, .normalise = Normalise::none, .place = Place::input,
             .round_weight = 1},
  .shared = {.ffn = 8192}};

// Cohere2-MoE (transformers): softmax over the selected. Widths are that configuration's defaults, no released model's.
inline constexpr Config cohere2_moe{.experts = 8, .top_k = 2, .hidden = 8192, .ffn = 22528,
  .router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .round_weight = 1}};
// The same family with sigmoid weights over their sum and a shared expert that is averaged with the routed ones.
inline constexpr Config cohere2_moe_average{.experts = 8, .top_k = 2, .hidden = 8192, .ffn = 22528,
  .router = {.precision = Precision::model, .score = Score::identity, .post = Post::sigmoid},
  .shared = {.ffn = 22528, .mix = SharedMix::average}};

// SmallThinker (Song et al. 2025): the router reads the residual before attention; ReGLU experts. Widths recalled; the family
// also has a softmax over the selected, which its configuration leaves off.
inline constexpr Config smallthinker_4b_a0_6b{.experts = 32, .top_k = 4, .hidden = 1536, .ffn = 768,
  .router = {.input = RouterInput::separate, .score = Score::identity, .post = Post::sigmoid},
  .expert = {.act = Act::relu_mul}};
inline constexpr Config smallthinker_21b_a3b{.experts = 64, .top_k = 6, .hidden = 2560, .ffn = 768,
  .router = {.input = RouterInput::separate, .score = Score::identity, .post = Post::sigmoid},
  .expert = {.act = Act::relu_mul}};

// Phi-3.5-MoE (Abdin et al. 2024): SparseMixer with router_jitter_noise 0.01, weights that sum to almost 2.
inline constexpr Config phi_3_5_moe{.experts = 16, .top_k = 2, .hidden = 4096, .ffn = 6400,
  .router = {.precision = Precision::model, .score = Score::identity, .select = Select::sparse_mixer,
             .normalise = Normalise::none, .noise_size = 0.01f}};

}}}

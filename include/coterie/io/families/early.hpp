// Encoder-decoders of 2021 and 2022, whose experts have a capacity. Layers count on from the encoder into the decoder.
#pragma once
#include "../family.hpp"

namespace coterie { inline namespace v0 { namespace io { namespace families {

// Top-1, raw probability, an fp32 router; the capacity is a constant per sequence (transformers), not a factor.
inline Config switch_transformers(Fields const& f) {
  f.only("dense_act_fn", {"relu"}), f.only("router_dtype", {"float32"}), f.only_flag("router_bias", false), f.only_flag("is_gated_act", false);
  constexpr float next_to_none = 1e-9f;                        // of the tokens: the minimum is the capacity
  Config c{.experts = f.size({"num_experts"}), .top_k = 1, .hidden = f.size({"d_model"}), .ffn = f.size({"d_ff"})};
  c.router = {.precision = Precision::fp32, .normalise = Normalise::none, .round_weight = 1};
  c.capacity = {.rounding = Rounding::flaxformer, .factor = next_to_none, .minimum = f.size_or({"expert_capacity"}, 64)};
  c.expert.act = Act::relu;
  return c;
}

// Top-2 at evaluation: places counted over all tokens, weights over what was not dropped, times 1 - moe_token_dropout.
inline Config nllb(Fields const& f) {
  f.only("activation_function", {"relu"}), f.only("router_dtype", {"float32"}), f.only_flag("router_bias", false), f.only("second_expert_policy", {"all"});
  f.only_flag("normalize_router_prob_before_dropping", false), f.only_flag("batch_prioritized_routing", false);
  float const kept = f.number_or("moe_eval_capacity_token_fraction", 1);
  if (!(kept > 0)) f.reject("moe_eval_capacity_token_fraction", "got " + text(kept, false) + ", want more than 0");   // the original then takes expert_capacity
  Config c{.experts = f.size({"num_experts"}), .top_k = 2, .hidden = f.size({"d_model"}), .ffn = f.size({f.layer().decoder ? "decoder_ffn_dim" : "encoder_ffn_dim"})};
  c.router = {.precision = Precision::fp32, .normalise = Normalise::sum_clamp, .epsilon = 0x1p-23f, .scale = 1 - f.number_or("moe_token_dropout", 0.2f),
              .scale_on = ScaleOn::routed_sum, .round_weight = 1};
  c.capacity = {.rounding = Rounding::nllb, .factor = kept, .normalise = When::after};
  c.expert = {.act = Act::relu, .bias = 1};
  return c;
}

inline constexpr Family early[] = {
    {.types = {"switch_transformers"}, .block = "encoder.block.{layer}.layer.1.mlp.", .decoder_block = "decoder.block.{layer}.layer.2.mlp.",
     .layers = "num_layers", .decoder_layers = "num_decoder_layers",
     .names = {.router = "router.classifier.weight", .up = "experts.expert_{expert}.wi.weight", .down = "experts.expert_{expert}.wo.weight"},
     .config = switch_transformers},
    {.types = {"nllb-moe"}, .block = "encoder.layers.{layer}.ffn.", .decoder_block = "decoder.layers.{layer}.ffn.", .layers = "encoder_layers",
     .decoder_layers = "decoder_layers",
     .names = {.router = "router.classifier.weight", .up = "experts.expert_{expert}.fc1.weight", .down = "experts.expert_{expert}.fc2.weight",
               .up_bias = "experts.expert_{expert}.fc1.bias", .down_bias = "experts.expert_{expert}.fc2.bias"}, .config = nllb},
};

}}}}

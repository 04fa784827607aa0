// Families that select on the raw logits and activate only what they selected.
#pragma once
#include "../family.hpp"

namespace coterie { inline namespace v0 { namespace io { namespace families {

// Softmax over the selected logits in fp32, rounded to the model's type.
inline Config selected_softmax(Fields const& f, SizeFields const& of) {
  Config c = sizes(f, of);
  c.router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .round_weight = 1};
  return c;
}
inline Config granite(Fields const& f) {
  f.only_silu();
  return selected_softmax(f, {});
}
inline Config jetmoe(Fields const& f) {
  f.only_silu("activation_function");
  return selected_softmax(f, {});
}
inline Config aria(Fields const& f) {
  f.only_silu(), f.only_flag("mlp_bias", false);
  Config c = selected_softmax(f, {.experts = {"moe_num_experts"}, .top_k = {"moe_topk"}, .ffn = {"moe_intermediate_size", "intermediate_size"}});
  c.router.precision = Precision::model;
  return share(f, c, {"moe_num_shared_experts"}, 2);
}
inline Config gpt_oss(Fields const& f) {
  f.only_silu();                                               // what config.json says; the activation is gpt-oss's own
  Config c = sizes(f);
  c.router = {.precision = Precision::model, .bias = 1, .score = Score::identity, .post = Post::softmax, .normalise = Normalise::none};
  c.expert = {.act = Act::oai_mul, .alpha = f.number_or("swiglu_alpha", 1.702f), .limit = f.number_or("swiglu_limit", 7), .bias = 1};
  return c;
}
inline Config llama4(Fields const& f) {
  f.only_silu();
  Config c = sizes(f);
  c.router = {.score = Score::identity, .post = Post::sigmoid, .normalise = Normalise::none, .place = Place::input, .round_weight = 1};
  c.shared.ffn = c.ffn;
  return c;
}
inline Config cohere2(Fields const& f) {
  f.only_silu(), f.only("expert_selection_fn", {"softmax", "sigmoid"}), f.only("shared_expert_combination_strategy", {"sum", "average"});
  Config c = sizes(f);
  if (f.text_or("expert_selection_fn", "softmax") == "softmax")
    c.router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .round_weight = 1};
  else
    c.router = {.precision = Precision::model, .score = Score::identity, .post = Post::sigmoid,
                .normalise = f.flag_or("norm_topk_prob", true) ? Normalise::sum_add : Normalise::none};
  c = share(f, c, {"num_shared_experts"}, 0);
  if (f.text_or("shared_expert_combination_strategy", "average") == "average") c.shared.mix = SharedMix::average;
  return c;
}
inline Config phimoe(Fields const& f) {
  f.only_silu();
  Config c = sizes(f);
  c.router = {.precision = Precision::model, .score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none,
              .noise_size = f.number_or("router_jitter_noise", 0.01f)};
  return c;
}

inline constexpr TensorNames input_output_linear{.router = "router.layer.weight", .layout = Layout::halves, .gate_up = "input_linear.weight",
                                                 .down = "output_linear.weight"};

inline constexpr Family selected[] = {
    {.types = {"granitemoe"}, .block = "layers.{layer}.block_sparse_moe.", .names = input_output_linear, .config = granite},
    {.types = {"jetmoe"}, .block = "layers.{layer}.mlp.", .names = changed(input_output_linear, [](TensorNames& n) { n.outside = "bias"; }), .config = jetmoe},
    {.types = {"aria_text", "aria"}, .block = "layers.{layer}.mlp.",
     .names = with_shared({.router = "router.weight", .layout = Layout::halves_in_out, .gate_up = "experts.fc1.weight", .down = "experts.fc2.weight"},
                          "shared_experts.gate_proj.weight", "shared_experts.up_proj.weight", "shared_experts.down_proj.weight"), .config = aria},
    {.types = {"gpt_oss"}, .block = "layers.{layer}.mlp.",
     .names = {.router = "router.weight", .router_bias = "router.bias", .layout = Layout::interleaved_in_out, .gate_up = "experts.gate_up_proj",
               .down = "experts.down_proj", .gate_up_bias = "experts.gate_up_proj_bias", .down_bias = "experts.down_proj_bias"}, .config = gpt_oss},
    {.types = {"llama4_text", "llama4"}, .block = "layers.{layer}.feed_forward.",
     .names = with_shared({.router = "router.weight", .layout = Layout::halves_in_out, .gate_up = "experts.gate_up_proj", .down = "experts.down_proj"},
                          "shared_expert.gate_proj.weight", "shared_expert.up_proj.weight", "shared_expert.down_proj.weight"), .config = llama4},
    {.types = {"cohere2_moe"}, .block = "layers.{layer}.mlp.", .names = with_shared_experts, .config = cohere2},
    {.types = {"phimoe"}, .block = "layers.{layer}.block_sparse_moe.", .names = w1_w3_w2, .config = phimoe},
};

}}}}

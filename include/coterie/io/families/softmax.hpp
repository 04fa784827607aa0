// Families whose router takes a softmax over all logits and selects on the probabilities.
#pragma once
#include "../family.hpp"

namespace coterie { inline namespace v0 { namespace io { namespace families {

// Probabilities, over their sum where the file says so, rounded to the model's type.
inline Config mixtral(Fields const& f) {
  f.only_silu();
  return sizes(f);
}
inline Config probabilities(Fields const& f, SizeFields const& of, bool normalised) {
  f.only_silu();
  Config c = sizes(f, of);
  c.router.round_weight = 1;
  if (!normalised) c.router.normalise = Normalise::none;
  return c;
}
inline Config gated_shared(Fields const& f, bool normalised, int ffn) {
  Config c = probabilities(f, qwen_sizes, f.flag_or("norm_topk_prob", normalised));
  c.shared = {.ffn = f.size_or({"shared_expert_intermediate_size"}, ffn), .mix = SharedMix::sigmoid_gate};
  return c;
}
inline Config qwen2(Fields const& f) { return gated_shared(f, false, 5632); }
inline Config qwen3_next(Fields const& f) { return gated_shared(f, true, 512); }
inline Config qwen3(Fields const& f) { return probabilities(f, qwen_sizes, f.flag_or("norm_topk_prob", false)); }
inline Config olmoe(Fields const& f) { return probabilities(f, {}, f.flag_or("norm_topk_prob", false)); }
inline Config jamba(Fields const& f) { return probabilities(f, {}, false); }

inline Config dbrx(Fields const& whole) {
  Fields const f = whole.at("ffn_config");
  if (auto const act = f.part("ffn_act_fn")) act->only_silu("name");
  Config c{.experts = f.size({"moe_num_experts"}), .top_k = f.size({"moe_top_k"}), .hidden = whole.size({"d_model"}), .ffn = f.size({"ffn_hidden_size"})};
  c.router.round_weight = 1;
  if (f.is_null("moe_normalize_expert_weights")) c.router.normalise = Normalise::none;   // the p of a p-norm
  else f.only_number("moe_normalize_expert_weights", 1);
  return c;
}

inline Config deepseek_v2(Fields const& f) {
  f.only_silu();
  f.only("scoring_func", {"softmax"}), f.only("topk_method", {"greedy", "group_limited_greedy"}), f.only_flag("norm_topk_prob", false);
  Config c = sizes(f, deepseek_sizes);
  c.router = {.precision = Precision::fp32, .normalise = Normalise::none, .scale = f.number_or("routed_scaling_factor", 1)};
  if (f.text_or("topk_method", "greedy") == "group_limited_greedy") {
    c.router.select = Select::group_top_k, c.router.group_score = GroupScore::max, c.router.group_fill = Fill::zero;
    c.router.groups = f.size({"n_group"}), c.router.groups_kept = f.size({"topk_group"});
  }
  return share(f, c, {"n_shared_experts"}, 2);
}

inline Config mistral4(Fields const& f) {
  f.only_silu();
  Config c = sizes(f, deepseek_sizes);
  c.router.precision = Precision::model;
  c.router.epsilon = 1e-20f;
  if (!f.flag_or("norm_topk_prob", true)) c.router.normalise = Normalise::none;
  c.router.scale = f.number_or("routed_scaling_factor", 1);
  if (int const groups = f.size_or({"n_group"}, 1); groups > 1) {
    c.router.select = Select::group_top_k, c.router.group_fill = Fill::zero;
    c.router.groups = groups, c.router.groups_kept = f.size_or({"topk_group"}, 1);
  }
  return share(f, c, {"n_shared_experts"}, 1);
}

inline Config hunyuan(Fields const& f) {
  f.only_silu(), f.only_flag("norm_topk_prob", true), f.only_flag("group_limited_greedy", false);
  Config c = sizes(f, {.experts = {"num_experts", "num_local_experts"}, .top_k = {"moe_topk", "num_experts_per_tok"},
                       .ffn = {"moe_intermediate_size", "intermediate_size"}});
  c.router.precision = Precision::fp32;
  return share(f, c, {"num_shared_expert"}, 1);
}

inline Config ernie(Fields const& f) {
  f.only_silu(), f.only_flag("use_bias", false);
  Config c = sizes(f, {.experts = {"moe_num_experts", "num_experts"}, .top_k = {"moe_k", "num_experts_per_tok"}, .ffn = moe_width});
  c.router = {.precision = Precision::fp32, .select_bias = 1, .normalise = Normalise::sum_clamp, .epsilon = f.number_or("moe_norm_min", 1e-12f),
              .round_weight = 1};
  return share(f, c, {"moe_num_shared_experts"}, 2);
}

inline Config longcat(Fields const& f) {
  f.only_silu(), f.only("zero_expert_type", {"identity"}), f.only_flag("router_bias", false), f.only_flag("norm_topk_prob", false);
  Config c = sizes(f, {.experts = {"n_routed_experts", "num_local_experts"}, .top_k = {"moe_topk", "num_experts_per_tok"},
                       .ffn = {"expert_ffn_hidden_size", "moe_intermediate_size"}});
  c.router = {.precision = Precision::fp32, .select_bias = 1, .normalise = Normalise::none, .scale = f.number_or("routed_scaling_factor", 6)};
  c.expert.identity = f.size_or({"zero_expert_num"}, 256);
  return c;
}

// The router reads what the caller makes of the residual: RMS norm without weight, times router.scale, times hidden^-1/2.
inline Config gemma4(Fields const& f) {
  f.only("hidden_activation", {"gelu_pytorch_tanh"});
  if (!f.flag_or("enable_moe_block", false)) f.reject("enable_moe_block", "got false, want true");   // left out: false
  Config c = sizes(f, {.experts = {"num_experts"}, .top_k = {"top_k_experts"}, .ffn = moe_width});
  c.router.input = RouterInput::separate;
  c.router.expert_scale = 1;
  c.expert.act = Act::gelu_tanh_mul;
  return c;
}

inline constexpr TensorNames gated_shared_expert = changed(with_shared_expert, [](TensorNames& n) { n.shared_mix = "shared_expert_gate.weight"; });

inline constexpr Family softmax[] = {
    {.types = {"mixtral", "minimax"}, .block = "layers.{layer}.block_sparse_moe.", .names = w1_w3_w2, .config = mixtral},
    {.types = {"qwen2_moe"}, .block = "layers.{layer}.mlp.", .names = gated_shared_expert, .config = qwen2},
    {.types = {"qwen3_next"}, .block = "layers.{layer}.mlp.", .names = gated_shared_expert, .config = qwen3_next},
    {.types = {"qwen3_moe"}, .block = "layers.{layer}.mlp.", .names = projections, .config = qwen3},
    {.types = {"olmoe", "flex_olmo"}, .block = "layers.{layer}.mlp.", .names = projections, .config = olmoe},
    {.types = {"jamba"}, .block = "layers.{layer}.feed_forward.",
     .names = changed(projections, [](TensorNames& n) { n.router = "router.weight"; }), .config = jamba},
    {.types = {"dbrx"}, .block = "blocks.{layer}.ffn.", .layers = "n_layers",
     .names = {.router = "router.layer.weight", .layout = Layout::flat, .gate = "experts.mlp.w1", .up = "experts.mlp.v1", .down = "experts.mlp.w2"},
     .config = dbrx},
    {.types = {"deepseek_v2"}, .block = "layers.{layer}.mlp.", .names = with_shared_experts, .config = deepseek_v2},
    {.types = {"mistral4"}, .block = "layers.{layer}.mlp.",
     .names = changed(with_shared_experts, [](TensorNames& n) {
       n.layout = Layout::halves, n.gate = n.up = {}, n.gate_up = "experts.gate_up_proj", n.down = "experts.down_proj";
     }), .other_names = with_shared_experts, .config = mistral4},
    {.types = {"hunyuan_v1_moe"}, .block = "layers.{layer}.mlp.",
     .names = changed(with_shared(projections, "shared_mlp.gate_proj.weight", "shared_mlp.up_proj.weight", "shared_mlp.down_proj.weight"),
                      [](TensorNames& n) { n.router = "gate.wg.weight"; }), .config = hunyuan},
    {.types = {"ernie4_5_moe"}, .block = "layers.{layer}.mlp.",
     .names = changed(with_shared_experts, [](TensorNames& n) { n.select_bias = "moe_statics.e_score_correction_bias"; }), .config = ernie},
    {.types = {"longcat_flash"}, .block = "layers.{layer}.mlp.", .layers = "num_layers",
     .names = changed(projections, [](TensorNames& n) { n.router = "router.classifier.weight", n.select_bias = "router.e_score_correction_bias"; }),
     .config = longcat},
    {.types = {"gemma4_text", "gemma4"}, .block = "layers.{layer}.",
     .names = {.router = "router.proj.weight", .expert_scale = "router.per_expert_scale", .layout = Layout::halves, .gate_up = "experts.gate_up_proj",
               .down = "experts.down_proj", .outside = "router.scale"}, .config = gemma4},
};

}}}}

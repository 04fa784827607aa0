// Families whose router scores every expert on its own and adds a bias for selection only: DeepSeek-V3's lineage.
#pragma once
#include "../family.hpp"

namespace coterie { inline namespace v0 { namespace io { namespace families {

// Sigmoid in fp32, a choice by score + bias, weights over their sum + 1e-20, times a factor.
inline Config balanced(Fields const& f, SizeFields const& of, char const* scale, float standard_scale) {
  f.only_silu(), f.only("scoring_func", {"sigmoid"}), f.only("score_func", {"sigmoid"}), f.only("topk_method", {"noaux_tc"});
  Config c = sizes(f, of);
  c.router = {.precision = Precision::fp32, .score = Score::sigmoid, .select_bias = 1, .epsilon = 1e-20f, .scale = f.number_or(scale, standard_scale)};
  return c;
}
// What transformers takes for a field of DeepSeek-V3's that config.json leaves out.
struct Defaults {
  float scale = 1;
  int groups = 1, groups_kept = 1;
  bool normalised = true;
};
inline Config noaux(Fields const& f, SizeFields const& of, Defaults const& d) {
  Config c = balanced(f, of, "routed_scaling_factor", d.scale);
  if (!f.flag_or("norm_topk_prob", d.normalised)) c.router.normalise = Normalise::none;
  if (int const groups = f.size_or({"n_group"}, d.groups); groups > 1)
    c.router.select = Select::group_top_k, c.router.groups = groups, c.router.groups_kept = f.size_or({"topk_group"}, d.groups_kept);
  return c;
}
// Families of which transformers always normalises and never groups: a file that says otherwise is refused.
inline void only_normalised(Fields const& f, char const* flag = "norm_topk_prob") { f.only_flag(flag, true), f.only_number("n_group", 1); }

inline Config deepseek_v3(Fields const& f) { return share(f, noaux(f, deepseek_sizes, {.scale = 2.5f, .groups = 8, .groups_kept = 4}), {"n_shared_experts"}, 1); }
inline Config glm4(Fields const& f) { return share(f, noaux(f, deepseek_sizes, {}), {"n_shared_experts"}, 1); }
inline Config dots1(Fields const& f) { return share(f, noaux(f, deepseek_sizes, {.normalised = false}), {"n_shared_experts"}, 0); }
inline Config mimo(Fields const& f) { return share(f, noaux(f, deepseek_sizes, {}), {"n_shared_experts"}, 0); }
inline Config exaone(Fields const& f) { return share(f, noaux(f, qwen_sizes, {.scale = 2.5f}), {"num_shared_experts"}, 1); }

inline Config afmoe(Fields const& f) {
  only_normalised(f, "route_norm");
  Config c = share(f, balanced(f, qwen_sizes, "route_scale", 1), {"num_shared_experts"}, 2);
  c.router.precision = Precision::matmul_then_fp32;
  return c;
}
inline Config hy_v3(Fields const& f) {
  only_normalised(f, "route_norm"), f.only_flag("moe_router_use_sigmoid", true);
  return share(f, balanced(f, qwen_sizes, "router_scaling_factor", 2.826f), {"num_shared_experts"}, 1);
}
inline Config lfm2(Fields const& f) {
  Config c = noaux(f, qwen_sizes, {});
  c.router.precision = Precision::model, c.router.epsilon = 1e-6f;
  c.router.select_bias = f.flag_or("use_expert_bias", true);
  return c;
}
inline Config nemotron(Fields const& f) {
  f.only("mlp_hidden_act", {"relu2"}), f.only_flag("mlp_bias", false);
  Config c = noaux(f, deepseek_sizes, {});
  c.expert.act = Act::relu2, c.expert.latent = f.size_or({"moe_latent_size"}, 0);
  c.shared.ffn = f.size_or({"moe_shared_expert_intermediate_size"}, 7688);   // one, however many n_shared_experts says
  return c;
}

inline Config minimax_m2(Fields const& f) {
  only_normalised(f), f.only_number("routed_scaling_factor", 1);
  Config c = balanced(f, {}, "routed_scaling_factor", 1);
  c.router.precision = as_stored(f), c.router.epsilon = 0;
  return c;
}
inline Config minimax_m3(Fields const& f) {
  f.only("hidden_act", {"silu", "swish", "swigluoai"}), only_normalised(f);
  Config c = sizes(f);
  c.router = {.precision = as_stored(f), .score = Score::sigmoid, .select_bias = 1, .scale = f.number_or("routed_scaling_factor", 2),
              .scale_on = ScaleOn::routed_sum};
  c.expert = {.act = Act::oai_mul, .alpha = f.number_or("swiglu_alpha", 1.702f), .limit = f.number_or("swiglu_limit", 7)};
  c.shared.ffn = f.size_or({"shared_intermediate_size"}, 3072);
  return c;
}
inline Config step(Fields const& f) {
  f.only_silu(), f.only("moe_router_activation", {"sigmoid"}), only_normalised(f, "norm_expert_weight"), f.only_flag("use_moe_router_bias", true);
  Config c = sizes(f, {.experts = {"n_routed_experts", "num_local_experts", "moe_num_experts"}, .top_k = {"num_experts_per_tok", "moe_top_k"}, .ffn = moe_width});
  c.router = {.precision = as_stored(f), .score = Score::sigmoid, .select_bias = 1, .scale = f.number_or("moe_router_scaling_factor", 1),
              .scale_on = ScaleOn::routed_sum};
  c.shared.ffn = f.size_or({"share_expert_dim", "share_expert_dims"}, 1280);
  float const limit = f.number_or("swiglu_limits", 0), shared_limit = f.number_or("swiglu_limits_shared", 0);   // 0: not clamped
  if (limit < 0 || shared_limit < 0) f.reject(limit < 0 ? "swiglu_limits" : "swiglu_limits_shared", "got a limit below 0");
  constexpr float none = std::numeric_limits<float>::max();
  if (limit > 0 || shared_limit > 0) {
    c.expert.act = Act::silu_mul_clamp_after, c.expert.limit = limit > 0 ? limit : none;
    c.shared.limit = shared_limit > 0 ? shared_limit : none;
  }
  return c;
}
inline Config laguna(Fields const& f) {
  f.only_silu(), f.only_flag("moe_apply_router_weight_on_input", false), only_normalised(f);
  Config c = sizes(f, qwen_sizes);
  c.router = {.soft_cap = f.number_or("moe_router_logit_softcapping", 0), .score = Score::sigmoid, .select_bias = 1,
              .scale = f.number_or("moe_routed_scaling_factor", 1), .scale_on = ScaleOn::routed_sum, .round_weight = 1};
  c.shared.ffn = f.size_or({"shared_expert_intermediate_size"}, 512);
  return c;
}
// transformers scores in the model's type; here, as in the authors' code, in fp32.
inline Config deepseek_v4(Fields const& f) {
  f.only_silu(), f.only("scoring_func", {"sqrtsoftplus"}), only_normalised(f), f.only_flag("mlp_bias", false);
  bool const table = f.layer().table;
  Config c = sizes(f, {.experts = deepseek_sizes.experts, .ffn = {"moe_intermediate_size", "intermediate_size"}});
  c.router = {.precision = Precision::fp32, .score = Score::sqrt_softplus, .select_bias = table ? 0 : 1, .select = table ? Select::table : Select::top_k,
              .epsilon = 1e-20f, .scale = f.number_or("routed_scaling_factor", 1.5f)};
  c.expert = {.act = Act::silu_mul_clamp_before, .limit = f.number_or("swiglu_limit", 10)};
  return share(f, c, {"n_shared_experts"}, 1);
}

constexpr TensorNames biased(TensorNames n, std::string_view bias, std::string_view router = "gate.weight") {
  n.select_bias = bias, n.router = router;
  return n;
}
inline constexpr TensorNames noaux_tc = biased(with_shared_experts, "gate.e_score_correction_bias");
inline constexpr TensorNames nemotron_names{
    .router = "gate.weight", .select_bias = "gate.e_score_correction_bias", .up = "experts.{expert}.up_proj.weight",
    .down = "experts.{expert}.down_proj.weight", .shared_up = "shared_experts.up_proj.weight", .shared_down = "shared_experts.down_proj.weight",
    .latent_down = "fc1_latent_proj.weight", .latent_up = "fc2_latent_proj.weight"};

inline constexpr Family sigmoid[] = {
    {.types = {"deepseek_v3", "kimi_k2"}, .block = "layers.{layer}.mlp.", .names = noaux_tc, .config = deepseek_v3},
    {.types = {"glm4_moe"}, .block = "layers.{layer}.mlp.", .names = noaux_tc, .config = glm4},
    {.types = {"dots1"}, .block = "layers.{layer}.mlp.", .names = noaux_tc, .config = dots1},
    {.types = {"mimo_v2_flash"}, .block = "layers.{layer}.mlp.", .names = noaux_tc, .config = mimo},
    {.types = {"exaone_moe"}, .block = "layers.{layer}.mlp.", .names = biased(with_shared_experts, "e_score_correction_bias"), .config = exaone},
    {.types = {"afmoe"}, .block = "layers.{layer}.mlp.", .names = biased(with_shared_experts, "expert_bias", "router.gate.weight"), .config = afmoe},
    {.types = {"hy_v3"}, .block = "layers.{layer}.mlp.",
     .names = biased(with_shared(projections, "shared_mlp.gate_proj.weight", "shared_mlp.up_proj.weight", "shared_mlp.down_proj.weight"), "expert_bias",
                     "router.gate.weight"), .config = hy_v3},
    {.types = {"lfm2_moe"}, .block = "layers.{layer}.feed_forward.", .names = biased(w1_w3_w2, "expert_bias"), .config = lfm2},
    {.types = {"nemotron_h"}, .block = "layers.{layer}.mixer.", .layers = "layers_block_type", .names = nemotron_names, .config = nemotron},
    {.types = {"minimax_m2"}, .block = "layers.{layer}.block_sparse_moe.", .names = biased(w1_w3_w2, "e_score_correction_bias"), .config = minimax_m2},
    {.types = {"minimax_m3_vl", "minimax_m3_vl_text"}, .block = "layers.{layer}.block_sparse_moe.",
     .names = biased(with_shared(w1_w3_w2, "shared_experts.gate_proj.weight", "shared_experts.up_proj.weight", "shared_experts.down_proj.weight"),
                     "e_score_correction_bias"), .config = minimax_m3},
    {.types = {"step3p7", "step3p5"}, .block = "layers.{layer}.moe.",
     .names = {.router = "gate.weight", .select_bias = "router_bias", .layout = Layout::stacked, .gate = "gate_proj.weight", .up = "up_proj.weight",
               .down = "down_proj.weight", .shared_gate = "^share_expert.gate_proj.weight", .shared_up = "^share_expert.up_proj.weight",
               .shared_down = "^share_expert.down_proj.weight"}, .config = step},
    {.types = {"laguna"}, .block = "layers.{layer}.mlp.", .names = biased(with_shared_expert, "experts.e_score_correction_bias"), .config = laguna},
    {.types = {"deepseek_v4"}, .block = "layers.{layer}.ffn.",
     .names = changed(biased(with_shared(w1_w3_w2, "shared_experts.w1.weight", "shared_experts.w3.weight", "shared_experts.w2.weight"), "gate.bias"),
                      [](TensorNames& n) { n.table = "gate.tid2eid"; }), .config = deepseek_v4},
};

}}}}

// Every field of a Config with its name, and every enumerator with its own: what compares and prints configs.
#pragma once
#include <array>
#include <string_view>

#include "../config.hpp"
#include "../dtype.hpp"

namespace coterie { inline namespace v0 { namespace io {

// The enumerators of an enum in their order, and how the enum is called.
template <class E> struct EnumNames;
template <> struct EnumNames<DType> {
  static constexpr std::string_view type = "DType";
  static constexpr std::array<std::string_view, 8> all{"fp32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2", "int8", "int4", "mxfp4"};
};
template <> struct EnumNames<RouterInput> {
  static constexpr std::string_view type = "RouterInput";
  static constexpr std::array<std::string_view, 5> all{"hidden", "separate", "logits", "token_ids", "given"};
};
template <> struct EnumNames<Precision> {
  static constexpr std::string_view type = "Precision";
  static constexpr std::array<std::string_view, 3> all{"fp32", "matmul_then_fp32", "model"};
};
template <> struct EnumNames<Score> {
  static constexpr std::string_view type = "Score";
  static constexpr std::array<std::string_view, 4> all{"identity", "softmax", "sigmoid", "sqrt_softplus"};
};
template <> struct EnumNames<Select> {
  static constexpr std::string_view type = "Select";
  static constexpr std::array<std::string_view, 5> all{"top_k", "group_top_k", "table", "sparse_mixer", "expert_choice"};
};
template <> struct EnumNames<Post> {
  static constexpr std::string_view type = "Post";
  static constexpr std::array<std::string_view, 3> all{"none", "softmax", "sigmoid"};
};
template <> struct EnumNames<Normalise> {
  static constexpr std::string_view type = "Normalise";
  static constexpr std::array<std::string_view, 3> all{"none", "sum_add", "sum_clamp"};
};
template <> struct EnumNames<GroupScore> {
  static constexpr std::string_view type = "GroupScore";
  static constexpr std::array<std::string_view, 2> all{"max", "top2_sum"};
};
template <> struct EnumNames<Fill> {
  static constexpr std::string_view type = "Fill";
  static constexpr std::array<std::string_view, 2> all{"minus_infinity", "zero"};
};
template <> struct EnumNames<ScaleOn> {
  static constexpr std::string_view type = "ScaleOn";
  static constexpr std::array<std::string_view, 2> all{"weights", "routed_sum"};
};
template <> struct EnumNames<Place> {
  static constexpr std::string_view type = "Place";
  static constexpr std::array<std::string_view, 2> all{"output", "input"};
};
template <> struct EnumNames<Noise> {
  static constexpr std::string_view type = "Noise";
  static constexpr std::array<std::string_view, 5> all{"none", "jitter", "softplus", "gumbel", "random_second"};
};
template <> struct EnumNames<Rounding> {
  static constexpr std::string_view type = "Rounding";
  static constexpr std::array<std::string_view, 7> all{"none", "mesh", "flaxformer", "deepspeed", "megablocks", "fastmoe", "nllb"};
};
template <> struct EnumNames<Order> {
  static constexpr std::string_view type = "Order";
  static constexpr std::array<std::string_view, 3> all{"sequence", "probability", "random"};
};
template <> struct EnumNames<When> {
  static constexpr std::string_view type = "When";
  static constexpr std::array<std::string_view, 2> all{"before", "after"};
};
template <> struct EnumNames<Act> {
  static constexpr std::string_view type = "Act";
  static constexpr std::array<std::string_view, 11> all{"silu_mul", "gelu_tanh_mul", "gelu_mul", "relu_mul", "oai_mul", "silu_mul_clamp_before",
                                                        "silu_mul_clamp_after", "situ_mul", "relu2", "relu", "gelu"};
};
template <> struct EnumNames<LatentNorm> {
  static constexpr std::string_view type = "LatentNorm";
  static constexpr std::array<std::string_view, 2> all{"none", "rms"};
};
template <> struct EnumNames<SharedMix> {
  static constexpr std::string_view type = "SharedMix";
  static constexpr std::array<std::string_view, 5> all{"sum", "sigmoid_gate", "average", "coefficients", "router_rows"};
};
template <> struct EnumNames<Accumulate> {
  static constexpr std::string_view type = "Accumulate";
  static constexpr std::array<std::string_view, 2> all{"fp32", "model"};
};
template <class E> constexpr std::string_view enumerator(E value) { return EnumNames<E>::all[static_cast<std::size_t>(value)]; }
static_assert(enumerator(Act::gelu) == "gelu" && enumerator(Rounding::nllb) == "nllb" && enumerator(SharedMix::router_rows) == "router_rows");

// Calls each(group, field, value of a, value of b) for every field in the order of their declaration; the group is the
// member of Config that the field belongs to, empty for its own.
template <class Each> constexpr void each_field(Config const& a, Config const& b, Each&& each) {
  auto const field = [&](std::string_view group, std::string_view name, auto of) { each(group, name, of(a), of(b)); };
  field("", "experts", [](Config const& c) { return c.experts; });
  field("", "top_k", [](Config const& c) { return c.top_k; });
  field("", "hidden", [](Config const& c) { return c.hidden; });
  field("", "ffn", [](Config const& c) { return c.ffn; });
  field("", "dtype", [](Config const& c) { return c.dtype; });
  field("", "weights", [](Config const& c) { return c.weights; });
  field("quant", "group", [](Config const& c) { return c.quant.group; });
  field("quant", "group_rows", [](Config const& c) { return c.quant.group_rows; });
  field("quant", "zero_points", [](Config const& c) { return c.quant.zero_points; });
  field("router", "input", [](Config const& c) { return c.router.input; });
  field("router", "precision", [](Config const& c) { return c.router.precision; });
  field("router", "weights", [](Config const& c) { return c.router.weights; });
  field("router", "bias", [](Config const& c) { return c.router.bias; });
  field("router", "soft_cap", [](Config const& c) { return c.router.soft_cap; });
  field("router", "score", [](Config const& c) { return c.router.score; });
  field("router", "select_bias", [](Config const& c) { return c.router.select_bias; });
  field("router", "select", [](Config const& c) { return c.router.select; });
  field("router", "groups", [](Config const& c) { return c.router.groups; });
  field("router", "groups_kept", [](Config const& c) { return c.router.groups_kept; });
  field("router", "group_score", [](Config const& c) { return c.router.group_score; });
  field("router", "group_fill", [](Config const& c) { return c.router.group_fill; });
  field("router", "post", [](Config const& c) { return c.router.post; });
  field("router", "normalise", [](Config const& c) { return c.router.normalise; });
  field("router", "epsilon", [](Config const& c) { return c.router.epsilon; });
  field("router", "scale", [](Config const& c) { return c.router.scale; });
  field("router", "scale_on", [](Config const& c) { return c.router.scale_on; });
  field("router", "expert_scale", [](Config const& c) { return c.router.expert_scale; });
  field("router", "place", [](Config const& c) { return c.router.place; });
  field("router", "round_weight", [](Config const& c) { return c.router.round_weight; });
  field("router", "noise", [](Config const& c) { return c.router.noise; });
  field("router", "noise_size", [](Config const& c) { return c.router.noise_size; });
  field("capacity", "rounding", [](Config const& c) { return c.capacity.rounding; });
  field("capacity", "factor", [](Config const& c) { return c.capacity.factor; });
  field("capacity", "minimum", [](Config const& c) { return c.capacity.minimum; });
  field("capacity", "order", [](Config const& c) { return c.capacity.order; });
  field("capacity", "normalise", [](Config const& c) { return c.capacity.normalise; });
  field("expert", "act", [](Config const& c) { return c.expert.act; });
  field("expert", "alpha", [](Config const& c) { return c.expert.alpha; });
  field("expert", "limit", [](Config const& c) { return c.expert.limit; });
  field("expert", "bias", [](Config const& c) { return c.expert.bias; });
  field("expert", "latent", [](Config const& c) { return c.expert.latent; });
  field("expert", "latent_norm", [](Config const& c) { return c.expert.latent_norm; });
  field("expert", "identity", [](Config const& c) { return c.expert.identity; });
  field("expert", "skip", [](Config const& c) { return c.expert.skip; });
  field("shared", "ffn", [](Config const& c) { return c.shared.ffn; });
  field("shared", "count", [](Config const& c) { return c.shared.count; });
  field("shared", "mix", [](Config const& c) { return c.shared.mix; });
  field("shared", "weights", [](Config const& c) { return c.shared.weights; });
  field("shared", "limit", [](Config const& c) { return c.shared.limit; });
  field("", "combine", [](Config const& c) { return c.combine; });
  field("", "batch_invariant", [](Config const& c) { return c.batch_invariant; });
}

// Fields that do nothing in this config get their defaults, so that configs of one meaning are equal.
constexpr Config canonical(Config c) {
  Config const d{};
  bool const groups = c.router.select == Select::group_top_k && c.router.groups > 1;
  if (c.router.select == Select::group_top_k && !groups) c.router.select = Select::top_k;
  if (!groups) c.router.groups = 1, c.router.groups_kept = 1, c.router.group_score = d.router.group_score, c.router.group_fill = d.router.group_fill;
  if (c.router.normalise == Normalise::none) c.router.epsilon = 0;
  if (c.router.scale == 1) c.router.scale_on = ScaleOn::weights;
  if (c.router.noise == Noise::none && c.router.select != Select::sparse_mixer) c.router.noise_size = 0;
  if (c.router.precision == Precision::model) c.router.round_weight = 0;                 // rounded at every step already
  if (c.capacity.rounding == Rounding::none && c.router.select != Select::expert_choice) c.capacity = d.capacity;
  bool const limited = c.expert.act == Act::oai_mul || c.expert.act == Act::silu_mul_clamp_before || c.expert.act == Act::silu_mul_clamp_after ||
                       c.expert.act == Act::situ_mul;
  if (c.expert.act != Act::oai_mul && c.expert.act != Act::situ_mul) c.expert.alpha = d.expert.alpha;
  if (!limited) c.expert.limit = d.expert.limit;
  if (!limited || c.shared.limit == c.expert.limit) c.shared.limit = 0;
  if (c.shared.ffn == 0) c.shared = d.shared;
  if (c.expert.latent == 0) c.expert.latent_norm = LatentNorm::none;
  return c;
}

}}}

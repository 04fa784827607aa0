// Every rule of a Config, in one place, each broken rule a sentence.
#pragma once
#include "dtype.hpp"

namespace coterie { inline namespace v0 {

constexpr bool is_flag(int v) { return v == 0 || v == 1; }
constexpr bool is_finite(float v) { return (bit_cast<std::uint32_t>(v) & 0x7fffffffu) < 0x7f800000u; }     // by bits, for -ffast-math
template <class E> constexpr bool is_named(E v, E last) { return v >= E{} && v <= last; }

constexpr bool has_limit(Act a) { return a == Act::oai_mul || a == Act::silu_mul_clamp_before || a == Act::silu_mul_clamp_after || a == Act::situ_mul; }

template <Config C>
struct Checked {
  static constexpr Config config = C;
  static constexpr bool learned = C.router.input != RouterInput::given && C.router.input != RouterInput::token_ids;

  static_assert(C.experts >= 1, "coterie::Config: experts must be at least 1 (is .experts set?)");
  static_assert(C.top_k >= 1, "coterie::Config: top_k must be at least 1 (is .top_k set?)");
  static_assert(C.top_k <= candidates(C), "coterie::Config: top_k must not exceed experts (with null experts)");
  static_assert(C.hidden >= 1, "coterie::Config: hidden must be at least 1 (is .hidden set?)");
  static_assert(C.ffn >= 1, "coterie::Config: ffn must be at least 1 (is .ffn set?)");
  static_assert(is_float(C.dtype), "coterie::Config: dtype must be fp32, bf16 or fp16 (experts may be narrower: set .weights)");
  static_assert(is_float(C.router.weights), "coterie::Config: router.weights must be fp32, bf16 or fp16");
  static_assert(is_float(C.shared.weights), "coterie::Config: shared.weights must be fp32, bf16 or fp16");
  static_assert(is_flag(C.router.bias) && is_flag(C.router.select_bias) && is_flag(C.router.expert_scale) &&
                is_flag(C.router.round_weight) && is_flag(C.expert.bias) && is_flag(C.quant.zero_points) &&
                is_flag(C.batch_invariant), "coterie::Config: flags (bias, select_bias, expert_scale, round_weight, zero_points, batch_invariant) must be 0 or 1");

  static_assert(is_named(C.weights, DType::mxfp4) && is_named(C.router.input, RouterInput::given) && is_named(C.router.precision, Precision::model) &&
                is_named(C.router.score, Score::sqrt_softplus) && is_named(C.router.select, Select::expert_choice) && is_named(C.router.group_score, GroupScore::top2_sum) &&
                is_named(C.router.group_fill, Fill::zero) && is_named(C.router.post, Post::sigmoid) && is_named(C.router.normalise, Normalise::sum_clamp) &&
                is_named(C.router.scale_on, ScaleOn::routed_sum) && is_named(C.router.place, Place::input) && is_named(C.router.noise, Noise::random_second) &&
                is_named(C.capacity.rounding, Rounding::nllb) && is_named(C.capacity.order, Order::random) && is_named(C.capacity.normalise, When::after) &&
                is_named(C.expert.act, Act::gelu) && is_named(C.expert.latent_norm, LatentNorm::rms) && is_named(C.shared.mix, SharedMix::router_rows) &&
                is_named(C.combine, Accumulate::model),
                "coterie::Config: every enumerator must be one that its type names (weights, router, capacity, expert, shared.mix, combine)");
  static_assert(is_finite(C.router.soft_cap) && is_finite(C.router.epsilon) && is_finite(C.router.scale) && is_finite(C.router.noise_size) &&
                is_finite(C.capacity.factor) && is_finite(C.expert.alpha) && is_finite(C.expert.limit) && is_finite(C.shared.limit),
                "coterie::Config: floats (soft_cap, epsilon, scale, noise_size, factor, alpha, limit) must be finite");

  static_assert(C.router.score == Score::identity || C.router.post == Post::none,
                "coterie::Config: router.score and router.post are exclusive: activate all logits before selection or the selected ones after");
  static_assert(!(C.router.soft_cap < 0), "coterie::Config: router.soft_cap must not be negative (0: none)");
  static_assert(!(C.router.epsilon < 0), "coterie::Config: router.epsilon must not be negative");
  static_assert(!(C.router.scale <= 0), "coterie::Config: router.scale must be positive (1: none)");
  static_assert(C.router.groups >= 1 && candidates(C) % C.router.groups == 0,
                "coterie::Config: router.groups must divide experts");
  static_assert(C.router.groups_kept >= 1 && C.router.groups_kept <= C.router.groups,
                "coterie::Config: router.groups_kept must be between 1 and router.groups");
  static_assert(C.router.groups == 1 || C.router.select == Select::group_top_k,
                "coterie::Config: router.groups needs router.select = Select::group_top_k");
  static_assert(C.router.select != Select::group_top_k || C.top_k <= candidates(C) / C.router.groups * C.router.groups_kept,
                "coterie::Config: top_k must not exceed the experts of the groups kept");
  static_assert(C.router.select != Select::group_top_k || C.router.group_score == GroupScore::max || candidates(C) / C.router.groups >= 2,
                "coterie::Config: GroupScore::top2_sum needs at least 2 experts in a group");
  static_assert(C.router.select != Select::sparse_mixer || C.top_k == 2,
                "coterie::Config: Select::sparse_mixer needs top_k = 2 (it is defined for two rounds)");
  static_assert(C.router.select != Select::sparse_mixer || (C.router.score == Score::identity && C.router.post == Post::none &&
                !C.router.select_bias && C.router.normalise == Normalise::none),
                "coterie::Config: Select::sparse_mixer makes its own weights: score identity, post none, normalise none, no select_bias");
  static_assert(C.router.select != Select::sparse_mixer || C.router.noise == Noise::none || C.router.noise == Noise::gumbel,
                "coterie::Config: Select::sparse_mixer uses noise_size as its threshold and has no noise but gumbel (training)");
  static_assert(C.router.select != Select::expert_choice || (C.router.post == Post::none && !C.router.select_bias &&
                C.router.normalise == Normalise::none && shared_rows(C) == 0 && C.expert.identity + C.expert.skip == 0),
                "coterie::Config: Select::expert_choice takes weights straight from router.score: no post, select_bias, normalise, router rows or null experts");
  static_assert(C.router.select != Select::expert_choice || !C.router.expert_scale,
                "coterie::Config: Select::expert_choice has no expert_scale");
  static_assert(C.router.noise != Noise::gumbel || ((C.router.select == Select::top_k || C.router.select == Select::group_top_k || C.router.select == Select::sparse_mixer) && !C.router.select_bias),
                "coterie::Config: Noise::gumbel needs Select::top_k, group_top_k or sparse_mixer without select_bias");
  static_assert(C.router.select != Select::expert_choice || C.router.noise != Noise::random_second,
                "coterie::Config: Noise::random_second is a rule for token choice");
  static_assert(C.router.input != RouterInput::token_ids || C.router.select == Select::table,
                "coterie::Config: RouterInput::token_ids needs router.select = Select::table");
  static_assert(C.router.input != RouterInput::token_ids || C.router.noise == Noise::none,
                "coterie::Config: a router without logits has no noise");
  static_assert(C.router.select != Select::table || C.router.input != RouterInput::given,
                "coterie::Config: RouterInput::given brings its own selection; Select::table has nothing to do");
  static_assert(C.router.noise != Noise::softplus || C.router.input == RouterInput::hidden || C.router.input == RouterInput::separate,
                "coterie::Config: Noise::softplus needs a router that reads hidden states (W_noise)");
  static_assert(C.router.noise != Noise::jitter || C.router.input == RouterInput::hidden || C.router.input == RouterInput::separate,
                "coterie::Config: Noise::jitter needs a router that reads hidden states");
  static_assert(C.router.noise != Noise::random_second || C.top_k == 2,
                "coterie::Config: Noise::random_second needs top_k = 2");
  static_assert((C.router.noise == Noise::none && C.router.select != Select::sparse_mixer) || !(C.router.noise_size < 0),
                "coterie::Config: router.noise_size must not be negative");
  static_assert(C.router.noise != Noise::random_second || C.router.noise_size != 0,
                "coterie::Config: Noise::random_second needs router.noise_size, the weight from which the second expert is always kept (GShard: 0.5)");
  static_assert(C.router.place == Place::output || (C.expert.identity == 0 && C.expert.skip == 0),
                "coterie::Config: Place::input and null experts exclude each other");
  static_assert(C.router.place == Place::output || C.router.scale_on == ScaleOn::weights,
                "coterie::Config: Place::input needs router.scale_on = ScaleOn::weights");

  static_assert((C.capacity.rounding == Rounding::none && C.router.select != Select::expert_choice) || !(C.capacity.factor <= 0) ||
                (C.capacity.rounding == Rounding::nllb && C.capacity.factor == 0),
                "coterie::Config: capacity.factor must be positive");
  static_assert(C.capacity.minimum >= 0, "coterie::Config: capacity.minimum must not be negative");
  static_assert(C.capacity.rounding == Rounding::none || C.expert.identity + C.expert.skip == 0,
                "coterie::Config: capacity and null experts exclude each other");
  static_assert(C.capacity.rounding == Rounding::none || C.capacity.normalise == When::before || !C.router.expert_scale,
                "coterie::Config: router.expert_scale cannot be combined with normalisation after dropping");
  static_assert(C.capacity.rounding == Rounding::none || C.capacity.normalise == When::before || C.router.normalise != Normalise::none,
                "coterie::Config: capacity.normalise = When::after needs router.normalise");

  static_assert(!has_limit(C.expert.act) || !(C.expert.limit <= 0),
                "coterie::Config: expert.limit must be positive where the activation has one (oai_mul, silu_mul_clamp_before, silu_mul_clamp_after, situ_mul)");
  static_assert(C.expert.act != Act::situ_mul || !(C.expert.alpha <= 0), "coterie::Config: expert.alpha must be positive with Act::situ_mul, which divides by it");
  static_assert(C.expert.latent >= 0, "coterie::Config: expert.latent must not be negative (0: none)");
  static_assert(C.expert.latent == 0 || (C.expert.identity == 0 && C.expert.skip == 0),
                "coterie::Config: latent experts and null experts exclude each other");
  static_assert(C.expert.latent || C.expert.latent_norm == LatentNorm::none,
                "coterie::Config: expert.latent_norm needs expert.latent");
  static_assert(C.expert.identity >= 0 && C.expert.skip >= 0, "coterie::Config: null expert counts must not be negative");
  static_assert(C.shared.ffn >= 0, "coterie::Config: shared.ffn must not be negative (0: none)");
  static_assert(C.shared.ffn == 0 || (C.shared.count >= 1 && C.shared.ffn % C.shared.count == 0),
                "coterie::Config: shared.count must divide shared.ffn");
  static_assert(!(C.shared.limit < 0), "coterie::Config: shared.limit must not be negative (0: as the routed experts)");
  static_assert(shared_rows(C) == 0 || (C.router.score == Score::sigmoid && learned),
                "coterie::Config: SharedMix::router_rows needs a learned router with Score::sigmoid");
  static_assert(shared_rows(C) == 0 || C.capacity.rounding == Rounding::none || C.capacity.normalise == When::before,
                "coterie::Config: SharedMix::router_rows cannot be combined with normalisation after dropping");
  static_assert(C.quant.group >= 0 && C.quant.group_rows >= 1, "coterie::Config: quant.group must not be negative, quant.group_rows at least 1");
  static_assert(C.quant.group_rows <= 1 || C.quant.group > 0 || is_float(C.weights) || C.weights == DType::mxfp4,
                "coterie::Config: quant.group_rows needs quant.group (0: one scale per row)");
  static_assert(C.weights != DType::mxfp4 || ((C.quant.group == 0 || C.quant.group == 32) && C.quant.group_rows == 1),
                "coterie::Config: mxfp4 has a scale per 32 values: quant.group must be 32 (or 0, the same) and quant.group_rows 1");
  static_assert(C.weights != DType::int4 || C.quant.group % 2 == 0, "coterie::Config: int4 has two values in a byte: quant.group must be even");
  static_assert(is_float(C.weights) || C.weights == DType::int8 || C.weights == DType::int4 || !C.quant.zero_points,
                "coterie::Config: quant.zero_points is for int8 and int4 weights");
  static_assert(!is_float(C.weights) || (C.quant.group == 0 && C.quant.group_rows == 1 && !C.quant.zero_points),
                "coterie::Config: quant is for quantised weights; fp32, bf16 and fp16 have no scales");
};

}}

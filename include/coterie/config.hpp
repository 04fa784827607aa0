// What a layer is: a flat compile-time value. Axes and their meaning: docs/configuration.md.
#pragma once
#include <cstdint>
#if defined(__CUDACC__)
#define COTERIE_HD __host__ __device__
#else
#define COTERIE_HD
#endif

namespace coterie { inline namespace v0 {

enum class DType : int { fp32, bf16, fp16, fp8_e4m3, fp8_e5m2, int8, int4, mxfp4 };

enum class RouterInput : int { hidden, separate, logits, token_ids, given };   // given: the caller's own Routing
enum class Precision   : int { fp32, matmul_then_fp32, model };                // where a router leaves the model's dtype
enum class Score       : int { identity, softmax, sigmoid, sqrt_softplus };    // on all logits, before selection
enum class Select      : int { top_k, group_top_k, table, sparse_mixer, expert_choice };
enum class Post        : int { none, softmax, sigmoid };                       // on the selected values
enum class Normalise   : int { none, sum_add, sum_clamp };                     // w/(sum+epsilon), w/max(sum,epsilon)
enum class GroupScore  : int { max, top2_sum };
enum class Fill        : int { minus_infinity, zero };                         // what a masked group's scores become
enum class ScaleOn     : int { weights, routed_sum };
enum class Place       : int { output, input };                                // Llama 4 weights the expert's input
enum class Noise       : int { none, jitter, softplus, gumbel, random_second };  // training only: Inputs::seed

struct RouterConfig {
  RouterInput input = RouterInput::hidden;
  Precision precision = Precision::matmul_then_fp32;
  DType weights = DType::bf16;
  int bias = 0;                                // flag: added to the logits
  float soft_cap = 0;                          // tanh(z / cap) * cap; 0: none
  Score score = Score::softmax;
  int select_bias = 0;                         // flag: added to the scores for selection only
  Select select = Select::top_k;
  int groups = 1, groups_kept = 1;
  GroupScore group_score = GroupScore::top2_sum;
  Fill group_fill = Fill::minus_infinity;
  Post post = Post::none;
  Normalise normalise = Normalise::sum_add;
  float epsilon = 0;
  float scale = 1;
  ScaleOn scale_on = ScaleOn::weights;
  int expert_scale = 0;                        // flag: learned factor per expert (Gemma 4)
  Place place = Place::output;
  int round_weight = 0;                        // flag: round weights to dtype before the multiply
  Noise noise = Noise::none;
  float noise_size = 0;
};

enum class Rounding : int { none, mesh, flaxformer, deepspeed, megablocks, fastmoe, nllb };   // none: dropless
enum class Order    : int { sequence, probability, random };
enum class When     : int { before, after };
struct CapacityConfig {
  Rounding rounding = Rounding::none;
  float factor = 1;
  int minimum = 0;
  Order order = Order::sequence;               // who keeps a place when an expert is full
  When normalise = When::before;               // weights are normalised before or after tokens are dropped
};

enum class Act : int { silu_mul, gelu_tanh_mul, gelu_mul, relu_mul, oai_mul, silu_mul_clamp_before,
                       silu_mul_clamp_after, situ_mul, relu2, relu, gelu };
enum class LatentNorm : int { none, rms };
struct ExpertConfig {
  Act act = Act::silu_mul;
  float alpha = 1.702f, limit = 7;             // oai_mul: both; clamps: limit; situ_mul: alpha = beta, limit = linear beta
  int bias = 0;                                // flag: gate, up and down biases
  int latent = 0;                              // width the experts work at; 0: hidden
  LatentNorm latent_norm = LatentNorm::none;
  int identity = 0, skip = 0;                  // null experts: return x, return nothing
};

enum class SharedMix : int { sum, sigmoid_gate, average, coefficients, router_rows };
struct SharedConfig {
  int ffn = 0;                                 // width of all shared experts together; 0: none
  int count = 1;
  SharedMix mix = SharedMix::sum;
  DType weights = DType::bf16;
  float limit = 0;                             // activation limit of the shared experts; 0: as the routed ones
};

struct QuantConfig { int group = 0, group_rows = 1; int zero_points = 0; };
enum class Accumulate : int { fp32, model };

struct Config {
  int experts = 0, top_k = 0, hidden = 0, ffn = 0;      // each must be set
  DType dtype = DType::bf16;                            // activations
  DType weights = DType::bf16;                          // expert weights
  QuantConfig quant{};
  RouterConfig router{};
  CapacityConfig capacity{};
  ExpertConfig expert{};
  SharedConfig shared{};
  Accumulate combine = Accumulate::fp32;
  int batch_invariant = 0;
};

static_assert(sizeof(Config) == 4 * 51, "every field is 4 bytes: clang misreads a template argument with padding (llvm #146272)");

// Columns of Routing and of Batch::slot: an expert-choice token may be taken by every expert.
COTERIE_HD constexpr int slots(Config const& c) { return c.router.select == Select::expert_choice ? c.experts : c.top_k; }
// Columns the experts read and write.
COTERIE_HD constexpr int width(Config const& c) { return c.expert.latent ? c.expert.latent : c.hidden; }
// Experts a router may select: the real ones, then identity, then skip.
COTERIE_HD constexpr int candidates(Config const& c) { return c.experts + c.expert.identity + c.expert.skip; }
// Shared experts that the router weighs (Inkling).
COTERIE_HD constexpr int shared_rows(Config const& c) { return c.shared.ffn && c.shared.mix == SharedMix::router_rows ? c.shared.count : 0; }
// Columns of the logits: candidates, then router-weighed shared experts.
COTERIE_HD constexpr int logit_columns(Config const& c) { return candidates(c) + shared_rows(c); }
// Whether Dispatch normalises the weights, over what kept its place.
COTERIE_HD constexpr bool normalises_after_drop(Config const& c) {
  return c.capacity.rounding != Rounding::none && c.capacity.normalise == When::after && c.router.normalise != Normalise::none;
}
// Whether Combine needs packed weights: to mix shared experts, to leave the latent width.
COTERIE_HD constexpr bool combine_reads_weights(Config const& c) {
  return c.expert.latent > 0 || (c.shared.ffn > 0 && (c.shared.mix == SharedMix::sigmoid_gate || c.shared.mix == SharedMix::coefficients));
}
// Whether an expert multiplies an activated gate by up (three matrices) or activates up alone (two).
COTERIE_HD constexpr bool gated(Act a) { return a != Act::relu2 && a != Act::relu && a != Act::gelu; }

}}

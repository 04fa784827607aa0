// Families that select on the raw logits, and the encoder-decoders with a capacity.
#include "golden.hpp"

using namespace coterie;
namespace {
constexpr Config granitemoe{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 28, .router = presets::granite_3_0_1b_a400m.router};
constexpr Config jetmoe{.experts = 6, .top_k = 2, .hidden = 40, .ffn = 26, .router = presets::jetmoe_8b.router};
constexpr Config aria{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 22, .router = presets::aria.router, .shared = {.ffn = 44, .count = 2}};
constexpr Config gpt_oss{.experts = 8, .top_k = 3, .hidden = 72, .ffn = 20, .router = presets::gpt_oss_20b.router, .expert = presets::gpt_oss_20b.expert};
constexpr Config gpt_oss_mxfp4{.experts = 8, .top_k = 3, .hidden = 64, .ffn = 32, .weights = DType::mxfp4, .quant = {.group = 32},
                               .router = presets::gpt_oss_20b.router, .expert = presets::gpt_oss_20b.expert};
constexpr Config unpacked(Config c) {                                            // the same experts as numbers
  c.weights = DType::bf16, c.quant = {};
  return c;
}
constexpr Config llama4{.experts = 6, .top_k = 1, .hidden = 48, .ffn = 28, .router = presets::llama4_scout.router, .shared = {.ffn = 28}};
constexpr Config cohere2_moe{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 22,
  .router = {.precision = Precision::model, .score = Score::identity, .post = Post::sigmoid}, .shared = {.ffn = 22, .mix = SharedMix::average}};
constexpr Config phimoe{.experts = 8, .top_k = 2, .hidden = 40, .ffn = 30, .router = presets::phi_3_5_moe.router};
constexpr Config switch_transformers{.experts = 4, .top_k = 1, .hidden = 40, .ffn = 52,
  .router = {.precision = Precision::fp32, .normalise = Normalise::none, .round_weight = 1},
  .capacity = {.rounding = Rounding::flaxformer, .factor = 1e-9f, .minimum = 4}, .expert = {.act = Act::relu}};
constexpr Config nllb_moe{.experts = 4, .top_k = 2, .hidden = 40, .ffn = 36,
  .router = {.precision = Precision::fp32, .normalise = Normalise::sum_clamp, .epsilon = 0x1p-23f, .scale = 0.8f, .scale_on = ScaleOn::routed_sum,
             .round_weight = 1},
  .capacity = {.rounding = Rounding::nllb, .factor = 0.35f, .normalise = When::after}, .expert = {.act = Act::relu, .bias = 1}};
}

TEST_CASE("golden granitemoe") { golden::family<granitemoe>("granitemoe"); }
TEST_CASE("golden jetmoe") { golden::family<jetmoe>("jetmoe"); }
TEST_CASE("golden aria") { golden::family<aria>("aria"); }
TEST_CASE("golden gpt_oss") { golden::family<gpt_oss>("gpt_oss"); }
TEST_CASE("golden gpt_oss_mxfp4, as it is stored and in bf16") {
  golden::family<gpt_oss_mxfp4>("gpt_oss_mxfp4");
  golden::compare("gpt_oss_mxfp4", "record.safetensors", "fp32", golden::computed<golden::with_dtype(unpacked(gpt_oss_mxfp4), DType::fp32)>());
  golden::compare("gpt_oss_mxfp4", "record.safetensors", "bf16", golden::computed<unpacked(gpt_oss_mxfp4)>());
}
TEST_CASE("golden llama4") { golden::family<llama4>("llama4"); }
TEST_CASE("golden cohere2_moe") { golden::family<cohere2_moe>("cohere2_moe"); }
TEST_CASE("golden phimoe") { golden::family<phimoe>("phimoe"); }
TEST_CASE("golden switch_transformers") { golden::family<switch_transformers>("switch_transformers"); }
TEST_CASE("golden nllb_moe") { golden::family<nllb_moe>("nllb_moe"); }

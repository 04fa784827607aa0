// Few tokens: what published layers have that mixtral's and DeepSeek's have not. The stages' bits, and the definition's numbers.
#include "decode_case.hpp"

namespace decodes {
namespace {
constexpr Config gpt_oss = small(presets::gpt_oss_20b, 8, 4, 72, 56);    // biases, an activation of its own, softmax over the selected
// Null experts, noise, rows of 21 hidden values.
constexpr Config longcat{.experts = 6, .top_k = 4, .hidden = 40, .ffn = 21, .dtype = DType::fp16, .weights = DType::fp16,
                         .router = {.weights = DType::fp32, .select_bias = 1, .normalise = Normalise::none, .scale = 6, .noise = Noise::softplus, .noise_size = 0.01f}, .expert = {.identity = 2, .skip = 1}};
// Every expert for every token, one matrix before the activation, the caller's logits.
constexpr Config everyone{.experts = 5, .top_k = 5, .hidden = 24, .ffn = 13, .dtype = DType::fp32, .weights = DType::fp32,
                          .router = {.input = RouterInput::logits, .scale = 2.5f, .scale_on = ScaleOn::routed_sum}, .expert = {.act = Act::relu2, .bias = 1}};
static_assert(Decode<gpt_oss, Cuda>::suits && Decode<longcat, Cuda>::suits && Decode<everyone, Cuda>::suits);
}

TEST_CASE("decode: biases") { all<gpt_oss>(); }
TEST_CASE("decode: null experts, noise") { all<longcat>(); }
TEST_CASE("decode: all experts, fp32") {
  all<everyone>();
  for (std::int64_t gap : {1, 2}) CHECK(simt::failure_of(Both<everyone>({.tokens = 5, .seed = 5}, Arch::best, gap)) == "");    // no row of x but the first is aligned: the stages' business
}

}

// Families that select on probabilities.
#include "golden.hpp"

using namespace coterie;
namespace {
constexpr Config mixtral{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};
constexpr Config minimax{.experts = 8, .top_k = 2, .hidden = 56, .ffn = 22};
constexpr Config qwen2_moe{.experts = 10, .top_k = 4, .hidden = 48, .ffn = 20, .router = presets::qwen2_57b_a14b.router,
                           .shared = {.ffn = 36, .mix = SharedMix::sigmoid_gate}};
constexpr Config qwen3_moe{.experts = 16, .top_k = 3, .hidden = 88, .ffn = 10, .router = presets::qwen3_30b_a3b.router};
constexpr Config qwen3_next{.experts = 16, .top_k = 5, .hidden = 40, .ffn = 14, .router = presets::qwen3_next_80b_a3b.router,
                            .shared = {.ffn = 26, .mix = SharedMix::sigmoid_gate}};
constexpr Config olmoe{.experts = 12, .top_k = 4, .hidden = 64, .ffn = 12, .router = presets::olmoe_1b_7b.router};
constexpr Config flex_olmo{.experts = 7, .top_k = 5, .hidden = 40, .ffn = 34, .router = presets::flex_olmo_7x7b_1t.router};
}

TEST_CASE("golden mixtral") { golden::family<mixtral>("mixtral"); }
TEST_CASE("golden mixtral, 609 tokens of text") {
  golden::compare("mixtral", "text.safetensors", "fp32", golden::computed<golden::with_dtype(mixtral, DType::fp32)>());
}
TEST_CASE("golden mixtral, ONNX Runtime") {
  golden::compare_output("mixtral", "onnxruntime.safetensors", golden::computed<golden::with_dtype(mixtral, DType::fp32)>());
}
TEST_CASE("golden minimax") { golden::family<minimax>("minimax"); }
TEST_CASE("golden qwen2_moe") { golden::family<qwen2_moe>("qwen2_moe"); }
TEST_CASE("golden qwen3_moe") { golden::family<qwen3_moe>("qwen3_moe"); }
TEST_CASE("golden qwen3_next") { golden::family<qwen3_next>("qwen3_next"); }
TEST_CASE("golden olmoe") { golden::family<olmoe>("olmoe"); }
TEST_CASE("golden flex_olmo") { golden::family<flex_olmo>("flex_olmo"); }

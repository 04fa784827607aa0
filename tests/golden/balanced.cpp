// DeepSeek-V3's lineage, varied: another precision, epsilon, place of the scale, activation or score.
#include "golden.hpp"

using namespace coterie;
namespace {
constexpr RouterConfig stored_router(RouterConfig r) {     // these goldens keep the router in bf16, the released models in fp32
  r.weights = DType::bf16, r.precision = Precision::matmul_then_fp32;
  return r;
}
constexpr Config afmoe{.experts = 10, .top_k = 3, .hidden = 48, .ffn = 18, .router = presets::afmoe_router, .shared = {.ffn = 18}};
constexpr Config lfm2_moe{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 22, .router = presets::lfm2_8b_a1b.router};
constexpr Config laguna{.experts = 12, .top_k = 3, .hidden = 40, .ffn = 18,
  .router = {.soft_cap = 2, .score = Score::sigmoid, .select_bias = 1, .scale = 2.5f, .scale_on = ScaleOn::routed_sum, .round_weight = 1},
  .shared = {.ffn = 22}};
constexpr Config minimax_m2{.experts = 16, .top_k = 4, .hidden = 48, .ffn = 14, .router = stored_router(presets::minimax_m2.router)};
constexpr Config minimax_m3{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 22, .router = stored_router(presets::minimax_m3.router),
                            .expert = presets::minimax_m3.expert, .shared = {.ffn = 26}};
constexpr Config step3p7{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 22, .router = stored_router(presets::step_3_5_flash.router),
                         .expert = {.act = Act::silu_mul_clamp_after, .limit = 2}, .shared = {.ffn = 26, .limit = 1.5f}};
constexpr Config deepseek_v4{.experts = 12, .top_k = 3, .hidden = 40, .ffn = 22, .router = presets::deepseek_v4_flash.router,
                             .expert = {.act = Act::silu_mul_clamp_before, .limit = 2}, .shared = {.ffn = 22}};
constexpr Config deepseek_v4_hash{.experts = 12, .top_k = 3, .hidden = 40, .ffn = 22, .router = presets::deepseek_v4_flash_hash.router,
                                  .expert = {.act = Act::silu_mul_clamp_before, .limit = 2}, .shared = {.ffn = 22}};
}

TEST_CASE("golden afmoe") { golden::family<afmoe>("afmoe"); }
TEST_CASE("golden lfm2_moe") { golden::family<lfm2_moe>("lfm2_moe"); }
TEST_CASE("golden laguna") { golden::family<laguna>("laguna"); }
TEST_CASE("golden minimax_m2") { golden::family<minimax_m2>("minimax_m2"); }
TEST_CASE("golden minimax_m3") { golden::family<minimax_m3>("minimax_m3"); }
TEST_CASE("golden step3p7") { golden::family<step3p7>("step3p7"); }
TEST_CASE("golden deepseek_v4") { golden::family<deepseek_v4>("deepseek_v4"); }
TEST_CASE("golden deepseek_v4, experts by token id") { golden::family<deepseek_v4_hash>("deepseek_v4_hash"); }

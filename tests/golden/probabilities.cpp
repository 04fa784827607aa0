// More families that select on probabilities: groups, biases for selection, null experts, a router input of their own.
#include "golden.hpp"

using namespace coterie;
namespace {
constexpr Config jamba{.experts = 8, .top_k = 2, .hidden = 56, .ffn = 22, .router = presets::jamba_v0_1.router};
constexpr Config dbrx{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 28, .router = presets::dbrx.router};
constexpr Config deepseek_v2{.experts = 16, .top_k = 4, .hidden = 40, .ffn = 14,
  .router = {.precision = Precision::fp32, .select = Select::group_top_k, .groups = 4, .groups_kept = 2, .group_score = GroupScore::max,
             .group_fill = Fill::zero, .normalise = Normalise::none, .scale = 16},
  .shared = {.ffn = 28, .count = 2}};
constexpr Config mistral4{.experts = 12, .top_k = 3, .hidden = 40, .ffn = 18,
  .router = {.precision = Precision::model, .select = Select::group_top_k, .groups = 3, .groups_kept = 2, .group_fill = Fill::zero, .epsilon = 1e-20f},
  .shared = {.ffn = 18}};
constexpr Config hunyuan{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 22, .router = presets::hunyuan_a13b.router, .shared = {.ffn = 22}};
constexpr Config ernie{.experts = 12, .top_k = 4, .hidden = 40, .ffn = 14,
  .router = {.precision = Precision::fp32, .weights = DType::fp32, .select_bias = 1, .normalise = Normalise::sum_clamp, .epsilon = 1e-12f,
             .round_weight = 1},
  .shared = {.ffn = 28, .count = 2}};
constexpr Config longcat{.experts = 8, .top_k = 4, .hidden = 40, .ffn = 18,
  .router = {.precision = Precision::fp32, .select_bias = 1, .normalise = Normalise::none, .scale = 6}, .expert = {.identity = 4}};
constexpr Config gemma4{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 22, .router = presets::gemma_4_26b_a4b.router, .expert = presets::gemma_4_26b_a4b.expert};
}

TEST_CASE("golden jamba") { golden::family<jamba>("jamba"); }
TEST_CASE("golden dbrx") { golden::family<dbrx>("dbrx"); }
TEST_CASE("golden deepseek_v2") { golden::family<deepseek_v2>("deepseek_v2"); }
TEST_CASE("golden mistral4") { golden::family<mistral4>("mistral4"); }
TEST_CASE("golden hunyuan_v1_moe") { golden::family<hunyuan>("hunyuan_v1_moe"); }
TEST_CASE("golden ernie4_5_moe") { golden::family<ernie>("ernie4_5_moe"); }
TEST_CASE("golden longcat_flash") { golden::family<longcat>("longcat_flash"); }
TEST_CASE("golden gemma4") { golden::family<gemma4>("gemma4"); }

// DeepSeek-V3's lineage, as it is: sigmoid in fp32, a bias for selection, weights over their sum, perhaps groups.
#include "golden.hpp"

using namespace coterie;
namespace {
constexpr RouterConfig grouped = [] {
  RouterConfig r = presets::balanced_by_bias(2.5f);
  r.select = Select::group_top_k; r.groups = 4; r.groups_kept = 2;
  return r;
}();
constexpr Config deepseek_v3{.experts = 16, .top_k = 4, .hidden = 40, .ffn = 14, .router = grouped, .shared = {.ffn = 14}};
constexpr Config glm4_moe{.experts = 8, .top_k = 4, .hidden = 48, .ffn = 18, .router = presets::balanced_by_bias(1.5f), .shared = {.ffn = 18}};
constexpr Config dots1{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 14, .router = presets::dots_llm1.router, .shared = {.ffn = 28, .count = 2}};
constexpr Config exaone_moe{.experts = 8, .top_k = 3, .hidden = 56, .ffn = 14, .router = presets::k_exaone_236b_a23b.router, .shared = {.ffn = 14}};
constexpr Config hy_v3{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 14, .router = presets::hy3_preview.router, .shared = {.ffn = 14}};
constexpr Config mimo_v2_flash{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 18, .router = presets::mimo_v2_flash.router};
constexpr Config nemotron_h{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 30, .router = presets::nemotron_3_nano_30b_a3b.router,
                            .expert = presets::nemotron_3_nano_30b_a3b.expert, .shared = {.ffn = 44}};
constexpr Config nemotron_h_latent{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 30, .router = presets::balanced_by_bias(2.5f),
                                   .expert = {.act = Act::relu2, .latent = 20}, .shared = {.ffn = 20}};
}

TEST_CASE("golden deepseek_v3") { golden::family<deepseek_v3>("deepseek_v3"); }
TEST_CASE("golden glm4_moe") { golden::family<glm4_moe>("glm4_moe"); }
TEST_CASE("golden dots1") { golden::family<dots1>("dots1"); }
TEST_CASE("golden exaone_moe") { golden::family<exaone_moe>("exaone_moe"); }
TEST_CASE("golden hy_v3") { golden::family<hy_v3>("hy_v3"); }
TEST_CASE("golden mimo_v2_flash") { golden::family<mimo_v2_flash>("mimo_v2_flash"); }
TEST_CASE("golden nemotron_h") { golden::family<nemotron_h>("nemotron_h"); }
TEST_CASE("golden nemotron_h, latent") { golden::family<nemotron_h_latent>("nemotron_h_latent"); }

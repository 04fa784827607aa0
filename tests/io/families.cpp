// What each family makes of config.json: the defaults, what is refused and in which words, and where errors say they are.
#include <regex>
#include <set>

#include <doctest/doctest.h>

#include "copy.hpp"

using namespace copies;
using nlohmann::json;

namespace {

constexpr Where caller{"caller.cpp", 7};
bool names_caller(std::string const& text) { return text.ends_with("(caller.cpp:7)"); }

json document(std::string const& golden) { return json::parse(bytes_of(goldens() / golden / "config.json")); }
// Where the language model's fields stand.
json& text_of(json& whole) { return whole.contains("text_config") ? whole["text_config"] : whole; }

// What a family's config.json means, without any tensor.
Config meaning(json const& text, io::Fields::Layer layer = {}) {
  io::Family const* const family = io::find_family(text["model_type"].get<std::string>());
  REQUIRE(family);
  return family->config(io::Fields(Json::parse(text.dump(), "config.json"), layer, caller));
}
// As a line, without the sizes and types.
std::string differs(Config const& c) {
  std::string const line = describe(c);
  auto const sizes = line.find("weights)") + 8;
  return line.size() > sizes ? line.substr(sizes + 2) : "";
}

// The fields that must be there.
constexpr std::array sizes{"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts",
                           "moe_top_k", "hidden_size", "d_model", "d_ff", "encoder_ffn_dim", "ffn_hidden_size", "expert_ffn_hidden_size", "moe_intermediate_size",
                           "intermediate_size"};
// Those of a golden, as paths below its text; of two widths the one that is the experts'.
std::vector<std::string> sizes_of(json const& text) {
  std::vector<std::string> all;
  for (std::string const name : sizes) {
    if (name == "intermediate_size" && (text.contains("moe_intermediate_size") || text.contains("expert_ffn_hidden_size"))) continue;
    if (name == "ffn_hidden_size" && text.contains("expert_ffn_hidden_size")) continue;
    if (text.contains(name)) all.push_back("/" + name);
    if (text.contains("ffn_config") && text["ffn_config"].contains(name)) all.push_back("/ffn_config/" + name);
  }
  return all;
}
std::string last(std::string const& path) { return path.substr(path.rfind('/') + 1); }

struct Meant { char const *golden, *means; };
constexpr char const *noaux = "router.precision fp32, router.score sigmoid, router.select_bias 1, router.epsilon 1e-20",
                     *chosen_softmax = "router.score identity, router.post softmax, router.normalise none, router.round_weight 1",
                     *raw = "router.normalise none, router.round_weight 1", *gpt_oss = "router.precision model, router.bias 1, router.score identity, "
                     "router.post softmax, router.normalise none, expert.act oai_mul, expert.bias 1",
                     *v4 = "router.precision fp32, router.score sqrt_softplus, router.select_bias 1, router.epsilon 1e-20, router.scale 1.5, "
                     "expert.act silu_mul_clamp_before, expert.limit 10, shared.ffn 22",
                     *nemotron = "router.precision fp32, router.score sigmoid, router.select_bias 1, router.epsilon 1e-20, expert.act relu2, shared.ffn 7688";

// Of the goldens' sizes, the rest left out: the defaults of transformers' config classes.
std::vector<Meant> const defaults{
    {"afmoe", "router.score sigmoid, router.select_bias 1, router.epsilon 1e-20, shared.ffn 36, shared.count 2"},
    {"aria", "router.precision model, router.score identity, router.post softmax, router.normalise none, shared.ffn 44, shared.count 2"},
    {"cohere2_moe", chosen_softmax},
    {"dbrx", "router.round_weight 1"},
    {"deepseek_v2", "router.precision fp32, router.normalise none, shared.ffn 28, shared.count 2"},
    {"deepseek_v3", "router.precision fp32, router.score sigmoid, router.select_bias 1, router.select group_top_k, router.groups 8, router.groups_kept 4, "
                    "router.epsilon 1e-20, router.scale 2.5, shared.ffn 14"},
    {"deepseek_v4", v4}, {"deepseek_v4_hash", v4},
    {"dots1", "router.precision fp32, router.score sigmoid, router.select_bias 1, router.normalise none"},
    {"ernie4_5_moe", "router.precision fp32, router.select_bias 1, router.normalise sum_clamp, router.epsilon 1e-12, router.round_weight 1, shared.ffn 28, shared.count 2"},
    {"exaone_moe", "router.precision fp32, router.score sigmoid, router.select_bias 1, router.epsilon 1e-20, router.scale 2.5, shared.ffn 14"},
    {"flex_olmo", raw},
    {"gemma4", nullptr},                   // enable_moe_block is false: then the layer is dense
    {"glm4_moe", "router.precision fp32, router.score sigmoid, router.select_bias 1, router.epsilon 1e-20, shared.ffn 18"},
    {"gpt_oss", gpt_oss}, {"gpt_oss_mxfp4", gpt_oss},
    {"granitemoe", chosen_softmax},
    {"hunyuan_v1_moe", "router.precision fp32, shared.ffn 22"},
    {"hy_v3", "router.precision fp32, router.score sigmoid, router.select_bias 1, router.epsilon 1e-20, router.scale 2.826, shared.ffn 14"},
    {"jamba", raw},
    {"jetmoe", chosen_softmax},
    {"laguna", "router.score sigmoid, router.select_bias 1, router.round_weight 1, shared.ffn 512"},
    {"lfm2_moe", "router.precision model, router.score sigmoid, router.select_bias 1, router.epsilon 1e-06"},
    {"llama4", "router.score identity, router.post sigmoid, router.normalise none, router.place input, router.round_weight 1, shared.ffn 28"},
    {"longcat_flash", "router.precision fp32, router.select_bias 1, router.normalise none, router.scale 6, expert.identity 256"},
    {"mimo_v2_flash", noaux},
    {"minimax", ""},
    {"minimax_m2", "router.score sigmoid, router.select_bias 1"},
    {"minimax_m3", "router.score sigmoid, router.select_bias 1, router.scale 2, router.scale_on routed_sum, expert.act oai_mul, shared.ffn 3072"},
    {"mistral4", "router.precision model, router.epsilon 1e-20, shared.ffn 18"},
    {"mixtral", ""},
    {"nemotron_h", nemotron}, {"nemotron_h_latent", nemotron},
    {"nllb_moe", "router.precision fp32, router.normalise sum_clamp, router.epsilon 1.1920929e-07, router.scale 0.8, router.scale_on routed_sum, "
                 "router.round_weight 1, capacity.rounding nllb, capacity.normalise after, expert.act relu, expert.bias 1"},
    {"olmoe", raw},
    {"phimoe", "router.precision model, router.score identity, router.select sparse_mixer, router.normalise none, router.noise_size 0.01"},
    {"qwen2_moe", "router.normalise none, router.round_weight 1, shared.ffn 5632, shared.mix sigmoid_gate"},
    {"qwen3_moe", raw},
    {"qwen3_next", "router.round_weight 1, shared.ffn 512, shared.mix sigmoid_gate"},
    {"step3p7", "router.score sigmoid, router.select_bias 1, shared.ffn 1280"},
    {"switch_transformers", "router.precision fp32, router.normalise none, router.round_weight 1, capacity.rounding flaxformer, capacity.factor 1e-09, "
                            "capacity.minimum 64, expert.act relu"},
};

// A field of a golden's config.json, as a path; its value there (empty: taken away); words of the error.
struct Refusal { char const *golden, *field, *value; std::vector<char const*> words; };
std::vector<Refusal> const refusals{
    {"mixtral", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'", "want 'silu' or 'swish'"}},
    {"minimax", "/hidden_act", R"("relu")", {"'hidden_act'", "got 'relu'"}},
    {"qwen2_moe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"qwen3_moe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"qwen3_next", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"olmoe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"flex_olmo", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"jamba", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"dbrx", "/ffn_config/ffn_act_fn/name", R"("gelu")", {"'ffn_config.ffn_act_fn.name'", "got 'gelu'", "want 'silu'"}},
    {"dbrx", "/ffn_config/moe_normalize_expert_weights", "2.0", {"'ffn_config.moe_normalize_expert_weights'", "got 2, want 1"}},
    {"dbrx", "/ffn_config", "", {"has no field 'ffn_config'"}},
    {"deepseek_v2", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"deepseek_v2", "/scoring_func", R"("sigmoid")", {"'scoring_func'", "got 'sigmoid'", "want 'softmax'"}},
    {"deepseek_v2", "/topk_method", R"("noaux_tc")", {"'topk_method'", "got 'noaux_tc'", "want 'greedy' or 'group_limited_greedy'"}},
    {"deepseek_v2", "/norm_topk_prob", "true", {"'norm_topk_prob'", "got true, want false"}},
    {"deepseek_v2", "/n_group", "", {"has no field 'n_group'"}},
    {"deepseek_v2", "/topk_group", "", {"has no field 'topk_group'"}},
    {"deepseek_v2", "/n_shared_experts", "2000000", {"'n_shared_experts'", "got 2000000, want a size of 0 to 1048576"}},
    {"mistral4", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"hunyuan_v1_moe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"hunyuan_v1_moe", "/norm_topk_prob", "false", {"'norm_topk_prob'", "got false, want true"}},
    {"hunyuan_v1_moe", "/group_limited_greedy", "true", {"'group_limited_greedy'", "got true, want false"}},
    {"hunyuan_v1_moe", "/num_shared_expert", "[]", {"'num_shared_expert'", "got 0 values, want more than layer 0"}},
    {"ernie4_5_moe", "/use_bias", "true", {"'use_bias'", "got true, want false"}},
    {"ernie4_5_moe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"longcat_flash", "/zero_expert_type", R"("copy")", {"'zero_expert_type'", "got 'copy'", "want 'identity'"}},
    {"longcat_flash", "/router_bias", "true", {"'router_bias'", "got true, want false"}},
    {"longcat_flash", "/norm_topk_prob", "true", {"'norm_topk_prob'", "got true, want false"}},
    {"longcat_flash", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"gemma4", "/hidden_activation", R"("silu")", {"'hidden_activation'", "got 'silu'", "want 'gelu_pytorch_tanh'"}},
    {"gemma4", "/enable_moe_block", "false", {"'enable_moe_block'", "got false, want true"}},
    {"gemma4", "/enable_moe_block", "", {"'enable_moe_block'", "got false, want true"}},
    {"deepseek_v3", "/scoring_func", R"("softmax")", {"'scoring_func'", "got 'softmax'", "want 'sigmoid'"}},
    {"deepseek_v3", "/topk_method", R"("greedy")", {"'topk_method'", "got 'greedy'", "want 'noaux_tc'"}},
    {"deepseek_v3", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"deepseek_v3", "/routed_scaling_factor", "1e40", {"'routed_scaling_factor'", "no float"}},
    {"glm4_moe", "/scoring_func", R"("softmax")", {"'scoring_func'", "got 'softmax'"}},
    {"dots1", "/scoring_func", R"("noaux_tc")", {"'scoring_func'", "got 'noaux_tc'"}},
    {"mimo_v2_flash", "/topk_method", R"("greedy")", {"'topk_method'", "got 'greedy'"}},
    {"exaone_moe", "/scoring_func", R"("softmax")", {"'scoring_func'", "got 'softmax'"}},
    {"afmoe", "/score_func", R"("softmax")", {"'score_func'", "got 'softmax'", "want 'sigmoid'"}},
    {"afmoe", "/route_norm", "false", {"'route_norm'", "got false, want true"}},
    {"afmoe", "/n_group", "2", {"'n_group'", "got 2, want 1"}},
    {"hy_v3", "/route_norm", "false", {"'route_norm'", "got false, want true"}},
    {"hy_v3", "/moe_router_use_sigmoid", "false", {"'moe_router_use_sigmoid'", "got false, want true"}},
    {"lfm2_moe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"lfm2_moe", "/use_expert_bias", R"("yes")", {"'use_expert_bias'", "got a string, want a boolean"}},
    {"nemotron_h", "/mlp_hidden_act", R"("silu")", {"'mlp_hidden_act'", "got 'silu'", "want 'relu2'"}},
    {"nemotron_h", "/mlp_bias", "true", {"'mlp_bias'", "got true, want false"}},
    {"nemotron_h_latent", "/moe_latent_size", "-20", {"'moe_latent_size'", "got -20, want a size"}},
    {"minimax_m2", "/norm_topk_prob", "false", {"'norm_topk_prob'", "got false, want true"}},
    {"minimax_m2", "/routed_scaling_factor", "2.5", {"'routed_scaling_factor'", "got 2.5, want 1"}},
    {"minimax_m2", "/scoring_func", R"("softmax")", {"'scoring_func'", "got 'softmax'"}},
    {"minimax_m3", "/hidden_act", R"("relu")", {"hidden_act'", "got 'relu'", "want 'silu' or 'swish' or 'swigluoai'"}},
    {"minimax_m3", "/norm_topk_prob", "false", {"norm_topk_prob'", "got false, want true"}},
    {"step3p7", "/hidden_act", R"("gelu")", {"hidden_act'", "got 'gelu'"}},
    {"step3p7", "/moe_router_activation", R"("softmax")", {"moe_router_activation'", "got 'softmax'", "want 'sigmoid'"}},
    {"step3p7", "/norm_expert_weight", "false", {"norm_expert_weight'", "got false, want true"}},
    {"step3p7", "/use_moe_router_bias", "false", {"use_moe_router_bias'", "got false, want true"}},
    {"step3p7", "/swiglu_limits", "[]", {"swiglu_limits'", "got 0 values, want more than layer 0"}},
    {"step3p7", "/swiglu_limits", "[-1.0]", {"swiglu_limits", "below 0"}},
    {"step3p7", "/swiglu_limits_shared", "[-1.0]", {"swiglu_limits_shared", "below 0"}},
    {"laguna", "/moe_apply_router_weight_on_input", "true", {"'moe_apply_router_weight_on_input'", "got true, want false"}},
    {"laguna", "/norm_topk_prob", "false", {"'norm_topk_prob'", "got false, want true"}},
    {"deepseek_v4", "/scoring_func", R"("sigmoid")", {"'scoring_func'", "got 'sigmoid'", "want 'sqrtsoftplus'"}},
    {"deepseek_v4", "/norm_topk_prob", "false", {"'norm_topk_prob'", "got false, want true"}},
    {"deepseek_v4", "/mlp_bias", "true", {"'mlp_bias'", "got true, want false"}},
    {"deepseek_v4_hash", "/scoring_func", R"("softmax")", {"'scoring_func'", "got 'softmax'"}},
    {"granitemoe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"jetmoe", "/activation_function", R"("gelu")", {"'activation_function'", "got 'gelu'", "want 'silu'"}},
    {"aria", "/mlp_bias", "true", {"'mlp_bias'", "got true, want false"}},
    {"aria", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"gpt_oss", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"gpt_oss_mxfp4", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"llama4", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"cohere2_moe", "/expert_selection_fn", R"("relu")", {"'expert_selection_fn'", "got 'relu'", "want 'softmax' or 'sigmoid'"}},
    {"cohere2_moe", "/shared_expert_combination_strategy", R"("max")", {"'shared_expert_combination_strategy'", "got 'max'", "want 'sum' or 'average'"}},
    {"phimoe", "/hidden_act", R"("gelu")", {"'hidden_act'", "got 'gelu'"}},
    {"switch_transformers", "/dense_act_fn", R"("gelu")", {"'dense_act_fn'", "got 'gelu'", "want 'relu'"}},
    {"switch_transformers", "/router_dtype", R"("bfloat16")", {"'router_dtype'", "got 'bfloat16'", "want 'float32'"}},
    {"switch_transformers", "/router_bias", "true", {"'router_bias'", "got true, want false"}},
    {"switch_transformers", "/is_gated_act", "true", {"'is_gated_act'", "got true, want false"}},
    {"nllb_moe", "/activation_function", R"("gelu")", {"'activation_function'", "got 'gelu'", "want 'relu'"}},
    {"nllb_moe", "/router_dtype", R"("bfloat16")", {"'router_dtype'", "got 'bfloat16'"}},
    {"nllb_moe", "/router_bias", "true", {"'router_bias'", "got true, want false"}},
    {"nllb_moe", "/second_expert_policy", R"("random")", {"'second_expert_policy'", "got 'random'", "want 'all'"}},
    {"nllb_moe", "/normalize_router_prob_before_dropping", "true", {"'normalize_router_prob_before_dropping'", "got true, want false"}},
    {"nllb_moe", "/batch_prioritized_routing", "true", {"'batch_prioritized_routing'", "got true, want false"}},
    {"nllb_moe", "/moe_eval_capacity_token_fraction", "-1.0", {"'moe_eval_capacity_token_fraction'", "got -1, want more than 0"}},
};

void set(json& text, char const* path, char const* value) {
  json::json_pointer const at{path};
  if (*value) text[at] = json::parse(value);
  else text[at.parent_pointer()].erase(at.back());
}

}

TEST_CASE("families: what is refused, and in which words") {
  for (Refusal const& r : refusals) {
    std::string const row = std::string(r.golden) + r.field;
    CAPTURE(row);
    json whole = document(r.golden);
    meaning(text_of(whole));
    set(text_of(whole), r.field, r.value);
    refused([&] { meaning(text_of(whole)); }, r.words);
    CHECK(names_caller(sentence([&] { meaning(text_of(whole)); })));
  }
}

TEST_CASE("families: every golden and every field that is refused in a family's source has a row above") {
  std::set<std::string> rows, goldens_with_rows;
  for (Refusal const& r : refusals) rows.insert(last(r.field)), goldens_with_rows.insert(r.golden);
  for (std::string const& golden : all_goldens()) CHECK_MESSAGE(goldens_with_rows.count(golden), golden);
  std::regex const refuses(R"re((?:only\w*|reject)\((?:f, )?(?:\w+ < 0 \? )?"(\w+)")re");
  int found = 0;
  for (auto const& file : fs::directory_iterator(fs::path(__FILE__).parent_path() / "../../include/coterie/io/families")) {
    std::string const source = bytes_of(file.path());
    for (std::sregex_iterator i(source.begin(), source.end(), refuses); i != std::sregex_iterator(); ++i, ++found) CHECK_MESSAGE(rows.count((*i)[1]), (*i)[1]);
  }
  CHECK(found > 40);
}

TEST_CASE("families: a field that is left out means transformers' default") {
  std::vector<std::string> of;
  for (Meant const& d : defaults) {
    of.push_back(d.golden);
    CAPTURE(of.back());
    json whole = document(d.golden), only;
    json const& text = text_of(whole);
    only["model_type"] = text["model_type"];
    for (std::string const& path : sizes_of(text)) only[json::json_pointer(path)] = text[json::json_pointer(path)];
    if (d.means) CHECK(differs(meaning(only)) == d.means);
    else CHECK(!sentence([&] { meaning(only); }).empty());
    for (auto& [key, value] : text.items())                                    // null says the same, but for one field
      if (!only.contains(key)) only[key] = nullptr;
    if (d.means) CHECK(differs(meaning(only)) == d.means);
  }
  CHECK(of == all_goldens());
}

TEST_CASE("families: what only some models say") {
  auto const with = [](char const* golden, std::vector<std::pair<char const*, char const*>> const& edits, io::Fields::Layer layer = {}) {
    json whole = document(golden);
    for (auto const& [path, value] : edits) set(text_of(whole), path, value);
    return meaning(text_of(whole), layer);
  };
  CHECK(with("dbrx", {{"/ffn_config/ffn_act_fn", ""}}).expert.act == Act::silu_mul);
  CHECK(with("dbrx", {{"/ffn_config/moe_normalize_expert_weights", "null"}}).router.normalise == Normalise::none);
  CHECK(with("mistral4", {{"/topk_group", ""}}).router.groups_kept == 1);
  CHECK(with("nemotron_h", {{"/n_shared_experts", "2"}}).shared.ffn == 44);     // one of this width, as transformers has it
  CHECK(with("nllb_moe", {}, {.decoder = true}).ffn == 12);
  CHECK(with("nllb_moe", {}).ffn == 36);
  CHECK(with("lfm2_moe", {{"/use_expert_bias", "false"}}).router.select_bias == 0);
  CHECK(with("hunyuan_v1_moe", {{"/moe_topk", "[3,2]"}, {"/moe_intermediate_size", "[22,8]"}, {"/num_shared_expert", "[1,2]"}}, {.number = 1}).shared.ffn == 16);
  CHECK(with("step3p7", {{"/swiglu_limits", "[0.0]"}}).expert.act == Act::silu_mul_clamp_after);      // the shared expert's is still there
  CHECK(with("step3p7", {{"/swiglu_limits", "null"}, {"/swiglu_limits_shared", "null"}}).expert.act == Act::silu_mul);
  CHECK(with("step3p7", {{"/moe_num_experts", "8"}, {"/n_routed_experts", ""}, {"/moe_top_k", "3"}, {"/num_experts_per_tok", ""}, {"/share_expert_dims", "9"}, {"/share_expert_dim", ""}}).shared.ffn == 9);
  CHECK(with("cohere2_moe", {{"/expert_selection_fn", R"("softmax")"}, {"/shared_expert_combination_strategy", R"("sum")"}}).shared.mix == SharedMix::sum);
  CHECK(with("mixtral", {{"/moe_intermediate_size", "9"}}).ffn == 256);         // not a field of this family
  CHECK(with("deepseek_v4", {}, {.table = true}).router.select == Select::table);
  CHECK(with("minimax_m2", {}, {.router = DType::fp32}).router.precision == Precision::fp32);
}

TEST_CASE("families: a size that is missing is named as the family names it, at the caller's place") {
  for (std::string const& golden : all_goldens()) {
    json whole = document(golden);
    json const text = text_of(whole);
    auto const paths = sizes_of(text);
    CHECK_MESSAGE(paths.size() >= 3, golden);
    for (std::string const& path : paths) {
      json without = text;
      set(without, path.c_str(), "");
      std::string const error = sentence([&] { meaning(without); });
      CHECK_MESSAGE((error.find("has no field '") != error.npos && error.find("'" + last(path) + "'") != error.npos && names_caller(error)), golden, path, error);
    }
  }
  json v3 = document("deepseek_v3");
  set(v3, "/n_routed_experts", "");
  CHECK(sentence([&] { meaning(v3); }) == "coterie: config.json: has no field 'n_routed_experts' or 'num_local_experts' (caller.cpp:7)");
}

TEST_CASE("families: no value of any field ends in anything but an Error at the caller's place") {
  std::vector<json> const values{nullptr, true, -1, 1 << 30, 1e300, "silu", json::array(), json::array({1}), json::array({nullptr}), json::object()};
  int refused = 0;
  for (std::string const& golden : all_goldens()) {
    json whole = document(golden);
    json const text = text_of(whole);
    json const fields = text.flatten();
    for (auto const& field : fields.items())
      for (json const& value : values) {
        std::string const& path = field.key();
        if (path == "/model_type") continue;
        json changed = text;
        changed[json::json_pointer(path)] = value;
        std::string const error = sentence([&] { (void)source(meaning(changed), "layer"); });
        refused += !error.empty();
        if (!error.empty() && !names_caller(error)) CHECK_MESSAGE(false, golden, path, value.dump(), error);
      }
  }
  CHECK(refused > 1000);
}

TEST_CASE("families: a checkpoint's errors are at the caller's place") {
  for (std::string const& golden : all_goldens()) {
    CAPTURE(golden);
    Copy copy(golden);
    Checkpoint const right{copy.path()};
    int layer = 0;
    while (!right.is_moe(layer)) ++layer;
    copy.document([](json& whole) { set(text_of(whole), sizes_of(text_of(whole)).front().c_str(), ""); });
    Checkpoint const wrong{copy.path()};
    CHECK(names_caller(sentence([&] { (void)wrong.config(layer, caller); })));
    CHECK(names_caller(sentence([&] { (void)wrong.tensors(layer, caller); })));
    CHECK(names_caller(sentence([&] { wrong.check_types(layer, caller); })));
    CHECK(sentence([&] { (void)wrong.config(layer); }).find("families.cpp:") != std::string::npos);
    CHECK(names_caller(sentence([&] { (void)wrong.names(-1, caller); })));
    CHECK(sentence([&] { (void)wrong.names(-1); }).find("families.cpp:") != std::string::npos);
  }
}

TEST_CASE("families: a model_type without a golden means what its relative's golden means") {
  struct Alias { char const *golden, *type; bool nested; };
  for (Alias const& a : {Alias{"deepseek_v3", "kimi_k2", false}, Alias{"step3p7", "step3p5", false}, Alias{"minimax_m3", "minimax_m3_vl_text", false},
                         Alias{"aria", "aria", true}, Alias{"gemma4", "gemma4", true}, Alias{"llama4", "llama4", true}}) {
    CAPTURE(a.type);
    Copy copy(a.golden);
    Checkpoint const before{copy.path()};
    int const layer = before.is_moe(0) ? 0 : 1;
    Config const meant = before.config(layer);
    auto const tensors = before.tensors(layer).size();
    copy.document([&](json& whole) {
      json text = text_of(whole);
      if (!a.nested) text["model_type"] = a.type;
      whole = a.nested ? json{{"model_type", a.type}, {"text_config", text}} : text;
    });
    if (a.nested)                                                              // as a multimodal release names its tensors
      copy.store([&](TensorInfo& t, std::string&) {
        t.name = std::string(a.type) == "gemma4" ? "model.language_model." + t.name.substr(6) : "language_model." + t.name;
      });
    Checkpoint const after{copy.path()};
    CHECK(after.model_type() == a.type);
    CHECK(source(after.config(layer), "layer") == source(meant, "layer"));
    CHECK(after.tensors(layer).size() == tensors);
  }
}

TEST_CASE("families: without text_config, and with null for it") {
  Copy copy("mixtral");
  copy.document([](json& whole) { whole["text_config"] = nullptr; });
  CHECK(Checkpoint{copy.path()}.config(0).ffn == 256);
  copy.document([](json& whole) { whole["num_hidden_layers"] = nullptr; });  // null is nothing here, too
  refused([&] { Checkpoint{copy.path()}; }, {"config.json': has no field 'num_hidden_layers'"});
  Copy named("switch_transformers");
  named.document([](json& whole) { whole["num_layers"] = whole["num_decoder_layers"] = nullptr, whole["num_hidden_layers"] = 3; });
  CHECK(Checkpoint{named.path()}.layers() == 6);
}

TEST_CASE("families: experts in fp8 are described where each has tensors of its own, and refused by their layout where not") {
  for (std::string const& golden : all_goldens()) {
    if (golden == "gpt_oss_mxfp4") continue;
    CAPTURE(golden);
    Copy copy(golden);
    copy.split([&](TensorInfo t, std::string bytes, auto const& put) {
      bool const expert = t.name.find("experts.") != t.name.npos || t.shape.size() == 3;
      if (!expert || t.shape.size() < 2 || !t.name.ends_with(".weight")) return put(t, bytes);
      as_zeros(t, bytes, Stored::f8_e4m3);
      put(t, bytes);
      std::vector<std::int64_t> const scales = t.shape.size() == 3 ? std::vector<std::int64_t>{t.shape[0], 1, 1} : std::vector<std::int64_t>{t.shape[0] / 129 + 1, t.shape[1] / 129 + 1};
      put({.name = t.name + "_scale_inv", .dtype = Stored::f32, .shape = scales}, std::string(static_cast<std::size_t>(4 * scales[0] * scales[1]), '\0'));
    });
    Checkpoint const checkpoint{copy.path()};
    int layer = 0;
    while (!checkpoint.is_moe(layer)) ++layer;
    if (golden == "granitemoe" || golden == "jetmoe" || golden == "aria") {
      refused([&] { (void)checkpoint.config(layer, caller); }, {"/model.safetensors': tensor '", ": quantised experts are not supported in the layout of '", "' (caller.cpp:7)"});
      continue;
    }
    bool const numbers = checkpoint.config(layer).weights != DType::fp8_e4m3;
    CHECK(numbers == (golden == "dbrx" || golden == "gemma4" || golden == "gpt_oss" || golden == "llama4" || golden == "mistral4"));   // names without .weight
    checkpoint.check_types(layer, caller);
    (void)checkpoint.tensors(layer, caller);
  }
}

TEST_CASE("families: other quantised releases are refused by type, and not for names without a place or shapes") {
  auto const experts = [](auto const& change) {
    return [&change](TensorInfo& t, std::string& bytes) { if (t.name.find("experts.") != t.name.npos) change(t, bytes); };
  };
  Copy none("mixtral"), marlin("mixtral"), flat("mixtral");
  none.store(experts([](TensorInfo& t, std::string& bytes) { as_zeros(t, bytes, Stored::f8_e4m3); }));
  refused([&] { Checkpoint{none.path()}.check_types(0); }, {"experts.0.w3.weight'", "is stored as F8_E4M3 and has no scales beside it"});
  marlin.store(experts([](TensorInfo& t, std::string& bytes) { as_zeros(t, bytes, Stored::i32), t.name.replace(t.name.size() - 6, 6, "B"); }));
  refused([&] { (void)Checkpoint{marlin.path()}.config(0); }, {"experts.0.w3.B'", "is stored as I32, which is not supported yet"});
  auto const bytes_only = [](TensorInfo& t, std::string& bytes) {             // 4 bits in a column of bytes
    as_zeros(t, bytes, Stored::u8), bytes.resize(bytes.size() / 2);
    t.shape = {static_cast<std::int64_t>(bytes.size()), 1};
  };
  flat.store(experts(bytes_only));
  refused([&] { (void)Checkpoint{flat.path()}.config(0); }, {"experts.0.w3.weight'", "is stored as U8, which is not supported yet"});
}

// The counts of every model, against the published figures and against an independent count; and the costs built on them.
#include <doctest/doctest.h>
#include <coterie/checked.hpp>
#include <coterie/footprint.hpp>
#include <cstring>
#include <string_view>

using namespace coterie;

namespace {

constexpr bool near(double got, double want, double relative) {
  double const off = got - want;
  return (off < 0 ? -off : off) <= relative * want;
}

// ---- published figures: a failing static_assert shows the model in the template argument
constexpr double quoted_active(Model const& m) {
  Footprint const f = footprint(m);
  return double(m.published.quoted == Quoted::active                    ? f.active_parameters
                : m.published.quoted == Quoted::without_input_embedding ? f.active_without_input_embedding()
                                                                        : f.active_without_embeddings());
}
template <Model const& M>
struct MeetsPublished {
  static constexpr Published p = M.published;
  static constexpr double active_tolerance = p.tolerance > 0.03 ? p.tolerance : 0.03;
  static_assert(p.total == 0 || near(double(footprint(M).total_parameters), p.total * 1e9, p.tolerance),
                "the total of this model misses the published figure");
  static_assert(p.active == 0 || near(quoted_active(M), p.active * 1e9, active_tolerance),
                "the active parameters of this model miss the published figure");
  static constexpr int count = p.status == Status::published && p.total > 0;
};
template <Model const&... Ms> constexpr int published_count() { return (0 + ... + MeetsPublished<Ms>::count); }

constexpr int with_figures = published_count<
  models::gshard_600b, models::switch_base, models::switch_c, models::glam_64b_64e, models::st_moe_32b,
  models::nllb_moe_54b, models::mixtral_8x7b, models::mixtral_8x22b, models::minimax_text_01, models::grok_1, models::dbrx,
  models::jamba_v0_1, models::jamba_1_5_large, models::snowflake_arctic, models::qwen1_5_moe_a2_7b, models::qwen2_57b_a14b,
  models::qwen3_30b_a3b, models::qwen3_235b_a22b, models::qwen3_next_80b_a3b, models::qwen3_5_35b_a3b,
  models::qwen3_5_397b_a17b, models::olmoe_1b_7b, models::flex_olmo_7x7b_1t, models::deepseek_moe_16b,
  models::deepseek_v2_lite, models::deepseek_v2, models::hunyuan_large, models::hunyuan_a13b, models::ernie_4_5_300b_a47b,
  models::ernie_4_5_21b_a3b, models::longcat_flash, models::jetmoe_8b, models::granite_3_0_1b_a400m,
  models::granite_3_0_3b_a800m, models::gpt_oss_120b, models::gpt_oss_20b, models::llama4_scout, models::llama4_maverick,
  models::phi_3_5_moe, models::deepseek_v3, models::deepseek_v3_2, models::deepseek_v4_flash, models::deepseek_v4_pro,
  models::moonlight_16b_a3b, models::kimi_k2, models::kimi_k3, models::glm_4_5, models::glm_4_5_air, models::glm_5,
  models::glm_4_7_flash, models::mimo_v2_flash, models::hy3_preview, models::nemotron_3_super_120b_a12b,
  models::dots_llm1, models::ling_1t, models::minimax_m2, models::minimax_m3, models::trinity_mini, models::trinity_nano,
  models::lfm2_8b_a1b, models::nemotron_3_nano_30b_a3b, models::llama2_70b, models::llama3_70b, models::gpt3_175b,
  models::gpt4, models::gemini_1_5>();
static_assert(with_figures >= 40, "at least 40 models are checked against a published total");
static_assert(sizeof(models::all) / sizeof(Model) == 66, "list the new model above");

// ---- every preset obeys every rule
template <Config... Cs> constexpr bool checked() { return (true && ... && (sizeof(Checked<Cs>) > 0)); }
static_assert(checked<
  presets::shazeer_moe_256, presets::gshard_600b, presets::switch_base, presets::switch_c, presets::glam_64b_64e,
  presets::st_moe_32b, presets::st_moe_32b_encoder, presets::nllb_moe_54b, presets::hash, presets::expert_choice,
  presets::expert_choice_8b_64e, presets::thousands, presets::mixtral_8x7b, presets::mixtral_8x22b,
  presets::minimax_text_01, presets::snowflake_arctic, presets::grok_1, presets::dbrx, presets::jamba_v0_1,
  presets::jamba_1_5_large, presets::qwen1_5_moe_a2_7b, presets::qwen2_57b_a14b, presets::qwen3_30b_a3b,
  presets::qwen3_235b_a22b, presets::qwen3_next_80b_a3b, presets::qwen3_5_35b_a3b, presets::qwen3_5_397b_a17b,
  presets::olmoe_1b_7b, presets::flex_olmo_7x7b_1t, presets::deepseek_moe_16b, presets::deepseek_v2_lite,
  presets::deepseek_v2, presets::mistral_small_4, presets::hunyuan_large, presets::hunyuan_a13b,
  presets::ernie_4_5_300b_a47b, presets::ernie_4_5_21b_a3b, presets::longcat_flash, presets::gemma_4_26b_a4b,
  presets::zaya1_8b, presets::granite_3_0_1b_a400m, presets::granite_3_0_3b_a800m, presets::jetmoe_8b, presets::aria,
  presets::gpt_oss_120b, presets::gpt_oss_20b, presets::openai_privacy_filter, presets::llama4_scout,
  presets::llama4_maverick, presets::cohere2_moe, presets::cohere2_moe_average, presets::smallthinker_4b_a0_6b,
  presets::smallthinker_21b_a3b, presets::phi_3_5_moe, presets::deepseek_v3, presets::deepseek_v3_2,
  presets::deepseek_v4_flash, presets::deepseek_v4_pro, presets::deepseek_v4_flash_hash, presets::moonlight_16b_a3b,
  presets::kimi_k2, presets::kimi_linear_48b_a3b, presets::kimi_k3, presets::glm_4_5, presets::glm_4_5_air,
  presets::glm_4_7_flash, presets::glm_5, presets::dots_llm1, presets::k_exaone_236b_a23b, presets::solar_open_100b,
  presets::mimo_v2_flash, presets::a_x_k1, presets::ling_mini_2_0, presets::ling_1t, presets::hy3_preview,
  presets::minimax_m2, presets::minimax_m3, presets::step_3_5_flash, presets::step_3_5_flash_clamped, presets::laguna_xs_2,
  presets::trinity_mini, presets::trinity_nano, presets::lfm2_8b_a1b, presets::klear_46b_a2_5b,
  presets::nemotron_3_nano_30b_a3b, presets::nemotron_3_super_120b_a12b, presets::inkling>());
static_assert(sizeof(presets::all) / sizeof(Preset) == 87, "list the new preset above");

// ---- an independent count of the same shapes (a script in another language), to the last parameter
struct Count {
  Model model{};
  std::int64_t total = 0, active = 0, without_input = 0, without_embeddings = 0;
};
// What is added to the script's numbers it leaves out: NLLB's expert biases, the norm of Kimi K3's latent experts.
constexpr Count counts[] = {
  {.model = models::switch_c, .total = 1'571'261'013'920, .active = 1'680'367'520,
   .without_input = 1'680'367'520, .without_embeddings = 1'613'541'280},
  {.model = models::glam_64b_64e, .total = 1'161'756'155'904, .active = 96'604'266'496,
   .without_input = 96'604'266'496, .without_embeddings = 94'507'114'496},
  {.model = models::st_moe_32b, .total = 270'086'149'120, .active = 36'043'985'920,
   .without_input = 36'043'985'920, .without_embeddings = 34'733'265'920},
  {.model = models::nllb_moe_54b, .total = 54'484'170'752 + 12 * 128 * (8192 + 2048), .active = 3'749'869'568 + 12 * 2 * (8192 + 2048),
   .without_input = 3'749'869'568 + 12 * 2 * (8192 + 2048), .without_embeddings = 3'225'159'680 + 12 * 2 * (8192 + 2048)},
  {.model = models::mixtral_8x7b, .total = 46'702'792'704, .active = 12'879'925'248,
   .without_input = 12'748'853'248, .without_embeddings = 12'617'781'248},
  {.model = models::mixtral_8x22b, .total = 140'630'071'296, .active = 39'161'468'928,
   .without_input = 38'960'142'336, .without_embeddings = 38'758'815'744},
  {.model = models::grok_1, .total = 315'684'820'992, .active = 83'756'587'008,
   .without_input = 83'756'587'008, .without_embeddings = 82'951'280'640},
  {.model = models::dbrx, .total = 131'596'523'520, .active = 36'469'708'800,
   .without_input = 35'853'146'112, .without_embeddings = 35'236'583'424},
  {.model = models::jamba_v0_1, .total = 51'570'323'328, .active = 12'110'311'296,
   .without_input = 11'841'875'840, .without_embeddings = 11'573'440'384},
  {.model = models::jamba_1_5_large, .total = 398'555'145'696, .active = 94'149'338'592,
   .without_input = 93'612'467'680, .without_embeddings = 93'075'596'768},
  {.model = models::phi_3_5_moe, .total = 41'873'149'248, .active = 6'640'995'648,
   .without_input = 6'509'661'504, .without_embeddings = 6'378'327'360},
  {.model = models::snowflake_arctic, .total = 478'584'608'768, .active = 17'318'647'808,
   .without_input = 17'089'271'808, .without_embeddings = 16'859'895'808},
  {.model = models::qwen1_5_moe_a2_7b, .total = 14'315'784'192, .active = 2'689'173'504,
   .without_input = 2'378'008'576, .without_embeddings = 2'066'843'648},
  {.model = models::qwen2_57b_a14b, .total = 57'408'658'944, .active = 14'249'270'784,
   .without_input = 13'704'732'160, .without_embeddings = 13'160'193'536},
  {.model = models::qwen3_30b_a3b, .total = 30'532'122'624, .active = 3'353'032'704,
   .without_input = 3'041'867'776, .without_embeddings = 2'730'702'848},
  {.model = models::qwen3_235b_a22b, .total = 235'093'634'560, .active = 22'190'763'520,
   .without_input = 21'568'433'664, .without_embeddings = 20'946'103'808},
  {.model = models::qwen3_next_80b_a3b, .total = 79'674'391'296, .active = 3'874'929'408,
   .without_input = 3'563'764'480, .without_embeddings = 3'252'599'552},
  {.model = models::qwen3_5_35b_a3b, .total = 34'660'610'688, .active = 3'454'988'928,
   .without_input = 2'946'429'568, .without_embeddings = 2'437'870'208},
  {.model = models::qwen3_5_397b_a17b, .total = 396'346'350'336, .active = 17'349'040'896,
   .without_input = 16'331'922'176, .without_embeddings = 15'314'803'456},
  {.model = models::olmoe_1b_7b, .total = 6'919'161'856, .active = 1'282'017'280,
   .without_input = 1'178'994'688, .without_embeddings = 1'075'972'096},
  {.model = models::flex_olmo_7x7b_1t, .total = 33'270'665'216, .active = 24'613'621'760,
   .without_input = 24'202'579'968, .without_embeddings = 23'791'538'176},
  {.model = models::jetmoe_8b, .total = 8'522'237'952, .active = 2'331'445'248,
   .without_input = 2'331'445'248, .without_embeddings = 2'265'909'248},
  {.model = models::granite_3_0_1b_a400m, .total = 1'334'628'352, .active = 428'658'688,
   .without_input = 428'658'688, .without_embeddings = 378'323'968},
  {.model = models::granite_3_0_3b_a800m, .total = 3'298'793'472, .active = 882'874'368,
   .without_input = 882'874'368, .without_embeddings = 807'372'288},
  {.model = models::lfm2_8b_a1b, .total = 8'339'930'560, .active = 1'557'740'992,
   .without_input = 1'557'740'992, .without_embeddings = 1'423'523'264},
  {.model = models::trinity_mini, .total = 26'123'974'400, .active = 3'474'732'800,
   .without_input = 3'064'739'584, .without_embeddings = 2'654'746'368},
  {.model = models::trinity_nano, .total = 6'120'003'328, .active = 1'023'923'968,
   .without_input = 818'927'360, .without_embeddings = 613'930'752},
  {.model = models::deepseek_moe_16b, .total = 16'375'728'128, .active = 2'828'650'496,
   .without_input = 2'618'935'296, .without_embeddings = 2'409'220'096},
  {.model = models::deepseek_v2_lite, .total = 15'706'484'224, .active = 2'661'150'208,
   .without_input = 2'451'435'008, .without_embeddings = 2'241'719'808},
  {.model = models::deepseek_v2, .total = 235'741'434'880, .active = 21'375'800'320,
   .without_input = 20'851'512'320, .without_embeddings = 20'327'224'320},
  {.model = models::deepseek_v3, .total = 671'026'419'200, .active = 37'552'297'472,
   .without_input = 36'625'618'432, .without_embeddings = 35'698'939'392},
  {.model = models::deepseek_v3_2, .total = 671'877'944'064, .active = 38'403'822'336,
   .without_input = 37'477'143'296, .without_embeddings = 36'550'464'256},
  {.model = models::deepseek_v4_flash, .total = 283'811'162'048, .active = 13'278'554'048,
   .without_input = 12'749'023'168, .without_embeddings = 12'219'492'288},
  {.model = models::deepseek_v4_pro, .total = 1'571'741'619'712, .active = 48'523'499'008,
   .without_input = 47'596'819'968, .without_embeddings = 46'670'140'928},
  {.model = models::moonlight_16b_a3b, .total = 15'960'110'208, .active = 2'914'776'192,
   .without_input = 2'579'231'872, .without_embeddings = 2'243'687'552},
  {.model = models::kimi_k2, .total = 1'026'408'232'448, .active = 32'861'500'928,
   .without_input = 31'687'095'808, .without_embeddings = 30'512'690'688},
  {.model = models::kimi_k3, .total = 2'742'564'009'472 + 92 * 3584, .active = 68'443'551'232 + 92 * 3584,
   .without_input = 67'269'146'112 + 92 * 3584, .without_embeddings = 66'094'740'992 + 92 * 3584},
  {.model = models::glm_4_5, .total = 352'797'829'024, .active = 33'632'266'144,
   .without_input = 32'856'319'904, .without_embeddings = 32'080'373'664},
  {.model = models::glm_4_5_air, .total = 106'852'251'264, .active = 13'424'129'664,
   .without_input = 12'803'372'672, .without_embeddings = 12'182'615'680},
  {.model = models::glm_5, .total = 743'911'218'432, .active = 41'784'728'832,
   .without_input = 40'833'146'112, .without_embeddings = 39'881'563'392},
  {.model = models::dots_llm1, .total = 142'774'381'696, .active = 14'016'588'928,
   .without_input = 13'393'734'784, .without_embeddings = 12'770'880'640},
  {.model = models::gpt_oss_120b, .total = 116'829'156'672, .active = 5'711'982'912,
   .without_input = 5'132'849'472, .without_embeddings = 4'553'716'032},
  {.model = models::gpt_oss_20b, .total = 20'914'757'184, .active = 4'187'440'704,
   .without_input = 3'608'307'264, .without_embeddings = 3'029'173'824},
  {.model = models::llama4_scout, .total = 107'769'861'120, .active = 17'172'894'720,
   .without_input = 16'138'408'960, .without_embeddings = 15'103'923'200},
  {.model = models::llama4_maverick, .total = 400'711'848'960, .active = 17'184'691'200,
   .without_input = 16'150'205'440, .without_embeddings = 15'115'719'680},
  {.model = models::minimax_text_01, .total = 456'089'655'296, .active = 48'403'306'496,
   .without_input = 47'174'113'280, .without_embeddings = 45'944'920'064},
  {.model = models::minimax_m2, .total = 228'689'764'864, .active = 11'030'553'088,
   .without_input = 10'415'956'480, .without_embeddings = 9'801'359'872},
  {.model = models::minimax_m3, .total = 425'950'425'216, .active = 25'738'326'144,
   .without_input = 24'509'132'928, .without_embeddings = 23'279'939'712},
  {.model = models::hunyuan_large, .total = 388'698'118'400, .active = 51'318'790'400,
   .without_input = 51'318'790'400, .without_embeddings = 50'496'313'600},
  {.model = models::hunyuan_a13b, .total = 80'393'183'232, .active = 12'747'448'320,
   .without_input = 12'747'448'320, .without_embeddings = 12'222'476'288},
  {.model = models::ernie_4_5_300b_a47b, .total = 299'484'163'264, .active = 47'926'586'560,
   .without_input = 47'079'337'152, .without_embeddings = 46'232'087'744},
  {.model = models::ernie_4_5_21b_a3b, .total = 21'825'437'888, .active = 3'352'150'208,
   .without_input = 3'352'150'208, .without_embeddings = 3'087'384'768},
  {.model = models::longcat_flash, .total = 560'664'980'480, .active = 27'954'818'048,
   .without_input = 27'149'511'680, .without_embeddings = 26'344'205'312},
  {.model = models::nemotron_3_nano_30b_a3b, .total = 31'577'940'288, .active = 3'580'076'352,
   .without_input = 3'227'754'816, .without_embeddings = 2'875'433'280},
};
constexpr char const* first_miscount() {
  for (Count const& c : counts) {
    Footprint const f = footprint(c.model);
    if (f.total_parameters != c.total || f.active_parameters != c.active) return c.model.name;
    if (f.active_without_input_embedding() != c.without_input) return c.model.name;
    if (f.active_without_embeddings() != c.without_embeddings) return c.model.name;
    if (f.router_parameters + f.expert_parameters + f.shared_parameters + f.other_parameters != f.total_parameters) return c.model.name;
  }
  return nullptr;
}
static_assert(first_miscount() == nullptr);

// Three dense models whose counts are known exactly or to their name.
static_assert(footprint(models::llama2_70b).total_parameters == 68'976'648'192);
static_assert(footprint(models::llama3_70b).total_parameters == 70'553'706'496);
static_assert(footprint(models::llama2_70b).active_parameters == footprint(models::llama2_70b).total_parameters);

// ---- the contract
static_assert(roofline(footprint(presets::mixtral_8x7b), {.flops_per_second = 790e12, .bytes_per_second = 4.3e12}, 1) > 160e-6);

}  // namespace

TEST_CASE("every count agrees with the independent one") {
  for (Count const& c : counts) {
    CAPTURE(c.model.name);
    CHECK(footprint(c.model).total_parameters == c.total);
    CHECK(footprint(c.model).active_parameters == c.active);
  }
}

TEST_CASE("every model has a name of its own and an honest status") {
  for (Model const& a : models::all) {
    CAPTURE(a.name);
    int same = 0;
    for (Model const& b : models::all) same += std::string_view(a.name) == b.name;
    CHECK(same == 1);
    CHECK(has_shape(a) == (a.published.status == Status::published));
    if (!has_shape(a)) CHECK(footprint(a).active_parameters == 0);
  }
}

TEST_CASE("every preset of a model is the layer of that model") {
  for (Preset const& p : presets::all)
    for (Model const& m : models::all) {
      if (std::string_view(p.name) != m.name) continue;
      CAPTURE(p.name);
      CHECK(std::memcmp(&p.layer, &m.layer, sizeof(Config)) == 0);         // four-byte fields, no padding
    }
}

TEST_CASE("parts of a layer") {
  Footprint const oss = footprint(presets::gpt_oss_120b);
  CHECK(oss.router_parameters == 2880 * 128 + 128);
  CHECK(oss.expert_parameters == 128LL * (3 * 2880 * 2880 + 3 * 2880));
  Footprint const longcat = footprint(presets::longcat_flash);
  CHECK(longcat.router_parameters == 6144 * 768 + 768);
  CHECK(longcat.active_expert_parameters == 8LL * 3 * 6144 * 2048);          // 12 choices, a third of them identity
  Footprint const inkling = footprint(presets::inkling);
  CHECK(inkling.router_parameters == 6144 * 258 + 256);
  Footprint const klear = footprint(presets::klear_46b_a2_5b);
  CHECK(klear.shared_parameters == 3LL * 2048 * 896 + 2 * 2048 + 2);
  Footprint const k3 = footprint(presets::kimi_k3);
  CHECK(k3.expert_parameters == 896LL * 3 * 3584 * 3072);
  CHECK(k3.other_parameters == 2LL * 7168 * 3584 + 3584);
  CHECK(footprint(presets::hash).router_parameters == 0);
  CHECK(footprint(presets::shazeer_moe_256).router_parameters == 2 * 512 * 256);
  CHECK(footprint(presets::nemotron_3_nano_30b_a3b).expert_parameters == 128LL * 2 * 2688 * 1856);
  CHECK(footprint(presets::gemma_4_26b_a4b).router_parameters == 2816 * 128 + 128);
  CHECK(footprint(presets::zaya1_8b).router_parameters == 17);               // the caller brings the logits
}

TEST_CASE("bytes of stored matrices") {
  CHECK(matrix_bytes(3, 5, DType::bf16) == 30);
  CHECK(matrix_bytes(3, 5, DType::int4) == 3 * 3 + 3 * 2);                   // rows are padded to bytes, a 16-bit scale each
  CHECK(matrix_bytes(2880, 2880, DType::mxfp4) == 2880 * 1440 + 2880 * 90);
  CHECK(matrix_bytes(256, 256, DType::fp8_e4m3, {.group = 128, .group_rows = 128}) == 65536 + 4 * 4);
  CHECK(matrix_bytes(64, 256, DType::int4, {.group = 128, .zero_points = 1}) == 64 * 128 + 64 * 2 * 2 + 64);
  // The model cards of gpt-oss give the size of the checkpoint: 60.8 and 12.8 GiB.
  double const gib = 1024.0 * 1024 * 1024;
  CHECK(footprint(models::gpt_oss_120b).weight_bytes() / gib == doctest::Approx(60.8).epsilon(0.002));
  CHECK(footprint(models::gpt_oss_20b).weight_bytes() / gib == doctest::Approx(12.8).epsilon(0.01));
}

TEST_CASE("distinct experts hit, against enumeration") {
  Config c{.experts = 4, .top_k = 2, .hidden = 8, .ffn = 8};
  Footprint const f = footprint(c);
  int hit = 0, cases = 0;                                                     // three tokens, six pairs each
  constexpr int pairs[] = {3, 5, 9, 6, 10, 12};
  for (int a : pairs) for (int b : pairs) for (int d : pairs) {
    int const any = a | b | d;
    hit += (any & 1) + (any >> 1 & 1) + (any >> 2 & 1) + (any >> 3 & 1);
    ++cases;
  }
  CHECK(f.experts_hit(3) == doctest::Approx(double(hit) / cases));
  CHECK(f.experts_hit(0) == 0);
  CHECK(f.experts_hit(1) == doctest::Approx(2));
  CHECK(f.experts_hit(std::int64_t{1} << 50) == 4);
  CHECK(footprint(presets::longcat_flash).experts_hit(1) == doctest::Approx(8));
  CHECK(footprint(models::llama2_70b).experts_hit(7) == 0);
}

TEST_CASE("rows that leave a rank, against enumeration") {
  Config c{.experts = 8, .top_k = 3, .hidden = 8, .ffn = 8};
  Footprint const f = footprint(c);
  double copies = 0, distinct = 0, cases = 0;                                 // two experts on each of four ranks; the token is on rank 0
  for (int i = 0; i < 8; ++i) for (int j = i + 1; j < 8; ++j) for (int k = j + 1; k < 8; ++k) {
    bool const rank[4] = {i < 2, i / 2 == 1 || j / 2 == 1 || k / 2 == 1, i / 2 == 2 || j / 2 == 2 || k / 2 == 2,
                          i / 2 == 3 || j / 2 == 3 || k / 2 == 3};
    copies += (i >= 2) + (j >= 2) + (k >= 2);
    distinct += rank[1] + rank[2] + rank[3];
    ++cases;
  }
  CHECK(f.exchange_rows(4) == doctest::Approx(copies / cases));
  CHECK(f.exchange_rows(4, Exchange::every_rank) == doctest::Approx(distinct / cases));
  CHECK(f.exchange_rows(1) == 0);
  CHECK(f.exchange_rows(8, Exchange::every_rank) == doctest::Approx(f.exchange_rows(8)));   // one expert per rank
  CHECK(f.all_to_all_bytes(10, 4) == doctest::Approx(2 * 10 * copies / cases * 8 * 2));
  CHECK(footprint(presets::deepseek_v3).exchange_rows(32) == doctest::Approx(7.75));
  CHECK(footprint(presets::kimi_k3).all_to_all_bytes(1, 2) == doctest::Approx(2 * 8 * 3584 * 2));   // latent rows travel
}

TEST_CASE("time, energy and the ridge") {
  Machine const m{.flops_per_second = 100e12, .bytes_per_second = 1e12, .watts = 200};
  Footprint const f = footprint(presets::mixtral_8x7b);
  CHECK(ridge_tokens_per_expert(f, m) == doctest::Approx(100));               // bf16: FLOPs per byte of the machine
  CHECK(ridge_tokens_per_expert(footprint(presets::gpt_oss_120b), m) == doctest::Approx(100 * 4.25 / 16).epsilon(0.001));
  std::int64_t const ridge = ridge_tokens(f, m);
  CHECK(f.flops(ridge) / 100e12 >= f.bytes(ridge) / 1e12);
  CHECK(f.flops(ridge - 1) / 100e12 < f.bytes(ridge - 1) / 1e12);
  CHECK(f.tokens_per_expert(ridge) > 100);                                    // activations move as well
  CHECK(f.tokens_per_expert(ridge) < 110);
  CHECK(joules(f, m, 7) == doctest::Approx(200 * roofline(f, m, 7)));
  CHECK(ridge_tokens(f, {.flops_per_second = 1e18, .bytes_per_second = 1}) == 0);
  double before = 0;
  for (std::int64_t t = 1; t < 100000; t *= 3) {
    CHECK(f.bytes(t) > before);
    CHECK(f.backward_bytes(t) > f.bytes(t));
    before = f.bytes(t);
  }
  CHECK(f.bytes(0) == 0);
  CHECK(f.read_bytes(1) == doctest::Approx(2.0 * double(f.active_parameters)));
  CHECK(f.read_bytes(1 << 20) == doctest::Approx(f.weight_bytes()));
  Footprint const model = footprint(models::jetmoe_8b);                       // its attention is a mixture, too
  CHECK(model.read_bytes(1) == doctest::Approx(2.0 * double(model.active_parameters)));
  CHECK(model.read_bytes(1 << 20) == doctest::Approx(model.weight_bytes()));
  Footprint const dense = dense_footprint(1'000'000, f);
  CHECK(dense.bytes(1) == 2e6 + 2 * 4096 * 2);
  CHECK(dense.flops(3) == 6e6);
}

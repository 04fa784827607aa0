// Checkpoints: what is refused and in which words, what is read, the types a file may store, Configs as text.
#include <cstring>
#include <ctime>

#include <doctest/doctest.h>

#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>

#include "copy.hpp"

using namespace copies;

namespace {

constexpr Config mixtral{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};
constexpr Config by_table{.experts = 12, .top_k = 3, .hidden = 40, .ffn = 22, .router = presets::deepseek_v4_flash_hash.router,
                          .expert = {.act = Act::silu_mul_clamp_before, .limit = 2}, .shared = {.ffn = 22}};
template <class Change> constexpr Config changed(Config c, Change const& change) {
  change(c);
  return c;
}

template <Config C> void load_refused(std::string const& folder, int layer, std::initializer_list<char const*> words) {
  refused([&] { load<C>(Host{.threads = 1}, Checkpoint{folder}, layer); }, words);
}

// Every tensor as another float type.
template <class T> void store_as(Copy& copy, Stored type) {
  copy.store([&](TensorInfo& t, std::string& bytes) {
    auto const round = [&]<class From>(From) {
      std::vector<T> to(bytes.size() / sizeof(From));
      for (std::size_t i = 0; i < to.size(); ++i) {
        From from{};
        std::memcpy(&from, bytes.data() + i * sizeof(From), sizeof(From));
        to[i] = from_float<T>(to_float(from));
      }
      bytes.assign(reinterpret_cast<char const*>(to.data()), to.size() * sizeof(T));
    };
    if (t.dtype == Stored::f32) round(float{});
    else if (t.dtype == Stored::f16) round(fp16{});
    else round(bf16{});
    t.dtype = type;
  });
}

// The packed router and experts.
template <Config C> std::string packed_bytes(std::string const& folder) {
  using Layout = host::PackedLayout<C>;
  auto const packed = load<C>(Host{.threads = 1}, Checkpoint{folder}, 0);
  constexpr Layout l = Layout::make(C.experts, 0);
  auto const* const data = reinterpret_cast<char const*>(packed.view().data);
  std::string const router(data + l.router_panels, Layout::router.elements() * sizeof(typename Layout::RouterT));
  return router + std::string(data + l.expert_panels, C.experts * l.expert_stride);   // not what lies between: it is never written
}

}

TEST_CASE("a Config that the files do not mean is refused with the field, both values, and who says which") {
  std::string const folder = (goldens() / "mixtral").string();
  load_refused<changed(mixtral, [](Config& c) { c.experts = 16; })>(folder, 0, {"field experts", "got 8 (file)", "want 16 (Config)"});
  load_refused<changed(mixtral, [](Config& c) { c.router.normalise = Normalise::none; })>(folder, 0, {"router.normalise", "got sum_add (file)", "want none (Config)"});
  load_refused<changed(mixtral, [](Config& c) { c.expert.act = Act::gelu_mul; })>(folder, 0, {"expert.act", "got silu_mul", "want gelu_mul"});
  load_refused<changed(mixtral, [](Config& c) { c.shared.ffn = 64; })>(folder, 0, {"shared.ffn", "got 0", "want 64"});
}

TEST_CASE("types are free, but a router must hold what the file has") {
  Config const file{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 8, .router = {.weights = DType::fp32}};
  Config narrow = file;
  narrow.router.weights = DType::bf16;
  refused([&] { check(narrow, file); }, {"router.weights", "got fp32 (file)", "want bf16 (Config)"});
  check(file, narrow);                                                         // wider is fine
  Config other = file;
  other.dtype = DType::fp32, other.weights = DType::fp16, other.combine = Accumulate::model, other.batch_invariant = 1;
  check(other, file);
}

TEST_CASE("noise for training is free, but for the one that has weights") {
  Config const file{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 8};
  for (Noise const noise : {Noise::none, Noise::jitter, Noise::gumbel, Noise::random_second}) {
    Config trains = file;
    trains.router.noise = noise, trains.router.noise_size = 0.1f;
    check(trains, file);
  }
  load_refused<changed(mixtral, [](Config& c) { c.router.noise = Noise::softplus; })>(
      (goldens() / "mixtral").string(), 0, {"checkpoint: field router.noise: got none (file), want softplus (Config), whose W_noise no checkpoint holds", "checkpoint.cpp:"});
}

TEST_CASE("fields without a meaning do not count") {
  Config const file{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 8};
  Config same = file;
  same.expert.limit = 3, same.router.select = Select::group_top_k, same.router.group_score = GroupScore::max, same.capacity.factor = 2;
  check(same, file);
}

TEST_CASE("what is missing or of another shape is named") {
  load_refused<mixtral>(Copy("mixtral").tensors("experts.3.w2.weight", "experts.3.wX.weight").path(), 0, {"no tensor", "block_sparse_moe.experts.3.w2.weight"});
  load_refused<mixtral>(Copy("mixtral").tensors("block_sparse_moe.gate.weight", "block_sparse_moe.gaXe.weight").path(), 0, {"no tensor", "gate.weight"});
  load_refused<mixtral>(Copy("mixtral").tensors("[256,128]", "[128,256]").path(), 0, {"experts.0.w1.weight", "got [128,256] (file)", "want [256,128] (config.json)"});
  load_refused<mixtral>(Copy("mixtral").config("\"intermediate_size\": 256", "\"intermediate_size\": 192").path(), 0, {"field ffn", "got 192", "want 256"});
}

TEST_CASE("a tensor of the layer that would be left out is refused") {
  Copy copy("mixtral");
  copy.tensors("model.layers.0.self_attn.q_proj.weight", "model.layers.0.block_sparse_moe.biases");
  load_refused<mixtral>(copy.path(), 0, {"block_sparse_moe.biases", "has no place"});
}

TEST_CASE("a layer that is not MoE, and one that is not there") {
  std::string const folder = (goldens() / "deepseek_v2").string();
  Checkpoint const checkpoint{folder};
  CHECK(checkpoint.layers() == 2);
  CHECK(!checkpoint.is_moe(0));
  CHECK(checkpoint.is_moe(1));
  refused([&] { (void)checkpoint.config(0); }, {"layer 0 is not an MoE layer", "MoE layers: 1 ("});
  refused([&] { (void)checkpoint.is_moe(-1); }, {"layer out of range", "got -1", "want 0 to 1"});
  refused([&] { (void)checkpoint.config(2); }, {"layer out of range", "got 2", "want 0 to 1"});
}

TEST_CASE("which layers are mixtures is said where one is not") {
  auto const with = [](std::vector<int> const& layers) {
    Copy copy("mixtral");
    copy.document([](nlohmann::json& whole) { whole["num_hidden_layers"] = 100; });
    std::string header = "{";
    for (int i : layers)
      header += (header.size() > 1 ? ",\"" : "\"") + ("model.layers." + std::to_string(i)) + R"(.block_sparse_moe.gate.weight":{"dtype":"F32","shape":[0],"data_offsets":[0,0]})";
    write(copy.path() + "/model.safetensors", crafted::safetensors(header + "}"));
    return sentence([&] { (void)Checkpoint{copy.path()}.config(0); });
  };
  CHECK(with({1, 2, 3, 5, 7, 8}).find("layer 0 is not an MoE layer: it has no router and no experts; MoE layers: 1 to 3, 5, 7 to 8 (") != std::string::npos);
  CHECK(with({}).find("; no layer of these files is (") != std::string::npos);
  std::vector<int> odd;
  for (int i = 1; i < 100; i += 2) odd.push_back(i);
  CHECK(with(odd).find(", 37, 39, ... (") != std::string::npos);
}

TEST_CASE("what config.json says and is not supported") {
  refused([] { Checkpoint{Copy("mixtral").config("\"model_type\": \"mixtral\"", "\"model_type\": \"llama\"").path()}; },
          {"model_type", "got 'llama'", "want one of", "mixtral", "deepseek_v3", "gpt_oss"});
  auto const config = [](Copy const& copy, int layer) { return [&copy, layer] { (void)Checkpoint{copy.path()}.config(layer); }; };
  Copy act("mixtral"), method("deepseek_v2"), dtype("jamba"), groups("olmoe");
  refused(config(act.config("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\""), 0), {"hidden_act", "got 'gelu'", "want 'silu'"});
  refused(config(method.config("group_limited_greedy", "noaux_tc"), 1), {"topk_method", "got 'noaux_tc'", "want 'greedy' or 'group_limited_greedy'"});
  refused(config(dtype.config("\"dtype\": \"bfloat16\"", "\"dtype\": \"float64\""), 0), {"dtype", "got 'float64'"});
  refused(config(groups.config("\"num_experts_per_tok\": 4", "\"num_experts_per_tok\": -4"), 0), {"num_experts_per_tok", "got -4", "want a size of 0 to 1048576"});
}

TEST_CASE("a field that config.json leaves out means transformers' default") {
  auto const router = [](Copy const& copy, int layer) { return Checkpoint{copy.path()}.config(layer).router; };
  Copy v3("deepseek_v3"), qwen3_next("qwen3_next"), qwen2("qwen2_moe"), dbrx("dbrx"), norm("dbrx"), absent("dbrx");
  CHECK(router(v3.config("\"n_group\": 4,", "").config("\"routed_scaling_factor\": 2.5,", ""), 1).groups == 8);
  CHECK(router(v3, 1).scale == 2.5f);
  CHECK(router(qwen3_next.config("\"norm_topk_prob\": true,", ""), 0).normalise == Normalise::sum_add);
  CHECK(router(qwen2.config("\"norm_topk_prob\": false,", ""), 0).normalise == Normalise::none);
  CHECK(router(dbrx.config("\"moe_normalize_expert_weights\": 1.0,", "\"moe_normalize_expert_weights\": null,"), 0).normalise == Normalise::none);
  CHECK(router(absent.config("\"moe_normalize_expert_weights\": 1.0,", ""), 0).normalise == Normalise::sum_add);
  refused([&] { router(norm.config("\"moe_normalize_expert_weights\": 1.0,", "\"moe_normalize_expert_weights\": 2.0,"), 0); },
          {"ffn_config.moe_normalize_expert_weights", "got 2, want 1"});
}

TEST_CASE("MXFP4 experts are described as they are stored") {
  Checkpoint const checkpoint{(goldens() / "gpt_oss_mxfp4").string()};
  CHECK(checkpoint.config(0).weights == DType::mxfp4);
  CHECK(checkpoint.config(0).quant.group == 32);
  for (TensorPlace const& p : checkpoint.tensors(0))
    if (p.part == Part::down) CHECK(p.scale->name.ends_with("down_proj_scales"));
  constexpr Config gpt_oss{.experts = 8, .top_k = 3, .hidden = 64, .ffn = 32, .router = presets::gpt_oss_20b.router, .expert = presets::gpt_oss_20b.expert};
  Copy one("gpt_oss_mxfp4"), scales("gpt_oss_mxfp4"), wide("gpt_oss_mxfp4"), other("gpt_oss_mxfp4"), missing("gpt_oss_mxfp4");
  one.store([](TensorInfo& t, std::string&) { if (t.name.ends_with("down_proj_blocks")) t.shape = {8, 32, 2, 16}; });
  load_refused<gpt_oss>(one.path(), 0, {"down_proj_blocks'", "shape: got [8,32,2,16] (file), want [8,64,1,16] (config.json)"});
  scales.store([](TensorInfo& t, std::string&) { if (t.name.ends_with("up_proj_scales")) t.shape = {8, 128}; });
  load_refused<gpt_oss>(scales.path(), 0, {"gate_up_proj_scales'", "shape: got [8,128] (file), want [8,64,2] (config.json)"});
  wide.config("\"hidden_size\": 64", "\"hidden_size\": 72");
  refused([&] { (void)Checkpoint{wide.path()}.config(0); }, {"gate_up_proj_blocks'", "inputs: got 72, want a multiple of 32"});
  other.config("\"quant_method\": \"mxfp4\"", "\"quant_method\": \"fp8\"");
  refused([&] { (void)Checkpoint{other.path()}.config(0); }, {"quant_method: got 'fp8', want 'mxfp4'"});
  missing.tensors("down_proj_scales", "down_proj_scaleX");
  load_refused<gpt_oss>(missing.path(), 0, {"down_proj_blocks'", "has no scales beside it"});
}

TEST_CASE("what has the name of MXFP4 blocks and another type is refused, whatever its shape") {
  constexpr Config gpt_oss{.experts = 8, .top_k = 3, .hidden = 72, .ffn = 20, .router = presets::gpt_oss_20b.router, .expert = presets::gpt_oss_20b.expert};
  for (char const* matrix : {"gate_up_proj", "down_proj"})
    for (bool const flat : {false, true}) {
      Copy copy("gpt_oss");
      copy.store([&](TensorInfo& t, std::string&) {
        if (!t.name.ends_with(matrix)) return;
        t.name += "_blocks";
        if (flat) t.shape = {t.shape[0] * t.shape[1] * t.shape[2]};
      });
      CHECK(Checkpoint{copy.path()}.is_moe(0));
      load_refused<gpt_oss>(copy.path(), 0, {matrix, "_blocks' is stored as BF16, want U8, as MXFP4 blocks are"});
    }
}

TEST_CASE("sizes that no model has do not overflow") {
  Copy experts("deepseek_v2"), shared("deepseek_v2");
  refused([&] { (void)Checkpoint{experts.config("\"n_routed_experts\": 16", "\"n_routed_experts\": 2147483647").path()}.config(1); }, {"n_routed_experts", "got 2147483647"});
  refused([&] {
    (void)Checkpoint{shared.config("\"n_shared_experts\": 2", "\"n_shared_experts\": 1000000").config("\"moe_intermediate_size\": 14", "\"moe_intermediate_size\": 1000000").path()}
        .config(1);
  }, {"shared experts", "got 1000000000000"});
}

TEST_CASE("a table of experts that names one too many is refused") {
  Checkpoint const checkpoint{(goldens() / "deepseek_v4_hash").string()};
  for (TensorPlace const& p : checkpoint.tensors(0))
    if (p.part == Part::table) refused([&] { (void)io::read_table(checkpoint.files(), *p.tensor, 5, Where::here()); }, {"gate.tid2eid", "want 0 to 4"});
}

TEST_CASE("ones before a table's shape are no rows of it") {
  auto const table = [](std::string const& folder) {
    auto const packed = load<by_table>(Host{.threads = 1}, Checkpoint{folder}, 0);
    host::Reader<by_table> const layer{packed.view()};
    auto const* const ids = layer.at<std::int32_t>(layer.layout.table);
    return std::vector<std::int32_t>(ids, ids + layer.header().table_rows * by_table.top_k);
  };
  auto const want = table((goldens() / "deepseek_v4_hash").string());
  CHECK(want.size() > 12);
  for (Stored const type : {Stored::i64, Stored::i32})
    for (std::size_t const ones : {0, 1, 2}) {
      Copy copy("deepseek_v4_hash");
      copy.store([&](TensorInfo& t, std::string& bytes) {
        if (!t.name.ends_with("tid2eid")) return;
        t.shape.insert(t.shape.begin(), ones, 1);
        REQUIRE(t.dtype == Stored::i64);
        t.dtype = type;
        if (type == Stored::i32)                                               // little-endian: the lower half of each
          for (std::size_t i = 0; i < bytes.size() / 8; ++i) std::memmove(bytes.data() + i * 4, bytes.data() + i * 8, 4);
        bytes.resize(bytes.size() / 8 * static_cast<std::size_t>(bits(type) / 8));
      });
      CHECK(table(copy.path()) == want);
    }
  Copy turned("deepseek_v4_hash");
  turned.store([](TensorInfo& t, std::string&) { if (t.name.ends_with("tid2eid")) std::swap(t.shape[0], t.shape[1]); });
  load_refused<by_table>(turned.path(), 0, {"tid2eid", "shape: got [3,", "want [-1,3]"});
}

TEST_CASE("a layer of many tensors takes about as long as its files take to open") {
  constexpr int experts = 20'000;
  Copy copy("mixtral");
  copy.document([&](nlohmann::json& whole) { whole["hidden_size"] = whole["intermediate_size"] = 1, whole["num_local_experts"] = experts; });
  std::string const block = "model.layers.0.block_sparse_moe.";
  std::string header = "{\"" + block + R"(gate.weight":{"dtype":"BF16","shape":[)" + std::to_string(experts) + ",1],\"data_offsets\":[0," + std::to_string(2 * experts) + "]}";
  int end = 2 * experts;
  for (int e = 0; e < experts; ++e)
    for (char const* matrix : {"w1", "w2", "w3"}) {
      header += ",\"" + block + "experts." + std::to_string(e) + "." + matrix + R"(.weight":{"dtype":"BF16","shape":[1,1],"data_offsets":[)" + std::to_string(end);
      header += "," + std::to_string(end + 2) + "]}", end += 2;
    }
  write(copy.path() + "/model.safetensors", crafted::safetensors(header + "}", std::string(static_cast<std::size_t>(end), '\0')));
  auto const seconds = [] { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };   // of this processor's time
  double const begin = seconds();
  Checkpoint const checkpoint{copy.path()};
  double const opened = seconds();
  CHECK(checkpoint.tensors(0).size() == 3 * experts + 1);
  checkpoint.check_types(0);
  double const took = seconds() - opened;
  CHECK(took < 5 * (opened - begin));                                          // a third; 20 times if each is compared with all
}

TEST_CASE("tensors() lists what is read, with its place; progress counts the same bytes") {
  Checkpoint const checkpoint{(goldens() / "mixtral").string()};
  auto const places = checkpoint.tensors(0);
  REQUIRE(places.size() == 25);
  CHECK(places[0].part == Part::router);
  CHECK(places[1].tensor->name == "model.layers.0.block_sparse_moe.experts.0.w1.weight");
  CHECK(name(places[3].part) == "down");
  CHECK(places[24].expert == 7);
  std::uint64_t total = 0;
  for (TensorPlace const& p : places) total += p.tensor->bytes();

  struct Seen { std::uint64_t done = 0, total = 0; bool grew = true; } seen;
  Progress const progress{[](void* context, std::uint64_t done, std::uint64_t all) {
    auto* const s = static_cast<Seen*>(context);
    s->grew = s->grew && done > s->done, s->done = done, s->total = all;
  }, &seen};
  load<mixtral>(Host{.threads = 1}, checkpoint, 0, progress);
  CHECK(seen.grew);
  CHECK(seen.done == total);
  CHECK(seen.total == total);
}

TEST_CASE("fused experts are read once each, too") {
  Checkpoint const checkpoint{(goldens() / "granitemoe").string()};
  constexpr Config granite{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 28, .router = presets::granite_3_0_1b_a400m.router};
  std::uint64_t seen[2]{};
  load<granite>(Host{.threads = 1}, checkpoint, 0, {[](void* to, std::uint64_t done, std::uint64_t all) {
    static_cast<std::uint64_t*>(to)[0] = done, static_cast<std::uint64_t*>(to)[1] = all;
  }, seen});
  CHECK(seen[0] == seen[1]);
}

TEST_CASE("a file may store another float type") {
  Copy copy("mixtral");
  std::string const stored = packed_bytes<mixtral>(copy.path());
  store_as<float>(copy, Stored::f32);
  CHECK(Checkpoint{copy.path()}.config(0).weights == DType::fp32);
  load_refused<mixtral>(copy.path(), 0, {"router.weights", "got fp32 (file)"});
  constexpr Config wide = changed(mixtral, [](Config& c) { c.weights = c.router.weights = DType::fp32; });
  std::string const in_fp32 = packed_bytes<wide>(copy.path());
  CHECK(packed_bytes<wide>((goldens() / "mixtral").string()) == in_fp32);      // bf16 to fp32 is exact
  store_as<bf16>(copy, Stored::bf16);
  CHECK(packed_bytes<mixtral>(copy.path()) == stored);
  store_as<fp16>(copy, Stored::f16);
  constexpr Config half = changed(mixtral, [](Config& c) { c.weights = c.router.weights = DType::fp16; });
  CHECK(Checkpoint{copy.path()}.config(0).weights == DType::fp16);
  std::string const in_fp16 = packed_bytes<half>(copy.path());
  store_as<float>(copy, Stored::f32);                                         // of what fp16 holds: exact
  CHECK(packed_bytes<changed(wide, [](Config& c) { c.weights = DType::fp16; })>(copy.path()).ends_with(in_fp16.substr(host::PackedLayout<half>::router.elements() * 2)));
}

TEST_CASE("a Config as source, and as a line") {
  CHECK(source(mixtral, "layer") == "inline constexpr coterie::Config layer{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};\n");
  CHECK(source(presets::deepseek_v2, "v2") ==
        "inline constexpr coterie::Config v2{.experts = 160, .top_k = 6, .hidden = 5120, .ffn = 1536,\n"
        "  .router = {.precision = coterie::Precision::fp32, .select = coterie::Select::group_top_k, .groups = 8, .groups_kept = 3, "
        ".group_score = coterie::GroupScore::max, .group_fill = coterie::Fill::zero, .normalise = coterie::Normalise::none, .scale = 16},\n"
        "  .shared = {.ffn = 3072, .count = 2}};\n");
  CHECK(describe(presets::gpt_oss_20b).starts_with("32 experts, top-4, hidden 2880, ffn 2880, bf16 (mxfp4 weights), quant.group 32, router.precision model"));
  Config all = presets::lfm2_8b_a1b;
  all.combine = Accumulate::model, all.batch_invariant = 1;
  CHECK(source(all, "x").ends_with(".epsilon = 1e-06f}, .combine = coterie::Accumulate::model, .batch_invariant = 1};\n"));
}

TEST_CASE("every preset's meaning stays itself") {
  for (Preset const& p : presets::all) check(io::canonical(p.layer), p.layer);
}

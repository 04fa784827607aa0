// Experts loaded from quantised files: every code, scale and zero point where it belongs, the same numbers in a layer of
// another type, the layer's output, and what is refused.
#include <doctest/doctest.h>

#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>
#include <coterie/reference.hpp>

#include "../golden/golden.hpp"
#include "quantised.hpp"

using namespace quantised;

namespace {

constexpr Config mixtral{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};
constexpr Config v3{.experts = 16, .top_k = 4, .hidden = 40, .ffn = 14, .weights = DType::fp8_e4m3, .quant = {.group = 64, .group_rows = 96},
                  .router = {.precision = Precision::fp32, .score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4, .groups_kept = 2,
                             .epsilon = 1e-20f, .scale = 2.5f}, .shared = {.ffn = 14}};
constexpr Config with(Config c, As as) {
  c.weights = type_of(as), c.quant = quant_of(as);
  return c;
}
constexpr RouterConfig stored_router(RouterConfig r) {                            // the golden's router is stored in bf16
  r.precision = Precision::matmul_then_fp32, r.weights = DType::bf16;
  return r;
}
constexpr Config changed(Config c, DType d, QuantConfig q) {
  c.weights = d, c.quant = q;
  return c;
}
constexpr Config in_type(Config c, DType d) {
  c.weights = d, c.quant = {};
  return c;
}

// Memory for one expert in checkpoint layout.
template <Config C> struct Unpacked {
  template <int Out, int In> struct Room {
    std::vector<element_t<C.weights>> codes = std::vector<element_t<C.weights>>(static_cast<std::size_t>(Out * In));
    std::vector<float> scale = std::vector<float>(static_cast<std::size_t>(Out * In));
    std::vector<std::uint8_t> zero = std::vector<std::uint8_t>(static_cast<std::size_t>(Out * In));
    Matrix<C.weights, Out, In, true> matrix() {
      if constexpr (is_float(C.weights)) return {codes.data()};
      else return {.data = codes.data(), .scale = scale.data(), .zero = zero.data()};
    }
    unsigned code(std::int64_t o, std::int64_t i) const {
      std::int64_t const at = o * In + i;
      auto const* const bytes = reinterpret_cast<unsigned char const*>(codes.data());
      return bits(C.weights) == 8 ? bytes[at] : bytes[at / 2] >> (at % 2 * 4) & 15u;
    }
  };
  Room<C.ffn, width(C)> gate, up;
  Room<width(C), C.ffn> down;
};

// Every code, scale and zero point as it was written.
template <Config C> void same_codes(Checkpoint const& checkpoint, int layer, std::map<std::string, Truth> const& all, std::string const& block, std::array<char const*, 3> names) {
  Host const on{.threads = 1};
  auto const packed = load<C>(on, checkpoint, layer);
  for (int e = 0; e < C.experts; ++e) {
    Unpacked<C> got;
    unpack_expert<C>(on, packed.view(), e, got.gate.matrix(), got.up.matrix(), got.down.matrix());
    auto const check = [&](auto const& room, char const* name) {
      Truth const& t = all.at(block + "experts." + std::to_string(e) + "." + name + ".weight");
      std::int64_t wrong = 0;
      for (std::int64_t o = 0; o < t.outputs; ++o)
        for (std::int64_t i = 0; i < t.inputs; ++i) {
          auto const at = static_cast<std::size_t>(o * t.inputs + i);
          if constexpr (is_float(C.weights)) wrong += !(to_float(room.codes[at]) == to_float(from_float<element_t<C.weights>>(static_cast<float>(t.value(o, i)))));
          else wrong += room.code(o, i) != t.code[at] || room.scale[t.at(o, i)] != t.scale[t.at(o, i)] || (C.quant.zero_points && room.zero[t.at(o, i)] != t.zero[t.at(o, i)]);
        }
      CHECK_MESSAGE(wrong == 0, "expert ", e, " ", name);
    };
    check(got.gate, names[0]), check(got.up, names[1]), check(got.down, names[2]);
  }
}

// The layer's output within the reference's own bound.
template <Config C> void same_output(Checkpoint const& checkpoint, std::map<std::string, Truth> const& all) {
  reference::Weights w;
  std::vector<float> const router = read_floats(checkpoint, checkpoint.files().at("model.layers.0.block_sparse_moe.gate.weight"));
  w.router.assign(router.begin(), router.end()), w.expert_roundoff = reference::unit;
  auto const numbers = [&](int e, char const* name) {
    Truth const& t = all.at("model.layers.0.block_sparse_moe.experts." + std::to_string(e) + "." + name + ".weight");
    reference::Numbers to;
    for (std::int64_t o = 0; o < t.outputs; ++o)
      for (std::int64_t i = 0; i < t.inputs; ++i) to.push_back(t.value(o, i));
    return to;
  };
  for (int e = 0; e < C.experts; ++e) w.gate.push_back(numbers(e, "w1")), w.up.push_back(numbers(e, "w3")), w.down.push_back(numbers(e, "w2"));
  golden::Given given;
  for (int i = 0; i < 5 * C.hidden; ++i) given.x.push_back(rounded<element_t<C.dtype>>(std::sin(static_cast<float>(i * i % 1009))));
  reference::Inputs in;
  in.tokens = 5, in.x.assign(given.x.begin(), given.x.end());
  reference::Result const want = reference::layer(C, w, in);
  golden::Result const got = golden::compute<C>(checkpoint, 0, given);
  double worst = 0, largest = 0;
  for (std::size_t i = 0; i < got.y.size(); ++i) {
    double const error = std::abs(double{got.y[i]} - want.y[i]);
    worst = std::isnan(error) ? INFINITY : error == 0 ? worst : std::max(worst, error / want.bound[i]);
    largest = std::max(largest, std::abs(want.y[i]));
  }
  CHECK(want.margin > 1);
  CHECK(largest > 1e-3);
  CHECK(worst <= 1);
}

template <As F> void as_stored() {
  Copy copy("mixtral");
  std::map<std::string, Truth> all;
  quantise(copy, F, all, of_experts);
  Checkpoint const checkpoint{copy.path()};
  constexpr Config own = with(mixtral, F);
  CAPTURE(static_cast<int>(F));
  CHECK(source(checkpoint.config(0), "layer") == source(own, "layer"));
  checkpoint.check_types(0);
  std::string const block = "model.layers.0.block_sparse_moe.";
  same_codes<own>(checkpoint, 0, all, block, {"w1", "w3", "w2"});
  same_output<golden::with_dtype(own, DType::fp32)>(checkpoint, all);
}

template <Config C> void load_refused(std::string const& folder, int layer, std::initializer_list<char const*> words) {
  refused([&] { load<C>(Host{.threads = 1}, Checkpoint{folder}, layer); }, words);
}

}

TEST_CASE("fp8 in blocks, in rows, with one scale, with powers of two: as stored") {
  as_stored<As::fp8_blocks>(), as_stored<As::fp8_rows>(), as_stored<As::fp8_tensor>(), as_stored<As::e5m2_rows>(), as_stored<As::powers>();
}
TEST_CASE("int8 in rows: as stored") { as_stored<As::int8_rows>(); }
TEST_CASE("GPTQ, both formats, with and without zero points, in 4 and 8 bits: as stored") {
  as_stored<As::gptq>(), as_stored<As::gptq_v2>(), as_stored<As::gptq_sym>(), as_stored<As::gptq_sym8>();
}
TEST_CASE("AWQ: as stored") { as_stored<As::awq>(); }
TEST_CASE("compressed-tensors' packed integers: as stored") { as_stored<As::packed>(), as_stored<As::packed_zeros>(), as_stored<As::packed_rows>(); }
TEST_CASE("MXFP4 of compressed-tensors and of DeepSeek-V4: as stored") { as_stored<As::mxfp4>(), as_stored<As::fp4>(); }

TEST_CASE("quantised files in a layer of another type: the same numbers, rounded to it once") {
  auto const numbers = []<As F> {
    Copy copy("mixtral");
    std::map<std::string, Truth> all;
    quantise(copy, F, all, of_experts);
    Checkpoint const checkpoint{copy.path()};
    std::string const block = "model.layers.0.block_sparse_moe.";
    CAPTURE(static_cast<int>(F));
    same_codes<in_type(mixtral, DType::fp32)>(checkpoint, 0, all, block, {"w1", "w3", "w2"});
    same_codes<in_type(mixtral, DType::bf16)>(checkpoint, 0, all, block, {"w1", "w3", "w2"});
  };
  numbers.operator()<As::fp8_blocks>(), numbers.operator()<As::awq>(), numbers.operator()<As::gptq_sym>(), numbers.operator()<As::packed_zeros>(), numbers.operator()<As::fp4>();
}

TEST_CASE("quantised files in a Config of other groups or another quantised type are quantised anew from their numbers") {
  auto const experts = []<Config C>(std::string const& folder) {
    using Layout = host::PackedLayout<C>;
    auto const packed = load<C>(Host{.threads = 1}, Checkpoint{folder}, 0);
    constexpr Layout l = Layout::make(C.experts, 0);
    return std::string(reinterpret_cast<char const*>(packed.view().data) + l.expert_panels, C.experts * l.expert_stride);
  };
  auto const same = [&]<As F, Config C> {
    Copy coded("mixtral"), plain("mixtral");
    std::map<std::string, Truth> all;
    quantise(coded, F, all, of_experts);
    plain.store([&](TensorInfo& t, std::string& bytes) {
      if (!of_experts(t.name)) return;
      Truth const& of = all.at(t.name);
      std::vector<float> values;
      for (std::int64_t o = 0; o < of.outputs; ++o)
        for (std::int64_t i = 0; i < of.inputs; ++i) values.push_back(static_cast<float>(of.value(o, i)));
      t.dtype = Stored::f32, bytes = as_type<float>(values);
    });
    CHECK(experts.operator()<C>(coded.path()) == experts.operator()<C>(plain.path()));
  };
  same.operator()<As::fp8_blocks, changed(mixtral, DType::fp8_e4m3, {.group = 128, .group_rows = 128})>();
  same.operator()<As::fp8_blocks, changed(mixtral, DType::int8, {.group = 64, .group_rows = 96})>();
  same.operator()<As::fp8_blocks, changed(mixtral, DType::fp8_e4m3, {.group = 64})>();
  same.operator()<As::packed, changed(mixtral, DType::int4, {.group = 32, .zero_points = 1})>();
  same.operator()<As::awq, changed(mixtral, DType::int4, {.group = 32, .zero_points = 1})>();
}

TEST_CASE("experts of several in one tensor: fp8 in Step's layout") {
  constexpr Config step{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 22, .weights = DType::fp8_e4m3, .quant = {.group = 64, .group_rows = 96},
                        .router = stored_router(presets::step_3_5_flash.router), .expert = {.act = Act::silu_mul_clamp_after, .limit = 2}, .shared = {.ffn = 26, .limit = 1.5f}};
  Copy copy("step3p7");
  std::map<std::string, Truth> all;
  copy.split([&](TensorInfo t, std::string const& bytes, auto const& put) {
    if (t.shape.size() != 3) return put(t, bytes);
    std::string codes, scales;
    for (int e = 0; e < 8; ++e) {
      std::string const name = "experts." + std::to_string(e) + "." + t.name.substr(t.name.rfind("moe.") + 4);
      Truth const made = truth(As::fp8_blocks, name, t.shape[1], t.shape[2]);
      for (unsigned c : made.code) codes += static_cast<char>(c);
      scales += as_type<float>(made.scale);
      all.emplace(name, made);
    }
    t.dtype = Stored::f8_e4m3;
    put(t, codes);
    put(TensorInfo{.name = t.name + "_scale_inv", .dtype = Stored::f32, .shape = {8, 1, 1}}, scales);
  });
  copy.document([&](nlohmann::json& whole) { whole["quantization_config"] = nlohmann::json::parse(quantization_config(As::fp8_blocks)); });
  same_codes<step>(Checkpoint{copy.path()}, 0, all, "", {"gate_proj", "up_proj", "down_proj"});
}

TEST_CASE("shared experts in fp8 become numbers of the shared experts' own type") {
  Copy coded("deepseek_v3"), plain("deepseek_v3");
  std::map<std::string, Truth> all, experts;
  auto const of_shared = [](std::string const& name) { return name.find("shared_experts") != name.npos; };
  quantise(coded, As::fp8_blocks, all, [&](std::string const& name) { return name.find("layers.1") != name.npos && (of_experts(name) || of_shared(name)); });
  quantise(plain, As::fp8_blocks, experts, [](std::string const& name) { return name.find("layers.1") != name.npos && of_experts(name); });
  CHECK(all.size() == experts.size() + 3);
  plain.store([&](TensorInfo& t, std::string& bytes) {
    if (!of_shared(t.name)) return;
    Truth const& of = all.at(t.name);
    std::vector<float> values;
    for (std::int64_t o = 0; o < of.outputs; ++o)
      for (std::int64_t i = 0; i < of.inputs; ++i) values.push_back(static_cast<float>(of.value(o, i)));
    t.dtype = Stored::f32, bytes = as_type<float>(values);
  });
  auto const shared = [](std::string const& folder) {
    using Layout = host::PackedLayout<v3>;
    auto const packed = load<v3>(Host{.threads = 1}, Checkpoint{folder}, 1);
    constexpr Layout l = Layout::make(v3.experts, 0);
    auto const* const data = reinterpret_cast<char const*>(packed.view().data);
    return std::string(data + l.shared_gate_up_panels, Layout::shared_gate_up.elements() * 2) + std::string(data + l.shared_down_panels, Layout::shared_down.elements() * 2);
  };
  CHECK(Checkpoint{coded.path()}.config(1).shared.weights == DType::bf16);
  CHECK(shared(coded.path()) == shared(plain.path()));
  same_codes<v3>(Checkpoint{coded.path()}, 1, all, "model.layers.1.mlp.", {"gate_proj", "up_proj", "down_proj"});
}

TEST_CASE("progress counts the codes and what stands beside them") {
  Copy copy("mixtral");
  std::map<std::string, Truth> all;
  quantise(copy, As::gptq, all, of_experts);
  Checkpoint const checkpoint{copy.path()};
  std::uint64_t seen[2]{}, total = 0;
  for (TensorPlace const& p : checkpoint.tensors(0)) total += p.bytes();
  load<with(mixtral, As::gptq)>(Host{.threads = 1}, checkpoint, 0, {[](void* to, std::uint64_t done, std::uint64_t of) {
    static_cast<std::uint64_t*>(to)[0] = done, static_cast<std::uint64_t*>(to)[1] = of;
  }, seen});
  CHECK(seen[0] == total);
  CHECK(seen[1] == total);
}

namespace {

// A change of one format's files, and the words of the refusal.
struct Refused {
  As as{};
  char const* field = "";                        // of quantization_config; "-": the whole of it
  char const* value = "";                        // empty: taken away
  char const* tensor = "";                       // whose name ends so
  void (*change)(TensorInfo&, std::string&) = nullptr;
  std::vector<char const*> words{};
};
constexpr auto rename = [](TensorInfo& t, std::string&) { t.name += "X"; };
constexpr auto cut = [](TensorInfo& t, std::string& bytes) { t.shape[0] /= 2, bytes.resize(bytes.size() / 2); };
constexpr auto as_f64 = [](TensorInfo& t, std::string& bytes) { as_zeros(t, bytes, Stored::f64); };
constexpr auto ones = [](TensorInfo&, std::string& bytes) { bytes.assign(bytes.size(), '\xff'); };
constexpr auto swap = [](TensorInfo&, std::string& bytes) { std::swap(bytes[0], bytes[4 * 100]); };
constexpr auto none = nullptr;

std::vector<Refused> const refusals{
    {As::gptq, "-", "", "", none, {"config.json': has no field 'quantization_config'", "want one of quant_method 'gptq' or 'awq'"}},
    {As::gptq, "quant_method", "\"bitsandbytes\"", "", none, {"'quantization_config'", "quant_method: got 'bitsandbytes', want 'gptq' or 'awq'"}},
    {As::gptq, "bits", "3", "", none, {"quantization_config.bits'", "got 3, want 4 or 8"}},
    {As::gptq, "bits", "8", "", none, {"w3.qweight'", "shape: got [16,256] (file), want [32,256]"}},
    {As::gptq, "bits", "-4", "", none, {"bits'", "got -4, want 1 to"}},
    {As::gptq, "bits", "\"4\"", "", none, {"bits'", "got a string, want an integer"}},
    {As::gptq, "group_size", "0", "", none, {"group_size'", "got 0, want an even number, or -1"}},
    {As::gptq, "group_size", "7", "", none, {"group_size'", "got 7, want an even number"}},
    {As::gptq, "group_size", "-2", "", none, {"group_size'", "got -2, want -1 to 1048576"}},
    {As::gptq, "group_size", "9223372036854775807", "", none, {"group_size'", "got 9223372036854775807"}},
    {As::gptq, "group_size", "128", "", none, {"w3.scales'", "shape: got [2,256] (file), want [1,256]"}},
    {As::gptq, "checkpoint_format", "\"marlin\"", "", none, {"checkpoint_format: got 'marlin', want 'gptq' or 'gptq_v2'"}},
    {As::gptq, "sym", "true", "", none, {"qzeros'", "zero point of output", "want 8, as config.json's sym says"}},
    {As::gptq_v2, "desc_act", "true", "", none, {"w3.qweight'", "has no g_idx beside it, want one with desc_act"}},
    {As::gptq, "", "", "w2.g_idx", swap, {"w2.g_idx'", "number 0: got 1, want 0", "act-order, desc_act"}},
    {As::gptq, "", "", "w1.g_idx", ones, {"w1.g_idx'", "number 0: got -1, want 0"}},
    {As::gptq, "", "", "w1.g_idx", cut, {"w1.g_idx'", "shape: got [64] (file), want [128]"}},
    {As::gptq, "", "", "w1.qzeros", rename, {"w1.qweight'", "has no qzeros beside it"}},
    {As::gptq, "", "", "w1.scales", rename, {"w1.qweight'", "has no scales beside it"}},
    {As::gptq, "", "", "w1.scales", as_f64, {"w1.scales'", "is stored as F64, want F32 or BF16 or F16"}},
    {As::gptq, "", "", "w1.qweight", cut, {"w1.qweight'", "shape: got [8,256] (file), want [16,256]"}},
    {As::gptq, "", "", "w1.qweight", as_f64, {"w1.qweight'", "is stored as F64, want I32"}},
    {As::gptq, "", "", "0.w1.scales", ones, {}},                               // NaN is a number
    {As::awq, "version", "\"gemv\"", "", none, {"version: got 'gemv', want 'gemm'"}},
    {As::awq, "zero_point", "false", "", none, {"zero_point: got false, want true"}},
    {As::awq, "bits", "8", "", none, {"bits: got 8, want 4"}},
    {As::awq, "quant_method", "\"gptq\"", "", none, {"w3.qweight'", "shape: got [128,32] (file), want [16,256]"}},
    {As::awq, "", "", "w2.qzeros", rename, {"w2.qweight'", "has no qzeros beside it"}},
    {As::packed, "config_groups", "{}", "", none, {"config_groups: none has weights of type 'int'"}},
    {As::packed, "config_groups", "", "", none, {"has no field 'config_groups'"}},
    {As::packed, "config_groups", R"({"a":{"weights":{"num_bits":4,"type":"int","group_size":32}},"b":{"weights":{"num_bits":4,"type":"int","group_size":64}}})", "", none,
     {"config_groups.b.weights'", "group_size: differs from another group's"}},
    {As::packed, "config_groups", R"({"a":{"weights":{"num_bits":4,"type":"int","strategy":"tensor"}}})", "", none, {"strategy: got 'tensor', want 'group' or 'channel'"}},
    {As::packed, "", "", "w1.weight_shape", ones, {"w1.weight_shape'", "number 0: got -1, want 256"}},
    {As::packed, "", "", "w1.weight_shape", cut, {"w1.weight_shape'", "shape: got [1] (file), want [2]"}},
    {As::packed, "", "", "w1.weight_scale", cut, {"w1.weight_scale'", "shape: got [128,4] (file), want [256,4]"}},
    {As::packed_zeros, "config_groups", R"({"a":{"weights":{"num_bits":4,"type":"int","group_size":64}}})", "", none, {"weight_zero_point'", "has no place"}},
    {As::packed_zeros, "", "", "w1.weight_zero_point", rename, {"w1.weight_packed'", "has no weight_zero_point beside it"}},
    {As::mxfp4, "config_groups", R"({"a":{"weights":{"num_bits":4,"type":"float","group_size":16}}})", "", none, {"group_size'", "got 16, want 32, as MXFP4 has"}},
    {As::mxfp4, "", "", "w2.weight_scale", as_f64, {"w2.weight_scale'", "is stored as F64, want U8 or F8_E8M0"}},
    {As::mxfp4, "", "", "w2.weight_packed", cut, {"w2.weight_packed'", "shape: got [64,128] (file), want [128,128]"}},
    {As::fp4, "", "", "w2.scale", cut, {"w2.scale'", "shape: got [64,8] (file), want [128,8]"}},
    {As::fp8_blocks, "weight_block_size", "[0,64]", "", none, {"weight_block_size'", "want two sizes of 1 to 1048576"}},
    {As::fp8_blocks, "weight_block_size", "[64]", "", none, {"weight_block_size'", "want two sizes"}},
    {As::fp8_blocks, "weight_block_size", "64", "", none, {"weight_block_size'", "want two sizes"}},
    {As::fp8_blocks, "weight_block_size", "[64,64.5]", "", none, {"weight_block_size[1]'", "got a real number, want an integer"}},
    {As::fp8_blocks, "weight_block_size", "[128,128]", "", none, {"w3.weight_scale_inv'", "shape: got [3,2] (file), want [256,1] or [256] or [1] or [] (config.json)"}},
    {As::fp8_blocks, "quant_method", "\"fbgemm_fp8\"", "", none, {"quant_method: got 'fbgemm_fp8', want 'fp8' or 'compressed-tensors'"}},
    {As::fp8_blocks, "", "", "w3.weight_scale_inv", rename, {"w3.weight'", "is stored as F8_E4M3 and has no scales beside it, want weight_scale_inv"}},
    {As::fp8_blocks, "", "", "1.w2.weight", as_f64, {"1.w2.weight'", "is stored as F64, want fp8_e4m3 in blocks of 96 x 64, as the layer's other experts"}},
    {As::fp8_blocks, "", "", "1.w2.weight", cut, {"1.w2.weight'", "shape: got [64,256] (file), want [128,256]"}},
};

}

TEST_CASE("quantised files that are not what config.json says, and the other way round, are refused in words") {
  for (Refused const& r : refusals) {
    Copy copy("mixtral");
    std::map<std::string, Truth> all;
    quantise(copy, r.as, all, of_experts);
    if (r.change)
      copy.store([&](TensorInfo& t, std::string& bytes) { if (t.name.ends_with(r.tensor)) r.change(t, bytes); });
    copy.document([&](nlohmann::json& whole) {
      std::string const field = r.field, value = r.value;
      nlohmann::json& q = whole["quantization_config"];
      if (field == "-") whole.erase("quantization_config");
      else if (!field.empty() && value.empty()) q.erase(field);
      else if (!field.empty()) q[field] = nlohmann::json::parse(value);
    });
    CAPTURE(static_cast<int>(r.as));
    CAPTURE(std::string(r.field) + r.value + r.tensor);
    auto const open = [&] { load<in_type(mixtral, DType::bf16)>(Host{.threads = 1}, Checkpoint{copy.path()}, 0); };
    if (r.words.empty()) CHECK(sentence(open).empty());
    else refused(open, r.words);
  }
}

TEST_CASE("scales that packed weights do not hold are refused by the expert, the matrix and the scale") {
  Copy copy("mixtral");
  std::map<std::string, Truth> all;
  quantise(copy, As::packed, all, of_experts);
  copy.store([](TensorInfo& t, std::string& bytes) {
    if (!t.name.ends_with("5.w2.weight_scale")) return;
    bf16 const huge = from_float<bf16>(1e30f);
    std::memcpy(bytes.data() + 6, &huge, 2);
  });
  load_refused<with(mixtral, As::packed)>(copy.path(), 0, {"pack: expert 5's down: scale 3 is 100025", "that fp16 holds", "quantised.cpp:"});
}

TEST_CASE("sizes of zero and layouts without a rule are refused") {
  Copy nothing("mixtral"), halves("granitemoe");
  std::map<std::string, Truth> all;
  quantise(nothing, As::fp8_blocks, all, of_experts);
  nothing.document([](nlohmann::json& whole) { whole["intermediate_size"] = 0; });
  refused([&] { (void)Checkpoint{nothing.path()}.config(0); }, {"w3.weight'", "shape: got [256,128] (file), want [0,128]"});
  halves.store([](TensorInfo& t, std::string& bytes) { if (t.shape.size() == 3) as_zeros(t, bytes, Stored::f8_e4m3); });
  refused([&] { (void)Checkpoint{halves.path()}.config(0); }, {"input_linear.weight'", "quantised experts are not supported in the layout of 'granitemoe'"});
}

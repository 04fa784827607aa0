// Checkpoints whose experts are quantised, made from goldens: random codes, written in each format by its own formula.
#pragma once
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <coterie/reference/quant.hpp>

#include "copy.hpp"

namespace quantised {

using namespace copies;

enum class As : int { fp8_blocks, fp8_rows, fp8_tensor, e5m2_rows, int8_rows, powers, gptq, gptq_v2, gptq_sym, gptq_sym8, awq, packed, packed_zeros, packed_rows, mxfp4, fp4 };

// A matrix as it is meant: code, scale and zero point of each number.
struct Truth {
  std::int64_t outputs = 0, inputs = 0;
  DType type{};
  QuantConfig quant{};
  std::vector<unsigned> code{}, zero{};          // [out][in], [ceil(out / group_rows)][groups]
  std::vector<float> scale{};                    // as zero

  std::int64_t group() const { return quant.group ? quant.group : inputs; }
  std::int64_t groups() const { return (inputs + group() - 1) / group(); }
  std::int64_t rows() const { return (outputs + quant.group_rows - 1) / quant.group_rows; }
  std::size_t at(std::int64_t o, std::int64_t i) const { return static_cast<std::size_t>(o / quant.group_rows * groups() + i / group()); }
  double value(std::int64_t o, std::int64_t i) const {
    return reference::coded(type, code[static_cast<std::size_t>(o * inputs + i)], quant.zero_points ? static_cast<int>(zero[at(o, i)]) : -1) * double{scale[at(o, i)]};
  }
};

constexpr DType type_of(As as) {
  switch (as) {
    case As::fp8_blocks: case As::fp8_rows: case As::fp8_tensor: case As::powers: return DType::fp8_e4m3;
    case As::e5m2_rows: return DType::fp8_e5m2;
    case As::int8_rows: case As::gptq_sym8: return DType::int8;
    case As::mxfp4: case As::fp4: return DType::mxfp4;
    default: return DType::int4;
  }
}
constexpr QuantConfig quant_of(As as) {
  switch (as) {
    case As::fp8_blocks: case As::powers: return {.group = 64, .group_rows = 96};
    case As::fp8_rows: case As::fp8_tensor: case As::e5m2_rows: case As::int8_rows: case As::packed_rows: return {};
    case As::mxfp4: case As::fp4: return {.group = 32};
    case As::gptq: case As::gptq_v2: case As::awq: case As::packed_zeros: return {.group = 64, .zero_points = 1};
    default: return {.group = 32};
  }
}
inline char const* quantization_config(As as) {
  switch (as) {
    case As::fp8_blocks: case As::powers: return R"({"quant_method":"fp8","fmt":"e4m3","weight_block_size":[96,64],"activation_scheme":"dynamic"})";
    case As::fp4: return R"({"quant_method":"fp8","weight_block_size":[128,128],"scale_fmt":"ue8m0"})";
    case As::fp8_rows: return R"({"quant_method":"compressed-tensors","format":"float-quantized","config_groups":{"group_0":{"targets":["Linear"],"weights":{"num_bits":8,"type":"float","strategy":"channel"}}}})";
    case As::fp8_tensor: return R"({"quant_method":"fp8","activation_scheme":"static"})";
    case As::e5m2_rows: return R"({"quant_method":"fp8","weight_block_size":null})";
    case As::int8_rows: return R"({"quant_method":"compressed-tensors","format":"int-quantized","config_groups":{"group_0":{"weights":{"num_bits":8,"type":"int","strategy":"channel"}}}})";
    case As::gptq: return R"({"quant_method":"gptq","bits":4,"group_size":64,"sym":false,"desc_act":false})";
    case As::gptq_v2: return R"({"quant_method":"gptq","bits":4,"group_size":64,"sym":false,"checkpoint_format":"gptq_v2"})";
    case As::gptq_sym: return R"({"quant_method":"gptq","bits":4,"group_size":32,"sym":true})";
    case As::gptq_sym8: return R"({"quant_method":"gptq","bits":8,"group_size":32,"sym":true})";
    case As::awq: return R"({"quant_method":"awq","bits":4,"group_size":64,"zero_point":true,"version":"gemm"})";
    case As::packed: return R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{"weights":{"num_bits":4,"type":"int","strategy":"group","group_size":32,"symmetric":true}}}})";
    case As::packed_zeros: return R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{"weights":{"num_bits":4,"type":"int","strategy":"group","group_size":64,"symmetric":false}}}})";
    case As::packed_rows: return R"({"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{"weights":{"num_bits":4,"type":"int","strategy":"channel"}}}})";
    case As::mxfp4: return R"({"quant_method":"compressed-tensors","format":"mxfp4-pack-quantized","config_groups":{"group_0":{"weights":{"num_bits":4,"type":"float","strategy":"group","group_size":32}}}})";
  }
  return "";
}

// A matrix of random codes, the same for the same name.
inline Truth truth(As as, std::string const& name, std::int64_t outputs, std::int64_t inputs) {
  Truth t{.outputs = outputs, .inputs = inputs, .type = type_of(as), .quant = quant_of(as)};
  std::uint64_t state = 1469598103934665603u;
  for (char c : name) state = (state ^ static_cast<unsigned char>(c)) * 1099511628211u;
  auto const next = [&] { return static_cast<unsigned>((state = state * 6364136223846793005u + 1442695040888963407u) >> 40); };
  unsigned const codes = 1u << bits(t.type);
  for (std::int64_t i = 0; i < outputs * inputs; ++i) {
    unsigned c = next() % codes;
    if (t.type == DType::fp8_e4m3 && (c & 0x7f) == 0x7f) c ^= 1;
    if (t.type == DType::fp8_e5m2 && (c & 0x7c) == 0x7c) c ^= 0x40;
    t.code.push_back(c);
  }
  float const largest = t.type == DType::fp8_e4m3 ? 448.f : t.type == DType::fp8_e5m2 ? 57344.f : t.type == DType::int8 ? 127.f : t.type == DType::mxfp4 ? 6.f : 8.f;
  for (std::int64_t i = 0; i < t.rows() * t.groups(); ++i) {
    float s = (0.5f + static_cast<float>(next() % 1000) * 0.001f) * 0.2f / largest;
    if (type_of(as) == DType::int4 || as == As::gptq_sym8) s = rounded<bf16>(s);      // what fp16 and bf16 hold
    if (as == As::mxfp4 || as == As::fp4 || as == As::powers) s = std::exp2(std::floor(std::log2(s)));
    if (as == As::fp8_tensor && i) s = t.scale[0];
    t.scale.push_back(s);
    t.zero.push_back(next() % 16);
  }
  return t;
}

inline std::string text_of(std::vector<std::uint32_t> const& words) { return {reinterpret_cast<char const*>(words.data()), words.size() * 4}; }
template <class T> std::string as_type(std::vector<float> const& values) {
  std::vector<T> to;
  for (float v : values) to.push_back(from_float<T>(v));
  return {reinterpret_cast<char const*>(to.data()), to.size() * sizeof(T)};
}

// The tensors of one matrix. `name` is its name as floats have it: X.weight.
template <class Put> void write_matrix(As as, Truth const& t, std::string const& name, Put const& put) {
  std::string const stem = name.substr(0, name.size() - 6);
  std::int64_t const out = t.outputs, in = t.inputs, groups = t.groups();
  auto const give = [&](std::string const& tensor, Stored type, std::vector<std::int64_t> shape, std::string const& bytes) {
    put(TensorInfo{.name = tensor, .dtype = type, .shape = std::move(shape)}, bytes);
  };
  auto const code = [&](std::int64_t o, std::int64_t i) { return t.code[static_cast<std::size_t>(o * in + i)]; };
  unsigned const offset = t.quant.zero_points ? 0 : t.type == DType::int8 ? 128 : 8;                  // two's complement to unsigned
  auto const raw = [&](std::int64_t o, std::int64_t i) { return (code(o, i) + offset) % (t.type == DType::int8 ? 256u : 16u); };
  std::string bytes;
  switch (as) {
    case As::fp8_blocks: case As::fp8_rows: case As::fp8_tensor: case As::e5m2_rows: case As::int8_rows: case As::powers:
      for (unsigned c : t.code) bytes += static_cast<char>(c);
      give(name, as == As::int8_rows ? Stored::i8 : as == As::e5m2_rows ? Stored::f8_e5m2 : Stored::f8_e4m3, {out, in}, bytes);
      if (as == As::fp8_blocks) give(name + "_scale_inv", Stored::f32, {t.rows(), groups}, as_type<float>(t.scale));
      if (as == As::fp8_rows || as == As::int8_rows) give(name + "_scale", Stored::f32, {out, 1}, as_type<float>(t.scale));
      if (as == As::e5m2_rows) give(name + "_scale_inv", Stored::f32, {out}, as_type<float>(t.scale));
      if (as == As::fp8_tensor) give(name + "_scale", Stored::f32, {}, as_type<float>({t.scale[0]})), give(stem + "input_scale", Stored::f32, {}, as_type<float>({1.f}));
      bytes.clear();
      for (float s : t.scale) bytes += static_cast<char>(127 + std::ilogb(s));
      if (as == As::powers) give(stem + "scale", Stored::f8_e8m0, {t.rows(), groups}, bytes);
      return;
    case As::mxfp4: case As::fp4: {
      for (std::size_t i = 0; i < t.code.size(); i += 2) bytes += static_cast<char>(t.code[i] | t.code[i + 1] << 4);
      give(as == As::fp4 ? name : stem + "weight_packed", as == As::fp4 ? Stored::i8 : Stored::u8, {out, in / 2}, bytes);
      bytes.clear();
      for (float s : t.scale) bytes += static_cast<char>(127 + std::ilogb(s));
      give(as == As::fp4 ? stem + "scale" : stem + "weight_scale", as == As::fp4 ? Stored::f8_e8m0 : Stored::u8, {out, groups}, bytes);
      return;
    }
    case As::gptq: case As::gptq_v2: case As::gptq_sym: case As::gptq_sym8: {
      std::int64_t const wide = bits(t.type), pack = 32 / wide;
      std::vector<std::uint32_t> q(static_cast<std::size_t>(in / pack * out)), z(static_cast<std::size_t>(groups * out / pack)), order;
      for (std::int64_t i = 0; i < in; ++i)
        for (std::int64_t o = 0; o < out; ++o) q[static_cast<std::size_t>(i / pack * out + o)] |= raw(o, i) << (wide * (i % pack));
      std::vector<float> scale;
      for (std::int64_t g = 0; g < groups; ++g)
        for (std::int64_t o = 0; o < out; ++o) {
          scale.push_back(t.scale[static_cast<std::size_t>(o * groups + g)]);
          std::uint32_t zero = t.quant.zero_points ? t.zero[static_cast<std::size_t>(o * groups + g)] : offset;
          z[static_cast<std::size_t>(g * (out / pack) + o / pack)] |= zero << (wide * (o % pack));
        }
      if (as != As::gptq_v2)                                                   // a whole word less, as GPTQModel saves it
        for (std::uint32_t& w : z) w -= wide == 4 ? 0x11111111u : 0x01010101u;
      for (std::int64_t i = 0; i < in; ++i) order.push_back(static_cast<std::uint32_t>(i / t.group()));
      give(stem + "qweight", Stored::i32, {in / pack, out}, text_of(q)), give(stem + "qzeros", Stored::i32, {groups, out / pack}, text_of(z));
      give(stem + "scales", Stored::f16, {groups, out}, as_type<fp16>(scale));
      if (as != As::gptq_v2) give(stem + "g_idx", Stored::i32, {in}, text_of(order));
      return;
    }
    case As::awq: {
      constexpr int order[]{0, 2, 4, 6, 1, 3, 5, 7};
      std::vector<std::uint32_t> q(static_cast<std::size_t>(in * out / 8)), z(static_cast<std::size_t>(groups * out / 8));
      std::vector<float> scale;
      for (std::int64_t o = 0; o < out; o += 8)
        for (int k = 0; k < 8; ++k) {
          for (std::int64_t i = 0; i < in; ++i) q[static_cast<std::size_t>((i * out + o) / 8)] |= code(o + order[k], i) << (4 * k);
          for (std::int64_t g = 0; g < groups; ++g) z[static_cast<std::size_t>((g * out + o) / 8)] |= t.zero[static_cast<std::size_t>((o + order[k]) * groups + g)] << (4 * k);
        }
      for (std::int64_t g = 0; g < groups; ++g)
        for (std::int64_t o = 0; o < out; ++o) scale.push_back(t.scale[static_cast<std::size_t>(o * groups + g)]);
      give(stem + "qweight", Stored::i32, {in, out / 8}, text_of(q)), give(stem + "qzeros", Stored::i32, {groups, out / 8}, text_of(z));
      give(stem + "scales", Stored::f16, {groups, out}, as_type<fp16>(scale));
      return;
    }
    case As::packed: case As::packed_zeros: case As::packed_rows: {
      std::int64_t const words = (in + 7) / 8;
      std::vector<std::uint32_t> q(static_cast<std::size_t>(out * words)), z(static_cast<std::size_t>((out + 7) / 8 * groups));
      for (std::int64_t o = 0; o < out; ++o) {
        for (std::int64_t i = 0; i < in; ++i) q[static_cast<std::size_t>(o * words + i / 8)] |= raw(o, i) << (4 * (i % 8));
        for (std::int64_t g = 0; g < groups; ++g) z[static_cast<std::size_t>(o / 8 * groups + g)] |= t.zero[static_cast<std::size_t>(o * groups + g)] << (4 * (o % 8));
      }
      std::vector<std::int64_t> const shape{out, in};
      give(stem + "weight_packed", Stored::i32, {out, words}, text_of(q)), give(stem + "weight_scale", Stored::bf16, {out, groups}, as_type<bf16>(t.scale));
      give(stem + "weight_shape", Stored::i64, {2}, {reinterpret_cast<char const*>(shape.data()), 16});
      if (as == As::packed_zeros) give(stem + "weight_zero_point", Stored::i32, {(out + 7) / 8, groups}, text_of(z));
      return;
    }
  }
}

// A golden with every matrix whose name `wanted` takes quantised; what each means is added to `all`.
template <class Wanted> void quantise(Copy& copy, As as, std::map<std::string, Truth>& all, Wanted const& wanted) {
  copy.split([&](TensorInfo const& t, std::string const& bytes, auto const& put) {
    if (!wanted(t.name)) return put(t, bytes);
    Truth const made = truth(as, t.name, t.shape[0], t.shape[1]);
    write_matrix(as, made, t.name, put);
    all.emplace(t.name, made);
  });
  copy.document([&](nlohmann::json& whole) { whole["quantization_config"] = nlohmann::json::parse(quantization_config(as)); });
}
inline bool of_experts(std::string const& name) { return name.find(".experts.") != name.npos && name.ends_with(".weight"); }

}

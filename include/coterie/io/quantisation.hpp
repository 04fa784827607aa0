// Quantised matrices of the files: which tensors belong to one, and what config.json says of their codes.
// Formats: MXFP4 as gpt-oss ships it; fp8 and int8 with scales; GPTQ; AWQ; compressed-tensors' packed integers and MXFP4.
#pragma once
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "shapes.hpp"

namespace coterie { inline namespace v0 { namespace io {

// The tensor of this name as floats have it, or what stands in its place and beside it; no tensor: none of these.
inline TensorPlace find_matrix(ShardedSafetensors const& files, std::string const& name) {
  TensorPlace p;
  auto const found = [&](Format format, std::string const& tensor) {
    p.coding.format = format, p.tensor = files.find(tensor);
    return p.tensor != nullptr;
  };
  auto const first = [&](std::initializer_list<std::string> names) -> TensorInfo const* {
    for (std::string const& one : names)
      if (TensorInfo const* const t = files.find(one)) return t;
    return nullptr;
  };
  std::string const stem = name.ends_with(".weight") ? name.substr(0, name.size() - 6) : std::string();
  if (found(Format::blocks, name + "_blocks")) p.scale = files.find(name + "_scales");
  else if (found(Format::numbers, name)) {
    Stored const type = p.tensor->dtype;
    if (type != Stored::f8_e4m3 && type != Stored::f8_e5m2 && type != Stored::i8) return p;
    p.coding.format = Format::plain;
    p.scale = first({name + "_scale_inv", name + "_scale", stem.empty() ? stem : stem + "scale"});
  } else if (!stem.empty() && found(Format::gptq, stem + "qweight"))           // or AWQ: config.json says
    p.scale = files.find(stem + "scales"), p.zero = files.find(stem + "qzeros"), p.checked = files.find(stem + "g_idx");
  else if (!stem.empty() && found(Format::packed, stem + "weight_packed"))
    p.scale = files.find(stem + "weight_scale"), p.zero = files.find(stem + "weight_zero_point"), p.checked = files.find(stem + "weight_shape");
  return p;
}

// quantization_config of config.json, with the defaults of transformers' classes.
class Quantisation {
 public:
  Quantisation(Json const& text, Json const& whole, Where at) : whole_(whole), at_(at) {
    for (Json const& one : {text, whole}) {
      auto const found = one.find("quantization_config", at);
      if (!fields_ && found && !found->is_null()) fields_ = *found;
    }
    if (fields_) method_ = fields_->string_or("quant_method", "", at);
  }

  // What the codes of a matrix are; completes p.coding, and refuses tensors of other types and shapes than that has.
  // experts: leading dimension; 0: none. What config.json says is read once, however many matrices there are.
  void complete(ShardedSafetensors const& files, TensorPlace& p, std::int64_t experts, MatrixShape m) {
    Coding& c = p.coding;
    if (c.format == Format::numbers) return;
    if (m.outputs < 1 || m.inputs < 1) files.reject(*p.tensor, ": shape: got " + shape_text(p.tensor->shape) + " (file), want " + shape_text({m.outputs, m.inputs}) + " (config.json)", at_);
    switch (c.format) {
      case Format::blocks:
        method({"mxfp4"}, false);
        c.type = DType::mxfp4, c.quant = {.group = 32};
        break;
      case Format::plain: plain(files, p, experts, m); break;
      case Format::packed: {
        std::optional<Coding>& read = p.tensor->dtype == Stored::u8 ? packed_bytes_ : packed_words_;
        if (!read) read = p.tensor->dtype == Stored::u8 ? packed_mxfp4() : packed_integers();
        c = *read;
        if (c.type == DType::mxfp4) p.checked = nullptr;
        if (!c.quant.zero_points) p.zero = nullptr;                            // one that is there all the same has no place
        break;
      }
      default:
        if (!words_) words_ = gptq_or_awq();
        c = *words_;
        if (c.format == Format::awq) p.checked = nullptr;
        else if (!p.checked && desc_act_) files.reject(*p.tensor, " has no g_idx beside it, want one with desc_act", at_);
    }
    expect_shapes(files, p, experts, m, at_);
  }

 private:
  void method(std::initializer_list<std::string_view> allowed, bool needed) const {
    if (!fields_ && !needed) return;
    std::string want;
    for (std::string_view one : allowed) {
      if (method_ == one) return;
      want += (want.empty() ? "" : " or ") + printable(one);
    }
    if (!fields_) whole_.reject("has no field 'quantization_config', want one of quant_method " + want, at_);
    fields_->reject("quant_method: got " + printable(method_) + ", want " + want + ", of which the files' tensors are", at_);
  }
  int whole(Json const& of, std::string_view name, std::int64_t fallback, std::int64_t least) const {
    std::int64_t const n = of.integer_or(name, fallback, at_);
    constexpr std::int64_t most = 1 << 20;                                     // as Fields has it
    if (n < least || n > most) of.at(name, at_).reject("got " + std::to_string(n) + ", want " + std::to_string(least) + " to " + std::to_string(most), at_);
    return static_cast<int>(n);
  }
  // The size of a group along a row, as Config has it; -1 in the files: the row.
  int group(Json const& of, std::string_view name, std::int64_t fallback) const {
    int const n = whole(of, name, fallback, -1);
    if (n == 0 || (n > 0 && n % 2)) of.at(name, at_).reject("got " + std::to_string(n) + ", want an even number, or -1", at_);
    return n < 0 ? 0 : n;
  }
  DType integers(Json const& of, std::string_view name) const {
    int const bits = whole(of, name, 4, 1);
    if (bits != 4 && bits != 8) of.at(name, at_).reject("got " + std::to_string(bits) + ", want 4 or 8", at_);
    return bits == 4 ? DType::int4 : DType::int8;
  }
  std::string word(std::initializer_list<char const*> names, char const* fallback) const {
    for (char const* name : names)
      if (std::string const got = fields_->string_or(name, "", at_); !got.empty()) return got;
    return fallback;
  }

  Coding gptq_or_awq() {
    method({"gptq", "awq"}, true);
    Coding c{.format = Format::gptq};
    if (method_ == "gptq") {
      std::string const format = word({"checkpoint_format", "format"}, "gptq");
      if (format != "gptq" && format != "gptq_v2") fields_->reject("checkpoint_format: got " + printable(format) + ", want 'gptq' or 'gptq_v2'", at_);
      c.type = integers(*fields_, "bits"), c.zeros_less_one = format == "gptq";
      c.quant = {.group = group(*fields_, "group_size", 128), .zero_points = !fields_->boolean_or("sym", true, at_)};
      desc_act_ = fields_->boolean_or("desc_act", false, at_);
    } else {
      std::string const format = word({"version", "format"}, "gemm");
      if (format != "gemm" && format != "GEMM") fields_->reject("version: got " + printable(format) + ", want 'gemm'", at_);
      if (!fields_->boolean_or("zero_point", true, at_)) fields_->reject("zero_point: got false, want true", at_);
      c.format = Format::awq, c.type = integers(*fields_, fields_->find("w_bit", at_) ? "w_bit" : "bits");
      if (c.type != DType::int4) fields_->reject("bits: got 8, want 4, as AWQ has", at_);
      c.quant = {.group = group(*fields_, fields_->find("q_group_size", at_) ? "q_group_size" : "group_size", 128), .zero_points = 1};
    }
    return c;
  }

  // The weights of compressed-tensors' config_groups that have such codes; two that differ cannot be told apart.
  Json weights(std::string_view type, std::initializer_list<int> bits) const {
    std::optional<Json> one;
    for (Json const some : fields_->at("config_groups", at_)) {
      auto const w = some.find("weights", at_);
      if (!w || w->is_null() || w->string_or("type", "int", at_) != type) continue;
      std::int64_t const n = w->integer_or("num_bits", 8, at_);
      bool fits = false;
      for (int const want : bits) fits = fits || n == want;
      if (!fits) continue;
      for (char const* field : {"num_bits", "group_size"})
        if (one && one->integer_or(field, 0, at_) != w->integer_or(field, 0, at_)) w->reject(std::string(field) + ": differs from another group's, want one for all", at_);
      if (one && (one->boolean_or("symmetric", true, at_) != w->boolean_or("symmetric", true, at_) || one->string_or("strategy", "", at_) != w->string_or("strategy", "", at_)))
        w->reject("differs from another group's in symmetric or strategy, want one for all", at_);
      if (!one) one = *w;
    }
    if (!one) fields_->reject("config_groups: none has weights of type " + printable(type) + " in as many bits as the files' tensors", at_);
    return *one;
  }
  Coding packed_mxfp4() const {
    method({"compressed-tensors"}, true);
    Json const w = weights("float", {4});
    if (int const n = whole(w, "group_size", 32, 1); n != 32) w.at("group_size", at_).reject("got " + std::to_string(n) + ", want 32, as MXFP4 has", at_);
    return {.format = Format::packed, .type = DType::mxfp4, .quant = {.group = 32}};
  }
  Coding packed_integers() const {
    method({"compressed-tensors"}, true);
    Json const w = weights("int", {4, 8});
    std::string const strategy = w.string_or("strategy", "group", at_);
    if (strategy != "group" && strategy != "channel") w.reject("strategy: got " + printable(strategy) + ", want 'group' or 'channel'", at_);
    return {.format = Format::packed, .type = integers(w, "num_bits"),
            .quant = {.group = strategy == "channel" ? 0 : group(w, "group_size", 128), .zero_points = !w.boolean_or("symmetric", true, at_)}};
  }

  // Blocks of a matrix, or one scale for each row, or one for all.
  void plain(ShardedSafetensors const& files, TensorPlace& p, std::int64_t experts, MatrixShape m) {
    method({"fp8", "compressed-tensors"}, false);
    if (!p.scale) files.reject(*p.tensor, " is stored as " + std::string(name(p.tensor->dtype)) + " and has no scales beside it, want weight_scale_inv", at_);
    Coding& c = p.coding;
    if (p.tensor->dtype == Stored::i8 && (p.scale->dtype == Stored::f8_e8m0 || p.scale->dtype == Stored::u8)) {
      c.type = DType::mxfp4, c.quant = {.group = 32};                          // DeepSeek-V4's experts: two e2m1 a byte
      return;
    }
    c.type = p.tensor->dtype == Stored::i8 ? DType::int8 : p.tensor->dtype == Stored::f8_e5m2 ? DType::fp8_e5m2 : DType::fp8_e4m3;
    if (!blocks_) blocks_ = blocks();
    QuantConfig const block = *blocks_;
    std::vector<std::int64_t> shape = p.scale->shape;
    if (experts && !shape.empty()) shape.erase(shape.begin());
    bool const by_block = block.group && shape.size() == 2 && shape[0] == ceil_div(m.outputs, block.group_rows) && shape[1] == ceil_div(m.inputs, block.group);
    if (by_block) c.quant = block;
  }
  QuantConfig blocks() const {
    if (!fields_) return {.group = 128, .group_rows = 128};
    std::optional<Json> size;
    if (method_ == "fp8") {
      size = fields_->find("weight_block_size", at_);
      if (!size) return {.group = 128, .group_rows = 128};
    } else {
      for (Json const some : fields_->at("config_groups", at_))
        if (auto const w = some.find("weights", at_); w && !w->is_null() && !size)
          if (auto const b = w->find("block_structure", at_); b && !b->is_null()) size = *b;
    }
    if (!size || size->is_null()) return {};
    std::vector<std::int64_t> both;
    if (size->kind() == JsonKind::array && size->size() == 2)
      for (Json const n : *size) both.push_back(n.integer(at_));
    if (both.size() != 2 || both[0] < 1 || both[1] < 1 || both[0] > 1 << 20 || both[1] > 1 << 20) size->reject("want two sizes of 1 to 1048576", at_);
    return {.group = static_cast<int>(both[1]), .group_rows = static_cast<int>(both[0])};
  }

  Json whole_;
  std::optional<Json> fields_;
  std::string method_;
  std::optional<Coding> words_, packed_bytes_, packed_words_;
  std::optional<QuantConfig> blocks_;
  bool desc_act_ = false;
  Where at_;
};

}}}

// A model's folder: which family it is, what its layers are as Configs, and which tensor of its files goes where.
#pragma once
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config_text.hpp"
#include "families.hpp"
#include "quantisation.hpp"

namespace coterie { inline namespace v0 {

// One model on disk, as transformers saves it: config.json and safetensors files. Const members may be called by many
// threads at once. Supported families and how to call: docs/checkpoints.md.
class Checkpoint {
 public:
  // Throws Error when a file is missing or wrong, or when the model is of no family known here.
  explicit Checkpoint(std::string const& directory, Where at = Where::here())
      : directory_(directory), json_(Json::read(directory + "/config.json", {}, at)), text_(text_of(json_, at)), files_(directory, at) {
    model_type_ = json_.string_or("model_type", "", at);
    family_ = io::find_family(model_type_);
    std::string const inner = text_.string_or("model_type", "", at);
    if (!family_) family_ = io::find_family(inner);
    if (!family_) json_.reject("model_type: got " + io::printable(model_type_) + ", want one of " + io::family_names(), at);
    first_decoder_ = count(family_->layers, at);
    layers_ = first_decoder_ + (family_->decoder_layers.empty() ? 0 : count(family_->decoder_layers, at));
  }

  std::string const& directory() const { return directory_; }
  std::string const& model_type() const { return model_type_; }
  int layers() const { return layers_; }                                       // dense ones too; a decoder's after the encoder's
  ShardedSafetensors const& files() const { return files_; }
  io::TensorNames const& names(int layer, Where at = Where::here()) const { return *block(layer, at).names; }

  // Whether the files hold a router or experts for this layer.
  bool is_moe(int layer, Where at = Where::here()) const { return find_block(layer, at).has_value(); }

  // The layer as transformers computes it (deviations: docs/checkpoints.md); the types are those of the files.
  Config config(int layer, Where at = Where::here()) const {
    Block const b = block(layer, at);
    io::TensorNames const& n = *b.names;
    TensorInfo const& router = tensor(b, n.router, 0, at);
    io::Fields::Layer const of{.number = layer, .decoder = layer >= first_decoder_, .table = !n.table.empty() && files_.find(full(b, n.table)),
                               .router = float_type(router, at)};
    Config c = family_->config(io::Fields(text_, of, at));
    c.dtype = activations(at);
    c.router.weights = float_type(router, at);
    io::Quantisation quantisation(text_, json_, at);
    TensorPlace const up = expert_matrix(b, c, Part::up, 0, quantisation, at);
    c.weights = up.coding.format == io::Format::numbers ? float_type(*up.tensor, at) : up.coding.type;
    c.quant = up.coding.quant;
    if (c.shared.ffn) c.shared.weights = io::dtype_of(matrix(b, n.shared_up, 0, at).tensor->dtype).value_or(c.dtype);
    return c;
  }

  // What load() reads of this layer, in this order; the tensors exist and have the shapes that the config wants.
  std::vector<TensorPlace> tensors(int layer, Where at = Where::here()) const {
    Block const b = block(layer, at);
    std::vector<TensorPlace> all = places(b, config(layer, at), at);
    refuse_others(b, all, at);
    return all;
  }

  // Throws Error, naming the tensor, its file and its type, unless load() can read every tensor of the layer.
  void check_types(int layer, Where at = Where::here()) const {
    for (TensorPlace const& p : places(block(layer, at), config(layer, at), at)) {
      Stored const type = p.tensor->dtype;
      bool const coded = p.coding.format != io::Format::numbers;
      bool const reads = p.part == Part::table ? type == Stored::i64 || type == Stored::i32 : coded || io::dtype_of(type).has_value();
      if (!reads) io::refuse_type(files_, *p.tensor, at);
    }
  }

 private:
  struct Block {
    std::string at;
    io::TensorNames const* names;
  };

  std::vector<TensorPlace> places(Block const& b, Config const& c, Where at) const {
    io::TensorNames const& n = *b.names;
    std::vector<TensorPlace> all;
    auto const place = [&](Part part, std::string_view pattern, bool wanted, std::vector<std::int64_t> const& shape, int expert = -1) {
      if (!wanted || pattern.empty()) return;
      TensorInfo const& t = tensor(b, pattern, expert, at);
      io::expect_shape(files_, t, shape, at);
      all.push_back({part, expert, &t});
    };
    std::int64_t const E = c.experts, F = c.ffn, H = c.hidden, W = width(c), S = c.shared.ffn, N = logit_columns(c);
    io::Quantisation quantisation(text_, json_, at);
    auto const place_matrix = [&](Part part, std::string_view pattern, bool wanted, io::MatrixShape m) {
      if (!wanted || pattern.empty()) return;
      TensorPlace p = matrix(b, pattern, 0, at);
      quantisation.complete(files_, p, 0, m);
      if (p.coding.format == io::Format::numbers) io::expect_shape(files_, *p.tensor, {m.outputs, m.inputs}, at);
      p.part = part, all.push_back(p);
    };
    place(Part::router, n.router, true, {N, H});
    place(Part::router_bias, n.router_bias, c.router.bias, {N});
    place(Part::select_bias, n.select_bias, c.router.select_bias, {candidates(c)});
    place(Part::expert_scale, n.expert_scale, c.router.expert_scale, {E});
    place(Part::table, n.table, c.router.select == Select::table, {-1, c.top_k});
    place_matrix(Part::shared_gate, n.shared_gate, S, {S, H});
    place_matrix(Part::shared_up, n.shared_up, S, {S, H});
    place_matrix(Part::shared_down, n.shared_down, S, {H, S});
    place(Part::shared_mix, n.shared_mix, S, {1, H});
    place_matrix(Part::latent_down, n.latent_down, c.expert.latent, {W, H});
    place_matrix(Part::latent_up, n.latent_up, c.expert.latent, {H, W});
    if (!n.outside.empty())
      if (TensorInfo const* const t = files_.find(full(b, n.outside))) all.push_back({Part::outside, -1, t});
    place(Part::gate_up_bias, n.gate_up_bias, c.expert.bias, {E, 2 * F});
    bool const one_by_one = n.layout == io::Layout::separate;
    if (!one_by_one) place(Part::down_bias, n.down_bias, c.expert.bias, {E, W});
    for (int i = 0; i < (one_by_one ? c.experts : 1); ++i) {
      int const e = one_by_one ? i : -1;
      for (Part const part : {Part::gate, Part::up, Part::down}) {
        if (part == Part::gate && (!n.gate_up.empty() || !gated(c.expert.act))) continue;
        all.push_back(expert_matrix(b, c, part, e, quantisation, at));
        io::expect_expert_shape(files_, all.back(), n.layout, c, at);
        io::expect_same(files_, all.back(), c, at);
      }
      if (!one_by_one) continue;
      place(Part::gate_bias, n.gate_bias, c.expert.bias, {F}, e);
      place(Part::up_bias, n.up_bias, c.expert.bias, {F}, e);
      place(Part::down_bias, n.down_bias, c.expert.bias, {W}, e);
    }
    return all;
  }
  // A matrix of the experts: gate, up (both, where they are one tensor) or down.
  TensorPlace expert_matrix(Block const& b, Config const& c, Part part, int expert, io::Quantisation& quantisation, Where at) const {
    io::TensorNames const& n = *b.names;
    using io::Layout;
    std::int64_t const E = c.experts, F = c.ffn, W = width(c);
    bool const fused = part != Part::down && !n.gate_up.empty(), one_by_one = n.layout == Layout::separate;
    TensorPlace p = matrix(b, part == Part::down ? n.down : fused ? n.gate_up : part == Part::gate ? n.gate : n.up, expert, at);
    p.part = fused ? Part::gate_up : part, p.expert = expert;
    io::MatrixShape const m = part == Part::down ? io::MatrixShape{W, F} : io::MatrixShape{fused ? 2 * F : F, W};
    if (p.coding.format == io::Format::numbers) return p;
    bool const blocks = p.coding.format == io::Format::blocks, stacked = n.layout == Layout::stacked && p.coding.format == io::Format::plain;
    if (blocks ? n.layout != Layout::interleaved_in_out : !one_by_one && !stacked)
      files_.reject(*p.tensor, ": quantised experts are not supported in the layout of " + io::printable(model_type_), at);
    quantisation.complete(files_, p, one_by_one ? 0 : E, m);
    return p;
  }

  static Json text_of(Json const& whole, Where at) {
    auto const text = whole.find("text_config", at);
    return text && !text->is_null() ? *text : whole;
  }
  int count(std::string_view field, Where at) const {
    auto found = text_.find(field, at);
    if (!found || found->is_null()) found = text_.find("num_hidden_layers", at);
    if (!found || found->is_null()) text_.reject("has no field " + io::printable(field), at);
    std::int64_t const n = found->kind() == JsonKind::array ? found->size() : found->integer(at);
    constexpr std::int64_t most = 1 << 14;                                     // is_moe() is asked of each for some errors
    if (n < 0 || n > most) found->reject("got " + std::to_string(n) + ", want a number of layers", at);
    return static_cast<int>(n);
  }
  // Names beside the block drop its last word: a.b.moe. and ^c make a.b.c.
  std::string full(Block const& b, std::string_view pattern, int expert = 0) const {
    std::string const name = io::with_number(pattern, "{expert}", expert);
    return name.starts_with('^') ? b.at.substr(0, b.at.rfind('.', b.at.size() - 2) + 1) + name.substr(1) : b.at + name;
  }
  static std::string_view matrices(io::TensorNames const& n) { return n.gate_up.empty() ? n.up : n.gate_up; }

  std::optional<Block> find_block(int layer, Where at) const {
    if (layer < 0 || layer >= layers_)
      fail(io::printable(directory_, 4096) + ": layer out of range: got " + std::to_string(layer) + ", want 0 to " + std::to_string(layers_ - 1), at);
    bool const decoder = layer >= first_decoder_;
    std::string const local = io::with_number(decoder ? family_->decoder_block : family_->block, "{layer}", decoder ? layer - first_decoder_ : layer);
    for (char const* model : prefixes)
      for (io::TensorNames const* names : {&family_->names, &family_->other_names}) {
        Block const b{model + local, names};
        if (!names->router.empty() && io::find_matrix(files_, full(b, matrices(*names))).tensor) return b;
      }
    for (char const* model : prefixes)
      if (Block const b{model + local, &family_->names}; files_.find(full(b, family_->names.router))) return b;
    return std::nullopt;
  }
  Block block(int layer, Where at) const {
    auto const found = find_block(layer, at);
    if (!found)
      fail(io::printable(directory_, 4096) + ": layer " + std::to_string(layer) + " is not an MoE layer: it has no router and no experts; " + moe_layers(at), at);
    return *found;
  }
  // "MoE layers: 1 to 3, 5"
  std::string moe_layers(Where at) const {
    std::string out;
    for (int i = 0, runs = 0; i < layers_; ++i) {
      int const first = i;
      while (i < layers_ && find_block(i, at)) ++i;
      if (i == first) continue;
      if (++runs > 20) return out + ", ...";
      out += (out.empty() ? "MoE layers: " : ", ") + std::to_string(first) + (i - 1 > first ? " to " + std::to_string(i - 1) : "");
    }
    return out.empty() ? "no layer of these files is" : out;
  }
  // The tensor of this name. What an unknown quantisation stores in its place is refused by its type.
  TensorInfo const& tensor(Block const& b, std::string_view pattern, int expert, Where at) const {
    std::string const wanted = full(b, pattern, expert);
    if (TensorInfo const* const found = files_.find(wanted)) return *found;
    std::string_view const stem = std::string_view(wanted).substr(0, wanted.size() - (wanted.ends_with(".weight") ? 7 : 0));
    for (TensorInfo const* const t : files_.tensors(stem))
      if (t->name.size() > stem.size() && (t->name[stem.size()] == '.' || t->name[stem.size()] == '_') && !io::dtype_of(t->dtype))
        io::refuse_type(files_, *t, at);
    return files_.at(wanted, at);
  }
  // The same of a matrix, which may be quantised.
  TensorPlace matrix(Block const& b, std::string_view pattern, int expert, Where at) const {
    TensorPlace p = io::find_matrix(files_, full(b, pattern, expert));
    if (!p.tensor) p.tensor = &tensor(b, pattern, expert, at);
    return p;
  }

  DType activations(Where at) const {
    for (Json const& where : {text_, json_})
      for (char const* field : {"dtype", "torch_dtype"}) {
        std::string const got = where.string_or(field, "", at);
        if (got == "float32") return DType::fp32;
        if (got == "float16") return DType::fp16;
        if (got == "bfloat16") return DType::bf16;
        if (!got.empty()) where.at(field, at).reject("got " + io::printable(got) + ", want 'bfloat16', 'float16' or 'float32'", at);
      }
    return DType::bf16;
  }
  DType float_type(TensorInfo const& t, Where at) const {
    auto const type = io::dtype_of(t.dtype);
    if (!type) io::refuse_type(files_, t, at);
    return *type;
  }
  // A tensor of the block that has no place would be left out of the result. Sorted: no number of tensors makes it slow.
  void refuse_others(Block const& b, std::vector<TensorPlace> const& all, Where at) const {
    if (family_->block.ends_with("{layer}.")) return;                          // the block is the whole layer
    std::vector<TensorInfo const*> placed;
    for (TensorPlace const& p : all)
      for (TensorInfo const* const t : {p.tensor, p.scale, p.zero, p.checked}) placed.push_back(t);
    std::sort(placed.begin(), placed.end(), std::less<>{});
    for (TensorInfo const* const t : files_.tensors(b.at)) {
      if (t->name.ends_with(".input_scale") || t->name.ends_with(".activation_scale")) continue;   // of x, which is not quantised here
      if (!std::binary_search(placed.begin(), placed.end(), t, std::less<>{})) files_.reject(*t, " has no place in a layer of " + io::printable(model_type_), at);
    }
  }

  static constexpr std::array prefixes{"model.", "", "language_model.model.", "model.language_model.", "backbone.", "transformer."};   // of a whole model
  std::string directory_, model_type_;
  Json json_, text_;
  ShardedSafetensors files_;
  io::Family const* family_ = nullptr;
  int layers_ = 0, first_decoder_ = 0;
};

}}

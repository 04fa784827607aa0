// What a family of checkpoints is: the names and layout of its tensors, and the meaning of its config.json.
#pragma once
#include <array>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "../config.hpp"
#include "config_text.hpp"
#include "json.hpp"

namespace coterie { inline namespace v0 { namespace io {

// How the experts' matrices stand in the files. E experts, f wide, h: the width they work at.
enum class Layout : int {
  separate,             // gate, up [f,h], down [h,f], each expert its own
  stacked,              // gate, up [E,f,h], down [E,h,f]
  halves,               // gate_up [E,2f,h], gate first; down [E,h,f]
  halves_in_out,        // gate_up [E,h,2f], gate first; down [E,f,h]
  interleaved_in_out,   // gate_up [E,h,2f], gate and up column by column, biases likewise; down [E,f,h]
  flat,                 // gate, up [E*f,h]; down [E*f,h], which is each expert's transposed
};

// Names after the block's; one that begins with '^' stands beside the block. {expert} is the expert's number. Empty:
// the family has none. What is not in the files although it has a name here, and is optional, is not used.
struct TensorNames {
  std::string_view router{}, router_bias{}, select_bias{}, expert_scale{}, table{};
  Layout layout = Layout::separate;
  std::string_view gate{}, up{}, gate_up{}, down{};
  std::string_view gate_bias{}, up_bias{}, gate_up_bias{}, down_bias{};
  std::string_view shared_gate{}, shared_up{}, shared_down{}, shared_mix{};
  std::string_view latent_down{}, latent_up{};
  std::string_view outside{};        // part of the block in the original, applied by the caller
};

// The names of one field: the first is the family's own, the others mean the same.
struct Names {
  std::array<char const*, 3> all{};

  std::string text() const {
    std::string out;
    for (char const* name : all)
      if (name) out += (out.empty() ? "" : " or ") + printable(name);
    return out;
  }
};

// The fields of config.json that a family reads, at one layer. Errors name the file, the field and the caller's place.
class Fields {
 public:
  struct Layer {
    int number = 0;                      // place in an array of values by layer
    bool decoder = false;
    bool table = false;                  // the layer has a table of experts by token id
    DType router = DType::bf16;          // the type its router's weights are stored in
  };
  Fields(Json json, Layer layer, Where at) : json_(std::move(json)), layer_(layer), at_(at) {}

  Layer const& layer() const { return layer_; }

  // A size must be there; what else is left out, or null, means what transformers' config class means by that.
  int size(Names const& names) const {
    if (auto const field = find(names)) return whole(*field);
    json_.reject("has no field " + names.text(), at_);
  }
  int size_or(Names const& names, int fallback) const {
    auto const field = find(names);
    return field ? whole(*field) : fallback;
  }
  float number_or(char const* name, float fallback) const {
    auto const field = find({name});
    if (!field) return fallback;
    double const v = field->number(at_);
    constexpr double most = std::numeric_limits<float>::max();
    if (v > most || v < -most) field->reject("got a number that is no float", at_);
    return static_cast<float>(v);
  }
  bool flag_or(char const* name, bool fallback) const {
    auto const field = find({name});
    return field ? field->boolean(at_) : fallback;
  }
  std::string text_or(char const* name, char const* fallback) const {
    auto const field = find({name});
    return field ? field->string(at_) : fallback;
  }
  bool is_null(char const* name) const {
    auto const field = json_.find(name, at_);
    return field && field->is_null();
  }

  // Refuses a field that changes the layer's meaning in a way the family does not know.
  void only(char const* name, std::initializer_list<std::string_view> allowed) const {
    auto const field = find({name});
    if (!field) return;
    std::string const got = field->string(at_);
    std::string want;
    for (std::string_view one : allowed) {
      if (got == one) return;
      want += (want.empty() ? "" : " or ") + printable(one);
    }
    field->reject("got " + printable(got) + ", want " + want, at_);
  }
  void only_flag(char const* name, bool want) const {
    auto const field = find({name});
    if (field && field->boolean(at_) != want) field->reject(std::string("got ") + (want ? "false" : "true") + ", want " + (want ? "true" : "false"), at_);
  }
  void only_number(char const* name, float want) const {
    if (float const got = number_or(name, want); got != want) reject(name, "got " + text(got, false) + ", want " + text(want, false));
  }
  void only_silu(char const* name = "hidden_act") const { only(name, {"silu", "swish"}); }
  [[noreturn]] void reject(char const* name, std::string const& sentence) const {
    if (auto const field = find({name})) field->reject(sentence, at_);
    json_.reject(printable(name) + ": " + sentence, at_);
  }

  Fields at(char const* name) const { return {json_.at(name, at_), layer_, at_}; }
  // The fields of an object that may be left out.
  std::optional<Fields> part(char const* name) const {
    auto const field = json_.find(name, at_);
    return field && !field->is_null() ? std::optional<Fields>({*field, layer_, at_}) : std::nullopt;
  }

 private:
  std::optional<Json> find(Names const& names) const {
    for (char const* name : names.all) {
      if (!name) break;
      auto const field = json_.find(name, at_);
      if (!field || field->is_null()) continue;
      if (field->kind() != JsonKind::array) return field;
      int i = 0;
      for (Json const one : *field)
        if (i++ == layer_.number) return one.is_null() ? std::nullopt : std::optional<Json>(one);
      field->reject("got " + std::to_string(i) + " values, want more than layer " + std::to_string(layer_.number), at_);
    }
    return std::nullopt;
  }
  int whole(Json const& field) const {
    std::int64_t const n = field.integer(at_);
    if (n < 0 || n > largest) field.reject("got " + std::to_string(n) + ", want a size of 0 to " + std::to_string(largest), at_);
    return static_cast<int>(n);
  }

  static constexpr std::int64_t largest = 1 << 20;   // sums of sizes stay far from the end of an int
  Json json_;
  Layer layer_;
  Where at_;
};

struct Family {
  std::array<std::string_view, 5> types{};         // values of model_type
  std::string_view block{}, decoder_block{};       // where a layer's MoE block stands, after the model's own prefix; {layer}
  std::string_view layers = "num_hidden_layers", decoder_layers{};
  TensorNames names{}, other_names{};              // the second where a family is stored in two ways
  Config (*config)(Fields const&) = nullptr;       // all but the types
};

// The fields of a family's sizes; what is not set is as in Mixtral.
struct SizeFields {
  Names experts{"num_local_experts", "num_experts"}, top_k{"num_experts_per_tok"}, hidden{"hidden_size"}, ffn{"intermediate_size"};
};
inline Config sizes(Fields const& f, SizeFields const& of = {}) {
  return {.experts = f.size(of.experts), .top_k = f.size(of.top_k), .hidden = f.size(of.hidden), .ffn = f.size(of.ffn)};
}
inline constexpr Names moe_width{"moe_intermediate_size"};              // intermediate_size is then that of dense layers
inline constexpr SizeFields deepseek_sizes{.experts = {"n_routed_experts", "num_local_experts"}, .ffn = moe_width};
inline constexpr SizeFields qwen_sizes{.experts = {"num_experts", "num_local_experts"}, .ffn = moe_width};

// Several shared experts in one: as wide as all of them. `count` is the field that counts them.
inline Config share(Fields const& f, Config c, Names const& count, int standard) {
  int const n = f.size_or(count, standard);
  std::int64_t const wide = std::int64_t{n} * c.ffn;
  if (wide > std::numeric_limits<int>::max()) f.reject(count.all[0], "shared experts: got " + std::to_string(wide) + " columns, want fewer than 2^31");
  c.shared.count = n, c.shared.ffn = static_cast<int>(wide);
  return c;
}
// A router that multiplies in the type its weights are stored in, then goes to fp32.
inline Precision as_stored(Fields const& f) { return f.layer().router == DType::fp32 ? Precision::fp32 : Precision::matmul_then_fp32; }

// Names that many families share.
constexpr TensorNames per_expert(std::string_view gate, std::string_view up, std::string_view down) {
  return {.router = "gate.weight", .gate = gate, .up = up, .down = down};
}
inline constexpr TensorNames w1_w3_w2 = per_expert("experts.{expert}.w1.weight", "experts.{expert}.w3.weight", "experts.{expert}.w2.weight");
inline constexpr TensorNames projections =
    per_expert("experts.{expert}.gate_proj.weight", "experts.{expert}.up_proj.weight", "experts.{expert}.down_proj.weight");
constexpr TensorNames with_shared(TensorNames n, std::string_view gate, std::string_view up, std::string_view down) {
  n.shared_gate = gate, n.shared_up = up, n.shared_down = down;
  return n;
}
inline constexpr TensorNames with_shared_experts =
    with_shared(projections, "shared_experts.gate_proj.weight", "shared_experts.up_proj.weight", "shared_experts.down_proj.weight");
inline constexpr TensorNames with_shared_expert =
    with_shared(projections, "shared_expert.gate_proj.weight", "shared_expert.up_proj.weight", "shared_expert.down_proj.weight");
template <class Change> constexpr TensorNames changed(TensorNames n, Change const& change) {
  change(n);
  return n;
}

}}}

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

// The fields of config.json that a family reads, at one layer. Errors name the file and the field.
class Fields {
 public:
  // `table`: the layer has a table of experts by token id; `router`: the type its router's weights are stored in.
  Fields(Json json, int layer, bool table, DType router) : json_(std::move(json)), layer_(layer), table_(table), router_(router) {}

  bool has_table() const { return table_; }
  DType router_weights() const { return router_; }

  // The first of these fields that there is; of an array the layer's value.
  int size(std::initializer_list<char const*> names) const {
    if (auto const field = find(names)) return whole(*field);
    json_.reject("has no field " + printable(*names.begin()));
  }
  int size_or(std::initializer_list<char const*> names, int fallback) const {
    auto const field = find(names);
    return field ? whole(*field) : fallback;
  }
  float number_or(std::initializer_list<char const*> names, float fallback) const {
    auto const field = find(names);
    if (!field) return fallback;
    double const v = field->number();
    constexpr double most = std::numeric_limits<float>::max();
    if (v > most || v < -most) field->reject("got a number that is no float");
    return static_cast<float>(v);
  }
  bool flag_or(char const* name, bool fallback) const { return json_.boolean_or(name, fallback); }
  std::string text_or(char const* name, char const* fallback) const { return json_.string_or(name, fallback); }

  // Refuses a field that changes the layer's meaning in a way the family does not know.
  void only(char const* name, std::initializer_list<std::string_view> allowed) const {
    auto const field = find({name});
    if (!field) return;
    std::string const got = field->string();
    std::string want;
    for (std::string_view one : allowed) {
      if (got == one) return;
      want += (want.empty() ? "" : " or ") + printable(one);
    }
    field->reject("got " + printable(got) + ", want " + want);
  }
  void only_flag(char const* name, bool want) const {
    auto const field = find({name});
    if (field && field->boolean() != want) field->reject(std::string("got ") + (want ? "false" : "true") + ", want " + (want ? "true" : "false"));
  }
  void only_silu() const { only("hidden_act", {"silu", "swish"}), only("hidden_activation", {"silu", "swish"}); }
  Fields at(char const* name) const { return {json_.at(name), layer_, table_, router_}; }
  Json const& json() const { return json_; }

 private:
  std::optional<Json> find(std::initializer_list<char const*> names) const {
    for (char const* name : names)
      if (auto const field = json_.find(name); field && !field->is_null()) {
        if (field->kind() != JsonKind::array) return field;
        int i = 0;
        for (Json const one : *field)
          if (i++ == layer_) return one.is_null() ? std::nullopt : std::optional<Json>(one);
        field->reject("got " + std::to_string(i) + " values, want more than layer " + std::to_string(layer_));
      }
    return std::nullopt;
  }
  static int whole(Json const& field) {
    std::int64_t const n = field.integer();
    if (n < 0 || n > largest) field.reject("got " + std::to_string(n) + ", want a size of 0 to " + std::to_string(largest));
    return static_cast<int>(n);
  }

  static constexpr std::int64_t largest = 1 << 20;   // sums of sizes stay far from the end of an int
  Json json_;
  int layer_;
  bool table_;
  DType router_;
};

struct Family {
  std::array<std::string_view, 5> types{};         // values of model_type
  std::string_view block{}, decoder_block{};       // where a layer's MoE block stands, after the model's own prefix; {layer}
  std::string_view layers = "num_hidden_layers", decoder_layers{};
  TensorNames names{}, other_names{};              // the second where a family is stored in two ways
  Config (*config)(Fields const&) = nullptr;       // all but the types
};

// What all families have in common.
inline Config sizes(Fields const& f, std::initializer_list<char const*> ffn = {"moe_intermediate_size", "intermediate_size"}) {
  return {.experts = f.size({"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}),
          .top_k = f.size({"num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts", "moe_top_k"}),
          .hidden = f.size({"hidden_size", "d_model"}),
          .ffn = f.size(ffn)};
}
// Several shared experts in one: as wide as all of them.
inline void share(Fields const& f, Config& c, int count, int each) {
  std::int64_t const wide = std::int64_t{count} * each;
  if (wide > std::numeric_limits<int>::max()) f.json().reject("shared experts: got " + std::to_string(wide) + " columns, want fewer than 2^31");
  c.shared.count = count, c.shared.ffn = static_cast<int>(wide);
}
// A router that multiplies in the type its weights are stored in, then goes to fp32.
inline Precision as_stored(Fields const& f) { return f.router_weights() == DType::fp32 ? Precision::fp32 : Precision::matmul_then_fp32; }

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

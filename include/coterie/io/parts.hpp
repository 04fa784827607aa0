// Where each tensor of a family's layer goes, and what is said of one that cannot be read.
#pragma once
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../dtype.hpp"
#include "safetensors.hpp"

namespace coterie { inline namespace v0 {

// A tensor's place in a layer. The matrices of experts: Layout of its family.
enum class Part : int { router, router_bias, select_bias, expert_scale, table, gate, up, gate_up, down, gate_bias, up_bias, gate_up_bias, down_bias,
                        shared_gate, shared_up, shared_down, shared_mix, latent_down, latent_up, outside };
constexpr std::string_view name(Part p) {
  constexpr std::array<std::string_view, 20> names{"router", "router_bias", "select_bias", "expert_scale", "table", "gate", "up", "gate_up", "down", "gate_bias",
                                                   "up_bias", "gate_up_bias", "down_bias", "shared_gate", "shared_up", "shared_down", "shared_mix",
                                                   "latent_down", "latent_up", "outside"};
  return names[static_cast<std::size_t>(p)];
}
struct TensorPlace {
  Part part = Part::router;
  int expert = -1;                       // -1: not of one expert
  TensorInfo const* tensor = nullptr;    // name, type and shape; valid as long as the Checkpoint
};

namespace io {

// The float types that weights are computed with.
constexpr std::optional<DType> dtype_of(Stored s) {
  switch (s) {
    case Stored::f32: return DType::fp32;
    case Stored::bf16: return DType::bf16;
    case Stored::f16: return DType::fp16;
    default: return std::nullopt;
  }
}
inline std::string shape_text(std::vector<std::int64_t> const& shape) {
  std::string out = "[";
  for (std::int64_t d : shape) out += (out.size() > 1 ? "," : "") + std::to_string(d);
  return out + "]";
}
inline std::string with_number(std::string_view pattern, std::string_view word, int number) {
  std::string out(pattern);
  if (auto const place = out.find(word); place != out.npos) out.replace(place, word.size(), std::to_string(number));
  return out;
}
// Quantised experts are stored in types that nothing here computes with yet.
[[noreturn]] inline void refuse_type(ShardedSafetensors const& files, TensorInfo const& t, Where at) {
  std::string const type = t.name.ends_with("_blocks") ? "MXFP4 blocks" : std::string(name(t.dtype));
  files.reject(t, " is stored as " + type + ", which is not supported yet", at);
}

}

}}

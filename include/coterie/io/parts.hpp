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
namespace io {

// How a matrix stands in the files.
enum class Format : int {
  numbers,      // one of the float types
  blocks,       // gpt-oss: X_blocks [.., out, in/32, 16], two e2m1 a byte; X_scales [.., out, in/32]
  plain,        // the codes in the matrix's own place [.., out, in], and beside it X_scale_inv, X_scale or .scale
  gptq,         // qweight [in * bits / 32, out], qzeros [groups, out * bits / 32], scales [groups, out], g_idx [in]
  awq,          // qweight [in, out/8], qzeros [groups, out/8], scales [groups, out]
  packed,       // compressed-tensors: weight_packed [out, words], weight_scale [out, groups], weight_zero_point, weight_shape
};
struct Coding {
  Format format = Format::numbers;
  DType type = DType::bf16;              // of the codes
  QuantConfig quant{};
  int zeros_less_one = 0;                // flag: GPTQ's first format stores a zero point of 8 as 7
};

}

struct TensorPlace {
  Part part = Part::router;
  int expert = -1;                       // -1: not of one expert
  TensorInfo const* tensor = nullptr;    // name, type and shape; valid as long as the Checkpoint
  // Beside the codes of a quantised matrix; null: none. `checked` is read and compared (GPTQ's g_idx, weight_shape).
  TensorInfo const *scale = nullptr, *zero = nullptr, *checked = nullptr;
  io::Coding coding{};

  std::uint64_t bytes() const {
    std::uint64_t all = 0;
    for (TensorInfo const* t : {tensor, scale, zero, checked}) all += t ? t->bytes() : 0;
    return all;
  }
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
  for (std::int64_t d : shape) (out.size() > 1 ? out += "," : out) += std::to_string(d);
  return out + "]";
}
inline std::string with_number(std::string_view pattern, std::string_view word, int number) {
  std::string out(pattern);
  if (auto const place = out.find(word); place != out.npos) out.replace(place, word.size(), std::to_string(number));
  return out;
}
// What is neither numbers nor of a quantised format that is known here.
[[noreturn]] inline void refuse_type(ShardedSafetensors const& files, TensorInfo const& t, Where at) {
  files.reject(t, " is stored as " + std::string(name(t.dtype)) + ", which is not supported yet", at);
}

}

}}

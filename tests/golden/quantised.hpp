// Experts quantised by the formats' own implementations: every number as theirs reads it, and the layer's output.
#pragma once
#include "golden.hpp"

namespace golden {

inline constexpr Config deepseek_v3{.experts = 4, .top_k = 2, .hidden = 128, .ffn = 64, .router = presets::balanced_by_bias(2.5f), .shared = {.ffn = 64}};
inline constexpr Config qwen3_moe{.experts = 4, .top_k = 2, .hidden = 96, .ffn = 32, .router = presets::qwen3_30b_a3b.router};
constexpr Config quantised(Config c, DType weights, QuantConfig quant) {
  c.weights = weights, c.quant = quant;
  return c;
}
constexpr Config sized(Config c, int hidden, int ffn) {
  c.hidden = hidden, c.ffn = ffn;
  return c;
}
constexpr Config in_fp32(Config c) {
  c.dtype = c.shared.weights = DType::fp32;
  return c;
}

// Read into a layer of floats.
template <Config C> void same_numbers(std::string const& name) {
  using T = element_t<C.weights>;
  CAPTURE(name);
  Host const on{.threads = 1};
  Checkpoint const checkpoint{folder(name)};
  auto const packed = load<C>(on, checkpoint, moe_layer(checkpoint));
  std::vector<T> gate(static_cast<std::size_t>(C.ffn * C.hidden)), up(gate.size()), down(gate.size());
  for (int e = 0; e < C.experts; ++e) {
    unpack_expert<C>(on, packed.view(), e, {gate.data()}, {up.data()}, {down.data()});
    auto const check = [&](Part part, std::vector<T> const& got) {
      std::vector<float> const want = read_by_original(name, part, e);
      REQUIRE(got.size() == want.size());
      std::int64_t wrong = 0;
      for (std::size_t i = 0; i < want.size(); ++i) wrong += to_float(got[i]) != rounded<T>(want[i]);
      CHECK_MESSAGE(wrong == 0, "expert ", e, " matrix ", static_cast<int>(part), " of ", want.size());
    };
    check(Part::gate, gate), check(Part::up, up), check(Part::down, down);
  }
}

template <Config C> void in_bf16(std::string const& name) { compare(name, "record.safetensors", "bf16", computed<C>()); }
// As it is stored, and in a layer of floats.
template <Config C> void format(std::string const& name) {
  same_meaning(name, C);
  compare(name, "record.safetensors", "fp32", computed<in_fp32(C)>());
  same_numbers<quantised(C, DType::fp32, {})>(name);
  same_numbers<quantised(C, DType::bf16, {})>(name);
}

}

// Layers of published models, every flag as it is, with sizes that an emulator runs; and what a layer has that none of them has.
#pragma once
#include <cases.hpp>

namespace layers {

namespace ct = coterie;

constexpr ct::Config small(ct::Config c, int experts, int top_k, int hidden, int ffn, int shared = 0) {
  c.experts = experts, c.top_k = top_k, c.hidden = hidden, c.ffn = ffn;
  if (c.shared.ffn) c.shared.ffn = shared;
  c.weights = c.dtype, c.quant = {};             // gpt-oss ships mxfp4, which the GPU does not compute with yet
  return c;
}
inline constexpr ct::Config mixtral = small(ct::presets::mixtral_8x7b, 8, 2, 64, 96);
inline constexpr ct::Config qwen3 = small(ct::presets::qwen3_30b_a3b, 12, 5, 40, 24);
inline constexpr ct::Config deepseek_v3 = small(ct::presets::deepseek_v3, 16, 6, 64, 16, 24);          // 8 groups of 2, of which 4 stay
inline constexpr ct::Config gpt_oss = small(ct::presets::gpt_oss_20b, 8, 4, 72, 56);
inline constexpr ct::Config llama4 = small(ct::presets::llama4_scout, 6, 1, 48, 64, 40);
inline constexpr ct::Config invariant = [] {
  ct::Config c = small(ct::presets::qwen3_next_80b_a3b, 6, 3, 64, 40, 16);
  c.batch_invariant = 1;
  return c;
}();

template <class Visit> void visit(Visit const& to) {
  to.template operator()<mixtral>("mixtral");
  to.template operator()<qwen3>("qwen3");
  to.template operator()<deepseek_v3>("deepseek_v3");
  to.template operator()<gpt_oss>("gpt_oss");
  to.template operator()<llama4>("llama4");
  to.template operator()<invariant>("invariant");
}

}

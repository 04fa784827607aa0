// DeepSeek-V3: many small experts beside a shared one, groups of experts, sigmoid scores, a bias that only selects.
// opcodes sm_90a decode_hidden_kernel decode_out_kernel swapped_product_kernel: ACQBULK PREEXIT
#include "layer.hpp"

auto* use_shared = &use_layer<ct::presets::deepseek_v3>;

// Qwen3-Next's kernels for few tokens: 512 experts, a gate on the shared one.
template <ct::Config C> void use_decode(ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda> packed, ct::Routing<C> const& routing, ct::Batch<C> const& batch, ct::Rows<ct::element_t<C.dtype>, C.hidden> y, std::span<std::byte> scratch) {
  ct::Decode<C, ct::Cuda> const decode;
  decode.hidden(ct::Cuda{}, in, packed, routing, batch, scratch, ct::Where::here());
  decode.out(ct::Cuda{}, in, packed, routing, y, y, scratch, ct::Where::here());
}
auto* use_gate = &use_decode<ct::presets::qwen3_next_80b_a3b>;

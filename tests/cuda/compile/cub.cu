// Dispatch by CUB: dropless, with capacity, and with more experts than the counting sort can count.
// opcodes sm_90a pair_keys_kernel: ACQBULK PREEXIT
#include <coterie/presets.hpp>
#include <coterie/dispatch/cub.cuh>

namespace ct = coterie;
namespace {
template <ct::Config C> void use(ct::Inputs<C> const& in, ct::Routing<C> const& routing, ct::Batch<C> const& batch, std::span<std::byte> scratch) {
  ct::CubDispatch<C>{}(ct::Cuda{}, in, routing, batch, scratch);
}
constexpr ct::Config capacity{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 8,
                              .capacity = {.rounding = ct::Rounding::megablocks, .order = ct::Order::probability, .normalise = ct::When::after}};
constexpr ct::Config many{.experts = 70000, .top_k = 2, .hidden = 8, .ffn = 8};
}
auto* use_mixtral = &use<ct::presets::mixtral_8x7b>;
auto* use_capacity = &use<capacity>;
auto* use_many = &use<many>;

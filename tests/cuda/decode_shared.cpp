// Few tokens beside shared experts, however they are weighed. The stages' bits, and the definition's numbers.
#include "decode_case.hpp"

namespace decodes {
namespace {
// The router weighs the shared experts; rounded at every step; a second choice that may be dropped.
constexpr Config inkling{.experts = 33, .top_k = 2, .hidden = 88, .ffn = 20,
                         .router = {.precision = Precision::model, .score = Score::sigmoid, .epsilon = 1e-9f, .round_weight = 1, .noise = Noise::random_second, .noise_size = 0.5f},
                         .shared = {.ffn = 24, .count = 2, .mix = SharedMix::router_rows}, .combine = Accumulate::model};
constexpr Config qwen3_next = small(presets::qwen3_next_80b_a3b, 10, 3, 40, 32, 16);             // a gate on the shared experts
constexpr Config klear = small(presets::klear_46b_a2_5b, 10, 4, 264, 8, 16);                      // two learned coefficients
static_assert(Decode<inkling, Cuda>::suits && Decode<qwen3_next, Cuda>::suits && Decode<klear, Cuda>::suits);
}

TEST_CASE("decode: a learned mix with the shared experts") {
  all<qwen3_next>();
  all<klear>();
}
TEST_CASE("decode: the router weighs shared experts, rounded at every step") { all<inkling>(); }

}

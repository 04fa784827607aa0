// The router on CUDA, a warp per token: given equal logits, the host's experts and weights, equal in every bit, whoever runs first.
#include "router_case.hpp"

namespace {
using namespace coterie;
using namespace cuda_tests;

constexpr RouterConfig v3{.score = Score::sigmoid, .select_bias = 1, .epsilon = 1e-20f, .scale = 2.5f};
constexpr RouterConfig low{.score = Score::sigmoid, .select_bias = 1, .normalise = Normalise::none};
constexpr CapacityConfig after{.rounding = Rounding::mesh, .normalise = When::after};
constexpr Config gumbel = of(60, 4, {.noise = Noise::gumbel, .noise_size = 1}), second = of(16, 2, {.epsilon = 1e-9f, .noise = Noise::random_second, .noise_size = 0.5f});
template <Config C> constexpr bool warps = Router<C, Cuda>::by_warp;
}

TEST_SUITE("cuda router") {
  TEST_CASE("any number of experts and choices, ties to the lower index") {
    all(On<of(1, 1, {})>{});
    all(On<of(5, 5, {})>{});
    all(On<of(8, 2, {})>{});
    all(On<of(32, 32, {})>{});
    all(On<of(60, 4, {.normalise = Normalise::none})>{});
    all(On<of(128, 8, {})>{});
    all(On<of(512, 10, {.score = Score::sqrt_softplus, .select_bias = 1, .epsilon = 1e-20f, .scale = 1.5f})>{});
    all(On<of(1000, 32, {.score = Score::sigmoid})>{});
    all(On<of(1024, 8, {})>{});
    static_assert(warps<of(1024, 8, {})> && warps<of(1000, 32, {.score = Score::sigmoid})> && warps<of(1, 1, {})>);
  }
  TEST_CASE("groups") {
    all(On<of(256, 8, groups(v3, 8, 4, GroupScore::top2_sum, Fill::minus_infinity))>{});
    all(On<of(160, 6, groups({.normalise = Normalise::none, .scale = 16}, 8, 3, GroupScore::max, Fill::zero))>{});
    all(On<of(12, 4, groups(low, 4, 2, GroupScore::top2_sum, Fill::zero))>{});
    all(On<of(33, 3, groups({.soft_cap = 3, .score = Score::identity, .post = Post::softmax}, 11, 5, GroupScore::top2_sum, Fill::minus_infinity))>{});
    all(On<of(32, 5, groups({.score = Score::sqrt_softplus}, 32, 7, GroupScore::max, Fill::zero))>{});
    all(On<of(8, 2, groups({}, 1, 1, GroupScore::max, Fill::zero))>{});
    all(On<in_bf16(of(64, 6, groups({.score = Score::sigmoid, .select_bias = 1, .scale = 2.5f}, 8, 3, GroupScore::top2_sum, Fill::minus_infinity)))>{});
  }
  TEST_CASE("after the selection, biases, caps, scales") {
    all(On<of(32, 4, {.bias = 1, .score = Score::identity, .post = Post::softmax, .normalise = Normalise::none})>{});
    all(On<of(16, 1, {.score = Score::identity, .post = Post::sigmoid, .normalise = Normalise::none, .place = Place::input})>{});
    all(On<of(40, 8, {.bias = 1, .soft_cap = 2, .score = Score::sigmoid, .select_bias = 1, .normalise = Normalise::sum_clamp, .epsilon = 0.5f})>{});
    all(On<of(24, 5, {.expert_scale = 1})>{});
    all(On<of(8, 3, {.epsilon = 0.25f, .scale = 2.5f, .scale_on = ScaleOn::routed_sum})>{});
    all(On<in_bf16(of(60, 4, {.soft_cap = 30, .score = Score::identity, .post = Post::softmax}))>{});
    all(On<in_bf16(of(8, 2, {.score = Score::sqrt_softplus, .select_bias = 1, .normalise = Normalise::sum_clamp, .expert_scale = 1}))>{});
  }
  TEST_CASE("null experts, gates of shared experts, weights that dispatch will normalise") {
    all(On<with_null(of(6, 4, {.select_bias = 1, .normalise = Normalise::none, .scale = 6, .expert_scale = 1}), 2, 1)>{});
    all(On<with_shared(of(6, 2, {.score = Score::sigmoid, .select_bias = 1, .scale = 8}), 2)>{});
    all(On<with_shared(of(64, 6, {.soft_cap = 4, .score = Score::sigmoid, .normalise = Normalise::sum_clamp, .epsilon = 1}), 32)>{});
    all(On<with_capacity(of(8, 2, {.epsilon = 1e-9f, .scale = 3}), after)>{});
  }
  TEST_CASE("noise of the caller's seed") {
    for (std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3} << 32 | 7}) {
      all(On<gumbel>{}, {.seed = seed});
      all(On<second>{}, {.seed = seed});
    }
    all(On<of(128, 8, groups({.score = Score::sigmoid, .noise = Noise::gumbel, .noise_size = 0.5f}, 4, 2, GroupScore::max, Fill::minus_infinity))>{}, {.seed = 5});
  }

  // --- What holds the kernels together, and what they are given. ---
  TEST_CASE("without any of its synchronisations it is noticed") {
    if (!simt::checked()) return;
    Same<of(60, 4, {.normalise = Normalise::none})> const copied({.tokens = 64}), alone({.tokens = 64, .logits = 0});
    auto const both = [&] {
      std::string const first = copied(), second = alone();
      return first + second;
    };
    for (std::string const& name : simt::unnoticed(18, both)) CHECK_MESSAGE(false, name << " can be left out, and nobody notices");
#if defined(COTERIE_SIMT)
    simt::clear_syncs();
    CHECK(both() == "");
    CHECK(simt::syncs().size() == 2);
#endif
  }
  TEST_CASE("memory accesses: whole sectors, also of the logits on their way in and out") {
    if (simt::checked()) CHECK(simt::wasteful_lines(Same<of(128, 8, {})>({.tokens = 64})).empty());
  }
  TEST_CASE("a failing call of the runtime throws and leaves nothing behind") { CHECK(simt::survives_failing_calls(Same<of(60, 4, {.normalise = Normalise::none})>({.tokens = 64})) == ""); }
}

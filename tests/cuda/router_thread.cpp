// The router on CUDA where no warp takes a token on: tables, the sparse mixer, expert choice, a caller's routing, and what is too wide.
// Given equal logits, the host's experts and weights, equal in every bit.
#include <algorithm>
#include <array>
#include <utility>
#include "router_case.hpp"

namespace {
using namespace coterie;
using namespace cuda_tests;

constexpr RouterConfig table{.score = Score::sqrt_softplus, .select = Select::table, .epsilon = 1e-20f, .scale = 1.5f};
constexpr RouterConfig mixer{.score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none, .noise_size = 0.01f};
constexpr RouterConfig choice{.select = Select::expert_choice, .normalise = Normalise::none};
constexpr Config chosen = of(8, 2, choice), hash = of(8, 2, table), given = of(8, 2, {.input = RouterInput::given});
constexpr Config ids_only = of(8, 2, {.input = RouterInput::token_ids, .select = Select::table, .expert_scale = 1});

// Groups of tokens that end within them, at them, and behind them.
template <Config C> void in_groups(On<C> on) {
  for (auto const& [tokens, sequence] : {std::pair{0, 0}, {1, 1}, {1, 7}, {7, 0}, {7, 1}, {33, 7}, {64, 0}, {64, 32}, {64, 1000}, {257, 0}, {257, 100}})
    check(on, {.tokens = tokens, .sequence = sequence, .gap = tokens % 3}, 3);
  for (Like like : {Like::ties, Like::equal, Like::broken, Like::huge}) check(on, {.tokens = 33, .like = like, .sequence = 20}, 3);
}
template <Config C> void strange_ids(On<C>) {
  // The host refuses them; here no data stops a kernel.
  Same<C> unknown({.tokens = 64}), wild({.tokens = 64, .replay = 1});
  for (std::size_t t = 0; t < 64; t += 3) {
    unknown.k.token_ids[t] = std::array{-1, 11, INT32_MAX, INT32_MIN}[t % 4];
    wild.k.given[2 * t + t % 2] = std::array{-2, 8, INT32_MAX, INT32_MIN}[t % 4];
  }
  RouterCase<C> none = unknown.k, tame = wild.k;
  none.asked.replay = 1;
  for (std::size_t t = 0; t < 64; ++t) {
    bool const known = none.token_ids[t] >= 0 && none.token_ids[t] < none.vocabulary;
    for (std::size_t s = 0; s < 2; ++s) none.given[2 * t + s] = known ? none.table[static_cast<std::size_t>(none.token_ids[t]) * 2 + s] : -1;
  }
  for (std::int32_t& e : tame.given) e = e < -1 || e >= 8 ? -1 : e;
  unknown.want = by_host(none), wild.want = by_host(tame);
  CHECK(std::ranges::count(unknown.want.expert, -1) > 20);
  CHECK(simt::survives(18, unknown) == "");
  CHECK(simt::survives(18, wild) == "");
}
}

TEST_SUITE("cuda router") {
  TEST_CASE("more experts, choices or groups than a warp has lanes for") {
    all(On<of(1025, 8, {})>{});
    all(On<of(40, 40, {})>{});
    all(On<of(33, 33, {.soft_cap = 5, .score = Score::identity, .post = Post::softmax, .normalise = Normalise::none})>{});
    all(On<of(68, 3, groups({.score = Score::sigmoid, .select_bias = 1}, 34, 5, GroupScore::top2_sum, Fill::zero))>{});
    all(On<in_bf16(of(1100, 4, groups({.score = Score::sigmoid, .select_bias = 1, .normalise = Normalise::sum_clamp, .expert_scale = 1}, 50, 20, GroupScore::max, Fill::minus_infinity)))>{});
    all(On<with_shared(of(8, 3, {.score = Score::sigmoid}), 33)>{});
    all(On<with_null(of(1025, 2, {.noise = Noise::gumbel, .noise_size = 1}), 1, 1)>{}, {.seed = 9});
  }
  TEST_CASE("tables: by token id, or the caller's ids, of which some are none") {
    all(On<hash>{});
    all(On<hash>{}, {.replay = 1});
    all(On<ids_only>{});
    all(On<ids_only>{}, {.replay = 1});
    all(On<of(8, 3, {.score = Score::identity, .select = Select::table, .post = Post::softmax, .normalise = Normalise::none})>{}, {.replay = 1});
    all(On<with_null(in_bf16(of(60, 6, {.score = Score::identity, .select = Select::table, .post = Post::sigmoid, .expert_scale = 1})), 2, 2)>{}, {.replay = 1});
    all(On<of(8, 2, {.select = Select::table, .noise = Noise::random_second, .noise_size = 0.5f})>{}, {.seed = 4, .replay = 1});
  }
  TEST_CASE("tables: an id that is none of the table's, or no expert, selects nobody") { strange_ids(On<hash>{}); }
  TEST_CASE("the sparse mixer") {
    all(On<of(16, 2, mixer)>{});
    all(On<of(2, 2, mixer)>{});
    all(On<in_bf16(with_null(of(8, 2, mixer), 1, 2))>{});
  }
  TEST_CASE("expert choice, with groups and capacities") {
    in_groups(On<chosen>{});
    check(On<chosen>{}, {.tokens = 257, .like = Like::ties, .sequence = 100}, 18);
    in_groups(On<of(13, 4, {.score = Score::sigmoid, .select = Select::expert_choice, .normalise = Normalise::none, .scale = 2.5f})>{});
    in_groups(On<with_capacity(of(1, 1, choice), {.rounding = Rounding::megablocks, .factor = 0.5f})>{});
    in_groups(On<in_bf16(with_capacity(of(5, 2, choice), {.rounding = Rounding::nllb, .factor = 1}))>{});
    check(On<with_capacity(of(60, 1, choice), {.rounding = Rounding::flaxformer, .factor = 0.5f, .minimum = 2})>{}, {.tokens = 64, .sequence = 40}, 3);
  }
  TEST_CASE("expert choice of more experts than the second dimension of a grid has blocks") { check(On<of(65540, 1, choice)>{}, {.tokens = 1, .logits = 0}, 1); }
  TEST_CASE("a caller's routing, bit for bit") {
    all(On<given>{});
    all(On<of(40, 2, {.input = RouterInput::given, .select = Select::expert_choice, .normalise = Normalise::none})>{});
  }

  TEST_CASE("without any of their synchronisations it is noticed") {
    if (!simt::checked()) return;
    Same<hash> const by_table({.tokens = 64}), alone({.tokens = 64, .logits = 0});
    Same<ids_only> const ids({.tokens = 64});
    Same<chosen> const choose({.tokens = 257});
    Same<given> const callers({.tokens = 64});
    auto const any = [&] {
      std::string said = by_table();
      return said += alone(), said += ids(), said += choose(), said += callers();
    };
    for (std::string const& name : simt::unnoticed(18, any)) CHECK_MESSAGE(false, name << " can be left out, and nobody notices");
#if defined(COTERIE_SIMT)
    simt::clear_syncs();
    CHECK(any() == "");
    CHECK(simt::syncs().size() == 6);
#endif
  }
#if defined(COTERIE_SIMT)
  TEST_CASE("each kernel lets the next one begin beside it") {
    CHECK(overlapping(On<hash>{}, {.tokens = 64}) == "");
    CHECK(overlapping(On<chosen>{}, {.tokens = 64, .sequence = 20, .logits = 0}) == "");
    CHECK(overlapping(On<given>{}, {.tokens = 64}) == "");
  }
#endif
  TEST_CASE("a failing call of the runtime throws and leaves nothing behind") {
    CHECK(simt::survives_failing_calls(Same<hash>({.tokens = 64})) == "");
    CHECK(simt::survives_failing_calls(Same<chosen>({.tokens = 64})) == "");
    CHECK(simt::survives_failing_calls(Same<given>({.tokens = 64})) == "");
  }
}

// Dispatch: the maps it makes of a routing, and who loses a place when experts are full, against the definition's assign().
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Ids = std::vector<std::int32_t>;
using Floats = std::vector<float>;

constexpr Config of(int experts, int top_k, CapacityConfig capacity = {}, RouterConfig router = {}) {
  return {.experts = experts, .top_k = top_k, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32, .router = router, .capacity = capacity};
}
constexpr Config with_null(Config c, int identity, int skip) {
  c.expert.identity = identity, c.expert.skip = skip;
  return c;
}

struct Result {
  Ids begin, token, slot;
  Floats row_weight, weight;                     // weight: the routing's, which dispatch may rewrite
  bool operator==(Result const&) const = default;
};
struct Given {
  std::int64_t sequence = 0;
  std::uint64_t seed = 0;
};
template <Config C> Result run_dispatch(Ids expert, Floats weight, Given given = {}) {
  constexpr int S = slots(C);
  auto const n = static_cast<std::int64_t>(expert.size()) / S;
  Result r{Ids(C.experts + 1, -9), Ids(expert.size(), -9), Ids(expert.size(), -9), Floats(expert.size(), -9), weight};
  Host const on{.threads = 1};
  Dispatch<C, Host> const dispatch;
  cases::Guarded scratch{n ? dispatch.workspace_bytes(on, n) : 0, 0xa5};
  Routing<C> const routing{.expert = {expert.data(), n}, .weight = {r.weight.data(), n}};
  Batch<C> const batch{.begin = r.begin.data(), .token = r.token.data(), .weight = r.row_weight.data(), .slot = {r.slot.data(), n}};
  dispatch(on, {.x = {nullptr, n}, .sequence = given.sequence, .seed = given.seed}, routing, batch, scratch.span());
  CHECK(scratch.intact());
  return r;
}

// What must hold of any batch; kept: what the definition dispatches.
template <Config C> void check_maps(Ids const& expert, std::vector<bool> const& kept, Result const& r) {
  constexpr std::size_t S = static_cast<std::size_t>(slots(C));
  std::size_t row = 0;
  long wrong = r.begin[0] != 0;
  for (int e = 0; e < C.experts; ++e) {
    for (std::size_t i = 0; i < expert.size(); ++i)                      // stable: by token, then by slot
      if (kept[i] && expert[i] == e) {
        wrong += r.slot[i] != static_cast<int>(row) || r.token[row] != static_cast<int>(i / S) || std::memcmp(&r.row_weight[row], &r.weight[i], sizeof(float)) != 0;
        ++row;
      }
    wrong += r.begin[static_cast<std::size_t>(e) + 1] != static_cast<int>(row);
  }
  for (std::size_t i = 0; i < expert.size(); ++i) wrong += !kept[i] && r.slot[i] != -1;
  CHECK(wrong == 0);
  CHECK(r.begin.back() == std::count(kept.begin(), kept.end(), true));
}
template <Config C> std::vector<bool> all_real(Ids const& expert) {
  std::vector<bool> kept;
  for (int e : expert) kept.push_back(e >= 0 && e < C.experts);
  return kept;
}

// The definition (model zoo, assign()): all first choices in `order`, then all second ones; dropped positions count.
std::vector<bool> assign(Ids const& expert, int k, int experts, std::int64_t places, std::vector<int> const& order) {
  std::vector<std::int64_t> fill(static_cast<std::size_t>(experts), 0);
  std::vector<bool> keep(expert.size(), false);
  for (int j = 0; j < k; ++j)
    for (int t : order) {
      auto const at = static_cast<std::size_t>(t * k + j);
      if (expert[at] < 0) continue;
      auto& f = fill[static_cast<std::size_t>(expert[at])];
      if (f < places) keep[at] = true;
      ++f;
    }
  return keep;
}
std::vector<int> in_order(std::size_t n) {
  std::vector<int> order(n);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

Ids random_ids(cases::Random& random, std::size_t n, int experts, int k, bool distinct) {
  Ids ids;
  for (std::size_t t = 0; t < n; ++t)
    for (int j = 0; j < k; ++j) {
      int e = random.below(experts);
      if (distinct)
        while (std::find(ids.end() - j, ids.end(), e) != ids.end()) e = (e + 1) % experts;
      ids.push_back(random.one_in(17) ? -1 : e);
    }
  return ids;
}
Floats counting(std::size_t n) {
  Floats w;
  for (std::size_t i = 0; i < n; ++i) w.push_back(static_cast<float>(i) + 0.5f);
  return w;
}
template <Config C> void random_maps() {
  cases::Random random{static_cast<std::uint64_t>(C.experts * 100 + C.top_k)};
  for (std::size_t tokens : {1, 2, 31, 32, 33, 127, 128, 129, 4095})
    for (bool distinct : {true, false}) {
      Ids const expert = random_ids(random, tokens, candidates(C), C.top_k, distinct);
      Result const r = run_dispatch<C>(expert, counting(expert.size()));
      check_maps<C>(expert, all_real<C>(expert), r);
      CHECK(r.weight == counting(expert.size()));
    }
}
}

TEST_SUITE("dispatch") {
  TEST_CASE("stable counting sort: sizes at the edges, any number of experts") {
    random_maps<of(1, 1)>();
    random_maps<of(2, 2)>();
    random_maps<of(7, 6)>();
    random_maps<of(8, 2)>();
    random_maps<of(60, 4)>();
    random_maps<of(257, 8)>();
    random_maps<of(1024, 1)>();
    random_maps<of(33, 33)>();
  }
  TEST_CASE("null experts are not dispatched") {
    random_maps<with_null(of(5, 3), 4, 2)>();
    constexpr Config c = with_null(of(3, 2), 2, 1);
    Result const r = run_dispatch<c>({0, 3, 4, 5, 2, 0}, counting(6));
    CHECK(r.begin == Ids{0, 2, 2, 3});
    CHECK(r.slot == Ids{0, -1, -1, -1, 2, 1});
  }
  TEST_CASE("counts sum exactly, whoever is empty") {
    constexpr Config c = of(7, 2);
    Ids one(2 * 100, 6), none(2 * 100, -1);
    Result const r = run_dispatch<c>(one, counting(200));
    CHECK(r.begin == Ids{0, 0, 0, 0, 0, 0, 0, 200});
    check_maps<c>(one, all_real<c>(one), r);
    CHECK(run_dispatch<c>(none, counting(200)).begin == Ids(8, 0));
    CHECK(run_dispatch<c>({}, {}).begin == Ids(8, 0));
  }
  TEST_CASE("an expert named twice in one row gets two rows") {
    constexpr Config c = of(4, 3);
    Result const r = run_dispatch<c>({2, 2, 2, 0, 2, 0}, counting(6));
    CHECK(r.begin == Ids{0, 2, 2, 6, 6});
    CHECK(r.token == Ids{1, 1, 0, 0, 0, 1});
    CHECK(r.slot == Ids{2, 3, 4, 0, 5, 1});
    CHECK(r.row_weight == Floats{3.5f, 5.5f, 0.5f, 1.5f, 2.5f, 4.5f});
    constexpr Config full = of(4, 3, {.rounding = Rounding::megablocks, .factor = 0.67f});         // 0.67 * 3 * 2 / 4 = 1 place
    CHECK(run_dispatch<full>({2, 2, 2, 0, 2, 0}, counting(6)).slot == Ids{1, -1, -1, 0, -1, -1});  // both slots count
  }
  TEST_CASE("-1 is none; other negatives and ids beyond the last candidate are errors") {
    constexpr Config c = of(4, 2), with = with_null(of(4, 2), 1, 1);
    CHECK(run_dispatch<c>({-1, 3}, counting(2)).slot == Ids{-1, 0});
    CHECK_THROWS_WITH_AS(run_dispatch<c>({0, 1, 2, -2}, counting(4)), doctest::Contains("expert id of token 1 out of range: got -2, want -1 to 3"), Error);
    CHECK_THROWS_AS(run_dispatch<c>({4, 0}, counting(2)), Error);
    CHECK_THROWS_AS(run_dispatch<c>({INT32_MIN, 0}, counting(2)), Error);
    CHECK_THROWS_AS(run_dispatch<c>({0, INT32_MAX}, counting(2)), Error);
    CHECK_NOTHROW(run_dispatch<with>({4, 5}, counting(2)));
    CHECK_THROWS_AS(run_dispatch<with>({4, 6}, counting(2)), Error);
  }

  TEST_CASE("capacity: each original's rounding, T=1000 E=7 factor 1.25 (trap 26)") {
    auto const places = [](Rounding r, float factor, int k) { return capacity(of(7, k, {.rounding = r, .factor = factor}), 1000); };
    CHECK(places(Rounding::mesh, 1.25f, 1) == 178);
    CHECK(places(Rounding::flaxformer, 1.25f, 1) == 179);
    CHECK(places(Rounding::deepspeed, 1.25f, 2) == 358);
    CHECK(places(Rounding::megablocks, 1.25f, 2) == 357);
    CHECK(places(Rounding::fastmoe, 1.25f, 2) == 357);
    CHECK(places(Rounding::nllb, 0, 2) == 286);                          // training
    CHECK(places(Rounding::nllb, 1, 2) == 1000);                         // evaluation: dropless
    CHECK(places(Rounding::nllb, 0.3005f, 2) == 301);
    CHECK(places(Rounding::none, 1.25f, 2) == 1000);
    CHECK(capacity(of(7, 2, {}, {.select = Select::expert_choice, .normalise = Normalise::none}), 1000) == 285);
    CHECK(capacity(of(64, 1, {.rounding = Rounding::mesh, .minimum = 4}), 10) == 4);
    CHECK(capacity(of(2, 1, {.rounding = Rounding::mesh, .factor = 8}), 10) == 10);                // mesh: never more than tokens
    CHECK(capacity(of(4, 1, {.rounding = Rounding::flaxformer}), 10) == 2);                        // 2.5 to even
    CHECK(capacity(of(4, 1, {.rounding = Rounding::flaxformer}), 14) == 4);                        // 3.5 to even
    CHECK(capacity(of(4, 1, {.rounding = Rounding::deepspeed}), 8) == 2);                          // a whole number stays
    for (Rounding r : {Rounding::mesh, Rounding::flaxformer, Rounding::deepspeed, Rounding::megablocks, Rounding::fastmoe, Rounding::nllb})
      for (std::int64_t t = 1, last = 0; t < 300; ++t) {
        std::int64_t const now = capacity(of(7, 2, {.rounding = r, .factor = 1.3f}), t);
        CHECK(now >= last);
        last = now;
      }
  }
  TEST_CASE("sequence order: all first choices before any second, dropped positions count") {
    constexpr Config c = of(3, 2, {.rounding = Rounding::megablocks, .factor = 1});                // 1 * 2 * 6 / 3 = 4 places
    //                first choices 0 0 0 1 1 2; second ones 1 1 0 0 0 0
    Ids const expert{0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 2, 0};
    Result const r = run_dispatch<c>(expert, counting(12));
    std::vector<bool> const kept{true, true, true, true, true, true, true, false, true, false, true, false};
    CHECK(assign(expert, 2, 3, 4, in_order(6)) == kept);
    check_maps<c>(expert, kept, r);
    CHECK(r.weight == counting(12));                                     // weights of the dropped stay, their slot says so
  }
  TEST_CASE("capacity over random routings, factors and groups") {
    auto const check = []<Config C>(std::type_identity<Dispatch<C, Host>>) {
      cases::Random random{99};
      for (std::size_t tokens : {1, 2, 33, 128, 1000})
        for (std::int64_t sequence : {0, 1, 7, 64, 5000}) {
          Ids const expert = random_ids(random, tokens, 3, C.top_k, false);                        // three of the experts: crowded
          std::vector<bool> kept;
          std::size_t const group = sequence ? static_cast<std::size_t>(sequence) : tokens;
          for (std::size_t first = 0; first < tokens; first += group) {
            std::size_t const size = std::min(group, tokens - first), k = C.top_k;
            Ids const part(expert.begin() + static_cast<std::ptrdiff_t>(first * k), expert.begin() + static_cast<std::ptrdiff_t>((first + size) * k));
            std::vector<bool> const keep = assign(part, C.top_k, C.experts, capacity(C, static_cast<std::int64_t>(size)), in_order(size));
            kept.insert(kept.end(), keep.begin(), keep.end());
          }
          check_maps<C>(expert, kept, run_dispatch<C>(expert, counting(expert.size()), {.sequence = sequence}));
        }
    };
    check(std::type_identity<Dispatch<of(8, 2, {.rounding = Rounding::mesh, .factor = 1.25f, .minimum = 4}), Host>>{});
    check(std::type_identity<Dispatch<of(7, 1, {.rounding = Rounding::flaxformer, .factor = 1.25f}), Host>>{});
    check(std::type_identity<Dispatch<of(5, 3, {.rounding = Rounding::nllb, .factor = 0}), Host>>{});
  }
  TEST_CASE("groups: every sequence has its own places") {
    constexpr Config c = of(2, 1, {.rounding = Rounding::megablocks, .factor = 1});
    CHECK(run_dispatch<c>(Ids(8, 1), counting(8)).slot == Ids{0, 1, 2, 3, -1, -1, -1, -1});
    CHECK(run_dispatch<c>(Ids(8, 1), counting(8), {.sequence = 4}).slot == Ids{0, 1, -1, -1, 2, 3, -1, -1});
    CHECK(run_dispatch<c>(Ids(7, 1), counting(7), {.sequence = 4}).slot == Ids{0, 1, -1, -1, 2, -1, -1});            // the last group is shorter
    CHECK_THROWS_AS(run_dispatch<c>(Ids(8, 1), counting(8), {.sequence = -1}), Error);
  }
  TEST_CASE("probability order: the surest first choices keep their places, ties by token, NaN last") {
    constexpr Config c = of(2, 2, {.rounding = Rounding::megablocks, .factor = 0.5f, .order = Order::probability});  // 0.5 * 2 * 4 / 2 = 2 places
    Ids const expert{0, 1, 0, 1, 0, 1, 0, 1};
    CHECK(run_dispatch<c>(expert, {0.2f, 1, 0.9f, 0, 0.5f, 0, 0.9f, 1}).slot == Ids{-1, -1, 0, 2, -1, -1, 1, 3});
    CHECK(run_dispatch<c>(expert, {0.5f, 0, 0.5f, 0, 0.5f, 0, 0.5f, 0}).slot == Ids{0, 2, 1, 3, -1, -1, -1, -1});
    CHECK(run_dispatch<c>(expert, {NAN, 0, -INFINITY, 0, NAN, 0, 0.5f, 0}).slot == Ids{-1, -1, 0, 2, -1, -1, 1, 3});
    cases::Random random{4};
    constexpr Config wide = of(3, 2, {.rounding = Rounding::megablocks, .factor = 0.6f, .order = Order::probability});
    Ids const many = random_ids(random, 500, 3, 2, true);
    Floats weight;
    for (std::size_t i = 0; i < many.size(); ++i) weight.push_back(static_cast<float>(random.below(40)) / 40);
    std::vector<int> order = in_order(500);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return weight[static_cast<std::size_t>(2 * a)] > weight[static_cast<std::size_t>(2 * b)]; });
    check_maps<wide>(many, assign(many, 2, 3, capacity(wide, 500), order), run_dispatch<wide>(many, weight));
  }
  TEST_CASE("random order: as many kept, decided by the seed, fair") {
    constexpr Config c = of(2, 1, {.rounding = Rounding::megablocks, .factor = 1, .order = Order::random});
    Ids const expert(100, 1);
    Result const a = run_dispatch<c>(expert, counting(100), {.seed = 5}), b = run_dispatch<c>(expert, counting(100), {.seed = 6});
    CHECK(a == run_dispatch<c>(expert, counting(100), {.seed = 5}));
    CHECK(a.slot != b.slot);
    CHECK(a.begin == Ids{0, 0, 50});
    std::vector<int> kept(100, 0);
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
      Result const r = run_dispatch<c>(expert, counting(100), {.seed = seed});
      for (std::size_t t = 0; t < 100; ++t) kept[t] += r.slot[t] >= 0;
    }
    for (int n : kept) CHECK(std::abs(n - 200) < 50);                    // five standard errors: 5 * sqrt(400 / 4)
  }
  TEST_CASE("normalised after the drop: what is kept sums to the scale, the dropped weigh nothing (NLLB)") {
    constexpr CapacityConfig capacity{.rounding = Rounding::megablocks, .factor = 0.5f, .normalise = When::after};    // 2 places of 4 tokens
    constexpr Config c = of(2, 2, capacity, {.epsilon = 0.125f, .scale = 3});
    Ids const expert{0, 1, 0, 1, 0, 1, 1, 0};
    Result const r = run_dispatch<c>(expert, {0.5f, 0.25f, 0.625f, 0.25f, 0.5f, 0.25f, 0.375f, 0.5f});
    CHECK(r.slot == Ids{0, 2, 1, -1, -1, -1, 3, -1});
    Floats const want{3 * 0.5f / 0.875f, 3 * 0.25f / 0.875f, 3 * 0.625f / 0.75f, 0, 0, 0, 3 * 0.375f / 0.5f, 0};
    for (std::size_t i = 0; i < 8; ++i) CHECK(r.weight[i] == doctest::Approx(want[i]).epsilon(3e-7));
    CHECK(r.row_weight[3] == r.weight[6]);
    constexpr Config clamp = of(2, 2, capacity, {.normalise = Normalise::sum_clamp, .epsilon = 0.5f});
    Result const low = run_dispatch<clamp>(expert, {0.5f, 0.25f, 0.125f, 0.25f, 0.5f, 0.25f, 0.375f, 0.5f});
    CHECK(low.weight == Floats{0.5f / 0.75f, 0.25f / 0.75f, 0.25f, 0, 0, 0, 0.75f, 0});
    // Before the drop, the same numbers stay as the router normalised them.
    constexpr Config before = of(2, 2, {.rounding = Rounding::megablocks, .factor = 0.5f}, {.epsilon = 0.125f, .scale = 3});
    CHECK(run_dispatch<before>(expert, counting(8)).weight == counting(8));
  }
  TEST_CASE("before and after the drop, together with the router: GShard's definition") {
    // softmax of 2 sin(3 t + 1.7 e), two places an expert; numbers from the definition's gshard_top2.
    auto const run = []<Config C>(std::type_identity<Router<C, Host>>) {
      Floats z;
      for (int t = 0; t < 6; ++t)
        for (int e = 0; e < 4; ++e) z.push_back(static_cast<float>(std::sin(3. * t + 1.7 * e) * 2));
      Ids expert(12);
      Floats weight(12);
      Host const on{.threads = 1};
      Router<C, Host> const router;
      std::vector<std::byte> scratch(router.workspace_bytes(on, 6));
      router(on, {.x = {nullptr, 6}, .logits = {z.data(), 6}}, {}, {.expert = {expert.data(), 6}, .weight = {weight.data(), 6}}, scratch);
      Result r = run_dispatch<C>(expert, weight);
      for (std::size_t i = 0; i < 12; ++i)
        if (r.slot[i] < 0) r.weight[i] = 0;
      return r.weight;
    };
    constexpr RouterConfig router{.input = RouterInput::logits, .epsilon = 1e-9f};
    constexpr Config before = of(4, 2, {.rounding = Rounding::mesh, .factor = 1.5f}, router),
                     after = of(4, 2, {.rounding = Rounding::mesh, .factor = 1.5f, .normalise = When::after}, router);
    Floats const a = run(std::type_identity<Router<before, Host>>{}), b = run(std::type_identity<Router<after, Host>>{});
    double const want_a[]{0.8790356533657258, 0.12096434554272512, 0.8399074468505354, 0.16009255198070838, 0.8728932082839984, 0.12710679063027647, 0.7639361336436706, 0, 0, 0.23046759939463826, 0, 0};
    double const want_b[]{0.8790356543252363, 0.12096434567476363, 0.8399074478321825, 0.16009255216781756, 0.8728932092317205, 0.12710679076827952, 1, 0, 0, 1, 0, 0};
    for (std::size_t i = 0; i < 12; ++i) {
      CHECK(std::fabs(double{a[i]} - want_a[i]) <= 1e-6 * want_a[i]);
      CHECK(std::fabs(double{b[i]} - want_b[i]) <= 1e-6 * want_b[i]);
    }
  }
  TEST_CASE("expert choice has chosen within capacity: dispatch drops nobody") {
    constexpr Config c = of(3, 1, {.rounding = Rounding::megablocks, .factor = 0.5f}, {.select = Select::expert_choice, .normalise = Normalise::none});
    Ids const expert{0, 1, 2, 0, -1, 2, -1, -1, -1, 0, 1, -1};
    check_maps<c>(expert, all_real<c>(expert), run_dispatch<c>(expert, counting(12)));
  }
  TEST_CASE("refused: rows that do not fit together, scratch too small") {
    constexpr Config c = of(2, 1, {.rounding = Rounding::megablocks, .order = Order::probability});
    Ids expert(8, 1), begin(3), token(8), slot(8);
    Floats weight(8), row_weight(8);
    Host const on{.threads = 1};
    Dispatch<c, Host> const dispatch;
    std::vector<std::byte> scratch(dispatch.workspace_bytes(on, 8));
    Routing<c> const routing{.expert = {expert.data(), 8}, .weight = {weight.data(), 8}};
    Batch<c> const batch{begin.data(), token.data(), row_weight.data(), {slot.data(), 8}}, shorter{begin.data(), token.data(), row_weight.data(), {slot.data(), 7}};
    CHECK_NOTHROW(dispatch(on, {.x = {nullptr, 8}}, routing, batch, scratch));
    CHECK_THROWS_AS(dispatch(on, {.x = {nullptr, 8}}, routing, shorter, scratch), Error);
    CHECK_THROWS_AS(dispatch(on, {.x = {nullptr, 8}}, routing, batch, std::span(scratch).first(scratch.size() - 1)), Error);
    CHECK_THROWS_AS(dispatch(on, {.x = {nullptr, 8}}, routing, {nullptr, token.data(), row_weight.data(), {slot.data(), 8}}, scratch), Error);
  }
}

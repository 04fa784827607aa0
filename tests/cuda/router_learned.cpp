// The router on CUDA where it computes the logits: exact ones give the host's bits, others stay within the bound of their sums, and
// what is selected is what the logits say. And what a router refuses.
#include <cmath>
#include "router_case.hpp"

namespace {
using namespace coterie;
using namespace cuda_tests;

constexpr Config reads(int experts, int top_k, int hidden, DType dtype, RouterConfig r) {
  return {.experts = experts, .top_k = top_k, .hidden = hidden, .ffn = 1, .dtype = dtype, .weights = dtype, .router = r};
}
constexpr Config invariant(Config c) {
  c.batch_invariant = 1;
  return c;
}
// The same routing program over a caller's logits.
constexpr Config over_logits(Config c) {
  c.router.input = RouterInput::logits, c.router.bias = 0, c.router.noise = Noise::none;
  return c;
}

// Small whole numbers: every sum is exact, so the order of adding does not show.
template <Config C> void exact(On<C> on, Asked a = {}) {
  a.whole = 1;
  for (Arch arch : arches())
    for (std::int64_t tokens : {0, 1, 7, 64, 65, 257, 520}) {
      if (simt::checked() && tokens > 65) continue;
      a.arch = arch, a.tokens = tokens, a.gap = tokens % 3;
      check(on, a, tokens == 7 ? 18 : 2);
    }
}

// Every logit against its sum in double; then the choices against the host's, made of the very logits that came back.
template <Config C> void near(On<C>, std::int64_t tokens, std::uint64_t seed = 0, std::int64_t x_gap = 0) {
  RouterCase<C> const k({.tokens = tokens, .seed = seed, .x_gap = x_gap});
  RouterCase<over_logits(C)> given({.tokens = tokens});
  constexpr bool rounds = C.router.precision != Precision::fp32 && bits(C.router.weights) <= bits(C.dtype);
  for (Arch arch : arches()) {
    Cuda on{};
    on.arch = arch;
    CAPTURE(name(arch));
    CAPTURE(tokens);
    CHECK(simt::survives(3, [&]() -> std::string {
      OnDevice<C> const at(on, k);
      at.run(on);
      Routed const got = at.routed();
      for (std::int64_t t = 0; t < tokens; ++t)
        for (int e = 0; e < k.N; ++e) {
          double sum = C.router.bias ? double{k.bias[static_cast<std::size_t>(e)]} : 0, size = std::fabs(sum);
          for (int h = 0; h < C.hidden; ++h) {
            float v = to_float(k.x[static_cast<std::size_t>(t * (C.hidden + x_gap) + h)]);
            if (C.router.noise == Noise::jitter && seed)
              v *= 1 + C.router.noise_size * (2 * random::uniform(seed, random::Stream::jitter, static_cast<std::uint64_t>(t), static_cast<std::uint32_t>(h)) - 1);
            double const product = double{v} * double{to_float(k.router[static_cast<std::size_t>(e * C.hidden + h)])};
            sum += product, size += std::fabs(product);
          }
          double const rounding = rounds ? std::fabs(sum) * (C.dtype == DType::bf16 ? 0x1p-8 : 0x1p-11) + 0x1p-24 : 0, roundoff = C.dtype == DType::fp32 ? 0x1p-24 : 0x1p-23, bound = (C.hidden + 3) * roundoff * size + rounding;   // as reference::Sum has it
          double const off = std::fabs(double{got.logits[static_cast<std::size_t>(t * k.N + e)]} - sum);
          if (!(off <= bound)) return "logits[" + std::to_string(t) + "][" + std::to_string(e) + "] is off by " + std::to_string(off / bound) + " bounds";
        }
      given.logits = got.logits, given.select_bias = k.select_bias, given.expert_scale = k.expert_scale;
      return C.router.noise == Noise::softplus && seed ? "" : difference(got, by_host(given));
    }) == "");
  }
}
template <Config C> void near_sizes(On<C> on, std::uint64_t seed = 0) {
  for (std::int64_t tokens : {1, 7, 65}) near(on, tokens, seed);
  if (!simt::checked()) near(on, 257, seed);
}

constexpr Config mixtral = reads(8, 2, 64, DType::bf16, {});
constexpr Config noisy = reads(16, 4, 40, DType::bf16, {.noise = Noise::softplus, .noise_size = 0.01f});
constexpr Config jittery = reads(16, 4, 40, DType::bf16, {.noise = Noise::jitter, .noise_size = 0.1f});
constexpr Config wide = reads(300, 8, 72, DType::bf16, {.bias = 1, .score = Score::sigmoid, .select_bias = 1, .scale = 2.5f});
constexpr Config fp32 = reads(60, 4, 33, DType::fp32, {.weights = DType::fp32, .score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4, .groups_kept = 2});
constexpr Config separate = reads(24, 3, 24, DType::fp16, {.input = RouterInput::separate, .precision = Precision::fp32, .weights = DType::fp16, .expert_scale = 1});
constexpr Config everything = reads(64, 3, 40, DType::fp16, {.input = RouterInput::separate, .precision = Precision::fp32, .weights = DType::fp32, .bias = 1, .soft_cap = 3, .select_bias = 1,
                                                             .select = Select::group_top_k, .groups = 4, .groups_kept = 3, .group_score = GroupScore::max, .group_fill = Fill::zero,
                                                             .normalise = Normalise::sum_clamp, .epsilon = 1e-20f, .place = Place::input, .round_weight = 1, .noise = Noise::softplus, .noise_size = 0.01f});
// More inputs than a warp of a split product takes, and a last warp with fewer than the others.
constexpr Config tall = reads(16, 4, 1168, DType::bf16, {.bias = 1}), tall_fp32 = reads(5, 2, 1168, DType::fp32, {.weights = DType::fp32});
template <Config C> void any_scratch(On<C>) {
  RouterCase<C> const k({.tokens = 65, .seed = 3, .whole = 1});
  Routed const want = by_host(k);
  Cuda const on{};
  for (std::size_t shift : {0, 1, 63, 255}) {
    OnDevice<C> const at(on, k, shift);
    CHECK(simt::failure_of([&] {
      at.run(on);
      return difference(at.routed(), want);
    }) == "");
#if defined(COTERIE_SIMT)
    simt::clear_calls();
    Router<C, Cuda>{}(on, at.inputs(), at.view(), at.routing(), at.workspace());
    std::vector<std::string> const calls = simt::calls();
    CHECK(calls.size() >= 4);                                          // two products, the caller's logits, the choice
    for (std::string const& call : calls) CHECK_MESSAGE((call.find("Launch") != std::string::npos || call == "cudaFuncSetAttribute"), call);
    CHECK(simt::failure_of([] {}) == "");
#endif
  }
}
// Outputs in the place of what was read: logits with their bias, ids that were replayed, a caller's routing.
template <Config C> void in_place(On<C>, int replay) {
  RouterCase<C> const k({.tokens = 64, .replay = replay});
  Routed const want = by_host(k);
  CHECK(simt::survives(18, [&] {
    Cuda const on{};
    OnDevice<C> const at(on, k);
    if (C.router.input == RouterInput::logits) at.logits.put(k.logits);
    at.expert.put(k.given), at.weight.put(k.given_weight);
    Inputs<C> in = at.inputs();
    in.logits = at.routing().logits;
    in.token_ids = at.token_ids.from.data();
    if (in.routing.expert.data) in.routing = at.routing();
    Router<C, Cuda>{}(on, in, at.view(), at.routing(), at.workspace());
    return difference(at.routed(), want);
  }) == "");
}

// What a call must refuse, before it starts anything.
template <class F> void refused(char const* sentence, F&& f) {
#if defined(COTERIE_SIMT)
  simt::clear_calls();
#endif
  CHECK_THROWS_WITH_AS(f(), doctest::Contains(sentence), Error);
#if defined(COTERIE_SIMT)
  for (std::string const& call : simt::calls()) CHECK_MESSAGE(call.find("Get") != std::string::npos, call);
#endif
}
// One call with something changed.
template <Config C> struct Call {
  OnDevice<C> at;
  Cuda on{};
  Inputs<C> in = at.inputs();
  Routing<C> to = at.routing();
  PackedView<C, Cuda> packed = at.view();
  std::span<std::byte> scratch = at.workspace();
  explicit Call(Asked const& a) : at(Cuda{}, RouterCase<C>(a)) {}
  template <class Change> void refuse(char const* sentence, Change const& change) const {
    Cuda with = on;
    Inputs<C> i = in;
    Routing<C> t = to;
    PackedView<C, Cuda> p = packed;
    std::span<std::byte> s = scratch;
    change(with, i, t, p, s);
    refused(sentence, [&] { Router<C, Cuda>{}(with, i, p, t, s); });
  }
};
template <Config C> void refuses(On<C>) {
  Call<C> const call({.tokens = 64});
  using Change = void (*)(Cuda&, Inputs<C>&, Routing<C>&, PackedView<C, Cuda>&, std::span<std::byte>&);
  auto const when = [&](char const* sentence, Change change) { call.refuse(sentence, change); };
  using In = Inputs<C>&;
  using To = Routing<C>&;
  using View = PackedView<C, Cuda>&;
  using Bytes = std::span<std::byte>&;
  when("Router: routing.expert must have as many rows as x: got 63, want 64", [](Cuda&, In, To to, View, Bytes) { to.expert.rows = 63; });
  when("Router: routing.weight must have as many rows as x: got 65, want 64", [](Cuda&, In, To to, View, Bytes) { to.weight.rows = 65; });
  when("Router: routing.logits must have as many rows as x", [](Cuda&, In, To to, View, Bytes) { to.logits.rows = 0; });
  when("Router: tokens must not be negative", [](Cuda&, In in, To to, View, Bytes) { in.x.rows = to.expert.rows = to.weight.rows = -64; });
  when("Router: tokens times slots must stay below 2^31", [](Cuda&, In in, To to, View, Bytes) { in.x.rows = to.expert.rows = to.weight.rows = std::int64_t{1} << 31; });
  when("Router: routing.expert is not set", [](Cuda&, In, To to, View, Bytes) { to.expert.data = nullptr; });
  when("Router: routing.weight is not set", [](Cuda&, In, To to, View, Bytes) { to.weight.data = nullptr; });
  when("Router: routing.expert's row stride must be at least its columns", [](Cuda&, In, To to, View, Bytes) { to.expert.stride = 1; });
  when("Router: routing.weight must be aligned to its elements", [](Cuda&, In, To to, View, Bytes) { to.weight.data = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(to.weight.data) + 1); });
  when("must not overlap", [](Cuda&, In, To to, View, Bytes) { to.weight.data = reinterpret_cast<float*>(to.expert.data); });
  when("Router: scratch is too small", [](Cuda&, In, To, View, Bytes scratch) { scratch = scratch.first(scratch.size() - 1); });
  when("Router: packed weights are not set", [](Cuda&, In, To, View packed, Bytes) { packed.data = nullptr; });
  when("Router: packed weights must be aligned", [](Cuda&, In, To, View packed, Bytes) { packed.data += 2; });
  when("the kernels need 8.0 or later", [](Cuda& on, In, To, View, Bytes) { on.device.major = 7; });
  when("Arch::sm_90a needs a device of compute capability 9.0", [](Cuda& on, In, To, View, Bytes) { on.device.hopper = 0, on.arch = Arch::sm_90a; });
  when(C.router.input == RouterInput::hidden ? "Router: x is not set" : "Router: RouterInput::separate needs Inputs::router_x with as many rows as x",
       [](Cuda&, In in, To, View, Bytes) { in.x.data = in.router_x.data = nullptr; });
}
// What only some routers are given.
template <Config C> void refuses_logits(On<C>) {
  Call<C> const call({.tokens = 64});
  call.refuse("Router: RouterInput::logits needs Inputs::logits with as many rows as x: got 63", [](auto&, auto& in, auto&, auto&, auto&) { in.logits.rows = 63; });
  call.refuse("Router: RouterInput::logits needs Inputs::logits", [](auto&, auto& in, auto&, auto&, auto&) { in.logits.data = nullptr; });
  call.refuse("Router: Inputs::logits's row stride", [](auto&, auto& in, auto&, auto&, auto&) { in.logits.stride = 0; });
}
template <Config C> void refuses_given(On<C>) {
  Call<C> const call({.tokens = 64});
  call.refuse("Router: RouterInput::given needs Inputs::routing with as many rows as x: got 1", [](auto&, auto& in, auto&, auto&, auto&) { in.routing.expert.rows = 1; });
  call.refuse("Router: RouterInput::given needs Inputs::routing", [](auto&, auto& in, auto&, auto&, auto&) { in.routing.weight.data = nullptr; });
}
template <Config C> void refuses_ids(On<C>) {
  Call<C> const call({.tokens = 64});
  call.refuse("Router: Select::table needs Inputs::token_ids, or Inputs::routing to replay", [](auto&, auto& in, auto&, auto&, auto&) { in.token_ids = nullptr; });
  call.refuse("Router: packed weights are not set", [](auto&, auto&, auto&, auto& packed, auto&) { packed.data = nullptr; });
  Call<C> const replay({.tokens = 64, .replay = 1});
  replay.refuse("Router: Inputs::routing must have as many rows as x: got 65, want 64", [](auto&, auto& in, auto&, auto&, auto&) { in.routing.expert.rows = 65; });
}
template <Config C> void refuses_shared(On<C>) {
  Call<C> const call({.tokens = 64});
  call.refuse("Router: routing.shared must have as many rows as x", [](auto&, auto&, auto& to, auto&, auto&) { to.shared.rows = 0; });
  call.refuse("Router: routing.shared is not set", [](auto&, auto&, auto& to, auto&, auto&) { to.shared.data = nullptr; });
}
}

TEST_SUITE("cuda router") {
  TEST_CASE("exact logits: the host's routing, bit for bit, on every path") {
    exact(On<mixtral>{});
    exact(On<invariant(mixtral)>{});
    exact(On<wide>{});
    exact(On<fp32>{});
    exact(On<separate>{});
    exact(On<tall_fp32>{});
    exact(On<reads(8, 2, 33, DType::bf16, {.precision = Precision::model, .weights = DType::fp32, .bias = 1})>{});
  }
  TEST_CASE("learned noise, jitter: of the caller's seed, and none without") {
    for (std::uint64_t seed : {0, 3}) {
      exact(On<noisy>{}, {.seed = seed});
      exact(On<everything>{}, {.seed = seed});
      exact(On<reads(5, 2, 1, DType::fp32, {.precision = Precision::fp32, .weights = DType::fp32, .noise = Noise::jitter, .noise_size = 0.125f})>{}, {.seed = seed});
    }
  }
  TEST_CASE("any logits: within the bound of their sums, and the choices are theirs") {
    near_sizes(On<mixtral>{});
    for (std::int64_t tokens : {7, 65})
      for (std::int64_t gap : {1, 8}) near(On<mixtral>{}, tokens, 0, gap);                         // rows that only the plain path takes, and others
    near_sizes(On<invariant(wide)>{});
    near_sizes(On<fp32>{});
    near_sizes(On<separate>{});
    for (std::int64_t tokens : {1, 17, 90}) near(On<tall>{}, tokens);
    near(On<tall_fp32>{}, 9);
    near_sizes(On<noisy>{}, 5);
    near_sizes(On<jittery>{}, 5);
    near_sizes(On<jittery>{});
  }
  TEST_CASE("without any of their synchronisations it is noticed") {
    if (!simt::checked()) return;
    Same<everything> const gaussian({.tokens = 64, .seed = 3, .whole = 1, .logits = 0, .arch = Arch::plain});
    Same<reads(5, 2, 1, DType::fp32, {.precision = Precision::fp32, .weights = DType::fp32, .noise = Noise::jitter, .noise_size = 0.125f})> const jitter({.tokens = 64, .seed = 3, .whole = 1});
    Same<tall> const split({.tokens = 17, .whole = 1, .logits = 0}), many({.tokens = 70, .whole = 1, .logits = 0});
    auto const all = [&] {
      std::string const first = gaussian(), second = jitter(), third = split(), fourth = many();
      return first + second + third + fourth;
    };
    for (std::string const& name : simt::unnoticed(18, all)) CHECK_MESSAGE(false, name << " can be left out, and nobody notices");
#if defined(COTERIE_SIMT)
    simt::clear_syncs();
    CHECK(all() == "");
    CHECK(simt::syncs().size() == 8);                                  // of the two products, jitter, the logits' noise, and the choice
#endif
  }
  TEST_CASE("memory accesses of a split product: whole sectors") {
    if (!simt::checked()) return;
    for (std::int64_t tokens : {16, 96})
      for (std::string const& line : simt::wasteful_lines(Same<tall>({.tokens = tokens, .whole = 1}))) CHECK_MESSAGE(line.find("split_product.cuh") == std::string::npos, line);
  }
  TEST_CASE("a failing call of the runtime throws and leaves nothing behind") {
    CHECK(simt::survives_failing_calls(Same<everything>({.tokens = 7, .seed = 3, .whole = 1})) == "");
    CHECK(simt::survives_failing_calls(Same<jittery>({.tokens = 7, .whole = 1})) == "");
  }
  TEST_CASE("in place") {
    in_place(On<of(8, 2, {.bias = 1})>{}, 0);
    in_place(On<of(8, 2, {.select = Select::table})>{}, 1);
    in_place(On<of(8, 2, {.input = RouterInput::given})>{}, 0);
  }
#if defined(COTERIE_SIMT)
  TEST_CASE("each kernel lets the next one begin beside it") {
    CHECK(overlapping(On<everything>{}, {.tokens = 64, .seed = 3, .whole = 1}) == "");
    CHECK(overlapping(On<jittery>{}, {.tokens = 7, .seed = 3, .whole = 1}) == "");
  }
  TEST_CASE("on a device without programmatic launches") {
    simt::Config const before = simt::config();
    simt::config().device.major = 8;
    CHECK(arches().size() == 2);
    exact(On<noisy>{}, {.seed = 3});
    check(On<of(8, 2, {.select = Select::expert_choice, .normalise = Normalise::none})>{}, {.tokens = 64, .sequence = 20});
    simt::config() = before;
  }
#endif
  TEST_CASE("scratch of any alignment, exactly as large as it must be; and nothing but launches") { any_scratch(On<everything>{}); }
  TEST_CASE("refused with a sentence, before anything starts") {
    refuses(On<noisy>{});
    refuses(On<separate>{});
    refuses_logits(On<of(8, 2, {.bias = 1})>{});
    refuses_given(On<of(8, 2, {.input = RouterInput::given})>{});
    refuses_ids(On<of(8, 2, {.input = RouterInput::token_ids, .select = Select::table, .normalise = Normalise::none})>{});
    refuses_shared(On<with_shared(of(6, 2, {.score = Score::sigmoid}), 2)>{});
  }
}

// Dispatch on CUDA: the host's maps, equal in every element, whoever runs first.
#include <cuda/support.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>
#include <type_traits>
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
template <Config C> using On = std::type_identity<Dispatch<C, Cuda>>;

struct Case {
  std::int64_t tokens = 0;
  Ids expert;
  Floats weight;
  std::int64_t sequence = 0;
  std::uint64_t seed = 0;
};

// Who is chosen: anybody; one expert by all; every second expert by nobody; nobody at all; each token the same few in turn.
enum class Trace : int { any, one, half, none, turns };
template <Config C> Case make(std::int64_t tokens, Trace trace, std::uint64_t seed, std::int64_t sequence = 0) {
  constexpr int S = slots(C), all = candidates(C);
  cases::Random random{seed * 1000003 + static_cast<std::uint64_t>(tokens)};
  Case k{tokens, {}, {}, sequence, seed};
  int const one = random.below(C.experts);
  for (std::int64_t t = 0; t < tokens; ++t)
    for (int s = 0; s < S; ++s) {
      std::int32_t e = random.one_in(17) ? -1 : random.below(all);
      if (trace == Trace::one) e = one;
      if (trace == Trace::half) e = e < 0 ? -1 : e / 2 * 2;
      if (trace == Trace::none) e = -1;
      if (trace == Trace::turns) e = static_cast<std::int32_t>((t * S + s) % all);
      if (C.router.select == Select::expert_choice) e = trace == Trace::one || random.one_in(C.experts) ? s : -1;
      k.expert.push_back(e);
      // Ties, zeros of both signs, NaN and infinities among the weights: who is first must not hang on them.
      int const kind = random.below(24);
      k.weight.push_back(kind == 0 ? math::quiet_nan : kind == 1 ? -math::infinity : kind == 2 ? -0.f : kind == 3 ? 0.f :
                         kind < 12 ? static_cast<float>(random.below(9)) / 8 : static_cast<float>(random.uniform()));
    }
  return k;
}

// Elements of an array; one where there is nothing, so that there is a pointer.
std::size_t sized(std::int64_t n) { return static_cast<std::size_t>(n > 1 ? n : 1); }

struct Maps {
  Ids begin, token, slot;
  Floats row_weight, weight;                     // weight: the routing's, which dispatch may rewrite
};
template <Config C> Maps blank(Case const& k, std::int64_t stride) {
  std::size_t const rows = sized(rows_bound(C, k.tokens)), n = sized(k.tokens * stride);
  return {Ids(C.experts + 1, -9), Ids(rows, -9), Ids(n, -9), Floats(rows, -9), Floats(n, -9)};
}
// Rows of S values with gaps, which nobody touches.
template <class T> std::vector<T> spread(std::vector<T> const& v, std::int64_t columns, std::int64_t stride, T gap) {
  std::vector<T> to(sized(static_cast<std::int64_t>(v.size()) / columns * stride), gap);
  for (std::size_t i = 0; i < v.size(); ++i) to[i / static_cast<std::size_t>(columns) * static_cast<std::size_t>(stride) + i % static_cast<std::size_t>(columns)] = v[i];
  return to;
}
template <Config C> Maps by_host(Case const& k, std::int64_t stride) {
  constexpr int S = slots(C);
  Maps m = blank<C>(k, stride);
  Ids expert = spread<std::int32_t>(k.expert, S, stride, -9);
  m.weight = spread<float>(k.weight, S, stride, -9);
  Host const on{.threads = 1};
  Dispatch<C, Host> const dispatch;
  std::vector<std::byte> scratch(k.tokens ? dispatch.workspace_bytes(on, k.tokens) : 0);
  dispatch(on, {.sequence = k.sequence, .seed = k.seed}, {.expert = {expert.data(), k.tokens, stride}, .weight = {m.weight.data(), k.tokens, stride}},
           {.begin = m.begin.data(), .token = m.token.data(), .weight = m.row_weight.data(), .slot = {m.slot.data(), k.tokens, stride}}, scratch);
  return m;
}

// What a router may be: a kernel that writes the routing just before dispatch reads it.
__global__ void give_kernel(std::int32_t const* expert, float const* weight, std::int64_t n, std::int32_t* to, float* to_weight) {
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) to[i] = expert[i], to_weight[i] = weight[i];
}

std::string difference(Maps const& got, Maps const& want) {
  auto const first = [](char const* name, auto const& a, auto const& b) {
    for (std::size_t i = 0; i < b.size(); ++i)
      if (std::memcmp(&a[i], &b[i], sizeof a[i]) != 0) return std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(a[i]) + ", want " + std::to_string(b[i]);
    return std::string();
  };
  for (std::string const& s : {first("begin", got.begin, want.begin), first("slot", got.slot, want.slot), first("token", got.token, want.token), first("batch.weight", got.row_weight, want.row_weight),
                               first("routing.weight", got.weight, want.weight)})
    if (!s.empty()) return s;
  return {};
}

// Memory of a case on the device, with nothing behind any of it.
template <Config C> struct Memory {
  std::int64_t tokens, stride;
  std::size_t shift, bytes;
  simt::Array<std::int32_t> given, expert, begin, token, slot;
  simt::Array<float> given_weight, weight, row_weight;
  simt::Array<std::byte> scratch;

  Memory(Cuda const& on, Case const& k, std::int64_t row_stride, std::size_t scratch_shift = 0)
      : tokens(k.tokens), stride(row_stride), shift(scratch_shift), bytes(tokens ? Dispatch<C, Cuda>{}.workspace_bytes(on, tokens) : 0), given(sized(tokens * stride)),
        expert(given.size()), begin(C.experts + 1), token(sized(rows_bound(C, tokens))), slot(given.size()), given_weight(given.size()),
        weight(given.size()), row_weight(token.size()), scratch(shift + bytes) {
    give(k);
  }
  // What the router's stand-in will write; and nothing of an earlier run remains.
  void give(Case const& k) const {
    Maps const m = blank<C>(k, stride);
    begin.put(m.begin), token.put(m.token), slot.put(m.slot), row_weight.put(m.row_weight);
    given.put(spread<std::int32_t>(k.expert, slots(C), stride, -9)), given_weight.put(spread<float>(k.weight, slots(C), stride, -9));
  }
  Routing<C> routing() const { return {.expert = {expert.data(), tokens, stride}, .weight = {weight.data(), tokens, stride}}; }
  Batch<C> batch() const { return {.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), tokens, stride}}; }
  // Enqueues only: the router's stand-in, then dispatch.
  void run(Cuda const& on, Case const& k) const {
    launch(give_kernel, Launch{.grid = 1, .block = 64}, on.stream, Where::here(), given.data(), given_weight.data(), static_cast<std::int64_t>(given.size()), expert.data(), weight.data());
    Dispatch<C, Cuda>{}(on, {.sequence = k.sequence, .seed = k.seed}, routing(), batch(), {scratch.data() + shift, bytes});
  }
  Maps maps() const { return {begin.get(), token.get(), slot.get(), row_weight.get(), weight.get()}; }
};

// A case, run by the device as configured: empty, or how it differs from the host's maps.
template <Config C> struct Same {
  Case k;
  std::int64_t stride = slots(C);
  Maps want = by_host<C>(k, stride);
  std::string operator()() const {
    Cuda const on{};
    Memory<C> const at(on, k, stride);
    at.run(on, k);
    return difference(at.maps(), want);
  }
};
template <Config C> Same<C> same(Case k, std::int64_t gap = 0) { return {.k = std::move(k), .stride = slots(C) + gap}; }

template <Config C> void check(On<C>, Case k, int schedules = 18, std::int64_t gap = 0) {
  CAPTURE(C.experts);
  CAPTURE(C.top_k);
  CAPTURE(k.tokens);
  CAPTURE(k.sequence);
  CAPTURE(k.seed);
  CHECK(simt::survives(schedules, same<C>(std::move(k), gap)) == "");
}
template <Config C> void all_sizes(On<C> on) {
  for (std::int64_t tokens : {0, 1, 7, 64, 257})
    for (Trace trace : {Trace::any, Trace::one, Trace::half, Trace::none, Trace::turns})
      check(on, make<C>(tokens, trace, 1 + static_cast<std::uint64_t>(trace)), trace == Trace::any ? 18 : 6, tokens % 3);
}
// Groups that end within the tokens, at them, and behind them; a token in each.
template <Config C> void all_groups(On<C> on) {
  auto const one = [&](std::int64_t tokens, std::int64_t sequence, int schedules) {
    check(on, make<C>(tokens, sequence % 2 ? Trace::turns : Trace::any, 1 + static_cast<std::uint64_t>(sequence), sequence), schedules, tokens % 3);
  };
  for (std::int64_t tokens : {0, 1, 7}) for (std::int64_t sequence : {0, 1, 7, 64}) one(tokens, sequence, 3);
  for (std::int64_t sequence : {0, 16, 63, 64}) one(64, sequence, 3);
  for (std::int64_t sequence : {0, 100, 257}) one(257, sequence, sequence == 100 ? 18 : 3);
  check(on, make<C>(257, Trace::one, 5), 3);
  check(on, make<C>(257, Trace::one, 6, 100), 3);
}
constexpr CapacityConfig places(Rounding rounding, float factor, Order order, When when = When::before, int minimum = 0) {
  return {.rounding = rounding, .factor = factor, .minimum = minimum, .order = order, .normalise = when};
}
constexpr Config in_bf16(Config c) {
  c.dtype = DType::bf16, c.router.precision = Precision::model, c.router.round_weight = 1;
  return c;
}

// Everything at once: groups' order, places, what is left normalised again.
constexpr Config full = of(8, 2, places(Rounding::mesh, 1, Order::probability, When::after));

// What a call must refuse, before it starts anything.
template <class F> void refused(char const* sentence, F&& f) {
#if defined(COTERIE_SIMT)
  simt::clear_calls();
#endif
  CHECK_THROWS_WITH_AS(f(), doctest::Contains(sentence), Error);
#if defined(COTERIE_SIMT)
  for (std::string const& call : simt::calls()) CHECK(call.find("Get") != std::string::npos);
#endif
}
template <Config C> void refusals(On<C>) {
  Memory<C> const at({}, make<C>(64, Trace::any, 1), 2);
  Dispatch<C, Cuda> const dispatch;
  std::span<std::byte> const scratch{at.scratch.data(), at.bytes};
  Routing<C> const routing = at.routing();
  Batch<C> const batch = at.batch();
  auto const with_routing = [&](void (*change)(Routing<C>&)) {
    Routing<C> r = routing;
    change(r);
    return [&, r] { dispatch({}, {}, r, batch, scratch); };
  };
  auto const with_batch = [&](void (*change)(Batch<C>&)) {
    Batch<C> b = batch;
    change(b);
    return [&, b] { dispatch({}, {}, routing, b, scratch); };
  };
  refused("Dispatch: routing.weight must have as many rows as routing.expert: got 63, want 64", with_routing([](Routing<C>& r) { r.weight.rows = 63; }));
  refused("Dispatch: batch.slot must have as many rows as routing: got 65, want 64", with_batch([](Batch<C>& b) { b.slot.rows = 65; }));
  refused("Dispatch: tokens must not be negative: got -1", with_routing([](Routing<C>& r) { r.expert.rows = r.weight.rows = -1; }));
  refused("Dispatch: tokens times slots must stay below 2^31", with_routing([](Routing<C>& r) { r.expert.rows = r.weight.rows = std::int64_t{1} << 30; }));
  refused("Dispatch: routing.expert is not set", with_routing([](Routing<C>& r) { r.expert.data = nullptr; }));
  refused("Dispatch: routing.weight is not set", with_routing([](Routing<C>& r) { r.weight.data = nullptr; }));
  refused("Dispatch: routing.weight's row stride must be at least its columns: got 1, want 2", with_routing([](Routing<C>& r) { r.weight.stride = 1; }));
  refused("Dispatch: batch.begin is not set", with_batch([](Batch<C>& b) { b.begin = nullptr; }));
  refused("Dispatch: batch.token is not set", with_batch([](Batch<C>& b) { b.token = nullptr; }));
  refused("Dispatch: batch.weight is not set", with_batch([](Batch<C>& b) { b.weight = nullptr; }));
  refused("Dispatch: batch.slot is not set", with_batch([](Batch<C>& b) { b.slot.data = nullptr; }));
  refused("Dispatch: batch.slot must be aligned to its elements", with_batch([](Batch<C>& b) { b.slot.data = reinterpret_cast<std::int32_t*>(reinterpret_cast<std::byte*>(b.slot.data) + 2); }));
  refused("must not overlap", [&] { dispatch({}, {}, routing, {.begin = batch.begin, .token = batch.token, .weight = batch.weight, .slot = routing.expert}, scratch); });
  refused("Dispatch: scratch is too small", [&] { dispatch({}, {}, routing, batch, scratch.first(at.bytes - 1)); });
  refused("Dispatch: Inputs::sequence must not be negative", [&] { dispatch({}, {.sequence = -1}, routing, batch, scratch); });
  Cuda small{};
  small.device.shared_bytes = 1024;
  refused("do not fit into a block's shared memory", [&] { dispatch(small, {}, routing, batch, scratch); });
  Cuda old{};
  old.device.major = 7;
  refused("the kernels need 8.0 or later", [&] { dispatch(old, {}, routing, batch, scratch); });
}
}

TEST_SUITE("cuda dispatch") {
  TEST_CASE("the host's maps: any number of experts and slots, whoever is empty") {
    all_sizes(On<of(1, 1)>{});
    all_sizes(On<of(3, 3)>{});
    all_sizes(On<of(8, 2)>{});
    all_sizes(On<of(60, 60)>{});
    all_sizes(On<with_null(of(5, 3), 4, 2)>{});
    all_sizes(On<of(513, 8)>{});
    all_sizes(On<of(1025, 2)>{});
    all_sizes(On<of(4097, 1)>{});
  }
  TEST_CASE("one warp for many experts") { check(On<of(16385, 2)>{}, make<of(16385, 2)>(257, Trace::any, 1), 6); }
  TEST_CASE("more pairs than one block sorts") {
    check(On<of(8, 8)>{}, make<of(8, 8)>(2048, Trace::any, 1), 3);       // the last that one block sorts
    check(On<of(8, 8)>{}, make<of(8, 8)>(2049, Trace::any, 2), 18);
    check(On<of(8, 8)>{}, make<of(8, 8)>(2049, Trace::one, 3), 3);
    check(On<with_null(of(1025, 2), 3, 1)>{}, make<with_null(of(1025, 2), 3, 1)>(16500, Trace::any, 4), 3);
    check(On<of(4097, 1)>{}, make<of(4097, 1)>(16385, Trace::half, 5), 3);
    constexpr Config drops = of(60, 2, places(Rounding::mesh, 1, Order::sequence));
    check(On<drops>{}, make<drops>(8200, Trace::any, 6, 100), 3);
    if (!simt::checked()) check(On<of(8, 8)>{}, make<of(8, 8)>(133000, Trace::any, 7), 1);         // and than so many blocks do at 16384 each
  }
  TEST_CASE("capacity: every rounding, order and rule of normalisation") {
    all_groups(On<of(8, 2, places(Rounding::mesh, 1.25f, Order::sequence, When::before, 4))>{});
    all_groups(On<of(8, 2, places(Rounding::flaxformer, 0.5f, Order::probability))>{});
    all_groups(On<of(3, 3, places(Rounding::deepspeed, 0.7f, Order::random))>{});
    all_groups(On<of(7, 1, places(Rounding::megablocks, 1, Order::sequence, When::after), {.epsilon = 0.125f, .scale = 3})>{});
    all_groups(On<of(8, 2, places(Rounding::fastmoe, 0.3f, Order::probability, When::after), {.normalise = Normalise::sum_clamp, .epsilon = 0.5f})>{});
    all_groups(On<in_bf16(of(5, 5, places(Rounding::nllb, 0, Order::random, When::after), {.scale = 2.5f}))>{});
    all_groups(On<in_bf16(of(513, 8, places(Rounding::nllb, 0.01f, Order::probability, When::after), {.normalise = Normalise::sum_clamp, .epsilon = 1e-6f}))>{});
    all_groups(On<of(1, 1, places(Rounding::mesh, 0.5f, Order::random))>{});
    check(On<of(1025, 1, places(Rounding::mesh, 1, Order::sequence))>{}, make<of(1025, 1)>(257, Trace::half, 3, 100));
  }
  TEST_CASE("expert choice has chosen within capacity: nobody is dropped") {
    all_sizes(On<of(3, 1, places(Rounding::megablocks, 0.5f, Order::sequence), {.select = Select::expert_choice, .normalise = Normalise::none})>{});
    all_sizes(On<of(33, 2, {}, {.input = RouterInput::given, .select = Select::expert_choice, .normalise = Normalise::none})>{});
  }

  // --- What holds the kernels together. ---
  TEST_CASE("without any of its synchronisations it is noticed") {
    if (!simt::checked()) return;
    auto const all = [a = same<full>(make<full>(257, Trace::any, 1, 100)), b = same<of(4097, 1)>(make<of(4097, 1)>(257, Trace::any, 2)), c = same<of(8, 8)>(make<of(8, 8)>(2049, Trace::any, 3))] {
      std::string const first = a(), second = b(), third = c();
      return first + second + third;
    };
    for (std::string const& name : simt::unnoticed(18, all)) CHECK_MESSAGE(false, name << " can be left out, and nobody notices");
#if defined(COTERIE_SIMT)
    simt::clear_syncs();
    CHECK(all() == "");
    CHECK(simt::syncs().size() == 19);                                   // of all five kernels
#endif
  }
  TEST_CASE("memory accesses: whole sectors, no bank conflicts; only rows of many experts are scattered") {
    if (!simt::checked()) return;
    constexpr Config drops = of(8, 1, places(Rounding::mesh, 1, Order::sequence));
    CHECK(simt::wasteful_lines(same<drops>(make<drops>(1024, Trace::one, 1))).empty());
    std::vector<std::string> const scattered = simt::wasteful_lines(same<of(1024, 8)>(make<of(1024, 8)>(2560, Trace::turns, 3)));
    CHECK(scattered.size() == 2);                                        // batch.token and batch.weight
    for (std::string const& line : scattered) CHECK_MESSAGE((line.find("write") != std::string::npos && line.find("sectors") != std::string::npos), line);
  }
  TEST_CASE("a failing call of the runtime throws and leaves nothing behind") {
    CHECK(simt::survives_failing_calls(same<full>(make<full>(64, Trace::any, 1))) == "");
    CHECK(simt::survives_failing_calls(same<of(8, 8)>(make<of(8, 8)>(2049, Trace::any, 1))) == "");
    CHECK(simt::survives_failing_calls(same<of(8, 8)>(make<of(8, 8)>(0, Trace::any, 1))) == "");
  }
#if defined(COTERIE_SIMT)
  TEST_CASE("each kernel lets the next one begin beside it") {
    auto const overlapping = []<Config C>(On<C>, Case const& k) {
      Memory<C> const at({}, k, slots(C));
      return cuda_tests::overlapping(2, [&] { at.run({}, k), coterie::check(cudaDeviceSynchronize()); });              // but the router's stand-in, and who is behind it
    };
    CHECK(overlapping(On<full>{}, make<full>(257, Trace::any, 1, 100)) == "");
    CHECK(overlapping(On<of(8, 8)>{}, make<of(8, 8)>(2049, Trace::any, 1)) == "");
  }
  TEST_CASE("one launch up to 16,384 pairs, two above") {
    auto const launches = [](std::int64_t tokens) {
      Case const k = make<of(8, 2)>(tokens, Trace::any, 1);
      Memory<of(8, 2)> const at({}, k, 2);
      simt::clear_calls();
      at.run({}, k);
      std::vector<std::string> const calls = simt::calls();
      CHECK(simt::failure_of([&] { return difference(at.maps(), by_host<of(8, 2)>(k, 2)); }) == "");
      return std::ranges::count(calls, "cudaLaunchKernelEx") - 1;          // but the router's stand-in
    };
    CHECK(launches(8192) == 1);
    CHECK(launches(8193) == 2);
  }
  TEST_CASE("on a device without programmatic launches") {
    simt::Config const before = simt::config();
    simt::config().device.major = 8;
    check(On<full>{}, make<full>(257, Trace::any, 1, 100));
    check(On<of(8, 8)>{}, make<of(8, 8)>(2049, Trace::any, 1), 3);
    simt::config() = before;
  }
#endif
  TEST_CASE("captured once, right for any routing") {
    Case const first = make<full>(257, Trace::any, 1, 100), second = make<full>(257, Trace::half, 1, 100);
    CHECK(simt::survives(18, [&] {
      Memory<full> const at({}, first, 2);
      cudaStream_t stream;
      cudaGraph_t graph;
      cudaGraphExec_t executable;
      coterie::check(cudaStreamCreate(&stream));
      Cuda on{};
      on.stream = stream;
      coterie::check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
      at.run(on, first);
      coterie::check(cudaStreamEndCapture(stream, &graph));
      coterie::check(cudaGraphInstantiate(&executable, graph, 0));
      std::string wrong;
      for (Case const* k : {&first, &second}) {
        at.give(*k);
        coterie::check(cudaGraphLaunch(executable, stream));
        coterie::check(cudaStreamSynchronize(stream));
        if (wrong.empty()) wrong = difference(at.maps(), by_host<full>(*k, 2));
      }
      coterie::check(cudaGraphExecDestroy(executable));
      coterie::check(cudaGraphDestroy(graph));
      coterie::check(cudaStreamDestroy(stream));
      return wrong;
    }) == "");
  }

  // --- What it is given. ---
  TEST_CASE("ids that are no expert have no row; where the host refuses them, nothing is written that is not the batch's") {
    constexpr Config c = of(8, 2, places(Rounding::mesh, 1, Order::sequence));
    Case wild = make<c>(64, Trace::any, 1), tame = wild;
    cases::Random random{7};
    for (std::size_t i = 0; i < wild.expert.size(); i += 3) wild.expert[i] = std::array{8, -2, INT32_MAX, INT32_MIN, 1 << 20}[static_cast<std::size_t>(random.below(5))], tame.expert[i] = -1;
    Same<c> const mapped{.k = wild, .want = by_host<c>(tame, 2)};
    CHECK(simt::survives(18, mapped) == "");
    // Expert choice of a caller's who does not keep to the capacity: two rows an expert, and eight of four are asked for.
    constexpr Config choice = of(4, 1, {}, {.select = Select::expert_choice, .normalise = Normalise::none});
    Case const greedy{.tokens = 8, .expert = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3}, .weight = Floats(32, 1)};
    CHECK(simt::survives(18, [&] {
      Memory<choice> const at({}, greedy, 4);
      at.run({}, greedy);
      Maps const m = at.maps();
      return m.begin == Ids{0, 8, 8, 8, 8} && m.token == Ids{0, 1, 2, 3, 4, 5, 6, 7} && std::ranges::count(m.slot, -1) == 24;
    }) == "");
  }
  TEST_CASE("scratch of any alignment, exactly as large as it must be") {
    constexpr Config c = of(8, 8, places(Rounding::mesh, 1, Order::random));
    Case const k = make<c>(2049, Trace::any, 1, 1000);
    Maps const want = by_host<c>(k, 8);
    for (std::size_t shift : {1, 63, 255}) {
      Memory<c> const at({}, k, 8, shift);
      CHECK(simt::failure_of([&] {
        at.run({}, k);
        return difference(at.maps(), want);
      }) == "");
    }
  }
  TEST_CASE("refused with a sentence, before anything starts") { refusals(On<full>{}); }
  TEST_CASE("enqueues only: launches and nothing else") {
#if defined(COTERIE_SIMT)
    constexpr Config c = of(8, 8, places(Rounding::mesh, 1, Order::probability, When::after));
    Case const k = make<c>(2049, Trace::any, 1, 1000);
    Memory<c> const at({}, k, 8);
    at.run({}, k);
    Cuda const on{};
    simt::clear_calls();
    Dispatch<c, Cuda>{}(on, {.sequence = k.sequence, .seed = k.seed}, at.routing(), at.batch(), {at.scratch.data(), at.bytes});
    std::vector<std::string> const calls = simt::calls();
    CHECK(calls.size() == 5);
    for (std::string const& call : calls) CHECK(call.find("Launch") != std::string::npos);
    CHECK(simt::failure_of([] {}) == "");
#endif
  }
}

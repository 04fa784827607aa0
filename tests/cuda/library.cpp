// The stages made of libraries against our own: dispatch by CUB, experts by cuBLASLt, and the bundle of both. In the emulator the
// libraries' calls are computed by the host, and the kernels around them run.
#include <cuda/support.hpp>
#include <coterie/dispatch/cub.cuh>
#if __has_include(<cublasLt.h>)
#include <coterie/library.cuh>
#define WITH_CUBLASLT 1
#endif
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>
#include "../cases.hpp"
#include "router_case.hpp"

namespace {
using namespace coterie;
using Ids = std::vector<std::int32_t>;
using Floats = std::vector<float>;

std::size_t sized(std::int64_t n) { return static_cast<std::size_t>(n > 0 ? n : 1); }

constexpr Config sorted(int experts, int top_k, CapacityConfig capacity = {}, RouterConfig router = {}) {
  return {.experts = experts, .top_k = top_k, .hidden = 8, .ffn = 8, .router = router, .capacity = capacity};
}
struct OwnChoice {
  std::int64_t tokens = 0, sequence = 0;
  std::uint64_t seed = 0;
  Ids expert{};
  Floats weight{};
};
// skew: 0 any expert, 1 one for all, 2 nobody.
template <Config C> OwnChoice choose(std::int64_t tokens, int skew, std::uint64_t seed) {
  cases::Random random{seed};
  OwnChoice c{.tokens = tokens, .sequence = skew == 0 && tokens > 9 ? tokens / 3 : 0, .seed = seed};
  for (std::int64_t i = 0; i < tokens * slots(C); ++i) {
    std::int32_t const any = C.router.select == Select::expert_choice ? static_cast<std::int32_t>(i % slots(C)) : random.below(candidates(C));
    c.expert.push_back(skew == 2 || random.one_in(9) ? -1 : skew == 1 && C.router.select != Select::expert_choice ? C.experts - 1 : any);
    c.weight.push_back(static_cast<float>(random.below(9)) / 8);
  }
  return c;
}
Ids bits(Floats const& v) {                      // NaN is what remains of weights that are all zero
  Ids to;
  for (float f : v) to.push_back(bit_cast<std::int32_t>(f));
  return to;
}
struct Maps {
  Ids begin, token, slot, row_weight, weight;    // weights by their bits
  bool operator==(Maps const&) const = default;
};
// What a router may be: a kernel that writes the routing just before dispatch reads it.
__global__ void give_kernel(std::int32_t const* expert, float const* weight, std::int64_t n, std::int32_t* to, float* to_weight) {
  for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) to[i] = expert[i], to_weight[i] = weight[i];
}
template <Config C> struct Sorting {
  std::size_t pairs;
  simt::Array<std::int32_t> given, expert, begin, token, slot;
  simt::Array<float> given_weight, weight, row_weight;
  explicit Sorting(OwnChoice const& c)
      : pairs(sized(c.tokens * slots(C))), given(pairs), expert(pairs), begin(Ids(C.experts + 1, -5)), token(Ids(sized(rows_bound(C, c.tokens)), -5)), slot(Ids(pairs, -5)), given_weight(pairs),
        weight(pairs), row_weight(Floats(token.size(), -5)) {
    give(c);
  }
  void give(OwnChoice const& c) const {
    Ids e = c.expert;
    Floats w = c.weight;
    e.resize(pairs, -5), w.resize(pairs, -5);
    given.put(e), given_weight.put(w);
  }
  template <class Stage> void run(Stage const& stage, Cuda const& on, OwnChoice const& c, std::span<std::byte> scratch) const {
    launch(give_kernel, Launch{.grid = 1, .block = 64}, on.stream, Where::here(), given.data(), given_weight.data(), static_cast<std::int64_t>(pairs), expert.data(), weight.data());
    stage(on, {.sequence = c.sequence, .seed = c.seed}, {.expert = {expert.data(), c.tokens}, .weight = {weight.data(), c.tokens}},
          {.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), c.tokens}}, scratch);
  }
  Maps maps() const { return {begin.get(), token.get(), slot.get(), bits(row_weight.get()), bits(weight.get())}; }
};
template <Config C, class Stage> Maps sort_by(Stage const& stage, OwnChoice const& c) {
  Cuda const on{};
  Sorting<C> const at{c};
  simt::Array<std::byte> const scratch{c.tokens ? stage.workspace_bytes(on, c.tokens) : 0};
  at.run(stage, on, c, {scratch.data(), scratch.size()});
  return at.maps();
}
template <Config C> bool sorts_as_ours(OwnChoice const& c) { return sort_by<C>(CubDispatch<C>{}, c) == sort_by<C>(Dispatch<C, Cuda>{}, c); }

template <Config C> void check_sorts() {
  for (std::int64_t tokens : {0, 1, 7, 64, 257, 700})
    for (int skew : {0, 1, 2}) {
      OwnChoice const c = choose<C>(tokens, skew, static_cast<std::uint64_t>(tokens + skew) + 1);
      CAPTURE(tokens);
      CAPTURE(skew);
      CAPTURE(C.experts);
      CHECK(simt::survives(tokens == 257 && skew == 0 ? 18 : 2, [&] { return sorts_as_ours<C>(c); }) == "");
    }
}
constexpr CapacityConfig tight{.rounding = Rounding::megablocks, .factor = 0.75f, .order = Order::probability, .normalise = When::after};
}

TEST_SUITE("cuda library: dispatch by CUB") {
  TEST_CASE("the maps of our own dispatch, element by element") {
    check_sorts<sorted(8, 2)>();
    check_sorts<sorted(1, 1)>();
    check_sorts<sorted(7, 7)>();
    check_sorts<sorted(300, 4)>();
    check_sorts<sorted(8, 2, tight)>();
    check_sorts<sorted(60, 3, {.rounding = Rounding::deepspeed, .factor = 0.5f})>();
    check_sorts<sorted(5, 2, {}, {.select = Select::expert_choice, .normalise = Normalise::none})>();
    constexpr Config null = [] { Config c = sorted(6, 3); c.expert.identity = 2, c.expert.skip = 1; return c; }();
    check_sorts<null>();
  }
  TEST_CASE("more experts than our own can count") {
    constexpr Config many = sorted(70000, 2);
    OwnChoice const c = choose<many>(257, 0, 3);
    CHECK(simt::survives(3, [&] {
      Maps const maps = sort_by<many>(CubDispatch<many>{}, c);
      std::int32_t row = 0;
      for (std::int32_t e = 0; e < many.experts; ++e) {                  // by its definition
        if (maps.begin[static_cast<std::size_t>(e)] != row) return false;
        for (std::size_t i = 0; i < c.expert.size(); ++i)
          if (c.expert[i] == e && (maps.slot[i] != row || maps.token[static_cast<std::size_t>(row)] != static_cast<std::int32_t>(i / 2) || maps.row_weight[static_cast<std::size_t>(row++)] != bit_cast<std::int32_t>(c.weight[i]))) return false;
      }
      for (std::size_t i = 0; i < c.expert.size(); ++i)
        if (c.expert[i] < 0 && maps.slot[i] != -1) return false;
      return maps.begin[many.experts] == row;
    }) == "");
  }
  TEST_CASE("every synchronisation is needed, every failing call is told") {
    OwnChoice const c = choose<sorted(8, 2, tight)>(257, 0, 5);
    Maps const want = sort_by<sorted(8, 2)>(Dispatch<sorted(8, 2), Cuda>{}, c);
    auto const sorts = [&] { return sort_by<sorted(8, 2)>(CubDispatch<sorted(8, 2)>{}, c) == want; };
    if (simt::checked()) CHECK(simt::unnoticed(18, sorts).empty());      // those of capacity are dispatch.cpp's business
#if defined(COTERIE_SIMT)
    simt::clear_syncs();
    CHECK(sorts());
    CHECK(simt::syncs() == std::vector<std::string>{"pair_keys: the kernel ahead"});
#endif
    CHECK(simt::survives_failing_calls([&] { (void)sort_by<sorted(8, 2, tight)>(CubDispatch<sorted(8, 2, tight)>{}, c); }) == "");
  }
  TEST_CASE("workspace: exact, and never less for more tokens") {
    Cuda const on{};
    CubDispatch<sorted(8, 2, tight)> const stage;
    std::size_t before = 0;
    for (std::int64_t tokens : {1, 2, 63, 64, 1000, 4096, 5000, 70000, 1 << 20}) {
      CHECK(stage.workspace_bytes(on, tokens) >= before);
      before = stage.workspace_bytes(on, tokens);
    }
    OwnChoice const c = choose<sorted(8, 2, tight)>(64, 0, 1);
    Sorting<sorted(8, 2, tight)> const at{c};
    simt::Array<std::byte> const scratch{stage.workspace_bytes(on, 64)};
    at.run(stage, on, c, {scratch.data(), scratch.size()});
    check(cudaDeviceSynchronize());
    CHECK_THROWS_WITH_AS(at.run(stage, on, c, {scratch.data(), scratch.size() - 1}), doctest::Contains("CubDispatch: scratch is too small: got"), Error);
    CHECK_THROWS_WITH_AS(stage(on, {}, {.expert = {at.expert.data(), 64}, .weight = {at.weight.data(), 63}}, {}, {}), doctest::Contains("routing.weight must have as many rows"), Error);
  }
  TEST_CASE("captured once, right for every routing") {
    constexpr Config C = sorted(8, 2, tight);
    CubDispatch<C> const stage;
    static_assert(decltype(stage)::enqueues_only);
    CHECK(simt::survives(18, [&] {
      Cuda on{};
      check(cudaStreamCreateWithFlags(&on.stream, cudaStreamNonBlocking));
      OwnChoice const first = choose<C>(257, 0, 1), second = choose<C>(257, 1, 2);
      Sorting<C> const at{first};
      simt::Array<std::byte> const scratch{stage.workspace_bytes(on, 257)};
      cudaGraph_t graph;
      cudaGraphExec_t executable;
      check(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeGlobal));
      OwnChoice captured = first;
      captured.sequence = 0;
      at.run(stage, on, captured, {scratch.data(), scratch.size()});
      check(cudaStreamEndCapture(on.stream, &graph));
      check(cudaGraphInstantiate(&executable, graph, 0));
      bool right = true;
      for (OwnChoice given : {first, second}) {
        given.sequence = captured.sequence, given.seed = captured.seed;
        at.give(given);
        check(cudaGraphLaunch(executable, on.stream));
        check(cudaStreamSynchronize(on.stream));
        Maps const want = sort_by<C>(Dispatch<C, Cuda>{}, given), got = at.maps();
        right = right && got.begin == want.begin && got.slot == want.slot && got.weight == want.weight;
        for (std::int32_t r = 0; r < want.begin[C.experts]; ++r) right = right && got.token[static_cast<std::size_t>(r)] == want.token[static_cast<std::size_t>(r)];
      }
      check(cudaGraphExecDestroy(executable));
      check(cudaGraphDestroy(graph));
      check(cudaStreamDestroy(on.stream));
      return right;
    }) == "");
  }
}

#if defined(WITH_CUBLASLT)
namespace {

// Small whole numbers: with activations that keep them whole, what lies between the products is exact in every type, and so both stages
// must agree in every bit. whole 0: any numbers.
template <Config C> struct Numbers {
  using V = element_t<C.dtype>;
  static constexpr int E = C.experts, F = C.ffn, W = width(C), H = C.hidden;
  std::vector<V> x, router, gate, up, down;
  Floats gate_bias, up_bias, down_bias;
  std::unique_ptr<Packed<C, Cuda>> packed;

  Numbers(std::int64_t tokens, bool whole, std::uint64_t seed) {
    cases::Random random{seed};
    auto const some = [&](std::int64_t n, int most, float size) {
      std::vector<V> v;
      for (std::int64_t i = 0; i < n; ++i) v.push_back(from_float<V>(whole ? static_cast<float>(random.below(2 * most + 1) - most) : size * static_cast<float>(random.normal())));
      return v;
    };
    auto const floats = [&](std::int64_t n) {
      Floats v;
      for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(random.below(9) - 4) / (whole ? 1 : 8));
      return v;
    };
    float const in = 1 / std::sqrt(static_cast<float>(W)), back = 1 / std::sqrt(static_cast<float>(F));
    x = some(tokens * H, 2, 1), router = some(E * H, 1, in);
    gate = some(std::int64_t{E} * F * W, 1, in), up = some(std::int64_t{E} * F * W, 1, in), down = some(std::int64_t{E} * W * F, 1, back);
    gate_bias = floats(E * F), up_bias = floats(E * F), down_bias = floats(E * W);
    Weights<C> raw;
    if constexpr (C.router.input == RouterInput::hidden) raw.router.data = router.data();
    for (std::size_t e = 0; e < E; ++e) {
      raw.gate[e].data = &gate[e * F * W], raw.up[e].data = &up[e * F * W], raw.down[e].data = &down[e * W * F];
      if constexpr (C.expert.bias) raw.gate_bias[e] = &gate_bias[e * F], raw.up_bias[e] = &up_bias[e * F], raw.down_bias[e] = &down_bias[e * W];
    }
    packed = std::make_unique<Packed<C, Cuda>>(pack(Cuda{}, raw));
  }
};

// A batch on the device, and what experts make of it. stride 0: rows of out as wide as they are.
template <Config C> struct Experting {
  using V = element_t<C.dtype>;
  std::int64_t tokens, stride;
  simt::Array<V> x;
  simt::Array<std::int32_t> begin, token;
  simt::Array<float> weight;
  // Rows are dealt out unevenly; every third expert has none.
  Experting(Numbers<C> const& n, std::int64_t t, bool one, std::uint64_t seed, std::int64_t out_stride = width(C))
      : tokens(t), stride(out_stride), x(n.x), begin(C.experts + 1), token(sized(rows_bound(C, t))), weight(token.size()) {
    cases::Random random{seed};
    Ids counts(C.experts, 0), ends(1, 0), tokens_of(token.size(), -1);
    for (std::int64_t r = 0, rows = rows_bound(C, t) - random.below(2); r < rows; ++r) {
      int const e = one ? C.experts - 1 : random.below(C.experts);
      ++counts[static_cast<std::size_t>(e % 3 == 1 && C.experts > 2 ? e - 1 : e)];
    }
    for (std::int32_t c : counts) ends.push_back(ends.back() + c);
    for (std::int32_t r = 0; r < ends.back(); ++r) tokens_of[static_cast<std::size_t>(r)] = random.below(t);
    Floats weights(token.size());
    for (float& w : weights) w = static_cast<float>(random.below(5)) / 4;
    begin.put(ends), token.put(tokens_of), weight.put(weights);
  }
  template <class Stage> std::vector<V> by(Stage const& stage, Cuda const& on, PackedView<C, Cuda> view) const {
    std::int64_t const rows = rows_bound(C, tokens);
    V poison{};
    poison = from_float<V>(-77);
    simt::Array<V> const out{std::vector<V>(sized(rows * stride), poison)};
    simt::Array<std::byte> const scratch{stage.workspace_bytes(on, tokens)};
    stage(on, {x.data(), tokens}, view, {.begin = begin.data(), .token = token.data(), .weight = weight.data()}, {out.data(), rows, stride}, {scratch.data(), scratch.size()});
    return out.get();
  }
};
template <class V> double apart(std::vector<V> const& a, std::vector<V> const& b) {                      // of the largest value
  double worst = 0, size = 1e-30;
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (std::memcmp(&a[i], &b[i], sizeof(V)) == 0) continue;
    double const d = std::fabs(static_cast<double>(to_float(a[i])) - to_float(b[i]));
    worst = d > worst || !(d == d) ? d : worst;
  }
  for (V v : b) size = std::max(size, static_cast<double>(std::fabs(to_float(v))));
  return worst / size;
}

// Stage against our own experts by the plain path: equal when the numbers are whole, else within `most` of the largest value.
template <Config C, template <Config> class Stage> void check_experts(double most, std::int64_t stride = width(C), int schedules = 2) {
  Cuda plain{}, on{};
  plain.arch = Arch::plain;
  for (std::int64_t tokens : {1, 7, 33}) {
    bool const one = tokens == 7;
    CAPTURE(tokens);
    CAPTURE(C.experts);
    Numbers<C> const numbers{tokens, most == 0, 1};
    Experting<C> const at{numbers, tokens, one, 2, stride};
    PackedView<C, Cuda> const view = numbers.packed->view();
    PackedView<C, Cuda> shard = view;              // computes its rows and leaves the others
    shard.first_expert = C.experts / 3, shard.experts = C.experts / 2;
    auto const want = at.by(Experts<C, Cuda>{}, plain, view), want_shard = at.by(Experts<C, Cuda>{}, plain, shard);
    CHECK(simt::survives(tokens == 33 ? schedules : 1, [&]() -> std::string {
      double const worst = std::max(apart(at.by(Stage<C>{}, on, view), want), apart(at.by(Stage<C>{}, on, shard), want_shard));
      return worst <= most ? std::string() : "differs by " + std::to_string(worst) + " of the largest value";
    }) == "");
  }
}
constexpr Config experts(int n, int top_k, int hidden, int ffn, DType type, Act act, int bias = 0) {
  return {.experts = n, .top_k = top_k, .hidden = hidden, .ffn = ffn, .dtype = type, .weights = type, .router = {.weights = type}, .expert = {.act = act, .bias = bias}};
}
constexpr Config at_input = [] { Config c = experts(6, 2, 24, 16, DType::bf16, Act::relu_mul); c.router.place = Place::input; return c; }();
template <Config C> void router_refuses_less_scratch() {
  cuda_tests::OnDevice<C, CublasltRouter<C>> const at(Cuda{}, cuda_tests::RouterCase<C>({.tokens = 7}));
  CHECK_THROWS_WITH_AS(CublasltRouter<C>{}(Cuda{}, at.inputs(), at.view(), at.routing(), at.workspace().first(at.bytes - 1)), doctest::Contains("CublasltRouter: scratch is too small"), Error);
}
constexpr Config whole = experts(8, 2, 32, 24, DType::bf16, Act::relu_mul);
}

TEST_SUITE("cuda library: experts by cuBLASLt") {
  TEST_CASE("a product per expert: equal to our own on whole numbers, near it on others") {
    check_experts<whole, CublasltExperts>(0, 32, 18);
    check_experts<experts(5, 3, 13, 9, DType::fp16, Act::relu_mul), CublasltExperts>(0, 17);
    check_experts<experts(3, 1, 40, 33, DType::fp32, Act::relu2), CublasltExperts>(0);
    check_experts<experts(7, 2, 20, 17, DType::bf16, Act::relu), CublasltExperts>(0);
    check_experts<at_input, CublasltExperts>(0);
    check_experts<experts(8, 2, 64, 48, DType::bf16, Act::silu_mul), CublasltExperts>(0x1p-6);
    check_experts<experts(4, 2, 32, 20, DType::fp16, Act::oai_mul, 1), CublasltExperts>(0x1p-9);
    check_experts<experts(4, 4, 32, 20, DType::fp32, Act::gelu_tanh_mul, 1), CublasltExperts>(0x1p-20);
  }
  TEST_CASE("a product per expert: refusals, exact workspace, failing calls") {
    constexpr Config C = experts(4, 2, 16, 12, DType::bf16, Act::relu_mul);
    Numbers<C> const numbers{64, true, 1};
    Experting<C> const at{numbers, 64, false, 2};
    CublasltExperts<C> const stage;
    static_assert(!CublasltExperts<C>::enqueues_only);
    Cuda const on{};
    simt::Array<bf16> const out{sized(rows_bound(C, 64) * C.hidden)};
    simt::Array<std::byte> const scratch{stage.workspace_bytes(on, 64)};
    auto const call = [&](std::size_t bytes, std::int32_t* begin, auto const& view) {           // no name of its type here: nvcc 13.0 loses it
      stage(on, {at.x.data(), 64}, view, {.begin = begin, .token = at.token.data(), .weight = at.weight.data()}, {out.data(), rows_bound(C, 64)}, {scratch.data(), bytes});
    };
    auto const view = numbers.packed->view();
    auto outside = view;
    outside.first_expert = 3, outside.experts = 2;
    CHECK_NOTHROW(call(scratch.size(), at.begin.data(), view));
    CHECK_THROWS_WITH_AS(call(scratch.size() - 1, at.begin.data(), view), doctest::Contains("CublasltExperts: scratch is too small: got"), Error);
    CHECK_THROWS_WITH_AS(call(scratch.size(), nullptr, view), doctest::Contains("batch.begin is not set"), Error);
    CHECK_THROWS_WITH_AS(call(scratch.size(), at.begin.data(), outside), doctest::Contains("the packed shard must lie within"), Error);
    for (Ids const& wrong : {Ids{0, 9, 5, 9, 9}, Ids{0, 9, 9, 9, 999}, Ids{-3, 9, 9, 9, 9}}) {
      simt::Array<std::int32_t> const begin{wrong};
      CHECK_THROWS_WITH_AS(call(scratch.size(), begin.data(), view), doctest::Contains("CublasltExperts: batch.begin must grow up to the rows of the batch"), Error);
      check(cudaDeviceSynchronize());
    }
    CHECK(stage.explain(on, 64).find("a baseline, up to 128 rows") != std::string::npos);
    CHECK(simt::survives_failing_calls([&] { (void)at.by(CublasltExperts<C>{}, on, view); }) == "");
    stage(on, {at.x.data(), 0}, view, {}, {}, {});                       // no tokens: nothing is needed, nothing is done
  }
  TEST_CASE("a router's logits by cuBLASLt: the host's routing, bit for bit, where sums are exact") {
    constexpr Config biased{.experts = 9, .top_k = 2, .hidden = 40, .ffn = 1, .router = {.bias = 1}};
    constexpr Config noisy{.experts = 6, .top_k = 2, .hidden = 33, .ffn = 1, .dtype = DType::fp16, .weights = DType::fp16, .router = {.precision = Precision::fp32, .weights = DType::fp16, .noise = Noise::softplus, .noise_size = 0.01f}};
    constexpr Config jittered{.experts = 6, .top_k = 2, .hidden = 40, .ffn = 1, .router = {.noise = Noise::jitter, .noise_size = 0.125f}};
    constexpr Config given = cuda_tests::of(8, 2, {.bias = 1});
    for (std::int64_t tokens : {0, 1, 70}) {
      CAPTURE(tokens);
      int const schedules = tokens == 70 ? 18 : 2;
      CHECK(simt::survives(schedules, cuda_tests::Same<biased, CublasltRouter<biased>>({.tokens = tokens, .gap = 1, .x_gap = 3, .whole = 1})) == "");
      CHECK(simt::survives(schedules, cuda_tests::Same<noisy, CublasltRouter<noisy>>({.tokens = tokens, .seed = 5, .whole = 1})) == "");
      CHECK(simt::survives(2, cuda_tests::Same<jittered, CublasltRouter<jittered>>({.tokens = tokens, .whole = 1})) == "");
      CHECK(simt::survives(2, cuda_tests::Same<given, CublasltRouter<given>>({.tokens = tokens})) == "");
    }
    CHECK(simt::survives_failing_calls(cuda_tests::Same<biased, CublasltRouter<biased>>({.tokens = 7, .whole = 1})) == "");
    cuda_tests::Same<biased, CublasltRouter<biased>> const held({.tokens = 64, .whole = 1, .logits = 0});
    if (simt::checked())
      for (std::string const& name : simt::unnoticed(18, held)) CHECK_MESSAGE(false, name << " can be left out, and nobody notices");
#if defined(COTERIE_SIMT)
    simt::clear_syncs();
    CHECK(held() == "");
    CHECK(simt::syncs() == std::vector<std::string>{"route_warp: the kernel ahead"});
#endif
    CHECK(CublasltRouter<biased>{}.explain(Cuda{}, 70).find("logits by cuBLASLt") == 0);
    CHECK(CublasltRouter<given>{}.explain(Cuda{}, 70).find("the caller's logits") == 0);
    router_refuses_less_scratch<biased>();
  }
  TEST_CASE("the bundle of libraries' stages: the layer of our own") {
    using Library = Layer<whole, Cuda, LibraryStages<whole>>;
    static_assert(decltype(Library::S::dispatch)::enqueues_only);
    for (std::int64_t tokens : {1, 64, 90}) {
      CAPTURE(tokens);
      Cuda plain{}, on{};
      plain.arch = Arch::plain;
      Numbers<whole> const numbers{tokens, true, 3};
      simt::Array<bf16> const x{numbers.x};
      auto const forward = [&](auto const& layer, Cuda const& where) {
        simt::Array<bf16> const y{static_cast<std::size_t>(tokens * whole.hidden)};
        simt::Array<std::byte> const memory{layer.workspace_bytes(where, tokens)};
        layer.forward(where, rows<whole.hidden>(x.data(), tokens), rows<whole.hidden>(y.data(), tokens), {memory.data(), memory.size()});
        return y.get();
      };
      auto const want = forward(Layer<whole, Cuda>{numbers.packed->view()}, plain);
      auto const same = [&] { return apart(forward(Library{numbers.packed->view()}, on), want) == 0; };
      CHECK(simt::survives(tokens == 64 ? 18 : 2, same) == "");
      if (tokens == 64) CHECK(simt::survives_failing_calls(same) == "");
    }
  }
#if CUBLAS_VERSION >= 130300
  TEST_CASE("grouped matmul: equal to our own on whole numbers, near it on others") {
    if (!CublasltGroupedExperts<whole>::supports(Cuda{})) return;
    check_experts<whole, CublasltGroupedExperts>(0, 32, 18);
    check_experts<experts(40, 2, 16, 9, DType::fp16, Act::relu2), CublasltGroupedExperts>(0, 24);
    check_experts<at_input, CublasltGroupedExperts>(0);
    check_experts<experts(6, 3, 64, 48, DType::bf16, Act::silu_mul, 1), CublasltGroupedExperts>(0x1p-6);
#if defined(COTERIE_SIMT)
    simt::config().device.major = 10;            // there the factors are a pointer for each group
    check_experts<at_input, CublasltGroupedExperts>(0);
    simt::config().device.major = 9;
#endif
  }
  TEST_CASE("grouped matmul: refused where there is none, and what it is given") {
    constexpr Config C = experts(4, 2, 16, 12, DType::bf16, Act::relu_mul);
    using Grouped = CublasltGroupedExperts<C>;
    static_assert(Grouped::enqueues_only && std::is_same_v<decltype(LibraryStages<C>::experts), Grouped>);
    constexpr Config wide = experts(4, 2, 16, 12, DType::fp32, Act::relu);
    static_assert(std::is_same_v<decltype(LibraryStages<wide>::experts), CublasltExperts<wide>>);
    Cuda on{};
    Numbers<C> const numbers{64, true, 1};
    Experting<C> const at{numbers, 64, false, 2}, narrow{numbers, 64, false, 2, 17};
    Grouped const stage;
    for (int major : {8, 12}) {
      on.device.major = major, on.device.hopper = 0;
      CHECK_THROWS_WITH_AS(at.by(stage, on, numbers.packed->view()), doctest::Contains("grouped matmul needs cuBLAS 13.4 on a device of compute capability 9.0, 13.3 on 10.x and 11.x"), Error);
      CHECK(stage.explain(on, 64).find("refused here") != std::string::npos);
    }
    on = Cuda{};
    if (!Grouped::supports(on)) return;
    CHECK_THROWS_WITH_AS(narrow.by(stage, on, numbers.packed->view()), doctest::Contains("rows of out must be aligned to 16 bytes"), Error);
    CHECK(simt::survives_failing_calls([&] { (void)at.by(Grouped{}, on, numbers.packed->view()); }) == "");
  }
  TEST_CASE("the bundle captured once, right for every routing") {
    using Library = Layer<whole, Cuda, LibraryStages<whole>>;
    if (!CublasltGroupedExperts<whole>::supports(Cuda{})) return;
    CHECK(simt::survives(18, [&] {
      Cuda on{}, plain{};
      plain.arch = Arch::plain;
      check(cudaStreamCreateWithFlags(&on.stream, cudaStreamNonBlocking));
      Numbers<whole> const first{64, true, 3}, second{64, true, 4};
      simt::Array<bf16> const x{first.x}, y{first.x.size()}, want{first.x.size()};
      Library const layer{first.packed->view()};
      Layer<whole, Cuda> const own{first.packed->view()};
      simt::Array<std::byte> const memory{layer.workspace_bytes(on, 64)}, own_memory{own.workspace_bytes(plain, 64)};
      cudaGraph_t graph;
      cudaGraphExec_t executable;
      check(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeGlobal));
      layer.forward(on, rows<whole.hidden>(x.data(), 64), rows<whole.hidden>(y.data(), 64), {memory.data(), memory.size()});
      check(cudaStreamEndCapture(on.stream, &graph));
      check(cudaGraphInstantiate(&executable, graph, 0));
      bool right = true;
      for (auto const* given : {&first.x, &second.x}) {
        x.put(*given);
        check(cudaGraphLaunch(executable, on.stream));
        check(cudaStreamSynchronize(on.stream));
        own.forward(plain, rows<whole.hidden>(x.data(), 64), rows<whole.hidden>(want.data(), 64), {own_memory.data(), own_memory.size()});
        right = right && apart(y.get(), want.get()) == 0;
      }
      check(cudaGraphExecDestroy(executable));
      check(cudaGraphDestroy(graph));
      check(cudaStreamDestroy(on.stream));
      return right;
    }) == "");
  }
#endif
}
#endif

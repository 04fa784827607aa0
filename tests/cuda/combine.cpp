// Combine on the GPU: the order and the roundings of the routed sum, null experts, the way up from a latent width, shared experts;
// against the definition, and to the host's bits where both do the same arithmetic.
#include "combine_case.hpp"

namespace {
using namespace cuda_tests;
using ct::Accumulate, ct::Arch, ct::Config, ct::DType, ct::LatentNorm, ct::SharedMix;

constexpr Config of(int experts, int top_k, int hidden, DType dtype, Accumulate how = Accumulate::fp32) {
  return {.experts = experts, .top_k = top_k, .hidden = hidden, .ffn = 1, .dtype = dtype, .weights = dtype,
          .router = {.input = ct::RouterInput::given}, .shared = {.weights = dtype}, .combine = how};
}
constexpr Config with_null(Config c, int identity, int skip) {
  c.expert.identity = identity, c.expert.skip = skip;
  return c;
}
constexpr Config with_shared(Config c, SharedMix mix) {
  c.shared.ffn = 1, c.shared.mix = mix;
  return c;
}
constexpr Config with_routed_scale(Config c, float scale) {
  c.router.scale = scale, c.router.scale_on = ct::ScaleOn::routed_sum;
  return c;
}
constexpr Config with_place(Config c, ct::Place place) {
  c.router.place = place;
  return c;
}
constexpr Config with_latent(Config c, int width, LatentNorm norm) {
  c.expert.latent = width, c.expert.latent_norm = norm;
  return c;
}
constexpr Config expert_choice(Config c) {
  c.router.select = ct::Select::expert_choice, c.router.normalise = ct::Normalise::none;
  return c;
}

template <Config C> void check_paths(CombineCase<C>& c) {
  c.finish();
  for (Arch path : arches()) {
    std::string const arch = name(path);
    CAPTURE(arch);
    CHECK(simt::failure_of([&] { return c.failure(path); }) == "");
    if constexpr (CombineCase<C>::same_arithmetic) {
      auto const y = c.y(), host = c.host();
      long wrong = 0;
      for (std::size_t i = 0; i < y.size(); ++i) wrong += std::memcmp(&y[i], &host[i], sizeof y[i]) != 0;
      CHECK(wrong == 0);
    }
    if (C.expert.latent == 0) break;                                     // only the product on the way up depends on the path
  }
}
// Aligned rows, 16 bytes at a time where the width allows; and rows that can be read one value at a time only.
template <Config C> void check(std::vector<int> const& tokens, Numbers kind = Numbers::real) {
  CAPTURE(C.hidden);
  for (int n : tokens)
    for (int extra : {0, 8, 3}) {
      CAPTURE(n);
      CAPTURE(extra);
      CombineCase<C> c{n, kind, extra};
      check_paths<C>(c);
    }
}
template <Config C> std::vector<float> floats(CombineCase<C>& c) {
  check_paths<C>(c);
  std::vector<float> to;
  for (auto v : c.y()) to.push_back(ct::to_float(v));
  return to;
}
using Floats = std::vector<float>;

// Arguments of one call, to be spoilt one at a time.
template <Config C> struct CombineCall {
  ct::Rows<float const, C.hidden> x;
  ct::Rows<float const, ct::width(C)> out;
  ct::Rows<float const, C.hidden> shared;
  ct::Rows<float, C.hidden> y;
  ct::PackedView<C, ct::Cuda> packed;
  std::int32_t* slot;
  std::size_t bytes;
};
}

TEST_SUITE("combine") {
  TEST_CASE("the order of a sum is the order of slots, in fp32") {
    constexpr Config c = of(4, 3, 1, DType::fp32);
    CombineCase<c> one{1};
    one.experts = {3, 1, 0}, one.slots = {2, 1, 0}, one.weights = {1, 1, 1}, one.out = {-1e8f, 1, 1e8f};
    CHECK(floats(one) == Floats{0});                                     // (1e8 + 1) - 1e8
    one.slots = {2, 0, 1};
    CHECK(floats(one) == Floats{1});                                     // (1e8 - 1e8) + 1
  }
  TEST_CASE("the routed sum, at odd widths, of few and many slots") {
    check<of(8, 2, 1, DType::fp32)>({1, 37});
    check<of(8, 4, 328, DType::bf16)>({1, 7, 64, 257});
    check<of(5, 5, 257, DType::fp16)>({9});
    check<of(8, 2, 1032, DType::fp32)>({3});                             // more columns than a block takes at once
    check<of(40, 32, 24, DType::bf16)>({5});
    check<of(70, 67, 20, DType::fp32)>({5});
    check<expert_choice(of(130, 2, 16, DType::bf16))>({3});              // a slot for every expert
  }
  TEST_CASE("Accumulate::model adds in ascending expert id and rounds every product and sum") {
    constexpr Config c = of(4, 3, 1, DType::bf16, Accumulate::model);
    CombineCase<c> one{1};
    one.experts = {3, 1, 0}, one.slots = {0, 1, 2}, one.weights = {1, 1, 1};
    one.out = {ct::from_float<ct::bf16>(256), ct::from_float<ct::bf16>(1), ct::from_float<ct::bf16>(1)};
    CHECK(floats(one) == Floats{258});                                   // (1 + 1) + 256; in slot order 256 + 1 stays 256, twice
    one.experts = {0, 1, 3};
    CHECK(floats(one) == Floats{256});
    one.experts = {2, 2, 2};                                             // the same expert: by slot
    CHECK(floats(one) == Floats{256});
    check<of(8, 4, 33, DType::bf16, Accumulate::model)>({37});
    check<with_routed_scale(of(8, 6, 64, DType::fp16, Accumulate::model), 2.5f)>({37});
    check<expert_choice(of(150, 2, 8, DType::bf16, Accumulate::model))>({3});                          // more slots than threads
  }
  TEST_CASE("null experts, what was dropped, scale on the routed sum, weights on the input") {
    constexpr Config c = with_null(of(2, 3, 2, DType::fp32), 2, 1);
    CombineCase<c> one{1};
    one.experts = {2, 4, 3}, one.slots = {-1, -1, -1}, one.weights = {0.5f, 100, 0.25f}, one.x = {8, -16};
    CHECK(floats(one) == Floats{6, -12});
    one.experts = {4, -1, 4};
    CHECK(floats(one) == Floats{0, 0});
    one.experts = {0, 1, 0}, one.weights = {__builtin_nanf(""), 1, 1};    // dropped, and its weight is nobody's
    CHECK(floats(one) == Floats{0, 0});
    check<with_null(of(6, 4, 40, DType::bf16), 3, 2)>({37});
    check<with_null(of(6, 4, 40, DType::bf16, Accumulate::model), 3, 2)>({37});
    check<with_routed_scale(of(8, 4, 33, DType::fp32), 2.5f)>({37});
    check<with_place(of(8, 2, 32, DType::bf16), ct::Place::input)>({37});
  }
  TEST_CASE("a NaN in a row reaches its token, and no other") {
    constexpr Config c = of(4, 2, 16, DType::bf16);
    CombineCase<c> one{20};
    one.finish();
    one.run(Arch::best);
    auto const clean = one.y();
    std::size_t token = 0;
    while (one.slots[token * 2] < 0) ++token;
    one.out[static_cast<std::size_t>(one.slots[token * 2]) * 16 + 5] = ct::from_float<ct::bf16>(__builtin_nanf(""));
    check_paths<c>(one);
    auto const dirty = one.y();
    for (std::size_t i = 0; i < dirty.size(); ++i) CHECK((i == token * 16 + 5 ? ct::is_nan(ct::to_float(dirty[i])) : dirty[i].bits == clean[i].bits));
  }
  TEST_CASE("shared experts: sum, sigmoid gate, average, coefficients") {
    check<with_shared(of(4, 2, 40, DType::fp32), SharedMix::sum)>({19});
    check<with_shared(of(4, 2, 37, DType::bf16, Accumulate::model), SharedMix::sum)>({19});
    check<with_shared(of(4, 2, 40, DType::bf16), SharedMix::sigmoid_gate)>({19});
    check<with_shared(of(4, 2, 300, DType::fp32), SharedMix::average)>({5});
    check<with_shared(of(4, 2, 40, DType::fp16, Accumulate::model), SharedMix::coefficients)>({19});
    check<with_routed_scale(with_shared(of(4, 2, 37, DType::fp32), SharedMix::coefficients), 3)>({19});              // the shared part is not scaled
  }
  TEST_CASE("latent experts: sum, norm, and the way up; shared experts join at full width") {
    check<with_latent(of(4, 2, 37, DType::fp32), 20, LatentNorm::none)>({3, 18});
    check<with_latent(of(4, 2, 40, DType::bf16), 24, LatentNorm::rms)>({3, 18, 130});
    check<with_latent(of(4, 2, 24, DType::fp16), 264, LatentNorm::none)>({9}, Numbers::whole);
    check<with_shared(with_latent(of(4, 2, 40, DType::bf16, Accumulate::model), 33, LatentNorm::rms), SharedMix::sigmoid_gate)>({7, 18});
  }
  TEST_CASE("under 18 schedules, and every synchronisation is needed") {
    auto const run = [](std::size_t needed, auto& c) {
      c.finish();
      CHECK(simt::survives(18, [&] { return c.failure(Arch::best); }) == "");
      check_needed(needed, [&] { return c.failure(Arch::best); });
    };
    CombineCase<of(40, 36, 24, DType::bf16)> sum{5};
    run(2, sum);
    CombineCase<of(40, 36, 24, DType::bf16, Accumulate::model)> ordered{5};
    run(3, ordered);
    CombineCase<with_shared(of(4, 2, 160, DType::fp32), SharedMix::coefficients)> mixed{5};
    run(2, mixed);
    CombineCase<with_shared(with_latent(of(4, 2, 24, DType::fp32), 160, LatentNorm::rms), SharedMix::sigmoid_gate)> latent{5};
    run(4, latent);                                                      // and the product's wait: the weights are streamed
    CombineCase<with_shared(of(40, 36, 160, DType::bf16, Accumulate::model), SharedMix::sigmoid_gate)> both{5};
    run(3, both);
  }
  TEST_CASE("memory is read and written in full sectors, shared memory without conflicts") {
    CombineCase<with_shared(of(8, 8, 512, DType::bf16), SharedMix::sigmoid_gate)> c{4, Numbers::real, 0};
    c.finish();
    CHECK(waste_beside({}, [&] { c.run(Arch::best); }) == "");
  }
  TEST_CASE("a runtime call that fails is thrown, and nothing leaks") {
    CombineCase<with_shared(with_latent(of(4, 2, 40, DType::bf16), 24, LatentNorm::rms), SharedMix::sigmoid_gate)> c{20};
    c.finish();
    for (Arch path : arches()) {
      CHECK(simt::failure_of([&] { return c.failure(path); }) == "");    // pointers are asked for once
      CHECK(simt::survives_failing_calls([&] { (void)c.failure(path); }) == "");
    }
  }
  TEST_CASE("refused with a sentence: host memory, overlaps, other heights, missing weights, too little scratch") {
    constexpr Config c = with_latent(with_shared(of(4, 2, 8, DType::fp32), SharedMix::sum), 4, LatentNorm::none);
    using ct::Rows, ct::Cuda;
    constexpr std::int64_t n = 20;
    cases::Random random{31};
    Checkpoint<c> const w{random, Numbers::real};
    DeviceRows<float, 8> const x{n, 0}, shared{n, 0}, y{n, 0};
    DeviceRows<float, 4> const out{2 * n, 0};
    for (auto const* rows : {&x, &shared}) rows->put(Floats(n * 8, 1.f));
    out.put(Floats(2 * n * 4, 1.f));
    simt::Array<std::int32_t> const expert(std::vector<std::int32_t>(2 * n, 0)), slot(std::vector<std::int32_t>(2 * n, -1));
    simt::Array<float> const weight(std::vector<float>(2 * n, 1.f));
    Cuda const on{};
    std::size_t const want = ct::Combine<c, Cuda>{}.workspace_bytes(on, n);
    Scratch const scratch{want};
    Floats host(2 * n * 8);
    using Call = CombineCall<c>;
    Call const good{x.view(), out.view(), shared.view(), y.view(), w.packed.view(), slot.data(), want};
    auto const combine = [&](auto const& change) {
      Call k = good;
      change(k);
      ct::Routing<c> routing{};
      routing.expert = {expert.data(), n}, routing.weight = {weight.data(), n};
      ct::Batch<c> batch{};
      batch.slot = {k.slot, n};
      ct::Combine<c, Cuda>{}(on, ct::Inputs<c>{.x = k.x}, k.packed, routing, batch, k.out, k.shared, k.y, scratch.span().first(k.bytes));
    };
    CHECK_NOTHROW(combine([](Call&) {}));
    CHECK_NOTHROW(combine([](Call& k) { k.out = {nullptr, 0}; }));       // nothing was dispatched
    auto const refuses = [&](char const* part, auto const& change) { CHECK_THROWS_WITH_AS(combine(change), doctest::Contains(part), ct::Error); };
    refuses("Combine: x must be device memory", [&](Call& k) { k.x.data = host.data(); });
    refuses("Combine: y must be device memory", [&](Call& k) { k.y.data = host.data(); });
    refuses("y must not overlap shared", [&](Call& k) { k.shared.data = k.y.data; });
    refuses("y must have as many rows as x", [&](Call& k) { k.y.rows = n - 1; });
    refuses("shared must have as many rows as x", [&](Call& k) { k.shared.rows = n - 1; });
    refuses("shared is not set", [&](Call& k) { k.shared.data = nullptr; });
    refuses("batch.slot is not set", [&](Call& k) { k.slot = nullptr; });
    refuses("packed weights are not set", [&](Call& k) { k.packed = {}; });
    refuses("scratch is too small", [&](Call& k) { k.bytes -= 1; });
    CHECK_NOTHROW(combine([](Call& k) { k.x.rows = 0, k.y.rows = 0; }));
    ct::check(cudaDeviceSynchronize());
  }
}

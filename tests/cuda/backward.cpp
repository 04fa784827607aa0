// The experts backwards on the GPU: whole numbers are exact, real ones within bounds that are derived; at every edge of a tile.
#include "backward_shared_case.hpp"
#include "gradient_case.hpp"

namespace {
using namespace cuda_tests;
using ct::Act, ct::Arch, ct::Config, ct::DType, ct::bf16, ct::fp16;

constexpr Config of(int hidden, int ffn, Act act, DType dtype, int bias = 0, ct::Place place = ct::Place::output) {
  Config c{.experts = 5, .top_k = 2, .hidden = hidden, .ffn = ffn, .dtype = dtype, .weights = dtype, .router = {.input = ct::RouterInput::given}};
  c.expert.act = act, c.expert.bias = bias, c.router.place = place;
  return c;
}

// extra: numbers between rows of x and dy.
template <Config C, DType D = DType::fp32> void check(Numbers kind, std::int64_t tokens, std::vector<int> const& counts, Asked const& asked = {}, int extra = 8) {
  cases::Random random{7};
  Checkpoint<C> const w(random, kind);
  BackwardCase<C, D> const c(w, random, kind, tokens, counts, extra);
  for (Arch path : arches()) {
    std::string const arch = ct::name(path);
    CAPTURE(arch);
    CHECK(simt::failure_of([&] { return c.failure(path, asked); }) == "");
  }
}
constexpr Config even = of(136, 16, Act::relu_mul, DType::bf16, 1), odd = of(19, 7, Act::relu_mul, DType::fp16, 1, ct::Place::input), ungated = of(200, 136, Act::relu2, DType::bf16, 1);
}

TEST_SUITE("backward") {
  TEST_CASE("whole numbers are exact: ragged groups, empty ones, one row, a tile's edges") {
    check<even>(Numbers::whole, 40, {3, 0, 33, 1, 20});
    check<even>(Numbers::whole, 40, {0, 0, 80, 0, 0}, {.start = 3});
    check<even>(Numbers::whole, 130, {127, 0, 128, 1, 0}, {.overwrite = 1, .start = __builtin_nanf("")});
    check<even>(Numbers::whole, 40, {3, 0, 33, 1, 20}, {}, 3);             // rows that begin anywhere
    check<odd>(Numbers::whole, 20, {3, 0, 17, 9, 1}, {.start = 1});
    check<ungated>(Numbers::whole, 30, {31, 0, 1, 0, 2}, {.start = -5});
    check<ungated>(Numbers::whole, 30, {31, 0, 1, 0, 2}, {.overwrite = 1, .start = 5});                    // and gates that there are not: zeros
    check<of(12, 20, Act::relu, DType::fp32)>(Numbers::whole, 70, {65, 0, 3, 63, 0}, {.start = 1});
  }
  TEST_CASE("real numbers within bounds: clamps, biases, weighted inputs, gradients in bf16") {
    check<of(72, 40, Act::oai_mul, DType::bf16, 1), DType::bf16>(Numbers::real, 40, {3, 0, 33, 1, 20}, {.start = 0.5f});
    check<of(33, 17, Act::silu_mul, DType::bf16, 1, ct::Place::input)>(Numbers::real, 40, {3, 0, 33, 1, 20});
    check<of(16, 24, Act::silu_mul, DType::fp32), DType::bf16>(Numbers::real, 30, {3, 0, 33, 1, 20}, {.overwrite = 1, .start = __builtin_nanf("")});
    check<of(16, 24, Act::gelu, DType::fp16)>(Numbers::real, 30, {3, 0, 33, 1, 20});
  }
  TEST_CASE("what is not asked for is not touched; without tokens gradients are zeros or stay") {
    cases::Random random{3};
    Checkpoint<even> const w(random, Numbers::whole);
    BackwardCase<even> some(w, random, Numbers::whole, 20, {5, 9, 0, 1, 0}), none(w, random, Numbers::whole, 0, {0, 0, 0, 0, 0});
    some.leave_out();
    for (Arch path : arches()) {
      CHECK(simt::failure_of([&] { return some.failure(path, {.start = 2}); }) == "");
      CHECK(simt::failure_of([&] { return none.failure(path, {.start = 2}); }) == "");
      CHECK(simt::failure_of([&] { return none.failure(path, {.overwrite = 1, .start = 2}); }) == "");
    }
  }
  TEST_CASE("shared experts: one group of all tokens, weighed, and their columns by the router") {
    cases::Random random{4};
    constexpr Config rows{.experts = 3, .top_k = 1, .hidden = 40, .ffn = 8, .dtype = DType::bf16, .weights = DType::bf16, .router = {.weights = DType::bf16, .score = ct::Score::sigmoid}, .expert = {.act = Act::relu_mul},
                          .shared = {.ffn = 36, .count = 3, .mix = ct::SharedMix::router_rows, .weights = DType::bf16}};
    constexpr Config one{.experts = 3, .top_k = 1, .hidden = 19, .ffn = 8, .dtype = DType::fp32, .weights = DType::fp32, .router = {.weights = DType::fp32}, .expert = {.act = Act::silu_mul_clamp_before},
                         .shared = {.ffn = 21, .weights = DType::fp32, .limit = 1}};
    Checkpoint<rows> const w(random, Numbers::whole);
    Checkpoint<one> const v(random, Numbers::real);
    SharedBackwardCase<rows> const of_rows(w, random, Numbers::whole, 130);          // by wgmma consumers take turns
    SharedBackwardCase<one> const of_one(v, random, Numbers::real, 5);
    for (Arch path : arches()) {
      std::string const arch = ct::name(path);
      CAPTURE(arch);
      CHECK(simt::failure_of([&] { return of_rows.failure(path, 2); }) == "");
      CHECK(simt::failure_of([&] { return of_one.failure(path, 0.25f); }) == "");
    }
  }
  TEST_CASE("a forward pass that keeps gate and up gives the same bits, and so does one that makes them again") {
    cases::Random random{6};
    constexpr Config sixteen = of(40, 20, Act::silu_mul, DType::bf16, 1, ct::Place::input), fp32 = of(12, 9, Act::gelu, DType::fp32);
    Checkpoint<sixteen> const w(random, Numbers::real);
    Checkpoint<fp32> const v(random, Numbers::real);
    for (Arch path : arches())
      for (int tokens : {4, 20, 50, 250}) {      // the last: tiles of 128 rows
        std::string const arch = ct::name(path);
        CAPTURE(arch);
        CAPTURE(tokens);
        CHECK(simt::failure_of([&] { return kept(w, random, path, tokens); }) == "");
        CHECK(simt::failure_of([&] { return kept(v, random, path, tokens); }) == "");
      }
  }
  TEST_CASE("dense rows of one group, of two types or one, are exact") {
    for (Arch path : arches()) {
      CHECK(simt::failure_of([&] { return dense<float, bf16>(path, 70, 9, 67); }) == "");
      CHECK(simt::failure_of([&] { return dense<float, float>(path, 5, 70, 3); }) == "");
      CHECK(simt::failure_of([&] { return dense<bf16, bf16>(path, 200, 150, 136); }) == "");
    }
  }
  TEST_CASE("many dense rows are summed in pieces, which a router's workspace holds") {
    for (std::int64_t rows : {512, 513, 1100})
      for (int overwrite : {0, 1}) {
        CAPTURE(rows);
        CHECK(simt::failure_of([&] { return DenseGradientCase<float>(rows, 3, 5).failure(Arch::plain, overwrite); }) == "");
      }
    DenseGradientCase<float> const some(513, 3, 5);
    auto const run = [&] { return some.failure(Arch::plain, 0); };
    CHECK(simt::survives(18, run) == "");
    check_waits(run, {"add_pieces: the kernel ahead"});
    CHECK(ct::device::gradient_pieces(32768, 128, 2048) == 32);
    CHECK(ct::device::gradient_pieces(32768, 0, 2048) == 1);
    CHECK(ct::device::gradient_pieces(32768, 2048, 4096) == 1);
    cases::Random random{9};
    constexpr Config halved{.experts = 9, .top_k = 2, .hidden = 24, .ffn = 8, .dtype = DType::bf16, .weights = DType::bf16, .router = {.weights = DType::bf16}};
    constexpr Config whole{.experts = 9, .top_k = 2, .hidden = 133, .ffn = 8, .dtype = DType::fp16, .weights = DType::fp16, .router = {.weights = DType::fp16}};
    Checkpoint<halved> const w(random, Numbers::whole);
    Checkpoint<whole> const v(random, Numbers::whole);
    for (Arch path : arches()) CHECK(simt::failure_of([&] { return router_gradient(w, path, 530); }) == "");
    CHECK(simt::failure_of([&] { return router_gradient(v, Arch::best, 530); }) == "");
  }
  TEST_CASE("transposed gradients are exact, and stored in full sectors") {
    for (Arch path : arches())
      for (int overwrite : {0, 1}) {
        CHECK(simt::failure_of([&] { return DenseGradientCase<float>(20, 70, 67, 1).failure(path, overwrite); }) == "");
        CHECK(simt::failure_of([&] { return DenseGradientCase<bf16>(40, 136, 152, 1).failure(path, overwrite); }) == "");
        CHECK(simt::failure_of([&] { return DenseGradientCase<bf16>(40, 8, 16, 1).failure(path, overwrite); }) == "");
      }
    DenseGradientCase<float> const plain(16, 64, 128, 1);
    DenseGradientCase<bf16> const wide(32, 256, 128, 1);
    CHECK(waste_beside({}, [&] { plain.run(Arch::plain, 0); }) == "");
    for (Arch path : {Arch::sm_80, Arch::sm_90a}) CHECK(waste_beside({}, [&] { wide.run(path, 0); }) == "");
  }
  TEST_CASE("under 18 schedules; every synchronisation is needed") {
    cases::Random random{5};
    Checkpoint<even> const w(random, Numbers::whole);
    Checkpoint<odd> const v(random, Numbers::whole);
    BackwardCase<even> const some(w, random, Numbers::whole, 70, {7, 0, 130, 1, 0});
    BackwardCase<odd> const staged(v, random, Numbers::whole, 14, {3, 0, 23, 0, 0});
    Asked const twice{.overwrite = 1, .calls = 2, .start = 4};             // the second call's kernels beside the first one's
    CHECK(simt::survives(18, [&] { return some.failure(Arch::sm_80, twice); }) == "");
    CHECK(simt::survives(18, [&] { return staged.failure(Arch::plain, twice); }) == "");
    check_needed(14, [&] { return some.failure(Arch::sm_80, twice); });
    check_needed(11, [&] { return staged.failure(Arch::plain, twice); });
  }
#if defined(COTERIE_SIMT)
  TEST_CASE("the same bits from run to run, whatever the schedule") {
    cases::Random random{8};
    Checkpoint<even> const w(random, Numbers::real);
    BackwardCase<even> const some(w, random, Numbers::real, 70, {7, 0, 130, 1, 0});
    for (Arch path : arches()) {
      std::vector<double> const want = some.stored(path);
      for (int schedule : {1, 5, 9}) {
        simt::use_schedule(schedule);
        CHECK(some.stored(path) == want);
      }
      simt::config() = {};
    }
  }
#endif
  TEST_CASE("memory is read and written in full sectors, shared memory without conflicts") {
    cases::Random random{5};
    constexpr Config c = of(256, 128, Act::relu_mul, DType::bf16), fp32 = of(64, 64, Act::relu_mul, DType::fp32);
    Checkpoint<c> const w(random, Numbers::whole);
    Checkpoint<fp32> const v(random, Numbers::whole);
    BackwardCase<c> const some(w, random, Numbers::whole, 128, {128, 0, 64, 0, 0}, 0, 0), transposed(w, random, Numbers::whole, 128, {0, 128, 0, 64, 0}, 0, 8);
    BackwardCase<fp32> const plain(v, random, Numbers::whole, 64, {64, 64, 0, 0, 0}, 0, 8);
    // Gates are half of their sectors, and then ups the other half.
    CHECK(waste_beside({"pairs.cuh", " write"}, [&] { some.run(Arch::sm_80, {}); }) == "");
    // Transposed, lanes of one warp look up gates and ups in the table of gradients.
    CHECK(waste_beside({"pairs.cuh", " write", "ffn_gradient.cuh"}, [&] { transposed.run(Arch::sm_80, {}); }) == "");
    CHECK(waste_beside({" sectors"}, [&] { transposed.run(Arch::sm_80, {}); }) == "");
    CHECK(waste_beside({" sectors"}, [&] { some.run(Arch::sm_80, {}); }) == "");                       // no bank conflicts at all
    CHECK(waste_beside({"ffn_backward.cuh", "ffn_gradient.cuh"}, [&] { plain.run(Arch::plain, {}); }) == "");
  }
}

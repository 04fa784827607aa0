// Experts, shared experts and the latent width on the GPU, against the definition: whole numbers are exact, real ones within the
// reference's bounds; nothing is written beside the rows.
#include <map>
#include <set>
#include <coterie/device/activate_rows.cuh>
#include "experts_batch.hpp"

namespace {
using namespace cuda_tests;
using ct::Act, ct::Config, ct::DType, ct::bf16, ct::fp16;

constexpr Config of(int hidden, int ffn, Act act, DType dtype, DType weights) {
  Config c{.experts = 5, .top_k = 2, .hidden = hidden, .ffn = ffn, .dtype = dtype, .weights = weights, .router = {.input = ct::RouterInput::given}};
  c.expert.act = act;
  return c;
}
constexpr Config of(int hidden, int ffn, Act act, DType dtype) { return of(hidden, ffn, act, dtype, dtype); }
constexpr Config with_bias(Config c) {
  c.expert.bias = 1;
  return c;
}
constexpr Config with_limit(Config c, float limit) {
  c.expert.limit = limit;
  return c;
}
constexpr Config weighing_input(Config c) {
  c.router.place = ct::Place::input;
  return c;
}
constexpr Config invariant(Config c) {
  c.batch_invariant = 1;
  return c;
}

template <Config C> void check_batch(Checkpoint<C> const& w, cases::Random& random, Numbers kind, std::int64_t tokens, std::vector<int> const& counts) {
  ExpertsCase<C> const batch{w, random, kind, tokens, counts};
  for (ct::Arch path : arches()) {
    std::string const arch = ct::name(path);
    CAPTURE(arch);
    CAPTURE(tokens);
    CHECK(simt::failure_of([&] { return batch.failure(path); }) == "");
  }
}
template <Config C> void all_batches(Numbers kind) {
  CAPTURE(C.hidden);
  CAPTURE(C.ffn);
  CAPTURE(static_cast<int>(C.expert.act));
  cases::Random random{static_cast<std::uint64_t>(C.hidden * 1000 + C.ffn)};
  Checkpoint<C> const w{random, kind};
  // Ragged, one expert with everything, everybody one row, nobody; few tokens, whose weights are streamed, and many.
  for (std::vector<int> const& counts : std::vector<std::vector<int>>{{3, 0, 17, 1, 33}, {0, 0, 0, 0, 66}, {0, 0, 0, 0, 0}}) check_batch<C>(w, random, kind, 40, counts);
  check_batch<C>(w, random, kind, 1, {0, 2, 0, 0, 0});
  check_batch<C>(w, random, kind, 7, {1, 0, 9, 3, 1});
}
template <Config C> void whole() { all_batches<C>(Numbers::whole); }
template <Config C> void real() { all_batches<C>(Numbers::real); }

// Shared experts of so many tokens, on a path.
template <Config C> class SharedCase {
 public:
  SharedCase(std::int64_t tokens, Numbers kind, int extra = 8)
      : random_(static_cast<std::uint64_t>(C.hidden + tokens)), w_(random_, kind), tokens_(random_, kind, tokens, extra), gamma_(numbers<float>(random_, tokens * ct::shared_rows(C), kind)),
        device_gamma_(gamma_.size() + 1), scratch_(ct::Shared<C, ct::Cuda>{}.workspace_bytes(ct::Cuda{}, tokens)) {
    for (std::int64_t t = 0; t < tokens; ++t) tokens_.wants(ref::shared_experts(C, w_.weights, tokens_.x(t), reals(gamma_, t, ct::shared_rows(C))));
    std::vector<float> padded = gamma_;
    padded.push_back(0);
    device_gamma_.put(padded);
  }
  std::string failure(ct::Arch path) const {
    return tokens_.failure([&](auto x, auto out) {
      ct::Routing<C> routing{};
      routing.shared = {device_gamma_.data(), x.rows};
      ct::Shared<C, ct::Cuda>{}(ct::Cuda{.arch = path}, ct::Inputs<C>{.x = x}, w_.packed.view(), routing, out, scratch_.span());
    });
  }

 private:
  cases::Random random_;
  Checkpoint<C> w_;
  TokensCase<C, C.hidden> tokens_;
  std::vector<float> gamma_;
  simt::Array<float> device_gamma_;
  Scratch scratch_;
};
template <Config C> class LatentCase {
 public:
  LatentCase(std::int64_t tokens, Numbers kind, int extra = 8) : random_(static_cast<std::uint64_t>(C.hidden + tokens)), w_(random_, kind), tokens_(random_, kind, tokens, extra) {
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::vector<ref::Real> row;
      for (std::size_t o = 0; o < static_cast<std::size_t>(ct::width(C)); ++o) row.push_back(ref::product(C.dtype, w_.weights.latent_down, o, tokens_.x(t)));
      tokens_.wants(row);
    }
  }
  std::string failure(ct::Arch path) const {
    return tokens_.failure([&](auto x, auto out) { ct::Latent<C, ct::Cuda>{}(ct::Cuda{.arch = path}, x, w_.packed.view(), out, {}); });
  }

 private:
  cases::Random random_;
  Checkpoint<C> w_;
  TokensCase<C, ct::width(C)> tokens_;
};
template <class Stage> void check_tokens(Numbers kind, std::vector<int> const& tokens) {
  for (int n : tokens) {
    Stage const c{n, kind};
    for (ct::Arch path : arches()) {
      CAPTURE(n);
      std::string const arch = ct::name(path);
      CAPTURE(arch);
      CHECK(simt::failure_of([&] { return c.failure(path); }) == "");
    }
  }
}
constexpr Config sharing(int hidden, int ffn, DType dtype, DType weights, Act act = Act::silu_mul) {
  Config c = of(hidden, 8, act, dtype);
  c.experts = 2, c.shared = {.ffn = ffn, .weights = weights};
  return c;
}
// Inkling's: the router weighs each shared expert.
constexpr Config weighed_by_router(Config c, int count) {
  c.router = {.weights = DType::bf16, .score = ct::Score::sigmoid};
  c.shared.mix = ct::SharedMix::router_rows, c.shared.count = count;
  return c;
}
constexpr Config with_latent(int hidden, int width, DType dtype) {
  Config c = of(hidden, 8, Act::silu_mul, dtype);
  c.experts = 2, c.expert.latent = width;
  return c;
}

// Arguments of one call, to be spoilt one at a time.
template <Config C> struct ExpertsCall {
  ct::Rows<bf16 const, C.hidden> x;
  ct::Rows<bf16, C.hidden> out;
  ct::PackedView<C, ct::Cuda> packed;
  std::int32_t* begin;
  std::span<std::byte> scratch;
};
}

TEST_SUITE("experts") {
  TEST_CASE("whole numbers are exact on every path") {
    whole<with_bias(of(72, 65, Act::relu_mul, DType::bf16))>();
    whole<of(33, 24, Act::relu2, DType::fp16)>();                        // rows that no 16-byte copy reads: staged
    whole<of(20, 9, Act::relu, DType::fp32)>();
    whole<weighing_input(of(31, 17, Act::relu_mul, DType::bf16))>();
    whole<weighing_input(with_bias(of(16, 12, Act::relu_mul, DType::fp32, DType::bf16)))>();
  }
  TEST_CASE("real numbers stay within the reference's bounds, with every activation") {
    real<of(64, 40, Act::silu_mul, DType::bf16)>();
    real<with_limit(with_bias(of(24, 40, Act::oai_mul, DType::fp16)), 0.75f)>();
    real<of(40, 24, Act::gelu, DType::bf16, DType::fp16)>();             // no instruction multiplies these two
    real<of(20, 12, Act::gelu_tanh_mul, DType::fp32)>();
    real<of(20, 12, Act::gelu_mul, DType::fp32)>();
    real<with_limit(of(20, 12, Act::silu_mul_clamp_before, DType::fp32), 0.5f)>();
    real<with_limit(of(20, 12, Act::silu_mul_clamp_after, DType::fp32), 0.5f)>();
    real<with_limit(of(20, 12, Act::situ_mul, DType::fp32), 2)>();
  }
  TEST_CASE("many rows a group take the tall tiles") {
    constexpr Config c = of(64, 40, Act::silu_mul, DType::bf16);
    cases::Random random{5};
    Checkpoint<c> const w{random, Numbers::real};
    check_batch<c>(w, random, Numbers::real, 257, {129, 0, 257, 1, 127});
  }
  TEST_CASE("under 18 schedules, and every synchronisation is needed") {
    constexpr Config c = with_bias(of(72, 65, Act::relu_mul, DType::bf16)), staged = weighing_input(of(31, 17, Act::relu_mul, DType::bf16));
    cases::Random random{6};
    Checkpoint<c> const w{random, Numbers::whole};
    Checkpoint<staged> const v{random, Numbers::whole};
    ExpertsCase<c> const batch{w, random, Numbers::whole, 12, {3, 0, 17, 1, 0}}, few{w, random, Numbers::whole, 7, {1, 0, 9, 3, 1}}, many{w, random, Numbers::whole, 60, {3, 0, 60, 40, 0}};
    ExpertsCase<staged> const other{v, random, Numbers::whole, 12, {3, 0, 17, 1, 0}};
    for (ct::Arch path : arches()) {
      std::string const arch = ct::name(path);
      CAPTURE(arch);
      CHECK(simt::survives(18, [&] { return batch.failure(path); }) == "");
      CHECK(simt::survives(18, [&] { return few.failure(path); }) == "");
      CHECK(simt::survives(18, [&] { return other.failure(path); }) == "");
    }
    // The products' own are deleted in product.cpp, at sizes that need them all; here those between kernels.
    check_waits([&] { return batch.failure(ct::Arch::plain); }, {"plain_product: the kernel ahead"});
    check_waits([&] { return other.failure(ct::Arch::sm_80); }, {"stage_rows: the kernel ahead", "swapped_product: the kernel ahead"});
    check_waits([&] { return many.failure(ct::Arch::sm_80); }, {"mma_product: the kernel ahead"});
    check_waits([&] { return few.failure(ct::Arch::sm_80); }, {"stream_product: the kernel ahead"});
    if (ct::Cuda{}.device.hopper) check_waits([&] { return many.failure(ct::Arch::sm_90a); }, {"wgmma_product: the kernel ahead"});
  }
  TEST_CASE("a shard computes its experts' rows, and no others") {
    constexpr Config c = of(64, 40, Act::silu_mul, DType::bf16);
    cases::Random random{7};
    Checkpoint<c> const w{random, Numbers::real};
    ExpertsCase<c> const batch{w, random, Numbers::real, 20, {7, 20, 0, 3, 5}};
    for (ct::Arch path : arches())
      for (auto const& [first, count] : {std::pair{0, 1}, {1, 2}, {2, 1}, {3, 2}, {4, 1}, {2, 0}}) {
        CAPTURE(first);
        CAPTURE(count);
        CHECK(simt::failure_of([&, first = first, count = count] { return batch.failure(path, first, count); }) == "");
      }
  }
#if defined(COTERIE_SIMT)
  TEST_CASE("a shard takes the kernels that all experts take, and its rows have their bits") {
    constexpr Config c = of(64, 40, Act::silu_mul, DType::bf16);
    cases::Random random{11};
    Checkpoint<c> const w{random, Numbers::real};
    std::set<std::set<std::string>> met;
    for (std::int64_t tokens : {40, 41, 250}) {  // rows for an expert, at most: 16, the most that are swapped; more; more than 96
      ExpertsCase<c> const batch{w, random, Numbers::real, tokens, {7, 20, 0, 3, 5}};
      auto const kernels = [&](ct::Arch path, int first, int count) {
        simt::clear_syncs();
        CHECK(simt::failure_of([&] { return batch.failure(path, first, count); }) == "");
        std::set<std::string> to;
        for (std::string const& sync : simt::syncs()) to.insert(sync.find("turn") == sync.npos ? sync.substr(0, sync.find(':')) : "wgmma_product by turns");
        met.insert(to);
        return to;
      };
      for (ct::Arch path : arches()) {
        CAPTURE(tokens);
        std::string const arch = ct::name(path);
        CAPTURE(arch);
        auto const all = kernels(path, 0, c.experts);
        auto const want = batch.rows();
        for (auto const& [first, count] : {std::pair{0, 1}, {1, 2}, {3, 2}}) {
          CAPTURE(first);
          CHECK(kernels(path, first, count) == all);
          auto const got = batch.rows();
          long wrong = 0;
          for (std::size_t i = 0; i < batch.routed() * 64; ++i) {
            int const expert = batch.who(i / 64).first;
            wrong += expert >= first && expert < first + count && got[i].bits != want[i].bits;
          }
          CHECK(wrong == 0);
        }
      }
    }
    CHECK(met.size() == (ct::Cuda{}.device.hopper ? 5 : 3));             // plain, swapped, mma, wgmma with and without turns
  }
#endif
  TEST_CASE("batch_invariant: a row has the same bits whatever else is in the batch") {
    constexpr Config c = invariant(of(72, 40, Act::silu_mul, DType::bf16));
    cases::Random random{8};
    Checkpoint<c> const w{random, Numbers::real};
    for (ct::Arch path : arches()) {
      std::string const arch = ct::name(path);
      CAPTURE(arch);
      std::map<std::pair<int, int>, std::vector<std::uint16_t>> bits;    // of (expert, token)
      int compared = 0, wrong = 0;
      for (auto const& [tokens, counts] : std::vector<std::pair<int, std::vector<int>>>{{257, {300, 0, 0, 2, 200}}, {40, {40, 3, 0, 0, 20}}, {9, {9, 0, 0, 0, 1}}, {2, {2, 0, 0, 0, 1}}, {1, {1, 0, 0, 0, 1}}}) {
        cases::Random same{9};                                           // the first tokens are the same ones each time
        ExpertsCase<c> const batch{w, same, Numbers::real, tokens, counts};
        CHECK(simt::failure_of([&] { return batch.failure(path); }) == "");
        auto const rows = batch.rows();
        for (std::size_t r = 0; r < batch.routed(); ++r) {
          std::vector<std::uint16_t> row;
          for (std::size_t i = 0; i < 72; ++i) row.push_back(rows[r * 72 + i].bits);
          auto const [at, fresh] = bits.insert({batch.who(r), row});
          if (!fresh) ++compared, wrong += at->second != row;
        }
      }
      CHECK(wrong == 0);
      CHECK(compared > 250);
    }
  }
  TEST_CASE("a NaN in one token stays in its rows") {
    [[maybe_unused]] constexpr Config c = of(64, 40, Act::silu_mul, DType::bf16);
    cases::Random random{10};
    Checkpoint<c> const w{random, Numbers::real};
    ExpertsCase<c> batch{w, random, Numbers::real, 20, {7, 20, 0, 3, 5}}, few{w, random, Numbers::real, 8, {7, 6, 0, 3, 0}};
    for (ct::Arch path : arches())
      for (ExpertsCase<c>* one : {&batch, &few}) {
        std::string const arch = ct::name(path);
        CAPTURE(arch);
        CHECK(simt::failure_of([&] { return one->failure(path); }) == "");
        auto const clean = one->rows();
        int const token = one->who(0).second;
        one->poison_token(token);
        one->run(path);
        auto const dirty = one->rows();
        one->poison_token(-1);
        long wrong = 0, poisoned = 0;
        for (std::size_t i = 0; i < one->routed() * 64; ++i) {
          bool const its = one->who(i / 64).second == token;
          wrong += its ? !ct::is_nan(ct::to_float(dirty[i])) : dirty[i].bits != clean[i].bits;
          poisoned += its;
        }
        CHECK(wrong == 0);
        CHECK(poisoned > 0);
      }
  }
  TEST_CASE("shared experts: own width, types, limits; rows that are staged; weighed by the router") {
    check_tokens<SharedCase<sharing(40, 24, DType::bf16, DType::bf16)>>(Numbers::real, {1, 8, 9, 70});
    check_tokens<SharedCase<sharing(33, 20, DType::fp16, DType::fp16, Act::relu2)>>(Numbers::whole, {1, 7, 64});
    constexpr Config limited = [] {
      Config c = sharing(24, 16, DType::fp32, DType::bf16, Act::silu_mul_clamp_after);
      c.shared.limit = 0.25f;
      return c;
    }();
    check_tokens<SharedCase<limited>>(Numbers::real, {3, 17});
    check_tokens<SharedCase<weighed_by_router(sharing(24, 24, DType::bf16, DType::bf16), 3)>>(Numbers::real, {2, 33});
    check_tokens<SharedCase<weighed_by_router(sharing(17, 10, DType::fp32, DType::fp32, Act::relu_mul), 2)>>(Numbers::whole, {2, 33});
  }
  TEST_CASE("the latent width: down to it, from rows that are aligned and from others") {
    check_tokens<LatentCase<with_latent(40, 24, DType::bf16)>>(Numbers::real, {1, 8, 9, 70, 130});
    check_tokens<LatentCase<with_latent(33, 20, DType::fp16)>>(Numbers::whole, {1, 7, 64});
    check_tokens<LatentCase<with_latent(24, 9, DType::fp32)>>(Numbers::whole, {2, 33});
    LatentCase<with_latent(40, 24, DType::bf16)> const unaligned{33, Numbers::real, 3};
    for (ct::Arch path : arches()) CHECK(simt::failure_of([&] { return unaligned.failure(path); }) == "");
  }
  TEST_CASE("shared experts and the latent width under 18 schedules") {
    SharedCase<weighed_by_router(sharing(17, 10, DType::fp32, DType::fp32, Act::relu_mul), 2)> const shared{9, Numbers::whole};
    LatentCase<with_latent(40, 24, DType::bf16)> const latent{9, Numbers::whole};
    for (ct::Arch path : arches()) {
      CHECK(simt::survives(18, [&] { return shared.failure(path); }) == "");
      CHECK(simt::survives(18, [&] { return latent.failure(path); }) == "");
    }
  }
  TEST_CASE("around the products memory is read and written in full sectors") {
    if (!simt::checked()) return;
    using ct::bf16, ct::Where;
    namespace device = ct::device;
    constexpr int rows = 24, width = 128;
    auto const ones = [](std::size_t n) { return std::vector<bf16>(n, ct::from_float<bf16>(1)); };
    simt::Array<bf16> const from(ones(rows * 2 * width)), to(rows * width);
    std::vector<std::int32_t> order;
    for (int r = 0; r < rows; ++r) order.push_back(r * 7 % rows);
    simt::Array<std::int32_t> const map(order), begin(std::vector<std::int32_t>{0, 9, rows});
    simt::Array<float> const weight(std::vector<float>(rows, 0.5f));
    for (bool weighed : {false, true}) {
      device::StageRows<bf16> const staged{.from = from.data(), .from_stride = 2 * width, .inputs = width, .map = weighed ? map.data() : nullptr, .weight = weighed ? weight.data() : nullptr,
                                           .rows = weighed ? begin.data() + 2 : nullptr, .most = rows, .to = to.data(), .pitch = width};
      CHECK(one_line(simt::wasteful_lines([&] { device::stage_rows(ct::Cuda{}, staged, Where::here()); })) == "");
    }
    auto const activate = [&]<Act A>() {
      using Stage = device::FfnStage<bf16, bf16, ct::ExpertConfig{.act = A}>;
      device::ActivateRows<Stage> const p{.rows = {begin.data(), 0, 2}, .from = from.data(), .pitch = 2 * width, .hidden = {.to = to.data(), .stride = width, .columns = width, .valid = width}};
      return one_line(simt::wasteful_lines([&] { ct::launch(device::activate_rows_kernel<Stage>, ct::Launch{.grid = 5, .block = 256}, nullptr, Where::here(), p); }));
    };
    CHECK(activate.template operator()<Act::relu2>() == "");
    // Gate and up lie 16 bytes each in one sector: two loads of a thread, and the cache has it for the second.
    std::string const paired = activate.template operator()<Act::silu_mul>();
    CHECK_MESSAGE((paired.find("wide.cuh") != std::string::npos || paired.find("activate_rows.cuh") != std::string::npos), paired);
    CHECK_MESSAGE(paired.find(" write") == std::string::npos, paired);
  }
  TEST_CASE("a runtime call that fails is thrown, and nothing leaks") {
    [[maybe_unused]] constexpr Config c = of(64, 40, Act::silu_mul, DType::bf16);
    cases::Random random{11};
    Checkpoint<c> const w{random, Numbers::real};
    ExpertsCase<c> const batch{w, random, Numbers::real, 20, {7, 20, 0, 3, 5}};
    SharedCase<sharing(40, 24, DType::bf16, DType::bf16)> const shared{9, Numbers::real};
    LatentCase<with_latent(40, 24, DType::bf16)> const latent{9, Numbers::real};
    for (ct::Arch path : arches()) {
      CHECK(simt::failure_of([&] { return batch.failure(path) + shared.failure(path) + latent.failure(path); }) == "");      // pointers are asked for once
      CHECK(simt::survives_failing_calls([&] { (void)batch.failure(path); }) == "");
      CHECK(simt::survives_failing_calls([&] { (void)shared.failure(path); }) == "");
      CHECK(simt::survives_failing_calls([&] { (void)latent.failure(path); }) == "");
    }
  }
  TEST_CASE("refused with a sentence: host memory, overlaps, too little scratch, shards out of range, rows that are not aligned") {
    constexpr Config c = sharing(16, 8, DType::bf16, DType::bf16), l = with_latent(16, 8, DType::bf16);
    using ct::Rows, ct::Cuda;
    cases::Random random{12};
    Checkpoint<c> const w{random, Numbers::real};
    Checkpoint<l> const v{random, Numbers::real};
    constexpr std::int64_t tokens = 20;
    DeviceRows<bf16, 16> const x{tokens, 0}, out{tokens * 2, 0}, odd{tokens, 3};
    simt::Array<std::int32_t> const begin(std::vector<std::int32_t>{0, 0, 0}), token(tokens * 2);
    Cuda const on{};
    std::size_t const want = ct::Experts<c, Cuda>{}.workspace_bytes(on, tokens), shared_want = ct::Shared<c, Cuda>{}.workspace_bytes(on, tokens);
    Scratch const scratch{want > shared_want ? want : shared_want};
    std::vector<bf16> host(tokens * 2 * 16);
    std::vector<std::byte> host_scratch(want);
    using Call = ExpertsCall<c>;
    Call const good{x.view(), out.view(), w.packed.view(), begin.data(), scratch.span().first(want)};
    auto const experts = [&](auto const& change) {
      Call k = good;
      change(k);
      ct::Batch<c> const batch{.begin = k.begin, .token = token.data(), .weight = nullptr, .slot = {}};
      ct::Experts<c, Cuda>{}(on, k.x, k.packed, batch, k.out, k.scratch);
    };
    CHECK_NOTHROW(experts([](Call&) {}));
    auto const refuses = [&](char const* part, auto const& change) { CHECK_THROWS_WITH_AS(experts(change), doctest::Contains(part), ct::Error); };
    refuses("Experts: x must be device memory", [&](Call& k) { k.x.data = host.data(); });
    refuses("Experts: out must be device memory", [&](Call& k) { k.out.data = host.data(); });
    refuses("Experts: scratch must be device memory", [&](Call& k) { k.scratch = host_scratch; });
    refuses("the packed weights must be device memory", [&](Call& k) { k.packed.data = reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(host_scratch.data()) + 63) / 64 * 64); });
    refuses("out must not overlap x", [&](Call& k) { k.x.data = k.out.data + 16; });
    refuses("scratch is too small", [&](Call& k) { k.scratch = k.scratch.first(want - 1); });
    refuses("shard", [&](Call& k) { k.packed.first_expert = 1; });
    refuses("shard", [&](Call& k) { k.packed.first_expert = -1; });
    refuses("packed weights are not set", [&](Call& k) { k.packed.data = nullptr; });
    refuses("packed weights must be aligned", [&](Call& k) { k.packed.data += 8; });
    refuses("a row for every row", [&](Call& k) { k.out.rows -= 1; });
    refuses("batch.begin is not set", [&](Call& k) { k.begin = nullptr; });
    refuses("x is not set", [&](Call& k) { k.x.data = nullptr; });
    refuses("aligned to 16 bytes", [&](Call& k) { k.x = odd.view(); });
    CHECK_NOTHROW(experts([&](Call& k) { k.x.rows = 0, k.x.data = nullptr; }));

    auto const shared = [&](Rows<bf16 const, 16> from, Rows<bf16, 16> to, std::size_t bytes) {
      to.rows = tokens;
      ct::Shared<c, Cuda>{}(on, ct::Inputs<c>{.x = from}, w.packed.view(), {}, to, scratch.span().first(bytes));
    };
    CHECK_NOTHROW(shared(x.view(), out.view(), shared_want));
    CHECK_THROWS_WITH_AS(shared(x.view(), out.view(), shared_want - 1), doctest::Contains("scratch is too small"), ct::Error);
    CHECK_THROWS_WITH_AS(shared({host.data(), tokens}, out.view(), shared_want), doctest::Contains("Shared: x must be device memory"), ct::Error);
    CHECK_THROWS_WITH_AS(shared({x.view().data, tokens - 1}, out.view(), shared_want), doctest::Contains("as many rows as x"), ct::Error);
    DeviceRows<bf16, 8> const z{tokens, 0};
    auto const latent = [&](Rows<bf16 const, 16> from, Rows<bf16, 8> to) { ct::Latent<l, Cuda>{}(on, from, v.packed.view(), to, {}); };
    CHECK_NOTHROW(latent(x.view(), z.view()));
    CHECK_THROWS_WITH_AS(latent({host.data(), tokens}, z.view()), doctest::Contains("Latent: x must be device memory"), ct::Error);
    CHECK_THROWS_WITH_AS(latent(x.view(), {z.view().data, tokens - 1}), doctest::Contains("as many rows as x"), ct::Error);
    ct::check(cudaDeviceSynchronize());
  }
}

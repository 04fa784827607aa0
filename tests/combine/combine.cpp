// Combine: the order and the roundings of the routed sum, null experts, the way back from a latent width, shared experts.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Floats = std::vector<float>;
using Ids = std::vector<std::int32_t>;

constexpr Config of(int experts, int top_k, int hidden, DType dtype, Accumulate how = Accumulate::fp32) {
  return {.experts = experts, .top_k = top_k, .hidden = hidden, .ffn = 1, .dtype = dtype, .weights = dtype,
          .router = {.input = RouterInput::given}, .shared = {.weights = dtype}, .combine = how};
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
  c.router.scale = scale, c.router.scale_on = ScaleOn::routed_sum;
  return c;
}
constexpr Config with_place(Config c, Place place) {
  c.router.place = place;
  return c;
}
constexpr Config with_latent(Config c, int width, LatentNorm norm) {
  c.expert.latent = width, c.expert.latent_norm = norm;
  return c;
}

// What combine reads, for T tokens with every slot dispatched in token order unless it says -1.
template <Config C> struct Case {
  using V = element_t<C.dtype>;
  std::int64_t tokens;
  Ids expert, slot;
  Floats weight;
  std::vector<V> x, out, shared;
  Case(cases::Random& random, std::int64_t n) : tokens(n) {
    for (std::int64_t i = 0; i < n * slots(C); ++i) {
      int const e = random.one_in(9) ? -1 : random.below(candidates(C));
      expert.push_back(e);
      slot.push_back(e >= 0 && e < C.experts ? static_cast<std::int32_t>(n * slots(C) - 1 - i) : -1);        // rows in an order of their own
      weight.push_back(static_cast<float>(random.normal()));
    }
    for (std::int64_t i = 0; i < n * C.hidden; ++i) x.push_back(from_float<V>(static_cast<float>(random.normal()))), shared.push_back(from_float<V>(static_cast<float>(random.normal())));
    for (std::int64_t i = 0; i < n * slots(C) * width(C); ++i) out.push_back(from_float<V>(static_cast<float>(random.normal())));
  }
  float routed(std::int64_t t, int s, int column) const {               // what slot s of token t adds, unweighted
    auto const i = static_cast<std::size_t>(t * slots(C) + s);
    return slot[i] >= 0 ? to_float(out[static_cast<std::size_t>(slot[i] * width(C) + column)]) : to_float(x[static_cast<std::size_t>(t * C.hidden + column)]);
  }
  bool counts(std::int64_t t, int s) const {
    auto const i = static_cast<std::size_t>(t * slots(C) + s);
    return slot[i] >= 0 || (expert[i] >= C.experts && expert[i] < C.experts + C.expert.identity);
  }
  float w(std::int64_t t, int s) const { return C.router.place == Place::input ? 1 : weight[static_cast<std::size_t>(t * slots(C) + s)]; }
};
template <Config C> Floats run_combine(Case<C>& c, PackedView<C, Host> packed = {}, Isa isa = Isa::best, int threads = 1) {
  using V = element_t<C.dtype>;
  Host const on{.threads = threads, .isa = isa};
  Combine<C, Host> const combine;
  cases::Guarded scratch{combine.workspace_bytes(on, c.tokens), 0xff}, y{static_cast<std::size_t>(c.tokens * C.hidden) * sizeof(V), 0xff};
  Routing<C> const routing{.expert = {c.expert.data(), c.tokens}, .weight = {c.weight.data(), c.tokens}};
  Batch<C> const batch{.begin = nullptr, .token = nullptr, .weight = nullptr, .slot = {c.slot.data(), c.tokens}};
  combine(on, {.x = {c.x.data(), c.tokens}}, packed, routing, batch, {c.out.data(), c.tokens * slots(C)}, {c.shared.data(), c.tokens}, {y.data<V>(), c.tokens}, scratch.span());
  CHECK(scratch.intact());
  CHECK(y.intact());
  Floats to;
  for (std::int64_t i = 0; i < c.tokens * C.hidden; ++i) to.push_back(to_float(y.data<V>()[i]));
  return to;
}
// The same on all paths and threads; returns it.
template <Config C> Floats run_everywhere(Case<C>& c, PackedView<C, Host> packed = {}) {
  Floats const y = run_combine<C>(c, packed);
  for (int threads : {2, 3}) CHECK(run_combine<C>(c, packed, Isa::best, threads) == y);
  return y;
}

// The routed sum by its definition, to the bit.
template <Config C> float routed_sum(Case<C> const& c, std::int64_t t, int column) {
  using V = element_t<C.dtype>;
  std::vector<int> order;
  for (int s = 0; s < slots(C); ++s) order.push_back(s);
  float sum = 0;
  if constexpr (C.combine == Accumulate::model) {
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return c.expert[static_cast<std::size_t>(t * slots(C) + a)] < c.expert[static_cast<std::size_t>(t * slots(C) + b)]; });
    for (int s : order) if (c.counts(t, s)) sum = rounded<V>(sum + rounded<V>(c.w(t, s) * c.routed(t, s, column)));
    return C.router.scale_on == ScaleOn::routed_sum ? rounded<V>(sum * C.router.scale) : sum;
  }
  for (int s : order) if (c.counts(t, s)) sum = std::fma(c.w(t, s), c.routed(t, s, column), sum);
  return C.router.scale_on == ScaleOn::routed_sum ? sum * C.router.scale : sum;
}
template <Config C> void sums() {
  using V = element_t<C.dtype>;
  cases::Random random{static_cast<std::uint64_t>(C.hidden + 7 * C.top_k)};
  Case<C> c{random, 37};
  Floats const y = run_everywhere<C>(c), portable = run_combine<C>(c, {}, Isa::portable);
  long wrong = 0;
  for (std::int64_t t = 0; t < 37; ++t)
    for (int h = 0; h < C.hidden; ++h) {
      auto const i = static_cast<std::size_t>(t * C.hidden + h);
      float const want = rounded<V>(routed_sum<C>(c, t, h));
      wrong += y[i] != want || portable[i] != want;
    }
  CHECK(wrong == 0);
}

// y within 2^-20 of the definition and one rounding to dtype.
void near(float got, double want, DType d) { CHECK(std::fabs(double{got} - want) <= (d == DType::bf16 ? 0x1p-8 : 0x1p-20) * std::fabs(want) + 0x1p-18); }

// Layers with shared or latent weights, packed.
template <Config C> struct Extras {
  using S = element_t<C.shared.weights>;
  using V = element_t<C.dtype>;
  std::vector<S> mix, narrow;
  Floats bias{0.25f, -0.5f}, norm;
  std::vector<V> latent;
  Packed<C, Host> packed;
  explicit Extras(cases::Random& random) : mix(2 * C.hidden), narrow(C.hidden), latent(C.hidden * width(C)), packed(make(random)) {}

 private:
  Packed<C, Host> make(cases::Random& random) {
    for (S& m : mix) m = from_float<S>(static_cast<float>(random.normal() / 4));
    for (V& m : latent) m = from_float<V>(static_cast<float>(random.normal() / 4));
    for (int i = 0; i < width(C); ++i) norm.push_back(static_cast<float>(1 + random.normal() / 4));
    static element_t<C.weights> const none[C.hidden + 1]{};
    Weights<C> raw{};
    for (auto& m : raw.gate) m.data = none;
    for (auto& m : raw.up) m.data = none;
    for (auto& m : raw.down) m.data = none;
    if constexpr (C.shared.ffn > 0) {
      raw.shared.gate.data = raw.shared.up.data = raw.shared.down.data = narrow.data();
      raw.shared.mix.data = mix.data(), raw.shared.mix_bias = bias.data();
    }
    if constexpr (C.expert.latent > 0) raw.latent.down.data = latent.data(), raw.latent.up.data = latent.data(), raw.latent.norm = norm.data(), raw.latent.norm_epsilon = 0.01f;
    return pack(Host{.threads = 1}, raw);
  }
};
template <Config C> void mixes() {
  using V = element_t<C.dtype>;
  cases::Random random{21};
  Extras<C> const extras{random};
  Case<C> c{random, 19};
  Floats const y = run_everywhere<C>(c, extras.packed.view());
  for (std::int64_t t = 0; t < 19; ++t) {
    auto const at = [&](int h) { return static_cast<std::size_t>(t * C.hidden + h); };
    double dot[2]{double{extras.bias[0]}, double{extras.bias[1]}};
    for (int m = 0; m < 2; ++m)
      for (int h = 0; h < C.hidden; ++h) dot[m] += double{to_float(extras.mix[static_cast<std::size_t>(m * C.hidden + h)])} * double{to_float(c.x[at(h)])};
    double a = 1, b = 1;
    if (C.shared.mix == SharedMix::sigmoid_gate) b = 1 / (1 + std::exp(-dot[0]));
    if (C.shared.mix == SharedMix::average) a = b = 0.5;
    if (C.shared.mix == SharedMix::coefficients) a = 1 / (1 + std::exp(dot[1] - dot[0])), b = 1 - a;
    for (int h = 0; h < C.hidden; ++h) {
      float const routed = routed_sum<C>(c, t, h), shared = to_float(c.shared[at(h)]);
      if (C.combine == Accumulate::model && a == 1 && b == 1) CHECK(y[at(h)] == rounded<V>(routed + shared));        // exact: one rounded sum
      else near(y[at(h)], a * double{routed} + b * double{shared}, C.dtype);
    }
  }
}
}

TEST_SUITE("combine") {
  TEST_CASE("the order of a sum is the order of slots, in fp32") {
    constexpr Config c = of(4, 3, 1, DType::fp32);
    cases::Random random{1};
    Case<c> one{random, 1};
    one.expert = {3, 1, 0}, one.slot = {2, 1, 0}, one.weight = {1, 1, 1}, one.out = {-1e8f, 1, 1e8f};
    CHECK(run_everywhere<c>(one) == Floats{0});                          // (1e8 + 1) - 1e8
    one.slot = {2, 0, 1};
    CHECK(run_everywhere<c>(one) == Floats{1});                          // (1e8 - 1e8) + 1
    one.weight = {0.1f, 0.2f, 0.3f}, one.out = {7, 3, 11};
    CHECK(run_everywhere<c>(one) == Floats{std::fma(0.3f, 3.f, std::fma(0.2f, 7.f, std::fma(0.1f, 11.f, 0.f)))});
  }
  TEST_CASE("the routed sum is its definition to the bit, at odd widths and across column chunks") {
    sums<of(8, 2, 1, DType::fp32)>();
    sums<of(8, 4, 300, DType::bf16)>();
    sums<of(5, 5, 257, DType::fp16)>();
  }
  TEST_CASE("Accumulate::model adds in ascending expert id and rounds every product and sum") {
    constexpr Config c = of(4, 3, 1, DType::bf16, Accumulate::model);
    cases::Random random{1};
    Case<c> one{random, 1};
    one.expert = {3, 1, 0}, one.slot = {0, 1, 2}, one.weight = {1, 1, 1};
    one.out = {from_float<bf16>(256), from_float<bf16>(1), from_float<bf16>(1)};
    CHECK(run_everywhere<c>(one) == Floats{258});                        // (1 + 1) + 256; in slot order 256 + 1 stays 256, twice
    one.expert = {0, 1, 3};
    CHECK(run_everywhere<c>(one) == Floats{256});
    one.expert = {2, 2, 2};                                              // the same expert: by slot
    CHECK(run_everywhere<c>(one) == Floats{256});
    sums<of(8, 4, 33, DType::bf16, Accumulate::model)>();
    sums<with_routed_scale(of(8, 6, 65, DType::fp16, Accumulate::model), 2.5f)>();
  }
  TEST_CASE("null experts: identity returns x, skip nothing") {
    constexpr Config c = with_null(of(2, 3, 2, DType::fp32), 2, 1);
    cases::Random random{1};
    Case<c> one{random, 1};
    one.expert = {2, 4, 3}, one.slot = {-1, -1, -1}, one.weight = {0.5f, 100, 0.25f}, one.x = {8, -16};
    CHECK(run_everywhere<c>(one) == Floats{6, -12});
    one.expert = {4, -1, 4};
    CHECK(run_everywhere<c>(one) == Floats{0, 0});
    sums<with_null(of(6, 4, 40, DType::bf16), 3, 2)>();
    sums<with_null(of(6, 4, 40, DType::bf16, Accumulate::model), 3, 2)>();
  }
  TEST_CASE("a token that was dropped everywhere gives zero") {
    constexpr Config c = of(2, 2, 3, DType::bf16);
    cases::Random random{1};
    Case<c> one{random, 1};
    one.expert = {0, 1}, one.slot = {-1, -1};
    CHECK(run_everywhere<c>(one) == Floats{0, 0, 0});
  }
  TEST_CASE("scale on the routed sum, after it; weights on the input are not used again") {
    sums<with_routed_scale(of(8, 4, 33, DType::fp32), 2.5f)>();
    sums<with_place(of(8, 2, 33, DType::bf16), Place::input)>();
  }
  TEST_CASE("shared experts: sum, sigmoid gate, average, coefficients") {
    mixes<with_shared(of(4, 2, 37, DType::fp32), SharedMix::sum)>();
    mixes<with_shared(of(4, 2, 37, DType::bf16, Accumulate::model), SharedMix::sum)>();
    mixes<with_shared(of(4, 2, 37, DType::bf16), SharedMix::sigmoid_gate)>();
    mixes<with_shared(of(4, 2, 300, DType::fp32), SharedMix::average)>();
    mixes<with_shared(of(4, 2, 37, DType::fp32), SharedMix::coefficients)>();
    mixes<with_routed_scale(with_shared(of(4, 2, 37, DType::fp32), SharedMix::sum), 3)>();                            // the shared part is not scaled
  }
  TEST_CASE("latent experts: sum, norm, and the way up; shared experts join at full width") {
    auto const check = []<Config C>(std::type_identity<Combine<C, Host>>) {
      using V = element_t<C.dtype>;
      cases::Random random{31};
      Extras<C> const extras{random};
      Case<C> c{random, 18};
      Floats const y = run_everywhere<C>(c, extras.packed.view());
      for (std::int64_t t = 0; t < 18; ++t) {
        std::vector<double> z;
        double square = 0;
        for (int i = 0; i < width(C); ++i) z.push_back(double{routed_sum<C>(c, t, i)}), square += z.back() * z.back();
        if (C.expert.latent_norm == LatentNorm::rms)
          for (std::size_t i = 0; i < z.size(); ++i) z[i] *= double{extras.norm[i]} / std::sqrt(square / width(C) + double{0.01f});
        for (int h = 0; h < C.hidden; ++h) {
          double sum = 0, size = 0;
          for (std::size_t i = 0; i < z.size(); ++i) {
            double const p = z[i] * double{to_float(extras.latent[static_cast<std::size_t>(h) * z.size() + i])};
            sum += p, size += std::fabs(p);
          }
          auto const at = static_cast<std::size_t>(t * C.hidden + h);
          double shared = 0;
          if (C.shared.ffn) shared = double{to_float(c.shared[at])};
          double const u = std::is_same_v<V, float> ? 0x1p-20 : 0x1p-8;                            // z is rounded to dtype, y too
          CHECK(std::fabs(double{y[at]} - sum - shared) <= u * (size + 2 * std::fabs(sum) + std::fabs(sum + shared)) + 0x1p-18);
        }
      }
    };
    check(std::type_identity<Combine<with_latent(of(4, 2, 37, DType::fp32), 20, LatentNorm::none), Host>>{});
    check(std::type_identity<Combine<with_latent(of(4, 2, 37, DType::bf16), 20, LatentNorm::rms), Host>>{});
    check(std::type_identity<Combine<with_shared(with_latent(of(4, 2, 40, DType::fp32), 33, LatentNorm::rms), SharedMix::sum), Host>>{});
  }
  TEST_CASE("refused: y or shared of another height, missing weights, scratch too small") {
    constexpr Config c = with_latent(with_shared(of(4, 2, 8, DType::fp32), SharedMix::sum), 4, LatentNorm::none);
    cases::Random random{31};
    Extras<c> const extras{random};
    Case<c> k{random, 5};
    Host const on{.threads = 1};
    Combine<c, Host> const combine;
    std::vector<std::byte> scratch(combine.workspace_bytes(on, 5));
    Floats y(5 * 8);
    auto const run = [&](PackedView<c, Host> packed, std::int64_t y_rows, std::int64_t shared_rows, std::size_t bytes) {
      Routing<c> const routing{.expert = {k.expert.data(), 5}, .weight = {k.weight.data(), 5}};
      combine(on, {.x = {k.x.data(), 5}}, packed, routing, {.slot = {k.slot.data(), 5}}, {k.out.data(), 10}, {k.shared.data(), shared_rows}, {y.data(), y_rows}, std::span(scratch).first(bytes));
    };
    CHECK_NOTHROW(run(extras.packed.view(), 5, 5, scratch.size()));
    CHECK_THROWS_AS(run(extras.packed.view(), 4, 5, scratch.size()), Error);
    CHECK_THROWS_AS(run(extras.packed.view(), 5, 4, scratch.size()), Error);
    CHECK_THROWS_AS(run({}, 5, 5, scratch.size()), Error);
    CHECK_THROWS_AS(run(extras.packed.view(), 5, 5, scratch.size() - 1), Error);
  }
}

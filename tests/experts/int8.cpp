// Experts with 8-bit activations (Host::int8_activations): against their definition in double, whose x and hidden values the test rounds
// itself; against the layer without the option, within half a step of every activation; which layers take it, and in what memory.
#include <coterie/coterie.hpp>
#include <coterie/reference.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <memory>
#include <vector>
#include "../cases.hpp"
#include "../host/software_tiles.hpp"

namespace {
using namespace coterie;
using reference::Real;

constexpr Config of(int hidden, int ffn, Act act, DType dtype, DType weights, QuantConfig quant = {}) {
  Config c{.experts = 4, .top_k = 2, .hidden = hidden, .ffn = ffn, .dtype = dtype, .weights = weights, .quant = quant, .router = {.input = RouterInput::given}};
  c.expert.act = act;
  return c;
}
constexpr Config with_bias(Config c) {
  c.expert.bias = 1;
  return c;
}
constexpr Config weighing_input(Config c) {
  c.router.place = Place::input;
  return c;
}

// Experts packed from random numbers, the codes that packing chose, and a batch whose experts have 30, 0, 1 and 13 rows.
template <Config C> struct Case {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr int tokens = 30;
  static constexpr std::size_t E = C.experts, H = C.hidden, F = C.ffn, n = H * F;
  struct Back {
    std::vector<element_t<C.weights>> data = std::vector<element_t<C.weights>>(n);
    std::vector<float> scale = std::vector<float>(n);
    std::vector<std::uint8_t> zero = std::vector<std::uint8_t>(n);
  };
  cases::Random random{31};
  std::vector<std::vector<float>> weights, bias;
  std::vector<Back> back{3 * E};
  std::unique_ptr<Packed<C, Host>> packed;
  reference::Weights numbers;
  std::vector<V> x;
  std::vector<std::int32_t> begin{0, 30, 30, 31, 44}, token;
  std::vector<float> weight;

  Case() {
    Host const on{.threads = 2};
    Packer<C, Host> packer{on};
    Weights<C> raw{};
    auto const draw = [&](std::size_t count, double size) {
      std::vector<float> to;
      for (std::size_t i = 0; i < count; ++i) to.push_back(static_cast<float>(random.normal() * size));
      return to;
    };
    for (std::size_t i = 0; i < 3 * E; ++i) weights.push_back(draw(n, 0.3)), bias.push_back(draw(std::max(H, F), 0.5));
    for (std::size_t e = 0; C.expert.bias && e < E; ++e) raw.gate_bias[e] = bias[3 * e].data(), raw.up_bias[e] = bias[3 * e + 1].data(), raw.down_bias[e] = bias[3 * e + 2].data();
    packer.router(raw);
    for (std::size_t e = 0; e < E; ++e) packer.template expert<DType::fp32>(static_cast<int>(e), {.data = weights[3 * e].data()}, {.data = weights[3 * e + 1].data()}, {.data = weights[3 * e + 2].data()});
    packed = std::make_unique<Packed<C, Host>>(packer.finish());
    for (std::size_t e = 0; e < E; ++e) {
      auto const into = [&](std::size_t i, auto matrix) {
        matrix.data = back[3 * e + i].data.data(), matrix.scale = back[3 * e + i].scale.data(), matrix.zero = back[3 * e + i].zero.data();
        return matrix;
      };
      unpack_expert<C>(on, packed->view(), static_cast<int>(e), into(0, Matrix<C.weights, C.ffn, C.hidden, true>{}), into(1, Matrix<C.weights, C.ffn, C.hidden, true>{}), into(2, Matrix<C.weights, C.hidden, C.ffn, true>{}));
      raw.gate[e] = into(0, raw.gate[e]), raw.up[e] = into(1, raw.up[e]), raw.down[e] = into(2, raw.down[e]);
    }
    numbers = reference::weights(raw);
    for (float v : draw(tokens * H, 1)) x.push_back(from_float<V>(v));
    for (int r = 0; r < 44; ++r) token.push_back(random.below(tokens)), weight.push_back(static_cast<float>(0.5 + random.uniform()));
  }

  // out[R,H], in exactly the memory that workspace_bytes asks for.
  std::vector<float> run(Host const& on) {
    return run(on, [&](auto const& batch, auto out, std::span<std::byte> scratch) { Experts<C, Host>{}(on, {x.data(), tokens}, packed->view(), batch, out, scratch); });
  }
  template <class Engine> std::vector<float> run(Host const& on, Engine const& engine) requires requires { engine.path; } {
    return run(on, [&](auto const& batch, auto out, std::span<std::byte> scratch) {
      Arena arena{scratch};
      auto const pieces = Experts<C, Host>::carve(arena, tokens);
      Experts<C, Host>::run(on, engine, {x.data(), tokens}, packed->view(), batch, out, pieces);
    });
  }
  template <class Call> std::vector<float> run(Host const& on, Call const& call) {
    cases::Guarded scratch{Experts<C, Host>{}.workspace_bytes(on, tokens), 0xff};
    std::vector<V> out(token.size() * H);
    call(Batch<C>{.begin = begin.data(), .token = token.data(), .weight = weight.data(), .slot = {}}, Rows<V, C.hidden>{out.data(), static_cast<std::int64_t>(token.size())}, scratch.span());
    CHECK(scratch.intact());
    std::vector<float> to;
    for (V v : out) to.push_back(to_float(v));
    return to;
  }
  std::size_t expert_of(std::size_t row) const {
    std::size_t e = 0;
    while (static_cast<std::int32_t>(row) >= begin[e + 1]) ++e;
    return e;
  }
  std::vector<Real> input(std::size_t row) const {
    std::vector<Real> a;
    for (std::size_t i = 0; i < H; ++i) {
      double const v = double{to_float(x[static_cast<std::size_t>(token[row]) * H + i])};
      a.push_back(C.router.place == Place::input ? reference::to(C.dtype, Real{v, 0} * Real{double{weight[row]}, 0}) : Real{v, 0});
    }
    return a;
  }
  // One row of expert e; `round` stands for what happens to a row before it is multiplied.
  template <class Round> std::vector<Real> expert(std::size_t e, std::vector<Real> const& row, Round const& round) const {
    std::vector<Real> const a = round(row);
    auto const bias_of = [](auto const& b, std::size_t i) { return C.expert.bias ? &b[i] : nullptr; };
    std::vector<Real> h, out;
    for (std::size_t f = 0; f < F; ++f) {
      Real const g = gated(C.expert.act) ? reference::product(C.dtype, numbers.gate[e], f, a, bias_of(numbers.gate_bias, e), numbers.expert_roundoff) : Real{};
      h.push_back(reference::to(C.dtype, reference::activate(C.expert, g, reference::product(C.dtype, numbers.up[e], f, a, bias_of(numbers.up_bias, e), numbers.expert_roundoff), C.dtype)));
    }
    h = round(h);
    for (std::size_t o = 0; o < H; ++o) out.push_back(reference::product(C.dtype, numbers.down[e], o, h, bias_of(numbers.down_bias, e), numbers.expert_roundoff));
    return out;
  }
};

// The largest size in a row, and how far it may be off.
Real largest(std::vector<Real> const& row) {
  double low = 0, high = 0, most = 0;
  for (Real v : row) low = std::fmax(low, std::fabs(v.value) - v.error), high = std::fmax(high, std::fabs(v.value) + v.error), most = std::fmax(most, std::fabs(v.value));
  return {most, std::fmax(high - most, most - low)};
}
// To codes of one scale. A number that may lie on either side of the middle between two codes may become either.
std::vector<Real> to_codes(std::vector<Real> const& row) {
  Real const most = largest(row);
  if (most.value == 0) return row;
  double const scale = most.value / 127, off = most.error / most.value + 4 * reference::unit;
  std::vector<Real> to;
  for (Real v : row) {
    double const t = v.value / scale, spread = v.error / scale + std::fabs(t) * off, code = std::nearbyint(t);
    bool const either = std::fabs(std::fabs(t - code) - 0.5) <= spread;
    to.push_back({code * scale, std::fabs(code) * scale * off + (either ? scale * (1 + spread) : 0)});
  }
  return to;
}
// Anywhere within half a step.
std::vector<Real> half_a_step(std::vector<Real> const& row) {
  Real const most = largest(row);
  std::vector<Real> to;
  for (Real v : row) to.push_back({v.value, v.error + (most.value + most.error) / 254 * (1 + 4 * reference::unit)});
  return to;
}

template <Config C, class Round> double worst_ratio(Case<C> const& c, std::vector<float> const& got, Round const& round) {
  double worst = 0;
  for (std::size_t r = 0; r < c.token.size(); ++r) {
    auto const want = c.expert(c.expert_of(r), c.input(r), round);
    for (std::size_t o = 0; o < want.size(); ++o) {
      double const difference = std::fabs(double{got[r * want.size() + o]} - want[o].value);
      worst = std::fmax(worst, std::isnan(difference) ? INFINITY : difference / reference::stored_bound(C.dtype, want[o]));
    }
  }
  return worst;
}

template <Config C> void follows_the_definition() {
  INFO(std::string(name(C.weights)));
  Case<C> c;
  std::vector<float> vectors;
  double most = 0, most_without = 0;
  for (Isa isa : cases::paths()) {
    INFO(std::string(name(isa)));
    auto const got = c.run({.threads = 1, .isa = isa, .int8_activations = 1});
    CHECK(c.run({.threads = 3, .isa = isa, .int8_activations = 1}) == got);
    double const exactly = worst_ratio(c, got, to_codes), without = worst_ratio(c, got, half_a_step);
    CHECK(exactly <= 1);
    CHECK(exactly > 0.001);
    CHECK(without <= 1);
    CHECK(got != c.run({.threads = 1, .isa = isa}));
    if (isa == Isa::avx2) vectors = got;                                                     // one chain of fused operations on every path that has them
    if (isa > Isa::avx2) CHECK(got == vectors);
    most = std::fmax(most, exactly), most_without = std::fmax(most_without, without);
  }
#if defined(__x86_64__)
  if (host::supports(Isa::avx512)) {
    auto& tiles = test::SoftwareTiles::state();
    tiles.faults = tiles.products = 0;
    CHECK(c.run({.threads = 1}, test::SoftwareInt8Engine{}) == vectors);
    CHECK(tiles.products > 0);
    CHECK(tiles.faults == 0);
  }
#endif
  MESSAGE(std::string(name(C.weights)) << ", 8-bit activations: error / bound " << most << " of the definition, " << most_without << " of the layer with numbers as activations");
}

template <Config C> void takes(bool yes) {
  INFO(std::string(name(C.weights)));
  Experts<C, Host> const experts;
  for (Isa isa : cases::paths()) {
    Host const plain{.threads = 1, .isa = isa}, int8{.threads = 2, .isa = isa, .int8_activations = 1};
    for (int tokens : {1, 7, 100}) CHECK(experts.workspace_bytes(plain, tokens) == experts.workspace_bytes(int8, tokens));
    std::string const says = experts.explain(int8, 5);
    CAPTURE(says);
    CHECK((says.find("int8 activations, exact sums") != std::string::npos) == yes);
    CHECK((says.find("Host::int8_activations has no effect on " + std::string(name(C.weights)) + " weights") != std::string::npos) == !yes);
    CHECK(experts.explain(plain, 5).find("int8_activations") == std::string::npos);
    if (yes) {
      char const* const kernel = isa == Isa::amx && host::supports_amx_int8() ? "AMX int8 on " : isa >= Isa::avx512 && host::supports_vnni() ? "AVX-512 VNNI on " : isa >= Isa::avx2 ? "AVX2 on " : "portable on ";
      CHECK(says.find(kernel) == 0);
    }
  }
}
}

TEST_SUITE("experts") {
  TEST_CASE("8-bit activations: explain() names tiles, and what few rows take instead") {
    std::string const says = host::explain_int8(host::Int8Path::amx, "int4", 7, {.outputs = 40, .inputs = 64, .paired = 1}, {.outputs = 64, .inputs = 40});
    CHECK(says == "AMX int8 on int4 panels, int8 activations, exact sums of up to 512 inputs, scaled and summed in fp32; gate, up and activation in one pass over 3 panels, then down over 2; "
                  "tiles of 32 rows x 32 columns (AVX-512 VNNI for an expert's 4 rows or fewer) for up to 7 rows");
  }
  TEST_CASE("8-bit activations follow their definition, and stay within half a step of what they round") {
    follows_the_definition<of(70, 90, Act::silu_mul, DType::fp32, DType::int8, {.group = 32})>();
    follows_the_definition<weighing_input(of(64, 96, Act::relu_mul, DType::fp16, DType::int4))>();
    follows_the_definition<with_bias(of(96, 64, Act::oai_mul, DType::bf16, DType::mxfp4))>();
    follows_the_definition<with_bias(of(65, 33, Act::relu2, DType::bf16, DType::int4, {.group = 32, .zero_points = 1}))>();
    follows_the_definition<of(160, 129, Act::silu_mul, DType::bf16, DType::int8, {.group = 128, .zero_points = 1})>();
  }
  TEST_CASE("8-bit activations: a token of NaN, of infinities, of zeros; no other token sees it") {
    Case<of(70, 90, Act::silu_mul, DType::bf16, DType::int8, {.group = 32})> c;
    Host const on{.threads = 2, .int8_activations = 1};
    auto const clean = c.run(on);
    auto const zeros = c.token[3], nan = c.token[4], infinite = c.token[5];
    for (std::size_t i = 0; i < c.H; ++i) c.x[static_cast<std::size_t>(zeros) * c.H + i] = {};
    c.x[static_cast<std::size_t>(nan) * c.H + 9] = {0x7fc0}, c.x[static_cast<std::size_t>(infinite) * c.H] = {0xff80};
    auto const dirty = c.run(on);
    long wrong = 0;
    for (std::size_t i = 0; i < clean.size(); ++i) {
      auto const t = c.token[i / c.H];
      wrong += t == nan || t == infinite ? !is_nan(dirty[i]) : t == zeros ? dirty[i] != 0 : dirty[i] != clean[i];
    }
    CHECK(wrong == 0);
  }
  TEST_CASE("8-bit activations: integer weights take them, others say that they do not and give the same bits") {
    takes<of(64, 96, Act::silu_mul, DType::bf16, DType::int8, {.group = 32})>(true);
    takes<of(32, 32, Act::silu_mul, DType::fp32, DType::int8)>(true);
    takes<of(64, 96, Act::silu_mul, DType::bf16, DType::int4, {.group = 64, .zero_points = 1})>(true);
    takes<of(64, 96, Act::silu_mul, DType::bf16, DType::mxfp4)>(true);
    takes<of(64, 96, Act::silu_mul, DType::bf16, DType::bf16)>(false);
    takes<of(64, 96, Act::silu_mul, DType::bf16, DType::fp8_e4m3, {.group = 32})>(false);
    Case<of(64, 96, Act::silu_mul, DType::bf16, DType::fp8_e4m3, {.group = 32})> c;
    CHECK(c.run({.threads = 1, .int8_activations = 1}) == c.run({.threads = 1}));
  }
  TEST_CASE("8-bit activations: one byte less of scratch is refused") {
    constexpr Config config = of(70, 33, Act::silu_mul, DType::fp32, DType::int8, {.group = 32});
    Case<config> c;
    Host const on{.threads = 1, .int8_activations = 1};
    Experts<config, Host> const experts;
    std::vector<std::byte> scratch(experts.workspace_bytes(on, c.tokens) - 1);
    std::vector<float> out(44 * 70);
    CHECK_THROWS_AS(experts(on, {c.x.data(), c.tokens}, c.packed->view(), {.begin = c.begin.data(), .token = c.token.data(), .weight = c.weight.data(), .slot = {}}, {out.data(), 44}, scratch), Error);
  }
}

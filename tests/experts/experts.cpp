// The experts' products: exact with small whole numbers, on every path this processor has and on software tiles; with real
// numbers within the reference's bound.
#include <coterie/coterie.hpp>
#include <coterie/reference.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <vector>
#include "../cases.hpp"
#include "../host/software_tiles.hpp"

namespace {
using namespace coterie;

template <class T> std::vector<T> numbers(cases::Random& random, std::size_t n, bool integers) {
  std::vector<T> to;
  for (std::size_t i = 0; i < n; ++i) to.push_back(from_float<T>(integers ? static_cast<float>(random.below(3) - 1) : static_cast<float>(random.normal() / 2)));
  return to;
}

// A layer's experts in checkpoint layout.
template <Config C> struct Checkpoint {
  using S = element_t<C.weights>;
  std::vector<std::vector<S>> gate, up, down;
  std::vector<std::vector<float>> gate_bias, up_bias, down_bias;
  Weights<C> raw{};
  Checkpoint(cases::Random& random, bool integers) {
    for (std::size_t e = 0; e < C.experts; ++e) {
      gate.push_back(numbers<S>(random, C.ffn * C.hidden, integers)), up.push_back(numbers<S>(random, C.ffn * C.hidden, integers));
      down.push_back(numbers<S>(random, C.hidden * C.ffn, integers));
      gate_bias.push_back(numbers<float>(random, C.ffn, integers)), up_bias.push_back(numbers<float>(random, C.ffn, integers));
      down_bias.push_back(numbers<float>(random, C.hidden, integers));
      raw.gate[e].data = gate[e].data(), raw.up[e].data = up[e].data(), raw.down[e].data = down[e].data();
    }
    for (std::size_t e = 0; e < (C.expert.bias ? C.experts : 0); ++e) raw.gate_bias[e] = gate_bias[e].data(), raw.up_bias[e] = up_bias[e].data(), raw.down_bias[e] = down_bias[e].data();
  }
};

// A batch made by hand: which token and weight each row has, experts in order.
struct RowList {
  std::vector<std::int32_t> begin{0}, token;
  std::vector<float> weight;
};
RowList rows_of(cases::Random& random, int experts, int tokens, std::vector<int> const& counts) {
  RowList r;
  for (int e = 0; e < experts; ++e) {
    for (int i = 0; i < counts[static_cast<std::size_t>(e)]; ++i) {
      r.token.push_back(random.below(tokens));
      r.weight.push_back(static_cast<float>(random.below(3) + 1));
    }
    r.begin.push_back(static_cast<std::int32_t>(r.token.size()));
  }
  return r;
}

constexpr Config of(int hidden, int ffn, Act act, DType dtype, DType weights) {
  Config c{.experts = 5, .top_k = 2, .hidden = hidden, .ffn = ffn, .dtype = dtype, .weights = weights, .router = {.input = RouterInput::given}};
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

enum class Engine : int { portable, avx2, avx512, avx512_bf16, best, tiles };
// Codes are decoded for tiles by AVX-512's look-ups.
#if defined(__x86_64__)
template <Config C> constexpr bool tiled = Experts<C, Host>::tiled;
#else
template <Config C> constexpr bool tiled = Experts<C, Host>::tiled && is_float(C.weights);
#endif
template <Config C> bool runs(Engine e) {
  if (e == Engine::tiles) return tiled<C> && (is_float(C.weights) || host::supports(Isa::avx512_bf16));
  if (e == Engine::avx2) return host::supports(Isa::avx2);
  if (e == Engine::avx512_bf16) return host::supports(Isa::avx512_bf16);
  return e != Engine::avx512 || host::supports(Isa::avx512);
}
Isa isa_of(Engine e) { return e == Engine::portable ? Isa::portable : e == Engine::avx2 ? Isa::avx2 : e == Engine::avx512 ? Isa::avx512 : e == Engine::avx512_bf16 ? Isa::avx512_bf16 : Isa::best; }

// out[R,W], poisoned before.
template <Config C> std::vector<float> run_experts(Engine engine, std::vector<element_t<C.dtype>>& x, int tokens, RowList& rows, PackedView<C, Host> packed) {
  using V = element_t<C.dtype>;
  std::int64_t const routed = std::int64_t{tokens} * C.top_k;
  REQUIRE(static_cast<std::int64_t>(rows.token.size()) <= routed);
  Host const on{.threads = 1, .isa = isa_of(engine)};
  Experts<C, Host> const experts;
  cases::Guarded scratch{experts.workspace_bytes(on, tokens), 0xff}, out{static_cast<std::size_t>(routed * C.hidden) * sizeof(V), 0xff};
  Batch<C> const batch{.begin = rows.begin.data(), .token = rows.token.data(), .weight = rows.weight.data(), .slot = {}};
  Rows<V const, C.hidden> const in{x.data(), tokens};
  Rows<V, C.hidden> const to{out.data<V>(), routed};
  if (engine == Engine::tiles) {
    if constexpr (tiled<C>) {
      auto& tiles = test::SoftwareTiles::state();
      tiles.faults = tiles.products = 0;
      Arena arena{scratch.span()};
      auto const pieces = Experts<C, Host>::carve(arena, tokens);
      Experts<C, Host>::run(on, host::TileEngine<test::SoftwareTiles>{Isa::portable}, in, packed, batch, to, pieces);
      CHECK(tiles.faults == 0);
      CHECK((tiles.products > 0 || rows.token.empty()));
    }
  } else {
    experts(on, in, packed, batch, to, scratch.span());
  }
  CHECK(scratch.intact());
  CHECK(out.intact());
  std::vector<float> values;
  for (std::int64_t i = 0; i < routed * C.hidden; ++i) values.push_back(to_float(out.data<V>()[i]));
  for (std::size_t i = rows.token.size() * static_cast<std::size_t>(C.hidden); i < values.size(); ++i) CHECK(is_nan(values[i]));   // rows beyond R stay
  values.resize(rows.token.size() * static_cast<std::size_t>(C.hidden));
  return values;
}

// The definition by loops; every sum is a whole number that fp32 holds.
template <Config C> std::vector<float> direct(Checkpoint<C> const& w, std::vector<element_t<C.dtype>> const& x, RowList const& rows) {
  std::vector<float> out;
  for (std::size_t e = 0; e < C.experts; ++e)
    for (auto r = static_cast<std::size_t>(rows.begin[e]); r < static_cast<std::size_t>(rows.begin[e + 1]); ++r) {
      std::vector<double> a, h;
      for (std::size_t i = 0; i < C.hidden; ++i) {
        double const v = double{to_float(x[static_cast<std::size_t>(rows.token[r]) * C.hidden + i])};
        a.push_back(C.router.place == Place::input ? v * double{rows.weight[r]} : v);
      }
      for (std::size_t f = 0; f < C.ffn; ++f) {
        double g = C.expert.bias ? double{w.gate_bias[e][f]} : 0, u = C.expert.bias ? double{w.up_bias[e][f]} : 0;
        for (std::size_t i = 0; i < C.hidden; ++i) g += a[i] * double{to_float(w.gate[e][f * C.hidden + i])}, u += a[i] * double{to_float(w.up[e][f * C.hidden + i])};
        double const v = C.expert.act == Act::relu_mul ? std::fmax(g, 0.) * u : C.expert.act == Act::relu2 ? std::fmax(u, 0.) * std::fmax(u, 0.) : std::fmax(u, 0.);
        h.push_back(reference::nearest(C.dtype, v));
      }
      for (std::size_t o = 0; o < C.hidden; ++o) {
        double y = C.expert.bias ? double{w.down_bias[e][o]} : 0;
        for (std::size_t f = 0; f < C.ffn; ++f) y += h[f] * double{to_float(w.down[e][o * C.ffn + f])};
        REQUIRE(std::fabs(y) < 0x1p24);
        out.push_back(static_cast<float>(reference::nearest(C.dtype, y)));
      }
    }
  return out;
}

template <Config C> void exact() {
  cases::Random random{static_cast<std::uint64_t>(C.hidden * 1000 + C.ffn)};
  Checkpoint<C> const w{random, true};
  Host const on{.threads = 1};
  Packer<C, Host> packer{on};
  packer.router(w.raw);
  for (int e = 0; e < C.experts; ++e) packer.expert(e, w.raw.gate[static_cast<std::size_t>(e)], w.raw.up[static_cast<std::size_t>(e)], w.raw.down[static_cast<std::size_t>(e)]);
  auto const packed = packer.finish();
  CAPTURE(C.hidden);
  CAPTURE(C.ffn);
  // Ragged, empty experts, one expert gets all, every expert one row, nobody.
  for (std::vector<int> const& counts : std::vector<std::vector<int>>{{3, 0, 17, 1, 33}, {0, 0, 0, 0, 100}, {100, 0, 0, 0, 0}, {1, 1, 1, 1, 1}, {0, 48, 49, 0, 2}, {0, 0, 0, 0, 0}}) {
    int const tokens = 50;
    auto x = numbers<element_t<C.dtype>>(random, static_cast<std::size_t>(tokens * C.hidden), true);
    RowList rows = rows_of(random, C.experts, tokens, counts);
    auto const want = direct<C>(w, x, rows);
    for (Engine e : {Engine::portable, Engine::avx2, Engine::avx512, Engine::avx512_bf16, Engine::best, Engine::tiles})
      if (runs<C>(e)) {
        CAPTURE(static_cast<int>(e));
        CHECK(run_experts<C>(e, x, tokens, rows, packed.view()) == want);
      }
  }
}

// Experts of real numbers on every engine, against the reference.
template <Config C> void within_bound(cases::Random& random, reference::Weights const& numbers_of, PackedView<C, Host> packed) {
  using V = element_t<C.dtype>;
  constexpr std::size_t H = C.hidden;
  auto x = numbers<V>(random, 40 * H, false);
  RowList rows = rows_of(random, 5, 40, {20, 0, 1, 37, 16});
  std::vector<std::vector<reference::Real>> want;
  for (int e = 0; e < 5; ++e)
    for (auto r = static_cast<std::size_t>(rows.begin[static_cast<std::size_t>(e)]); r < static_cast<std::size_t>(rows.begin[static_cast<std::size_t>(e) + 1]); ++r) {
      std::vector<reference::Real> a;
      for (std::size_t i = 0; i < H; ++i) a.push_back({double{to_float(x[static_cast<std::size_t>(rows.token[r]) * H + i])}, 0});
      want.push_back(reference::expert(C, numbers_of, e, a));
    }
  for (Engine e : {Engine::portable, Engine::avx2, Engine::avx512, Engine::avx512_bf16, Engine::best, Engine::tiles})
    if (runs<C>(e)) {
      auto const got = run_experts<C>(e, x, 40, rows, packed);
      double worst = 0;
      for (std::size_t i = 0; i < got.size(); ++i) {
        reference::Real const v = want[i / H][i % H];
        double const difference = std::fabs(double{got[i]} - v.value);
        worst = std::fmax(worst, std::isnan(difference) ? INFINITY : difference / reference::stored_bound(C.dtype, v));
      }
      CAPTURE(static_cast<int>(e));
      CHECK(worst <= 1);
      CHECK(worst > 0.001);
    }
}

constexpr Config with_quant(Config c, DType d, QuantConfig q) {
  c.weights = d, c.quant = q;
  return c;
}
// Packed from numbers; what the reference reads are the codes that packing chose.
template <Config C> void quantised() {
  INFO(std::string(name(C.weights)));
  constexpr Config from = with_quant(C, DType::fp32, {});
  constexpr std::size_t n = std::size_t{C.ffn} * C.hidden;
  cases::Random random{14};
  Checkpoint<from> const w{random, false};
  Host const on{.threads = 2};
  Packer<C, Host> packer{on};
  Weights<C> raw{};
  for (std::size_t e = 0; e < (C.expert.bias ? C.experts : 0); ++e) raw.gate_bias[e] = w.gate_bias[e].data(), raw.up_bias[e] = w.up_bias[e].data(), raw.down_bias[e] = w.down_bias[e].data();
  packer.router(raw);
  for (std::size_t e = 0; e < C.experts; ++e) packer.expert(static_cast<int>(e), w.raw.gate[e], w.raw.up[e], w.raw.down[e]);
  auto const packed = packer.finish();
  struct Back {
    std::vector<element_t<C.weights>> data;
    std::vector<float> scale;
    std::vector<std::uint8_t> zero;
  };
  std::vector<Back> back(3 * C.experts);
  for (Back& b : back) b.data.resize(n), b.scale.resize(n), b.zero.resize(n);
  for (std::size_t e = 0; e < C.experts; ++e) {
    auto const into = [&](std::size_t i, auto matrix) {
      matrix.data = back[3 * e + i].data.data(), matrix.scale = back[3 * e + i].scale.data(), matrix.zero = back[3 * e + i].zero.data();
      return matrix;
    };
    unpack_expert<C>(on, packed.view(), static_cast<int>(e), into(0, Matrix<C.weights, C.ffn, C.hidden, true>{}), into(1, Matrix<C.weights, C.ffn, C.hidden, true>{}), into(2, Matrix<C.weights, C.hidden, C.ffn, true>{}));
    raw.gate[e] = into(0, raw.gate[e]), raw.up[e] = into(1, raw.up[e]), raw.down[e] = into(2, raw.down[e]);
  }
  within_bound<C>(random, reference::weights(raw), packed.view());
}
}

TEST_SUITE("experts") {
  TEST_CASE("whole numbers are exact: odd sizes, empty experts, one expert with everything") {
    exact<of(1, 1, Act::relu_mul, DType::fp32, DType::fp32)>();
    exact<of(7, 8, Act::relu_mul, DType::bf16, DType::bf16)>();
    exact<of(64, 65, Act::relu, DType::bf16, DType::bf16)>();
    exact<of(33, 1, Act::relu_mul, DType::fp32, DType::bf16)>();
    exact<of(8, 64, Act::relu2, DType::fp16, DType::fp16)>();
  }
  TEST_CASE("whole numbers are exact: biases, of gate, up and down") {
    exact<with_bias(of(65, 33, Act::relu_mul, DType::bf16, DType::bf16))>();
    exact<with_bias(of(1, 7, Act::relu, DType::fp32, DType::fp16))>();
  }
  TEST_CASE("whole numbers are exact: the weight on the expert's input (Llama 4)") {
    exact<weighing_input(of(31, 17, Act::relu_mul, DType::bf16, DType::bf16))>();
    exact<weighing_input(with_bias(of(9, 40, Act::relu_mul, DType::fp32, DType::fp32)))>();
  }

  TEST_CASE("real numbers stay within the reference's bound, on vectors and on tiles") {
    constexpr Config c = with_bias(of(70, 90, Act::silu_mul, DType::bf16, DType::bf16));
    cases::Random random{11};
    Checkpoint<c> const w{random, false};
    auto const packed = pack(Host{.threads = 1}, w.raw);
    within_bound<c>(random, reference::weights(w.raw), packed.view());
  }
  TEST_CASE("quantised experts stay within the reference's bound") {
    constexpr Config gpt_oss = with_bias(of(96, 64, Act::oai_mul, DType::bf16, DType::mxfp4)), plain = of(70, 90, Act::silu_mul, DType::bf16, DType::fp8_e4m3);
    quantised<gpt_oss>();
    quantised<with_quant(plain, DType::fp8_e4m3, {.group = 128, .group_rows = 128})>();
    quantised<with_quant(plain, DType::int8, {.group = 32})>();
    quantised<with_quant(plain, DType::int4, {.group = 32, .zero_points = 1})>();
    quantised<with_quant(of(64, 96, Act::relu2, DType::fp32, DType::int4), DType::int4, {})>();
  }
  TEST_CASE("the path of a layer is named: tiles for bf16 and for codes under bf16") {
    for (DType weights : {DType::bf16, DType::int8, DType::int4, DType::fp8_e4m3, DType::fp8_e5m2, DType::mxfp4})
      for (Isa isa : {Isa::amx, Isa::avx512_bf16, Isa::avx512, Isa::avx2, Isa::portable}) CHECK(host::ffn_path(isa, DType::bf16, weights) == isa);
    for (Isa isa : {Isa::amx, Isa::avx512_bf16}) {
      CHECK(host::ffn_path(isa, DType::bf16, DType::fp32) == Isa::avx512);
      CHECK(host::ffn_path(isa, DType::fp32, DType::int4) == Isa::avx512);
      CHECK(host::ffn_path(isa, DType::fp16, DType::fp16) == Isa::avx512);
    }
    std::string const says = host::explain_ffn(Isa::amx, DType::int4, 80, {.outputs = 64, .inputs = 64, .paired = 1}, {.outputs = 64, .inputs = 64});
    CHECK(says.find("AMX on int4 panels") == 0);
    CHECK(says.find("tiles of up to 32 rows") != std::string::npos);
  }
  TEST_CASE("a NaN in one row stays in its row") {
    constexpr Config c = of(33, 40, Act::silu_mul, DType::bf16, DType::bf16);
    cases::Random random{12};
    Checkpoint<c> const w{random, false};
    auto const packed = pack(Host{.threads = 1}, w.raw);
    auto x = numbers<bf16>(random, 20 * 33, false);
    RowList rows = rows_of(random, 5, 20, {20, 3, 0, 17, 0});
    auto poisoned = x;
    poisoned[7 * 33 + 5] = {0x7fc0};
    for (Engine e : {Engine::portable, Engine::best, Engine::tiles}) {
      auto const clean = run_experts<c>(e, x, 20, rows, packed.view()), dirty = run_experts<c>(e, poisoned, 20, rows, packed.view());
      long wrong = 0;
      for (std::size_t i = 0; i < clean.size(); ++i) wrong += rows.token[i / 33] == 7 ? !is_nan(dirty[i]) : dirty[i] != clean[i];
      CHECK(wrong == 0);
    }
  }
  TEST_CASE("a shard computes the same rows as the whole, bit for bit, and no others") {
    constexpr Config c = of(40, 33, Act::silu_mul, DType::bf16, DType::bf16);
    cases::Random random{13};
    Checkpoint<c> const w{random, false};
    auto const packed = pack(Host{.threads = 1}, w.raw);
    auto x = numbers<bf16>(random, 40 * 40, false);
    RowList rows = rows_of(random, 5, 40, {7, 20, 0, 33, 5});
    auto const all = run_experts<c>(Engine::best, x, 40, rows, packed.view());
    for (int first = 0; first < 5; ++first)
      for (int count = 1; first + count <= 5; ++count) {
        PackedView<c, Host> const shard{packed.view().data, first, count};
        Host const on{.threads = 2};
        Experts<c, Host> const experts;
        std::vector<std::byte> scratch(experts.workspace_bytes(on, 40));
        std::vector<bf16> out(80 * 40, bf16{0xffff});
        experts(on, {x.data(), 40}, shard, {.begin = rows.begin.data(), .token = rows.token.data(), .weight = rows.weight.data(), .slot = {}}, {out.data(), 80}, scratch);
        long wrong = 0;
        for (std::size_t i = 0; i < out.size(); ++i) {
          auto const r = static_cast<int>(i / 40);
          bool const mine = r >= rows.begin[static_cast<std::size_t>(first)] && r < rows.begin[static_cast<std::size_t>(first + count)];
          wrong += mine ? to_float(out[i]) != all[i] : out[i].bits != 0xffff;
        }
        CHECK(wrong == 0);
      }
    Host const on{.threads = 1};
    std::vector<std::byte> scratch(Experts<c, Host>{}.workspace_bytes(on, 40));
    std::vector<bf16> out(80 * 40);
    Batch<c> const batch{.begin = rows.begin.data(), .token = rows.token.data(), .weight = rows.weight.data(), .slot = {}};
    auto const run = [&](PackedView<c, Host> view, std::int64_t out_rows, std::size_t bytes) {
      Experts<c, Host> const experts;
      experts(on, {x.data(), 40}, view, batch, {out.data(), out_rows}, std::span(scratch).first(bytes));
    };
    std::size_t const all_bytes = scratch.size();
    CHECK_NOTHROW(run(packed.view(), 80, all_bytes));
    CHECK_THROWS_WITH_AS(run({packed.view().data, 3, 3}, 80, all_bytes), doctest::Contains("shard"), Error);
    CHECK_THROWS_AS(run({packed.view().data, -1, 3}, 80, all_bytes), Error);
    CHECK_THROWS_AS(run(packed.view(), 64, all_bytes), Error);
    CHECK_THROWS_AS(run({}, 80, all_bytes), Error);
    CHECK_THROWS_AS(run(packed.view(), 80, all_bytes - 1), Error);
  }
}

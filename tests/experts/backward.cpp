// Gradients of the experts against central differences in double of what the layer means: activations, biases, weighted inputs,
// ragged sizes, empty experts and experts of one row, every path; accumulation, and the same bits for any number of threads.
#include <coterie/coterie.hpp>
#include <coterie/experts/backward.hpp>
#include <coterie/reference.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Floats = std::vector<float>;

constexpr Config of(int hidden, int ffn, Act act, DType dtype, int bias = 0, Place place = Place::output) {
  Config c{.experts = 4, .top_k = 2, .hidden = hidden, .ffn = ffn, .dtype = dtype, .weights = dtype, .router = {.input = RouterInput::given}};
  c.expert.act = act, c.expert.bias = bias, c.router.place = place;
  if (act == Act::silu_mul_clamp_after) c.expert.limit = 1;
  return c;
}

template <Config C> struct Case {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr std::size_t E = 4, H = C.hidden, F = C.ffn, tokens = 37, rows = 60;
  static constexpr std::int64_t columns = ExpertsBackward<C, Host>::columns;
  // As stored, rounded to the layer's type.
  std::vector<std::vector<double>> gate, up, down, gate_bias, up_bias, down_bias;
  std::vector<double> x, dy, weight;
  std::vector<std::int32_t> begin{0, 37, 37, 38, 60}, token;

  double number(cases::Random& random, double size) { return double{to_float(from_float<V>(static_cast<float>(size * random.normal())))}; }
  Case() {
    cases::Random random{12};
    auto const fill = [&](std::size_t n, double size) {
      std::vector<double> v(n);
      for (double& a : v) a = number(random, size);
      return v;
    };
    for (std::size_t e = 0; e < E; ++e) {
      gate.push_back(fill(F * H, 1 / std::sqrt(double(H)))), up.push_back(fill(F * H, 1 / std::sqrt(double(H)))), down.push_back(fill(H * F, 1 / std::sqrt(double(F))));
      gate_bias.push_back(fill(F, 0.3)), up_bias.push_back(fill(F, 0.3)), down_bias.push_back(fill(H, 0.3));
    }
    x = fill(tokens * H, 1), dy = fill(tokens * H, 1);
    for (std::size_t r = 0; r < rows; ++r) weight.push_back(double{static_cast<float>(0.2 + random.uniform())});
    for (std::size_t r = 0; r < rows; ++r) token.push_back(static_cast<std::int32_t>(r < 37 ? r : r == 37 ? 5 : 3 + (r - 38)));
  }
  // sum over an expert's rows of weight * <dy, out>, in double, hidden values unrounded.
  double loss(std::size_t e) const {
    double sum = 0;
    for (auto r = static_cast<std::size_t>(begin[e]); r < static_cast<std::size_t>(begin[e + 1]); ++r) {
      auto const t = static_cast<std::size_t>(token[r]);
      double const in = C.router.place == Place::input ? weight[r] : 1, out = C.router.place == Place::input ? 1 : weight[r];
      std::vector<double> hidden(F);
      for (std::size_t f = 0; f < F; ++f) {
        double g = C.expert.bias ? gate_bias[e][f] : 0, u = C.expert.bias ? up_bias[e][f] : 0;
        for (std::size_t h = 0; h < H; ++h) g += gate[e][f * H + h] * in * x[t * H + h], u += up[e][f * H + h] * in * x[t * H + h];
        hidden[f] = reference::activate(C.expert, {g, 0}, {u, 0}, C.dtype).value;
      }
      for (std::size_t o = 0; o < H; ++o) {
        double y = C.expert.bias ? down_bias[e][o] : 0;
        for (std::size_t f = 0; f < F; ++f) y += down[e][o * F + f] * hidden[f];
        sum += out * dy[t * H + o] * y;
      }
    }
    return sum;
  }
  double difference(double& by, std::size_t e) const {
    double const was = by, h = 1e-6;
    by = was + h;
    double const high = loss(e);
    by = was - h;
    double const low = loss(e);
    by = was;
    return (high - low) / (2 * h);
  }
};

struct Result {
  std::vector<Floats> gate, up, down, gate_bias, up_bias, down_bias;
  Floats dx, dweight;
  bool operator==(Result const&) const = default;
};
template <Config C> Result run(Case<C> const& c, Host const& on, float start = 0) {
  using V = element_t<C.dtype>;
  constexpr std::size_t E = 4, H = C.hidden, F = C.ffn, rows = Case<C>::rows, tokens = Case<C>::tokens;
  auto const narrow = [](std::vector<double> const& v) {
    std::vector<V> to;
    for (double a : v) to.push_back(from_float<V>(static_cast<float>(a)));
    return to;
  };
  auto const single = [](std::vector<double> const& v) { return Floats(v.begin(), v.end()); };
  std::vector<std::vector<V>> matrices;
  std::vector<Floats> biases;
  auto raw = std::make_unique<Weights<C>>();
  for (std::size_t e = 0; e < E; ++e) {
    matrices.push_back(narrow(c.gate[e])), matrices.push_back(narrow(c.up[e])), matrices.push_back(narrow(c.down[e]));
    biases.push_back(single(c.gate_bias[e])), biases.push_back(single(c.up_bias[e])), biases.push_back(single(c.down_bias[e]));
  }
  for (std::size_t e = 0; e < E; ++e) {
    raw->gate[e] = {.data = matrices[3 * e].data()}, raw->up[e] = {.data = matrices[3 * e + 1].data()}, raw->down[e] = {.data = matrices[3 * e + 2].data()};
    if constexpr (C.expert.bias) raw->gate_bias[e] = biases[3 * e].data(), raw->up_bias[e] = biases[3 * e + 1].data(), raw->down_bias[e] = biases[3 * e + 2].data();
  }
  auto const packed = pack(on, *raw);
  std::vector<V> const x = narrow(c.x), dy = narrow(c.dy);
  std::vector<V> out(rows * H), pre(rows * static_cast<std::size_t>(Case<C>::columns)), dx(rows * H);
  Floats weight = single(c.weight);
  std::vector<std::int32_t> begin = c.begin, token = c.token;
  Batch<C> const batch{.begin = begin.data(), .token = token.data(), .weight = weight.data()};
  Experts<C, Host> const forward;
  std::vector<std::byte> scratch(forward.workspace_bytes(on, tokens));
  forward.keeping(on, {x.data(), tokens}, packed.view(), batch, {out.data(), rows}, pre.data(), scratch);
  std::vector<V> plain(rows * H);
  forward(on, {x.data(), tokens}, packed.view(), batch, {plain.data(), rows}, scratch);
  CHECK(std::memcmp(plain.data(), out.data(), rows * H * sizeof(V)) == 0);

  Result r;
  r.gate.assign(E, Floats(F * H, start)), r.up = r.gate, r.down.assign(E, Floats(H * F, start));
  r.gate_bias.assign(E, Floats(F, start)), r.up_bias = r.gate_bias, r.down_bias.assign(E, Floats(H, start));
  r.dweight.assign(rows, NAN);
  auto to = std::make_unique<Gradients<C>>();
  for (std::size_t e = 0; e < E; ++e) {
    to->gate[e].data = r.gate[e].data(), to->up[e].data = r.up[e].data(), to->down[e].data = r.down[e].data();
    if constexpr (C.expert.bias) to->gate_bias[e] = r.gate_bias[e].data(), to->up_bias[e] = r.up_bias[e].data(), to->down_bias[e] = r.down_bias[e].data();
  }
  ExpertsBackward<C, Host> const backward;
  scratch.assign(backward.workspace_bytes(on, tokens), std::byte{0xff});
  backward(on, {x.data(), tokens}, packed.view(), batch, pre.data(), {dy.data(), tokens}, {dx.data(), rows}, r.dweight.data(), *to, scratch);
  for (V v : dx) r.dx.push_back(to_float(v));
  return r;
}

// The worst error of `got` over some elements, relative to the largest gradient of all of them.
double worst(Floats const& got, std::function<double(std::size_t)> const& difference, cases::Random& random) {
  double error = 0, largest = 0;
  for (int i = 0; i < 24; ++i) {
    auto const at = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(got.size())));
    double const want = difference(at);
    largest = std::fmax(largest, std::fabs(want)), error = std::fmax(error, std::fabs(want - double{got[at]}));
  }
  CHECK(std::isfinite(error));
  return largest > 0 ? error / largest : error;
}

template <Config C> void check(char const* name) {
  auto const owner = std::make_unique<Case<C>>();
  Case<C>& c = *owner;
  constexpr std::size_t H = C.hidden;
  for (Isa isa : cases::paths()) {
    if (C.dtype != DType::bf16 && isa > Isa::avx512) continue;
    Result const r = run(c, Host{.threads = 2, .isa = isa});
    cases::Random random{3};
    double error = 0;
    for (std::size_t e : {std::size_t{0}, std::size_t{2}, std::size_t{3}}) {
      auto const check = [&](Floats const& got, std::vector<double>& of) { error = std::fmax(error, worst(got, [&](std::size_t i) { return c.difference(of[i], e); }, random)); };
      if constexpr (gated(C.expert.act)) check(r.gate[e], c.gate[e]);
      check(r.up[e], c.up[e]), check(r.down[e], c.down[e]);
      if constexpr (C.expert.bias) {
        if constexpr (gated(C.expert.act)) check(r.gate_bias[e], c.gate_bias[e]);
        check(r.up_bias[e], c.up_bias[e]), check(r.down_bias[e], c.down_bias[e]);
      }
      // Every row of these experts belongs to another token.
      auto const row = [&](std::size_t i) { return static_cast<std::size_t>(c.begin[e]) + i; };
      auto const count = static_cast<std::size_t>(c.begin[e + 1] - c.begin[e]);
      Floats dx(r.dx.begin() + static_cast<std::ptrdiff_t>(row(0) * H), r.dx.begin() + static_cast<std::ptrdiff_t>(row(count) * H));
      error = std::fmax(error, worst(dx, [&](std::size_t i) { return c.difference(c.x[static_cast<std::size_t>(c.token[row(i / H)]) * H + i % H], e); }, random));
      Floats dw(r.dweight.begin() + static_cast<std::ptrdiff_t>(row(0)), r.dweight.begin() + static_cast<std::ptrdiff_t>(row(count)));
      error = std::fmax(error, worst(dw, [&](std::size_t i) { return c.difference(c.weight[row(i)], e); }, random));
    }
    INFO(std::string(name), " on ", std::string(coterie::name(isa)));
    CHECK(error < (C.dtype == DType::fp32 ? 2e-5 : C.dtype == DType::fp16 ? 4e-3 : 3e-2));
    for (auto const* all : {&r.gate, &r.up, &r.down})
      for (float v : (*all)[1]) CHECK(v == 0);                           // nobody chose expert 1
    std::printf("experts backward, %s, %s: worst relative error %.1e\n", name, coterie::name(isa), error);
    CHECK(run(c, Host{.threads = 1, .isa = isa}) == r);
  }
}

TEST_CASE("gradients of experts are central differences") {
  check<of(40, 24, Act::silu_mul, DType::fp32)>("silu_mul fp32"), check<of(33, 49, Act::silu_mul, DType::fp32, 1)>("ragged, biases, fp32");
  check<of(64, 32, Act::silu_mul, DType::bf16)>("silu_mul bf16"), check<of(48, 80, Act::gelu_tanh_mul, DType::bf16, 1)>("gelu_tanh_mul, biases, bf16");
  check<of(40, 24, Act::silu_mul, DType::fp16)>("silu_mul fp16");
  check<of(40, 56, Act::gelu, DType::fp32, 1)>("gelu, ungated, biases"), check<of(17, 40, Act::relu2, DType::fp32)>("relu2, ungated");
  check<of(32, 32, Act::oai_mul, DType::fp32, 1)>("gpt-oss"), check<of(32, 32, Act::silu_mul_clamp_after, DType::fp32)>("clamp after");
  check<of(40, 24, Act::silu_mul, DType::fp32, 0, Place::input)>("weighted input, fp32"), check<of(32, 64, Act::silu_mul, DType::bf16, 1, Place::input)>("weighted input, biases, bf16");
}

TEST_CASE("gradients are added to what is there") {
  constexpr Config c = of(40, 24, Act::silu_mul, DType::fp32);
  auto const one = std::make_unique<Case<c>>();
  Result const zero = run(*one, Host{.threads = 2}), more = run(*one, Host{.threads = 2}, 8);
  CHECK(zero.dx == more.dx);
  for (std::size_t e = 0; e < 4; ++e)
    for (std::size_t i = 0; i < zero.gate[e].size(); ++i) CHECK(more.gate[e][i] == doctest::Approx(double{zero.gate[e][i]} + 8).epsilon(1e-6));
}

}

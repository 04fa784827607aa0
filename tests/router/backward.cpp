// The router's backward on the host against central differences of the reference: what it reads, its matrices, bias and factors; gradients
// of auxiliary losses pass through; the same bits for any number of threads.
#include <coterie/coterie.hpp>
#include <coterie/reference.hpp>
#include <coterie/router/backward.hpp>
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

constexpr Config of(int experts, int top_k, int hidden, RouterConfig r, DType dtype = DType::fp32) {
  r.precision = Precision::fp32, r.weights = dtype;
  return {.experts = experts, .top_k = top_k, .hidden = hidden, .ffn = 1, .dtype = dtype, .weights = dtype, .router = r};
}

struct Result {
  Floats dx, dlogits, router, bias, noise, expert_scale, router_scale;
  bool operator==(Result const&) const = default;
};

template <Config C> struct Case {
  using V = element_t<C.dtype>;
  using R = element_t<C.router.weights>;
  static constexpr std::size_t T = 37, N = logit_columns(C), H = C.hidden, S = slots(C);
  reference::Weights w;
  reference::Inputs in;
  std::vector<double> dweight, dlogits;
  Case() {
    cases::Random random{5};
    auto const fill = [&](std::vector<double>& to, std::size_t n, double size, double middle = 0) {
      for (std::size_t i = 0; i < n; ++i) to.push_back(middle + double{to_float(from_float<V>(static_cast<float>(size * random.normal())))});
    };
    fill(w.router, N * H, 1 / std::sqrt(double(H))), fill(w.noise, N * H, 1 / std::sqrt(double(H)));
    fill(w.router_bias, N, 0.5), fill(w.select_bias, N, 0.125), fill(w.expert_scale, C.experts, 0.125, 1);
    w.router_scale = 1.25;
    in.tokens = T, in.seed = C.router.noise == Noise::none ? 0 : 9;
    fill(in.x, T * H, 1), fill(in.router_x, T * H, 1), fill(in.logits, T * N, 1), fill(dweight, T * S, 1), fill(dlogits, T * N, 0.25);
  }
  double all() const {
    reference::Routing const r = reference::route(C, w, in);
    double sum = 0;
    for (std::size_t i = 0; i < T * S; ++i) sum += r.weight[i].value * dweight[i];
    for (std::size_t i = 0; i < T * N; ++i) sum += r.logits[i].value * dlogits[i];
    return sum;
  }
  double difference(double& by) const {
    double const was = by, h = 1e-6;
    by = was + h;
    double const up = all();
    by = was - h;
    double const down = all();
    by = was;
    return (up - down) / (2 * h);
  }
};

template <Config C> Result run(Case<C> const& c, Host const& on) {
  using V = typename Case<C>::V;
  using R = typename Case<C>::R;
  constexpr std::size_t T = Case<C>::T, N = Case<C>::N, H = Case<C>::H, S = Case<C>::S;
  auto const to = []<class A>(std::vector<double> const& v, A) {
    std::vector<A> out;
    for (double a : v) out.push_back(from_float<A>(static_cast<float>(a)));
    return out;
  };
  std::vector<R> const router = to(c.w.router, R{}), noise = to(c.w.noise, R{});
  Floats const bias = to(c.w.router_bias, 0.f), select_bias = to(c.w.select_bias, 0.f), expert_scale = to(c.w.expert_scale, 0.f), logits_in = to(c.in.logits, 0.f);
  std::vector<V> const x = to(c.in.x, V{}), router_x = to(c.in.router_x, V{}), zeros(H * 2);
  auto raw = std::make_unique<Weights<C>>();
  raw->router.data = router.data(), raw->noise.data = noise.data(), raw->router_bias = bias.data(), raw->select_bias = select_bias.data(), raw->expert_scale = expert_scale.data();
  raw->router_scale = static_cast<float>(c.w.router_scale);
  for (auto& m : raw->gate) m.data = zeros.data();
  for (auto& m : raw->up) m.data = zeros.data();
  for (auto& m : raw->down) m.data = zeros.data();
  auto const packed = pack(on, *raw);
  std::vector<std::int32_t> expert(T * S), slot(T * S);
  Floats weight(T * S), logits(T * N);
  Routing<C> const routing{.expert = {expert.data(), T}, .weight = {weight.data(), T}, .logits = {logits.data(), T}};
  Inputs<C> const in{.x = {x.data(), T}, .router_x = {router_x.data(), T}, .logits = {logits_in.data(), T}, .seed = c.in.seed};
  Router<C, Host> const forward;
  std::vector<std::byte> scratch(forward.workspace_bytes(on, T));
  forward(on, in, packed.view(), routing, scratch);
  reference::Routing const want = reference::route(C, c.w, c.in);
  CHECK(want.expert == expert);

  Floats const dweight = to(c.dweight, 0.f), dlogits = to(c.dlogits, 0.f);
  Result r{Floats(T * H, NAN), Floats(T * N, NAN), Floats(N * H, 0.f), Floats(N), Floats(N * H), Floats(C.experts), Floats(1)};
  Gradients<C> const gradients{.router = r.router.data(), .router_bias = r.bias.data(), .noise = r.noise.data(), .expert_scale = r.expert_scale.data(), .router_scale = r.router_scale.data()};
  RouterBackward<C, Host> const backward;
  scratch.assign(backward.workspace_bytes(on, T), std::byte{0xff});
  backward(on, in, packed.view(), routing, {slot.data(), T}, {.weight = {dweight.data(), T}, .logits = {dlogits.data(), T}}, r.dx.data(), r.dlogits.data(), gradients, scratch);
  if (!RouterBackward<C, Host>::learned) r.dx.assign(1, 0);
  else r.dlogits.assign(1, 0);
  return r;
}

template <Config C> void check(char const* name) {
  auto const owner = std::make_unique<Case<C>>();
  Case<C>& c = *owner;
  for (Isa isa : {Isa::portable, Isa::best}) {
    Result const r = run(c, Host{.threads = 2, .isa = isa});
    cases::Random random{8};
    double worst = 0;
    auto const compare = [&](Floats const& got, std::vector<double>& of) {
      double error = 0, largest = 0.02;
      for (int i = 0; i < 12; ++i) {
        auto const at = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(got.size())));
        double const want = c.difference(of[at]);
        largest = std::fmax(largest, std::fabs(want)), error = std::fmax(error, std::fabs(want - double{got[at]}));
      }
      CHECK(std::isfinite(error));
      worst = std::fmax(worst, error / largest);
    };
    if constexpr (RouterBackward<C, Host>::learned) {
      compare(r.dx, C.router.input == RouterInput::separate ? c.in.router_x : c.in.x), compare(r.router, c.w.router);
      if constexpr (C.router.noise == Noise::softplus) compare(r.noise, c.w.noise);
    } else {
      compare(r.dlogits, c.in.logits);
    }
    if constexpr (C.router.bias) compare(r.bias, c.w.router_bias);
    if constexpr (C.router.expert_scale) compare(r.expert_scale, c.w.expert_scale);
    double const scale = c.difference(c.w.router_scale);
    worst = std::fmax(worst, std::fabs(scale - double{r.router_scale[0]}) / std::fmax(std::fabs(scale), 1));
    INFO(std::string(name));
    CHECK(worst < 3e-5);
    std::printf("router backward, %s, %s: worst relative error %.1e\n", name, isa == Isa::portable ? "portable" : "best", worst);
    CHECK(run(c, Host{.threads = 1, .isa = isa}) == r);
  }
}

TEST_CASE("gradients of the router are central differences") {
  check<of(8, 2, 40, {})>("softmax");
  check<of(70, 6, 33, {.bias = 1, .score = Score::sigmoid, .select_bias = 1, .normalise = Normalise::sum_add, .epsilon = 1e-20f, .scale = 2.5f, .expert_scale = 1})>("sigmoid, biases, factors, three panels");
  check<of(8, 2, 40, {.noise = Noise::softplus, .noise_size = 0.01f})>("Shazeer's noise");
  check<of(8, 2, 40, {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .noise = Noise::jitter, .noise_size = 0.1f})>("jitter");
  check<of(8, 2, 40, {.input = RouterInput::separate})>("separate input");
  check<of(8, 2, 40, {.input = RouterInput::logits, .bias = 1, .soft_cap = 2})>("the caller's logits");
  check<of(16, 4, 64, {}, DType::bf16)>("bf16");
}

}

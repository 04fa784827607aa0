// Gradients of whole layers against central differences of the reference, in double: five elements of every weight and input of configs that have between them
// every part a gradient goes through; the forward pass is Layer's, bit for bit; caches and workspaces as large as they say; accumulation
// and overwriting, in fp32, bf16 and fp16; the same bits for any number of threads.
#include <coterie/balance.hpp>
#include <coterie/reference.hpp>
#include <coterie/training.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Floats = std::vector<float>;
using Numbers = reference::Numbers;

constexpr Config in(DType d, Config c) {
  c.dtype = c.weights = c.shared.weights = c.router.weights = d;
  if (c.router.precision != Precision::model) c.router.precision = Precision::fp32;
  return c;
}

template <Config C> struct Model {
  using V = element_t<C.dtype>;
  static constexpr std::int64_t T = 13, E = C.experts, H = C.hidden, F = C.ffn, W = width(C), N = logit_columns(C), S = slots(C), SF = C.shared.ffn, K = C.top_k;
  reference::Weights w;
  reference::Inputs in;
  Numbers dy, dlogits, dnoise;                   // dnoise: of W_noise x
  static constexpr int mixes = C.shared.mix == SharedMix::sigmoid_gate ? 1 : 2;
  static constexpr bool learned = C.router.input == RouterInput::hidden || C.router.input == RouterInput::separate, has_logits = learned || C.router.input == RouterInput::logits, noisy = C.router.noise == Noise::softplus;

  explicit Model(std::uint64_t seed) {
    cases::Random random{seed};
    auto const fill = [&](Numbers& to, std::int64_t n, double size, double middle = 0) {
      for (std::int64_t i = 0; i < n; ++i) to.push_back(double{to_float(from_float<V>(static_cast<float>(middle + size * random.normal())))});
    };
    auto const over = [](std::int64_t n) { return 1 / std::sqrt(static_cast<double>(n)); };
    fill(w.router, N * H, 1.5 * over(H)), fill(w.noise, N * H, over(H)), fill(w.router_bias, N, 0.5), fill(w.select_bias, candidates(C), 0.25), fill(w.expert_scale, E, 0.125, 1);
    w.router_scale = C.capacity.normalise == When::after ? 1 : 1.25;
    for (std::int64_t e = 0; e < E; ++e) {
      fill(w.gate.emplace_back(), F * W, over(W)), fill(w.up.emplace_back(), F * W, over(W)), fill(w.down.emplace_back(), W * F, over(F));
      if constexpr (C.expert.bias) fill(w.gate_bias.emplace_back(), F, 0.25), fill(w.up_bias.emplace_back(), F, 0.25), fill(w.down_bias.emplace_back(), W, 0.25);
    }
    fill(w.shared_gate, SF * H, over(H)), fill(w.shared_up, SF * H, over(H)), fill(w.shared_down, H * SF, SF ? over(SF) : 1);
    fill(w.mix, mixes * H, over(H)), fill(w.mix_bias, mixes, 0.5);
    if constexpr (C.expert.latent > 0) fill(w.latent_down, W * H, over(H)), fill(w.latent_up, H * W, over(W)), fill(w.latent_norm, W, 0.125, 1), w.latent_epsilon = double{1e-5f};
    in.tokens = T, in.seed = C.router.noise == Noise::none && C.capacity.order != Order::random ? 0 : 9;
    fill(in.x, T * H, 1), fill(in.router_x, T * H, 1), fill(in.logits, T * N, 1), fill(dy, T * H, 1), fill(dlogits, T * N, 0.25);
    for (std::int64_t i = 0; i < T * S; ++i) {
      in.given.expert.push_back(random.one_in(6) ? -1 : random.below(candidates(C)));
      in.given.weight.push_back({static_cast<double>(static_cast<float>(random.uniform())), 0});
    }
    in.given.margin.assign(T, reference::infinity);
    if constexpr (noisy) fill(dnoise, T * N, 0.25);
  }
  // <dy, y> + <dlogits, logits> + <dnoise, W_noise x>
  double loss() const {
    reference::Routing const r = reference::route(C, w, in);
    reference::Result const result = reference::finish(C, w, in, r);
    double sum = 0;
    for (std::size_t i = 0; i < dy.size(); ++i) sum += dy[i] * result.y[i];
    for (std::size_t i = 0; i < dlogits.size() && has_logits; ++i) sum += dlogits[i] * r.logits[i].value;
    for (std::size_t i = 0; i < dnoise.size(); ++i)
      for (std::size_t h = 0; h < H; ++h) sum += dnoise[i] * w.noise[i % N * H + h] * in.x[i / N * H + h];
    return sum;
  }
  double difference(double& by) const {
    double const was = by, h = 1e-6;
    by = was + h;
    double const high = loss();
    by = was - h;
    double const low = loss();
    by = was;
    return (high - low) / (2 * h);
  }
};

// Everything that has a gradient: its name, its numbers, and where the gradient went.
struct Part {
  std::string name;
  Numbers* of;
  Floats got;
  DType type = DType::fp32;
};
struct Gradient {
  std::deque<Part> parts;                        // x last
  float router_scale = 0;
  std::vector<Floats> values() const {
    std::vector<Floats> all;
    for (Part const& p : parts) all.push_back(p.got);
    return all;
  }
};

template <class A> std::vector<A> as(Numbers const& v) {
  std::vector<A> to;
  for (double a : v) to.push_back(from_float<A>(static_cast<float>(a)));
  to.resize(to.empty() ? 1 : to.size());
  return to;
}

// start: what memory holds before. Matrices' gradients have type G.
template <DType G = DType::fp32, Config C> Gradient run(Model<C>& m, Host const& on, float start = 0, TrainingOptions options = {}, int overwrite = 0) {
  using M = Model<C>;
  using Wide = element_t<G>;
  using V = typename M::V;
  std::deque<std::vector<V>> matrices;
  std::deque<Floats> vectors;
  auto const matrix = [&](Numbers const& v) { return matrices.emplace_back(as<V>(v)).data(); };
  auto const vector = [&](Numbers const& v) { return vectors.emplace_back(as<float>(v)).data(); };
  auto raw = std::make_unique<Weights<C>>();
  auto to = std::make_unique<Gradients<C, G>>();
  to->overwrite = overwrite;
  Gradient g;
  g.router_scale = overwrite ? start : 0;
  std::deque<std::pair<Part*, std::vector<Wide>>> wide;
  auto const part = [&](std::string name, Numbers& of) { return g.parts.emplace_back(Part{std::move(name), &of, Floats(of.size(), start)}).got.data(); };
  auto const wide_part = [&](std::string name, Numbers& of) {
    (void)part(std::move(name), of), g.parts.back().type = G;
    return wide.emplace_back(&g.parts.back(), std::vector<Wide>(of.size(), from_float<Wide>(start))).second.data();
  };
  raw->router.data = matrix(m.w.router), raw->noise.data = matrix(m.w.noise), raw->router_bias = vector(m.w.router_bias), raw->select_bias = vector(m.w.select_bias);
  raw->expert_scale = vector(m.w.expert_scale), raw->router_scale = static_cast<float>(m.w.router_scale);
  if constexpr (M::learned) to->router = part("router", m.w.router);
  if constexpr (C.router.noise == Noise::softplus) to->noise = part("noise", m.w.noise);
  if constexpr (C.router.bias) to->router_bias = part("router bias", m.w.router_bias);
  if constexpr (C.router.expert_scale) to->expert_scale = part("expert scale", m.w.expert_scale);
  to->router_scale = &g.router_scale;
  for (std::size_t e = 0; e < static_cast<std::size_t>(C.experts); ++e) {
    raw->gate[e].data = matrix(m.w.gate[e]), raw->up[e].data = matrix(m.w.up[e]), raw->down[e].data = matrix(m.w.down[e]);
    std::string const of = " of expert " + std::to_string(e);
    if constexpr (gated(C.expert.act)) to->gate[e].data = wide_part("gate" + of, m.w.gate[e]);
    to->up[e].data = wide_part("up" + of, m.w.up[e]), to->down[e].data = wide_part("down" + of, m.w.down[e]);
    if constexpr (C.expert.bias) {
      raw->gate_bias[e] = vector(m.w.gate_bias[e]), raw->up_bias[e] = vector(m.w.up_bias[e]), raw->down_bias[e] = vector(m.w.down_bias[e]);
      to->gate_bias[e] = part("gate bias" + of, m.w.gate_bias[e]), to->up_bias[e] = part("up bias" + of, m.w.up_bias[e]), to->down_bias[e] = part("down bias" + of, m.w.down_bias[e]);
    }
  }
  if constexpr (C.shared.ffn > 0) {
    raw->shared.gate.data = matrix(m.w.shared_gate), raw->shared.up.data = matrix(m.w.shared_up), raw->shared.down.data = matrix(m.w.shared_down);
    if constexpr (gated(C.expert.act)) to->shared.gate.data = wide_part("shared gate", m.w.shared_gate);
    to->shared.up.data = wide_part("shared up", m.w.shared_up), to->shared.down.data = wide_part("shared down", m.w.shared_down);
    if constexpr (C.shared.mix == SharedMix::sigmoid_gate || C.shared.mix == SharedMix::coefficients) {
      raw->shared.mix.data = matrix(m.w.mix), raw->shared.mix_bias = vector(m.w.mix_bias);
      to->shared.mix = part("mix", m.w.mix), to->shared.mix_bias = part("mix bias", m.w.mix_bias);
    }
  }
  if constexpr (C.expert.latent > 0) {
    raw->latent.down.data = matrix(m.w.latent_down), raw->latent.up.data = matrix(m.w.latent_up), raw->latent.norm = vector(m.w.latent_norm), raw->latent.norm_epsilon = static_cast<float>(m.w.latent_epsilon);
    to->latent.down.data = wide_part("latent down", m.w.latent_down), to->latent.up.data = wide_part("latent up", m.w.latent_up);
    if constexpr (C.expert.latent_norm == LatentNorm::rms) to->latent.norm = part("latent norm", m.w.latent_norm);
  }
  if constexpr (C.router.input == RouterInput::separate) to->router_x = part("router_x", m.in.router_x);
  if constexpr (C.router.input == RouterInput::logits) to->logits = part("the given logits", m.in.logits);
  auto const packed = pack(on, *raw);

  auto const x = as<V>(m.in.x), router_x = as<V>(m.in.router_x), dy = as<V>(m.dy);
  Floats const logits = as<float>(m.in.logits), dlogits = as<float>(m.dlogits), dnoise = as<float>(m.dnoise);
  std::vector<std::int32_t> given = m.in.given.expert;
  Floats weight;
  for (auto const& v : m.in.given.weight) weight.push_back(static_cast<float>(v.value));
  Inputs<C> in{.x = {x.data(), M::T}, .router_x = {router_x.data(), M::T}, .logits = {logits.data(), M::T}, .seed = m.in.seed};
  if constexpr (C.router.input == RouterInput::given) in.routing.expert = {given.data(), M::T}, in.routing.weight = {weight.data(), M::T};
  Layer<C, Host> const layer{packed.view(), {}, options};
  cases::Guarded cache{layer.cache_bytes(on, M::T), 0xff}, workspace{layer.training_workspace_bytes(on, M::T), 0xff}, more{layer.training_workspace_bytes(on, M::T), 0x7f};
  std::vector<V> y(M::T * M::H), plain(M::T * M::H), dx(M::T * M::H);
  layer.forward(on, in, Rows<V, C.hidden>{y.data(), M::T}, cache.span(), workspace.span());
  std::vector<std::byte> scratch(layer.workspace_bytes(on, M::T));
  layer.forward(on, in, Rows<V, C.hidden>{plain.data(), M::T}, scratch);
  CHECK(std::memcmp(y.data(), plain.data(), y.size() * sizeof(V)) == 0);
  Rows<float const, logit_columns(C)> upstream{}, of_noise{};
  if constexpr (M::has_logits) upstream = {dlogits.data(), M::T};
  if (M::noisy && m.in.seed) of_noise = {dnoise.data(), M::T};
  layer.backward(on, in, cache.span(), Rows<V const, C.hidden>{dy.data(), M::T}, Rows<V, C.hidden>{dx.data(), M::T}, *to, more.span(), upstream, of_noise);
  for (auto& [p, memory] : wide)
    for (std::size_t j = 0; j < memory.size(); ++j) p->got[j] = to_float(memory[j]);
  CHECK(cache.intact());
  CHECK(workspace.intact());
  CHECK(more.intact());
  part("x", m.in.x);
  g.parts.back().got = Floats{};
  for (V v : dx) g.parts.back().got.push_back(to_float(v));
  return g;
}

// Gradients in a narrower type, written over NaN: fp32's rounded once; added to 4, the sum rounded once.
template <DType G, Config C> void narrow(Model<C>& m, Host const& on, Gradient const& g) {
  auto const once = [](Part const& p, float v) { return p.type == DType::fp32 ? v : rounded<element_t<G>>(v); };
  Gradient const over = run<G>(m, on, NAN, {}, 1), more = run<G>(m, on, 4);
  CHECK(over.router_scale == g.router_scale);
  for (std::size_t i = 0; i < g.parts.size(); ++i) {
    bool right = true;
    for (std::size_t j = 0; j < g.parts[i].got.size(); ++j) {
      right &= over.parts[i].got[j] == once(over.parts[i], g.parts[i].got[j]);
      right &= more.parts[i].type == DType::fp32 || more.parts[i].got[j] == once(more.parts[i], 4 + g.parts[i].got[j]);
    }
    INFO(g.parts[i].name);
    CHECK(right);
  }
}

int differences = 0;

template <Config C> void check(char const* name) {
  auto const owner = std::make_unique<Model<C>>(std::uint64_t{21});
  Model<C>& m = *owner;
  reference::Routing const routing = reference::route(C, m.w, m.in);
  for (double sure : routing.margin) REQUIRE(sure > 1);
  for (Isa isa : cases::paths()) {
    if (isa == Isa::portable || (C.dtype != DType::bf16 && isa > Isa::avx512)) continue;
    Gradient g = run(m, Host{.threads = 2, .isa = isa});
    cases::Random random{3};
    double error = 0;
    std::string where;
    auto const compare = [&](Part& p) {
      double off = 0, largest = 0.02;
      for (int i = 0; i < 5; ++i) {
        auto const at = static_cast<std::size_t>(random.below(static_cast<std::int64_t>(p.got.size())));
        double const want = m.difference((*p.of)[at]);
        ++differences, largest = std::fmax(largest, std::fabs(want)), off = std::fmax(off, std::isfinite(p.got[at]) ? std::fabs(want - double{p.got[at]}) : INFINITY);
      }
      if (off / largest > error) error = off / largest, where = p.name;
    };
    if (C.dtype == DType::fp32) {
      for (Part& p : g.parts) compare(p);
      if constexpr (Model<C>::has_logits && C.capacity.normalise != When::after) {
        double const want = m.difference(m.w.router_scale);
        error = std::fmax(error, std::fabs(want - double{g.router_scale}) / std::fmax(std::fabs(want), 1));
      }
    }
    INFO(std::string(name), ", ", where);
    CHECK(error < 5e-5);
    if (C.dtype == DType::fp32) std::printf("layer backward, %s, %s: worst relative error %.1e (%s)\n", name, coterie::name(isa), error, where.c_str());
    Gradient const again = run(m, Host{.threads = 1, .isa = isa});
    CHECK(again.values() == g.values());
    Gradient const remade = run(m, Host{.threads = 2, .isa = isa}, 0, {.recompute = 1, .logits = 1});
    CHECK(remade.values() == g.values());
    Gradient const more = run(m, Host{.threads = 3, .isa = isa}, 4);
    for (std::size_t i = 0; i + 1 < g.parts.size(); ++i)
      for (std::size_t j = 0; j < g.parts[i].got.size(); ++j) CHECK(more.parts[i].got[j] == doctest::Approx(double{g.parts[i].got[j]} + 4).epsilon(1e-5));
    Gradient const over = run(m, Host{.threads = 2, .isa = isa}, NAN, {}, 1);
    CHECK(over.values() == g.values());
    CHECK(over.router_scale == g.router_scale);
    if constexpr (C.expert.bias || C.expert.latent > 0 || C.shared.mix == SharedMix::sigmoid_gate) narrow<DType::bf16>(m, Host{.threads = 2, .isa = isa}, g);
  }
}
// Against fp32's gradients of the same numbers, relative to the largest of each kind.
template <Config C> void near(char const* name, double bound) {
  constexpr Config exact = in(DType::fp32, C);
  auto const owner = std::make_unique<Model<C>>(std::uint64_t{21});
  auto const wide = std::make_unique<Model<exact>>(std::uint64_t{21});
  wide->w = owner->w, wide->in = owner->in, wide->dy = owner->dy, wide->dlogits = owner->dlogits;
  Gradient const want = run(*wide, Host{.threads = 2});
  for (Isa isa : cases::paths()) {
    Gradient const got = run(*owner, Host{.threads = 2, .isa = isa});
    CHECK(run(*owner, Host{.threads = 2, .isa = isa}, 0, {.recompute = 1}).values() == got.values());
    double error = 0;
    for (std::size_t i = 0; i < want.parts.size(); ++i) {
      double off = 0, largest = 0.02;
      for (std::size_t j = 0; j < want.parts[i].got.size(); ++j)
        off = std::fmax(off, std::fabs(double{want.parts[i].got[j]} - double{got.parts[i].got[j]})), largest = std::fmax(largest, std::fabs(double{want.parts[i].got[j]}));
      error = std::fmax(error, off / largest);
    }
    INFO(std::string(name), " on ", std::string(coterie::name(isa)));
    CHECK(error < bound);
    std::printf("layer backward, %s, %s: worst difference from fp32 %.1e\n", name, coterie::name(isa), error);
  }
}

constexpr Config mixtral{.experts = 6, .top_k = 2, .hidden = 24, .ffn = 20};
constexpr Config gpt_oss{.experts = 5, .top_k = 3, .hidden = 33, .ffn = 18, .router = {.bias = 1, .score = Score::identity, .post = Post::softmax, .normalise = Normalise::none}, .expert = {.act = Act::oai_mul, .bias = 1}};
constexpr Config deepseek{.experts = 8, .top_k = 3, .hidden = 40, .ffn = 17, .router = {.score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4, .groups_kept = 2, .epsilon = 1e-20f, .scale = 2.5f}, .shared = {.ffn = 34}};
constexpr Config gated_null{.experts = 5, .top_k = 3, .hidden = 24, .ffn = 20, .router = {.normalise = Normalise::none, .noise = Noise::softplus, .noise_size = 0.01f}, .expert = {.identity = 2, .skip = 1}, .shared = {.ffn = 20, .mix = SharedMix::sigmoid_gate}};
constexpr Config latent{.experts = 6, .top_k = 2, .hidden = 40, .ffn = 20, .router = {.input = RouterInput::separate, .scale = 1.5f, .scale_on = ScaleOn::routed_sum, .expert_scale = 1}, .expert = {.act = Act::relu2, .latent = 24, .latent_norm = LatentNorm::rms}, .shared = {.ffn = 12, .mix = SharedMix::coefficients}};
constexpr Config inkling{.experts = 6, .top_k = 2, .hidden = 24, .ffn = 20, .router = {.score = Score::sigmoid, .place = Place::input}, .shared = {.ffn = 26, .count = 2, .mix = SharedMix::router_rows}};
constexpr Config dropping{.experts = 4, .top_k = 2, .hidden = 24, .ffn = 20, .capacity = {.rounding = Rounding::mesh, .factor = 1, .normalise = When::after}, .shared = {.ffn = 20, .mix = SharedMix::average}};
constexpr Config coefficients{.experts = 4, .top_k = 2, .hidden = 24, .ffn = 20, .router = {.input = RouterInput::given}, .shared = {.ffn = 20, .mix = SharedMix::coefficients}};
constexpr Config given_logits{.experts = 6, .top_k = 3, .hidden = 24, .ffn = 20, .router = {.input = RouterInput::logits, .bias = 1}};
constexpr Config choice{.experts = 4, .top_k = 2, .hidden = 24, .ffn = 20, .router = {.select = Select::expert_choice, .normalise = Normalise::none}};

TEST_CASE("gradients of layers are central differences") {
  check<in(DType::fp32, mixtral)>("mixtral");
  check<in(DType::fp32, gpt_oss)>("gpt-oss: biases, softmax of the chosen");
  check<in(DType::fp32, deepseek)>("deepseek: groups, shared experts");
  check<in(DType::fp32, gated_null)>("null experts, gated shared experts, Shazeer's noise");
  check<in(DType::fp32, latent)>("latent experts, norm, coefficients, a router of another input");
  check<in(DType::fp32, inkling)>("shared experts by router rows, weighted inputs");
  check<in(DType::fp32, dropping)>("capacity, averaged shared experts");
  check<in(DType::fp32, coefficients)>("a given routing, coefficients");
  check<in(DType::fp32, given_logits)>("given logits");
  check<in(DType::fp32, choice)>("expert choice");
  std::printf("layer backward: %d central differences\n", differences);
}
TEST_CASE("experts without rows add nothing, and are overwritten by zeros") {
  constexpr Config c = in(DType::fp32, coefficients);
  auto const owner = std::make_unique<Model<c>>(std::uint64_t{5});
  for (std::int32_t& e : owner->in.given.expert) e = e < 0 ? e : 1;
  for (Isa isa : cases::paths())
    for (int overwrite : {0, 1}) {
      bool moved = false;
      for (Part const& p : run(*owner, Host{.threads = 2, .isa = isa}, overwrite ? NAN : 4, {}, overwrite).parts)
        if (p.name.find("of expert") != std::string::npos)
          for (float v : p.got) {
            moved |= v != 4;
            if (p.name.find("of expert 1") == std::string::npos) REQUIRE(v == (overwrite ? 0 : 4));
            REQUIRE(std::isfinite(v));
          }
      CHECK(moved);
    }
}
TEST_CASE("what has no gradient is overwritten by zeros") {
  constexpr Config noisy = in(DType::fp32, gated_null);                  // without a seed no noise
  auto const owner = std::make_unique<Model<noisy>>(std::uint64_t{5});
  owner->in.seed = 0;
  Gradient const added = run(*owner, Host{.threads = 2}), over = run(*owner, Host{.threads = 2}, NAN, {}, 1);
  CHECK(added.values() == over.values());

  // Without tokens all of it, and what the config does not have: a gate, a router.
  constexpr Config c{.experts = 2, .top_k = 1, .hidden = 40, .ffn = 20, .dtype = DType::fp32, .weights = DType::fp32,
                     .router = {.input = RouterInput::given, .weights = DType::fp32}, .expert = {.act = Act::relu2, .bias = 1, .latent = 24}};
  Host const on{.threads = 2};
  std::vector<bf16> numbers(20 * 40), memory(40 * 40, bf16{0x7fc0}), other = memory, projection = memory;
  Floats biases(8 * 40), router(40 * 40, NAN), bias(40, NAN);
  auto raw = std::make_unique<Weights<c>>();
  Floats const zeros(40 * 40);
  raw->latent.down.data = raw->latent.up.data = zeros.data();
  for (std::size_t e = 0; e < 2; ++e) raw->up[e].data = raw->down[e].data = zeros.data(), raw->up_bias[e] = raw->down_bias[e] = zeros.data();
  auto const packed = pack(on, *raw);
  Layer<c, Host> const layer{packed.view()};
  auto const to = std::make_unique<Gradients<c, DType::bf16>>();
  to->overwrite = 1, to->router = router.data(), to->down_bias[1] = bias.data(), to->gate[0].data = other.data(), to->latent.up.data = projection.data();
  to->down[1] = {memory.data(), 1, 26};                                  // transposed, with two numbers between its columns
  std::int32_t const none[2]{-1, -1};
  Floats const x(2 * 40);
  Floats y(2 * 40), weight(2, 1.f);
  for (std::int64_t tokens : {0, 2}) {
    Inputs<c> in{.x = {x.data(), tokens}};
    std::vector<std::int32_t> expert(none, none + 2);
    in.routing.expert = {expert.data(), tokens}, in.routing.weight = {weight.data(), tokens};
    std::vector<std::byte> cache(layer.cache_bytes(on, tokens)), workspace(layer.training_workspace_bytes(on, tokens));
    std::ranges::fill(memory, bf16{0x7fc0}), std::ranges::fill(other, bf16{0x7fc0}), std::ranges::fill(projection, bf16{0x7fc0});
    std::ranges::fill(router, NAN), std::ranges::fill(bias, NAN);
    layer.forward(on, in, Rows<float, 40>{y.data(), tokens}, cache, workspace);
    layer.backward(on, in, cache, Rows<float const, 40>{x.data(), tokens}, Rows<float, 40>{y.data(), tokens}, *to, workspace);
    std::size_t const sizes[]{20 * 24, 40 * 24};
    for (std::size_t i = 0; i < memory.size(); ++i) {
      CHECK(other[i].bits == (i < sizes[0] ? 0 : 0x7fc0));
      CHECK(projection[i].bits == (i < sizes[1] ? 0 : 0x7fc0));
      CHECK(memory[i].bits == (i < 20 * 26 - 2 && i % 26 < 24 ? 0 : 0x7fc0));
    }
    for (std::size_t i = 0; i < 40; ++i) CHECK((i < 24 ? bias[i] == 0 : is_nan(bias[i])));
    CHECK((router[0] == 0 && router[79] == 0 && is_nan(router[80])));
  }
}
TEST_CASE("stages alone overwrite by zeros without tokens") {
  constexpr Config c = in(DType::fp32, gated_null);
  Host const on{.threads = 1};
  Floats memory(20 * 24, NAN), router(8 * 24, NAN), shared(20 * 24, NAN);
  auto const to = std::make_unique<Gradients<c>>();
  to->overwrite = 1, to->down[3].data = memory.data(), to->noise = router.data(), to->shared.up.data = shared.data();
  RouterBackward<c, Host>{}(on, {}, {}, {.logits = {router.data(), 0}}, {}, {}, nullptr, nullptr, *to, {});
  ExpertsBackward<c, Host>{}(on, {}, {}, {}, nullptr, {}, {}, nullptr, *to, {});
  SharedBackward<c, Host>{}(on, {}, {}, {}, nullptr, {}, nullptr, {}, nullptr, nullptr, *to, {});
  for (Floats const* all : {&memory, &router, &shared})
    for (std::size_t i = 0; i < all->size(); ++i) CHECK((*all)[i] == 0);
}
TEST_CASE("what a call must have") {
  constexpr Config c = in(DType::fp32, mixtral);
  auto const owner = std::make_unique<Model<c>>(std::uint64_t{4});
  (void)run(*owner, Host{.threads = 1});
  Host const on{.threads = 1};
  std::vector<float> const zeros(6 * 20 * 24);
  auto raw = std::make_unique<Weights<c>>();
  raw->router.data = zeros.data();
  for (std::size_t e = 0; e < 6; ++e) raw->gate[e].data = raw->up[e].data = raw->down[e].data = zeros.data();
  auto const packed = pack(on, *raw);
  Layer<c, Host> const layer{packed.view()};
  CHECK(layer.cache_bytes(on, 0) == 0);
  auto const gradients = std::make_unique<Gradients<c>>();
  Rows<float, 24> const none{};
  layer.forward(on, {}, none, {}, std::span<std::byte>{});
  layer.backward(on, {}, {}, none, none, *gradients, {});
  std::vector<float> x(3 * 24), y(3 * 24);
  std::vector<std::byte> cache(layer.cache_bytes(on, 3)), workspace(layer.training_workspace_bytes(on, 3));
  Inputs<c> const three{.x = {x.data(), 3}};
  Rows<float, 24> const to_y{y.data(), 3}, short_y{y.data(), 2}, to_x{x.data(), 3};
  std::span const whole{cache}, room{workspace};
  CHECK_THROWS_WITH_AS(layer.forward(on, three, to_y, whole.first(cache.size() - 1), room), doctest::Contains("Layer::forward: cache is too small"), Error);
  CHECK_THROWS_WITH_AS(layer.forward(on, three, to_y, whole, room.first(room.size() - 1)), doctest::Contains("Layer::forward: workspace is too small"), Error);
  CHECK_THROWS_WITH_AS(layer.forward(on, three, short_y, whole, room), doctest::Contains("Layer::forward: y must have as many rows as x: got 2, want 3"), Error);
  CHECK_THROWS_WITH_AS(layer.forward(on, three, to_x, whole, room), doctest::Contains("y must not overlap x"), Error);
  CHECK_THROWS_WITH_AS(layer.backward(on, three, whole, short_y, to_y, *gradients, room), doctest::Contains("Layer::backward: dy must have as many rows as x"), Error);
  CHECK_THROWS_WITH_AS(layer.backward(on, three, whole, to_y, to_y, *gradients, room), doctest::Contains("dx must not overlap dy"), Error);
  CHECK_THROWS_WITH_AS(layer.backward(on, three, whole, to_y, Rows<float, 24>{y.data(), 3}, *gradients, room.first(room.size() - 1)), doctest::Contains("Layer::backward: workspace is too small"), Error);
  CHECK_THROWS_WITH_AS((void)layer.cache_bytes(on, -1), doctest::Contains("tokens must not be negative"), Error);
  CHECK(layer.cache_bytes(3) == layer.cache_bytes(on, 3));
}
// What a cache may hold for T tokens whose every choice has a row, besides at most 256 bytes of alignment a piece.
template <Config C> void holds(std::int64_t T, std::int64_t logits, std::int64_t pieces) {
  constexpr std::int64_t S = slots(C), E = C.experts, size = sizeof(element_t<C.dtype>), panels = (C.ffn + 15) / 16, shared_panels = (C.shared.ffn + 15) / 16;
  std::int64_t const R = rows_bound(C, T), nouns = 4 * (3 * T * S + 2 * R + E + 1 + T * shared_rows(C)), sums = C.expert.latent ? 4 * T * width(C) : 0;
  std::int64_t const pre = size * 32 * (gated(C.expert.act) ? R * panels + T * shared_panels : R * ((C.ffn + 31) / 32) + T * ((C.shared.ffn + 31) / 32));
  Host const on{.threads = 1};
  Layer<C, Host> const kept{PackedView<C, Host>{}}, remade{PackedView<C, Host>{}, {}, {.recompute = 1}};
  auto const all = static_cast<std::int64_t>(kept.cache_bytes(on, T)), less = static_cast<std::int64_t>(remade.cache_bytes(on, T));
  std::int64_t const want = nouns + sums + 4 * T * logits + pre, want_less = want - pre;
  CHECK(all >= want);
  CHECK(all <= want + 256 * (pieces + 1));
  CHECK(less >= want_less);
  CHECK(less <= want_less + 256 * (pieces + 1));
}
TEST_CASE("a cache holds the nouns, the pre-activations, latent sums, and the logits that receive gradient") {
  holds<in(DType::bf16, mixtral)>(1000, 2, 8);                           // [T,K]: of the chosen
  holds<in(DType::fp32, deepseek)>(1000, 3, 9);
  holds<in(DType::fp32, gpt_oss)>(1000, 3, 8);
  holds<in(DType::fp32, gated_null)>(1000, 8, 9);                        // [T,N]: a softmax over all that no sum of the chosen divides
  holds<in(DType::fp32, latent)>(1000, 2, 10);
  holds<in(DType::fp32, inkling)>(1000, 4, 10);
  holds<in(DType::fp32, coefficients)>(1000, 0, 8);                      // a given routing has none
  holds<in(DType::fp32, choice)>(1000, 4, 8);
  static_assert(!training::unselected_count(presets::mixtral_8x7b) && !training::unselected_count(presets::qwen3_30b_a3b) && !training::unselected_count(presets::deepseek_v3));
  static_assert(!training::unselected_count(presets::gpt_oss_120b) && training::unselected_count(presets::switch_base) && training::unselected_count(presets::phi_3_5_moe));
}
TEST_CASE("as docs/training.md writes it") {
  constexpr Config C = in(DType::fp32, mixtral);
  Host const on{.threads = 2};
  std::vector<float> const numbers(6 * 20 * 24, 0.25f);
  auto raw = std::make_unique<Weights<C>>();
  raw->router.data = numbers.data();
  for (std::size_t e = 0; e < 6; ++e) raw->gate[e].data = raw->up[e].data = raw->down[e].data = numbers.data();
  auto const packed = pack(on, *raw);
  std::int64_t const tokens = 3;
  std::vector<float> x_memory(3 * 24, 0.5f), y_memory(3 * 24), dy_memory(3 * 24, 1.f), dx_memory(3 * 24), dlogits(3 * 6);
  auto const memory = std::make_unique<Gradients<C>>();
  Gradients<C>& gradients = *memory;
  auto const x = rows<24>(x_memory.data(), tokens), y = rows<24>(y_memory.data(), tokens), dy = rows<24>(dy_memory.data(), tokens), dx = rows<24>(dx_memory.data(), tokens);
  Layer<C, Host> layer{packed.view()};
  std::vector<std::byte> cache(layer.cache_bytes(on, tokens)), workspace(layer.training_workspace_bytes(on, tokens));
  layer.forward(on, {.x = x}, y, cache, workspace);                                            // y: bit for bit that of the forward pass without a cache
  layer.backward(on, {.x = x}, cache, dy, dx, gradients, workspace);                           // dx is overwritten, gradients are added to (or overwritten: below)
  Layer<C, Host> watched{packed.view(), {}, {.logits = 1}};                                    // all logits are kept as well: losses read them
  std::vector<std::byte> watched_cache(watched.cache_bytes(on, tokens));
  watched.forward(on, {.x = x}, y, watched_cache, workspace);
  auto const [routing, batch] = watched.chosen(on, watched_cache, tokens);
  balance::Losses<C>{.routing = routing, .coefficient = 1e-2}.load({dlogits.data(), tokens});
  watched.backward(on, {.x = x}, watched_cache, dy, dx, gradients, workspace, {dlogits.data(), tokens});
  int const expert = 5, output = 19, input = 23;
  std::size_t const at = Packer<C, Host>::offset(expert, ExpertMatrix::gate, output, input);   // bytes into the packed layer; in a kernel Packer<C, Cuda>
  float stands = 0;
  std::memcpy(&stands, packed.view().data + at, sizeof stands);
  CHECK(stands == 0.25f);
  CHECK(balance::statistics<C>(routing, batch).load[0] == 3);            // ties go to the first experts
  CHECK(dlogits[0] > 0);
  CHECK(dlogits[5] < 0);
  for (float d : dx_memory) CHECK(d == dx_memory[0]);                    // every token and every column is like the others
  CHECK(dx_memory[0] > 0);
}
TEST_CASE("gradients in bf16 are near") { near<deepseek>("deepseek, bf16", 0.04); }
TEST_CASE("gradients may be fp16") {
  auto const owner = std::make_unique<Model<in(DType::fp32, mixtral)>>(std::uint64_t{21});
  for (Isa isa : {Isa::portable, Isa::best}) narrow<DType::fp16>(*owner, Host{.threads = 2, .isa = isa}, run(*owner, Host{.threads = 2, .isa = isa}));
}

}

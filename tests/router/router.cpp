// Every option of RouterConfig against its definition: small cases with the numbers that the definition gives, and random
// logits against the definition in double. Tolerances: a weight is exp, a sum, a division and a scale away from its logit.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;
using Doubles = std::vector<double>;
using Floats = std::vector<float>;
using Ids = std::vector<std::int32_t>;
constexpr double tolerance = 3e-6;                   // relative: 2 ulp of exp, up to 64 terms in lanes, two divisions, one product

// A config that routes logits of the caller's: the experts behind it are as small as can be.
constexpr Config of(int experts, int top_k, RouterConfig r) {
  return {.experts = experts, .top_k = top_k, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32, .router = r};
}
constexpr RouterConfig with_logits(RouterConfig r) {
  r.input = RouterInput::logits;
  return r;
}
constexpr Config with_fill(Config c, Fill f) {
  c.router.group_fill = f;
  return c;
}
constexpr Config with_precision(Config c, Precision p) {
  c.router.precision = p;
  return c;
}
constexpr Config with_noise_size(Config c, float size) {
  c.router.noise_size = size;
  return c;
}
constexpr Config with_null(Config c, int identity, int skip) {
  c.expert.identity = identity, c.expert.skip = skip;
  return c;
}

struct Vectors {
  Floats router, noise, router_bias, select_bias, expert_scale;
  Ids table;
  float router_scale = 1;
};
template <Config C> Packed<C, Host> packed_from(Vectors const& v) {
  static float const zeros[64]{};
  static_assert(C.hidden * C.ffn <= 64);
  Weights<C> raw{};
  raw.router_scale = v.router_scale;
  if constexpr (C.router.weights == DType::fp32) raw.router.data = v.router.empty() ? zeros : v.router.data(), raw.noise.data = v.noise.data();
  if (!v.router_bias.empty()) raw.router_bias = v.router_bias.data();
  if (!v.select_bias.empty()) raw.select_bias = v.select_bias.data();
  if (!v.expert_scale.empty()) raw.expert_scale = v.expert_scale.data();
  raw.table = {v.table.data(), static_cast<std::int64_t>(v.table.size()) / C.top_k};
  static element_t<C.weights> const none[64]{};
  for (auto& m : raw.gate) m.data = none;
  for (auto& m : raw.up) m.data = none;
  for (auto& m : raw.down) m.data = none;
  static element_t<C.shared.weights> const shared_none[256]{};
  if constexpr (C.shared.ffn > 0) raw.shared.gate.data = raw.shared.up.data = raw.shared.down.data = shared_none;
  return pack(Host{.threads = 1}, raw);
}

struct Result {
  Ids expert;
  Floats weight, shared, logits;
  bool operator==(Result const&) const = default;
};
template <Config C> Result run_router(Inputs<C> const& in, PackedView<C, Host> packed, Isa isa = Isa::best) {
  Host const on{.threads = 1, .isa = isa};
  std::int64_t const n = in.x.rows;
  auto const size = [n](int columns) { return static_cast<std::size_t>(n * columns); };
  Result r{Ids(size(slots(C)), -7), Floats(size(slots(C)), NAN), Floats(size(shared_rows(C)), NAN), Floats(size(logit_columns(C)), NAN)};
  Routing<C> const to{.expert = {r.expert.data(), n}, .weight = {r.weight.data(), n}, .logits = {r.logits.data(), n}, .shared = {r.shared.data(), n}};
  Router<C, Host> const router;
  cases::Guarded scratch{router.workspace_bytes(on, n), 0xa5};
  router(on, in, packed, to, scratch.span());
  CHECK(scratch.intact());
  return r;
}
template <Config C> Result route_logits(Floats const& z, Vectors const& v = {}, std::uint64_t seed = 0, std::int64_t sequence = 0) {
  auto const packed = packed_from<C>(v);
  auto const n = static_cast<std::int64_t>(z.size()) / logit_columns(C);
  Inputs<C> in{.x = {nullptr, n}, .logits = {z.data(), n}, .sequence = sequence, .seed = seed};
  Result const best = run_router<C>(in, packed.view());
  CHECK(run_router<C>(in, packed.view(), Isa::portable).expert == best.expert);                         // the same bits on every path
  CHECK(std::ranges::equal(run_router<C>(in, packed.view(), Isa::portable).weight, best.weight, [](float a, float b) { return math::bits_of(a) == math::bits_of(b); }));
  return best;
}

void check_row(Result const& r, int k, std::size_t row, Ids const& expert, Doubles const& weight, double allowed = tolerance) {
  for (std::size_t i = 0; i < expert.size(); ++i) {
    std::size_t const at = row * static_cast<std::size_t>(k) + i;
    CAPTURE(row);
    CAPTURE(i);
    CHECK(r.expert[at] == expert[i]);
    CHECK(std::fabs(double{r.weight[at]} - weight[i]) <= allowed * std::fabs(weight[i]));
  }
}

// --- The definition, in double (model zoo, section 1). ---
Doubles softmax(Doubles v) {
  double const top = *std::max_element(v.begin(), v.end());
  double sum = 0;
  for (double& a : v) sum += a = std::exp(a - top);
  for (double& a : v) a /= sum;
  return v;
}
double sigmoid(double a) { return a >= 0 ? 1 / (1 + std::exp(-a)) : std::exp(a) / (1 + std::exp(a)); }
double softplus(double a) { return std::fmax(a, 0.) + std::log1p(std::exp(-std::fabs(a))); }
std::vector<int> top(Doubles const& v, int k) {
  std::vector<int> order(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) order[i] = static_cast<int>(i);
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return v[static_cast<std::size_t>(a)] > v[static_cast<std::size_t>(b)]; });
  order.resize(static_cast<std::size_t>(k));
  return order;
}
Doubles scores(RouterConfig const& r, Doubles z) {
  if (r.score == Score::softmax) return softmax(z);
  if (r.score == Score::sigmoid) for (double& a : z) a = sigmoid(a);
  if (r.score == Score::sqrt_softplus) for (double& a : z) a = std::sqrt(softplus(a));
  return z;
}
struct Defined { std::vector<int> expert; Doubles weight; };
Defined define(Config const& c, Doubles z, Vectors const& v) {
  RouterConfig const& r = c.router;
  if (r.bias) for (std::size_t e = 0; e < z.size(); ++e) z[e] += double{v.router_bias[e]};
  if (r.soft_cap > 0) for (double& a : z) a = std::tanh(a / double{r.soft_cap}) * double{r.soft_cap};
  Doubles const s = scores(r, z);
  Doubles chosen = s;
  if (r.select_bias) for (std::size_t e = 0; e < s.size(); ++e) chosen[e] += double{v.select_bias[e]};
  if (r.select == Select::group_top_k) {
    std::size_t const size = chosen.size() / static_cast<std::size_t>(r.groups);
    Doubles statistic;
    for (int g = 0; g < r.groups; ++g) {
      Doubles block(chosen.begin() + g * static_cast<int>(size), chosen.begin() + (g + 1) * static_cast<int>(size));
      std::sort(block.rbegin(), block.rend());
      statistic.push_back(r.group_score == GroupScore::max ? block[0] : block[0] + block[1]);
    }
    std::vector<int> const kept = top(statistic, r.groups_kept);
    for (std::size_t e = 0; e < chosen.size(); ++e)
      if (std::find(kept.begin(), kept.end(), static_cast<int>(e / size)) == kept.end()) chosen[e] = r.group_fill == Fill::zero ? 0 : -INFINITY;
  }
  Defined d{top(chosen, c.top_k), {}};
  for (int e : d.expert) d.weight.push_back(s[static_cast<std::size_t>(e)]);
  if (r.post == Post::softmax) d.weight = softmax(d.weight);
  if (r.post == Post::sigmoid) for (double& w : d.weight) w = sigmoid(w);
  double sum = 0;
  for (double w : d.weight) sum += w;
  if (r.normalise == Normalise::sum_add) sum += double{r.epsilon};
  if (r.normalise == Normalise::sum_clamp) sum = std::fmax(sum, double{r.epsilon});
  for (std::size_t i = 0; i < d.weight.size(); ++i) {
    if (r.normalise != Normalise::none) d.weight[i] /= sum;
    if (r.scale_on == ScaleOn::weights) d.weight[i] *= double{r.scale};
    d.weight[i] *= double{v.router_scale};
    if (r.expert_scale && d.expert[i] < c.experts) d.weight[i] *= double{v.expert_scale[static_cast<std::size_t>(d.expert[i])]};
  }
  return d;
}

Floats random_numbers(cases::Random& from, std::size_t n, double size, double middle = 0) {
  Floats to;
  for (std::size_t i = 0; i < n; ++i) to.push_back(static_cast<float>(middle + size * from.normal()));
  return to;
}
// Random logits through the router and through the definition.
template <Config C> void agrees(double bias_size, double bias_middle = 0, float router_scale = 1) {
  constexpr std::size_t N = static_cast<std::size_t>(logit_columns(C)), tokens = 61;
  cases::Random random{static_cast<std::uint64_t>(N * 131 + C.top_k)};
  Vectors v;
  v.router_bias = random_numbers(random, N, 1);
  v.select_bias = random_numbers(random, N, bias_size, bias_middle);
  v.expert_scale = random_numbers(random, N, 0.3, 1);
  v.router_scale = router_scale;
  Floats const z = random_numbers(random, N * tokens, 2);
  Result const r = route_logits<C>(z, v);
  for (std::size_t t = 0; t < tokens; ++t) {
    Defined const d = define(C, Doubles(z.begin() + static_cast<std::ptrdiff_t>(t * N), z.begin() + static_cast<std::ptrdiff_t>((t + 1) * N)), v);
    check_row(r, C.top_k, t, Ids(d.expert.begin(), d.expert.end()), d.weight, C.router.soft_cap > 0 ? 8 * tolerance : tolerance);   // sigmoid doubles what tanh lost
  }
}

// The logits and biases of the hand-made cases.
Floats const z8{0.5f, -1.25f, 2.f, 0.75f, -0.5f, 1.5f, -2.f, 1.f}, b8{0.f, 0.5f, -0.75f, 0.25f, -0.125f, -0.5f, 1.f, 0.375f};
Floats eighth(Floats v) {
  for (float& a : v) a /= 8;
  return v;
}
Floats lowered(Floats v) {
  for (float& a : v) a -= 3;
  return v;
}
constexpr RouterConfig plain = with_logits({});
}

TEST_SUITE("router") {
  // --- Scores, post, normalisation: numbers from the definition's Python. ---
  TEST_CASE("softmax, top-k, divided by the sum (Mixtral)") {
    constexpr Config c = of(8, 2, plain);
    check_row(route_logits<c>(z8), 2, 0, {2, 5}, {0.6224593312018546, 0.37754066879814546});
  }
  TEST_CASE("softmax, top-k, raw (OLMoE)") {
    constexpr Config c = of(8, 3, with_logits({.normalise = Normalise::none}));
    check_row(route_logits<c>(z8), 3, 0, {2, 5, 7}, {0.38121089229538135, 0.2312160939935593, 0.1402396500260918});
    agrees<of(64, 8, with_logits({.normalise = Normalise::none}))>(0);
  }
  TEST_CASE("topk-then-softmax is another function than softmax-then-topk, raw") {
    constexpr Config c = of(8, 3, with_logits({.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none}));
    check_row(route_logits<c>(z8), 3, 0, {2, 5, 7}, {0.506480391055654, 0.3071958857184984, 0.1863237232258476});
    agrees<of(40, 8, with_logits({.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none}))>(0);
  }
  TEST_CASE("sigmoid of the selected (Llama 4), and over its sum (Cohere2)") {
    constexpr Config llama = of(8, 1, with_logits({.score = Score::identity, .post = Post::sigmoid, .normalise = Normalise::none, .place = Place::input}));
    check_row(route_logits<llama>(z8), 1, 0, {2}, {0.8807970779778823});
    constexpr Config cohere = of(8, 3, with_logits({.score = Score::identity, .post = Post::sigmoid}));
    check_row(route_logits<cohere>(z8), 3, 0, {2, 5, 7}, {0.3625529567965715, 0.33652932231100896, 0.3009177208924196});
  }
  TEST_CASE("sqrt of softplus, bias for selection, scale (DeepSeek-V4)") {
    constexpr Config c = of(8, 2, with_logits({.score = Score::sqrt_softplus, .select_bias = 1, .epsilon = 1e-20f, .scale = 1.5f}));
    check_row(route_logits<c>(z8, {.router = {}, .noise = {}, .router_bias = {}, .select_bias = b8, .expert_scale = {}, .table = {}}), 2, 0, {7, 6}, {1.1442630518658727, 0.35573694813412726});
    agrees<of(96, 6, c.router)>(0.5);
  }
  TEST_CASE("epsilon: added, or a floor") {
    constexpr Config add = of(8, 2, with_logits({.epsilon = 0.25f})), clamp = of(8, 2, with_logits({.normalise = Normalise::sum_clamp, .epsilon = 0.875f}));
    check_row(route_logits<add>(z8), 2, 0, {2, 5}, {0.4420210619054811, 0.26809932628441024});
    check_row(route_logits<clamp>(z8), 2, 0, {2, 5}, {0.43566959119472154, 0.26424696456406777});
    constexpr Config ernie = of(8, 2, with_logits({.select_bias = 1, .normalise = Normalise::sum_clamp, .epsilon = 1e-12f}));
    Vectors v;
    v.select_bias = eighth(b8);
    check_row(route_logits<ernie>(z8, v), 2, 0, {2, 7}, {0.7310585786300049, 0.26894142136999516});
  }
  TEST_CASE("without epsilon sigmoids that all underflow give NaN, with one they give 0") {
    constexpr Config bare = of(8, 2, with_logits({.score = Score::sigmoid})), v3 = of(8, 2, with_logits({.score = Score::sigmoid, .epsilon = 1e-20f}));
    Floats const low(8, -200.f);
    CHECK(is_nan(route_logits<bare>(low).weight[0]));
    CHECK(route_logits<v3>(low).weight == Floats{0, 0});
    CHECK(route_logits<v3>(low).expert == Ids{0, 1});
  }
  TEST_CASE("scale: on weights after normalisation; on the routed sum it stays out of the weights") {
    constexpr Config on_weights = of(8, 2, with_logits({.scale = 2.5f})), on_sum = of(8, 2, with_logits({.scale = 2.5f, .scale_on = ScaleOn::routed_sum}));
    check_row(route_logits<on_weights>(z8), 2, 0, {2, 5}, {2.5 * 0.6224593312018546, 2.5 * 0.37754066879814546});
    check_row(route_logits<on_sum>(z8), 2, 0, {2, 5}, {0.6224593312018546, 0.37754066879814546});
  }
  TEST_CASE("learned scales: per expert (Gemma 4) and global (Inkling)") {
    constexpr Config c = of(8, 2, with_logits({.expert_scale = 1}));
    Vectors v;
    v.expert_scale = {1, 2, 4, 8, 16, 32, 64, 128};
    check_row(route_logits<c>(z8, v), 2, 0, {2, 5}, {4 * 0.6224593312018546, 32 * 0.37754066879814546});
    v.router_scale = 0.5f;
    check_row(route_logits<c>(z8, v), 2, 0, {2, 5}, {2 * 0.6224593312018546, 16 * 0.37754066879814546});
    agrees<of(24, 5, c.router)>(0, 0, 0.75f);
  }
  TEST_CASE("logit bias takes part in everything (gpt-oss), the soft cap too (Laguna)") {
    agrees<of(32, 4, with_logits({.bias = 1, .score = Score::identity, .post = Post::softmax, .normalise = Normalise::none}))>(0);
    constexpr Config laguna = of(8, 2, with_logits({.soft_cap = 2, .score = Score::sigmoid, .select_bias = 1}));
    Floats z = z8;
    for (float& a : z) a *= 4;
    Vectors v;
    v.select_bias = b8;
    check_row(route_logits<laguna>(z, v), 2, 0, {7, 6}, {0.8797395219622237, 0.12026047803777634});
    agrees<of(64, 8, laguna.router)>(0.2);
  }
  TEST_CASE("select_bias selects and never weighs") {
    constexpr Config c = of(8, 2, with_logits({.score = Score::sigmoid, .select_bias = 1, .normalise = Normalise::none}));
    Vectors v;
    v.select_bias = {10, 0, 0, 0, 0, 0, 0, 10};
    check_row(route_logits<c>(z8, v), 2, 0, {7, 0}, {sigmoid(1), sigmoid(0.5)});
    v.select_bias = {-10, -10, -10, -10, -10, -10, 10, -10};
    check_row(route_logits<c>(z8, v), 2, 0, {6, 2}, {sigmoid(-2), sigmoid(2)});
  }
  TEST_CASE("round_weight rounds to the activations' type, last") {
    constexpr Config c{.experts = 8, .top_k = 2, .hidden = 1, .ffn = 1, .dtype = DType::bf16, .weights = DType::bf16, .router = with_logits({.scale = 2.5f, .round_weight = 1})};
    Result const r = route_logits<c>(z8);
    CHECK(r.weight == Floats{1.5546875f, 0.9453125f});                           // 1.55615, 0.94385 in eight digits
  }

  // --- Groups. ---
  TEST_CASE("groups by their maximum, masked by 0 (DeepSeek-V2)") {
    constexpr Config c = of(8, 3, with_logits({.select = Select::group_top_k, .groups = 4, .groups_kept = 2, .group_score = GroupScore::max,
                                               .group_fill = Fill::zero, .normalise = Normalise::none, .scale = 16}));
    check_row(route_logits<c>(z8), 3, 0, {2, 5, 3}, {6.099374276726102, 3.699457503896949, 1.7474999881276805});
    agrees<of(64, 6, with_logits({.select = Select::group_top_k, .groups = 8, .groups_kept = 3, .group_score = GroupScore::max,
                                  .group_fill = Fill::zero, .normalise = Normalise::none, .scale = 16}))>(0);
  }
  TEST_CASE("groups by the sum of the best two biased scores (DeepSeek-V3)") {
    constexpr Config c = of(8, 2, with_logits({.score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4, .groups_kept = 2,
                                               .epsilon = 1e-20f, .scale = 2.5f}));
    Vectors v;
    v.select_bias = b8;
    check_row(route_logits<c>(z8, v), 2, 0, {6, 7}, {0.3504890022972134, 2.1495109977027864});
    agrees<of(256, 8, with_logits({.score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 8, .groups_kept = 4,
                                   .epsilon = 1e-20f, .scale = 2.5f}))>(0.3);
  }
  TEST_CASE("masked groups stay masked where biased scores are negative, unless the fill is 0 (trap 9.1)") {
    constexpr RouterConfig r = with_logits({.score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4, .groups_kept = 2, .epsilon = 1e-20f});
    constexpr Config right = of(8, 2, r);
    constexpr Config old = with_fill(right, Fill::zero);
    Vectors v;
    v.select_bias = lowered(b8);
    check_row(route_logits<right>(z8, v), 2, 0, {6, 7}, {0.14019560091888536, 0.8598043990811146});
    check_row(route_logits<old>(z8, v), 2, 0, {2, 3}, {0.5646222786774334, 0.43537772132256664});
    agrees<right>(0.3, -3);
    agrees<with_fill(right, Fill::zero)>(0.3, -3);
  }
  TEST_CASE("ties between groups go to the lower group, between experts to the lower expert") {
    constexpr Config c = of(12, 3, with_logits({.score = Score::sigmoid, .select = Select::group_top_k, .groups = 4, .groups_kept = 2}));
    CHECK(route_logits<c>(Floats(12, 0.25f)).expert == Ids{0, 1, 2});
    CHECK(route_logits<c>({0, 0, 0, 1, 0, 1, 0, 1, 1, 1, 1, 0}).expert == Ids{3, 5, 7});           // groups 1, 2 and 3 tie
    constexpr Config all = of(257, 8, plain);
    CHECK(route_logits<all>(Floats(257, -3)).expert == Ids{0, 1, 2, 3, 4, 5, 6, 7});
    CHECK(route_logits<of(4, 2, plain)>({-0.f, 0.f, -1, -1}).expert == Ids{0, 1});                 // -0 is no less than 0
  }

  // --- Other selections. ---
  TEST_CASE("sparse mixer: two rounds, thresholds by the original logits, a sum of about 2 (Phi-3.5-MoE)") {
    constexpr RouterConfig phi = with_logits({.score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none, .noise_size = 0.01f});
    constexpr Config c = of(8, 2, phi);
    check_row(route_logits<c>({2, 1.99f, 1, -1, 1.97f, 0.5f, -3, 1.98f}), 2, 0, {0, 1}, {0.2537624057326252, 0.3366721665289847});
    check_row(route_logits<of(4, 2, phi)>({-2, -1, -1.01f, -3}), 2, 0, {1, 2}, {0.502499979166875, 1});
    cases::Random random{16};
    Result const r = route_logits<of(16, 2, phi)>(random_numbers(random, 16 * 200, 2));
    int about_two = 0;
    for (std::size_t t = 0; t < 200; ++t) about_two += r.weight[2 * t] + r.weight[2 * t + 1] > 1.9f;
    CHECK(about_two > 160);
    CHECK(route_logits<c>(Floats(8, 3)).expert == Ids{0, 1});
  }
  TEST_CASE("null experts take part in scores and selection: identity (LongCat), skip (Zaya)") {
    Vectors v;
    v.select_bias = eighth(b8);
    constexpr Config longcat = with_null(of(6, 4, with_logits({.select_bias = 1, .normalise = Normalise::none, .scale = 6})), 2, 0);
    check_row(route_logits<longcat>(z8, v), 4, 0, {2, 7, 5, 3}, {2.287265353772288, 0.8414379001565507, 1.387296563961356, 0.6553124955478802});
    constexpr Config zaya = with_null(of(7, 1, with_logits({.select_bias = 1, .normalise = Normalise::none})), 0, 1);
    check_row(route_logits<zaya>(z8, v), 1, 0, {2}, {0.38121089229538135});
    Floats skipped = z8;
    skipped[7] = 3;
    CHECK(route_logits<zaya>(skipped, v).expert == Ids{7});              // its own id: expert 0 is not charged for it (trap 33)
  }
  TEST_CASE("router rows: shared experts' gates in a joint normalisation (Inkling)") {
    constexpr Config c{.experts = 6, .top_k = 2, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32,
                       .router = with_logits({.score = Score::sigmoid, .select_bias = 1, .scale = 8}), .shared = {.ffn = 2, .count = 2, .mix = SharedMix::router_rows}};
    Vectors v;
    v.select_bias = Floats(b8.begin(), b8.begin() + 6);
    v.router_scale = 0.5f;
    Result const r = route_logits<c>(z8, v);
    check_row(r, 2, 0, {3, 1}, {1.5505121004122218, 0.5084070811280728});
    CHECK(double{r.shared[0]} == doctest::Approx(0.27213099177608024).epsilon(tolerance));
    CHECK(double{r.shared[1]} == doctest::Approx(1.6689498266836253).epsilon(tolerance));
  }
  TEST_CASE("table: experts by token id, weights by scores (DeepSeek-V4) or 1 (Roller)") {
    constexpr Config v4 = of(8, 2, with_logits({.score = Score::sqrt_softplus, .select = Select::table, .epsilon = 1e-20f, .scale = 1.5f}));
    Vectors v;
    v.table = {0, 1, 6, 1, 3, 3};
    auto const packed = packed_from<v4>(v);
    Ids const tokens{1, 0};
    Floats z = z8;
    z.insert(z.end(), z8.begin(), z8.end());
    Inputs<v4> in{.x = {nullptr, 2}, .logits = {z.data(), 2}, .token_ids = tokens.data()};
    Result const r = run_router<v4>(in, packed.view());
    check_row(r, 2, 0, {6, 1}, {0.6227074211353923, 0.8772925788646075});
    CHECK(r.expert[2] == 0);
    CHECK(r.expert[3] == 1);
    // Replay: the caller's ids instead of the table's.
    Ids const ids{1, 6, 6, 1};
    in.routing.expert = {const_cast<std::int32_t*>(ids.data()), 2};
    Result const replayed = run_router<v4>(in, packed.view());
    check_row(replayed, 2, 0, {1, 6}, {0.8772925788646075, 0.6227074211353923});
    check_row(replayed, 2, 1, {6, 1}, {0.6227074211353923, 0.8772925788646075});

    constexpr Config roller{.experts = 8, .top_k = 1, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32,
                            .router = {.input = RouterInput::token_ids, .select = Select::table, .normalise = Normalise::none}};
    v.table = {5, 0, 7};
    auto const hash = packed_from<roller>(v);
    Ids const words{2, 0, 0, 1};
    Result const h = run_router<roller>({.x = {nullptr, 4}, .token_ids = words.data()}, hash.view());
    CHECK(h.expert == Ids{7, 5, 5, 0});
    CHECK(h.weight == Floats{1, 1, 1, 1});
    Ids const outside{3, 0, 0, 0}, negative{0, 0, 0, -1};
    CHECK_THROWS_WITH_AS((run_router<roller>({.x = {nullptr, 4}, .token_ids = outside.data()}, hash.view())), doctest::Contains("token id out of the table: got 3, want 0 to 2"), Error);
    CHECK_THROWS_AS((run_router<roller>({.x = {nullptr, 4}, .token_ids = negative.data()}, hash.view())), Error);
    CHECK_THROWS_AS((run_router<roller>({.x = {nullptr, 4}}, hash.view())), Error);
  }
  TEST_CASE("table: a replayed -1 takes no weight from the others") {
    constexpr Config c = of(8, 2, with_logits({.score = Score::identity, .select = Select::table, .post = Post::sigmoid}));
    auto const packed = packed_from<c>({});
    Ids const ids{2, -1}, wrong{2, -2}, beyond{8, 0};
    Inputs<c> in{.x = {nullptr, 1}, .logits = {z8.data(), 1}};
    in.routing.expert = {const_cast<std::int32_t*>(ids.data()), 1};
    check_row(run_router<c>(in, packed.view()), 2, 0, {2, -1}, {1, 0});
    constexpr Config soft = of(8, 2, with_logits({.score = Score::identity, .select = Select::table, .post = Post::softmax, .normalise = Normalise::none}));
    auto const packed_soft = packed_from<soft>({});
    Inputs<soft> in_soft{.x = {nullptr, 1}, .logits = {z8.data(), 1}};
    in_soft.routing.expert = {const_cast<std::int32_t*>(ids.data()), 1};
    check_row(run_router<soft>(in_soft, packed_soft.view()), 2, 0, {2, -1}, {1, 0});
    for (Ids const* bad : {&wrong, &beyond}) {
      in.routing.expert = {const_cast<std::int32_t*>(bad->data()), 1};
      CHECK_THROWS_AS(run_router<c>(in, packed.view()), Error);
    }
  }
  TEST_CASE("given: the caller's routing, bit for bit") {
    constexpr Config c{.experts = 8, .top_k = 2, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32, .router = {.input = RouterInput::given}};
    Ids expert{3, 3, -1, 7};
    Floats weight{0.1f, -2, NAN, 4};
    Inputs<c> in{.x = {nullptr, 2}};
    in.routing = {.expert = {expert.data(), 2}, .weight = {weight.data(), 2}};
    Result const r = run_router<c>(in, {});
    CHECK(r.expert == expert);
    CHECK(std::memcmp(r.weight.data(), weight.data(), sizeof(float) * 4) == 0);
    in.routing.weight.rows = 1;
    CHECK_THROWS_AS(run_router<c>(in, {}), Error);
    CHECK_THROWS_AS(run_router<c>({.x = {nullptr, 2}}, {}), Error);
  }
  TEST_CASE("expert choice: each expert its best tokens of a group, ties to the lower token") {
    constexpr Config c = of(4, 2, with_logits({.select = Select::expert_choice, .normalise = Normalise::none}));           // C = 6 * 2 / 4 = 3
    Floats z;
    for (int t = 0; t < 6; ++t)
      for (int e = 0; e < 4; ++e) z.push_back(static_cast<float>(std::sin(3. * t + 1.7 * e) * 2));
    Result const r = route_logits<c>(z);
    struct Pick { std::size_t token; double weight; };
    Pick const picks[4][3]{{{5, 0.3352161148395226}, {3, 0.21664761183275752}, {1, 0.13697684273747718}},
                           {{0, 0.8053102181164735}, {2, 0.8039725122561813}, {4, 0.7256030839882843}},
                           {{4, 0.21731118920924145}, {1, 0.13040829690084646}, {2, 0.11707086825516447}},
                           {{1, 0.7186334956740859}, {3, 0.7011023849823941}, {5, 0.6093841577433295}}};
    for (std::size_t e = 0; e < 4; ++e)
      for (std::size_t t = 0; t < 6; ++t) {
        double want = 0;
        for (Pick const& p : picks[e]) if (p.token == t) want = p.weight;
        CHECK(r.expert[t * 4 + e] == (want > 0 ? static_cast<int>(e) : -1));
        CHECK(std::fabs(double{r.weight[t * 4 + e]} - want) <= 2 * tolerance * want);
      }
    Result const tied = route_logits<c>(Floats(24, 1), {}, 0, 4);                // groups of 4 tokens and of 2: C = 2 and 1
    for (std::size_t t = 0; t < 6; ++t)
      for (std::size_t e = 0; e < 4; ++e) CHECK(tied.expert[t * 4 + e] == (t < 2 || t == 4 ? static_cast<int>(e) : -1));
  }

  // --- What the router reads, and where it leaves the model's type. ---
  TEST_CASE("precision: where fp32 starts") {
    // x . w = 1 + 2^-9 = 1.001953125: fp32 keeps it, bf16 does not.
    constexpr auto config = [](Precision p, DType router) {
      return Config{.experts = 2, .top_k = 1, .hidden = 2, .ffn = 1, .dtype = DType::bf16, .weights = DType::bf16, .router = {.precision = p, .weights = router, .normalise = Normalise::none}};
    };
    bf16 const x[]{from_float<bf16>(1), from_float<bf16>(0x1p-9f)};
    auto const run = [&x]<Config C>(std::type_identity<Weights<C>>) {
      using R = element_t<C.router.weights>;
      R const w[]{from_float<R>(1), from_float<R>(1), from_float<R>(0), from_float<R>(0)};
      static bf16 const none[2]{};
      Weights<C> raw{};
      raw.router.data = w;
      for (auto* list : {&raw.gate, &raw.up}) for (auto& m : *list) m.data = none;
      for (auto& m : raw.down) m.data = none;
      auto const packed = pack(Host{.threads = 1}, raw);
      return run_router<C>(Inputs<C>{.x = {x, 1}}, packed.view());
    };
    constexpr Config fp32 = config(Precision::fp32, DType::bf16), mm = config(Precision::matmul_then_fp32, DType::bf16), model = config(Precision::model, DType::bf16),
                     wide = config(Precision::matmul_then_fp32, DType::fp32);
    Result const a = run(std::type_identity<Weights<fp32>>{}), b = run(std::type_identity<Weights<mm>>{}), m = run(std::type_identity<Weights<model>>{}),
                 w = run(std::type_identity<Weights<wide>>{});
    CHECK(a.logits == Floats{1.001953125f, 0});
    CHECK(b.logits == Floats{1, 0});
    CHECK(m.logits == Floats{1, 0});
    CHECK(w.logits == Floats{1.001953125f, 0});                          // a router kept in fp32 has nothing to round to
    check_row(a, 1, 0, {0}, {softmax({1.001953125, 0})[0]});
    check_row(b, 1, 0, {0}, {softmax({1, 0})[0]});
    CHECK(m.weight == Floats{0.73046875f});                              // 0.7310586 in eight digits
  }
  TEST_CASE("precision: model rounds scores, sums and weights, so that near ties become ties") {
    constexpr Config c{.experts = 4, .top_k = 2, .hidden = 1, .ffn = 1, .dtype = DType::bf16, .weights = DType::bf16,
                       .router = with_logits({.precision = Precision::model, .score = Score::sigmoid})};
    // sigmoid(0.5), sigmoid(0.501): 0.622459, 0.622694 are both 0.62109375 in bf16, so the lower index comes first.
    Result const r = route_logits<c>({0.5f, 0.501f, -1, 0.25f});
    CHECK(r.expert == Ids{0, 1});
    CHECK(r.weight == Floats{0.5f, 0.5f});
    constexpr Config fp32 = with_precision(c, Precision::fp32);
    CHECK(route_logits<fp32>({0.5f, 0.501f, -1, 0.25f}).expert == Ids{1, 0});
  }
  TEST_CASE("separate: the router reads its own tensor") {
    constexpr Config c{.experts = 2, .top_k = 1, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32,
                       .router = {.input = RouterInput::separate, .precision = Precision::fp32, .weights = DType::fp32}};
    Vectors v;
    v.router = {1, -1};
    auto const packed = packed_from<c>(v);
    float const x[]{5, 5}, other[]{-2, 3};
    Inputs<c> in{.x = {x, 2}, .router_x = {other, 2}};
    Result const r = run_router<c>(in, packed.view());
    CHECK(r.expert == Ids{1, 0});
    CHECK(r.logits == Floats{-2, 2, 3, -3});
    in.router_x = {};
    CHECK_THROWS_WITH_AS(run_router<c>(in, packed.view()), doctest::Contains("router_x"), Error);
  }
  TEST_CASE("logits: refused when they are missing or too few") {
    constexpr Config c = of(8, 2, plain);
    auto const packed = packed_from<c>({});
    CHECK_THROWS_WITH_AS(run_router<c>({.x = {nullptr, 1}}, packed.view()), doctest::Contains("Inputs::logits"), Error);
    CHECK_THROWS_AS(run_router<c>({.x = {nullptr, 2}, .logits = {z8.data(), 1}}, packed.view()), Error);
  }
  TEST_CASE("NaN ranks below -infinity; a row of NaN selects the first experts and shows in the weights") {
    constexpr Config c = of(4, 2, with_logits({.score = Score::sigmoid}));
    CHECK(route_logits<c>({NAN, -INFINITY, NAN, 1}).expert == Ids{3, 1});
    Result const r = route_logits<c>(Floats(4, NAN));
    CHECK(r.expert == Ids{0, 1});
    CHECK(is_nan(r.weight[0]));
    CHECK(is_nan(r.weight[1]));
    Result const one = route_logits<of(4, 2, plain)>({0, NAN, 1, 2});              // softmax: one NaN is all NaN
    CHECK(one.expert == Ids{0, 1});
    CHECK(is_nan(one.weight[0]));
  }
}

// What noise makes of many tokens with the same logits.
namespace {
template <Config C> Result many(Floats const& row, std::int64_t tokens, std::uint64_t seed) {
  Floats z;
  for (std::int64_t t = 0; t < tokens; ++t) z.insert(z.end(), row.begin(), row.end());
  auto const packed = packed_from<C>({});
  return run_router<C>({.x = {nullptr, tokens}, .logits = {z.data(), tokens}, .seed = seed}, packed.view());
}
bool within(double part, double want, double n) { return std::fabs(part - want) < 5 * std::sqrt(want * (1 - want) / n); }   // five standard errors
}

TEST_SUITE("router") {
  TEST_CASE("noise: seed 0 is evaluation, a seed repeats itself, another one differs") {
    constexpr Config quiet = of(8, 2, plain), loud = of(8, 2, with_logits({.noise = Noise::gumbel, .noise_size = 1}));
    CHECK(many<loud>(z8, 50, 0) == many<quiet>(z8, 50, 0));
    CHECK(many<loud>(z8, 50, 3) == many<loud>(z8, 50, 3));
    CHECK(many<loud>(z8, 50, 3).expert != many<loud>(z8, 50, 4).expert);
    CHECK(many<loud>(z8, 50, 3).expert != many<loud>(z8, 50, std::uint64_t{3} << 32 | 3).expert);
  }
  TEST_CASE("noise: Gumbel's maximum is distributed as the softmax; weights stay those of the clean logits") {
    constexpr Config c = of(8, 1, with_logits({.normalise = Normalise::none, .noise = Noise::gumbel, .noise_size = 1}));
    Result const r = many<c>(z8, 20000, 9);
    Doubles const p = softmax(Doubles(z8.begin(), z8.end()));
    Doubles count(8, 0);
    long wrong = 0;
    for (std::size_t t = 0; t < 20000; ++t) {
      auto const e = static_cast<std::size_t>(r.expert[t]);
      count[e] += 1. / 20000;
      wrong += std::fabs(double{r.weight[t]} - p[e]) > tolerance * p[e];
    }
    CHECK(wrong == 0);
    for (std::size_t e = 0; e < 8; ++e) CHECK(within(count[e], p[e], 20000));
  }
  TEST_CASE("noise: jitter multiplies the router's copy of x by 1 +- size") {
    constexpr Config c{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32,
                       .router = {.precision = Precision::fp32, .weights = DType::fp32, .noise = Noise::jitter, .noise_size = 0.125f}};
    Vectors v;
    v.router = {1};
    auto const packed = packed_from<c>(v);
    Floats const x(20000, 1);
    Result const r = run_router<c>({.x = {x.data(), 20000}, .seed = 5}, packed.view());
    double mean = 0, square = 0;
    for (float z : r.logits) mean += double{z} / 20000, square += (double{z} - 1) * (double{z} - 1) / 20000;
    auto const [low, high] = std::ranges::minmax(r.logits);
    CHECK(low >= 0.875f);
    CHECK(high <= 1.125f);
    CHECK(std::fabs(mean - 1) < 5 * 0.125 / std::sqrt(3. * 20000));
    CHECK(square == doctest::Approx(0.125 * 0.125 / 3).epsilon(0.03));
    CHECK(run_router<c>({.x = {x.data(), 20000}}, packed.view()).logits == x);
    CHECK(run_router<c>({.x = {x.data(), 20000}, .seed = 5}, packed.view(), Isa::portable) == r);
  }
  TEST_CASE("noise: Gaussian of the learned standard deviation (Shazeer)") {
    constexpr Config c{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32,
                       .router = {.precision = Precision::fp32, .weights = DType::fp32, .score = Score::identity, .normalise = Normalise::none, .noise = Noise::softplus, .noise_size = 0.01f}};
    Vectors v;
    v.router = {2}, v.noise = {-1};
    auto const packed = packed_from<c>(v);
    Floats const x(20000, 1);
    Result const r = run_router<c>({.x = {x.data(), 20000}, .seed = 5}, packed.view());
    double mean = 0, square = 0;
    for (float h : r.weight) mean += double{h} / 20000, square += (double{h} - 2) * (double{h} - 2) / 20000;
    double const deviation = softplus(-1) + 0.01;
    CHECK(std::fabs(mean - 2) < 5 * deviation / std::sqrt(20000.));
    CHECK(std::sqrt(square) == doctest::Approx(deviation).epsilon(5 / std::sqrt(2 * 20000.)));
    CHECK(r.logits == Floats(20000, 2));                                 // the caller sees the clean ones
    CHECK(run_router<c>({.x = {x.data(), 20000}}, packed.view()).weight == Floats(20000, 2));
  }
  TEST_CASE("noise: the second expert is kept with twice its share (GShard), the weights are normalised before") {
    constexpr Config c = of(4, 2, with_logits({.epsilon = 1e-9f, .noise = Noise::random_second, .noise_size = 0.5f}));
    Floats const row{std::log(0.5f), std::log(0.25f), std::log(0.15f), std::log(0.1f)};           // shares of the first two: 2/3, 1/3
    Result const r = many<c>(row, 20000, 77);
    double kept = 0;
    long wrong = 0;
    for (std::size_t t = 0; t < 20000; ++t) {
      bool const second = r.expert[2 * t + 1] >= 0;
      kept += second ? 1. / 20000 : 0;
      wrong += r.expert[2 * t] != 0 || (second && r.expert[2 * t + 1] != 1) || std::fabs(r.weight[2 * t] - 2.f / 3) > 1e-6f;
      wrong += std::fabs(r.weight[2 * t + 1] - (second ? 1.f / 3 : 0.f)) > 1e-6f;
    }
    CHECK(wrong == 0);
    CHECK(within(kept, 2. / 3, 20000));
    Result const equal = many<c>(Floats(4, 1), 2000, 77);                // a share of 1/2 is always kept
    CHECK(std::ranges::count(equal.expert, -1) == 0);
    Result const quiet = many<c>(row, 200, 0);
    CHECK(std::ranges::count(quiet.expert, -1) == 0);
    constexpr Config mesh = with_noise_size(c, 0.2f);         // Mesh-TF: kept with share / 0.2
    double kept_mesh = 0;
    Result const m = many<mesh>({std::log(0.9f), std::log(0.1f), -20, -20}, 20000, 78);
    for (std::size_t t = 0; t < 20000; ++t) kept_mesh += m.expert[2 * t + 1] >= 0 ? 1. / 20000 : 0;
    CHECK(within(kept_mesh, 0.5, 20000));
  }
}

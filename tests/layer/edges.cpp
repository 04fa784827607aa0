// The edges of every size and value, on every stage and on the layer: a table of configs by numbers of tokens by routing
// traces by kinds of values. Each is checked as a random layer is (tests/random/check.hpp): by the definition and its bounds
// where they are known, by what must hold of any maps, poisoned memory, guard bands, on other threads and other paths.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include "../random/check.hpp"
#include "../random/compiled.hpp"

namespace {
using namespace coterie;

// Every count of experts and of choices, every hidden and ffn of the table, once; between them each option that has a path
// of its own: a learned router and the caller's logits, capacity, latent and shared experts, sums in the model's type.
constexpr Config one_expert{.experts = 1, .top_k = 1, .hidden = 33, .ffn = 64, .dtype = DType::fp32, .weights = DType::fp32};
constexpr Config two_experts{.experts = 2, .top_k = 1, .hidden = 64, .ffn = 1, .router = {.input = RouterInput::logits}, .capacity = {.rounding = Rounding::deepspeed, .factor = 0.75f}};
constexpr Config every_expert{.experts = 3, .top_k = 3, .hidden = 3, .ffn = 33, .dtype = DType::fp16, .weights = DType::fp16, .router = {.weights = DType::fp16, .score = Score::sigmoid, .epsilon = 1e-20f},
                              .shared = {.ffn = 8, .mix = SharedMix::sigmoid_gate, .weights = DType::fp16}};
constexpr Config odd_experts{.experts = 65, .top_k = 4, .hidden = 8, .ffn = 3, .combine = Accumulate::model};
constexpr Config latent_experts{.experts = 200, .top_k = 8, .hidden = 17, .ffn = 8, .dtype = DType::fp32, .weights = DType::fp32,
                                .router = {.input = RouterInput::logits, .score = Score::identity, .post = Post::softmax, .normalise = Normalise::none},
                                .expert = {.bias = 1, .latent = 5, .latent_norm = LatentNorm::rms}};
constexpr Config many_experts{.experts = 4096, .top_k = 32, .hidden = 1, .ffn = 17, .router = {.input = RouterInput::logits}};

constexpr std::int64_t token_counts[]{0, 1, 7, 64, 127, 128, 129, 257, 4095};
enum class Trace : int { uniform, one_expert, fresh, no_ends, tails };
constexpr char const* trace_names[]{"uniform", "all tokens to one expert", "each token a new expert", "empty first and last experts", "tails of one row"};
enum class Value : int { plain, negative_zero, nan_rows, infinite, denormal, ties, largest };
constexpr char const* value_names[]{"plain", "-0", "NaN rows", "+-infinity", "denormal", "ties everywhere", "largest finite"};
constexpr int traces = 5, values = 7;

struct Edge {
  Config const& c;
  std::int64_t tokens;
  Trace trace;
  Value value;
};

// Which expert token t is to have in slot s. Tails: groups of one row more than a block, a tile, a task has.
int wished(Edge const& k, std::int64_t t, int s) {
  int const e = k.c.experts;
  auto const turn = [&](std::int64_t n, int first, int size) { return first + static_cast<int>((n + s) % size); };
  if (k.trace == Trace::fresh) return turn(t * k.c.top_k, 0, e);
  if (k.trace == Trace::no_ends) return e > 2 + k.c.top_k ? turn(t * 7, 1, e - 2) : turn(t, 0, e);
  if (k.trace == Trace::tails) {
    std::int64_t left = t;
    int group = 0;
    for (std::int64_t size : {1, 13, 17, 33, 49, 65, 129, 257})
      if (left >= size) left -= size, ++group;
    return turn(group, 0, e);
  }
  return turn(0, e - k.c.top_k, e);                                      // one expert (and the same ones beside it): the last
}

struct Maker {
  Edge const& k;
  cases::Random random;
  double draw(double size) {
    if (k.value == Value::ties) return random.below(3) - 1;
    if (k.value == Value::negative_zero && random.one_in(3)) return -0.;
    return size * random.normal();
  }
  cases::Stored matrix(DType d, std::int64_t out, std::int64_t in, double size) {
    cases::Stored m{.data = cases::Bytes(static_cast<std::size_t>(out * in) * cases::bytes_of(d)), .out_stride = in, .in_stride = 1};
    for (std::int64_t i = 0; i < out * in; ++i) cases::save(d, m.data.data(), i, k.value == Value::denormal && random.one_in(8) ? tiny(d) : draw(size));
    return m;
  }
  std::vector<float> vector(std::int64_t n) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(draw(0.3)));
    return v;
  }
  static double tiny(DType d) { return d == DType::fp16 ? 0x1p-24 : 0x1p-133; }        // the smallest that bf16 and fp16 have
  static double most(DType d) { return d == DType::fp16 ? 65504 : d == DType::bf16 ? 0x1.fep127 : 0x1.fffffep127; }
  // One number of token t, for a type that holds up to `largest`.
  double number(std::int64_t t, double size, double smallest, double largest) {
    bool const odd = t % 3 == 1;                                         // this token carries what the value is about
    double const v = draw(size), sign = random.one_in(2) ? 1 : -1;
    if (k.value == Value::denormal) return sign * smallest * random.below(5);
    if (odd && k.value == Value::nan_rows && (t % 2 || random.one_in(4))) return std::nan("");            // a whole row, or a part of it
    if (odd && k.value == Value::infinite && random.one_in(3)) return sign * reference::infinity;
    if (odd && k.value == Value::largest) return sign * largest;
    return v;
  }

  cases::Tensors tensors() {
    Config const& c = k.c;
    std::int64_t const h = c.hidden, f = c.ffn, w = width(c), s = c.shared.ffn;
    cases::Tensors t;
    if (c.router.input == RouterInput::hidden) t.router = matrix(c.router.weights, logit_columns(c), h, 1 / std::sqrt(h));
    for (int e = 0; e < c.experts; ++e) {
      t.gate.push_back(matrix(c.weights, f, w, 1 / std::sqrt(w))), t.up.push_back(matrix(c.weights, f, w, 1 / std::sqrt(w))), t.down.push_back(matrix(c.weights, w, f, 1 / std::sqrt(f)));
      if (c.expert.bias) t.gate_bias.push_back(vector(f)), t.up_bias.push_back(vector(f)), t.down_bias.push_back(vector(w));
    }
    if (s) t.shared_gate = matrix(c.shared.weights, s, h, 1), t.shared_up = matrix(c.shared.weights, s, h, 1), t.shared_down = matrix(c.shared.weights, h, s, 1), t.mix = matrix(c.shared.weights, 1, h, 1);
    if (c.expert.latent) t.latent_down = matrix(c.dtype, w, h, 1), t.latent_up = matrix(c.dtype, h, w, 1), t.latent_norm = vector(w);
    // A learned router follows a trace through one column of x a slot: expert e looks at column e % hidden.
    for (std::int64_t e = 0; e < logit_columns(c) && !t.router.data.empty() && k.value != Value::ties; ++e) cases::save(c.router.weights, t.router.data.data(), e * h + e % h, 8);
    return t;
  }
  cases::Feed feed() {
    Config const& c = k.c;
    std::int64_t const n = k.tokens, h = c.hidden;
    cases::Feed f;
    f.tokens = n, f.x_stride = h + 2, f.y_stride = h + 1;
    f.x.assign(static_cast<std::size_t>(n * f.x_stride) * cases::bytes_of(c.dtype), std::byte{0xff});
    for (std::int64_t t = 0; t < n; ++t) {
      for (std::int64_t i = 0; i < h; ++i) cases::save(c.dtype, f.x.data(), t * f.x_stride + i, number(t, 1, tiny(c.dtype), most(c.dtype)));
      if (c.router.input == RouterInput::hidden && k.trace != Trace::uniform && (k.value == Value::plain || k.value == Value::negative_zero))
        for (int s = c.top_k; s-- > 0;) cases::save(c.dtype, f.x.data(), t * f.x_stride + wished(k, t, s) % h, 4 - s / 8.);
    }
    if (c.router.input != RouterInput::logits) return f;
    for (std::int64_t t = 0; t < n; ++t) {
      std::size_t const row = f.logits.size();
      bool const zeros = k.value == Value::negative_zero;               // -0 and 0 tie, also at the cutoff
      for (int e = 0; e < c.experts; ++e) f.logits.push_back(k.value == Value::ties ? 0.5f : zeros ? (random.one_in(2) ? -0.f : 0.f) : static_cast<float>(number(t, 1, 0x1p-149, 0x1.fffffep127)));
      if (k.trace == Trace::uniform || k.value == Value::ties) continue;
      for (int s = 0; s < (zeros ? (c.top_k + 1) / 2 : c.top_k); ++s) {
        float& z = f.logits[row + static_cast<std::size_t>(wished(k, t, s))];
        z = k.value == Value::denormal ? static_cast<float>(0x1p-140 * (c.top_k - s)) : std::isfinite(z) && std::fabs(z) < 1e30f ? 10 - static_cast<float>(s) / 8 : z;
      }
    }
    return f;
  }
};

// The last tokens alone give the bits that they give beside all others.
std::string neighbours(cases::Subject const& s, cases::Checker& checker, Host const& on, cases::Feed const& feed) {
  Config const& c = s.config;
  std::size_t const size = cases::bytes_of(c.dtype);
  std::int64_t const few = 5;
  if (feed.tokens <= few || c.capacity.rounding != Rounding::none) return "";
  auto const run = [&](cases::Feed const& from) {
    cases::Bytes y(static_cast<std::size_t>(from.tokens * from.y_stride) * size, std::byte{0}), workspace(s.workspace_bytes(on, from.tokens));
    s.forward(on, from, y.data(), workspace);
    return y;
  };
  cases::Feed last = feed;
  last.tokens = few;
  last.x.erase(last.x.begin(), last.x.end() - static_cast<std::ptrdiff_t>(static_cast<std::size_t>(few * feed.x_stride) * size));
  if (!last.logits.empty()) last.logits.erase(last.logits.begin(), last.logits.end() - few * c.experts);
  cases::Bytes all = run(feed);
  all.erase(all.begin(), all.end() - static_cast<std::ptrdiff_t>(static_cast<std::size_t>(few * feed.y_stride) * size));
  return checker.same(c.dtype, all, run(last)) ? "" : "tokens depend on their neighbours";
}

template <Config C> void edges() {
  std::unique_ptr<cases::Subject> const subject{new cases::Compiled<C>};
  cases::Checker checker;
  std::vector<Isa> const all = cases::paths();
  std::uint64_t index = 0;
  for (int i = 0; i < static_cast<int>(std::size(token_counts)); ++i)
    for (int v = 0; v < values; ++v, ++index) {
      Edge const edge{C, token_counts[i], static_cast<Trace>((i + v) % traces), static_cast<Value>(v)};
      // What the reference would take long for has one value a count of tokens, another one each time.
      if (edge.tokens * (C.experts + std::int64_t{C.top_k} * C.ffn * width(C)) > 400'000 && v != i % values) continue;
      Maker make{edge, cases::Random{index + 1}};
      cases::Case const k{.config = 0, .tokens = edge.tokens, .threads = 1 + static_cast<int>(index % 3), .isa = all[static_cast<std::size_t>(index / 3) % all.size()], .seed = index * 8};
      cases::Tensors const tensors = make.tensors();
      cases::Feed const feed = make.feed();
      std::string what = checker.check(*subject, k, tensors, feed);
      if (what.empty()) what = neighbours(*subject, checker, Host{.threads = 1, .isa = k.isa}, feed);
      CHECK_MESSAGE(what.empty(), C.experts << " experts, " << edge.tokens << " tokens, " << trace_names[static_cast<int>(edge.trace)] << ", " << value_names[v] << ", " << name(k.isa) << ": " << what);
    }
}

// Without tokens a stage writes nothing, whatever its pointers are, but the batch's begin: zeros.
template <Config C> void nobody() {
  using V = element_t<C.dtype>;
  Host const on{.threads = 2};
  cases::Guarded memory{4096, 0x5a}, begins{(C.experts + 1) * sizeof(std::int32_t), 0x5a};
  Stages<C, Host> const stage{};
  Layer<C, Host> const layer{PackedView<C, Host>{}};
  for (bool const set : {true, false}) {
    auto const at = [&](int i) { return set ? memory.data() + 512 * i : nullptr; };
    auto const floats = [&](int i) { return reinterpret_cast<float*>(at(i)); };
    auto const ids = [&](int i) { return reinterpret_cast<std::int32_t*>(at(i)); };
    auto const some = [&](int i) { return reinterpret_cast<V*>(at(i)); };
    Inputs<C> const in{.x = {some(0), 0}, .logits = {floats(1), 0}};
    Routing<C> const routing{.expert = {ids(1), 0}, .weight = {floats(2), 0}, .logits = {floats(3), 0}};
    Batch<C> const batch{.begin = begins.data<std::int32_t>(), .token = ids(4), .weight = floats(5), .slot = {ids(6), 0}};
    Rows<V, C.hidden> const y{some(6), 0};
    Rows<V, width(C)> const out{some(7), 0};
    stage.router(on, in, {}, routing, {});
    stage.dispatch(on, in, routing, batch, {});
    if constexpr (C.expert.latent > 0) stage.latent(on, in.x, {}, out, {});
    stage.experts(on, Rows<V const, width(C)>{some(0), 0}, {}, batch, out, {});
    if constexpr (C.shared.ffn > 0) stage.shared(on, in, {}, routing, y, {});
    stage.combine(on, in, {}, routing, batch, out, y, y, {});
    CHECK(layer.workspace_bytes(on, 0) == 0);
    layer.forward(on, in, y, {});
    CHECK(std::all_of(begins.span().begin(), begins.span().end(), [](std::byte b) { return b == std::byte{0}; }));
    CHECK(std::all_of(memory.span().begin(), memory.span().end(), [](std::byte b) { return b == std::byte{0x5a}; }));
    CHECK((begins.intact() && memory.intact()));
    std::fill(begins.span().begin(), begins.span().end(), std::byte{0x5a});
  }
}

// What leaves the range of a type is an infinity, nothing saturates, and it stays with its token.
template <DType D> void overflow() {
  using V = element_t<D>;
  constexpr Config c{.experts = 1, .top_k = 1, .hidden = 3, .ffn = 1, .dtype = D, .weights = D, .router = {.input = RouterInput::given}, .expert = {.act = Act::relu}};
  auto const most = static_cast<float>(Maker::most(D));
  auto const list = [](std::initializer_list<float> v) {
    std::vector<V> to;
    for (float f : v) to.push_back(from_float<V>(f));
    return to;
  };
  std::vector<V> const up = list({1, 0, 0}), down = list({1, 2, -2}), x = list({most, 0, 0, 8, 0, 0});
  Weights<c> raw{};
  raw.up[0].data = up.data(), raw.down[0].data = down.data();
  auto const packed = pack(Host{.threads = 1}, raw);
  Layer<c, Host> const layer{packed.view()};
  std::int32_t expert[]{0, 0};
  float weight[]{1, 1};
  for (Isa isa : cases::paths()) {
    CAPTURE(name(D));
    CAPTURE(name(isa));
    Host const on{.threads = 1, .isa = isa};
    std::vector<V> y(6, from_float<V>(-7));
    std::vector<std::byte> workspace(layer.workspace_bytes(on, 2));
    layer.forward(on, Inputs<c>{.x = {x.data(), 2}, .routing = {.expert = {expert, 2}, .weight = {weight, 2}}}, Rows<V, 3>{y.data(), 2}, workspace);
    float const want[]{most, INFINITY, -INFINITY, 8, 16, -16};
    for (std::size_t i = 0; i < 6; ++i) CHECK(to_float(y[i]) == want[i]);
  }
}
}

TEST_SUITE("layer") {
  TEST_CASE("edges: 1 expert, a width of 33") { edges<one_expert>(); }
  TEST_CASE("edges: 2 experts, 1 hidden value, capacity") { edges<two_experts>(); }
  TEST_CASE("edges: every one of 3 experts, a width of 3, a shared expert") { edges<every_expert>(); }
  TEST_CASE("edges: 65 experts, sums in bf16") { edges<odd_experts>(); }
  TEST_CASE("edges: 200 latent experts with biases") { edges<latent_experts>(); }
  TEST_CASE("edges: 32 of 4096 experts, a width of 1") { edges<many_experts>(); }
  TEST_CASE("edges: no tokens, on every stage: outputs stay as they are, begin is all zero") {
    nobody<one_expert>(), nobody<two_experts>(), nobody<every_expert>(), nobody<odd_experts>(), nobody<latent_experts>(), nobody<many_experts>();
  }
  TEST_CASE("edges: the largest numbers stay, twice as much is infinity, in every type") { overflow<DType::fp32>(), overflow<DType::bf16>(), overflow<DType::fp16>(); }
}

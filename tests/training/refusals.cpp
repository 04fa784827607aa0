// What training refuses: memory that is not what forward() left, inputs that are missing, places that overlap.
#include <doctest/doctest.h>
#include <coterie/training.hpp>
#include <algorithm>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace {

using namespace coterie;

constexpr std::int64_t T = 4;
constexpr Config with(RouterInput input) {
  Config c{.experts = 4, .top_k = 2, .hidden = 16, .ffn = 16, .dtype = DType::fp32, .weights = DType::fp32};
  c.router.weights = DType::fp32, c.router.input = input;
  if (input == RouterInput::token_ids) c.router.select = Select::table;
  return c;
}

// A layer of zeros, its inputs, and a cache that its forward pass left.
template <Config C> struct Trained {
  static constexpr Config config = C;
  static constexpr int H = C.hidden, N = logit_columns(C);
  Host on{.threads = 1};
  std::vector<float> zeros, x, other, logits, weight, dy, dx, y;
  std::vector<std::int32_t> expert, ids, table;
  std::unique_ptr<Gradients<C>> to = std::make_unique<Gradients<C>>();
  Packed<config, Host> packed;
  Inputs<config> in{};
  std::vector<std::byte> cache, workspace;

  explicit Trained(std::vector<std::int32_t> rows = {0, 0}) : zeros(C.hidden * 64), x(T * H), other(T * H), logits(T * N), weight(T * 2, 0.5f), dy(T * H), dx(T * H), y(T * H), expert(T * 2, 1), ids(T), table(std::move(rows)), packed(make()) {
    in.x = {x.data(), T};
    if constexpr (C.router.input == RouterInput::separate) in.router_x = {other.data(), T};
    if constexpr (C.router.input == RouterInput::logits) in.logits = {logits.data(), T};
    if constexpr (C.router.input == RouterInput::given) in.routing.expert = {expert.data(), T}, in.routing.weight = {weight.data(), T};
    if constexpr (C.router.select == Select::table) in.token_ids = ids.data();
    cache.resize(layer().cache_bytes(on, T)), workspace.resize(layer().training_workspace_bytes(on, T));
    layer().forward(on, in, Rows<float, H>{y.data(), T}, cache, workspace);
  }
  Layer<config, Host> layer() const { return Layer<config, Host>{packed.view()}; }
  void forward() { layer().forward(on, in, Rows<float, H>{y.data(), T}, cache, workspace); }
  void backward(Rows<float const, N> dlogits = {}) { backward(dx.data(), cache, dlogits); }
  void backward(float* to_dx, std::span<std::byte const> from, Rows<float const, N> dlogits = {}) {
    layer().backward(on, in, from, Rows<float const, H>{dy.data(), T}, Rows<float, H>{to_dx, T}, *to, workspace, dlogits);
  }

 private:
  Packed<config, Host> make() {
    auto const raw = std::make_unique<Weights<C>>();
    raw->router.data = zeros.data();
    for (std::size_t e = 0; e < C.experts; ++e) raw->gate[e].data = raw->up[e].data = raw->down[e].data = zeros.data();
    if constexpr (C.router.select == Select::table) raw->table = {table.data(), static_cast<std::int64_t>(table.size()) / 2};
    return pack(on, *raw);
  }
};

void refused(auto const& call, char const* sentence) { CHECK_THROWS_WITH_AS(call(), doctest::Contains(sentence), Error); }

}

TEST_CASE("a cache is what forward left, for the same tokens, where it left it") {
  Trained<with(RouterInput::hidden)> t;
  t.backward();
  std::vector<std::byte> const never(t.cache.size(), std::byte{0x7f});
  std::vector<float> kept_as_it_was(1000, 42);
  t.to->router = kept_as_it_was.data(), t.to->overwrite = 1;
  refused([&] { t.backward(t.dx.data(), never); }, "Layer::backward: cache must hold what forward() left, at the same address: got 0, want 1");
  CHECK(kept_as_it_was[0] == 42);                                                 // nothing is lost by a call that is refused
  t.to->router = nullptr, t.to->overwrite = 0;
  std::vector<std::byte> moved(t.cache.size() + 320);
  auto const aside = [&](std::uintptr_t by) { return std::span<std::byte>{moved}.subspan((reinterpret_cast<std::uintptr_t>(t.cache.data()) + by - reinterpret_cast<std::uintptr_t>(moved.data())) % 256, t.cache.size()); };
  std::ranges::copy(t.cache, aside(64).data());
  refused([&] { t.backward(t.dx.data(), aside(64)); }, "at the same address");
  std::ranges::copy(t.cache, aside(0).data());
  t.backward(t.dx.data(), aside(0));                                     // an address like it will do
  constexpr Config wider{.experts = 5, .top_k = 2, .hidden = 16, .ffn = 16, .dtype = DType::fp32, .weights = DType::fp32, .router = {.weights = DType::fp32}};
  std::vector<std::byte> weights(Packer<wider, Host>::bytes() + 64), place(1 << 16), scratch(1 << 20);
  auto* const aligned = weights.data() + (64 - reinterpret_cast<std::uintptr_t>(weights.data()) % 64) % 64;
  Layer<wider, Host> const other{PackedView<wider, Host>{.data = aligned}};
  std::ranges::copy(t.cache, place.data() + (reinterpret_cast<std::uintptr_t>(t.cache.data()) - reinterpret_cast<std::uintptr_t>(place.data())) % 256);
  refused([&] {
    auto const to = std::make_unique<Gradients<wider>>();
    other.backward(t.on, {.x = t.in.x}, std::span{place}.subspan((reinterpret_cast<std::uintptr_t>(t.cache.data()) - reinterpret_cast<std::uintptr_t>(place.data())) % 256),
                   Rows<float const, 16>{t.dy.data(), T}, Rows<float, 16>{t.dx.data(), T}, *to, scratch);
  }, "cache must hold what forward() left");
  t.in.x.rows = 3;
  refused([&] { t.layer().backward(t.on, t.in, t.cache, Rows<float const, 16>{t.dy.data(), 3}, Rows<float, 16>{t.dx.data(), 3}, *t.to, t.workspace); }, "cache is of another number of tokens: got 4, want 3");
  t.in.x.rows = T;
  refused([&] {
    Layer<decltype(t)::config, Host> const remade{t.packed.view(), {}, {.recompute = 1}};
    std::vector<std::byte> room(remade.training_workspace_bytes(t.on, T));
    remade.backward(t.on, t.in, t.cache, Rows<float const, 16>{t.dy.data(), T}, Rows<float, 16>{t.dx.data(), T}, *t.to, room);
  }, "cache is of other TrainingOptions");
  Trained<with(RouterInput::given)> g;                                   // a pass that fails on its way leaves no cache
  g.expert[0] = 99;
  refused([&] { g.forward(); }, "out of range: got 99");
  g.expert[0] = 1;
  refused([&] { g.backward(); }, "cache must hold what forward() left");
}

TEST_CASE("token ids, or choices to replay, are those of the forward pass, and others are refused before a gradient is written") {
  Trained<with(RouterInput::token_ids)> t;       // a table of one row
  std::vector<float> kept_as_it_was(16 * 16, 42);
  t.to->up[0].data = kept_as_it_was.data(), t.to->overwrite = 1;
  t.ids[3] = 1;
  refused([&] { t.backward(); }, "Layer::backward: a token id must be in the table: got 1, want 0");
  t.in.token_ids = nullptr;
  refused([&] { t.backward(); }, "Layer::backward: Select::table needs Inputs::token_ids, or Inputs::routing to replay");
  std::vector<std::int32_t> replayed(2 * T);
  t.in.routing.expert = {replayed.data(), 3};
  refused([&] { t.backward(); }, "Layer::backward: Inputs::routing must have as many rows as x: got 3, want 4");
  t.in.routing.expert.rows = T, replayed[5] = 1;
  refused([&] { t.backward(); }, "Layer::backward: Inputs::routing must be that of forward(): a choice: got 1, want 0");
  CHECK(kept_as_it_was[0] == 42);
  replayed[5] = 0;
  t.backward();                                  // the same choices by another way will do
  CHECK(kept_as_it_was[0] == 0);
  Trained<with(RouterInput::token_ids)> other{{0, 1, 2, 3}};             // two rows: ids that are in the table, but others
  other.to->up[0].data = kept_as_it_was.data(), kept_as_it_was[0] = 42, other.to->overwrite = 1;
  other.ids[2] = 1;
  refused([&] { other.backward(); }, "Layer::backward: Inputs::token_ids must be those of forward(): an expert that the table names: got 2, want 0");
  CHECK(kept_as_it_was[0] == 42);
}

TEST_CASE("what the router read must be there and apart") {
  Trained<with(RouterInput::separate)> s;
  s.backward();
  refused([&] { s.backward(s.other.data(), s.cache); }, "dx must not overlap Inputs::router_x");
  s.in.router_x.rows = 3;
  refused([&] { s.backward(); }, "Layer::backward: RouterInput::separate needs Inputs::router_x with as many rows as x: got 3, want 4");
  Trained<with(RouterInput::given)> g;
  g.backward();
  g.in.routing.weight = {};
  refused([&] { g.backward(); }, "RouterInput::given needs Inputs::routing");
}

TEST_CASE("gradients of logits need logits, rows of their own, and a place of their own") {
  Trained<with(RouterInput::hidden)> t;
  t.backward({t.logits.data(), T});
  refused([&] { t.backward({t.logits.data(), 3}); }, "dlogits must have as many rows as x: got 3, want 4");
  refused([&] { t.backward({t.logits.data(), T, 3}); }, "dlogits's row stride must be at least its columns: got 3, want 4");
  refused([&] { t.backward({t.dx.data(), T}); }, "dlogits");
  refused([&] { t.layer().backward(t.on, t.in, t.cache, Rows<float const, 16>{t.dy.data(), T}, Rows<float, 16>{t.dx.data(), T}, *t.to, t.workspace, {}, {t.logits.data(), T}); },
          "dnoise_logits: only Noise::softplus with a seed has logits of noise");
  Trained<with(RouterInput::token_ids)> ids;
  ids.backward();
  refused([&] { ids.backward({ids.logits.data(), T}); }, "dlogits: a router without logits takes no gradient of them");
}

TEST_CASE("gradients go to aligned places apart from the call's own memory") {
  Trained<with(RouterInput::hidden)> t;
  std::vector<float> place(2000);
  t.to->router = t.dx.data();
  refused([&] { t.backward(); }, "Gradients::router must not overlap dx");
  t.to->router = place.data();
  t.to->down[3].data = reinterpret_cast<float*>(t.workspace.data());
  refused([&] { t.backward(); }, "Gradients::down must not overlap workspace");
  t.to->down[3].data = reinterpret_cast<float*>(reinterpret_cast<std::byte*>(place.data()) + 1);
  refused([&] { t.backward(); }, "Gradients::down must be aligned to its elements: got 1, want 0");
  t.to->down[3] = {place.data(), 0};
  refused([&] { t.backward(); }, "strides must be positive");
  t.to->down[3] = {place.data() + 100, 1, 1};
  refused([&] { t.backward(); }, "a matrix's elements must not overlap: the larger stride: got 1, want 16");
  t.to->down[3] = {place.data() + 100, std::numeric_limits<std::int64_t>::max() / 4, 1};
  refused([&] { t.backward(); }, "strides reach beyond any memory");
  t.to->down[3] = {place.data() + 100, 1, 16};                           // transposed
  t.backward();
}

// Gradients that a call would overwrite, each 42.
template <Config C> struct Overwritten {
  std::vector<float> memory = std::vector<float>(C.experts * 6 * C.hidden * C.ffn, 42);
  std::unique_ptr<Gradients<C>> to = std::make_unique<Gradients<C>>();

  Overwritten() {
    float* at = memory.data();
    auto const next = [&](std::int64_t n) { return std::exchange(at, at + n); };
    constexpr std::int64_t matrix = C.hidden * C.ffn;
    to->overwrite = 1;
    to->router = next(C.experts * C.hidden), to->router_bias = next(C.experts), to->expert_scale = next(C.experts), to->router_scale = next(1);
    for (std::size_t e = 0; e < C.experts; ++e) {
      to->gate[e].data = next(matrix), to->up[e].data = next(matrix), to->down[e].data = next(matrix);
      if constexpr (C.expert.bias) to->up_bias[e] = next(C.ffn), to->down_bias[e] = next(C.hidden);
    }
    if constexpr (C.shared.ffn > 0) to->shared.gate.data = next(matrix), to->shared.up.data = next(matrix), to->shared.down.data = next(matrix);
  }
  bool untouched() const { return std::ranges::all_of(memory, [](float v) { return v == 42; }); }
};
TEST_CASE("stages alone that refuse leave what they would overwrite as it was") {
  constexpr Config c = [] {
    Config c = with(RouterInput::token_ids);     // without gates, whose gradients are cleared, and with experts without rows
    c.expert.act = Act::relu2, c.expert.bias = 1, c.shared = {.ffn = 16, .weights = DType::fp32}, c.router.expert_scale = 1;
    return c;
  }();
  Overwritten<c> g;
  Host const on{.threads = 1};
  std::vector<float> const zeros(1000);
  auto const raw = std::make_unique<Weights<c>>();
  std::vector<std::int32_t> const table{0, 1};
  raw->table = {table.data(), 1}, raw->expert_scale = zeros.data(), raw->shared.up.data = raw->shared.down.data = zeros.data();
  for (std::size_t e = 0; e < c.experts; ++e) raw->up[e].data = raw->down[e].data = raw->up_bias[e] = raw->down_bias[e] = zeros.data();
  auto const packed = pack(on, *raw);
  std::vector<float> x(T * 16), dx(2 * T * 16), weight(2 * T), pre(1000);
  std::vector<std::int32_t> begin{0, T, 2 * T, 2 * T, 2 * T}, token{0, 1, 2, 3, 0, 1, 2, 3}, expert{0, 1, 0, 1, 0, 1, 0, 1}, ids{0, 0, 0, 1};
  std::vector<std::byte> scratch(1 << 20);
  Batch<c> const batch{.begin = begin.data(), .token = token.data(), .weight = weight.data()};
  Routing<c> const routing{.expert = {expert.data(), T}, .weight = {weight.data(), T}};
  Inputs<c> in{.x = {x.data(), T}, .token_ids = ids.data()};
  Rows<float const, 16> const dy{zeros.data(), T};
  refused([&] { ExpertsBackward<c, Host>{}(on, in.x, packed.view(), batch, pre.data(), dy, {dx.data(), 2 * T}, dx.data(), *g.to, scratch); }, "ExpertsBackward: dweight must not overlap dx");
  refused([&] { SharedBackward<c, Host>{}(on, in, packed.view(), routing, pre.data(), dy, nullptr, {dx.data(), T}, nullptr, nullptr, *g.to, std::span{scratch}.first(1)); }, "SharedBackward: scratch is too small");
  refused([&] { RouterBackward<c, Host>{}(on, in, packed.view(), routing, {}, {.weight = {weight.data(), T}}, nullptr, nullptr, *g.to, scratch); }, "token id out of the table: got 1");
  CHECK(g.untouched());
  ids[3] = 0;                                    // and what does not refuse overwrites
  RouterBackward<c, Host>{}(on, in, packed.view(), routing, {}, {.weight = {weight.data(), T}}, nullptr, nullptr, *g.to, scratch);
  ExpertsBackward<c, Host>{}(on, in.x, packed.view(), batch, pre.data(), dy, {dx.data(), 2 * T}, nullptr, *g.to, scratch);
  SharedBackward<c, Host>{}(on, in, packed.view(), routing, pre.data(), dy, nullptr, {dx.data(), T}, nullptr, nullptr, *g.to, scratch);
  for (float const* one : {g.to->router, g.to->expert_scale, g.to->up_bias[0], g.to->down_bias[3], g.to->gate[0].data, g.to->up[3].data, g.to->shared.gate.data, g.to->shared.up.data}) CHECK(*one == 0);
}

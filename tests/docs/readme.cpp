// The code of README.md and docs/*.md, compiled and run. tests/docs/snippets.cpp checks that the documents quote it.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <vector>

namespace readme {
namespace ct = coterie;

constexpr ct::Config mini{.experts = 8, .top_k = 2, .hidden = 256, .ffn = 512};   // the rest has Mixtral's meaning

std::vector<ct::bf16> run_layer(ct::Weights<mini> const& weights, std::vector<ct::bf16> const& x, std::int64_t tokens) {
  ct::Host on;                                                  // every processor; made once, shared by all layers
  auto const packed = ct::pack(on, weights);                    // or a Packer: expert by expert, never two copies
  ct::Layer<mini, ct::Host> layer{packed.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
  std::vector<ct::bf16> y(x.size());
  layer.forward(on, ct::rows<256>(x.data(), tokens), ct::rows<256>(y.data(), tokens), workspace);
  return y;
}
}

namespace own_router {
namespace ct = coterie;
constexpr ct::Config mini{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 64};

// A router of one's own: any callable with this signature.
template <ct::Config C>
struct RoundRobin {
  void operator()(ct::Host const&, ct::Inputs<C> const& in, ct::PackedView<C, ct::Host>, ct::Routing<C> const& to, std::span<std::byte>) const {
    for (std::int64_t t = 0; t < in.x.rows; ++t)
      for (int k = 0; k < C.top_k; ++k) {
        to.expert[t][k] = static_cast<int>((t + k) % C.experts);
        to.weight[t][k] = 1.f / C.top_k;
      }
  }
};
// A bundle that hides one stage and inherits the others.
template <ct::Config C>
struct Even : ct::Stages<C, ct::Host> {
  [[no_unique_address]] RoundRobin<C> router;
};
using EvenLayer = ct::Layer<mini, ct::Host, Even<mini>>;

// The caller's logits, or the caller's whole decision, without a stage.
constexpr ct::Config from_logits{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 64, .router = {.input = ct::RouterInput::logits}};
constexpr ct::Config from_routing{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 64, .router = {.input = ct::RouterInput::given}};
}

namespace {
struct Made {
  std::vector<coterie::bf16> store;
  template <coterie::Config C> coterie::Weights<C> weights() {
    constexpr std::size_t n = std::size_t{C.hidden} * C.ffn;
    store.resize(n * 3 * C.experts + std::size_t{C.hidden} * C.experts);
    std::uint32_t state = 3;
    for (auto& v : store) {
      state = state * 1664525u + 1013904223u;
      v = coterie::from_float<coterie::bf16>((static_cast<float>(state >> 8) * 0x1p-23f - 1) / std::sqrt(static_cast<float>(C.hidden)));
    }
    coterie::Weights<C> w{};
    w.router = {&store[n * 3 * C.experts]};
    for (std::size_t e = 0; e < C.experts; ++e) w.gate[e] = {&store[3 * e * n]}, w.up[e] = {&store[(3 * e + 1) * n]}, w.down[e] = {&store[(3 * e + 2) * n]};
    return w;
  }
};
std::vector<coterie::bf16> tokens_of(std::int64_t tokens, int hidden) {
  std::vector<coterie::bf16> x(static_cast<std::size_t>(tokens * hidden));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = coterie::from_float<coterie::bf16>(std::sin(static_cast<float>(i)));
  return x;
}
}

TEST_SUITE("docs") {
  TEST_CASE("the README's lines run a layer") {
    Made made;
    auto const weights = made.weights<readme::mini>();
    auto const y = readme::run_layer(weights, tokens_of(5, 256), 5);
    float most = 0;
    for (auto v : y) most = std::fmax(most, std::fabs(coterie::to_float(v)));
    CHECK(most > 0.01f);
  }
  TEST_CASE("three ways to bring a router agree when they decide the same") {
    namespace ct = coterie;
    Made made;
    auto const x = tokens_of(9, 64);
    ct::Host const on{.threads = 2};
    auto const run = [&]<ct::Config C, class Bundle>(ct::Inputs<C> const& more) {
      auto const packed = ct::pack(on, made.weights<C>());
      ct::Layer<C, ct::Host, Bundle> layer{packed.view()};
      std::vector<std::byte> workspace(layer.workspace_bytes(on, 9));
      std::vector<ct::bf16> y(x.size());
      ct::Inputs<C> in = more;
      in.x = ct::rows<64>(x.data(), 9);
      layer.forward(on, in, ct::rows<64>(y.data(), 9), workspace);
      std::vector<std::uint16_t> bits;
      for (auto v : y) bits.push_back(v.bits);
      return bits;
    };
    std::vector<std::int32_t> expert;
    std::vector<float> weight(18, 0.5f), logits(72, -1e30f);
    for (int t = 0; t < 9; ++t)
      for (int k = 0; k < 2; ++k) expert.push_back((t + k) % 8), logits[static_cast<std::size_t>(t * 8 + (t + k) % 8)] = 1;
    auto const stage = run.operator()<own_router::mini, own_router::Even<own_router::mini>>({});
    auto const given = run.operator()<own_router::from_routing, void>({.routing = {.expert = ct::rows<2>(expert.data(), 9), .weight = ct::rows<2>(weight.data(), 9)}});
    auto const scored = run.operator()<own_router::from_logits, void>({.logits = ct::rows<8>(static_cast<float const*>(logits.data()), 9)});
    CHECK(stage == given);
    std::size_t near = 0;                                        // the same two experts, in the order of their index
    for (std::size_t i = 0; i < given.size(); ++i) near += std::abs(int{given[i]} - int{scored[i]}) <= 1;
    CHECK(near > given.size() * 9 / 10);
  }
}

// The four verbs called by hand, and a layer with a router of the user's own.
#include "filled.hpp"
#include <cstdio>

constexpr ct::Config mini{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 96};

// Token t goes to experts t, t + 1, …; every weight is 1/K.
template <ct::Config C> struct TakeTurns {
  static constexpr ct::Config config = C;
  template <class B>
  void operator()(B const&, ct::Inputs<config> const& in, ct::PackedView<config, B>, ct::Routing<config> const& to, std::span<std::byte>) const {
    for (std::int64_t t = 0; t < in.x.rows; ++t)
      for (int k = 0; k < C.top_k; ++k) {
        to.expert[t][k] = static_cast<std::int32_t>((t + k) % C.experts);
        to.weight[t][k] = 1.f / C.top_k;
      }
  }
};
template <ct::Config C> struct Even : ct::Stages<C, ct::Host> {
  static constexpr ct::Config config = C;
  [[no_unique_address]] TakeTurns<config> router;
};

// Routes, dispatches, computes and combines by hand.
template <ct::Config C> struct ByHand {
  static constexpr ct::Config config = C;
  std::int64_t tokens;
  std::vector<std::int32_t> expert, begin, token, slot;
  std::vector<float> weight, row_weight;
  std::vector<ct::bf16> out, y;
  explicit ByHand(std::int64_t n) : tokens(n), begin(C.experts + 1) {
    auto const choices = static_cast<std::size_t>(n * ct::slots(C));
    expert.resize(choices), token.resize(choices), slot.resize(choices), weight.resize(choices), row_weight.resize(choices);
    out.resize(choices * static_cast<std::size_t>(ct::width(C))), y.resize(static_cast<std::size_t>(n * C.hidden));
  }
  template <class Router> void run(ct::Host const& on, Router const& router, ct::Inputs<config> const& in, ct::PackedView<config, ct::Host> packed) {
    ct::Routing<config> const routing{.expert = {expert.data(), tokens}, .weight = {weight.data(), tokens}};
    ct::Batch<config> const batch{.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), tokens}};
    ct::Rows<ct::bf16, ct::width(C)> const rows{out.data(), tokens * ct::slots(C)};
    ct::Dispatch<config, ct::Host> const dispatch;
    ct::Experts<config, ct::Host> const experts;
    ct::Combine<config, ct::Host> const combine;
    static_assert(ct::Router<config, ct::Host>::enqueues_only && ct::Dispatch<config, ct::Host>::enqueues_only &&
                  ct::Experts<config, ct::Host>::enqueues_only && ct::Combine<config, ct::Host>::enqueues_only);
    std::vector<std::byte> scratch;
    auto const room = [&](auto const& stage) -> std::span<std::byte> {
      if constexpr (requires { stage.workspace_bytes(on, tokens); }) scratch.resize(stage.workspace_bytes(on, tokens));
      return scratch;
    };
    router(on, in, packed, routing, room(router));
    dispatch(on, in, routing, batch, room(dispatch));
    experts(on, in.x, packed, batch, rows, room(experts));
    combine(on, in, packed, routing, batch, rows, {}, {y.data(), tokens}, room(combine));
  }
};

int main() {
  constexpr std::int64_t tokens = 9;
  Filled<mini> const filled;
  std::vector<ct::bf16> const in = activations(tokens * 64);
  ct::Inputs<mini> const inputs{.x = {in.data(), tokens}};
  ct::Host const on{.threads = 2};
  auto const packed = ct::pack(on, filled.raw);
  int failures = 0;
  auto const check = [&](auto const& layer, auto const& router, char const* what) {
    std::vector<ct::bf16> y(tokens * 64);
    std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
    layer.forward(on, inputs, ct::rows<64>(y.data(), tokens), workspace);
    ByHand<mini> hand{tokens};
    hand.run(on, router, inputs, packed.view());
    bool ok = same(hand.y, y) && hand.begin[0] == 0 && hand.begin[mini.experts] == tokens * mini.top_k;
    if (!ok) std::printf("stages: %s: by hand and by the layer differ\n", what), ++failures;
    return y;
  };
  auto const learned = check(ct::Layer<mini, ct::Host>{packed.view()}, ct::Router<mini, ct::Host>{}, "the library's router");
  auto const even = check(ct::Layer<mini, ct::Host, Even<mini>>{packed.view()}, TakeTurns<mini>{}, "a router of one's own");
  if (same(learned, even)) std::puts("stages: the swapped router was not used"), ++failures;
  static_assert(sizeof(ct::Layer<mini, ct::Host, Even<mini>>) == sizeof(ct::Layer<mini, ct::Host>), "stages of one's own take no room");
  std::printf("stages: %d failures\n", failures);
  return failures != 0;
}

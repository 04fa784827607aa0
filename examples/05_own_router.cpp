// Three ways to bring a router of your own: its logits, its choices, or a stage in the layer's place.
#include "terminal.hpp"
#include <cctype>
#include <cmath>
#include <cstring>

namespace {

namespace ct = coterie;
// Four experts, two per token, all in fp32; the routers below differ in where the routing comes from.
constexpr ct::Config with(ct::RouterInput from, int top_k) {
  return {.experts = 4, .top_k = top_k, .hidden = 64, .ffn = 96, .dtype = ct::DType::fp32, .weights = ct::DType::fp32, .router = {.input = from, .weights = ct::DType::fp32}};
}
constexpr int H = 64, E = 4;
template <ct::Config C, class Bundle = void>
std::vector<float> forward(ct::Host const& on, ct::Layer<C, ct::Host, Bundle> const& layer, ct::Inputs<C> const& in) {
  std::vector<float> y(static_cast<std::size_t>(in.x.rows) * H);                               // [T,H]
  std::vector<std::byte> workspace(layer.workspace_bytes(on, in.x.rows));
  layer.forward(on, in, ct::rows<H>(y.data(), in.x.rows), workspace);
  return y;
}

// 1. Your logits, the library's routing: here from a router that is a small network, as ZAYA1's.
std::vector<float> from_logits(ct::Host const& on, ct::Rows<float const, H> x) {
  constexpr ct::Config C = with(ct::RouterInput::logits, 2);
  auto const w1 = example::random_values<float>(on, 16 * H, 1, 0.2f), w2 = example::random_values<float>(on, E * 16, 2, 0.5f);
  std::vector<float> logits(static_cast<std::size_t>(x.rows) * E);                             // [T,E]
  for (std::int64_t t = 0; t < x.rows; ++t)
    for (int j = 0; j < 16; ++j) {
      float hidden = 0;
      for (int h = 0; h < H; ++h) hidden += w1[std::size_t(j * H + h)] * x[t][h];
      for (int e = 0; e < E; ++e) logits[std::size_t(t * E + e)] += w2[std::size_t(e * 16 + j)] * std::max(0.f, hidden);
    }
  auto const packed = example::random_layer<C>(on, 5, [](int) {});
  return forward<C>(on, ct::Layer<C, ct::Host>{packed.view()}, {.x = x, .logits = ct::rows<E>(static_cast<float const*>(logits.data()), x.rows)});
}

// 2. Your choices and weights: here the expert of a token's position, and its neighbour for a quarter.
std::vector<float> from_choices(ct::Host const& on, ct::Rows<float const, H> x) {
  constexpr ct::Config C = with(ct::RouterInput::given, 2);
  std::vector<std::int32_t> expert;                                                            // [T,K]
  std::vector<float> weight;                                                                   // [T,K]
  for (int t = 0; t < x.rows; ++t)
    for (int k = 0; k < 2; ++k) expert.push_back((t + k) % E), weight.push_back(k ? 0.25f : 0.75f);
  auto const packed = example::random_layer<C>(on, 5, [](int) {});
  return forward<C>(on, ct::Layer<C, ct::Host>{packed.view()}, {.x = x, .routing = {.expert = {expert.data(), x.rows}, .weight = {weight.data(), x.rows}}});
}

// 3. A stage of your own: a bigram model guesses the next character, whose class names the expert.
struct Bigram {
  char next[128]{};                                                                            // after this character mostly that one
  explicit Bigram(std::string const& text) {
    std::vector<std::vector<int>> count(128, std::vector<int>(128));
    for (std::size_t i = 1; i < text.size(); ++i) {
      auto const a = std::size_t(text[i - 1] & 127), b = std::size_t(text[i] & 127);
      if (++count[a][b] > count[a][std::size_t(next[a])]) next[a] = char(b);
    }
  }
  // 0 vowel, 1 consonant, 2 space, 3 the rest.
  int kind(int token) const {
    char const c = next[token & 127];
    return c && std::strchr("aeiouAEIOU", c) ? 0 : std::isalpha(c) ? 1 : c == ' ' ? 2 : 3;
  }
  template <ct::Config C>
  void operator()(ct::Host const&, ct::Inputs<C> const& in, ct::PackedView<C, ct::Host>, ct::Routing<C> const& routing, std::span<std::byte>) const {
    for (std::int64_t t = 0; t < in.x.rows; ++t) routing.expert[t][0] = kind(in.token_ids[t]), routing.weight[t][0] = 1;
  }
};
template <ct::Config C> struct BigramStages : ct::Stages<C, ct::Host> { Bigram router; };
std::vector<float> from_language(ct::Host const& on, ct::Rows<float const, H> x, std::string const& text) {
  constexpr ct::Config C = with(ct::RouterInput::given, 1);
  Bigram const bigram{text};
  std::vector<std::int32_t> ids(text.begin(), text.end()), expert;
  for (std::int32_t const id : ids) expert.push_back(bigram.kind(id));
  example::print_choices(text.substr(0, 64), expert.data(), 1);
  auto const packed = example::random_layer<C>(on, 5, [](int) {});
  ct::Layer<C, ct::Host, BigramStages<C>> const layer{packed.view(), {{}, bigram}};
  auto const y = forward<C, BigramStages<C>>(on, layer, {.x = x, .token_ids = ids.data()});
  std::vector<float> one(expert.size(), 1.f);                                                   // the same choices, given: the same bits
  bool const same = y == forward<C>(on, ct::Layer<C, ct::Host>{packed.view()}, {.x = x, .routing = {.expert = {expert.data(), x.rows}, .weight = {one.data(), x.rows}}});
  return ct::require(same, "a stage that routes, against its choices given: same", same, 1), y;
}
}

int main() {
  ct::Host const on{.threads = 0};
  std::string text;
  if (!std::getline(std::ifstream(example::root() / "tests/golden/text.txt"), text)) return std::fprintf(stderr, "05_own_router: no tests/golden/text.txt\n"), 1;
  auto const hidden = example::random_values<float>(on, std::int64_t(text.size()) * H, 99, 1.7f);
  auto const x = ct::rows<H>(hidden.data(), std::int64_t(text.size()));                        // [T,H]
  auto const say = [](char const* what, std::vector<float> const& y) {
    float const square = std::inner_product(y.begin(), y.end(), y.begin(), 0.f);
    std::printf("  %-34s root mean square of the output %.3f\n", what, double(std::sqrt(square / float(y.size()))));
  };
  say("1. logits of a small network", from_logits(on, x));
  say("2. experts by position", from_choices(on, x));
  std::puts("  3. a bigram model routes: 0 vowel, 1 consonant, 2 space, 3 other comes next");
  say("", from_language(on, x, text));
}

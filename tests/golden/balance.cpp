// Balance losses and biases against their originals' formulas in torch, gradients by its autograd (balance.py).
#include <coterie/balance.hpp>
#include <coterie/io/read.hpp>
#include <doctest/doctest.h>
#include <cmath>
#include <cstdio>
#include <vector>

namespace {
using namespace coterie;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

constexpr Config noisy{.experts = 10, .top_k = 3, .hidden = 4, .ffn = 4,
                       .router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none, .noise = Noise::softplus, .noise_size = 0.01f}};
constexpr Config by_bias{.experts = 10, .top_k = 3, .hidden = 4, .ffn = 4, .router = {.score = Score::sigmoid, .select_bias = 1}};
constexpr std::int64_t T = 26, E = noisy.experts, K = noisy.top_k;

TEST_CASE("golden balance losses and biases") {
  ShardedSafetensors const file{COTERIE_TESTS_DIR "/golden/balance.safetensors"};
  auto const floats = [&](std::string const& name) { return io::read_all_as<float>(file, file.at(name), Where::here()); };
  Floats logits = floats("logits"), noise = floats("noise_logits"), drawn = floats("noisy"), weight = floats("weight");
  std::vector<std::int32_t> expert(T * K);
  file.read(file.at("index"), std::as_writable_bytes(std::span(expert)));

  // Both sides compute in double from the same floats, and round a gradient to fp32 once: half a unit of it each.
  double worst = 0;
  auto const compare = [&](std::string const& name, Doubles const& got) {
    CAPTURE(name);
    Floats const want = floats(name);
    REQUIRE(got.size() == want.size());
    double largest = 0;
    for (float v : want) largest = std::fmax(largest, std::fabs(double{v}));
    for (std::size_t i = 0; i < want.size(); ++i) {
      double const bound = 0x1p-23 * std::fabs(double{want[i]}) + 1e-12 * largest, error = std::fabs(got[i] - double{want[i]});
      CHECK(error <= bound);
      worst = std::fmax(worst, error / bound);
    }
  };
  std::int64_t sequence = 0;
  auto const loss = [&](std::string const& word, auto const& call) {
    Floats dlogits(T * E), dnoise(T * E), dweight(T * K);
    balance::Losses<noisy> const losses{.routing = {.expert = {expert.data(), T}, .weight = {weight.data(), T}, .logits = {logits.data(), T}}, .sequence = sequence};
    compare(word + ".value", {call(losses, rows<E>(dlogits.data(), T), rows<E>(dnoise.data(), T), rows<K>(dweight.data(), T))});
    for (auto const& [of, d] : {std::pair{".dlogits", &dlogits}, {".dnoise_logits", &dnoise}, {".dweight", &dweight}})
      if (file.find(word + of)) compare(word + of, {d->begin(), d->end()});
  };
  loss("batch_wise", [](auto const& l, auto dz, auto, auto) { return l.load(dz, 0, 1); });
  loss("entropy", [](auto const& l, auto dz, auto, auto) { return l.entropy(dz); });
  loss("mutual_information", [](auto const& l, auto dz, auto, auto) { return l.mutual_information(dz); });
  loss("importance", [](auto const& l, auto, auto, auto dw) { return l.importance(dw); });
  loss("smooth_load", [&](auto const& l, auto dz, auto dn, auto) {
    return l.smooth_load({.noise_logits = rows<E>(noise.data(), T), .noisy = rows<E>(drawn.data(), T)}, {.logits = dz, .noise_logits = dn});
  });
  sequence = T / 2;
  loss("sequence_wise", [](auto const& l, auto dz, auto, auto) { return l.sequence_wise(dz); });
  balance::Statistics const s = balance::statistics<noisy>({.expert = {expert.data(), T}});

  // The first choice of gates without noise.
  sequence = 0;
  for (std::int64_t t = 0; t < T; ++t) {
    std::uint64_t heap[K];
    route::top_k(&logits[static_cast<std::size_t>(t * E)], E, K, heap, &expert[static_cast<std::size_t>(t * K)]);
  }
  loss("gshard", [](auto const& l, auto dz, auto, auto) { return l.gshard(dz); });

  Floats bias = floats("bias");
  balance::update_bias(bias.data(), s.load);
  compare("bias.sign", {bias.begin(), bias.end()});
  double off = 0;                                // of sums in fp32 of scores that are ours: a few units of numbers below 2
  auto const near = [&](std::string const& name) {
    Floats const want = floats(name);
    for (std::size_t e = 0; e < want.size(); ++e) off = std::fmax(off, std::fabs(double{bias[e]} - double{want[e]}));
  };
  bias = floats("bias");
  balance::update_bias(bias.data(), s.load, {.centre = 1});
  near("bias.centred");
  bias = floats("bias");
  balance::quantile_bias<by_bias>(bias.data(), {.logits = {logits.data(), T}});
  near("bias.quantile");
  CHECK(off <= 0x1p-21);
  std::printf("golden balance: losses and gradients at most %.2f of what two roundings allow, biases within %.1e\n", worst, off);
}

}

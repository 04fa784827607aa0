// What a forward pass chose, read from its cache: the router's own choices, with all logits where they are wanted or kept anyway.
#include <doctest/doctest.h>
#include <coterie/training.hpp>
#include <algorithm>
#include <memory>
#include <vector>
#include "cases.hpp"

namespace {

using namespace coterie;

constexpr Config with(RouterConfig router) {
  router.weights = DType::fp32;
  return {.experts = 6, .top_k = 2, .hidden = 16, .ffn = 16, .dtype = DType::fp32, .weights = DType::fp32, .router = router};
}

template <Config C> void is_what_was_chosen() {
  constexpr std::int64_t tokens = 9, H = C.hidden, N = logit_columns(C), K = C.top_k;
  cases::Random random{8};
  std::vector<float> numbers(6 * 16 * 16), x(tokens * H), y(tokens * H), bias(N, 0.125f);
  for (std::vector<float>* all : {&numbers, &x})
    for (float& v : *all) v = static_cast<float>(random.normal());
  auto const raw = std::make_unique<Weights<C>>();
  raw->router.data = numbers.data(), raw->select_bias = bias.data();
  for (std::size_t e = 0; e < 6; ++e) raw->gate[e].data = raw->up[e].data = raw->down[e].data = numbers.data() + e * 256;
  Host const on{.threads = 2};
  auto const packed = pack(on, *raw);
  Inputs<C> const in{.x = {x.data(), tokens}};

  std::vector<std::int32_t> expert(tokens * K);
  std::vector<float> weight(tokens * K), logits(tokens * N);
  Routing<C> const want{.expert = {expert.data(), tokens}, .weight = {weight.data(), tokens}, .logits = {logits.data(), tokens}};
  std::vector<std::byte> scratch(Router<C, Host>{}.workspace_bytes(on, tokens));
  Router<C, Host>{}(on, in, packed.view(), want, scratch);
  for (TrainingOptions options : {TrainingOptions{}, TrainingOptions{.recompute = 1, .logits = 1}}) {
    Layer<C, Host> const layer{packed.view(), {}, options};
    std::vector<std::byte> cache(layer.cache_bytes(on, tokens)), workspace(layer.training_workspace_bytes(on, tokens));
    CHECK_THROWS_WITH_AS((void)layer.chosen(on, cache, tokens), doctest::Contains("Layer::chosen: cache must hold what forward() left"), Error);
    layer.forward(on, in, Rows<float, H>{y.data(), tokens}, cache, workspace);
    Chosen<C> const got = layer.chosen(on, cache, tokens);
    CHECK(std::equal(expert.begin(), expert.end(), got.routing.expert.data));
    CHECK(std::equal(weight.begin(), weight.end(), got.routing.weight.data));
    CHECK(got.batch.begin[6] == tokens * K);
    CHECK(std::all_of(got.batch.slot.data, got.batch.slot.data + tokens * K, [](std::int32_t r) { return r >= 0; }));
    bool const all = options.logits || training::unselected_count(C);
    CHECK((got.routing.logits.data != nullptr) == all);
    if (all) CHECK(std::equal(logits.begin(), logits.end(), got.routing.logits.data));
    CHECK_THROWS_WITH_AS((void)layer.chosen(on, std::span{cache}.first(cache.size() - 1), tokens), doctest::Contains("Layer::chosen: cache is too small"), Error);
    CHECK_THROWS_WITH_AS((void)layer.chosen(on, cache, tokens - 1), doctest::Contains("cache is of another number of tokens: got 9, want 8"), Error);
    CHECK(layer.chosen(on, {}, 0).routing.expert.rows == 0);
  }
}

}

TEST_SUITE("training") {
  TEST_CASE("what a forward pass chose can be read from its cache, with all logits where they are wanted") {
    is_what_was_chosen<with({})>();
    is_what_was_chosen<with({.score = Score::sigmoid, .select_bias = 1})>();
    is_what_was_chosen<with({.normalise = Normalise::none})>();
  }
}

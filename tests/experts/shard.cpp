// Views of some of the experts, and batches that do not fit the config.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <cstring>
#include <limits>
#include <utility>
#include <vector>

namespace {
using namespace coterie;
constexpr Config layer_config{.experts = 6, .top_k = 2, .hidden = 20, .ffn = 40, .dtype = DType::fp32, .weights = DType::fp32,
                              .router = {.weights = DType::fp32}, .expert = {.bias = 1}};

struct Made {
  std::vector<float> store;
  Weights<layer_config> weights{};
  Made() : store(6 * (3 * 800 + 100) + 120) {
    std::uint32_t state = 11;
    for (float& v : store) state = state * 1664525u + 1013904223u, v = static_cast<float>(state >> 8) * 0x1p-23f - 1;
    float* at = store.data();
    auto const next = [&at](int n) { return std::exchange(at, at + n); };
    weights.router = {next(120)};
    for (std::size_t e = 0; e < 6; ++e) {
      weights.gate[e] = {next(800)}, weights.up[e] = {next(800)}, weights.down[e] = {next(800)};
      weights.gate_bias[e] = next(40), weights.up_bias[e] = next(40), weights.down_bias[e] = next(20);
    }
  }
};
}

TEST_SUITE("experts") {
  TEST_CASE("a shard computes its rows, with its own weights and biases, and touches no others") {
    Made const made;
    Host const on{.threads = 2};
    auto const packed = pack(on, made.weights);
    constexpr std::int64_t tokens = 9, rows = 18;
    std::vector<float> x(tokens * 20);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) / 13 - 0.4f;
    std::vector<std::int32_t> expert(rows), begin(7), token(rows), slot(rows);
    std::vector<float> weight(rows), row_weight(rows);
    Routing<layer_config> const routing{.expert = {expert.data(), tokens}, .weight = {weight.data(), tokens}};
    Batch<layer_config> const batch{.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), tokens}};
    Stages<layer_config, Host> const stage{};
    std::vector<std::byte> scratch(stage.experts.workspace_bytes(on, tokens) + stage.router.workspace_bytes(on, tokens));
    Inputs<layer_config> const in{.x = {x.data(), tokens}};
    stage.router(on, in, packed.view(), routing, scratch);
    stage.dispatch(on, in, routing, batch, scratch);
    std::vector<float> whole(rows * 20, -7), parts(rows * 20, -7);
    stage.experts(on, in.x, packed.view(), batch, Rows<float, 20>{whole.data(), rows}, scratch);
    for (int first : {0, 2, 5}) {
      PackedView<layer_config, Host> shard = packed.view();
      shard.first_expert = first, shard.experts = first == 0 ? 2 : first == 2 ? 3 : 1;
      std::vector<float> const before = parts;
      stage.experts(on, in.x, shard, batch, Rows<float, 20>{parts.data(), rows}, scratch);
      for (int r = 0; r < rows; ++r)
        if (r < begin[static_cast<std::size_t>(first)] || r >= begin[static_cast<std::size_t>(first + shard.experts)])
          CHECK(std::memcmp(&before[static_cast<std::size_t>(r) * 20], &parts[static_cast<std::size_t>(r) * 20], 80) == 0);
      Layer<layer_config, Host> const layer{shard};
      std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
      std::vector<float> y(x.size());
      CHECK_THROWS_WITH_AS(layer.forward(on, in, Rows<float, 20>{y.data(), tokens}, workspace), doctest::Contains("a shard computes part of the rows only"), Error);
    }
    CHECK(parts == whole);
    PackedView<layer_config, Host> wrong = packed.view();
    wrong.experts = -5;
    CHECK_THROWS_AS(stage.experts(on, in.x, wrong, batch, Rows<float, 20>{whole.data(), rows}, scratch), Error);
    begin[6] = rows + 1;
    CHECK_THROWS_AS(stage.experts(on, in.x, packed.view(), batch, Rows<float, 20>{whole.data(), rows + 1}, scratch), Error);
  }
  TEST_CASE("a router of one's own that fills more rows than expert choice may have is refused before anything is written") {
    constexpr Config choice{.experts = 8, .top_k = 1, .hidden = 8, .ffn = 8, .router = {.select = Select::expert_choice, .normalise = Normalise::none}};
    std::vector<std::int32_t> expert(64 * 8), begin(9), token(64), slot(64 * 8);
    std::vector<float> weight(64 * 8), row_weight(64);
    for (std::size_t i = 0; i < expert.size(); ++i) expert[i] = static_cast<int>(i % 8);
    Batch<choice> const batch{.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), 64}};
    CHECK_THROWS_WITH_AS((Dispatch<choice, Host>{}(Host{.threads = 1}, {}, {.expert = {expert.data(), 64}, .weight = {weight.data(), 64}}, batch, {})),
                         doctest::Contains("more routed rows than the config allows: got 512, want 64"), Error);
  }
  TEST_CASE("a capacity beyond all tokens drops nothing") {
    for (Rounding rule : {Rounding::mesh, Rounding::flaxformer, Rounding::deepspeed, Rounding::megablocks, Rounding::fastmoe, Rounding::nllb})
      for (float factor : {1e6f, 1e20f, std::numeric_limits<float>::infinity()})
        CHECK(capacity(Config{.experts = 8, .top_k = 2, .hidden = 8, .ffn = 8, .capacity = {.rounding = rule, .factor = factor}}, 100) >= 100);
  }
}

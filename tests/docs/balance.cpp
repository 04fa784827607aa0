// The code of docs/balance.md.
#include <coterie/balance.hpp>
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <vector>

namespace {
namespace ct = coterie;
constexpr ct::Config C{.experts = 4, .top_k = 2, .hidden = 8, .ffn = 8};

TEST_CASE("the code of docs/balance.md runs") {
  std::vector<std::int32_t> expert(8, 1), slot(8, 0);
  std::vector<float> weight(8, 0.5f), logits(16, 1.f), gradient(16, 0.f), bias(4, 0.f);
  ct::Routing<C> const routing{.expert = {expert.data(), 4}, .weight = {weight.data(), 4}, .logits = {logits.data(), 4}};
  ct::Batch<C> const batch{.slot = {slot.data(), 4}};
  ct::Rows<float, 4> const dlogits{gradient.data(), 4};
  float* const select_bias = bias.data();

  ct::balance::Losses<C> losses{.routing = routing, .sequence = 512, .coefficient = 1e-2};   // routing: expert, weight, logits set
  double value = losses.load(dlogits);                    // adds the gradient to dlogits[T,N]; leave it out for the value alone
  ct::balance::Statistics s = ct::balance::statistics<C>(routing, batch);
  ct::balance::update_bias(select_bias, s.load);          // DeepSeek-V3: once after every step

  CHECK(value == doctest::Approx(1e-2 * 2));
  CHECK(s.dead == 3);
  CHECK(bias[1] < 0);
}
}

// The code of docs/balance.md.
#include <coterie/balance.hpp>
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <vector>

namespace {
namespace ct = coterie;
constexpr ct::Config C{.experts = 4, .top_k = 2, .hidden = 8, .ffn = 8};
constexpr ct::Config noisy{.experts = 4, .top_k = 2, .hidden = 8, .ffn = 8,
                           .router = {.score = ct::Score::identity, .post = ct::Post::softmax, .normalise = ct::Normalise::none, .noise = ct::Noise::softplus}};

TEST_CASE("the code of docs/balance.md runs") {
  std::vector<std::int32_t> expert(8, 1), slot(8, 0);
  std::vector<float> weight(8, 0.5f), z(16, 1.f), gradient(16, 0.f), bias(4, 0.f);
  ct::Routing<C> const routing{.expert = {expert.data(), 4}, .weight = {weight.data(), 4}, .logits = {z.data(), 4}};
  ct::Batch<C> const batch{.slot = {slot.data(), 4}};
  ct::Rows<float, 4> const dlogits{gradient.data(), 4};
  float* const select_bias = bias.data();
  ct::balance::Statistics step;

  ct::balance::Losses<C> losses{.routing = routing, .sequence = 512, .coefficient = 1e-2};   // routing: expert, weight, logits set
  double value = losses.load(dlogits);                    // adds the gradient to dlogits[T,N]; leave it out for the value alone
  ct::balance::Statistics s = ct::balance::statistics<C>(routing, batch);
  step += s;                                              // of all micro-batches of a step; over devices: sum `load` and `dropped`, then derive()
  ct::balance::update_bias(select_bias, step.load);       // DeepSeek-V3: once after every step

  CHECK(value == doctest::Approx(1e-2 * 2));
  CHECK(step.dead == 3);
  CHECK(bias[1] < 0);

  std::vector<float> noise(16, 0.5f), noisy_z(16), dnoise(16), dw(8);
  ct::Rows<float, 4> const logits{z.data(), 4}, noise_logits{noise.data(), 4}, drawn{noisy_z.data(), 4}, dnoise_logits{dnoise.data(), 4}, dz{gradient.data(), 4};
  ct::Rows<float, 2> const dweight{dw.data(), 4};
  ct::Routing<noisy> const chosen{.expert = {expert.data(), 4}, .weight = {weight.data(), 4}, .logits = logits};
  std::uint64_t const seed = 7;

  ct::balance::noisy_logits<noisy>(logits, noise_logits, seed, drawn);                          // seed: Inputs::seed
  ct::balance::Losses<noisy> both{.routing = chosen, .coefficient = 0.1};
  both.smooth_load({.noise_logits = noise_logits, .noisy = drawn}, {.logits = dz, .noise_logits = dnoise_logits});
  both.importance(dweight);
  ct::balance::through_router<noisy>(chosen, dweight, {.logits = dz, .noise_logits = dnoise_logits}, noise_logits, seed);

  CHECK(noisy_z[0] != z[0]);
  CHECK(dnoise[0] != 0);
}
}

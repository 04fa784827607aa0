// A training step on the CPU, as a program that includes the library has it: with a cache the same output, and gradients that are the output's slopes.
#include <coterie/training.hpp>
#include <cmath>
#include <cstdio>
#include "filled.hpp"

constexpr ct::Config mini{.experts = 4, .top_k = 2, .hidden = 24, .ffn = 16, .dtype = ct::DType::fp32, .weights = ct::DType::fp32};
constexpr std::int64_t tokens = 5;
constexpr std::size_t numbers = tokens * mini.hidden;

int failures = 0;
void expect(bool ok, char const* what) {
  if (!ok) std::printf("training: %s\n", what), ++failures;
}
double sum_of_products(std::vector<float> const& a, std::vector<float> const& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// One step: the output, and gradients of x, the router and one expert's way down.
struct Step {
  std::vector<float> y = std::vector<float>(numbers), dx = y, drouter = std::vector<float>(mini.experts * mini.hidden), ddown = std::vector<float>(mini.hidden * mini.ffn, 3);

  Step(ct::Host const& on, ct::PackedView<mini, ct::Host> weights, std::vector<float> const& x, std::vector<float> const& dy) {
    ct::Layer<mini, ct::Host> const layer{weights};
    std::vector<std::byte> cache(layer.cache_bytes(on, tokens)), workspace(layer.training_workspace_bytes(on, tokens));
    ct::Inputs<mini> const in{.x = {x.data(), tokens}};
    layer.forward(on, in, ct::rows<24>(y.data(), tokens), cache, workspace);
    ct::Gradients<mini> to;
    to.router = drouter.data(), to.down[1].data = ddown.data();
    to.overwrite = 1;
    layer.backward(on, in, cache, ct::rows<24>(dy.data(), tokens), ct::rows<24>(dx.data(), tokens), to, workspace);
  }
};

int main() {
  Filled<mini> const filled;
  ct::Host const one{.threads = 1}, two{.threads = 2};
  auto const packed = ct::pack(one, filled.raw);
  std::vector<float> x, dy, along;
  for (ct::bf16 v : activations(numbers)) x.push_back(16 * ct::to_float(v));
  for (std::size_t i = 0; i < numbers; ++i) dy.push_back(16 * (static_cast<float>(i % 7) - 3)), along.push_back(static_cast<float>(i * 5 % 11) / 8 - 0.5f);
  Step const step{one, packed.view(), x, dy}, again{two, packed.view(), x, dy};

  ct::Layer<mini, ct::Host> const layer{packed.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(one, tokens));
  std::vector<float> y(numbers);
  layer.forward(one, ct::rows<24>(x.data(), tokens), ct::rows<24>(y.data(), tokens), workspace);
  expect(step.y == y, "a cache changes no bit of y");
  expect(step.dx == again.dx && step.drouter == again.drouter && step.ddown == again.ddown, "the number of threads changes no bit of a gradient");

  auto const loss = [&](float h) {
    std::vector<float> moved = x;
    for (std::size_t i = 0; i < numbers; ++i) moved[i] += h * along[i];
    return sum_of_products(Step{one, packed.view(), moved, dy}.y, dy);
  };
  double const slope = (loss(0x1p-6f) - loss(-0x1p-6f)) * 0x1p5, gradient = sum_of_products(step.dx, along);
  expect(std::fabs(slope - gradient) <= 1e-3 * std::fabs(slope) && std::fabs(slope) > 1e-2, "dx is the slope of y along a direction");
  expect(sum_of_products(step.drouter, step.drouter) > 0 && sum_of_products(step.ddown, step.ddown) > 0, "the router and an expert learn");
  std::printf("training: slope %g, gradient %g; %d failures\n", slope, gradient, failures);
  return failures != 0;
}

// The models that are compared, and how one of them is trained: the same text, batch and number of FLOPs for all.
#pragma once
#include "corpus.hpp"
#include "model.hpp"
#include <functional>

namespace lm {

// A layer in fp32 throughout. Widths: the mixture's two experts together are the small dense FFN, its sixteen the large one. The mixture is
// trained with selection biases, which stay zero where nothing moves them, and saved without.
constexpr ct::Config layer(int experts, int top_k, int ffn, int select_bias = 0) {
  return {.experts = experts, .top_k = top_k, .hidden = hidden, .ffn = ffn, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
          .router = {.weights = ct::DType::fp32, .select_bias = select_bias}};
}
inline constexpr ct::Config mixture = layer(16, 2, 128), trained = layer(16, 2, 128, 1), small = layer(1, 1, 256), large = layer(1, 1, 2048);

struct Variant {
  char const* name;
  ct::Config config;
  Balancing balancing;
  double rate = 3e-3;                            // learning rate; what others give: docs/train_lm.md
  int equal_tokens = 0;                          // 1: as many tokens as the mixture, whatever they cost; else as many FLOPs
};
inline constexpr Variant variants[] = {
  {"mixture, no balancing", trained, Balancing::none},
  {"mixture, auxiliary loss", trained, Balancing::auxiliary_loss},
  {"mixture, loss-free bias", trained, Balancing::bias},
  {"dense, active size", small, Balancing::none},
  {"dense, total size", large, Balancing::none},
  {"dense, total, equal tokens", large, Balancing::none, 1.5e-3, 1},
};
inline constexpr std::size_t saved_variant = 1;                            // Mixtral's layout has no place for a bias

inline std::unique_ptr<Ffn> make_ffn(ct::Host const& on, Variant const& v, Parameters& to, int i) {
  if (v.config.experts > 1) return std::make_unique<Mixture<trained>>(on, to, i, tokens, v.balancing);
  if (v.config.ffn == small.ffn) return std::make_unique<Mixture<small>>(on, to, i, tokens, v.balancing);
  return std::make_unique<Mixture<large>>(on, to, i, tokens, v.balancing);
}

// What it costs: coterie::footprint counts every multiplication by a weight; attention scores, which depend on the context, are added.
struct Cost { double total, active, flops; };                              // parameters, of a token; FLOPs of a token, forwards and backwards
constexpr Cost cost(ct::Config const& c) {
  ct::Footprint const f = ct::footprint(ct::Model{.layer = c, .layers = layers, .moe_layers = layers, .heads = heads, .kv_heads = heads, .head_dim = head_dim, .vocabulary = vocabulary});
  constexpr double scores = 3 * 2. * 2 * layers * hidden * (context + 1) / 2;
  return {double(f.total_parameters), double(f.active_parameters), f.flops(1) + f.backward_flops(1) + scores};
}

// One line of a run: what it had reached after so many steps.
struct Point {
  int step = 0;
  double flops = 0, loss = 0, held_out = 0;      // losses in nats per byte: of the training text since the last point, of held-out text
  double max_violation = 0;                      // MaxVio, mean over steps since the last point and over layers
  int dead = 0;                                  // experts of all layers that no token of the held-out text chose
};
struct Run {
  Variant variant{};
  int seed = 0, steps = 0;
  std::vector<Point> points;
  std::vector<std::vector<double>> load[layers]; // [buckets][E] shares of the choices
  double final_loss = 0, cpu_seconds = 0, pack_seconds = 0;                // final_loss: of four times as much held-out text as the points'
  std::size_t cached_bytes = 0;                  // of all layers' Ffns, per token
};

struct Plan {
  double flops = 0;                              // of a run
  int points = 16, buckets = 48, held_out = 8;   // held_out: batches
  int steps(Variant const& v) const { return std::max(1, static_cast<int>(std::lround(flops / (cost(v.equal_tokens ? mixture : v.config).flops * tokens)))); }
};

struct HeldOut { double loss = 0; int dead = 0; };
inline HeldOut evaluate(Model& model, Corpus const& corpus, int batches) {
  std::vector<std::uint8_t> input(tokens), target(tokens);
  std::vector<std::int64_t> load[layers];
  HeldOut to;
  for (int b = 0; b < batches; ++b) {
    for (int i = 0; i < sequences; ++i) corpus.held_out(b * sequences + i, batches * sequences, context, input.data() + i * context, target.data() + i * context);
    to.loss += model.forward(input.data(), target.data()) / batches;
    for (int l = 0; l < layers; ++l) {
      auto const& of = model.ffn(l).choices().statistics.load;
      load[l].resize(of.size());
      for (std::size_t e = 0; e < of.size(); ++e) load[l][e] += of[e];
    }
  }
  for (auto const& l : load) to.dead += static_cast<int>(std::count(l.begin(), l.end(), 0));
  return to;
}

// Trains `model`, made from the same seed. The learning rate rises over 50 steps, then falls to a tenth as a cosine. `say` is called with the run at every point.
inline Run train(Model& model, Variant const& variant, int seed, Plan const& plan, Corpus const& corpus, std::function<void(Run const&)> const& say) {
  Run run;
  run.variant = variant, run.seed = seed, run.steps = plan.steps(variant);
  int const buckets = std::min(plan.buckets, run.steps);
  for (auto& l : run.load) l.resize(static_cast<std::size_t>(buckets), std::vector<double>(static_cast<std::size_t>(variant.config.experts)));
  double const start = cpu_seconds_of_thread(), flops = cost(variant.config).flops * tokens;
  std::mt19937_64 random{static_cast<std::uint64_t>(seed) + 1000};         // of the batches: the same for every variant
  std::vector<std::uint8_t> input(tokens), target(tokens);
  Point since;
  int counted = 0;
  for (int step = 0; step < run.steps; ++step) {
    double const part = double(step) / run.steps, rate = variant.rate * std::min({1., (step + 1) / 50., 0.55 + 0.45 * std::cos(3.14159265358979 * part)});
    corpus.sample(random, sequences, context, input.data(), target.data());
    since.loss += model.forward(input.data(), target.data());
    model.backward(input.data(), target.data());
    for (int l = 0; l < layers; ++l) {
      auto const& s = model.ffn(l).choices().statistics;
      since.max_violation += s.max_violation / layers;
      auto& bucket = run.load[l][static_cast<std::size_t>(part * buckets)];
      for (std::size_t e = 0; e < bucket.size(); ++e) bucket[e] += double(s.load[e]);
    }
    model.step(rate);
    ++counted;
    if ((step + 1) * plan.points / run.steps == step * plan.points / run.steps) continue;
    HeldOut const now = evaluate(model, corpus, plan.held_out);
    run.points.push_back({.step = step + 1, .flops = (step + 1) * flops, .loss = since.loss / counted, .held_out = now.loss,
                          .max_violation = since.max_violation / counted, .dead = now.dead});
    since = {}, counted = 0;
    say(run);
  }
  for (auto& l : run.load)
    for (auto& bucket : l) {
      double all = 0;
      for (double const v : bucket) all += v;
      for (double& v : bucket) v /= all;
    }
  run.final_loss = evaluate(model, corpus, 4 * plan.held_out).loss;
  run.cpu_seconds = cpu_seconds_of_thread() - start;
  for (int l = 0; l < layers; ++l) run.pack_seconds += model.ffn(l).pack_seconds, run.cached_bytes += model.ffn(l).cached_bytes() / tokens;
  return run;
}

}

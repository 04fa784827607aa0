// A whole transformer block around the layer: 16 tokens at once, then 8 one by one, against the definition in double.
#include "block.hpp"
#include "measure.hpp"
#include <cstdio>

namespace {

namespace ct = coterie;

constexpr ct::Config moe{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256, .dtype = ct::DType::fp32, .weights = ct::DType::fp32,
                         .router = {.weights = ct::DType::fp32}};
constexpr example::Shape shape{.hidden = moe.hidden, .heads = 8, .kv_heads = 2, .head_dim = 16, .experts = moe.experts, .top_k = moe.top_k, .ffn = moe.ffn};

example::BlockWeights random_weights(ct::Host const& on) {
  std::uint64_t seed = 0;
  auto const matrix = [&](std::int64_t outputs, std::int64_t inputs) {
    return example::random_values<float>(on, outputs * inputs, ++seed, 1.7f / __builtin_sqrtf(float(inputs)));
  };
  constexpr std::int64_t H = moe.hidden, F = moe.ffn, E = moe.experts, q = shape.heads * shape.head_dim, kv = shape.kv_heads * shape.head_dim;
  return {.norm_attention = std::vector<float>(H, 1.f), .norm_moe = std::vector<float>(H, 1.f), .q = matrix(q, H), .k = matrix(kv, H), .v = matrix(kv, H),
          .o = matrix(H, q), .router = matrix(E, H), .gate = matrix(E * F, H), .up = matrix(E * F, H), .down = matrix(E * H, F)};
}

class Block {
 public:
  Block(ct::Host const& on, example::BlockWeights const& weights) : on_(on), weights_(weights), packed_(pack(on, weights)) {}

  // The tokens that follow those seen so far: x[T,H], replaced by the block's output.
  void forward(std::vector<float>& x) {
    auto const tokens = static_cast<std::int64_t>(x.size()) / moe.hidden;
    example::attend(shape, weights_, cache_, x.data(), tokens);
    std::vector<float> normal(x.size()), y(x.size());                                          // [T,H]
    for (std::int64_t t = 0; t < tokens; ++t) example::rms_norm(x.data() + t * moe.hidden, weights_.norm_moe.data(), moe.hidden, normal.data() + t * moe.hidden);
    workspace_.resize(layer_.workspace_bytes(on_, tokens));
    layer_.forward(on_, ct::rows<moe.hidden>(normal.data(), tokens), ct::rows<moe.hidden>(y.data(), tokens), workspace_);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }

 private:
  static ct::Packed<moe, ct::Host> pack(ct::Host const& on, example::BlockWeights const& w) {
    ct::Weights<moe> raw;                                                                      // views: nothing is copied yet
    raw.router.data = w.router.data();
    constexpr std::size_t matrix = std::size_t{moe.ffn} * moe.hidden;
    for (std::size_t e = 0; e < moe.experts; ++e)
      raw.gate[e].data = w.gate.data() + e * matrix, raw.up[e].data = w.up.data() + e * matrix, raw.down[e].data = w.down.data() + e * matrix;
    return ct::pack(on, raw);
  }
  ct::Host on_;
  example::BlockWeights const& weights_;
  ct::Packed<moe, ct::Host> packed_;
  ct::Layer<moe, ct::Host> layer_{packed_.view()};
  std::vector<std::byte> workspace_;
  example::Cache cache_;
};

}

int main() {
  constexpr std::int64_t prompt = 16, steps = 8, H = moe.hidden;
  ct::Host const on{.threads = 0};
  auto const weights = random_weights(on);
  Block block{on, weights};

  auto x = example::random_values<float>(on, prompt * H, 99, 1.7f);                            // [T,H]
  std::vector<float> seen(x), got;
  block.forward(x);
  got = x;
  for (int step = 0; step < steps; ++step) {                                                   // each step reads what the last one said
    std::vector<float> next(x.end() - H, x.end());
    seen.insert(seen.end(), next.begin(), next.end());
    block.forward(next);
    got.insert(got.end(), next.begin(), next.end());
    x = next;
  }

  std::vector<std::vector<double>> all;
  for (std::size_t t = 0; t < seen.size() / H; ++t) all.emplace_back(seen.begin() + std::ptrdiff_t(t) * H, seen.begin() + std::ptrdiff_t(t + 1) * H);
  auto const want = example::by_definition(shape, weights, all);
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    double const w = want[i / H][i % H], d = std::abs(double{got[i]} - w);
    most = example::larger(most, d), largest = std::max(largest, std::abs(w));
  }
  std::printf("A block of %d hidden, %d heads over %d groups, %d experts, top-%d: %d tokens at once, then %d one by one\n", shape.hidden, shape.heads, shape.kv_heads,
              moe.experts, moe.top_k, int(prompt), int(steps));
  std::printf("  against the definition in double: largest difference %.1e of values up to %.1f\n", most, largest);
  return most < 1e-4 * largest ? 0 : 1;
}

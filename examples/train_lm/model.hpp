// A small Mixtral over bytes, forwards and backwards: embedding, blocks of attention and a Coterie layer, head. Plain loops in fp32, one thread.
#pragma once
#include "ffn.hpp"
#include <cstring>
#include <functional>

namespace lm {

inline constexpr int hidden = 128, heads = 4, head_dim = 32, layers = 2, vocabulary = 256;
inline constexpr int context = 128, sequences = 8, tokens = context * sequences;             // of a step
inline constexpr double epsilon = 1e-5, theta = 1e6;                                         // as examples/block.hpp

// y[T,H] = x / rms(x) * weight; keeps 1 / rms(x).
inline void norm_forward(float const* x, float const* weight, int n, float* y, float* scale) {
  for (int t = 0; t < n; ++t, x += hidden, y += hidden) {
    float square = 0;
    for (int i = 0; i < hidden; ++i) square += x[i] * x[i];
    scale[t] = static_cast<float>(1 / std::sqrt(double{square} / hidden + epsilon));
    for (int i = 0; i < hidden; ++i) y[i] = x[i] * scale[t] * weight[i];
  }
}
// dx[T,H] is added to.
inline void norm_backward(float const* x, float const* weight, float const* scale, float const* dy, int n, float* dx, float* dweight) {
  for (int t = 0; t < n; ++t, x += hidden, dy += hidden, dx += hidden) {
    float const r = scale[t];
    float along = 0;
    for (int i = 0; i < hidden; ++i) along += dy[i] * weight[i] * x[i];
    along *= r * r / hidden;
    for (int i = 0; i < hidden; ++i) dx[i] += r * (dy[i] * weight[i] - along * x[i]), dweight[i] += dy[i] * x[i] * r;
  }
}

class Attention {
 public:
  Attention(Parameters& to, int layer) {
    std::string const name = "model.layers." + std::to_string(layer) + ".self_attn.";
    double const in = 1 / std::sqrt(double{hidden});
    for (int i = 0; i < 3; ++i) qkv_[i] = to.add(name + "qkv"[i] + "_proj.weight", hidden, hidden, in);
    o_ = to.add(name + "o_proj.weight", hidden, hidden, 0.5 * in);                           // 0.5: two layers of two residual branches
    for (int s = 0; s < context; ++s)
      for (int i = 0; i < head_dim / 2; ++i) {
        double const angle = s * std::pow(theta, -2. * i / head_dim);
        turn_.push_back({static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))});
      }
  }
  // y[T,H] = attention(x[T,H])
  void forward(Parameters const& p, float const* x, float* y) {
    for (int i = 0; i < 3; ++i) project(p.value(qkv_[i]), x, data_[i].data());
    for (int i = 0; i < 2; ++i) rotate(data_[i].data(), 1);
    for (int h = 0; h < sequences * heads; ++h) {
      std::ptrdiff_t const at = first(h);
      float* const weight = weight_.data() + std::ptrdiff_t{h} * context * context;
      transpose(data_[1].data() + at, hidden, context, head_dim, turned_.data());
      multiply(context, context, head_dim, by_rows(data_[0].data() + at, hidden), turned_.data(), context, weight, context);
      for (int i = 0; i < context; ++i) {
        float* const row = weight + i * context;
        float const most = *std::max_element(row, row + i + 1);
        float sum = 0;
        for (int j = 0; j <= i; ++j) row[j] = std::exp((row[j] - most) * scale), sum += row[j];
        for (int j = 0; j <= i; ++j) row[j] /= sum;
        std::fill(row + i + 1, row + context, 0.f);
      }
      multiply(context, head_dim, context, by_rows(weight, context), data_[2].data() + at, hidden, mixed_.data() + at, hidden);
    }
    project(p.value(o_), mixed_.data(), y);
  }
  // dx[T,H] is overwritten.
  void backward(Parameters& p, float const* x, float const* dy, float* dx) {
    multiply(hidden, hidden, tokens, transposed(dy, hidden), mixed_.data(), hidden, p.gradient(o_), hidden, true);
    multiply(tokens, hidden, hidden, by_rows(dy, hidden), p.value(o_), hidden, dmixed_.data(), hidden);
    for (int h = 0; h < sequences * heads; ++h) {
      std::ptrdiff_t const at = first(h);
      float const* const weight = weight_.data() + std::ptrdiff_t{h} * context * context;
      multiply(context, head_dim, context, transposed(weight, context), dmixed_.data() + at, hidden, d_[2].data() + at, hidden);
      transpose(data_[2].data() + at, hidden, context, head_dim, turned_.data());
      multiply(context, context, head_dim, by_rows(dmixed_.data() + at, hidden), turned_.data(), context, dweight_.data(), context);
      for (int i = 0; i < context; ++i) {
        float const* const w = weight + i * context;
        float* const d = dweight_.data() + i * context;
        float along = 0;
        for (int j = 0; j <= i; ++j) along += w[j] * d[j];
        for (int j = 0; j < context; ++j) d[j] = w[j] * (d[j] - along) * scale;
      }
      multiply(context, head_dim, context, by_rows(dweight_.data(), context), data_[1].data() + at, hidden, d_[0].data() + at, hidden);
      multiply(context, head_dim, context, transposed(dweight_.data(), context), data_[0].data() + at, hidden, d_[1].data() + at, hidden);
    }
    for (int i = 0; i < 2; ++i) rotate(d_[i].data(), -1);
    for (int i = 0; i < 3; ++i) {
      multiply(hidden, hidden, tokens, transposed(d_[i].data(), hidden), x, hidden, p.gradient(qkv_[i]), hidden, true);
      multiply(tokens, hidden, hidden, by_rows(d_[i].data(), hidden), p.value(qkv_[i]), hidden, dx, hidden, i > 0);
    }
  }

 private:
  static constexpr float scale = 0.17677669529663688f;                                       // head_dim^-1/2
  static std::vector<float> room(std::ptrdiff_t n = std::ptrdiff_t{tokens} * hidden) { return std::vector<float>(static_cast<std::size_t>(n)); }
  static std::ptrdiff_t first(int h) { return std::ptrdiff_t{h / heads} * context * hidden + h % heads * head_dim; }   // of a sequence's head
  void project(float const* weight, float const* x, float* y) {                              // y = x weight^T
    transpose(weight, hidden, hidden, hidden, square_.data());
    multiply(tokens, hidden, hidden, by_rows(x, hidden), square_.data(), hidden, y, hidden);
  }
  // Rotary positions (Su et al. 2021), the two halves of a head as a pair; direction -1 turns back.
  void rotate(float* x, float direction) const {
    for (int t = 0; t < tokens; ++t, x += hidden)
      for (int h = 0; h < hidden; h += head_dim)
        for (int i = 0; i < head_dim / 2; ++i) {
          auto const [c, s] = turn_[static_cast<std::size_t>(t % context * (head_dim / 2) + i)];
          float const a = x[h + i], b = x[h + i + head_dim / 2];
          x[h + i] = a * c - b * s * direction, x[h + i + head_dim / 2] = b * c + a * s * direction;
        }
  }
  struct Turn { float cosine, sine; };
  std::size_t qkv_[3]{}, o_ = 0;
  std::vector<Turn> turn_;                                                                   // [context, head_dim / 2]
  std::vector<float> data_[3]{room(), room(), room()}, d_[3]{room(), room(), room()};        // [T,H] queries, keys, values; their gradients
  std::vector<float> weight_ = room(std::ptrdiff_t{sequences} * heads * context * context);  // [sequences, heads, context, context]
  std::vector<float> mixed_ = room(), dmixed_ = room(), dweight_ = room(context * context), turned_ = room(context * head_dim), square_ = room(hidden * hidden);
};

class Model {
 public:
  // `layer(parameters, i)` makes the Ffn of block i.
  template <class Make> Model(std::uint64_t seed, Make const& layer) {
    embedding_ = parameters.add("model.embed_tokens.weight", vocabulary, hidden, 0.02);
    for (int i = 0; i < layers; ++i) {
      std::string const name = "model.layers." + std::to_string(i) + ".";
      Block& b = blocks_.emplace_back();
      b.norm[0] = parameters.add(name + "input_layernorm.weight", 0, hidden, 0), b.norm[1] = parameters.add(name + "post_attention_layernorm.weight", 0, hidden, 0);
      b.attention = std::make_unique<Attention>(parameters, i);
      b.ffn = layer(parameters, i);
    }
    norm_ = parameters.add("model.norm.weight", 0, hidden, 0);
    head_ = parameters.add("lm_head.weight", vocabulary, hidden, 0.02);
    parameters.start(seed);
    for (Block& b : blocks_) b.ffn->bind(parameters);
  }
  // input[T], target[T] bytes: sequences of `context` tokens. Mean loss, nats per byte.
  double forward(std::uint8_t const* input, std::uint8_t const* target) {
    if (before) before(input, target);
    for (int t = 0; t < tokens; ++t) std::memcpy(stream(0) + t * hidden, parameters.value(embedding_) + input[t] * hidden, hidden * sizeof(float));
    for (std::size_t i = 0; i < blocks_.size(); ++i) {
      Block& b = blocks_[i];
      float *const x = stream(2 * i), *const middle = stream(2 * i + 1), *const y = stream(2 * i + 2);
      norm_forward(x, parameters.value(b.norm[0]), tokens, b.normal[0].data(), b.scale[0].data());
      b.attention->forward(parameters, b.normal[0].data(), middle);
      add(middle, x);
      norm_forward(middle, parameters.value(b.norm[1]), tokens, b.normal[1].data(), b.scale[1].data());
      b.ffn->forward(b.normal[1].data(), y);
      add(y, middle);
    }
    norm_forward(stream(2 * blocks_.size()), parameters.value(norm_), tokens, normal_.data(), scale_.data());
    transpose(parameters.value(head_), hidden, vocabulary, hidden, turned_.data());
    multiply(tokens, vocabulary, hidden, by_rows(normal_.data(), hidden), turned_.data(), vocabulary, logits_.data(), vocabulary);
    double loss = 0;
    for (int t = 0; t < tokens; ++t) {
      float const* const z = logits(t);
      float const most = *std::max_element(z, z + vocabulary);
      float sum = 0;
      for (int v = 0; v < vocabulary; ++v) sum += std::exp(z[v] - most);
      log_sum_[static_cast<std::size_t>(t)] = most + std::log(sum);
      loss += double{log_sum_[static_cast<std::size_t>(t)] - z[target[t]]} / tokens;
    }
    return loss;
  }
  // After forward() of the same bytes: adds to the parameters' gradients.
  void backward(std::uint8_t const* input, std::uint8_t const* target) {
    for (int t = 0; t < tokens; ++t) {
      float* const z = logits_.data() + t * vocabulary;
      for (int v = 0; v < vocabulary; ++v) z[v] = std::exp(z[v] - log_sum_[static_cast<std::size_t>(t)]) / tokens;
      z[target[t]] -= 1.f / tokens;
    }
    multiply(vocabulary, hidden, tokens, transposed(logits_.data(), vocabulary), normal_.data(), hidden, parameters.gradient(head_), hidden, true);
    multiply(tokens, hidden, vocabulary, by_rows(logits_.data(), vocabulary), parameters.value(head_), hidden, dnormal_.data(), hidden);
    std::fill(dx_.begin(), dx_.end(), 0.f);
    norm_backward(stream(2 * blocks_.size()), parameters.value(norm_), scale_.data(), dnormal_.data(), tokens, dx_.data(), parameters.gradient(norm_));
    for (std::size_t i = blocks_.size(); i-- > 0;) {
      Block& b = blocks_[i];
      b.ffn->backward(b.normal[1].data(), dx_.data(), dnormal_.data());
      norm_backward(stream(2 * i + 1), parameters.value(b.norm[1]), b.scale[1].data(), dnormal_.data(), tokens, dx_.data(), parameters.gradient(b.norm[1]));
      b.attention->backward(parameters, b.normal[0].data(), dx_.data(), dnormal_.data());
      norm_backward(stream(2 * i), parameters.value(b.norm[0]), b.scale[0].data(), dnormal_.data(), tokens, dx_.data(), parameters.gradient(b.norm[0]));
    }
    for (int t = 0; t < tokens; ++t) add(parameters.gradient(embedding_) + input[t] * hidden, dx_.data() + t * hidden, hidden);
  }
  void step(double rate) {
    parameters.step(rate);
    for (Block& b : blocks_) b.ffn->balance(), b.ffn->refresh();
  }
  float const* logits(int t) const { return logits_.data() + t * vocabulary; }               // after forward()
  float const* normal(int layer) const { return blocks_[static_cast<std::size_t>(layer)].normal[1].data(); }   // [T,H] what a block's Ffn reads
  Ffn& ffn(int layer) { return *blocks_[static_cast<std::size_t>(layer)].ffn; }

  Parameters parameters;
  std::function<void(std::uint8_t const* input, std::uint8_t const* target)> before;         // called first by forward(): the model whose choices this one follows

 private:
  static std::vector<float> room(std::ptrdiff_t columns = hidden) { return std::vector<float>(static_cast<std::size_t>(tokens * columns)); }
  static void add(float* to, float const* from, int n = tokens * hidden) {
    for (int i = 0; i < n; ++i) to[i] += from[i];
  }
  float* stream(std::size_t i) { return stream_[i].data(); }
  struct Block {
    std::size_t norm[2]{};
    std::unique_ptr<Attention> attention;
    std::unique_ptr<Ffn> ffn;
    std::vector<float> normal[2]{room(), room()}, scale[2]{room(1), room(1)};                // [T,H], [T] before attention, before the Ffn
  };
  std::size_t embedding_ = 0, norm_ = 0, head_ = 0;
  std::vector<Block> blocks_;
  std::vector<std::vector<float>> stream_ = std::vector<std::vector<float>>(2 * layers + 1, room());   // [T,H] the residual stream, before and inside each block
  std::vector<float> normal_ = room(), scale_ = room(1), log_sum_ = room(1), logits_ = room(vocabulary), dx_ = room(), dnormal_ = room();
  std::vector<float> turned_ = std::vector<float>(static_cast<std::size_t>(hidden * vocabulary));
};

}

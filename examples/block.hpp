// The rest of a transformer block in plain code: RMSNorm, causal attention with rotary positions and grouped queries, over
// a cache of keys and values; and the whole block by its definition, in double, with nothing shared.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace example {

struct Shape { int hidden, heads, kv_heads, head_dim, experts, top_k, ffn; };
// All matrices [outputs][inputs].
struct BlockWeights {
  std::vector<float> norm_attention, norm_moe;                         // [H]
  std::vector<float> q, k, v, o;                                       // [heads*D,H], [kv*D,H], [kv*D,H], [H,heads*D]
  std::vector<float> router, gate, up, down;                           // [E,H], [E,F,H], [E,F,H], [E,H,F]
};
struct Cache { std::vector<float> keys, values; };                     // [past][kv*D]

inline constexpr double epsilon = 1e-5, theta = 1e6;

template <class Real> void rms_norm(Real const* x, float const* weight, int n, Real* y) {
  double square = 0;
  for (int i = 0; i < n; ++i) square += double(x[i]) * double(x[i]);
  double const r = 1 / std::sqrt(square / n + epsilon);
  for (int i = 0; i < n; ++i) y[i] = Real(double(x[i]) * r * double(weight[i]));
}
template <class Real> void multiply(float const* w, Real const* x, int outputs, int inputs, Real* y) {
  for (int o = 0; o < outputs; ++o) {
    Real sum = 0;
    for (int i = 0; i < inputs; ++i) sum += Real(w[std::size_t(o) * std::size_t(inputs) + std::size_t(i)]) * x[i];
    y[o] = sum;
  }
}
// Rotates the two halves of a head by the position (Su et al. 2021).
template <class Real> void rotate(Real* head, int dim, std::int64_t position) {
  for (int i = 0; i < dim / 2; ++i) {
    double const angle = double(position) * std::pow(theta, -2.0 * i / dim), c = std::cos(angle), s = std::sin(angle);
    double const a = double(head[i]), b = double(head[i + dim / 2]);
    head[i] = Real(a * c - b * s), head[i + dim / 2] = Real(b * c + a * s);
  }
}

// x[T,H] += attention(norm(x)), for tokens that follow those in the cache.
inline void attend(Shape s, BlockWeights const& w, Cache& cache, float* x, std::int64_t tokens) {
  std::size_t const kv = std::size_t(s.kv_heads) * std::size_t(s.head_dim);
  std::vector<float> n(std::size_t(s.hidden)), q(std::size_t(s.heads) * std::size_t(s.head_dim)), mixed(q.size()), out(n.size()), score;
  for (std::int64_t t = 0; t < tokens; ++t, x += s.hidden) {
    auto const position = static_cast<std::int64_t>(cache.keys.size() / kv);
    cache.keys.resize(cache.keys.size() + kv), cache.values.resize(cache.values.size() + kv);
    rms_norm(x, w.norm_attention.data(), s.hidden, n.data());
    multiply(w.q.data(), n.data(), int(q.size()), s.hidden, q.data());
    multiply(w.k.data(), n.data(), int(kv), s.hidden, cache.keys.data() + cache.keys.size() - kv);
    multiply(w.v.data(), n.data(), int(kv), s.hidden, cache.values.data() + cache.values.size() - kv);
    for (int g = 0; g < s.kv_heads; ++g) rotate(cache.keys.data() + cache.keys.size() - kv + std::size_t(g * s.head_dim), s.head_dim, position);
    for (int h = 0; h < s.heads; ++h) {
      float* const head = q.data() + h * s.head_dim;
      std::size_t const group = std::size_t(h / (s.heads / s.kv_heads) * s.head_dim);
      rotate(head, s.head_dim, position);
      score.assign(std::size_t(position) + 1, 0);
      float most = -INFINITY, sum = 0;
      for (std::size_t p = 0; p < score.size(); ++p) {
        for (int d = 0; d < s.head_dim; ++d) score[p] += head[d] * cache.keys[p * kv + group + std::size_t(d)];
        score[p] /= std::sqrt(float(s.head_dim)), most = std::max(most, score[p]);
      }
      for (float& v : score) v = std::exp(v - most), sum += v;
      for (int d = 0; d < s.head_dim; ++d) {
        float value = 0;
        for (std::size_t p = 0; p < score.size(); ++p) value += score[p] / sum * cache.values[p * kv + group + std::size_t(d)];
        mixed[std::size_t(h * s.head_dim + d)] = value;
      }
    }
    multiply(w.o.data(), mixed.data(), s.hidden, int(mixed.size()), out.data());
    for (int i = 0; i < s.hidden; ++i) x[i] += out[std::size_t(i)];
  }
}

// One token of the mixture by its definition: the top_k largest softmax probabilities, made to sum to one.
inline std::vector<double> mixture(Shape s, BlockWeights const& w, std::vector<double> const& x) {
  std::vector<double> z(std::size_t(s.experts)), y(x.size()), gate(std::size_t(s.ffn)), up(gate.size()), out(x.size());
  multiply(w.router.data(), x.data(), s.experts, s.hidden, z.data());
  std::vector<int> order(z.size());
  for (int e = 0; e < s.experts; ++e) order[std::size_t(e)] = e;
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return z[std::size_t(a)] > z[std::size_t(b)]; });
  double sum = 0;
  for (int k = 0; k < s.top_k; ++k) sum += std::exp(z[std::size_t(order[std::size_t(k)])]);
  for (int k = 0; k < s.top_k; ++k) {
    auto const e = std::size_t(order[std::size_t(k)]), matrix = std::size_t(s.ffn) * std::size_t(s.hidden);
    multiply(w.gate.data() + e * matrix, x.data(), s.ffn, s.hidden, gate.data());
    multiply(w.up.data() + e * matrix, x.data(), s.ffn, s.hidden, up.data());
    for (std::size_t j = 0; j < gate.size(); ++j) gate[j] = gate[j] / (1 + std::exp(-gate[j])) * up[j];
    multiply(w.down.data() + e * matrix, gate.data(), s.hidden, s.ffn, out.data());
    for (std::size_t i = 0; i < y.size(); ++i) y[i] += std::exp(z[e]) / sum * out[i];
  }
  return y;
}
// The block on a whole sequence, in double: x[T][H] -> y[T][H].
inline std::vector<std::vector<double>> by_definition(Shape s, BlockWeights const& w, std::vector<std::vector<double>> x) {
  int const D = s.head_dim;
  std::vector<std::vector<double>> q(x.size()), k(x.size()), v(x.size()), y(x);
  for (std::size_t t = 0; t < x.size(); ++t) {
    std::vector<double> n(x[t].size());
    rms_norm(x[t].data(), w.norm_attention.data(), s.hidden, n.data());
    q[t].resize(std::size_t(s.heads * D)), k[t].resize(std::size_t(s.kv_heads * D)), v[t].resize(k[t].size());
    multiply(w.q.data(), n.data(), s.heads * D, s.hidden, q[t].data());
    multiply(w.k.data(), n.data(), s.kv_heads * D, s.hidden, k[t].data());
    multiply(w.v.data(), n.data(), s.kv_heads * D, s.hidden, v[t].data());
    for (int h = 0; h < s.heads; ++h) rotate(q[t].data() + h * D, D, std::int64_t(t));
    for (int g = 0; g < s.kv_heads; ++g) rotate(k[t].data() + g * D, D, std::int64_t(t));
  }
  for (std::size_t t = 0; t < x.size(); ++t) {
    std::vector<double> mixed(q[t].size()), out(x[t].size());
    for (int h = 0; h < s.heads; ++h) {
      int const g = h / (s.heads / s.kv_heads);
      double sum = 0;
      for (std::size_t p = 0; p <= t; ++p) {
        double dot = 0;
        for (int d = 0; d < D; ++d) dot += q[t][std::size_t(h * D + d)] * k[p][std::size_t(g * D + d)];
        double const weight = std::exp(dot / std::sqrt(double(D)));
        sum += weight;
        for (int d = 0; d < D; ++d) mixed[std::size_t(h * D + d)] += weight * v[p][std::size_t(g * D + d)];
      }
      for (int d = 0; d < D; ++d) mixed[std::size_t(h * D + d)] /= sum;
    }
    multiply(w.o.data(), mixed.data(), s.hidden, s.heads * D, out.data());
    for (std::size_t i = 0; i < out.size(); ++i) y[t][i] += out[i];
    std::vector<double> n(out.size());
    rms_norm(y[t].data(), w.norm_moe.data(), s.hidden, n.data());
    auto const moe = mixture(s, w, n);
    for (std::size_t i = 0; i < out.size(); ++i) y[t][i] += moe[i];
  }
  return y;
}

}

// What the reference reads: a checkpoint's numbers and a layer's inputs, in double, with the types forgotten.
#pragma once
#include <vector>
#include "../dtype.hpp"
#include "../stages.hpp"
#include "../weights.hpp"
#include "quant.hpp"

namespace coterie { inline namespace v0 { namespace reference {

using Numbers = std::vector<double>;

struct Weights {
  Numbers router, noise;                                               // [N,H]
  Numbers router_bias, select_bias, expert_scale;                      // [N], [E+Z], [E]
  std::vector<std::int32_t> table;                                     // [vocabulary,K]
  std::vector<Numbers> gate, up, down;                                 // [E][F,W], [E][F,W], [E][W,F]
  std::vector<Numbers> gate_bias, up_bias, down_bias;                  // [E][F], [E][F], [E][W]
  Numbers shared_gate, shared_up, shared_down, mix, mix_bias;          // [S,H], [S,H], [H,S], [2,H], [2]
  Numbers latent_down, latent_up, latent_norm;                         // [W,H], [H,W], [W]
  double latent_epsilon = 0, router_scale = 1;
  double expert_roundoff = 0;                                          // of an expert's weight that fp32 does not hold: code * scale is rounded
  std::vector<Numbers> gate_code, up_code, down_code;                  // of gate, up and down before their scales; empty: not quantised, or not known
};

struct Routing {
  std::vector<std::int32_t> expert;                                    // [T,S]
  std::vector<Real> weight;                                            // [T,S]
  std::vector<Real> shared;                                            // [T,count]  SharedMix::router_rows
  std::vector<Real> logits;                                            // [T,N]      before scores
  Numbers margin;                                                      // [T]        least |difference| / its own bound of a choice; > 1: sure
};

struct Inputs {
  std::int64_t tokens = 0;
  Numbers x, router_x;                                                 // [T,H]
  Numbers logits;                                                      // [T,N]
  std::vector<std::int32_t> token_ids;                                 // [T]
  Routing given;                                                       // [T,S]
  std::int64_t sequence = 0;
  std::uint64_t seed = 0;
};

// Rows and columns of any element type, strides in elements.
inline double number(float v) { return double{v}; }
inline double number(bf16 v) { return double{to_float(v)}; }
inline double number(fp16 v) { return double{to_float(v)}; }
template <class T> Numbers numbers(T const* data, std::int64_t rows, std::int64_t columns, std::int64_t row_stride, std::int64_t column_stride = 1) {
  Numbers to;
  if (!data) return to;
  to.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t i = 0; i < columns; ++i) to.push_back(number(data[r * row_stride + i * column_stride]));
  return to;
}
// `held`: the type that the layer keeps them in, when a checkpoint stores another one.
template <DType D, int Out, int In> Numbers numbers(Matrix<D, Out, In> const& m, DType held = D) {
  Numbers to = numbers(m.data, Out, In, m.out_stride, m.in_stride);
  if (held != D) for (double& v : to) v = nearest(held, v);
  return to;
}

template <Config C, DType Stored> Weights weights(coterie::Weights<C, Stored> const& from) {
  static_assert(is_float(C.weights) ? is_float(Stored) : Stored == C.weights, "coterie::reference: stored expert weights must be numbers, or quantised as the config's are");
  Weights to;
  auto const expert = [](auto const& m, std::vector<Numbers>& value, std::vector<Numbers>& code) {
    if constexpr (is_float(C.weights)) return value.push_back(numbers(m, C.weights));
    else {
      Coded const all = coded<C.quant>(m);
      value.push_back(products(all)), code.push_back(all.code);
    }
  };
  to.expert_roundoff = is_float(C.weights) ? 0 : unit;
  to.router = numbers(from.router), to.noise = numbers(from.noise);
  to.router_bias = numbers(from.router_bias, 1, logit_columns(C), 0);
  to.select_bias = numbers(from.select_bias, 1, candidates(C), 0);
  to.expert_scale = numbers(from.expert_scale, 1, C.experts, 0);
  for (std::int64_t r = 0; r < from.table.rows; ++r) to.table.insert(to.table.end(), from.table[r], from.table[r] + C.top_k);
  for (std::size_t e = 0; e < static_cast<std::size_t>(C.experts); ++e) {
    expert(from.gate[e], to.gate, to.gate_code), expert(from.up[e], to.up, to.up_code), expert(from.down[e], to.down, to.down_code);
    if constexpr (C.expert.bias) {
      to.gate_bias.push_back(numbers(from.gate_bias[e], 1, C.ffn, 0)), to.up_bias.push_back(numbers(from.up_bias[e], 1, C.ffn, 0));
      to.down_bias.push_back(numbers(from.down_bias[e], 1, width(C), 0));
    }
  }
  to.shared_gate = numbers(from.shared.gate), to.shared_up = numbers(from.shared.up), to.shared_down = numbers(from.shared.down);
  int const mixes = C.shared.mix == SharedMix::sigmoid_gate ? 1 : 2;
  to.mix = numbers(from.shared.mix.data, mixes, C.hidden, from.shared.mix.out_stride, from.shared.mix.in_stride);
  to.mix_bias = from.shared.mix_bias ? numbers(from.shared.mix_bias, 1, mixes, 0) : Numbers(2, 0);
  to.latent_down = numbers(from.latent.down), to.latent_up = numbers(from.latent.up), to.latent_norm = numbers(from.latent.norm, 1, width(C), 0);
  to.latent_epsilon = double{from.latent.norm_epsilon}, to.router_scale = double{from.router_scale};
  return to;
}

// A routing as somebody computed it: its numbers are facts, without error.
inline Routing facts(std::int64_t tokens, int slots, int shared_rows, std::int32_t const* expert, float const* weight, float const* shared = nullptr) {
  Routing r;
  r.expert.assign(expert, expert + tokens * slots);
  for (std::int64_t i = 0; i < tokens * slots; ++i) r.weight.push_back({number(weight[i]), 0});
  for (std::int64_t i = 0; shared && i < tokens * shared_rows; ++i) r.shared.push_back({number(shared[i]), 0});
  r.margin.assign(static_cast<std::size_t>(tokens), infinity);
  return r;
}

template <Config C> Inputs inputs(coterie::Inputs<C> const& from) {
  Inputs to;
  std::int64_t const n = to.tokens = from.x.rows;
  to.x = numbers(from.x.data, n, C.hidden, from.x.stride), to.router_x = numbers(from.router_x.data, n, C.hidden, from.router_x.stride);
  to.logits = numbers(from.logits.data, n, logit_columns(C), from.logits.stride);
  if (from.token_ids) to.token_ids.assign(from.token_ids, from.token_ids + n);
  for (std::int64_t t = 0; t < n && from.routing.expert.data; ++t)
    for (int s = 0; s < slots(C); ++s) {
      to.given.expert.push_back(from.routing.expert[t][s]);
      if (from.routing.weight.data) to.given.weight.push_back({number(from.routing.weight[t][s]), 0});
    }
  to.given.margin.assign(static_cast<std::size_t>(n), infinity);
  to.sequence = from.sequence, to.seed = from.seed;
  return to;
}

}}}

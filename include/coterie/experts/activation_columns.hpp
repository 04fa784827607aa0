// The activation backwards on the host, 32 hidden columns of several rows at a time.
#pragma once
#include "../host/transpose.hpp"
#include "activation_gradient.hpp"

namespace coterie { inline namespace v0 {

namespace backward {

// Two rows (the first an even one) of 32 columns into a panel, at row `row` of its inputs.
template <class V> [[gnu::always_inline]] inline void panel_rows(V const* first, V const* second, V* panel, std::int64_t row) {
  using host::tile_outputs;
  for (int half = 0; half < 2; ++half) {
    V* const to = panel + host::panel_offset<V>(half * tile_outputs, row);
    V const *const a = first + half * tile_outputs, *const b = second + half * tile_outputs;
    for (int j = 0; j < tile_outputs; ++j) {
      constexpr bool pairs = std::is_same_v<V, bf16>;
      to[pairs ? 2 * j : j] = a[j], to[pairs ? 2 * j + 1 : tile_outputs + j] = b[j];
    }
  }
}

// 32 hidden columns of rows [0, rows). Where activations are gated a row of pre and of d_pre has 16 of gate, 16 of up, and these once more.
template <class V, class Operand> struct Columns {
  float const* d;                                // [rows][pitch] gradients of the hidden values before weight and gamma
  std::int64_t pitch, rows;
  std::int64_t real, columns;                    // of the 32, those that there are; of pre's, those that a row has left
  float const* weight;                           // [rows] of a row's output; null: 1
  float const* gamma;                            // [rows][gamma_stride] weights of blocks of hidden columns; null: 1
  std::int64_t gamma_stride, gamma_columns, first_column;
  V const* pre;                                  // [rows][row_columns] gate and up (ungated: up) as kept
  Operand* d_pre;                                // [rows][row_columns] out: their gradients
  std::int64_t row_columns;
  V* panel;                                      // out: hidden values, weighed, as a panel's inputs [first_row, first_row + rows)
  std::int64_t first_row;
  float* dots;                                   // [rows][dots_stride] out: <d, hidden>
  std::int64_t dots_stride;
  float* products;                               // [rows][32 dots_stride] out, with gamma: d * hidden * weight
  float *gate_bias, *up_bias;                    // [32] added to
};

// d: gradients of one row's hidden values, before the row's weight. hidden: as the forward pass rounded them. Returns <d, hidden>, in lanes
// and a tree.
template <ExpertConfig X, class V>
[[gnu::always_inline]] inline float activate_row(float const* d, float const* gate, float const* up, float weight, float* hidden, float* d_gate, float* d_up) {
  constexpr int n = host::panel_outputs;
  float product[n];
  for (int j = 0; j < n; ++j) {
    ActivationGradient const a = activation_gradient<X>(gated(X.act) ? gate[j] : 0.f, up[j]);
    float const h = rounded<V>(a.hidden), along = d[j] * weight;
    hidden[j] = h, product[j] = d[j] * h;
    d_gate[j] = along * a.gate, d_up[j] = along * a.up;
  }
  for (int half = n / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) product[j] += product[j + half];
  return product[0];
}
template <ExpertConfig X, class V, class Operand> [[gnu::always_inline]] inline void activate_columns(Columns<V, Operand> const& c) {
  constexpr int n = host::panel_outputs, half = gated(X.act) ? host::tile_outputs : n, behind = gated(X.act) ? half : 0;
  V weighed[2][n]{};
  for (std::int64_t r = 0; r < c.rows; ++r) {
    float gate[n]{}, up[n]{}, d[n], gamma[n], hidden[n], d_gate[n], d_up[n];
    V const* const pre = c.pre + r * c.row_columns;
    for (int f = 0; f < n && f + behind < c.columns; f += half) {        // column f's gate stands at f + f, its up 16 further
      V const* const at = pre + (gated(X.act) ? 2 * f : f);
      for (int j = 0; j < half; ++j) {
        if constexpr (gated(X.act)) gate[f + j] = to_float(at[j]);
        up[f + j] = to_float(at[behind + j]);
      }
    }
    for (int j = 0; j < n; ++j) gamma[j] = 1, d[j] = c.d[r * c.pitch + j];
    if (c.gamma)
      for (int j = 0; j < c.real; ++j) gamma[j] = c.gamma[r * c.gamma_stride + (c.first_column + j) / c.gamma_columns], d[j] *= gamma[j];
    for (std::int64_t j = c.real; j < n; ++j) d[j] = gate[j] = up[j] = 0;
    float const weight = c.weight ? c.weight[r] : 1.f;
    c.dots[r * c.dots_stride] = activate_row<X, V>(d, gate, up, weight, hidden, d_gate, d_up);
    if (c.gamma)
      for (int j = 0; j < n; ++j) c.products[r * c.dots_stride * n + j] = weight * c.d[r * c.pitch + j] * hidden[j];
    V* const h = weighed[(c.first_row + r) % 2];
    for (int j = 0; j < n; ++j) h[j] = from_float<V>(weight * gamma[j] * hidden[j]);
    for (std::int64_t j = c.real; j < n; ++j) h[j] = V{}, d_gate[j] = d_up[j] = 0;                         // also where something is NaN
    if ((c.first_row + r) % 2) backward::panel_rows(weighed[0], weighed[1], c.panel, c.first_row + r - 1);
    Operand* const to = c.d_pre + r * c.row_columns;
    for (int f = 0; f < n && f + behind < c.columns; f += half)
      for (int j = 0; j < half; ++j) {
        Operand* const at = to + (gated(X.act) ? 2 * f : f);
        if constexpr (gated(X.act)) at[j] = from_float<Operand>(d_gate[f + j]);
        at[behind + j] = from_float<Operand>(d_up[f + j]);
      }
    for (int j = 0; j < n; ++j) c.gate_bias[j] += d_gate[j], c.up_bias[j] += d_up[j];
  }
  if (std::int64_t const end = c.first_row + c.rows; end % 2) {
    V const none[n]{};
    backward::panel_rows(weighed[0], none, c.panel, end - 1);
  }
}
template <ExpertConfig X, class V, class Operand> void activate_portable(Columns<V, Operand> const& c) { activate_columns<X>(c); }
#if defined(__x86_64__)
template <ExpertConfig X, class V, class Operand> [[gnu::target("avx2,fma")]] void activate_avx2(Columns<V, Operand> const& c) { activate_columns<X>(c); }
#endif
template <ExpertConfig X, class V, class Operand> void activate(Isa path, Columns<V, Operand> const& c) {
#if defined(__x86_64__)
  if (path != Isa::portable) return activate_avx2<X>(c);
#endif
  (void)path;
  activate_portable<X>(c);
}

}

}}

// The activation backwards on the host, 32 hidden columns of a row at a time.
#pragma once
#include "../host/panel.hpp"
#include "activation_gradient.hpp"

namespace coterie { inline namespace v0 {

namespace backward {

// One row's 32 hidden columns: d, gradients of the hidden values before the row's weight; pre, gate and up (ungated: up alone) as kept.
struct Columns {
  float const *d, *gate, *up;
  float weight;                                  // of the row: gradients are multiplied by it
  float *hidden, *d_gate, *d_up;                 // [32] out: hidden values as the forward pass rounded them, and gradients
};
// Returns <d, hidden>, in lanes and a tree.
template <ExpertConfig X, class V> [[gnu::always_inline]] inline float activate_columns(Columns const& c) {
  constexpr int n = host::panel_outputs;
  float product[n];
  for (int j = 0; j < n; ++j) {
    ActivationGradient const a = activation_gradient<X>(gated(X.act) ? c.gate[j] : 0.f, c.up[j]);
    float const h = rounded<V>(a.hidden), d = c.d[j] * c.weight;
    c.hidden[j] = h, product[j] = c.d[j] * h;
    c.d_gate[j] = d * a.gate, c.d_up[j] = d * a.up;
  }
  for (int half = n / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) product[j] += product[j + half];
  return product[0];
}
template <ExpertConfig X, class V> float activate_portable(Columns const& c) { return activate_columns<X, V>(c); }
#if defined(__x86_64__)
template <ExpertConfig X, class V> [[gnu::target("avx2,fma")]] float activate_avx2(Columns const& c) { return activate_columns<X, V>(c); }
#endif

}

}}

// Panels the other way round: what a product with the transposed matrix, or with activations as the matrix, reads.
#pragma once
#include "panel.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Inputs [32 t, 32 t + 32) of a packed matrix as a panel of 32 outputs, whose inputs are the matrix's panel columns in their order:
// PanelShape{.outputs = 32, .inputs = panels * 32}. Of paired matrices gate and up stand in turn, 16 columns each.
template <class T> void transpose_panel(T const* packed, PanelShape shape, std::int64_t t, T* to) {
  for (std::int64_t p = 0; p < shape.panels(); ++p, to += 2 * tile_elements) {
    T const* const from = packed + p * shape.panel_elements() + t * 2 * tile_elements;
    for (int half = 0; half < 2; ++half)
      for (int o = 0; o < tile_outputs; ++o)
        for (int i = 0; i < tile_inputs; ++i)
          to[i / tile_outputs * tile_elements + tile_offset<T>(i % tile_outputs, half * tile_outputs + o)] = from[half * tile_elements + tile_offset<T>(o, i)];
  }
}

// Where column `o` of input `i` stands in a panel.
template <class T> constexpr std::int64_t panel_offset(int o, std::int64_t i) {
  return i / tile_inputs * (2 * tile_elements) + o / tile_outputs * tile_elements + tile_offset<T>(o % tile_outputs, static_cast<int>(i % tile_inputs));
}

}}}

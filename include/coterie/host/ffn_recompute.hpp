// Gate and up before the activation made again from x, as the forward pass computed them: the same engine and sums, so the same bits.
#pragma once
#include "ffn_gradient.hpp"
#include "rows.hpp"

namespace coterie { inline namespace v0 { namespace host {

// rows.x by rows.map, weighed by rows.in_weight -> pre[R, panels of up x 32]; a: [R,padded width] scratch of the engine's operands.
template <class V, class T, class Engine>
void recompute(Pool& pool, Engine const& engine, PanelShape up, FfnGroups<T> const& groups, FfnBackwardRows<V> const& rows, typename Engine::Operand* a, V* pre) {
  if (groups.count == 0) return;
  std::int64_t const padded = up.padded_inputs(), tasks = ceil_div(up.panels(), ffn_panels), begin = groups[0].begin, end = groups[groups.count - 1].end;
  for_chunks(pool, end - begin, token_chunk, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = begin + first; r < begin + last; ++r) {
      V const* const x = rows.x + (rows.map ? rows.map[r] : r) * rows.x_stride;
      if (rows.in_weight) widen_row_scaled(x, rows.in_weight[r], up.inputs, padded, a + r * padded);
      else widen_row(x, up.inputs, padded, a + r * padded);
    }
  });
  std::int64_t const columns = up.paired ? tile_outputs : panel_outputs;
  pool.run(groups.count * tasks, [&](std::int64_t task) {
    auto const g = groups[task / tasks];
    std::int64_t const p0 = task % tasks * ffn_panels, last = p0 + ffn_panels < up.panels() ? p0 + ffn_panels : up.panels();
    engine.multiply(g.gate_up, up, g.end - g.begin, p0, last, [&](std::int64_t r) { return a + (g.begin + r) * padded; },
                    [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                      std::int64_t const c0 = p * columns;
                      for (int m = 0; m < height; ++m)
                        keep_sums(sums + m * stride, n, up.paired, g.gate_bias ? g.gate_bias + c0 : nullptr, g.up_bias ? g.up_bias + c0 : nullptr, up.outputs - c0,
                                  pre + ((g.begin + r + m) * up.panels() + p) * panel_outputs);
                    });
  }, tasks);
}

}}}

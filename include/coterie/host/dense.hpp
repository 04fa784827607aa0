// A dense product on the pool: y[r][n] = x[r] . w[n], all rows.
#pragma once
#include "multiply.hpp"
#include "pool.hpp"
#include "rows.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Where a product goes: to[row * stride + output], after adding bias (if any) and rounding to Rounded.
template <class To, class Rounded = To> struct Output {
  To* to;
  std::int64_t stride;
  float const* bias;
};

// a: [rows][padded_inputs] fp32.
template <class T, class To, class Rounded>
void dense(Pool& pool, Isa path, T const* packed, PanelShape shape, float const* a, std::int64_t rows, Output<To, Rounded> out) {
  // Few rows: a task per panel, so that a small matrix still finds every thread.
  std::int64_t const row_tasks = ceil_div(rows, row_block), step = row_tasks > 1 ? column_block : 1, column_tasks = ceil_div(shape.panels(), step), k = shape.padded_inputs();
  pool.run(row_tasks * column_tasks, [&](std::int64_t task) {
    std::int64_t const r0 = task / column_tasks * row_block, p0 = task % column_tasks * step;
    std::int64_t const n = rows - r0 < row_block ? rows - r0 : row_block;
    std::int64_t const last = p0 + step < shape.panels() ? p0 + step : shape.panels();
    multiply(path, packed, shape, n, p0, last, [&](std::int64_t r) { return a + (r0 + r) * k; },
             [&](std::int64_t r, int height, std::int64_t p, std::int64_t width, float const* sums, std::int64_t stride) {
               std::int64_t const first = p * panel_outputs, end = (p + width) * panel_outputs < shape.outputs ? (p + width) * panel_outputs : shape.outputs;
               for (int m = 0; m < height; ++m)
                 for (std::int64_t o = first; o < end; ++o) {
                   float const sum = sums[m * stride + o - first];
                   out.to[(r0 + r + m) * out.stride + o] = from_float<To>(rounded<Rounded>(out.bias ? sum + out.bias[o] : sum));
                 }
             });
  });
}

}}}

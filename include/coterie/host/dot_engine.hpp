// The engine of AVX512_BF16 (see VectorEngine), for panels of bf16 and of codes; row(r) gives padded bf16 rows.
#pragma once
#include "dot_quantised.hpp"

namespace coterie { inline namespace v0 { namespace host {

struct DotEngine {
  using Operand = bf16;
  Isa path;
  template <DType D, QuantConfig Q, class Row, class Epilogue>
  void multiply(Quantised<D, Q> const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
#if defined(__x86_64__)
    dot_quantised(packed, shape, rows, first, last, row, epilogue);
#else
    (void)packed, (void)shape, (void)rows, (void)first, (void)last, (void)row, (void)epilogue;
#endif
  }
  template <class Row, class Epilogue>
  void multiply(bf16 const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
#if defined(__x86_64__)
    constexpr std::int64_t stride = panel_outputs;
    alignas(64) float sums[row_block * stride];
    bf16 const* a[row_block];
    for (std::int64_t p = first; p < last; ++p)
      for (std::int64_t r = 0; r < rows; r += row_block) {
        int const height = static_cast<int>(rows - r < row_block ? rows - r : row_block);
        for (int m = 0; m < height; ++m) a[m] = row(r + m);
        // Strips of equal height: 13 rows are 7 and 6, not 12 and 1.
        int const strips = (height + dot_rows - 1) / dot_rows, low = height / strips, high = height % strips;
        for (int s = 0, m = 0; s < strips; ++s) {
          int const n = s < high ? low + 1 : low;
          dot_panels[n](a + m, packed + p * shape.panel_elements(), shape.padded_inputs() / tile_inputs, sums + m * stride, stride,
                        s + 1 == strips && strips > 1 ? shape.panel_elements() * std::int64_t{sizeof(bf16)} : stream_ahead);
          m += n;
        }
        epilogue(r, height, p, std::int64_t{1}, sums, stride);
      }
#else
    (void)packed, (void)shape, (void)rows, (void)first, (void)last, (void)row, (void)epilogue;
#endif
  }
};

}}}

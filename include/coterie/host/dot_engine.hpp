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
    std::int64_t const tiles = shape.padded_inputs() / tile_inputs;
    for (std::int64_t p = first; p < last; ++p)
      for (std::int64_t r = 0; r < rows; r += row_block) {
        int const height = static_cast<int>(rows - r < row_block ? rows - r : row_block);
        for (int m = 0; m < height; ++m) a[m] = row(r + m);
        // Strips of equal height: 13 rows are 7 and 6, not 12 and 1.
        int const strips = (height + dot_rows - 1) / dot_rows, low = height / strips, high = height % strips;
        // Several take turns over tiles that stay in the first cache (of many rows, in the second); the last of them fetches what comes next.
        std::int64_t const step = strips == 1 ? tiles : rows > row_block ? dot_depth_of_blocks : dot_depth_of_strips;
        bf16 const* near[row_block];
        for (std::int64_t t = 0; t < tiles; t += step) {
          std::int64_t const depth = tiles - t < step ? tiles - t : step;
          for (int m = 0; m < height; ++m) near[m] = a[m] + t * tile_inputs;
          for (int s = 0, m = 0; s < strips; ++s) {
            int const n = s < high ? low + 1 : low;
            (strips > 1 ? dot_strips : dot_panels)[n](near + m, packed + p * shape.panel_elements() + t * 2 * tile_elements, depth, sums + m * stride, stride,
                          s + 1 == strips && strips > 1 ? depth * 2 * tile_elements * std::int64_t{sizeof(bf16)} : stream_ahead, t != 0);
            m += n;
          }
        }
        epilogue(r, height, p, std::int64_t{1}, sums, stride);
      }
#else
    (void)packed, (void)shape, (void)rows, (void)first, (void)last, (void)row, (void)epilogue;
#endif
  }
};

}}}

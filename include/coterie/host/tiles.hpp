// The matrix micro-kernel: AMX tiles over the packed panels. The kernel is written against a small tile machine, so that
// the tests run it on any processor with a software one.
#pragma once
#include "multiply_quantised.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Eight tile registers of up to 16 rows x 64 bytes.
struct TileShapes {
  std::uint8_t palette = 1, start_row = 0, reserved[14]{};
  std::uint16_t row_bytes[16]{};
  std::uint8_t rows[16]{};
};
static_assert(sizeof(TileShapes) == 64);

#if defined(__x86_64__)
// Written as instructions: GCC 12's intrinsics name only part of the memory they read, and stores before them may vanish.
struct AmxTiles {
  static void configure(TileShapes const& shapes) { asm volatile("ldtilecfg %0" : : "m"(shapes)); }
  static void release() { asm volatile("tilerelease" : : : "memory"); }
  template <int Tile> static void zero() { asm volatile("tilezero %%tmm%c0" : : "i"(Tile)); }
  template <int Tile> static void load(void const* from, std::int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(Tile) : "memory");
  }
  template <int Tile> static void store(void* to, std::int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(Tile) : "memory");
  }
  // sum[m][n] += a[m][2k] * b[k][2n] + a[m][2k+1] * b[k][2n+1], bf16 in, fp32 out.
  template <int Sum, int A, int B> static void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
  }
};
#endif

inline constexpr int tile_rows = 16, tile_row_block = 2 * tile_rows;
inline constexpr std::int64_t prefetch_tiles = 8;          // 8 KiB ahead of the products: as far as DRAM is away

// Up to 32 rows times one panel: two row tiles x two column tiles, the rows of a tile as many as there are.
template <class Tiles>
void multiply_panel(bf16 const* a, std::int64_t a_stride, int rows, bf16 const* panel, std::int64_t tiles, float* sums) {
  std::int64_t const a_bytes = a_stride * std::int64_t{sizeof(bf16)};
  constexpr std::int64_t b_bytes = 64, sum_bytes = panel_outputs * sizeof(float);
  bool const two = rows > tile_rows;
  Tiles::template zero<0>(), Tiles::template zero<1>();
  if (two) Tiles::template zero<2>(), Tiles::template zero<3>();
  for (std::int64_t t = 0; t < tiles; ++t, panel += 2 * tile_elements, a += tile_inputs) {
    for (int line = 0; line < 2 * tile_elements; line += 32) fetch(panel + line, prefetch_tiles * tile_elements * std::int64_t{sizeof(bf16)});
    Tiles::template load<6>(panel, b_bytes), Tiles::template load<7>(panel + tile_elements, b_bytes);
    Tiles::template load<4>(a, a_bytes);
    Tiles::template multiply<0, 4, 6>(), Tiles::template multiply<1, 4, 7>();
    if (two) {
      Tiles::template load<5>(a + tile_rows * a_stride, a_bytes);
      Tiles::template multiply<2, 5, 6>(), Tiles::template multiply<3, 5, 7>();
    }
  }
  Tiles::template store<0>(sums, sum_bytes), Tiles::template store<1>(sums + tile_outputs, sum_bytes);
  if (two) {
    float* const lower = sums + tile_rows * panel_outputs;
    Tiles::template store<2>(lower, sum_bytes), Tiles::template store<3>(lower + tile_outputs, sum_bytes);
  }
}

inline TileShapes shapes_for(int rows) {
  TileShapes s;
  int const upper = rows < tile_rows ? rows : tile_rows, lower = rows > tile_rows ? rows - tile_rows : 1;
  for (int tile = 0; tile < 8; ++tile) {
    bool const below = tile == 2 || tile == 3 || tile == 5;
    s.row_bytes[tile] = 64;
    s.rows[tile] = static_cast<std::uint8_t>(tile >= 6 ? tile_rows : below ? lower : upper);
  }
  return s;
}

// How a product is computed: engines share one interface, and what they read (Operand) differs.
struct VectorEngine {
  using Operand = float;
  Isa path;
  template <class T, class Row, class Epilogue>
  void multiply(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
    host::multiply(path, packed, shape, rows, first, last, row, epilogue);
  }
};
// Rows of bf16 that follow each other at padded_inputs: row(0) is where they begin.
template <class Tiles> struct TileEngine {
  using Operand = bf16;
  Isa path;
  template <class Row, class Epilogue>
  void multiply(bf16 const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
    alignas(64) float sums[tile_row_block * panel_outputs];
    std::int64_t const stride = shape.padded_inputs();
    bf16 const* const a = row(0);
    int configured = 0;
    for (std::int64_t p = first; p < last; ++p)
      for (std::int64_t r = 0; r < rows; r += tile_row_block) {
        int const height = static_cast<int>(rows - r < tile_row_block ? rows - r : tile_row_block);
        if (height != configured) Tiles::configure(shapes_for(configured = height));
        multiply_panel<Tiles>(a + r * stride, stride, height, packed + p * shape.panel_elements(), stride / tile_inputs, sums);
        epilogue(r, height, p, 1, sums, std::int64_t{panel_outputs});
      }
    Tiles::release();
  }
};

}}}

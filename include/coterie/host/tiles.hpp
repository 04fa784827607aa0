// The matrix micro-kernel: AMX tiles over the packed panels. The kernel is written against a small tile machine, so that
// the tests run it on any processor with a software one.
//
// Every element is one chain over its inputs: between blocks of them sums wait in memory, exactly, so that the bits are the same for
// any number of rows.
#pragma once
#include "block.hpp"

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
  // sum[m][n] += a[m][4k + j] * b[k][4n + j], j < 4, bytes in, int32 out: a signed, b signed or unsigned.
  template <int Sum, int A, int B> static void multiply_signed() {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
  }
  template <int Sum, int A, int B> static void multiply_unsigned() {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(Sum), "i"(A), "i"(B));
  }
};
#endif

inline constexpr int tile_rows = 16, tile_row_block = 2 * tile_rows;
inline constexpr std::int64_t block_sums = tile_row_block * panel_outputs;       // of a row block and a panel: 4 KiB

// A step of 4 products takes 64 cycles, and L2 gives about half a line a cycle: of the step's 64 lines at most the activations' 32 may
// come from there. So row blocks pass over blocks of 8 tile pairs: 16 KiB of weights, 16 of a row block's activations and 8 of its and
// the last one's sums stay in 48 KiB of L1 (16 pairs would not: a row block's activations alone would drive the weights out). Sums
// cost 8 tile loads and stores in 8 steps.
inline constexpr std::int64_t block_tiles = 8;
// Rows and panels that pass over a block while the activations' part of it (128 KiB of 256 rows) is in L2: of 128 rows, 4 panels.
inline constexpr std::int64_t row_chunk = 256, chunk_blocks = 16;                // so many times 4 KiB of sums, on the stack
inline constexpr std::int64_t stream_tiles_ahead = 4;                            // pairs: 8 KiB of bf16, as far as DRAM is away

// Fetches the line `bytes` behind p (an address, never read here) no nearer than L2: L1 is full.
inline void fetch_far(void const* p, std::int64_t bytes) {
  __builtin_prefetch(reinterpret_cast<void const*>(reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(bytes)), 0, 2);
}

// Up to 32 rows times tile pairs [0, tiles): two row tiles x two column tiles, the rows of a tile as many as there are.
// sums[32][32]: continued or begun. beside(t): what is to be done between the products of pair t.
template <class Tiles, class Beside>
void multiply_tiles(bf16 const* a, std::int64_t a_stride, int rows, bf16 const* panel, std::int64_t tiles, float* sums, bool continued, Beside const& beside) {
  std::int64_t const a_bytes = a_stride * std::int64_t{sizeof(bf16)};
  constexpr std::int64_t b_bytes = 64, sum_bytes = panel_outputs * sizeof(float);
  bool const two = rows > tile_rows;
  float* const lower = sums + tile_rows * panel_outputs;
  if (continued) {
    Tiles::template load<0>(sums, sum_bytes), Tiles::template load<1>(sums + tile_outputs, sum_bytes);
    if (two) Tiles::template load<2>(lower, sum_bytes), Tiles::template load<3>(lower + tile_outputs, sum_bytes);
  } else {
    Tiles::template zero<0>(), Tiles::template zero<1>();
    if (two) Tiles::template zero<2>(), Tiles::template zero<3>();
  }
  for (std::int64_t t = 0; t < tiles; ++t, panel += 2 * tile_elements, a += tile_inputs) {
    beside(t);
    Tiles::template load<6>(panel, b_bytes), Tiles::template load<7>(panel + tile_elements, b_bytes);
    Tiles::template load<4>(a, a_bytes);
    Tiles::template multiply<0, 4, 6>(), Tiles::template multiply<1, 4, 7>();
    if (two) {
      Tiles::template load<5>(a + tile_rows * a_stride, a_bytes);
      Tiles::template multiply<2, 5, 6>(), Tiles::template multiply<3, 5, 7>();
    }
  }
  Tiles::template store<0>(sums, sum_bytes), Tiles::template store<1>(sums + tile_outputs, sum_bytes);
  if (two) Tiles::template store<2>(lower, sum_bytes), Tiles::template store<3>(lower + tile_outputs, sum_bytes);
}

// weight_rows: of a tile of weights, each with four bytes of an output's inputs; as many are in a row of activations.
inline TileShapes shapes_for(int rows, int weight_rows = tile_rows) {
  TileShapes s;
  int const upper = rows < tile_rows ? rows : tile_rows, lower = rows > tile_rows ? rows - tile_rows : 1;
  for (int tile = 0; tile < 8; ++tile) {
    bool const below = tile == 2 || tile == 3 || tile == 5;
    s.row_bytes[tile] = static_cast<std::uint16_t>(tile == 4 || tile == 5 ? 4 * weight_rows : 64);
    s.rows[tile] = static_cast<std::uint8_t>(tile >= 6 ? weight_rows : below ? lower : upper);
  }
  return s;
}

// Rows in blocks of one height, so that tiles are configured once; the last block may begin inside the one before it.
struct RowBlocks {
  std::int64_t begin, rows;
  int count, height;
  RowBlocks(std::int64_t first, std::int64_t n)
      : begin(first), rows(n), count(static_cast<int>(ceil_div(n, tile_row_block))), height(static_cast<int>(ceil_div(n, count))) {}
  std::int64_t shared(int block) const {                       // rows that it has in common with the one before
    std::int64_t const end = std::int64_t{block + 1} * height;
    return end > rows ? end - rows : 0;
  }
  std::int64_t first(int block) const { return begin + std::int64_t{block} * height - shared(block); }
};
// Tile pairs [tile, tile + depth) of a panel.
struct TileBlock {
  std::int64_t panel, tile, depth;
};

// How a panel's tile pairs are cut into blocks: at every `period` of them, and inside a period at every `depth`.
struct TileCuts {
  std::int64_t period, depth;
  int weight_rows = tile_rows;                                 // see shapes_for()
  std::int64_t blocks(std::int64_t tiles) const { return tiles / period * ceil_div(period, depth) + ceil_div(tiles % period, depth); }
  TileBlock block(std::int64_t panel, std::int64_t i, std::int64_t tiles) const {
    std::int64_t const in_period = i % ceil_div(period, depth) * depth, t = i / ceil_div(period, depth) * period + in_period;
    std::int64_t const left = tiles - t < period - in_period ? tiles - t : period - in_period;
    return {panel, t, left < depth ? left : depth};
  }
};

// Calls product(blocks, now, next, sums[blocks.count][32][32]) for every block of panels [first, last), panel by panel where there is one
// row block, else the same block of several panels in turn; next: the block of the next call, of no depth after the last one.
// Then epilogue() as multiply() of multiply.hpp does.
template <class Tiles, class Product, class Epilogue>
void for_tile_blocks(std::int64_t rows, std::int64_t first, std::int64_t last, std::int64_t tiles, TileCuts const& cuts, Product const& product, Epilogue const& epilogue) {
  alignas(64) float sums[chunk_blocks * block_sums];
  std::int64_t const steps = cuts.blocks(tiles);
  for (std::int64_t r = 0, n = 0; r < rows; r += n) {
    n = ceil_div(rows - r, ceil_div(rows - r, row_chunk));
    RowBlocks const blocks{r, n};
    Tiles::configure(shapes_for(blocks.height, cuts.weight_rows));
    std::int64_t const width = chunk_blocks / blocks.count;
    for (std::int64_t p = first; p < last; p += width) {
      std::int64_t const panels = last - p < width ? last - p : width;
      auto const block = [&](std::int64_t i) -> TileBlock {
        if (i == panels * steps) return {p + panels, 0, p + panels == last ? 0 : cuts.block(p + panels, 0, tiles).depth};
        return blocks.count == 1 ? cuts.block(p + i / steps, i % steps, tiles) : cuts.block(p + i % panels, i / panels, tiles);
      };
      for (std::int64_t i = 0; i < panels * steps; ++i) {
        TileBlock const now = block(i);
        product(blocks, now, block(i + 1), sums + (now.panel - p) * blocks.count * block_sums);
      }
      for (std::int64_t q = 0; q < panels; ++q)
        for (int b = 0; b < blocks.count; ++b) {
          std::int64_t const twice = blocks.shared(b);
          epilogue(blocks.first(b) + twice, static_cast<int>(blocks.height - twice), p + q, std::int64_t{1},
                   sums + (q * blocks.count + b) * block_sums + twice * panel_outputs, std::int64_t{panel_outputs});
        }
    }
  }
  Tiles::release();
}

// Panels of bf16.
template <class Tiles, class Epilogue>
void multiply_on_tiles(bf16 const* packed, PanelShape shape, bf16 const* a, std::int64_t rows, std::int64_t first, std::int64_t last, Epilogue const& epilogue) {
  std::int64_t const stride = shape.padded_inputs(), tiles = stride / tile_inputs;
  auto const at = [&](TileBlock const& b) { return packed + b.panel * shape.panel_elements() + b.tile * 2 * tile_elements; };
  constexpr std::int64_t line = 64, pair_lines = 2 * tile_elements * std::int64_t{sizeof(bf16)} / line;
  auto const product = [&](RowBlocks const& blocks, TileBlock const& now, TileBlock const& next, float* sums) {
    if (blocks.count == 1)                                     // a panel at once, from memory to registers
      return multiply_tiles<Tiles>(a + blocks.begin * stride, stride, blocks.height, at(now), now.depth, sums, false, [&](std::int64_t t) {
        for (std::int64_t i = 0; i < pair_lines; ++i) fetch(at(now) + t * 2 * tile_elements, stream_tiles_ahead * pair_lines * line + i * line);
      });
    // The next block's weights are fetched a share a step, and the next inputs of every row a share a panel.
    std::int64_t const share = ceil_div(pair_lines, blocks.count), panels = chunk_blocks / blocks.count;
    for (int b = 0; b < blocks.count; ++b) {
      bf16 const* const from = a + blocks.first(b) * stride + now.tile * tile_inputs;
      multiply_tiles<Tiles>(from, stride, blocks.height, at(now), now.depth, sums + b * block_sums, now.tile != 0, [&](std::int64_t t) {
        for (std::int64_t i = 0; i < share; ++i) fetch_far(at(next), ((b * now.depth + t) * share + i) * line);
        for (std::int64_t row = now.panel % panels; row < blocks.height; row += panels) fetch_far(from + row * stride + t * tile_inputs, block_tiles * line);
      });
    }
  };
  bool const many = rows > tile_row_block;
  std::int64_t const depth = many ? block_tiles : tiles;
  for_tile_blocks<Tiles>(rows, first, last, tiles, TileCuts{.period = depth, .depth = depth}, product, epilogue);
}

}}}

// Quantised panels by AMX: codes become tiles of bf16, unscaled and exact, once for all rows of a chunk; the sums of a group of
// inputs leave the tiles and are scaled and added up in fp32.
//
// The other way, tiles of code * scale rounded to bf16, costs 2^-9 of every weight, and 140 cycles to decode a pair of tiles where
// look-ups of 4-bit codes take 45: one row at the pace of memory (16.9 GB/s at 3.5 GHz) has 119. What scales cost, in groups of 32 inputs
// and 32 rows: a pair's products take 64 cycles, storing its sums and half a total 96, so that 128 rows take 384 and bf16 at the pace of
// memory 424; from groups of 128 on (40 of 64) the products hide it. (Cycles are counted, not measured.)
#pragma once
#include "dot_quantised.hpp"
#include "tiles.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

#if defined(__x86_64__)
// Groups whose sums wait together, so that the total is read and written once for both: 8 KiB of 32 rows, which L1 still has.
inline constexpr int sums_in_wait = 2;

// sums[rows][32] += scale[g][32] * waiting[g][rows][32], group after group.
template <int Groups>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void add_groups(float const* waiting, float const* const* scale, int rows, float* sums) {
  floats<16> s[Groups][2];
  for (int g = 0; g < Groups; ++g) std::memcpy(s[g], scale[g], sizeof s[g]);
  for (int m = 0; m < rows; ++m)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      std::int64_t const at = m * panel_outputs + half * tile_outputs;
      floats<16> sum, v;
      std::memcpy(&sum, sums + at, sizeof sum);
#pragma GCC unroll 2
      for (int g = 0; g < Groups; ++g) {
        std::memcpy(&v, waiting + g * block_sums + at, sizeof v);
        sum = v * s[g][half] + sum;
      }
      std::memcpy(sums + at, &sum, sizeof sum);
    }
}
using AddGroups = void (*)(float const* waiting, float const* const* scale, int rows, float* sums);
inline constexpr AddGroups add_groups_of[sums_in_wait + 1]{nullptr, &add_groups<1>, &add_groups<2>};

// A block's tiles, and the scales of the group of every pair that begins one or the block.
template <class T> struct DecodedBlock {
  alignas(64) bf16 pairs[block_tiles * 2 * tile_elements];
  alignas(64) float scales[block_tiles * panel_outputs];
  void decode(T const* panel, TileBlock const& block, std::int64_t pair, std::int64_t group) {
    PairOf<T> const at(panel, block.tile + pair, group);
    code_pairs<T>(at, pairs + pair * 2 * tile_elements);
    if (pair == 0 || (block.tile + pair) % group == 0) group_scales<T>(at, scales + pair * panel_outputs);
  }
};

template <class Tiles, DType D, QuantConfig Q, class Epilogue>
void multiply_on_tiles(Quantised<D, Q> const* packed, PanelShape shape, bf16 const* a, std::int64_t rows, std::int64_t first, std::int64_t last, Epilogue const& epilogue) {
  using T = Quantised<D, Q>;
  alignas(64) float waiting[sums_in_wait * block_sums];
  DecodedBlock<T> decoded[2];
  int ready = -1;                                              // which of them holds the block that comes now; before the first: none
  std::int64_t const stride = shape.padded_inputs(), tiles = stride / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape);
  for_tile_blocks<Tiles>(rows, first, last, tiles, TileCuts{.period = block_tiles, .depth = block_tiles}, [&](RowBlocks const& blocks, TileBlock const& now, TileBlock const& next, float* sums) {
    if (ready < 0) {
      ready = 0;
      for (std::int64_t t = 0; t < now.depth; ++t) decoded[0].decode(packed + now.panel * panel_bytes, now, t, group);
    }
    DecodedBlock<T> const& block = decoded[ready];
    DecodedBlock<T>& coming = decoded[1 - ready];
    std::int64_t step = 0, coming_pairs = 0;
    auto const decode_to = [&](std::int64_t pairs) {
      for (; coming_pairs < pairs && coming_pairs < next.depth; ++coming_pairs) coming.decode(packed + next.panel * panel_bytes, next, coming_pairs, group);
    };
    std::int64_t const panels = chunk_blocks / blocks.count;
    for (int b = 0; b < blocks.count; ++b) {
      float* const to = sums + b * block_sums;
      if (now.tile == 0) std::memset(to, 0, sizeof(float) * panel_outputs * static_cast<std::size_t>(blocks.height));
      bf16 const* const from = a + blocks.first(b) * stride + now.tile * tile_inputs;
      for (std::int64_t t = 0; t < now.depth;) {
        float const* scale[sums_in_wait];
        int groups = 0;
        for (std::int64_t depth = 0; groups < sums_in_wait && t < now.depth; ++groups, t += depth) {
          std::int64_t const left = group - (now.tile + t) % group;
          depth = now.depth - t < left ? now.depth - t : left;
          scale[groups] = block.scales + t * panel_outputs;
          bf16 const* const inputs = from + t * tile_inputs;
          // The next block is decoded beside these products, a pair in as many steps as there are row blocks.
          multiply_tiles<Tiles>(inputs, stride, blocks.height, block.pairs + t * 2 * tile_elements, depth, waiting + groups * block_sums, false, [&](std::int64_t k) {
            decode_to(++step / blocks.count);
            if (blocks.count > 1)
              for (std::int64_t row = now.panel % panels; row < blocks.height; row += panels) fetch_far(inputs + row * stride + k * tile_inputs, block_tiles * 64);
          });
        }
        add_groups_of[groups](waiting, scale, blocks.height, to);
      }
    }
    decode_to(next.depth);                                     // this block may have been shorter
    ready = next.depth ? 1 - ready : -1;
  }, epilogue);
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

// Rows of 8-bit activations times quantised panels on AMX tiles: exact sums of a run leave the tiles, and are scaled and added up in
// fp32 as by every other kernel of int8_dot.hpp: the same bits.
//
// A tile of weights is 64 inputs x 16 outputs: two consecutive tile pairs of a run (one where groups have an odd number of them), whose
// codes are put together once for all rows of a chunk. Int8 codes without zero points are multiplied as they are, others as unsigned
// bytes, which the record's sum of the run corrects.
#pragma once
#include "int8_product.hpp"
#include "tiles.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

#if defined(__x86_64__)
template <class T> inline constexpr bool signed_bytes = T::dtype == DType::int8 && !T::zeros;

// Runs whose sums wait together, so that the total is read and written once for both: 8 KiB of 32 rows, which L1 still has.
inline constexpr int runs_in_wait = 2;
// Bytes of 32 inputs of a panel, and the most of a block: 16 KiB, as many as a row block's activations have.
inline constexpr std::int64_t pair_step = 2 * tile_elements, block_inputs = run_tiles * tile_inputs;

// Blocks are whole runs, of 512 inputs at most.
constexpr TileCuts int8_cuts(std::int64_t tiles, std::int64_t group) {
  std::int64_t const period = group < run_tiles ? run_tiles / group * group : group;
  return {.period = period, .depth = run_tiles, .weight_rows = group % 2 && group < tiles ? tile_rows / 2 : tile_rows};
}

// A block's weights, [steps][2 halves][weight rows][16 outputs][4 inputs], and the scales and zero points of the run that a pair begins.
template <class T> struct RunBytes {
  alignas(64) std::byte bytes[run_tiles * pair_step];
  alignas(64) float scale[run_tiles][panel_outputs];
  alignas(64) std::int32_t zero[T::zeros ? run_tiles : 1][panel_outputs];
  [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void decode(T const* panel, TileBlock const& block, std::int64_t pair, std::int64_t group, int weight_rows) {
    PairOf<T> const at(panel, block.tile + pair, group);
    bool const two = weight_rows == tile_rows;     // pairs in a step
    std::int64_t const in_step = two ? pair % 2 : 0, half = tile_elements * (two ? 2 : 1);
    std::byte* const to = bytes + (pair - in_step) * pair_step + in_step * tile_elements;
    tile_bytes<T>(at.tiles, to), tile_bytes<T>(at.tiles + T::tile_bytes, to + half);
    // The last run of a row may end inside a step.
    if (two && in_step == 0 && pair + 1 == block.depth) std::memset(to + tile_elements, 0, tile_elements), std::memset(to + half + tile_elements, 0, tile_elements);
    if ((block.tile + pair) % group % run_tiles == 0) load_group<T, 16>(at, scale[pair], zero[T::zeros ? pair : 0]);
  }
};

// sums[rows][32] += scale[g][32] * (waiting[g][rows][32] and what the rows' records correct it by), run after run. records[m] + held: the
// record's sum of the first of these runs.
template <class T, int Runs>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void add_runs(std::int32_t const* waiting, float const (*const* scale)[panel_outputs], std::int32_t const (*const* zero)[panel_outputs],
                                                                              std::byte const* const* records, std::int64_t held, int rows, float* sums) {
  floats<16> s[Runs][2];
  [[maybe_unused]] words<16> z[Runs][2];
  for (int g = 0; g < Runs; ++g) {
    std::memcpy(s[g], scale[g], sizeof s[g]);
    if constexpr (T::zeros) std::memcpy(z[g], zero[g], sizeof z[g]);
  }
  for (int m = 0; m < rows; ++m) {
    [[maybe_unused]] std::uint32_t sum_of_run[Runs];
    std::memcpy(sum_of_run, records[m] + held, sizeof sum_of_run);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      std::int64_t const at = m * panel_outputs + half * tile_outputs;
      floats<16> sum;
      std::memcpy(&sum, sums + at, sizeof sum);
#pragma GCC unroll 2
      for (int g = 0; g < Runs; ++g) {
        words<16> acc;
        std::memcpy(&acc, waiting + g * block_sums + at, sizeof acc);
        if constexpr (T::zeros) acc -= z[g][half] * sum_of_run[g];
        else if constexpr (!signed_bytes<T>) acc += sum_of_run[g];
        floats<16> const products = __builtin_convertvector((vector_of<std::int32_t, 16>::type)acc, floats<16>);
        asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(products), "v"(s[g][half]));
      }
      std::memcpy(sums + at, &sum, sizeof sum);
    }
  }
}

// Up to 32 rows times the steps of a run: two row tiles x two column tiles. beside(k): what is to be done between the products of step k.
template <class Tiles, class T, class Beside>
void multiply_run(std::byte const* a, std::int64_t a_stride, int rows, std::byte const* weights, std::int64_t steps, int weight_rows, std::int32_t* to, Beside const& beside) {
  constexpr std::int64_t row_bytes = 64, sum_bytes = panel_outputs * sizeof(std::int32_t);
  std::int64_t const tile = weight_rows * row_bytes;
  bool const two = rows > tile_rows;
  Tiles::template zero<0>(), Tiles::template zero<1>();
  if (two) Tiles::template zero<2>(), Tiles::template zero<3>();
  for (std::int64_t k = 0; k < steps; ++k, weights += 2 * tile, a += 4 * weight_rows) {
    beside(k);
    Tiles::template load<6>(weights, row_bytes), Tiles::template load<7>(weights + tile, row_bytes);
    Tiles::template load<4>(a, a_stride);
    if constexpr (signed_bytes<T>) Tiles::template multiply_signed<0, 4, 6>(), Tiles::template multiply_signed<1, 4, 7>();
    else Tiles::template multiply_unsigned<0, 4, 6>(), Tiles::template multiply_unsigned<1, 4, 7>();
    if (two) {
      Tiles::template load<5>(a + tile_rows * a_stride, a_stride);
      if constexpr (signed_bytes<T>) Tiles::template multiply_signed<2, 5, 6>(), Tiles::template multiply_signed<3, 5, 7>();
      else Tiles::template multiply_unsigned<2, 5, 6>(), Tiles::template multiply_unsigned<3, 5, 7>();
    }
  }
  std::int32_t* const lower = to + tile_rows * panel_outputs;
  Tiles::template store<0>(to, sum_bytes), Tiles::template store<1>(to + tile_outputs, sum_bytes);
  if (two) Tiles::template store<2>(lower, sum_bytes), Tiles::template store<3>(lower + tile_outputs, sum_bytes);
}

// The records of a chunk of rows. Tiles read codes where they are if the records are equally far apart, else a copy of a block's inputs
// (128 KiB of 256 rows, in L2), which several panels share.
struct ChunkRecords {
  alignas(64) std::byte copy[row_chunk * block_inputs];
  std::byte const* record[row_chunk];
  std::int64_t begin = -1, copied = -1, stride = 0;            // copied: the tile pair that the copy begins with
  bool straight = false;
  template <class Row> void seek(RowBlocks const& blocks, TileBlock const& now, Row const& row) {
    if (begin != blocks.begin) {
      begin = blocks.begin, copied = -1, straight = true;
      for (std::int64_t r = 0; r < blocks.rows; ++r) record[r] = row(begin + r);
      stride = blocks.rows > 1 ? distance(0) : 0;
      for (std::int64_t r = 1; r + 1 < blocks.rows; ++r) straight = straight && distance(r) == stride;
    }
    if (straight || copied == now.tile) return;
    copied = now.tile;
    // Whole steps of 64 inputs: a record has as many bytes behind its last code.
    auto const bytes = static_cast<std::size_t>(round_up(now.depth * tile_inputs, 64));
    for (std::int64_t r = 0; r < blocks.rows; ++r) std::memcpy(copy + r * block_inputs, record[r] + now.tile * tile_inputs, bytes);
  }
  std::byte const* codes(std::int64_t r, TileBlock const& now) const { return straight ? record[r] + now.tile * tile_inputs : copy + r * block_inputs; }
  std::int64_t codes_stride() const { return straight ? stride : block_inputs; }

 private:
  std::int64_t distance(std::int64_t r) const { return static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(record[r + 1]) - reinterpret_cast<std::uintptr_t>(record[r])); }
};

// Not inlined: other paths of the engine need not have its quarter of a MiB of stack.
template <class Tiles, class T, class Row, class Epilogue>
[[gnu::noinline]] void multiply_int8_on_tiles(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) {
  alignas(64) std::int32_t waiting[runs_in_wait * block_sums];
  RunBytes<T> decoded[2];
  ChunkRecords records;
  int ready = -1;                                              // which of `decoded` holds the block that comes now; before the first: none
  std::int64_t const padded = shape.padded_inputs(), tiles = padded / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape);
  TileCuts const cuts = int8_cuts(tiles, group), runs{.period = group, .depth = run_tiles};
  std::int64_t const in_step = cuts.weight_rows == tile_rows ? 2 : 1;                        // tile pairs
  auto const product = [&](RowBlocks const& blocks, TileBlock const& now, TileBlock const& next, float* sums) {
    records.seek(blocks, now, row);
    auto const decode = [&](RunBytes<T>& to, TileBlock const& block, std::int64_t pair) { to.decode(packed + block.panel * panel_bytes, block, pair, group, cuts.weight_rows); };
    if (ready < 0) {
      ready = 0;
      for (std::int64_t pair = 0; pair < now.depth; ++pair) decode(decoded[0], now, pair);
    }
    RunBytes<T> const& block = decoded[ready];
    std::int64_t step = 0, coming_pairs = 0;
    auto const decode_to = [&](std::int64_t pairs) {
      for (; coming_pairs < pairs && coming_pairs < next.depth; ++coming_pairs) decode(decoded[1 - ready], next, coming_pairs);
    };
    std::int64_t const panels = chunk_blocks / blocks.count;
    for (int b = 0; b < blocks.count; ++b) {
      float* const to = sums + b * block_sums;
      if (now.tile == 0) std::memset(to, 0, sizeof(float) * panel_outputs * static_cast<std::size_t>(blocks.height));
      std::int64_t const r = blocks.first(b) - blocks.begin;
      std::int64_t run = runs.blocks(now.tile);
      for (std::int64_t t = 0; t < now.depth;) {
        float const(*scale[runs_in_wait])[panel_outputs];
        std::int32_t const(*zero[runs_in_wait])[panel_outputs];
        int n = 0;
        for (std::int64_t depth = 0; n < runs_in_wait && t < now.depth; ++n, t += depth) {
          depth = run_depth(now.tile + t, tiles, group);
          scale[n] = &block.scale[t], zero[n] = &block.zero[T::zeros ? t : 0];
          // The next block is decoded beside these products, and the next inputs of every row are fetched, a share a panel.
          multiply_run<Tiles, T>(records.codes(r, now) + t * tile_inputs, records.codes_stride(), blocks.height, block.bytes + t * pair_step, ceil_div(depth, in_step), cuts.weight_rows,
                                 waiting + n * block_sums, [&](std::int64_t k) {
                                   decode_to(++step * in_step / blocks.count);
                                   if (blocks.count > 1)
                                     for (std::int64_t m = now.panel % panels; m < blocks.height; m += panels)
                                       fetch_far(records.record[r + m] + (now.tile + t + k * in_step) * tile_inputs, block_inputs);
                                 });
        }
        std::int64_t const held = padded + 4 + 4 * run;
        if (n == 2) add_runs<T, 2>(waiting, scale, zero, records.record + r, held, blocks.height, to);
        else add_runs<T, 1>(waiting, scale, zero, records.record + r, held, blocks.height, to);
        run += n;
      }
    }
    decode_to(next.depth);                                     // this block may have been shorter
    ready = next.depth ? 1 - ready : -1;
  };
  for_tile_blocks<Tiles>(rows, first, last, tiles, cuts, product, [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float* sums, std::int64_t stride) {
    for (int m = 0; m < height; ++m) {
      float scale;
      std::memcpy(&scale, row(r + m) + padded, sizeof scale);
      for (int o = 0; o < panel_outputs; ++o) sums[m * stride + o] *= scale;
    }
    epilogue(r, height, p, n, static_cast<float const*>(sums), stride);
  });
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

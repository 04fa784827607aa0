// Rows of fp32 activations times packed panels, on the path asked for.
#pragma once
#include "block.hpp"
#include "cpu.hpp"

namespace coterie { inline namespace v0 { namespace host {

// One step of every path: `rows` activation rows (pointers) times tiles [0, tiles) of one panel into sums[rows][32].
template <class T>
using BlockFunction = void (*)(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums,
                               std::int64_t sums_stride, bool accumulate, T const* ahead);

template <int Lanes, int M, int G, class T, class Stored>
[[gnu::always_inline]] inline void strip(float const* const*& a, int& rows, T const* panel, std::int64_t tiles, float*& sums,
                                         std::int64_t stride, bool accumulate, Stored const* ahead) {
  for (; rows >= M; rows -= M, a += M, sums += M * stride)
    for (int half = 0; half < 2; half += G)
      block<Lanes, M, G>(a, panel, tiles, half, sums + half * tile_outputs, stride, accumulate, ahead);
}

inline constexpr std::int64_t tile_block = 4;              // 128 inputs: a panel's block is 16 KiB of fp32, half an L1

// Tiles to fp32 tiles: once per block of a panel where that is cheaper than in every row's inner loop. Always for fp16;
// for bf16 from 12 rows up (AVX2, 48 rows: 73 GFLOP/s after widening, 61 without), where stream_rows ends.
template <class T> inline constexpr int widen_from_rows = std::is_same_v<T, fp16> ? 1 : std::is_same_v<T, bf16> ? 12 : 1 << 30;

template <int Lanes> [[gnu::always_inline]] inline void widen_tiles(bf16 const* tile, std::int64_t tiles, float* to) {
  for (std::int64_t t = 0; t < 2 * tiles; ++t, tile += tile_elements, to += tile_elements)
    for (int i = 0; i < tile_inputs; ++i)
      for (int lane = 0; lane < tile_outputs; lane += Lanes) {
        floats<Lanes> v;
        load_input<Lanes>(tile, i, lane, v);
        std::memcpy(to + i * tile_outputs + lane, &v, sizeof v);
      }
}
template <int Lanes> [[gnu::always_inline]] inline void widen_tiles(fp16 const* tile, std::int64_t tiles, float* to) {
  for (std::int64_t i = 0; i < 2 * tiles * tile_elements; i += Lanes) {
    typename vector_of<std::uint16_t, Lanes>::type half;
    std::memcpy(&half, tile + i, sizeof half);
    words<Lanes> const h = __builtin_convertvector(half, words<Lanes>), magnitude = (h & 0x7fffu) << 13;
    floats<Lanes> v;
    std::memcpy(&v, &magnitude, sizeof v);
    v *= 0x1p112f;                               // rebias; exact
    words<Lanes> w;
    std::memcpy(&w, &v, sizeof w);
    floats<Lanes> const tiny = __builtin_convertvector(h & 0x3ffu, floats<Lanes>) * 0x1p-24f;    // no subnormal fp32 on the way:
    words<Lanes> t;                                                                            // -ffast-math may flush them
    std::memcpy(&t, &tiny, sizeof t);
    words<Lanes> const special = (words<Lanes>)((h & 0x7c00u) == 0x7c00u), subnormal = (words<Lanes>)((h & 0x7c00u) == 0u);
    w = (w & ~subnormal) | (t & subnormal) | (h & 0x8000u) << 16 | (special & 0x7f800000u);
    std::memcpy(to + i, &w, sizeof w);
  }
}
template <int Lanes> [[gnu::always_inline]] inline void widen_tiles(float const*, std::int64_t, float*) {}
#if defined(__x86_64__)
template <> inline void widen_tiles<8>(fp16 const* tile, std::int64_t tiles, float* to) { widen_f16c(tile, 2 * tiles * tile_elements, to); }
template <> inline void widen_tiles<16>(fp16 const* tile, std::int64_t tiles, float* to) { widen_f16c(tile, 2 * tiles * tile_elements, to); }
#endif

// Register blocks: 16 vector registers hold 6 rows x 16 outputs, 32 hold 12 rows x 32; the rest goes in smaller ones.
template <class T, class Stored>
[[gnu::always_inline]] inline void strips_of_16_registers(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums, std::int64_t stride, bool accumulate, Stored const* ahead) {
  strip<8, 6, 1>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<8, 3, 1>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<8, 2, 1>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<8, 1, 2>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
}
template <class T, class Stored>
[[gnu::always_inline]] inline void strips_of_32_registers(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums, std::int64_t stride, bool accumulate, Stored const* ahead) {
  strip<16, 12, 2>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<16, 4, 2>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<16, 2, 2>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<16, 1, 2>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
}
template <class T, class Stored>
[[gnu::always_inline]] inline void strips_of_narrow_registers(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums, std::int64_t stride, bool accumulate, Stored const* ahead) {
  strip<4, 2, 1>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  strip<4, 1, 1>(a, rows, panel, tiles, sums, stride, accumulate, ahead);
}

template <class T>
void block_portable(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums, std::int64_t stride, bool accumulate, T const* ahead) {
  if (rows < widen_from_rows<T>) {
    if constexpr (!std::is_same_v<T, fp16>) strips_of_narrow_registers(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  } else {
    alignas(64) float wide[tile_block * 2 * tile_elements];
    widen_tiles<4>(panel, tiles, wide);
    strips_of_narrow_registers(a, rows, static_cast<float const*>(wide), tiles, sums, stride, accumulate, ahead);
  }
}
#if defined(__x86_64__)
template <class T>
[[gnu::target("avx2,fma")]] void block_avx2(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums, std::int64_t stride, bool accumulate, T const* ahead) {
  if constexpr (std::is_same_v<T, float>) strips_of_16_registers(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  else {
    alignas(64) float wide[tile_block * 2 * tile_elements];
    widen_tiles<8>(panel, tiles, wide);
    strips_of_16_registers(a, rows, static_cast<float const*>(wide), tiles, sums, stride, accumulate, ahead);
  }
}
template <class T>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void block_avx512(float const* const* a, int rows, T const* panel, std::int64_t tiles, float* sums,
                                                                            std::int64_t stride, bool accumulate, T const* ahead) {
  if constexpr (std::is_same_v<T, float>) strips_of_32_registers(a, rows, panel, tiles, sums, stride, accumulate, ahead);
  else {
    alignas(64) float wide[tile_block * 2 * tile_elements];
    widen_tiles<16>(panel, tiles, wide);
    strips_of_32_registers(a, rows, static_cast<float const*>(wide), tiles, sums, stride, accumulate, ahead);
  }
}

template <class T>
[[gnu::target("avx2,fma")]] void stream_avx2(float const* const* a, int rows, T const* packed, std::int64_t panel_elements, std::int64_t panels, std::int64_t tiles,
                                             float* sums, std::int64_t stride) {
  stream_rows<8>(a, rows, packed, panel_elements, panels, tiles, sums, stride);
}
template <class T>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void stream_avx512(float const* const* a, int rows, T const* packed, std::int64_t panel_elements,
                                                                             std::int64_t panels, std::int64_t tiles, float* sums, std::int64_t stride) {
  stream_rows<16>(a, rows, packed, panel_elements, panels, tiles, sums, stride);
}
#endif

// Few rows on a vector path; null where there is no kernel of its own.
template <class T>
using StreamFunction = void (*)(float const* const* a, int rows, T const* packed, std::int64_t panel_elements, std::int64_t panels, std::int64_t tiles,
                                float* sums, std::int64_t sums_stride);
template <class T> StreamFunction<T> stream_for(Isa path) {
#if defined(__x86_64__)
  if (path >= Isa::avx512) return &stream_avx512<T>;
  if (path == Isa::avx2) return &stream_avx2<T>;
#endif
  (void)path;
  return nullptr;
}

template <class T> BlockFunction<T> block_for(Isa path) {
#if defined(__x86_64__)
  if (path >= Isa::avx512) return &block_avx512<T>;
  if (path == Isa::avx2) return &block_avx2<T>;
#endif
  (void)path;
  return &block_portable<T>;
}

inline constexpr int row_block = 48;                       // rows whose sums stay in the cache: 48 x 128 fp32 are 24 KiB
inline constexpr int column_block = 4;                     // panels per task and row block: activations are re-read once per 128 outputs

// Calls epilogue(first row, rows, first panel, panels, sums, stride) with the finished sums of every block of
// rows [0, rows) x panels [first, last). row(r) gives the padded fp32 activations of row r.
template <class T, class Row, class Epilogue>
void multiply(Isa path, T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row,
              Epilogue const& epilogue) {
  BlockFunction<T> const run = block_for<T>(path);
  StreamFunction<T> const stream = stream_for<T>(path);
  constexpr std::int64_t stride = column_block * panel_outputs;
  alignas(64) float sums[row_block * stride];
  float const* a[row_block];
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs;
  for (std::int64_t p = first; p < last; p += column_block) {
    std::int64_t const width = last - p < column_block ? last - p : column_block;
    for (std::int64_t r = 0; r < rows; r += row_block) {
      int const height = static_cast<int>(rows - r < row_block ? rows - r : row_block);
      if (stream && height < stream_below) {
        for (int m = 0; m < height; ++m) a[m] = row(r + m);
        stream(a, height, packed + p * shape.panel_elements(), shape.panel_elements(), width, tiles, sums, stride);
        epilogue(r, height, p, width, sums, stride);
        continue;
      }
      // One or two rows only stream: a panel in one go. More rows share blocks of it while they are in L1.
      std::int64_t const step = height <= 2 && height < widen_from_rows<T> ? tiles : tile_block;
      for (std::int64_t t = 0; t < tiles; t += step) {
        std::int64_t const depth = tiles - t < step ? tiles - t : step;
        for (int m = 0; m < height; ++m) a[m] = row(r + m) + t * tile_inputs;
        for (std::int64_t q = 0; q < width; ++q) {
          // Next comes this block of the next panel, or the next block of the first one.
          bool const last_panel = q + 1 == width;
          std::int64_t const next = last_panel && t + step < tiles ? t + step : t;
          auto const at = [&](std::int64_t panel, std::int64_t tile) { return packed + (p + panel) * shape.panel_elements() + tile * 2 * tile_elements; };
          run(a, height, at(q, t), depth, sums + q * panel_outputs, stride, t != 0, at(last_panel ? 0 : q + 1, next));
        }
      }
      epilogue(r, height, p, width, sums, stride);
    }
  }
}

}}}

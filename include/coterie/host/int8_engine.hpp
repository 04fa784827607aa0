// The engine of 8-bit activations (see VectorEngine), for panels of integer codes; row(r) gives records of int8_rows.hpp.
#pragma once
#include "int8_tiles.hpp"

namespace coterie { inline namespace v0 { namespace host {

// More rows than these go to tiles on AMX. Not yet measured: it is where VNNI stops reading weights at the pace of memory.
inline constexpr std::int64_t tiles_above = vnni_stream_rows;
inline constexpr std::int64_t int8_row_block = 96;         // rows that share bytes of codes: with their sums, half of a first cache

struct Int8Engine {
  using Operand = std::byte;
  Isa path;

  template <class T> static constexpr std::int64_t row_stride(PanelShape shape) { return Int8Record<T>::bytes(shape.padded_inputs()); }
  // from[n], zeros behind it -> a record.
  template <class T, class V> void encode(V const* from, std::int64_t n, PanelShape shape, std::byte* to) const {
#if defined(__x86_64__)
    if (path >= Isa::avx2) return encode_avx2<T>(from, n, shape.padded_inputs(), to);
#endif
    encode_portable<T>(from, n, shape.padded_inputs(), to);
  }

  template <DType D, QuantConfig Q, class Row, class Epilogue>
  void multiply(Quantised<D, Q> const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
    using T = Quantised<D, Q>;
    constexpr std::int64_t stride = 2 * panel_outputs;
    constexpr bool nibbles = bits(D) == 4;
    alignas(64) float sums[int8_row_block * stride], scale[panel_outputs];
    alignas(64) std::int32_t zero[panel_outputs];
    alignas(64) std::byte bytes[nibbles ? run_tiles * 2 * tile_elements : 1];
    std::byte const* a[int8_row_block];
    Int8Path const kind = int8_path(path);
    Int8Kernels<T> const kernels{kind};
    std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles), panel_bytes = T::panel_bytes(shape);
#if defined(__x86_64__)
    if (kind == Int8Path::amx && rows > tiles_above) return multiply_int8_on_tiles<AmxTiles>(packed, shape, rows, first, last, row, epilogue);
#endif
    bool const streams = kind >= Int8Path::vnni && rows <= vnni_stream_rows;
    for (std::int64_t p = first, width = 1; p < last; p += width) {
      T const* const panel = packed + p * panel_bytes;
      width = streams && p + 1 < last ? 2 : 1;
      for (std::int64_t r = 0; r < rows; r += int8_row_block) {
        int const height = static_cast<int>(rows - r < int8_row_block ? rows - r : int8_row_block);
        for (int m = 0; m < height; ++m) a[m] = row(r + m);
        std::memset(sums, 0, static_cast<std::size_t>(height) * stride * sizeof(float));
        if (streams) {
#if defined(__x86_64__)
          if (width == 2) int8_stream_rows<T, 2>(a, height, panel, panel_bytes, shape.padded_inputs(), sums, stride);
          else int8_stream_rows<T, 1>(a, height, panel, panel_bytes, shape.padded_inputs(), sums, stride);
#endif
        } else {
          Int8Run run{.bytes = bytes, .flip = code_flip<T>, .ahead = nibbles ? 0 : int8_ahead, .tiles = 0, .input = 0, .index = 0,
                      .inputs = shape.padded_inputs(), .scale = scale, .zero = T::zeros ? zero : nullptr};
          for (std::int64_t t = 0; t < tiles; t += run.tiles, ++run.index) {
            PairOf<T> const at(panel, t, group);
            run.tiles = run_depth(t, tiles, group), run.input = t * tile_inputs;
            if constexpr (nibbles) {
              for (std::int64_t k = 0; k < run.tiles; ++k) kernels.bytes(at.tiles + k * T::pair_bytes, bytes + k * 2 * tile_elements);
            } else {
              run.bytes = at.tiles;
            }
            kernels.group(at, scale, zero);
            kernels.rows(a, height, run, sums, stride);
          }
        }
        for (int m = 0; m < height; ++m) {
          float scale_of_row;
          std::memcpy(&scale_of_row, a[m] + shape.padded_inputs(), sizeof scale_of_row);
          for (std::int64_t o = 0; o < width * panel_outputs; ++o) sums[m * stride + o] *= scale_of_row;
        }
        epilogue(r, height, p, width, sums, stride);
      }
    }
  }
};

// How an ffn of up to `rows` rows would run, in words.
inline std::string explain_int8(Int8Path kind, char const* weights, std::int64_t rows, PanelShape up, PanelShape down) {
  auto const blocks = [](int height, int columns) { return "blocks of " + std::to_string(height) + " rows x " + std::to_string(columns) + " columns"; };
  return std::string(name(kind)) + " on " + weights + " panels, int8 activations, exact sums of up to " + std::to_string(run_tiles * tile_inputs) + " inputs, scaled and summed in fp32; " +
         (up.paired ? "gate, up" : "up") + " and activation in one pass over " + std::to_string(up.panels()) + " panels, then down over " + std::to_string(down.panels()) + "; " +
         (kind == Int8Path::amx  ? "tiles of 32 rows x 32 columns (" + std::string(name(Int8Path::vnni)) + " for an expert's " + std::to_string(tiles_above) + " rows or fewer)"
          : kind == Int8Path::vnni ? blocks(vnni_rows, 32)
          : kind == Int8Path::avx2 ? blocks(int8_rows_of_avx2, 16)
                                   : blocks(1, 32)) +
         " for up to " + std::to_string(rows) + " rows";
}
inline std::string explain_int8(Isa path, char const* weights, std::int64_t rows, PanelShape up, PanelShape down) { return explain_int8(int8_path(path), weights, rows, up, down); }

}}}

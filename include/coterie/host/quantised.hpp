// The packed layout of quantised experts: the panels of panel.hpp with codes instead of numbers.
//
// A panel is a run of groups; a group is its scales (and zero points), one per output of the panel, and then its tile pairs:
// one stream through memory. Tiles keep the codes of four or eight consecutive inputs of an output in one 32-bit word,
// [words][16 outputs], so that a shift brings the next input of 16 outputs down; 4-bit codes have the even inputs in the
// lower half of the word, so that a shift of halves brings a pair of inputs down.
#pragma once
#include "../quant.hpp"
#include "panel.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Stands for the element type of quantised panels: pointers to it count bytes.
template <DType D, QuantConfig Q> struct Quantised {
  static constexpr DType dtype = D;
  static constexpr QuantConfig quant = Q;
  static constexpr bool zeros = Q.zero_points != 0;
  using Scale = scale_t<D>;
  static constexpr std::int64_t tile_bytes = tile_elements * bits(D) / 8, pair_bytes = 2 * tile_bytes;
  static constexpr std::int64_t scale_bytes = panel_outputs * std::int64_t{sizeof(Scale)} + (zeros ? panel_outputs : 0);
  // Groups of other sizes would end inside a tile.
  static constexpr bool fits(std::int64_t inputs) { return group_inputs(D, Q, inputs) % tile_inputs == 0 || group_inputs(D, Q, inputs) == inputs; }

  // Tile pairs of a group, in panels of so many.
  static constexpr std::int64_t group_tiles(std::int64_t tiles) {
    std::int64_t const group = group_inputs(D, Q, tiles * tile_inputs);
    return group >= tiles * tile_inputs ? tiles : group / tile_inputs;
  }
  static constexpr std::int64_t panel_bytes(PanelShape shape) {
    std::int64_t const tiles = shape.padded_inputs() / tile_inputs;
    return round_up(ceil_div(tiles, group_tiles(tiles)) * scale_bytes + tiles * pair_bytes, 64);
  }
  std::byte first;
};
template <DType D, QuantConfig Q> constexpr std::int64_t panel_stride(PanelShape shape, Quantised<D, Q> const*) { return Quantised<D, Q>::panel_bytes(shape); }

// Where the scales and the tiles of tile pair t of a panel are.
template <class T> struct PairOf {
  std::byte const* scales;                         // [32] Scale, then [32] zero points
  std::byte const* tiles;                          // two of tile_bytes
  PairOf(T const* panel, std::int64_t t, std::int64_t tiles_of_group)
      : scales(reinterpret_cast<std::byte const*>(panel) + t / tiles_of_group * (T::scale_bytes + tiles_of_group * T::pair_bytes)),
        tiles(scales + T::scale_bytes + t % tiles_of_group * T::pair_bytes) {}
};

// Where input i of a word of eight 4-bit codes stands, counted in codes, and the inverse.
constexpr int nibble_of(int i) { return i % 2 * 4 + i / 2; }
constexpr int input_of(int nibble) { return nibble % 4 * 2 + nibble / 4; }
// Where the code of input i of output o stands in a tile: a byte, and the bits to shift it by.
template <DType D> constexpr int code_byte(int o, int i) {
  if (bits(D) == 4) return (i / 8 * tile_outputs + o) * 4 + nibble_of(i % 8) / 2;
  return (i / 4 * tile_outputs + o) * 4 + i % 4;
}
template <DType D> constexpr int code_shift(int i) { return bits(D) == 4 ? nibble_of(i % 8) % 2 * 4 : 0; }

// A float matrix on its way to codes: the scale of a group is found when it is asked for.
template <DType D, QuantConfig Q, class Value> struct Quantiser {
  Strided<Value const> from;
  int outputs, inputs;
  explicit Quantiser(Strided<Value const> const& m) : from(m), outputs(m.outputs), inputs(m.inputs) {}
  GroupScale group_scale(std::int64_t o, std::int64_t first_input) const {
    std::int64_t const o0 = o / Q.group_rows * Q.group_rows, rows = o0 + Q.group_rows < outputs ? o0 + Q.group_rows : outputs;
    std::int64_t const size = group_inputs(D, Q, inputs), i0 = first_input / size * size, end = i0 + size < inputs ? i0 + size : inputs;
    float low = 0, high = 0;
    for (std::int64_t r = o0; r < rows; ++r)
      for (std::int64_t i = i0; i < end; ++i) {
        float const v = to_float(from(r, i));
        if ((bit_cast<std::uint32_t>(v) & 0x7fffffffu) >= 0x7f800000u) return coterie::group_scale<D>(v, v, Q.zero_points);
        low = v < low ? v : low, high = v > high ? v : high;
      }
    return coterie::group_scale<D>(low, high, Q.zero_points);
  }
  unsigned code(std::int64_t o, std::int64_t i, GroupScale g) const { return code_of<D>(to_float(from(o, i)), g, Q.zero_points); }
};
template <DType D, QuantConfig Q> struct Copier {  // codes as they are
  Codes from;
  int outputs, inputs;
  explicit Copier(Codes const& m) : from(m), outputs(m.outputs), inputs(m.inputs) {}
  GroupScale group_scale(std::int64_t o, std::int64_t first_input) const { return from.group_scale(o, first_input); }
  unsigned code(std::int64_t o, std::int64_t i, GroupScale) const { return from(o, i); }
};

// One panel. Outside of the matrix everything is zero.
template <class T, class Source> void pack_quantised_panel(T* panel, PanelShape shape, std::int64_t p, Source const& first, Source const& second) {
  constexpr DType D = T::dtype;
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles);
  std::memset(static_cast<void*>(panel), 0, static_cast<std::size_t>(T::panel_bytes(shape)));
  for (std::int64_t g = 0; g * group < tiles; ++g) {
    PairOf<T> const at(panel, g * group, group);
    auto* const scales = const_cast<std::byte*>(at.scales);
    for (int column = 0; column < panel_outputs; ++column) {
      int const half = column / tile_outputs, lane = column % tile_outputs;
      Source const& from = shape.paired && half ? second : first;
      std::int64_t const o = shape.paired ? p * tile_outputs + lane : p * panel_outputs + column;
      if (o >= from.outputs) continue;
      GroupScale const s = from.group_scale(o, g * group * tile_inputs);
      bool nan = is_nan(s.scale);
      if constexpr (T::zeros) scales[panel_outputs * sizeof(typename T::Scale) + static_cast<std::size_t>(column)] = static_cast<std::byte>(s.zero);
      for (std::int64_t t = g * group; t < tiles && t < (g + 1) * group; ++t) {
        auto* const tile = const_cast<std::byte*>(PairOf<T>(panel, t, group).tiles) + half * T::tile_bytes;
        for (int i = 0; i < tile_inputs && t * tile_inputs + i < from.inputs; ++i) {
          unsigned const code = from.code(o, t * tile_inputs + i, s);
          tile[code_byte<D>(lane, i)] |= static_cast<std::byte>(code << code_shift<D>(i));
          if constexpr (D == DType::fp8_e4m3) nan |= (code & 0x7f) == 0x7f;
        }
      }
      // One NaN makes the output NaN whatever the input, so its group may as well: the kernels then need no test.
      auto const held = from_float<typename T::Scale>(nan ? bit_cast<float>(0x7fc00000u) : s.scale);
      std::memcpy(scales + column * static_cast<int>(sizeof held), &held, sizeof held);
    }
  }
}
// The inverse: codes as they are; of each group the scale that the kernels use, in groups of rows that of the first.
template <class T> void unpack_quantised_panel(T const* panel, PanelShape shape, std::int64_t p, MutableCodes const& first, MutableCodes const& second) {
  constexpr DType D = T::dtype;
  std::int64_t const tiles = shape.padded_inputs() / tile_inputs, group = T::group_tiles(tiles);
  for (int column = 0; column < panel_outputs; ++column) {
    int const half = column / tile_outputs, lane = column % tile_outputs;
    MutableCodes const& to = shape.paired && half ? second : first;
    std::int64_t const o = shape.paired ? p * tile_outputs + lane : p * panel_outputs + column;
    if (o >= to.outputs) continue;
    for (std::int64_t t = 0; t < tiles; ++t) {
      PairOf<T> const at(panel, t, group);
      if (t % group == 0 && o % to.group_rows == 0) {
        typename T::Scale held;
        std::memcpy(&held, at.scales + column * static_cast<int>(sizeof held), sizeof held);
        std::int64_t const g = o / to.group_rows * to.groups() + t * tile_inputs / to.group;
        to.scale[g] = to_float(held);
        if constexpr (T::zeros) to.zero[g] = static_cast<std::uint8_t>(at.scales[panel_outputs * sizeof held + static_cast<std::size_t>(column)]);
      }
      std::byte const* const tile = at.tiles + half * T::tile_bytes;
      for (int i = 0; i < tile_inputs && t * tile_inputs + i < to.inputs; ++i)
        to.put(o, t * tile_inputs + i, static_cast<unsigned>(tile[code_byte<D>(lane, i)]) >> code_shift<D>(i) & ((1u << bits(D)) - 1));
    }
  }
}

template <class T, class Source> void pack_quantised(Pool& pool, T* to, PanelShape shape, Source const& first, Source const& second) {
  pool.run(shape.panels(), [&](std::int64_t p) { pack_quantised_panel(to + p * T::panel_bytes(shape), shape, p, first, second); });
}

}}}

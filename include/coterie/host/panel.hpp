// The packed layout of a weight matrix [N outputs, K inputs], one for every instruction set.
//
// Panels of 32 outputs; a panel is a run of tile pairs, one pair per 32 inputs; a tile holds 16 outputs x 32 inputs.
// 16-bit tiles of bf16 keep two inputs of an output side by side ([16 input pairs][16 outputs][2], what AMX multiplies
// and what two shifts turn into fp32); the other types are [32 inputs][16 outputs]. The two tiles of a pair belong to
// outputs 0-15 and 16-31 of the panel, or to gate and up of the same 16 columns: either way one stream through memory.
// N and K are padded with zeros.
#pragma once
#include <cstring>
#include "../view.hpp"
#include "pool.hpp"

namespace coterie { inline namespace v0 { namespace host {

inline constexpr int tile_outputs = 16, tile_inputs = 32, tile_elements = tile_outputs * tile_inputs, panel_outputs = 32;
inline constexpr std::int64_t ffn_panels = 8;              // panels per task of an ffn: Mixtral's gate and up in 112 tasks of 2 MiB (bf16)

constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }
constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

template <DType D, QuantConfig Q> struct Quantised;       // quantised.hpp: panels of codes

// Sizes of one packed matrix. paired: gate and up interleaved, `outputs` counts the columns of each.
struct PanelShape {
  static constexpr std::size_t alignment = 64;
  std::int64_t outputs = 0, inputs = 0;
  int paired = 0;
  constexpr std::int64_t padded_inputs() const { return round_up(inputs, tile_inputs); }
  constexpr std::int64_t panels() const { return ceil_div(outputs, paired ? tile_outputs : panel_outputs); }
  constexpr std::int64_t panel_elements() const { return padded_inputs() * panel_outputs; }
  constexpr std::int64_t elements() const { return panels() * panel_elements(); }
  template <class T> static constexpr std::size_t bytes(PanelShape shape) {
    if constexpr (requires { T::panel_bytes(shape); }) return static_cast<std::size_t>(shape.panels() * T::panel_bytes(shape));
    else return static_cast<std::size_t>(shape.elements()) * sizeof(T);
  }
  // Of output o and input i, in elements; half of a pair: 0 the gate, 1 the up.
  template <class T> static constexpr std::int64_t place(PanelShape shape, int half, std::int64_t o, std::int64_t i);
  template <Config C> using expert_t = typename std::conditional_t<is_float(C.weights), element<C.weights>, std::type_identity<Quantised<C.weights, C.quant>>>::type;
};

// Where input i of output o stands inside a tile.
template <class T> constexpr int tile_offset(int o, int i) {
  if constexpr (std::is_same_v<T, bf16>) return i / 2 * (2 * tile_outputs) + o * 2 + i % 2;
  else return i * tile_outputs + o;
}

template <class T> constexpr std::int64_t PanelShape::place(PanelShape shape, int half, std::int64_t o, std::int64_t i) {
  if (!shape.paired) half = static_cast<int>(o % panel_outputs / tile_outputs);
  std::int64_t const panel = o / (shape.paired ? tile_outputs : panel_outputs);
  return panel * shape.panel_elements() + i / tile_inputs * (2 * tile_elements) + half * tile_elements + tile_offset<T>(static_cast<int>(o % tile_outputs), static_cast<int>(i % tile_inputs));
}

// A checkpoint matrix without its shape in the type, so that one packing loop serves every layer of a program.
template <class Value>
struct Strided {
  Value* data = nullptr;
  std::int64_t out_stride = 0, in_stride = 1;
  int outputs = 0, inputs = 0;
  Value& operator()(std::int64_t o, std::int64_t i) const { return data[o * out_stride + i * in_stride]; }
};
template <DType D, int Out, int In, bool Mutable> auto strided(Matrix<D, Out, In, Mutable> const& m) {
  using Value = std::conditional_t<Mutable, element_t<D>, element_t<D> const>;
  return Strided<Value>{m.data, m.out_stride, m.in_stride, Out, In};
}

// One tile of a panel: outputs [o0, o0+16) and inputs [i0, i0+32) of a checkpoint matrix, zeros outside it.
template <class T, class Value> void pack_tile(T* tile, Strided<Value const> const& from, std::int64_t o0, std::int64_t i0) {
  for (int i = 0; i < tile_inputs; ++i)
    for (int o = 0; o < tile_outputs; ++o) {
      T& to = tile[tile_offset<T>(o, i)];
      if (o0 + o >= from.outputs || i0 + i >= from.inputs) to = T{};
      else if constexpr (std::is_same_v<T, Value>) to = from(o0 + o, i0 + i);              // bit for bit, NaN payloads too
      else to = from_float<T>(to_float(from(o0 + o, i0 + i)));
    }
}
template <class T> void unpack_tile(T const* tile, Strided<T> const& to, std::int64_t o0, std::int64_t i0) {
  for (int o = 0; o < tile_outputs && o0 + o < to.outputs; ++o)
    for (int i = 0; i < tile_inputs && i0 + i < to.inputs; ++i) to(o0 + o, i0 + i) = tile[tile_offset<T>(o, i)];
}

// Calls each(tile pointer, which matrix of a pair, first output, first input) for every tile of panel p.
template <class T, class Each> void for_tiles(T* packed, PanelShape shape, std::int64_t p, Each const& each) {
  T* tile = packed + p * shape.panel_elements();
  for (std::int64_t i = 0; i < shape.padded_inputs(); i += tile_inputs)
    for (int half = 0; half < 2; ++half, tile += tile_elements)
      each(tile, shape.paired ? half : 0, shape.paired ? p * tile_outputs : p * panel_outputs + half * tile_outputs, i);
}

// A whole matrix back; first is the gate of a pair, or the only matrix, second the up of a pair.
template <class T> void unpack_panels(Pool& pool, T const* from, PanelShape shape, Strided<T> const& first, Strided<T> const& second) {
  pool.run(shape.panels(), [&](std::int64_t p) {
    for_tiles(from, shape, p, [&](T const* tile, int which, std::int64_t o, std::int64_t i) { unpack_tile(tile, which ? second : first, o, i); });
  });
}

}}}

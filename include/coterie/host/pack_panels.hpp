// Matrices into panels: full tiles of rows that are contiguous by AVX2 where there is one, what is left element by element; the same bits.
// A thread of a Zen 5 reads and writes 192 to 384 MB so, past the caches (streams, a flag: of layers above streamed_bytes), through them, and
// element by element: bf16 42, 24, 4 GB/s; fp32 32, 28, 8; bf16 from fp32 23, 18, 3.5.
#pragma once
#include "store_sums.hpp"
#include "transpose.hpp"

namespace coterie { inline namespace v0 { namespace host {

#if defined(__x86_64__)
// One full tile of a matrix whose inputs are neighbours. Its rows are far apart: each line is fetched a few tiles before it is read.
template <class T> [[gnu::always_inline]] inline void turn_tile(T const* from, std::int64_t pitch, T* tile) {
  using Unit = std::conditional_t<std::is_same_v<T, bf16>, std::uint32_t, T>;                 // a tile of bf16 keeps pairs of inputs together
  constexpr int per = sizeof(Unit) / sizeof(T), n = 32 / sizeof(Unit);
  auto const* const rows = reinterpret_cast<Unit const*>(from);
  auto* const to = reinterpret_cast<Unit*>(tile);
  for (int o = 0; o < tile_outputs; o += n)
    for (int i = 0; i < tile_inputs / per; i += n) turn::square(rows + o * (pitch / per) + i, pitch / per, to + i * tile_outputs + o, tile_outputs);
}
template <class T, class Value> [[gnu::target("avx2")]] void pack_tile_avx2(T* tile, Value const* from, std::int64_t pitch, int streams) {
  for (int o = 0; o < tile_outputs; ++o)
    for (int line = 0; line < tile_inputs * int{sizeof(Value)}; line += 64) fetch_later(from + o * pitch, line + 256);
  alignas(32) T turned[tile_elements];
  T* const to = streams ? turned : tile;
  if constexpr (std::is_same_v<T, Value>) turn_tile(from, pitch, to);
  else {
    alignas(32) T rows[tile_elements];
    for (int o = 0; o < tile_outputs; ++o)
      for (int i = 0; i < tile_inputs; i += 8) {
        Stored<Value, 8> raw;
        Stored<T, 8> rounded;
        floats<8> wide;
        std::memcpy(&raw, from + o * pitch + i, sizeof raw);
        widen_lanes<Value, 8>(raw, wide), round_lanes<T, 8>(wide, rounded);
        std::memcpy(rows + o * tile_inputs + i, &rounded, sizeof rounded);
      }
    turn_tile(rows, tile_inputs, to);
  }
  if (streams)
    for (int i = 0; i < tile_elements; i += 32 / int{sizeof(T)}) {
      floats<8> bytes;
      std::memcpy(&bytes, turned + i, sizeof bytes);
      asm volatile("vmovntps %1, %0" : "=m"(*reinterpret_cast<floats<8>*>(tile + i)) : "x"(bytes));
    }
}
#endif

// A whole matrix; first is the gate of a pair, or the only matrix, second the up of a pair.
template <class T, class Value>
void pack_panels(Pool& pool, Isa path, int streams, T* to, PanelShape shape, Strided<Value const> const& first, Strided<Value const> const& second) {
  pool.run(shape.panels(), [&](std::int64_t p) {
    for_tiles(to, shape, p, [&](T* tile, int which, std::int64_t o, std::int64_t i) {
      Strided<Value const> const& from = which ? second : first;
#if defined(__x86_64__)
      // bf16 goes by pairs of inputs, which rows of an odd length tear apart.
      bool const whole = o + tile_outputs <= from.outputs && i + tile_inputs <= from.inputs && from.in_stride == 1;
      if (path != Isa::portable && whole && (!std::is_same_v<T, Value> || !std::is_same_v<T, bf16> || from.out_stride % 2 == 0))
        return pack_tile_avx2(tile, from.data + o * from.out_stride + i, from.out_stride, streams);
#endif
      pack_tile(tile, from, o, i);
    });
    if (streams) after_streams();
  });
  (void)path;
}

}}}

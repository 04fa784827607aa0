// Transposes: of packed panels, which a product with the transposed matrix reads, and of rows, which a product over rows reads. AVX2 where
// there is one (its registers hold 4 x 8 bytes: every transpose ends in 4 x 4 of those), else element by element; the same result.
#pragma once
#include "block.hpp"
#include "cpu.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Where column `o` of input `i` stands in a panel.
template <class T> constexpr std::int64_t panel_offset(int o, std::int64_t i) {
  return i / tile_inputs * (2 * tile_elements) + o / tile_outputs * tile_elements + tile_offset<T>(o % tile_outputs, static_cast<int>(i % tile_inputs));
}

#if defined(__x86_64__)
namespace turn {

using Quads = typename vector_of<std::uint64_t, 4>::type;
using Words = typename vector_of<std::uint32_t, 8>::type;
using Halves = typename vector_of<std::uint16_t, 16>::type;

[[gnu::always_inline]] inline void quads(Quads& a, Quads& b, Quads& c, Quads& d) {
  Quads const e = __builtin_shufflevector(a, b, 0, 4, 2, 6), f = __builtin_shufflevector(a, b, 1, 5, 3, 7);
  Quads const g = __builtin_shufflevector(c, d, 0, 4, 2, 6), h = __builtin_shufflevector(c, d, 1, 5, 3, 7);
  a = __builtin_shufflevector(e, g, 0, 1, 4, 5), b = __builtin_shufflevector(f, h, 0, 1, 4, 5);
  c = __builtin_shufflevector(e, g, 2, 3, 6, 7), d = __builtin_shufflevector(f, h, 2, 3, 6, 7);
}
// Two rows of words -> pairs of even columns, pairs of odd ones.
[[gnu::always_inline]] inline void word_pairs(Quads& a, Quads& b) {
  Words x, y;
  std::memcpy(&x, &a, sizeof x), std::memcpy(&y, &b, sizeof y);
  Words const even = __builtin_shufflevector(x, y, 0, 8, 2, 10, 4, 12, 6, 14), odd = __builtin_shufflevector(x, y, 1, 9, 3, 11, 5, 13, 7, 15);
  std::memcpy(&a, &even, sizeof a), std::memcpy(&b, &odd, sizeof b);
}
[[gnu::always_inline]] inline void half_pairs(Quads& a, Quads& b) {
  Halves x, y;
  std::memcpy(&x, &a, sizeof x), std::memcpy(&y, &b, sizeof y);
  Halves const even = __builtin_shufflevector(x, y, 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30);
  Halves const odd = __builtin_shufflevector(x, y, 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
  std::memcpy(&a, &even, sizeof a), std::memcpy(&b, &odd, sizeof b);
}
// Eight rows of eight words: v[i] -> column i.
[[gnu::always_inline]] inline void words(Quads* v) {
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) word_pairs(v[i], v[i + 1]);
  quads(v[0], v[2], v[4], v[6]), quads(v[1], v[3], v[5], v[7]);          // columns 0 2 4 6, and 1 3 5 7
}

// [n][n] -> [n][n] for n = 32 / sizeof(T), 4 or 2 bytes an element.
template <class T> [[gnu::always_inline]] inline void square(T const* from, std::int64_t from_pitch, T* to, std::int64_t to_pitch) {
  constexpr int n = 32 / sizeof(T);
  Quads v[n];
#pragma GCC unroll 16
  for (int i = 0; i < n; ++i) std::memcpy(&v[i], from + i * from_pitch, sizeof v[i]);
  if constexpr (sizeof(T) == 4) {
    words(v);
#pragma GCC unroll 16
    for (int i = 0; i < n; ++i) std::memcpy(to + i * to_pitch, &v[i], sizeof v[i]);
  } else {
    Quads even[8], odd[8];                       // pairs of rows of the even columns, and of the odd ones
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) even[i] = v[2 * i], odd[i] = v[2 * i + 1], half_pairs(even[i], odd[i]);
    words(even), words(odd);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) std::memcpy(to + 2 * i * to_pitch, &even[i], sizeof even[i]), std::memcpy(to + (2 * i + 1) * to_pitch, &odd[i], sizeof odd[i]);
  }
}
// A tile of bf16, pairs of inputs side by side -> half a tile pair, pairs of its outputs side by side; upper: where inputs from 16 on go.
// ahead: bytes from here to a tile that is needed later, fetched meanwhile, a few lines at a time.
[[gnu::always_inline]] inline void pairs(bf16 const* from, bf16* lower, bf16* upper, std::int64_t ahead) {
  for (int i = 0; i < tile_inputs / 2; i += 4)                           // pairs of inputs
    for (int o = 0; o < tile_outputs; o += 8) {
      for (int line = 0; line < 2; ++line) fetch_later(from, ahead + (i + o / 4 + line) * 64);
      Quads v[4];
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        Halves h;
        std::memcpy(&h, from + (i + k) * 2 * tile_outputs + 2 * o, sizeof h);
        h = __builtin_shufflevector(h, h, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
        std::memcpy(&v[k], &h, sizeof h);
      }
      quads(v[0], v[1], v[2], v[3]);
      bf16* const to = (i < tile_inputs / 4 ? lower : upper) + o / 2 * 2 * tile_outputs + i % (tile_inputs / 4) * 4;
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) std::memcpy(to + k * 2 * tile_outputs, &v[k], sizeof v[k]);
    }
}
template <class T> [[gnu::target("avx2")]] void tile(T const* from, T* lower, T* upper, std::int64_t ahead) {
  if constexpr (std::is_same_v<T, bf16>) pairs(from, lower, upper, ahead);
  else {
    constexpr int n = 32 / sizeof(T), bytes = n * 32;
    for (int i = 0; i < tile_inputs; i += n)
      for (int o = 0; o < tile_outputs; o += n) {
        for (int at = (i * tile_outputs / n + o) * 32; at < (i * tile_outputs / n + o) * 32 + bytes; at += 64) fetch_later(from, ahead + at);
        square(from + i * tile_outputs + o, tile_outputs, (i < tile_outputs ? lower : upper) + o * tile_outputs + i % tile_outputs, tile_outputs);
      }
  }
}
template <class T> [[gnu::target("avx2")]] void rows(T const* from, std::int64_t from_pitch, T* to, std::int64_t to_pitch, std::int64_t n, std::int64_t columns) {
  constexpr int size = 32 / sizeof(T);
  for (std::int64_t c = 0; c < columns; c += size)
    for (std::int64_t r = 0; r < n; r += size) square(from + r * from_pitch + c, from_pitch, to + c * to_pitch + r, to_pitch);
}

}
#endif

// Inputs [32 t, 32 t + 32) of panels [p, last) of a packed matrix as a panel of 32 outputs, whose inputs are those panels' columns in their
// order: PanelShape{.outputs = 32, .inputs = (last - p) * 32}. Of paired matrices gate and up stand in turn, 16 columns each.
template <class T> void transpose_panel(Isa path, T const* packed, PanelShape shape, std::int64_t t, std::int64_t p, std::int64_t last, T* to) {
  for (; p < last; ++p, to += 2 * tile_elements) {
    T const* const from = packed + p * shape.panel_elements() + t * 2 * tile_elements;
#if defined(__x86_64__)
    // Panels are far apart: the next one's lines are fetched beside the work on this one, 27 GB/s of weights from memory; all at once before it, 20
    // (a thread of a Zen 5, which reads 33 in this order and turns 63 in its caches).
    if (path != Isa::portable) {
      constexpr int rows = std::is_same_v<T, bf16> ? tile_elements / 2 : tile_outputs * tile_outputs;      // of half a tile: 16 of its 32 inputs
      for (int half = 0; half < 2; ++half) turn::tile(from + half * tile_elements, to + half * rows, to + tile_elements + half * rows, shape.panel_elements() * std::int64_t{sizeof(T)});
      continue;
    }
#endif
    for (int half = 0; half < 2; ++half)
      for (int o = 0; o < tile_outputs; ++o)
        for (int i = 0; i < tile_inputs; ++i)
          to[i / tile_outputs * tile_elements + tile_offset<T>(i % tile_outputs, half * tile_outputs + o)] = from[half * tile_elements + tile_offset<T>(o, i)];
  }
  (void)path;
}
// All of its panels.
template <class T> void transpose_panel(Isa path, T const* packed, PanelShape shape, std::int64_t t, T* to) { transpose_panel(path, packed, shape, t, 0, shape.panels(), to); }

// from[n][columns] -> to[columns][n], then zeros up to `padded` in each of its rows.
template <class T> void transpose_rows(Isa path, T const* from, std::int64_t from_pitch, T* to, std::int64_t to_pitch, std::int64_t n, std::int64_t columns, std::int64_t padded) {
  std::int64_t done_rows = 0, done_columns = 0;
#if defined(__x86_64__)
  constexpr std::int64_t size = 32 / sizeof(T);
  if (path != Isa::portable) done_rows = n / size * size, done_columns = columns / size * size, turn::rows(from, from_pitch, to, to_pitch, done_rows, done_columns);
#endif
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t r = c < done_columns ? done_rows : 0; r < n; ++r) to[c * to_pitch + r] = from[r * from_pitch + c];
    for (std::int64_t r = n; r < padded; ++r) to[c * to_pitch + r] = T{};
  }
  (void)path;
}

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

// The vector micro-kernel: a few rows of activations times one panel, over a range of inputs.
//
// Every element of the product is one chain of fused multiply-adds in the order of the inputs, whatever the number of
// rows, the vector width or the thread: AVX2 and AVX-512 give the same bits, and a token's result does not depend on
// its neighbours. (Portable code has no fused multiply-add on plain x86-64: same order, other bits.)
#pragma once
#include "panel.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

template <class T, int N> struct vector_of { typedef T type __attribute__((vector_size(N * sizeof(T)))); };
template <int Lanes> using floats = typename vector_of<float, Lanes>::type;
template <int Lanes> using words = typename vector_of<std::uint32_t, Lanes>::type;

// Input i of lanes [lane, lane + Lanes) of a tile, as fp32.
template <int Lanes, class T>
[[gnu::always_inline]] inline void load_input(T const* tile, int i, int lane, floats<Lanes>& to) {
  if constexpr (std::is_same_v<T, float>) {
    std::memcpy(&to, tile + i * tile_outputs + lane, sizeof to);
  } else if constexpr (std::is_same_v<T, bf16>) {
    words<Lanes> pair;                           // input i - i % 2 in the low halves, the next one in the high halves
    std::memcpy(&pair, tile + i / 2 * (2 * tile_outputs) + 2 * lane, sizeof pair);
    pair = i % 2 ? pair & 0xffff0000u : pair << 16;
    std::memcpy(&to, &pair, sizeof pair);
  } else {
    static_assert(std::is_same_v<T, float>, "fp16 tiles are widened before they are multiplied");
  }
}

#if defined(__x86_64__)
// In hardware: 4 times as fast as by integer operations (which decode at half of the memory bandwidth).
[[gnu::target("avx2,f16c")]] inline void widen_f16c(fp16 const* from, std::int64_t n, float* to) {
  for (std::int64_t i = 0; i < n; i += 8) {
    typename vector_of<short, 8>::type half;
    std::memcpy(&half, from + i, sizeof half);
    floats<8> const v = __builtin_ia32_vcvtph2ps256(half);
    std::memcpy(to + i, &v, sizeof v);
  }
}
#endif

// Whether input i + odd (i even) of a tile begins a cache line.
template <class T> constexpr bool begins_line(int odd) { return odd * tile_outputs * sizeof(T) % 64 == 0; }

// Fetches the line `bytes` behind p, which may lie beyond the weights: an address, never read here.
[[gnu::always_inline]] inline void fetch(void const* p, std::int64_t bytes) {
  __builtin_prefetch(reinterpret_cast<void const*>(reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(bytes)));
}

// sums[m][.] (+)= a[m][k] * panel[k][.] for `M` rows, tiles [0, tiles) of a panel and `G` of its two halves from `half`.
// ahead: the weights that are read next, as stored; they are fetched line by line beside the arithmetic.
template <int Lanes, int M, int G, class T, class Stored>
[[gnu::always_inline]] inline void block(float const* const* a, T const* panel, std::int64_t tiles, int half, float* sums,
                                         std::int64_t sums_stride, bool accumulate, Stored const* ahead) {
  constexpr int V = G * tile_outputs / Lanes;    // vectors per row
  floats<Lanes> acc[M][V];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      if (accumulate) std::memcpy(&acc[m][v], sums + m * sums_stride + v * Lanes, sizeof acc[m][v]);
      else acc[m][v] = floats<Lanes>{};
    }
  T const* tile = panel + half * tile_elements;
  std::int64_t line = static_cast<std::int64_t>(sizeof(Stored)) * half * tile_elements;
  for (std::int64_t t = 0; t < tiles; ++t, tile += 2 * tile_elements, line += static_cast<std::int64_t>(sizeof(Stored)) * 2 * tile_elements) {
    for (int i = 0; i < tile_inputs; i += 2)
#pragma GCC unroll 2
      for (int odd = 0; odd < 2; ++odd) {
        if (begins_line<Stored>(odd))
#pragma GCC unroll 2
          for (int g = 0; g < G; ++g) fetch(ahead, line + static_cast<std::int64_t>(sizeof(Stored)) * (g * tile_elements + (i + odd) * tile_outputs));
        floats<Lanes> w[V];
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v)
          load_input<Lanes>(tile + v * Lanes / tile_outputs * tile_elements, i + odd, v * Lanes % tile_outputs, w[v]);
#pragma GCC unroll 16
        for (int m = 0; m < M; ++m) {
          float const x = a[m][t * tile_inputs + i + odd];
#pragma GCC unroll 16
          for (int v = 0; v < V; ++v) acc[m][v] = w[v] * x + acc[m][v];
        }
      }
  }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) std::memcpy(sums + m * sums_stride + v * Lanes, &acc[m][v], sizeof acc[m][v]);
}

// The same into the second cache: what is needed a while later.
[[gnu::always_inline]] inline void fetch_later(void const* p, std::int64_t bytes) {
  __builtin_prefetch(reinterpret_cast<void const*>(reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(bytes)), 0, 2);
}

// Few rows: memory sets the pace, and it is fastest along plain streams. So weights are read in the order in which they
// are stored, tile after tile (the two halves of a panel in turn would be two broken streams, which a processor fetches
// badly: Mixtral in bf16, one row, AVX2: 9 GB/s of 22), and fetched 8 KiB ahead (one
// thread of a Zen 5, of 2 KiB and 8 KiB: fp32 on AVX-512, four rows 28 and 34 GB/s; bf16, two rows 28 and 36, four 26 and 32; by pairs, eight
// rows 17 and 27, twelve 16 and 30. 16 KiB are no better).
inline constexpr int stream_ahead = 8192;

// All tiles of `Q` panels side by side: enough independent sums for one row.
template <int Lanes, int M, int Q, class T>
[[gnu::always_inline]] inline void stream(float const* const* a, T const* panel, std::int64_t panel_elements, std::int64_t tiles, float* sums,
                                          std::int64_t sums_stride) {
  constexpr int V = tile_outputs / Lanes;        // vectors per row and tile
  floats<Lanes> acc[2][Q][M][V]{};
  for (std::int64_t t = 0; t < tiles; ++t, panel += 2 * tile_elements)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      T const* const tile = panel + half * tile_elements;
      for (int i = 0; i < tile_inputs; i += 2)
#pragma GCC unroll 2
        for (int odd = 0; odd < 2; ++odd) {
          floats<Lanes> w[Q][V];
#pragma GCC unroll 4
          for (int q = 0; q < Q; ++q) {
            if (begins_line<T>(odd)) fetch(tile + q * panel_elements + (i + odd) * tile_outputs, stream_ahead);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) load_input<Lanes>(tile + q * panel_elements, i + odd, v * Lanes, w[q][v]);
          }
#pragma GCC unroll 4
          for (int m = 0; m < M; ++m) {
            float const x = a[m][t * tile_inputs + i + odd];
#pragma GCC unroll 4
            for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
              for (int v = 0; v < V; ++v) acc[half][q][m][v] = w[q][v] * x + acc[half][q][m][v];
          }
        }
    }
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half)
#pragma GCC unroll 4
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v)
          std::memcpy(sums + m * sums_stride + q * panel_outputs + half * tile_outputs + v * Lanes, &acc[half][q][m][v], sizeof acc[half][q][m][v]);
}

// M rows of one tile; their sums wait in memory for the next tile of the same half.
template <int Lanes, int M, class T>
[[gnu::always_inline]] inline void stream_tile(float const* const* a, T const* tile, float* sums, std::int64_t sums_stride, bool accumulate, bool fetches) {
  constexpr int V = tile_outputs / Lanes;
  floats<Lanes> acc[M][V];
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) {
      if (accumulate) std::memcpy(&acc[m][v], sums + m * sums_stride + v * Lanes, sizeof acc[m][v]);
      else acc[m][v] = floats<Lanes>{};
    }
  for (int i = 0; i < tile_inputs; i += 2)
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      if (fetches && begins_line<T>(odd)) fetch(tile + (i + odd) * tile_outputs, stream_ahead);
      floats<Lanes> w[V];
#pragma GCC unroll 16
      for (int v = 0; v < V; ++v) load_input<Lanes>(tile, i + odd, v * Lanes, w[v]);
#pragma GCC unroll 16
      for (int m = 0; m < M; ++m) {
        float const x = a[m][i + odd];
#pragma GCC unroll 16
        for (int v = 0; v < V; ++v) acc[m][v] = w[v] * x + acc[m][v];
      }
    }
#pragma GCC unroll 16
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 16
    for (int v = 0; v < V; ++v) std::memcpy(sums + m * sums_stride + v * Lanes, &acc[m][v], sizeof acc[m][v]);
}

// `rows` rows, less than stream_below, times panels [0, panels), from the first tile to the last. fp16 is widened tile by tile.
inline constexpr int stream_below = 12;
template <int Lanes, class T>
[[gnu::always_inline]] inline void stream_rows(float const* const* a, int rows, T const* packed, std::int64_t panel_elements, std::int64_t panels,
                                               std::int64_t tiles, float* sums, std::int64_t stride) {
  constexpr bool widens = std::is_same_v<T, fp16>;
  std::int64_t q = 0;
  if constexpr (!widens) {
    if (rows == 1)
      for (; q + 2 <= panels; q += 2) stream<Lanes, 1, 2>(a, packed + q * panel_elements, panel_elements, tiles, sums + q * panel_outputs, stride);
    for (; q < panels && rows <= 2; ++q) {
      T const* const panel = packed + q * panel_elements;
      float* const to = sums + q * panel_outputs;
      if (rows == 1) stream<Lanes, 1, 1>(a, panel, panel_elements, tiles, to, stride);
      else stream<Lanes, 2, 1>(a, panel, panel_elements, tiles, to, stride);
    }
  }
  int const strips = (rows + 4) / 5, low = rows / strips, high = rows % strips;              // strips of at most 5 rows, the first `high` one taller
  for (; q < panels; ++q)
    for (std::int64_t t = 0; t < 2 * tiles; ++t) {
      T const* const stored = packed + q * panel_elements + t * tile_elements;
      alignas(64) float wide[widens ? tile_elements : 1];
      std::conditional_t<widens, float, T> const* tile;
      if constexpr (widens) {
        for (int i = 0; i < tile_elements; i += 64 / sizeof(T)) fetch(stored + i, stream_ahead);
        widen_f16c(stored, tile_elements, wide);
        tile = wide;
      } else {
        tile = stored;
      }
      for (int s = 0, r = 0; s < strips; ++s) {
        int const n = s < high ? low + 1 : low;
        float const* near[5];
        for (int m = 0; m < n; ++m) near[m] = a[r + m] + t / 2 * tile_inputs;
        float* const to = sums + q * panel_outputs + r * stride + t % 2 * tile_outputs;
        if (n == 5) stream_tile<Lanes, 5>(near, tile, to, stride, t > 1, !widens);
        else if (n == 4) stream_tile<Lanes, 4>(near, tile, to, stride, t > 1, !widens);
        else if (n == 3) stream_tile<Lanes, 3>(near, tile, to, stride, t > 1, !widens);
        else if (n == 2) stream_tile<Lanes, 2>(near, tile, to, stride, t > 1, !widens);
        else stream_tile<Lanes, 1>(near, tile, to, stride, t > 1, !widens);
        r += n;
      }
    }
}

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

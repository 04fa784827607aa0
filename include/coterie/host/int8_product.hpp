// Rows of 8-bit activations times quantised panels: codes become unsigned bytes, in registers for few rows, once per block of rows
// otherwise.
#pragma once
#include "int8_dot.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// What makes 8-bit codes unsigned.
template <class T> inline constexpr std::uint32_t code_flip = T::dtype == DType::int8 && !T::zeros ? 0x80808080u : 0u;

// The byte of a 4-bit code: code + 8, the code itself with zero points, or twice the e2m1 value, + 12.
template <class T> struct NibbleBytes {
  alignas(64) std::uint8_t value[64]{};            // four times: look-ups stay inside 16 bytes
  constexpr NibbleBytes() {
    for (unsigned i = 0; i < 64; ++i)
      value[i] = static_cast<std::uint8_t>(static_cast<int>(code_value(T::dtype, T::zeros, i % 16) / Int8Record<T>::step) + Int8Record<T>::bias);
  }
};
// A pair of 4-bit tiles -> [2][8][16 outputs][4 inputs] bytes: of every word those of the first four inputs as records have them, and 64
// bytes further those of the others.
template <class T> void pair_bytes_portable(std::byte const* tiles, std::byte* to) {
  static constexpr NibbleBytes<T> all{};
  for (int block = 0; block < 2 * tile_inputs / 8; ++block, tiles += 64, to += 128)
    for (int i = 0; i < 64; ++i) {
      auto const two = static_cast<unsigned>(tiles[i]);
      to[i] = static_cast<std::byte>(all.value[two & 15u]), to[64 + i] = static_cast<std::byte>(all.value[two >> 4]);
    }
}
#if defined(__x86_64__)
template <class T> [[gnu::always_inline, gnu::target("avx2,fma")]] inline void nibble_bytes(words<8> const& word, words<8>* to) {
  to[0] = word & 0x0f0f0f0fu, to[1] = word >> 4 & 0x0f0f0f0fu;
  if constexpr (T::dtype == DType::int4 && !T::zeros) to[0] ^= 0x08080808u, to[1] ^= 0x08080808u;
  if constexpr (T::dtype == DType::mxfp4) {
    static constexpr NibbleBytes<T> all{};
    words<8> table;
    std::memcpy(&table, all.value, sizeof table);
    asm("vpshufb %0, %1, %0" : "+v"(to[0]) : "v"(table));
    asm("vpshufb %0, %1, %0" : "+v"(to[1]) : "v"(table));
  }
}
template <class T> [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void nibble_bytes(words<16> const& word, words<16>* to) {
  to[0] = word & 0x0f0f0f0fu, to[1] = word >> 4 & 0x0f0f0f0fu;
  if constexpr (T::dtype == DType::int4 && !T::zeros) to[0] ^= 0x08080808u, to[1] ^= 0x08080808u;
  if constexpr (T::dtype == DType::mxfp4) {
    static constexpr NibbleBytes<T> all{};
    words<16> table;
    std::memcpy(&table, all.value, sizeof table);
    asm("vpshufb %0, %1, %0" : "+v"(to[0]) : "v"(table));
    asm("vpshufb %0, %1, %0" : "+v"(to[1]) : "v"(table));
  }
}
template <class T> [[gnu::target("avx2,fma")]] void pair_bytes_avx2(std::byte const* tiles, std::byte* to) {
  for (int block = 0; block < 2 * tile_inputs / 8; ++block, tiles += 64, to += 128) {
    fetch(tiles, int8_ahead);
    for (int lane = 0; lane < 64; lane += 32) {
      words<8> word, two[2];
      std::memcpy(&word, tiles + lane, sizeof word);
      nibble_bytes<T>(word, two);
      std::memcpy(to + lane, &two[0], sizeof word), std::memcpy(to + 64 + lane, &two[1], sizeof word);
    }
  }
}
// Codes of one tile; 8-bit ones as they are.
template <class T> [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void tile_bytes(std::byte const* tile, std::byte* to) {
  constexpr int registers = 8 / bits(T::dtype);    // of bytes in 64 bytes of codes
  for (int block = 0; block < T::tile_bytes / 64; ++block, tile += 64, to += registers * 64) {
    fetch(tile, int8_ahead);
    words<16> word[registers];
    std::memcpy(&word[0], tile, sizeof word[0]);
    if constexpr (registers == 2) nibble_bytes<T>(words<16>(word[0]), word);
#pragma GCC unroll 2
    for (int i = 0; i < registers; ++i) std::memcpy(to + i * 64, &word[i], sizeof word[i]);
  }
}
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void pair_bytes_avx512(std::byte const* tiles, std::byte* to) {
  tile_bytes<T>(tiles, to), tile_bytes<T>(tiles + T::tile_bytes, to + tile_elements);
}
#endif

// Scales and zero points of the group that holds a tile pair.
template <class T, int Lanes> [[gnu::always_inline]] inline void load_group(PairOf<T> const& at, float* scale, std::int32_t* zero) {
#pragma GCC unroll 4
  for (int o = 0; o < panel_outputs; o += Lanes) {
    floats<Lanes> s;
    load_scales<Lanes>(reinterpret_cast<typename T::Scale const*>(at.scales) + o, s);
    std::memcpy(scale + o, &s, sizeof s);
    if constexpr (T::zeros) {
      words<Lanes> wide;
      widen_bytes(at.scales + panel_outputs * sizeof(typename T::Scale) + static_cast<std::size_t>(o), wide);
      std::memcpy(zero + o, &wide, sizeof wide);
    }
  }
}
template <class T> void load_group_portable(PairOf<T> const& at, float* scale, std::int32_t* zero) { load_group<T, 4>(at, scale, zero); }
#if defined(__x86_64__)
template <class T> [[gnu::target("avx2,f16c,fma")]] void load_group_avx2(PairOf<T> const& at, float* scale, std::int32_t* zero) { load_group<T, 8>(at, scale, zero); }
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void load_group_avx512(PairOf<T> const& at, float* scale, std::int32_t* zero) { load_group<T, 16>(at, scale, zero); }
#endif

// The kernels of a path. AVX-512 without VNNI takes those of AVX2; AMX has VNNI's for rows too few for int8_tiles.hpp.
enum class Int8Path : int { portable, avx2, vnni, amx };
inline Int8Path int8_path(Isa path) {
  if (path == Isa::amx && supports_amx_int8()) return Int8Path::amx;
  if (path >= Isa::avx512 && supports_vnni()) return Int8Path::vnni;
  return path >= Isa::avx2 ? Int8Path::avx2 : Int8Path::portable;
}
constexpr char const* name(Int8Path path) { return path == Int8Path::amx ? "AMX int8" : path == Int8Path::vnni ? "AVX-512 VNNI" : path == Int8Path::avx2 ? "AVX2" : "portable"; }

template <class T> struct Int8Kernels {
  void (*bytes)(std::byte const* tiles, std::byte* to) = &pair_bytes_portable<T>;             // of 4-bit codes
  void (*group)(PairOf<T> const& at, float* scale, std::int32_t* zero) = &load_group_portable<T>;
  Int8Function rows = &int8_rows_portable;
  explicit Int8Kernels(Int8Path path) {
#if defined(__x86_64__)
    if (path == Int8Path::avx2) bytes = &pair_bytes_avx2<T>, group = &load_group_avx2<T>, rows = &int8_rows_avx2<bits(T::dtype)>;
    if (path >= Int8Path::vnni) bytes = &pair_bytes_avx512<T>, group = &load_group_avx512<T>, rows = &int8_rows_vnni;
#endif
    (void)path;
  }
};

#if defined(__x86_64__)
// Few rows times Q panels (panel_bytes apart): codes go straight to registers; two panels are two streams through memory.
template <class T, int M, int Q>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void int8_stream(std::byte const* const* rows, T const* panel, std::int64_t panel_bytes, std::int64_t inputs, float* sums, std::int64_t stride) {
  constexpr int steps = 8 / bits(T::dtype);        // registers of bytes in 64 bytes of codes
  std::int64_t const tiles = inputs / tile_inputs, group = T::group_tiles(tiles);
  alignas(64) float scale[panel_outputs];
  alignas(64) std::int32_t zero[panel_outputs];
  Int8Run run{.bytes = nullptr, .flip = 0, .ahead = 0, .tiles = 0, .input = 0, .index = 0, .inputs = inputs, .scale = scale, .zero = zero};
  for (std::int64_t t = 0; t < tiles; t += run.tiles, ++run.index) {
    run.tiles = run_depth(t, tiles, group);
    words<16> acc[Q][2][M];
#pragma GCC unroll 4
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
      for (int q = 0; q < Q; ++q) acc[q][0][m] = acc[q][1][m] = words<16>{} + (T::zeros ? 0u : static_cast<std::uint32_t>(run_sum(rows[m], run)));
    for (std::int64_t k = t; k < t + run.tiles; ++k)
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half)
        for (int block = 0; block < tile_inputs / 4 / steps; ++block) {
          words<16> w[Q][steps];
#pragma GCC unroll 2
          for (int q = 0; q < Q; ++q) {
            std::byte const* const codes = PairOf<T>(panel + q * panel_bytes, k, group).tiles + half * T::tile_bytes + block * 64;
            fetch(codes, int8_stream_ahead);
            words<16> word;
            std::memcpy(&word, codes, sizeof word);
            if constexpr (steps == 2) nibble_bytes<T>(word, w[q]);
            else w[q][0] = word ^ code_flip<T>;
          }
#pragma GCC unroll 2
          for (int step = 0; step < steps; ++step)
#pragma GCC unroll 4
            for (int m = 0; m < M; ++m) {
              std::uint32_t four;
              std::memcpy(&four, rows[m] + k * tile_inputs + (block * steps + step) * 4, sizeof four);
              words<16> const x = words<16>{} + four;
#pragma GCC unroll 2
              for (int q = 0; q < Q; ++q) asm("vpdpbusd %2, %1, %0" : "+v"(acc[q][half][m]) : "v"(w[q][step]), "v"(x));
            }
        }
#pragma GCC unroll 2
    for (int q = 0; q < Q; ++q) {
      load_group<T, 16>(PairOf<T>(panel + q * panel_bytes, t, group), scale, zero);
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          if constexpr (T::zeros) subtract_zeros<16>(acc[q][half][m], zero + half * tile_outputs, run_sum(rows[m], run));
          add_run(acc[q][half][m], scale + half * tile_outputs, sums + m * stride + q * panel_outputs + half * tile_outputs);
        }
    }
  }
}
template <class T, int Q> void int8_stream_rows(std::byte const* const* rows, int count, T const* panel, std::int64_t panel_bytes, std::int64_t inputs, float* sums, std::int64_t stride) {
  if (count == 1) int8_stream<T, 1, Q>(rows, panel, panel_bytes, inputs, sums, stride);
  else if (count == 2) int8_stream<T, 2, Q>(rows, panel, panel_bytes, inputs, sums, stride);
  else if (count == 3) int8_stream<T, 3, Q>(rows, panel, panel_bytes, inputs, sums, stride);
  else int8_stream<T, 4, Q>(rows, panel, panel_bytes, inputs, sums, stride);
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

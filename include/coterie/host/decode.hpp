// Quantised tiles to fp32 tiles: w = (code - zero) * scale, rounded once, so that every row count multiplies the same numbers.
#pragma once
#include "multiply.hpp"
#include "quantised.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Scales of Lanes outputs. Subnormal fp16 ones do not pass through subnormal fp32, which -ffast-math may flush.
template <int Lanes> [[gnu::always_inline]] inline void load_scales(float const* from, floats<Lanes>& to) { std::memcpy(&to, from, sizeof to); }
template <int Lanes> [[gnu::always_inline]] inline void load_scales(fp16 const* from, floats<Lanes>& to) {
  typename vector_of<std::uint16_t, Lanes>::type half;
  std::memcpy(&half, from, sizeof half);
  words<Lanes> const h = __builtin_convertvector(half, words<Lanes>), magnitude = h & 0x7fffu;
  words<Lanes> const normal = (magnitude << 13) + (112u << 23), nan = (words<Lanes>)(magnitude > 0x7c00u), small = (words<Lanes>)(magnitude < 0x400u);
  words<Lanes> const tiny = (words<Lanes>)(__builtin_convertvector((typename vector_of<std::int32_t, Lanes>::type)magnitude, floats<Lanes>) * 0x1p-24f);
  to = (floats<Lanes>)(((normal | (nan & 0x7fc00000u)) & ~small) | (tiny & small) | (h & 0x8000u) << 16);
}
template <int Lanes> [[gnu::always_inline]] inline void load_scales(e8m0 const* from, floats<Lanes>& to) {
  typename vector_of<std::uint8_t, Lanes>::type exponent;
  std::memcpy(&exponent, from, sizeof exponent);
  words<Lanes> const e = __builtin_convertvector(exponent, words<Lanes>), least = (words<Lanes>)(e == 0u), nan = (words<Lanes>)(e == 255u);
  to = (floats<Lanes>)(e << 23 | (least & 0x00400000u) | (nan & 0x7fc00000u));
}
template <int Lanes> [[gnu::always_inline]] inline void load_zeros(std::byte const* from, floats<Lanes>& to) {
  typename vector_of<std::uint8_t, Lanes>::type zero;
  std::memcpy(&zero, from, sizeof zero);
  to = __builtin_convertvector(__builtin_convertvector(zero, words<Lanes>), floats<Lanes>);
}

// The codes of input `at` of a word, as integers that are then converted.
template <class T, int Lanes> [[gnu::always_inline]] inline void integers_of(words<Lanes> const& word, int at, floats<Lanes>& to) {
  constexpr int width = bits(T::dtype);
  using Signed = typename vector_of<std::int32_t, Lanes>::type;
  if constexpr (T::zeros) to = __builtin_convertvector((Signed)(word >> (width * at) & ((1u << width) - 1u)), floats<Lanes>);
  else to = __builtin_convertvector((Signed)(word << (32 - width - width * at)) >> (32 - width), floats<Lanes>);
}

// One tile of integer codes on any processor with vectors.
template <class T, int Lanes> [[gnu::always_inline]] inline void decode_integers(std::byte const* tile, floats<Lanes> const& scale, floats<Lanes> const& zero, int lane, float* to) {
  constexpr int in_word = 32 / bits(T::dtype);
  for (int block = 0; block < tile_inputs / in_word; ++block) {
    words<Lanes> word;
    std::memcpy(&word, tile + (block * tile_outputs + lane) * 4, sizeof word);
#pragma GCC unroll 8
    for (int k = 0; k < in_word; ++k) {
      floats<Lanes> v;
      integers_of<T, Lanes>(word, k, v);
      if constexpr (T::zeros) v -= zero;
      v *= scale;
      int const input = bits(T::dtype) == 4 ? input_of(k) : k;
      std::memcpy(to + (block * in_word + input) * tile_outputs + lane, &v, sizeof v);
    }
  }
}

// Without hardware for the small floats: a table of what every code stands for.
template <DType D, int Unsigned = 0> struct CodeTable {
  float value[1 << bits(D)]{};
  constexpr CodeTable() {
    for (unsigned c = 0; c < 1u << bits(D); ++c) value[c] = code_value(D, Unsigned != 0, c);
  }
};
template <class T> void decode_table(std::byte const* tile, float const* scale, float* to) {
  static constexpr CodeTable<T::dtype> table{};
  constexpr unsigned most = (1u << bits(T::dtype)) - 1;
  for (int i = 0; i < tile_inputs; ++i)
    for (int o = 0; o < tile_outputs; ++o) {
      unsigned const code = static_cast<unsigned>(tile[code_byte<T::dtype>(o, i)]) >> code_shift<T::dtype>(i) & most;
      to[i * tile_outputs + o] = table.value[code] * scale[o];
    }
}

#if defined(__x86_64__)
inline constexpr float e2m1_magnitudes[8]{0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
[[gnu::target("avx2,f16c,fma")]] inline void decode_mxfp4_avx2(std::byte const* tile, float const* scales, float* to) {
  floats<8> table, scale;
  std::memcpy(&table, e2m1_magnitudes, sizeof table);
  using Signed = vector_of<std::int32_t, 8>::type;
  for (int lane = 0; lane < tile_outputs; lane += 8) {
    std::memcpy(&scale, scales + lane, sizeof scale);
    for (int block = 0; block < tile_inputs / 8; ++block) {
      words<8> word;
      std::memcpy(&word, tile + (block * tile_outputs + lane) * 4, sizeof word);
#pragma GCC unroll 8
      for (int k = 0; k < 8; ++k) {
        floats<8> const magnitude = __builtin_ia32_permvarsf256(table, (Signed)(word >> (4 * k)));        // by the lowest three bits
        floats<8> const v = (floats<8>)((words<8>)magnitude | (word << (28 - 4 * k) & 0x80000000u)) * scale;
        std::memcpy(to + (block * 8 + input_of(k)) * tile_outputs + lane, &v, sizeof v);
      }
    }
  }
}
// Through fp16, whose exponent has four bits more: exact, and hardware knows its subnormals whatever the rounding flags say.
template <DType D> [[gnu::target("avx2,f16c,fma")]] inline void decode_fp8_avx2(std::byte const* tile, float const* scales, float* to) {
  using Bytes = vector_of<std::int8_t, 32>::type;
  floats<8> scale;
  for (int lane = 0; lane < tile_outputs; lane += 8) {
    std::memcpy(&scale, scales + lane, sizeof scale);
    if constexpr (D == DType::fp8_e4m3) scale *= 0x1p8f;
    for (int word = 0; word < tile_inputs / 4; ++word) {
      Bytes codes;
      std::memcpy(&codes, tile + (word * tile_outputs + lane) * 4, sizeof codes);
      // Inputs of four outputs together inside 16 bytes, then those of all outputs.
      codes = __builtin_shufflevector(codes, codes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 16, 20, 24, 28, 17, 21, 25, 29, 18, 22, 26, 30, 19, 23, 27, 31);
      codes = (Bytes)__builtin_shufflevector((words<8>)codes, (words<8>)codes, 0, 4, 1, 5, 2, 6, 3, 7);
#pragma GCC unroll 4
      for (int k = 0; k < 4; ++k) {
        typename vector_of<std::int8_t, 8>::type code;
        std::memcpy(&code, reinterpret_cast<std::int8_t const*>(&codes) + 8 * k, sizeof code);
        auto half = __builtin_convertvector(code, typename vector_of<short, 8>::type);
        if constexpr (D == DType::fp8_e4m3) half = (half << 7) & static_cast<short>(0xbf80);
        else half = half << 8;
        floats<8> const v = __builtin_ia32_vcvtph2ps256(half) * scale;
        std::memcpy(to + (word * 4 + k) * tile_outputs + lane, &v, sizeof v);
      }
    }
  }
}

[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline floats<16> look_up(floats<16> table, words<16> index) {       // by the lowest four bits
  using Signed = vector_of<std::int32_t, 16>::type;
#if defined(__clang__)
  return __builtin_ia32_permvarsf512(table, (Signed)index);
#else
  return __builtin_ia32_permvarsf512_mask(table, (Signed)index, table, static_cast<unsigned short>(0xffff));
#endif
}
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void decode_nibbles_avx512(std::byte const* tile, floats<16> const& scale, floats<16> const& zero, float* to) {
  static constexpr CodeTable<T::dtype, T::zeros> all{};
  floats<16> table;
  std::memcpy(&table, all.value, sizeof table);
  for (int block = 0; block < tile_inputs / 8; ++block) {
    words<16> word;
    std::memcpy(&word, tile + block * tile_outputs * 4, sizeof word);
#pragma GCC unroll 8
    for (int k = 0; k < 8; ++k) {
      floats<16> v = look_up(table, word >> (4 * k));
      if constexpr (T::zeros) v -= zero;
      v *= scale;
      std::memcpy(to + (block * 8 + input_of(k)) * tile_outputs, &v, sizeof v);
    }
  }
}
template <DType D> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void decode_fp8_avx512(std::byte const* tile, floats<16> const& held, float* to) {
  using Bytes = vector_of<std::int8_t, 64>::type;
  floats<16> scale = held;
  if constexpr (D == DType::fp8_e4m3) scale *= 0x1p8f;
  for (int word = 0; word < tile_inputs / 4; ++word) {
    Bytes codes;
    std::memcpy(&codes, tile + word * tile_outputs * 4, sizeof codes);
    codes = __builtin_shufflevector(codes, codes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 16, 20, 24, 28, 17, 21, 25, 29, 18, 22, 26, 30, 19, 23, 27, 31,        //
                                    32, 36, 40, 44, 33, 37, 41, 45, 34, 38, 42, 46, 35, 39, 43, 47, 48, 52, 56, 60, 49, 53, 57, 61, 50, 54, 58, 62, 51, 55, 59, 63);
    codes = (Bytes)__builtin_shufflevector((words<16>)codes, (words<16>)codes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      typename vector_of<std::int8_t, 16>::type code;
      std::memcpy(&code, reinterpret_cast<std::int8_t const*>(&codes) + 16 * k, sizeof code);
      auto half = __builtin_convertvector(code, typename vector_of<short, 16>::type);
      if constexpr (D == DType::fp8_e4m3) half = (half << 7) & static_cast<short>(0xbf80);
      else half = half << 8;
      floats<16> const v = __builtin_ia32_vcvtph2ps512_mask(half, scale, static_cast<short>(-1), 4) * scale;
      std::memcpy(to + (word * 4 + k) * tile_outputs, &v, sizeof v);
    }
  }
}
#endif

// Both tiles of a pair, [2][32 inputs][16 outputs].
template <class T, int Lanes> [[gnu::always_inline]] inline void decode_pair(PairOf<T> const& at, float* to) {
  using Scale = typename T::Scale;
  for (int half = 0; half < 2; ++half) {
    std::byte const* const tile = at.tiles + half * T::tile_bytes;
    auto const* const scales = reinterpret_cast<Scale const*>(at.scales) + half * tile_outputs;
    auto const* const zeros = at.scales + panel_outputs * sizeof(Scale) + half * tile_outputs;
    alignas(64) float wide[tile_outputs];
    for (int lane = 0; lane < tile_outputs; lane += Lanes) {
      floats<Lanes> scale, zero{};
      load_scales<Lanes>(scales + lane, scale);
      if constexpr (T::zeros) load_zeros<Lanes>(zeros + lane, zero);
      std::memcpy(wide + lane, &scale, sizeof scale);
      constexpr bool nibbles = Lanes == 16 && bits(T::dtype) == 4;
      if constexpr (!nibbles && (T::dtype == DType::int8 || T::dtype == DType::int4)) decode_integers<T, Lanes>(tile, scale, zero, lane, to + half * tile_elements);
#if defined(__x86_64__)
      if constexpr (nibbles) decode_nibbles_avx512<T>(tile, scale, zero, to + half * tile_elements);
      if constexpr (Lanes == 16 && (T::dtype == DType::fp8_e4m3 || T::dtype == DType::fp8_e5m2)) decode_fp8_avx512<T::dtype>(tile, scale, to + half * tile_elements);
#endif
    }
#if defined(__x86_64__)
    if constexpr (Lanes == 8 && T::dtype == DType::mxfp4) decode_mxfp4_avx2(tile, wide, to + half * tile_elements);
    if constexpr (Lanes == 8 && (T::dtype == DType::fp8_e4m3 || T::dtype == DType::fp8_e5m2)) decode_fp8_avx2<T::dtype>(tile, wide, to + half * tile_elements);
#endif
    if constexpr (Lanes < 8 && T::dtype != DType::int8 && T::dtype != DType::int4) decode_table<T>(tile, wide, to + half * tile_elements);
  }
}
template <class T> using DecodeFunction = void (*)(PairOf<T> const& at, float* to);
template <class T> void decode_portable(PairOf<T> const& at, float* to) { decode_pair<T, 4>(at, to); }
#if defined(__x86_64__)
template <class T> [[gnu::target("avx2,f16c,fma")]] void decode_avx2(PairOf<T> const& at, float* to) { decode_pair<T, 8>(at, to); }
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] void decode_avx512(PairOf<T> const& at, float* to) { decode_pair<T, 16>(at, to); }
#endif
template <class T> DecodeFunction<T> decode_for(Isa path) {
#if defined(__x86_64__)
  if (path >= Isa::avx512) return &decode_avx512<T>;
  if (path == Isa::avx2) return &decode_avx2<T>;
#endif
  (void)path;
  return &decode_portable<T>;
}

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

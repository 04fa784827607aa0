// Activations as 8-bit integers (Host::int8_activations): a row becomes codes of one scale, v = code * scale with scale = largest
// size / 127, rounded to the nearest even code.
//
// A record holds a row: [padded inputs] codes, the scale (fp32), and the sum of the codes of every run (int32). A run is a scale
// group of the weights, or 512 inputs of a longer one: its products then sum to less than 2^24, which fp32 holds.
#pragma once
#include "cpu.hpp"
#include "scales.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Weights that are integers times a scale: those that 8-bit activations serve.
constexpr bool integer_codes(DType d) { return d == DType::int8 || d == DType::int4 || d == DType::mxfp4; }

inline constexpr std::int64_t run_tiles = 16;
// Tile pairs of the run that begins at t.
constexpr std::int64_t run_depth(std::int64_t t, std::int64_t tiles, std::int64_t group) {
  std::int64_t const left = group - t % group, depth = left < run_tiles ? left : run_tiles;
  return tiles - t < depth ? tiles - t : depth;
}

template <class T> struct Int8Record {
  // Codes are multiplied as unsigned bytes: code + bias, or as they are where there are zero points; e2m1 as twice its value.
  static constexpr int bias = T::zeros ? 0 : T::dtype == DType::int8 ? 128 : T::dtype == DType::int4 ? 8 : 12;
  static constexpr float step = T::dtype == DType::mxfp4 ? 0.5f : 1;
  static constexpr std::int64_t runs(std::int64_t tiles) {
    std::int64_t const group = T::group_tiles(tiles);
    return tiles / group * ceil_div(group, run_tiles) + ceil_div(tiles % group, run_tiles);
  }
  static constexpr std::int64_t bytes(std::int64_t padded) { return round_up(padded + 4 + 4 * runs(padded / tile_inputs), 64); }
  // The sum as the kernels use it: what products with unsigned codes begin with, or what zero points are multiplied by.
  static constexpr std::int32_t held(std::int32_t sum) { return T::zeros ? sum : -bias * sum; }
};

// Scales are no less than 2^-120, so that neither they nor their inverse leave fp32's normal numbers.
struct RowScale {
  float scale, inverse;
  explicit RowScale(std::uint32_t most) : scale(0), inverse(0) {
    float const least = 0x1p-120f, m = bit_cast<float>(most);
    if (most >= 0x7f800000u) scale = bit_cast<float>(0x7fc00000u);
    else if (m >= 127 * least) scale = m / 127, inverse = 127 / m;
    else if (most) scale = least, inverse = 0x1p120f;
  }
};

// Inputs [i, i + 32) of a row of n, zeros behind it.
template <class V> [[gnu::always_inline]] inline void load_inputs(V const* from, std::int64_t i, std::int64_t n, float* to) {
  if (i + tile_inputs <= n)
    for (int j = 0; j < tile_inputs; ++j) to[j] = to_float(from[i + j]);
  else
    for (int j = 0; j < tile_inputs; ++j) to[j] = i + j < n ? to_float(from[i + j]) : 0;
}
// Codes of 32 inputs where the products read them, and their sum. 4-bit weights give inputs 0, 4, 1, 5, then 2, 6, 3, 7 of eight.
template <class T> inline std::int32_t round_inputs(float const* v, float inverse, std::int8_t* to) {
  std::int32_t sum = 0;
  for (int i = 0; i < tile_inputs; ++i) {
    int const from = bits(T::dtype) == 4 ? i / 8 * 8 + i / 4 % 2 * 2 + i % 2 * 4 + i / 2 % 2 : i;
    auto const code = static_cast<std::int8_t>(__builtin_rintf(v[from] * inverse));
    to[i] = code, sum += code;
  }
  return sum;
}
#if defined(__x86_64__)
template <class T> [[gnu::target("avx2,f16c,fma")]] inline std::int32_t round_inputs_avx2(float const* v, float inverse, std::int8_t* to) {
  using Signed = vector_of<std::int32_t, 8>::type;
  words<8> sum{};
#pragma GCC unroll 4
  for (int i = 0; i < tile_inputs; i += 8) {
    floats<8> x;
    std::memcpy(&x, v + i, sizeof x);
    x *= inverse;
    Signed code;
    asm("vcvtps2dq %1, %0" : "=v"(code) : "v"(x));                        // to the nearest even, as rint; never contracted
    sum += (words<8>)code;
    if constexpr (bits(T::dtype) == 4) code = __builtin_shufflevector(code, code, 0, 4, 1, 5, 2, 6, 3, 7);
    auto const bytes = __builtin_convertvector(code, vector_of<std::int8_t, 8>::type);
    std::memcpy(to + i, &bytes, sizeof bytes);
  }
  std::int32_t all = 0;
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) all += static_cast<std::int32_t>(sum[i]);
  return all;
}
#endif

// from[n] -> the record of a row of `padded` inputs. Avx2: 1 where the caller's target has it.
template <class T, int Avx2, class V> [[gnu::always_inline]] inline void encode_row(V const* from, std::int64_t n, std::int64_t padded, std::byte* to) {
  alignas(64) float block[tile_inputs];
  std::uint32_t most[8]{};
  for (std::int64_t i = 0; i < padded; i += tile_inputs) {
    load_inputs(from, i, n, block);
    for (int j = 0; j < tile_inputs; ++j) {
      std::uint32_t const size = bit_cast<std::uint32_t>(block[j]) & 0x7fffffffu;
      most[j % 8] = size > most[j % 8] ? size : most[j % 8];
    }
  }
  for (int j = 1; j < 8; ++j) most[0] = most[j] > most[0] ? most[j] : most[0];
  RowScale const s{most[0]};
  float const held = s.scale * Int8Record<T>::step;
  auto* const codes = reinterpret_cast<std::int8_t*>(to);
  std::memcpy(to + padded, &held, sizeof held);
  if (s.inverse == 0) return void((std::memset(to, 0, static_cast<std::size_t>(padded)), std::memset(to + padded + 4, 0, static_cast<std::size_t>(4 * Int8Record<T>::runs(padded / tile_inputs)))));
  std::int64_t const tiles = padded / tile_inputs, group = T::group_tiles(tiles);
  std::byte* sums = to + padded + 4;
  for (std::int64_t t = 0, depth = 0; t < tiles; t += depth, sums += 4) {
    depth = run_depth(t, tiles, group);
    std::int32_t sum = 0;
    for (std::int64_t i = t * tile_inputs; i < (t + depth) * tile_inputs; i += tile_inputs) {
      load_inputs(from, i, n, block);
#if defined(__x86_64__)
      if constexpr (Avx2 != 0) sum += round_inputs_avx2<T>(block, s.inverse, codes + i);
      else
#endif
        sum += round_inputs<T>(block, s.inverse, codes + i);
    }
    sum = Int8Record<T>::held(sum);
    std::memcpy(sums, &sum, sizeof sum);
  }
}
template <class T, class V> void encode_portable(V const* from, std::int64_t n, std::int64_t padded, std::byte* to) { encode_row<T, 0>(from, n, padded, to); }
#if defined(__x86_64__)
template <class T, class V> [[gnu::target("avx2,f16c,fma")]] void encode_avx2(V const* from, std::int64_t n, std::int64_t padded, std::byte* to) { encode_row<T, 1>(from, n, padded, to); }
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

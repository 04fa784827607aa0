// Micro-kernels of 8-bit activations: sums[row][32] += float(codes times activations of one run) * weight scale. The sum of a run is an
// exact integer and the rest one fused multiply-add, so every kernel gives the same bits. The row's scale comes last of all.
#pragma once
#include "int8_rows.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// Bytes of codes that are fetched ahead: of many rows, and of few (int8 in groups of 128 on Zen 5, one thread, 2, 4 and 8 KiB: 12 rows
// 421, 604 and 780 GFLOP/s; int4, one row: 30.8, 32.4 and 29.1 GB/s).
inline constexpr std::int64_t int8_ahead = 8192, int8_stream_ahead = 4096;

// One run of a panel as bytes, [tile pairs][2][8][16 outputs][4 inputs].
struct Int8Run {
  std::byte const* bytes;
  std::uint32_t flip;                              // what makes the bytes unsigned: 0x80808080, or 0
  std::int64_t ahead;                              // bytes in front of those read that are fetched; 0 where the bytes are decoded ones
  std::int64_t tiles;                              // tile pairs of the run
  std::int64_t input, index;                       // of the run in its rows
  std::int64_t inputs;                             // padded, of a row
  float const* scale;                              // [32]
  std::int32_t const* zero;                        // [32] or null
};
inline std::int32_t run_sum(std::byte const* row, Int8Run const& run) {
  std::int32_t sum;
  std::memcpy(&sum, row + run.inputs + 4 + 4 * run.index, sizeof sum);
  return sum;
}
inline constexpr int vnni_rows = 12, vnni_stream_rows = 4, int8_rows_of_avx2 = 4;       // of a register block: VNNI's sums take 24 of 32
using Int8Function = void (*)(std::byte const* const* rows, int count, Int8Run const& run, float* sums, std::int64_t stride);

inline void int8_rows_portable(std::byte const* const* rows, int count, Int8Run const& run, float* sums, std::int64_t stride) {
  auto const flip = static_cast<std::uint8_t>(run.flip);
  for (int m = 0; m < count; ++m) {
    auto const* const a = reinterpret_cast<std::int8_t const*>(rows[m]) + run.input;
    std::int32_t const sum = run_sum(rows[m], run);
    for (int half = 0; half < 2; ++half) {
      std::int32_t acc[tile_outputs];
      for (int o = 0; o < tile_outputs; ++o) acc[o] = run.zero ? -run.zero[half * tile_outputs + o] * sum : sum;
      for (std::int64_t t = 0; t < run.tiles; ++t) {
        auto const* const w = reinterpret_cast<std::uint8_t const*>(run.bytes) + (2 * t + half) * tile_elements;
        for (int step = 0; step < tile_inputs / 4; ++step)
          for (int o = 0; o < tile_outputs; ++o)
            for (int k = 0; k < 4; ++k) acc[o] += static_cast<std::uint8_t>(w[(step * tile_outputs + o) * 4 + k] ^ flip) * a[t * tile_inputs + step * 4 + k];
      }
      for (int o = 0; o < tile_outputs; ++o) {
        float& to = sums[m * stride + half * tile_outputs + o];
        to = __builtin_fmaf(static_cast<float>(acc[o]), run.scale[half * tile_outputs + o], to);
      }
    }
  }
}

#if defined(__x86_64__)
[[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void add_run(words<16> const& acc, float const* scale, float* sums) {
  floats<16> const products = __builtin_convertvector((vector_of<std::int32_t, 16>::type)acc, floats<16>);
  floats<16> s, sum;
  std::memcpy(&s, scale, sizeof s), std::memcpy(&sum, sums, sizeof sum);
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(products), "v"(s));
  std::memcpy(sums, &sum, sizeof sum);
}
[[gnu::always_inline, gnu::target("avx2,fma")]] inline void add_run(words<8> const& acc, float const* scale, float* sums) {
  floats<8> const products = __builtin_convertvector((vector_of<std::int32_t, 8>::type)acc, floats<8>);
  floats<8> s, sum;
  std::memcpy(&s, scale, sizeof s), std::memcpy(&sum, sums, sizeof sum);
  asm("vfmadd231ps %2, %1, %0" : "+v"(sum) : "v"(products), "v"(s));
  std::memcpy(sums, &sum, sizeof sum);
}
// acc -= zero * sum.
template <int Lanes> [[gnu::always_inline]] inline void subtract_zeros(words<Lanes>& acc, std::int32_t const* zero, std::int32_t sum) {
  words<Lanes> z;
  std::memcpy(&z, zero, sizeof z);
  acc -= z * static_cast<std::uint32_t>(sum);
}

// AVX512_VNNI.
template <int M>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void int8_block_vnni(std::byte const* const* rows, Int8Run const& run, float* sums, std::int64_t stride) {
  words<16> acc[2][M];
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m) acc[0][m] = acc[1][m] = words<16>{} + (run.zero ? 0u : static_cast<std::uint32_t>(run_sum(rows[m], run)));
  std::byte const* bytes = run.bytes;
  words<16> const flip = words<16>{} + run.flip;
  for (std::int64_t i = run.input; i < run.input + run.tiles * tile_inputs; i += tile_inputs, bytes += 2 * tile_elements)
    for (int step = 0; step < tile_inputs / 4; ++step) {
      words<16> w[2];
      fetch(bytes + step * 64, run.ahead), fetch(bytes + tile_elements + step * 64, run.ahead);
      std::memcpy(&w[0], bytes + step * 64, sizeof w[0]), std::memcpy(&w[1], bytes + tile_elements + step * 64, sizeof w[1]);
      w[0] ^= flip, w[1] ^= flip;
#pragma GCC unroll 12
      for (int m = 0; m < M; ++m) {
        std::uint32_t four;
        std::memcpy(&four, rows[m] + i + step * 4, sizeof four);
        words<16> const x = words<16>{} + four;
        asm("vpdpbusd %2, %1, %0" : "+v"(acc[0][m]) : "v"(w[0]), "v"(x));
        asm("vpdpbusd %2, %1, %0" : "+v"(acc[1][m]) : "v"(w[1]), "v"(x));
      }
    }
#pragma GCC unroll 12
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      if (run.zero) subtract_zeros<16>(acc[half][m], run.zero + half * tile_outputs, run_sum(rows[m], run));
      add_run(acc[half][m], run.scale + half * tile_outputs, sums + m * stride + half * tile_outputs);
    }
}
using VnniFunction = void (*)(std::byte const* const* rows, Int8Run const& run, float* sums, std::int64_t stride);
inline constexpr VnniFunction vnni_blocks[vnni_rows + 1]{nullptr,
                                                         &int8_block_vnni<1>, &int8_block_vnni<2>, &int8_block_vnni<3>, &int8_block_vnni<4>, &int8_block_vnni<5>, &int8_block_vnni<6>,
                                                         &int8_block_vnni<7>, &int8_block_vnni<8>, &int8_block_vnni<9>, &int8_block_vnni<10>, &int8_block_vnni<11>, &int8_block_vnni<12>};
inline void int8_rows_vnni(std::byte const* const* rows, int count, Int8Run const& run, float* sums, std::int64_t stride) {
  int const strips = (count + vnni_rows - 1) / vnni_rows, low = count / strips, high = count % strips;       // of equal height: 13 rows are 7 and 6
  for (int s = 0, m = 0; s < strips; ++s) {
    int const n = s < high ? low + 1 : low;
    vnni_blocks[n](rows + m, run, sums + m * stride, stride);
    m += n;
  }
}

// AVX2: up to four rows and half a panel at a time. Bytes are widened to 16 bits, the even and the odd ones, where sums of two products
// could leave 16 bits; codes of 4 bits cannot.
template <int Bits, int M>
[[gnu::target("avx2,fma")]] inline void int8_block_avx2(std::byte const* const* rows, int half, Int8Run const& run, float* sums, std::int64_t stride) {
  words<8> acc[M][2];
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m) acc[m][0] = acc[m][1] = words<8>{} + (run.zero ? 0u : static_cast<std::uint32_t>(run_sum(rows[m], run)));
  std::byte const* bytes = run.bytes + half * tile_elements;
  words<8> const flip = words<8>{} + run.flip, ones = words<8>{} + 0x00010001u;
  for (std::int64_t i = run.input; i < run.input + run.tiles * tile_inputs; i += tile_inputs, bytes += 2 * tile_elements)
    for (int step = 0; step < tile_inputs / 4; ++step) {
      words<8> w[2], even[2], odd[2];
      fetch(bytes + step * 64, run.ahead);
#pragma GCC unroll 2
      for (int v = 0; v < 2; ++v) std::memcpy(&w[v], bytes + step * 64 + v * 32, sizeof w[v]), w[v] ^= flip, even[v] = w[v] & 0x00ff00ffu, odd[v] = w[v] >> 8 & 0x00ff00ffu;
#pragma GCC unroll 4
      for (int m = 0; m < M; ++m) {
        std::uint32_t four;
        std::memcpy(&four, rows[m] + i + step * 4, sizeof four);
        words<8> const x = words<8>{} + four;
        words<8> x_even, x_odd, products, others;
        if constexpr (Bits == 8) {
          asm("vpsllw $8, %1, %0" : "=v"(x_even) : "v"(x));
          asm("vpsraw $8, %0, %0" : "+v"(x_even));
          asm("vpsraw $8, %1, %0" : "=v"(x_odd) : "v"(x));
        }
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) {
          if constexpr (Bits == 8) {
            asm("vpmaddwd %2, %1, %0" : "=v"(products) : "v"(even[v]), "v"(x_even));
            asm("vpmaddwd %2, %1, %0" : "=v"(others) : "v"(odd[v]), "v"(x_odd));
            acc[m][v] += products + others;
          } else {
            asm("vpmaddubsw %2, %1, %0" : "=v"(others) : "v"(w[v]), "v"(x));
            asm("vpmaddwd %2, %1, %0" : "=v"(products) : "v"(others), "v"(ones));
            acc[m][v] += products;
          }
        }
      }
    }
#pragma GCC unroll 4
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      int const column = half * tile_outputs + v * 8;
      if (run.zero) subtract_zeros<8>(acc[m][v], run.zero + column, run_sum(rows[m], run));
      add_run(acc[m][v], run.scale + column, sums + m * stride + column);
    }
}
template <int Bits> void int8_rows_avx2(std::byte const* const* rows, int count, Int8Run const& run, float* sums, std::int64_t stride) {
  for (int m = 0; m < count; m += int8_rows_of_avx2)
    for (int half = 0; half < 2; ++half) {
      int const n = count - m;
      float* const to = sums + m * stride;
      if (n >= 4) int8_block_avx2<Bits, 4>(rows + m, half, run, to, stride);
      else if (n == 3) int8_block_avx2<Bits, 3>(rows + m, half, run, to, stride);
      else if (n == 2) int8_block_avx2<Bits, 2>(rows + m, half, run, to, stride);
      else int8_block_avx2<Bits, 1>(rows + m, half, run, to, stride);
    }
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

// Codes of quantised tiles as pairs of bf16, unscaled and exact, the way vdpbf16ps reads them: [16 outputs][2 inputs] a register.
#pragma once
#include "scales.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

#if defined(__x86_64__)
// 64 bytes of codes are 16 outputs x 8 inputs of 4 bits or x 4 inputs of 8 bits: four or two registers of pairs.
template <class T, int Bits = bits(T::dtype)> struct CodePairs;

// A 16-bit look-up goes by the lowest five bits of every half word: table[32] holds the 16 codes twice, or, less a zero point, five bits
// of two's complement.
template <class T> struct CodePairs<T, 4> {
  static constexpr int pairs = 4, blocks = tile_inputs / 8;
  using Words = vector_of<std::uint16_t, 32>::type;
  struct Table {
    alignas(64) std::uint16_t value[32]{};
    constexpr Table() {
      for (unsigned i = 0; i < 32; ++i) value[i] = from_float<bf16>(!T::zeros ? code_value(T::dtype, false, i % 16) : static_cast<float>(i < 16 ? static_cast<int>(i) : static_cast<int>(i) - 32)).bits;
    }
  };
  static constexpr Table all{};
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void block(std::byte const* from, [[maybe_unused]] PairOf<T> const& at, [[maybe_unused]] int half,
                                                                                                             words<16>* to) const {
    Words code, table, zeros{};
    std::memcpy(&code, from, sizeof code), std::memcpy(&table, all.value, sizeof table);
    if constexpr (T::zeros) {
      vector_of<std::uint8_t, 16>::type bytes;
      std::memcpy(&bytes, at.scales + panel_outputs * sizeof(typename T::Scale) + half * tile_outputs, sizeof bytes);
      words<16> wide;
      asm("vpmovzxbd %1, %0" : "=v"(wide) : "v"(bytes));       // g++ 12 converts bytes one at a time
      zeros = (Words)(wide | wide << 16);
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      Words index = code >> (4 * k);
      if constexpr (T::zeros) index = (index & 15) - zeros;
      asm("vpermw %2, %1, %0" : "=v"(to[k]) : "v"(index), "v"(table));
    }
  }
};

// 8 bits: the upper and the lower bytes of the bf16s from tables of 128 (by the code's lower seven bits), then bytes are put together.
// The upper half of all codes has tables of its own where they are integers; of floats it is the lower half with a sign.
template <class T> struct CodePairs<T, 8> {
  static constexpr int pairs = 2, blocks = tile_inputs / 4;
  static constexpr bool integers = T::dtype == DType::int8;
  using Bytes = vector_of<std::uint8_t, 64>::type;
  struct Table {
    alignas(64) std::uint8_t upper[256]{}, lower[256]{};
    constexpr Table() {
      for (unsigned i = 0; i < 256; ++i) {
        std::uint16_t const v = from_float<bf16>(code_value(T::dtype, T::zeros, i)).bits;
        upper[i] = static_cast<std::uint8_t>(v >> 8), lower[i] = static_cast<std::uint8_t>(v);
      }
    }
  };
  static constexpr Table all{};
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void look_up(Bytes const& code, std::uint8_t const* table, Bytes& to) const {
    Bytes low, high;
    std::memcpy(&low, table, sizeof low), std::memcpy(&high, table + 64, sizeof high);
    to = code;
    asm("vpermi2b %2, %1, %0" : "+v"(to) : "v"(low), "v"(high));
  }
  // Code less zero point has nine bits: through fp32, which holds it exactly, as bf16 does.
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void differences(std::byte const* from, PairOf<T> const& at, int half, words<16>* to) const {
    words<16> code;
    floats<16> zero, v[4];
    std::memcpy(&code, from, sizeof code);
    load_zeros<16>(at.scales + panel_outputs * sizeof(typename T::Scale) + half * tile_outputs, zero);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) v[k] = __builtin_convertvector((vector_of<std::int32_t, 16>::type)(code >> (8 * k) & 0xffu), floats<16>) - zero;
    for (int pair = 0; pair < 2; ++pair) to[pair] = (words<16>)v[2 * pair] >> 16 | ((words<16>)v[2 * pair + 1] & 0xffff0000u);
  }
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void block(std::byte const* from, [[maybe_unused]] PairOf<T> const& at, [[maybe_unused]] int half,
                                                                                                             words<16>* to) const {
    if constexpr (T::zeros) return differences(from, at, half, to);
    Bytes code, upper, lower;
    std::memcpy(&code, from, sizeof code);
    look_up(code, all.upper, upper), look_up(code, all.lower, lower);
    if constexpr (integers) {
      Bytes upper_of_high, lower_of_high;
      look_up(code, all.upper + 128, upper_of_high), look_up(code, all.lower + 128, lower_of_high);
      auto const high = (Bytes)(code > 127);
      upper = (upper & ~high) | (upper_of_high & high), lower = (lower & ~high) | (lower_of_high & high);
    } else {
      upper |= code & 0x80;
    }
    words<16> first, second;                       // of every 16 bytes the words of two outputs, four inputs each
    asm("vpunpcklbw %2, %1, %0" : "=v"(first) : "v"(lower), "v"(upper));
    asm("vpunpckhbw %2, %1, %0" : "=v"(second) : "v"(lower), "v"(upper));
    asm("vshufps $0x88, %2, %1, %0" : "=v"(to[0]) : "v"(first), "v"(second));
    asm("vshufps $0xdd, %2, %1, %0" : "=v"(to[1]) : "v"(first), "v"(second));
  }
};

// A tile pair decoded into memory, [2][16 pairs][16 outputs][2].
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] void code_pairs(PairOf<T> const& at, bf16* to) {
  CodePairs<T> const decode;
  for (int half = 0; half < 2; ++half)
    for (int block = 0; block < CodePairs<T>::blocks; ++block) {
      std::byte const* const codes = at.tiles + half * T::tile_bytes + block * 64;
      fetch(codes, stream_ahead);
      words<16> w[CodePairs<T>::pairs];
      decode.block(codes, at, half, w);
      // One by one: g++ 12 would keep a copy of the array on the stack.
#pragma GCC unroll 4
      for (int pair = 0; pair < CodePairs<T>::pairs; ++pair)
        std::memcpy(to + half * tile_elements + (block * CodePairs<T>::pairs + pair) * 2 * tile_outputs, &w[pair], sizeof w[pair]);
    }
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

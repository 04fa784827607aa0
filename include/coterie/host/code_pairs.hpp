// Codes of quantised tiles as pairs of bf16, unscaled and exact, the way vdpbf16ps reads them: [16 outputs][2 inputs] a register.
#pragma once
#include "scales.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

#if defined(__x86_64__)
// 64 bytes of codes are 16 outputs x 8 inputs of 4 bits or x 4 inputs of 8 bits: four or two registers of pairs. CodePairs holds its tables in
// registers, CodePairs::Zeros the zero points of a group's 16 outputs.
template <class T, int Bits = bits(T::dtype)> struct CodePairs;

// g++ 12 would read tables from memory for every use.
template <class V> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void load_table(void const* from, V& to) {
  std::memcpy(&to, from, sizeof to);
  asm("" : "+v"(to));
}

// A 16-bit look-up goes by the lowest five bits of every half word: table[32] holds the 16 codes twice, or, less a zero point, five bits
// of two's complement.
template <class T> struct CodePairs<T, 4> {
  static constexpr int pairs = 4, blocks = tile_inputs / 8;
  using Words = vector_of<std::uint16_t, 32>::type;
  using Bytes = vector_of<std::uint8_t, 64>::type;
  struct Table {
    alignas(64) std::uint16_t value[32]{};
    constexpr Table() {
      for (unsigned i = 0; i < 32; ++i) value[i] = from_float<bf16>(!T::zeros ? code_value(T::dtype, false, i % 16) : static_cast<float>(i < 16 ? static_cast<int>(i) : static_cast<int>(i) - 32)).bits;
    }
  };
  static constexpr Table all{};
  struct Zeros {
    Bytes four;                                    // in every byte of a word
    [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void load([[maybe_unused]] std::byte const* from) {
      if constexpr (T::zeros) {
        words<16> wide;
        widen_bytes(from, wide);
        four = (Bytes)(wide * 0x01010101u);
      }
    }
  };
  Words table;
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void begin() { load_table(all.value, table); }
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void block(std::byte const* from, [[maybe_unused]] Zeros const& zeros, words<16>* to) const {
    Words code, upper;                             // upper: the odd nibbles of bytes
    std::memcpy(&code, from, sizeof code);
    upper = code >> 4;
    if constexpr (T::zeros) code = (Words)((Bytes)(code & 0x0f0f) - zeros.four), upper = (Words)((Bytes)(upper & 0x0f0f) - zeros.four);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      Words const index = (k % 2 ? upper : code) >> (k / 2 * 8);
      asm("vpermw %2, %1, %0" : "=v"(to[k]) : "v"(index), "v"(table));
    }
  }
};

// 8 bits: the upper and the lower bytes of the bf16s from tables of 128, by the code's lower seven bits or an integer's size, then a sign; bytes
// are put together. Of integers -128 has a size that no table knows.
template <class T> struct CodePairs<T, 8> {
  static constexpr int pairs = 2, blocks = tile_inputs / 4;
  static constexpr bool integers = T::dtype == DType::int8;
  using Bytes = vector_of<std::uint8_t, 64>::type;
  struct Table {
    alignas(64) std::uint8_t upper[128]{}, lower[128]{};
    constexpr Table() {
      for (unsigned i = 0; i < 128; ++i) {
        std::uint16_t const v = from_float<bf16>(code_value(T::dtype, false, i)).bits;
        upper[i] = static_cast<std::uint8_t>(v >> 8), lower[i] = static_cast<std::uint8_t>(v);
      }
    }
  };
  static constexpr Table all{};
  static constexpr std::uint32_t magic = 0x4b000000;         // 2^23 as fp32: or'ed with a byte it is 2^23 + byte
  struct Zeros {
    floats<16> zero;                               // 2^23 more
    [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void load([[maybe_unused]] std::byte const* from) {
      if constexpr (T::zeros) {
        words<16> wide;
        widen_bytes(from, wide);
        zero = (floats<16>)(wide | magic);
      }
    }
  };
  Bytes upper[2], lower[2];
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void begin() {
    if constexpr (!T::zeros) load_table(all.upper, upper[0]), load_table(all.upper + 64, upper[1]), load_table(all.lower, lower[0]), load_table(all.lower + 64, lower[1]);
  }
  // Code less zero point has nine bits: through fp32, which holds it exactly, as bf16 does.
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void differences(std::byte const* from, Zeros const& zeros, words<16>* to) const {
    words<16> code;
    floats<16> v[4];
    std::memcpy(&code, from, sizeof code);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) v[k] = (floats<16>)((code >> (8 * k) & 0xffu) | magic) - zeros.zero;
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; ++pair) to[pair] = (words<16>)v[2 * pair] >> 16 | ((words<16>)v[2 * pair + 1] & 0xffff0000u);
  }
  [[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] inline void block(std::byte const* from, [[maybe_unused]] Zeros const& zeros, words<16>* to) const {
    if constexpr (T::zeros) return differences(from, zeros, to);
    Bytes code, size, high, low;
    std::memcpy(&code, from, sizeof code);
    size = code;
    if constexpr (integers) asm("vpabsb %1, %0" : "=v"(size) : "v"(code));
    high = low = size;
    asm("vpermi2b %2, %1, %0" : "+v"(high) : "v"(upper[0]), "v"(upper[1]));
    asm("vpermi2b %2, %1, %0" : "+v"(low) : "v"(lower[0]), "v"(lower[1]));
    high |= code & 0x80;
    if constexpr (integers) {
      static_assert(from_float<bf16>(-128.f).bits == 0xc300);
      high |= (Bytes)(code == 0x80) & 0x43;
    }
    words<16> first, second;                       // of every 16 bytes the words of two outputs, four inputs each
    asm("vpunpcklbw %2, %1, %0" : "=v"(first) : "v"(low), "v"(high));
    asm("vpunpckhbw %2, %1, %0" : "=v"(second) : "v"(low), "v"(high));
    asm("vshufps $0x88, %2, %1, %0" : "=v"(to[0]) : "v"(first), "v"(second));
    asm("vshufps $0xdd, %2, %1, %0" : "=v"(to[1]) : "v"(first), "v"(second));
  }
};

template <class T> constexpr std::int64_t zeros_at(int half) { return panel_outputs * std::int64_t{sizeof(typename T::Scale)} + half * tile_outputs; }

// A tile pair decoded into memory, [2][16 pairs][16 outputs][2].
template <class T> [[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx512vbmi,fma")]] void code_pairs(PairOf<T> const& at, bf16* to) {
  CodePairs<T> decode;
  decode.begin();
  for (int half = 0; half < 2; ++half) {
    typename CodePairs<T>::Zeros zeros;
    zeros.load(at.scales + zeros_at<T>(half));
    for (int block = 0; block < CodePairs<T>::blocks; ++block) {
      std::byte const* const codes = at.tiles + half * T::tile_bytes + block * 64;
      fetch(codes, stream_ahead);
      words<16> w[CodePairs<T>::pairs];
      decode.block(codes, zeros, w);
      // One by one: g++ 12 would keep a copy of the array on the stack.
#pragma GCC unroll 4
      for (int pair = 0; pair < CodePairs<T>::pairs; ++pair)
        std::memcpy(to + half * tile_elements + (block * CodePairs<T>::pairs + pair) * 2 * tile_outputs, &w[pair], sizeof w[pair]);
    }
  }
}
#endif

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

// Codes of quantised tiles to fp32, exact and unscaled: an integer less its zero point, or what a small float stands for.
//
// A decoder, Codes<T, Lanes>: begin() takes the zero points of a group, load() a word each of Lanes outputs, which is `inputs` codes, and value()
// gives those of one input.
#pragma once
#include "scales.hpp"
#if defined(__CUDACC__)
#pragma nv_diagnostic push
#pragma nv_diag_suppress 1675                    // nvcc's own front end does not know GCC's unroll pragma; g++ does
#endif

namespace coterie { inline namespace v0 { namespace host {

// e4m3 on its way through fp16 comes out as 2^-8 of itself, which the scale of its group makes up for.
template <class T> inline constexpr float code_unit = T::dtype == DType::fp8_e4m3 ? 0x1p8f : 1;
template <class T, int Lanes> [[gnu::always_inline]] inline void load_code_scales(std::byte const* group, int column, floats<Lanes>& to) {
  load_scales<Lanes>(reinterpret_cast<typename T::Scale const*>(group) + column, to);
  if constexpr (code_unit<T> != 1) to *= code_unit<T>;
}

// A number in a register: left to itself g++ 12 reads constants from memory for every use, and on AVX2 loads then set the pace (int4, one row,
// from cache: 15.7 GB/s, so 17.3).
template <class V> inline void in_register(V&) {}
#if defined(__x86_64__)
[[gnu::target("avx2,f16c,fma")]] inline void in_register(floats<8>& v) { asm("" : "+v"(v)); }
[[gnu::target("avx2,f16c,fma")]] inline void in_register(words<8>& v) { asm("" : "+v"(v)); }
#endif

// Integers. Half a word in the mantissa of 2^23 keeps its codes at bits 0, 4, 8 and 12 (0 and 8): a mask leaves 2^23 + code * 2^bit, and one
// multiplication by a power of two less a constant makes it the code less its zero point. Two's complement with its sign flipped is the code plus
// half of the range, so that this is the zero point.
template <class T, int Lanes> struct IntegerCodes {
  static constexpr int width = bits(T::dtype), inputs = 32 / width, places = 16 / width;
  static constexpr std::uint32_t exponent = 0x4b000000u, half_range = 1u << (width - 1), flip = T::zeros ? 0 : width == 4 ? 0x8888u : 0x8080u;
  static constexpr float unit(int place) { return 1.f / static_cast<float>(1 << width * place); }
  struct Word { words<Lanes> half[2]; };
  alignas(64) float less[T::zeros ? places : 1][T::zeros ? panel_outputs : 1];
  [[gnu::always_inline]] inline void begin([[maybe_unused]] std::byte const* group) {
    if constexpr (T::zeros)
#pragma GCC unroll 8
      for (int o = 0; o < panel_outputs; o += Lanes) {
        floats<Lanes> zero;
        load_zeros<Lanes>(group + panel_outputs * sizeof(typename T::Scale) + static_cast<std::size_t>(o), zero);
#pragma GCC unroll 4
        for (int place = 0; place < places; ++place) {
          floats<Lanes> const v = zero + 0x1p23f * unit(place);
          std::memcpy(less[place] + o, &v, sizeof v);
        }
      }
  }
  [[gnu::always_inline]] inline void load(std::byte const* from, Word& to) const {
    words<Lanes> word;
    std::memcpy(&word, from, sizeof word);
    in_register(word);
    to.half[0] = (word & 0xffffu) ^ (exponent | flip), to.half[1] = word >> 16 ^ (exponent | flip);
  }
  [[gnu::always_inline]] inline void value(Word const& word, int input, [[maybe_unused]] int column, floats<Lanes>& to) const {
    int const half = width == 4 ? input % 2 : input / 2, place = width == 4 ? input / 2 : input % 2;
    floats<Lanes> by = floats<Lanes>{} + unit(place), minus;
    if constexpr (T::zeros) std::memcpy(&minus, less[place] + column, sizeof minus);
    else minus = floats<Lanes>{} + (0x1p23f * unit(place) + static_cast<float>(half_range));
    in_register(by), in_register(minus);
    to = (floats<Lanes>)(word.half[half] & (0xff800000u | ((1u << width) - 1) << (width * place)));
    if (place == 0) to = to - minus;
    else to = to * by - minus;
  }
};

// Small floats by the operations that every vector unit has. The bits of a magnitude behind an exponent that makes it normal are right but for
// subnormals, which are twice that less the least normal.
template <class T> struct FloatCodes {
  static constexpr DType type = T::dtype;
  static constexpr int width = bits(type), inputs = 32 / width, mantissa = type == DType::fp8_e4m3 ? 3 : type == DType::fp8_e5m2 ? 2 : 1;
  static constexpr std::uint32_t bias = type == DType::mxfp4 ? 126 : 112;                      // 127 less the type's own, and less the 8 of code_unit
  struct Word { words<4> codes; };
  void begin(std::byte const*) {}
  [[gnu::always_inline]] inline void load(std::byte const* from, Word& to) const { std::memcpy(&to.codes, from, sizeof to.codes); }
  [[gnu::always_inline]] inline void value(Word const& word, int input, int, floats<4>& to) const {
    int const shift = width * (width == 4 ? nibble_of(input) : input);
    words<4> const magnitude = word.codes >> shift & ((1u << (width - 1)) - 1), sign = word.codes << (32 - width - shift) & 0x80000000u;
    floats<4> const v = (floats<4>)((magnitude << (23 - mantissa)) + (bias << 23)), low = v + v - bit_cast<float>((bias + 1) << 23);
    words<4> const subnormal = (words<4>)(magnitude < 1u << mantissa);
    words<4> all = ((words<4>)v & ~subnormal) | ((words<4>)low & subnormal);
    if constexpr (type == DType::fp8_e5m2) all |= (words<4>)(magnitude > 0x7bu) & 0x7f800000u;                       // infinities and NaN
    to = (floats<4>)(all | sign);
  }
};

#if defined(__x86_64__)
// e2m1 on AVX2: every code is a bf16, whose lower and upper bytes are looked up, and bytes are put together as pairs of inputs.
[[gnu::target("avx2,f16c,fma")]] inline void look_up_pairs(words<8> const& lower, words<8> const& upper, words<8> const& index, words<8>* to) {
  words<8> low, high, first, second;                             // first, second: of every 16 bytes the words of two outputs, four inputs each
  asm("vpshufb %2, %1, %0" : "=v"(low) : "v"(lower), "v"(index));
  asm("vpshufb %2, %1, %0" : "=v"(high) : "v"(upper), "v"(index));
  asm("vpunpcklbw %2, %1, %0" : "=v"(first) : "v"(low), "v"(high));
  asm("vpunpckhbw %2, %1, %0" : "=v"(second) : "v"(low), "v"(high));
  asm("vshufps $0x88, %2, %1, %0" : "=v"(to[0]) : "v"(first), "v"(second));
  asm("vshufps $0xdd, %2, %1, %0" : "=v"(to[1]) : "v"(first), "v"(second));
}
template <class T> struct PairCodes {
  static constexpr int inputs = 8;
  struct Table {
    alignas(32) std::uint8_t lower[32]{}, upper[32]{};           // the same for both halves of a register
    constexpr Table() {
      for (unsigned i = 0; i < 32; ++i) {
        std::uint16_t const v = from_float<bf16>(code_value(T::dtype, false, i % 16)).bits;
        lower[i] = static_cast<std::uint8_t>(v), upper[i] = static_cast<std::uint8_t>(v >> 8);
      }
    }
  };
  static constexpr Table all{};
  struct Word { words<8> even[2], odd[2]; };       // of even nibbles, 0 and 2, 4 and 6; of odd ones, 1 and 3, 5 and 7
  void begin(std::byte const*) {}
  [[gnu::always_inline]] inline void load(std::byte const* from, Word& to) const {
    words<8> word, lower, upper;
    std::memcpy(&word, from, sizeof word), std::memcpy(&lower, all.lower, sizeof lower), std::memcpy(&upper, all.upper, sizeof upper);
    in_register(word);
    look_up_pairs(lower, upper, word & 0x0f0f0f0fu, to.even), look_up_pairs(lower, upper, word >> 4 & 0x0f0f0f0fu, to.odd);
  }
  [[gnu::always_inline]] inline void value(Word const& word, int input, int, floats<8>& to) const {
    int const nibble = nibble_of(input);
    words<8> const pair = (nibble % 2 ? word.odd : word.even)[nibble / 4];
    to = (floats<8>)(nibble / 2 % 2 ? pair & 0xffff0000u : pair << 16);
  }
};

// e2m1 on AVX-512: a look-up by the lowest four bits.
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,fma")]] inline void look_up(floats<16> const& table, words<16> const& index, floats<16>& to) {
  asm("vpermps %2, %1, %0" : "=v"(to) : "v"(index), "v"(table));
}
template <class T> struct TableCodes {
  static constexpr int inputs = 8;
  struct Table {
    alignas(64) float value[16]{};
    constexpr Table() {
      for (unsigned i = 0; i < 16; ++i) value[i] = code_value(T::dtype, false, i);
    }
  };
  static constexpr Table all{};
  struct Word { words<16> codes; };
  void begin(std::byte const*) {}
  [[gnu::always_inline]] inline void load(std::byte const* from, Word& to) const { std::memcpy(&to.codes, from, sizeof to.codes); }
  [[gnu::always_inline]] inline void value(Word const& word, int input, int, floats<16>& to) const {
    floats<16> table;
    std::memcpy(&table, all.value, sizeof table);
    look_up(table, word.codes >> (4 * nibble_of(input)), to);
  }
};

// 8-bit floats through fp16, whose exponent has more bits: exact, and hardware knows its subnormals whatever the rounding flags say.
template <int N> using halves = typename vector_of<short, N>::type;
// The low halves of all words, then the high ones.
[[gnu::target("avx2,f16c,fma")]] inline void sort_halves(halves<16> const& h, halves<16>& to) {
  to = __builtin_shufflevector(h, h, 0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
  asm("vpermq $0xd8, %0, %0" : "+v"(to));          // g++ 12 takes four instructions for both steps at once
}
[[gnu::always_inline]] inline void sort_halves(halves<32> const& h, halves<32>& to) {
  to = __builtin_shufflevector(h, h, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
[[gnu::always_inline]] inline void part(halves<16> const& h, int upper, halves<8>& to) {
  to = upper ? __builtin_shufflevector(h, h, 8, 9, 10, 11, 12, 13, 14, 15) : __builtin_shufflevector(h, h, 0, 1, 2, 3, 4, 5, 6, 7);
}
[[gnu::always_inline]] inline void part(halves<32> const& h, int upper, halves<16>& to) {
  to = upper ? __builtin_shufflevector(h, h, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31) : __builtin_shufflevector(h, h, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}
template <class T, int Lanes> struct HalfCodes {
  static constexpr int inputs = 4;
  struct Word { halves<2 * Lanes> even, odd; };    // inputs 0 and 2, inputs 1 and 3
  void begin(std::byte const*) {}
  [[gnu::always_inline]] inline void load(std::byte const* from, Word& to) const {
    halves<2 * Lanes> codes, sorted;
    std::memcpy(&codes, from, sizeof codes);
    sort_halves(codes, sorted);
    if constexpr (T::dtype == DType::fp8_e4m3) to.even = (sorted << 8) >> 1 & static_cast<short>(0xbf80), to.odd = sorted >> 1 & static_cast<short>(0xbf80);
    else to.even = sorted << 8, to.odd = sorted & static_cast<short>(0xff00);
  }
  [[gnu::always_inline]] inline void value(Word const& word, int input, int, floats<Lanes>& to) const {
    halves<Lanes> h;
    part(input % 2 ? word.odd : word.even, input / 2, h);
    widen_halves(h, to);
  }
};
#endif

template <class T, int Lanes> constexpr auto decoder() {
  if constexpr (T::dtype == DType::int8 || T::dtype == DType::int4) return IntegerCodes<T, Lanes>{};
#if defined(__x86_64__)
  else if constexpr (Lanes >= 8 && bits(T::dtype) == 8) return HalfCodes<T, Lanes>{};
  else if constexpr (Lanes == 16) return TableCodes<T>{};
  else if constexpr (Lanes == 8) return PairCodes<T>{};
#endif
  else return FloatCodes<T>{};
}
template <class T, int Lanes> using Codes = decltype(decoder<T, Lanes>());

// Where words of column `vector` * Lanes of a panel stand in a pair of tiles, block of inputs by block.
template <class T, int Lanes> constexpr std::int64_t code_offset(int block, int vector) {
  int const column = vector * Lanes;
  return column / tile_outputs * T::tile_bytes + (block * tile_outputs + column % tile_outputs) * 4;
}

}}}
#if defined(__CUDACC__)
#pragma nv_diagnostic pop
#endif

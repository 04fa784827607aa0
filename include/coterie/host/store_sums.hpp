// Sums on their way to gradients: in the gradient's type, added or written over what was there, through the caches or, where the gradients
// are too large for any, past them.
#pragma once
#include "block.hpp"
#include "cpu.hpp"
#include "rows.hpp"

namespace coterie { inline namespace v0 { namespace host {

// From how many bytes on gradients go past the caches: those of an expert of Mixtral with 128 rows, 176 million of fp32, take 152 ms with
// products that alone take 104; through the caches 173 (a thread of a Zen 5 beside other work).
inline constexpr std::int64_t streamed_bytes = std::int64_t{1} << 26;

// overwrite (flag): what was there is not read.
struct GradientKind {
  DType type = DType::fp32;
  int overwrite = 0;
  constexpr std::int64_t bytes() const { return bits(type) / 8; }
};

// Where the gradient of a matrix goes: element (o, i) at data[o * out_stride + i * in_stride], counted in elements; null: not wanted.
struct GradientMatrix {
  void* data = nullptr;
  std::int64_t out_stride = 0, in_stride = 1;
  GradientKind kind{};
};
template <DType D, int Out, int In> GradientMatrix gradient_of(Matrix<D, Out, In, true> const& m, int overwrite) { return {m.data, m.out_stride, m.in_stride, {D, overwrite}}; }

// Where one of its rows begins, from some column on, and how far apart the columns are; null: not wanted.
struct GradientRow {
  std::byte* data = nullptr;
  std::int64_t stride = 1;
};
inline GradientRow row_of(GradientMatrix const& m, std::int64_t output, std::int64_t input) {
  return {m.data ? static_cast<std::byte*>(m.data) + (output * m.out_stride + input * m.in_stride) * m.kind.bytes() : nullptr, m.in_stride};
}

// Some elements as memory holds them, widened, and rounded.
template <class T, int Lanes> using Stored = typename vector_of<std::conditional_t<std::is_same_v<T, float>, float, std::uint16_t>, Lanes>::type;
template <class T, int Lanes> [[gnu::always_inline]] inline void widen_lanes(Stored<T, Lanes> const& from, floats<Lanes>& to) {
  if constexpr (std::is_same_v<T, float>) to = from;
  else if constexpr (std::is_same_v<T, bf16>) {
    words<Lanes> const high = __builtin_convertvector(from, words<Lanes>) << 16;
    std::memcpy(&to, &high, sizeof to);
  } else {
    for (int i = 0; i < Lanes; ++i) to[i] = to_float(T{from[i]});
  }
}
template <class T, int Lanes> [[gnu::always_inline]] inline void round_lanes(floats<Lanes> const& from, Stored<T, Lanes>& to) {
  if constexpr (std::is_same_v<T, float>) to = from;
  else if constexpr (std::is_same_v<T, bf16>) {
    words<Lanes> b;
    std::memcpy(&b, &from, sizeof b);
    words<Lanes> const nan = (words<Lanes>)((b & 0x7fffffffu) > 0x7f800000u), rounded = (b + 0x7fffu + (b >> 16 & 1u)) >> 16, quiet = b >> 16 | 0x40u;
    to = __builtin_convertvector((nan & quiet) | (~nan & rounded), Stored<T, Lanes>);
  } else {
    for (int i = 0; i < Lanes; ++i) to[i] = from_float<T>(from[i]).bits;
  }
}

// sums[n] to a row of T side by side; lines of `next` are fetched to the first cache (null: none). Where: how a few of them are written.
using StoreSums = void(float const* sums, std::int64_t n, std::byte* row, std::byte const* next, int overwrite);
template <class T, class Where, int Lanes> [[gnu::always_inline]] inline void store_row(float const* sums, std::int64_t n, std::byte* row, std::byte const* next, int overwrite) {
  constexpr std::int64_t line = 64 / sizeof(T);
  T* const to = reinterpret_cast<T*>(row);
  std::int64_t j = 0;
  for (; j + line <= n; j += line) {
    if (next) fetch(next, j * std::int64_t{sizeof(T)});
    for (std::int64_t i = j; i < j + line; i += Lanes) {
      floats<Lanes> all{}, more;
      Stored<T, Lanes> stored;
      if (!overwrite) std::memcpy(&stored, to + i, sizeof stored), widen_lanes<T, Lanes>(stored, all);
      std::memcpy(&more, sums + i, sizeof more);
      all += more;
      round_lanes<T, Lanes>(all, stored);
      Where::write(stored, to + i);
    }
  }
  for (; j < n; ++j) to[j] = from_float<T>((overwrite ? 0.f : to_float(to[j])) + sums[j]);
}
struct ThroughCaches {
  template <class V> [[gnu::always_inline]] static inline void write(V const& v, void* to) { std::memcpy(to, &v, sizeof v); }
};
template <class T> void store_portable(float const* sums, std::int64_t n, std::byte* row, std::byte const* next, int overwrite) {
  store_row<T, ThroughCaches, 8>(sums, n, row, next, overwrite);
}
#if defined(__x86_64__)
struct PastCaches {                              // from an address that is a multiple of 16
  template <class V> [[gnu::always_inline]] static inline void write(V const& v, void* to) {
    floats<4> parts[sizeof(V) / sizeof(floats<4>)];
    std::memcpy(parts, &v, sizeof v);
    for (std::size_t i = 0; i < std::size(parts); ++i) asm volatile("vmovntps %1, %0" : "=m"(static_cast<floats<4>*>(to)[i]) : "x"(parts[i]));
  }
};
template <class T, class Where> [[gnu::target("avx2")]] void store_avx2(float const* sums, std::int64_t n, std::byte* row, std::byte const* next, int overwrite) {
  store_row<T, Where, 8>(sums, n, row, next, overwrite);
}
// bf16, where rounding is the work: 151 million past the caches in 10 ms, with AVX2 in 21 (a thread of a Zen 5 beside other work).
template <class Where> [[gnu::target("avx512f,avx512bw,avx512vl")]] void store_bf16_avx512(float const* sums, std::int64_t n, std::byte* row, std::byte const* next, int overwrite) {
  store_row<bf16, Where, 16>(sums, n, row, next, overwrite);
}
#endif
template <class T> StoreSums* store_in(Isa path, bool streams) {
#if defined(__x86_64__)
  if (path >= Isa::avx512 && std::is_same_v<T, bf16>) return streams ? &store_bf16_avx512<PastCaches> : &store_bf16_avx512<ThroughCaches>;
  if (path != Isa::portable) return streams ? &store_avx2<T, PastCaches> : &store_avx2<T, ThroughCaches>;
#endif
  (void)path, (void)streams;
  return &store_portable<T>;
}

// How sums are written into gradients of one kind.
class SumStore {
 public:
  SumStore(Isa path, GradientKind kind, bool streams)
      : kind_(kind), through_(store(path, kind.type, false)), past_(streams ? store(path, kind.type, true) : through_), fetches_(!kind.overwrite || !streams) {}

  // Whether rows are wanted in the caches before they are written, and a line's elements.
  bool fetches() const { return fetches_; }
  std::int64_t line() const { return 64 / kind_.bytes(); }
  // sums[n] to a row; `next` is fetched meanwhile.
  void operator()(float const* sums, std::int64_t n, GradientRow to, GradientRow next = {}) const {
    if (!to.data) return;
    if (to.stride == 1) return (reinterpret_cast<std::uintptr_t>(to.data) % 16 ? through_ : past_)(sums, n, to.data, fetches_ && next.stride == 1 ? next.data : nullptr, kind_.overwrite);
    for (std::int64_t j = 0; j < n; ++j) through_(sums + j, 1, to.data + j * to.stride * kind_.bytes(), nullptr, kind_.overwrite);
  }

 private:
  static StoreSums* store(Isa path, DType type, bool past) { return type == DType::bf16 ? store_in<bf16>(path, past) : type == DType::fp16 ? store_in<fp16>(path, past) : store_in<float>(path, past); }
  GradientKind kind_;
  StoreSums *through_, *past_;                   // the caches; past them from addresses that are multiples of 16
  bool fetches_;
};
// Before another thread may read what was streamed.
inline void after_streams() {
#if defined(__x86_64__)
  asm volatile("sfence" : : : "memory");
#endif
}

// Zeros over a gradient; null: not wanted.
inline void clear(float* to, std::int64_t n) {
  if (to && n > 0) std::memset(to, 0, static_cast<std::size_t>(n) * sizeof(float));
}
// And of a matrix.
template <class Pool> void clear_gradient(Pool& pool, Isa path, GradientMatrix to, std::int64_t outputs, std::int64_t inputs) {
  static constexpr float zeros[16 * panel_outputs]{};
  to.kind.overwrite = 1;
  SumStore const store{path, to.kind, true};
  if (to.data) for_chunks(pool, outputs, token_chunk, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t o = first; o < last; ++o)
      for (std::int64_t i = 0; i < inputs; i += std::int64_t{std::size(zeros)}) store(zeros, inputs - i < std::int64_t{std::size(zeros)} ? inputs - i : std::int64_t{std::size(zeros)}, row_of(to, o, i));
    after_streams();
  });
}

}}}

// Sums added to gradients: through the caches, or, where these are too large for any, past them.
#pragma once
#include "block.hpp"
#include "cpu.hpp"

namespace coterie { inline namespace v0 { namespace host {

// From how many floats on (64 MB) gradients go past the caches: those of an expert of Mixtral with 128 rows, 176 million, take 152 ms with
// products that alone take 104; through the caches 173 (a thread of a Zen 5 beside other work).
inline constexpr std::int64_t streamed_floats = std::int64_t{1} << 24;

// to[n] += from[n]; lines of next[n] are fetched to the first cache (null: none).
[[gnu::always_inline]] inline void add_through_caches(float const* from, std::int64_t n, float* to, float const* next) {
  std::int64_t j = 0;
  for (; j + panel_outputs <= n; j += panel_outputs) {
    if (next) fetch(next + j, 0), fetch(next + j, 64);
    float all[panel_outputs];
    std::memcpy(all, to + j, sizeof all);
    for (int i = 0; i < panel_outputs; ++i) all[i] += from[j + i];
    std::memcpy(to + j, all, sizeof all);
  }
  for (; j < n; ++j) to[j] += from[j];
}
inline void add_portable(float const* from, std::int64_t n, float* to, float const* next) { add_through_caches(from, n, to, next); }
#if defined(__x86_64__)
[[gnu::target("avx2")]] inline void add_avx2(float const* from, std::int64_t n, float* to, float const* next) { add_through_caches(from, n, to, next); }
[[gnu::target("avx2")]] inline void add_streamed(float const* from, std::int64_t n, float* to, float const* next) {
  if (reinterpret_cast<std::uintptr_t>(to) % 32 || n % 16) return add_through_caches(from, n, to, next);
  for (std::int64_t j = 0; j < n; j += 16) {
    if (next) fetch(next + j, 0);
    for (int half = 0; half < 16; half += 8) {
      floats<8> all, more;
      std::memcpy(&all, to + j + half, sizeof all), std::memcpy(&more, from + j + half, sizeof more);
      all += more;
      asm volatile("vmovntps %1, %0" : "=m"(*reinterpret_cast<floats<8>*>(to + j + half)) : "x"(all));
    }
  }
}
#endif
using Add = void(float const* from, std::int64_t n, float* to, float const* next);
inline Add* add_for(Isa path, bool streams) {
#if defined(__x86_64__)
  if (path != Isa::portable) return streams ? &add_streamed : &add_avx2;
#endif
  (void)path, (void)streams;
  return &add_portable;
}
// Before another thread may read what was streamed.
inline void after_streams() {
#if defined(__x86_64__)
  asm volatile("sfence" : : : "memory");
#endif
}

}}}

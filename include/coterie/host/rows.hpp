// Activations on their way into a product: gathered, widened to fp32, padded with zeros.
#pragma once
#include "panel.hpp"

namespace coterie { inline namespace v0 { namespace host {

// to[0, padded) = from[0, n), then zeros. A: fp32, or bf16 for the tile kernel.
template <class T, class A> [[gnu::always_inline]] inline void widen_row(T const* from, std::int64_t n, std::int64_t padded, A* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = from_float<A>(to_float(from[i]));
  for (std::int64_t i = n; i < padded; ++i) to[i] = A{};
}
// The same times scale, rounded to T.
template <class T, class A> [[gnu::always_inline]] inline void widen_row_scaled(T const* from, float scale, std::int64_t n, std::int64_t padded, A* to) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = from_float<A>(rounded<T>(to_float(from[i]) * scale));
  for (std::int64_t i = n; i < padded; ++i) to[i] = A{};
}

inline constexpr std::int64_t token_chunk = 16;            // tokens per task where a task is a token's work

// Runs each(first, last) over [0, n) in chunks, on the pool.
template <class Pool, class Each> void for_chunks(Pool& pool, std::int64_t n, std::int64_t chunk, Each const& each) {
  pool.run(ceil_div(n, chunk), [&](std::int64_t i) { each(i * chunk, i * chunk + chunk < n ? i * chunk + chunk : n); });
}

}}}

// What the losses and statistics ask of what they are given.
#pragma once
#include "../dtype.hpp"
#include "../error.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// `what` says that a view must have as many rows as the routing has tokens.
template <class View> void require_rows(View const& view, std::int64_t tokens, char const* what, Where at) {
  require(tokens == 0 || (view.data && view.rows == tokens), what, view.data ? view.rows : 0, tokens, at);
}
inline constexpr char const* needs_logits = "balance: routing.logits must have as many rows as routing.expert (set Routing::logits before the router runs)";

// Neither NaN nor infinite, by bits, for -ffast-math.
inline bool finite(float v) { return (bit_cast<std::uint32_t>(v) & 0x7f800000u) != 0x7f800000u; }
inline bool finite(double v) { return (bit_cast<std::uint64_t>(v) >> 52 & 0x7ff) != 0x7ff; }

}}}

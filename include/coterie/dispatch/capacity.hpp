// How many tokens an expert takes, by the rule of each original (docs/dispatch.md has the table).
#pragma once
#include "../config.hpp"

namespace coterie { inline namespace v0 {

// Whole numbers from non-negative doubles, without <cmath>.
constexpr std::int64_t floor_of(double v) { return static_cast<std::int64_t>(v < 0x1p40 ? v : 0x1p40); }   // no call has more tokens
constexpr std::int64_t ceil_of(double v) { return floor_of(v) + (static_cast<double>(floor_of(v)) < v); }
constexpr std::int64_t round_half_even(double v) {
  std::int64_t const n = floor_of(v);
  double const rest = v - static_cast<double>(n);
  return n + (rest > 0.5 || (rest == 0.5 && n % 2));
}

// Places of one expert in a group of `tokens` tokens; as many as tokens when the config is dropless. For expert choice
// this is how many tokens each expert takes (Rounding::none: tokens * top_k / experts * factor, rounded down).
constexpr std::int64_t capacity(Config const& c, std::int64_t tokens) {
  double const t = static_cast<double>(tokens), e = c.experts, k = c.top_k, f = static_cast<double>(c.capacity.factor);
  std::int64_t places = 0;
  switch (c.capacity.rounding) {
    case Rounding::none:
      if (c.router.select != Select::expert_choice) return tokens;
      places = floor_of(f * k * t / e);
      break;
    case Rounding::mesh: places = floor_of(t * f / e) < tokens ? floor_of(t * f / e) : tokens; break;
    case Rounding::flaxformer: places = round_half_even(f * t / e); break;
    case Rounding::deepspeed: places = ceil_of(t / e * f * k); break;
    case Rounding::megablocks: places = floor_of(f * (k * t / e)); break;
    case Rounding::fastmoe: places = ceil_of(f * t) * c.top_k / c.experts; break;
    case Rounding::nllb: places = f > 0 ? ceil_of(f * t) : 2 * ((tokens + c.experts - 1) / c.experts); break;   // evaluation; factor 0: training
  }
  if (places < c.capacity.minimum) places = c.capacity.minimum;
  return c.router.select == Select::expert_choice && places > tokens ? tokens : places;
}

// The most rows that `tokens` tokens can be routed to, however they are grouped.
constexpr std::int64_t rows_bound(Config const& c, std::int64_t tokens) {
  bool const exact = c.router.select == Select::expert_choice && c.router.input != RouterInput::given && c.capacity.rounding == Rounding::none && c.capacity.minimum == 0;
  return exact ? c.experts * capacity(c, tokens) : slots(c) * tokens;
}

// Tokens of one capacity group when a layer sees `tokens` of them and the caller says `sequence` (0: all).
constexpr std::int64_t group_tokens(std::int64_t tokens, std::int64_t sequence) { return sequence > 0 && sequence < tokens ? sequence : tokens; }

}}

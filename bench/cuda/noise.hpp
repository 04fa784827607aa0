// Noise that is a function of seed and place: the same on the GPU, on the host, and in tokens.py.
#pragma once
#include <coterie/config.hpp>
#include <cstdint>

namespace bench {

// N(0,1), a sum of four uniforms: element i under the seed.
COTERIE_HD inline float noise_at(std::int64_t i, std::uint64_t seed) {
  std::uint64_t w = (static_cast<std::uint64_t>(i) + (seed << 40)) * 0x9e3779b97f4a7c15u;
  w = (w ^ (w >> 30)) * 0xbf58476d1ce4e5b9u;
  w = (w ^ (w >> 27)) * 0x94d049bb133111ebu;
  w ^= w >> 31;
  auto const sum = static_cast<std::int64_t>((w & 0xffff) + (w >> 16 & 0xffff) + (w >> 32 & 0xffff) + (w >> 48));
  return static_cast<float>(sum - 131070) * (1.7320508f / 65536);
}
// The seed of the tokens of a run.
constexpr std::uint64_t token_seed(std::int64_t tokens) { return 100 + static_cast<std::uint64_t>(tokens); }

}

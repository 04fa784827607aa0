// Counter-based random numbers (Philox 4x32, ten rounds: Salmon et al., SC 2011): a number depends on the caller's seed
// and on what it is for, never on the order in which threads ask.
#pragma once
#include "math.hpp"

namespace coterie { inline namespace v0 { namespace random {

enum class Stream : std::uint32_t { jitter = 1, softplus, gumbel, second, order };

COTERIE_HD inline std::uint32_t word(std::uint64_t seed, Stream stream, std::uint64_t token, std::uint32_t index) {
  std::uint32_t c[4]{static_cast<std::uint32_t>(token), static_cast<std::uint32_t>(token >> 32), index / 4, static_cast<std::uint32_t>(stream)};
  std::uint32_t k0 = static_cast<std::uint32_t>(seed), k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    std::uint64_t const a = std::uint64_t{0xd2511f53u} * c[0], b = std::uint64_t{0xcd9e8d57u} * c[2];
    std::uint32_t const next[4]{static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(b),
                                static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(a)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k0 += 0x9e3779b9u;
    k1 += 0xbb67ae85u;
  }
  return c[index % 4];
}
// In (0, 1): the odd multiples of 2^-24, so that no logarithm meets 0.
COTERIE_HD inline float uniform(std::uint64_t seed, Stream stream, std::uint64_t token, std::uint32_t index) {
  return math::fma(static_cast<float>(word(seed, stream, token, index) >> 9), 0x1p-23f, 0x1p-24f);         // exact
}
[[gnu::always_inline]] COTERIE_HD inline float gaussian(std::uint64_t seed, Stream stream, std::uint64_t token, std::uint32_t index) {
  float const u = uniform(seed, stream, token, 2 * index), v = uniform(seed, stream, token, 2 * index + 1);
  return __builtin_sqrtf(-2.f * math::log(u)) * math::cos_turn(v);
}
[[gnu::always_inline]] COTERIE_HD inline float gumbel(std::uint64_t seed, Stream stream, std::uint64_t token, std::uint32_t index) {
  return -math::log(-math::log(uniform(seed, stream, token, index)));
}
// x times 1 + U(-size, size): what a router with Noise::jitter sees of x.
COTERIE_HD inline float jittered(float x, float size, std::uint64_t seed, std::int64_t token, int column) {
  float const u = uniform(seed, Stream::jitter, static_cast<std::uint64_t>(token), static_cast<std::uint32_t>(column));
  return x * math::fma(size, math::fma(2.f, u, -1.f), 1.f);
}

}}}

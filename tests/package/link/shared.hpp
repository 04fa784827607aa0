// What two translation units, or two shared libraries, both use.
#pragma once
#include <coterie/coterie.hpp>
#include <vector>
namespace ct = coterie;

inline constexpr ct::Config config{.experts = 4, .top_k = 2, .hidden = 32, .ffn = 32};

// The first element of y for x and weights that depend on seed only.
inline float run(ct::Host const& on, int seed) {
  std::vector<ct::bf16> weights(32 * 32), x(3 * 32), y(3 * 32);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = ct::from_float<ct::bf16>(static_cast<float>((i * 7 + static_cast<std::size_t>(seed)) % 13) / 16);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = ct::from_float<ct::bf16>(static_cast<float>(i % 5) / 8);
  ct::Weights<config> raw;
  raw.router.data = weights.data();
  for (std::size_t e = 0; e < 4; ++e) raw.gate[e].data = raw.up[e].data = raw.down[e].data = weights.data();
  auto const packed = ct::pack(on, raw);
  ct::Layer<config, ct::Host> layer{packed.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(on, 3));
  layer.forward(on, ct::rows<32>(x.data(), 3), ct::rows<32>(y.data(), 3), workspace);
  return ct::to_float(y[0]);
}
float first(ct::Host const& on, ct::Rows<ct::bf16 const, 32> x);
float second(ct::Host const& on, ct::Rows<ct::bf16 const, 32> x);

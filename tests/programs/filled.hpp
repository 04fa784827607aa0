// Raw weights for the programs: small numbers that depend on their position, owned by a Filled.
#pragma once
#include <coterie/coterie.hpp>
#include <vector>
namespace ct = coterie;

template <ct::Config C> struct Filled {
  static constexpr ct::Config config = C;
  static constexpr std::size_t E = C.experts, one = static_cast<std::size_t>(C.ffn) * C.hidden;
  std::vector<ct::bf16> router, matrices;        // [E,H]; [E][3][F*H]
  ct::Weights<config, ct::DType::bf16> raw{};

  Filled() : router(E * C.hidden), matrices(E * 3 * one) {
    auto const fill = [](std::vector<ct::bf16>& v, std::size_t step, float scale) {
      for (std::size_t i = 0; i < v.size(); ++i) v[i] = ct::from_float<ct::bf16>((static_cast<float>(i * step % 31) - 15) * scale);
    };
    fill(router, 7, 0.01f);
    fill(matrices, 11, 0.002f);
    raw.router.data = router.data();
    for (std::size_t e = 0; e < E; ++e) {
      raw.gate[e].data = matrices.data() + 3 * e * one;
      raw.up[e].data = raw.gate[e].data + one;
      raw.down[e].data = raw.up[e].data + one;
    }
  }
  Filled(Filled const&) = delete;
};

inline std::vector<ct::bf16> activations(std::size_t n) {
  std::vector<ct::bf16> x(n);
  for (std::size_t i = 0; i < n; ++i) x[i] = ct::from_float<ct::bf16>((static_cast<float>(i * 13 % 29) - 14) / 16);
  return x;
}
inline bool same(std::vector<ct::bf16> const& a, std::vector<ct::bf16> const& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) if (a[i].bits != b[i].bits) return false;
  return true;
}

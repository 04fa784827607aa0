// A layer's weights: noise, behind a router that a trace can steer.
#pragma once
#include <cmath>
#include "gpu.cuh"

namespace bench {

template <Config C> Packed<C, Cuda> pack_noise(Cuda const& on) {
  using R = element_t<C.router.weights>;
  using T = element_t<C.weights>;
  constexpr std::int64_t H = C.hidden, F = C.ffn, N = logit_columns(C), S = C.shared.ffn, wide = F * H;
  Packer<C, Cuda> packer{on};
  Random random{1};
  std::vector<R> const router = steered_router<C>(random);
  std::vector<float> const zeros(static_cast<std::size_t>(std::max({N, F, H, S})));
  Memory<T> const up(2 * wide), down(wide);
  Memory<element_t<C.shared.weights>> const shared(3 * S * H + 1);
  auto const own = std::make_unique<Weights<C>>();
  Weights<C>& raw = *own;
  raw.router.data = router.data();
  if constexpr (C.router.bias) raw.router_bias = zeros.data();
  if constexpr (C.router.select_bias) raw.select_bias = zeros.data();
  if constexpr (C.expert.bias) raw.gate_bias.fill(zeros.data()), raw.up_bias.fill(zeros.data()), raw.down_bias.fill(zeros.data());
  if constexpr (S > 0) {
    noise(on, shared.data(), 3 * S * H, 1 / std::sqrt(static_cast<float>(H)), 9);
    raw.shared.gate.data = shared.data(), raw.shared.up.data = shared.data() + S * H, raw.shared.down.data = shared.data() + 2 * S * H;
  }
  packer.router(raw);
  for (int e = 0; e < C.experts; ++e) {
    noise(on, up.data(), 2 * wide, 1 / std::sqrt(static_cast<float>(H)), 10 + static_cast<std::uint64_t>(e));
    noise(on, down.data(), wide, 1 / std::sqrt(static_cast<float>(F)), 5000 + static_cast<std::uint64_t>(e));
    packer.template expert<C.weights>(e, {.data = up.data()}, {.data = up.data() + wide}, {.data = down.data()});
  }
  return packer.finish();
}

}

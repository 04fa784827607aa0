// Where the gradients of a call on the host go, whatever the type of their matrices: what its stages take.
#pragma once
#include "../combine/backward.hpp"
#include "../experts/backward.hpp"
#include "../experts/shared_backward.hpp"
#include "../router/backward.hpp"

namespace coterie { inline namespace v0 { namespace training {

template <Config C> struct Places {
  static constexpr Config config = C;
  using Experts = ExpertsBackward<config, Host>;
  using Shared = SharedBackward<config, Host>;
  using Mixing = CombineBackward<config, Host>;
  typename Experts::Places experts{};
  host::FfnGradient shared{};
  host::GradientMatrix latent_down{};            // [W,H]
  typename Mixing::Places mixing{};
  RouterPlaces router{};
  float *router_x = nullptr, *logits = nullptr, *routing_weight = nullptr;         // [T,H], [T,N], [T,S]
  int overwrite = 0;

  // to: outlives what this returns.
  template <DType D> static Places of(Gradients<config, D> const& to) {
    Places p{.experts = Experts::places(to), .router_x = to.router_x, .logits = to.logits, .routing_weight = to.routing_weight, .overwrite = to.overwrite};
    p.router = {.router = to.router, .router_bias = to.router_bias, .noise = to.noise, .expert_scale = to.expert_scale, .router_scale = to.router_scale};
    if constexpr (C.shared.ffn > 0) p.shared = Shared::places(to), p.mixing.mix = to.shared.mix, p.mixing.mix_bias = to.shared.mix_bias;
    if constexpr (C.expert.latent > 0)
      p.latent_down = host::gradient_of(to.latent.down, to.overwrite), p.mixing.latent_up = host::gradient_of(to.latent.up, to.overwrite), p.mixing.latent_norm = to.latent.norm;
    return p;
  }
};

}}}

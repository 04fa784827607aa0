// What the router's backward is given, on every backend, and what it asks of that.
#pragma once
#include "../arguments.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct RouterBackward;

// Gradients that come in.
template <Config C> struct RouterGradients {
  static constexpr Config config = C;
  Rows<float const, slots(C)> weight{};                                // [T,S] of Routing::weight as Combine used it; dropped and absent: 0
  Rows<float const, shared_rows(C)> shared{};                          // [T,count] of Routing::shared
  Rows<float const, logit_columns(C)> logits{};                        // [T,N] of the logits themselves, by auxiliary losses; optional
  Rows<float const, logit_columns(C)> noise_logits{};                  // [T,N] of the noise's, likewise; Noise::softplus with a seed
};

// What every RouterBackward asks, scratch and packed weights aside.
template <Config C>
void router_backward_arguments(Arguments const& arguments, Inputs<C> const& in, Routing<C> const& routing, Rows<std::int32_t const, slots(C)> slot, RouterGradients<C> const& d) {
  constexpr bool has_logits = C.router.input != RouterInput::token_ids;
  std::int64_t const n = in.x.rows;
  arguments.tokens<C>(n);
  arguments.require(routing.expert.rows == n, "routing.expert must have as many rows as x", routing.expert.rows, n);
  if constexpr (has_logits) arguments.require(routing.logits.data && routing.logits.rows == n, "routing.logits must have as many rows as x", routing.logits.rows, n);
  arguments.require(d.weight.rows == n, "the gradient of the weights must have as many rows as x", d.weight.rows, n);
  if (n == 0) return;
  if constexpr (shared_rows(C) > 0) arguments.require(d.shared.rows == n, "the gradient of routing.shared must have as many rows as x", d.shared.rows, n);
  if constexpr (normalises_after_drop(C)) arguments.require(slot.data && slot.rows == n, "batch.slot must have as many rows as x", slot.rows, n);
  arguments.require(has_logits || !d.logits.data, "a router without logits takes no gradient of them", 1, 0);
  if (d.logits.data) arguments.require(d.logits.rows == n, "the gradient of the logits must have as many rows as x", d.logits.rows, n);
  arguments.require((C.router.noise == Noise::softplus && in.seed) || !d.noise_logits.data, "only Noise::softplus with a seed has logits of noise to take a gradient of", 1, 0);
  if (d.noise_logits.data) arguments.require(d.noise_logits.rows == n, "the gradient of the noise's logits must have as many rows as x", d.noise_logits.rows, n);
}

}}

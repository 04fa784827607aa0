// From gradients of routing weights to those of logits, for a loss on weights (Losses::importance) and Layer::backward's dlogits.
#pragma once
#include "../router/gradient.hpp"
#include "smooth_load.hpp"

namespace coterie { inline namespace v0 { namespace balance {

// Adds to `to` what dweight[T,S], gradients of Routing::weight, mean for the logits, and with Noise::softplus for the noise's. routing:
// expert[T,S], logits[T,N]; noise_logits[T,N] and seed as the router had them, where it drew noise. to.logits must be given. A global factor (Weights::router_scale)
// is the caller's to multiply dweight by.
template <Config C> void through_router(Routing<C> const& routing, Rows<float const, slots(C)> dweight, DrawnGradient<C> const& to,
                                        Rows<float const, logit_columns(C)> noise_logits = {}, std::uint64_t seed = 0, Where at = Where::here()) {
  static_assert(!normalises_after_drop(C) && C.router.expert_scale == 0 && C.router.select != Select::expert_choice && C.router.noise != Noise::random_second,
                "coterie::balance: through_router is of a token's own choices: without learned factors, random second choices and weights that are normalised after dropping");
  static_assert(C.router.input != RouterInput::token_ids, "coterie::balance: through_router is of a router with logits, which one by token ids has not");
  constexpr int E = candidates(C), N = logit_columns(C), S = slots(C), shared = shared_rows(C);
  std::int64_t const tokens = routing.expert.rows;
  require(tokens >= 0 && (routing.expert.data || tokens == 0), "balance: routing.expert must be given", tokens, 0, at);
  require_rows(routing.logits, tokens, needs_logits, at);
  require_rows(dweight, tokens, "balance: dweight must have as many rows as routing.expert", at);
  require_rows(to.logits, tokens, "balance: the gradient must have as many rows as the routing", at);
  bool const drew = C.router.noise == Noise::softplus && seed != 0;
  if (drew) require_rows(noise_logits, tokens, "balance: noise_logits must have as many rows as the routing", at);
  if (to.noise_logits.data) require_rows(to.noise_logits, tokens, "balance: the gradient must have as many rows as the routing", at);
  for (std::int64_t t = 0; t < tokens; ++t) {
    float s[N], scratch[N], dz[N], dnoise[N]{}, dw[S], none[shared + 1]{};
    std::int32_t expert[S];
    for (int k = 0; k < S; ++k) {
      std::int32_t const e = routing.expert[t][k];
      expert[k] = e >= 0 && e < E ? e : -1, dw[k] = expert[k] < 0 ? 0.f : dweight[t][k];
      if constexpr (C.router.select == Select::sparse_mixer)             // its rounds need an expert: the largest stands in, without a gradient
        if (expert[k] < 0) expert[k] = route::Program<C>::largest(routing.logits[t], k ? expert[0] : -1);
    }
    route::TokenGradient g{.weight = dw, .shared = none, .logits = dz, .noise_logits = dnoise};
    route::ProgramGradient<C>::run(routing.logits[t], s, scratch, {.noise_logits = drew ? noise_logits[t] : nullptr, .seed = drew || C.router.noise == Noise::gumbel ? seed : 0, .index = t}, expert, nullptr, g);
    for (int e = 0; e < N; ++e) to.logits[t][e] += dz[e];
    if (to.noise_logits.data) for (int e = 0; e < N; ++e) to.noise_logits[t][e] += dnoise[e];
  }
}

}}}

// The router alone: logits by one product, then the routing program. The experts take no room here.
#include "suite.hpp"

namespace bench {

template <Config C> void router(benchmark::State& state, Case const& c) {
  Host const& on = host_of(c.threads);
  auto* const load = workload<C>(false);
  if (!load) return state.SkipWithError("not enough memory");
  Routed<C> maps{on, c.tokens};
  Inputs<C> in{.x = load->tokens(c.tokens, c.trace)};
  double const n = c.tokens, columns = logit_columns(C), weights = columns * C.hidden * bits(C.router.weights) / 8;
  measure(state, c, C.router.weights, [&] { in.x = load->tokens(c.tokens, c.trace); },
          [&] { maps.route(on, in, load->next(), nullptr); },
          [&] { return Work{.flops = 2 * n * C.hidden * columns, .weight_bytes = weights,
                            .bytes = weights + n * (C.hidden * bits(C.dtype) / 8 + 8. * C.top_k), .experts = maps.experts_hit()}; });
}
template <Config C> void add_router(char const* preset) { add("router", preset, C.router.weights, router<without_experts(C)>); }

}

int main(int argc, char** argv) {
  using namespace bench;
  add_router<small>("small");
  add_router<presets::mixtral_8x7b>("mixtral_8x7b");
  add_router<presets::qwen3_30b_a3b>("qwen3_30b_a3b");
  add_router<presets::deepseek_v3>("deepseek_v3");
  add_router<presets::thousands>("thousands");
  return run(argc, argv);
}

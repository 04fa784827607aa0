// Dispatch alone: choices to maps. It moves bytes and computes nothing; expert ids and weights in, four maps out.
#include "suite.hpp"

namespace bench {

template <Config C> void dispatch(benchmark::State& state, Case const& c) {
  Host const& on = host_of(c.threads);
  auto* const load = workload<C>(false);
  if (!load) return state.SkipWithError("not enough memory");
  Routed<C> maps{on, c.tokens};
  Inputs<C> in{};
  measure(state, c, C.weights,
          [&] {
            in.x = load->tokens(c.tokens, c.trace);
            maps.route(on, in, load->next(), c.trace == Trace::replayed ? &load->replay() : nullptr);
          },
          [&] { maps.dispatch(on, in); },
          [&] { return Work{.bytes = 4. * (2. * c.tokens * C.top_k + C.experts + 1 + 3. * static_cast<double>(maps.rows())), .experts = maps.experts_hit()}; });
}
template <Config C> void add_dispatch(char const* preset) { add("dispatch", preset, C.dtype, dispatch<without_experts(C)>); }

}

int main(int argc, char** argv) {
  using namespace bench;
  add_dispatch<small>("small");
  add_dispatch<presets::mixtral_8x7b>("mixtral_8x7b");
  add_dispatch<presets::qwen3_30b_a3b>("qwen3_30b_a3b");
  add_dispatch<presets::thousands>("thousands");
  return run(argc, argv);
}

// The experts alone, behind the layer's own router and dispatch (untimed). Bytes: the weights of the experts hit, the
// tokens once, the routed rows once.
#include "suite.hpp"

namespace bench {

template <Config C> void experts(benchmark::State& state, Case const& c) {
  using V = element_t<C.dtype>;
  Host const& on = host_of(c.threads);
  auto* const load = workload<C>(true);
  if (!load) return state.SkipWithError("not enough memory");
  Routed<C> maps{on, c.tokens};
  Inputs<C> in{};
  Experts<C, Host> const stage;
  std::int64_t const rows_most = std::int64_t{c.tokens} * C.top_k;
  std::vector<V> out(static_cast<std::size_t>(rows_most * width(C)));
  host::Buffer const scratch{stage.workspace_bytes(on, c.tokens)};
  PackedView<C, Host> packed{};
  measure(state, c, C.weights,
          [&] {
            in.x = load->tokens(c.tokens, c.trace);
            packed = load->next();
            maps.route(on, in, packed, c.trace == Trace::replayed ? &load->replay() : nullptr);
            maps.dispatch(on, in);
          },
          [&] { stage(on, in.x, packed, maps.batch, {out.data(), rows_most}, scratch.span()); },
          [&] {
            double const r = static_cast<double>(maps.rows()), hit = static_cast<double>(maps.experts_hit()), weights = hit * Workload<C>::expert_bytes;
            return Work{.flops = r * Workload<C>::expert_flops, .weight_bytes = weights, .bytes = weights + (r + c.tokens) * C.hidden * sizeof(V),
                        .experts = maps.experts_hit()};
          });
}
template <Config C> void add_experts(char const* preset) { add("experts", preset, C.weights, experts<C>); }

}

int main(int argc, char** argv) {
  using namespace bench;
  add_experts<small>("small");
  add_experts<with_dtype(small, DType::fp32)>("small");
  add_experts<with_dtype(small, DType::fp16)>("small");
  add_experts<presets::mixtral_8x7b>("mixtral_8x7b");
  add_experts<presets::qwen3_30b_a3b>("qwen3_30b_a3b");
  add_experts<presets::thousands>("thousands");
  return run(argc, argv);
}

// Combine alone: every token's weighted sum. Bytes: the routed rows in, the tokens out.
#include "suite.hpp"

namespace bench {

template <Config C> void combine(benchmark::State& state, Case const& c) {
  using V = element_t<C.dtype>;
  Host const& on = host_of(c.threads);
  auto* const load = workload<C>(false);
  if (!load) return state.SkipWithError("not enough memory");
  Routed<C> maps{on, c.tokens};
  Inputs<C> in{};
  std::int64_t const rows_most = std::int64_t{c.tokens} * C.top_k;
  std::vector<V> out(static_cast<std::size_t>(rows_most * width(C))), y(static_cast<std::size_t>(c.tokens) * C.hidden);
  Random random{3};
  for (V& v : out) v = from_float<V>(random.normal());
  PackedView<C, Host> packed{};
  measure(state, c, C.weights,
          [&] {
            in.x = load->tokens(c.tokens, c.trace);
            packed = load->next();
            maps.route(on, in, packed, c.trace == Trace::replayed ? &load->replay() : nullptr);
            maps.dispatch(on, in);
          },
          [&] {
            Combine<C, Host>{}(on, in, packed, maps.routing, maps.batch, {out.data(), rows_most}, {}, {y.data(), c.tokens}, {});
          },
          [&] {
            double const r = static_cast<double>(maps.rows());
            return Work{.flops = 2 * r * C.hidden, .bytes = (r + c.tokens) * C.hidden * sizeof(V), .experts = maps.experts_hit()};
          });
}
template <Config C> void add_combine(char const* preset) { add("combine", preset, C.dtype, combine<without_experts(C)>); }

}

int main(int argc, char** argv) {
  using namespace bench;
  add_combine<small>("small");
  add_combine<with_dtype(small, DType::fp32)>("small");
  add_combine<with_dtype(small, DType::fp16)>("small");
  add_combine<presets::mixtral_8x7b>("mixtral_8x7b");
  add_combine<presets::qwen3_30b_a3b>("qwen3_30b_a3b");
  add_combine<presets::thousands>("thousands");
  return run(argc, argv);
}

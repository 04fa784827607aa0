// The whole layer, and the MoE tax: layer time over the time of a dense FFN with as many active columns (top_k * ffn),
// computed by the same kernels, beside the same ratio of the two floors. --quick prints only what the library promises.
#include "promises.hpp"

namespace bench {

template <Config C> void layer(benchmark::State& state, Case const& c) {
  auto* const load = workload<C>(true);
  if (!load) return state.SkipWithError("not enough memory");
  LayerRun<C> run{*load, c};
  measure(state, c, C.weights, [&] { run.prepare(); }, [&] { run.call(); }, [&] { return run.account(); });
}
// Layer and dense FFN take turns, so that whatever else the machine does meets both.
template <Config C> void tax(benchmark::State& state, Case const& c) {
  auto* const load = workload<C>(true);
  static std::unique_ptr<Workload<dense_of(C)>> dense_load;
  if (!load) return state.SkipWithError("not enough memory");
  if (!dense_load) dense_load = std::make_unique<Workload<dense_of(C)>>(host_of(0));
  LayerRun<C> run{*load, c};
  DenseRun<C> dense{*dense_load, c};
  Samples dense_samples{c.threads, roof(c.threads, C.weights)}, samples{c.threads, roof(c.threads, C.weights)};
  for (auto _ : state) {
    samples.add(run.sample());
    dense_samples.add(dense.sample());
    state.SetIterationTime(samples.last().wall);
  }
  samples.report(state, c.tokens);
  Sample const l = samples.best(), d = dense_samples.best();
  state.counters["dense_ms"] = 1e3 * d.wall;
  state.counters["tax"] = l.wall / d.wall;
  state.counters["tax_floor"] = l.roof.floor(l.work) / d.roof.floor(d.work);
}
template <Config C> void add_layer(char const* preset) {
  add("layer", preset, C.weights, layer<C>);
  add("tax", preset, C.weights, tax<C>);
}

}

int main(int argc, char** argv) {
  using namespace bench;
  bool quick = false;
  for (int i = 1; i < argc; ++i) quick |= std::strcmp(argv[i], "--quick") == 0;
  if (quick) return promises<presets::mixtral_8x7b>("Mixtral");
  add_layer<small>("small");
  add_layer<with_dtype(small, DType::fp32)>("small");
  add_layer<with_dtype(small, DType::fp16)>("small");
  add_layer<presets::mixtral_8x7b>("mixtral_8x7b");
  add_layer<presets::qwen3_30b_a3b>("qwen3_30b_a3b");
  add_layer<presets::thousands>("thousands");
  return run(argc, argv);
}

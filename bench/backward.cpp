// The backward pass stage by stage beside the forward pass: the two take turns, so that whatever else the machine does meets both.
// GFLOP/s are of the backward pass, `forward_GFLOP/s` beside it; `of_forward_%` is their ratio, `_by_cpu` over CPU time. Products count
// twice backwards (gradients of inputs and of weights); combine's sums as often as forwards. Gradients of every weight are computed: added to
// fp32; `_over`: written over fp32; `_bf16`: written over bf16. `pack_in_place`: what a step pays to pack its new weights.
#include <coterie/training.hpp>
#include <utility>
#include "suite.hpp"

namespace bench {

// Memory for the gradients of every weight: as fp32 to be added to or overwritten, or as bf16.
template <Config C> struct GradientMemory {
  static constexpr std::int64_t E = C.experts, H = C.hidden, F = C.ffn, N = logit_columns(C), each = F * H;
  static std::size_t bytes() { return sizeof(float) * static_cast<std::size_t>(3 * E * each + N * H); }
  host::Buffer memory{bytes()};
  std::unique_ptr<Gradients<C>> to = std::make_unique<Gradients<C>>(), over = std::make_unique<Gradients<C>>();
  std::unique_ptr<Gradients<C, DType::bf16>> narrow = std::make_unique<Gradients<C, DType::bf16>>();
  GradientMemory() {
    std::memset(memory.data(), 0, memory.size());
    place(*to), place(*over), place(*narrow);
    over->overwrite = narrow->overwrite = 1;
  }
  template <DType D> void place(Gradients<C, D>& g) {
    g.router = reinterpret_cast<float*>(memory.data());
    auto* at = reinterpret_cast<element_t<D>*>(g.router + N * H);
    auto const next = [&] { return std::exchange(at, at + each); };
    for (std::size_t e = 0; e < static_cast<std::size_t>(E); ++e) g.gate[e].data = next(), g.up[e].data = next(), g.down[e].data = next();
  }
};

// What both passes of a case read and write.
template <Config C> struct Step {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  static constexpr int H = C.hidden;
  Workload<config>& load;
  Case c;
  Host const& on;
  Routed<config> maps;
  GradientMemory<config> gradients{};
  Layer<config, Host> layer{load.next()};
  std::int64_t rows = rows_bound(C, c.tokens);
  std::vector<V> y = values(c.tokens), dy = values(c.tokens), dx = values(c.tokens), out = values(rows), drows = values(rows);
  std::vector<float> logits = floats(c.tokens * logit_columns(C)), weights = floats(c.tokens * slots(C)), row_weights = floats(rows), row_dots = floats(rows), tokens = floats(4 * c.tokens), wide = floats(c.tokens * H);
  host::Buffer cache{layer.cache_bytes(on, c.tokens)}, workspace{layer.training_workspace_bytes(on, c.tokens)};
  std::vector<V> pre = std::vector<V>(static_cast<std::size_t>(rows * ExpertsBackward<config, Host>::columns));
  Inputs<config> in{};
  PackedView<config, Host> packed{};

  Step(Workload<config>& of, Case const& one) : load(of), c(one), on(host_of(one.threads)), maps(on, one.tokens) {
    maps.routing.logits = {logits.data(), c.tokens};
    std::memset(cache.data(), 0, cache.size()), std::memset(workspace.data(), 0, workspace.size());        // no page is cold
  }
  static std::vector<V> values(std::int64_t n) {
    Random random{5};
    std::vector<V> v(static_cast<std::size_t>(n * H));
    for (V& one : v) one = from_float<V>(random.normal());
    return v;
  }
  static std::vector<float> floats(std::int64_t n) { return std::vector<float>(static_cast<std::size_t>(n), 0.5f); }
  void prepare() {
    in.x = load.tokens(c.tokens, c.trace), packed = load.next(), layer = Layer<config, Host>{packed};
    // Experts and combine follow a replayed trace; the router and the layer choose by themselves.
    maps.route(on, in, packed, c.trace == Trace::replayed ? &load.replay() : nullptr), maps.dispatch(on, in);
  }
  double routed() const { return static_cast<double>(maps.rows()); }
  Rows<V, H> at(std::vector<V>& v, std::int64_t n) const { return {v.data(), n}; }

  // The stages: forwards, backwards, and the FLOPs of the forward pass.
  void router() { maps.route(on, in, packed, nullptr); }
  void router_back() {
    RouterGradients<config> const d{.weight = {weights.data(), c.tokens}};
    RouterBackward<config, Host>{}(on, in, packed, maps.routing, maps.batch.slot, d, wide.data(), nullptr, *gradients.to, workspace.span());
  }
  double router_flops() const { return 2. * c.tokens * logit_columns(C) * H; }
  void experts() { Experts<config, Host>{}.keeping(on, in.x, packed, maps.batch, at(out, rows), pre.data(), workspace.span()); }
  template <DType D> void experts_back(Gradients<config, D> const& to) {
    ExpertsBackward<config, Host>{}(on, in.x, packed, maps.batch, pre.data(), at(dy, c.tokens), at(drows, rows), row_weights.data(), to, workspace.span());
  }
  void experts_back() { experts_back(*gradients.to); }
  void experts_over() { experts_back(*gradients.over); }
  void experts_bf16() { experts_back(*gradients.narrow); }
  double experts_flops() const { return routed() * Workload<config>::expert_flops; }
  void combine() { Combine<config, Host>{}(on, in, packed, maps.routing, maps.batch, at(out, rows), {}, at(y, c.tokens), {}); }
  void combine_back() {
    std::int64_t const n = c.tokens;
    float* const t = tokens.data();
    CombineBackward<config, Host> const stage;
    typename CombineBackward<config, Host>::Call const call{in, packed, maps.routing, maps.batch, {}, nullptr, at(dx, n), t, t + n, t + 2 * n, t + 3 * n, row_weights.data()};
    stage.enter(on, call, at(dy, n), workspace.span());
    stage.leave(on, call, row_dots.data(), row_dots.data(), weights.data(), wide.data());
  }
  double combine_flops() const { return 2 * routed() * H; }
  void whole() { layer.forward(on, in, at(y, c.tokens), cache.span(), workspace.span()); }
  template <DType D> void whole_back(Gradients<config, D> const& to) { layer.backward(on, in, cache.span(), at(dy, c.tokens), at(dx, c.tokens), to, workspace.span()); }
  void whole_back() { whole_back(*gradients.to); }
  void whole_over() { whole_back(*gradients.over); }
  void whole_bf16() { whole_back(*gradients.narrow); }
  double whole_flops() const { return router_flops() + experts_flops(); }
};

// A stage both ways. factor: FLOPs of the way back over those of the way forth. gradient_bits: moved for each weight
// of an expert that was hit; 0: the stage has nothing to do with them.
template <Config C> struct Stage {
  char const* name;
  void (Step<C>::*forth)();
  void (Step<C>::*back)();
  double (Step<C>::*flops)() const;
  double factor, gradient_bits;
};
template <Config C> void both(benchmark::State& state, Case const& c, Stage<C> const& stage) {
  auto* const load = workload<C>(true);
  if (!load || static_cast<double>(GradientMemory<C>::bytes()) * 1.1 + 5e8 > available_bytes()) return state.SkipWithError("not enough memory");
  Step<C> step{*load, c};
  Samples forth{c.threads, roof(c.threads, C.weights)}, back{c.threads, roof(c.threads, C.weights)};
  step.prepare(), step.whole();                  // what the way back reads
  for (auto _ : state) {
    step.prepare();
    Sample f = timed([&] { (step.*stage.forth)(); });
    Sample b = timed([&] { (step.*stage.back)(); });
    double const flops = (step.*stage.flops)(), weights = stage.gradient_bits > 0 ? static_cast<double>(step.maps.experts_hit()) * Workload<C>::expert_bytes : 0;
    f.work = {.flops = flops, .weight_bytes = weights, .bytes = weights, .experts = step.maps.experts_hit()};
    b.work = {.flops = stage.factor * flops, .weight_bytes = weights, .bytes = weights * (1 + stage.gradient_bits / bits(C.weights)), .experts = step.maps.experts_hit()};
    forth.add(f), back.add(b);
    state.SetIterationTime(b.wall);
  }
  back.report(state, c.tokens);
  Sample const f = forth.best(), b = back.best();
  state.counters["forward_ms"] = 1e3 * f.wall;
  state.counters["forward_GFLOP/s"] = 1e-9 * f.work.flops / f.wall;
  state.counters["of_forward_%"] = 100 * stage.factor * forth.quantile(0.5) / back.quantile(0.5);
  state.counters["of_forward_%_by_cpu"] = 100 * stage.factor * f.cpu / b.cpu;
}
// New weights, in checkpoint layout, into the memory of the packed ones, beside a step's forward and backward pass.
template <Config C> void pack_in_place(benchmark::State& state, Case const& c) {
  constexpr std::int64_t H = C.hidden, E = C.experts, each = std::int64_t{C.ffn} * H;
  auto* const load = workload<C>(true);
  std::size_t const bytes = Packer<C, Host>::bytes();
  if (!load || static_cast<double>(GradientMemory<C>::bytes() + bytes) * 1.1 + 5e8 > available_bytes()) return state.SkipWithError("not enough memory");
  Step<C> step{*load, c};
  host::Buffer packed{bytes};
  std::memset(packed.data(), 0, bytes);
  auto const raw = std::make_unique<Weights<C>>();                       // their values do not matter: the gradients' memory
  raw->router.data = reinterpret_cast<element_t<C.router.weights> const*>(step.gradients.memory.data());
  auto const* at = reinterpret_cast<element_t<C.weights> const*>(step.gradients.memory.data() + static_cast<std::size_t>(C.experts * H) * sizeof(float));
  for (std::size_t e = 0; e < static_cast<std::size_t>(E); ++e, at += 3 * each) raw->gate[e].data = at, raw->up[e].data = at + each, raw->down[e].data = at + 2 * each;
  Samples both{c.threads, roof(c.threads, C.weights)}, pack{c.threads, roof(c.threads, C.weights)};
  for (auto _ : state) {
    step.prepare();
    Sample whole = timed([&] { step.whole(), step.whole_over(); });
    Sample one = timed([&] {
      Packer<C, Host> packer{step.on, packed.span()};
      packer.router(*raw);
      for (std::size_t e = 0; e < static_cast<std::size_t>(E); ++e) packer.expert(static_cast<int>(e), raw->gate[e], raw->up[e], raw->down[e]);
      (void)packer.finish();
    });
    whole.work = {.flops = 3 * step.whole_flops()}, one.work = {.bytes = 2 * static_cast<double>(bytes)};
    both.add(whole), pack.add(one);
    state.SetIterationTime(one.wall);
  }
  pack.report(state, c.tokens);
  state.counters["step_ms"] = 1e3 * both.quantile(0.5);
  state.counters["of_step_%"] = 100 * pack.quantile(0.5) / both.quantile(0.5);
}
template <Config C> void add_backward(char const* preset) {
  using S = Step<C>;
  static constexpr Stage<C> stages[]{{"backward_router", &S::router, &S::router_back, &S::router_flops, 2, 0},
                                     {"backward_experts", &S::experts, &S::experts_back, &S::experts_flops, 2, 64},
                                     {"backward_experts_over", &S::experts, &S::experts_over, &S::experts_flops, 2, 32},
                                     {"backward_experts_bf16", &S::experts, &S::experts_bf16, &S::experts_flops, 2, 16},
                                     {"backward_combine", &S::combine, &S::combine_back, &S::combine_flops, 1, 0},
                                     {"backward_layer", &S::whole, &S::whole_back, &S::whole_flops, 2, 64},
                                     {"backward_layer_over", &S::whole, &S::whole_over, &S::whole_flops, 2, 32},
                                     {"backward_layer_bf16", &S::whole, &S::whole_bf16, &S::whole_flops, 2, 16}};
  for (auto const& stage : stages) add(stage.name, preset, C.weights, [&stage](benchmark::State& state, Case const& c) { both<C>(state, c, stage); });
  add("pack_in_place", preset, C.weights, [](benchmark::State& state, Case const& c) { pack_in_place<C>(state, c); });
}

}

int main(int argc, char** argv) {
  using namespace bench;
  add_backward<small>("small");
  add_backward<with_dtype(small, DType::fp32)>("small");
  add_backward<presets::qwen3_30b_a3b>("qwen3_30b_a3b");
  add_backward<presets::mixtral_8x7b>("mixtral_8x7b");
  return run(argc, argv);
}

// Runs of the whole layer and of a dense FFN of the same active size, and the table of what the library promises of them.
#pragma once
#include <optional>
#include "suite.hpp"

namespace bench {

// Calls of the layer on new tokens; `replayed` swaps its router for recorded choices.
template <Config C> class LayerRun {
 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  LayerRun(Workload<config>& load, Case const& c)
      : load_(load), case_(c), on_(host_of(c.threads, c.isa, c.int8)), maps_(on_, c.tokens), y_(static_cast<std::size_t>(c.tokens) * C.hidden),
        workspace_(Layer<config, Host>{load.next()}.workspace_bytes(on_, c.tokens)) {
    std::memset(workspace_.data(), 1, workspace_.size());                          // no page is cold
  }
  void prepare() {
    in_.x = load_.tokens(case_.tokens, case_.trace);
    packed_ = load_.next();
    // The layer keeps its choices to itself: they are computed once more here, to count the experts hit.
    if (case_.trace != Trace::replayed) maps_.route(on_, in_, packed_, nullptr);
  }
  void call() {
    Rows<V, C.hidden> const y{y_.data(), case_.tokens};
    if (case_.trace == Trace::replayed) {
      ReplayStages<config> stages;
      stages.router = {&load_.replay(), &maps_.routing};
      Layer<config, Host, ReplayStages<config>>{packed_, stages}.forward(on_, in_, y, workspace_.span());
    } else {
      Layer<config, Host>{packed_}.forward(on_, in_, y, workspace_.span());
    }
  }
  Work account() const {
    double const n = case_.tokens, columns = logit_columns(C), h = C.hidden, hit = static_cast<double>(maps_.experts_hit());
    double const router = columns * h, weights = hit * Workload<config>::expert_bytes + router * bits(C.router.weights) / 8;
    return {.flops = n * (C.top_k * Workload<config>::expert_flops + 2 * router), .weight_bytes = weights,
            .bytes = weights + 2 * n * h * sizeof(V), .experts = maps_.experts_hit(), .rows = maps_.rows_of_experts_hit()};
  }
  Sample sample() {
    prepare();
    Sample s = timed([this] { call(); });
    s.work = account();
    return s;
  }

 private:
  Workload<config>& load_;
  Case case_;
  Host const& on_;
  Routed<config> maps_;
  std::vector<V> y_;
  host::Buffer workspace_;
  Inputs<config> in_{};
  PackedView<config, Host> packed_{};
};

// One expert that is as wide as top_k of C's: the experts stage called directly is a dense FFN.
constexpr Config dense_of(Config c) {
  c.ffn *= c.top_k, c.experts = c.top_k = 1;
  c.router = {.input = RouterInput::given, .weights = c.router.weights};
  return c;
}
template <Config C> class DenseRun {
 public:
  static constexpr Config config = dense_of(C);
  using V = element_t<C.dtype>;
  DenseRun(Workload<config>& load, Case const& c)
      : load_(load), case_(c), on_(host_of(c.threads, c.isa, c.int8)), token_(static_cast<std::size_t>(c.tokens)), out_(static_cast<std::size_t>(c.tokens) * C.hidden),
        scratch_(Experts<config, Host>{}.workspace_bytes(on_, c.tokens)) {
    for (std::size_t t = 0; t < token_.size(); ++t) token_[t] = static_cast<std::int32_t>(t);
    begin_[1] = c.tokens;
    std::memset(scratch_.data(), 1, scratch_.size());
  }
  Sample sample() {
    auto const x = load_.tokens(case_.tokens, Trace::uniform);
    auto const packed = load_.next();
    Batch<config> const batch{.begin = begin_, .token = token_.data(), .weight = nullptr, .slot = {}};
    Sample s = timed([&] { Experts<config, Host>{}(on_, x, packed, batch, {out_.data(), case_.tokens}, scratch_.span()); });
    double const weights = Workload<config>::expert_bytes, n = case_.tokens;
    s.work = {.flops = n * Workload<config>::expert_flops, .weight_bytes = weights, .bytes = weights + 2 * n * C.hidden * sizeof(V), .experts = 1};
    return s;
  }

 private:
  Workload<config>& load_;
  Case case_;
  Host const& on_;
  std::int32_t begin_[2]{};
  std::vector<std::int32_t> token_;
  std::vector<V> out_;
  host::Buffer scratch_;
};

// Calls until `budget` seconds are over, at least one.
template <class Run> void repeat(Samples& samples, Run& run, double budget) {
  double const end = wall_seconds() + budget;
  do samples.add(run.sample());
  while (wall_seconds() < end);
}

// What the library promises of C in its dtype on all processors, to stdout, in less than a minute.
template <Config C> int promises(char const* model) {
  int const threads = host::processors();
  Isa const path = host::best();
  Limits const& l = limits(threads);
  double const peak = l.peak(path, C.weights), fma = l.peak(path, DType::fp32);
  std::printf("%s, %d threads, %s; %s; %s; %s\n", processor().c_str(), threads, name(path), compiler().c_str(), commit().c_str(), today().c_str());
  std::printf("measured here: read %.1f GB/s, copy %.1f GB/s, fp32 FMA %.0f GFLOP/s", 1e-9 * l.read.wall, 1e-9 * l.copy.wall, 1e-9 * fma);
  if (peak != fma) std::printf(", %s %.0f GFLOP/s", name(path), 1e-9 * peak);
  double const need = Workload<C>::bytes_needed(true) + Workload<dense_of(C)>::bytes_needed(true) + 5e8, have = available_bytes();
  if (have < need) return std::printf("\nskipped: %.1f GB of memory are needed, %.1f GB are available\n", 1e-9 * need, 1e-9 * have), 0;
  double const start = wall_seconds();
  Workload<C> load{host_of(0)};
  Workload<dense_of(C)> dense_load{host_of(0)};
  std::printf("; packed in %.0f s\n", wall_seconds() - start);
  for (int tokens : {1, 512}) {
    Case const c{.tokens = tokens, .threads = threads};
    LayerRun<C> run{load, c};
    DenseRun<C> dense{dense_load, c};
    Samples layer_calls{threads, roof(threads, C.weights)}, dense_calls{threads, roof(threads, C.weights)};
    double const until = wall_seconds() + (tokens == 1 ? 6 : 14);
    do {
      repeat(layer_calls, run, 0.3);
      repeat(dense_calls, dense, 0.2);
    } while (wall_seconds() < until);
    Sample const b = layer_calls.best(), d = dense_calls.best();
    double const share = b.share(threads), bytes = 1e-9 * b.work.weight_bytes / b.wall, flops = 1e-9 * b.work.flops / b.wall;
    if (tokens == 1)
      std::printf("one token through the %s layer in %s: %.1f GB/s = %.0f %% of measured bandwidth (promise: at least 50 %%)", model, name(C.dtype), bytes, 1e11 * bytes / l.read.wall);
    else
      std::printf("%d tokens: %.0f GFLOP/s = %.0f %% of the FMA peak (promise: at least 45 %% without AMX; at least 300 GFLOP/s with AMX)", tokens, flops, 1e11 * flops / fma);
    std::printf("\n  %.2f ms best, %.2f ms median; CPU share of the best call %.0f %%%s", 1e3 * b.wall, 1e3 * layer_calls.quantile(0.5), 100 * share,
                share < 0.9 ? ": the machine was busy" : "");
    std::printf("\n  by CPU time, as if it had all its processors: %.1f GB/s = %.0f %% of the bandwidth by CPU time, %.0f GFLOP/s = %.0f %%", bytes / share,
                1e11 * bytes / share / l.read.cpu, flops / share, 1e11 * flops / share / fma);
    std::printf("\n  MoE tax: %.2f times a dense FFN of the same active size (%.2f ms, CPU share %.0f %%); its floor %.2f\n", b.wall / d.wall, 1e3 * d.wall,
                100 * d.share(threads), b.roof.floor(b.work) / d.roof.floor(d.work));
  }
  std::printf("No library is timed beside it: the tax is against this library's own dense kernels.\n");
  return 0;
}

}

// One preset's layer, its stages, and the dense FFN of the same active size.
#pragma once
#include <coterie/library.cuh>
#include <utility>
#include "benchmark.cuh"
#include "weights.cuh"

namespace bench {

template <Config C> class CudaLayer {
 public:
  static constexpr Config config = C;
  static constexpr int E = C.experts, H = C.hidden, F = C.ffn, N = logit_columns(C), S = C.shared.ffn;
  using V = element_t<C.dtype>;
  using T = element_t<C.weights>;
  static_assert(C.expert.latent == 0 && gated(C.expert.act), "the dense peer is a gated FFN at full width");

  explicit CudaLayer(Cuda const& on) : on_(on), packed_(pack_noise<config>(on)) {}

  void measure(char const* preset, Options const& options, Limits const& limits, Stopwatch& time) {
    for (std::string const& trace : options.traces)
      for (std::int64_t tokens : options.tokens) {
        bool const measured = enough_memory([&] {
          Row row = measure_one(tokens, trace, limits, time);
          row.preset = preset, row.trace = trace;
          print(row);
          if (options.json) write(options.json, row);
        });
        if (!measured) print_skipped(preset, trace, tokens, "");
        for (std::string const& peer : std::exchange(skipped_, {})) print_skipped(preset, trace, tokens, peer);
      }
  }

 private:
  // The routing behind the logits, alone: a router of the same config over the logits that the layer's own gives. It copies them first, in a
  // launch that the layer does not have.
  class Selection {
    static constexpr Config over = [] {
      Config c = C;
      c.router.input = RouterInput::logits, c.hidden = c.ffn = 8, c.expert.bias = 0; // no expert is computed
      if (shared_rows(C) > 0) c.shared.ffn = C.shared.count;
      else c.shared = {};
      return c;
    }();
    using Own = Router<over, Cuda>;

   public:
    Selection(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, std::span<std::byte> scratch)
        : tokens_(in.x.rows), logits_(tokens_ * N), packed_(static_cast<std::int64_t>(Packer<over, Cuda>::bytes())), scratch_(static_cast<std::int64_t>(Own{}.workspace_bytes(on, tokens_))) {
      std::vector<float> const zeros(N);
      auto const raw = std::make_unique<Weights<over>>();
      if constexpr (C.router.bias) raw->router_bias = zeros.data();
      if constexpr (C.router.select_bias) raw->select_bias = zeros.data();
      std::vector<element_t<over.shared.weights>> const none(8 * static_cast<std::size_t>(over.shared.ffn) + 1);
      if constexpr (over.shared.ffn > 0) raw->shared.gate.data = raw->shared.up.data = raw->shared.down.data = none.data();
      Packer<over, Cuda>{on, packed_.span()}.router(*raw);
      Memory<std::int32_t> const expert(tokens_ * slots(C));
      Memory<float> const weight(tokens_ * slots(C)), shared(tokens_ * shared_rows(C) + 1);
      Routing<config> routing{.expert = {expert.data(), tokens_}, .weight = {weight.data(), tokens_}, .logits = {logits_.data(), tokens_}};
      if constexpr (shared_rows(C) > 0) routing.shared = {shared.data(), tokens_};
      Router<config, Cuda>{}(on, in, packed, routing, scratch);
      coterie::check(cudaStreamSynchronize(on.stream));
    }
    void operator()(Cuda const& on, V const* x, Routing<config> const& routing) const {
      Inputs<over> in;
      in.x = {x, tokens_, H}, in.logits = {logits_.data(), tokens_};
      Routing<over> to{.expert = {routing.expert.data, tokens_}, .weight = {routing.weight.data, tokens_}};
      if constexpr (shared_rows(C) > 0) to.shared = {routing.shared.data, tokens_};
      Own{}(on, in, {.data = packed_.data()}, to, scratch_.span());
    }

   private:
    std::int64_t tokens_;
    Memory<float> logits_;
    Memory<std::byte> packed_, scratch_;
  };

  Row measure_one(std::int64_t n, std::string const& trace_name, Limits const& limits, Stopwatch& time) {
    Trace const trace = trace_named(trace_name);
    Memory<V> const x(n * H), y(n * H);
    noise(on_, x.data(), n * H, 1, token_seed(n), H, {steer(trace, 0), steer(trace, 1)});
    Inputs<config> in;
    in.x = {x.data(), n};
    Rows<V, H> const out_y{y.data(), n};
    Layer<config, Cuda> const layer{packed_.view()};
    Memory<std::byte> const workspace(static_cast<std::int64_t>(layer.workspace_bytes(on_, n)));

    // The stages one by one, over maps of their own.
    Stages<config, Cuda> const stage{};
    auto const packed = packed_.view();
    std::int64_t const rows = rows_bound(C, n);
    Memory<std::int32_t> const expert(n * slots(C)), slot(n * slots(C)), begin(E + 1), token(rows);
    Memory<float> const weight(n * slots(C)), row_weight(rows), shared_weight(n * shared_rows(C) + 1);
    Memory<V> const out(rows * H), shared_out(S ? n * H : 1);
    Routing<config> routing{.expert = {expert.data(), n}, .weight = {weight.data(), n}};
    if constexpr (shared_rows(C) > 0) routing.shared = {shared_weight.data(), n};
    Batch<config> const batch{.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), n}};
    Rows<V, H> const out_rows{out.data(), rows};
    Rows<V, H> shared{};
    if constexpr (S > 0) shared = {shared_out.data(), n};
    std::span<std::byte> const scratch = workspace.span();               // the layer's own is at least any stage's
    auto const router = [&] { stage.router(on_, in, packed, routing, scratch); };
    auto const dispatch = [&] { stage.dispatch(on_, in, routing, batch, scratch); };
    auto const experts = [&] { stage.experts(on_, in.x, packed, batch, out_rows, scratch); };
    auto const shared_experts = [&] { if constexpr (S > 0) stage.shared(on_, in, packed, routing, shared, scratch); };
    auto const combine = [&] { stage.combine(on_, in, packed, routing, batch, out_rows, shared, out_y, scratch); };
    router(), dispatch(), experts(), shared_experts(), combine();
    std::vector<std::int32_t> first(E + 1);
    coterie::check(cudaMemcpyAsync(first.data(), begin.data(), sizeof(std::int32_t) * (E + 1), cudaMemcpyDeviceToHost, on_.stream));
    coterie::check(cudaStreamSynchronize(on_.stream));

    CubDispatch<config> const cub;
    Memory<std::byte> const cub_scratch(static_cast<std::int64_t>(cub.workspace_bytes(on_, n)));
    Row r;
    r.tokens = n;
    for (int e = 0; e < E; ++e) r.experts_hit += first[static_cast<std::size_t>(e)] < first[static_cast<std::size_t>(e) + 1];
    auto const graph = [&](auto const& f) {
      Graph const g{on_.stream, f};
      return time([&] { g.launch(on_.stream); }).median;
    };
    auto const forward = [&] { layer.forward(on_, in, out_y, workspace.span()); };
    Selection const selection(on_, in, packed, scratch);
    auto const select = [&] { selection(on_, x.data(), routing); };
    select();
    r.select_us = graph(select), r.maps_us = graph([&] { select(), dispatch(); });
    r.router_us = graph(router), r.dispatch_us = graph(dispatch), r.experts_us = graph(experts), r.combine_us = graph(combine);
    if constexpr (S > 0) r.shared_us = graph(shared_experts);
    Graph const captured{on_.stream, forward};
    auto const replay = [&] { captured.launch(on_.stream); };
    r.layer_us = time(replay).median;
    r.eager_us = time(forward).median;
    if (n <= 1024) r.host_us = host_time(on_, forward), r.graph_host_us = host_time(on_, replay);          // longer ones fill the launch queue, and the host waits
    r.cub_us = graph([&] { cub(on_, in, routing, batch, cub_scratch.span()); });
    if constexpr (C.weights == C.dtype) try {
      if (!enough_memory([&] {
            Layer<config, Cuda, LibraryStages<config>> const library{packed_.view()};
            Memory<std::byte> const memory(static_cast<std::int64_t>(library.workspace_bytes(on_, n)));
            r.libraries_us = time([&] { library.forward(on_, in, out_y, memory.span()); }).median;
          }))
        skipped_.push_back("library");
    } catch (CudaError const&) {
      throw;
    } catch (Error const& error) {                                        // no grouped matmul on this device, or in this library
      static bool said = false;
      if (!std::exchange(said, true)) std::printf("library: not measured: %s\n", error.what());
    }
    account(r, n, limits);
    if (!enough_memory([&] {
          DenseFfn const dense{on_, n, H, std::int64_t{C.top_k} * F + S};
          r.dense_us = graph(dense);
        }))
      skipped_.push_back("dense");
    return r;
  }

  // Distinct experts and the rest of the weights read once; x read, the inner rows written and read, y written.
  static void account(Row& r, std::int64_t n, Limits const& limits) {
    double const tokens = static_cast<double>(n), wide = 3. * H * F, shared = 3. * H * S, router = double{N} * H;
    r.flops = tokens * (2 * (C.top_k * wide + shared) + 2 * router);
    r.weight_bytes = (static_cast<double>(r.experts_hit) * wide + shared) * sizeof(T) + router * bits(C.router.weights) / 8;
    double const rows = 2 * tokens * (C.top_k * double{F} + S) + 2 * tokens * H;
    r.floor_us = 1e6 * std::max((r.weight_bytes + rows * sizeof(V)) / limits.bytes, r.flops / limits.flops);
  }

  Cuda on_;
  Packed<config, Cuda> packed_;
  std::vector<std::string> skipped_;             // peers of the row at hand for which the memory did not suffice
};

}

// A layer taken apart: the stages that Layer::forward runs, one by one on memory of our own, timed against the roofline.
#pragma once
#include "measure.hpp"

namespace example {

struct Stage {
  char const* name;
  Time time;
  double flops, bytes;                                                 // what it must do at least
  double floor(ThisMachine const& m) const { return std::max(flops / m.flops_per_second, bytes / m.bytes_per_second); }
  double share(ThisMachine const& m) const { return floor(m) / m.seconds(time); }
  // Repeated, a small stage finds its data in a cache; memory's bandwidth then says nothing about it.
  bool in_cache(ThisMachine const& m) const { return bytes < 64e6 && share(m) > 1; }
};
struct Measured {
  std::vector<Stage> stages;                                           // in order, the whole layer last
  std::vector<std::int32_t> load;                                      // [E] rows each expert took
  std::int64_t tokens = 0;
  Stage const& layer() const { return stages.back(); }
};

// What the stages hand to each other for so many tokens, in vectors.
template <ct::Config C>
class Between {
 public:
  static constexpr ct::Config config = C;
  using V = ct::element_t<C.dtype>;
  explicit Between(std::int64_t tokens)
      : tokens_(tokens), rows_(ct::rows_bound(C, tokens)), expert_(n(tokens * ct::slots(C))), slot_(n(tokens * ct::slots(C))), begin_(C.experts + 1),
        token_(n(rows_)), weight_(n(tokens * ct::slots(C))), row_weight_(n(rows_)), mix_(n(tokens * ct::shared_rows(C))), out_(n(rows_ * ct::width(C))),
        shared_(C.shared.ffn ? n(tokens * C.hidden) : 0), z_(C.expert.latent ? n(tokens * ct::width(C)) : 0) {}
  ct::Routing<config> routing() {
    ct::Routing<config> r{.expert = {expert_.data(), tokens_}, .weight = {weight_.data(), tokens_}};
    if constexpr (ct::shared_rows(C) > 0) r.shared = {mix_.data(), tokens_};
    return r;
  }
  ct::Batch<config> batch() { return {begin_.data(), token_.data(), row_weight_.data(), {slot_.data(), tokens_}}; }
  ct::Rows<V, ct::width(C)> out() { return {out_.data(), rows_}; }
  ct::Rows<V, C.hidden> shared() { return {shared_.data(), C.shared.ffn ? tokens_ : 0}; }
  ct::Rows<V, ct::width(C)> z() { return {z_.data(), C.expert.latent ? tokens_ : 0}; }

 private:
  static std::size_t n(std::int64_t count) { return static_cast<std::size_t>(count); }
  std::int64_t tokens_, rows_;
  std::vector<std::int32_t> expert_, slot_, begin_, token_;
  std::vector<float> weight_, row_weight_, mix_;
  std::vector<V> out_, shared_, z_;
};

// Every stage and the layer: the best of several repetitions within the budget.
template <ct::Config C>
Measured measure(ct::Host const& on, ct::PackedView<C, ct::Host> packed, ct::Inputs<C> const& in, double budget) {
  using V = ct::element_t<C.dtype>;
  std::int64_t const tokens = in.x.rows;
  ct::Layer<C, ct::Host> const layer{packed};
  ct::Stages<C, ct::Host> const stage;
  Between<C> between{tokens};
  auto const routing = between.routing();
  auto const batch = between.batch();
  std::vector<V> y(static_cast<std::size_t>(tokens) * C.hidden);       // [T,H]
  auto const to = ct::rows<C.hidden>(y.data(), tokens);
  std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));  // a layer's workspace is enough for each of its stages
  auto const x = [&]() -> ct::Rows<V const, ct::width(C)> {
    if constexpr (C.expert.latent > 0) return between.z();
    else return in.x;
  }();

  auto const router = [&] { stage.router(on, in, packed, routing, workspace); };
  auto const dispatch = [&] { stage.dispatch(on, in, routing, batch, workspace); };
  auto const latent = [&] { if constexpr (C.expert.latent > 0) stage.latent(on, in.x, packed, between.z(), workspace); };
  auto const experts = [&] { stage.experts(on, x, packed, batch, between.out(), workspace); };
  auto const shared = [&] { if constexpr (C.shared.ffn > 0) stage.shared(on, in, packed, routing, between.shared(), workspace); };
  auto const combine = [&] { stage.combine(on, in, packed, routing, batch, between.out(), between.shared(), to, workspace); };
  router(), dispatch(), latent();

  Measured m{.stages = {}, .load = {}, .tokens = tokens};
  int hit = 0;
  for (int e = 0; e < C.experts; ++e) m.load.push_back(batch.begin[e + 1] - batch.begin[e]), hit += m.load.back() > 0;
  constexpr ct::Footprint f = ct::footprint(C);
  double const T = double(tokens), R = double(batch.begin[C.experts]), value = sizeof(V), W = ct::width(C), H = C.hidden;
  double const router_bytes = double(f.router_parameters) * ct::bits(C.router.weights) / 8, shared_bytes = double(f.shared_parameters) * ct::bits(C.shared.weights) / 8;
  double const expert_bytes = f.expert_bytes() * hit / C.experts, expert_flops = 2.0 * double(f.expert_parameters) / C.experts * R;
  double const latent_flops = double(f.other_parameters) * T, latent_bytes = double(f.other_parameters) / 2 * value;    // of one of two

  auto const add = [&](char const* name, double flops, double bytes, auto const& work) { m.stages.push_back({name, best_time(on, budget, work), flops, bytes}); };
  add("router", 2.0 * T * double(f.router_parameters), router_bytes + T * H * value, router);
  add("dispatch", 0, T * ct::slots(C) * 12 + R * 8, dispatch);
  if constexpr (C.expert.latent > 0) add("latent", latent_flops, latent_bytes + T * (H + W) * value, latent);
  add("experts", expert_flops, expert_bytes + (T + R) * W * value, experts);
  if constexpr (C.shared.ffn > 0) add("shared", 2.0 * T * double(f.shared_parameters), shared_bytes + 2 * T * H * value, shared);
  add("combine", 2.0 * R * W + (C.expert.latent ? latent_flops : 0), (C.expert.latent ? latent_bytes : 0) + (R * W + T * H) * value, combine);
  double flops = 0;
  for (Stage const& s : m.stages) flops += s.flops;
  add("layer", flops, router_bytes + expert_bytes + shared_bytes + (C.expert.latent ? 2 * latent_bytes : 0) + 2 * T * H * value,
      [&] { layer.forward(on, in, to, workspace); });
  return m;
}

// The dense FFN that does a token's share of the work in one piece: one expert, top_k times as wide.
constexpr ct::Config dense_of(ct::Config c) {
  return {.experts = 1, .top_k = 1, .hidden = c.hidden, .ffn = c.top_k * c.ffn, .dtype = c.dtype, .weights = c.weights,
          .router = {.input = ct::RouterInput::given}, .expert = {.act = c.expert.act}};
}
template <ct::Config D>
Stage measure_dense(ct::Host const& on, ct::PackedView<D, ct::Host> packed, ct::Rows<ct::element_t<D.dtype> const, D.hidden> x, double budget) {
  Between<D> between{x.rows};
  auto const batch = between.batch();
  batch.begin[1] = static_cast<std::int32_t>(x.rows);
  for (std::int32_t t = 0; t < batch.begin[1]; ++t) batch.token[t] = t;
  ct::Experts<D, ct::Host> const experts;
  std::vector<std::byte> workspace(experts.workspace_bytes(on, x.rows));
  constexpr ct::Footprint f = ct::footprint(D);
  Time const time = best_time(on, budget, [&] { experts(on, x, packed, batch, between.out(), workspace); });
  return {"dense FFN", time, f.flops(x.rows), f.bytes(x.rows)};
}

// A layer of random weights, streamed expert by expert: never a second copy of all weights. seen(e) after each.
template <ct::Config C, class Seen>
ct::Packed<C, ct::Host> random_layer(ct::Host const& on, std::uint64_t seed, Seen&& seen) {
  using T = ct::element_t<C.weights>;
  using R = ct::element_t<C.router.weights>;
  float const in = 1.7f / __builtin_sqrtf(C.hidden), back = 1.7f / __builtin_sqrtf(C.ffn);      // outputs as large as inputs
  ct::Packer<C, ct::Host> packer{on};
  auto const router = random_values<R>(on, std::int64_t{ct::logit_columns(C)} * C.hidden, seed, in);
  ct::Weights<C> raw;
  raw.router.data = router.data();
  packer.router(raw);
  std::vector<T> gate(std::size_t{C.ffn} * C.hidden), up(gate.size()), down(gate.size());
  for (int e = 0; e < C.experts; ++e) {
    std::uint64_t const s = seed + 3 * static_cast<std::uint64_t>(e);
    fill_random<T>(on, gate, s + 1, in), fill_random<T>(on, up, s + 2, in), fill_random<T>(on, down, s + 3, back);
    packer.expert(e, ct::Matrix<C.weights, C.ffn, C.hidden>{gate.data()}, ct::Matrix<C.weights, C.ffn, C.hidden>{up.data()},
                  ct::Matrix<C.weights, C.hidden, C.ffn>{down.data()});
    seen(e + 1);
  }
  return packer.finish();
}

}

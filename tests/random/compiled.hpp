// One config's layer behind the type-free interface of cases.hpp. Kept thin: it is compiled once per config.
#pragma once
#include "../cases.hpp"

namespace cases {

template <class M> M view(Stored const& s) {
  M m{.data = reinterpret_cast<decltype(M::data)>(s.data.empty() ? nullptr : s.data.data()), .out_stride = s.out_stride, .in_stride = s.in_stride};
  if constexpr (!ct::is_float(M::type)) m.scale = s.scale.data(), m.zero = s.zero.empty() ? nullptr : s.zero.data();
  return m;
}

template <ct::Config C, ct::DType S = C.weights>
class Compiled : public Subject {
 public:
  static constexpr ct::Config config_value = C;  // nvcc wants other templates named with it
  using V = ct::element_t<C.dtype>;
  Compiled() : Subject(C, S) {}

  void pack(ct::Host const& on, Tensors const& from) override { packed_.reset(new ct::Packed<config_value, ct::Host>{ct::pack(on, raw(from))}); }
  ref::Weights weights(Tensors const& from) const override { return ref::weights(raw(from)); }
  ref::Inputs inputs(Feed const& from) const override { return ref::inputs(feed_view(from)); }
  std::size_t workspace_bytes(ct::Host const& on, std::int64_t tokens) const override { return layer().workspace_bytes(on, tokens); }
  void forward(ct::Host const& on, Feed const& feed, void* y, std::span<std::byte> workspace) const override {
    layer().forward(on, feed_view(feed), ct::Rows<V, C.hidden>{static_cast<V*>(y), feed.tokens, feed.y_stride}, workspace);
  }

  void stages(ct::Host const& on, Feed const& feed, StageRun& run, unsigned char poison) const override {
    constexpr int slots = ct::slots(C), width = ct::width(C), shared_rows = ct::shared_rows(C), columns = ct::logit_columns(C);
    std::int64_t const n = feed.tokens, rows = ct::rows_bound(C, n);
    auto const count = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    run.expert.assign(count(n * slots), -7), run.slot.assign(count(n * slots), -7), run.begin.assign(C.experts + 1, -7), run.token.assign(count(rows), -7);
    run.weight.assign(count(n * slots), -7), run.row_weight.assign(count(rows), -7), run.shared_weight.assign(count(n * shared_rows), -7);
    run.logits.assign(count(n * columns), -7);
    run.out.assign(count(rows * width) * sizeof(V), std::byte{poison}), run.shared.assign(C.shared.ffn ? count(n * C.hidden) * sizeof(V) : 0, std::byte{poison});
    run.y.assign(count(n * C.hidden) * sizeof(V), std::byte{poison});
    Bytes z(C.expert.latent ? count(n * width) * sizeof(V) : 0, std::byte{poison});
    auto const scratch = [&](auto const& stage, auto const& call) {
      Guarded memory{ct::scratch_bytes(stage, on, n), poison};
      call(memory.span());
      run.intact = run.intact && memory.intact();
    };
    ct::Stages<config_value, ct::Host> const stage{};
    ct::Inputs<config_value> const in = feed_view(feed);
    ct::Routing<config_value> routing{.expert = {run.expert.data(), n}, .weight = {run.weight.data(), n}, .logits = {run.logits.data(), n}, .shared = {run.shared_weight.data(), n}};
    ct::Batch<config_value> const batch{.begin = run.begin.data(), .token = run.token.data(), .weight = run.row_weight.data(), .slot = {run.slot.data(), n}};
    ct::Rows<V, width> const out{reinterpret_cast<V*>(run.out.data()), rows};
    scratch(stage.router, [&](std::span<std::byte> s) { stage.router(on, in, packed_->view(), routing, s); });
    run.before_drop = run.weight;
    scratch(stage.dispatch, [&](std::span<std::byte> s) { stage.dispatch(on, in, routing, batch, s); });
    ct::Rows<V const, width> x{};
    if constexpr (C.expert.latent > 0) {
      ct::Rows<V, width> const to{reinterpret_cast<V*>(z.data()), n};
      scratch(stage.latent, [&](std::span<std::byte> s) { stage.latent(on, in.x, packed_->view(), to, s); });
      x = to;
    } else {
      x = in.x;
    }
    scratch(stage.experts, [&](std::span<std::byte> s) { stage.experts(on, x, packed_->view(), batch, out, s); });
    ct::Rows<V, C.hidden> shared{};
    if constexpr (C.shared.ffn > 0) {
      shared = {reinterpret_cast<V*>(run.shared.data()), n};
      scratch(stage.shared, [&](std::span<std::byte> s) { stage.shared(on, in, packed_->view(), routing, shared, s); });
    }
    ct::Rows<V, C.hidden> const y{reinterpret_cast<V*>(run.y.data()), n};
    scratch(stage.combine, [&](std::span<std::byte> s) { stage.combine(on, in, packed_->view(), routing, batch, out, shared, y, s); });
  }

 protected:
  static ct::Weights<config_value, S> raw(Tensors const& from) {
    using W = ct::Weights<config_value, S>;
    W to;
    to.router = view<decltype(W::router)>(from.router), to.noise = view<decltype(W::noise)>(from.noise);
    auto const floats = [](std::vector<float> const& v) { return v.empty() ? nullptr : v.data(); };
    to.router_bias = floats(from.router_bias), to.select_bias = floats(from.select_bias), to.expert_scale = floats(from.expert_scale);
    if (!from.table.empty()) to.table = {from.table.data(), static_cast<std::int64_t>(from.table.size()) / C.top_k};
    for (std::size_t e = 0; e < static_cast<std::size_t>(C.experts); ++e) {
      using M = ct::Matrix<S, C.ffn, ct::width(C)>;
      if (!from.gate.empty()) to.gate[e] = view<M>(from.gate[e]);
      to.up[e] = view<M>(from.up[e]), to.down[e] = view<ct::Matrix<S, ct::width(C), C.ffn>>(from.down[e]);
      if constexpr (C.expert.bias) to.gate_bias[e] = floats(from.gate_bias[e]), to.up_bias[e] = floats(from.up_bias[e]), to.down_bias[e] = floats(from.down_bias[e]);
    }
    using Sh = decltype(W::shared);
    to.shared.gate = view<decltype(Sh::gate)>(from.shared_gate), to.shared.up = view<decltype(Sh::up)>(from.shared_up);
    to.shared.down = view<decltype(Sh::down)>(from.shared_down), to.shared.mix = view<decltype(Sh::mix)>(from.mix), to.shared.mix_bias = floats(from.mix_bias);
    to.latent.down = view<decltype(W::latent.down)>(from.latent_down), to.latent.up = view<decltype(W::latent.up)>(from.latent_up);
    to.latent.norm = floats(from.latent_norm), to.latent.norm_epsilon = from.latent_epsilon, to.router_scale = from.router_scale;
    return to;
  }
  static ct::Inputs<config_value> feed_view(Feed const& f) {
    auto const rows = [&](Bytes const& b) { return ct::Rows<V const, C.hidden>{reinterpret_cast<V const*>(b.empty() ? nullptr : b.data()), b.empty() ? 0 : f.tokens, f.x_stride}; };
    ct::Inputs<config_value> in{.x = rows(f.x), .router_x = rows(f.router_x), .sequence = f.sequence, .seed = f.seed};
    in.x.rows = f.tokens;
    if (!f.logits.empty()) in.logits = {f.logits.data(), f.tokens};
    if (!f.token_ids.empty()) in.token_ids = f.token_ids.data();
    if (!f.given_expert.empty()) in.routing.expert = {const_cast<std::int32_t*>(f.given_expert.data()), f.tokens};
    if (!f.given_weight.empty()) in.routing.weight = {const_cast<float*>(f.given_weight.data()), f.tokens};
    return in;
  }
 private:
  ct::Layer<config_value, ct::Host> layer() const { return ct::Layer<config_value, ct::Host>{packed_->view()}; }
  std::unique_ptr<ct::Packed<config_value, ct::Host>> packed_;
};

}

// The backward pass of a layer stage by stage beside the forward pass: the layer's own calls, over its own cache and workspace.
#pragma once
#include <coterie/training.cuh>
#include <string>
#include <vector>
#include "gpu.cuh"
#include "rows.hpp"

namespace bench {

// Places for the gradients of every weight: fp32 that is added to, fp32 that is overwritten, bf16 that is overwritten.
template <Config C> struct GradientPlaces {
  Gradients<C> added, written;
  Gradients<C, DType::bf16> narrow;
};

template <Config C> class BackwardStages {
 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;

  // A forward pass has filled the cache, which stays as it is; y, dx and the workspace do not.
  BackwardStages(Cuda const& on, PackedView<config, Cuda> packed, Inputs<config> const& in, Rows<V, C.hidden> y, Rows<V const, C.hidden> dy, Rows<V, C.hidden> dx, std::span<std::byte> cache, std::span<std::byte> workspace)
      : on_(on), packed_(packed), in_(in), y_(y), dy_(dy), dx_(dx), n_(in.x.rows), cache_(cache), workspace_(workspace) {
    Arena kept{cache}, forth{workspace}, back{workspace};
    k_ = Kept::carve(kept, n_, {}), f_ = ForwardPieces::carve(forth, on, n_), b_ = BackwardPieces::carve(back, on, n_, {});
    Arena experts{b_.scratch};
    inner_ = Inner::carve(experts, Layout::gate_up, Layout::down, n_, rows_bound(C, n_), E, 0, 0);
    std::vector<std::int32_t> first(E + 1);
    coterie::check(cudaMemcpyAsync(first.data(), k_.batch.begin, sizeof(std::int32_t) * first.size(), cudaMemcpyDeviceToHost, on_.stream));
    coterie::check(cudaStreamSynchronize(on_.stream));
    for (std::size_t e = 0; e < std::size_t{E}; ++e) hit_ += first[e] < first[e + 1];
    routed_ = first[std::size_t{E}];
  }

  // time(f): microseconds of what f enqueues. Bytes: what a stage is given and gives, and what it keeps between its kernels, written and read once.
  template <class Time> std::vector<StageRow> measure(GradientPlaces<config> const& to, Time const& time) {
    double const tokens = static_cast<double>(n_), matrices = 3. * F * H, products = 2 * routed_ * matrices, logits = 2. * tokens * N * H, choices = 4. * tokens * slots(C);
    double const x = tokens * H * sizeof(V), rows = routed_ * H * sizeof(V), inner = routed_ * F * sizeof(V), weights = hit_ * matrices * sizeof(T), router = N * double{H} * bits(C.router.weights) / 8;
    double const wide = tokens * H * sizeof(float);                      // what the router adds to dx
    layer_backward(to.written);                  // of the workspace each stage reads what the others left
    std::vector<StageRow> all;
    auto const add = [&](char const* stage, double flops, double bytes, auto const& f) { all.push_back({.stage = stage, .us = time(f), .flops = flops, .bytes = bytes}); };
    add("enter", 0, 3 * choices, [&] { Mixing{}.enter(on_, call(), to.written, b_.scratch); });
    // Gradients of matrices: read where they are added to; where they are overwritten, those of experts without rows as well.
    double const added = 8 * hit_ * matrices, written = 4 * E * matrices, narrow = 2 * E * matrices, between = weights + 2 * x + rows + 8 * inner;
    add("experts, added", 2 * products, between + added, [&] { experts_backward(to.added); });
    add("experts, written", 2 * products, between + written, [&] { experts_backward(to.written); });
    add("experts, bf16", 2 * products, between + narrow, [&] { experts_backward(to.narrow); });
    add("  of inputs", products, weights + x + rows + 7 * inner, [&] { products_of_inputs(); });
    gradients(all, to.added, "  of weights, added", products, 2 * x + 3 * inner + added, time);
    gradients(all, to.written, "  of weights, written", products, 2 * x + 3 * inner + written, time);
    gradients(all, to.narrow, "  of weights, bf16", products, 2 * x + 3 * inner + narrow, time);
    add("leave", 0, 3 * choices, [&] { Mixing{}.leave(on_, call(), b_.din, b_.dout, b_.dweight, to.written, b_.scratch); });
    add("router", 2 * logits, x + router + wide + N * double{H} * sizeof(float) + 2 * choices, [&] { router_backward(to.written); });
    add("gather", routed_ * H, rows + wide + x + choices, [&] { Mixing{}.gather(on_, call(), b_.drows, b_.drouter, {}, dx_, to.written, b_.scratch); });

    // Forwards: over the same workspace, therefore last.
    double const router_us = time([&] { router_forward(); }), experts_us = time([&] { Experts<config, Cuda>{}.keeping(on_, in_.x, packed_, k_.batch, f_.out, k_.pre, f_.scratch); });
    double const combine_us = time([&] { Combine<config, Cuda>{}.keeping(on_, in_, packed_, k_.routing, k_.batch, f_.out, f_.shared, y_, k_.sums, f_.scratch); });
    for (StageRow& row : all) {
      std::string const stage = row.stage;
      if (stage.starts_with("experts")) row.forward_us = experts_us, row.forward_flops = products;
      if (stage == "router") row.forward_us = router_us, row.forward_flops = logits;
      if (stage == "gather") row.forward_us = combine_us, row.forward_flops = 2. * routed_ * H;
    }
    return all;
  }

 private:
  static constexpr int E = C.experts, H = C.hidden, F = C.ffn, N = logit_columns(C);
  using T = element_t<C.weights>;
  using Kept = training::Kept<config, Cuda>;
  using ForwardPieces = training::ForwardPieces<config, Cuda>;
  using BackwardPieces = training::BackwardPieces<config, Cuda>;
  using Mixing = CombineBackward<config, Cuda>;
  using Forward = Experts<config, Cuda>;
  using Layout = typename Forward::Layout;
  using Stage = typename Forward::Stage;
  using Inner = device::FfnBackwardPieces<V>;
  using Hidden = device::StoreActivationGradient<Stage>;
  static_assert(C.expert.latent == 0 && C.shared.ffn == 0 && gated(C.expert.act) && H % 8 == 0 && C.router.place == Place::output && C.router.input == RouterInput::hidden && Kept::folds && !Mixing::own_sum,
                "what is counted is routed, gated experts behind a learned router whose logits the cache does not keep");

  typename Mixing::Call call() const {
    return {in_, packed_, k_.routing, k_.batch, k_.sums, dy_, {b_.own.dsum, n_}, b_.mix_routed, b_.mix_shared, b_.dmix_routed, b_.dmix_shared, b_.own.through, b_.out_weight};
  }
  template <DType D> void layer_backward(Gradients<config, D> const& to) const { Layer<config, Cuda>{packed_}.backward(on_, in_, cache_, dy_, dx_, to, workspace_); }
  template <DType D> void experts_backward(Gradients<config, D> const& to) const {
    ExpertsBackward<config, Cuda>{}.run(on_, in_.x, packed_, k_.batch, k_.pre, dy_, b_.out_weight, b_.drows, b_.din, b_.dout, to, b_.scratch);
  }
  void router_forward() {
    k_.routing.logits = {f_.logits, n_};
    Router<config, Cuda>{}(on_, in_, packed_, k_.routing, f_.scratch);
    k_.keep(on_, f_.logits, Where::here());
  }
  void router_backward(Gradients<config> const& to) {
    k_.spread(on_, b_.logits, Where::here()), k_.routing.logits = {b_.logits, n_};
    RouterBackward<config, Cuda>{}(on_, in_, packed_, k_.routing, k_.batch.slot, {.weight = {b_.dweight, n_}}, b_.drouter, nullptr, to, b_.scratch);
  }
  // The products of the experts' backward pass alone, by the same kernels: d hidden through the activation and dx; the gradients of the matrices.
  device::Groups groups() const { return {.begin = k_.batch.begin, .first = 0, .count = E, .rows = rows_bound(C, n_), .all = E}; }
  void products_of_inputs() const {
    auto const w = Forward::weights(packed_);
    std::int64_t const hidden = w.down_shape.pitch(), pre = device::pre_columns(w.gate_up_shape);
    device::multiply_backward(on_, on_.path(), device::BackwardProduct<V, T, Hidden>{
        .a = dy_.data, .a_stride = dy_.stride, .map = k_.batch.token, .b = w.down, .b_group = w.group, .b_pitch = hidden, .inputs = H, .groups = groups(),
        .epilogue = {.columns = static_cast<int>(hidden), .valid = F, .pre = k_.pre, .d_pre = inner_.d_pre, .pre_stride = pre, .hidden = inner_.hidden, .weight = b_.out_weight, .gamma = nullptr, .gamma_stride = 0,
                     .gamma_columns = 1, .products = nullptr, .parts = inner_.out_parts, .parts_stride = device::ceil_div(hidden, device::part_columns)}}, Where::here());
    device::multiply_backward(on_, on_.path(), device::BackwardProduct<V, T, device::StoreRows<V>>{
        .a = inner_.d_pre, .a_stride = pre, .map = nullptr, .b = w.gate_up, .b_group = w.group, .b_pitch = w.gate_up_shape.pitch(), .inputs = w.gate_up_shape.rows(), .groups = groups(),
        .epilogue = {.to = b_.drows.data, .stride = b_.drows.stride, .columns = H}}, Where::here());
  }
  template <DType D, class Time> void gradients(std::vector<StageRow>& all, Gradients<config, D> const& to, char const* stage, double flops, double bytes, Time const& time) const {
    using Element = element_t<D>;
    auto const w = Forward::weights(packed_);
    std::int64_t const pre = device::pre_columns(w.gate_up_shape);
    device::gradient_table(on_, E, inner_.gradients, [&](int i) {
      auto const e = static_cast<std::size_t>(i);
      return device::FfnGradient{.gate = device::gradient_of(to.gate[e]), .up = device::gradient_of(to.up[e]), .down = device::gradient_of(to.down[e])};
    }, Where::here());
    all.push_back({.stage = stage, .us = time([&] {
      device::add_gradient(on_, on_.path(), device::GradientProduct<V, V, device::GateUpGradient<Element>>{
          .p = inner_.d_pre, .p_stride = pre, .p_map = nullptr, .q = in_.x.data, .q_stride = in_.x.stride, .q_map = k_.batch.token, .outputs = w.gate_up_shape.rows(), .inputs = H, .groups = groups(),
          .to = {.of = inner_.gradients, .ffn = F, .paired = w.gate_up_shape.paired, .overwrite = to.overwrite}}, Where::here());
      device::add_gradient(on_, on_.path(), device::GradientProduct<V, V, device::DownGradient<Element>>{
          .p = dy_.data, .p_stride = dy_.stride, .p_map = k_.batch.token, .q = inner_.hidden, .q_stride = w.down_shape.pitch(), .q_map = nullptr, .outputs = H, .inputs = F, .groups = groups(),
          .to = {.of = inner_.gradients, .overwrite = to.overwrite}}, Where::here());
    }), .flops = flops, .bytes = bytes});
  }

  Cuda on_;
  PackedView<config, Cuda> packed_;
  Inputs<config> in_;
  Rows<V, C.hidden> y_;
  Rows<V const, C.hidden> dy_;
  Rows<V, C.hidden> dx_;
  std::int64_t n_;
  std::span<std::byte> cache_, workspace_;
  Kept k_{};
  ForwardPieces f_{};
  BackwardPieces b_{};
  Inner inner_{};
  double hit_ = 0, routed_ = 0;
};

}

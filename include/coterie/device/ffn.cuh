// Gate, up, activation and down as two grouped products: what routed and shared experts have in common on the GPU.
#pragma once
#include "multiply.cuh"
#include "sigmoid.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// What an ffn is made of: V activations, T weights, and what happens in between.
template <class V_, class T_, ExpertConfig X> struct FfnStage {
  using V = V_;
  using T = T_;
  static constexpr ExpertConfig expert = X;
};

// Sums of gate and up to hidden values, which who stores them rounds to V; zeros in the columns from `valid` on, whatever the row holds.
template <class Stage> struct StoreHidden {
  using To = typename Stage::V;
  static constexpr int paired = gated(Stage::expert.act) ? 1 : 0;
  To* to;
  std::int64_t stride;
  int columns, valid;
  float const *gate_bias = nullptr, *up_bias = nullptr;                  // [groups][valid], where the experts' config has biases; null: none
  float const* gamma = nullptr;                                          // [rows][.] weights of blocks of columns (router-weighed shared experts)
  std::int64_t gamma_stride = 0;
  int gamma_columns = 1;

  COTERIE_DEVICE float value(int group, std::int64_t row, int column, float gate, float up) const {
    if (column >= valid) return 0;
    if constexpr (Stage::expert.bias) {
      std::int64_t const at = std::int64_t{group} * valid + column;
      if (gate_bias) gate += gate_bias[at];
      if (up_bias) up += up_bias[at];
    }
    float const v = activate<Stage::expert, Sigmoid<To>>(gate, up);
    return gamma ? rounded<To>(v) * gamma[row * gamma_stride + column / gamma_columns] : v;
  }
  COTERIE_DEVICE float value(int group, std::int64_t row, int column, float up) const { return value(group, row, column, 0.f, up); }
  COTERIE_DEVICE To* at(std::int64_t row, int column) const { return to + row * stride + column; }
  COTERIE_DEVICE bool even() const { return true; }                      // h is ours, and its pitch a multiple of 8
};

// Gate and up before the activation, as a backward pass reads them: [R, pre_columns], in the order of the packed rows, gate and up of 8 hidden
// columns in turn (ungated: up), so that gates and ups of 8 columns are one sector of a 16-bit type. Rounded to V; zeros in the padding.
COTERIE_HD constexpr std::int64_t pre_columns(RowShape gate_up) { return round_up(gate_up.rows(), interleave); }
template <int Paired> COTERIE_HD constexpr std::int64_t pre_column(int column) { return Paired ? column / interleave * (2 * interleave) + column % interleave : column; }

// StoreHidden, and beside the hidden values what they were made from.
template <class Stage> struct KeepHidden : StoreHidden<Stage> {
  using Base = StoreHidden<Stage>;
  using To = typename Stage::V;
  To* pre;
  std::int64_t pre_stride;
  COTERIE_DEVICE float value(int group, std::int64_t row, int column, float gate, float up) const {
    if (column >= Base::columns) return 0;       // asked for beside a column that is stored
    To* const to = pre + row * pre_stride + pre_column<Base::paired>(column);
    if constexpr (Base::paired) to[0] = from_float<To>(kept(group, column, gate, Base::gate_bias));
    to[Base::paired * interleave] = from_float<To>(kept(group, column, up, Base::up_bias));
    return Base::value(group, row, column, gate, up);
  }
  COTERIE_DEVICE float value(int group, std::int64_t row, int column, float up) const { return value(group, row, column, 0.f, up); }
  // Of columns c (even) and c + 1, which are stored both: columns are a multiple of 8.
  COTERIE_DEVICE float2 two_values(int group, std::int64_t row, int c, float2 gate, float2 up) const {
    To* const to = pre + row * pre_stride + pre_column<Base::paired>(c);
    if constexpr (Base::paired) store_two(to, kept(group, c, gate.x, Base::gate_bias), kept(group, c + 1, gate.y, Base::gate_bias), true);
    store_two(to + Base::paired * interleave, kept(group, c, up.x, Base::up_bias), kept(group, c + 1, up.y, Base::up_bias), true);
    return {Base::value(group, row, c, gate.x, up.x), Base::value(group, row, c + 1, gate.y, up.y)};
  }

 private:
  COTERIE_DEVICE float kept(int group, int column, float sum, [[maybe_unused]] float const* bias) const {
    if (column >= Base::valid) return 0;
    if constexpr (Stage::expert.bias)
      if (bias) sum += bias[std::int64_t{group} * Base::valid + column];
    return sum;
  }
};

// to[r] = from[map[r]], padded with zeros to the pitch; times weight[r] and rounded where there are weights (Place::input).
template <class V> struct StageRows {
  V const* from;
  std::int64_t from_stride, inputs;
  std::int32_t const* map;                       // null: the same row
  float const* weight;                           // null: none
  std::int32_t const* rows;                      // where the number of rows is, on the device; null: `most`
  std::int64_t most;
  V* to;
  std::int64_t pitch;
};
template <class V> __global__ void __launch_bounds__(256) stage_rows_kernel(StageRows<V> const p) {
  COTERIE_SYNC("stage_rows: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  std::int64_t const rows = p.rows ? *p.rows : p.most;
  for (std::int64_t r = blockIdx.x; r < rows; r += gridDim.x) {
    V const* const from = p.from + (p.map ? p.map[r] : r) * p.from_stride;
    for (std::int64_t i = threadIdx.x; i < p.pitch; i += blockDim.x) {
      V v{};
      if (i < p.inputs) v = p.weight ? from_float<V>(to_float(from[i]) * p.weight[r]) : from[i];
      p.to[r * p.pitch + i] = v;
    }
  }
}
template <class V> void stage_rows(Cuda const& on, StageRows<V> const& p, Where at) {
  constexpr std::int64_t most = 65536;
  launch(stage_rows_kernel<V>, {.grid = dim3(static_cast<unsigned>(p.most < most ? p.most : most)), .block = dim3(256), .programmatic = on.device.programmatic}, on.stream, at, p);
}

// Weights of one ffn in every group, and the biases if there are any.
template <class Stage> struct FfnWeights {
  typename Stage::T const *gate_up, *down;
  std::int64_t group;                            // elements from one group's to the next one's, for both
  float const *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
  RowShape gate_up_shape, down_shape;
};
// Rows a (by map) to rows out; h is scratch of [rows][pitch of down].
template <class Stage> struct FfnRows {
  using V = typename Stage::V;
  V const* a;
  std::int64_t a_stride;
  std::int32_t const* map;
  V* h;
  V* out;
  std::int64_t out_stride;
  float const* gamma = nullptr;
  std::int64_t gamma_stride = 0;
  int gamma_columns = 1;
};
// In words.
template <class Stage> std::string explain_ffn(Cuda const& on, std::int64_t rows, std::int64_t groups, Few few) {
  Arch const path = on.path();
  return std::string(name(path)) + ": gate, up and activation, then down; " + explain_product<typename Stage::V, typename Stage::T>(path, rows, groups, few) + ", fp32 sums, for up to " +
         std::to_string(rows) + " rows" + on.remark();
}

// Rows a to hidden values, and hidden values to rows out.
template <class Stage> using UpProduct = Product<typename Stage::V, typename Stage::T, StoreHidden<Stage>>;
template <class Stage> using DownProduct = Product<typename Stage::V, typename Stage::T, StoreRows<typename Stage::V>>;
template <class Stage> StoreHidden<Stage> hidden_of(FfnWeights<Stage> const& w, FfnRows<Stage> const& r) {
  std::int64_t const pitch = w.down_shape.pitch();
  return {.to = r.h, .stride = pitch, .columns = static_cast<int>(pitch), .valid = static_cast<int>(w.gate_up_shape.outputs), .gate_bias = w.gate_bias, .up_bias = w.up_bias,
          .gamma = r.gamma, .gamma_stride = r.gamma_stride, .gamma_columns = r.gamma_columns};
}
template <class Stage, class Epilogue> Product<typename Stage::V, typename Stage::T, Epilogue> up_product(Groups const& groups, FfnWeights<Stage> const& w, FfnRows<Stage> const& r, Epilogue const& epilogue) {
  return {.a = r.a, .a_stride = r.a_stride, .map = r.map, .b = w.gate_up, .b_group = w.group, .b_rows = w.gate_up_shape.rows(), .b_pitch = w.gate_up_shape.pitch(),
          .inputs = w.gate_up_shape.inputs, .groups = groups, .epilogue = epilogue};
}
template <class Stage> UpProduct<Stage> up_product(Groups const& groups, FfnWeights<Stage> const& w, FfnRows<Stage> const& r) { return up_product(groups, w, r, hidden_of(w, r)); }
template <class Stage> DownProduct<Stage> down_product(Groups const& groups, FfnWeights<Stage> const& w, FfnRows<Stage> const& r) {
  return {.a = r.h, .a_stride = w.down_shape.pitch(), .map = nullptr, .b = w.down, .b_group = w.group, .b_rows = w.down_shape.rows(), .b_pitch = w.down_shape.pitch(),
          .inputs = w.down_shape.inputs, .groups = groups,
          .epilogue = {.to = r.out, .stride = r.out_stride, .columns = static_cast<int>(w.down_shape.outputs), .bias = w.down_bias}};
}

template <class Stage> void ffn(Cuda const& on, Arch path, Groups const& groups, FfnWeights<Stage> const& w, FfnRows<Stage> const& r, Few few, Where at) {
  multiply(on, path, up_product(groups, w, r), few, at);
  multiply(on, path, down_product(groups, w, r), few, at);
}
// The first product alone, by the same kernel and so to the same bits: hidden values, and what they were made from to pre[R, pre_columns].
template <class Stage> void ffn_keeping(Cuda const& on, Arch path, Groups const& groups, FfnWeights<Stage> const& w, FfnRows<Stage> const& r, typename Stage::V* pre, Few few, Where at) {
  multiply(on, path, up_product(groups, w, r, KeepHidden<Stage>{hidden_of(w, r), pre, pre_columns(w.gate_up_shape)}), few, at);
}

}}}}

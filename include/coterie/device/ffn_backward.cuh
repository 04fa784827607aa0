// Gate, up, activation and down backwards, for ragged groups of rows: what routed and shared experts have in common on the GPU. Four products:
// d hidden = dy W_down, whose epilogue goes back through the activation; dx = d pre W_gate_up; and the gradients of the two matrices. Nothing of
// an expert's output is kept: d weight = <dy W_down, hidden>. Source of the order: SonicMoE (arXiv 2512.14080).
#pragma once
#include "ffn_gradient.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Gradients of hidden values to those of gate and up, [R, rows of gate_up], laid out as pre is; beside them the hidden values as the products
// of the gradients want them, weighed, [R, pitch of down]. Zeros in the columns from `valid` on. Parts of a row: <d hidden, hidden>.
template <class Stage> struct StoreActivationGradient {
  using V = typename Stage::V;
  static constexpr int paired = gated(Stage::expert.act) ? 1 : 0;
  int columns, valid;                            // columns: the pitch of hidden
  V const* pre;                                  // with biases, as KeepHidden left it
  V* d_pre;
  std::int64_t pre_stride;
  V* hidden;
  float const* weight;                           // [R] of a row's output; null: 1
  float const* gamma;                            // [R][.] weights of blocks of hidden columns; null: 1
  std::int64_t gamma_stride;
  int gamma_columns;
  float* products;                               // [R][columns], with gamma: what a column adds to the gradient of its block's
  float* parts;                                  // [R][parts_stride]
  std::int64_t parts_stride;

  struct Read {
    Two<V> gate{}, up{};
    float2 gamma{1, 1};
    float weight = 1;
  };
  // Columns are a multiple of 8: the second is there with the first.
  COTERIE_DEVICE Read read(std::int64_t row, int column) const {
    Read r;
    if (column >= columns) return r;
    V const* const from = pre + row * pre_stride + pre_column<paired>(column);
    if constexpr (paired) r.gate = load_stored_two(from);
    r.up = load_stored_two(from + paired * interleave);
    if (weight) r.weight = weight[row];
    if (gamma && column < valid) r.gamma = {gamma[row * gamma_stride + column / gamma_columns], column + 1 < valid ? gamma[row * gamma_stride + (column + 1) / gamma_columns] : 1.f};
    return r;
  }
  COTERIE_DEVICE float store(int, std::int64_t row, int column, float first, float second, Read const& r) const {
    if (column >= columns) return 0;
    float2 const gate = to_floats<V>(r.gate), up = to_floats<V>(r.up);
    Value const a = value(row, column, first, gate.x, up.x, r.gamma.x, r.weight), b = value(row, column + 1, second, gate.y, up.y, r.gamma.y, r.weight);
    V* const to = d_pre + row * pre_stride + pre_column<paired>(column);
    if constexpr (paired) store_two(to, a.gate, b.gate, true);
    store_two(to + paired * interleave, a.up, b.up, true);
    store_two(hidden + row * columns + column, a.hidden, b.hidden, true);
    return a.product + b.product;
  }
  COTERIE_DEVICE void part(std::int64_t row, int number, float sum) const { parts[row * parts_stride + number] = sum; }

 private:
  struct Value { float gate, up, hidden, product; };
  COTERIE_DEVICE Value value(std::int64_t row, int column, float sum, float gate, float up, float g, float scale) const {
    if (column >= valid) return {};              // also where something is NaN
    ActivationGradient const a = activation_gradient<Stage::expert, Sigmoid<V>>(gate, up);
    float const h = rounded<V>(a.hidden), d = sum * g, along = d * scale;
    if (products) products[row * columns + column] = scale * sum * h;
    return {along * a.gate, along * a.up, scale * g * h, d * h};
  }
};

// dx, times a row's weight; parts of a row: <d, x> before it (Place::input).
template <class V> struct StoreWeighedInput {
  V* to;
  std::int64_t stride;
  int columns;
  V const* x = nullptr;                          // of row r at map[r]
  std::int64_t x_stride = 0;
  std::int32_t const* map = nullptr;
  float const* weight = nullptr;                 // [R]
  float* parts = nullptr;                        // [R][parts_stride]
  std::int64_t parts_stride = 0;
  struct Read { float first = 0, second = 0, weight = 0; };
  COTERIE_DEVICE Read read(std::int64_t row, int column) const {
    V const* const from = x + map[row] * x_stride + column;
    return {column < columns ? to_float(from[0]) : 0.f, column + 1 < columns ? to_float(from[1]) : 0.f, weight[row]};
  }
  COTERIE_DEVICE float store(int, std::int64_t row, int column, float first, float second, Read const& r) const {
    V* const at = to + row * stride + column;
    float sum = 0;
    if (column < columns) sum = first * r.first, at[0] = from_float<V>(r.weight * first);
    if (column + 1 < columns) sum = fmaf(second, r.second, sum), at[1] = from_float<V>(r.weight * second);
    return sum;
  }
  COTERIE_DEVICE void part(std::int64_t row, int number, float sum) const { parts[row * parts_stride + number] = sum; }
};

// Rows as the host has them (host/ffn_gradient.hpp).
template <class Stage> struct FfnBackwardRows {
  using V = typename Stage::V;
  V const* x;
  std::int64_t x_stride;
  V const* dy;                                   // of the sum that a row's output goes into
  std::int64_t dy_stride;
  std::int32_t const* map;                       // row -> row of x and of dy; null: the same
  float const *in_weight, *out_weight;           // [R] that a row's x, and its output, are multiplied by; null: 1
  V const* pre;                                  // [R, pre_columns]
  V* dx;                                         // [R,width]
  std::int64_t dx_stride;
  float *din_weight, *dout_weight;               // [R]; null: not wanted
  float const* gamma = nullptr;                  // [R][.] weights of blocks of hidden columns (router-weighed shared experts)
  std::int64_t gamma_stride = 0;
  int gamma_columns = 1;
  float* dgamma = nullptr;                       // [R][.], with gamma's stride
};

// What is between the products. staged: x and dy have rows that no 16-byte copy reads; weighed: in_weight.
template <class V> struct FfnBackwardPieces {
  V *x, *dy;                                     // [T or, weighed, R][pitch W]; [T][pitch W]
  V *d_pre, *hidden;                             // [R, pre_columns], [R, pitch F]
  float *out_parts, *in_parts, *products;        // [R][parts of F], [R][parts of W], [R][pitch F]
  FfnGradient* gradients;                        // [groups]
  static FfnBackwardPieces carve(Arena& arena, RowShape up, RowShape down, std::int64_t tokens, std::int64_t rows, std::int64_t groups, int weighed, int gamma) {
    FfnBackwardPieces p{};
    bool const staged = down.outputs % 8 != 0;
    if (staged || weighed) p.x = arena.take<V>((weighed ? rows : tokens) * up.pitch());
    if (staged) p.dy = arena.take<V>(tokens * up.pitch());
    p.d_pre = arena.take<V>(rows * pre_columns(up)), p.hidden = arena.take<V>(rows * down.pitch());
    p.out_parts = arena.take<float>(rows * ceil_div(down.pitch(), part_columns));
    if (weighed) p.in_parts = arena.take<float>(rows * ceil_div(down.outputs, part_columns));
    if (gamma) p.products = arena.take<float>(rows * down.pitch());
    p.gradients = arena.take<FfnGradient>(groups);
    return p;
  }
};

struct FfnBackwardCall {
  std::int64_t tokens;                           // rows of x and dy
  int overwrite;                                 // flag: gradients are written, not added to
};

// place(g): where the gradients of group g go (FfnGradient). Input: what stores dx, StoreWeighedInput where rows of x are weighed.
template <class Stage, class Element, class Input, class Place>
void ffn_backward(Cuda const& on, Arch path, Groups const& groups, FfnWeights<Stage> const& w, FfnBackwardRows<Stage> const& r, FfnBackwardPieces<typename Stage::V> const& p,
                  FfnBackwardCall const& call, Place const& place, Where at) {
  using V = typename Stage::V;
  using T = typename Stage::T;
  using Hidden = StoreActivationGradient<Stage>;
  constexpr bool weighed = keeps_parts<Input>;
  std::int64_t const F = w.gate_up_shape.outputs, W = w.down_shape.outputs, pitch = w.gate_up_shape.pitch(), hidden = w.down_shape.pitch(), pre = pre_columns(w.gate_up_shape);
  std::int64_t const out_parts = ceil_div(hidden, part_columns), in_parts = ceil_div(W, part_columns);
  int const width = static_cast<int>(W), ffn = static_cast<int>(F);
  // x and dy as products read them.
  V const *const x = p.x ? p.x : r.x, *const dy = p.dy ? p.dy : r.dy;
  std::int64_t const x_stride = p.x ? pitch : r.x_stride, dy_stride = p.dy ? pitch : r.dy_stride;
  if (groups.rows > 0) {
    StageRows<V> rows{.from = r.x, .from_stride = r.x_stride, .inputs = W, .map = nullptr, .weight = nullptr, .rows = nullptr, .most = call.tokens, .to = p.x, .pitch = pitch};
    if (weighed) rows.map = r.map, rows.weight = r.in_weight, rows.rows = groups.begin + groups.first + groups.count, rows.most = groups.rows;
    if (p.x) stage_rows(on, rows, at);
    if (p.dy) stage_rows(on, StageRows<V>{.from = r.dy, .from_stride = r.dy_stride, .inputs = W, .map = nullptr, .weight = nullptr, .rows = nullptr, .most = call.tokens, .to = p.dy, .pitch = pitch}, at);
    multiply_backward(on, path, BackwardProduct<V, T, Hidden>{
        .a = dy, .a_stride = dy_stride, .map = r.map, .b = w.down, .b_group = w.group, .b_pitch = hidden, .inputs = W, .groups = groups,
        .epilogue = {.columns = static_cast<int>(hidden), .valid = ffn, .pre = r.pre, .d_pre = p.d_pre, .pre_stride = pre, .hidden = p.hidden, .weight = r.out_weight, .gamma = r.gamma,
                     .gamma_stride = r.gamma_stride, .gamma_columns = r.gamma_columns, .products = r.gamma ? p.products : nullptr, .parts = p.out_parts, .parts_stride = out_parts}}, at);
    Input input{.to = r.dx, .stride = r.dx_stride, .columns = width};
    if constexpr (weighed) input.x = r.x, input.x_stride = r.x_stride, input.map = r.map, input.weight = r.in_weight, input.parts = p.in_parts, input.parts_stride = in_parts;
    multiply_backward(on, path, BackwardProduct<V, T, Input>{.a = p.d_pre, .a_stride = pre, .map = nullptr, .b = w.gate_up, .b_group = w.group, .b_pitch = pitch, .inputs = w.gate_up_shape.rows(),
                                                             .groups = groups, .epilogue = input}, at);
    RowSums<V> const out{.from = p.out_parts, .from_stride = out_parts, .each = out_parts, .all = out_parts, .count = 1, .to = r.dout_weight, .to_stride = 1, .groups = groups, .dy = r.dy,
                         .dy_stride = r.dy_stride, .map = r.map, .bias = w.down_bias, .width = width};
    if (r.dout_weight) row_sums(on, out, at);
    if (r.din_weight) row_sums(on, RowSums<V>{.from = p.in_parts, .from_stride = in_parts, .each = in_parts, .all = in_parts, .count = 1, .to = r.din_weight, .to_stride = 1, .groups = groups}, at);
    if (r.dgamma) row_sums(on, RowSums<V>{.from = p.products, .from_stride = hidden, .each = r.gamma_columns, .all = F, .count = ceil_div(F, r.gamma_columns), .to = r.dgamma,
                                          .to_stride = r.gamma_stride, .groups = groups}, at);
  }
  gradient_table(on, groups.count, p.gradients, place, at);
  GateUpGradient<Element> const gate_up{.of = p.gradients, .ffn = ffn, .paired = w.gate_up_shape.paired, .overwrite = call.overwrite};
  DownGradient<Element> const down{.of = p.gradients, .overwrite = call.overwrite};
  GradientProduct<V, V, GateUpGradient<Element>> const of_gate_up{.p = p.d_pre, .p_stride = pre, .p_map = nullptr, .q = x, .q_stride = x_stride, .q_map = weighed ? nullptr : r.map,
                                                                  .outputs = w.gate_up_shape.rows(), .inputs = W, .groups = groups, .to = gate_up};
  add_gradient(on, path, of_gate_up, at);
  add_gradient(on, path, GradientProduct<V, V, DownGradient<Element>>{.p = dy, .p_stride = dy_stride, .p_map = r.map, .q = p.hidden, .q_stride = hidden, .q_map = nullptr, .outputs = W, .inputs = F,
                                                                      .groups = groups, .to = down}, at);
  if (w.up_bias) {
    column_sums(on, ColumnSums<V, GateUpGradient<Element>>{.from = p.d_pre, .stride = pre, .map = nullptr, .weight = nullptr, .columns = w.gate_up_shape.rows(), .groups = groups, .to = gate_up}, at);
    column_sums(on, ColumnSums<V, DownGradient<Element>>{.from = r.dy, .stride = r.dy_stride, .map = r.map, .weight = r.out_weight, .columns = W, .groups = groups, .to = down}, at);
  }
  if (!call.overwrite || gated(Stage::expert.act)) return;
  // Gates that no activation has: zeros, as of groups without rows, where up's gradients would go.
  gradient_table(on, groups.count, p.gradients, [&](int g) { return FfnGradient{.gate = {}, .up = place(g).gate, .down = {}, .up_bias = place(g).gate_bias}; }, at);
  auto none = of_gate_up;
  none.groups = {.begin = nullptr, .first = 0, .count = groups.count, .rows = 0};
  add_gradient(on, path, none, at);
  if (w.up_bias) column_sums(on, ColumnSums<V, GateUpGradient<Element>>{.from = p.d_pre, .stride = pre, .map = nullptr, .weight = nullptr, .columns = F, .groups = none.groups, .to = gate_up}, at);
}

}}}}

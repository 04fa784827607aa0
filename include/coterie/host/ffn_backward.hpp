// Gate, up, activation and down backwards, for ragged groups of rows: what routed and shared experts have in common. Four products a group
// on the engines of the forward pass: the weights' panels are turned round one at a time, and activations become panels where rows are
// summed over. Nothing of an expert's output is kept: d weight = <dy W_down, hidden>. Source of the order: SonicMoE (arXiv 2512.14080).
#pragma once
#include "../experts/activation_columns.hpp"
#include "ffn_gradient.hpp"
#include "transpose.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Kind: V activations, T packed weights, expert: the activation.
template <class V_, class T_, ExpertConfig X> struct FfnKind {
  using V = V_;
  using T = T_;
  static constexpr ExpertConfig expert = X;
};

template <class Kind> class FfnBackward {
 public:
  using V = typename Kind::V;
  using T = typename Kind::T;
  using Shapes = FfnShapes;
  using Pieces = FfnBackwardPieces<V, T>;

  // to(i): where the gradients of group i go.
  template <class Engine, class To>
  static void run(Pool& pool, Engine const& engine, Shapes const& s, FfnGroups<T> const& groups, FfnBackwardRows<V> const& rows, Pieces const& p, To const& to) {
    for (std::int64_t i = 0, padded = 0; i < groups.count; ++i) {
      auto const g = groups[i];
      p.first[i] = padded, padded += round_up(g.end - g.begin, tile_inputs);
    }
    // Each task is a group and 32 columns: phases that read what all columns of the one before have written.
    pool.run(groups.count * s.width_blocks(), [&](std::int64_t task, int who) {
      std::int64_t const i = task / s.width_blocks();
      gather<Engine>(Pass{s, groups[i], rows, p, to(i), p.first[i], task % s.width_blocks(), who});
    });
    pool.run(groups.count * s.blocks(), [&](std::int64_t task, int who) {
      std::int64_t const i = task / s.blocks();
      through_down(engine, Pass{s, groups[i], rows, p, to(i), p.first[i], task % s.blocks(), who});
    });
    pool.run(groups.count * s.width_blocks(), [&](std::int64_t task, int who) {
      std::int64_t const i = task / s.width_blocks();
      through_up(engine, Pass{s, groups[i], rows, p, to(i), p.first[i], task % s.width_blocks(), who});
    });
    pool.run(groups.count, [&](std::int64_t i, int who) { sum_parts(Pass{s, groups[i], rows, p, {}, p.first[i], 0, who}); });
  }

 private:
  static constexpr int wide = panel_outputs;
  static constexpr bool has_gate = gated(Kind::expert.act);
  // Where hidden column f's gate (or up, ungated) stands in a row of pre-activations, and how far behind it up does.
  static constexpr std::int64_t up_behind = has_gate ? tile_outputs : 0;
  static constexpr std::int64_t column_of(std::int64_t f) { return has_gate ? f / tile_outputs * wide + f % tile_outputs : f; }

  // A task: one group, 32 columns.
  struct Pass {
    Shapes const& s;
    FfnGroup<T> group;
    FfnBackwardRows<V> const& rows;
    Pieces const& p;
    FfnGradient to;
    std::int64_t first, block;
    int who;
    std::int64_t count() const { return group.end - group.begin; }
    std::int64_t long_rows() const { return round_up(count(), tile_inputs); }
    std::int64_t token(std::int64_t r) const { return rows.map ? rows.map[group.begin + r] : group.begin + r; }
    V const* dy(std::int64_t r) const { return rows.dy + token(r) * rows.dy_stride; }
    V const* x(std::int64_t r) const { return rows.x + token(r) * rows.x_stride; }
    float in_weight(std::int64_t r) const { return rows.in_weight ? rows.in_weight[group.begin + r] : 1.f; }
    float out_weight(std::int64_t r) const { return rows.out_weight ? rows.out_weight[group.begin + r] : 1.f; }
    template <class Operand> Operand* dy_rows() const { return reinterpret_cast<Operand*>(p.dy_rows) + group.begin * s.padded_width(); }
    template <class Operand> Operand* dy_columns() const { return reinterpret_cast<Operand*>(p.dy_columns) + first * s.width(); }
    template <class Operand> Operand* d_pre() const { return reinterpret_cast<Operand*>(p.d_pre) + group.begin * s.columns(); }
    template <class Operand> Operand* d_pre_columns() const { return reinterpret_cast<Operand*>(p.d_pre_columns) + first * s.columns(); }
    T* turned() const { return p.turned + who * s.turned(); }
  };

  // dy of a group's rows as rows and as columns; the gradient of its down bias.
  template <class Engine> static void gather(Pass const& a) {
    using Operand = typename Engine::Operand;
    std::int64_t const n = a.count(), long_rows = a.long_rows(), c0 = a.block * wide, pitch = a.s.padded_width(), real = a.s.width() - c0 < wide ? a.s.width() - c0 : wide;
    Operand *const rows = a.template dy_rows<Operand>() + c0, *const across = a.template dy_columns<Operand>() + c0 * long_rows;
    float bias[wide]{};
    for (std::int64_t r = 0; r < n; ++r) {
      V const* const from = a.dy(r) + c0;
      float const weight = a.out_weight(r);
      for (std::int64_t j = 0; j < wide; ++j) {
        float const v = j < real ? to_float(from[j]) : 0.f;
        rows[r * pitch + j] = from_float<Operand>(v);
        if (j < real) across[j * long_rows + r] = from_float<Operand>(v), bias[j] = math::fma(weight, v, bias[j]);
      }
    }
    for (std::int64_t j = 0; j < real; ++j)
      for (std::int64_t r = n; r < long_rows; ++r) across[j * long_rows + r] = Operand{};
    if (a.to.down_bias)
      for (std::int64_t j = 0; j < real; ++j) a.to.down_bias[c0 + j] += bias[j];
  }

  // Hidden columns [32 b, 32 b + 32): d hidden = dy W_down, through the activation; then d W_down = dy^T hidden.
  template <class Engine> static void through_down(Engine const& engine, Pass const& a) {
    using Operand = typename Engine::Operand;
    std::int64_t const n = a.count(), long_rows = a.long_rows(), f0 = a.block * wide, real = a.s.ffn() - f0 < wide ? a.s.ffn() - f0 : wide, columns = a.s.columns(), pitch = a.s.padded_width();
    Operand const* const rows = a.template dy_rows<Operand>();
    Operand *const d_pre = a.template d_pre<Operand>(), *const across = a.template d_pre_columns<Operand>();
    V* const panel = a.p.hidden + a.first * a.s.blocks() * wide + a.block * long_rows * wide;
    T* const turned = a.turned();
    transpose_panel(a.group.down, a.s.down, a.block, turned);
    float (*activate)(backward::Columns const&) = &backward::activate_portable<Kind::expert, V>;
#if defined(__x86_64__)
    if (engine.path != Isa::portable) activate = &backward::activate_avx2<Kind::expert, V>;
#endif
    float bias[2][wide]{};
    engine.multiply(static_cast<T const*>(turned), PanelShape{.outputs = wide, .inputs = pitch}, n, 0, 1, [&](std::int64_t r) { return rows + r * pitch; },
                    [&](std::int64_t r0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m) {
                        std::int64_t const r = r0 + m;
                        V const* const from = a.rows.pre + (a.group.begin + r) * columns;
                        float gate[wide], up[wide], d[wide], gamma[wide], hidden[wide], d_gate[wide], d_up[wide];
                        for (int j = 0; j < wide; ++j) {
                          gate[j] = has_gate && j < real ? to_float(from[column_of(f0 + j)]) : 0.f;
                          up[j] = j < real ? to_float(from[column_of(f0 + j) + up_behind]) : 0.f;
                          gamma[j] = a.rows.gamma && j < real ? a.rows.gamma[(a.group.begin + r) * a.rows.gamma_stride + (f0 + j) / a.rows.gamma_columns] : 1.f;
                          d[j] = sums[m * stride + j] * gamma[j];
                        }
                        float const weight = a.out_weight(r);
                        float const dot = activate({.d = d, .gate = gate, .up = up, .weight = weight, .hidden = hidden, .d_gate = d_gate, .d_up = d_up});
                        a.p.out_dots[(a.group.begin + r) * a.s.blocks() + a.block] = dot;
                        if (a.rows.gamma)
                          for (int j = 0; j < wide; ++j) a.p.products[(a.group.begin + r) * a.s.blocks() * wide + f0 + j] = weight * sums[m * stride + j] * hidden[j];
                        for (int j = 0; j < wide; ++j) {
                          bool const inside = j < real;
                          panel[panel_offset<V>(j, r)] = inside ? from_float<V>(weight * gamma[j] * hidden[j]) : V{};
                          std::int64_t const c = column_of(f0 + j);
                          if (c + up_behind >= columns) continue;
                          auto const put = [&](std::int64_t column, float v) {
                            d_pre[r * columns + column] = across[column * long_rows + r] = from_float<Operand>(inside ? v : 0.f);
                          };
                          if constexpr (has_gate) put(c, d_gate[j]);
                          put(c + up_behind, d_up[j]);
                          if (inside) bias[0][j] += d_gate[j], bias[1][j] += d_up[j];
                        }
                      }
                    });
    for (std::int64_t j = 0; j < wide; ++j)
      for (std::int64_t r = n; r < long_rows; ++r) {
        panel[panel_offset<V>(static_cast<int>(j), r)] = V{};
        std::int64_t const c = column_of(f0 + j);
        if (c + up_behind < columns) across[c * long_rows + r] = across[(c + up_behind) * long_rows + r] = Operand{};
      }
    for (std::int64_t j = 0; j < real; ++j) {
      if (has_gate && a.to.gate_bias) a.to.gate_bias[f0 + j] += bias[0][j];
      if (a.to.up_bias) a.to.up_bias[f0 + j] += bias[1][j];
    }
    GradientMatrix const& to = a.to.down;
    if (to.data) add_product(engine, panel, a.template dy_columns<Operand>(), a.s.width(), long_rows, real, [&](std::int64_t o, int j) { return to.data + o * to.out_stride + (f0 + j) * to.in_stride; });
  }

  // Columns [32 b, 32 b + 32) of x: dx = d pre W_up; then d W_up = d pre^T x.
  template <class Engine> static void through_up(Engine const& engine, Pass const& a) {
    using Operand = typename Engine::Operand;
    std::int64_t const n = a.count(), long_rows = a.long_rows(), c0 = a.block * wide, real = a.s.width() - c0 < wide ? a.s.width() - c0 : wide, columns = a.s.columns();
    Operand const* const rows = a.template d_pre<Operand>();
    T* const turned = a.turned();
    transpose_panel(a.group.gate_up, a.s.up, a.block, turned);
    engine.multiply(static_cast<T const*>(turned), PanelShape{.outputs = wide, .inputs = columns}, n, 0, 1, [&](std::int64_t r) { return rows + r * columns; },
                    [&](std::int64_t r0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m) {
                        std::int64_t const r = r0 + m;
                        float const* const d = sums + m * stride;
                        if (a.rows.din_weight) {
                          float dot = 0;
                          for (std::int64_t j = 0; j < real; ++j) dot = math::fma(d[j], to_float(a.x(r)[c0 + j]), dot);
                          a.p.in_dots[(a.group.begin + r) * a.s.width_blocks() + a.block] = dot;
                        }
                        V* const to = a.rows.dx + (a.group.begin + r) * a.rows.dx_stride + c0;
                        for (std::int64_t j = 0; j < real; ++j) to[j] = from_float<V>(a.in_weight(r) * d[j]);
                      }
                    });
    GradientMatrix const &gate = a.to.gate, &up = a.to.up;
    if (!up.data && !(has_gate && gate.data)) return;
    V* const panel = a.p.inputs + a.first * a.s.padded_width() + a.block * long_rows * wide;
    for (std::int64_t r = 0; r < long_rows; ++r)
      for (int j = 0; j < wide; ++j) {
        V v{};
        if (r < n && j < real) {
          v = a.x(r)[c0 + j];
          if (a.rows.in_weight) v = from_float<V>(to_float(v) * a.in_weight(r));
        }
        panel[panel_offset<V>(j, r)] = v;
      }
    add_product(engine, panel, a.template d_pre_columns<Operand>(), columns, long_rows, real, [&](std::int64_t c, int j) {
      bool const is_gate = has_gate && c % wide < tile_outputs;
      std::int64_t const f = has_gate ? c / wide * tile_outputs + c % tile_outputs : c;
      GradientMatrix const& m = is_gate ? gate : up;
      return f < a.s.ffn() && m.data ? m.data + f * m.out_stride + (c0 + j) * m.in_stride : nullptr;
    });
  }
  // *at(row, column) += across[row][.] . panel[.][column], for the panel's first `real` columns; null: nowhere.
  template <class Engine, class At>
  static void add_product(Engine const& engine, V const* panel, typename Engine::Operand const* across, std::int64_t rows, std::int64_t inputs, std::int64_t real, At const& at) {
    engine.multiply(panel, PanelShape{.outputs = wide, .inputs = inputs}, rows, 0, 1, [&](std::int64_t r) { return across + r * inputs; },
                    [&](std::int64_t r0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m)
                        for (int j = 0; j < real; ++j)
                          if (float* const to = at(r0 + m, j)) *to += sums[m * stride + j];
                    });
  }

  // Gradients of the weights of the group's rows from their parts.
  static void sum_parts(Pass const& a) {
    auto const sum = [](float const* parts, std::int64_t n) {
      float all = 0;
      for (std::int64_t b = 0; b < n; ++b) all += parts[b];
      return all;
    };
    for (std::int64_t r = 0; r < a.count(); ++r) {
      std::int64_t const row = a.group.begin + r;
      if (a.rows.din_weight) a.rows.din_weight[row] = sum(a.p.in_dots + row * a.s.width_blocks(), a.s.width_blocks());
      if (!a.rows.dout_weight) continue;
      float bias = 0;                            // a part of what is weighed
      if (a.group.down_bias)
        for (std::int64_t o = 0; o < a.s.width(); ++o) bias = math::fma(to_float(a.dy(r)[o]), a.group.down_bias[o], bias);
      a.rows.dout_weight[row] = sum(a.p.out_dots + row * a.s.blocks(), a.s.blocks()) + bias;
    }
    if (!a.rows.dgamma) return;
    for (std::int64_t r = a.group.begin; r < a.group.end; ++r)
      for (std::int64_t i = 0; i * a.rows.gamma_columns < a.s.ffn(); ++i) {
        std::int64_t const first = i * a.rows.gamma_columns;
        a.rows.dgamma[r * a.rows.gamma_stride + i] = sum(a.p.products + r * a.s.blocks() * wide + first, a.rows.gamma_columns);
      }
  }
};

}}}

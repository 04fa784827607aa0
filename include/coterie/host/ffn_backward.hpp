// Gate, up, activation and down backwards, for ragged groups of rows: what routed and shared experts have in common. Four products a group
// on the engines of the forward pass: the weights' panels are turned round piece by piece, and activations become panels where rows are
// summed over. Nothing of an expert's output is kept: d weight = <dy W_down, hidden>. Source of the order: SonicMoE (arXiv 2512.14080).
#pragma once
#include "../experts/activation_columns.hpp"
#include "ffn_gradient.hpp"
#include "rows.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Engines that read rows one after the other, whole.
template <class Engine> inline constexpr bool reads_whole_rows = false;
template <class Tiles> inline constexpr bool reads_whole_rows<TileEngine<Tiles>> = true;

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
    bool const streams = groups.count * s.width() * s.ffn() * (has_gate ? 3 : 2) * (groups.count ? to(0).up.kind.bytes() : 0) > streamed_bytes;
    // Each task is a group and a few panels (sums do not depend on how many): phases that read what all tasks of the one before have written.
    auto const phase = [&](std::int64_t blocks, auto const& task) {
      std::int64_t panels = backward_panels;
      while (panels > 1 && groups.count * ceil_div(blocks, panels) < 4 * pool.size()) panels /= 2;
      std::int64_t const tasks = ceil_div(blocks, panels);
      pool.run(groups.count * tasks, [&](std::int64_t n, int who) {
        std::int64_t const i = n / tasks, block = n % tasks * panels, left = blocks - block;
        task(Pass{engine.path, s, groups[i], rows, p, to(i), p.first[i], block, left < panels ? left : panels, who, streams});
      });
    };
    phase(s.width_blocks(), [&](Pass const& a) { gather<Engine>(a); });
    phase(s.blocks(), [&](Pass const& a) { through_down(engine, a); });
    phase(s.width_blocks(), [&](Pass const& a) { through_up(engine, a); });
    pool.run(groups.count, [&](std::int64_t i, int who) { sum_parts(Pass{engine.path, s, groups[i], rows, p, {}, p.first[i], 0, 0, who, streams}); });
  }

 private:
  static constexpr int wide = panel_outputs;
  static constexpr std::int64_t pitch = backward_panels * wide;          // of a task's sums
  static constexpr bool has_gate = gated(Kind::expert.act);
  static constexpr std::int64_t block_columns = has_gate ? 2 * wide : wide;          // of a row of pre-activations, for 32 hidden ones

  // A task: one group, panels [block, block + blocks) of the width or of the hidden columns.
  struct Pass {
    Isa path;
    Shapes const& s;
    FfnGroup<T> group;
    FfnBackwardRows<V> const& rows;
    Pieces const& p;
    FfnGradient to;
    std::int64_t first, block, blocks;
    int who;
    bool streams;                                // gradients past the caches
    std::int64_t count() const { return group.end - group.begin; }
    std::int64_t long_rows() const { return round_up(count(), tile_inputs); }
    std::int64_t token(std::int64_t r) const { return rows.map ? rows.map[group.begin + r] : group.begin + r; }
    V const* dy(std::int64_t r) const { return rows.dy + token(r) * rows.dy_stride; }
    V const* x(std::int64_t r) const { return rows.x + token(r) * rows.x_stride; }
    template <class Operand> Operand* dy_rows() const { return reinterpret_cast<Operand*>(p.dy_rows) + group.begin * s.padded_width(); }
    template <class Operand> Operand* dy_columns() const { return reinterpret_cast<Operand*>(p.dy_columns) + first * s.width(); }
    template <class Operand> Operand* d_pre() const { return reinterpret_cast<Operand*>(p.d_pre) + group.begin * s.columns(); }
    template <class Operand> Operand* d_pre_columns() const { return reinterpret_cast<Operand*>(p.d_pre_columns) + first * s.columns(); }
    // Columns from the task's first on: at most its own, and of `all`.
    std::int64_t column() const { return block * wide; }
    std::int64_t real(std::int64_t all) const { return all - column() < blocks * wide ? all - column() : blocks * wide; }
    float* sums() const { return p.sums + who * backward_rows * pitch; }
  };

  // dy of a group's rows as rows and as columns; the gradient of its down bias.
  template <class Engine> static void gather(Pass const& a) {
    using Operand = typename Engine::Operand;
    std::int64_t const n = a.count(), c0 = a.column(), padded = a.s.padded_width(), real = a.real(a.s.width());
    Operand* const rows = a.template dy_rows<Operand>() + c0;
    for (std::int64_t r = 0; r < n; ++r) widen_row(a.dy(r) + c0, real, a.blocks * wide, rows + r * padded);
    transpose_rows(a.path, rows, padded, a.template dy_columns<Operand>() + c0 * a.long_rows(), a.long_rows(), n, real, a.long_rows());
    if (!a.to.down_bias) return;
    for (std::int64_t j = 0; j < real; ++j) {
      float bias = 0;
      for (std::int64_t r = 0; r < n; ++r) bias = math::fma(a.rows.out_weight ? a.rows.out_weight[a.group.begin + r] : 1.f, to_float(a.dy(r)[c0 + j]), bias);
      a.to.down_bias[c0 + j] += bias;
    }
  }

  // sums[n][pitch] of the task's panels: rows[n], each of all of a matrix's padded outputs, times the matrix.
  template <class Engine> static void product(Engine const& engine, Pass const& a, T const* packed, PanelShape shape, typename Engine::Operand const* rows, std::int64_t n) {
    std::int64_t const inputs = shape.panels() * wide, depth = reads_whole_rows<Engine> ? inputs : turned_depth;
    T* const turned = a.p.turned + a.who * a.s.turned();
    float* const to = a.sums();
    StoreSums* const add = store_in<float>(a.path, false);
    for (std::int64_t q = 0, together = 0; q < a.blocks; q += together) {
      together = reads_whole_rows<Engine> ? 1 : a.blocks - q < turned_panels ? a.blocks - q : turned_panels;
      for (std::int64_t k = 0; k < inputs; k += depth) {
        std::int64_t const d = inputs - k < depth ? inputs - k : depth;
        for (std::int64_t i = 0; i < d; i += wide)
          for (std::int64_t b = 0; b < together; ++b) transpose_panel(a.path, packed, shape, a.block + q + b, (k + i) / wide, (k + i) / wide + 1, turned + (b * d + i) * wide);
        engine.multiply(static_cast<T const*>(turned), PanelShape{.outputs = together * wide, .inputs = d}, n, 0, together, [&](std::int64_t r) { return rows + r * inputs + k; },
                        [&](std::int64_t r, int height, std::int64_t panel, std::int64_t panels, float const* sums, std::int64_t stride) {
                          for (int m = 0; m < height; ++m) {
                            float* const at = to + (r + m) * pitch + (q + panel) * wide;
                            if (k == 0) std::memcpy(at, sums + m * stride, static_cast<std::size_t>(panels * wide) * sizeof(float));
                            else add(sums + m * stride, panels * wide, reinterpret_cast<std::byte*>(at), nullptr, 0);
                          }
                        });
      }
    }
  }
  // d hidden = dy W_down, through the activation; then d W_down = dy^T hidden.
  template <class Engine> static void through_down(Engine const& engine, Pass const& a) {
    using Operand = typename Engine::Operand;
    std::int64_t const n = a.count(), long_rows = a.long_rows(), columns = a.s.columns(), c0 = a.block * block_columns;
    std::int64_t const own = columns - c0 < a.blocks * block_columns ? columns - c0 : a.blocks * block_columns;
    Operand* const d_pre = a.template d_pre<Operand>() + c0;
    V* const panels = a.p.hidden + a.first * a.s.blocks() * wide + a.block * long_rows * wide;
    float gate_bias[pitch]{}, up_bias[pitch]{};
    for (std::int64_t r = 0; r < n; r += backward_rows) {
      std::int64_t const height = n - r < backward_rows ? n - r : backward_rows, row = a.group.begin + r;
      product(engine, a, a.group.down, a.s.down, a.template dy_rows<Operand>() + r * a.s.padded_width(), height);
      for (std::int64_t b = 0; b < a.blocks; ++b) {
        std::int64_t const f = a.column() + b * wide, left = a.s.ffn() - f;
        backward::activate<Kind::expert>(a.path, backward::Columns<V, Operand>{
            .d = a.sums() + b * wide, .pitch = pitch, .rows = height, .real = left < wide ? left : wide, .columns = columns - c0 - b * block_columns,
            .weight = a.rows.out_weight ? a.rows.out_weight + row : nullptr, .gamma = a.rows.gamma ? a.rows.gamma + row * a.rows.gamma_stride : nullptr, .gamma_stride = a.rows.gamma_stride,
            .gamma_columns = a.rows.gamma_columns, .first_column = f, .pre = a.rows.pre + row * columns + c0 + b * block_columns, .d_pre = d_pre + r * columns + b * block_columns,
            .row_columns = columns, .panel = panels + b * long_rows * wide, .first_row = r, .dots = a.p.out_dots + row * a.s.blocks() + a.block + b, .dots_stride = a.s.blocks(),
            .products = a.p.products + (a.rows.gamma ? row * a.s.blocks() * wide + f : 0), .gate_bias = gate_bias + b * wide, .up_bias = up_bias + b * wide});
      }
    }
    fill(panels, a.blocks, n, long_rows);
    transpose_rows(a.path, d_pre, columns, a.template d_pre_columns<Operand>() + c0 * long_rows, long_rows, n, own, long_rows);
    std::int64_t const real = a.real(a.s.ffn());
    for (std::int64_t j = 0; j < real; ++j) {
      if (has_gate && a.to.gate_bias) a.to.gate_bias[a.column() + j] += gate_bias[j];
      if (a.to.up_bias) a.to.up_bias[a.column() + j] += up_bias[j];
    }
    if (a.to.down.data)
      store_product(engine, a, panels, a.template dy_columns<Operand>(), a.s.width(), real, [&](std::int64_t o) { return row_of(a.to.down, o, a.column()); });
  }

  // dx = d pre W_up; then d W_up = d pre^T x.
  template <class Engine> static void through_up(Engine const& engine, Pass const& a) {
    using Operand = typename Engine::Operand;
    std::int64_t const n = a.count(), long_rows = a.long_rows(), c0 = a.column(), real = a.real(a.s.width()), columns = a.s.columns();
    float const* const in_weight = a.rows.in_weight ? a.rows.in_weight + a.group.begin : nullptr;
    for (std::int64_t r0 = 0; r0 < n; r0 += backward_rows) {
      std::int64_t const height = n - r0 < backward_rows ? n - r0 : backward_rows;
      product(engine, a, a.group.gate_up, a.s.up, a.template d_pre<Operand>() + r0 * columns, height);
      for (std::int64_t r = r0; r < r0 + height; ++r) {
        float const* const d = a.sums() + (r - r0) * pitch;
        for (std::int64_t b = 0; a.rows.din_weight && b < a.blocks; ++b) {
          float dot = 0;
          for (std::int64_t j = b * wide; j < (b + 1) * wide && j < real; ++j) dot = math::fma(d[j], to_float(a.x(r)[c0 + j]), dot);
          a.p.in_dots[(a.group.begin + r) * a.s.width_blocks() + a.block + b] = dot;
        }
        V* const to = a.rows.dx + (a.group.begin + r) * a.rows.dx_stride + c0;
        float const weight = in_weight ? in_weight[r] : 1.f;
        for (std::int64_t j = 0; j < real; ++j) to[j] = from_float<V>(weight * d[j]);
      }
    }
    GradientMatrix const &gate = a.to.gate, &up = a.to.up;
    if (!up.data && !(has_gate && gate.data)) return;
    V* const panels = a.p.inputs + a.first * a.s.padded_width() + a.block * long_rows * wide;
    V x[2][pitch]{};
    for (std::int64_t r = 0; r < n; ++r) {
      V* const row = x[r % 2];
      if (in_weight) widen_row_scaled(a.x(r) + c0, in_weight[r], real, real, row);
      else std::memcpy(row, a.x(r) + c0, static_cast<std::size_t>(real) * sizeof(V));
      if (r % 2 == 0 && r + 1 == n) std::memset(static_cast<void*>(x[1]), 0, sizeof x[1]);
      for (std::int64_t b = 0; b < a.blocks && (r % 2 || r + 1 == n); ++b) backward::panel_rows(x[0] + b * wide, x[1] + b * wide, panels + b * long_rows * wide, r / 2 * 2);
    }
    fill(panels, a.blocks, n, long_rows);
    store_product(engine, a, panels, a.template d_pre_columns<Operand>(), columns, real, [&](std::int64_t c) {
      std::int64_t const f = has_gate ? c / wide * tile_outputs + c % tile_outputs : c;
      return f < a.s.ffn() ? row_of(has_gate && c % wide < tile_outputs ? gate : up, f, c0) : GradientRow{};
    });
  }

  // Zeros behind the rows of panels that panel_rows() filled.
  static void fill(V* panels, std::int64_t blocks, std::int64_t n, std::int64_t long_rows) {
    V const none[wide]{};
    for (std::int64_t b = 0; b < blocks; ++b)
      for (std::int64_t r = round_up(n, 2); r < long_rows; r += 2) backward::panel_rows(none, none, panels + b * long_rows * wide, r);
  }

  // across[o][.] . panels[.][column] for o < outputs and the panels' first `real` columns, to place(o): the group's whole sums. Places of the
  // next block of rows are fetched beside the products of this one, panel by panel a share.
  template <class Engine, class At>
  static void store_product(Engine const& engine, Pass const& a, V const* panels, typename Engine::Operand const* across, std::int64_t outputs, std::int64_t real, At const& place) {
    std::int64_t const inputs = a.long_rows(), share = ceil_div(row_block, a.blocks);
    float* const block = a.sums();
    SumStore const store{a.path, a.to.up.kind, a.streams};
    constexpr std::int64_t rows_ahead = 3;       // from the second cache to the first: 4 % of a Mixtral's backward pass
    for (std::int64_t o = 0; o < outputs; o += row_block) {
      std::int64_t const rows = outputs - o < row_block ? outputs - o : row_block;
      engine.multiply(panels, PanelShape{.outputs = a.blocks * wide, .inputs = inputs}, rows, 0, a.blocks, [&](std::int64_t r) { return across + (o + r) * inputs; },
                      [&](std::int64_t r, int height, std::int64_t panel, std::int64_t count, float const* sums, std::int64_t stride) {
                        for (int m = 0; m < height; ++m) std::memcpy(block + (r + m) * pitch + panel * wide, sums + m * stride, static_cast<std::size_t>(count * wide) * sizeof(float));
                        for (std::int64_t next = panel * share; store.fetches() && next < (panel + count) * share && next < row_block && o + row_block + next < outputs; ++next)
                          if (GradientRow const to = place(o + row_block + next); to.data)
                            for (std::int64_t j = 0; j < real; j += store.line()) fetch_later(to.data, j * to.stride * a.to.up.kind.bytes());
                      });
      for (std::int64_t r = 0; r < rows; ++r) store(block + r * pitch, real, place(o + r), r + rows_ahead < rows ? place(o + r + rows_ahead) : GradientRow{});
    }
    if (a.streams) after_streams();
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

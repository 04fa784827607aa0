// The experts backwards on the host: from the gradient of the routed sum to those of x, of the routing weights and of the experts'
// weights. Four products per expert on the engines of the forward pass: the weights' panels are turned round one at a time, and
// activations become panels where rows are summed over. Nothing of an expert's output is kept: d weight = <d out W_down, hidden>.
// Source of the order: SonicMoE (arXiv 2512.14080).
#pragma once
#include "../host/transpose.hpp"
#include "activation_columns.hpp"
#include "host.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> struct ExpertsBackward;

template <Config C>
struct ExpertsBackward<C, Host> {
  static constexpr Config config = C;
  using Forward = Experts<config, Host>;
  using Layout = host::PackedLayout<config>;
  using V = element_t<C.dtype>;
  static constexpr int E = C.experts, F = C.ffn, W = width(C);
  static constexpr bool weigh_input = C.router.place == Place::input;
  static constexpr int wide = host::panel_outputs;
  static constexpr std::int64_t padded_width = Layout::gate_up.padded_inputs(), blocks = Layout::down.padded_inputs() / wide;
  static constexpr std::int64_t columns = Layout::gate_up.panels() * wide;        // of a row of pre-activations
  static_assert(is_float(C.weights), "coterie::ExpertsBackward: quantised expert weights have no gradients (train in fp32, bf16 or fp16)");

  std::size_t workspace_bytes(Host const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens);
    return arena.used();
  }

  // x[T,W], pre[R,columns] as the forward pass kept it, dy[T,W] the gradient of the routed sum -> dx[R,W] of every routed row (the rows of a
  // token are to be summed), dweight[R] of batch.weight; gradients of the experts' weights are added to `to`.
  void operator()(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, V const* pre, Rows<V const, width(C)> dy,
                  Rows<V, width(C)> dx, float* dweight, Gradients<config> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    Arguments arguments{"ExpertsBackward", at};
    arguments.tokens<config>(x.rows);
    if (x.rows == 0) return;
    experts_arguments<config>(arguments, x, packed, batch);
    arguments.require(packed.first_expert == 0 && packed.experts == E, "the whole layer's experts are needed", packed.experts, E);
    arguments.require(dy.rows == x.rows, "dy must have as many rows as x", dy.rows, x.rows);
    arguments.scratch("scratch", scratch, workspace_bytes(on, x.rows));
    std::int64_t const routed = batch.begin[E];
    if (routed == 0) return;
    arguments.require(dx.rows >= routed, "dx must have a row for every routed row", dx.rows, routed);
    arguments.reads("batch.token", batch.token, routed), arguments.reads("batch.weight", batch.weight, routed), arguments.reads("dy", dy, dy.rows);
    arguments.reads("pre", pre, routed * columns), arguments.writes("dx", dx, routed), arguments.writes("dweight", dweight, routed);
    Isa const path = on.path(at);
    Arena arena{scratch};
    Pass pass{x, packed, batch, pre, dy, dx, dweight, to, carve(arena, on, x.rows)};
#if defined(__x86_64__)
    if constexpr (Forward::tiled)
      if (path == Isa::amx) return run(on, host::TileEngine<host::AmxTiles>{path}, pass);
    if constexpr (Forward::dotted)
      if (path == Isa::avx512_bf16) return run(on, host::DotEngine{path}, pass);
#endif
    run(on, host::VectorEngine{path}, pass);
  }

 private:
  using T = typename Layout::ExpertT;
  struct Pieces {
    float *dy_rows, *dy_columns;                 // [R,padded W]; of each expert [W][rows padded]
    float *d_pre, *d_pre_columns;                // [R,columns]; of each expert [columns][rows padded]
    V *hidden, *inputs;                          // of each expert panels over its rows: [blocks][rows padded][32], [padded W / 32][rows padded][32]
    float *dots;                                 // [R, most blocks] parts of dweight
    T* turned;                                   // of each thread: a panel of turned weights
    std::int32_t* hit;                           // [E]
    std::int64_t* first;                         // [E] padded rows before an expert's
  };
  static constexpr std::int64_t width_blocks = padded_width / wide, parts = weigh_input ? width_blocks : blocks;
  static constexpr std::int64_t turned_elements = (padded_width > columns ? padded_width : columns) * wide;
  static Pieces carve(Arena& arena, Host const& on, std::int64_t tokens) {
    std::int64_t const rows = rows_bound(C, tokens), padded = rows + (host::tile_inputs - 1) * (rows < E ? rows : E);
    Pieces p{};
    p.dy_rows = arena.take<float>(rows * padded_width), p.dy_columns = arena.take<float>(padded * W);
    p.d_pre = arena.take<float>(rows * columns), p.d_pre_columns = arena.take<float>(padded * columns);
    p.hidden = arena.take<V>(padded * blocks * wide), p.inputs = arena.take<V>(padded * padded_width);
    p.dots = arena.take<float>(rows * parts);
    p.turned = arena.take<T>(turned_elements * on.pool->size());
    p.hit = arena.take<std::int32_t>(E), p.first = arena.take<std::int64_t>(E);
    return p;
  }
  struct Pass {
    Rows<V const, width(C)> x;
    PackedView<config, Host> packed;
    Batch<config> const& batch;
    V const* pre;
    Rows<V const, width(C)> dy;
    Rows<V, width(C)> dx;
    float* dweight;
    Gradients<config> const& to;
    Pieces p;
  };
  static float row_weight(Pass const& a, std::int64_t r) { return weigh_input ? 1.f : a.batch.weight[r]; }

  template <class Engine> static void run(Host const& on, Engine const& engine, Pass const& a) {
    std::int64_t hits = 0, padded = 0;
    for (int e = 0; e < E; ++e)
      if (std::int64_t const n = a.batch.begin[e + 1] - a.batch.begin[e]; n > 0) a.p.hit[hits++] = e, a.p.first[e] = padded, padded += host::round_up(n, host::tile_inputs);
    // Each task is an expert and 32 columns: phases that read what all columns of the one before have written.
    on.pool->run(hits * width_blocks, [&](std::int64_t task) { gather<Engine>(a, a.p.hit[task / width_blocks], task % width_blocks * wide); });
    on.pool->run(hits * blocks, [&](std::int64_t task, int who) { through_down(engine, a, a.p.hit[task / blocks], task % blocks, who); });
    on.pool->run(hits * width_blocks, [&](std::int64_t task, int who) { through_up(engine, a, a.p.hit[task / width_blocks], task % width_blocks, who); });
    host::for_chunks(*on.pool, a.batch.begin[E], host::token_chunk, [&](std::int64_t first, std::int64_t last) { sum_weights(a, first, last); });
  }

  // dy of an expert's rows as rows and as columns; the gradient of its down bias.
  template <class Engine> static void gather(Pass const& a, int e, std::int64_t c0) {
    using Operand = typename Engine::Operand;
    std::int64_t const begin = a.batch.begin[e], n = a.batch.begin[e + 1] - begin, long_rows = host::round_up(n, host::tile_inputs), wide_here = W - c0 < wide ? W - c0 : wide;
    auto* const rows = reinterpret_cast<Operand*>(a.p.dy_rows) + begin * padded_width + c0;
    auto* const across = reinterpret_cast<Operand*>(a.p.dy_columns) + a.p.first[e] * W + c0 * long_rows;
    float bias[wide]{};
    for (std::int64_t r = 0; r < n; ++r) {
      V const* const from = a.dy[a.batch.token[begin + r]] + c0;
      float const weight = row_weight(a, begin + r);
      for (std::int64_t j = 0; j < wide; ++j) {
        float const v = j < wide_here ? to_float(from[j]) : 0.f;
        rows[r * padded_width + j] = from_float<Operand>(v);
        if (j < wide_here) across[j * long_rows + r] = from_float<Operand>(v), bias[j] = math::fma(weight, v, bias[j]);
      }
    }
    for (std::int64_t j = 0; j < wide_here; ++j)
      for (std::int64_t r = n; r < long_rows; ++r) across[j * long_rows + r] = Operand{};
    if constexpr (C.expert.bias)
      if (float* const to = a.to.down_bias[static_cast<std::size_t>(e)])
        for (std::int64_t j = 0; j < wide_here; ++j) to[c0 + j] += bias[j];
  }

  // Hidden columns [32 b, 32 b + 32): d hidden = dy W_down, through the activation; then d W_down = dy^T hidden.
  template <class Engine> static void through_down(Engine const& engine, Pass const& a, int e, std::int64_t b, int who) {
    using Operand = typename Engine::Operand;
    std::int64_t const begin = a.batch.begin[e], n = a.batch.begin[e + 1] - begin, long_rows = host::round_up(n, host::tile_inputs), f0 = b * wide, real = F - f0 < wide ? F - f0 : wide;
    auto const* const rows = reinterpret_cast<Operand const*>(a.p.dy_rows) + begin * padded_width;
    auto* const d_pre = reinterpret_cast<Operand*>(a.p.d_pre) + begin * columns;
    auto* const across = reinterpret_cast<Operand*>(a.p.d_pre_columns) + a.p.first[e] * columns;
    V* const panel = a.p.hidden + a.p.first[e] * blocks * wide + b * long_rows * wide;
    T* const turned = a.p.turned + who * turned_elements;
    host::transpose_panel(host::Reader<config>{a.packed}.down(e), Layout::down, b, turned);
    float (*activate)(backward::Columns const&) = &backward::activate_portable<C.expert, V>;
#if defined(__x86_64__)
    if (engine.path != Isa::portable) activate = &backward::activate_avx2<C.expert, V>;
#endif
    float bias[2][wide]{};
    engine.multiply(static_cast<T const*>(turned), host::PanelShape{.outputs = wide, .inputs = padded_width}, n, 0, 1, [&](std::int64_t r) { return rows + r * padded_width; },
                    [&](std::int64_t r0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m) {
                        std::int64_t const r = r0 + m;
                        float gate[wide], up[wide], hidden[wide], d_gate[wide], d_up[wide];
                        for (int j = 0; j < wide; ++j) {
                          V const* const from = a.pre + (begin + r) * columns;
                          gate[j] = Layout::has_gate && j < real ? to_float(from[column_of(f0 + j)]) : 0.f;
                          up[j] = j < real ? to_float(from[column_of(f0 + j) + up_behind]) : 0.f;
                        }
                        float const weight = row_weight(a, begin + r);
                        float const dot = activate({.d = sums + m * stride, .gate = gate, .up = up, .weight = weight, .hidden = hidden, .d_gate = d_gate, .d_up = d_up});
                        if constexpr (!weigh_input) a.p.dots[(begin + r) * parts + b] = dot;
                        for (int j = 0; j < wide; ++j) {
                          bool const inside = j < real;
                          panel[host::panel_offset<V>(j, r)] = inside ? from_float<V>(weight * hidden[j]) : V{};
                          std::int64_t const c = column_of(f0 + j);
                          if (c + up_behind >= columns) continue;
                          auto const put = [&](std::int64_t column, float v) {
                            d_pre[r * columns + column] = across[column * long_rows + r] = from_float<Operand>(inside ? v : 0.f);
                          };
                          if constexpr (Layout::has_gate) put(c, d_gate[j]);
                          put(c + up_behind, d_up[j]);
                          if (inside) bias[0][j] += d_gate[j], bias[1][j] += d_up[j];
                        }
                      }
                    });
    for (std::int64_t j = 0; j < wide; ++j)
      for (std::int64_t r = n; r < long_rows; ++r) {
        panel[host::panel_offset<V>(static_cast<int>(j), r)] = V{};
        std::int64_t const c = column_of(f0 + j);
        if (c + up_behind < columns) across[c * long_rows + r] = across[(c + up_behind) * long_rows + r] = Operand{};
      }
    if constexpr (C.expert.bias) {
      float *const gate = Layout::has_gate ? a.to.gate_bias[static_cast<std::size_t>(e)] : nullptr, *const up = a.to.up_bias[static_cast<std::size_t>(e)];
      for (std::int64_t j = 0; j < real; ++j) {
        if (gate) gate[f0 + j] += bias[0][j];
        if (up) up[f0 + j] += bias[1][j];
      }
    }
    auto const& to = a.to.down[static_cast<std::size_t>(e)];
    if (to.data) add_product(engine, panel, reinterpret_cast<Operand const*>(a.p.dy_columns) + a.p.first[e] * W, W, long_rows, real, [&](std::int64_t o, int j) -> float* {
      return to.data + o * to.out_stride + (f0 + j) * to.in_stride;
    });
  }

  // Columns [32 b, 32 b + 32) of x: dx = d pre W_up; then d W_up = d pre^T x.
  template <class Engine> static void through_up(Engine const& engine, Pass const& a, int e, std::int64_t b, int who) {
    using Operand = typename Engine::Operand;
    std::int64_t const begin = a.batch.begin[e], n = a.batch.begin[e + 1] - begin, long_rows = host::round_up(n, host::tile_inputs), c0 = b * wide, real = W - c0 < wide ? W - c0 : wide;
    auto const* const rows = reinterpret_cast<Operand const*>(a.p.d_pre) + begin * columns;
    T* const turned = a.p.turned + who * turned_elements;
    host::transpose_panel(host::Reader<config>{a.packed}.gate_up(e), Layout::gate_up, b, turned);
    engine.multiply(static_cast<T const*>(turned), host::PanelShape{.outputs = wide, .inputs = columns}, n, 0, 1, [&](std::int64_t r) { return rows + r * columns; },
                    [&](std::int64_t r0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m) {
                        std::int64_t const r = begin + r0 + m;
                        float const* const d = sums + m * stride;
                        float const weight = weigh_input ? a.batch.weight[r] : 1.f;
                        if constexpr (weigh_input) {
                          float dot = 0;
                          for (std::int64_t j = 0; j < real; ++j) dot = math::fma(d[j], to_float(a.x[a.batch.token[r]][c0 + j]), dot);
                          a.p.dots[r * parts + b] = dot;
                        }
                        for (std::int64_t j = 0; j < real; ++j) a.dx[r][c0 + j] = from_float<V>(weight * d[j]);
                      }
                    });
    auto const &gate = a.to.gate[static_cast<std::size_t>(e)], &up = a.to.up[static_cast<std::size_t>(e)];
    if (!up.data && !(Layout::has_gate && gate.data)) return;
    V* const panel = a.p.inputs + a.p.first[e] * padded_width + b * long_rows * wide;
    for (std::int64_t r = 0; r < long_rows; ++r)
      for (int j = 0; j < wide; ++j) {
        V v{};
        if (r < n && j < real) {
          v = a.x[a.batch.token[begin + r]][c0 + j];
          if constexpr (weigh_input) v = from_float<V>(to_float(v) * a.batch.weight[begin + r]);
        }
        panel[host::panel_offset<V>(j, r)] = v;
      }
    add_product(engine, panel, reinterpret_cast<Operand const*>(a.p.d_pre_columns) + a.p.first[e] * columns, columns, long_rows, real, [&](std::int64_t c, int j) -> float* {
      bool const is_gate = Layout::has_gate && c % wide < host::tile_outputs;
      std::int64_t const f = Layout::has_gate ? c / wide * host::tile_outputs + c % host::tile_outputs : c;
      auto const& m = is_gate ? gate : up;
      return f < F && m.data ? m.data + f * m.out_stride + (c0 + j) * m.in_stride : nullptr;
    });
  }
  // *at(row, column) += across[row][.] . panel[.][column], for the panel's first `real` columns; null: nowhere.
  template <class Engine, class At>
  static void add_product(Engine const& engine, V const* panel, typename Engine::Operand const* across, std::int64_t rows, std::int64_t inputs, std::int64_t real, At const& at) {
    engine.multiply(panel, host::PanelShape{.outputs = wide, .inputs = inputs}, rows, 0, 1, [&](std::int64_t r) { return across + r * inputs; },
                    [&](std::int64_t r0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                      for (int m = 0; m < height; ++m)
                        for (int j = 0; j < real; ++j)
                          if (float* const to = at(r0 + m, j)) *to += sums[m * stride + j];
                    });
  }
  static void sum_weights(Pass const& a, std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r) {
      float sum = 0;
      for (std::int64_t b = 0; b < parts; ++b) sum += a.p.dots[r * parts + b];
      a.dweight[r] = sum;
    }
    if constexpr (C.expert.bias && !weigh_input) {                       // the bias is a part of what is weighed
      host::Reader<config> const weights{a.packed};
      int e = 0;
      for (std::int64_t r = first; r < last; ++r) {
        while (a.batch.begin[e + 1] <= r) ++e;
        float const* const bias = weights.floats(weights.layout.down_bias) + std::int64_t{e} * W;
        float sum = 0;
        for (int o = 0; o < W; ++o) sum = math::fma(to_float(a.dy[a.batch.token[r]][o]), bias[o], sum);
        a.dweight[r] += sum;
      }
    }
  }
  // Where hidden column f's gate (or up, ungated) stands in a row of pre-activations, and how far behind it up does.
  static constexpr std::int64_t up_behind = Layout::has_gate ? host::tile_outputs : 0;
  static constexpr std::int64_t column_of(std::int64_t f) { return Layout::has_gate ? f / host::tile_outputs * wide + f % host::tile_outputs : f; }
};

}}

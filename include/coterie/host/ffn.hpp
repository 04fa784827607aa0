// Gate, up, activation and down for ragged groups of rows: what routed and shared experts have in common.
#pragma once
#include "../experts/activation.hpp"
#include "dot_engine.hpp"
#include "int8_engine.hpp"
#include "pool.hpp"
#include "read_ahead.hpp"
#include "rows.hpp"
#include "tile_engine.hpp"

namespace coterie { inline namespace v0 { namespace host {

// One row's sums of `panels` panels -> hidden values rounded to V; columns at and beyond `valid` become zero.
template <ExpertConfig X, class V>
[[gnu::always_inline]] inline void activate_row(float const* sums, std::int64_t panels, float const* gate_bias, float const* up_bias, std::int64_t valid, float* h) {
  constexpr int columns = gated(X.act) ? tile_outputs : panel_outputs;
  for (std::int64_t q = 0; q < panels; ++q, sums += panel_outputs, h += columns) {
    float const* const up = gated(X.act) ? sums + tile_outputs : sums;
    float g[columns], u[columns];
    for (int j = 0; j < columns; ++j) g[j] = sums[j], u[j] = up[j];
    std::int64_t const left = valid - q * columns, n = left < columns ? left : columns;
    if (up_bias)
      for (std::int64_t j = 0; j < n; ++j) {
        if constexpr (gated(X.act)) g[j] += gate_bias[q * columns + j];
        u[j] += up_bias[q * columns + j];
      }
    for (int j = 0; j < columns; ++j) h[j] = rounded<V>(activate<X>(g[j], u[j]));
    for (std::int64_t j = n > 0 ? n : 0; j < columns; ++j) h[j] = 0;
  }
}
template <ExpertConfig X, class V>
void activate_portable(float const* sums, std::int64_t panels, float const* gate_bias, float const* up_bias, std::int64_t valid, float* h) {
  activate_row<X, V>(sums, panels, gate_bias, up_bias, valid, h);
}
#if defined(__x86_64__)
template <ExpertConfig X, class V>
[[gnu::target("avx2,fma")]] void activate_avx2(float const* sums, std::int64_t panels, float const* gate_bias, float const* up_bias, std::int64_t valid, float* h) {
  activate_row<X, V>(sums, panels, gate_bias, up_bias, valid, h);
}
#endif
using Activate = void(float const* sums, std::int64_t panels, float const* gate_bias, float const* up_bias, std::int64_t valid, float* h);
template <ExpertConfig X, class V> Activate* activation_for(Isa path) {
  Activate* run = &activate_portable<X, V>;
#if defined(__x86_64__)
  if (path != Isa::portable) run = &activate_avx2<X, V>;
#endif
  (void)path;
  return run;
}

// One row's sums of `panels` panels, with biases, as they are kept for a backward pass: [panels][32], gate and up of 16 columns in turn.
template <class V> void keep_sums(float const* sums, std::int64_t panels, bool paired, float const* gate_bias, float const* up_bias, std::int64_t valid, V* to) {
  std::int64_t const columns = paired ? tile_outputs : panel_outputs;
  for (std::int64_t q = 0; q < panels; ++q)
    for (std::int64_t j = 0; j < panel_outputs; ++j) {
      std::int64_t const column = q * columns + j % columns;
      float const* const bias = paired && j < tile_outputs ? gate_bias : up_bias;
      to[q * panel_outputs + j] = from_float<V>(bias && column < valid ? sums[q * panel_outputs + j] + bias[column] : sums[q * panel_outputs + j]);
    }
}

// The path that an ffn takes: tiles and pairs of products multiply bf16 by bf16 and by codes.
constexpr Isa ffn_path(Isa path, DType dtype, DType weights) {
  bool const pairs = dtype == DType::bf16 && (weights == DType::bf16 || !is_float(weights));
  return path > Isa::avx512 && !pairs ? Isa::avx512 : path;
}

// How an ffn of `rows` rows would run, in words; path: of ffn_path.
inline std::string explain_ffn(Isa path, DType weights, std::int64_t rows, PanelShape up, PanelShape down) {
  bool const dots = path == Isa::avx512_bf16, tiles = path == Isa::amx;
  std::int64_t const block = tiles ? 32 : !dots ? row_block : is_float(weights) ? dot_rows : dot_stream_rows;
  return std::string(name(path)) + " on " + name(weights) + " panels, fp32 sums; " + (up.paired ? "gate, up" : "up") +
         " and activation in one pass over " + std::to_string(up.panels()) + " panels, then down over " + std::to_string(down.panels()) + "; " +
         (tiles ? "tiles" : "blocks") + " of up to " + std::to_string(block) + " rows x " + (tiles || dots ? "32" : "128") + " columns, up to " + std::to_string(rows) + " rows in all";
}

// One expert's rows [begin, end) and weights.
template <class T> struct FfnGroup {
  std::int64_t begin, end;
  T const *gate_up, *down;
  float const *gate_bias, *up_bias, *down_bias;            // null: none
};
// The experts that have rows: the i-th is hit[i].
template <class T> struct FfnGroups {
  std::int64_t count;
  std::int32_t const *hit, *begin;
  int first;                                               // of the packed experts
  std::byte const* weights;                                // of expert `first`
  std::size_t stride, down;                                // bytes from expert to expert, and from gate_up to down
  float const *gate_bias, *up_bias, *down_bias;            // of expert `first`, [ffn], [ffn], [width]; null: none
  std::int64_t ffn, width;
  ReadAhead* ahead = nullptr;                              // of weights that are a mapped file
  FfnGroup<T> operator[](std::int64_t i) const {
    std::int32_t const e = hit[i];
    std::int64_t const n = e - first;
    std::byte const* const at = weights + static_cast<std::size_t>(n) * stride;
    auto const bias = [n](float const* all, std::int64_t size) { return all ? all + n * size : nullptr; };
    return {begin[e], begin[e + 1], reinterpret_cast<T const*>(at), reinterpret_cast<T const*>(at + down), bias(gate_bias, ffn), bias(up_bias, ffn), bias(down_bias, width)};
  }
};
// Where activations come from and results go.
template <class Operand, class V> struct FfnRows {
  Operand const* a;                                        // padded rows
  std::int32_t const* map;                                 // routed row -> row of a; null: the same
  Operand* h;                                              // [R][padded ffn] scratch; or [R] records of an engine that encodes
  V* out;
  std::int64_t out_stride;
  float const* gamma = nullptr;                            // [R][.] weights of blocks of hidden columns (router-weighed shared experts)
  std::int64_t gamma_stride = 0, gamma_columns = 1;
  V* hidden = nullptr;                                     // [R][padded ffn], for an engine that encodes
  V* pre = nullptr;                                        // [R][panels of up x 32], to be kept: sums with biases, before the activation
};
// Engines that read rows in a form of their own (Int8Engine) say how far apart those are, and encode the rows of V that phase one leaves.
template <class Engine, class T> inline constexpr bool encodes = requires { Engine::template row_stride<T>(PanelShape{}); };
template <class Engine, class T> constexpr std::int64_t row_stride(PanelShape shape) {
  if constexpr (encodes<Engine, T>) return Engine::template row_stride<T>(shape);
  else return shape.padded_inputs();
}

inline constexpr std::int64_t encode_chunk = 2;            // rows per task: one token's eight experts occupy four threads

// Two phases; inside one, tasks are (group, panels) from one counter. An engine that needs contiguous rows gets no map.
template <class V, class T, class Engine>
void ffn(Pool& pool, Engine const& engine, Activate* activate, bool paired, PanelShape up, PanelShape down, FfnGroups<T> const& groups,
         FfnRows<typename Engine::Operand, V> const& rows) {
  using Hidden = std::conditional_t<encodes<Engine, T>, V, typename Engine::Operand>;
  Hidden* hidden;
  if constexpr (encodes<Engine, T>) hidden = rows.hidden;
  else hidden = rows.h;
  std::int64_t const width = down.padded_inputs(), k = row_stride<Engine, T>(up), k_down = row_stride<Engine, T>(down), up_tasks = ceil_div(up.panels(), ffn_panels), down_tasks = ceil_div(down.panels(), ffn_panels);
  std::int64_t const columns = paired ? tile_outputs : panel_outputs;
  pool.run(groups.count * up_tasks, [&](std::int64_t task) {
    if (groups.ahead) groups.ahead->reads_gate_up(task, groups.count * up_tasks);
    auto const g = groups[task / up_tasks];
    std::int64_t const p0 = task % up_tasks * ffn_panels, last = p0 + ffn_panels < up.panels() ? p0 + ffn_panels : up.panels();
    engine.multiply(g.gate_up, up, g.end - g.begin, p0, last, [&](std::int64_t r) { return rows.a + (rows.map ? rows.map[g.begin + r] : g.begin + r) * k; },
                    [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                      std::int64_t const c0 = p * columns, wide = n * columns;
                      float values[column_block * panel_outputs];
                      for (int m = 0; m < height; ++m) {
                        std::int64_t const row = g.begin + r + m;
                        if (rows.pre) keep_sums(sums + m * stride, n, paired, g.gate_bias ? g.gate_bias + c0 : nullptr, g.up_bias ? g.up_bias + c0 : nullptr, up.outputs - c0, rows.pre + (row * up.panels() + p) * panel_outputs);
                        activate(sums + m * stride, n, g.gate_bias ? g.gate_bias + c0 : nullptr, g.up_bias ? g.up_bias + c0 : nullptr, up.outputs - c0, values);
                        if (rows.gamma)
                          for (std::int64_t j = 0; j < wide && c0 + j < up.outputs; ++j)
                            values[j] = rounded<V>(values[j] * rows.gamma[row * rows.gamma_stride + (c0 + j) / rows.gamma_columns]);
                        Hidden* const to = hidden + row * width + c0;
                        for (std::int64_t j = 0; j < wide; ++j) to[j] = from_float<Hidden>(values[j]);
                      }
                    });
    // Gate panels hold 16 columns: an odd number of them ends in the middle of 32 padded inputs; the last task zeroes the rest.
    if (last == up.panels() && up.panels() * columns < width)
      for (std::int64_t r = g.begin; r < g.end; ++r)
        for (std::int64_t c = up.panels() * columns; c < width; ++c) hidden[r * width + c] = Hidden{};
  }, up_tasks);
  if constexpr (encodes<Engine, T>) {
    std::int64_t const begin = groups.count ? groups[0].begin : 0, end = groups.count ? groups[groups.count - 1].end : 0;
    for_chunks(pool, end - begin, encode_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t r = begin + first; r < begin + last; ++r) engine.template encode<T>(hidden + r * width, width, down, rows.h + r * k_down);
    });
  }
  pool.run(groups.count * down_tasks, [&](std::int64_t task) {
    if (groups.ahead) groups.ahead->reads_down(task, groups.count * down_tasks);
    auto const g = groups[task / down_tasks];
    std::int64_t const p0 = task % down_tasks * ffn_panels, last = p0 + ffn_panels < down.panels() ? p0 + ffn_panels : down.panels();
    engine.multiply(g.down, down, g.end - g.begin, p0, last, [&](std::int64_t r) { return rows.h + (g.begin + r) * k_down; },
                    [&](std::int64_t r, int height, std::int64_t p, std::int64_t n, float const* sums, std::int64_t stride) {
                      std::int64_t const c0 = p * panel_outputs, real = down.outputs - c0 < n * panel_outputs ? down.outputs - c0 : n * panel_outputs;
                      for (int m = 0; m < height; ++m) {
                        float const* const values = sums + m * stride;
                        V* const to = rows.out + (g.begin + r + m) * rows.out_stride + c0;
                        if (g.down_bias)
                          for (std::int64_t j = 0; j < real; ++j) to[j] = from_float<V>(values[j] + g.down_bias[c0 + j]);
                        else
                          for (std::int64_t j = 0; j < real; ++j) to[j] = from_float<V>(values[j]);
                      }
                    });
  }, down_tasks);
}

}}}

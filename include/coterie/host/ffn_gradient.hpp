// What the backward pass of an ffn is given and gives, its sizes and its scratch.
#pragma once
#include "../weights.hpp"
#include "../workspace.hpp"
#include "ffn.hpp"
#include "store_sums.hpp"

namespace coterie { inline namespace v0 { namespace host {

// Kind: V activations, T packed weights, expert: the activation.
template <class V_, class T_, ExpertConfig X> struct FfnKind {
  using V = V_;
  using T = T_;
  static constexpr ExpertConfig expert = X;
};

// A task of the backward pass computes up to 16 panels, whose gradients are 2 KB of a row of the checkpoint: of what the forward pass reaches
// on two of Mixtral's experts with 128 rows each, 68 % with 4 panels, 73 % with 8, 77 % with 16 and with 32 (a thread of a Zen 5). Weights are
// turned round by four panels of 1024 inputs, 256 KiB of bf16, which stay in the second cache beside as much of 128 rows. Sums are kept of 256 rows.
inline constexpr std::int64_t backward_panels = 16, turned_panels = 4, turned_depth = 1024, backward_rows = 256;

// Biases are added to.
struct FfnGradient {
  GradientMatrix gate{}, up{}, down{};
  float *gate_bias = nullptr, *up_bias = nullptr, *down_bias = nullptr;
};

// What the rows of all groups are given and get.
template <class V> struct FfnBackwardRows {
  V const* x;
  std::int64_t x_stride;
  V const* dy;                                   // of the sum that a row's output goes into
  std::int64_t dy_stride;
  std::int32_t const* map;                       // row -> row of x and of dy; null: the same
  float const *in_weight, *out_weight;           // [R] that a row's x, and its output, are multiplied by; null: 1
  V const* pre;                                  // [R, panels of up x 32], as FfnRows keeps it
  V* dx;                                         // [R,width]
  std::int64_t dx_stride;
  float *din_weight, *dout_weight;               // [R]; null: not wanted
  float const* gamma = nullptr;                  // [R][.] weights of blocks of hidden columns (router-weighed shared experts)
  std::int64_t gamma_stride = 0, gamma_columns = 1;
  float* dgamma = nullptr;                       // [R][.], with gamma's stride
};

// An ffn's two matrices.
struct FfnShapes {
  PanelShape up, down;
  int gamma = 0;                                 // flag: hidden columns are weighed
  static constexpr std::int64_t wide = panel_outputs;
  constexpr std::int64_t width() const { return down.outputs; }
  constexpr std::int64_t ffn() const { return up.outputs; }
  constexpr std::int64_t padded_width() const { return up.padded_inputs(); }
  constexpr std::int64_t blocks() const { return down.padded_inputs() / wide; }
  constexpr std::int64_t width_blocks() const { return padded_width() / wide; }
  constexpr std::int64_t columns() const { return up.panels() * wide; }            // of a row of pre-activations
  // Of a thread's turned weights: turned_panels pieces of turned_depth inputs, or a whole panel (of tiles, which want all of a row).
  constexpr std::int64_t turned() const {
    std::int64_t const most = padded_width() > columns() ? padded_width() : columns(), pieces = turned_panels * (most < turned_depth ? most : turned_depth);
    return (most > pieces ? most : pieces) * wide;
  }
};

template <class V, class T> struct FfnBackwardPieces {
  float *dy_rows, *dy_columns;                   // [R,padded width]; of each group [width][rows padded]
  float *d_pre, *d_pre_columns;                  // [R,columns]; of each group [columns][rows padded]
  V *hidden, *inputs;                            // of each group panels over its rows: [blocks][rows padded][32], [padded width / 32][rows padded][32]
  float *in_dots, *out_dots, *products;          // [R, width blocks], [R, blocks], [R, blocks x 32]: parts of the weights' gradients
  T* turned;                                     // of each thread: turned weights
  float* sums;                                   // of each thread: [backward_rows][backward_panels x 32]
  std::int64_t* first;                           // [groups] padded rows before a group's

  // For up to `rows` rows in up to `groups` groups.
  static FfnBackwardPieces carve(Arena& arena, Pool const& pool, FfnShapes const& s, std::int64_t rows, std::int64_t groups) {
    std::int64_t const padded = rows + (tile_inputs - 1) * (rows < groups ? rows : groups);
    FfnBackwardPieces p{};
    p.dy_rows = arena.take<float>(rows * s.padded_width()), p.dy_columns = arena.take<float>(padded * s.width());
    p.d_pre = arena.take<float>(rows * s.columns()), p.d_pre_columns = arena.take<float>(padded * s.columns());
    p.hidden = arena.take<V>(padded * s.blocks() * s.wide), p.inputs = arena.take<V>(padded * s.padded_width());
    p.in_dots = arena.take<float>(rows * s.width_blocks()), p.out_dots = arena.take<float>(rows * s.blocks());
    if (s.gamma) p.products = arena.take<float>(rows * s.blocks() * s.wide);
    p.turned = arena.take<T>(s.turned() * pool.size()), p.sums = arena.take<float>(backward_rows * backward_panels * s.wide * pool.size());
    p.first = arena.take<std::int64_t>(groups);
    return p;
  }
};

}}}

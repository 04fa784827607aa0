// A dense product backwards: y = x W^T gives dx = dy W and dW = dy^T x, in fp32.
#pragma once
#include "ffn_gradient.hpp"
#include "transpose.hpp"

namespace coterie { inline namespace v0 { namespace host {

template <class T> struct DenseBackward {
  static constexpr std::int64_t wide = panel_outputs;
  struct Pieces {
    float *rows, *across;                        // dy as [T,columns], and [outputs][T padded]
    float* panel;                                // x as panels: [padded inputs / 32][T padded][32]
    T* turned;                                   // of each thread: a panel of turned weights
  };
  static constexpr std::int64_t columns(PanelShape shape) { return shape.panels() * wide; }

  static Pieces carve(Arena& arena, Pool const& pool, PanelShape shape, std::int64_t tokens) {
    std::int64_t const long_tokens = round_up(tokens, tile_inputs);
    Pieces p{};
    p.rows = arena.take<float>(tokens * columns(shape)), p.across = arena.take<float>(shape.outputs * long_tokens);
    p.panel = arena.take<float>(long_tokens * shape.padded_inputs());
    p.turned = arena.take<T>(columns(shape) * wide * pool.size());
    return p;
  }
  // Before run(): value(t, i) is input i of token t; needed where dW is wanted.
  template <class Value> static void set_inputs(Pool& pool, PanelShape shape, std::int64_t n, Pieces const& p, Value const& value) {
    std::int64_t const long_tokens = round_up(n, tile_inputs);
    for_chunks(pool, long_tokens, token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t)
        for (std::int64_t i = 0; i < shape.padded_inputs(); ++i)
          p.panel[i / wide * long_tokens * wide + panel_offset<float>(static_cast<int>(i % wide), t)] = t < n && i < shape.inputs ? value(t, i) : 0.f;
    });
  }
  // dy[n,outputs] -> dx[n,inputs], overwritten or, `add`, added to; null: not wanted. dW goes to `to`.
  static void run(Pool& pool, VectorEngine const& engine, T const* packed, PanelShape shape, float const* dy, std::int64_t n, Pieces const& p, GradientMatrix to, float* dx, bool add) {
    std::int64_t const long_tokens = round_up(n, tile_inputs), pitch = columns(shape);
    for_chunks(pool, n, token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t)
        for (std::int64_t o = 0; o < pitch; ++o) p.rows[t * pitch + o] = o < shape.outputs ? dy[t * shape.outputs + o] : 0.f;
    });
    pool.run(to.data ? shape.outputs : 0, [&](std::int64_t o) {
      for (std::int64_t t = 0; t < long_tokens; ++t) p.across[o * long_tokens + t] = t < n ? dy[t * shape.outputs + o] : 0.f;
    });
    pool.run(shape.padded_inputs() / wide, [&](std::int64_t b, int who) {
      std::int64_t const i0 = b * wide, real = shape.inputs - i0 < wide ? shape.inputs - i0 : wide;
      if (dx) {
        T* const turned = p.turned + who * pitch * wide;
        transpose_panel(engine.path, packed, shape, b, turned);
        engine.multiply(static_cast<T const*>(turned), PanelShape{.outputs = wide, .inputs = pitch}, n, 0, 1, [&](std::int64_t t) { return p.rows + t * pitch; },
                        [&](std::int64_t t0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                          for (int m = 0; m < height; ++m) {
                            float* const at = dx + (t0 + m) * shape.inputs + i0;
                            for (std::int64_t j = 0; j < real; ++j) at[j] = add ? at[j] + sums[m * stride + j] : sums[m * stride + j];
                          }
                        });
      }
      SumStore const store{engine.path, to.kind, false};
      if (to.data)
        engine.multiply(static_cast<float const*>(p.panel + b * long_tokens * wide), PanelShape{.outputs = wide, .inputs = long_tokens}, shape.outputs, 0, 1, [&](std::int64_t o) { return p.across + o * long_tokens; },
                        [&](std::int64_t o0, int height, std::int64_t, std::int64_t, float const* sums, std::int64_t stride) {
                          for (int m = 0; m < height; ++m) store(sums + m * stride, real, row_of(to, o0 + m, i0));
                        });
    });
  }
};

}}}

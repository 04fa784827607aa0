// Grouped products: y[r] = w[group of r] a[r], with whatever is done to a sum before it is stored. Product says what is
// multiplied; a kernel of any path computes it. This file has the plain kernel: every type, any size, fp32 multiply-adds.
#pragma once
#include "backend.cuh"
#include "groups.cuh"
#include "packed.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Epilogue: where sums go. `paired` sums come as (gate, up) of one output column. columns: how many are stored (of the
// outputs, and zeros behind them up to the pitch of what reads them next).
//   using To; int columns; float value(group, row, column, sum) or value(group, row, column, gate, up); To* at(row, column);
//   if it has that, float2 two_values(group, row, even column, gates, ups or sums) where two are neighbours;
//   bool even(): an even column of any row is aligned to two values
template <class A_, class B_, class Epilogue_> struct Product {
  using A = A_;
  using B = B_;
  using Epilogue = Epilogue_;
  A const* a;
  std::int64_t a_stride;
  std::int32_t const* map;                       // row of the product -> row of a; null: the same
  B const* b;                                    // of group g at b + g * b_group, packed as RowShape says
  std::int64_t b_group;
  std::int64_t b_rows, b_pitch, inputs;
  Groups groups;
  Epilogue epilogue;
};

// Sums to rows of To, after adding a bias and rounding to Rounded.
template <class To_, class Rounded = To_> struct StoreRows {
  using To = To_;
  static constexpr int paired = 0;
  To* to;
  std::int64_t stride;
  int columns;
  float const* bias = nullptr;                   // [groups][columns]; null: none
  COTERIE_DEVICE float value(int group, std::int64_t, int column, float sum) const {
    if (column >= columns) return 0;             // asked for beside a column that is stored
    return rounded<Rounded>(bias ? sum + bias[std::int64_t{group} * columns + column] : sum);
  }
  COTERIE_DEVICE To* at(std::int64_t row, int column) const { return to + row * stride + column; }
  COTERIE_DEVICE bool even() const { return (reinterpret_cast<std::uintptr_t>(to) / sizeof(To) | static_cast<std::uintptr_t>(stride)) % 2 == 0; }
};

// How many tiles of `width` packed rows stand side by side: what is stored may reach further than what is multiplied.
template <class P> COTERIE_HD int column_tiles(P const& p, int width) {
  std::int64_t const stored = P::Epilogue::paired ? 2 * round_up(p.epilogue.columns, interleave) : p.epilogue.columns;
  return static_cast<int>(ceil_div(stored > p.b_rows ? stored : p.b_rows, width));
}

// Two neighbouring values of a row: one store where the row allows it.
template <class To> COTERIE_DEVICE void store_two(To* to, float first, float second, bool together) {
  if (!together) {
    to[0] = from_float<To>(first), to[1] = from_float<To>(second);
  } else if constexpr (sizeof(To) == 2) {
    ptx::store4(to, ptx::pack2<To>(first, second));
  } else {
    ptx::store8(to, make_uint2(__float_as_uint(first), __float_as_uint(second)));
  }
}
// Columns c and c + 1 of a row, as many of them as are stored.
template <class Epilogue> COTERIE_DEVICE void store_columns(Epilogue const& epilogue, std::int64_t row, int c, float first, float second) {
  using To = typename Epilogue::To;
  if (c + 1 < epilogue.columns) store_two(epilogue.at(row, c), first, second, epilogue.even());
  else if (c < epilogue.columns) *epilogue.at(row, c) = from_float<To>(first);
}

// Sums of columns c (even) and c + 1, of pairs or (gate unused) not, to where they are stored.
template <class Epilogue> COTERIE_DEVICE void store_two_sums(Epilogue const& e, int group, std::int64_t row, int c, float2 gate, float2 sum) {
  if (c >= e.columns) return;
  float2 v;
  if constexpr (requires { e.two_values(group, row, c, gate, sum); }) v = e.two_values(group, row, c, gate, sum);
  else if constexpr (Epilogue::paired) v = {e.value(group, row, c, gate.x, sum.x), e.value(group, row, c + 1, gate.y, sum.y)};
  else v = {e.value(group, row, c, sum.x), e.value(group, row, c + 1, sum.y)};
  store_columns(e, row, c, v.x, v.y);
}

// Tiles of 64 rows x 64 rows of b, 256 threads with 4 x 4 sums each. A warp loads 16 inputs of two rows at a time, which then
// stand in different banks, and stores 16 neighbouring columns of two rows.
struct PlainTile {
  static constexpr int rows = 64, columns = 64, inputs = 16, threads = 256;
  float a[inputs][rows + 2], b[inputs][columns + 2];
};

template <class P> __global__ void __launch_bounds__(PlainTile::threads, 2) plain_product_kernel(P const p) {
  PlainTile& s = ptx::dynamic_shared<PlainTile>();
  constexpr int columns = PlainTile::columns, depth = PlainTile::inputs;
  constexpr bool paired = P::Epilogue::paired;
  int const t = static_cast<int>(threadIdx.x), x = t % 16, y = t / 16;
  COTERIE_SYNC("plain_product: the kernel ahead", ptx::grid_dependency_wait());
  ptx::grid_dependency_launch();
  Tile const tile = TileWalk{p.groups, PlainTile::rows, column_tiles(p, columns)}(blockIdx.x);
  if (tile.group < 0) return;
  std::int64_t const column0 = std::int64_t{tile.column} * columns;
  // Input x of rows y, y + 16, ...
  typename P::A const* from_a[4];
  typename P::B const* from_b[4];
  bool has_a[4], has_b[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    std::int64_t const row = tile.first + y + i * 16, b_row = column0 + y + i * 16;
    has_a[i] = row < tile.end, has_b[i] = b_row < p.b_rows;
    from_a[i] = p.a + (has_a[i] ? p.map ? p.map[row] : row : 0) * p.a_stride;
    from_b[i] = p.b + tile.group * p.b_group + (has_b[i] ? b_row : 0) * p.b_pitch;
  }
  // The packed row behind a thread's sum n: pairs stand 8 rows apart.
  auto const place = [x](int n) { return paired ? x / 8 * 16 + x % 8 + n % 2 * 8 + n / 2 * 32 : x + n * 16; };
  float sum[4][4] = {};
  for (std::int64_t k = 0; k < p.inputs; k += depth) {
    bool const inside = k + x < p.inputs;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      s.a[x][y + i * 16] = has_a[i] && inside ? to_float(from_a[i][k + x]) : 0.f;
      s.b[x][y + i * 16] = has_b[i] && inside ? to_float(from_b[i][k + x]) : 0.f;
    }
    COTERIE_SYNC("plain_product: tile is loaded", __syncthreads());
#pragma unroll
    for (int i = 0; i < depth; ++i)
#pragma unroll
      for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int n = 0; n < 4; ++n) sum[m][n] = fmaf(s.a[i][y * 4 + m], s.b[i][place(n)], sum[m][n]);
    COTERIE_SYNC("plain_product: tile is read", __syncthreads());
  }
#pragma unroll
  for (int m = 0; m < 4; ++m) {
    std::int64_t const r = tile.first + y * 4 + m;
    if (r >= tile.end) continue;
#pragma unroll
    for (int n = 0; n < 4; n += paired ? 2 : 1) {
      std::int64_t const at = column0 + place(n), column = paired ? at / 16 * 8 + at % 8 : at;
      if (column >= p.epilogue.columns) continue;
      float v;
      if constexpr (paired) v = p.epilogue.value(tile.group, r, static_cast<int>(column), sum[m][n], sum[m][n + 1]);
      else v = p.epilogue.value(tile.group, r, static_cast<int>(column), sum[m][n]);
      *p.epilogue.at(r, static_cast<int>(column)) = from_float<typename P::Epilogue::To>(v);
    }
  }
}

inline unsigned grid_of(std::int64_t blocks, char const* what, Where at) {
  constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
  require(blocks <= most, what, blocks, most, at);
  return static_cast<unsigned>(blocks);
}
// A block for each tile there may be.
template <class P> dim3 tile_grid(P const& p, int rows, int columns, Where at) { return dim3(grid_of(p.groups.tiles(rows) * column_tiles(p, columns), "Cuda: too many tiles", at)); }

template <class P> void plain_product(Cuda const& on, P const& p, Where at) {
  launch(plain_product_kernel<P>, {.grid = tile_grid(p, PlainTile::rows, PlainTile::columns, at), .block = dim3(PlainTile::threads), .shared = sizeof(PlainTile), .programmatic = on.device.programmatic},
         on.stream, at, p);
}

}}}}

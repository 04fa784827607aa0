// A tile machine in software: what AMX does, by its documentation, on any processor. Faults are reported, not absorbed.
#pragma once
#include <coterie/host/int8_engine.hpp>
#include <cstring>

namespace test {

struct SoftwareTiles {
  struct Register { std::uint8_t bytes[16][64]; };
  struct State {
    Register tile[8]{};
    coterie::host::TileShapes shapes{};
    bool configured = false;
    long faults = 0, products = 0;
  };
  static State& state() {
    thread_local State s;
    return s;
  }
  static void configure(coterie::host::TileShapes const& shapes) {
    State& s = state();
    s.shapes = shapes;
    s.configured = true;
    s.faults += shapes.palette != 1 || shapes.start_row != 0;
    for (int t = 0; t < 8; ++t) s.faults += shapes.rows[t] == 0 || shapes.rows[t] > 16 || shapes.row_bytes[t] == 0 || shapes.row_bytes[t] > 64;
    std::memset(s.tile, 0, sizeof s.tile);
  }
  static void release() { state().configured = false; }
  template <int Tile> static void zero() {
    state().faults += !state().configured;
    std::memset(&state().tile[Tile], 0, sizeof(Register));
  }
  template <int Tile> static void load(void const* from, std::int64_t stride) {
    State& s = state();
    s.faults += !s.configured;
    std::memset(&s.tile[Tile], 0, sizeof(Register));
    for (int r = 0; r < s.shapes.rows[Tile]; ++r)
      std::memcpy(s.tile[Tile].bytes[r], static_cast<std::uint8_t const*>(from) + r * stride, s.shapes.row_bytes[Tile]);
  }
  template <int Tile> static void store(void* to, std::int64_t stride) {
    State& s = state();
    s.faults += !s.configured;
    for (int r = 0; r < s.shapes.rows[Tile]; ++r)
      std::memcpy(static_cast<std::uint8_t*>(to) + r * stride, s.tile[Tile].bytes[r], s.shapes.row_bytes[Tile]);
  }
  // Even and odd products are summed apart for each pair of inputs, then joined to the sum.
  template <int Sum, int A, int B> static void multiply() {
    State& s = state();
    check_shapes(Sum, A, B);
    static thread_local float a[32], b[32][16];                // products of two bf16 are exact in fp32: fused or not is the same
    int const columns = s.shapes.row_bytes[Sum] / 4;
    for (int k = 0; k < s.shapes.rows[B]; ++k)
      for (int n = 0; n < columns; ++n)
        for (int odd = 0; odd < 2; ++odd) b[2 * k + odd][n] = value(B, k, 2 * n + odd);
    for (int m = 0; m < s.shapes.rows[Sum]; ++m) {
      float sum[2][16]{}, total[16];
      for (int i = 0; i < 2 * s.shapes.rows[B]; ++i) a[i] = value(A, m, i);
      for (int i = 0; i < 2 * s.shapes.rows[B]; ++i)
        for (int n = 0; n < columns; ++n) sum[i % 2][n] += a[i] * b[i][n];
      std::memcpy(total, s.tile[Sum].bytes[m], sizeof total);
      for (int n = 0; n < columns; ++n) total[n] += sum[0][n] + sum[1][n];
      std::memcpy(s.tile[Sum].bytes[m], total, sizeof total);
    }
  }

  template <int Sum, int A, int B> static void multiply_signed() { multiply_bytes<std::int8_t>(Sum, A, B); }
  template <int Sum, int A, int B> static void multiply_unsigned() { multiply_bytes<std::uint8_t>(Sum, A, B); }

 private:
  // The shapes must fit: as many words of inputs in a row of A as rows in B.
  static void check_shapes(int sum, int a, int b) {
    State& s = state();
    ++s.products;
    s.faults += !s.configured || sum == a || sum == b || a == b || s.shapes.rows[sum] != s.shapes.rows[a] || s.shapes.row_bytes[a] != 4 * s.shapes.rows[b] || s.shapes.row_bytes[sum] != s.shapes.row_bytes[b];
  }
  // Bytes of a row of A, signed, times those of a column of B, added to an int32.
  template <class Byte> static void multiply_bytes(int sum, int a, int b) {
    State& s = state();
    check_shapes(sum, a, b);
    int const columns = s.shapes.row_bytes[sum] / 4, inputs = 4 * s.shapes.rows[b];
    std::int32_t weight[64][16];
    for (int i = 0; i < inputs; ++i)
      for (int n = 0; n < columns; ++n) weight[i][n] = static_cast<Byte>(s.tile[b].bytes[i / 4][4 * n + i % 4]);
    for (int m = 0; m < s.shapes.rows[sum]; ++m) {
      std::int32_t total[16];
      std::memcpy(total, s.tile[sum].bytes[m], sizeof total);
      for (int i = 0; i < inputs; ++i) {
        std::int32_t const x = static_cast<std::int8_t>(s.tile[a].bytes[m][i]);
        for (int n = 0; n < columns; ++n) total[n] += x * weight[i][n];
      }
      std::memcpy(s.tile[sum].bytes[m], total, sizeof total);
    }
  }
  static float value(int tile, int row, int i) {
    coterie::bf16 v;
    std::memcpy(&v, &state().tile[tile].bytes[row][2 * i], sizeof v);
    return coterie::to_float(v);
  }
};

#if defined(__x86_64__)
// 8-bit activations on software tiles, however few the rows. Codes are decoded by AVX-512.
struct SoftwareInt8Engine : coterie::host::Int8Engine {
  SoftwareInt8Engine() : Int8Engine{coterie::Isa::avx512} {}
  template <class T, class Row, class Epilogue>
  void multiply(T const* packed, coterie::host::PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
    coterie::host::multiply_int8_on_tiles<SoftwareTiles>(packed, shape, rows, first, last, row, epilogue);
  }
};
#endif

}

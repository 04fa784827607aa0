// How a product is computed: engines share one interface, and what they read (Operand) differs.
#pragma once
#include "multiply_quantised.hpp"
#include "tiles_quantised.hpp"

namespace coterie { inline namespace v0 { namespace host {

struct VectorEngine {
  using Operand = float;
  Isa path;
  template <class T, class Row, class Epilogue>
  void multiply(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
    host::multiply(path, packed, shape, rows, first, last, row, epilogue);
  }
};
// Rows of bf16 that follow each other at padded_inputs: row(0) is where they begin.
template <class Tiles> struct TileEngine {
  using Operand = bf16;
  Isa path;
  template <class T, class Row, class Epilogue>
  void multiply(T const* packed, PanelShape shape, std::int64_t rows, std::int64_t first, std::int64_t last, Row const& row, Epilogue const& epilogue) const {
    multiply_on_tiles<Tiles>(packed, shape, row(0), rows, first, last, epilogue);
  }
};

}}}

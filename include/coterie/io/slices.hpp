// Where the matrices of one expert lie in a checkpoint's tensors, for every layout that checkpoints have.
#pragma once
#include <cstdint>

#include "checkpoint_files.hpp"

namespace coterie { inline namespace v0 { namespace io {

// Where one expert's matrix stands: elements to read of a tensor, and how element (output, input) lies within them.
struct Slice {
  TensorInfo const* tensor = nullptr;
  std::uint64_t first = 0, elements = 0;
  std::int64_t offset = 0, out_stride = 0, in_stride = 1;
};

// gate, up and down of one expert of width f that works at width w. Fused gate and up are one slice read once.
struct ExpertSlices { Slice gate, up, down; };
inline ExpertSlices slices(Layout layout, ExpertSlices of, int expert, std::int64_t f, std::int64_t w) {
  auto const e = static_cast<std::uint64_t>(expert), matrix = static_cast<std::uint64_t>(f * w);
  bool const fused = layout == Layout::halves || layout == Layout::halves_in_out || layout == Layout::interleaved_in_out;
  std::uint64_t const wide = fused ? 2 * matrix : matrix, skip = layout == Layout::separate ? 0 : e;
  auto const set = [](Slice& s, std::uint64_t first, std::uint64_t elements, std::int64_t offset, std::int64_t out, std::int64_t in) {
    s.first = first, s.elements = elements, s.offset = offset, s.out_stride = out, s.in_stride = in;
  };
  set(of.gate, skip * wide, wide, 0, w, 1);
  set(of.up, skip * wide, wide, layout == Layout::halves ? f * w : 0, w, 1);
  set(of.down, skip * matrix, matrix, 0, f, 1);
  if (layout == Layout::flat) of.down.out_stride = 1, of.down.in_stride = w;
  if (layout == Layout::halves_in_out || layout == Layout::interleaved_in_out) {
    std::int64_t const step = layout == Layout::halves_in_out ? 1 : 2;
    set(of.gate, skip * wide, wide, 0, step, 2 * f);
    set(of.up, skip * wide, wide, layout == Layout::halves_in_out ? f : 1, step, 2 * f);
    of.down.out_stride = 1, of.down.in_stride = w;
  }
  return of;
}

}}}

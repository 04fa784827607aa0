// The packed layout of a weight matrix on the GPU: [rows][pitch] with the inputs contiguous, as TMA and ldmatrix read it.
//
// A gate and an up matrix are one matrix of twice the rows, interleaved by 8: rows 16 b + i are gate outputs 8 b + i, rows
// 16 b + 8 + i the up outputs. A thread of mma.sync or wgmma then holds a gate value and its up value, in neighbouring
// blocks of 8 columns. Inputs are padded to 8 (16 bytes), interleaved outputs to 8, all with zeros.
#pragma once
#include "../packed.hpp"
#include "backend.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

COTERIE_HD constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }
COTERIE_HD constexpr std::int64_t ceil_div(std::int64_t n, std::int64_t by) { return (n + by - 1) / by; }

inline constexpr int interleave = 8;

struct RowShape {
  static constexpr std::size_t alignment = 256;
  std::int64_t outputs = 0, inputs = 0;
  int paired = 0;
  COTERIE_HD constexpr std::int64_t pitch() const { return round_up(inputs, 8); }
  COTERIE_HD constexpr std::int64_t rows() const { return paired ? 2 * round_up(outputs, interleave) : outputs; }
  // A multiple of 128 bytes for every type, so that what follows is aligned for TMA.
  COTERIE_HD constexpr std::int64_t elements() const { return round_up(rows() * pitch(), 64); }
  template <class T> static constexpr std::size_t bytes(RowShape shape) { return static_cast<std::size_t>(shape.elements()) * sizeof(T); }
  // Of output o and input i, in elements; half of a pair: 0 the gate, 1 the up.
  template <class T> COTERIE_HD static constexpr std::int64_t place(RowShape shape, int half, std::int64_t o, std::int64_t i) {
    return (shape.paired ? o / interleave * (2 * interleave) + half * interleave + o % interleave : o) * shape.pitch() + i;
  }
  // Quantised experts are planned with and refused when they are packed.
  template <Config C> using expert_t = element_t<is_float(C.weights) ? C.weights : C.dtype>;
};

template <Config C> using PackedLayout = coterie::PackedLayout<C, RowShape>;

// Typed access to a packed layer. Offsets are the host's business, what they point to is in device memory.
template <Config C>
struct Reader {
  static constexpr Config config = C;
  using Layout = PackedLayout<config>;
  static constexpr Layout layout = Layout::make(C.experts, 0);
  std::byte const* data;

  template <class T> T const* at(std::size_t offset) const { return reinterpret_cast<T const*>(data + offset); }
  float const* floats(std::size_t offset) const { return at<float>(offset); }
  typename Layout::Header const* header() const { return at<typename Layout::Header>(layout.header); }
};

}}}}

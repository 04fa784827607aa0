// What cuTensorMapEncodeTiled puts into a CUtensorMap here: the description itself.
#pragma once
#include <cuda.h>
#include <cstddef>
#include <cstdint>

namespace simt {

struct TensorMap {
  static constexpr std::uint64_t valid = 0x7469636f74657269u;
  std::uint64_t magic = 0;
  std::uint64_t base = 0;
  std::uint64_t stride[4]{};                     // bytes between neighbours along dimension 1, 2, ...
  std::uint32_t size[5]{};                       // less one: a size of 2^32 is legal
  std::uint16_t box[5]{};
  std::uint8_t rank = 0, element = 0, span = 0;  // span: bytes of the swizzle's rows, 0 for none
  std::uint64_t extent(int i) const { return std::uint64_t{size[i]} + 1; }
  std::size_t box_bytes() const {
    std::size_t n = element;
    for (int i = 0; i < rank; ++i) n *= box[i];
    return n;
  }
};
static_assert(sizeof(TensorMap) <= sizeof(CUtensorMap));

// Where the hardware puts the byte at this shared address when rows of `span` bytes are swizzled.
constexpr std::uint32_t swizzled(std::uint32_t address, unsigned span) {
  unsigned const bits = span == 128 ? 7 : span == 64 ? 3 : span == 32 ? 1 : 0;
  return address ^ (address >> 7 & bits) << 4;
}

}

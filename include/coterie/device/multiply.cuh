// One grouped product, by the kernel that suits the path, the types and the number of rows.
#pragma once
#include "stream_product.cuh"
#include "wgmma_product.cuh"

namespace coterie { inline namespace v0 { namespace device {

// Tokens up to which weights are streamed: a row of theirs then meets at most so many rows of a, few enough for plain arithmetic
// to keep pace with memory. A router's weights are small and come from the cache for the next eight rows.
inline constexpr std::int64_t stream_tokens = 8, stream_router_tokens = 64;

// few: whether to stream the weights. Rows of a must then be readable up to a multiple of 8 inputs, with zeros behind the last.
template <class P> void multiply(Cuda const& on, Arch path, P const& p, bool few, Where at) {
  if (path != Arch::plain) {
    bool const aligned = wide_rows(p.a, p.a_stride);
    if (few && aligned) return stream_product(on, p, at);
    if constexpr (has_mma<P>) {
      if (!aligned) fail("Cuda: rows of 16-bit values must be aligned to 16 bytes, with a stride that is a multiple of 8 (Arch::plain takes any)", at);
      if (path == Arch::sm_90a) return wgmma_product(on, p, at);
      return mma_product(on, p, at);
    }
  }
  plain_product(on, p, at);
}
// In words, for so many rows in so many groups.
template <class V, class T> std::string explain_product(Arch path, std::int64_t rows, std::int64_t groups, bool few) {
  if (path != Arch::plain && few) return "weights streamed, a warp for two of their rows";
  if (path == Arch::plain || !std::is_same_v<V, T> || sizeof(V) != 2) return "plain tiles of 64 x 64";
  if (path == Arch::sm_90a) return std::string("wgmma, tiles of ") + (rows <= 96 * groups ? "64" : "128") + " x 256 x 64";
  return std::string("mma.sync, tiles of ") + (rows <= 48 * groups ? "32" : "128") + " x 128 x 32";
}

}}}

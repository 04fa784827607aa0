// One grouped product, by the kernel that suits the path, the types and the number of rows.
#pragma once
#include "stream_product.cuh"
#include "wgmma_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// Tokens up to which weights are streamed: a row of theirs then meets at most so many rows of a, few enough for plain arithmetic
// to keep pace with memory. A router's weights are small and come from the cache for the next eight rows.
inline constexpr std::int64_t stream_tokens = 8, stream_router_tokens = 64;

// few: whether to stream the weights. On any path but the plain one, inputs of a behind the last, up to a multiple of 8, must be zeros.
template <class P> void multiply(Cuda const& on, Arch path, P const& p, bool few, Where at) {
  if (p.groups.rows == 0 || p.groups.count == 0) return;
  if (path != Arch::plain) {
    if (few && streams(p)) return stream_product(on, p, at);
    if constexpr (has_mma<P>) {
      if (!wide_rows(p.a, p.a_stride)) fail("Cuda: rows of 16-bit values must be aligned to 16 bytes, with a stride that is a multiple of 8 (Arch::plain takes any)", at);
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
  if (path == Arch::sm_90a)
    return rows <= wgmma_short_rows * groups ? "wgmma, tiles of 64 x 256 x 64"
                                             : "wgmma, tiles of 128 x 256 x 64 (below " + std::to_string(wgmma_few_inputs) + " inputs: of 128 x 128 x 64, by turns)";
  return std::string("mma.sync, tiles of ") + (rows <= 48 * groups ? "32" : "128") + " x 128 x 32";
}

}}}}

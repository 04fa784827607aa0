// One grouped product, by the kernel that suits the path, the types and the number of rows.
#pragma once
#include "stream_product.cuh"
#include "swapped_product.cuh"
#include "wgmma_product.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// How a product of few rows may differ from one of many, in the kernel and so in the order of its sums. alike: not at all, which
// batch_invariant asks for. swapped: the weights may be the M operand. streamed: or streamed.
enum class Few : int { alike, swapped, streamed };

// Tokens up to which weights are streamed: a row of theirs then meets at most so many rows of a, few enough for plain arithmetic
// to keep pace with memory.
inline constexpr std::int64_t stream_tokens = 8;
constexpr Few few_of(std::int64_t tokens, int batch_invariant) { return batch_invariant ? Few::alike : tokens <= stream_tokens ? Few::streamed : Few::swapped; }

// Rows up to which the weights are the M operand: on average over groups, or of one group, which then is one tile and streams its weights
// once. With 16 rows on average few groups have more than 32, up to which tensor cores and shared memory keep well ahead of memory; beyond,
// tiles with rows of a as M are filled, and wider, so that each row is read less often. (Not yet measured on a GPU.)
inline constexpr std::int64_t swapped_average = 16, swapped_most = 64;
constexpr bool swaps(std::int64_t rows, std::int64_t groups) { return rows <= swapped_average * groups || rows <= swapped_most; }

// On any path but the plain one, inputs of a behind the last, up to a multiple of 8, must be zeros.
template <class P> void require_wide(P const& p, Where at) {
  if (!wide_rows(p.a, p.a_stride)) fail("Cuda: rows of 16-bit values must be aligned to 16 bytes, with a stride that is a multiple of 8 (Arch::plain takes any)", at);
}
// By tiles with rows of a as M, however few.
template <class P> void multiply_tiles(Cuda const& on, Arch path, P const& p, Where at) {
  if (p.groups.rows == 0 || p.groups.count == 0) return;
  if constexpr (has_mma<P>) {
    if (path != Arch::plain) require_wide(p, at);
    if (path == Arch::sm_90a) return wgmma_product(on, p, at);
    if (path == Arch::sm_80) return mma_product(on, p, at);
  }
  plain_product(on, p, at);
}
template <class P> void multiply(Cuda const& on, Arch path, P const& p, Few few, Where at) {
  if (p.groups.rows == 0 || p.groups.count == 0) return;
  if (path != Arch::plain) {
    if (few == Few::streamed && streams(p)) return stream_product(on, p, at);
    if constexpr (has_mma<P>)
      if (few != Few::alike && swaps(p.groups.rows, p.groups.sharing())) return require_wide(p, at), swapped_product(on, p, at);
  }
  multiply_tiles(on, path, p, at);
}
// In words, for so many rows in so many groups.
template <class V, class T> std::string explain_product(Arch path, std::int64_t rows, std::int64_t groups, Few few) {
  if (path != Arch::plain && few == Few::streamed) return "weights streamed, a warp for two of their rows";
  if (path == Arch::plain || !std::is_same_v<V, T> || sizeof(V) != 2) return "plain tiles of 64 x 64";
  if (few != Few::alike && swaps(rows, groups)) return "mma.sync with the weights as M, tiles of 64 x up to 64 x 64";
  if (path == Arch::sm_90a)
    return rows <= wgmma_short_rows * groups ? "wgmma, tiles of 64 x 256 x 64"
                                             : "wgmma, tiles of 128 x 256 x 64 (below " + std::to_string(wgmma_few_inputs) + " inputs: of 128 x 128 x 64, by turns)";
  return std::string("mma.sync, tiles of ") + (rows <= 48 * groups ? "32" : "128") + " x 128 x 32";
}

}}}}

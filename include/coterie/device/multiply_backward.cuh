// One grouped product of a backward pass, or gradient of weights, by the kernel that suits the path, the types and the number of rows.
#pragma once
#include "wgmma_backward.cuh"
#include "wgmma_gradient.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// By tensor cores where a and b are of one 16-bit type and their rows begin at multiples of 16 bytes; then rows of a must hold zeros, and
// rows of b anything that may be read, behind the last column up to a multiple of 8. By the plain kernel otherwise: any types (float, bf16,
// fp16), any alignment, nothing read beyond. Enqueues one kernel, or none where there are no rows.
template <class P> void multiply_backward(Cuda const& on, Arch path, P const& p, Where at) {
  if (p.groups.rows == 0 || p.groups.count == 0 || p.epilogue.columns == 0) return;
  if constexpr (has_mma<P>)
    if (path != Arch::plain && p.inputs > 0 && wide_rows(p.a, p.a_stride) && wide_rows(p.b, p.b_pitch) && p.b_group % 8 == 0)
      return path == Arch::sm_90a ? wgmma_backward(on, p, at) : p.groups.rows <= 48 * p.groups.sharing() ? mma_backward<MmaBackwardShort>(on, p, at) : mma_backward<MmaBackwardTall>(on, p, at);
  plain_backward(on, p, at);
}

// By tensor cores where p and q are of one 16-bit type and their rows begin at multiples of 16 bytes; then what stands behind the last column
// of a row, up to a multiple of 8, must be memory that may be read (its values do not matter). By the plain kernel otherwise: any types, any
// alignment. Enqueues one kernel; none where there is nothing to add, or no columns.
template <class P> void add_gradient(Cuda const& on, Arch path, P const& p, Where at) {
  if (p.groups.count == 0 || p.outputs == 0 || p.inputs == 0 || (p.groups.rows == 0 && !p.to.overwrite)) return;
  if constexpr (std::is_same_v<typename P::L, typename P::R> && sizeof(typename P::L) == 2)
    if (path != Arch::plain && wide_rows(p.p, p.p_stride) && wide_rows(p.q, p.q_stride)) return path == Arch::sm_90a ? wgmma_gradient(on, p, at) : mma_gradient(on, p, at);
  plain_gradient(on, p, at);
}

}}}}

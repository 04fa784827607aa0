#!/usr/bin/env python3
"""Writes include/coterie/device/wgmma.cuh and wgmma_mn.cuh: asm operands cannot be a list of variable length, so every width has its own text.

    python3 tests/simt/generate_wgmma.py > include/coterie/device/wgmma.cuh
    python3 tests/simt/generate_wgmma.py mn > include/coterie/device/wgmma_mn.cuh
"""
import sys
import textwrap

WIDTHS = [8, 16, 32, 64, 128, 192, 256]
MN_WIDTHS = [128, 256]
TYPES = {"bf16": "bf16", "fp16": "f16"}

HEAD = """\
// wgmma: products of a warpgroup, asynchronous, from shared memory. Part of ptx.cuh; include that. Needs sm_90a, traps elsewhere.
// Written by tests/simt/generate_wgmma.py.
#pragma once

namespace coterie { inline namespace v0 { namespace ptx {

// A tile of 16-bit elements as TMA writes it with the 128-byte swizzle: rows of 64 along K, at a multiple of 1024 bytes. The next
// 16 along K are 2 further, the next 8 rows 64.
COTERIE_DEVICE std::uint64_t descriptor_k128(void const* tile) {
  return (shared_address(tile) & 0x3ffff) >> 4 | std::uint64_t{1} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}

// Keeps the compiler from moving what it does with d to the other side.
template <int M> COTERIE_DEVICE void pin(float (&d)[M]) {
#pragma unroll
  for (int i = 0; i < M; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
// Before the first product of a batch, and after ordinary code touched its accumulators d.
template <int... M> COTERIE_DEVICE void wgmma_fence(float (&... d)[M]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  (pin(d), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#else
  __trap();
#endif
}
COTERIE_DEVICE void wgmma_commit() {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
// Until at most N groups are under way. Only then may the accumulators d of the others be read, or their operands be overwritten.
template <int N, int... M> COTERIE_DEVICE void wgmma_wait(float (&... d)[M]) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
  (pin(d), ...);
#endif
}

template <int N, class T> struct Wgmma;            // one width and type
"""

TAIL = """\
// d[64 x N] = a[64 x 16] * b[N x 16]^T, plus d when accumulating; T is bf16 or fp16, a and b descriptors of K-major tiles. Warp w of the
// warpgroup, with g = lane / 4 and t = lane % 4: d[4j] and d[4j + 1] are (16w + g, 8j + 2t) and its right neighbour, the next two of row + 8.
template <int N, class T> COTERIE_DEVICE void wgmma_m64k16(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  Wgmma<N, T>::multiply(d, a, b, accumulate);
#else
  __trap();
#endif
}

}}}
"""

MN_HEAD = """\
// wgmma of operands whose rows go along M or N instead of K (MN-major): what a gradient multiplies needs no transposed copy. Part of
// ptx.cuh; include that. Needs sm_90a, traps elsewhere. Written by tests/simt/generate_wgmma.py.
#pragma once

namespace coterie { inline namespace v0 { namespace ptx {

// A tile of 16-bit elements as TMA writes it in boxes of {64, depth} with the 128-byte swizzle: rows of 64 along M or N, one for each of
// `depth` (a multiple of 8) along K; boxes for the next 64 along M or N one after the other. At a multiple of 1024 bytes. The next 16
// along K are 128 further, the next box 8 * depth.
COTERIE_DEVICE std::uint64_t descriptor_mn128(void const* tile, unsigned depth) {
  return (shared_address(tile) & 0x3ffff) >> 4 | std::uint64_t{depth * 128 >> 4} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}

// Which operands are MN-major; the other one is K-major.
enum class MnMajor : int { b = 1, a = 2, both = 3 };

template <int N, class T> struct WgmmaMn;          // one width and type
"""

MN_TAIL = """\
// As wgmma_m64k16, with descriptors of MN-major tiles for the operands that M names. 16-bit elements only: there is no such product of 8 bits.
template <MnMajor M, int N, class T> COTERIE_DEVICE void wgmma_m64k16_mn(float (&d)[N / 2], std::uint64_t a, std::uint64_t b, bool accumulate) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  WgmmaMn<N, T>::template multiply<M>(d, a, b, accumulate);
#else
  __trap();
#endif
}

}}}
"""


def wrapped(pieces, indent, quote=False):
    """Lines of at most 150 columns; with quote, adjacent string literals."""
    lines = textwrap.wrap(" ".join(pieces), width=150 - len(indent) - 3)
    if quote:
        lines = [f'"{line}{" " if i + 1 < len(lines) else ""}"' for i, line in enumerate(lines)]
    return ("\n" + indent).join(lines)


def product(width, name, ptx, mn):
    count = width // 2
    registers = "{" + ", ".join(f"%{i}" for i in range(count)) + "}"
    majors = f"%{count + 3}, %{count + 4}" if mn else "0, 0"
    text = f"{{.reg .pred p; setp.ne.b32 p, %{count + 2}, 0; wgmma.mma_async.sync.aligned.m64n{width}k16.f32.{ptx}.{ptx} {registers}, %{count}, %{count + 1}, p, 1, 1, {majors};}}"
    operands = ", ".join(f'"+f"(d[{i}])' for i in range(count))
    return f"""\
template <> struct Wgmma{"Mn" if mn else ""}<{width}, {name}> {{
  {"template <MnMajor M> " if mn else ""}static COTERIE_DEVICE void multiply(float (&d)[{count}], std::uint64_t a, std::uint64_t b, int accumulate) {{
    asm volatile({wrapped(text.split(), " " * 17, quote=True)}
                 : {wrapped(operands.split(), " " * 19)}
                 : "l"(a), "l"(b), "r"(accumulate){', "n"(static_cast<int>(M) >> 1), "n"(static_cast<int>(M) & 1)' if mn else ""});
  }}
}};
"""


mn = sys.argv[1:] == ["mn"]
print(MN_HEAD if mn else HEAD, end="")
print("#if defined(__CUDA_ARCH_FEAT_SM90_ALL)")
for width in MN_WIDTHS if mn else WIDTHS:
    for name, ptx in TYPES.items():
        print(product(width, name, ptx, mn), end="")
print("#endif\n")
print(MN_TAIL if mn else TAIL, end="")

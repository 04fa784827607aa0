// What the emulator has in place of CUB, which g++ cannot compile: the sort itself by the host (engine/library.cpp), so that the
// library's own kernels around it run. The real CUB compiles in tests/cuda/compile and runs on a GPU.
#pragma once
#include <cuda_runtime_api.h>
#include <cstddef>
#include <cstdint>

namespace simt {
cudaError_t sort_pairs(void* temporary, std::size_t temporary_bytes, std::uint32_t* const (&keys)[2], std::int32_t* const (&values)[2], bool swaps, int n, int begin_bit, int end_bit, cudaStream_t);
}

namespace cub {

template <class T> struct DoubleBuffer {
  T* d_buffers[2];
  int selector = 0;
  DoubleBuffer(T* current, T* alternate) : d_buffers{current, alternate} {}
  T* Current() { return d_buffers[selector]; }
  T* Alternate() { return d_buffers[selector ^ 1]; }
};

struct DeviceRadixSort {
  static cudaError_t SortPairs(void* temporary, std::size_t& bytes, DoubleBuffer<std::uint32_t>& keys, DoubleBuffer<std::int32_t>& values, int n, int begin_bit, int end_bit, cudaStream_t s) {
    std::size_t const want = 512 + static_cast<std::size_t>(n) / 8;
    if (!temporary) {
      bytes = want;
      return cudaSuccess;
    }
    if (bytes < want) return cudaErrorInvalidValue;
    bool const swaps = n % 2;
    cudaError_t const code = simt::sort_pairs(temporary, want, keys.d_buffers, values.d_buffers, swaps, n, begin_bit, end_bit, s);
    keys.selector = values.selector = swaps;
    return code;
  }
};

}

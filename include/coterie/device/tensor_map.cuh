// Tensor maps: what TMA needs to know of a tensor, encoded by the driver, whose function is asked for at run time (no libcuda).
#pragma once
#include <atomic>
#include <cudaTypedefs.h>
#include "packed.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

// The driver's encoder, asked for once: the same for every device and thread.
inline PFN_cuTensorMapEncodeTiled_v12000 tensor_map_encoder(Where at) {
  static std::atomic<PFN_cuTensorMapEncodeTiled_v12000> known{nullptr};
  if (auto const encode = known.load(std::memory_order_relaxed)) return encode;
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found), at);
  if (found != cudaDriverEntryPointSuccess || !function) fail("CUDA: the driver has no cuTensorMapEncodeTiled (it needs to be of CUDA 12 or later)", at);
  auto const encode = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  known.store(encode, std::memory_order_relaxed);
  return encode;
}

// Matrices of all groups: [groups][rows][pitch], of which rows have `columns` that count.
template <class T> struct Matrices {
  T const* data;
  std::int64_t columns, rows, pitch, group, groups;                      // group: elements from one group to the next
};
// Boxes of 64 columns x box_rows rows of one group, with the 128-byte swizzle. Outside a group's rows and columns TMA reads zeros.
template <class T> CUtensorMap matrices_map(Matrices<T> const& m, int box_rows, Where at) {
  static_assert(sizeof(T) == 2);
  CUtensorMap map;
  cuuint64_t const size[3]{static_cast<cuuint64_t>(m.columns), static_cast<cuuint64_t>(m.rows), static_cast<cuuint64_t>(m.groups)};
  cuuint64_t const stride[2]{static_cast<cuuint64_t>(m.pitch) * sizeof(T), static_cast<cuuint64_t>(m.groups > 1 ? m.group : m.rows * m.pitch) * sizeof(T)};
  cuuint32_t const box[3]{64, static_cast<cuuint32_t>(box_rows), 1}, step[3]{1, 1, 1};
  CUresult const code = tensor_map_encoder(at)(
      &map, std::is_same_v<T, bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 3, const_cast<T*>(m.data), size, stride, box, step,
      CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  check(static_cast<cudaError_t>(code), at, "cuTensorMapEncodeTiled, a map of matrices: ");        // the driver's codes are the runtime's
  return map;
}

}}}}

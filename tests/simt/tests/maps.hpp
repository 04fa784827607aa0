// Tensor maps for tests.
#pragma once
#include <coterie/device/launch.cuh>
#include <cudaTypedefs.h>

namespace samples {

struct MapShape { std::vector<cuuint64_t> size, stride; std::vector<cuuint32_t> box; };        // innermost first; strides in bytes
inline CUtensorMap tensor_map(CUtensorMapDataType type, void* base, MapShape const& shape, CUtensorMapSwizzle swizzle, CUresult want = CUDA_SUCCESS) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult result{};
  coterie::check(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &result));
  CUtensorMap map;
  cuuint32_t const step[5]{1, 1, 1, 1, 1};
  CUresult const code = reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function)(
      &map, type, static_cast<cuuint32_t>(shape.size.size()), base, shape.size.data(), shape.stride.data(), shape.box.data(), step,
      CU_TENSOR_MAP_INTERLEAVE_NONE, swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  if (code != want) coterie::fail("tensor map: got code " + std::to_string(code));
  return map;
}
// Rows of 16-bit elements in boxes of 64 columns, with the 128-byte swizzle.
template <class T> CUtensorMap rows_map(T* base, int rows, int columns, int box_rows) {
  return tensor_map(std::is_same_v<T, coterie::bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, base,
                    {.size = {static_cast<cuuint64_t>(columns), static_cast<cuuint64_t>(rows)}, .stride = {static_cast<cuuint64_t>(columns) * 2},
                     .box = {64, static_cast<cuuint32_t>(box_rows)}}, CU_TENSOR_MAP_SWIZZLE_128B);
}

}

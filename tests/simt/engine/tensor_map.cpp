// The driver's function that describes a tensor for TMA, with the limits of its documentation.
#include "tensor_map.hpp"
#include <cuda_runtime_api.h>
#include <cstring>
#include "runtime.hpp"

namespace {

unsigned element_bytes(CUtensorMapDataType type) {
  switch (type) {
    case CU_TENSOR_MAP_DATA_TYPE_UINT8: return 1;
    case CU_TENSOR_MAP_DATA_TYPE_UINT16: case CU_TENSOR_MAP_DATA_TYPE_FLOAT16: case CU_TENSOR_MAP_DATA_TYPE_BFLOAT16: return 2;
    case CU_TENSOR_MAP_DATA_TYPE_UINT32: case CU_TENSOR_MAP_DATA_TYPE_INT32: case CU_TENSOR_MAP_DATA_TYPE_FLOAT32: return 4;
    case CU_TENSOR_MAP_DATA_TYPE_UINT64: case CU_TENSOR_MAP_DATA_TYPE_INT64: case CU_TENSOR_MAP_DATA_TYPE_FLOAT64: return 8;
    default: return 0;                           // not modelled
  }
}

CUresult describe(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* base, cuuint64_t const* size, cuuint64_t const* stride,
                  cuuint32_t const* box, cuuint32_t const* step, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                  CUtensorMapL2promotion, CUtensorMapFloatOOBfill fill) {
  using simt::TensorMap;
  TensorMap map;
  map.element = static_cast<std::uint8_t>(element_bytes(type));
  if (!map.element || rank < 1 || rank > 5 || interleave != CU_TENSOR_MAP_INTERLEAVE_NONE || fill != CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE)
    return CUDA_ERROR_INVALID_VALUE;
  if (reinterpret_cast<std::uintptr_t>(out) % 64 || reinterpret_cast<std::uintptr_t>(base) % 16) return CUDA_ERROR_INVALID_VALUE;
  map.span = swizzle == CU_TENSOR_MAP_SWIZZLE_128B ? 128 : swizzle == CU_TENSOR_MAP_SWIZZLE_64B ? 64 : swizzle == CU_TENSOR_MAP_SWIZZLE_32B ? 32 : 0;
  if (!map.span && swizzle != CU_TENSOR_MAP_SWIZZLE_NONE) return CUDA_ERROR_INVALID_VALUE;
  for (cuuint32_t i = 0; i < rank; ++i) {
    if (size[i] < 1 || size[i] > std::uint64_t{1} << 32 || box[i] < 1 || box[i] > 256 || step[i] != 1) return CUDA_ERROR_INVALID_VALUE;
    map.size[i] = static_cast<std::uint32_t>(size[i] - 1);
    map.box[i] = static_cast<std::uint16_t>(box[i]);
    if (i == 0) continue;
    if (stride[i - 1] % 16 || stride[i - 1] >= std::uint64_t{1} << 40) return CUDA_ERROR_INVALID_VALUE;
    map.stride[i - 1] = stride[i - 1];
  }
  if (box[0] * map.element % 16 || (map.span && box[0] * map.element > map.span)) return CUDA_ERROR_INVALID_VALUE;
  map.magic = TensorMap::valid;
  map.base = reinterpret_cast<std::uint64_t>(base);
  map.rank = static_cast<std::uint8_t>(rank);
  std::memset(static_cast<void*>(out), 0, sizeof *out);
  std::memcpy(static_cast<void*>(out), &map, sizeof map);
  return CUDA_SUCCESS;
}

// Counted and made to fail like the runtime's calls; the driver's codes are the runtime's.
CUresult CUDAAPI encode(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* base, cuuint64_t const* size, cuuint64_t const* stride,
                        cuuint32_t const* box, cuuint32_t const* step, CUtensorMapInterleave interleave, CUtensorMapSwizzle swizzle,
                        CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  std::lock_guard const lock(simt::runtime_mutex());
  cudaError_t failure;
  return simt::note_call("cuTensorMapEncodeTiled", &failure) ? describe(out, type, rank, base, size, stride, box, step, interleave, swizzle, promotion, fill) : static_cast<CUresult>(failure);
}

cudaError_t entry_point(char const* symbol, void** function, cudaDriverEntryPointQueryResult* result) {
  bool const known = std::strcmp(symbol, "cuTensorMapEncodeTiled") == 0;
  *function = known ? reinterpret_cast<void*>(&encode) : nullptr;
  if (result) *result = known ? cudaDriverEntryPointSuccess : cudaDriverEntryPointSymbolNotFound;
  return known || result ? cudaSuccess : cudaErrorSymbolNotFound;
}

}

extern "C" {
CUresult CUDAAPI cuTensorMapEncodeTiled(CUtensorMap* out, CUtensorMapDataType type, cuuint32_t rank, void* base, cuuint64_t const* size,
                                        cuuint64_t const* stride, cuuint32_t const* box, cuuint32_t const* step, CUtensorMapInterleave interleave,
                                        CUtensorMapSwizzle swizzle, CUtensorMapL2promotion promotion, CUtensorMapFloatOOBfill fill) {
  return encode(out, type, rank, base, size, stride, box, step, interleave, swizzle, promotion, fill);
}
cudaError_t cudaGetDriverEntryPointByVersion(char const* symbol, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  return simt::runtime_call("cudaGetDriverEntryPointByVersion", [&] { return entry_point(symbol, function, result); });
}
#if CUDART_VERSION < 13000
cudaError_t cudaGetDriverEntryPoint(char const* symbol, void** function, unsigned long long, cudaDriverEntryPointQueryResult* result) {
  return simt::runtime_call("cudaGetDriverEntryPoint", [&] { return entry_point(symbol, function, result); });
}
#endif
}

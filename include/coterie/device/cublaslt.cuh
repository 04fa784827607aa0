// cuBLASLt as far as the library uses it: y = x w^T for rows of x and a weight matrix as it is packed, and the same for many groups of
// rows whose numbers are on the device. Not part of cuda.cuh; a program that includes it links libcublasLt.
//
// cuBLASLt counts columns first: what is [rows][pitch] here is its column-major matrix of `inputs` rows with leading dimension
// `pitch`, so that y^T = w x^T is its op(A) B with A = w transposed, B = x^T, and nothing is repacked.
#pragma once
#include <cublasLt.h>
#include <memory>
#include <span>
#include "backend.cuh"

namespace coterie { inline namespace v0 {

class CublasError : public Error {
 public:
  CublasError(cublasStatus_t status, std::string const& sentence) : Error(sentence), code(status) {}
  cublasStatus_t code;
};
// Throws CublasError with cuBLAS's own name for the status; without exceptions prints it and aborts.
inline void check(cublasStatus_t code, Where at = Where::here()) {
  if (code == CUBLAS_STATUS_SUCCESS) [[likely]] return;
  std::string const sentence = std::string("cuBLASLt: ") + cublasLtGetStatusName(code);
#if defined(__cpp_exceptions)
  throw CublasError(code, "coterie: " + sentence + " (" + at.file + ":" + std::to_string(at.line) + ")");
#else
  fail(sentence, at);
#endif
}

namespace device { inline namespace COTERIE_CUDA_BUILD {

// Memory for the library to work in, a call at a time.
#if defined(COTERIE_SIMT)
inline constexpr std::size_t cublas_bytes = std::size_t{64} << 10;
#else
inline constexpr std::size_t cublas_bytes = std::size_t{32} << 20;       // what NVIDIA recommends for Hopper
#endif

template <class V> inline constexpr cudaDataType_t cublas_type = CUDA_R_32F;
template <> inline constexpr cudaDataType_t cublas_type<bf16> = CUDA_R_16BF;
template <> inline constexpr cudaDataType_t cublas_type<fp16> = CUDA_R_16F;

// 13.4.0 as cuBLAS writes it, from CUBLAS_VERSION or cublasLtGetVersion().
inline std::string cublas_version(std::size_t v) { return std::to_string(v / 10000) + "." + std::to_string(v / 100 % 100) + "." + std::to_string(v % 100); }

// A handle for the device that is current when this is made, and with it the library's start. Copies share it; any thread may use it.
class CublasLt {
 public:
  explicit CublasLt(Where at = Where::here()) {
    cublasLtHandle_t handle = nullptr;
    check(cublasLtCreate(&handle), at);
    handle_.reset(handle, [](cublasLtHandle_t h) { (void)cublasLtDestroy(h); });
  }
  cublasLtHandle_t get() const { return static_cast<cublasLtHandle_t>(handle_.get()); }

 private:
  std::shared_ptr<void> handle_;
};

// Largest power of two that divides it, at most 256.
inline std::uint32_t alignment_of(std::uintptr_t v) {
  std::uint32_t a = 256;
  while (v % a) a /= 2;
  return a;
}

// w: [outputs][pitch], x: [rows][x_stride], y: [rows][y_stride]; `inputs` of each row count. w and x of type V, sums in fp32.
template <class V, class Y = V> struct DenseProduct {
  V const* w;
  std::int64_t outputs, inputs, pitch;
  V const* x;
  std::int64_t rows, x_stride;
  Y* y;
  std::int64_t y_stride;
};

class MatmulCall {
 public:
  explicit MatmulCall(Where at) : at_(at) {
    cublasOperation_t const transposed = CUBLAS_OP_T;
    check(cublasLtMatmulDescInit(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F), at);
    set(CUBLASLT_MATMUL_DESC_TRANSA, transposed);
    check(cublasLtMatmulPreferenceInit(&preference_), at);
  }
  template <class T> void set(cublasLtMatmulDescAttributes_t what, T const& value) { check(cublasLtMatmulDescSetAttribute(&operation_, what, &value, sizeof value), at_); }
  template <class T> void prefer(cublasLtMatmulPreferenceAttributes_t what, T const& value) { check(cublasLtMatmulPreferenceSetAttribute(&preference_, what, &value, sizeof value), at_); }
  // Of 64 bits where the library takes it so, else of 32 as its header says; no more than a hint.
  void hint(cublasLtMatmulPreferenceAttributes_t what, std::int64_t value) {
    auto const narrow = static_cast<std::uint32_t>(value);
    if (cublasLtMatmulPreferenceSetAttribute(&preference_, what, &value, sizeof value) != CUBLAS_STATUS_SUCCESS) (void)cublasLtMatmulPreferenceSetAttribute(&preference_, what, &narrow, sizeof narrow);
  }
  // As the layouts say; memory is the library's to work in.
  void run(CublasLt const& lt, cudaStream_t stream, void const* one, void const* w, void const* x, void const* zero, void* to, std::span<std::byte> memory) {
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{memory.size()});
    cublasLtMatmulHeuristicResult_t found{};
    int count = 0;
    check(cublasLtMatmulAlgoGetHeuristic(lt.get(), &operation_, &a, &b, &y, &y, &preference_, 1, &found, &count), at_);
    if (count == 0) check(CUBLAS_STATUS_NOT_SUPPORTED, at_);
    check(cublasLtMatmul(lt.get(), &operation_, one, w, &a, x, &b, zero, to, &y, to, &y, &found.algo, memory.data(), memory.size(), stream), at_);
  }
  cublasLtMatrixLayoutOpaque_t a{}, b{}, y{};      // of w, x and y

 private:
  Where at_;
  cublasLtMatmulDescOpaque_t operation_{};
  cublasLtMatmulPreferenceOpaque_t preference_{};
};

template <class V, class Y> void dense_product(CublasLt const& lt, Cuda const& on, DenseProduct<V, Y> const& p, std::span<std::byte> memory, Where at) {
  MatmulCall call{at};
  auto const layout = [&](cublasLtMatrixLayoutOpaque_t& l, cudaDataType_t type, std::int64_t columns, std::int64_t rows, std::int64_t stride) {
    check(cublasLtMatrixLayoutInit(&l, type, static_cast<std::uint64_t>(columns), static_cast<std::uint64_t>(rows), stride), at);
  };
  layout(call.a, cublas_type<V>, p.inputs, p.outputs, p.pitch), layout(call.b, cublas_type<V>, p.inputs, p.rows, p.x_stride), layout(call.y, cublas_type<Y>, p.outputs, p.rows, p.y_stride);
  auto const aligned = []<class T>(T const* data, std::int64_t stride) { return alignment_of(reinterpret_cast<std::uintptr_t>(data) | static_cast<std::uintptr_t>(stride) * sizeof(T)); };
  call.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, aligned(p.w, p.pitch));
  call.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, aligned(p.x, p.x_stride));
  call.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, aligned(p.y, p.y_stride));
  call.prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, aligned(p.y, p.y_stride));
  float const one = 1, zero = 0;
  call.run(lt, on.stream, &one, p.w, p.x, &zero, p.y, memory);
}

#if CUBLAS_VERSION >= 130200
// One product a group, everything of it in device memory: arrays of `groups` numbers and pointers. Rows of w and x are `inputs` apart.
struct GroupedProduct {
  int groups;
  std::int32_t const *outputs, *inputs, *rows, *y_stride;
  void const* const* w;
  void const* const* x;
  void* const* y;
  float const* const* one;                         // pointers to the 1 and the 0 that are the factors
  float const* const* zero;
  float const* factors;                            // {1, 0}
  std::int64_t mean_outputs, mean_inputs, mean_rows;
};
template <class V> void grouped_product(CublasLt const& lt, Cuda const& on, GroupedProduct const& p, std::span<std::byte> memory, Where at) {
  MatmulCall call{at};
  auto const layout = [&](cublasLtMatrixLayoutOpaque_t& l, std::int32_t const* columns, std::int32_t const* rows, std::int32_t const* stride) {
    check(cublasLtGroupedMatrixLayoutInit(&l, cublas_type<V>, p.groups, columns, rows, stride), at);
  };
  layout(call.a, p.inputs, p.outputs, p.inputs), layout(call.b, p.inputs, p.rows, p.inputs), layout(call.y, p.outputs, p.rows, p.y_stride);
  call.set(CUBLASLT_MATMUL_DESC_POINTER_MODE, std::int32_t{CUBLASLT_POINTER_MODE_DEVICE});
  bool const scalars = on.device.major < 10;       // Hopper takes one factor for all groups, later devices a pointer for each
  if (!scalars) call.set(CUBLASLT_MATMUL_DESC_ALPHA_BATCH_STRIDE, std::int64_t{1}), call.set(CUBLASLT_MATMUL_DESC_BETA_BATCH_STRIDE, std::int64_t{1});
  call.hint(CUBLASLT_MATMUL_PREF_GROUPED_DESC_D_AVERAGE_ROWS, p.mean_outputs);
  call.hint(CUBLASLT_MATMUL_PREF_GROUPED_DESC_D_AVERAGE_COLS, p.mean_rows);
  call.hint(CUBLASLT_MATMUL_PREF_GROUPED_AVERAGE_REDUCTION_DIM, p.mean_inputs);
  void const* const one = scalars ? static_cast<void const*>(p.factors) : p.one;
  void const* const zero = scalars ? static_cast<void const*>(p.factors + 1) : p.zero;
  call.run(lt, on.stream, one, p.w, p.x, zero, const_cast<void**>(p.y), memory);
}
#endif

}}
}}

// The part of cuBLASLt that the library calls, computed by the host: the prototypes are those of its own header, linked in its place. Faithful to
// layouts, leading dimensions, factors, alignment that was promised, and to what the releases refuse; a call that is not here does not link.
#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#include <array>
#include <cstring>
#include <coterie/dtype.hpp>
#include "library.hpp"

namespace simt {
namespace {

// Attributes that older headers lack, by the numbers of the newer.
enum : int { batch_stride_alpha = 39, batch_stride_beta = 40, grouped_hint_first = 13, grouped_hint_last = 15 };

// What stands in the caller's opaque structs, of which the smallest has 64 bytes.
struct Layout {
  std::int32_t type = 0, groups = 0;               // groups > 0: arrays on the device
  std::uint64_t rows = 0, columns = 0;
  std::int64_t stride = 0;
  void const *row_array = nullptr, *column_array = nullptr, *stride_array = nullptr;
};
struct Operation {
  std::int32_t compute = 0, scale = 0, transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N, pointers = CUBLASLT_POINTER_MODE_HOST;
  std::int64_t alpha_stride = 0, beta_stride = 0;
};
struct Preference {
  std::uint64_t workspace = 0;
  std::array<std::uint32_t, 4> alignment{256, 256, 256, 256};
};
struct Algorithm {                                 // in cublasLtMatmulAlgo_t
  std::uint64_t workspace;
  std::array<std::uint32_t, 4> alignment;
};
static_assert(sizeof(Layout) <= 64 && sizeof(Preference) <= 64 && sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <class T, class Opaque> T& in(Opaque* p) { return *reinterpret_cast<T*>(p); }
template <class T> cublasStatus_t put(T& to, void const* from, std::size_t size) {
  if (!from || size != sizeof to) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&to, from, size);
  return CUBLAS_STATUS_SUCCESS;
}
// A call that may be made to fail.
template <class F> cublasStatus_t library_call(char const* name, F f) {
  cublasStatus_t status = CUBLAS_STATUS_INTERNAL_ERROR;
  (void)runtime_call(name, [&] { return status = f(), cudaSuccess; });
  return status;
}

std::size_t size_of(std::int32_t type) { return type == CUDA_R_32F ? 4 : 2; }
float number(std::int32_t type, void const* p, std::int64_t i) {
  if (type == CUDA_R_32F) return static_cast<float const*>(p)[i];
  return type == CUDA_R_16BF ? coterie::to_float(static_cast<coterie::bf16 const*>(p)[i]) : coterie::to_float(static_cast<coterie::fp16 const*>(p)[i]);
}
void store(std::int32_t type, void* p, std::int64_t i, float v) {
  if (type == CUDA_R_32F) static_cast<float*>(p)[i] = v;
  else if (type == CUDA_R_16BF) static_cast<coterie::bf16*>(p)[i] = coterie::from_float<coterie::bf16>(v);
  else static_cast<coterie::fp16*>(p)[i] = coterie::from_float<coterie::fp16>(v);
}

struct One {                                       // product: D[m, n] = alpha op(A) B + beta C, column-major
  std::int64_t m, n, k, a_rows, a_columns, lda, ldb, ldd;
  void const *a, *b;
  void* d;
  float alpha, beta;
};
void multiply(LibraryWork& memory, Operation const& o, std::int32_t type, std::int32_t to_type, One const& p) {
  std::size_t const size = size_of(type), to_size = size_of(to_type);
  auto const place = [](void const* base, std::int64_t c, std::int64_t stride, std::size_t bytes) { return static_cast<char*>(const_cast<void*>(base)) + static_cast<std::size_t>(c * stride) * bytes; };
  auto const column = [&](void const* base, std::int64_t c, std::int64_t stride) { return place(base, c, stride, size); };
  for (std::int64_t c = 0; c < p.a_columns; ++c)
    if (!memory.reads(column(p.a, c, p.lda), static_cast<std::size_t>(p.a_rows) * size)) return;
  for (std::int64_t c = 0; c < p.n; ++c)
    if (!memory.reads(column(p.b, c, p.ldb), static_cast<std::size_t>(p.k) * size)) return;
  std::vector<float> a(static_cast<std::size_t>(p.m * p.k)), b(static_cast<std::size_t>(p.k));
  for (std::int64_t i = 0; i < p.m; ++i)
    for (std::int64_t j = 0; j < p.k; ++j) a[static_cast<std::size_t>(i * p.k + j)] = number(type, p.a, o.transpose_a == CUBLAS_OP_T ? i * p.lda + j : j * p.lda + i);
  for (std::int64_t c = 0; c < p.n; ++c) {
    for (std::int64_t j = 0; j < p.k; ++j) b[static_cast<std::size_t>(j)] = number(type, p.b, c * p.ldb + j);
    void* const to = place(p.d, c, p.ldd, to_size);
    if (p.beta != 0 && !memory.reads(to, static_cast<std::size_t>(p.m) * to_size)) return;
    if (!memory.writes(to, static_cast<std::size_t>(p.m) * to_size)) return;
    for (std::int64_t i = 0; i < p.m; ++i) {
      float sum = 0;
      float const* const w = &a[static_cast<std::size_t>(i * p.k)];
      for (std::int64_t j = 0; j < p.k; ++j) sum += w[j] * b[static_cast<std::size_t>(j)];
      store(to_type, to, i, p.alpha * sum + (p.beta != 0 ? p.beta * number(to_type, to, i) : 0.f));
    }
  }
}
bool fits(One const& p) { return p.m >= 0 && p.n >= 0 && p.k >= 0 && p.lda >= p.a_rows && p.ldb >= p.k && p.ldd >= p.m; }

struct Call {
  Operation o;
  Layout a, b, d;
  void const *alpha, *beta, *from_a, *from_b;
  void *to, *workspace;
  std::uint64_t workspace_bytes;
};
void use_workspace(LibraryWork& memory, Call const& c) {
  if (c.workspace_bytes && memory.writes(c.workspace, c.workspace_bytes)) std::memset(c.workspace, 0xff, c.workspace_bytes);
}
void run_dense(LibraryWork& memory, Call const& c, float alpha, float beta) {
  use_workspace(memory, c);
  auto const n = [](std::uint64_t v) { return static_cast<std::int64_t>(v); };
  multiply(memory, c.o, c.a.type, c.d.type, {.m = n(c.d.rows), .n = n(c.d.columns), .k = n(c.b.rows), .a_rows = n(c.a.rows), .a_columns = n(c.a.columns), .lda = c.a.stride, .ldb = c.b.stride,
                                   .ldd = c.d.stride, .a = c.from_a, .b = c.from_b, .d = c.to, .alpha = alpha, .beta = beta});
}
void run_grouped(LibraryWork& memory, Call const& c) {
  use_workspace(memory, c);
  auto const groups = static_cast<std::size_t>(c.a.groups);
  for (Layout const* l : {&c.a, &c.b, &c.d})
    for (void const* array : {l->row_array, l->column_array, l->stride_array})
      if (!memory.reads(array, groups * 4)) return;
  for (void const* array : {c.from_a, c.from_b, static_cast<void const*>(c.to)})
    if (!memory.reads(array, groups * sizeof(void*))) return;
  auto const entry = [](void const* array, std::size_t g) { return std::int64_t{static_cast<std::int32_t const*>(array)[g]}; };
  auto const pointer = [](void const* array, std::size_t g) { return static_cast<void* const*>(array)[g]; };
  auto const factor = [&](void const* p, std::int64_t stride, std::size_t g, float& to) {
    if (stride && !memory.reads(p, groups * sizeof(void*))) return false;
    void const* const at = stride ? pointer(p, g) : p;
    if (!memory.reads(at, 4)) return false;
    return to = *static_cast<float const*>(at), true;
  };
  for (std::size_t g = 0; g < groups; ++g) {
    One p{.m = entry(c.d.row_array, g), .n = entry(c.d.column_array, g), .k = entry(c.b.row_array, g), .a_rows = entry(c.a.row_array, g), .a_columns = entry(c.a.column_array, g),
          .lda = entry(c.a.stride_array, g), .ldb = entry(c.b.stride_array, g), .ldd = entry(c.d.stride_array, g), .a = pointer(c.from_a, g), .b = pointer(c.from_b, g), .d = pointer(c.to, g), .alpha = 0, .beta = 0};
    if (!factor(c.alpha, c.o.alpha_stride, g, p.alpha) || !factor(c.beta, c.o.beta_stride, g, p.beta)) return;
    if (!fits(p) || p.m != p.a_columns || p.k != p.a_rows || p.n != entry(c.b.column_array, g)) return find("cublasLtMatmul: sizes of a group do not fit together", g, 0, 33);
    std::size_t const size = size_of(c.a.type);
    for (std::uintptr_t v : {reinterpret_cast<std::uintptr_t>(p.a), reinterpret_cast<std::uintptr_t>(p.b), reinterpret_cast<std::uintptr_t>(p.d), static_cast<std::uintptr_t>(p.lda) * size,
                             static_cast<std::uintptr_t>(p.ldb) * size, static_cast<std::uintptr_t>(p.ldd) * size})
      if (v % 16) return find("cublasLtMatmul: a group's matrix is not aligned to 16 bytes", g, 0, 34);
    multiply(memory, c.o, c.a.type, c.d.type, p);
  }
}

// Operands of one type, results of the same or of fp32; in groups the same.
bool known_types(Layout const& a, Layout const& b, Layout const& c, Layout const& d) {
  return a.type == b.type && c.type == d.type && (a.type == d.type || (d.type == CUDA_R_32F && a.groups == 0)) && (a.type == CUDA_R_32F || a.type == CUDA_R_16BF || a.type == CUDA_R_16F);
}
// What the releases know to do on the emulated device.
cublasStatus_t judge(Operation const& o, Layout const& a, Layout const& b, Layout const& c, Layout const& d) {
  if (o.compute != CUBLAS_COMPUTE_32F || o.scale != CUDA_R_32F || o.transpose_b != CUBLAS_OP_N || !known_types(a, b, c, d)) return CUBLAS_STATUS_NOT_SUPPORTED;
  if (a.groups != b.groups || a.groups != d.groups || c.groups != d.groups) return CUBLAS_STATUS_INVALID_VALUE;
  if (a.groups) {
    int const major = engine.config.device.major;
    bool const pointers = o.alpha_stride == 1 && o.beta_stride == 1, scalars = o.alpha_stride == 0 && o.beta_stride == 0;
    bool const known = major == 9 ? scalars : (major == 10 || major == 11) && pointers;
    return known && o.pointers == CUBLASLT_POINTER_MODE_DEVICE && a.type != CUDA_R_32F ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
  }
  bool const t = o.transpose_a == CUBLAS_OP_T;
  if ((t ? a.columns : a.rows) != d.rows || (t ? a.rows : a.columns) != b.rows || b.columns != d.columns || c.rows != d.rows || c.columns != d.columns) return CUBLAS_STATUS_INVALID_VALUE;
  for (Layout const* l : {&a, &b, &c, &d})
    if (l->stride < static_cast<std::int64_t>(l->rows)) return CUBLAS_STATUS_INVALID_VALUE;
  return o.pointers == CUBLASLT_POINTER_MODE_HOST ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}
bool keeps(std::uint32_t alignment, void const* p, Layout const& l) {
  return (reinterpret_cast<std::uintptr_t>(p) | static_cast<std::uintptr_t>(l.stride) * size_of(l.type)) % alignment == 0;
}
// In stand-ins of older headers these have other sizes.
template <class T> cublasStatus_t start(void* opaque, std::size_t size, T const& value) {
  if (!opaque || size < sizeof(T)) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(opaque, &value, sizeof value);
  return CUBLAS_STATUS_SUCCESS;
}

}
}

using namespace simt;
extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return library_call("cublasLtCreate", [&] {                              // memory of the device stands for what it holds
    *handle = reinterpret_cast<cublasLtHandle_t>(allocate_global(64));
    return *handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_ALLOC_FAILED;
  });
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  std::lock_guard const lock(runtime_mutex());
  Inside const inside;
  return free_global(handle) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
std::size_t cublasLtGetVersion() { return 131000; }
char const* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS: return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_INVALID_VALUE: return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED: return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_ALLOC_FAILED: return "CUBLAS_STATUS_ALLOC_FAILED";
    default: return "CUBLAS_STATUS_INTERNAL_ERROR";
  }
}
cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t o, std::size_t size, cublasComputeType_t compute, cudaDataType_t scale) {
  return library_call("cublasLtMatmulDescInit", [&] { return start(o, size, Operation{.compute = compute, .scale = scale}); });
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc, cublasLtMatmulDescAttributes_t what, void const* from, std::size_t size) {
  return library_call("cublasLtMatmulDescSetAttribute", [&] {
    Operation& o = in<Operation>(desc);
    switch (static_cast<int>(what)) {
      case CUBLASLT_MATMUL_DESC_TRANSA: return put(o.transpose_a, from, size);
      case CUBLASLT_MATMUL_DESC_TRANSB: return put(o.transpose_b, from, size);
      case CUBLASLT_MATMUL_DESC_POINTER_MODE: return put(o.pointers, from, size);
      case batch_stride_alpha: return put(o.alpha_stride, from, size);
      case batch_stride_beta: return put(o.beta_stride, from, size);
      default: return CUBLAS_STATUS_NOT_SUPPORTED;
    }
  });
}
cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, std::size_t size, cudaDataType type, std::uint64_t rows, std::uint64_t columns, std::int64_t stride) {
  return library_call("cublasLtMatrixLayoutInit", [&] { return start(l, size, Layout{.type = type, .rows = rows, .columns = columns, .stride = stride}); });
}
cublasStatus_t cublasLtGroupedMatrixLayoutInit_internal(cublasLtMatrixLayout_t l, std::size_t size, cudaDataType type, int groups, void const* rows, void const* columns, void const* strides) {
  return library_call("cublasLtGroupedMatrixLayoutInit", [&] {
    if (groups < 1) return CUBLAS_STATUS_INVALID_VALUE;
    return start(l, size, Layout{.type = type, .groups = groups, .row_array = rows, .column_array = columns, .stride_array = strides});
  });
}
cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t p, std::size_t size) {
  return library_call("cublasLtMatmulPreferenceInit", [&] { return start(p, size, Preference{}); });
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t pref, cublasLtMatmulPreferenceAttributes_t what, void const* from, std::size_t size) {
  int const number = what;
  if (number >= grouped_hint_first && number <= grouped_hint_last) return from && (size == 4 || size == 8) ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;   // a hint: nobody minds its failing
  return library_call("cublasLtMatmulPreferenceSetAttribute", [&] {
    Preference& p = in<Preference>(pref);
    if (what == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) return put(p.workspace, from, size);
    if (number < CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES || number > CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES) return CUBLAS_STATUS_NOT_SUPPORTED;
    return put(p.alignment[static_cast<std::size_t>(number - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES)], from, size);
  });
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t o, cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t pref, int wanted, cublasLtMatmulHeuristicResult_t* results, int* count) {
  return library_call("cublasLtMatmulAlgoGetHeuristic", [&] {
    *count = 0;
    if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
    cublasStatus_t const status = judge(in<Operation>(o), in<Layout>(a), in<Layout>(b), in<Layout>(c), in<Layout>(d));
    if (status != CUBLAS_STATUS_SUCCESS) return status;
    Preference const& p = in<Preference>(pref);
    results[0] = {};
    results[0].workspaceSize = p.workspace < 4096 ? p.workspace : 4096;
    in<Algorithm>(&results[0].algo) = {.workspace = results[0].workspaceSize, .alignment = p.alignment};
    *count = 1;
    return status;
  });
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t o, void const* alpha, void const* a, cublasLtMatrixLayout_t la, void const* b, cublasLtMatrixLayout_t lb, void const* beta,
                              void const* c, cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld, cublasLtMatmulAlgo_t const* algo, void* workspace, std::size_t bytes, cudaStream_t stream) {
  Call call{.o = in<Operation>(o), .a = in<Layout>(la), .b = in<Layout>(lb), .d = in<Layout>(ld), .alpha = alpha, .beta = beta, .from_a = a, .from_b = b, .to = d, .workspace = workspace,
            .workspace_bytes = 0};
  cublasStatus_t const status = judge(call.o, call.a, call.b, in<Layout>(lc), call.d);
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  if (!algo || c != d) return CUBLAS_STATUS_NOT_SUPPORTED;
  Algorithm const& how = in<Algorithm const>(algo);
  if (bytes < how.workspace || reinterpret_cast<std::uintptr_t>(workspace) % 16) return CUBLAS_STATUS_INVALID_VALUE;
  call.workspace_bytes = how.workspace;
  bool const grouped = call.a.groups > 0;
  if (!grouped && (!keeps(how.alignment[0], a, call.a) || !keeps(how.alignment[1], b, call.b) || !keeps(how.alignment[2], c, call.d) || !keeps(how.alignment[3], d, call.d)))
    return CUBLAS_STATUS_INVALID_VALUE;                                    // less aligned than the preference promised
  float const one = grouped ? 0 : *static_cast<float const*>(alpha), zero = grouped ? 0 : *static_cast<float const*>(beta);
  cudaError_t const code = queue_library_call("cublasLtMatmul", stream, [=](LibraryWork& memory) {
    if (grouped) run_grouped(memory, call);
    else run_dense(memory, call, one, zero);
  });
  return code == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}
#endif

// A layer of libraries' stages: logits by cuBLASLt, dispatch by CUB's radix sort, experts by cuBLASLt. A peer in the benchmarks and a second opinion; needs
// libcublasLt, and seconds more of compile time than cuda.cuh.
//   ct::Layer<C, ct::Cuda, ct::LibraryStages<C>> layer{packed.view()};
#pragma once
#include "cuda.cuh"
#include "dispatch/cub.cuh"
#include "experts/cublaslt.cuh"
#include "experts/cublaslt_grouped.cuh"
#include "router/cublaslt.cuh"

namespace coterie { inline namespace v0 {

// Grouped matmul where the headers have it and it takes the type: then the layer only enqueues, and refuses a device without it by a
// sentence. Else a product per expert, for which the host waits.
template <Config C> struct library_experts { using type = CublasltExperts<C>; };
#if CUBLAS_VERSION >= 130300
template <Config C> requires(C.dtype == DType::bf16 || C.dtype == DType::fp16) struct library_experts<C> { using type = CublasltGroupedExperts<C>; };
#endif

template <Config C>
struct LibraryStages : Stages<C, Cuda> {
  static constexpr Config config = C;
  CublasltRouter<config> router;
  CubDispatch<config> dispatch;
  typename library_experts<config>::type experts;
};

}}

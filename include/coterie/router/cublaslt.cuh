// The router with its logits by cuBLASLt, which splits the inputs of many tokens over the device as it sees fit. The choice is our own.
#pragma once
#include "../device/cublaslt.cuh"
#include "cuda.cuh"

namespace coterie { inline namespace v0 {

namespace device { inline namespace COTERIE_CUDA_BUILD {

// Adds the bias and rounds, in place. An ordinary launch: what is ahead is the library's.
template <class Store> __global__ void __launch_bounds__(256) finish_logits_kernel(Store const store, std::int64_t rows) {
  std::int64_t const n = rows * store.columns;
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
    std::int64_t const row = i / store.columns;
    int const column = static_cast<int>(i % store.columns);
    *store.at(row, column) = store.value(0, row, column, *store.at(row, column));
  }
}

// Products of two matrices of one type; others (jittered inputs, weights wider than x) are multiplied by our own.
struct CublasltLogits {
  CublasLt lt;
  std::span<std::byte> memory;
  template <class P> void operator()(Cuda const& on, Arch path, P const& p, bool wide, bool split, Where at) const {
    if constexpr (std::is_same_v<typename P::A, typename P::B>) {
      dense_product(lt, on, DenseProduct<typename P::A, float>{.w = p.b, .outputs = p.epilogue.columns, .inputs = p.inputs, .pitch = p.b_pitch, .x = p.a, .rows = p.groups.rows, .x_stride = p.a_stride,
                                                               .y = p.epilogue.to, .y_stride = p.epilogue.stride}, memory, at);
      Launch how = strided(on, p.groups.rows * p.epilogue.columns);
      how.programmatic = 0;
      launch(finish_logits_kernel<typename P::Epilogue>, how, on.stream, at, p.epilogue, p.groups.rows);
    } else {
      OwnLogits{}(on, path, p, wide, split, at);
    }
  }
};

}}

template <Config C>
class CublasltRouter {
  using Own = Router<C, Cuda>;

 public:
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;

  std::size_t workspace_bytes(Cuda const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens);
    return arena.used();
  }
  // As Router<C, Cuda>.
  void operator()(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& to, std::span<std::byte> scratch, Where at = Where::here()) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"CublasltRouter", at};
    arguments.tokens<config>(n);
    if (n == 0) return;
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    Arena arena{scratch};
    Pieces const p = carve(arena, on, n);
    Own{}.run(on, in, packed, to, p.own, at, device::CublasltLogits{lt_, p.cublas});
  }
  std::string explain(Cuda const& on, std::int64_t tokens) const {
    return Own::learned ? "logits by cuBLASLt " + device::cublas_version(cublasLtGetVersion()) + "; the choice by our own kernels, for " + std::to_string(tokens) + " tokens" : Own{}.explain(on, tokens);
  }

 private:
  struct Pieces { std::span<std::byte> own, cublas; };
  static Pieces carve(Arena& arena, Cuda const& on, std::int64_t tokens) {
    Pieces p{};
    p.own = arena.rest(Own{}.workspace_bytes(on, tokens));
    p.cublas = arena.rest(Own::learned ? device::cublas_bytes : 0);
    return p;
  }
  device::CublasLt lt_;
};

}}

// Dense products by cuBLASLt: the peak that percentages refer to, and a dense SwiGLU FFN to compare a layer with.
#pragma once
#include <coterie/device/cublaslt.cuh>
#include <stdexcept>
#include "gpu.cuh"

namespace bench {

inline cublasLtHandle_t cublaslt() {
  static cublasLtHandle_t const handle = [] {
    cublasLtHandle_t h;
    check(cublasLtCreate(&h));
    return h;
  }();
  return handle;
}

// y[T,N] = x[T,K] w[N,K]^T in bf16 with fp32 sums, by the first algorithm that cuBLASLt proposes.
class Matmul {
 public:
  Matmul(std::int64_t rows, std::int64_t columns, std::int64_t inputs) : workspace_(std::int64_t{64} << 20) {
    check(cublasLtMatmulDescCreate(&product_, CUBLAS_COMPUTE_32F, CUDA_R_32F));
    cublasOperation_t const transposed = CUBLAS_OP_T;                    // column-major: y^T = w x^T
    check(cublasLtMatmulDescSetAttribute(product_, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed));
    auto const layout = [](cublasLtMatrixLayout_t& l, std::int64_t r, std::int64_t c) {
      check(cublasLtMatrixLayoutCreate(&l, CUDA_R_16BF, static_cast<std::uint64_t>(r), static_cast<std::uint64_t>(c), r));
    };
    layout(w_, inputs, columns), layout(x_, inputs, rows), layout(y_, columns, rows);
    cublasLtMatmulPreference_t wish;
    check(cublasLtMatmulPreferenceCreate(&wish));
    std::size_t const most = workspace_.span().size();
    check(cublasLtMatmulPreferenceSetAttribute(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most));
    int found = 0;
    check(cublasLtMatmulAlgoGetHeuristic(cublaslt(), product_, w_, x_, y_, y_, wish, 1, &how_, &found));
    check(cublasLtMatmulPreferenceDestroy(wish));
    if (!found) throw std::runtime_error("cuBLASLt: no algorithm for a dense product");
  }
  ~Matmul() {
    cublasLtMatrixLayoutDestroy(w_), cublasLtMatrixLayoutDestroy(x_), cublasLtMatrixLayoutDestroy(y_);
    cublasLtMatmulDescDestroy(product_);
  }
  Matmul(Matmul const&) = delete;
  Matmul& operator=(Matmul const&) = delete;
  void operator()(Cuda const& on, bf16 const* x, bf16 const* w, bf16* y) const {
    float const one = 1, zero = 0;
    check(cublasLtMatmul(cublaslt(), product_, &one, w, w_, x, x_, &zero, y, y_, y, y_, &how_.algo, workspace_.data(), workspace_.span().size(), on.stream));
  }

 private:
  cublasLtMatmulDesc_t product_{};
  cublasLtMatrixLayout_t w_{}, x_{}, y_{};
  cublasLtMatmulHeuristicResult_t how_{};
  Memory<std::byte> workspace_;
};

// a[T,F] = silu(gate) * up, from [T,2F] with the gates first.
static __global__ void swiglu_kernel(bf16 const* gate_up, bf16* a, std::int64_t rows, std::int64_t ffn) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < rows * ffn / 8; i += std::int64_t{gridDim.x} * blockDim.x) {
    std::int64_t const t = i / (ffn / 8), f = i % (ffn / 8) * 8;
    float gate[8], up[8];
    device::load_wide<8>(gate_up + t * 2 * ffn + f, gate);
    device::load_wide<8>(gate_up + t * 2 * ffn + ffn + f, up);
    for (int j = 0; j < 8; ++j) gate[j] = gate[j] / (1 + __expf(-gate[j])) * up[j];
    device::store_wide<8>(a + t * ffn + f, gate);
  }
}

// A dense FFN as wide as what a token of the layer passes through; ffn a multiple of 8.
class DenseFfn {
 public:
  DenseFfn(Cuda const& on, std::int64_t rows, std::int64_t hidden, std::int64_t ffn)
      : on_(on), rows_(rows), ffn_(ffn), up_(rows, 2 * ffn, hidden), down_(rows, hidden, ffn), w_up_(2 * ffn * hidden), w_down_(ffn * hidden), x_(rows * hidden),
        gate_up_(rows * 2 * ffn), a_(rows * ffn), y_(rows * hidden) {
    noise(on, w_up_.data(), 2 * ffn * hidden, 1 / std::sqrt(static_cast<float>(hidden)), 1);
    noise(on, w_down_.data(), ffn * hidden, 1 / std::sqrt(static_cast<float>(ffn)), 2);
    noise(on, x_.data(), rows * hidden, 1, 3);
  }
  void operator()() const {
    up_(on_, x_.data(), w_up_.data(), gate_up_.data());
    launch(swiglu_kernel, device::elementwise(rows_ * ffn_ / 8), on_.stream, Where::here(), gate_up_.data(), a_.data(), rows_, ffn_);
    down_(on_, a_.data(), w_down_.data(), y_.data());
  }

 private:
  Cuda on_;
  std::int64_t rows_, ffn_;
  Matmul up_, down_;
  Memory<bf16> w_up_, w_down_, x_, gate_up_, a_, y_;
};

// The device's limits, measured in this run.
struct Limits {
  double copy = 0, read = 0;                     // bytes per second of a large copy, read plus written, and of a kernel that only reads
  double bytes = 0;                              // the larger of both
  double flops = 0;                              // per second, a large dense bf16 product on noise
  double empty_us = 0;                           // a captured graph of one empty kernel: every stage's time contains as much
};
inline Limits measure_limits(Cuda const& on, Stopwatch& time) {
  Limits l;
  {
    constexpr std::int64_t n = std::int64_t{2} << 30;
    Memory<std::byte> const from(n), to(n);
    noise(on, reinterpret_cast<bf16*>(from.data()), n / 2, 1, 4);
    l.copy = 2. * n / (1e-6 * time([&] { check(cudaMemcpyAsync(to.data(), from.data(), n, cudaMemcpyDeviceToDevice, on.stream)); }).best);
    l.read = n / (1e-6 * time([&] { read(on, from.span(), reinterpret_cast<std::uint32_t*>(to.data())); }).best);
    l.bytes = std::max(l.copy, l.read);
  }
  Graph const empty{on.stream, [&] { launch(empty_kernel, {.grid = dim3(1), .block = dim3(32)}, on.stream, Where::here()); }};
  l.empty_us = time([&] { empty.launch(on.stream); }).median;
  constexpr std::int64_t n = 8192;
  Matmul const product(n, n, n);
  Memory<bf16> const x(n * n), w(n * n), y(n * n);
  noise(on, x.data(), n * n, 1, 1), noise(on, w.data(), n * n, 1, 2);
  l.flops = 2. * n * n * n / (1e-6 * time([&] { product(on, x.data(), w.data(), y.data()); }).best);
  return l;
}

}

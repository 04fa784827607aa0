// The experts by cuBLASLt, a product per expert: a baseline.
#pragma once
#include <array>
#include "cublaslt_ffn.cuh"

namespace coterie { inline namespace v0 {

// A product per expert that has rows. The host waits until it knows how many each has, so this cannot be captured in a graph.
template <Config C>
class CublasltExperts : CublasltFfn<C> {
  using Ffn = CublasltFfn<C>;

 public:
  static constexpr Config config = C;
  static constexpr bool enqueues_only = false;
  using V = typename Ffn::V;
  using Layout = typename Ffn::Layout;

  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    Ffn::carve(arena, tokens, false);
    return arena.used();
  }
  // x[T,W] -> out[R,W], as Experts<C, Cuda>.
  void operator()(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, Rows<V, width(C)> out,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    std::array<std::int32_t, C.experts + 1> begin{};
    Ffn::run("CublasltExperts", on, x, packed, batch, out, scratch, x.rows > 0 ? workspace_bytes(on, x.rows) : 0, false, at, [&](typename Ffn::Task const& t) {
      check(cudaMemcpyAsync(begin.data(), t.begin, sizeof begin, cudaMemcpyDeviceToHost, on.stream), at);
      check(cudaStreamSynchronize(on.stream), at);
      for (std::size_t e = 0; e < C.experts; ++e)
        require(begin[e] >= 0 && begin[e + 1] >= begin[e] && begin[e + 1] <= t.rows, "CublasltExperts: batch.begin must grow up to the rows of the batch", begin[e + 1], t.rows, at);
    }, [&](typename Ffn::Task const& t, int second) {
      for (int e = t.first; e < t.first + t.count; ++e) {
        std::int64_t const from = begin[static_cast<std::size_t>(e)], n = begin[static_cast<std::size_t>(e) + 1] - from;
        if (n == 0) continue;
        device::DenseProduct<V> const up{.w = t.gate_up + e * t.expert, .outputs = Ffn::up_outputs, .inputs = Layout::gate_up.pitch(), .pitch = Layout::gate_up.pitch(),
                                         .x = t.p.a + from * Layout::gate_up.pitch(), .rows = n, .x_stride = Layout::gate_up.pitch(), .y = t.p.up + from * Ffn::up_pitch, .y_stride = Ffn::up_pitch};
        device::DenseProduct<V> const down{.w = t.down + e * t.expert, .outputs = width(C), .inputs = Layout::down.pitch(), .pitch = Layout::down.pitch(), .x = t.p.h + from * Layout::down.pitch(),
                                           .rows = n, .x_stride = Layout::down.pitch(), .y = t.out + from * t.out_stride, .y_stride = t.out_stride};
        device::dense_product(lt_, on, second ? down : up, t.p.cublas[second], at);
      }
    });
  }
  std::string explain(Cuda const&, std::int64_t tokens) const {
    return "cuBLASLt " + device::cublas_version(cublasLtGetVersion()) + ": two products for each of " + std::to_string(C.experts) + " experts, after the host has read their counts; a baseline, up to " +
           std::to_string(rows_bound(C, tokens)) + " rows";
  }

 private:
  device::CublasLt lt_;
};

}}

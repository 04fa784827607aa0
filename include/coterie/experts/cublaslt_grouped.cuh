// The experts by cuBLASLt, one product for all groups, sizes on the device: enqueues only.
#pragma once
#include "cublaslt_ffn.cuh"

namespace coterie { inline namespace v0 {

#if CUBLAS_VERSION >= 130200
namespace device { inline namespace COTERIE_CUDA_BUILD {

// Sizes and places of every group's two products, for cuBLASLt to read.
struct GroupTables {
  std::int32_t* rows;
  std::int32_t *outputs[2], *inputs[2], *y_stride[2];
  void const** w[2];
  void const** x[2];
  void** y[2];
  float const** one;
  float const** zero;
  float* factors;
};
template <class V> struct GroupSizes {
  std::int32_t const* begin;
  int first, count;
  std::int64_t expert;
  std::int64_t outputs[2], inputs[2], y_stride[2];
  V const* w[2];
  V const* x[2];
  V* y[2];
};
template <class V> __global__ void __launch_bounds__(256) group_tables_kernel(GroupTables const t, GroupSizes<V> const p) {
  int const g = static_cast<int>(blockIdx.x * 256 + threadIdx.x);
  ptx::grid_dependency_launch();                 // launched when all kernels ahead are over
  if (g == 0) t.factors[0] = 1, t.factors[1] = 0;
  if (g >= p.count) return;
  std::int64_t const from = p.begin[p.first + g];
  t.rows[g] = static_cast<std::int32_t>(p.begin[p.first + g + 1] - from);
  t.one[g] = t.factors, t.zero[g] = t.factors + 1;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    t.outputs[i][g] = static_cast<std::int32_t>(p.outputs[i]), t.inputs[i][g] = static_cast<std::int32_t>(p.inputs[i]), t.y_stride[i][g] = static_cast<std::int32_t>(p.y_stride[i]);
    t.w[i][g] = p.w[i] + (p.first + g) * p.expert;
    t.x[i][g] = p.x[i] + from * p.inputs[i];
    t.y[i][g] = p.y[i] + from * p.y_stride[i];
  }
}

}}

// Grouped matmul, for 16-bit types. Its first release is wrong for empty groups, hence not 13.2; Hopper came with 13.4, of which NVIDIA
// says that products which share a workspace may hang there: the two products of a layer have one each.
template <Config C>
class CublasltGroupedExperts : CublasltFfn<C> {
  using Ffn = CublasltFfn<C>;

 public:
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  using V = typename Ffn::V;
  using Layout = typename Ffn::Layout;
  static_assert(sizeof(V) == 2, "coterie: grouped matmul of cuBLASLt needs a 16-bit Config::dtype");

  // Whether the library that runs has it for this device.
  static bool supports(Cuda const& on) {
    std::size_t const version = CUBLAS_VERSION < cublasLtGetVersion() ? CUBLAS_VERSION : cublasLtGetVersion();
    if (on.device.major == 9) return on.device.minor == 0 && version >= 130400;
    return (on.device.major == 10 || on.device.major == 11) && version >= 130300;
  }
  std::size_t workspace_bytes(Cuda const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }
  // x[T,W] -> out[R,W], as Experts<C, Cuda>. Rows of out must be aligned to 16 bytes.
  void operator()(Cuda const& on, Rows<V const, width(C)> x, PackedView<config, Cuda> packed, Batch<config> const& batch, Rows<V, width(C)> out,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    if (!supports(on))
      fail("CublasltGroupedExperts: grouped matmul needs cuBLAS 13.4 on a device of compute capability 9.0, 13.3 on 10.x and 11.x: compiled with " + device::cublas_version(CUBLAS_VERSION) +
           ", running " + device::cublas_version(cublasLtGetVersion()) + " on " + on.capability() + "; CublasltExperts and Experts work here", at);
    auto const misaligned = static_cast<std::int64_t>((reinterpret_cast<std::uintptr_t>(out.data) | static_cast<std::uintptr_t>(out.stride) * sizeof(V)) % 16);
    require(x.rows == 0 || misaligned == 0, "CublasltGroupedExperts: rows of out must be aligned to 16 bytes", misaligned, 0, at);
    constexpr std::int64_t up_inputs = Layout::gate_up.pitch(), down_inputs = Layout::down.pitch();
    device::GroupTables tables{};
    Ffn::run("CublasltGroupedExperts", on, x, packed, batch, out, scratch, x.rows > 0 ? workspace_bytes(on, x.rows) : 0, true, at, [&](typename Ffn::Task const& t) {
      Arena arena{scratch};
      tables = carve(arena, x.rows);
      launch(device::group_tables_kernel<V>, {.grid = dim3(static_cast<unsigned>(device::ceil_div(t.count, 256))), .block = dim3(256)}, on.stream, at, tables,
             device::GroupSizes<V>{.begin = t.begin, .first = t.first, .count = t.count, .expert = t.expert, .outputs = {Ffn::up_outputs, width(C)}, .inputs = {up_inputs, down_inputs},
                                   .y_stride = {Ffn::up_pitch, t.out_stride}, .w = {t.gate_up, t.down}, .x = {t.p.a, t.p.h}, .y = {t.p.up, t.out}});
    }, [&](typename Ffn::Task const& t, int second) {
      device::grouped_product<V>(lt_, on, {.groups = t.count, .outputs = tables.outputs[second], .inputs = tables.inputs[second], .rows = tables.rows, .y_stride = tables.y_stride[second],
                                           .w = tables.w[second], .x = tables.x[second], .y = tables.y[second], .one = tables.one, .zero = tables.zero, .factors = tables.factors,
                                           .mean_outputs = second ? width(C) : Ffn::up_outputs, .mean_inputs = second ? down_inputs : up_inputs, .mean_rows = device::ceil_div(t.rows, C.experts)},
                                 t.p.cublas[second], at);
    });
  }
  std::string explain(Cuda const& on, std::int64_t tokens) const {
    return "cuBLASLt " + device::cublas_version(cublasLtGetVersion()) + ": two grouped products of " + std::to_string(C.experts) + " experts, sizes on the device, up to " +
           std::to_string(rows_bound(C, tokens)) + " rows" + (supports(on) ? "" : " (refused here: this library or device has none)");
  }

 private:
  static device::GroupTables carve(Arena& arena, std::int64_t tokens) {
    Ffn::carve(arena, tokens, true);
    device::GroupTables t{};
    t.rows = arena.take<std::int32_t>(C.experts);
    for (int i : {0, 1}) {
      t.outputs[i] = arena.take<std::int32_t>(C.experts), t.inputs[i] = arena.take<std::int32_t>(C.experts), t.y_stride[i] = arena.take<std::int32_t>(C.experts);
      t.w[i] = arena.take<void const*>(C.experts), t.x[i] = arena.take<void const*>(C.experts), t.y[i] = arena.take<void*>(C.experts);
    }
    t.one = arena.take<float const*>(C.experts), t.zero = arena.take<float const*>(C.experts);
    t.factors = arena.take<float>(2);
    return t;
  }
  device::CublasLt lt_;
};
#else

template <Config C> struct CublasltGroupedExperts {
  static constexpr Config config = C;
  static_assert(C.experts < 0, "coterie::CublasltGroupedExperts: grouped matmul needs the headers of cuBLAS 13.2 or later; CublasltExperts and Experts do with these");
};

#endif

}}

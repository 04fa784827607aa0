// The experts by cuBLASLt: two products around a small kernel for the activation. It has no gather, no activation of pairs and no
// rows of 16 bits with sums of 32 behind them, so rows are gathered into scratch, and what lies between the products is rounded to the
// layer's type in memory, as it is in a framework that calls cuBLAS.
//   CublasltExperts         a product per expert, from counts that the host reads: a baseline, which waits for the device
//   CublasltGroupedExperts  one product for all groups, sizes on the device: enqueues only
// Weights are read where Packer put them: a packed gate-and-up matrix is a matrix of twice the outputs, interleaved by 8.
#pragma once
#include <array>
#include "../arguments.hpp"
#include "../device/activate_rows.cuh"
#include "../device/cublaslt.cuh"
#include "../device/memory.cuh"
#include "../dispatch/capacity.hpp"

namespace coterie { inline namespace v0 {

// What both have in common: everything but who multiplies.
template <Config C>
class CublasltFfn {
 public:
  static constexpr Config config = C;
  static constexpr int E = C.experts, F = C.ffn, W = width(C);
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  using Stage = device::FfnStage<V, typename Layout::ExpertT, C.expert>;
  static_assert(C.weights == C.dtype, "coterie: cuBLASLt multiplies matrices of one type: Config::weights must be Config::dtype");
  static constexpr bool weigh_input = C.router.place == Place::input;
#if defined(COTERIE_SIMT)
  static constexpr std::size_t library_bytes = std::size_t{64} << 10;
#else
  static constexpr std::size_t library_bytes = std::size_t{32} << 20;    // what NVIDIA recommends for Hopper
#endif
  static constexpr std::int64_t up_outputs = Layout::gate_up.rows(), up_pitch = device::round_up(up_outputs, device::interleave);

 protected:
  struct Pieces {
    V* a;                                        // [R][pitch of W] gathered
    V* up;                                       // [R][up_pitch]
    V* h;                                        // [R][pitch of F]
    std::span<std::byte> cublas[2];              // for either product
  };
  static Pieces carve(Arena& arena, std::int64_t tokens, bool apart) {
    std::int64_t const rows = rows_bound(C, tokens);
    Pieces p{};
    p.a = arena.take<V>(rows * Layout::gate_up.pitch());
    p.up = arena.take<V>(rows * up_pitch);
    p.h = arena.take<V>(rows * Layout::down.pitch());
    p.cublas[0] = arena.rest(library_bytes);
    p.cublas[1] = apart ? arena.rest(library_bytes) : p.cublas[0];
    return p;
  }
  // What one call is about.
  struct Task {
    Pieces p;
    V const *gate_up, *down;                     // of expert 0
    std::int64_t expert;                         // elements from one expert's to the next one's
    std::int32_t const* begin;
    int first, count;
    std::int64_t rows;                           // at most
    V* out;
    std::int64_t out_stride;
  };

  // Refuses, prepare(task), gathers; products(task, 0) and products(task, 1) multiply. apart: each product has memory of its own to work in.
  template <class Prepare, class Products>
  static void run(char const* name, Cuda const& on, Rows<V const, W> x, PackedView<config, Cuda> packed, Batch<config> const& batch, Rows<V, W> out,
                  std::span<std::byte> scratch, std::size_t want, bool apart, Where at, Prepare const& prepare, Products const& products) {
    std::int64_t const tokens = x.rows, rows = rows_bound(C, tokens);
    Arguments arguments{name, at};
    arguments.tokens<config>(tokens);
    if (tokens == 0) return;
    experts_arguments<config>(arguments, x, packed, batch);
    require(out.rows >= rows, "Experts: out must have a row for every row that the tokens may be routed to", out.rows, rows, at);
    arguments.reads("batch.token", batch.token, rows);
    if constexpr (weigh_input) arguments.reads("batch.weight", batch.weight, rows);
    arguments.writes("out", out, rows);
    arguments.scratch("scratch", scratch, want);
    (void)on.path(at);
    arguments.resident(on, packed.data);
    if (rows == 0 || packed.experts == 0) return;
    Arena arena{scratch};
    device::Reader<config> const weights{packed.data};
    auto const& l = weights.layout;
    Task const t{.p = carve(arena, tokens, apart), .gate_up = weights.template at<V>(l.expert_panels), .down = weights.template at<V>(l.expert_panels + l.expert_down),
                 .expert = static_cast<std::int64_t>(l.expert_stride / sizeof(V)), .begin = batch.begin, .first = packed.first_expert, .count = packed.experts, .rows = rows,
                 .out = out.data, .out_stride = out.stride};
    prepare(t);
    device::GroupRows const owned{.begin = batch.begin, .first = t.first, .count = t.count};
    auto const bias = [&](std::size_t offset) { return C.expert.bias ? weights.floats(offset) : nullptr; };
    Launch const by_row{.grid = dim3(static_cast<unsigned>(rows < 65536 ? rows : 65536)), .block = dim3(256)};
    device::stage_rows(on, device::StageRows<V>{.from = x.data, .from_stride = x.stride, .inputs = W, .map = batch.token, .weight = weigh_input ? batch.weight : nullptr,
                       .rows = batch.begin + E, .most = rows, .to = t.p.a, .pitch = Layout::gate_up.pitch()}, at);
    products(t, 0);
    device::StoreHidden<Stage> const hidden{.to = t.p.h, .stride = Layout::down.pitch(), .columns = static_cast<int>(Layout::down.pitch()), .valid = F,
                                            .gate_bias = Layout::has_gate ? bias(l.gate_bias) : nullptr, .up_bias = bias(l.up_bias)};
    launch(device::activate_rows_kernel<Stage>, by_row, on.stream, at, device::ActivateRows<Stage>{.rows = owned, .from = t.p.up, .pitch = up_pitch, .hidden = hidden});
    products(t, 1);
    if constexpr (C.expert.bias) launch(device::add_bias_kernel<V>, by_row, on.stream, at, owned, out.data, out.stride, W, bias(l.down_bias));
  }
};

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
#endif

}}

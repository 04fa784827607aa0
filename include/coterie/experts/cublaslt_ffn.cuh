// What the experts by cuBLASLt have in common: two products around a small kernel for the activation. cuBLASLt has no gather, no
// activation of pairs and no rows of 16 bits with sums of 32 behind them, so rows are gathered into scratch, and what lies between the
// products is rounded to the layer's type in memory, as it is in a framework that calls cuBLAS.
// Weights are read where Packer put them: a packed gate-and-up matrix is a matrix of twice the outputs, interleaved by 8.
#pragma once
#include "../arguments.hpp"
#include "../device/activate_rows.cuh"
#include "../device/cublaslt.cuh"
#include "../device/memory.cuh"
#include "../dispatch/capacity.hpp"

namespace coterie { inline namespace v0 {

// Everything but who multiplies.
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
    p.cublas[0] = arena.rest(device::cublas_bytes);
    p.cublas[1] = apart ? arena.rest(device::cublas_bytes) : p.cublas[0];
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

}}

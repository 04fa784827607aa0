// Few tokens on the GPU: the logits, then two kernels for selection, dispatch, experts and combine (device/decode.cuh), with the bits that
// the stages give one after the other. Batch is not filled.
#pragma once
#include "../combine/cuda.cuh"
#include "../device/decode.cuh"
#include "../dispatch/cuda.cuh"
#include "../layer.hpp"
#include "../router/cuda.cuh"
#include "cuda.cuh"

namespace coterie { inline namespace v0 {

template <Config C>
struct Decode<C, Cuda> {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  using Layout = device::PackedLayout<config>;
  using Ffn = typename Experts<config, Cuda>::Stage;
  using Up = device::UpProduct<Ffn>;
  using Down = device::DownProduct<Ffn>;
  static constexpr int H = C.hidden;
  // A warp selects (among more experts it would need registers that the stream has), nobody is dropped, and rows are streamed where they are.
  static constexpr bool suits = route::WarpProgram<config>::suits && logit_columns(C) <= 512 && C.capacity.rounding == Rounding::none && is_float(C.weights) && !C.batch_invariant &&
                                !Experts<config, Cuda>::staged && C.expert.latent == 0;

  static bool few(Cuda const& on, std::int64_t tokens, Where at = Where::here()) { return tokens > 0 && tokens <= device::decode_tokens && on.path(at) != Arch::plain; }
  bool takes(Cuda const& on, Inputs<config> const& in, Where at) const { return few(on, in.x.rows, at) && device::wide_rows(in.x.data, in.x.stride); }

  // Never less for more tokens, although more than a few are the stages' business.
  std::size_t workspace_bytes(Cuda const& on, std::int64_t tokens) const {
    Arena arena;
    carve(arena, on, tokens < device::decode_tokens ? tokens : device::decode_tokens);
    return arena.used();
  }

  // The logits, and x to hidden values; fills routing.
  void hidden(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Batch<config> const& batch,
              std::span<std::byte> scratch, Where at) const {
    std::int64_t const tokens = in.x.rows;
    Arena arena{scratch};
    Pieces const p = carve(arena, on, tokens);
    Arguments router{"Router", at}, dispatch{"Dispatch", at}, experts{"Experts", at};                  // what each stage asks of the caller's inputs
    router_arguments<config>(router, in, routing, true);
    device::RouteWork<config> const route = Router<config, Cuda>{}.prepare(on, in, packed, routing, p.router, router, at);
    dispatch_arguments<config>(dispatch, in, routing, batch);
    experts_arguments<config>(experts, in.x, packed, batch);
    device::Reader<config> const weights{packed.data};
    auto const& l = weights.layout;
    Up const up = device::up_product({}, Experts<config, Cuda>::weights(packed), rows(in, p));
    std::int64_t const hits = rows_bound(C, tokens) < C.experts ? rows_bound(C, tokens) : C.experts, warps = hits * device::column_tiles(up, device::stream_outputs);
    launch(on, device::decode_hidden_kernel<Decode>, device::ceil_div(warps, threads(on) / 32), sizeof(device::FewRows<slots(C)>), at,
           device::DecodeHidden<Decode>{.route = route, .up = up, .mix_vectors = weights.floats(l.shared_mix), .dots = p.dots});
  }

  // Hidden values, and the shared experts' rows, to y[T,H].
  void out(Cuda const& on, Inputs<config> const& in, PackedView<config, Cuda> packed, Routing<config> const& routing, Rows<V const, C.hidden> shared, Rows<V, C.hidden> y,
           std::span<std::byte> scratch, Where at) const {
    Arena arena{scratch};
    Pieces const p = carve(arena, on, in.x.rows);
    device::Reader<config> const weights{packed.data};
    auto const& l = weights.layout;
    Down const down = device::down_product({}, Experts<config, Cuda>::weights(packed), rows(in, p));
    device::CombineWork<config> const combine{.x = in.x, .expert = routing.expert, .slot = {}, .weight = routing.weight, .out = {}, .shared = shared, .y = y,
                                              .mix_vectors = nullptr, .mix_bias = weights.floats(l.shared_mix_bias), .norm = nullptr, .header = nullptr, .z = nullptr, .mix = nullptr};
    // As few columns a block as keep every multiprocessor busy the same number of times.
    std::int64_t const all = H / 2, most = on.device.multiprocessors, times = device::ceil_div(all, most * device::decode_pairs), pairs = device::ceil_div(all, most * times);
    launch(on, device::decode_out_kernel<Decode>, device::ceil_div(all, pairs), sizeof(device::DecodeOutShared<Decode>), at,
           device::DecodeOut<Decode>{.down = down, .combine = combine, .dots = p.dots, .pairs = static_cast<int>(pairs)});
  }

  std::string explain(Cuda const& on, std::int64_t) const {
    return std::string(name(on.path())) + ": gate, up and activation behind selection and sort, then down and combine, in two kernels; weights streamed, a warp for two of their rows, " +
           "fp32 sums, for rows of x at multiples of 16 bytes" + on.remark();
  }

 private:
  struct Pieces {
    std::span<std::byte> router;
    float* dots;                                 // [T][MixDots::count]
    V* h;                                        // [R,pitch F]
  };
  static Pieces carve(Arena& arena, Cuda const& on, std::int64_t tokens) {
    Pieces p{};
    p.router = arena.rest(Router<config, Cuda>{}.workspace_bytes(on, tokens));
    if constexpr (device::MixDots<Decode>::count > 0) p.dots = arena.take<float>(tokens * device::MixDots<Decode>::count);
    p.h = arena.take<V>(rows_bound(C, tokens) * Layout::down.pitch());
    return p;
  }
  // By no map, to no memory: where rows are and go is the kernels' own business.
  static device::FfnRows<Ffn> rows(Inputs<config> const& in, Pieces const& p) {
    return {.a = in.x.data, .a_stride = in.x.stride, .map = nullptr, .h = p.h, .out = nullptr, .out_stride = H};
  }
  // All warps of a multiprocessor that have the registers to stream.
  static int threads(Cuda const& on) { return device::stream_threads * (on.device.major < 10 ? device::stream_blocks<Up> : 2); }
  // A block a multiprocessor, or fewer.
  template <class Work> static void launch(Cuda const& on, void (*kernel)(Work), std::int64_t blocks, std::size_t shared, Where at, Work const& work) {
    coterie::launch(kernel, {.grid = dim3(static_cast<unsigned>(blocks < on.device.multiprocessors ? blocks : on.device.multiprocessors)), .block = dim3(static_cast<unsigned>(threads(on))),
                             .shared = shared, .programmatic = on.device.programmatic}, on.stream, at, work);
  }
};

}}

// The experts on the host: rows gathered by the batch's map, each expert's weights streamed once per task.
#pragma once
#include "../arguments.hpp"
#include "../dispatch/capacity.hpp"
#include "../host/ffn.hpp"
#include "../host/packed.hpp"

namespace coterie { inline namespace v0 {

template <Config C>
struct Experts<C, Host> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  static constexpr int E = C.experts, F = C.ffn, W = width(C);
  using V = element_t<C.dtype>;
  using Layout = host::PackedLayout<config>;
  static constexpr bool weigh_input = C.router.place == Place::input;
  static constexpr bool tiled = host::ffn_path(Isa::amx, C.dtype, C.weights) == Isa::amx && host::computable<config>;
  static constexpr bool dotted = host::ffn_path(Isa::avx512_bf16, C.dtype, C.weights) == Isa::avx512_bf16 && host::computable<config>;

  // Whether Host::int8_activations has a meaning here, and the bytes of a row of h as a record of 8-bit codes.
  static constexpr bool takes_int8 = host::computable<config> && host::integer_codes(C.weights);
  static constexpr std::int64_t record_bytes = [] {
    if constexpr (takes_int8) return host::row_stride<host::Int8Engine, typename Layout::ExpertT>(Layout::down);
    else return std::int64_t{0};
  }();

  struct Pieces {
    float* a;                                    // [T,padded W]; gathered: [R,padded W]
    float* h;                                    // [R,padded F]; 8-bit activations: of V
    std::byte* records;                          // [R,record_bytes] behind those
    std::int32_t* hit;                           // [E] experts with rows
    V* pre = nullptr;                            // [R, panels of up x 32], the caller's
  };

  std::size_t workspace_bytes(Host const&, std::int64_t tokens) const {
    Arena arena;
    carve(arena, tokens);
    return arena.used();
  }

  // x[T,W] -> out[R,W]: row r is expert(x[batch.token[r]]), unweighted (or of the weighted input: Place::input).
  void operator()(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, Rows<V, width(C)> out,
                  std::span<std::byte> scratch, Where at = Where::here()) const {
    launch(on, x, packed, batch, out, nullptr, scratch, at);
  }
  // The same, and pre[R, panels of up x 32]: gate and up before the activation, which a backward pass wants.
  void keeping(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, Rows<V, width(C)> out, V* pre, std::span<std::byte> scratch, Where at = Where::here()) const {
    launch(on, x, packed, batch, out, pre, scratch, at);
  }

  std::string explain(Host const& on, std::int64_t tokens) const {
    if constexpr (!host::computable<config>) return "refused: the host backend does not compute with " + host::refusal<config>();
    if constexpr (takes_int8)
      if (on.int8_activations) return host::explain_int8(on.path(), name(C.weights), rows_bound(C, tokens), Layout::gate_up, Layout::down);
    if constexpr (host::computable<config>)
      return host::explain_ffn(host::ffn_path(on.path(), C.dtype, C.weights), C.weights, rows_bound(C, tokens), Layout::gate_up, Layout::down) +
             (on.int8_activations ? std::string("; Host::int8_activations has no effect on ") + name(C.weights) + " weights" : "");
  }

  // On an engine of the caller's choice; p is carved from scratch.
  template <class Engine>
  static void run(Host const& on, Engine const& engine, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch,
                  Rows<V, width(C)> out, Pieces const& p) {
    using Operand = typename Engine::Operand;
    // The tile kernel reads an expert's rows one after the other, so they are gathered; the vector kernel follows the map.
    constexpr bool gather = weigh_input || std::is_same_v<Operand, bf16>;
    using T = typename Layout::ExpertT;
    constexpr bool encodes = host::encodes<Engine, T>;
    host::Reader<config> const weights{packed};
    Operand* const a = reinterpret_cast<Operand*>(p.a);
    std::int64_t const first_row = batch.begin[packed.first_expert], end_row = batch.begin[packed.first_expert + packed.experts];
    constexpr std::int64_t padded = host::row_stride<Engine, T>(Layout::gate_up);
    host::for_chunks(*on.pool, gather ? end_row - first_row : x.rows, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t i = first; i < last; ++i) {
        std::int64_t const r = first_row + i;
        if constexpr (encodes && weigh_input) {
          V row[W];
          host::widen_row_scaled(x[batch.token[r]], batch.weight[r], W, W, row);
          engine.template encode<T>(static_cast<V const*>(row), W, Layout::gate_up, a + r * padded);
        } else if constexpr (encodes) engine.template encode<T>(x[i], W, Layout::gate_up, a + i * padded);
        else if constexpr (weigh_input) host::widen_row_scaled(x[batch.token[r]], batch.weight[r], W, padded, a + r * padded);
        else if constexpr (gather) host::widen_row(x[batch.token[r]], W, padded, a + r * padded);
        else host::widen_row(x[i], W, padded, a + i * padded);
      }
    });
    std::int64_t hits = 0;
    for (int e = packed.first_expert; e < packed.first_expert + packed.experts; ++e)
      if (batch.begin[e] < batch.begin[e + 1]) p.hit[hits++] = e;
    auto const& l = weights.layout;
    auto const bias = [&](std::size_t offset, bool has) { return C.expert.bias && has ? weights.floats(offset) : nullptr; };
    host::ReadAhead ahead{packed.data + l.expert_panels, l.expert_stride, l.expert_down, p.hit, hits};
    host::FfnGroups<T> const groups{.count = hits, .hit = p.hit, .begin = batch.begin, .first = 0, .weights = packed.data + l.expert_panels,
                                    .stride = l.expert_stride, .down = l.expert_down, .gate_bias = bias(l.gate_bias, Layout::has_gate),
                                    .up_bias = bias(l.up_bias, true), .down_bias = bias(l.down_bias, true), .ffn = F, .width = W, .ahead = weights.header().mapped ? &ahead : nullptr};
    host::FfnRows<Operand, V> rows{.a = a, .map = gather ? nullptr : batch.token, .h = reinterpret_cast<Operand*>(p.h), .out = out.data, .out_stride = out.stride, .pre = p.pre};
    if constexpr (encodes) rows.h = p.records, rows.hidden = reinterpret_cast<V*>(p.h);
    host::ffn<V, T>(*on.pool, engine, host::activation_for<C.expert, V>(engine.path), Layout::has_gate, Layout::gate_up, Layout::down, groups, rows);
  }

  static Pieces carve(Arena& arena, std::int64_t tokens) {
    std::int64_t const rows = rows_bound(C, tokens), by_token = weigh_input ? rows : tokens, by_row = tiled || dotted ? (rows + 1) / 2 : 0;
    Pieces p{};
    p.a = arena.take<float>((by_token > by_row ? by_token : by_row) * Layout::gate_up.padded_inputs());
    // The same with and without 8-bit activations: rows of V and their records fit in fp32's place, but where V is fp32 itself.
    std::int64_t const hidden = rows * Layout::down.padded_inputs(), as_records = hidden * std::int64_t{sizeof(V)} + rows * record_bytes;
    p.h = arena.take<float>(takes_int8 && as_records > 4 * hidden ? host::ceil_div(as_records, 4) : hidden);
    p.records = p.h ? reinterpret_cast<std::byte*>(p.h) + hidden * std::int64_t{sizeof(V)} : nullptr;
    p.hit = arena.take<std::int32_t>(E);
    return p;
  }

 private:
  void launch(Host const& on, Rows<V const, width(C)> x, PackedView<config, Host> packed, Batch<config> const& batch, Rows<V, width(C)> out, V* pre, std::span<std::byte> scratch, Where at) const {
    std::int64_t const tokens = x.rows;
    Arguments arguments{"Experts", at};
    arguments.tokens<config>(tokens);
    if (tokens == 0) return;
    if constexpr (!host::computable<config>)
      fail("Experts: the host backend does not compute with " + host::refusal<config>(), at);
    experts_arguments<config>(arguments, x, packed, batch);
    arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
    std::int64_t const routed = batch.begin[E];
    if (routed == 0) return;
    require(routed <= rows_bound(C, tokens), "Experts: the batch has more rows than x's tokens can have", routed, rows_bound(C, tokens), at);
    require(out.rows >= routed, "Experts: out must have a row for every routed row", out.rows, routed, at);
    arguments.reads("batch.token", batch.token, routed), arguments.writes("out", out, routed);
    if constexpr (weigh_input) arguments.reads("batch.weight", batch.weight, routed);
    Isa const path = on.path(at);
    Arena arena{scratch};
    Pieces p = carve(arena, tokens);
    p.pre = pre;
    if constexpr (takes_int8)
      if (on.int8_activations) return run(on, host::Int8Engine{path}, x, packed, batch, out, p);
#if defined(__x86_64__)
    if constexpr (tiled)
      if (path == Isa::amx) return run(on, host::TileEngine<host::AmxTiles>{path}, x, packed, batch, out, p);
    if constexpr (dotted)
      if (path == Isa::avx512_bf16) return run(on, host::DotEngine{path}, x, packed, batch, out, p);
#endif
    if constexpr (host::computable<config>) run(on, host::VectorEngine{path}, x, packed, batch, out, p);
  }
};

}}

// Latent experts on the host: tokens enter the experts' own, narrower width.
#pragma once
#include "../arguments.hpp"
#include "../host/dense.hpp"
#include "../host/packed.hpp"

namespace coterie { inline namespace v0 {

template <Config C>
struct Latent<C, Host> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  using V = element_t<C.dtype>;
  using Layout = host::PackedLayout<config>;

  std::size_t workspace_bytes(Host const&, std::int64_t tokens) const {
    Arena arena;
    if constexpr (C.expert.latent > 0) arena.take<float>(tokens * Layout::latent_down.padded_inputs());
    return arena.used();
  }

  std::string explain(Host const& on, std::int64_t tokens) const {
    return std::string(name(host::vector_path(on.path()))) + " on " + name(C.dtype) + " panels, fp32 sums; one pass over " + std::to_string(Layout::latent_down.panels()) +
           " panels; blocks of " + std::to_string(host::row_block) + " rows x 128 columns for " + std::to_string(tokens) + " rows";
  }

  // x[T,H] -> z[T,W]. The way back is part of combine.
  void operator()(Host const& on, Rows<V const, C.hidden> x, PackedView<config, Host> packed, Rows<V, width(C)> z, std::span<std::byte> scratch,
                  Where at = Where::here()) const {
    if constexpr (C.expert.latent > 0) {
      std::int64_t const tokens = x.rows;
      Arguments arguments{"Latent", at};
      arguments.tokens<config>(tokens);
      require(z.rows == tokens, "Latent: the output must have as many rows as x", z.rows, tokens, at);
      if (tokens == 0) return;
      arguments.packed(packed.data);
      arguments.reads("x", x, tokens), arguments.writes("the output", z, tokens);
      arguments.scratch("scratch", scratch, workspace_bytes(on, tokens));
      Arena arena{scratch};
      constexpr std::int64_t padded = Layout::latent_down.padded_inputs();
      float* const a = arena.take<float>(tokens * padded);
      host::Reader<config> const weights{packed};
      host::for_chunks(*on.pool, tokens, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t t = first; t < last; ++t) host::widen_row(x[t], C.hidden, padded, a + t * padded);
      });
      host::dense(*on.pool, on.path(at), weights.template at<V>(weights.layout.latent_down_panels), Layout::latent_down, a, tokens,
                  host::Output<V>{z.data, z.stride, nullptr});
    } else {
      (void)on, (void)x, (void)packed, (void)z, (void)scratch, (void)at;
    }
  }
};

}}

// What training a layer takes on the host: a forward pass that keeps what a backward pass needs, and that backward pass. A Layer's members:
//
//   Layer<C, Host> layer{packed.view()};
//   layer.forward(on, in, y, cache, workspace);                         // cache: layer.cache_bytes(on, tokens) bytes, of any alignment; they stay where they are
//   layer.backward(on, in, cache, dy, dx, gradients, workspace);        // the same in, packed weights and cache
// Kept beside x: training/kept.hpp; nothing of size T*K*H. What any backend does: training/passes.hpp. Here are the host's stages on the way back.
#pragma once
#include "coterie.hpp"
#include "training/cache.hpp"
#include "training/passes.hpp"
#include "training/places.hpp"

namespace coterie { inline namespace v0 {

template <> inline constexpr bool trainable<Host> = true;

namespace training {

template <Config C> class Backward<C, Host> {
 public:
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  using Entry = host::DenseBackward<V>;          // of the way into the latent width
  struct Own {
    V* dsum;                                     // [T,W] gradients of routed sums
    float *dx, *dz;                              // [T,H]; [T,W] latent
    typename Entry::Pieces entry;

    static Own carve(Arena& arena, Host const& on, std::int64_t tokens) {
      Own p{};
      p.dsum = arena.take<V>(tokens * W), p.dx = arena.take<float>(tokens * H);
      if constexpr (latent) p.dz = arena.take<float>(tokens * W), p.entry = Entry::carve(arena, *on.pool, host::PackedLayout<config>::latent_down, tokens);
      return p;
    }
  };

  // Before a call overwrites: zeros in all vectors, which its stages add to, and, without tokens, in all matrices.
  template <DType G> static void clear(Host const& on, Gradients<config, G> const& to, std::int64_t tokens, Where at) {
    Isa const path = on.path(at);
    each_gradient(to, tokens, [](char const*, float* data, std::int64_t n) { host::clear(data, n); },
                  [&](char const*, auto const& m) { if (tokens == 0) host::clear_gradient(*on.pool, path, host::gradient_of(m, 1), m.outputs, m.inputs); });
  }
  template <DType G> static void run(training::Step<config, Host> const& s, Gradients<config, G> const& to) { run(s, Places::of(to)); }

 private:
  static constexpr int H = C.hidden, S = slots(C), W = width(C), N = logit_columns(C);
  static constexpr bool latent = C.expert.latent > 0, given_logits = C.router.input == RouterInput::logits;
  using Step = training::Step<config, Host>;
  using Places = training::Places<config>;
  using Mixing = CombineBackward<config, Host>;

  static void run(Step const& s, Places const& to) {
    auto const& p = s.p;
    std::int64_t const n = s.in.x.rows;
    typename Mixing::Call const call{s.in, s.weights, s.k.routing, s.k.batch, to.mixing, s.k.sums, {p.own.dsum, n}, p.mix_routed, p.mix_shared, p.dmix_routed, p.dmix_shared, p.out_weight};
    Mixing{}.enter(s.on, call, s.dy, p.scratch, s.at);
    ExpertsBackward<config, Host>{}.run(s.on, s.x, s.weights, s.k.batch, s.k.pre, {p.own.dsum, n}, p.out_weight, p.drows, p.din, p.dout, to.experts, p.scratch, s.at);
    if constexpr (C.shared.ffn > 0)
      SharedBackward<config, Host>{}.run(s.on, s.in, s.weights, s.k.routing, s.k.shared_pre, s.dy, p.mix_shared, p.dshared, p.dmix_shared, p.dshared_rows, to.shared, p.scratch, s.at);

    std::memset(p.own.dx, 0, static_cast<std::size_t>(n * H) * sizeof(float));
    Mixing{}.leave(s.on, call, p.din, p.dout, p.dweight, p.own.dx);
    route(s, to);
    gather(s, to.latent_down);
    host::for_chunks(*s.on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t)
        for (int h = 0; h < H; ++h) s.dx[t][h] = from_float<V>(C.shared.ffn > 0 ? p.own.dx[t * H + h] + to_float(p.dshared[t][h]) : p.own.dx[t * H + h]);
    });
  }

  // From the gradients of the routing weights to those of the router, and what it read.
  static void route(Step const& s, Places const& to) {
    auto const& p = s.p;
    std::int64_t const n = s.in.x.rows;
    auto const add = [&](float const* from, std::int64_t size, float* into) {
      if (into) host::for_chunks(*s.on.pool, size, 4096, [&](std::int64_t first, std::int64_t last) {
        for (std::int64_t i = first; i < last; ++i) into[i] += from[i];
      });
    };
    if constexpr (C.router.input != RouterInput::given) {
      RouterGradients<config> const d{.weight = {p.dweight, n}, .shared = {p.dshared_rows, n}, .logits = s.dlogits, .noise_logits = s.dnoise_logits};
      RouterBackward<config, Host>{}.run(s.on, s.in, s.weights, s.k.routing, s.k.batch.slot, d, given_logits ? nullptr : p.drouter, given_logits ? p.drouter : nullptr, to.router, p.scratch, s.at);
      if constexpr (given_logits) add(p.drouter, n * N, to.logits);
      if constexpr (C.router.input == RouterInput::separate) add(p.drouter, n * H, to.router_x);
      if constexpr (C.router.input == RouterInput::hidden) add(p.drouter, n * H, p.own.dx);
    } else {
      if constexpr (route::Program<config>::deferred)                    // Dispatch divided them by what it kept
        for (std::int64_t t = 0; t < n; ++t) route::NormaliseGradient<config>::after_drop(s.in.routing.weight[t], s.k.batch.slot[t], p.dweight + t * S);
      add(p.dweight, n * S, to.routing_weight);
    }
  }
  // dx += what the rows of each token found, slot after slot; from a latent width through the way in.
  static void gather(Step const& s, [[maybe_unused]] host::GradientMatrix const& to) {
    auto const& p = s.p;
    std::int64_t const n = s.in.x.rows;
    host::for_chunks(*s.on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t t = first; t < last; ++t) {
        float* const sum = latent ? p.own.dz + t * W : p.own.dx + t * H;
        if (latent) std::memset(sum, 0, W * sizeof(float));
        for (int k = 0; k < S; ++k)
          if (std::int32_t const r = s.k.batch.slot[t][k]; r >= 0)
            for (int j = 0; j < W; ++j) sum[j] += to_float(p.drows[r][j]);
      }
    });
    if constexpr (latent) {
      using Layout = host::PackedLayout<config>;
      host::Reader<config> const weights{s.weights};
      if (to.data) Entry::set_inputs(*s.on.pool, Layout::latent_down, n, p.own.entry, [&](std::int64_t t, std::int64_t h) { return to_float(s.in.x[t][h]); });
      Entry::run(*s.on.pool, host::VectorEngine{host::vector_path(s.on.path(s.at))}, weights.template at<V>(weights.layout.latent_down_panels), Layout::latent_down, p.own.dz, n, p.own.entry, to, p.own.dx, true);
    }
  }
};

}}}

// Combine on the host: each token's weighted sum in fixed order, the way back from a latent width, shared experts.
#pragma once
#include "../arguments.hpp"
#include "../host/dense.hpp"
#include "../host/packed.hpp"
#include "../router/program.hpp"

namespace coterie { inline namespace v0 {

namespace combine {

inline constexpr std::int64_t column_chunk = 256;          // sums of one chunk live in registers and L1

// One token's routed sum over columns [c0, c0 + n): slots in order, fp32; or, Accumulate::model, experts in ascending
// order with every product and sum rounded to dtype, as an index_add over experts does.
template <Config C, class V>
[[gnu::always_inline]] inline void routed_sum(V const* x, std::int32_t const* expert, float const* weight, std::int32_t const* slot,
                                              Rows<V const, width(C)> out, std::int64_t c0, std::int64_t n, float* sum) {
  constexpr int S = slots(C);
  constexpr bool model = C.combine == Accumulate::model;
  for (std::int64_t j = 0; j < n; ++j) sum[j] = 0;
  for (int i = 0, last = -1, at = -1; i < S; ++i) {
    int s = i;
    if constexpr (model && S > 1) {                        // the next slot by (expert, slot)
      s = -1;
      for (int k = 0; k < S; ++k)
        if ((expert[k] > last || (expert[k] == last && k > at)) && (s < 0 || expert[k] < expert[s])) s = k;
      if (s < 0) break;
      last = expert[s], at = s;
    }
    bool const identity = expert[s] >= C.experts && expert[s] < C.experts + C.expert.identity;
    if (slot[s] < 0 && !identity) continue;
    V const* const from = (slot[s] >= 0 ? out[slot[s]] : x) + c0;
    float const w = C.router.place == Place::input ? 1.f : weight[s];
    if constexpr (model) for (std::int64_t j = 0; j < n; ++j) sum[j] = rounded<V>(sum[j] + rounded<V>(w * to_float(from[j])));
    else for (std::int64_t j = 0; j < n; ++j) sum[j] = math::fma(w, to_float(from[j]), sum[j]);
  }
  if constexpr (C.router.scale_on == ScaleOn::routed_sum && C.router.scale != 1)
    for (std::int64_t j = 0; j < n; ++j) sum[j] = model ? rounded<V>(sum[j] * C.router.scale) : sum[j] * C.router.scale;
}

// How the routed sum and the shared experts' output are weighed against each other.
struct Mix { float routed = 1, shared = 1; };
template <Config C, class V> [[gnu::always_inline]] inline Mix mix_of(V const* x, float const* vectors, float const* bias) {
  auto const dot = [x](float const* w) {
    constexpr int whole = C.hidden / 16 * 16;
    float lane[16]{};
    for (int h = 0; h < whole; h += 16)
      for (int l = 0; l < 16; ++l) lane[l] += w[h + l] * to_float(x[h + l]);
    for (int l = 0; l < C.hidden - whole; ++l) lane[l] += w[whole + l] * to_float(x[whole + l]);
    float sum = 0;
    for (int l = 0; l < 16; ++l) sum += lane[l];
    return sum;
  };
  if constexpr (C.shared.mix == SharedMix::sigmoid_gate) return {1, math::sigmoid(dot(vectors) + bias[0])};
  else if constexpr (C.shared.mix == SharedMix::average) return {0.5f, 0.5f};
  else if constexpr (C.shared.mix == SharedMix::coefficients) {
    float c[2]{dot(vectors) + bias[0], dot(vectors + C.hidden) + bias[1]};
    route::softmax(c, 2);
    return {c[0], c[1]};
  } else return {};
}

template <Config C, class V>
[[gnu::always_inline]] inline void add_shared(float* sum, V const* shared, Mix mix, std::int64_t n) {
  for (std::int64_t j = 0; j < n; ++j) {
    float const s = to_float(shared[j]);
    if constexpr (C.combine == Accumulate::model) sum[j] = rounded<V>(rounded<V>(mix.routed * sum[j]) + rounded<V>(mix.shared * s));
    else sum[j] = mix.routed * sum[j] + mix.shared * s;
  }
}

// What the tokens of one call share.
template <Config C> struct Work {
  using V = element_t<C.dtype>;
  Inputs<C> const* in;
  Routing<C> const* routing;
  Batch<C> const* batch;
  Rows<V const, width(C)> out;
  Rows<V const, C.hidden> shared;
  Rows<V, C.hidden> y;
  float const *mix_vectors, *mix_bias, *norm;
  float norm_epsilon;
  float* latent;                                           // [T,padded W]
  float* sums = nullptr;                                   // [T,W] the latent sums before their norm, to be kept
};

// Tokens [first, last) to y, or with latent experts to the normalised sums at width W.
template <Config C> [[gnu::always_inline]] inline void tokens(Work<C> const& w, std::int64_t first, std::int64_t last) {
  using V = element_t<C.dtype>;
  for (std::int64_t t = first; t < last; ++t) {
    V const* const x = w.in->x[t];
    auto const sum = [&](std::int64_t c0, std::int64_t n, float* to) {
      routed_sum<C>(x, w.routing->expert[t], w.routing->weight[t], w.batch->slot[t], w.out, c0, n, to);
    };
    if constexpr (C.expert.latent > 0) {
      constexpr std::int64_t W = width(C), padded = host::round_up(W, host::tile_inputs);
      float* const z = w.latent + t * padded;
      sum(0, W, z);
      if (w.sums)
        for (std::int64_t j = 0; j < W; ++j) w.sums[t * W + j] = z[j];
      if constexpr (C.expert.latent_norm == LatentNorm::rms) {
        double square = 0;
        for (std::int64_t j = 0; j < W; ++j) square += double{z[j]} * double{z[j]};
        float const r = static_cast<float>(1 / __builtin_sqrt(square / W + double{w.norm_epsilon}));
        for (std::int64_t j = 0; j < W; ++j) z[j] = z[j] * r * w.norm[j];
      }
      for (std::int64_t j = 0; j < W; ++j) z[j] = rounded<V>(z[j]);
      for (std::int64_t j = W; j < padded; ++j) z[j] = 0;
    } else {
      Mix const mix = C.shared.ffn > 0 ? mix_of<C>(x, w.mix_vectors, w.mix_bias) : Mix{};
      float acc[column_chunk];
      for (std::int64_t c0 = 0; c0 < C.hidden; c0 += column_chunk) {
        std::int64_t const n = C.hidden - c0 < column_chunk ? C.hidden - c0 : column_chunk;
        sum(c0, n, acc);
        if constexpr (C.shared.ffn > 0) add_shared<C>(acc, w.shared[t] + c0, mix, n);
        V* const y = w.y[t] + c0;
        for (std::int64_t j = 0; j < n; ++j) y[j] = from_float<V>(acc[j]);
      }
    }
  }
}
template <Config C> void tokens_portable(Work<C> const& w, std::int64_t first, std::int64_t last) { tokens<C>(w, first, last); }
#if defined(__x86_64__)
template <Config C> [[gnu::target("avx2,fma")]] void tokens_avx2(Work<C> const& w, std::int64_t first, std::int64_t last) { tokens<C>(w, first, last); }
#endif

}

template <Config C>
struct Combine<C, Host> {
  static constexpr Config config = C;
  static constexpr bool enqueues_only = true;
  using V = element_t<C.dtype>;
  using Layout = host::PackedLayout<config>;

  std::size_t workspace_bytes(Host const&, std::int64_t tokens) const {
    Arena arena;
    if constexpr (C.expert.latent > 0) arena.take<float>(tokens * Layout::latent_up.padded_inputs());
    return arena.used();
  }

  std::string explain(Host const& on, std::int64_t) const {
    std::string const up = C.expert.latent > 0 ? std::string("; then up to hidden by ") + name(host::vector_path(on.path())) + " on " + name(C.dtype) +
                                                 " panels, blocks of " + std::to_string(host::row_block) + " rows x 128 columns" : "";
    return std::string(C.combine == Accumulate::model ? "experts in order, rounded to dtype at every step" : "slots in order, fp32 sums") + ", by token in blocks of " +
           std::to_string(combine::column_chunk) + " columns, " + name(on.path() == Isa::portable ? Isa::portable : Isa::avx2) + up;
  }

  void operator()(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Batch<config> const& batch,
                  Rows<V const, width(C)> out, Rows<V const, C.hidden> shared, Rows<V, C.hidden> y, std::span<std::byte> scratch, Where at = Where::here()) const {
    launch(on, in, packed, routing, batch, out, shared, y, nullptr, scratch, at);
  }
  // The same, and sums[T,W]: latent sums before their norm, which a backward pass wants.
  void keeping(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Batch<config> const& batch,
               Rows<V const, width(C)> out, Rows<V const, C.hidden> shared, Rows<V, C.hidden> y, float* sums, std::span<std::byte> scratch, Where at = Where::here()) const {
    launch(on, in, packed, routing, batch, out, shared, y, sums, scratch, at);
  }

 private:
  void launch(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Routing<config> const& routing, Batch<config> const& batch,
              Rows<V const, width(C)> out, Rows<V const, C.hidden> shared, Rows<V, C.hidden> y, float* sums, std::span<std::byte> scratch, Where at) const {
    std::int64_t const n = in.x.rows;
    Arguments arguments{"Combine", at};
    arguments.tokens<config>(n);
    require(y.rows == n, "Combine: y must have as many rows as x", y.rows, n, at);
    if (n == 0) return;
    combine_arguments<config>(arguments, in, packed, routing, batch, out, shared, y);
    if (!out.data)                                                       // no rows at all: legal where nothing was dispatched
      for (std::int64_t t = 0; t < n; ++t)
        for (int s = 0; s < slots(C); ++s) require(batch.slot[t][s] < 0, "Combine: out is not set", 0, 1, at);
    arguments.scratch("scratch", scratch, workspace_bytes(on, n));
    Isa const path = on.path(at);
    host::Reader<config> const weights{packed};
    auto const& l = weights.layout;
    combine::Work<config> work{&in, &routing, &batch, out, shared, y, nullptr, nullptr, nullptr, 0, nullptr, sums};
    if constexpr (combine_reads_weights(C)) {
      work.mix_vectors = weights.floats(l.shared_mix), work.mix_bias = weights.floats(l.shared_mix_bias);
      work.norm = weights.floats(l.latent_norm), work.norm_epsilon = weights.header().latent_epsilon;
    }
    if constexpr (C.expert.latent > 0) {
      Arena arena{scratch};
      work.latent = arena.take<float>(n * Layout::latent_up.padded_inputs());
    }
    auto* run = &combine::tokens_portable<config>;
#if defined(__x86_64__)
    if (path != Isa::portable) run = &combine::tokens_avx2<config>;
#endif
    host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) { run(work, first, last); });
    if constexpr (C.expert.latent > 0) {
      host::dense(*on.pool, path, weights.template at<V>(l.latent_up_panels), Layout::latent_up, work.latent, n, host::Output<V>{y.data, y.stride, nullptr});
      if constexpr (C.shared.ffn > 0)
        host::for_chunks(*on.pool, n, host::token_chunk, [&](std::int64_t first, std::int64_t last) {
          for (std::int64_t t = first; t < last; ++t) {
            combine::Mix const mix = combine::mix_of<config>(in.x[t], work.mix_vectors, work.mix_bias);
            for (int h = 0; h < C.hidden; ++h) {
              float sum = to_float(y[t][h]);
              combine::add_shared<config>(&sum, shared[t] + h, mix, 1);
              y[t][h] = from_float<V>(sum);
            }
          }
        });
    }
  }
};

}}

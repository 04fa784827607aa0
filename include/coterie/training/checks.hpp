// What training asks of what the caller gives beside x, and of the places for gradients.
#pragma once
#include "../arguments.hpp"
#include "../router/host.hpp"
#include "../weights.hpp"

namespace coterie { inline namespace v0 { namespace training {

template <Config C> void check_inputs(Arguments& arguments, Inputs<C> const& in) {
  std::int64_t const n = in.x.rows;
  if constexpr (C.router.input == RouterInput::separate)
    arguments.require(in.router_x.data && in.router_x.rows == n, "RouterInput::separate needs Inputs::router_x with as many rows as x", in.router_x.rows, n);
  if constexpr (C.router.input == RouterInput::given)
    arguments.require(in.routing.expert.data && in.routing.weight.data && in.routing.expert.rows == n && in.routing.weight.rows == n,
                      "RouterInput::given needs Inputs::routing with as many rows as x", in.routing.expert.rows, n);
  router_reads<C>(arguments, in, {});
}

// vector(name, data, n) and matrix(name, m) of every gradient there may be.
template <Config C, DType D> void each_gradient(Gradients<C, D> const& to, std::int64_t tokens, auto const& vector, auto const& matrix) {
  constexpr std::int64_t N = logit_columns(C), H = C.hidden, F = C.ffn, W = width(C), mixes = C.shared.mix == SharedMix::coefficients ? 2 : 1;
  vector("Gradients::router", to.router, N * H), vector("Gradients::router_bias", to.router_bias, N), vector("Gradients::noise", to.noise, N * H);
  vector("Gradients::expert_scale", to.expert_scale, C.experts), vector("Gradients::router_scale", to.router_scale, 1);
  for (std::size_t e = 0; e < static_cast<std::size_t>(C.experts); ++e) {
    matrix("Gradients::gate", to.gate[e]), matrix("Gradients::up", to.up[e]), matrix("Gradients::down", to.down[e]);
    if constexpr (C.expert.bias) vector("Gradients::gate_bias", to.gate_bias[e], F), vector("Gradients::up_bias", to.up_bias[e], F), vector("Gradients::down_bias", to.down_bias[e], W);
  }
  if constexpr (C.shared.ffn > 0) {
    matrix("Gradients::shared.gate", to.shared.gate), matrix("Gradients::shared.up", to.shared.up), matrix("Gradients::shared.down", to.shared.down);
    vector("Gradients::shared.mix", to.shared.mix, mixes * H), vector("Gradients::shared.mix_bias", to.shared.mix_bias, mixes);
  }
  if constexpr (C.expert.latent > 0) {
    matrix("Gradients::latent.down", to.latent.down), matrix("Gradients::latent.up", to.latent.up), vector("Gradients::latent.norm", to.latent.norm, W);
  }
  vector("Gradients::router_x", to.router_x, tokens * H), vector("Gradients::logits", to.logits, tokens * N), vector("Gradients::routing_weight", to.routing_weight, tokens * slots(C));
}
// Every gradient that is wanted must be aligned, its matrices' elements apart, and all of it apart from what `arguments` holds: the call's own memory.
// That gradients are apart from each other is the caller's business: the experts' are written at the same time.
template <Config C, DType D> void check_gradients(Arguments const& arguments, Gradients<C, D> const& to, std::int64_t tokens) {
  auto const vector = [&](char const* name, auto* data, std::int64_t n) {
    if (!data) return;
    Arguments with = arguments;
    with.writes(name, data, n);
  };
  each_gradient(to, tokens, vector, [&](char const* name, auto const& m) {
    if (!m.data) return;
    constexpr std::int64_t most = std::int64_t{1} << 40;                 // elements: no memory is as large, and no extent overflows
    auto const [less, more] = m.out_stride < m.in_stride ? std::pair{m.out_stride, m.in_stride} : std::pair{m.in_stride, m.out_stride};
    arguments.require(less > 0, "gradients: a matrix's strides must be positive", less, 1);
    arguments.require(more <= most / (m.outputs > m.inputs ? m.outputs : m.inputs), "gradients: a matrix's strides reach beyond any memory", more, most / (m.outputs > m.inputs ? m.outputs : m.inputs));
    std::int64_t const inner = m.out_stride < m.in_stride ? m.outputs : m.inputs;
    arguments.require(more > (inner - 1) * less || m.outputs == 1 || m.inputs == 1, "gradients: a matrix's elements must not overlap: the larger stride", more, (inner - 1) * less + 1);
    vector(name, m.data, (m.outputs - 1) * m.out_stride + (m.inputs - 1) * m.in_stride + 1);
  });
}
// Select::table on the host, which can read ids: they must still be those that forward() chose by. (Of a pair, Noise::random_second may have
// left out the second.)
template <Config C> void check_table(Arguments const& arguments, PackedView<C, Host> packed, Inputs<C> const& in, Routing<C> const& kept) {
  bool const replay = in.routing.expert.data != nullptr;
  arguments.require(replay || in.token_ids, "Select::table needs Inputs::token_ids, or Inputs::routing to replay", 0, 1);
  if (replay) arguments.require(in.routing.expert.rows == in.x.rows, "Inputs::routing must have as many rows as x", in.routing.expert.rows, in.x.rows);
  host::Reader<C> const weights{packed};
  std::int64_t const rows = replay ? 0 : weights.header().table_rows;
  std::int32_t const* const table = replay ? nullptr : weights.template at<std::int32_t>(weights.layout.table);
  for (std::int64_t t = 0; t < in.x.rows; ++t) {
    if (!replay) arguments.require(in.token_ids[t] >= 0 && in.token_ids[t] < rows, "a token id must be in the table", in.token_ids[t], rows - 1);
    std::int32_t const* const from = replay ? in.routing.expert[t] : table + in.token_ids[t] * std::int64_t{C.top_k};
    for (int k = 0; k < C.top_k; ++k)
      if (std::int32_t const e = kept.expert[t][k]; !(C.router.noise == Noise::random_second && k == 1 && e == -1))
        arguments.require(from[k] == e, replay ? "Inputs::routing must be that of forward(): a choice" : "Inputs::token_ids must be those of forward(): an expert that the table names", from[k], e);
  }
}
// A backend with memory of its own refuses gradients that are not in it.
template <Config C, DType D> void check_resident(auto const& on, Gradients<C, D> const& to, std::int64_t tokens, Where at) {
  if constexpr (requires { on.needs_device_memory("", "", nullptr, at); }) {
    auto const one = [&](char const* name, void const* data) {
      if (data) on.needs_device_memory("Layer::backward", name, data, at);
    };
    each_gradient(to, tokens, [&](char const* name, float const* data, std::int64_t) { one(name, data); }, [&](char const* name, auto const& m) { one(name, m.data); });
  }
}

}}}

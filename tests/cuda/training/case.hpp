// A training step of one layer: its numbers, and what must come out of it on either backend. Plain host code.
#pragma once
#include <coterie/coterie.hpp>
#include <cmath>
#include <string>
#include <vector>
#include "../../cases.hpp"

namespace steps {

namespace ct = coterie;
using Floats = std::vector<float>;

constexpr ct::Config in(ct::DType d, ct::Config c) {
  c.dtype = c.weights = c.shared.weights = c.router.weights = d;
  if (c.router.precision != ct::Precision::model) c.router.precision = ct::Precision::fp32;
  return c;
}

// y, dx, every gradient by its name; bits of the choices.
struct Part {
  std::string name;
  Floats values;
};
struct Result {
  Floats y;
  std::vector<Part> parts;
};

// whole: small whole numbers, so that every sum of layers without exponentials is exact.
template <ct::Config C> struct Data {
  static constexpr ct::Config config = C;
  using V = ct::element_t<C.dtype>;
  static constexpr int E = C.experts, H = C.hidden, F = C.ffn, W = ct::width(C), N = ct::logit_columns(C), S = ct::slots(C), SF = C.shared.ffn;
  static constexpr bool learned = C.router.input == ct::RouterInput::hidden || C.router.input == ct::RouterInput::separate, has_logits = learned || C.router.input == ct::RouterInput::logits, noisy = C.router.noise == ct::Noise::softplus;
  std::int64_t tokens;
  std::vector<V> router, noise, x, router_x, dy;
  Floats router_bias, select_bias, expert_scale, logits, given_weight, dlogits, dnoise;
  std::vector<std::int32_t> given, table, ids;
  std::vector<std::vector<V>> gate, up, down;
  std::vector<Floats> gate_bias, up_bias, down_bias;
  std::vector<V> shared_gate, shared_up, shared_down, mix, latent_down, latent_up;
  Floats mix_bias, latent_norm;
  std::uint64_t seed = 0;

  Data(std::int64_t T, std::uint64_t from, bool whole = false) : tokens(T) {
    cases::Random random{from};
    auto const fill = [&]<class T>(std::vector<T>& to, std::int64_t n, double size, double middle = 0) {
      for (std::int64_t i = 0; i < n; ++i) to.push_back(ct::from_float<T>(static_cast<float>(whole ? random.below(3) - 1 : middle + size * random.normal())));
      if (to.empty()) to.resize(1);
    };
    auto const over = [](int n) { return 1 / std::sqrt(static_cast<double>(n)); };
    fill(router, N * H, 1.5 * over(H)), fill(noise, N * H, over(H)), fill(router_bias, N, 0.5), fill(select_bias, ct::candidates(C), 0.25), fill(expert_scale, E, 0.125, 1);
    for (int e = 0; e < E; ++e) {
      fill(gate.emplace_back(), F * W, over(W)), fill(up.emplace_back(), F * W, over(W)), fill(down.emplace_back(), W * F, over(F));
      fill(gate_bias.emplace_back(), F, 0.25), fill(up_bias.emplace_back(), F, 0.25), fill(down_bias.emplace_back(), W, 0.25);
    }
    fill(shared_gate, SF * H, over(H)), fill(shared_up, SF * H, over(H)), fill(shared_down, H * SF, over(SF ? SF : 1)), fill(mix, 2 * H, over(H)), fill(mix_bias, 2, 0.5);
    fill(latent_down, W * H, over(H)), fill(latent_up, H * W, over(W)), fill(latent_norm, W, 0.125, 1);
    fill(x, T * H, 1), fill(router_x, T * H, 1), fill(logits, T * N, 1), fill(dy, T * H, 1), fill(dlogits, T * N, 0.25);
    for (std::int64_t i = 0; i < T * S; ++i) {
      given.push_back(random.one_in(6) ? -1 : random.below(ct::candidates(C)));
      given_weight.push_back(static_cast<float>(whole ? random.below(3) + 1 : random.uniform()));
    }
    for (int i = 0; i < 32 * C.top_k; ++i) table.push_back((i / C.top_k + i % C.top_k * 3) % ct::candidates(C));
    for (std::int64_t t = 0; t < T; ++t) ids.push_back(random.below(32));
    fill(dnoise, T * N, 0.25);
    if (C.router.noise != ct::Noise::none || C.capacity.order == ct::Order::random) seed = 9;
  }

  void raw(ct::Weights<config>& to) const {
    to.router.data = router.data(), to.noise.data = noise.data(), to.router_bias = router_bias.data(), to.select_bias = select_bias.data(), to.expert_scale = expert_scale.data();
    to.router_scale = C.capacity.normalise == ct::When::after ? 1.f : 1.25f;
    if constexpr (C.router.select == ct::Select::table) to.table = {table.data(), 32};
    for (std::size_t e = 0; e < static_cast<std::size_t>(E); ++e) {
      to.gate[e].data = gate[e].data(), to.up[e].data = up[e].data(), to.down[e].data = down[e].data();
      if constexpr (C.expert.bias) to.gate_bias[e] = gate_bias[e].data(), to.up_bias[e] = up_bias[e].data(), to.down_bias[e] = down_bias[e].data();
    }
    to.shared.gate.data = shared_gate.data(), to.shared.up.data = shared_up.data(), to.shared.down.data = shared_down.data(), to.shared.mix.data = mix.data(), to.shared.mix_bias = mix_bias.data();
    to.latent.down.data = latent_down.data(), to.latent.up.data = latent_up.data(), to.latent.norm = latent_norm.data(), to.latent.norm_epsilon = 1e-5f;
  }
  // take(name, n): memory for n gradients, of matrices as elements of D.
  template <ct::DType D> void places(ct::Gradients<config, D>& to, auto const& take) const {
    using M = ct::element_t<D>;
    auto const vector = [&](std::string const& name, std::int64_t n) { return take.template operator()<float>(name, n); };
    auto const matrix = [&](std::string const& name, std::int64_t n) { return take.template operator()<M>(name, n); };
    if constexpr (learned) to.router = vector("router", N * H);
    if constexpr (C.router.noise == ct::Noise::softplus) to.noise = vector("noise", N * H);
    if constexpr (C.router.bias && has_logits) to.router_bias = vector("router bias", N);
    if constexpr (C.router.expert_scale) to.expert_scale = vector("expert scale", E);
    if constexpr (C.router.input != ct::RouterInput::given && C.capacity.normalise != ct::When::after) to.router_scale = vector("router scale", 1);
    for (std::size_t e = 0; e < static_cast<std::size_t>(E); ++e) {
      std::string const of = " of expert " + std::to_string(e);
      if constexpr (ct::gated(C.expert.act)) to.gate[e].data = matrix("gate" + of, F * W);
      to.up[e].data = matrix("up" + of, F * W), to.down[e].data = matrix("down" + of, W * F);
      if constexpr (C.expert.bias) {
        if constexpr (ct::gated(C.expert.act)) to.gate_bias[e] = vector("gate bias" + of, F);
        to.up_bias[e] = vector("up bias" + of, F), to.down_bias[e] = vector("down bias" + of, W);
      }
    }
    if constexpr (SF > 0) {
      if constexpr (ct::gated(C.expert.act)) to.shared.gate.data = matrix("shared gate", SF * H);
      to.shared.up.data = matrix("shared up", SF * H), to.shared.down.data = matrix("shared down", H * SF);
      constexpr int mixes = C.shared.mix == ct::SharedMix::sigmoid_gate ? 1 : C.shared.mix == ct::SharedMix::coefficients ? 2 : 0;
      if constexpr (mixes > 0) to.shared.mix = vector("mix", mixes * H), to.shared.mix_bias = vector("mix bias", mixes);
    }
    if constexpr (C.expert.latent > 0) {
      to.latent.down.data = matrix("latent down", W * H), to.latent.up.data = matrix("latent up", H * W);
      if constexpr (C.expert.latent_norm == ct::LatentNorm::rms) to.latent.norm = vector("latent norm", W);
    }
    if constexpr (C.router.input == ct::RouterInput::separate) to.router_x = vector("router_x", tokens * H);
    if constexpr (C.router.input == ct::RouterInput::logits) to.logits = vector("the given logits", tokens * N);
    if constexpr (C.router.input == ct::RouterInput::given) to.routing_weight = vector("the given weights", tokens * S);
  }
  // The call's inputs, from data(vector): where a vector of these stands.
  ct::Inputs<config> inputs(auto const& at) const {
    ct::Inputs<config> of{.x = {at(x), tokens}, .seed = seed};
    if constexpr (C.router.input == ct::RouterInput::separate) of.router_x = {at(router_x), tokens};
    if constexpr (C.router.input == ct::RouterInput::logits) of.logits = {at(logits), tokens};
    if constexpr (C.router.select == ct::Select::table) of.token_ids = at(ids);
    if constexpr (C.router.input == ct::RouterInput::given) of.routing.expert = {at(given), tokens}, of.routing.weight = {at(given_weight), tokens};
    return of;
  }
};

template <class T> Floats floats(std::vector<T> const& v) {
  Floats to;
  for (T one : v) to.push_back(ct::to_float(one));
  return to;
}

// The largest difference of any part, relative to the part's largest number (to `least` of it at least): and where.
struct Apart {
  double error = 0;
  std::string where;
};
inline Apart apart(Result const& got, Result const& want, double least = 0.02) {
  Apart a;
  for (std::size_t i = 0; i < want.parts.size(); ++i) {
    double off = 0, largest = least;
    for (std::size_t j = 0; j < want.parts[i].values.size(); ++j) {
      double const w = double{want.parts[i].values[j]}, g = double{got.parts[i].values[j]};
      off = std::fmax(off, std::isfinite(g) ? std::fabs(w - g) : INFINITY), largest = std::fmax(largest, std::fabs(w));
    }
    if (off / largest > a.error) a.error = off / largest, a.where = want.parts[i].name;
  }
  return a;
}

// On the host (host.cpp).
template <ct::Config C> Result on_host(Data<C> const& data, float start, int overwrite);

inline constexpr ct::Config mixtral = in(ct::DType::bf16, {.experts = 8, .top_k = 2, .hidden = 64, .ffn = 32});
inline constexpr ct::Config mixtral_fp16 = in(ct::DType::fp16, mixtral);
// Whole numbers stay whole: no exponential, no division.
inline constexpr ct::Config whole = in(ct::DType::fp32, {.experts = 5, .top_k = 3, .hidden = 12, .ffn = 8, .router = {.input = ct::RouterInput::given, .scale = 2, .scale_on = ct::ScaleOn::routed_sum},
                                                         .expert = {.act = ct::Act::relu, .identity = 2, .skip = 1}, .shared = {.ffn = 4}});

}

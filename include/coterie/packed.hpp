// Where everything stands in a packed layer: one list, read by the packer and by every stage of a backend. Shape says how
// the backend lays out one matrix: {outputs, inputs, paired}, elements(), bytes<T>() of one matrix, place<T>() of an element in it, the
// alignment of every piece in bytes, and expert_t, what expert weights are kept as.
#pragma once
#include "stages.hpp"

namespace coterie { inline namespace v0 {

// Raised with every change of what stands where, here or inside a matrix of a backend: packed files of another are refused.
inline constexpr std::uint32_t packed_layout_version = 1;

// The matrices of an expert (Packer::offset).
enum class ExpertMatrix : int { gate, up, down };

template <Config C, class Shape>
struct PackedLayout {
  static constexpr Config config = C;
  static constexpr int E = C.experts, N = logit_columns(C), H = C.hidden, F = C.ffn, W = width(C), S = C.shared.ffn;
  using RouterT = element_t<C.router.weights>;
  using ExpertT = typename Shape::template expert_t<config>;
  using SharedT = element_t<C.shared.weights>;
  using LatentT = element_t<C.dtype>;
  static constexpr bool has_router = C.router.input != RouterInput::logits && C.router.input != RouterInput::token_ids && C.router.input != RouterInput::given;
  static constexpr int has_gate = gated(C.expert.act) ? 1 : 0;
  // Vectors that weigh the shared experts against the routed sum.
  static constexpr int mixes = !S ? 0 : C.shared.mix == SharedMix::sigmoid_gate ? 1 : C.shared.mix == SharedMix::coefficients ? 2 : 0;

  static constexpr Shape router{.outputs = N, .inputs = H};
  static constexpr Shape gate_up{.outputs = F, .inputs = W, .paired = has_gate};
  static constexpr Shape down{.outputs = W, .inputs = F};
  static constexpr Shape shared_gate_up{.outputs = S, .inputs = H, .paired = has_gate};
  static constexpr Shape shared_down{.outputs = H, .inputs = S};
  static constexpr Shape latent_down{.outputs = W, .inputs = H};
  static constexpr Shape latent_up{.outputs = H, .inputs = W};

  // Scalars that are not known at compile time.
  struct Header {
    float router_scale = 1;
    float latent_epsilon = 0;
    std::int64_t table_rows = 0;
    std::int64_t mapped = 0;                                                              // 1: packed in a file (io/packed_file.hpp). 8 bytes: no padding
  };

  std::size_t header = 0, router_panels = 0, noise_panels = 0, router_bias = 0, select_bias = 0, expert_scale = 0;
  std::size_t gate_bias = 0, up_bias = 0, down_bias = 0;                                  // [E][F], [E][F], [E][W] fp32
  std::size_t shared_gate_up_panels = 0, shared_down_panels = 0, shared_mix = 0, shared_mix_bias = 0;
  std::size_t latent_down_panels = 0, latent_up_panels = 0, latent_norm = 0;
  std::size_t expert_panels = 0, expert_stride = 0, expert_down = 0;                      // expert e at expert_panels + e * expert_stride
  std::size_t table = 0, bytes = 0;

  static constexpr PackedLayout make(std::int64_t experts, std::int64_t table_rows) {
    PackedLayout l;
    std::size_t at = 0;
    auto const take = [&at](std::int64_t elements, std::size_t size) {
      std::size_t const piece = at;
      at = (at + static_cast<std::size_t>(elements) * size + Shape::alignment - 1) / Shape::alignment * Shape::alignment;
      return piece;
    };
    l.header = take(1, sizeof(Header));
    l.router_panels = take(has_router ? router.elements() : 0, sizeof(RouterT));
    l.noise_panels = take(C.router.noise == Noise::softplus ? router.elements() : 0, sizeof(RouterT));
    l.router_bias = take(C.router.bias ? N : 0, sizeof(float));
    l.select_bias = take(C.router.select_bias ? candidates(C) : 0, sizeof(float));
    l.expert_scale = take(C.router.expert_scale ? E : 0, sizeof(float));
    l.gate_bias = take(C.expert.bias && has_gate ? experts * F : 0, sizeof(float));
    l.up_bias = take(C.expert.bias ? experts * F : 0, sizeof(float));
    l.down_bias = take(C.expert.bias ? experts * W : 0, sizeof(float));
    l.shared_gate_up_panels = take(S ? shared_gate_up.elements() : 0, sizeof(SharedT));
    l.shared_down_panels = take(S ? shared_down.elements() : 0, sizeof(SharedT));
    l.shared_mix = take(std::int64_t{mixes} * H, sizeof(float));
    l.shared_mix_bias = take(mixes, sizeof(float));
    l.latent_down_panels = take(C.expert.latent ? latent_down.elements() : 0, sizeof(LatentT));
    l.latent_up_panels = take(C.expert.latent ? latent_up.elements() : 0, sizeof(LatentT));
    l.latent_norm = take(C.expert.latent_norm == LatentNorm::rms ? W : 0, sizeof(float));
    l.expert_panels = at = (at + 4095) / 4096 * 4096;
    l.expert_down = Shape::template bytes<ExpertT>(gate_up);
    l.expert_stride = l.expert_down + Shape::template bytes<ExpertT>(down);
    at += static_cast<std::size_t>(experts) * l.expert_stride;
    l.table = take(C.router.select == Select::table ? table_rows * C.top_k : 0, sizeof(std::int32_t));
    l.bytes = at;
    return l;
  }
};

}}

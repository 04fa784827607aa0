// Weights as a checkpoint holds them: views only, nothing copied.
#pragma once
#include <array>
#include "checked.hpp"
#include "view.hpp"

namespace coterie { inline namespace v0 {

template <Config C, DType Stored = C.weights>
struct Weights {
  static constexpr Config config = C;
  static_assert(sizeof(Checked<config>));
  static constexpr int E = C.experts, H = C.hidden, F = C.ffn, W = width(C), N = logit_columns(C), S = C.shared.ffn;
  static constexpr std::size_t biased = C.expert.bias ? C.experts : 0;

  Matrix<C.router.weights, N, H> router{};                             // [N,H]; N: experts, null experts, shared rows
  float const* router_bias = nullptr;                                  // [N]     RouterConfig::bias
  float const* select_bias = nullptr;                                  // [E+Z]   RouterConfig::select_bias
  float const* expert_scale = nullptr;                                 // [E]     RouterConfig::expert_scale
  Rows<std::int32_t const, C.top_k> table{};                           // [vocabulary,K]  Select::table
  std::array<Matrix<Stored, F, W>, E> gate{}, up{};                    // [E][F,W]; gate unused by ungated activations
  std::array<Matrix<Stored, W, F>, E> down{};                          // [E][W,F]
  std::array<float const*, biased> gate_bias{}, up_bias{}, down_bias{};// [E][F], [E][F], [E][W]
  struct Shared {
    Matrix<C.shared.weights, S, H> gate{}, up{};                       // [S,H]
    Matrix<C.shared.weights, H, S> down{};                             // [H,S]
    Matrix<C.shared.weights, 2, H> mix{};                              // [1,H] sigmoid_gate, [2,H] coefficients (routed, shared)
    float const* mix_bias = nullptr;                                   // [2]; optional
  } shared{};
  struct Latent {
    Matrix<C.dtype, W, H> down{};                                      // [W,H]
    Matrix<C.dtype, H, W> up{};                                        // [H,W]
    float const* norm = nullptr;                                       // [W]  LatentNorm::rms
    float norm_epsilon = 1e-6f;
  } latent{};
  Matrix<C.router.weights, N, H> noise{};                              // [N,H]  Noise::softplus (Shazeer's W_noise)
  float router_scale = 1;                                              // learned global factor (Inkling)
};

// Gradients in checkpoint layout, added to or, with `overwrite`, written; null: not wanted. Matrices of experts, shared experts and latent
// projections have elements of type D: sums within one call are fp32 and rounded once. All else is fp32.
template <Config C, DType D = DType::fp32>
struct Gradients {
  static constexpr Config config = C;
  static constexpr DType type = D;
  static_assert(is_float(D), "coterie::Gradients: the type of matrices must be DType::fp32, bf16 or fp16");
  static constexpr int E = C.experts, H = C.hidden, F = C.ffn, W = width(C);
  static constexpr std::size_t biased = C.expert.bias ? C.experts : 0;
  static constexpr int N = logit_columns(C);
  float* router = nullptr;                                             // [N,H]
  float* router_bias = nullptr;                                        // [N]
  float* noise = nullptr;                                              // [N,H]  Noise::softplus
  float* expert_scale = nullptr;                                       // [E]
  float* router_scale = nullptr;                                       // one number
  std::array<Matrix<D, F, W, true>, E> gate{}, up{};                   // [E][F,W]
  std::array<Matrix<D, W, F, true>, E> down{};                         // [E][W,F]
  std::array<float*, biased> gate_bias{}, up_bias{}, down_bias{};      // [E][F], [E][F], [E][W]
  struct Shared {
    static constexpr int S = C.shared.ffn;
    Matrix<D, S, C.hidden, true> gate{}, up{};                         // [S,H]
    Matrix<D, C.hidden, S, true> down{};                               // [H,S]
    float* mix = nullptr;                                              // [1,H] sigmoid_gate, [2,H] coefficients
    float* mix_bias = nullptr;                                         // [1], [2]
  } shared{};
  struct Latent {
    Matrix<D, W, H, true> down{};                                      // [W,H]
    Matrix<D, H, W, true> up{};                                        // [H,W]
    float* norm = nullptr;                                             // [W]  LatentNorm::rms
  } latent{};
  // Of what the caller gave beside x.
  float* router_x = nullptr;                                           // [T,H]  RouterInput::separate
  float* logits = nullptr;                                             // [T,N]  RouterInput::logits
  float* routing_weight = nullptr;                                     // [T,S]  RouterInput::given
  int overwrite = 0;                                                   // flag: what memory held is not read; zeros where a call has no gradient
};

}}

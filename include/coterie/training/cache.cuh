// A cache on the GPU: nothing is read back, so that only its size is known.
#pragma once
#include "../cuda.cuh"
#include "kept.hpp"
#include "kept_kernels.cuh"

namespace coterie { inline namespace v0 { namespace training {

template <Config C> struct Kept<C, Cuda> : KeptPieces<C, Cuda> {
  static constexpr Config config = C;
  using Pieces = KeptPieces<config, Cuda>;
  using Pieces::routing, Pieces::chosen;

  static Kept carve(Arena& arena, std::int64_t tokens, TrainingOptions options) { return {Pieces::carve(arena, tokens, options)}; }
  // That forward() has filled it is the caller's promise.
  static Kept filled(Arguments const& arguments, std::span<std::byte const> cache, std::int64_t tokens, TrainingOptions options) { return cached<Kept>(arguments, cache, tokens, options); }
  void open() const {}
  void close(std::span<std::byte const>, TrainingOptions) const {}

  // logits[T,N] -> chosen, once experts are chosen; and back.
  void keep(Cuda const& on, float* logits, Where at) const { by_token(device::keep_logits_kernel<Kept>, on, logits, at); }
  void spread(Cuda const& on, float* logits, Where at) const { by_token(device::spread_logits_kernel<Kept>, on, logits, at); }

 private:
  template <class Kernel> void by_token(Kernel* kernel, Cuda const& on, float* logits, Where at) const {
    launch(kernel, {.grid = dim3(device::grid_of(device::ceil_div(routing.expert.rows, 4), "Cuda: too many tokens", at)), .block = dim3(128), .programmatic = on.device.programmatic}, on.stream, at,
           device::ChosenLogits<config>{.expert = routing.expert, .weight = routing.weight, .chosen = chosen, .logits = logits});
  }
};

}}}

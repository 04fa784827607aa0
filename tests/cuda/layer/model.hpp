// One layer, its inputs and its memory on the device.
#pragma once
#include <random/compiled_cuda.hpp>
#include "configs.hpp"

namespace layers {

template <ct::Config C> struct Model {
  using V = ct::element_t<C.dtype>;
  static constexpr ct::Config config = C;        // nvcc wants other templates named with it
  static constexpr int H = C.hidden;
  cases::CompiledCuda<config> made;
  std::int64_t tokens;
  ct::Cuda on;
  ct::Layer<config, ct::Cuda> layer;
  simt::Array<V> x, y;
  simt::Array<std::byte> workspace;

  Model(std::int64_t n, ct::Arch arch, cudaStream_t stream = nullptr)
      : tokens(n), on{stream, arch}, layer((made.pack(ct::Host{.threads = 1}, cases::make_tensors(made, {.tokens = n, .seed = 5})), made.layer())), x(numbers(3)), y(x.size()),
        workspace(layer.workspace_bytes(on, n)) {}
  std::vector<V> numbers(std::uint64_t seed) const {
    cases::Random random{seed};
    std::vector<V> v(static_cast<std::size_t>(tokens * H));
    for (V& one : v) one = ct::from_float<V>(static_cast<float>(random.normal()));
    return v;
  }
  void forward() const { forward(x.data(), y.data(), {workspace.data(), workspace.size()}); }
  void forward(V const* from, V* to, std::span<std::byte> scratch) const { layer.forward(on, ct::rows<H>(from, tokens), ct::rows<H>(to, tokens), scratch); }
};

}

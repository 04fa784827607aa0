// A layer on the GPU against the same layer on the host; then captured once as a graph and replayed with other tokens.
#include "device.hpp"
#include <cstdio>

namespace {

namespace ct = coterie;
// Mixtral's rules at a small size; for the real one, ct::presets::mixtral_8x7b.
constexpr ct::Config C{.experts = 8, .top_k = 2, .hidden = 256, .ffn = 512};
using V = ct::element_t<C.dtype>;

std::vector<V> on_host(ct::Weights<C> const& weights, std::vector<V> const& x) {
  ct::Host const host{.threads = 0};
  auto const packed = ct::pack(host, weights);
  ct::Layer<C, ct::Host> const layer{packed.view()};
  auto const tokens = static_cast<std::int64_t>(x.size()) / C.hidden;
  std::vector<V> y(x.size());
  std::vector<std::byte> workspace(layer.workspace_bytes(host, tokens));
  layer.forward(host, ct::rows<C.hidden>(x.data(), tokens), ct::rows<C.hidden>(y.data(), tokens), workspace);
  return y;
}

}

int main() try {
  ct::Cuda on{};
  ct::check(cudaStreamCreateWithFlags(&on.stream, cudaStreamNonBlocking));
  constexpr std::int64_t tokens = 64;
  example::RandomWeights<C> const weights{1};

  auto const packed = ct::pack(on, weights.raw);                         // one expert at a time, from host or device memory
  ct::Layer<C, ct::Cuda> const layer{packed.view()};
  std::printf("%s", layer.explain(on, tokens).c_str());

  auto const first = example::random_rows<V>(tokens, C.hidden, 2), second = example::random_rows<V>(tokens, C.hidden, 3);
  example::DeviceVector<V> const x{first}, y{x.size()};
  example::DeviceVector<std::byte> const workspace{layer.workspace_bytes(on, tokens)};
  auto const forward = [&] {                                             // enqueues kernels, and nothing else
    layer.forward(on, ct::rows<C.hidden>(x.data(), tokens), ct::rows<C.hidden>(y.data(), tokens), {workspace.data(), workspace.size()});
  };
  forward();
  ct::check(cudaStreamSynchronize(on.stream));
  double const eager = example::difference(y.get(), on_host(weights.raw, first));
  std::printf("%lld tokens, GPU against host: largest difference %.1e of the largest value\n", static_cast<long long>(tokens), eager);

  cudaGraph_t graph;
  cudaGraphExec_t replay;
  ct::check(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeThreadLocal));
  forward();
  ct::check(cudaStreamEndCapture(on.stream, &graph));
  ct::check(cudaGraphInstantiate(&replay, graph, 0));
  x.put(second);                                                         // other tokens choose other experts: the graph stays
  ct::check(cudaGraphLaunch(replay, on.stream));
  ct::check(cudaStreamSynchronize(on.stream));
  double const replayed = example::difference(y.get(), on_host(weights.raw, second));
  std::printf("the captured graph with other tokens: %.1e\n", replayed);
  cudaGraphExecDestroy(replay), cudaGraphDestroy(graph), cudaStreamDestroy(on.stream);
  return eager < 0.02 && replayed < 0.02 ? 0 : 1;                        // bf16 on both sides, summed in other orders
} catch (std::exception const& e) {
  std::fprintf(stderr, "06_cuda: %s\n", e.what());
  return 1;
}

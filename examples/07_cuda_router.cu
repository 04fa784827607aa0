// A router stage of your own on the GPU: a kernel that sends each token to the expert of its position in the sequence.
#include "device.hpp"
#include <cstdio>

namespace {

namespace ct = coterie;
constexpr ct::Config C{.experts = 4, .top_k = 1, .hidden = 128, .ffn = 256, .router = {.input = ct::RouterInput::given}};
using V = ct::element_t<C.dtype>;

// expert[t] = t mod E, weight 1. One thread a token.
__global__ void by_position_kernel(ct::Rows<std::int32_t, 1> expert, ct::Rows<float, 1> weight) {
  std::int64_t const t = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (t < expert.rows) expert[t][0] = static_cast<std::int32_t>(t % C.experts), weight[t][0] = 1;
}
struct ByPosition {
  void operator()(ct::Cuda const& on, ct::Inputs<C> const& in, ct::PackedView<C, ct::Cuda>, ct::Routing<C> const& to, std::span<std::byte>) const {
    if (in.x.rows == 0) return;
    ct::launch(by_position_kernel, {.grid = dim3(static_cast<unsigned>((in.x.rows + 127) / 128)), .block = dim3(128)}, on.stream, ct::Where::here(), to.expert, to.weight);
  }
};
struct Bundle : ct::Stages<C, ct::Cuda> { ByPosition router; };          // hides the library's stage

}

int main() try {
  ct::Cuda const on{};
  constexpr std::int64_t tokens = 32;
  example::RandomWeights<C> const weights{4};
  auto const packed = ct::pack(on, weights.raw);
  example::DeviceVector<V> const x{example::random_rows<V>(tokens, C.hidden, 5)}, y{x.size()}, z{x.size()};
  auto const run = [&](auto const& layer, ct::Inputs<C> const& in, V* to) {
    example::DeviceVector<std::byte> const workspace{layer.workspace_bytes(on, tokens)};
    layer.forward(on, in, ct::rows<C.hidden>(to, tokens), {workspace.data(), workspace.size()});
    ct::check(cudaDeviceSynchronize());
  };
  run(ct::Layer<C, ct::Cuda, Bundle>{packed.view()}, {.x = ct::rows<C.hidden>(static_cast<V const*>(x.data()), tokens)}, y.data());

  std::vector<std::int32_t> choice;                                      // the same choices, given: the same bits
  for (std::int64_t t = 0; t < tokens; ++t) choice.push_back(static_cast<std::int32_t>(t % C.experts));
  example::DeviceVector<std::int32_t> const expert{choice};
  example::DeviceVector<float> const weight{std::vector<float>(choice.size(), 1.f)};
  run(ct::Layer<C, ct::Cuda>{packed.view()},
      {.x = ct::rows<C.hidden>(static_cast<V const*>(x.data()), tokens), .routing = {.expert = {expert.data(), tokens}, .weight = {weight.data(), tokens}}}, z.data());
  double const d = example::difference(y.get(), z.get());
  std::printf("a router stage of one's own against its choices given: %.1e\n", d);
  return d == 0 ? 0 : 1;
} catch (std::exception const& e) {
  std::fprintf(stderr, "07_cuda_router: %s\n", e.what());
  return 1;
}

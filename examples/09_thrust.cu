// Thrust vectors as the layer's memory: they end up as pointers, and the layer asks for nothing else. nvcc only.
#include <coterie/cuda.cuh>
#include <thrust/device_vector.h>
#include <thrust/host_vector.h>
#include <thrust/sequence.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>
#include <cstdio>

namespace {

namespace ct = coterie;
constexpr ct::Config C{.experts = 4, .top_k = 2, .hidden = 128, .ffn = 256};
using V = ct::element_t<C.dtype>;

struct Noise {
  std::uint64_t seed;
  float size;
  __device__ V operator()(std::int64_t i) const { return ct::from_float<V>(size * (2 * ct::random::uniform(seed, ct::random::Stream::jitter, static_cast<std::uint64_t>(i), 0) - 1)); }
};
struct Square {
  __device__ double operator()(V v) const { return double{ct::to_float(v)} * double{ct::to_float(v)}; }
};
thrust::device_vector<V> noise(std::size_t n, std::uint64_t seed, float size) {
  thrust::device_vector<V> v(n);
  thrust::transform(thrust::counting_iterator<std::int64_t>(0), thrust::counting_iterator<std::int64_t>(static_cast<std::int64_t>(n)), v.begin(), Noise{seed, size});
  return v;
}
V* raw(thrust::device_vector<V>& v) { return thrust::raw_pointer_cast(v.data()); }

}

int main() try {
  constexpr std::int64_t tokens = 100;
  constexpr auto n = static_cast<std::size_t>(C.ffn * C.hidden);
  ct::Cuda const on{};                                                   // the default stream, as Thrust's
  auto router = noise(C.experts * C.hidden, 1, 0.15f), experts = noise(3 * n * C.experts, 2, 0.15f), x = noise(tokens * C.hidden, 3, 1.7f);
  ct::Weights<C> weights;
  weights.router.data = raw(router);
  for (std::size_t e = 0; e < C.experts; ++e)
    weights.gate[e].data = raw(experts) + 3 * e * n, weights.up[e].data = raw(experts) + (3 * e + 1) * n, weights.down[e].data = raw(experts) + (3 * e + 2) * n;
  auto const packed = ct::pack(on, weights);                             // from device memory: no copy on the way
  experts.clear(), experts.shrink_to_fit();                              // packed weights are all that is needed

  ct::Layer<C, ct::Cuda> const layer{packed.view()};
  thrust::device_vector<V> y(x.size());
  thrust::device_vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
  layer.forward(on, ct::rows<C.hidden>(raw(x), tokens), ct::rows<C.hidden>(raw(y), tokens), {thrust::raw_pointer_cast(workspace.data()), workspace.size()});
  double const square = thrust::transform_reduce(y.begin(), y.end(), Square{}, 0., thrust::plus<double>{});
  std::printf("root mean square of the output: %.4f\n", std::sqrt(square / static_cast<double>(y.size())));
  return square > 0 ? 0 : 1;
} catch (std::exception const& e) {
  std::fprintf(stderr, "09_thrust: %s\n", e.what());
  return 1;
}

// A whole transformer block on the GPU: RMSNorm and attention by plain kernels in fp32, the layer in bf16 between them, all on one stream;
// tokens at once, then one by one over a cache of keys and values; against the definition in double.
#include "block.cuh"
#include "device.hpp"
#include <cstdio>

namespace {

namespace ct = coterie;
constexpr ct::Config moe{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 96};           // Mixtral's rules: the fast kernels are for 16-bit types
using V = ct::element_t<moe.dtype>;
constexpr example::Shape shape{.hidden = moe.hidden, .heads = 4, .kv_heads = 2, .head_dim = 16, .experts = moe.experts, .top_k = moe.top_k, .ffn = moe.ffn};
constexpr int H = moe.hidden, D = shape.head_dim, Q = shape.heads * D, KV = shape.kv_heads * D, longest = 64;

example::BlockWeights random_weights() {
  std::uint64_t seed = 0;
  auto const matrix = [&](int outputs, int inputs) {
    std::vector<float> w(static_cast<std::size_t>(outputs) * static_cast<std::size_t>(inputs));
    return example::RandomWeights<moe>::fill(w, inputs, ++seed), w;
  };
  auto const of_layer = [&](int outputs, int inputs) {                   // numbers that bf16 holds: packing changes nothing
    auto w = matrix(outputs, inputs);
    for (float& v : w) v = ct::rounded<V>(v);
    return w;
  };
  constexpr int E = moe.experts, F = moe.ffn;
  return {.norm_attention = std::vector<float>(H, 1.f), .norm_moe = std::vector<float>(H, 1.f), .q = matrix(Q, H), .k = matrix(KV, H), .v = matrix(KV, H), .o = matrix(H, Q),
          .router = of_layer(E, H), .gate = of_layer(E * F, H), .up = of_layer(E * F, H), .down = of_layer(E * H, F)};
}
ct::Packed<moe, ct::Cuda> pack(ct::Cuda const& on, example::BlockWeights const& w) {
  std::vector<V> router;
  for (float v : w.router) router.push_back(ct::from_float<V>(v));
  ct::Weights<moe, ct::DType::fp32> raw;                                 // experts stored as fp32 become bf16 on the way
  raw.router.data = router.data();
  constexpr auto n = static_cast<std::size_t>(moe.ffn * H);
  for (std::size_t e = 0; e < moe.experts; ++e) raw.gate[e].data = &w.gate[e * n], raw.up[e].data = &w.up[e * n], raw.down[e].data = &w.down[e * n];
  return ct::pack(on, raw);
}

struct Block {
  template <class T> using Memory = example::DeviceVector<T>;
  Block(ct::Cuda const& with, example::BlockWeights const& w) : on(with), packed(pack(with, w)), norm_attention(w.norm_attention), norm_moe(w.norm_moe), q(w.q), k(w.k), v(w.v), o(w.o),
                                                                  workspace(layer.workspace_bytes(with, longest)) {}

  // Enqueues the block for tokens that follow those seen so far: x[T,H] on the device, in place.
  void forward(float* x, std::int64_t tokens) {
    auto const run = [&](auto const& kernel, int threads, auto... arguments) {
      ct::launch(kernel, {.grid = dim3(static_cast<unsigned>(tokens)), .block = dim3(static_cast<unsigned>(threads))}, on.stream, ct::Where::here(), arguments...);
    };
    run(example::rms_norm_kernel<H, float>, 32, x, norm_attention.data(), normal.data());
    run(example::matrix_kernel<Q, H, false>, Q, q.data(), normal.data(), queries.data());
    run(example::matrix_kernel<KV, H, false>, KV, k.data(), normal.data(), keys.data() + past * KV);
    run(example::matrix_kernel<KV, H, false>, KV, v.data(), normal.data(), values.data() + past * KV);
    run(example::rotate_kernel<D>, Q / 2, queries.data(), shape.heads, past);
    run(example::rotate_kernel<D>, KV / 2, keys.data() + past * KV, shape.kv_heads, past);
    run(example::attention_kernel<shape.heads, shape.kv_heads, D>, shape.heads, queries.data(), keys.data(), values.data(), mixed.data(), past);
    run(example::matrix_kernel<H, Q, true>, H, o.data(), mixed.data(), x);
    run(example::rms_norm_kernel<H, V>, 32, x, norm_moe.data(), moe_x.data());
    layer.forward(on, ct::rows<H>(moe_x.data(), tokens), ct::rows<H>(moe_y.data(), tokens), {workspace.data(), workspace.size()});
    run(example::add_kernel<H, V>, H, moe_y.data(), x);
    past += tokens;
  }

  ct::Cuda on;
  ct::Packed<moe, ct::Cuda> packed;
  ct::Layer<moe, ct::Cuda> layer{packed.view()};
  Memory<float> norm_attention, norm_moe, q, k, v, o;
  Memory<float> keys{longest * KV}, values{longest * KV}, normal{longest * H}, queries{longest * Q}, mixed{longest * Q};
  Memory<V> moe_x{longest * H}, moe_y{longest * H};
  Memory<std::byte> workspace;                                           // sized by the constructor: nvcc 13.0 gives up on that call here
  std::int64_t past = 0;
};

}

int main() try {
  constexpr std::int64_t prompt = 12, steps = 4;
  auto const weights = random_weights();
  Block block{ct::Cuda{}, weights};
  std::vector<float> x = example::random_rows<float>(prompt, H, 99), seen(x), got;
  for (int step = 0; step <= steps; ++step) {                            // each step reads what the last one said
    example::DeviceVector<float> const on_device{x};
    block.forward(on_device.data(), static_cast<std::int64_t>(x.size()) / H);
    auto const y = on_device.get();
    got.insert(got.end(), y.begin(), y.end());
    x.assign(y.end() - H, y.end());
    if (step < steps) seen.insert(seen.end(), x.begin(), x.end());
  }
  std::vector<std::vector<double>> all;
  for (std::size_t t = 0; t < seen.size() / H; ++t) all.emplace_back(seen.begin() + std::ptrdiff_t(t) * H, seen.begin() + std::ptrdiff_t(t + 1) * H);
  std::vector<float> want;
  for (auto const& row : example::by_definition(shape, weights, all)) want.insert(want.end(), row.begin(), row.end());
  double const d = example::difference(got, want);
  std::printf("a block of %d hidden, %d heads, %d experts: %d tokens at once, then %d one by one: %.1e from the definition in double\n", H, shape.heads, moe.experts, int(prompt), int(steps), d);
  return d < 1e-2 ? 0 : 1;                                                // bf16 has 8 bits
} catch (std::exception const& e) {
  std::fprintf(stderr, "08_cuda_block: %s\n", e.what());
  return 1;
}

// Prints how many tokens a layer of all-zero weights kept finite: all of them.
#include <coterie/coterie.hpp>
#include <cstdio>
#include <vector>
namespace ct = coterie;

constexpr ct::Config small{.experts = 4, .top_k = 2, .hidden = 32, .ffn = 32};

int main() {
  std::vector<ct::bf16> zeros(32 * 32), x(5 * 32, ct::from_float<ct::bf16>(1)), y(5 * 32, ct::from_float<ct::bf16>(7));
  ct::Weights<small> raw;
  raw.router.data = zeros.data();
  for (std::size_t e = 0; e < 4; ++e) raw.gate[e].data = raw.up[e].data = raw.down[e].data = zeros.data();
  ct::Host on{.threads = 2};
  auto const packed = ct::pack(on, raw);
  ct::Layer<small, ct::Host> layer{packed.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(on, 5));
  layer.forward(on, ct::rows<32>(x.data(), 5), ct::rows<32>(y.data(), 5), workspace);
  int zero = 0;
  for (ct::bf16 v : y) zero += ct::to_float(v) == 0;
  std::printf("%d zeros\n", zero);
  return zero == 5 * 32 ? 0 : 1;
}

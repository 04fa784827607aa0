// What quantised experts cost in accuracy: the layer's output beside that of the same checkpoint with its own weights, and bytes.
//   bench_accuracy [tests/golden]      Mixtral as transformers saved it (small, random weights); and 16 experts of Qwen3-30B-A3B's size with
// weights N(0, 1/inputs). Activations are N(0,1) tokens. Prints relative root mean squares of y - y(bf16). Random weights are the worst
// case: they have no structure that rounding could spare.
#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>
#include <cmath>
#include <cstdio>
#include <vector>
#include "trace.hpp"

namespace {
namespace ct = coterie;
using ct::Config;
using ct::DType;

constexpr std::int64_t tokens = 128;
constexpr Config with(Config c, DType d, ct::QuantConfig q = {}) {
  c.weights = d, c.quant = q;
  return c;
}
// A checkpoint's layer 0, or random weights.
template <Config C> ct::Packed<C, ct::Host> packed(ct::Host const& on, ct::Checkpoint const* from) {
  if (from) return ct::load<C>(on, *from, 0);
  bench::Random random{1};
  std::vector<ct::bf16> router(std::size_t{C.experts} * C.hidden), matrix[3];
  for (ct::bf16& v : router) v = ct::from_float<ct::bf16>(random.normal() / std::sqrt(float{C.hidden}));
  ct::Packer<C, ct::Host> packer{on};
  ct::Weights<C> raw{};
  raw.router = {.data = router.data()};
  packer.router(raw);
  for (int e = 0; e < C.experts; ++e) {
    for (int i = 0; i < 3; ++i) {
      matrix[i].resize(std::size_t{C.ffn} * C.hidden);
      for (ct::bf16& v : matrix[i]) v = ct::from_float<ct::bf16>(random.normal() / std::sqrt(i < 2 ? float{C.hidden} : float{C.ffn}));
    }
    packer.template expert<DType::bf16>(e, {.data = matrix[0].data()}, {.data = matrix[1].data()}, {.data = matrix[2].data()});
  }
  return packer.finish();
}
template <Config C> std::vector<float> output(ct::Host const& on, ct::Checkpoint const* from) {
  auto const weights = packed<C>(on, from);
  ct::Layer<C, ct::Host> const layer{weights.view()};
  bench::Random random{2};
  std::vector<ct::element_t<C.dtype>> x(std::size_t{tokens} * C.hidden), y(x.size());
  for (auto& v : x) v = ct::from_float<ct::element_t<C.dtype>>(random.normal());
  std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
  layer.forward(on, ct::rows<C.hidden>(x.data(), tokens), ct::rows<C.hidden>(y.data(), tokens), workspace);
  std::vector<float> to;
  for (auto const v : y) to.push_back(ct::to_float(v));
  return to;
}
template <Config C> void row(ct::Host const& on, ct::Checkpoint const* from, std::vector<float> const& want, char const* what) {
  auto const got = output<C>(on, from);
  double error = 0, size = 0;
  for (std::size_t i = 0; i < got.size(); ++i) error += std::pow(double{got[i]} - double{want[i]}, 2), size += std::pow(double{want[i]}, 2);
  double const weights = 3. * C.experts * C.hidden * C.ffn;
  std::printf("  %-26s %.2e   %5.2f bits per weight\n", what, std::sqrt(error / size),
              8 * double(ct::host::PackedLayout<C>::make(C.experts, 0).expert_stride) * C.experts / weights);
}
template <Config C> void rows(char const* name, ct::Checkpoint const* from) {
  ct::Host const on{};
  std::printf("%s: %d experts, hidden %d, ffn %d\n", name, C.experts, C.hidden, C.ffn);
  auto const want = output<C>(on, from);
  row<with(C, DType::int8)>(on, from, want, "int8, a scale per row");
  row<with(C, DType::int8, {.group = 128})>(on, from, want, "int8, groups of 128");
  row<with(C, DType::fp8_e4m3, {.group = 128, .group_rows = 128})>(on, from, want, "fp8_e4m3, 128 x 128");
  row<with(C, DType::fp8_e5m2, {.group = 128, .group_rows = 128})>(on, from, want, "fp8_e5m2, 128 x 128");
  row<with(C, DType::int4, {.group = 32, .zero_points = 1})>(on, from, want, "int4, 32, zero points");
  row<with(C, DType::int4, {.group = 32})>(on, from, want, "int4, groups of 32");
  row<with(C, DType::int4, {.group = 128})>(on, from, want, "int4, groups of 128");
  row<with(C, DType::mxfp4)>(on, from, want, "mxfp4");
}
}

int main(int argc, char** argv) {
  constexpr Config mixtral{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};
  constexpr Config random{.experts = 16, .top_k = 8, .hidden = 2048, .ffn = 768};
  if (argc > 1) {
    ct::Checkpoint const from{std::string(argv[1]) + "/mixtral"};
    rows<mixtral>("tests/golden/mixtral", &from);
  }
  rows<random>("random, a Qwen3-30B-A3B layer of 16 experts", nullptr);
}

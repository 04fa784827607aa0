// The stages that bench/cuda/backward.cuh times one by one are the layer's backward pass: they leave its bits.
#include <cuda/support.hpp>
#include <cstring>
#include "../../bench/cuda/training.cuh"

namespace {
using namespace coterie;

constexpr Config small{.experts = 5, .top_k = 2, .hidden = 72, .ffn = 40};
constexpr std::int64_t T = 75, E = small.experts, H = small.hidden, matrix = H * small.ffn;

template <class V> std::vector<V> get(V const* from, std::int64_t n) {
  std::vector<V> to(static_cast<std::size_t>(n));
  check(cudaMemcpy(to.data(), from, to.size() * sizeof(V), cudaMemcpyDeviceToHost));
  return to;
}
template <class V> bool same(std::vector<V> const& a, std::vector<V> const& b) { return std::memcmp(a.data(), b.data(), a.size() * sizeof(V)) == 0; }

struct Case {
  Cuda on{};
  Packed<small, Cuda> packed = bench::pack_noise<small>(on);
  Layer<small, Cuda> layer{packed.view()};
  bench::Memory<bf16> x{T * H}, y{T * H}, dy{T * H}, dx{T * H};
  bench::Memory<std::byte> cache, workspace;
  bench::Memory<float> gradients{3 * E * matrix + E * H};
  std::unique_ptr<bench::GradientPlaces<small>> to = std::make_unique<bench::GradientPlaces<small>>();
  Inputs<small> in;

  explicit Case(Arch arch)                       // what calls the layer stands here: nvcc 13.0 crashes on such an initialiser of a member
      : on{.arch = arch}, cache(static_cast<std::int64_t>(layer.cache_bytes(on, T))), workspace(static_cast<std::int64_t>(layer.training_workspace_bytes(on, T))) {
    bench::noise(on, x.data(), T * H, 1, 5), bench::noise(on, dy.data(), T * H, 1, 6), bench::noise(on, gradients.data(), 3 * E * matrix + E * H, 1, 7);
    in.x = {x.data(), T};
    place(to->added), place(to->written), place(to->narrow);
    to->written.overwrite = to->narrow.overwrite = 1;
  }
  template <DType D> void place(Gradients<small, D>& g) {
    g.router = gradients.data();
    auto* at = reinterpret_cast<element_t<D>*>(gradients.data() + E * H);
    for (std::size_t e = 0; e < E; ++e, at += 3 * matrix) g.gate[e].data = at, g.up[e].data = at + matrix, g.down[e].data = at + 2 * matrix;
  }
  Rows<bf16, H> rows(bench::Memory<bf16> const& m) const { return {m.data(), T}; }
  template <DType D> void backward(Gradients<small, D> const& g) const { layer.backward(on, in, cache.span(), rows(dy), rows(dx), g, workspace.span()); }
  // Gradients of the router; of matrices, in bf16, as the stages leave them last.
  std::vector<float> router() const { return get(gradients.data(), E * H); }
  std::vector<bf16> matrices() const { return get(reinterpret_cast<bf16 const*>(gradients.data() + E * H), 3 * E * matrix); }
};
}

TEST_CASE("bench: the stages of a backward pass leave what the whole pass leaves") {
  for (Arch arch : cuda_tests::arches()) {
    CAPTURE(name(arch));
    CHECK(simt::failure_of([&] {
      Case const c(arch);
      c.layer.forward(c.on, c.in, c.rows(c.y), c.cache.span(), c.workspace.span());
      c.backward(c.to->written);
      auto const router = c.router();
      c.backward(c.to->narrow);
      auto const dx = get(c.dx.data(), T * H), y = get(c.y.data(), T * H), matrices = c.matrices();
      bench::BackwardStages<small> stages{c.on, c.packed.view(), c.in, c.rows(c.y), c.rows(c.dy), c.rows(c.dx), c.cache.span(), c.workspace.span()};
      auto const rows = stages.measure(*c.to, [](auto const& stage) { return stage(), stage(), check(cudaDeviceSynchronize()), 1.; });         // twice, as a timer does
      CHECK(rows.size() == 11);
      for (bench::StageRow const& r : rows) CHECK((r.bytes > 0 && r.us == 1));
      CHECK(same(get(c.dx.data(), T * H), dx));
      CHECK(same(get(c.y.data(), T * H), y));
      CHECK(same(c.matrices(), matrices));
      CHECK(same(c.router(), router));
      return std::string();
    }) == "");
  }
}

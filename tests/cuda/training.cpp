// Training on the GPU, or in the emulator: the host's gradients, to the bit where every sum is exact; the same bits under every schedule, which
// need every synchronisation; captured graphs; what is refused.
#include "product_syncs.hpp"
#include "training/step.hpp"

namespace steps {

// 0.02: four roundings to bf16 in a row, each of which may fall to the other side.
TEST_CASE("training: gradients are the host's") { agree<mixtral>("mixtral", 0.02); }
TEST_CASE("training: and in fp16") { agree<mixtral_fp16>("mixtral, fp16", 0.005); }
TEST_CASE("training: sums over tokens, in one piece and in several") {
  for (std::int64_t rows : {512, 513, 1024, 1025}) {
    constexpr int columns = 40;
    constexpr int stride = 43;
    std::vector<bf16> from;
    std::vector<float> weight, want(columns, 3);
    for (std::int64_t r = 0; r < rows; ++r) {
      weight.push_back(static_cast<float>(r % 5 - 2));
      for (int c = 0; c < stride; ++c) {
        from.push_back(from_float<bf16>(c < columns ? static_cast<float>((r * columns + c) * 7 % 11 - 5) : __builtin_nanf("")));
        if (c < columns) want[static_cast<std::size_t>(c)] += weight.back() * to_float(from.back());
      }
    }
    simt::Array<bf16> const numbers(from);
    simt::Array<float> const of(weight), pieces(static_cast<std::size_t>(device::sum_pieces(rows, columns)) + 1);
    simt::Array<float> to(columns);
    to.put(std::vector<float>(columns, 3));
    CAPTURE(rows);
    CHECK(simt::failure_of([&] {
      device::token_sums(Cuda{}, numbers.data(), stride, of.data(), rows, columns, to.data(), 0, pieces.data(), Where::here());
      check(cudaDeviceSynchronize());
      return same(to.get(), want);
    }) == "");
  }
}
TEST_CASE("training: small whole numbers: the host's to the bit, whoever gets the tokens") {
  for (std::int64_t tokens : {1, 9, 70}) {
    Data<whole> data(tokens, 30 + static_cast<std::uint64_t>(tokens), true);
    for (bool one : {false, true}) {             // all tokens to one expert, whose slots come in any order
      if (one)
        for (std::int32_t& e : data.given) e = e < 0 ? e : 1;
      Result const want = on_host<whole>(data, 3, 0), written = on_host<whole>(data, 3, 1);
      for (Arch arch : cuda_tests::arches()) {
        if (tokens == 70 && arch != cuda_tests::arches().back()) continue;
        Step<whole> const step(data, arch);
        CAPTURE(tokens);
        CAPTURE(one);
        CHECK(simt::failure_of([&] { return other_bits(want, step(3)); }) == "");
        CHECK(simt::failure_of([&] { return other_bits(written, step(3, 1)); }) == "");                   // experts without rows: zeros
      }
    }
  }
}
TEST_CASE("training: gradients of matrices in bf16 are fp32's, rounded once") {
  Data<whole> const data(9, 40, true);
  Result want = on_host<whole>(data, 0, 1);
  for (Part& p : want.parts)
    if (p.name.find("up") != std::string::npos || p.name.find("down") != std::string::npos)
      for (float& v : p.values) v = to_float(from_float<bf16>(v));
  CHECK(simt::failure_of([&] { return other_bits(want, Step<whole, DType::bf16>(data, Arch::best)(7, 1)); }) == "");
}
TEST_CASE("training: the same bits under every schedule, and every synchronisation is needed") {
  Data<mixtral> const data(13, 5);
  Step<mixtral> const step(data, Arch::best);
  Result const first = step();
  auto const run = [&] { return other_bits(first, step()); };
  CHECK(simt::survives(18, run) == "");
  cuda_tests::check_waits(run, {"keep_logits: the kernel ahead", "spread_logits: the kernel ahead", "combine_enter: the kernel ahead", "route_backward: the kernel ahead", "add_halves: the kernel ahead",
                                "token_sums: the kernel ahead", "token_sums: parts of the warps", "gather: the kernel ahead", "gather: slots are known"});
}
// In a step kernels that write nothing for it stand ahead of it.
TEST_CASE("training: combine's way out behind a kernel that writes what it reads") {
  using Back = CombineBackward<mixtral, Cuda>;
  constexpr std::int64_t n = 40;
  std::vector<std::int32_t> slot;
  std::vector<float> dout, want;
  for (std::int32_t i = 0; i < 2 * n; ++i) slot.push_back(i % 7 == 3 ? -1 : 2 * n - 1 - i), dout.push_back(static_cast<float>(i));
  for (std::int32_t r : slot) want.push_back(r < 0 ? 0.f : 0.5f * dout[static_cast<std::size_t>(r)]);
  simt::Array<std::int32_t> const expert(std::vector<std::int32_t>(2 * n, 0)), slots(slot);
  simt::Array<float> const from(dout), to(2 * n), weight(std::vector<float>(2 * n, 1.f)), mix(std::vector<float>(n, 0.5f)), dweight(2 * n);
  simt::Array<bf16> const x(n * mixtral.hidden);
  Inputs<mixtral> const in{.x = {x.data(), n}};
  Routing<mixtral> routing{};
  routing.expert = {expert.data(), n}, routing.weight = {weight.data(), n};
  Batch<mixtral> batch{};
  batch.slot = {slots.data(), n};
  Back::Call const call{in, {}, routing, batch, nullptr, in.x, {}, mix.data(), nullptr, nullptr, nullptr, nullptr, nullptr};
  auto const run = [&] {
    cuda_tests::ahead(to.data(), from.data(), 2 * n);
    Back{}.leave(Cuda{}, call, nullptr, to.data(), dweight.data(), Gradients<mixtral>{}, {});
    check(cudaDeviceSynchronize());
    return same(dweight.get(), want);
  };
  CHECK(simt::survives(18, run) == "");
  cuda_tests::check_waits(run, {"combine_leave: the kernel ahead"});
}

namespace {
// A step in a graph: other tokens, whose routing is another one, give what a call gives.
struct Stream {
  cudaStream_t stream = nullptr;
  Stream() { check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  ~Stream() { (void)cudaStreamDestroy(stream); }
};
}
TEST_CASE("training: a captured step replays with other tokens") {
  Data<mixtral> const data(13, 5), other(13, 6);
  Stream const on;
  Step<mixtral> const step(data, Arch::best, {}, on.stream);
  std::vector<Result> want;
  for (auto const* x : {&data.x, &other.x}) {
    step.put_x(*x);
    want.push_back(step(0, 1));
  }
  CHECK(other_bits(want[0], want[1]) != "");
  CHECK(simt::survives(3, [&]() -> std::string {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    check(cudaStreamBeginCapture(on.stream, cudaStreamCaptureModeGlobal));
    step.enqueue(1);
    check(cudaStreamEndCapture(on.stream, &graph));
    check(cudaGraphInstantiate(&executable, graph, 0));
    std::string wrong;
    for (int i = 0; i < 2 && wrong.empty(); ++i) {
      step.put_x(i == 0 ? data.x : other.x);
      check(cudaGraphLaunch(executable, on.stream));
      wrong = other_bits(want[static_cast<std::size_t>(i)], step.result());
    }
    check(cudaGraphExecDestroy(executable)), check(cudaGraphDestroy(graph));
    return wrong;
  }) == "");
}
// But for what products do (backward.cpp), four rows of a warp's that an operand's map names (wgmma_gradient), a number of each row that a token's slots name (backward_kernels), and eight floats of a thread in two
// loads, whose second finds its sectors in the cache (gather_kernels).
TEST_CASE("training: memory is read and written in full sectors, shared memory without conflicts") {
  Data<mixtral> const data(13, 5);
  Step<mixtral> const step(data, Arch::best);
  CHECK(cuda_tests::waste_beside({"product.cuh", "ffn", "groups.cuh", "pairs.cuh", "backward_kernels.cuh", "gather_kernels.cuh", "wgmma_gradient.cuh"}, [&] { (void)step(); }) == "");
}
TEST_CASE("training: a NaN reaches its token's dx, and no other's") {
  Data<mixtral> data(13, 5);
  Result const clean = Step<mixtral>(data, Arch::best)();
  data.x[4 * mixtral.hidden + 7] = ct::from_float<bf16>(__builtin_nanf(""));
  Result got;
  CHECK(simt::failure_of([&] { got = Step<mixtral>(data, Arch::best)(); }) == "");
  Floats const &dx = got.parts.back().values, &was = clean.parts.back().values;
  for (std::size_t i = 0; i < dx.size(); ++i) CHECK((i / mixtral.hidden == 4 ? ct::is_nan(dx[i]) : dx[i] == was[i]));
}
TEST_CASE("training: no tokens: nothing is read, and overwriting writes zeros") {
  Data<mixtral> const data(0, 5);
  Step<mixtral> const step(data, Arch::best);
  CHECK(step.layer().cache_bytes(Cuda{}, 0) == 0);
  for (int overwrite : {0, 1}) {
    Result const got = step(3, overwrite);
    for (Part const& p : got.parts)
      for (float v : p.values) REQUIRE(v == (overwrite ? 0.f : 3.f));
  }
}
TEST_CASE("training: a cache holds the nouns, the chosen's logits and the pre-activations") {
  constexpr std::int64_t T = 1000, S = mixtral.top_k, R = T * S, nouns = 4 * (3 * T * S + 2 * R + mixtral.experts + 1), pre = R * 2 * ((mixtral.ffn + 7) / 8 * 8) * 2;
  for (int recompute : {0, 1}) {
    Layer<mixtral, Cuda> const layer{PackedView<mixtral, Cuda>{}, {}, {.recompute = recompute}};
    auto const got = static_cast<std::int64_t>(layer.cache_bytes(Cuda{}, T)), want = nouns + 4 * T * S + (recompute ? 0 : pre);
    CHECK(got >= want);
    CHECK(got <= want + 9 * 256);                // alignment of eight pieces, and of the whole
  }
}
TEST_CASE("training: what a forward pass chose is in its cache") {
  Data<mixtral> const data(13, 5);
  Step<mixtral> const step(data, Arch::best, {.logits = 1});
  (void)step();
  CHECK(simt::failure_of([&] { return step.wrongly_chosen(); }) == "");
  CHECK(Step<mixtral>(data, Arch::best).call().cache.size() + 4 * 13 * 8 <= step.call().cache.size());
  CHECK_THROWS_WITH_AS((void)step.layer().chosen(Cuda{}, step.call().cache.first(step.call().cache.size() - 1), 13), doctest::Contains("Layer::chosen: cache is too small"), Error);
}
#if defined(COTERIE_SIMT)
TEST_CASE("training: a step enqueues kernels and nothing else, each of which lets the next one start") {
  Data<mixtral> const data(13, 5);
  Step<mixtral> const step(data, Arch::best);
  (void)step();                                  // what is asked once is known
  simt::clear_calls();
  step.enqueue(1);
  check(cudaDeviceSynchronize());
  std::size_t launches = 0;
  std::string others;
  for (std::string const& call : simt::calls()) {
    if (call == "cudaLaunchKernelEx") ++launches;
    else if (call != "cudaGetDevice" && call != "cuTensorMapEncodeTiled") others += call + " ";           // which ask and compute, on the host
  }
  CHECK(others == "cudaDeviceSynchronize ");
  CHECK(launches == 8 + 16);                     // forward, backward
  CHECK(cuda_tests::overlapping(1, [&] { step.enqueue(), check(cudaDeviceSynchronize()); }) == "");
}
#endif
TEST_CASE("training: a runtime call that fails is thrown, and nothing leaks") {
  Data<mixtral> const data(5, 5);
  Step<mixtral> const step(data, Arch::best);
  CHECK(simt::survives_failing_calls([&] { step.enqueue(), check(cudaDeviceSynchronize()); }) == "");
}
TEST_CASE("training: what is refused, with a sentence") {
  Data<mixtral> const data(5, 5);
  Step<mixtral> const step(data, Arch::best);
  using Call = Step<mixtral>::Call;
  std::vector<std::byte> host(1 << 20);
  auto const gradients = std::make_unique<Gradients<mixtral>>();
  auto const refuses = [&](bool backward, char const* part, auto const& change) {
    Call c = step.call();
    change(c);
    CAPTURE(part);
    if (backward) CHECK_THROWS_WITH_AS(step.layer().backward(c.on, c.in, c.cache, c.dy, c.dx, *c.to, c.workspace), doctest::Contains(part), Error);
    else CHECK_THROWS_WITH_AS(step.layer().forward(c.on, c.in, c.y, c.cache, c.workspace), doctest::Contains(part), Error);
  };
  bf16* const values = reinterpret_cast<bf16*>(host.data());
  refuses(false, "Layer::forward: x must be device memory", [&](Call& c) { c.in.x.data = values; });
  refuses(false, "Layer::forward: y must be device memory", [&](Call& c) { c.y.data = values; });
  refuses(false, "Layer::forward: cache must be device memory", [&](Call& c) { c.cache = host; });
  refuses(false, "Layer::forward: workspace must be device memory", [&](Call& c) { c.workspace = host; });
  refuses(false, "Layer::forward: cache is too small", [&](Call& c) { c.cache = c.cache.first(c.cache.size() - 1); });
  refuses(false, "Layer::forward: workspace is too small", [&](Call& c) { c.workspace = c.workspace.first(c.workspace.size() - 1); });
  refuses(false, "y must have as many rows as x", [&](Call& c) { c.y.rows = 4; });
  refuses(true, "Layer::backward: dy must be device memory", [&](Call& c) { c.dy.data = values; });
  refuses(true, "Layer::backward: dx must be device memory", [&](Call& c) { c.dx.data = values; });
  refuses(true, "Layer::backward: cache is too small", [&](Call& c) { c.cache = c.cache.first(c.cache.size() - 1); });
  refuses(true, "dx must not overlap dy", [&](Call& c) { c.dx.data = const_cast<bf16*>(c.dy.data); });
  gradients->up[3].data = reinterpret_cast<float*>(host.data());
  refuses(true, "Layer::backward: Gradients::up must be device memory", [&](Call& c) { c.to = gradients.get(); });
  check(cudaDeviceSynchronize());
}

}

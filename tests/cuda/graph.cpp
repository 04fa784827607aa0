// A forward captured in a CUDA graph: replayed with other tokens, whose routing is another one, it gives what an eager call gives.
#include "support.hpp"
#include <cstring>
#include <utility>
#include "layer/model.hpp"

namespace layers {

namespace {
using namespace coterie;

// Places are few, so that who is dropped depends on the tokens; noise, whose seed the graph keeps.
constexpr Config dropping{.experts = 5, .top_k = 2, .hidden = 32, .ffn = 24, .router = {.noise = Noise::gumbel, .noise_size = 0.5f},
                          .capacity = {.rounding = Rounding::deepspeed, .factor = 0.75f, .order = Order::probability, .normalise = When::after}, .shared = {.ffn = 16}};
constexpr std::uint64_t seed = 9;

struct Stream {
  cudaStream_t stream = nullptr;
  Stream() { check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)); }
  Stream(Stream const&) = delete;
  Stream& operator=(Stream const&) = delete;
  ~Stream() { (void)cudaStreamDestroy(stream); }
};
struct Captured {
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  Captured() = default;
  Captured(Captured const&) = delete;
  Captured& operator=(Captured const&) = delete;
  ~Captured() {
    if (executable) (void)cudaGraphExecDestroy(executable);
    if (graph) (void)cudaGraphDestroy(graph);
  }
};
template <Config C> void enqueue(Model<C> const& m) {
  m.layer.forward(m.on, Inputs<C>{.x = rows<C.hidden>(static_cast<element_t<C.dtype> const*>(m.x.data()), m.tokens), .seed = seed}, rows<C.hidden>(m.y.data(), m.tokens),
                  {m.workspace.data(), m.workspace.size()});
}
template <Config C> using Numbers = std::vector<element_t<C.dtype>>;
template <Config C> Numbers<C> eager(Model<C> const& m, Numbers<C> const& x) {
  m.x.put(x);
  m.y.put(Numbers<C>(x.size()));
  check(cudaDeviceSynchronize());
  enqueue(m);
  check(cudaStreamSynchronize(m.on.stream));
  return m.y.get();
}
template <class T> bool same(std::vector<T> const& a, std::vector<T> const& b) { return std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0; }

template <Config C> class Replays {
  static constexpr Config config = C;            // nvcc wants other templates named with it
  using V = element_t<C.dtype>;

 public:
  Replays(std::int64_t tokens, Arch arch) : m_(tokens, arch, one_.stream), other_(3, arch, two_.stream), other_want_(eager(other_, other_.numbers(3))) {
    for (std::size_t i = 0; i < 3; ++i) {
      auto x = m_.numbers(20 + i);
      if (i == 2)                                // every token the same: all of them to the same experts
        for (std::size_t j = 0; j < x.size(); ++j) x[j] = x[j % C.hidden];
      want_.push_back(eager(m_, x));
      inputs_.emplace_back(new simt::Array<V>(x)), outputs_.emplace_back(new simt::Array<V>(x.size()));
    }
  }
  // A second stream works on a layer of its own while the first captures, and while it replays.
  std::string operator()() const {
    other_.y.put(std::vector<bf16>(other_.y.size()));
    for (auto const& y : outputs_) y->put(std::vector<V>(y->size()));
    check(cudaDeviceSynchronize());
    Captured captured;
    check(cudaStreamBeginCapture(one_.stream, cudaStreamCaptureModeGlobal));
    enqueue(m_);
    enqueue(other_);
    check(cudaStreamEndCapture(one_.stream, &captured.graph));
    std::size_t nodes = 0;
    check(cudaGraphGetNodes(captured.graph, nullptr, &nodes));
    if (nodes < 3) return "the graph has " + std::to_string(nodes) + " nodes";
    check(cudaGraphInstantiate(&captured.executable, captured.graph, 0));
    std::size_t const bytes = m_.x.size() * sizeof(V);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {                   // one behind the other, without a host that waits
      check(cudaMemcpyAsync(m_.x.data(), inputs_[i]->data(), bytes, cudaMemcpyDeviceToDevice, one_.stream));
      check(cudaGraphLaunch(captured.executable, one_.stream));
      check(cudaMemcpyAsync(outputs_[i]->data(), m_.y.data(), bytes, cudaMemcpyDeviceToDevice, one_.stream));
      if (i == 0) enqueue(other_);
    }
    check(cudaStreamSynchronize(one_.stream));
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      if (!same(outputs_[i]->get(), want_[i])) return "replay " + std::to_string(i) + " gives other bits than an eager call";
    check(cudaStreamSynchronize(two_.stream));
    if (same(want_[0], want_[1])) return "the test's tokens do not differ";
    return same(other_.y.get(), other_want_) ? "" : "the other stream's layer gives other bits";
  }

 private:
  Stream one_, two_;
  Model<config> m_;
  Model<mixtral> other_;
  Numbers<mixtral> other_want_;
  std::vector<Numbers<config>> want_;
  std::vector<std::unique_ptr<simt::Array<V>>> inputs_, outputs_;
};
}

TEST_CASE("graph: a captured forward replays with other tokens, beside another stream") {
  for (Arch arch : cuda_tests::arches()) {
    CAPTURE(name(arch));
    CHECK(simt::survives(arch == cuda_tests::arches().back() ? 18 : 6, Replays<mixtral>{11, arch}) == "");
    CHECK(simt::survives(6, Replays<mixtral>{5, arch}) == "");           // few tokens: three kernels
    CHECK(simt::survives(6, Replays<dropping>{17, arch}) == "");
  }
}
TEST_CASE("graph: memset nodes of the workspace and of y ahead of the forward, replayed: an eager call's bits") {
  for (Arch arch : cuda_tests::arches())
    for (std::int64_t tokens : {3, 80}) {        // few; more than 16 rows an expert
      if (tokens == 80 && arch != cuda_tests::arches().back()) continue;
      CAPTURE(name(arch));
      CAPTURE(tokens);
      Stream const one;
      Model<mixtral> const m(tokens, arch, one.stream);
      Numbers<mixtral> const first = m.numbers(20), second = m.numbers(21), want = eager(m, first), other = eager(m, second);
      CHECK(simt::survives(3, [&]() -> std::string {
        Captured captured;
        check(cudaStreamBeginCapture(one.stream, cudaStreamCaptureModeGlobal));
        check(cudaMemsetAsync(m.workspace.data(), 0xff, m.workspace.size(), one.stream));
        check(cudaMemsetAsync(m.y.data(), 0xff, m.y.size() * sizeof(bf16), one.stream));
        enqueue(m);
        check(cudaStreamEndCapture(one.stream, &captured.graph));
        check(cudaGraphInstantiate(&captured.executable, captured.graph, 0));
        for (auto const& [x, y] : {std::pair{&first, &want}, std::pair{&second, &other}}) {
          m.x.put(*x);
          check(cudaGraphLaunch(captured.executable, one.stream));
          check(cudaGraphLaunch(captured.executable, one.stream));       // the memsets wait for the forward ahead of them
          check(cudaStreamSynchronize(one.stream));
          if (!same(m.y.get(), *y)) return "a replay gives other bits than an eager call";
        }
        return same(want, other) ? "the test's tokens do not differ" : "";
      }) == "");
    }
}
TEST_CASE("graph: any runtime call may fail, and nothing leaks") {
  Stream const one;
  Model<mixtral> const m(6, Arch::best, one.stream);
  enqueue(m);
  check(cudaStreamSynchronize(one.stream));
  CHECK(simt::survives_failing_calls([&] {
    Captured captured;
    check(cudaStreamBeginCapture(one.stream, cudaStreamCaptureModeThreadLocal));
    try {
      enqueue(m);
    } catch (...) {                              // the capture is the caller's to end
      (void)cudaStreamEndCapture(one.stream, &captured.graph);
      throw;
    }
    cudaError_t const ended = cudaStreamEndCapture(one.stream, &captured.graph);
    if (ended != cudaSuccess) (void)cudaStreamEndCapture(one.stream, &captured.graph);
    check(ended);
    check(cudaGraphInstantiate(&captured.executable, captured.graph, 0));
    check(cudaGraphLaunch(captured.executable, one.stream));
    check(cudaStreamSynchronize(one.stream));
  }, cudaErrorUnknown) == "");
}

}

// Streams, events and graphs: what is not ordered may happen in any order, and is reported when it matters.
#include <doctest/doctest.h>
#include "queues.hpp"

namespace {
using namespace coterie;
using namespace samples;

TEST_CASE("streams: a stream is in order, and events order streams") {
  CHECK(simt::survives(18, [] {
    Stream a, b;
    Event first, second;
    Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n);
    add(a, x, y, 1);
    check(cudaEventRecord(first, a));
    check(cudaStreamWaitEvent(b, first, 0));
    add(b, y, z, 1);
    check(cudaEventRecord(second, b));
    check(cudaStreamWaitEvent(a, second, 0));
    add(a, z, y, 1);
    check(cudaStreamSynchronize(a));
    return all_are(y, 4);
  }) == "");
}
TEST_CASE("streams: without the event two streams race, under any schedule") {
  if (!simt::checked()) return;
  for (int i = 0; i < 18; ++i) {
    simt::use_schedule(i);
    CHECK(contains(simt::failure_of([] {
      Stream a, b;
      Array<float> x(std::vector<float>(n, 1.f)), y(std::vector<float>(n, 1.f)), z(n);
      add(a, x, y, 1);
      add(b, y, z, 1);
      check(cudaDeviceSynchronize());
    }), race));
  }
  simt::config() = {};
}
TEST_CASE("streams: values too depend on an order that nobody gave") {
  int wrong = 0;
  for (int i = 0; i < 18; ++i) {
    simt::use_schedule(i);
    wrong += !simt::failure_of([] {
      Stream a, b;
      Array<float> x(std::vector<float>(n, 1.f)), y(std::vector<float>(n, 0.f)), z(n);
      add(a, x, y, 1);
      add(b, y, z, 1);
      check(cudaDeviceSynchronize());
      return all_are(z, 3);
    }).empty();
  }
  CHECK(wrong > 0);
  simt::config() = {};
}
TEST_CASE("streams: copies and fills take part") {
  CHECK(simt::survives(18, [] {
    Stream a;
    Array<float> x(n), y(n);
    float* pinned = nullptr;
    check(cudaMallocHost(reinterpret_cast<void**>(&pinned), n * sizeof(float)));
    std::vector<float> pageable(n, 5.f);
    check(cudaMemcpyAsync(x.data(), pageable.data(), n * sizeof(float), cudaMemcpyHostToDevice, a));
    pageable.assign(n, 0.f);                     // staged: legal
    add(a, x, y, 1);
    check(cudaMemcpyAsync(pinned, y.data(), n * sizeof(float), cudaMemcpyDeviceToHost, a));
    check(cudaMemsetAsync(y.data(), 0, n * sizeof(float), a));
    check(cudaStreamSynchronize(a));
    bool const right = pinned[0] == 6 && pinned[n - 1] == 6 && all_are(y, 0);
    check(cudaFreeHost(pinned));
    return right;
  }) == "");
  if (!simt::checked()) return;
  CHECK(contains(simt::failure_of([] {
    Stream a, b;
    Array<float> x(std::vector<float>(n, 1.f)), y(n);
    add(a, x, y, 1);
    check(cudaMemsetAsync(y.data(), 0, n * sizeof(float), b));
    check(cudaDeviceSynchronize());
  }), race));
}
TEST_CASE("streams: the default stream orders blocking streams, and no others") {
  auto const run = [](unsigned flags) {
    return [flags] {
      Stream a(flags);
      Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n);
      check(cudaDeviceSynchronize());
      add(nullptr, x, y, 1);
      add(a, y, z, 1);
      add(nullptr, z, y, 1);
      check(cudaDeviceSynchronize());
      return all_are(y, 4);
    };
  };
  CHECK(simt::survives(18, run(cudaStreamDefault)) == "");
  CHECK(simt::survives(18, run(cudaStreamNonBlocking)) != "");
}
TEST_CASE("graphs: a captured graph replays, with its order and no more") {
  CHECK(simt::survives(18, [] {
    Stream a, b;
    Event fork, join;
    Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n), w(n);
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    check(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
    check(cudaEventRecord(fork, a));
    check(cudaStreamWaitEvent(b, fork, 0));
    add(a, x, y, 1);
    add(b, x, z, 2);
    check(cudaEventRecord(join, b));
    check(cudaStreamWaitEvent(a, join, 0));
    launch(add_kernel, over_n, a, Where::here(), z.data(), w.data(), 3.f, n);
    check(cudaStreamEndCapture(a, &graph));
    std::size_t nodes = 0;
    check(cudaGraphGetNodes(graph, nullptr, &nodes));
    if (nodes != 3) return false;
    check(cudaGraphInstantiate(&executable, graph, 0));
    check(cudaGraphDestroy(graph));
    for (int round = 0; round < 3; ++round) {
      x.put(std::vector<float>(n, static_cast<float>(round)));
      check(cudaGraphLaunch(executable, a));
      check(cudaStreamSynchronize(a));
      if (!all_are(w, static_cast<float>(round) + 5) || !all_are(y, static_cast<float>(round) + 1)) return false;
    }
    check(cudaGraphExecDestroy(executable));
    return true;
  }) == "");
}
TEST_CASE("graphs: what must not be captured is refused") {
  Stream a, b;
  Event event;
  Array<float> x(n);
  cudaGraph_t graph = nullptr;
  CHECK(cudaStreamEndCapture(a, &graph) == cudaErrorIllegalState);
  CHECK(cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeGlobal) == cudaErrorStreamCaptureUnsupported);
  check(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  CHECK(cudaStreamSynchronize(a) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(a, &graph) == cudaErrorStreamCaptureInvalidated);
  check(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  void* p = nullptr;
  CHECK(cudaMalloc(&p, 16) == cudaErrorStreamCaptureUnsupported);
  CHECK(cudaStreamEndCapture(a, &graph) == cudaErrorStreamCaptureInvalidated);
  check(cudaStreamBeginCapture(a, cudaStreamCaptureModeGlobal));
  check(cudaEventRecord(event, a));
  check(cudaStreamWaitEvent(b, event, 0));
  check(cudaMemsetAsync(x.data(), 0, 4, b));
  CHECK(cudaStreamEndCapture(b, &graph) == cudaErrorStreamCaptureUnmatched);
  CHECK(cudaStreamEndCapture(a, &graph) == cudaErrorStreamCaptureUnjoined);
  CHECK(graph == nullptr);
  cudaGetLastError();
}
}

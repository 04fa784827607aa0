// Programmatic launches: a kernel that begins beside the one before it, and what it may not do until it has waited.
#include <doctest/doctest.h>
#include "queues.hpp"

namespace {
using namespace coterie;
using namespace samples;

TEST_CASE("programmatic launches: a chain that waits is right, and really overlaps") {
  std::uint64_t overlapped = 0;
  auto const run = [&] {
    Stream a;
    Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n);
    chained(a, x, y, 1);
    chained(a, y, z, 1);
    chained(a, z, y, 1);                         // overwrites what the second reads
    chained(a, y, z, 1);
    check(cudaStreamSynchronize(a));
    overlapped = simt::statistics().overlaps;
    return all_are(z, 5) && all_are(y, 4);
  };
  simt::statistics().overlaps = 0;
  CHECK(simt::survives(18, run) == "");
  CHECK(overlapped > 0);
  if (simt::checked()) CHECK(simt::unnoticed(6, run).empty());
}
TEST_CASE("programmatic launches: all that stands before an ordinary launch is over for it, also what a programmatic one did not wait for") {
  CHECK(simt::survives(18, [] {
    Stream a;
    Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n), other(64);
    for (int round = 0; round < 3; ++round) {
      add(a, x, y, 1);
      launch(careless_kernel, Launch{.grid = 1, .block = 64, .shared = 0, .programmatic = 1}, a, Where::here(), other.data(), 1.f);
      chained(a, x, z, 1);                       // waits for the careless kernel, and speaks for it, not for who wrote y
      if (round == 1) check(cudaStreamSynchronize(a));
    }
    check(cudaStreamSynchronize(a));
    return all_are(y, 2) && all_are(z, 2);
  }) == "");
}
TEST_CASE("programmatic launches: captured, they overlap in the graph as well") {
  auto const run = [] {
    Stream a;
    Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n);
    cudaGraph_t graph;
    cudaGraphExec_t executable;
    check(cudaStreamBeginCapture(a, cudaStreamCaptureModeThreadLocal));
    add(a, x, y, 1);
    chained(a, y, z, 1);
    chained(a, z, x, 1);                         // overwrites what the first reads
    check(cudaStreamEndCapture(a, &graph));
    check(cudaGraphInstantiate(&executable, graph, 0));
    for (int round = 0; round < 2; ++round) check(cudaGraphLaunch(executable, a));
    check(cudaStreamSynchronize(a));
    check(cudaGraphExecDestroy(executable));
    check(cudaGraphDestroy(graph));
    return all_are(z, 6) && all_are(x, 7);
  };
  simt::statistics().overlaps = 0;
  CHECK(simt::survives(18, run) == "");
  CHECK(simt::statistics().overlaps > 0);
  if (simt::checked()) CHECK(simt::unnoticed(6, run).empty());
}
TEST_CASE("programmatic launches: without the wait, every access to what the kernel before writes is a race") {
  if (!simt::checked()) return;
  for (int i = 0; i < 18; ++i) {
    simt::use_schedule(i);
    simt::config().deleted = "chain: the kernels before are over";
    CHECK(contains(simt::failure_of([] {
      Stream a;
      Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n);
      chained(a, x, y, 1);
      chained(a, y, z, 1);
      check(cudaStreamSynchronize(a));
    }), race));
  }
  simt::config() = {};
}
TEST_CASE("programmatic launches: one thread's wait reaches the others through a barrier") {
  auto const run = [] {
    Stream a;
    Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n);
    add(a, x, y, 1);
    launch(chained_by_one_kernel, Launch{.grid = 4, .block = 64, .shared = 0, .programmatic = 1}, a, Where::here(), y.data(), z.data(), 1.f,
           n);
    check(cudaStreamSynchronize(a));
    return all_are(z, 3);
  };
  CHECK(simt::survives(18, run) == "");
  if (simt::checked()) CHECK(simt::unnoticed(6, run).empty());
}
TEST_CASE("programmatic launches: waiting for a kernel that did not wait says nothing of the kernel before it") {
  if (!simt::checked()) return;
  for (bool programmatic : {false, true})
    for (int i = 0; i < 18; ++i) {
      simt::use_schedule(i);
      std::string const failure = simt::failure_of([&] {
        Stream a;
        Array<float> x(std::vector<float>(n, 1.f)), y(n), z(n), other(64);
        chained(a, x, y, 1);
        launch(careless_kernel, Launch{.grid = 1, .block = 64, .shared = 0, .programmatic = 1}, a, Where::here(), other.data(), 1.f);
        if (programmatic) chained(a, y, z, 1);
        else add(a, y, z, 1);
        check(cudaStreamSynchronize(a));
      });
      CHECK(contains(failure, race) == programmatic);                      // an ordinary launch waits for everything
    }
  simt::config() = {};
}
}

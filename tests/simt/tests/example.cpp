// The example of docs/emulator.md.
#include <coterie/device/launch.cuh>
#include <doctest/doctest.h>
#include <numeric>
#include "../array.hpp"
#include "../schedules.hpp"

namespace {

using namespace coterie;

// Each block reverses its 256 numbers.
__global__ void reverse_kernel(float const* x, float* y) {
  COTERIE_SHARED(tile, float[256]);
  unsigned const first = blockIdx.x * 256;
  tile[threadIdx.x] = x[first + threadIdx.x];
  COTERIE_SYNC("reverse: the tile is complete", __syncthreads());
  y[first + threadIdx.x] = tile[255 - threadIdx.x];
}

bool reverses() {
  std::vector<float> numbers(1024);
  std::iota(numbers.begin(), numbers.end(), 0.f);
  simt::Array<float> x(numbers), y(1024);
  launch(reverse_kernel, Launch{.grid = 4, .block = 256}, nullptr, Where::here(), x.data(), y.data());
  return y.get()[0] == 255 && y.get()[1023] == 768;
}

TEST_CASE("reverse") {
  CHECK(simt::survives(18, reverses) == "");                               // 18 schedules: right, and nothing to report
  if (simt::checked()) CHECK(simt::unnoticed(18, reverses).empty());       // without any of its synchronisations it is noticed
  if (simt::checked()) CHECK(simt::wasteful_lines(reverses).empty());      // no bank conflict, no half-used sector
}

TEST_CASE("example: what the document says is reported") {
  if (!simt::checked()) return;
  simt::config().deleted = "reverse: the tile is complete";
  std::string const found = simt::failure_of(reverses);
  CHECK(found.find("read of uninitialised shared memory at example.cpp:18 by block (") == 0);
  simt::config() = {};
}

}

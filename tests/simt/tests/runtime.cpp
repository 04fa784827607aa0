// The host side: errors, what a launch refuses, calls that fail, leaks, access patterns.
#include <doctest/doctest.h>
#include <pthread.h>
#include <unistd.h>
#include "../array.hpp"
#include "../schedules.hpp"
#include "grids.cuh"

namespace {
using namespace coterie;
using simt::Array;
constexpr cudaStream_t stream = nullptr;

__global__ void nothing_kernel() {}
__global__ void modest_kernel() {}
__global__ void big_kernel(int* out) { out[0] = static_cast<int>(ptx::dynamic_shared<int[16384]>()[threadIdx.x] = 5); }
cudaError_t code_of(Launch const& how) {
  try {
    launch(nothing_kernel, how, stream, Where::here());
  } catch (CudaError const& e) {
    return e.code;
  }
  return cudaSuccess;
}
TEST_CASE("runtime: a launch that the device cannot make throws its code, and the device lives on") {
  CHECK(code_of({.grid = 1, .block = 1025}) == cudaErrorInvalidConfiguration);
  CHECK(code_of({.grid = 0, .block = 32}) == cudaErrorInvalidConfiguration);
  CHECK(code_of({.grid = dim3(1, 70000), .block = 32}) == cudaErrorInvalidConfiguration);
  CHECK(code_of({.grid = 1, .block = 32, .shared = 228 * 1024}) == cudaErrorInvalidValue);
  CHECK(code_of({.grid = 1, .block = 32, .shared = 227 * 1024}) == cudaSuccess);
  CHECK(code_of({.grid = 1, .block = 32, .shared = 0, .programmatic = 1}) == cudaSuccess);
  simt::config().device = {.major = 8, .minor = 0, .shared = 163 * 1024};
  CHECK(code_of({.grid = 1, .block = 32, .shared = 164 * 1024}) == cudaErrorInvalidValue);
  CHECK(code_of({.grid = 1, .block = 32, .shared = 0, .programmatic = 1}) == cudaErrorNotSupported);
  simt::config() = {};
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
  cudaGetLastError();
}
TEST_CASE("runtime: more than 48 KiB of shared memory are asked for") {
  Array<int> out(1);
  launch(big_kernel, Launch{.grid = 1, .block = 32, .shared = 65536}, stream, Where::here(), out.data());
  CHECK(out.get()[0] == 5);
  cudaLaunchConfig_t config{};
  config.gridDim = 1, config.blockDim = 32, config.dynamicSmemBytes = 65536;
  CHECK(simt::launch(config, modest_kernel) == cudaErrorInvalidValue);      // another kernel, which did not ask
  cudaGetLastError();
}
TEST_CASE("runtime: CudaError says what and where") {
  int const line = __LINE__ + 2;
  try {
    check(cudaErrorMemoryAllocation);
    FAIL("no exception");
  } catch (Error const& e) {
    std::string const text = e.what();
    CHECK(text.find("coterie: CUDA: cudaErrorMemoryAllocation: out of memory (") == 0);
    CHECK(text.find("runtime.cpp:" + std::to_string(line)) != std::string::npos);
  }
}
TEST_CASE("runtime: a fault sticks to the device until a test clears it") {
  launch(samples::add_kernel, Launch{.grid = 1, .block = 32}, stream, Where::here(), static_cast<float const*>(nullptr), static_cast<float*>(nullptr),
         1.f, 32);
  CHECK(cudaDeviceSynchronize() == cudaErrorLaunchFailure);
  void* p = nullptr;
  CHECK(cudaMalloc(&p, 16) == cudaErrorLaunchFailure);
  simt::clear_findings();
  CHECK(cudaDeviceSynchronize() == cudaSuccess);
}

// What a careful program does: everything it takes is given back, whatever fails.
struct Resources {
  cudaStream_t s = nullptr;
  float* p = nullptr;
  ~Resources() {
    cudaFree(p);
    if (s) cudaStreamDestroy(s);
  }
};
void careful() {
  Resources r;
  check(cudaStreamCreateWithFlags(&r.s, cudaStreamNonBlocking));
  check(cudaMalloc(&r.p, 256));
  check(cudaMemsetAsync(r.p, 0, 256, r.s));
  launch(samples::add_kernel, Launch{.grid = 1, .block = 64}, r.s, Where::here(), r.p, r.p, 1.f, 64);
  check(cudaStreamSynchronize(r.s));
}
cudaStream_t leaked = nullptr;
void leaky() {
  check(cudaStreamCreateWithFlags(&leaked, cudaStreamNonBlocking));
  Array<float> a(64);
  check(cudaStreamDestroy(leaked));
}
void deaf() {
  Resources r;
  check(cudaStreamCreateWithFlags(&r.s, cudaStreamNonBlocking));
  cudaMemsetAsync(r.p, 0, 0, r.s);
}
TEST_CASE("runtime: each call fails once") {
  CHECK(simt::survives_failing_calls(careful) == "");
  CHECK(simt::survives_failing_calls(careful, cudaErrorLaunchOutOfResources) == "");
  CHECK(simt::survives_failing_calls(leaky) == "call 2 (cudaMalloc) failed, and something leaked");
  check(cudaStreamDestroy(leaked));
  CHECK(simt::survives_failing_calls(deaf).find("(cudaMemsetAsync) failed, and nothing was thrown") != std::string::npos);
}
// Asks once in the program's life, and takes the first answer for one.
void rash() {
  static int devices = 0;
  if (!devices && cudaGetDeviceCount(&devices) != cudaSuccess) devices = 1;
}
TEST_CASE("runtime: each call fails once before anything is known") {
  CHECK(simt::survives_failing_first_calls(careful) == "");
  CHECK(simt::survives_failing_first_calls(leaky) == "call 2 (cudaMalloc) failed, and something leaked");
  CHECK(simt::survives_failing_first_calls(rash) == "call 1 (cudaGetDeviceCount) failed, and nothing was thrown");
  CHECK(simt::survives_failing_calls(rash) == "");
  int calls = 0;
  CHECK(simt::survives_failing_first_calls([&] {
    if (++calls == 2) throw std::runtime_error("what failed is not forgotten");
    careful();
  }) == "call 1 (cudaStreamCreateWithFlags) failed, and the next time: what failed is not forgotten");
  CHECK(simt::survives_failing_first_calls([] { _exit(0); }) == "call 1 failed, and the process ended");
}
TEST_CASE("runtime: what is alive is counted, and calls are listed") {
  simt::Live const before = simt::live();
  simt::clear_calls();
  {
    Resources r;
    check(cudaMalloc(&r.p, 256));
    cudaEvent_t e;
    check(cudaEventCreate(&e));
    CHECK(simt::live().allocations == before.allocations + 1);
    CHECK(simt::live().events == before.events + 1);
    check(cudaEventDestroy(e));
  }
  CHECK(simt::live() == before);
  CHECK(simt::calls() == std::vector<std::string>{"cudaMalloc", "cudaEventCreateWithFlags", "cudaEventDestroy", "cudaFree"});
}
TEST_CASE("runtime: memory, pointers, attributes") {
  simt::config().device.memory = 1 << 20;
  void *p = nullptr, *q = nullptr;
  CHECK(cudaMalloc(&p, 600 << 10) == cudaSuccess);
  CHECK(cudaMalloc(&q, 600 << 10) == cudaErrorMemoryAllocation);
  CHECK(q == nullptr);
  cudaPointerAttributes a{};
  check(cudaPointerGetAttributes(&a, static_cast<char*>(p) + 100));
  CHECK(a.type == cudaMemoryTypeDevice);
  check(cudaPointerGetAttributes(&a, &a));
  CHECK(a.type == cudaMemoryTypeUnregistered);
  CHECK(cudaMemcpy(p, &a, 601 << 10, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);      // beyond the allocation
  CHECK(cudaMemcpy(&a, &a, 4, cudaMemcpyHostToDevice) == cudaErrorInvalidValue);             // not where it says
  CHECK(cudaFree(&a) == cudaErrorInvalidValue);
  CHECK(cudaFree(p) == cudaSuccess);
  int v = 0;
  check(cudaDeviceGetAttribute(&v, cudaDevAttrComputeCapabilityMajor, 0));
  CHECK(v == 9);
  cudaGetLastError();
  simt::config() = {};
}

// ---- access patterns ----
template <int Pitch> __global__ void column_kernel(float const* in, float* out, int stride) {
  COTERIE_SHARED(tile, float[32 * Pitch]);
  int const t = static_cast<int>(threadIdx.x);
  tile[t * Pitch] = in[t * stride];
  __syncwarp();
  out[t] = tile[t * Pitch];
}
TEST_CASE("runtime: bank conflicts and sectors, by line") {
  if (!simt::checked()) return;
  Array<float> in(std::vector<float>(32 * 8, 1.f)), out(32);
  auto const patterns_of = [&](void (*kernel)(float const*, float*, int), int stride) {
    simt::config().patterns = true;
    simt::access_patterns();
    launch(kernel, Launch{.grid = 1, .block = 32}, stream, Where::here(), static_cast<float const*>(in.data()), out.data(), stride);
    auto patterns = simt::access_patterns();
    simt::config() = {};
    return patterns;
  };
  std::uint64_t shared_cost = 0, shared_ideal = 0, global_cost = 0, global_ideal = 0;
  auto const sum = [&](std::map<std::string, simt::Pattern> const& lines) {
    shared_cost = shared_ideal = global_cost = global_ideal = 0;
    for (auto const& [line, p] : lines) {
      CHECK(line.find("runtime.cpp:") == 0);
      CHECK(p.requests == 1);
      (p.shared ? shared_cost : global_cost) += p.cost;
      (p.shared ? shared_ideal : global_ideal) += p.ideal;
    }
  };
  sum(patterns_of(column_kernel<33>, 1));
  CHECK(shared_cost == 2);                       // a write and a read
  CHECK(shared_ideal == 2);
  CHECK(global_cost == 8);                       // 128 bytes in, 128 out
  CHECK(global_ideal == 8);
  sum(patterns_of(column_kernel<32>, 8));
  CHECK(shared_cost == 64);                      // all in one bank
  CHECK(global_cost == 32 + 4);                  // a sector each
  CHECK(global_ideal == 8);
  auto const lines = simt::wasteful_lines([&] {
    launch(column_kernel<32>, Launch{.grid = 1, .block = 32}, stream, Where::here(), static_cast<float const*>(in.data()), out.data(), 1);
  });
  REQUIRE(lines.size() == 2);                    // the tile's write and read
  CHECK(lines[0].find(": 32 wavefronts where 1 would do") != std::string::npos);
}

// ---- several host threads ----
struct Job { int number; bool right; };
void* run_job(void* job) {
  auto& mine = *static_cast<Job*>(job);
  std::vector<int> of_the_host(4096);
  cudaStream_t s;
  check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
  {
    Array<float> x(std::vector<float>(64, static_cast<float>(mine.number))), y(64);
    for (int i = 0; i < 20; ++i) {
      launch(samples::add_kernel, Launch{.grid = 1, .block = 64}, s, Where::here(), x.data(), y.data(), static_cast<float>(i), 64);
      for (std::size_t j = 1; j < of_the_host.size(); ++j) of_the_host[j] = of_the_host[j - 1] + 1;  // while others run kernels
    }
    check(cudaStreamSynchronize(s));
    mine.right = y.get()[63] == static_cast<float>(mine.number + 19) && of_the_host.back() == 4095;
  }
  cudaStreamDestroy(s);
  return nullptr;
}
TEST_CASE("runtime: host threads may call at the same time") {
  Job jobs[3]{{1, false}, {2, false}, {3, false}};
  pthread_t threads[3];
  for (int i = 0; i < 3; ++i) REQUIRE(pthread_create(&threads[i], nullptr, run_job, &jobs[i]) == 0);
  for (pthread_t t : threads) pthread_join(t, nullptr);
  for (Job const& job : jobs) CHECK(job.right);
  CHECK(simt::findings().empty());
}
}

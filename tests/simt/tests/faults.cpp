// For every kind of fault, a kernel that has it: it is found, and the finding says what and where.
#include <doctest/doctest.h>
#include "../array.hpp"
#include "expect.hpp"
#include "maps.hpp"

namespace {
using namespace coterie;
using samples::check_found;
using samples::run;
using samples::run_shared;
using simt::Array;

std::string line_of(int line) { return "faults.cpp:" + std::to_string(line); }

// ---- races ----
constexpr int racing_line = __LINE__ + 1;
__global__ void racing_blocks_kernel(int* p) { p[threadIdx.x] = static_cast<int>(blockIdx.x); }
__global__ void racing_threads_kernel(int* out) {
  COTERIE_SHARED(box, int[64]);
  box[threadIdx.x] = 1;
  out[threadIdx.x] = box[threadIdx.x ^ 32];
}
__global__ void racing_lanes_kernel(int* out) {
  COTERIE_SHARED(box, int[32]);
  box[threadIdx.x] = 1;
  __shfl_sync(~0u, 0, 0);                        // brings the lanes together, but orders no memory
  out[threadIdx.x] = box[threadIdx.x ^ 1];
}
__global__ void half_atomic_kernel(int* p) {
  if (threadIdx.x == 0) atomicAdd(p, 1);
  else p[0] = 2;
}
__global__ void one_fence_kernel(int* data, int* flag) {                  // the writer releases, the reader does not acquire
  if (blockIdx.x == 0) {
    data[0] = 1;
    __threadfence();
    atomicExch(flag, 1);
  } else {
    while (atomicAdd(flag, 0) == 0) {}
    data[1] = data[0];
  }
}
TEST_CASE("faults: races") {
  if (!simt::checked()) return;
  Array<int> p(std::vector<int>(64, 0));
  check_found({"race on global memory: write", line_of(racing_line), "another block"}, [&] { run(racing_blocks_kernel, 2, 32, p.data()); });
  check_found({"shared memory"}, [&] { run(racing_threads_kernel, 1, 64, p.data()); });
  check_found({"race on shared memory", "same block"}, [&] { run(racing_lanes_kernel, 1, 32, p.data()); });
  check_found({"race on global memory", "atomic"}, [&] { run(half_atomic_kernel, 1, 2, p.data()); });
}
TEST_CASE("faults: a release without an acquire") {
  if (!simt::checked()) return;
  simt::config().resident = 2;
  Array<int> data(std::vector<int>(2, 0)), flag(std::vector<int>{0});
  CHECK(simt::failure_of([&] { run(one_fence_kernel, 2, 1, data.data(), flag.data()); }).find("race on global memory") == 0);
  simt::config() = {};
}

// ---- addresses ----
__global__ void one_too_far_kernel(float* p, int n) { p[threadIdx.x + (static_cast<int>(threadIdx.x) == n - 1)] = 1; }
__global__ void shared_one_too_far_kernel(int n) { ptx::dynamic_shared<int[64]>()[threadIdx.x + (static_cast<int>(threadIdx.x) == n - 1)] = 1; }
__global__ void next_variable_kernel(int* out) {
  COTERIE_SHARED(first, int[4]);
  COTERIE_SHARED(second, int[4]);
  first[threadIdx.x] = second[threadIdx.x] = 1;
  out[threadIdx.x] = first[threadIdx.x + 4];
}
__global__ void copy_kernel(float const* p, float* out) { out[threadIdx.x] = p[threadIdx.x]; }
__global__ void misaligned_kernel(float const* p, float* out) { out[threadIdx.x] = __uint_as_float(ptx::load16(p + 1).x); }
__global__ void locals_kernel(float** box, float* out) {
  float mine = 1;
  if (threadIdx.x == 0) box[0] = &mine;
  __syncthreads();
  out[threadIdx.x] = *static_cast<float const volatile*>(box[0]);
}
__global__ void null_kernel(int* p) { p[threadIdx.x] = 1; }
__global__ void divide_kernel(int* p) { p[0] = 7 / p[1]; }
__global__ void recursion_kernel(int* p, int depth) {
  auto const down = [](auto const& self, int n) -> int {
    int volatile big[256];
    big[n & 255] = n;
    return n == 0 ? 0 : self(self, n - 1) + big[n & 255];
  };
  p[0] = down(down, depth);
}
TEST_CASE("faults: addresses") {
  Array<float> p(std::vector<float>(64, 1.f)), out(64);
  static float host[64];
  check_found({"misaligned 16-byte read at faults.cpp:"}, [&] { run(misaligned_kernel, 1, 4, p.data(), out.data()); });
  if (!simt::checked()) return;
  check_found({"out of bounds: 4-byte write of global memory at faults.cpp:"}, [&] { run(one_too_far_kernel, 1, 64, p.data(), 64); });
  check_found({"out of bounds: 4-byte write of shared memory at faults.cpp:"}, [&] { run_shared(shared_one_too_far_kernel, 256, 64, 64); });
  check_found({"out of bounds: 4-byte read of shared memory at faults.cpp:"},
              [&] { run(next_variable_kernel, 1, 4, reinterpret_cast<int*>(out.data())); });
  check_found({"shared memory has 256 bytes, its launch gives 128"}, [&] { run_shared(shared_one_too_far_kernel, 128, 1, 64); });
  check_found({"read of host memory", "faults.cpp:"}, [&] { run(copy_kernel, 1, 32, static_cast<float const*>(host), out.data()); });
  check_found({"of host memory or of another thread's locals"}, [&] {
    Array<float*> box(1);
    run(locals_kernel, 1, 32, box.data(), out.data());
  });
  float* freed = nullptr;
  {
    Array<float> gone(std::vector<float>(64, 1.f));
    freed = gone.data();
  }
  check_found({"out of bounds: 4-byte read of global memory"}, [&] { run(copy_kernel, 1, 32, static_cast<float const*>(freed), out.data()); });
  check_found({"host code at faults.cpp:", "touches device memory"}, [&] { *static_cast<float volatile*>(p.data()) = 1; });
}
__global__ void endless_kernel(int const* p) {
  while (*static_cast<int const volatile*>(p) == 0) {}
}
TEST_CASE("faults: kernels that would end the program, or never end") {
  Array<int> p(std::vector<int>(4, 0));
  check_found({"by block (0,0,0) thread"}, [&] { run(null_kernel, 1, 1, static_cast<int*>(nullptr)); });
  check_found({"integer division by zero at faults.cpp:"}, [&] { run(divide_kernel, 1, 1, p.data()); });
  check_found({"local variables need more than"}, [&] { run(recursion_kernel, 1, 1, p.data(), 1000); });
  simt::config().stuck_seconds = 1;
  std::string const endless = simt::failure_of([&] { run(endless_kernel, 1, 1, static_cast<int const*>(p.data())); });
  CHECK(endless.find(simt::checked() ? "run without getting anywhere" : "no progress: a thread runs for 1 s") != std::string::npos);
  simt::config() = {};
  p.put(std::vector<int>{1, 2, 3, 4});           // and the device works again
  CHECK(p.get()[3] == 4);
}

// ---- values ----
__global__ void uninitialised_shared_kernel(float* out) {
  COTERIE_SHARED(box, float[32]);
  out[threadIdx.x] = box[threadIdx.x];
}
TEST_CASE("faults: uninitialised memory") {
  Array<float> out(32);
  if (simt::checked()) {
    check_found({"read of uninitialised global memory at faults.cpp:"}, [&] {
      Array<float> fresh(32);
      run(copy_kernel, 1, 32, fresh.data(), out.data());
    });
    check_found({"read of uninitialised shared memory at faults.cpp:"}, [&] { run(uninitialised_shared_kernel, 1, 32, out.data()); });
  } else {
    run(uninitialised_shared_kernel, 1, 32, out.data());
    CHECK(out.get()[0] != out.get()[0]);         // it is NaN
  }
}

// ---- threads that should meet ----
__global__ void divergent_kernel(int* p) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    p[threadIdx.x] = 1;
    __syncthreads();
  }
}
__global__ void absent_lanes_kernel(int* p) {
  if (threadIdx.x < 16) p[threadIdx.x] = __shfl_sync(~0u, static_cast<int>(threadIdx.x), 0);
}
__global__ void different_functions_kernel(int* p) {
  p[threadIdx.x] = threadIdx.x < 16 ? __shfl_sync(~0u, 1, 0) : __any_sync(~0u, 1);
}
__global__ void foreign_mask_kernel(int* p) { p[threadIdx.x] = __shfl_sync(0xffffu, 1, 0); }
__global__ void outside_mask_kernel(int* p) {
  if (threadIdx.x < 16) p[threadIdx.x] = __shfl_sync(0xffffu, 1, 20);
}
__global__ void short_barrier_kernel(int*) {
  if (threadIdx.x < 32) ptx::bar_sync(3, 64);
}
__global__ void barrier_counts_kernel(int*) { ptx::bar_sync(1, threadIdx.x < 32 ? 64 : 96); }
__global__ void cross_kernel(int*) {
  if (threadIdx.x < 32) ptx::bar_sync(1, 64), ptx::bar_sync(2, 64);
  else ptx::bar_sync(2, 64), ptx::bar_sync(1, 64);
}
__global__ void poll_kernel(int* p) {
  while (atomicAdd(p, 0) == 0) {}
}
__global__ void trap_kernel(int*) { ptx::trap(); }
TEST_CASE("faults: threads that do not meet") {
  Array<int> p(std::vector<int>(128, 0));
  auto const running = [&](void (*kernel)(int*), unsigned threads) { return [&p, kernel, threads] { run(kernel, 1, threads, p.data()); }; };
  check_found({"divergent __syncthreads", "faults.cpp:"}, running(divergent_kernel, 64));
  check_found({"deadlock: 16 threads wait for __shfl_sync at faults.cpp:", "(mask ffffffff)", "block (0,0,0)"}, running(absent_lanes_kernel, 32));
  check_found({"divergent warp", "__shfl_sync", "__any_sync"}, running(different_functions_kernel, 32));
  check_found({"not in its own mask 0000ffff"}, running(foreign_mask_kernel, 32));
  check_found({"reads lane 20, which is not in the mask 0000ffff"}, running(outside_mask_kernel, 32));
  check_found({"deadlock: 32 threads wait for a named barrier at faults.cpp:", "(barrier 3: 32 of 64)"}, running(short_barrier_kernel, 64));
  check_found({"barrier 1: "}, running(barrier_counts_kernel, 96));
  check_found({"deadlock:", "(barrier 1: 32 of 64)", "(barrier 2: 32 of 64)"}, running(cross_kernel, 64));
  check_found({"ptx::trap() by block (0,0,0) thread"}, running(trap_kernel, 32));
  simt::config().resident = 2;
  CHECK(simt::failure_of(running(poll_kernel, 1)).find("run without getting anywhere") != std::string::npos);
  simt::config() = {};
}

// ---- asynchronous copies ----
__global__ void early_read_kernel(float const* p, float* out) {
  COTERIE_SHARED(tile, float[4]);
  ptx::cp_async16(tile, p);
  ptx::cp_async_commit();
  out[0] = tile[0];
  ptx::cp_async_wait<0>();
}
__global__ void never_waited_kernel(float const* p) {
  COTERIE_SHARED(tile, float[4]);
  ptx::cp_async16(tile, p);
  ptx::cp_async_commit();
}
__global__ void one_group_too_many_kernel(float const* p, float* out) {
  COTERIE_SHARED(tile, float[8]);
  for (int i = 0; i < 2; ++i) ptx::cp_async16(tile + 4 * i, p), ptx::cp_async_commit();
  ptx::cp_async_wait<1>();
  out[0] = tile[4];
  ptx::cp_async_wait<0>();
}
__global__ void somebody_elses_copy_kernel(float const* p, float* out) {
  COTERIE_SHARED(tile, float[128]);
  ptx::cp_async16(tile + 4 * threadIdx.x, p);
  ptx::cp_async_commit();
  ptx::cp_async_wait<0>();
  out[threadIdx.x] = tile[4 * (threadIdx.x ^ 1)];
}
__global__ void misaligned_copy_kernel(float const* p) {
  COTERIE_SHARED(tile, float[8]);
  ptx::cp_async16(tile, p + 1);
}
TEST_CASE("faults: cp.async") {
  Array<float> p(std::vector<float>(64, 1.f)), out(64);
  check_found({"misaligned cp.async at faults.cpp:"}, [&] { run(misaligned_copy_kernel, 1, 1, p.data()); });
  check_found({"ends with cp.async copies that it never waited for"}, [&] { run(never_waited_kernel, 1, 1, p.data()); });
  if (!simt::checked()) return;
  check_found({"missing wait: read at faults.cpp:"}, [&] { run(early_read_kernel, 1, 1, p.data(), out.data()); });
  check_found({"missing wait: read at faults.cpp:"}, [&] { run(one_group_too_many_kernel, 1, 1, p.data(), out.data()); });
  check_found({"shared memory at faults.cpp:"}, [&] { run(somebody_elses_copy_kernel, 1, 32, p.data(), out.data()); });
}
}

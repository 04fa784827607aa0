// What the CUDA benchmarks share: noise on the device, one timed piece of work, a captured graph.
#pragma once
#include <algorithm>
#include <chrono>
#include <coterie/cuda.cuh>
#include <functional>
#include <memory>
#include <vector>
#include "../trace.hpp"
#include "noise.hpp"

namespace bench {

// Noise N(0,scale^2), a function of seed and place. first: the values of the steering elements at the head of every row of `width`.
template <class T> __global__ void noise_kernel(T* to, std::int64_t n, float scale, std::uint64_t seed, std::int64_t width, float2 first) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * blockDim.x) {
    std::int64_t const column = width ? i % width : width;
    to[i] = from_float<T>(width && column == 0 ? first.x : width && column == 1 ? first.y : noise_at(i, seed) * scale);
  }
}
template <class T> void noise(Cuda const& on, T* to, std::int64_t n, float scale, std::uint64_t seed, std::int64_t width = 0, float2 first = {}) {
  launch(noise_kernel<T>, device::elementwise(n), on.stream, Where::here(), to, n, scale, seed, width, first);
}

// Reads n times 16 bytes and folds them into one value, so that no load can be left out; stores it where it is one that does not occur.
static __global__ void read_kernel(uint4 const* from, std::int64_t n, std::uint32_t* to) {
  std::int64_t const step = std::int64_t{gridDim.x} * blockDim.x;
  std::uint32_t all = 0;
#pragma unroll 4
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += step) {
    uint4 const v = from[i];
    all ^= v.x ^ v.y ^ v.z ^ v.w;
  }
  if (all == 0x9e3779b9) *to = all;
}
// bytes: a multiple of 16.
inline void read(Cuda const& on, std::span<std::byte> from, std::uint32_t* to) {
  auto const n = static_cast<std::int64_t>(from.size() / 16);
  launch(read_kernel, device::elementwise(n), on.stream, Where::here(), reinterpret_cast<uint4 const*>(from.data()), n, to);
}
static __global__ void empty_kernel() {}

// Whether the device's memory sufficed for what f does; any other error goes on to the caller.
template <class F> bool enough_memory(F const& f) try {
  f();
  return true;
} catch (CudaError const& error) {
  if (error.code != cudaErrorMemoryAllocation) throw;
  (void)cudaGetLastError();                      // else the next check of a launch finds it
  return false;
}

template <class T> class Memory {
 public:
  explicit Memory(std::int64_t n) : buffer_(static_cast<std::size_t>(n) * sizeof(T)) {}
  T* data() const { return reinterpret_cast<T*>(buffer_.data()); }
  std::span<std::byte> span() const { return buffer_.span(); }

 private:
  device::Buffer buffer_;
};

class Event {
 public:
  Event() { check(cudaEventCreate(&event_)); }
  ~Event() { cudaEventDestroy(event_); }
  Event(Event const&) = delete;
  Event& operator=(Event const&) = delete;
  void record(cudaStream_t s) const { check(cudaEventRecord(event_, s)); }
  double microseconds_since(Event const& before) const {
    float ms = 0;
    check(cudaEventElapsedTime(&ms, before.event_, event_));
    return 1e3 * ms;
  }

 private:
  cudaEvent_t event_;
};

// What f enqueues, captured once; launch() replays it.
class Graph {
 public:
  template <class F> Graph(cudaStream_t s, F const& f) {
    check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal));
    f();
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(s, &graph));
    check(cudaGraphInstantiate(&graph_, graph, 0));
    check(cudaGraphDestroy(graph));
  }
  ~Graph() { cudaGraphExecDestroy(graph_); }
  Graph(Graph const&) = delete;
  Graph& operator=(Graph const&) = delete;
  void launch(cudaStream_t s) const { check(cudaGraphLaunch(graph_, s)); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

inline double quantile(std::vector<double> v, double q) {
  std::sort(v.begin(), v.end());
  return v[static_cast<std::size_t>(q * static_cast<double>(v.size() - 1))];
}

// Microseconds on the device: medians over repeated work, each time with a cache that holds none of its data.
class Stopwatch {
 public:
  explicit Stopwatch(Cuda const& on) : on_(on), flushed_(std::int64_t{256} << 20), clean_(std::int64_t{256} << 20), folded_(1) {
    check(cudaMemsetAsync(clean_.data(), 0, clean_.span().size(), on_.stream));
  }
  struct Time { double median, best; };
  Time operator()(std::function<void()> const& enqueue) {
    std::vector<double> const first = runs(2, enqueue);
    int const n = static_cast<int>(std::clamp(2e5 / first.back(), 7., 50.));        // at most a fifth of a second
    std::vector<double> const all = runs(n, enqueue);
    return {quantile(all, 0.5), quantile(all, 0)};
  }

 private:
  std::vector<double> runs(int n, std::function<void()> const& enqueue) {
    std::vector<Event> begin(static_cast<std::size_t>(n)), end(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < begin.size(); ++i) {
      check(cudaMemsetAsync(flushed_.data(), static_cast<int>(i), flushed_.span().size(), on_.stream));
      read(on_, clean_.span(), folded_.data());  // pushes out what the memset left dirty, else its way to memory falls into the timed work
      begin[i].record(on_.stream);
      enqueue();
      end[i].record(on_.stream);
    }
    check(cudaStreamSynchronize(on_.stream));
    std::vector<double> us;
    for (std::size_t i = 0; i < begin.size(); ++i) us.push_back(end[i].microseconds_since(begin[i]));
    return us;
  }
  Cuda on_;
  Memory<std::byte> flushed_, clean_;
  Memory<std::uint32_t> folded_;
};

// Microseconds of the host per call, while the device is still busy with earlier ones.
template <class F> double host_time(Cuda const& on, F const& f) {
  std::vector<double> us;
  for (int round = 0; round < 5; ++round) {
    check(cudaStreamSynchronize(on.stream));
    constexpr int calls = 20;
    auto const begin = std::chrono::steady_clock::now();
    for (int i = 0; i < calls; ++i) f();
    us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / calls);
  }
  check(cudaStreamSynchronize(on.stream));
  return quantile(us, 0.5);
}

}

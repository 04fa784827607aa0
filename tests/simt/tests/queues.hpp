// Streams and events that end with their scope, and a kernel to queue in them.
#pragma once
#include "../array.hpp"
#include "../schedules.hpp"
#include "grids.cuh"

namespace samples {

using simt::Array;
inline constexpr int n = 200;
inline constexpr Launch over_n{.grid = 4, .block = 64};

struct Stream {
  cudaStream_t handle = nullptr;
  explicit Stream(unsigned flags = cudaStreamNonBlocking) { check(cudaStreamCreateWithFlags(&handle, flags)); }
  ~Stream() { cudaStreamDestroy(handle); }
  operator cudaStream_t() const { return handle; }
};
struct Event {
  cudaEvent_t handle = nullptr;
  Event() { check(cudaEventCreateWithFlags(&handle, cudaEventDisableTiming)); }
  ~Event() { cudaEventDestroy(handle); }
  operator cudaEvent_t() const { return handle; }
};
inline void add(cudaStream_t s, Array<float> const& x, Array<float> const& y, float by) {
  launch(add_kernel, over_n, s, Where::here(), x.data(), y.data(), by, n);
}
inline void chained(cudaStream_t s, Array<float> const& x, Array<float> const& y, float by) {
  launch(chained_add_kernel, Launch{.grid = 4, .block = 64, .shared = 0, .programmatic = 1}, s, Where::here(), x.data(), y.data(), by, n);
}
inline bool all_are(Array<float> const& y, float want) {
  for (float v : y.get())
    if (v != want) return false;
  return true;
}
inline std::string const race = "race on global memory";
inline bool contains(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

}

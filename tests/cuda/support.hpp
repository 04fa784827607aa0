// What the CUDA tests are written with: device arrays, and the emulator's helpers. The same sources run on a GPU, where nvcc compiles
// them and each helper runs its test once, as it is.
#pragma once
#include <coterie/cuda.cuh>
#include <doctest/doctest.h>
#if defined(COTERIE_SIMT)
#include "schedules.hpp"
#else
#include <exception>
#include <string>
#include <type_traits>
#include <vector>

namespace simt {

inline bool checked() { return false; }
inline std::vector<std::string> findings() { return {}; }

// Runs f, and waits for the device: its error, or what f says.
template <class F> std::string failure_of(F&& f) {
  std::string wrong;
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) f();
    else if constexpr (std::is_same_v<std::invoke_result_t<F&>, bool>) wrong = f() ? "" : "wrong result";
    else wrong = f();
    coterie::check(cudaDeviceSynchronize());
  } catch (std::exception const& e) {
    wrong = e.what();
  }
  return wrong;
}
template <class F> std::string survives(int, F&& f) { return failure_of(f); }
template <class F> std::vector<std::string> unnoticed(int, F&&) { return {}; }
template <class F> std::vector<std::string> wasteful_lines(F&&) { return {}; }
template <class F> std::string survives_failing_calls(F&&, cudaError_t = cudaErrorMemoryAllocation) { return ""; }

}
#endif
#include <simt/array.hpp>

namespace ct = coterie;

namespace cuda_tests {

// Paths that the device at hand can take.
inline std::vector<ct::Arch> arches() {
  std::vector<ct::Arch> all{ct::Arch::plain, ct::Arch::sm_80};
  if (ct::Cuda{}.device.hopper) all.push_back(ct::Arch::sm_90a);
  return all;
}

#if defined(COTERIE_SIMT)
// Every kernel that f starts, but for so many of them, begins beside the kernel ahead of it, which has let it: empty, or how many did.
// f ends when the device has done all.
template <class F> std::string overlapping(std::size_t but, F&& f) {
  simt::Config const before = simt::config();
  simt::config().order = simt::Order::first_in;                          // who may start, starts
  simt::clear_findings(), simt::clear_calls();
  simt::statistics().overlaps = 0;
  f();
  std::size_t launches = 0;
  for (std::string const& call : simt::calls()) launches += call == "cudaLaunchKernelEx";
  std::uint64_t const overlaps = simt::statistics().overlaps;
  simt::config() = before;
  if (launches < but + 1) return "only " + std::to_string(launches) + " launches";
  return overlaps == launches - but ? "" : std::to_string(overlaps) + " of " + std::to_string(launches) + " kernels began beside the one ahead, want all but " + std::to_string(but);
}
#endif

}

// Every synchronisation is needed: left out, under some of the schedules its absence is noticed. And a kernel ahead of others.
#pragma once
#include <cuda/support.hpp>

namespace cuda_tests {

template <class T> __global__ void copy_kernel(T* to, T const* from, std::int64_t n) {
  for (std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n; i += std::int64_t{gridDim.x} * blockDim.x) to[i] = from[i];
}
// Lets a kernel write what the kernels behind it read: beside it already, on a device that starts them early.
template <class T> void ahead(T* to, T const* from, std::int64_t n) {
  ct::launch(copy_kernel<T>, ct::Launch{.grid = dim3(2), .block = dim3(128)}, nullptr, ct::Where::here(), to, from, n);
}

inline std::string one_line(std::vector<std::string> const& names) {
  std::string to;
  for (std::string const& name : names) to += (to.empty() ? "" : "; ") + name;
  return to;
}

// Each COTERIE_SYNC of f's kernels; `count`: how many there are, so that none is passed over.
template <class F> void check_needed(std::size_t count, F&& f) {
#if defined(COTERIE_SIMT)
  if (!simt::checked()) return;
  CAPTURE(count);
  CHECK(one_line(simt::unnoticed(18, f)) == "");
  simt::clear_syncs();
  CHECK(simt::failure_of(f) == "");
  CHECK(simt::syncs().size() == count);
#else
  (void)count, (void)f;
#endif
}

// Each of these, among others of f's kernels.
template <class F> void check_waits(F&& f, std::vector<std::string> const& names) {
#if defined(COTERIE_SIMT)
  if (!simt::checked()) return;
  simt::clear_syncs();
  CHECK(simt::failure_of(f) == "");
  std::vector<std::string> const met = simt::syncs();
  for (std::string const& name : names) {
    CAPTURE(name);
    bool known = false;
    for (std::string const& one : met) known = known || one == name;
    CHECK(known);
    simt::config().deleted = name;
    CHECK(simt::survives(18, f) != "");
    simt::config().deleted.clear();
  }
#else
  (void)f, (void)names;
#endif
}

// Wasteful lines that are not in one of the files, or not of this kind: "ffn", " write"; "^product.cuh": in no other whose name ends so.
template <class F> std::string waste_beside(std::vector<std::string> const& accepted, F&& f) {
  std::vector<std::string> to;
  if (!simt::checked()) return "";
  for (std::string const& line : simt::wasteful_lines(f)) {
    bool known = false;
    for (std::string const& a : accepted) known = known || (a[0] == '^' ? line.starts_with(a.substr(1)) : line.find(a) != std::string::npos);
    if (!known) to.push_back(line);
  }
  return one_line(to);
}

}

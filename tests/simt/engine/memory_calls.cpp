// Memory of the emulated runtime: allocation, copies, fills, what a pointer is.
#include <cuda_runtime_api.h>
#include <cstdlib>
#include <cstring>
#include <set>
#include "runtime.hpp"

namespace simt {
namespace {

std::set<void*> pinned;

// Device memory that [p, p + n) must lie in; or null.
bool within_allocation(void const* p, std::size_t n) {
  std::size_t bytes = 0;
  auto const begin = static_cast<char const*>(allocation_of(p, &bytes));
  return begin && static_cast<char const*>(p) + n <= begin + bytes;
}
bool valid_range(void const* p, std::size_t n) { return !on_device(p) || within_allocation(p, n); }

void copy_now(Op const* op, void* to, void const* from, std::size_t n) {
  if (!valid_range(to, n) || !valid_range(from, n)) return find("a queued copy of memory that was freed before it ran", 0, 0, 22);
  std::memmove(to, from, n);
  if (!instrumented) return;
  if (on_device(from)) record(as_operation(*op), from, n, false, false, 0);
  if (!on_device(to)) return;
  record(as_operation(*op), to, n, true, false, 0);
  if (on_device(from)) copy_states(to, from, n);
  else set_bytes(to, n, Byte::initialised);
}
std::shared_ptr<Work> work_of(std::function<void(Op&)> act) {
  auto work = std::make_shared<Work>();
  work->act = std::move(act);
  return work;
}
cudaError_t copy(Stream& s, void* to, void const* from, std::size_t n, cudaMemcpyKind kind, bool wait) {
  bool const to_device = on_device(to), from_device = on_device(from);
  bool const expect_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice,
      expect_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
  if (kind != cudaMemcpyDefault && (to_device != expect_to || from_device != expect_from)) return cudaErrorInvalidValue;
  if (!valid_range(to, n) || !valid_range(from, n)) return cudaErrorInvalidValue;
  if (n == 0) return cudaSuccess;
  if (!s.capture && !from_device && !is_pinned(from)) {
    // Pageable memory is staged: it may change once the call returns.
    auto staged = std::make_shared<std::vector<char>>(static_cast<char const*>(from), static_cast<char const*>(from) + n);
    enqueue(s, work_of([=](Op& op) { copy_now(&op, to, staged->data(), n); }), false);
  } else {
    enqueue(s, work_of([=](Op& op) { copy_now(&op, to, from, n); }), false);
    wait = wait || (!s.capture && !to_device && !is_pinned(to));
  }
  if (wait) wait_for(everything(s));
  else after_enqueue();
  return device_error();
}
cudaError_t fill(Stream& s, void* to, int value, std::size_t n) {
  if (!on_device(to) || !within_allocation(to, n)) return cudaErrorInvalidValue;
  enqueue(s, work_of([=](Op& op) {
    if (!valid_range(to, n)) return find("a queued fill of memory that was freed before it ran", 0, 0, 22);
    std::memset(to, value, n);
    if (!instrumented) return;
    record(as_operation(op), to, n, true, false, 0);
    set_bytes(to, n, Byte::initialised);
  }), false);
  after_enqueue();
  return cudaSuccess;
}
cudaError_t allocate(void** p, std::size_t n) {
  if (!p) return cudaErrorInvalidValue;
  *p = nullptr;
  if (n == 0) return cudaSuccess;
  if (global_in_use() + n > engine.config.device.memory || !(*p = allocate_global(n))) return cudaErrorMemoryAllocation;
  std::memset(*p, 0xff, n);                      // NaN
  forget_accesses(*p, n);
  set_bytes(*p, n, Byte::uninitialised);
  return cudaSuccess;
}
cudaError_t release(void* p) {
  if (!p) return cudaSuccess;
  std::size_t const n = free_global(p);
  if (n == 0) return cudaErrorInvalidValue;
  set_bytes(p, n, Byte::unallocated);
  return cudaSuccess;
}

}

bool is_pinned(void const* p) {
  for (void* block : pinned)
    if (p >= block && p < static_cast<char*>(block) + *reinterpret_cast<std::size_t*>(static_cast<char*>(block) - 64)) return true;
  return false;
}
int pinned_count() { return static_cast<int>(pinned.size()); }

}

using namespace simt;
extern "C" {

cudaError_t cudaMalloc(void** p, std::size_t n) { return unsafe_in_capture("cudaMalloc", [&] { return allocate(p, n); }); }
cudaError_t cudaFree(void* p) {
  return release_call("cudaFree", [&] {
    host_waits_for_everything();                 // as the real one does
    return release(p);
  });
}
cudaError_t cudaMallocAsync(void** p, std::size_t n, cudaStream_t) { return runtime_call("cudaMallocAsync", [&] { return allocate(p, n); }); }
cudaError_t cudaFreeAsync(void* p, cudaStream_t s) {
  return release_call("cudaFreeAsync", [&] {
    enqueue(stream_of(s), work_of([p](Op&) { release(p); }), false);
    after_enqueue();
    return cudaSuccess;
  });
}
cudaError_t cudaHostAlloc(void** p, std::size_t n, unsigned) {
  return unsafe_in_capture("cudaHostAlloc", [&] {
    char* const block = static_cast<char*>(std::malloc(n + 64));
    if (!block) return cudaErrorMemoryAllocation;
    *reinterpret_cast<std::size_t*>(block) = n;
    pinned.insert(*p = block + 64);
    return cudaSuccess;
  });
}
cudaError_t cudaMallocHost(void** p, std::size_t n) { return cudaHostAlloc(p, n, 0); }
cudaError_t cudaFreeHost(void* p) {
  return release_call("cudaFreeHost", [&] {
    if (!p) return cudaSuccess;
    host_waits_for_everything();
    if (!pinned.erase(p)) return cudaErrorInvalidValue;
    std::free(static_cast<char*>(p) - 64);
    return cudaSuccess;
  });
}
cudaError_t cudaMemcpy(void* to, void const* from, std::size_t n, cudaMemcpyKind kind) {
  return unsafe_in_capture("cudaMemcpy", [&] { return copy(legacy_stream(), to, from, n, kind, true); });
}
cudaError_t cudaMemcpyAsync(void* to, void const* from, std::size_t n, cudaMemcpyKind kind, cudaStream_t s) {
  return stream_call("cudaMemcpyAsync", s, [&] { return copy(stream_of(s), to, from, n, kind, false); });
}
cudaError_t cudaMemset(void* to, int value, std::size_t n) {
  return unsafe_in_capture("cudaMemset", [&] { return fill(legacy_stream(), to, value, n); });
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t n, cudaStream_t s) {
  return stream_call("cudaMemsetAsync", s, [&] { return fill(stream_of(s), to, value, n); });
}
cudaError_t cudaMemGetInfo(std::size_t* unused, std::size_t* total) {
  return runtime_call("cudaMemGetInfo", [&] {
    *total = engine.config.device.memory;
    *unused = *total - global_in_use();
    return cudaSuccess;
  });
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* a, void const* p) {
  return runtime_call("cudaPointerGetAttributes", [&] {
    *a = {};
    a->device = -1;
    if (allocation_of(p, nullptr)) a->type = cudaMemoryTypeDevice, a->device = 0, a->devicePointer = const_cast<void*>(p);
    else if (is_pinned(p)) a->type = cudaMemoryTypeHost, a->device = 0, a->devicePointer = a->hostPointer = const_cast<void*>(p);
    else a->type = cudaMemoryTypeUnregistered, a->hostPointer = const_cast<void*>(p);
    return cudaSuccess;
  });
}

}

// The part of the CUDA runtime that the library and its tests call, over the emulated device. Linked instead of libcudart; the
// prototypes are those of CUDA's own header.
#include <cuda_runtime_api.h>
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <set>
#include "runtime.hpp"

namespace simt {
namespace {

std::vector<std::string> call_names;
cudaError_t stuck = cudaSuccess;                 // a fault of the device: every call returns it from then on
cudaError_t last = cudaSuccess;
std::set<void*> pinned;
std::map<void const*, int> most_shared;          // cudaFuncAttributeMaxDynamicSharedMemorySize
std::vector<std::string> sync_names;
std::vector<Sync*> seen_syncs;

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
  bool const expect_to = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, expect_from = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
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
  return stuck;
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

std::recursive_mutex& runtime_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}
bool note_call(char const* name, cudaError_t* failure) {
  this_thread_runs_engine();
  call_names.push_back(name);
  *failure = static_cast<int>(call_names.size()) == engine.config.fail_call ? engine.config.fail_code : stuck;
  return *failure == cudaSuccess;
}
cudaError_t remember(cudaError_t code) { return code == cudaSuccess ? code : last = code; }

bool is_pinned(void const* p) {
  for (void* block : pinned)
    if (p >= block && p < static_cast<char*>(block) + *reinterpret_cast<std::size_t*>(static_cast<char*>(block) - 64)) return true;
  return false;
}
int pinned_count() { return static_cast<int>(pinned.size()); }
cudaError_t device_error() { return stuck; }
void set_device_error(cudaError_t code) { stuck = code; }
void clear_device_error() { stuck = last = cudaSuccess; restart_schedule(); }
std::vector<std::string> const& calls() { return call_names; }
void clear_calls() { call_names.clear(); }

void note_sync(Sync& sync) {
  sync.seen = true;
  seen_syncs.push_back(&sync);
  if (std::find(sync_names.begin(), sync_names.end(), sync.name) == sync_names.end()) sync_names.emplace_back(sync.name);
}
std::vector<std::string> syncs() {
  Inside const inside;
  drain();
  return sync_names;
}
void clear_syncs() {
  Inside const inside;
  drain();
  for (Sync* s : seen_syncs) s->seen = false;
  seen_syncs.clear();
  sync_names.clear();
}

cudaError_t launch(cudaLaunchConfig_t const& config, void const* kernel, Closure* owned) {
  std::unique_ptr<Closure> body(owned);
  return runtime_call("cudaLaunchKernelEx", [&]() -> cudaError_t {
    Device const& d = engine.config.device;
    std::uint64_t const threads = std::uint64_t{config.blockDim.x} * config.blockDim.y * config.blockDim.z;
    dim3 const& g = config.gridDim;
    if (threads == 0 || threads > 1024 || config.blockDim.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) return cudaErrorInvalidConfiguration;
    auto const granted = most_shared.find(kernel);
    if (config.dynamicSmemBytes > std::min<std::size_t>(d.shared, granted == most_shared.end() ? 48 * 1024 : static_cast<std::size_t>(granted->second))) return cudaErrorInvalidValue;
    bool programmatic = false;
    for (unsigned i = 0; i < config.numAttrs; ++i) {
      if (config.attrs[i].id != cudaLaunchAttributeProgrammaticStreamSerialization || d.major < 9) return cudaErrorNotSupported;
      programmatic = config.attrs[i].val.programmaticStreamSerializationAllowed != 0;
    }
    if (!is_stream(config.stream)) return cudaErrorInvalidResourceHandle;
    auto work = std::make_shared<Work>();
    work->kernel = std::make_shared<KernelLaunch>();
    work->kernel->body = std::move(body);
    work->kernel->grid = config.gridDim, work->kernel->block = config.blockDim, work->kernel->shared = config.dynamicSmemBytes;
    enqueue(stream_of(config.stream), std::move(work), programmatic);
    after_enqueue();
    return cudaSuccess;
  });
}

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
cudaError_t cudaMemset(void* to, int value, std::size_t n) { return unsafe_in_capture("cudaMemset", [&] { return fill(legacy_stream(), to, value, n); }); }
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

cudaError_t cudaDeviceSynchronize() {
  return unsafe_in_capture("cudaDeviceSynchronize", [] {
    host_waits_for_everything();
    return device_error();
  });
}
cudaError_t cudaGetLastError() {
  std::lock_guard const lock(runtime_mutex());
  cudaError_t const code = last != cudaSuccess ? last : stuck;
  last = cudaSuccess;
  return code;
}
cudaError_t cudaPeekAtLastError() {
  std::lock_guard const lock(runtime_mutex());
  return last != cudaSuccess ? last : stuck;
}
cudaError_t cudaGetDevice(int* d) { return runtime_call("cudaGetDevice", [&] { return *d = 0, cudaSuccess; }); }
cudaError_t cudaSetDevice(int d) { return runtime_call("cudaSetDevice", [&] { return d == 0 ? cudaSuccess : cudaErrorInvalidDevice; }); }
cudaError_t cudaGetDeviceCount(int* n) { return runtime_call("cudaGetDeviceCount", [&] { return *n = 1, cudaSuccess; }); }
cudaError_t cudaDriverGetVersion(int* v) { return runtime_call("cudaDriverGetVersion", [&] { return *v = CUDART_VERSION, cudaSuccess; }); }
cudaError_t cudaRuntimeGetVersion(int* v) { return runtime_call("cudaRuntimeGetVersion", [&] { return *v = CUDART_VERSION, cudaSuccess; }); }
cudaError_t cudaDeviceGetAttribute(int* v, cudaDeviceAttr attribute, int d) {
  return runtime_call("cudaDeviceGetAttribute", [&]() -> cudaError_t {
    if (d != 0) return cudaErrorInvalidDevice;
    Device const& device = engine.config.device;
    switch (attribute) {
      case cudaDevAttrComputeCapabilityMajor: *v = device.major; break;
      case cudaDevAttrComputeCapabilityMinor: *v = device.minor; break;
      case cudaDevAttrMultiProcessorCount: *v = device.multiprocessors; break;
      case cudaDevAttrMaxSharedMemoryPerBlock: *v = 48 * 1024; break;
      case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = static_cast<int>(device.shared); break;
      case cudaDevAttrMaxSharedMemoryPerMultiprocessor: *v = static_cast<int>(device.shared + 1024); break;
      case cudaDevAttrReservedSharedMemoryPerBlock: *v = 1024; break;
      case cudaDevAttrMaxThreadsPerBlock: *v = 1024; break;
      case cudaDevAttrMaxThreadsPerMultiProcessor: *v = 2048; break;
      case cudaDevAttrMaxRegistersPerBlock: *v = 65536; break;
      case cudaDevAttrWarpSize: *v = 32; break;
      case cudaDevAttrL2CacheSize: *v = 50 << 20; break;
      case cudaDevAttrMemoryPoolsSupported: *v = 1; break;
      default: return cudaErrorInvalidValue;     // not modelled: better noticed than guessed
    }
    return cudaSuccess;
  });
}
cudaError_t cudaFuncSetAttribute(void const* kernel, cudaFuncAttribute attribute, int value) {
  return runtime_call("cudaFuncSetAttribute", [&] {
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize && attribute != cudaFuncAttributePreferredSharedMemoryCarveout) return cudaErrorInvalidValue;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (value < 0 || static_cast<std::size_t>(value) > engine.config.device.shared) return cudaErrorInvalidValue;
    most_shared[kernel] = value;
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* n, void const*, int threads, std::size_t shared) {
  return runtime_call("cudaOccupancyMaxActiveBlocksPerMultiprocessor", [&] {
    std::size_t const by_shared = (engine.config.device.shared + 1024) / (shared + 1024);
    *n = static_cast<int>(std::min<std::size_t>({by_shared, static_cast<std::size_t>(2048 / std::max(threads, 1)), 32}));
    return cudaSuccess;
  });
}
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* n, void const* kernel, int threads, std::size_t shared, unsigned) {
  return cudaOccupancyMaxActiveBlocksPerMultiprocessor(n, kernel, threads, shared);
}

}

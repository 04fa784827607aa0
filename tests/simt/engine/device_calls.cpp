// Launches, and what the emulated device says of itself.
#include <cuda_runtime_api.h>
#include <algorithm>
#include "runtime.hpp"

namespace simt {
namespace {

std::map<void const*, int> most_shared;          // by kernel: cudaFuncAttributeMaxDynamicSharedMemorySize

}

cudaError_t launch(cudaLaunchConfig_t const& config, void const* kernel, Closure* owned) {
  std::unique_ptr<Closure> body(owned);
  return runtime_call("cudaLaunchKernelEx", [&]() -> cudaError_t {
    Device const& d = engine.config.device;
    std::uint64_t const threads = std::uint64_t{config.blockDim.x} * config.blockDim.y * config.blockDim.z;
    dim3 const& g = config.gridDim;
    if (threads == 0 || threads > 1024 || config.blockDim.z > 64 || g.x == 0 || g.y == 0 || g.z == 0 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535)
      return cudaErrorInvalidConfiguration;
    auto const granted = most_shared.find(kernel);
    if (config.dynamicSmemBytes > std::min<std::size_t>(d.shared, granted == most_shared.end() ? 48 * 1024 : static_cast<std::size_t>(granted->second)))
      return cudaErrorInvalidValue;
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

cudaError_t cudaDeviceSynchronize() {
  return unsafe_in_capture("cudaDeviceSynchronize", [] {
    host_waits_for_everything();
    return device_error();
  });
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
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize && attribute != cudaFuncAttributePreferredSharedMemoryCarveout)
      return cudaErrorInvalidValue;
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

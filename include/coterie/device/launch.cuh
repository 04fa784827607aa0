// Starts a kernel, on the GPU or in the emulator, and turns errors of the CUDA runtime into exceptions.
#pragma once
#include <array>
#include "../error.hpp"
#include "ptx.cuh"

namespace coterie { inline namespace v0 {

class CudaError : public Error {
 public:
  CudaError(cudaError_t error, std::string const& sentence) : Error(sentence), code(error) {}
  cudaError_t code;
};

// Throws CudaError with the runtime's own name and sentence for the code, behind `call`; without exceptions prints it and aborts.
inline void check(cudaError_t code, Where at = Where::here(), char const* call = "") {
  if (code == cudaSuccess) [[likely]] return;
  std::string sentence = std::string("CUDA: ") + call + cudaGetErrorName(code) + ": " + cudaGetErrorString(code);
  if (code == cudaErrorNoKernelImageForDevice || code == cudaErrorInvalidDeviceFunction)               // which of the two depends on who notices
    sentence += ": this program holds no code for the device; compile it with nvcc -gencode arch=compute_90a,code=sm_90a for compute capability 9.0, "
                "arch=compute_80,code=sm_80 for 8.x, and so on for others";
#if defined(__cpp_exceptions)
  throw CudaError(code, "coterie: " + sentence + " (" + at.file + ":" + std::to_string(at.line) + ")");
#else
  fail(sentence, at);
#endif
}

struct Launch {
  dim3 grid, block;
  std::size_t shared = 0;                          // bytes of dynamic shared memory: sizeof of the kernel's struct, in each of its launches
  // 1: may start before the kernel ahead of it ends, up to its grid_dependency_wait(). Only where that waits: Cuda's device.programmatic.
  // Every kernel of the library waits before it reads or writes anything, and then lets the next one start: one that is launched so
  // behind them must wait as well.
  int programmatic = 0;
};

// Lets launches of the kernel on the current device have so much dynamic shared memory, which is the same for all of its launches. Asked once
// by each thread for each kernel and device; a device that was reset is not asked again.
inline void grant_shared(void const* kernel, std::size_t bytes, Where at) {
  struct Granted { void const* kernel; std::size_t bytes; int device; };
  static thread_local std::array<Granted, 512> known{};
  int device = 0;
  check(cudaGetDevice(&device), at);
  // Eight places from where a kernel's address puts it, so that kernels of a model do not drive each other out.
  std::uint64_t const place = (reinterpret_cast<std::uintptr_t>(kernel) + static_cast<unsigned>(device)) * std::uint64_t{0x9e3779b97f4a7c15} >> 32;
  Granted* to = &known[place % known.size()];
  for (std::size_t i = 0; i < 8; ++i) {
    Granted& one = known[(place + i) % known.size()];
    if (one.kernel == kernel && one.bytes == bytes && one.device == device) return;
    if (to->kernel && !one.kernel) to = &one;
  }
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), at);
  *to = {kernel, bytes, device};
}

// kernel<<<...>>>(args...) on the stream; args convert to the kernel's parameter types.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), Launch const& how, cudaStream_t stream, Where at, Arguments&&... arguments) {
  if (how.shared > 48 * 1024) grant_shared(reinterpret_cast<void const*>(kernel), how.shared, at);     // up to here nobody has to ask
  cudaLaunchAttribute programmatic{};
  programmatic.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  programmatic.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = how.grid;
  config.blockDim = how.block;
  config.dynamicSmemBytes = how.shared;
  config.stream = stream;
  config.attrs = &programmatic;
  config.numAttrs = how.programmatic;
#if defined(__CUDACC__)
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...), at);
#else
  check(simt::launch(config, kernel, static_cast<Parameters>(arguments)...), at);
#endif
}

}}

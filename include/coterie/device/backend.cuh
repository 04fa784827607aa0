// The CUDA backend: a stream, and what its device can run.
#pragma once
#include <array>
#include <cstring>
#include "../backend.hpp"
#include "launch.cuh"

#define COTERIE_TEXT_OF(name) #name
#define COTERIE_TEXT(name) COTERIE_TEXT_OF(name)

namespace coterie { inline namespace v0 {

// A path through the CUDA kernels, slowest first. best: the last one that the device runs and this program was compiled for.
enum class Arch : int { best, plain, sm_80, sm_90a };

constexpr char const* name(Arch arch) {
  switch (arch) {
    case Arch::best: return "best";
    case Arch::plain: return "plain";
    case Arch::sm_80: return "sm_80";
    case Arch::sm_90a: return "sm_90a";
  }
  return "?";
}

namespace device {

// What the runtime says of a pointer. Pageable memory is host memory even where the device could read it (HMM, ATS; the attributes
// then name a device pointer): a kernel would read it after the caller has changed or freed it.
enum class MemoryKind : int { host, pinned, managed, device };
inline MemoryKind kind_of(cudaPointerAttributes const& attributes) {
  if (attributes.type == cudaMemoryTypeDevice) return MemoryKind::device;
  if (attributes.type == cudaMemoryTypeManaged) return MemoryKind::managed;
  return attributes.type == cudaMemoryTypeHost && attributes.devicePointer ? MemoryKind::pinned : MemoryKind::host;
}
inline MemoryKind kind_of(void const* p, Where at) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, p), at);
  return kind_of(attributes);
}

// Where device memory is, as far as a thread has been told: a bit for every 2 MiB of addresses, as much as drivers map at once, in a word for every
// 128 MiB. A device's memory has addresses in a row: 128 GiB of it, the gradients of any number of matrices, stay known side by side.
class KnownMemory {
 public:
  bool has(void const* p) const { return region_of(p).number == number_of(p) && (region_of(p).blocks & bit_of(p)) != 0; }
  void add(void const* p) {
    Region& region = regions_[number_of(p) % regions_.size()];
    if (region.number != number_of(p)) region = {.number = number_of(p), .blocks = 0};
    region.blocks |= bit_of(p);
  }

 private:
  struct Region { std::uintptr_t number; std::uint64_t blocks; };
  static std::uintptr_t number_of(void const* p) { return reinterpret_cast<std::uintptr_t>(p) >> 27; }
  static std::uint64_t bit_of(void const* p) { return std::uint64_t{1} << (reinterpret_cast<std::uintptr_t>(p) >> 21) % 64; }
  Region const& region_of(void const* p) const { return regions_[number_of(p) % regions_.size()]; }
  std::array<Region, 1024> regions_{};
};

// Asked once, when a Cuda is made; an error is kept and thrown where the backend is used.
struct Properties {
  cudaError_t error = cudaSuccess;
  int id = 0, major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0;
  int hopper = 0;                                // flag: this program holds kernels for sm_90a and the device runs them
  int programmatic = 0;                          // flag: what the device runs of this program is code for 9.0 or later, which waits for the kernel ahead
  char const* build = "";                        // the architectures that whoever asked was compiled for
};

inline namespace COTERIE_CUDA_BUILD {

// What the driver would run of this program tells what it was compiled for: the copy for sm_90a has static shared memory, and
// more of it than a driver reserves. (The host cannot see a flag of the device pass.)
inline constexpr int feature_bytes = 4096;
template <int Bytes> __global__ void features_kernel(int* out) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL) || defined(COTERIE_SIMT)
  COTERIE_SHARED(mark, char[Bytes]);
  mark[threadIdx.x] = static_cast<char>(threadIdx.x);
  if (out) *out = mark[0];
#else
  if (out) *out = 0;
#endif
}

// The architectures that the code which names this was compiled for.
inline constexpr char const* this_build = COTERIE_TEXT(COTERIE_CUDA_BUILD);

inline Properties current_properties() {
  Properties p;
  p.build = this_build;
  auto const ask = [&p](int& value, cudaDeviceAttr what) {
    if (p.error == cudaSuccess) p.error = cudaDeviceGetAttribute(&value, what, p.id);
  };
  p.error = cudaGetDevice(&p.id);
  ask(p.major, cudaDevAttrComputeCapabilityMajor);
  ask(p.minor, cudaDevAttrComputeCapabilityMinor);
  ask(p.multiprocessors, cudaDevAttrMultiProcessorCount);
  ask(p.shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  if (p.error == cudaSuccess && p.major >= 8) {
#if defined(COTERIE_SIMT)
    p.hopper = p.major == 9 ? 1 : 0;
    p.programmatic = p.major >= 9 ? 1 : 0;
#else
    cudaFuncAttributes attributes{};             // an error here: the program holds nothing for this device
    p.error = cudaFuncGetAttributes(&attributes, reinterpret_cast<void const*>(&features_kernel<feature_bytes>));
    p.hopper = p.major == 9 && attributes.sharedSizeBytes >= feature_bytes ? 1 : 0;
    p.programmatic = attributes.ptxVersion >= 90 ? 1 : 0;                // what it was compiled for, also where the driver translates it for a later device
#endif
  }
  return p;
}

}}

// A stream of the device that is current when this is made. Copies are free; the stream stays the caller's.
struct Cuda {
  cudaStream_t stream = nullptr;
  Arch arch = Arch::best;                        // force a path; one that the device or this program lacks is refused when used
  device::Properties device = device::current_properties();

  // The path the kernels take. by: code that was compiled for others than the code that made this knows other kernels. (The linker keeps one
  // copy of a layer's host code, whatever the files that use it were compiled for.)
  Arch path(Where at = Where::here(), char const* by = device::this_build) const {
    if (std::strcmp(by, device.build) != 0)
      fail(std::string("Cuda: made by code compiled for ") + device.build + ", used by code compiled for " + by + ": compile all files that use one Config for the same architectures", at);
    check(device.error, at);
    if (device.major < 8) fail("Cuda: this device has compute capability " + capability() + ", the kernels need 8.0 or later", at);
    if (arch == Arch::best) return device.hopper ? Arch::sm_90a : Arch::sm_80;
    if (arch == Arch::sm_90a && !device.hopper)
      fail("Cuda: Arch::sm_90a needs a device of compute capability 9.0 and a program compiled with -gencode arch=compute_90a,code=sm_90a (the device has " + capability() + ")", at);
    return arch;
  }
  // Refuses host memory by name (stage: argument). The runtime is asked once for each 2 MiB of device memory that a thread meets, so that a layer
  // that runs again asks nothing; what was freed and came back as host memory passes.
  void needs_device_memory(char const* stage, char const* what, void const* p, Where at) const {
    static thread_local device::KnownMemory known;
    if (known.has(p)) return;
    device::MemoryKind const kind = device::kind_of(p, at);
    if (kind == device::MemoryKind::host) fail(std::string(stage) + ": " + what + " must be device memory, this is host memory", at);
    if (kind == device::MemoryKind::device) known.add(p);
  }
  std::string capability() const { return std::to_string(device.major) + "." + std::to_string(device.minor); }
  // Why not the fast path, for explain().
  std::string remark() const {
    return device.major == 9 && !device.hopper ? " (compiled without -gencode arch=compute_90a,code=sm_90a, which gives the Hopper kernels)" : "";
  }
};
template <> inline constexpr bool provided<Cuda> = true;

}}

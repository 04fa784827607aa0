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
std::vector<std::string> sync_names;
std::vector<Sync*> seen_syncs;

}

std::recursive_mutex& runtime_mutex() {
  static std::recursive_mutex mutex;
  return mutex;
}
bool note_call(char const* name, cudaError_t* failure) {
  call_names.push_back(name);
  *failure = static_cast<int>(call_names.size()) == engine.config.fail_call ? engine.config.fail_code : stuck;
  return *failure == cudaSuccess;
}
cudaError_t remember(cudaError_t code) { return code == cudaSuccess ? code : last = code; }

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

}

using namespace simt;
extern "C" {
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
}

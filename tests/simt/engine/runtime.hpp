// What every call of the emulated runtime goes through: one at a time, counted, and made to fail when a test asks for it.
#pragma once
#include <mutex>
#include "memory.hpp"
#include "shadow.hpp"
#include "streams.hpp"

namespace simt {

std::recursive_mutex& runtime_mutex();
bool note_call(char const* name, cudaError_t* failure);                    // false: it fails, and how
cudaError_t remember(cudaError_t);
bool is_pinned(void const*);
int pinned_count();

template <class F> cudaError_t runtime_call(char const* name, F f) {
  std::lock_guard const lock(runtime_mutex());
  Inside const inside;
  cudaError_t failure;
  return remember(note_call(name, &failure) ? f() : failure);
}
// Frees even when it is made to fail: an error must not turn into a leak.
template <class F> cudaError_t release_call(char const* name, F f) {
  std::lock_guard const lock(runtime_mutex());
  Inside const inside;
  cudaError_t failure;
  note_call(name, &failure);
  cudaError_t const code = f();
  return remember(failure != cudaSuccess ? failure : code);
}
// While somebody captures, this would end the capture.
template <class F> cudaError_t unsafe_in_capture(char const* name, F f) {
  return runtime_call(name, [&]() -> cudaError_t {
    if (!capturing_globally()) return f();
    break_captures();
    return cudaErrorStreamCaptureUnsupported;
  });
}
template <class F> cudaError_t stream_call(char const* name, cudaStream_t s, F f) {
  return runtime_call(name, [&]() -> cudaError_t { return is_stream(s) ? f() : cudaErrorInvalidResourceHandle; });
}

}

// Work of a library that is replaced at link time (cuBLASLt, CUB's sort): done by the host in its place in a stream, and judged as a
// kernel of one thread would be.
#pragma once
#include <functional>
#include "runtime.hpp"

namespace simt {

class LibraryWork {
 public:
  LibraryWork(Op const& op, char const* name) : op_(op), name_(name) {}
  // Whether [p, p + bytes) may be read or written; if not, a finding says so. numbers: they may be the garbage that a copy of
  // uninitialised memory left, which is NaN.
  bool reads(void const* p, std::size_t bytes, bool numbers = false);
  bool writes(void* p, std::size_t bytes);

 private:
  bool inside(void const* p, std::size_t bytes, char const* verb);
  Op const& op_;
  char const* name_;
};

// Queues work under the name of a call, which may be made to fail.
cudaError_t queue_library_call(char const* name, cudaStream_t, std::function<void(LibraryWork&)>);

}

// Device memory that owns itself, and what a pointer is.
#pragma once
#include "backend.cuh"

namespace coterie { inline namespace v0 { namespace device {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes, Where at = Where::here()) {
    void* p = nullptr;
    check(cudaMalloc(&p, bytes ? bytes : 1), at);
    data_ = static_cast<std::byte*>(p), size_ = bytes;
  }
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_) { other.data_ = nullptr, other.size_ = 0; }
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      release();
      data_ = other.data_, size_ = other.size_;
      other.data_ = nullptr, other.size_ = 0;
    }
    return *this;
  }
  ~Buffer() { release(); }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> span() const { return {data_, size_}; }

 private:
  void release() {
    if (data_) (void)cudaFree(data_);            // a destructor has nobody to tell
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// Whether kernels can read this pointer. (Registered and managed memory can be read, however slowly.)
inline bool readable(void const* p, Where at = Where::here()) {
  cudaPointerAttributes attributes{};
  check(cudaPointerGetAttributes(&attributes, p), at);
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged || attributes.devicePointer != nullptr;
}
inline void require_readable(void const* p, char const* what, Where at) {
  if (p && !readable(p, at)) fail(std::string(what) + " is host memory; Cuda needs device memory", at);
}

}}}

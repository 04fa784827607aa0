// Device memory that owns itself.
#pragma once
#include "backend.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

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

}}}}

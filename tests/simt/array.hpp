// Arrays of device memory for tests, by nothing but the CUDA runtime.
#pragma once
#include <coterie/device/launch.cuh>
#include <vector>

namespace simt {

template <class T> class Array {
 public:
  explicit Array(std::size_t n) : size_(n) { coterie::check(cudaMalloc(reinterpret_cast<void**>(&data_), n * sizeof(T))); }
  explicit Array(std::vector<T> const& v) : Array(v.size()) { put(v); }
  ~Array() { cudaFree(data_); }
  Array(Array const&) = delete;
  Array& operator=(Array const&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  void put(std::vector<T> const& v) const { coterie::check(cudaMemcpy(data_, v.data(), size_ * sizeof(T), cudaMemcpyHostToDevice)); }
  std::vector<T> get() const {
    std::vector<T> v(size_);
    coterie::check(cudaMemcpy(v.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

}

// Device memory for the examples, and how they tell whether there is a GPU.
#pragma once
#include <coterie/cuda.cuh>
#include <cmath>
#include <vector>

namespace example {

namespace ct = coterie;

template <class T> class DeviceVector {
 public:
  explicit DeviceVector(std::size_t n) : size_(n) { ct::check(cudaMalloc(reinterpret_cast<void**>(&data_), (n ? n : 1) * sizeof(T))); }
  explicit DeviceVector(std::vector<T> const& v) : DeviceVector(v.size()) { put(v); }
  ~DeviceVector() { cudaFree(data_); }
  DeviceVector(DeviceVector const&) = delete;
  DeviceVector& operator=(DeviceVector const&) = delete;

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  void put(std::vector<T> const& v) const {
    ct::check(cudaMemcpy(data_, v.data(), size_ * sizeof(T), cudaMemcpyHostToDevice));
    ct::check(cudaDeviceSynchronize());                                                       // streams that block for nobody may read it
  }
  std::vector<T> get() const {
    std::vector<T> v(size_);
    ct::check(cudaMemcpy(v.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost));
    return v;
  }

 private:
  T* data_ = nullptr;
  std::size_t size_;
};

// Largest |a - b| over the largest |b|; NaN anywhere gives NaN.
template <class T> double difference(std::vector<T> const& a, std::vector<T> const& b) {
  double most = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const x = double{ct::to_float(a[i])}, y = double{ct::to_float(b[i])}, d = std::abs(x - y);
    if (!(d <= most)) most = d;
    largest = std::fmax(largest, std::abs(y));
  }
  return most / largest;
}

// Weights of a layer in host memory, N(0, 1/inputs) or so, with views for pack().
template <ct::Config C> struct RandomWeights {
  std::vector<ct::element_t<C.router.weights>> router;
  std::vector<ct::element_t<C.weights>> experts;                                               // [E][gate, up, down]
  ct::Weights<C> raw;

  explicit RandomWeights(std::uint64_t seed) : router(static_cast<std::size_t>(ct::logit_columns(C) * C.hidden)), experts(static_cast<std::size_t>(C.experts) * 3 * C.ffn * C.hidden) {
    fill(router, C.hidden, seed), fill(experts, C.hidden, seed + 1);
    raw.router.data = router.data();
    constexpr auto n = static_cast<std::size_t>(C.ffn) * static_cast<std::size_t>(C.hidden);
    for (std::size_t e = 0; e < C.experts; ++e)
      raw.gate[e].data = &experts[3 * e * n], raw.up[e].data = &experts[(3 * e + 1) * n], raw.down[e].data = &experts[(3 * e + 2) * n];
  }
  template <class T> static void fill(std::vector<T>& v, int inputs, std::uint64_t seed) {
    float const size = 1.7f / std::sqrt(static_cast<float>(inputs));
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = ct::from_float<T>(size * (2 * ct::random::uniform(seed, ct::random::Stream::jitter, i, 0) - 1));
  }
};
template <class T> std::vector<T> random_rows(std::int64_t rows, int columns, std::uint64_t seed) {
  std::vector<T> v(static_cast<std::size_t>(rows * columns));
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = ct::from_float<T>(1.7f * (2 * ct::random::uniform(seed, ct::random::Stream::jitter, i, 1) - 1));
  return v;
}

}

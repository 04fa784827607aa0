// All of a model's weights in one array, named as a Mixtral checkpoint names them, and AdamW over them.
#pragma once
#include "multiply.hpp"
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace lm {

struct Tensor {
  std::string name;
  std::int64_t rows, columns;                    // rows 0: a vector of `columns`
  double deviation;                              // of the normal distribution it starts from; 0: ones
  std::size_t first;                             // where it stands
  std::size_t size() const { return static_cast<std::size_t>((rows ? rows : 1) * columns); }
};

// Tensors are added first; start() makes room for their values and gradients, whose addresses stay.
class Parameters {
 public:
  std::size_t add(std::string name, std::int64_t rows, std::int64_t columns, double deviation) {
    tensors_.push_back({std::move(name), rows, columns, deviation, size_});
    size_ += tensors_.back().size();
    return tensors_.back().first;
  }
  void start(std::uint64_t seed) {
    value_.resize(size_), gradient_.resize(size_), mean_.resize(size_), square_.resize(size_);
    std::mt19937_64 random{seed};
    for (Tensor const& t : tensors_) {
      std::normal_distribution<float> normal;
      for (std::size_t i = 0; i < t.size(); ++i) value_[t.first + i] = t.deviation > 0 ? static_cast<float>(t.deviation) * normal(random) : 1.f;
    }
  }
  float* value(std::size_t first) { return value_.data() + first; }
  float const* value(std::size_t first) const { return value_.data() + first; }
  float* gradient(std::size_t first) { return gradient_.data() + first; }
  std::vector<Tensor> const& tensors() const { return tensors_; }
  std::size_t size() const { return size_; }

  // One step of AdamW (Loshchilov and Hutter 2019) on gradients whose norm is cut to 1; vectors do not decay. Leaves the gradients zero.
  // Returns the norm as it was.
  double step(double rate) {
    constexpr double beta1 = 0.9, beta2 = 0.95, decay = 0.1;
    double const norm = std::sqrt(square_of_gradients()), cut = norm > 1 ? 1 / norm : 1;
    first_power_ *= beta1, second_power_ *= beta2;
    for (Tensor const& t : tensors_)
      update(t.first, t.size(), {.cut = static_cast<float>(cut), .beta1 = beta1, .beta2 = beta2, .rate = static_cast<float>(rate / (1 - first_power_)),
                                 .unbias = static_cast<float>(1 / (1 - second_power_)), .keep = t.rows ? static_cast<float>(1 - rate * decay) : 1.f});
    return norm;
  }

 private:
  struct Update { float cut, beta1, beta2, rate, unbias, keep; };
  double square_of_gradients() const {
    double all = 0;
    for (std::size_t i = 0; i < size_; i += 4096) {
      float part[16]{};
      std::size_t const end = std::min(size_, i + 4096);
      std::size_t j = i;
      for (; j + 16 <= end; j += 16)
        for (std::size_t k = 0; k < 16; ++k) part[k] += gradient_[j + k] * gradient_[j + k];
      for (; j < end; ++j) part[0] += gradient_[j] * gradient_[j];
      for (float const p : part) all += double{p};
    }
    return all;
  }
  void update(std::size_t first, std::size_t n, Update u) {
    float *__restrict const w = value_.data() + first, *__restrict const g = gradient_.data() + first;
    float *__restrict const m = mean_.data() + first, *__restrict const v = square_.data() + first;
    for (std::size_t i = 0; i < n; ++i) {
      float const d = g[i] * u.cut;
      m[i] += (1 - u.beta1) * (d - m[i]), v[i] += (1 - u.beta2) * (d * d - v[i]);
      w[i] = w[i] * u.keep - u.rate * m[i] / (std::sqrt(v[i] * u.unbias) + 1e-8f);
      g[i] = 0;
    }
  }
  std::vector<Tensor> tensors_;
  std::size_t size_ = 0;
  std::vector<float> value_, gradient_, mean_, square_;
  double first_power_ = 1, second_power_ = 1;
};

}

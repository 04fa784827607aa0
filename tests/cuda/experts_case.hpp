// A layer's weights with all that stands around the experts, on the host as a checkpoint has them, on the device packed, and as the
// reference reads them; and a comparison with what the reference wants.
#pragma once
#include <cuda/support.hpp>
#include <coterie/reference.hpp>
#include <cstring>
#include <string>
#include <vector>
#include "../cases.hpp"

namespace cuda_tests {

enum class Numbers : int { whole, real };        // small whole numbers: every sum is exact

template <class T> std::vector<T> numbers(cases::Random& random, std::int64_t n, Numbers kind, double size = 0.5) {
  std::vector<T> to;
  for (std::int64_t i = 0; i < n; ++i) to.push_back(ct::from_float<T>(static_cast<float>(kind == Numbers::whole ? random.below(3) - 1 : random.normal() * size)));
  return to;
}

template <ct::Config C> struct Checkpoint {
  using T = ct::element_t<C.weights>;
  using V = ct::element_t<C.dtype>;
  using S = ct::element_t<C.shared.weights>;
  using R = ct::element_t<C.router.weights>;
  static constexpr int W = ct::width(C), shared = C.shared.ffn, hidden = C.hidden;
  std::vector<std::vector<T>> gate, up, down;
  std::vector<std::vector<float>> gate_bias, up_bias, down_bias;
  std::vector<S> shared_gate, shared_up, shared_down, mix;
  std::vector<V> latent_down, latent_up;
  std::vector<R> router;
  std::vector<float> mix_bias{0.25f, -0.5f}, norm;
  ct::Weights<C> raw{};
  ct::Packed<C, ct::Cuda> packed;
  ct::reference::Weights weights;

  explicit Checkpoint(cases::Random& random, Numbers kind) : packed(ct::pack(ct::Cuda{}, filled(random, kind))), weights(ct::reference::weights(raw)) {}

 private:
  ct::Weights<C> const& filled(cases::Random& random, Numbers kind) {
    for (std::size_t e = 0; e < static_cast<std::size_t>(C.experts); ++e) {
      gate.push_back(numbers<T>(random, C.ffn * W, kind)), up.push_back(numbers<T>(random, C.ffn * W, kind)), down.push_back(numbers<T>(random, W * C.ffn, kind));
      gate_bias.push_back(numbers<float>(random, C.ffn, kind)), up_bias.push_back(numbers<float>(random, C.ffn, kind)), down_bias.push_back(numbers<float>(random, W, kind));
      raw.gate[e].data = gate[e].data(), raw.up[e].data = up[e].data(), raw.down[e].data = down[e].data();
      if constexpr (C.expert.bias) raw.gate_bias[e] = gate_bias[e].data(), raw.up_bias[e] = up_bias[e].data(), raw.down_bias[e] = down_bias[e].data();
    }
    router = numbers<R>(random, ct::logit_columns(C) * hidden, kind);
    raw.router.data = router.data();
    shared_gate = numbers<S>(random, shared * hidden, kind), shared_up = numbers<S>(random, shared * hidden, kind), shared_down = numbers<S>(random, hidden * shared, kind);
    mix = numbers<S>(random, 2 * hidden, kind, 0.25);
    raw.shared.gate.data = shared_gate.data(), raw.shared.up.data = shared_up.data(), raw.shared.down.data = shared_down.data(), raw.shared.mix.data = mix.data();
    raw.shared.mix_bias = mix_bias.data();
    latent_down = numbers<V>(random, W * hidden, kind), latent_up = numbers<V>(random, hidden * W, kind);
    for (int i = 0; i < W; ++i) norm.push_back(static_cast<float>(1 + random.normal() / 4));
    raw.latent.down.data = latent_down.data(), raw.latent.up.data = latent_up.data(), raw.latent.norm = norm.data(), raw.latent.norm_epsilon = 0.01f;
    return raw;
  }
};

// Rows of n columns, in device memory of their own with whatever lies between them; what a kernel may not use is NaN.
template <class V, int N> class DeviceRows {
 public:
  DeviceRows(std::int64_t rows, std::int64_t extra) : rows_(rows), stride_(N + extra), memory_(static_cast<std::size_t>(elements())) {}
  ct::Rows<V, N> view() const { return {memory_.data(), rows_, stride_}; }
  std::int64_t elements() const { return (rows_ - 1) * stride_ + N; }      // from the first to the last
  // values[rows][N]
  void put(std::vector<V> const& values) const {
    std::vector<V> all(memory_.size(), ct::from_float<V>(__builtin_nanf("")));
    for (std::int64_t r = 0; r < rows_; ++r)
      for (int i = 0; i < N; ++i) all[at(r, i)] = values[static_cast<std::size_t>(r * N + i)];
    memory_.put(all);
  }
  void poison() const { ct::check(cudaMemset(memory_.data(), mark, memory_.size() * sizeof(V))); }
  // What is wrong, if row r should hold want(r)[N] rounded to dtype; a row whose want is empty must not be written, nor what lies between rows.
  template <class Want> std::string compared(ct::DType dtype, Want const& want) const {
    namespace ref = ct::reference;
    std::vector<V> const got = memory_.get();
    std::vector<char> free(got.size(), 1);
    for (std::int64_t r = 0; r < rows_; ++r) {
      std::vector<ref::Real> const& row = want(r);
      for (int i = 0; i < N && !row.empty(); ++i) {
        free[at(r, i)] = 0;
        ref::Range const range = ref::range(dtype, row[static_cast<std::size_t>(i)]);
        double const value = row[static_cast<std::size_t>(i)].value, is = ref::number(got[at(r, i)]);
        if (std::isnan(value) ? !std::isnan(is) : !(is >= range.low && is <= range.high))
          return "row " + std::to_string(r) + ", column " + std::to_string(i) + " is " + std::to_string(is) + ", want " + std::to_string(range.low) + " to " + std::to_string(range.high);
      }
    }
    V marked;
    std::memset(&marked, mark, sizeof marked);
    for (std::size_t i = 0; i < got.size(); ++i)
      if (free[i] && std::memcmp(&got[i], &marked, sizeof marked) != 0) return "element " + std::to_string(i) + " is written, which is no row's";
    return "";
  }
  std::vector<V> get() const {
    std::vector<V> const all = memory_.get();
    std::vector<V> to;
    for (std::int64_t r = 0; r < rows_; ++r)
      for (int i = 0; i < N; ++i) to.push_back(all[at(r, i)]);
    return to;
  }

 private:
  static constexpr int mark = 0xa5;
  std::size_t at(std::int64_t r, int i) const { return static_cast<std::size_t>(r * stride_ + i); }
  std::int64_t rows_, stride_;
  simt::Array<V> memory_;
};

// Exactly so many bytes, from an address that is aligned to nothing.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : memory_(bytes + 13) {}
  std::span<std::byte> span() const { return {memory_.data() + 13, memory_.size() - 13}; }

 private:
  simt::Array<std::byte> memory_;
};

template <class V> std::vector<ct::reference::Real> reals(std::vector<V> const& values, std::int64_t row, int n) {
  std::vector<ct::reference::Real> to;
  for (int i = 0; i < n; ++i) to.push_back({ct::reference::number(values[static_cast<std::size_t>(row * n + i)]), 0});
  return to;
}

}

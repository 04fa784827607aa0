// A grouped product of small whole numbers: its data on the device, and what must come out, to the bit. Everything that no kernel may
// use is NaN or outside of the memory, everything that none may write is watched.
#pragma once
#include <cuda/support.hpp>
#include <cstring>
#include <string>
#include <vector>
#include "../cases.hpp"

namespace cuda_tests {

namespace device = ct::device;

enum class Kernel : int { plain, stream, swapped, mma_short, mma_tall, wgmma_short, wgmma_tall, wgmma_alternating };
inline constexpr char const* kernel_names[]{"plain", "stream", "swapped", "mma, short", "mma, tall", "wgmma, short", "wgmma, tall", "wgmma, alternating"};

// Kernels that the device runs for 16-bit types; for others the first two.
inline std::vector<Kernel> kernels(bool mma) {
  std::vector<Kernel> all{Kernel::plain, Kernel::stream};
  if (mma) all.insert(all.end(), {Kernel::swapped, Kernel::mma_short, Kernel::mma_tall});
  if (mma && ct::Cuda{}.device.hopper) all.insert(all.end(), {Kernel::wgmma_short, Kernel::wgmma_tall, Kernel::wgmma_alternating});
  return all;
}
template <class P> void multiply_by(Kernel kernel, P const& p) {
  ct::Cuda const on{};
  ct::Where const at = ct::Where::here();
  if constexpr (device::has_mma<P>) {
    using V = typename P::A;
    if (kernel == Kernel::swapped) return device::swapped_product(on, p, at);
    if (kernel == Kernel::mma_short) return device::mma_product<device::MmaShort>(on, p, at);
    if (kernel == Kernel::mma_tall) return device::mma_product<device::MmaTall>(on, p, at);
    if (kernel == Kernel::wgmma_short) return device::wgmma_product<device::WgmmaShort<V>>(on, p, at);
    if (kernel == Kernel::wgmma_alternating) return device::wgmma_product<device::WgmmaAlternating<V>>(on, p, at);
    if (kernel == Kernel::wgmma_tall) return device::wgmma_product<device::WgmmaTall<V>>(on, p, at);
  }
  if (kernel == Kernel::stream) device::stream_product(on, p, at);
  else device::plain_product(on, p, at);
}

// What the kernels ahead of a product leave: its rows, where its groups begin, and which rows it takes.
template <class A> struct Ahead {
  A const* from;
  A* to;
  std::int64_t values;
  std::int32_t const *begin_from, *map_from;
  std::int32_t *begin, *map;
  int begins, maps;
};
template <class A> __global__ void ahead_kernel(Ahead<A> const p) {
  std::int64_t const first = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x, step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t i = first; i < p.values; i += step) p.to[i] = p.from[i];
  for (std::int64_t i = first; i < p.begins; i += step) p.begin[i] = p.begin_from[i];
  for (std::int64_t i = first; i < p.maps; i += step) p.map[i] = p.map_from[i];
}

struct ProductShape {
  std::vector<int> counts;                       // rows of each group that is multiplied
  int inputs, outputs;
  bool grouped = true;                           // with `begin`; without, one group
  bool gathered = true;                          // by a map
  int extra_stride = 8, extra_out = 3;           // between rows of a, and of what is stored, beyond what they need
  int seed = 1;
  bool whole = true;                             // numbers; what then comes out is known
};

// To = sums of A and B, or, paired, relu(gate) * up rounded to To with zeros up to the pitch of what comes next.
template <class A, class B, class To, int Paired = 0> class ProductCase {
 public:
  using Stage = device::FfnStage<To, B, ct::ExpertConfig{.act = ct::Act::relu_mul, .bias = 1}>;
  using Epilogue = std::conditional_t<Paired, device::StoreHidden<Stage>, device::StoreRows<To>>;
  using P = device::Product<A, B, Epilogue>;

  explicit ProductCase(ProductShape const& shape)
      : shape_(shape), random_(static_cast<std::uint64_t>(shape.seed)), pack_{.outputs = shape.outputs, .inputs = shape.inputs, .paired = Paired}, begin_(begins()),
        rows_(begin_.back() + (shape.grouped || begin_.back() == 0 ? after : 0)), tokens_(shape.gathered ? 1 + rows_ / 2 : rows_), a_stride_(pack_.pitch() + shape.extra_stride), map_(maps()), a_(numbers_a()), b_(numbers_b()),
        bias_(biases()), from_(a_), device_a_(a_.size()), device_b_(b_), begin_from_(begin_), device_begin_(begin_.size()), map_from_(map_), device_map_(map_.size()), device_bias_(bias_),
        out_(static_cast<std::size_t>(rows_ * out_stride())), want_(wanted()) {}

  // What is wrong with the product as this kernel computes it; empty: nothing.
  std::string failure(Kernel kernel) const {
    start();
    multiply_by(kernel, product());
    return compared();
  }
  // What it stores, also of numbers that are not whole.
  std::vector<To> stored(Kernel kernel) const {
    start();
    multiply_by(kernel, product());
    return out_.get();
  }
  // What is wrong with what the library chooses.
  std::string failure(ct::Arch path, device::Few few) const {
    start();
    device::multiply(ct::Cuda{}, path, product(), few, ct::Where::here());
    return compared();
  }
  P product() const {
    P p{.a = device_a_.data(), .a_stride = a_stride_, .map = shape_.gathered ? device_map_.data() : nullptr, .b = device_b_.data(), .b_group = group(), .b_rows = pack_.rows(),
        .b_pitch = pack_.pitch(), .inputs = shape_.inputs,
        .groups = {.begin = shape_.grouped ? device_begin_.data() : nullptr, .first = first(), .count = static_cast<int>(shape_.counts.size()), .rows = begin_.back()}, .epilogue = {}};
    p.epilogue.to = out_.data(), p.epilogue.stride = out_stride(), p.epilogue.columns = columns();
    if constexpr (Paired) p.epilogue.valid = shape_.outputs, p.epilogue.gate_bias = device_bias_.data(), p.epilogue.up_bias = device_bias_.data() + bias_.size() / 2;
    else p.epilogue.bias = device_bias_.data();
    return p;
  }
  void start() const {
    ct::check(cudaMemset(device_a_.data(), 0xff, device_a_.size() * sizeof(A)));                       // NaN
    ct::check(cudaMemset(device_begin_.data(), 0, begin_.size() * 4));
    ct::check(cudaMemset(device_map_.data(), 0, map_.size() * 4));
    ct::check(cudaMemset(out_.data(), watched, out_.size() * sizeof(To)));
    Ahead<A> const ahead{from_.data(), device_a_.data(), static_cast<std::int64_t>(a_.size()), begin_from_.data(), map_from_.data(), device_begin_.data(), device_map_.data(),
                         static_cast<int>(begin_.size()), static_cast<int>(map_.size())};
    ct::launch(ahead_kernel<A>, ct::Launch{.grid = dim3(3), .block = dim3(128)}, nullptr, ct::Where::here(), ahead);
  }
  std::string compared() const {
    std::vector<To> const got = out_.get();
    for (std::size_t i = 0; i < got.size(); ++i) {
      bool const stored = want_[i] != unwritten;
      if (stored ? ct::to_float(got[i]) == want_[i] : untouched(got[i])) continue;
      auto const row = static_cast<std::int64_t>(i) / out_stride(), column = static_cast<std::int64_t>(i) % out_stride();
      return "row " + std::to_string(row) + ", column " + std::to_string(column) + (stored ? " is " + std::to_string(ct::to_float(got[i])) + ", want " + std::to_string(want_[i]) : " is written");
    }
    return "";
  }

 private:
  static constexpr int before = 8, after = 2, watched = 0xa5;            // rows that belong to no group of ours
  static constexpr float unwritten = 1e30f;

  int first() const { return shape_.grouped ? 2 : 0; }                   // group 0 is empty, group 1 has the rows before ours
  int columns() const { return Paired ? static_cast<int>(device::round_up(shape_.outputs, 8)) : shape_.outputs; }
  std::int64_t out_stride() const { return columns() + (Paired ? shape_.extra_out / 8 * 8 : shape_.extra_out); }
  std::int64_t group() const { return shape_.grouped ? pack_.elements() + 64 : 0; }
  static bool untouched(To v) {
    To mark;
    std::memset(&mark, watched, sizeof mark);
    return std::memcmp(&v, &mark, sizeof v) == 0;
  }

  std::vector<std::int32_t> begins() const {
    std::vector<std::int32_t> to{0};
    if (shape_.grouped) to = {0, 0, before};
    for (int n : shape_.counts) to.push_back(to.back() + n);
    return to;
  }
  std::vector<std::int32_t> maps() {
    std::vector<std::int32_t> to;
    for (std::int64_t r = 0; r < rows_; ++r) to.push_back(shape_.gathered ? random_.below(tokens_) : static_cast<std::int32_t>(r));
    return to;
  }
  float number() { return shape_.whole ? static_cast<float>(random_.below(5) - 2) : static_cast<float>(random_.normal()); }
  std::vector<A> numbers_a() {
    std::vector<A> to(static_cast<std::size_t>((tokens_ - 1) * a_stride_ + pack_.pitch()), ct::from_float<A>(__builtin_nanf("")));
    for (std::int64_t t = 0; t < tokens_; ++t)
      for (std::int64_t i = 0; i < pack_.pitch(); ++i) to[static_cast<std::size_t>(t * a_stride_ + i)] = ct::from_float<A>(i < shape_.inputs ? number() : 0);
    return to;
  }
  std::size_t groups() const { return static_cast<std::size_t>(first()) + shape_.counts.size(); }
  // Of output o of matrix `second`, where its packed row is.
  std::int64_t packed(int second, std::int64_t o) const { return Paired ? o / 8 * 16 + second * 8 + o % 8 : o; }
  std::vector<B> numbers_b() {
    std::size_t const of_group = static_cast<std::size_t>(pack_.elements()) + 64;
    std::vector<B> to((groups() - 1) * of_group + static_cast<std::size_t>(pack_.rows() * pack_.pitch()), ct::from_float<B>(__builtin_nanf("")));
    for (std::size_t g = 0; g < groups(); ++g) {
      B* const b = &to[g * of_group];
      for (std::int64_t i = 0; i < pack_.rows() * pack_.pitch(); ++i) b[i] = B{};
      for (int m = 0; m <= Paired; ++m)
        for (std::int64_t o = 0; o < shape_.outputs; ++o)
          for (std::int64_t i = 0; i < shape_.inputs; ++i) b[packed(m, o) * pack_.pitch() + i] = ct::from_float<B>(number());
    }
    return to;
  }
  std::vector<float> biases() {
    std::vector<float> to;
    for (std::size_t i = 0; i < groups() * static_cast<std::size_t>(shape_.outputs) * (1 + Paired); ++i) to.push_back(number());
    return to;
  }
  std::vector<float> wanted() const {
    std::vector<float> to(static_cast<std::size_t>(rows_ * out_stride()), unwritten);
    std::size_t const of_group = static_cast<std::size_t>(pack_.elements()) + 64, outputs = static_cast<std::size_t>(shape_.outputs);
    std::vector<int> a(a_.size()), b(b_.size());                         // whole numbers, quick to multiply
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = integer(ct::to_float(a_[i]));
    for (std::size_t i = 0; i < b.size(); ++i) b[i] = integer(ct::to_float(b_[i]));
    for (std::size_t g = static_cast<std::size_t>(first()); g < groups(); ++g)
      for (std::int64_t r = begin_[g]; r < begin_[g + 1]; ++r)
        for (std::int64_t o = 0; o < columns(); ++o) {
          float sum[2]{};
          for (int m = 0; m <= Paired && o < shape_.outputs; ++m) {
            int const* const x = &a[static_cast<std::size_t>(map_[static_cast<std::size_t>(r)] * a_stride_)];
            int const* const w = &b[g * of_group + static_cast<std::size_t>(packed(m, o) * pack_.pitch())];
            int all = integer(bias_[(static_cast<std::size_t>(m) * groups() + g) * outputs + static_cast<std::size_t>(o)]);
            for (int i = 0; i < shape_.inputs; ++i) all += x[i] * w[i];
            sum[m] = static_cast<float>(all);
          }
          to[static_cast<std::size_t>(r * out_stride() + o)] = ct::rounded<To>(Paired ? (sum[0] > 0 ? sum[0] : 0.f) * sum[1] : sum[0]);
        }
    return to;
  }
  static int integer(float v) { return ct::is_nan(v) ? 0 : static_cast<int>(v); }

  ProductShape shape_;
  cases::Random random_;
  device::RowShape pack_;
  std::vector<std::int32_t> begin_;
  std::int64_t rows_, tokens_, a_stride_;
  std::vector<std::int32_t> map_;
  std::vector<A> a_;
  std::vector<B> b_;
  std::vector<float> bias_;
  simt::Array<A> from_, device_a_;
  simt::Array<B> device_b_;
  simt::Array<std::int32_t> begin_from_, device_begin_, map_from_, device_map_;
  simt::Array<float> device_bias_;
  simt::Array<To> out_;
  std::vector<float> want_;
};

}

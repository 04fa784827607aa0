// Grouped products of a backward pass by each kernel of each path: whole numbers, so that every one must give the very sums, at the edges of
// tiles, several times around a ring of stages, beside numbers that nobody may use.
#include <coterie/device/multiply_backward.cuh>
#include <optional>
#include "../cases.hpp"
#include "product_syncs.hpp"

namespace {
using namespace cuda_tests;
namespace device = ct::device;
using ct::Arch, ct::bf16, ct::fp16;

enum class Kernel : int { plain, mma_short, mma_tall, wgmma_short, wgmma_alternating, wgmma_tall };
constexpr char const* names[]{"plain", "mma, short", "mma, tall", "wgmma, short", "wgmma, alternating", "wgmma, tall"};
std::vector<Kernel> kernels(bool tall = true) {
  std::vector<Kernel> all{Kernel::plain, Kernel::mma_short, Kernel::mma_tall};
  if (ct::Cuda{}.device.hopper) all.insert(all.end(), {Kernel::wgmma_short, Kernel::wgmma_alternating});
  if (ct::Cuda{}.device.hopper && tall) all.push_back(Kernel::wgmma_tall);
  return all;
}
template <class P> void multiply_by(Kernel kernel, P const& p) {
  ct::Cuda const on{};
  ct::Where const at = ct::Where::here();
  if (kernel == Kernel::mma_short) return device::mma_backward<device::MmaBackwardShort>(on, p, at);
  if (kernel == Kernel::mma_tall) return device::mma_backward<device::MmaBackwardTall>(on, p, at);
  if (kernel == Kernel::wgmma_short) return device::wgmma_product<device::WgmmaBackwardShort<typename P::A>>(on, p, at);
  if (kernel == Kernel::wgmma_alternating) return device::wgmma_product<device::WgmmaBackwardAlternating<typename P::A>>(on, p, at);
  if constexpr (!device::keeps_parts<typename P::Epilogue>)
    if (kernel == Kernel::wgmma_tall) return device::wgmma_product<device::WgmmaBackwardTall<typename P::A>>(on, p, at);
  device::plain_backward(on, p, at);
}

// Sums, to each of which a number is added, and parts of rows, of the sums themselves.
struct KeepParts {
  float* to;
  int columns;
  float const* more;
  float* parts;
  struct Read { float first = 0, second = 0; };
  COTERIE_DEVICE Read read(std::int64_t row, int column) const {
    float const* const from = more + row * columns + column;
    return {column < columns ? from[0] : 0.f, column + 1 < columns ? from[1] : 0.f};
  }
  COTERIE_DEVICE float store(int, std::int64_t row, int column, float first, float second, Read const& r) const {
    float* const at = to + row * columns + column;
    if (column < columns) at[0] = first + r.first;
    if (column + 1 < columns) at[1] = second + r.second;
    return (column < columns ? first : 0.f) + (column + 1 < columns ? second : 0.f);
  }
  COTERIE_DEVICE void part(std::int64_t row, int number, float sum) const { parts[row * device::ceil_div(columns, device::part_columns) + number] = sum; }
};

struct Shape {
  std::vector<int> counts;                       // rows of each group
  int inputs, columns;
  bool grouped = true;                           // with `begin`; without, one group
  int extra = 8;                                 // between rows of both operands, beyond what they need
};
// Groups of rows: what is beside them, and after them, is NaN.
template <class V> std::vector<V> whole(cases::Random& random, std::int64_t rows, std::int64_t width, std::int64_t stride) {
  std::vector<V> to(static_cast<std::size_t>(rows * stride), ct::from_float<V>(__builtin_nanf("")));
  for (std::int64_t i = 0; i < rows * stride; ++i)
    if (i % stride < width) to[static_cast<std::size_t>(i)] = ct::from_float<V>(static_cast<float>(random.below(5) - 2));
  return to;
}
std::vector<std::int32_t> begins(std::vector<int> const& counts) {
  std::vector<std::int32_t> to{0};
  for (int n : counts) to.push_back(to.back() + n);
  return to;
}

template <class V, class E> class Case {
 public:
  explicit Case(Shape const& s)
      : shape_(s), random_{static_cast<std::uint64_t>(s.inputs)}, begin_(begins(s.counts)), rows_(begin_.back()), tokens_(rows_ / 2 + 1), a_stride_((s.inputs + 7) / 8 * 8 + s.extra), pitch_((s.columns + 7) / 8 * 8 + s.extra),
        a_(whole<V>(random_, tokens_, s.inputs, a_stride_)), b_(whole<V>(random_, std::int64_t{s.inputs} * static_cast<int>(s.counts.size()), s.columns, pitch_)), more_(whole<float>(random_, rows_ + 1, s.columns, s.columns)),
        from_(pad()), device_a_(a_.size()), device_b_(b_), device_begin_(begin_), device_more_(more_), device_map_(maps()), out_(static_cast<std::size_t>((rows_ + 1) * s.columns)),
        parts_(static_cast<std::size_t>((rows_ + 1) * device::ceil_div(s.columns, device::part_columns))) {
    sums_.assign(static_cast<std::size_t>(rows_ * s.columns), 0);
    for (std::int64_t r = 0, g = 0; r < rows_; ++r) {
      while (r >= begin_[static_cast<std::size_t>(g + 1)]) ++g;
      for (int k = 0; k < s.inputs; ++k) {
        float const a = ct::to_float(a_[static_cast<std::size_t>(map_[static_cast<std::size_t>(r)] * a_stride_ + k)]);
        V const* const b = &b_[static_cast<std::size_t>((g * s.inputs + k) * pitch_)];
        for (int n = 0; n < s.columns; ++n) sums_[static_cast<std::size_t>(r * s.columns + n)] += a * ct::to_float(b[n]);
      }
    }
  }
  std::string failure(Kernel kernel) const {
    out_.put(std::vector<float>(out_.size(), -77)), parts_.put(std::vector<float>(parts_.size(), -77));
    ahead(device_a_.data(), from_.data(), static_cast<std::int64_t>(from_.size()));
    auto const epilogue = [&] {
      if constexpr (device::keeps_parts<E>) return E{.to = out_.data(), .columns = shape_.columns, .more = device_more_.data(), .parts = parts_.data()};
      else return E{.to = out_.data(), .stride = shape_.columns, .columns = shape_.columns};
    };
    device::BackwardProduct<V, V, E> const p{.a = device_a_.data(), .a_stride = a_stride_, .map = device_map_.data(), .b = device_b_.data(), .b_group = shape_.inputs * pitch_, .b_pitch = pitch_, .inputs = shape_.inputs,
                                             .groups = {.begin = shape_.grouped ? device_begin_.data() : nullptr, .count = static_cast<int>(shape_.counts.size()), .rows = rows_}, .epilogue = epilogue()};
    multiply_by(kernel, p);
    std::vector<float> const got = out_.get(), parts = parts_.get();
    std::size_t const each = static_cast<std::size_t>(device::ceil_div(shape_.columns, device::part_columns)), columns = static_cast<std::size_t>(shape_.columns);
    for (std::size_t i = 0; i < got.size(); ++i) {
      float const want = i >= sums_.size() ? -77 : sums_[i] + (device::keeps_parts<E> ? more_[i] : 0.f);
      if (got[i] != want) return "row " + std::to_string(i / columns) + ", column " + std::to_string(i % columns) + " is " + std::to_string(got[i]) + ", want " + std::to_string(want);
    }
    for (std::size_t i = 0; device::keeps_parts<E> && i < parts.size(); ++i) {
      float want = i / each < static_cast<std::size_t>(rows_) ? 0 : -77;
      if (want == 0)
        for (std::size_t n = i % each * device::part_columns; n < columns && n < (i % each + 1) * device::part_columns; ++n) want += sums_[i / each * columns + n];
      if (parts[i] != want) return "part " + std::to_string(i % each) + " of row " + std::to_string(i / each) + " is " + std::to_string(parts[i]) + ", want " + std::to_string(want);
    }
    return "";
  }

 private:
  std::vector<std::int32_t> maps() {
    for (std::int64_t r = 0; r <= rows_; ++r) map_.push_back(random_.below(static_cast<int>(tokens_)));
    return map_;
  }
  // Behind the last input of a row of a, zeros up to a multiple of 8.
  std::vector<V> pad() {
    for (std::int64_t i = 0; i < tokens_ * a_stride_; ++i)
      if (i % a_stride_ >= shape_.inputs && i % a_stride_ < (shape_.inputs + 7) / 8 * 8) a_[static_cast<std::size_t>(i)] = ct::from_float<V>(0);
    return a_;
  }
  Shape shape_;
  cases::Random random_;
  std::vector<std::int32_t> begin_, map_;
  std::int64_t rows_, tokens_, a_stride_, pitch_;
  std::vector<V> a_, b_;
  std::vector<float> more_, sums_;
  simt::Array<V> from_, device_a_, device_b_;
  simt::Array<std::int32_t> device_begin_;
  simt::Array<float> device_more_;
  simt::Array<std::int32_t> device_map_;
  simt::Array<float> out_, parts_;
};
template <class V, class E> void exact(Shape const& shape) {
  Case<V, E> const c(shape);
  for (Kernel k : kernels(!device::keeps_parts<E>)) {
    std::string const kernel = names[static_cast<int>(k)];
    CAPTURE(kernel);
    CAPTURE(shape.inputs);
    CAPTURE(shape.columns);
    CHECK(simt::failure_of([&] { return c.failure(k); }) == "");
  }
}
using Rows = device::StoreRows<float>;

// Gradients of each group's matrix, to matrices of Element, by rows of which one operand is gathered. The rows of group 1, and those of nobody, hold
// infinities.
enum class Gathered : int { p, q, none };
template <class V, class Element> class Gradient {
 public:
  Gradient(std::vector<int> const& counts, int outputs, int inputs, Gathered gathered = Gathered::q, int extra = 8)
      : counts_(counts), outputs_(outputs), inputs_(inputs), gathered_(gathered), begin_(begins(counts)), rows_(begin_.back()), p_stride_((outputs + 7) / 8 * 8 + extra), q_stride_((inputs + 7) / 8 * 8 + extra) {
    cases::Random random{static_cast<std::uint64_t>(outputs)};
    p_ = whole<V>(random, rows_ + 1, outputs, p_stride_), q_ = whole<V>(random, rows_ + 1, inputs, q_stride_);
    for (std::int32_t r = 0; r <= rows_; ++r) map_.push_back(r);
    for (std::int64_t r = rows_ - 1; r > 0; --r) std::swap(map_[static_cast<std::size_t>(r)], map_[static_cast<std::size_t>(random.below(static_cast<int>(r + 1)))]);
    for (std::int64_t r = 0; r <= rows_; ++r) {
      if (r < rows_ && (r < begin_[1] || r >= begin_[2])) continue;
      for (int i = 0; i < outputs; ++i) p_[row(Gathered::p, r) * static_cast<std::size_t>(p_stride_) + static_cast<std::size_t>(i)] = ct::from_float<V>(__builtin_inff());
      for (int i = 0; i < inputs; ++i) q_[row(Gathered::q, r) * static_cast<std::size_t>(q_stride_) + static_cast<std::size_t>(i)] = ct::from_float<V>(-__builtin_inff());
    }
    device_p_.emplace(p_), device_q_.emplace(q_), ahead_.emplace(std::vector<V>(p_.size())), device_begin_.emplace(begin_), device_map_.emplace(map_);
    out_.emplace(static_cast<std::size_t>(static_cast<int>(counts.size()) * outputs * inputs));
  }
  std::string failure(Arch path, int overwrite) const {
    float const start = overwrite ? __builtin_nanf("") : 3;
    out_->put(std::vector<Element>(out_->size(), ct::from_float<Element>(start)));
    ahead(ahead_->data(), device_p_->data(), static_cast<std::int64_t>(p_.size()));
    device::GradientProduct<V, V, device::DenseGradient<Element>> const g{
        .p = ahead_->data(), .p_stride = p_stride_, .p_map = gathered_ == Gathered::p ? device_map_->data() : nullptr, .q = device_q_->data(), .q_stride = q_stride_,
        .q_map = gathered_ == Gathered::q ? device_map_->data() : nullptr, .outputs = outputs_, .inputs = inputs_,
        .groups = {.begin = device_begin_->data(), .count = static_cast<int>(counts_.size()), .rows = rows_},
        .to = {.data = out_->data(), .out_stride = inputs_, .in_stride = 1, .overwrite = overwrite, .group_stride = std::int64_t{outputs_} * inputs_}};
    device::add_gradient(ct::Cuda{}, path, g, ct::Where::here());
    std::vector<Element> const got = out_->get();
    std::size_t at = 0;
    for (std::size_t group = 0; group < counts_.size(); ++group)
      for (int o = 0; o < outputs_; ++o)
        for (int i = 0; i < inputs_; ++i, ++at) {
          float want = overwrite ? 0 : start;
          for (std::int64_t r = begin_[group]; r < begin_[group + 1]; ++r)
            want += ct::to_float(p_[row(Gathered::p, r) * static_cast<std::size_t>(p_stride_) + static_cast<std::size_t>(o)]) * ct::to_float(q_[row(Gathered::q, r) * static_cast<std::size_t>(q_stride_) + static_cast<std::size_t>(i)]);
          float const is = ct::to_float(got[at]), w = ct::rounded<Element>(want);
          if (is != w) return "group " + std::to_string(group) + ", output " + std::to_string(o) + ", input " + std::to_string(i) + " is " + std::to_string(is) + ", want " + std::to_string(w);
        }
    return "";
  }

 private:
  std::size_t row(Gathered of, std::int64_t r) const { return static_cast<std::size_t>(of == gathered_ ? map_[static_cast<std::size_t>(r)] : r); }
  std::vector<int> counts_;
  int outputs_, inputs_;
  Gathered gathered_;
  std::vector<std::int32_t> begin_;
  std::int64_t rows_, p_stride_, q_stride_;
  std::vector<V> p_, q_;
  std::vector<std::int32_t> map_;
  std::optional<simt::Array<V>> device_p_, device_q_, ahead_;
  std::optional<simt::Array<std::int32_t>> device_begin_, device_map_;
  std::optional<simt::Array<Element>> out_;
};
std::vector<Arch> paths() {
  std::vector<Arch> all{Arch::plain, Arch::sm_80};
  if (ct::Cuda{}.device.hopper) all.push_back(Arch::sm_90a);
  return all;
}
}

TEST_SUITE("products backwards") {
  TEST_CASE("whole numbers are exact, at every edge of a tile") {
    exact<bf16, Rows>({.counts = {0, 1, 63, 65, 129}, .inputs = 40, .columns = 72});
    exact<fp16, KeepParts>({.counts = {0, 1, 63, 65, 129}, .inputs = 40, .columns = 72});
    for (int inputs : {1, 8, 63, 65, 321}) exact<bf16, KeepParts>({.counts = {5, 0, 33}, .inputs = inputs, .columns = 33});
    for (int columns : {1, 8, 31, 127, 129, 257}) exact<bf16, KeepParts>({.counts = {70}, .inputs = 20, .columns = columns, .grouped = false}), exact<fp16, Rows>({.counts = {3, 4}, .inputs = 20, .columns = columns});
  }
  TEST_CASE("under 18 schedules, several tiles a block and several times around the ring; every synchronisation is needed") {
    // 330 inputs are 6 stages of 64, of which 4, 5 or 6 stand in shared memory.
    std::size_t const rows_needed[]{0, 0, 0, 14, 16, 15}, parts_needed[]{0, 0, 0, 14, 16};
    Case<bf16, Rows> const rows({.counts = {70, 0, 130, 20}, .inputs = 330, .columns = 200});
    Case<fp16, Rows> const narrow({.counts = {70, 0, 130}, .inputs = 400, .columns = 24});
    Case<bf16, KeepParts> const parts({.counts = {70, 0, 130}, .inputs = 330, .columns = 136});
    for (Kernel k : kernels()) {
      if (k <= Kernel::mma_tall) continue;
      std::string const kernel = names[static_cast<int>(k)];
      CAPTURE(kernel);
      auto const check = [&](auto const& c, std::size_t needed) {
        CHECK(simt::survives(18, [&] { return c.failure(k); }) == "");
        check_needed(needed, [&] { return c.failure(k); });
      };
      if (k == Kernel::wgmma_short) check(narrow, rows_needed[static_cast<int>(k)]);
      else check(rows, rows_needed[static_cast<int>(k)]);
      if (k != Kernel::wgmma_tall) check(parts, parts_needed[static_cast<int>(k)]);
    }
  }
  TEST_CASE("gradients of whole numbers are exact beside groups that are not finite") {
    for (Arch path : paths())
      for (int overwrite : {0, 1}) {
        CHECK(simt::failure_of([&] { return Gradient<bf16, float>({0, 1, 63, 64, 65, 0, 200, 3}, 72, 40).failure(path, overwrite); }) == "");
        CHECK(simt::failure_of([&] { return Gradient<fp16, bf16>({5, 70, 0, 66}, 136, 264).failure(path, overwrite); }) == "");
        CHECK(simt::failure_of([&] { return Gradient<bf16, fp16>({9, 9, 70, 130, 64}, 3, 500, Gathered::p).failure(path, overwrite); }) == "");
        CHECK(simt::failure_of([&] { return Gradient<bf16, float>({9, 9, 70, 130, 64}, 17, 9, Gathered::none).failure(path, overwrite); }) == "");
      }
  }
  TEST_CASE("gradients under 18 schedules; every synchronisation is needed") {
    if (!ct::Cuda{}.device.hopper) return;
    Gradient<bf16, float> const c({270, 1, 20, 0, 330}, 136, 264);
    for (int overwrite : {0, 1}) CHECK(simt::survives(18, [&] { return c.failure(Arch::sm_90a, overwrite); }) == "");
    check_needed(15, [&] { return c.failure(Arch::sm_90a, 0); });
  }
  TEST_CASE("memory is read and written in full sectors, shared memory without conflicts") {
    if (!ct::Cuda{}.device.hopper) return;
    Gradient<bf16, float> const c({64, 0, 100}, 128, 256, Gathered::q, 0);
    CHECK(waste_beside({}, [&] { (void)c.failure(Arch::sm_90a, 0); }) == "");
    Case<bf16, Rows> const rows({.counts = {128, 64}, .inputs = 128, .columns = 256, .extra = 0});
    Case<bf16, KeepParts> const parts({.counts = {128, 64}, .inputs = 128, .columns = 256, .extra = 0});
    for (Kernel k : {Kernel::wgmma_short, Kernel::wgmma_alternating, Kernel::wgmma_tall}) {
      CHECK(waste_beside({}, [&] { (void)rows.failure(k); }) == "");
      if (k != Kernel::wgmma_tall) CHECK(waste_beside({"product_backward.cpp"}, [&] { (void)parts.failure(k); }) == "");         // the test's own epilogue
    }
  }
}

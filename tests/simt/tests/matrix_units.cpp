// How tensor cores add: known answers of sm_80's and sm_90's (what they are: engine/half.hpp), which other devices need not give, and the bound of
// the reference, which all must keep. On a GPU the same file tests the hardware.
#include <coterie/reference/real.hpp>
#include <cuda/support.hpp>
#include "hopper.cuh"
#include "instructions.cuh"
#include "numbers.hpp"

namespace {
using namespace coterie;
using simt::Array;
std::size_t z(int i) { return static_cast<std::size_t>(i); }
constexpr auto at = [](Where w = Where::here()) { return w; };

// One mma.sync of whole matrices: a[16 x 16], b[16 x 8] by columns, c[16 x 8].
template <class T> void multiply_add(std::vector<float> const& a, std::vector<float> const& b, std::vector<float>& c) {
  std::vector<std::uint32_t> fa(128), fb(64);
  std::vector<float> fd(128);
  for (int k = 0; k < 16; ++k) {
    for (int row = 0; row < 16; ++row) fa[z((row % 8 * 4 + k % 8 / 2) * 4 + row / 8 + k / 8 * 2)] |= std::uint32_t{from_float<T>(a[z(row * 16 + k)]).bits} << k % 2 * 16;
    for (int column = 0; column < 8; ++column) fb[z((column * 4 + k % 8 / 2) * 2 + k / 8)] |= std::uint32_t{from_float<T>(b[z(column * 16 + k)]).bits} << k % 2 * 16;
  }
  auto const of_d = [](int row, int column) { return z((row % 8 * 4 + column / 2) * 4 + row / 8 * 2 + column % 2); };
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) fd[of_d(row, column)] = c[z(row * 8 + column)];
  Array<std::uint32_t> const da(fa), db(fb);
  Array<float> dd(fd);
  launch(samples::mma_kernel<T>, Launch{.grid = 1, .block = 32}, nullptr, at(), da.data(), db.data(), dd.data());
  fd = dd.get();
  for (int row = 0; row < 16; ++row)
    for (int column = 0; column < 8; ++column) c[z(row * 8 + column)] = fd[of_d(row, column)];
}

// c + the sum of 2^-12 * factor[k].
template <class T> float sum(float c, std::vector<float> const& factor) {
  std::vector<float> a(256), b(128), d(128);
  for (std::size_t k = 0; k < factor.size(); ++k) a[k] = factor[k], b[k] = 0x1p-12f;
  d[0] = c;
  multiply_add<T>(a, b, d);
  return d[0];
}
// sm_80 or sm_90: emulated both, else what is there; 0 for another.
template <class F> void on_devices(F f) {
#if defined(COTERIE_SIMT)
  for (int major : {8, 9}) {
    simt::config() = {};
    if (major == 8) simt::config().device = {.major = 8, .minor = 0, .shared = 163 * 1024};
    f(major);
    simt::config() = {};
  }
#else
  f(Cuda{}.device.minor ? 0 : Cuda{}.device.major);
#endif
}

constexpr float last = 0x1p-12f, next = 1 + 0x1p-23f;                // a factor `last` is a product of 2^-24, half an fp32's last bit beside 1
TEST_CASE_TEMPLATE("matrix units: what mma.sync keeps of small products, and what it cuts off", T, bf16, fp16) {
  on_devices([](int major) {
    if (major != 8 && major != 9) return;
    bool const ampere = major == 8;
    CAPTURE(major);
    CHECK(sum<T>(1, {1.5f * last}) == 1);                                                  // cut, not rounded
    CHECK(sum<T>(-1, {-1.5f * last}) == -1);
    CHECK(sum<T>(1, {last, last}) == next);                                                // a bit below fp32's last is kept while adding,
    CHECK(sum<T>(1, std::vector<float>(4, last / 2)) == (ampere ? 1 : next));              // or two
    CHECK(sum<T>(1, {-last / 2}) == (ampere ? 1 : 1 - 0x1p-24f));
    CHECK(sum<T>(1, {last, 0, 0, 0, 0, 0, 0, 0, last}) == (ampere ? 1 : next));            // eight products at a time, or sixteen
    CHECK(sum<T>(0x1p-25f, {0x1p12f, -0x1p12f}) == (ampere ? 0 : 0x1p-25f));
  });
}
TEST_CASE_TEMPLATE("matrix units: wgmma adds like mma.sync of sm_90", T, bf16, fp16) {
  if (Cuda{}.device.major != 9) return;
  std::vector<T> a(64 * 64), b(8 * 64);
  auto const put = [&](int k, float factor) { a[z(k)] = from_float<T>(factor), b[z(k)] = from_float<T>(0x1p-12f); };
  put(0, 0x1p12f), put(1, 1.5f * 0x1p-12f);                                                // 1
  for (int k : {16, 21, 26, 31}) put(k, 0x1p-13f);                                         // 1 + 2^-23
  put(40, 0x1p-12f);                                                                       // no more
  Array<T> da(a), db(b);
  Array<float> c(64 * 8);
  launch(samples::fill_kernel<T, 8>, Launch{.grid = 1, .block = 128, .shared = sizeof(samples::FillShared<T, 8>)}, nullptr, at(), da.data(), db.data(), c.data());
  CHECK(c.get()[0] == 1 + 0x1p-23f);
}
TEST_CASE_TEMPLATE("matrix units: sums stay inside the reference's bound", T, bf16, fp16) {
  on_devices([](int) {
    unsigned state = 7;
    auto const draw = [&](int exponents) {
      state = state * 1664525u + 1013904223u;
      return to_float(from_float<T>(std::ldexp(static_cast<float>(static_cast<int>(state >> 8) - (1 << 23)) * 0x1p-23f, -static_cast<int>(state % 97) % exponents)));
    };
    double worst = 0;
    for (int round = 0; round < 40; ++round) {
      int const inputs = 1 + 7 * (round % 7);
      std::vector<reference::Sum> want(128, reference::Sum{std::is_same_v<T, bf16> ? DType::bf16 : DType::fp16});
      std::vector<float> d(128);
      for (int first = 0; first < inputs; first += 16) {
        std::vector<float> a(256), b(128);
        for (int k = 0; k < 16 && first + k < inputs; ++k) {
          for (int row = 0; row < 16; ++row) a[z(row * 16 + k)] = draw(1 + round % 5);
          for (int column = 0; column < 8; ++column) b[z(column * 16 + k)] = draw(1 + round % 3);
          for (int i = 0; i < 128; ++i) want[z(i)].add({double{a[z(i / 8 * 16 + k)]}, 0}, {double{b[z(i % 8 * 16 + k)]}, 0});
        }
        multiply_add<T>(a, b, d);
      }
      for (int i = 0; i < 128; ++i) {
        reference::Real const is = want[z(i)].total();
        double const off = std::fabs(double{d[z(i)]} - is.value);
        CHECK(off <= is.error);
        if (off > 0) worst = std::fmax(worst, off / is.error);
      }
    }
    MESSAGE("worst |difference| / bound of a sum: " << worst);
    CHECK(worst > 0.05);                                                                   // else the bound says nothing
  });
}

}

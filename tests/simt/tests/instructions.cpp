// Every wrapper against the element map of the PTX manual, written out a second time and differently.
// On a GPU the same file tests the hardware, and records it (fragments.hpp).
#include <cuda/support.hpp>
#include <algorithm>
#include <cstring>
#include "fragments.hpp"
#include "hopper.cuh"
#include "instructions.cuh"
#include "maps.hpp"
#include "numbers.hpp"

namespace {
using namespace coterie;
using simt::Array;
using samples::MapShape;
constexpr Launch one_warp{.grid = 1, .block = 32};
constexpr auto at = [](Where w = Where::here()) { return w; };
bool hopper() { return Cuda{}.device.hopper; }   // else the instruction is not there, and traps
std::size_t z(int i) { return static_cast<std::size_t>(i); }

template <samples::Matrices How> std::vector<std::uint32_t> ldmatrix() {
  std::vector<std::uint16_t> in(256);
  for (int i = 0; i < 256; ++i) in[z(i)] = static_cast<std::uint16_t>(i);  // matrix, row, column in base 8
  Array<std::uint16_t> tile(in);
  Array<std::uint32_t> out(128);
  launch(samples::ldmatrix_kernel<How>, one_warp, nullptr, at(), tile.data(), out.data());
  return out.get();
}
TEST_CASE("instructions: ldmatrix") {
  auto const plain = ldmatrix<samples::Matrices::x4>(), transposed = ldmatrix<samples::Matrices::x4_transposed>(),
      two = ldmatrix<samples::Matrices::x2>();
  samples::check_recorded("ldmatrix_x4", plain), samples::check_recorded("ldmatrix_x4_trans", transposed), samples::check_recorded("ldmatrix_x2", two);
  for (int lane = 0; lane < 32; ++lane)
    for (int m = 0; m < 4; ++m) {
      unsigned const row = static_cast<unsigned>(lane) / 4, column = static_cast<unsigned>(lane) % 4 * 2, base = static_cast<unsigned>(m) * 64;
      CHECK(plain[z(lane * 4 + m)] == ((base + row * 8 + column) | (base + row * 8 + column + 1) << 16));
      CHECK(transposed[z(lane * 4 + m)] == ((base + column * 8 + row) | (base + (column + 1) * 8 + row) << 16));
      if (m < 2) CHECK(two[z(lane * 4 + m)] == plain[z(lane * 4 + m)]);
    }
}
TEST_CASE("instructions: stmatrix undoes ldmatrix") {
  if (!hopper()) return;
  Array<std::uint32_t> registers(ldmatrix<samples::Matrices::x4>());
  Array<std::uint16_t> out(256);
  launch(samples::stmatrix_kernel, one_warp, nullptr, at(), registers.data(), out.data());
  auto const got = out.get();
  for (int i = 0; i < 256; ++i) CHECK(got[z(i)] == i);
}

template <class T> constexpr char const* type_name = std::is_same_v<T, bf16> ? "bf16" : "fp16";
template <class T> void check_mma() {
  auto const x = samples::integers<T>(256 + 128, 5);                     // registers of noise
  std::vector<std::uint32_t> noise(128 + 64);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = x[2 * i].bits | std::uint32_t{x[2 * i + 1].bits} << 16;
  Array<std::uint32_t> const na(std::vector<std::uint32_t>(noise.begin(), noise.begin() + 128)), nb(std::vector<std::uint32_t>(noise.begin() + 128, noise.end()));
  Array<float> const nd(std::vector<float>(128, 0.5f));
  launch(samples::mma_kernel<T>, one_warp, nullptr, at(), na.data(), nb.data(), nd.data());
  samples::check_recorded(std::string("mma_m16n8k16_") + type_name<T>, nd.get());
  // Every pair (row, k), (k, column) alone: the product must appear in that element and nowhere else.
  for (int row = 0; row < 16; row += 3)
    for (int k = 0; k < 16; ++k)
      for (int column = 0; column < 8; column += 2) {
        std::vector<std::uint32_t> a(128), b(64);
        std::vector<float> d(128, 1.f);
        auto const put = [](std::vector<std::uint32_t>& v, int lane, int registers, int index, bool high, float value) {
          v[z(lane * registers + index)] |= std::uint32_t{from_float<T>(value).bits} << (high ? 16 : 0);
        };
        put(a, row % 8 * 4 + k % 8 / 2, 4, row / 8 + k / 8 * 2, k % 2, 3.f);
        put(b, column * 4 + k % 8 / 2, 2, k / 8, k % 2, -2.5f);
        Array<std::uint32_t> da(a), db(b);
        Array<float> dd(d);
        launch(samples::mma_kernel<T>, one_warp, nullptr, at(), da.data(), db.data(), dd.data());
        d[z((row % 8 * 4 + column / 2) * 4 + row / 8 * 2 + column % 2)] -= 7.5f;
        CHECK(dd.get() == d);
      }
}
TEST_CASE("instructions: mma.sync") {
  check_mma<bf16>();
  check_mma<fp16>();
}

template <class T, int N> bool products() {
  auto const a = samples::integers<T>(64 * 64, 3), b = samples::integers<T>(N * 64, 4);
  Array<T> da(a), db(b);
  Array<float> c(64 * N);
  launch(samples::fill_kernel<T, N>, Launch{.grid = 1, .block = 128, .shared = sizeof(samples::FillShared<T, N>)}, nullptr, at(), da.data(),
         db.data(), c.data());
  samples::check_recorded("wgmma_n" + std::to_string(N) + "_" + type_name<T>, c.get());
  return c.get() == samples::product(a, b, 64, N, 64);
}
TEST_CASE_TEMPLATE("instructions: wgmma of every width", T, bf16, fp16) {
  if (!hopper()) return;
  CHECK(products<T, 8>());
  CHECK(products<T, 16>());
  CHECK(products<T, 32>());
  CHECK(products<T, 64>());
  CHECK(products<T, 128>());
  CHECK(products<T, 192>());
  CHECK(products<T, 256>());
}

// A [rows x 64] matrix as [64 x rows].
template <class T> std::vector<T> transposed(std::vector<T> const& v) {
  std::size_t const rows = v.size() / 64;
  std::vector<T> r(v.size());
  for (std::size_t i = 0; i < v.size(); ++i) r[i % 64 * rows + i / 64] = v[i];
  return r;
}
template <ptx::MnMajor M, int N, class T> std::vector<float> mn_product(std::vector<T> const& a, std::vector<T> const& b) {
  constexpr bool a_mn = M != ptx::MnMajor::b, b_mn = M != ptx::MnMajor::a;
  Array<T> const da(a_mn ? transposed(a) : a), db(b_mn ? transposed(b) : b);
  Array<float> c(64 * N);
  launch(samples::mn_kernel<M, N, T>, Launch{.grid = 1, .block = 128, .shared = sizeof(samples::MnShared<T, N>)}, nullptr, at(),
         samples::rows_map(da.data(), 64, 64, 64), b_mn ? samples::rows_map(db.data(), 64, N, 64) : samples::rows_map(db.data(), N, 64, N), c.data());
  return c.get();
}
template <ptx::MnMajor M, int N, class T> void check_mn_products() {
  auto const a = samples::integers<T>(64 * 64, 3), b = samples::integers<T>(N * 64, 4);
  auto const c = mn_product<M, N>(a, b);
  samples::check_recorded("wgmma_mn" + std::to_string(static_cast<int>(M)) + "_n" + std::to_string(N) + "_" + type_name<T>, c);
  CHECK(c == samples::product(a, b, 64, N, 64));
  // Beside a unit matrix every element of the other operand must come out in its place; what it is tells its row, or its place along K.
  std::vector<T> unit_a(64 * 64), unit_b(N * 64);
  for (std::size_t i = 0; i < 64; ++i) unit_a[i * 65] = unit_b[i * 65] = from_float<T>(1);
  for (bool row : {true, false}) {
    auto const code = [&](int r, int k) { return static_cast<float>(row ? r : k); };
    std::vector<T> coded(N * 64);
    for (int i = 0; i < N * 64; ++i) coded[z(i)] = from_float<T>(code(i / 64, i % 64));
    auto const from_b = mn_product<M, N>(unit_a, coded), from_a = mn_product<M, N>(std::vector<T>(coded.begin(), coded.begin() + 64 * 64), unit_b);
    int wrong = 0;
    for (int m = 0; m < 64; ++m)
      for (int n = 0; n < N; ++n) wrong += (from_b[z(m * N + n)] != code(n, m)) + (from_a[z(m * N + n)] != (n < 64 ? code(m, n) : 0));
    CHECK(wrong == 0);
  }
}
TEST_CASE_TEMPLATE("instructions: wgmma of MN-major operands", T, bf16, fp16) {
  if (!hopper()) return;
  check_mn_products<ptx::MnMajor::a, 128, T>(), check_mn_products<ptx::MnMajor::a, 256, T>();
  check_mn_products<ptx::MnMajor::b, 128, T>(), check_mn_products<ptx::MnMajor::b, 256, T>();
  check_mn_products<ptx::MnMajor::both, 128, T>(), check_mn_products<ptx::MnMajor::both, 256, T>();
}

template <class T> void check_conversions(std::vector<float> in) {
  in.resize((in.size() + 127) / 128 * 128, 0.f);
  Array<float> from(in);
  Array<std::uint32_t> packed(in.size() / 2);
  Array<float2> back(in.size() / 2);
  launch(samples::convert_kernel<T>, Launch{.grid = static_cast<unsigned>(in.size() / 128), .block = 64}, nullptr, at(), from.data(), packed.data(),
         back.data());
  auto const p = packed.get();
  auto const f = back.get();
  int wrong = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    auto const bits = static_cast<std::uint16_t>(p[i / 2] >> i % 2 * 16);
    float const got = i % 2 ? f[i / 2].y : f[i / 2].x, want = rounded<T>(in[i]);
    wrong += std::isnan(in[i]) ? !std::isnan(to_float(T{bits})) || !std::isnan(got) : bits != from_float<T>(in[i]).bits || got != want;
  }
  CHECK(wrong == 0);
}
TEST_CASE_TEMPLATE("instructions: pack2 and unpack2", T, bf16, fp16) {
  std::vector<float> in{0.f, -0.f, NAN, -NAN, INFINITY, -INFINITY, 1e38f, -3.4e38f, 65519.f, 65520.f, 1e-8f, 5.9604645e-8f, 2.9802322e-8f, 1e-40f};
  for (unsigned i = 0; i < 65536; i += 7)        // numbers, halfway between numbers, and beside halfway
    for (unsigned low : {0u, 0x7fffu, 0x8000u, 0x8001u}) in.push_back(coterie::bit_cast<float>(i << 16 | low));
  for (unsigned i = 0; i < 65536; i += 5) in.push_back(to_float(fp16{static_cast<std::uint16_t>(i)}) * (i % 3 ? 1.f : 1.00048828125f));
  check_conversions<T>(in);
}
// The numbers of an 8-bit format by their codes from 0 up, counted and not computed from bits: steps as small as they get for the first two
// binades, twice as large in every following one. (OCP 8-bit Floating Point Specification, table 1.)
struct Fp8Format { int codes_a_binade, finite; double first; };
template <class T> constexpr Fp8Format fp8_format = std::is_same_v<T, fp8_e4m3> ? Fp8Format{8, 127, 0x1p-9} : Fp8Format{4, 124, 0x1p-16};
template <class T> std::vector<double> fp8_numbers() {
  Fp8Format const f = fp8_format<T>;
  std::vector<double> all{0};
  for (double step = f.first; static_cast<int>(all.size()) < f.finite; all.push_back(all.back() + step))
    if (all.size() % z(f.codes_a_binade) == 1 && static_cast<int>(all.size()) > 2 * f.codes_a_binade) step *= 2;
  return all;
}
// The code of the nearest number, the even one of two; the largest for what lies beyond; without the sign.
int fp8_nearest(std::vector<double> const& numbers, float v) {
  double const size = std::fabs(double{v});
  if (size >= numbers.back()) return static_cast<int>(numbers.size()) - 1;
  int const above = static_cast<int>(std::upper_bound(numbers.begin(), numbers.end(), size) - numbers.begin());
  double const middle = (numbers[z(above - 1)] + numbers[z(above)]) / 2;
  return size < middle || (size == middle && above % 2 == 1) ? above - 1 : above;
}
bool has_fp8() { return Cuda{}.device.major * 10 + Cuda{}.device.minor >= 89; }

TEST_CASE_TEMPLATE("instructions: every number of 8 bits becomes fp16", T, fp8_e4m3, fp8_e5m2) {
  if (!has_fp8()) return;
  auto const numbers = fp8_numbers<T>();
  std::vector<std::uint16_t> codes(256 * 2);
  for (int i = 0; i < 256; ++i) codes[z(i)] = static_cast<std::uint16_t>(i | (255 - i) << 8), codes[z(256 + i)] = static_cast<std::uint16_t>(i | i << 8);
  Array<std::uint16_t> in(codes);
  Array<std::uint32_t> out(codes.size());
  launch(samples::of_fp8_kernel<T>, Launch{.grid = 8, .block = 64}, nullptr, at(), in.data(), out.data());
  auto const got = out.get();
  int wrong = 0;
  for (std::size_t i = 0; i < codes.size(); ++i)
    for (int half = 0; half < 2; ++half) {
      int const code = codes[i] >> 8 * half & 255, size = code & 127;
      float const v = to_float(fp16{static_cast<std::uint16_t>(got[i] >> 16 * half)});
      if (size < fp8_format<T>.finite) wrong += std::fabs(double{v}) != numbers[z(size)] || std::signbit(v) != (code >= 128);
      else if (std::is_same_v<T, fp8_e5m2> && size == 124) wrong += !std::isinf(v) || std::signbit(v) != (code >= 128);
      else wrong += !std::isnan(v);
    }
  CHECK(wrong == 0);
}
TEST_CASE_TEMPLATE("instructions: floats become numbers of 8 bits", T, fp8_e4m3, fp8_e5m2) {
  auto const numbers = fp8_numbers<T>();
  // Two corners of the specification's table: the smallest normal number and the largest.
  constexpr bool e4m3 = std::is_same_v<T, fp8_e4m3>;
  CHECK(numbers[e4m3 ? 8 : 4] == (e4m3 ? 0x1p-6 : 0x1p-14));
  CHECK(numbers.back() == (e4m3 ? 448 : 57344));
  if (!has_fp8()) return;
  std::vector<float> in{0.f, -0.f, NAN, -NAN, INFINITY, -INFINITY, 3.4028235e38f, -3.4028235e38f, 1e-40f, -1e-45f, bit_cast<float>(0x7f800001u), bit_cast<float>(0xffffffffu)};
  auto const with_neighbours = [&](double v) {
    auto const f = static_cast<float>(v);
    for (float x : {f, std::nextafter(f, INFINITY), std::nextafter(f, -INFINITY)}) in.push_back(x), in.push_back(-x);
  };
  for (std::size_t i = 0; i < numbers.size(); ++i) {                       // numbers, and halfway to the next; 464 and 61440, behind the last, too
    with_neighbours(numbers[i]);
    with_neighbours(i + 1 < numbers.size() ? (numbers[i] + numbers[i + 1]) / 2 : numbers[i] + (numbers[i] - numbers[i - 1]) / 2);
  }
  for (unsigned i = 0; i < 65536; i += 5) in.push_back(bit_cast<float>(i << 16 | i * 2654435769u >> 16));
  in.resize((in.size() + 127) / 128 * 128, 0.f);
  Array<float> from(in);
  Array<std::uint16_t> packed(in.size() / 2);
  launch(samples::to_fp8_kernel<T>, Launch{.grid = static_cast<unsigned>(in.size() / 128), .block = 64}, nullptr, at(), from.data(), packed.data());
  auto const got = packed.get();
  int wrong = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    int const code = got[i / 2] >> i % 2 * 8 & 255;
    if (std::isnan(in[i])) wrong += (code & 127) <= (e4m3 ? 126 : 124);
    else wrong += code != ((std::signbit(in[i]) ? 128 : 0) | fp8_nearest(numbers, in[i]));
  }
  CHECK(wrong == 0);
}
TEST_CASE("instructions: powers of two and reciprocals, within units in the last place; zeros where numbers are not normal") {
  std::vector<float> in{0.f, -0.f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-40f, 1.f, 200.f, -200.f, -126.5f, 1e38f, 2e38f, -3e38f};
  while (in.size() < 64) in.push_back(-126 + 4 * static_cast<float>(in.size()) + 1 / static_cast<float>(in.size()));
  Array<float> from(in);
  Array<float2> to(in.size());
  launch(samples::special_kernel, Launch{.grid = 1, .block = 64}, nullptr, at(), from.data(), to.data());
  auto const got = to.get();
  auto const near = [](float is, double want, double ulp) {
    if (std::isnan(want)) return std::isnan(is);
    if (std::fabs(want) < 0x1p-126) return is == 0 && (want == 0 || std::signbit(is) == std::signbit(want));
    if (std::fabs(want) > 3.4028235e38) return std::isinf(is) && std::signbit(is) == std::signbit(want);
    return std::fabs(is - want) <= ulp * 0x1p-23 * std::fabs(want);
  };
  for (std::size_t i = 0; i < in.size(); ++i) {
    double const x = std::fabs(in[i]) < 0x1p-126f ? std::copysign(0., in[i]) : double{in[i]};
    CAPTURE(in[i]);
    CHECK(near(got[i].x, std::exp2(x), 2));
    CHECK(near(got[i].y, 1 / x, 1));
  }
}
TEST_CASE("instructions: loads, stores, zero fill") {
  std::vector<char> bytes(64);
  for (int i = 0; i < 64; ++i) bytes[z(i)] = static_cast<char>(i + 1);
  Array<char> in(bytes), out(std::vector<char>(64, 0));
  launch(samples::move_kernel, Launch{.grid = 1, .block = 1}, nullptr, at(), in.data(), out.data());
  std::memset(bytes.data() + 44, 0, 20);
  CHECK(out.get() == bytes);
  Array<uint4> from(std::vector<uint4>(32, uint4{1, 2, 3, 4})), to(32);
  launch(samples::zero_fill_kernel, one_warp, nullptr, at(), from.data(), to.data());
  auto const got = to.get();
  for (int i = 0; i < 32; ++i) CHECK(got[z(i)].w == (i % 2 ? 0 : 4));
}
#if defined(COTERIE_SIMT)
TEST_CASE("instructions: elect_one chooses one lane, the same each time, and not always lane 0") {
  bool other = false;
  for (int seed = 0; seed < 4; ++seed) {
    simt::config().seed = static_cast<std::uint64_t>(seed);
    Array<int> chosen(96);
    launch(samples::elect_kernel, one_warp, nullptr, at(), chosen.data());
    auto const got = chosen.get();
    int count = 0;
    for (int i = 0; i < 32; ++i) {
      count += got[z(i)];
      CHECK((got[z(i)] == got[z(i + 32)] && got[z(i)] == got[z(i + 64)]));
    }
    CHECK(count == 1);
    other = other || !got[0];
  }
  CHECK(other);
  simt::config() = {};
}
#endif
TEST_CASE("instructions: mbarrier parity") {
  if (!hopper()) return;
  Array<int> out(5);
  launch(samples::parity_kernel, Launch{.grid = 1, .block = 1}, nullptr, at(), out.data());
  CHECK(out.get() == std::vector<int>{1, 0, 0, 1, 0});
}

// ---- TMA ----
std::vector<unsigned char> numbered(std::size_t n) {
  std::vector<unsigned char> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = static_cast<unsigned char>(i * 131 >> 3 | 1);        // never zero
  return v;
}
template <int Rank> std::vector<unsigned char> box(CUtensorMap const& map, int4 where, int bytes) {
  Array<unsigned char> out(z(bytes));
  launch(samples::box_kernel<Rank>, Launch{.grid = 1, .block = 64, .shared = sizeof(samples::BoxShared)}, nullptr, at(), map, where, bytes, out.data());
  return out.get();
}
TEST_CASE("instructions: TMA boxes with every swizzle, and zeros outside") {
  if (!hopper()) return;
  constexpr int columns = 80, rows = 21, height = 16;                       // of 2 bytes
  auto const bytes = numbered(columns * rows * 2);
  Array<unsigned char> tensor(bytes);
  struct Swizzle { CUtensorMapSwizzle code; int width, period; };           // bytes of a row of the box; lines of 128 bytes until it repeats
  for (Swizzle s : {Swizzle{CU_TENSOR_MAP_SWIZZLE_NONE, 48, 1}, {CU_TENSOR_MAP_SWIZZLE_32B, 32, 2}, {CU_TENSOR_MAP_SWIZZLE_64B, 64, 4},
                    {CU_TENSOR_MAP_SWIZZLE_128B, 128, 8}})
    for (int4 where : {int4{0, 0, 0, 0}, {8, 3, 0, 0}, {-5, -2, 0, 0}, {60, 12, 0, 0}}) {
      auto const map = samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, tensor.data(),
                                           {.size = {columns, rows}, .stride = {columns * 2}, .box = {static_cast<cuuint32_t>(s.width / 2), height}},
                                           s.code);
      auto const got = box<2>(map, where, s.width * height);
      int wrong = 0;
      for (int r = 0; r < height; ++r)
        for (int c = 0; c < s.width; ++c) {
          // 16-byte columns of a row are permuted by bits of its number: all three for 128, two for 64, one for 32.
          int const permuted = (r * s.width + c) / 128 % s.period;
          int const place = r * s.width + (c ^ permuted * 16), x = where.x + c / 2, y = where.y + r;
          bool const inside = x >= 0 && x < columns && y >= 0 && y < rows;
          wrong += got[z(place)] != (inside ? bytes[z((y * columns + x) * 2 + c % 2)] : 0);
        }
      CHECK(wrong == 0);
    }
}
TEST_CASE("instructions: TMA of three dimensions, bytes and floats") {
  if (!hopper()) return;
  auto const bytes = numbered(32 * 6 * 5);
  Array<unsigned char> tensor(bytes);
  auto const map = samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT8, tensor.data(), {.size = {32, 6, 5}, .stride = {32, 32 * 6}, .box = {16, 4, 3}},
                                       CU_TENSOR_MAP_SWIZZLE_NONE);
  auto const got = box<3>(map, {16, 3, 3, 0}, 16 * 4 * 3);
  int wrong = 0;
  for (int k = 0; k < 3; ++k)
    for (int j = 0; j < 4; ++j)
      for (int i = 0; i < 16; ++i)
        wrong += got[z((k * 4 + j) * 16 + i)] != (j + 3 < 6 && k + 3 < 5 ? bytes[z(((k + 3) * 6 + j + 3) * 32 + 16 + i)] : 0);
  CHECK(wrong == 0);
  auto const floats = samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_FLOAT32, tensor.data(),
                                          {.size = {8, 6, 5}, .stride = {32, 32 * 6}, .box = {8, 6, 5}}, CU_TENSOR_MAP_SWIZZLE_NONE);
  CHECK(box<3>(floats, {0, 0, 0, 0}, 32 * 6 * 5) == bytes);
}
TEST_CASE("instructions: TMA stores drop what lies outside") {
  if (!hopper()) return;
  constexpr int columns = 64, rows = 10;
  auto const tile = numbered(32 * 8);
  Array<unsigned char> in(tile), tensor(std::vector<unsigned char>(columns * rows, 0));
  auto const map = samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT8, tensor.data(), {.size = {columns, rows}, .stride = {columns}, .box = {32, 8}},
                                       CU_TENSOR_MAP_SWIZZLE_NONE);
  launch(samples::unbox_kernel<2>, Launch{.grid = 1, .block = 64, .shared = sizeof(samples::BoxShared)}, nullptr, at(), map, int4{48, 5, 0, 0},
         32 * 8, in.data());
  auto const got = tensor.get();
  int wrong = 0;
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x) wrong += got[z(y * columns + x)] != (x >= 48 && y >= 5 ? tile[z((y - 5) * 32 + x - 48)] : 0);
  CHECK(wrong == 0);
}
TEST_CASE_TEMPLATE("instructions: MN-major sums over ragged groups", T, bf16, fp16) {
  if (!hopper()) return;
  constexpr int rows = 150;
  constexpr cuuint64_t big = cuuint64_t{1} << 30, most = (cuuint64_t{1} << 31) - 1;
  auto const a = samples::integers<T>(rows * 64, 6), b = samples::integers<T>(rows * 128, 7);
  Array<T> const da(a), db(b);
  auto const map = [&](T* base, cuuint64_t columns) {
    cuuint64_t const pitch = columns * 2;
    return samples::tensor_map(std::is_same_v<T, bf16> ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT16, base,
                               {.size = {columns, big, most, most}, .stride = {pitch, (cuuint64_t{1} << 34) - pitch, pitch}, .box = {64, 64, 1, 1}},
                               CU_TENSOR_MAP_SWIZZLE_128B);
  };
  for (int count : {1, 16, 63, 64, 65, 130}) {
    int const begin = 17;
    auto const sums = [&] {
      Array<float> c(64 * 128);
      launch(samples::ragged_kernel<T>, Launch{.grid = 1, .block = 128, .shared = sizeof(samples::MnShared<T, 128>)}, nullptr, at(),
             map(da.data(), 64), map(db.data(), 128), count, begin + count, c.data());
      auto const got = c.get();
      for (int m = 0; m < 64; ++m)
        for (int n = 0; n < 128; ++n) {
          float want = 0;
          for (int r = begin; r < begin + count; ++r) want += to_float(a[z(r * 64 + m)]) * to_float(b[z(r * 128 + n)]);
          if (got[z(m * 128 + n)] != want) return false;
        }
      return true;
    };
    CHECK(sums());
#if defined(COTERIE_SIMT)
    if (count != 130) continue;                  // several rounds
    CHECK(simt::survives(18, sums) == "");
    if (simt::checked()) CHECK(simt::unnoticed(18, sums).empty());
#endif
  }
}
TEST_CASE("instructions: one map for ragged groups, by arithmetic modulo 2^64") {
  if (!hopper()) return;
  // Rows of a packed tensor, pitch s: dimensions {columns, 2^30, 2^31 - 1, 2^31 - 1} with strides {s, 2^34 - s, s} end at row `end`
  // when the box is at {column, 2^30 - length + row, 2^30, end}.
  constexpr int columns = 32, rows = 20, pitch = columns;
  constexpr cuuint64_t big = cuuint64_t{1} << 30, most = (cuuint64_t{1} << 31) - 1;
  auto const bytes = numbered(pitch * rows);
  Array<unsigned char> tensor(bytes);
  auto const map = samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT8, tensor.data(),
                                       {.size = {columns, big, most, most}, .stride = {pitch, (cuuint64_t{1} << 34) - pitch, pitch},
                                        .box = {16, 8, 1, 1}}, CU_TENSOR_MAP_SWIZZLE_NONE);
  constexpr int begin = 4, length = 11, row = 8;                            // the last three rows of a group, and five beyond
  auto const got = box<4>(map, {16, (1 << 30) - length + row, 1 << 30, begin + length}, 16 * 8);
  int wrong = 0;
  for (int r = 0; r < 8; ++r)
    for (int c = 0; c < 16; ++c) wrong += got[z(r * 16 + c)] != (row + r < length ? bytes[z((begin + row + r) * pitch + 16 + c)] : 0);
  CHECK(wrong == 0);
  // For stores, three dimensions from a base 2^30 rows ahead: {column, 2^30 - length + row, begin + length}.
  auto const base = reinterpret_cast<unsigned char*>(reinterpret_cast<std::uintptr_t>(tensor.data()) - big * pitch);
  auto const store_map = samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_UINT8, base,
                                             {.size = {columns, big, most}, .stride = {pitch, pitch}, .box = {16, 8, 1}}, CU_TENSOR_MAP_SWIZZLE_NONE);
  Array<unsigned char> in(std::vector<unsigned char>(128, 0));
  launch(samples::unbox_kernel<3>, Launch{.grid = 1, .block = 64, .shared = sizeof(samples::BoxShared)}, nullptr, at(), store_map,
         int4{0, (1 << 30) - length + row, begin + length, 0}, 128, in.data());
  auto const after = tensor.get();
  wrong = 0;
  for (int y = 0; y < rows; ++y)
    for (int x = 0; x < columns; ++x)
      wrong += after[z(y * pitch + x)] != (x < 16 && y >= begin + row && y < begin + length ? 0 : bytes[z(y * pitch + x)]);
  CHECK(wrong == 0);
}
TEST_CASE("instructions: the driver refuses maps that the hardware cannot use") {
  Array<unsigned char> tensor(4096);
  auto const refuses = [&](void* base, MapShape const& shape, CUtensorMapSwizzle swizzle) {
    samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, base, shape, swizzle, CUDA_ERROR_INVALID_VALUE);
  };
  CHECK_NOTHROW(refuses(tensor.data() + 8, {.size = {64, 8}, .stride = {128}, .box = {64, 8}}, CU_TENSOR_MAP_SWIZZLE_128B));
  CHECK_NOTHROW(refuses(tensor.data(), {.size = {64, 8}, .stride = {120}, .box = {64, 8}}, CU_TENSOR_MAP_SWIZZLE_128B));
  CHECK_NOTHROW(refuses(tensor.data(), {.size = {128, 8}, .stride = {256}, .box = {128, 8}}, CU_TENSOR_MAP_SWIZZLE_128B));
  CHECK_NOTHROW(refuses(tensor.data(), {.size = {64, 8}, .stride = {128}, .box = {64, 257}}, CU_TENSOR_MAP_SWIZZLE_128B));
  CHECK_NOTHROW(refuses(tensor.data(), {.size = {64, 0}, .stride = {128}, .box = {64, 8}}, CU_TENSOR_MAP_SWIZZLE_128B));
  CHECK_NOTHROW(refuses(tensor.data(), {.size = {64, 8}, .stride = {128}, .box = {4, 8}}, CU_TENSOR_MAP_SWIZZLE_NONE));
}
TEST_CASE("instructions: nothing in this file was reported") { CHECK(simt::findings().empty()); }
}

// Grouped products on the GPU: whole numbers, so that every kernel of every path must give the very sums; at every edge of a tile.
#include <cmath>
#include "product_case.hpp"
#include "product_syncs.hpp"

namespace {
using namespace cuda_tests;
using ct::bf16, ct::fp16;

template <class P> void check_kernels(P const& p, std::vector<Kernel> const& all) {
  for (Kernel k : all) {
    std::string const kernel = kernel_names[static_cast<int>(k)];
    CAPTURE(kernel);
    CHECK(simt::failure_of([&] { return p.failure(k); }) == "");
  }
}
// A product in whole numbers by every kernel, under the schedule of that number.
template <class A, class B, class To, int Paired = 0> void exact(ProductShape const& shape) {
  constexpr bool mma = device::has_mma<typename ProductCase<A, B, To, Paired>::P>;
  CAPTURE(shape.inputs);
  CAPTURE(shape.outputs);
  ProductCase<A, B, To, Paired> const p{shape};
  std::vector<Kernel> all = kernels(mma);
  if (p.product().groups.rows > 100) all.erase(all.begin() + 1);         // hundreds of rows are not streamed
#if defined(COTERIE_SIMT)
  static int schedule = 0;
  simt::use_schedule(schedule++ % 18);
#endif
  check_kernels(p, all);
#if defined(COTERIE_SIMT)
  simt::config() = {};
#endif
}
template <class A, class B> void mixed() {
  for (int inputs : {1, 7, 8, 17, 250, 300}) exact<A, B, float>({.counts = {3, 0, 17, 1}, .inputs = inputs, .outputs = 11, .gathered = inputs % 2 == 1});
  exact<A, B, float>({.counts = {66}, .inputs = 33, .outputs = 130, .grouped = false});
}

__global__ void sigmoid_kernel(float const* x, float* sixteen, float* fp32) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  sixteen[i] = device::Sigmoid<bf16>::sigmoid(x[i]), fp32[i] = device::Sigmoid<float>::sigmoid(x[i]);
}

// How often a walk finds each tile.
__global__ void walk_kernel(device::Groups groups, int height, int columns, int high, int* found) {
  device::TileWalk walk{groups, height, columns};
  int const warps = static_cast<int>(gridDim.x * blockDim.x / 32), mine = static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / 32);
  for (std::int64_t number = mine;; number += warps) {
    device::Tile const tile = walk(number);
    if (tile.group < 0) return;
    if (threadIdx.x % 32) continue;
    std::int64_t const begin = groups.begin ? groups.begin[tile.group] : 0, end = groups.begin ? groups.begin[tile.group + 1] : groups.rows;
    bool const right = tile.column >= 0 && tile.column < columns && tile.end == end && tile.first >= begin && tile.first < end && (tile.first - begin) % height == 0;
    if (right) atomicAdd(&found[(std::int64_t{tile.group} * columns + tile.column) * high + (tile.first - begin) / height], 1);
    else atomicAdd(&found[0], 1000);
  }
}
std::string walk(std::vector<int> const& counts, int first, int height, int columns, unsigned blocks) {
  std::vector<std::int32_t> begin{0};
  int most = 1;
  for (int n : counts) begin.push_back(begin.back() + n), most = n > most ? n : most;
  int const high = (most + height - 1) / height, groups = static_cast<int>(counts.size());
  simt::Array<std::int32_t> const device_begin(begin);
  simt::Array<int> const found(std::vector<int>(static_cast<std::size_t>(groups * columns * high + 1)));
  device::Groups const g{.begin = device_begin.data(), .first = first, .count = groups - first, .rows = begin.back()};
  ct::launch(walk_kernel, ct::Launch{.grid = dim3(blocks), .block = dim3(64)}, nullptr, ct::Where::here(), g, height, columns, high, found.data());
  auto const got = found.get();
  std::int64_t tiles = 0;
  for (int i = 0; i < groups; ++i)
    for (int c = 0; c < columns; ++c)
      for (int h = 0; h < high; ++h) {
        int const n = counts[static_cast<std::size_t>(i)], want = i >= first && h < (n + height - 1) / height ? 1 : 0, is = got[static_cast<std::size_t>((i * columns + c) * high + h)];
        tiles += want && c == 0;
        if (is != want) return "tile " + std::to_string(h) + " of group " + std::to_string(i) + ", column " + std::to_string(c) + ": " + std::to_string(is) + " times, want " + std::to_string(want);
      }
  return tiles <= g.tiles(height) ? "" : "more tiles than the grid is sized for";
}
}

TEST_SUITE("products") {
  TEST_CASE("the walk finds every tile of every group once, whoever asks") {
    cases::Random random{3};
    for (int groups : {1, 2, 31, 32, 33, 64, 100}) {
      std::vector<int> counts;
      for (int i = 0; i < groups; ++i) counts.push_back(random.one_in(3) ? 0 : random.below(random.one_in(9) ? 300 : 20));
      for (int first : {0, groups / 2, groups - 1})
        for (unsigned blocks : {1u, 3u, 40u}) {
          CAPTURE(groups);
          CAPTURE(first);
          CAPTURE(blocks);
          CHECK(simt::failure_of([&] { return walk(counts, first, 16, 1 + groups % 5, blocks); }) == "");
        }
    }
    CHECK(simt::failure_of([] { return walk(std::vector<int>(70, 0), 0, 64, 3, 2); }) == "");            // nothing for anybody
    CHECK(simt::failure_of([] { return walk({0, 0, 1000, 0}, 0, 128, 2, 3); }) == "");
  }
  TEST_CASE("the sigmoid of 16-bit layers is as near as it says, in fp32 the host's bits") {
    std::vector<float> x{0.f, -0.f, INFINITY, -INFINITY, NAN, -86.5f, -88.f, -99.f, -103.f, -104.f, -106.f, -200.f, -1e30f, 88.f, 200.f, 1e-30f};
    while (x.size() < 2048) x.push_back(-107 + 0.1f * static_cast<float>(x.size()));
    simt::Array<float> const from(x), sixteen(x.size()), fp32(x.size());
    ct::launch(sigmoid_kernel, ct::Launch{.grid = dim3(16), .block = dim3(128)}, nullptr, ct::Where::here(), from.data(), sixteen.data(), fp32.data());
    std::vector<float> const a = sixteen.get(), b = fp32.get();
    for (std::size_t i = 0; i < x.size(); ++i) {
      CAPTURE(x[i]);
      double const want = 1 / (1 + std::exp(-double{x[i]})), allowed = (20 + std::fmin(std::fmax(double{-x[i]}, 0.), 110.)) * 0x1p-24 * want + 0x1p-149;
      if (std::isnan(x[i])) CHECK(std::isnan(a[i]));
      else CHECK(std::fabs(a[i] - want) <= (x[i] == -INFINITY ? 0 : allowed));
      if (!std::isnan(x[i])) CHECK(b[i] == ct::math::sigmoid(x[i]));
    }
  }
  TEST_CASE("whole numbers are exact, whatever the rows of a group") {
    ProductShape shape{.counts = {0, 1, 7, 63, 64, 65, 127, 129, 257}, .inputs = 40, .outputs = 72};
    exact<bf16, bf16, bf16>(shape);
    exact<fp16, fp16, fp16, 1>(shape);
    exact<float, float, float>(shape);
    shape.counts = {0, 0, 0, 130, 0}, shape.outputs = 9;
    exact<bf16, bf16, bf16, 1>(shape);
    shape.counts = {0, 0, 0};                                            // nobody has a row
    exact<bf16, bf16, bf16>(shape);
    for (int rows : {1, 7, 8, 9, 16, 17, 32, 33, 63, 65, 129}) exact<bf16, bf16, bf16, 1>({.counts = {rows}, .inputs = 24, .outputs = 20, .grouped = false, .gathered = rows % 2 == 0, .seed = rows});
    exact<bf16, bf16, float>({.counts = std::vector<int>(70, 1), .inputs = 16, .outputs = 8});           // more groups than a warp asks for at once
  }
  TEST_CASE("whole numbers are exact, whatever the inputs") {
    for (int inputs : {1, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 95, 128, 255, 321, 400}) exact<bf16, bf16, bf16>({.counts = {5, 0, 33}, .inputs = inputs, .outputs = 10, .extra_stride = 0, .seed = inputs});
    for (int inputs : {3, 65, 250}) exact<fp16, fp16, fp16, 1>({.counts = {5, 0, 33}, .inputs = inputs, .outputs = 10, .gathered = false, .seed = inputs});
  }
  TEST_CASE("whole numbers are exact, whatever the outputs and the rows between which they stand") {
    for (int outputs : {1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 255, 256, 257})
      exact<bf16, bf16, bf16>({.counts = {3, 4}, .inputs = 20, .outputs = outputs, .extra_out = outputs % 4, .seed = outputs});
    for (int outputs : {1, 8, 31, 32, 33, 63, 65, 127, 129}) exact<bf16, bf16, bf16, 1>({.counts = {3, 4}, .inputs = 20, .outputs = outputs, .extra_out = outputs % 2 * 8, .seed = outputs});
    for (int outputs : {3, 65, 130}) exact<bf16, bf16, float>({.counts = {3, 4}, .inputs = 20, .outputs = outputs, .extra_out = outputs % 2, .seed = outputs});
    for (int outputs : {5, 130}) exact<fp16, fp16, fp16, 1>({.counts = {3, 4}, .inputs = 20, .outputs = outputs, .seed = outputs});
  }
  TEST_CASE("whole numbers are exact, whatever the types") {
    mixed<float, float>(), mixed<float, bf16>(), mixed<float, fp16>();
    mixed<bf16, float>(), mixed<bf16, fp16>();
    mixed<fp16, float>(), mixed<fp16, bf16>();
  }

  TEST_CASE("under 18 schedules, several tiles a block and several times around the ring; every synchronisation is needed") {
    std::size_t const needed[]{3, 1, 4, 3, 3, 14, 15, 16};
    // 400 inputs are 7 stages of 64, of which 4 or 5 stand in shared memory; 520 are 9, of 6. The last shape has three tiles a block, that of
    // the swapped product one or two.
    ProductShape const shapes[]{{.counts = {3, 0, 66}, .inputs = 40, .outputs = 24}, {.counts = {3, 0, 9}, .inputs = 264, .outputs = 24}, {.counts = {3, 0, 66, 20}, .inputs = 400, .outputs = 190}, {.counts = {40, 0, 70}, .inputs = 300, .outputs = 24},
                                {.counts = {40, 0, 130}, .inputs = 300, .outputs = 24}, {.counts = {70, 0, 130}, .inputs = 400, .outputs = 24}, {.counts = {70, 0, 130, 20}, .inputs = 400, .outputs = 260},
                                {.counts = {70, 0, 130, 20}, .inputs = 520, .outputs = 260}};
    for (Kernel k : kernels(true)) {
      std::string const kernel = kernel_names[static_cast<int>(k)];
      CAPTURE(kernel);
      ProductCase<bf16, bf16, bf16> const p{shapes[static_cast<int>(k)]};
      ProductCase<fp16, fp16, fp16, 1> const pairs{{.counts = {9, 1}, .inputs = 40, .outputs = 9}};
      CHECK(simt::survives(18, [&] { return p.failure(k); }) == "");
      CHECK(simt::survives(18, [&] { return pairs.failure(k); }) == "");
      check_needed(needed[static_cast<int>(k)], [&] { return p.failure(k); });
    }
  }
  TEST_CASE("memory is read and written in full sectors, shared memory without conflicts") {
    auto const check = [](Kernel k, auto const& p, std::vector<std::string> const& accepted) {
      std::string const kernel = kernel_names[static_cast<int>(k)];
      CAPTURE(kernel);
      CHECK(waste_beside(accepted, [&] { (void)p.failure(k); }) == "");
    };
    for (Kernel k : kernels(true)) {
      bool const stream = k == Kernel::stream;
      ProductShape const shape{.counts = stream ? std::vector<int>{8, 8} : std::vector<int>{128, 64}, .inputs = 128, .outputs = stream ? 16 : 256, .extra_stride = 0, .extra_out = 0};
      // A warp that streams ends with one or two columns of eight rows. A fragment's four lanes have half a sector of 16-bit values, the
      // next block the other half: the cache joins them. After wgmma lanes read the bias of an even column, then that of the odd one.
      std::vector<std::string> accepted;
      if (stream) accepted = {"product.cuh"};
      if (k >= Kernel::wgmma_short) accepted = {"^product.cuh", "ffn.cuh"};
      check(k, ProductCase<bf16, bf16, float>{shape}, accepted);
      if (k == Kernel::mma_short || k == Kernel::mma_tall) accepted = {" write"};
      check(k, ProductCase<bf16, bf16, bf16>{shape}, accepted);
      check(k, ProductCase<bf16, bf16, bf16, 1>{shape}, accepted);
    }
    for (int rows : {8, 16, 32}) check(Kernel::swapped, ProductCase<bf16, bf16, bf16, 1>{{.counts = {rows, 0, 8}, .inputs = 128, .outputs = 64, .extra_stride = 0, .extra_out = 0}}, {});
    ProductShape const shape{.counts = {64, 64}, .inputs = 64, .outputs = 64, .extra_stride = 0, .extra_out = 0};
    check(Kernel::plain, ProductCase<float, float, float>{shape}, {});
    check(Kernel::plain, ProductCase<bf16, float, float>{shape}, {});
  }

#if defined(COTERIE_SIMT)                          // of tensor cores not yet confirmed
  TEST_CASE("sums have the same bits whichever operand the weights are, whatever the rows of a tile") {
    auto const check = [](auto const& p) {
      auto const want = p.stored(Kernel::swapped);
      for (Kernel k : kernels(true)) {
        if (k <= Kernel::swapped) continue;
        std::string const kernel = kernel_names[static_cast<int>(k)];
        CAPTURE(kernel);
        auto const got = p.stored(k);
        CHECK(std::memcmp(got.data(), want.data(), got.size() * sizeof got[0]) == 0);
      }
    };
    ProductShape const shape{.counts = {1, 9, 0, 17, 33, 70}, .inputs = 200, .outputs = 40, .whole = false};
    check(ProductCase<bf16, bf16, float>{shape});
    check(ProductCase<fp16, fp16, fp16, 1>{shape});
  }
#endif
  TEST_CASE("the library's choice is right on every path; rows that no 16-byte copy reads are refused, or multiplied plainly") {
    ProductCase<bf16, bf16, bf16> const p{{.counts = {3, 5}, .inputs = 72, .outputs = 20}}, unaligned{{.counts = {3, 5}, .inputs = 72, .outputs = 20, .extra_stride = 4}};
    ProductCase<float, bf16, float> const other{{.counts = {3, 5}, .inputs = 12, .outputs = 20, .extra_stride = 4}}, short_rows{{.counts = {3, 5}, .inputs = 12, .outputs = 20, .extra_stride = 2}};
    for (ct::Arch path : arches())
      for (device::Few few : {device::Few::alike, device::Few::swapped, device::Few::streamed}) {
        CAPTURE(ct::name(path));
        CAPTURE(static_cast<int>(few));
        CHECK(simt::failure_of([&] { return p.failure(path, few); }) == "");
        std::string const refused = simt::failure_of([&] { return unaligned.failure(path, few); });
        if (path == ct::Arch::plain) CHECK(refused == "");
        else CHECK(refused.find("aligned to 16 bytes") != std::string::npos);
        CHECK(simt::failure_of([&] { return other.failure(path, few); }) == "");
        CHECK(simt::failure_of([&] { return short_rows.failure(path, few); }) == "");
      }
    ProductCase<bf16, bf16, bf16> const none{{.counts = {0}, .inputs = 72, .outputs = 20, .grouped = false}};
    for (ct::Arch path : arches()) CHECK(simt::failure_of([&] { return none.failure(path, device::Few::alike); }) == "");
  }
  TEST_CASE("the weights are the M operand up to 64 rows of one group or 16 a group, unless few rows are to be multiplied as many are") {
    struct One { std::vector<int> counts; bool swapped; };
    for (One const& one : {One{{64}, true}, {{65}, false}, {{3, 0, 45}, true}, {{0, 32, 25, 0, 15}, true}, {{0, 32, 25, 0, 16}, false}})      // and 8 rows ahead of those of several groups
      for (ct::Arch path : arches())
        for (device::Few few : {device::Few::alike, device::Few::swapped}) {
          ProductCase<bf16, bf16, bf16> const p{{.counts = one.counts, .inputs = 24, .outputs = 9, .grouped = one.counts.size() > 1}};
          device::Groups const groups = p.product().groups;
          std::string const arch = ct::name(path);
          CAPTURE(arch);
          CAPTURE(groups.rows);
          bool const want = one.swapped && path != ct::Arch::plain && few == device::Few::swapped;
          CHECK((device::explain_product<bf16, bf16>(path, groups.rows, groups.count, few).find("weights as M") != std::string::npos) == want);
#if defined(COTERIE_SIMT)
          simt::clear_syncs();
#endif
          CHECK(simt::failure_of([&] { return p.failure(path, few); }) == "");
#if defined(COTERIE_SIMT)
          CHECK((one_line(simt::syncs()).find("swapped_product") != std::string::npos) == want);
#endif
        }
  }
}

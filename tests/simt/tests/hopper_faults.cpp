// Faults around mbarriers, TMA, products and programmatic registers; and instructions that the device does not have.
#include <doctest/doctest.h>
#include "../array.hpp"
#include "expect.hpp"
#include "hopper.cuh"
#include "instructions.cuh"
#include "maps.hpp"
#include "numbers.hpp"

namespace {
using namespace coterie;
using samples::check_found;
using samples::run;
using samples::run_shared;
using simt::Array;

enum class Mistake : int {
  none, no_init, too_many_arrivals, zero_count, short_bytes, read_early, never_awaited, misaligned_tile, wrong_rank, no_map, no_expect, overwrite,
  slot_not_free, other_memory
};
struct Shared { bf16 tile[2][64 * 64]; std::uint64_t bar[2]; };
template <Mistake M> __global__ void load_kernel(__grid_constant__ CUtensorMap const map, float* out) {
  auto& s = ptx::dynamic_shared<Shared>();
  if (threadIdx.x == 0) {
    if constexpr (M != Mistake::no_init) ptx::mbarrier_init(&s.bar[0], M == Mistake::zero_count ? 0 : 1);
    ptx::fence_barrier_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    if constexpr (M == Mistake::overwrite) s.tile[0][0] = {};              // and no fence
    if constexpr (M == Mistake::no_expect) ptx::mbarrier_arrive(&s.bar[0]);
    else ptx::mbarrier_arrive_expect_tx(&s.bar[0], M == Mistake::short_bytes ? 8192 + 16 : 8192);
    if constexpr (M == Mistake::too_many_arrivals) ptx::mbarrier_arrive(&s.bar[0]);
    if constexpr (M == Mistake::wrong_rank) ptx::tma_load_3d(s.tile[0], &map, &s.bar[0], 0, 0, 0);
    else if constexpr (M == Mistake::misaligned_tile) ptx::tma_load_2d(&s.tile[0][32], &map, &s.bar[0], 0, 0);
    else if constexpr (M == Mistake::other_memory) ptx::tma_load_2d(out, &map, &s.bar[0], 0, 0);
    else ptx::tma_load_2d(s.tile[0], &map, &s.bar[0], 0, 0);
    if constexpr (M == Mistake::slot_not_free) ptx::tma_load_2d(s.tile[0], &map, &s.bar[0], 0, 0);
  }
  if constexpr (M == Mistake::read_early) out[threadIdx.x] = to_float(s.tile[0][threadIdx.x]);
  if constexpr (M != Mistake::never_awaited) ptx::mbarrier_wait(&s.bar[0], 0);
  out[threadIdx.x] = M == Mistake::never_awaited ? 0 : to_float(s.tile[0][threadIdx.x]);
}
template <Mistake M> auto loading(Array<bf16> const& in, Array<float> const& out) {
  return [&] {
    CUtensorMap const map = M == Mistake::no_map ? CUtensorMap{} : samples::rows_map(in.data(), 64, 64, 64);
    run_shared(load_kernel<M>, sizeof(Shared), 64, map, out.data());
  };
}
TEST_CASE("hopper faults: mbarriers and TMA loads") {
  Array<bf16> in(samples::integers<bf16>(64 * 64, 5));
  Array<float> out(64);
  CHECK(simt::survives(18, loading<Mistake::none>(in, out)) == "");
  check_found({"on an mbarrier that was never initialised"}, loading<Mistake::no_init>(in, out));
  check_found({"mbarrier for 0 arrivals at hopper_faults.cpp:"}, loading<Mistake::zero_count>(in, out));
  check_found({"wait for an mbarrier at hopper_faults.cpp:", "(0 arrivals and 16 bytes missing)"}, loading<Mistake::short_bytes>(in, out));
  check_found({"the tile must be 128-byte aligned and inside the block's shared memory"}, loading<Mistake::misaligned_tile>(in, out));
  check_found({"the tile must be 128-byte aligned and inside the block's shared memory"}, loading<Mistake::other_memory>(in, out));
  check_found({"3 coordinates for a tensor map of rank 2"}, loading<Mistake::wrong_rank>(in, out));
  check_found({"not a tensor map"}, loading<Mistake::no_map>(in, out));
  if (!simt::checked()) return;
  check_found({"missing fence.proxy.async: thread 0 wrote shared memory at hopper_faults.cpp:"}, loading<Mistake::overwrite>(in, out));
  for (int i = 0; i < 9; ++i) {                  // what comes first depends on the schedule; that something comes must not
    simt::use_schedule(i);
    CHECK(simt::failure_of(loading<Mistake::read_early>(in, out)) != "");
    CHECK(simt::failure_of(loading<Mistake::slot_not_free>(in, out)) != "");
    CHECK(simt::failure_of(loading<Mistake::too_many_arrivals>(in, out)) != "");
    CHECK(simt::failure_of(loading<Mistake::no_expect>(in, out)) != "");
  }
  simt::config() = {.landing = simt::Landing::late};
  CHECK(simt::failure_of(loading<Mistake::never_awaited>(in, out)).find("ends with a TMA load in flight") != std::string::npos);
  simt::config() = {};
}
TEST_CASE("hopper faults: tensors that lie elsewhere") {
  Array<float> out(64);
  static bf16 host[64 * 64];
  check_found({"TMA load at hopper_faults.cpp:", "leaves device memory"}, [&] {
    run_shared(load_kernel<Mistake::none>, sizeof(Shared), 64,
           samples::tensor_map(CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
                               reinterpret_cast<void*>((reinterpret_cast<std::uintptr_t>(host) + 15) & ~std::uintptr_t{15}),
                               {.size = {64, 63}, .stride = {128}, .box = {64, 64}}, CU_TENSOR_MAP_SWIZZLE_128B), out.data());
  });
  if (!simt::checked()) return;
  Array<bf16> small(samples::integers<bf16>(64 * 60, 5)), fresh(64 * 64);
  check_found({"TMA load at hopper_faults.cpp:", "out of bounds of global memory"}, [&] {
    run_shared(load_kernel<Mistake::none>, sizeof(Shared), 64, samples::rows_map(small.data(), 64, 64, 64), out.data());
  });
  check_found({"read of uninitialised shared memory at hopper_faults.cpp:"}, loading<Mistake::none>(fresh, out));       // a copy is no use of it yet
}

// ---- products ----
enum class Slip : int { none, some_warps, read_early, outside, lanes_differ, not_whole };
struct Operands { bf16 a[64 * 64], b[64 * 64]; };
template <Slip S> __global__ void __launch_bounds__(128) product_kernel(float* out) {
  auto& s = ptx::dynamic_shared<Operands>();
  for (unsigned i = threadIdx.x; i < 512; i += blockDim.x) ptx::store16(s.a + i * 8, {}), ptx::store16(s.b + i * 8, {});
  ptx::fence_proxy_async();
  __syncthreads();
  if (S == Slip::some_warps && threadIdx.x >= 96) return;
  float d[32];
  ptx::wgmma_fence(d);
  std::uint64_t b = ptx::descriptor_k128(s.b);
  if (S == Slip::outside) b += 512 + 64;
  if (S == Slip::lanes_differ && threadIdx.x % 32 == 3) b += 2;
  ptx::wgmma_m64k16<64, bf16>(d, ptx::descriptor_k128(s.a), b, false);
  ptx::wgmma_commit();
  if (S == Slip::read_early) out[threadIdx.x] = d[threadIdx.x % 2 ? 1 : 0];
  ptx::wgmma_wait<0>(d);
  out[threadIdx.x] = S == Slip::read_early ? out[threadIdx.x] : d[0];
}
template <Slip S> std::string product(unsigned threads = 128) {
  Array<float> out(128);
  std::string failure;
  for (int i = 0; i < 9 && failure.empty(); ++i) {
    simt::use_schedule(i);
    failure = simt::failure_of([&] {
      run_shared(product_kernel<S>, sizeof(Operands), threads, out.data());
      return out.get()[0] == 0;
    });
  }
  simt::config() = {};
  return failure;
}
TEST_CASE("hopper faults: products") {
  CHECK(product<Slip::none>() == "");
  CHECK(product<Slip::some_warps>().find("are of one warpgroup and did not issue the same products") != std::string::npos);
  CHECK(product<Slip::read_early>() == "wrong result");                    // NaN until the wait
  CHECK(product<Slip::outside>().find("reads outside the block's shared memory") != std::string::npos);
  CHECK(product<Slip::lanes_differ>().find("lanes disagree") != std::string::npos);
  CHECK(product<Slip::not_whole>(96).find("needs whole warpgroups of 128 threads") != std::string::npos);
}

// MN-major operands: a and the first 64 columns of b are ones, the other 64 twos.
enum class MnSlip : int { none, k_descriptor, no_swizzle, wrong_stride, wrong_start, wrong_leading, unwritten, outside };
struct MnOperands { bf16 a[16 * 64], b[2][16 * 64]; };
template <MnSlip S> __global__ void __launch_bounds__(128) mn_product_kernel(float* out) {
  auto& s = ptx::dynamic_shared<MnOperands>();
  constexpr std::uint32_t one = 0x3f803f80, two = 0x40004000;
  ptx::store16(s.a + threadIdx.x * 8, {one, one, one, one}), ptx::store16(s.b[0] + threadIdx.x * 8, {one, one, one, one});
  if (S != MnSlip::unwritten) ptx::store16(s.b[1] + threadIdx.x * 8, {two, two, two, two});
  ptx::fence_proxy_async();
  __syncthreads();
  float d[64];
  ptx::wgmma_fence(d);
  std::uint64_t b = ptx::descriptor_mn128(s.b, S == MnSlip::wrong_leading ? 8 : 16);
  if (S == MnSlip::k_descriptor) b = ptx::descriptor_k128(s.b);
  if (S == MnSlip::no_swizzle) b &= ~(std::uint64_t{3} << 62);
  if (S == MnSlip::wrong_stride) b -= std::uint64_t{512 >> 4} << 32;
  if (S == MnSlip::wrong_start) b += 2;          // as if it were K-major
  if (S == MnSlip::outside) b += 64;
  ptx::wgmma_m64k16_mn<ptx::MnMajor::both, 128, bf16>(d, ptx::descriptor_mn128(s.a, 16), b, false);
  ptx::wgmma_commit();
  ptx::wgmma_wait<0>(d);
  out[threadIdx.x] = d[0], out[128 + threadIdx.x] = d[32];                 // columns 0 and 64, and some next to them
}
template <MnSlip S> std::string mn_product() {
  Array<float> out(256);
  std::string failure;
  for (int i = 0; i < 9 && failure.empty(); ++i) {
    simt::use_schedule(i);
    failure = simt::failure_of([&] {
      run_shared(mn_product_kernel<S>, sizeof(MnOperands), 128, out.data());
      return out.get()[0] == 16 && out.get()[128] == 32;
    });
  }
  simt::config() = {};
  return failure;
}
TEST_CASE("hopper faults: MN-major operands") {
  auto const says = [](std::string const& failure, char const* part) { return failure.find(part) != std::string::npos; };
  CHECK(mn_product<MnSlip::none>() == "");
  CHECK(says(mn_product<MnSlip::k_descriptor>(), "needs a leading byte offset (to the next 64 along M or N) that is a multiple of 1024"));
  CHECK(says(mn_product<MnSlip::no_swizzle>(), "an MN-major tile without the 128-byte swizzle is not modelled"));
  CHECK(says(mn_product<MnSlip::wrong_stride>(), "needs a stride byte offset (to the next 8 along K) that is a multiple of 1024"));
  CHECK(says(mn_product<MnSlip::wrong_start>(), "must start at a multiple of 1024 bytes"));
  CHECK(mn_product<MnSlip::wrong_leading>() == "wrong result");
  CHECK(says(mn_product<MnSlip::outside>(), "reads outside the block's shared memory"));
  if (simt::checked()) CHECK(says(mn_product<MnSlip::unwritten>(), "wgmma reads uninitialised shared memory"));
}

TEST_CASE("hopper faults: rows that nobody wrote go through a product as NaN, without a finding") {
  auto a = samples::integers<bf16>(64 * 64, 3), b = samples::integers<bf16>(64 * 64, 4);
  std::string const failure = simt::survives(9, [&] {
    Array<bf16> da(64 * 64), db(b), c(64 * 64);
    check(cudaMemcpy(da.data(), a.data(), 40 * 128, cudaMemcpyHostToDevice));
    run_shared(samples::pipeline_kernel<bf16, 64>, sizeof(samples::PipelineShared<bf16, 64>), 256,
           samples::rows_map(da.data(), 64, 64, 64), samples::rows_map(db.data(), 64, 64, 64), samples::rows_map(c.data(), 64, 64, 64), 1, 1, 1);
    auto const want = samples::product(a, b, 64, 64, 64);
    auto const got = c.get();
    for (std::size_t i = 0; i < got.size(); ++i)
      if (i < 40 * 64 ? to_float(got[i]) != rounded<bf16>(want[i]) : !is_nan(to_float(got[i]))) return false;
    return true;
  });
  CHECK(failure == "");
}

__global__ void __launch_bounds__(384, 1) greedy_kernel(int) {             // nobody gives registers back
  if (threadIdx.x >= 128) ptx::setmaxnreg_inc<240>();
}
__global__ void __launch_bounds__(384, 1) fair_kernel(int) {
  if (threadIdx.x >= 128) ptx::setmaxnreg_inc<240>();
  else ptx::setmaxnreg_dec<24>();
}
TEST_CASE("hopper faults: registers") {
  check_found({"wait for registers (setmaxnreg.inc) at hopper_faults.cpp:"}, [] { run(greedy_kernel, 1, 384, 0); });
  CHECK(simt::survives(18, [] { run(fair_kernel, 1, 384, 0); }) == "");
}

__global__ void vote_kernel(int* p) { p[threadIdx.x] = ptx::elect_one(); }
TEST_CASE("hopper faults: instructions that sm_80 does not have") {
  Array<int> p(32);
  Array<bf16> in(samples::integers<bf16>(64 * 64, 5));
  Array<float> out(64);
  auto const on_ampere = [](auto f) {
    simt::config() = {};
    simt::config().device = {.major = 8, .minor = 0, .shared = 163 * 1024};
    std::string const found = simt::failure_of(f);
    simt::config() = {};
    return found;
  };
  CHECK(on_ampere([&] { run(vote_kernel, 1, 32, p.data()); }).find("elect.sync needs sm_90, the device is sm_80") == 0);
  Array<float> const numbers(std::vector<float>(64, 1.f));
  Array<std::uint16_t> const packed(32);
  CHECK(on_ampere([&] { run(samples::to_fp8_kernel<fp8_e4m3>, 1, 32, numbers.data(), packed.data()); }).find("a conversion to fp8 needs sm_89, the device is sm_80") == 0);
  CHECK(on_ampere(loading<Mistake::none>(in, out)).find("needs sm_90, the device is sm_80") != std::string::npos);
  CHECK(on_ampere([&] {
    Array<float> c(64);
    run_shared(product_kernel<Slip::none>, sizeof(Operands), 128, c.data());
  }).find("wgmma needs sm_90") == 0);
}
}

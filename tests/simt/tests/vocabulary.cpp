// CUDA's own functions against their definition.
#include <doctest/doctest.h>
#include "../array.hpp"
#include "../schedules.hpp"

namespace {
using namespace coterie;
using simt::Array;
std::size_t z(int i) { return static_cast<std::size_t>(i); }

// A kernel made of a function of the thread: out[thread] = F{}(in[thread]).
template <class F> __global__ void apply_kernel(unsigned const* in, unsigned* out, int n) {
  int const i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < n) out[i] = F{}(in[i]);
}
template <class F> std::vector<unsigned> apply(std::vector<unsigned> const& in, unsigned block = 32) {
  Array<unsigned> from(in), to(in.size());
  launch(apply_kernel<F>, Launch{.grid = (static_cast<unsigned>(in.size()) + block - 1) / block, .block = block}, nullptr, Where::here(), from.data(),
         to.data(),
         static_cast<int>(in.size()));
  return to.get();
}
std::vector<unsigned> counted(int n = 32) {
  std::vector<unsigned> v(z(n));
  for (int i = 0; i < n; ++i) v[z(i)] = static_cast<unsigned>(100 + i);
  return v;
}
// Expects that lane i got what `from(i)` says of 100 + lane.
template <class F, class From> void check_lanes(From from) {
  auto const got = apply<F>(counted());
  for (int i = 0; i < 32; ++i) CHECK(got[z(i)] == static_cast<unsigned>(100 + from(i)));
}

struct Shfl { unsigned operator()(unsigned v) const { return __shfl_sync(~0u, v, 5); } };
struct ShflOfEight { unsigned operator()(unsigned v) const { return __shfl_sync(~0u, v, 5, 8); } };
struct Xor { unsigned operator()(unsigned v) const { return __shfl_xor_sync(~0u, v, 3); } };
struct XorOfFour { unsigned operator()(unsigned v) const { return __shfl_xor_sync(~0u, v, 5, 4); } };
struct Up { unsigned operator()(unsigned v) const { return __shfl_up_sync(~0u, v, 3u); } };
struct UpOfEight { unsigned operator()(unsigned v) const { return __shfl_up_sync(~0u, v, 3u, 8); } };
struct Down { unsigned operator()(unsigned v) const { return __shfl_down_sync(~0u, v, 3u); } };
struct DownOfEight { unsigned operator()(unsigned v) const { return __shfl_down_sync(~0u, v, 3u, 8); } };
TEST_CASE("vocabulary: shuffles") {
  check_lanes<Shfl>([](int) { return 5; });
  check_lanes<ShflOfEight>([](int i) { return i / 8 * 8 + 5; });
  check_lanes<Xor>([](int i) { return i ^ 3; });
  check_lanes<XorOfFour>([](int i) { return (i ^ 5) / 4 * 4 > i ? i : i ^ 5; });         // a later segment cannot be read, an earlier can
  check_lanes<Up>([](int i) { return i < 3 ? i : i - 3; });
  check_lanes<UpOfEight>([](int i) { return i % 8 < 3 ? i : i - 3; });
  check_lanes<Down>([](int i) { return i > 28 ? i : i + 3; });
  check_lanes<DownOfEight>([](int i) { return i % 8 > 4 ? i : i + 3; });
}

struct Sixty { unsigned operator()(unsigned v) const { return static_cast<unsigned>(__shfl_xor_sync(~0u, std::uint64_t{v} << 32 | v, 1) >> 32); } };
struct Half { unsigned operator()(unsigned v) const { return threadIdx.x < 16 ? __shfl_sync(0xffffu, v, 0) : __shfl_sync(0xffff0000u, v, 31); } };
TEST_CASE("vocabulary: shuffles of 64 bits, and of parts of a warp") {
  check_lanes<Sixty>([](int i) { return i ^ 1; });
  check_lanes<Half>([](int i) { return i < 16 ? 0 : 31; });
}

struct Ballot { unsigned operator()(unsigned v) const { return __ballot_sync(~0u, v % 3 == 0); } };
struct Any { unsigned operator()(unsigned v) const { return __any_sync(~0u, v == 131) + 2 * __any_sync(~0u, v == 5); } };
struct All { unsigned operator()(unsigned v) const { return __all_sync(~0u, v >= 100) + 2 * __all_sync(~0u, v > 100); } };
struct Match { unsigned operator()(unsigned v) const { return __match_any_sync(~0u, v % 5); } };
struct MatchAll {
  unsigned operator()(unsigned v) const {
    int same;
    unsigned const peers = __match_all_sync(~0u, v / 1000, &same);
    return same ? peers : 0;
  }
};
TEST_CASE("vocabulary: votes and matches") {
  unsigned thirds = 0;
  for (unsigned i = 0; i < 32; ++i) thirds |= static_cast<unsigned>((100 + i) % 3 == 0) << i;
  for (unsigned v : apply<Ballot>(counted())) CHECK(v == thirds);
  for (unsigned v : apply<Any>(counted())) CHECK(v == 1);
  for (unsigned v : apply<All>(counted())) CHECK(v == 1);
  for (unsigned v : apply<MatchAll>(counted())) CHECK(v == ~0u);
  auto const peers = apply<Match>(counted());
  for (unsigned i = 0; i < 32; ++i)
    for (unsigned j = 0; j < 32; ++j) CHECK((peers[i] >> j & 1) == (i % 5 == j % 5));
}

struct Sum { unsigned operator()(unsigned v) const { return __reduce_add_sync(~0u, v); } };
struct Least { unsigned operator()(unsigned v) const { return static_cast<unsigned>(__reduce_min_sync(~0u, 110 - static_cast<int>(v))); } };
struct Most { unsigned operator()(unsigned v) const { return __reduce_max_sync(~0u, v ^ 0x80000000u); } };
struct Bits { unsigned operator()(unsigned v) const { return __reduce_or_sync(~0u, v) ^ __reduce_and_sync(~0u, v) ^ __reduce_xor_sync(~0u, v); } };
TEST_CASE("vocabulary: reductions") {
  for (unsigned v : apply<Sum>(counted())) CHECK(v == 100 * 32 + 31 * 16);
  for (unsigned v : apply<Least>(counted())) CHECK(static_cast<int>(v) == -21);
  for (unsigned v : apply<Most>(counted())) CHECK(v == (131 ^ 0x80000000u));
  unsigned any = 0, all = ~0u, odd = 0;
  for (unsigned v : counted()) any |= v, all &= v, odd ^= v;
  for (unsigned v : apply<Bits>(counted())) CHECK(v == (any ^ all ^ odd));
}

struct Votes {
  unsigned operator()(unsigned v) const {
    return static_cast<unsigned>(__syncthreads_count(v % 2 == 0) * 4 + (__syncthreads_and(v >= 100) != 0) * 2 + (__syncthreads_or(v == 7) != 0));
  }
};
TEST_CASE("vocabulary: votes of a block") {
  for (unsigned v : apply<Votes>(counted(96), 96)) CHECK(v == 48 * 4 + 2);
}

__global__ void atomics_kernel(int* i, unsigned* u, float* f) {
  atomicAdd(&i[0], 2), atomicSub(&i[1], 1), atomicMin(&i[2], -static_cast<int>(threadIdx.x)), atomicMax(&i[3], static_cast<int>(threadIdx.x));
  atomicAnd(&u[0], ~(1u << threadIdx.x % 32)), atomicOr(&u[1], 1u << threadIdx.x % 32), atomicXor(&u[2], 1u << threadIdx.x % 32);
  atomicInc(&u[3], 9u), atomicDec(&u[4], 9u), atomicExch(&u[5], 77u);
  atomicAdd(f, 0.5f);
  for (unsigned old = u[6], seen; (seen = atomicCAS(&u[6], old, old + 3)) != old;) old = seen;
}
TEST_CASE("vocabulary: atomics") {
  for (int schedule = 0; schedule < 6; ++schedule) {
    simt::use_schedule(schedule);
    Array<int> i(std::vector<int>{0, 0, 5, 5});
    Array<unsigned> u(std::vector<unsigned>{~0u, 0, 0, 0, 0, 0, 1});
    Array<float> f(std::vector<float>{0.f});
    launch(atomics_kernel, Launch{.grid = 1, .block = 64}, nullptr, Where::here(), i.data(), u.data(), f.data());
    CHECK(i.get() == std::vector<int>{128, -64, -63, 63});
    CHECK(u.get() == std::vector<unsigned>{0, ~0u, 0, 4, 6, 77, 193});
    CHECK(f.get()[0] == 32.f);
  }
  simt::clear_findings();                        // u[6] is read without an atomic, on purpose
  simt::config() = {};
}

struct BitTricks {
  unsigned operator()(unsigned v) const {
    int const right = (__brev(1u) == 0x80000000u) + (__ffs(0) == 0) + (__umulhi(0x80000000u, 6) == 3) + (__byte_perm(0x33221100u, 0x77665544u, 0x7531u) == 0x77553311u) +
                      (__funnelshift_l(0x80000000u, 1u, 4) == 0x18u) + (__funnelshift_r(0x12345678u, 0x9u, 4) == 0x91234567u);
    return static_cast<unsigned>(__popc(v) + 100 * __clz(static_cast<int>(v)) + 10000 * __ffs(static_cast<int>(v)) + right);
  }
};
TEST_CASE("vocabulary: bits") { CHECK(apply<BitTricks>({0x00f0u})[0] == 4u + 100 * 24 + 10000 * 5 + 6); }

__global__ void indices_kernel(unsigned* out) {
  unsigned const thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z),
      block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  atomicAdd(&out[block * blockDim.x * blockDim.y * blockDim.z + thread], 1u);
}
TEST_CASE("vocabulary: indices of three dimensions") {
  Array<unsigned> out(std::vector<unsigned>(2 * 3 * 2 * 4 * 2 * 3, 0));
  launch(indices_kernel, Launch{.grid = dim3(2, 3, 2), .block = dim3(4, 2, 3)}, nullptr, Where::here(), out.data());
  for (unsigned v : out.get()) CHECK(v == 1);
}
}

// Correct kernels: no schedule breaks them and nothing is reported; without any one of their synchronisations something is.
#include <doctest/doctest.h>
#include <algorithm>
#include <numeric>
#include "../array.hpp"
#include "../schedules.hpp"
#include "collectives.cuh"
#include "hopper.cuh"
#include "maps.hpp"
#include "matrices.cuh"
#include "numbers.hpp"

namespace {
using namespace coterie;
using simt::Array;
constexpr cudaStream_t stream = nullptr;
constexpr int schedules = 18;

std::vector<float> whole_numbers(int n) {
  std::vector<float> v(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) v[static_cast<std::size_t>(i)] = static_cast<float>(i * 37 % 101 - 50);
  return v;
}

bool block_sum() {
  auto const x = whole_numbers(3000);
  Array<float> in(x), out(4);
  launch(samples::block_sum_kernel<256>, Launch{.grid = 4, .block = 256}, stream, Where::here(), in.data(), out.data(), 3000);
  auto const sums = out.get();
  return std::accumulate(sums.begin(), sums.end(), 0.f) == std::accumulate(x.begin(), x.end(), 0.f);
}
bool top_k() {
  constexpr int E = 96, K = 7, rows = 21;
  auto const x = whole_numbers(E * rows);        // with ties
  Array<float> in(x);
  Array<int> index(K * rows);
  launch(samples::top_k_kernel<E, K>, Launch{.grid = (rows + 3) / 4, .block = 128}, stream, Where::here(), in.data(), rows, index.data());
  auto const got = index.get();
  for (int r = 0; r < rows; ++r) {
    std::vector<int> want(E);
    std::iota(want.begin(), want.end(), 0);
    std::stable_sort(want.begin(), want.end(),
                     [&](int a, int b) { return x[static_cast<std::size_t>(r * E + a)] > x[static_cast<std::size_t>(r * E + b)]; });
    if (!std::equal(want.begin(), want.begin() + K, got.begin() + r * K)) return false;
  }
  return true;
}
bool sort() {
  constexpr int n = 300, values = 64;
  std::vector<int> e(n);
  for (int i = 0; i < n; ++i) e[static_cast<std::size_t>(i)] = i * i * 7 % 61;
  Array<int> in(e), begin(values + 1), order(n);
  launch(samples::sort_kernel, Launch{.grid = 1, .block = 256, .shared = sizeof(samples::SortShared)}, stream, Where::here(), in.data(), n, values,
         begin.data(), order.data());
  std::vector<int> want(n);
  std::iota(want.begin(), want.end(), 0);
  std::stable_sort(want.begin(), want.end(), [&](int a, int b) { return e[static_cast<std::size_t>(a)] < e[static_cast<std::size_t>(b)]; });
  return order.get() == want && begin.get()[values] == n;
}
bool hand_over() {
  std::vector<int> numbers(128);
  std::iota(numbers.begin(), numbers.end(), 0);
  Array<int> in(numbers), out(128);
  launch(samples::hand_over_kernel, Launch{.grid = 1, .block = 64}, stream, Where::here(), in.data(), out.data(), 4);
  auto const got = out.get();
  for (int i = 0; i < 128; ++i)
    if (got[static_cast<std::size_t>(i)] != i / 32 * 32 + 31 - i % 32) return false;
  return true;
}
bool last_block() {
  constexpr int blocks = 5, threads = 64;
  auto const x = whole_numbers(blocks * threads);
  Array<float> in(x), parts(blocks * threads), out(threads);
  Array<unsigned> done(std::vector<unsigned>{0});
  for (int round = 0; round < 2; ++round)
    launch(samples::last_block_kernel, Launch{.grid = blocks, .block = threads}, stream, Where::here(), in.data(), parts.data(), done.data(),
           out.data());
  auto const got = out.get();
  for (int t = 0; t < threads; ++t) {
    float want = 0;
    for (int b = 0; b < blocks; ++b) want += 2 * x[static_cast<std::size_t>(b * threads + t)];
    if (got[static_cast<std::size_t>(t)] != want) return false;
  }
  return done.get()[0] == 0;
}
bool turnstile() {
  constexpr int blocks = 6, threads = 64;
  auto const x = whole_numbers(blocks * threads);
  Array<float> in(x), sum(std::vector<float>(threads, 0.f));
  Array<unsigned> tickets(std::vector<unsigned>{0}), turn(std::vector<unsigned>{0});
  launch(samples::turnstile_kernel, Launch{.grid = blocks, .block = threads}, stream, Where::here(), in.data(), sum.data(), tickets.data(),
         turn.data());
  auto const got = sum.get();
  for (int t = 0; t < threads; ++t) {
    float want = 0;
    for (int b = 0; b < blocks; ++b) want += x[static_cast<std::size_t>(b * threads + t)];
    if (got[static_cast<std::size_t>(t)] != want) return false;
  }
  return true;
}
template <class T> bool ring_gemm() {
  constexpr int m = 128, n = 64, k = 256;
  auto const a = samples::integers<T>(m * k, 1), b = samples::integers<T>(n * k, 2);
  Array<T> da(a), db(b);
  Array<float> c(m * n);
  launch(samples::ring_gemm_kernel<T>, Launch{.grid = dim3(n / 64, m / 64), .block = 128, .shared = sizeof(samples::RingShared<T>)}, stream,
         Where::here(),
         da.data(), db.data(), c.data(), n, k);
  return c.get() == samples::product(a, b, m, n, k);
}
template <class T, int N> bool pipeline() {
  constexpr int m = 192, n = 2 * N, k = 320;
  auto const a = samples::integers<T>(m * k, 1), b = samples::integers<T>(n * k, 2);
  Array<T> da(a), db(b), c(m * n);
  launch(samples::pipeline_kernel<T, N>, Launch{.grid = 2, .block = 256, .shared = sizeof(samples::PipelineShared<T, N>)}, stream, Where::here(),
         samples::rows_map(da.data(), m, k, 64), samples::rows_map(db.data(), n, k, N), samples::rows_map(c.data(), m, n, 64), m / 64, n / N, k / 64);
  auto const want = samples::product(a, b, m, n, k);
  auto const got = c.get();
  for (std::size_t i = 0; i < want.size(); ++i)
    if (to_float(got[i]) != rounded<T>(want[i])) return false;
  return true;
}
template <class T, int N> bool fill() {
  auto const a = samples::integers<T>(64 * 64, 3), b = samples::integers<T>(N * 64, 4);
  Array<T> da(a), db(b);
  Array<float> c(64 * N);
  launch(samples::fill_kernel<T, N>, Launch{.grid = 1, .block = 128, .shared = sizeof(samples::FillShared<T, N>)}, stream, Where::here(), da.data(),
         db.data(), c.data());
  return c.get() == samples::product(a, b, 64, N, 64);
}

struct Sample { char const* name; bool (*run)(); };
constexpr Sample all[]{{"block sum", block_sum}, {"top k", top_k}, {"sort", sort}, {"hand over", hand_over}, {"last block", last_block},
                       {"turnstile", turnstile}, {"ring bf16", ring_gemm<bf16>}, {"ring fp16", ring_gemm<fp16>}, {"fill bf16 64", fill<bf16, 64>},
                       {"fill fp16 192", fill<fp16, 192>},
                       {"pipeline bf16 64", pipeline<bf16, 64>}, {"pipeline fp16 128", pipeline<fp16, 128>}};

TEST_CASE("samples: correct kernels survive every schedule, and nothing is reported") {
  for (Sample const& sample : all) {
    INFO(sample.name);
    CHECK(simt::survives(schedules, sample.run) == "");
  }
}
TEST_CASE("samples: each synchronisation is missed when it is deleted") {
  if (!simt::checked()) return;                  // values alone cannot show all of them
  for (Sample const& sample : all) {
    INFO(sample.name);
    auto const unnoticed = simt::unnoticed(6, sample.run);
    for (std::string const& name : unnoticed) CHECK(name == "");
    CHECK(unnoticed.empty());
  }
}
TEST_CASE("samples: the same seed gives the same schedule") {
  simt::config() = {.seed = 42, .resident = 3};
  auto const count = [](bool (*run)()) {
    simt::clear_findings();
    auto const before = simt::statistics().switches;
    CHECK(run());
    return simt::statistics().switches - before;
  };
  CHECK(count(sort) == count(sort));
  CHECK(count(turnstile) == count(turnstile));
  simt::config() = {};
}
}

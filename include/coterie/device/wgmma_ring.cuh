// What kernels of wgmma share: a ring of stages in shared memory, which a warpgroup of producers fills by cp.async and TMA, and from which one or
// two warpgroups of consumers multiply, and the way of sums to memory. A stage is full when what TMA brings has landed and every producer thread has seen its own copies land,
// which it says one stage late, so that copies of the next stage are under way meanwhile.
//
// A tile type T: stages; depth, of a stage, a multiple of 16; blocks of 64 rows and columns of a consumer; consumers; alternating; full[stages], empty[stages];
//   multiply(sum, stage, first, i, accumulate): inputs 16 i ... of a stage, 64 rows from `first` on, into a block of sums
#pragma once
#include "gradient_product.cuh"
#include "tensor_map.cuh"

namespace coterie { inline namespace v0 { namespace device { inline namespace COTERIE_CUDA_BUILD {

inline constexpr int wgmma_shared = 227 * 1024;    // what a block may have on 9.0

// Where a ring of stages stands; phase is the parity of the barriers' rounds.
struct Ring {
  int stage = 0;
  unsigned phase = 0;
  template <int Stages> COTERIE_DEVICE void next() {
    if (++stage == Stages) stage = 0, phase ^= 1;
  }
  template <int Stages> COTERIE_DEVICE void skip(int steps) {
    int const at = stage + steps;
    phase ^= static_cast<unsigned>(at / Stages) & 1;
    stage = at % Stages;
  }
};

// By one thread, before the barrier that tells the others.
template <class T> COTERIE_DEVICE void init_ring(T& s) {
  for (int i = 0; i < T::stages; ++i) {
    ptx::mbarrier_init(&s.full[i], 1 + 128);     // who expects TMA's bytes, and every producer thread
    ptx::mbarrier_init(&s.empty[i], 4 * (T::alternating ? 1 : T::consumers));       // a warp can vouch for its own products only
  }
}

// What a producer thread has copied by cp.async, and not yet vouched for.
template <class T> class Copies {
 public:
  COTERIE_DEVICE explicit Copies(T& s) : s_(s) {}
  // All of this thread's copies to a stage are under way.
  COTERIE_DEVICE void issued(int stage) {
    ptx::cp_async_commit();
    if (behind_ >= 0) {
      COTERIE_SYNC("wgmma: copies have landed", ptx::cp_async_wait<1>());
      vouch();
    }
    behind_ = stage;
  }
  COTERIE_DEVICE void finish() {
    COTERIE_SYNC("wgmma: last copies have landed", ptx::cp_async_wait<0>());
    if (behind_ >= 0) vouch();
  }

 private:
  COTERIE_DEVICE void vouch() {
    COTERIE_SYNC("wgmma: copies are seen by wgmma", ptx::fence_proxy_async());
    COTERIE_SYNC("wgmma: copies are vouched for", ptx::mbarrier_arrive(&s_.full[behind_]));
  }
  T& s_;
  int behind_ = -1;                                // a stage
};

// A consumer's sums over `steps` (not 0) stages, of its rows from `first` on. any: whether it has rows; who has none gives stages back only.
template <class T> COTERIE_DEVICE void multiply_stages(T& s, Ring& ring, int steps, int first, bool any, float (&acc)[T::blocks][T::columns / 2]) {
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    COTERIE_SYNC("wgmma: stage is full", ptx::mbarrier_wait(&s.full[ring.stage], ring.phase));
    if (any) {
#pragma unroll
      for (int m = 0; m < T::blocks; ++m) COTERIE_SYNC("wgmma: accumulators before products", ptx::wgmma_fence(acc[m]));
#pragma unroll
      for (int i = 0; i < T::depth / 16; ++i)
#pragma unroll
        for (int m = 0; m < T::blocks; ++m) s.multiply(acc[m], ring.stage, first + m * 64, i, (step | i) != 0);
      ptx::wgmma_commit();
#pragma unroll
      for (int m = 0; m < T::blocks; ++m) COTERIE_SYNC("wgmma: products are over", ptx::wgmma_wait<0>(acc[m]));
    } else {                                     // products keep a warp together; here a lane could fall two rounds behind
      COTERIE_SYNC("wgmma: the warp has seen the stage", __syncwarp());
    }
    if (threadIdx.x % 32 == 0) COTERIE_SYNC("wgmma: stage is given back", ptx::mbarrier_arrive(&s.empty[ring.stage]));
    ring.template next<T::stages>();
  }
}

// A warp's sums of 16 rows, by eight rows x 128 columns through its own `sums`, where sum_at() has them: store(row, column) then finds those from
// that row of the 16 and that column on. `rows`: how many there are of the 16. So what is done to a sum stands in the code a few times, in loops,
// and not once for each of a thread's sums, and a warp stores neighbouring columns.
inline constexpr int buffered_rows = 8, buffered_columns = 128;
template <int Columns, class Store> COTERIE_DEVICE void through_shared(float const (&acc)[Columns / 2], std::int64_t rows, float* sums, Store const& store) {
  int const lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int half = 0; half < Columns / buffered_columns; ++half)
#pragma unroll
    for (int upper = 0; upper < 2; ++upper) {
      if (upper * buffered_rows >= rows) continue;
#pragma unroll
      for (int low = 0; low < 4; ++low) {        // blocks of eight columns that are four apart are at fixed distances
        float* const at = &sums[sum_at(lane / 4, low * 8 + lane % 4 * 2)];
#pragma unroll
        for (int j = low; j < buffered_columns / 8; j += 4) {
          float const* const from = &acc[half * 64 + 4 * j + upper * 2];
          store_two(at + (j - low) * 8, from[0], from[1], true);
        }
      }
      COTERIE_SYNC("wgmma: sums are the warp's", __syncwarp());
      store(upper * buffered_rows, half * buffered_columns);
      COTERIE_SYNC("wgmma: sums are read", __syncwarp());
    }
}

}}}}

// What kernels of wgmma share: a ring of stages in shared memory, which a warpgroup of producers fills by cp.async and TMA, and from which one or
// two warpgroups of consumers multiply. A stage is full when what TMA brings has landed and every producer thread has seen its own copies land,
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

// This thread's sums of 128 columns of one of a warp's eight rows, column block j at from[4 * j], to shared memory as sum_at(0, 0) ... has them.
COTERIE_DEVICE void stage_fragments(float const* from, float* to) {
  int const lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
  for (int low = 0; low < 4; ++low) {            // blocks that are four apart are at fixed distances
    float* const at = &to[sum_at(lane / 4, low * 8 + lane % 4 * 2)];
#pragma unroll
    for (int j = low; j < 16; j += 4) store_two(at + (j - low) * 8, from[4 * j], from[4 * j + 1], true);
  }
}

}}}}

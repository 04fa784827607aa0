// mbarriers and TMA: bulk copies of tiles that a tensor map describes. Part of ptx.cuh; include that. TMA and expect_tx need
// sm_90 and trap below it.
#pragma once

namespace coterie { inline namespace v0 { namespace ptx {

// How long the L2 cache should keep what a copy reads.
enum class L2 : std::uint64_t { normal = 0x1000000000000000u, evict_first = 0x12F0000000000000u, evict_last = 0x14F0000000000000u };

// A phase of the barrier is over when `count` arrivals and all expected bytes are in. Fresh: wait(bar, 1) passes, wait(bar, 0) waits.
COTERIE_DEVICE void mbarrier_init(std::uint64_t* bar, unsigned count) {
  asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(bar)), "r"(count) : "memory");
}
COTERIE_DEVICE void mbarrier_arrive(std::uint64_t* bar) {
  asm volatile("{\n.reg .b64 s;\nmbarrier.arrive.shared.b64 s, [%0];\n}" ::"r"(shared_address(bar)) : "memory");
}
// Arrives, and makes the current phase wait for this many bytes of bulk copies.
COTERIE_DEVICE void mbarrier_arrive_expect_tx(std::uint64_t* bar, unsigned bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(shared_address(bar)), "r"(bytes) : "memory");
#else
  __trap();
#endif
}
// Is the phase of this parity over?
COTERIE_DEVICE bool mbarrier_test(std::uint64_t* bar, unsigned parity) {
  std::uint32_t over;
  asm volatile("{\n.reg .pred p;\n"
#if __CUDA_ARCH__ >= 900
               "mbarrier.try_wait.parity.shared.b64 p, [%1], %2;\n"
#else
               "mbarrier.test_wait.parity.shared.b64 p, [%1], %2;\n"
#endif
               "selp.u32 %0, 1, 0, p;\n}"
               : "=r"(over) : "r"(shared_address(bar)), "r"(parity) : "memory");
  return over;
}
COTERIE_DEVICE void mbarrier_wait(std::uint64_t* bar, unsigned parity) {
  while (!mbarrier_test(bar, parity)) {}
}

// After mbarrier_init, by the initialising thread, before the barrier that tells the others.
COTERIE_DEVICE void fence_barrier_init() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
// Between ordinary writes to shared memory and the barrier before TMA or wgmma read them; by every thread that wrote.
COTERIE_DEVICE void fence_proxy_async() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

COTERIE_DEVICE void tma_prefetch_map(CUtensorMap const* map) {
#if __CUDA_ARCH__ >= 900
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
#endif
}
// The box at coordinates c (innermost first) into shared memory; elements outside are zeros, and the full box's bytes arrive at bar.
COTERIE_DEVICE void tma_load_2d(void* to, CUtensorMap const* map, std::uint64_t* bar, int c0, int c1, L2 keep = L2::normal) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4}], [%2], %5;"
               ::"r"(shared_address(to)), "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1), "l"(keep) : "memory");
#else
  __trap();
#endif
}
COTERIE_DEVICE void tma_load_3d(void* to, CUtensorMap const* map, std::uint64_t* bar, int c0, int c1, int c2, L2 keep = L2::normal) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4, %5}], [%2], %6;"
               ::"r"(shared_address(to)), "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1), "r"(c2), "l"(keep) : "memory");
#else
  __trap();
#endif
}
// Four dimensions: a map whose bounds end at the end of a group of rows is one.
COTERIE_DEVICE void tma_load_4d(void* to, CUtensorMap const* map, std::uint64_t* bar, int c0, int c1, int c2, int c3, L2 keep = L2::normal) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1, {%3, %4, %5, %6}], [%2], %7;"
               ::"r"(shared_address(to)), "l"(map), "r"(shared_address(bar)), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "l"(keep) : "memory");
#else
  __trap();
#endif
}
// A box from shared memory to the tensor; elements outside are dropped.
COTERIE_DEVICE void tma_store_2d(CUtensorMap const* map, void const* from, int c0, int c1) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%2, %3}], [%1];"
               ::"l"(map), "r"(shared_address(from)), "r"(c0), "r"(c1) : "memory");
#else
  __trap();
#endif
}
COTERIE_DEVICE void tma_store_3d(CUtensorMap const* map, void const* from, int c0, int c1, int c2) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4}], [%1];"
               ::"l"(map), "r"(shared_address(from)), "r"(c0), "r"(c1), "r"(c2) : "memory");
#else
  __trap();
#endif
}
COTERIE_DEVICE void tma_store_commit() {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
#endif
}
// Until all but this thread's N newest groups of stores have read their shared memory: it may be written again, or end.
template <int N> COTERIE_DEVICE void tma_store_wait_read() {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
#endif
}
// Until they have written as well.
template <int N> COTERIE_DEVICE void tma_store_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
#endif
}

}}}

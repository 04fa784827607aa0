// What g++ calls before every access to memory in code compiled with -fsanitize=thread. No sanitizer is linked; these are ours.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include "fiber.hpp"
#include "memory.hpp"
#include "runtime.hpp"
#include "shadow.hpp"
#include "streams.hpp"

namespace simt {
namespace {
// Set while this OS thread runs fibers. Others run instrumented code meanwhile, and what they do is not the running fiber's.
thread_local bool runs_fibers = false;

inline void hook(void const* p, std::size_t bytes, bool write, void* return_address, bool polls = false) {
  if (engine.context == Context::engine) return;
  if (engine.context == Context::kernel) {
    if (!runs_fibers || static_cast<std::size_t>(static_cast<char const*>(p) - engine.self->stack) < stack_bytes) return;
    engine.context = Context::engine;
    check_access(p, bytes, write ? Access::write : Access::read, caller_of(return_address));
    if (polls && one_in(4)) let_others_run(true);                          // a volatile read may wait for somebody
    engine.context = Context::kernel;
  } else if (on_device(p)) {
    std::lock_guard const lock(runtime_mutex());
    Inside const inside;
    find(format("host code at %s touches device memory", site(caller_of(return_address)).c_str()), caller_of(return_address), 0, 8);
  }
}
}
bool instrumented;
RunsFibers::RunsFibers() { runs_fibers = true; }
RunsFibers::~RunsFibers() { runs_fibers = false; }
bool this_thread_runs_fibers() { return runs_fibers; }
}

extern "C" {
#define SIMT_HOOKS(n)                                                                                                                        \
  void __tsan_read##n(void* p) { simt::hook(p, n, false, __builtin_return_address(0)); }                                                     \
  void __tsan_write##n(void* p) { simt::hook(p, n, true, __builtin_return_address(0)); }                                                     \
  void __tsan_volatile_read##n(void* p) { simt::hook(p, n, false, __builtin_return_address(0), true); }                                      \
  void __tsan_volatile_write##n(void* p) { simt::hook(p, n, true, __builtin_return_address(0)); }                                            \
  void __tsan_unaligned_read##n(void* p) { simt::hook(p, n, false, __builtin_return_address(0)); }                                           \
  void __tsan_unaligned_write##n(void* p) { simt::hook(p, n, true, __builtin_return_address(0)); }                                           \
  void __tsan_unaligned_volatile_read##n(void* p) { simt::hook(p, n, false, __builtin_return_address(0)); }                                  \
  void __tsan_unaligned_volatile_write##n(void* p) { simt::hook(p, n, true, __builtin_return_address(0)); }
SIMT_HOOKS(1)
SIMT_HOOKS(2)
SIMT_HOOKS(4)
SIMT_HOOKS(8)
SIMT_HOOKS(16)
void __tsan_read_range(void* p, std::size_t n) { simt::hook(p, n, false, __builtin_return_address(0)); }
void __tsan_write_range(void* p, std::size_t n) { simt::hook(p, n, true, __builtin_return_address(0)); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**) {}
void __tsan_init() { simt::instrumented = true; }                          // before any constructor of ours

// std::atomic in host code: atomic, sequentially consistent, and none of our business.
#define SIMT_ATOMIC(bits, T)                                                                                                                 \
  T __tsan_atomic##bits##_load(T const volatile* p, int) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }                                    \
  void __tsan_atomic##bits##_store(T volatile* p, T v, int) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }                                    \
  T __tsan_atomic##bits##_exchange(T volatile* p, T v, int) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }                          \
  T __tsan_atomic##bits##_fetch_add(T volatile* p, T v, int) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }                          \
  T __tsan_atomic##bits##_fetch_sub(T volatile* p, T v, int) { return __atomic_fetch_sub(p, v, __ATOMIC_SEQ_CST); }                          \
  T __tsan_atomic##bits##_fetch_and(T volatile* p, T v, int) { return __atomic_fetch_and(p, v, __ATOMIC_SEQ_CST); }                          \
  T __tsan_atomic##bits##_fetch_or(T volatile* p, T v, int) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }                            \
  T __tsan_atomic##bits##_fetch_xor(T volatile* p, T v, int) { return __atomic_fetch_xor(p, v, __ATOMIC_SEQ_CST); }                          \
  T __tsan_atomic##bits##_fetch_nand(T volatile* p, T v, int) { return __atomic_fetch_nand(p, v, __ATOMIC_SEQ_CST); }                        \
  int __tsan_atomic##bits##_compare_exchange_strong(T volatile* p, T* expected, T v, int, int) {                                             \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                           \
  }                                                                                                                                          \
  int __tsan_atomic##bits##_compare_exchange_weak(T volatile* p, T* expected, T v, int, int) {                                               \
    return __atomic_compare_exchange_n(p, expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                           \
  }                                                                                                                                          \
  T __tsan_atomic##bits##_compare_exchange_val(T volatile* p, T expected, T v, int, int) {                                                   \
    __atomic_compare_exchange_n(p, &expected, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);                                                 \
    return expected;                                                                                                                         \
  }
SIMT_ATOMIC(8, unsigned char)
SIMT_ATOMIC(16, unsigned short)
SIMT_ATOMIC(32, unsigned)
SIMT_ATOMIC(64, unsigned long)
void __tsan_atomic_thread_fence(int) { std::atomic_thread_fence(std::memory_order_seq_cst); }
void __tsan_atomic_signal_fence(int) {}
}

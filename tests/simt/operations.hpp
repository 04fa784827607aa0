// What the vocabulary and the instructions ask of the engine. Calls come straight from kernel code (every wrapper is inlined), so a
// return address tells the kernel's line.
#pragma once
#include <cuda.h>
#include <cuda_runtime.h>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <tuple>
#include <type_traits>
#include <utility>

#define SIMT_INLINE [[gnu::always_inline]] inline
// Code the memory hooks must not see, and which is no part of the kernel.
#define SIMT_ENGINE __attribute__((no_sanitize_thread, noinline))

namespace simt {

struct Where {
  char const* file;
  int line;
  static constexpr Where here(char const* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

void kernel_begins();                            // from here on memory accesses are the kernel's

// Launch. The closure holds a copy of the arguments, as the driver does.
class Closure {
 public:
  virtual ~Closure() = default;
  virtual void call() const = 0;
};
template <class... P> class KernelCall final : public Closure {
 public:
  template <class... A> explicit KernelCall(void (*kernel)(P...), A&&... arguments) : kernel_(kernel), arguments_(static_cast<P>(arguments)...) {}
  SIMT_ENGINE void call() const override {
    auto arguments = arguments_;                 // on the fiber's stack, where the kernel may read them
    kernel_begins();
    std::apply(kernel_, arguments);
  }

 private:
  void (*kernel_)(P...);
  std::tuple<std::remove_const_t<P>...> arguments_;
};
cudaError_t launch(cudaLaunchConfig_t const& config, void const* kernel, Closure* owned);
template <class... P, class... A> cudaError_t launch(cudaLaunchConfig_t const& config, void (*kernel)(P...), A&&... arguments) {
  return launch(config, reinterpret_cast<void const*>(kernel), static_cast<Closure*>(new KernelCall<P...>(kernel, static_cast<A&&>(arguments)...)));
}

// Threads.
unsigned lane();
void yield();
[[noreturn]] void trap(char const* why);
void* dynamic_shared(std::size_t bytes);
void* shared_variable(void const* key, std::size_t bytes, std::size_t alignment);
struct Sync { char const* name; bool seen; };
bool kept(Sync& sync);

// Groups of threads.
enum class Vote : int { count, all, any };
enum class Fold : int { add, min, max, bit_and, bit_or, bit_xor };
void block_barrier(Where);
int block_vote(Vote, bool, Where);
void named_barrier(int id, int threads, bool wait, Where);
void warp_barrier(unsigned mask, Where);
void shuffle(unsigned mask, void const* in, void* out, std::size_t bytes, int source, char const* kind, Where);
unsigned ballot(unsigned mask, bool, char const* kind, Where);
unsigned match(unsigned mask, void const* value, std::size_t bytes, bool all, Where);
unsigned reduce(unsigned mask, Fold, unsigned, Where);
int reduce(unsigned mask, Fold, int, Where);
bool elect(Where);

// Memory. `at` is an address in the kernel's code.
void before_atomic(void* p, std::size_t bytes, std::uintptr_t at);
void after_atomic(void* p, bool changed);
void fence_device();
void load(void const* from, void* to, std::size_t bytes);
void store(void* to, void const* from, std::size_t bytes);
void cp_async(void* shared, void const* global, std::size_t bytes, bool valid);
void cp_async_commit();
void cp_async_wait(int pending);

template <class T, class F> SIMT_ENGINE T read_modify_write(T* p, F f) {
  before_atomic(p, sizeof(T), reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  T const old = *p, now = f(old);
  *p = now;
  after_atomic(p, __builtin_memcmp(&old, &now, sizeof(T)) != 0);
  return old;
}

// Matrices.
enum class Half : int { bf16, fp16 };
void ldmatrix(std::uint32_t* r, int count, void const* row, bool transposed, Where);
void stmatrix(void* row, std::uint32_t const* r, int count, Where);
void mma(float* d, std::uint32_t const* a, std::uint32_t b0, std::uint32_t b1, Half, Where);
std::uint64_t descriptor(void const* tile, std::uint32_t leading_bytes);
struct Operand { std::uint64_t descriptor; bool mn_major = false; };
void wgmma_fence(Where);
void wgmma(float* d, int width, Operand a, Operand b, bool accumulate, Half, Where);
void wgmma_commit(Where);
void wgmma_wait(int pending, Where);
void set_registers(int count, bool more, Where);

// Numbers of 8 bits, to nearest even without infinities, and back.
enum class Fp8 : int { e4m3, e5m2 };
std::uint8_t to_fp8(float v, Fp8);
float of_fp8(std::uint8_t bits, Fp8);

// mbarriers and bulk copies.
void mbarrier_init(std::uint64_t* bar, unsigned count);
void mbarrier_arrive(std::uint64_t* bar, unsigned expected_bytes, bool expects);
bool mbarrier_test(std::uint64_t* bar, unsigned parity);
void mbarrier_wait(std::uint64_t* bar, unsigned parity, Where);
void fence_barrier_init();
void fence_proxy_async();
void tma_prefetch(CUtensorMap const*);
void tma_load(void* to, CUtensorMap const*, std::uint64_t* bar, int rank, int const* at);
void tma_store(CUtensorMap const*, void const* from, int rank, int const* at);
void bulk_commit();
void bulk_wait(int pending, bool read_only);

// Grids.
void grid_dependency_wait();
void grid_dependency_launch();

}

#include "fiber.hpp"
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sys/mman.h>
#include <vector>

#if !defined(__x86_64__)
#error "the emulator's fiber switch is written for x86-64"
#endif
asm(R"(
.text
.globl simt_switch
.type simt_switch, @function
simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size simt_switch, .-simt_switch
)");

namespace simt {
namespace {
constexpr std::size_t guard_bytes = 4096, saved_registers = 6;
}

char* take_stack() {
  static std::vector<char*> unused;
  if (unused.empty()) {
    constexpr std::size_t count = 64, pitch = guard_bytes + stack_bytes;
    void* const memory = mmap(nullptr, count * pitch, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      std::perror("simt: stacks");
      std::abort();
    }
    for (std::size_t i = 0; i < count; ++i) {
      char* const guard = static_cast<char*>(memory) + i * pitch;
      mprotect(guard, guard_bytes, PROT_NONE);
      unused.push_back(guard + guard_bytes);
    }
  }
  char* const stack = unused.back();
  unused.pop_back();
  return stack;
}

void* prepare(char* stack, void (*entry)()) {
  // Stacks begin at different offsets in their pages: else the hot ends of all fibers would share a few sets of the cache.
  std::size_t const colour = reinterpret_cast<std::uintptr_t>(stack) / (guard_bytes + stack_bytes) % 16 * 256;
  auto top = reinterpret_cast<void**>(stack + stack_bytes - 64 - colour);
  *--top = nullptr;                              // entry() never returns; this also aligns its frame
  *--top = reinterpret_cast<void*>(entry);
  for (std::size_t i = 0; i < saved_registers; ++i) *--top = nullptr;
  return top;
}

}

// What is known of every byte of device memory, and of the last accesses to every four.
#pragma once
#include <cstddef>
#include <cstdint>
#include "engine.hpp"

namespace simt {

enum class Byte : std::uint8_t {
  unallocated, uninitialised, initialised, in_flight,
  garbage                                        // copied from what was uninitialised: NaN, which a product may take in but nothing may read
};
void make_shadow();
void set_bytes(void const* p, std::size_t bytes, Byte);
bool all_bytes(void const* p, std::size_t bytes, Byte);
Byte byte_at(void const* p);
// After an asynchronous copy of [from, from + bytes): the bytes it brought are initialised, or garbage and made NaN.
void arrive(char* to, char const* from, std::size_t bytes);
void copy_states(void* to, void const* from, std::size_t bytes);
void forget_accesses(void const* p, std::size_t bytes);
void return_pages(void* p, std::size_t bytes);   // of memory and shadow that nobody needs the contents of

// In whose name an access happens, and what it may rely on.
struct Actor {
  Op const* op = nullptr;                        // always; a copy or fill is all of it
  Thread* thread = nullptr;                      // null: a copy or fill
  std::uint32_t serial = 0;
  std::uint16_t agent = 0;
  std::uint32_t time = 0;
  bool async = false;                            // through the async proxy
  bool late = true;                              // knows the end of the kernels before: no programmatic launch, or it waited
  std::uint32_t clear = 0;                       // serials below are ordered before
};
Actor as_thread(Thread&);
Actor as_agent(Thread&, unsigned agent);         // of the thread's block; its clock ticks
Actor as_operation(Op const&);
void record(Actor const&, void const* p, std::size_t bytes, bool write, bool atomic, std::uintptr_t pc);

enum class Access : int {
  read, write, atomic,
  copy,                                          // the source of an asynchronous copy or a product: garbage stays garbage
};
// An access by the running thread: everything is checked.
void check_access(void const* p, std::size_t bytes, Access, std::uintptr_t pc);
char const* space_of(void const* p);

// patterns.cpp
void note_pattern(Thread const&, void const* p, std::size_t bytes, bool write, std::uintptr_t pc);
void fold_patterns(Block const&);

}

// Fibers: stacks, and the switch from one to another. x86-64 System V.
#pragma once
#include <cstddef>

namespace simt {

inline constexpr std::size_t stack_bytes = std::size_t{64} << 10;

char* take_stack();                              // its lowest byte; the page below faults. Never given back
// The stack pointer of a fiber that will begin in entry().
void* prepare(char* stack, void (*entry)());

}
// Saves the caller's registers and its stack pointer in *from, and goes on where `to` was saved.
extern "C" void simt_switch(void** from, void* to);

// The device's address space: windows of shared memory first, global memory behind them, gaps between allocations.
#pragma once
#include <cstddef>
#include <cstdint>

namespace simt {

inline constexpr std::size_t window_bytes = std::size_t{256} << 10, windows = 256, window_start = 1024;
inline constexpr std::size_t shared_bytes = windows * window_bytes, global_bytes = std::size_t{1} << 30, device_bytes = shared_bytes + global_bytes;

extern char* device_base;                        // null until the first allocation
void make_device_memory();
inline std::size_t device_offset(void const* p) { return static_cast<std::size_t>(static_cast<char const*>(p) - device_base); }
inline bool on_device(void const* p) { return device_offset(p) < device_bytes; }
inline bool in_shared(void const* p) { return device_offset(p) < shared_bytes; }

char* take_window();                             // of shared memory; starts at a multiple of 1024 with window_start bytes out of bounds
void give_window(char*);
void* allocate_global(std::size_t bytes);        // null: none left
std::size_t free_global(void*);                  // its size; 0: not an allocation
void* allocation_of(void const*, std::size_t* bytes);                      // that holds this address; null: none
std::size_t global_in_use();
int allocation_count();

}

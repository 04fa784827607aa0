// An emulator of CUDA's execution model for g++: kernels of the library run on the CPU, one fiber per thread, under a scheduler
// that is a function of a seed, and with the bookkeeping that finds races, missing waits, bad addresses and deadlocks.
// This is what a test uses; docs/emulator.md explains it. The kernel's own vocabulary is in vocabulary.hpp and instructions.hpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>
#include "vocabulary.hpp"
#include "instructions.hpp"

namespace simt {

// Which of the threads that can run does; and when queued work of a stream starts.
enum class Order : int {
  random,
  first_in,                                      // in turn; launches wait until somebody waits for them
  last_in                                        // whoever was woken last: one warp runs far ahead; launches start at once
};
// When an asynchronous copy or product takes place between its start and the wait for it.
enum class Landing : int { any, late, early };

struct Device {
  int major = 9, minor = 0, multiprocessors = 4;
  std::size_t shared = 227 * 1024;               // most dynamic shared memory of a block
  std::size_t memory = std::size_t{512} << 20;
};
struct Config {
  std::uint64_t seed = 1;
  Order order = Order::random;
  Landing landing = Landing::any;
  int resident = 1;                              // blocks of a kernel that are alive at once
  int preempt = 0;                               // other threads run at one in so many memory accesses (checked build); 0: at none
  bool patterns = false;                         // count bank conflicts and sectors (checked build)
  int stuck_seconds = 10;                        // processor time after which a thread that lets nobody else run is given up
  Device device{};
  int fail_call = 0;                             // the runtime call that fails, counted from clear_calls(); 0: none
  cudaError_t fail_code = cudaErrorUnknown;      // and how
  std::string deleted{};                         // the COTERIE_SYNC that is left out
};
Config& config();

// Is this the build whose memory accesses are checked?
bool checked();

// What was found wrong since clear_findings(), with file and line. Both let queued work run first.
std::vector<std::string> const& findings();
void clear_findings();                           // and errors that stick to the device

// Names of the COTERIE_SYNCs that kernels ran through since clear_syncs().
std::vector<std::string> syncs();
void clear_syncs();

// How one source line accessed memory, summed over warps: shared memory in wavefronts, global memory in sectors of 32 bytes.
struct Pattern {
  bool shared = false;
  std::uint64_t requests = 0;                    // by a warp
  std::uint64_t cost = 0, ideal = 0;             // what they took, what they would without conflicts and with full sectors
};
// By "file:line read" or "file:line write", since the last call; needs config().patterns and checked().
std::map<std::string, Pattern> access_patterns();

// What the program holds of the runtime; equal before and after means nothing leaked.
struct Live {
  int allocations = 0, pinned = 0, streams = 0, events = 0, graphs = 0, executables = 0;
  bool operator==(Live const&) const = default;
};
Live live();

// Names of the runtime calls since clear_calls(), in order.
std::vector<std::string> const& calls();
void clear_calls();

struct Statistics {
  std::uint64_t switches = 0, accesses = 0, collectives = 0, blocks = 0;
  std::uint64_t overlaps = 0;                    // kernels that began while another ran
};
Statistics& statistics();

}

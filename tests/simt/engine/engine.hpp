// The engine's own data. One OS thread at a time runs it; fibers switch to each other, and to the host's stack when a block is over
// or nothing can run.
#pragma once
#include <deque>
#include <memory>
#include <string>
#include <vector>
#include "../simt.hpp"
#include "clocks.hpp"
#include "operation.hpp"

namespace simt {

struct Block;
struct Kernel;

// cp.async copies and TMA stores of a thread: those since the last commit, and the committed groups.
struct Copy { char* to; char const* from; std::size_t bytes; bool valid, done; std::uintptr_t pc; };
struct Store;                                    // tma.cpp
template <class T> struct Groups { std::vector<T> open; std::vector<std::vector<T>> committed; };      // oldest first

struct Thread {
  void* stack_pointer = nullptr;
  char* stack = nullptr;
  Block* block = nullptr;
  uint3 index{};
  unsigned rank = 0, lane = 0, warp = 0;
  bool done = false;
  char const* waits_for = nullptr;               // and where, for the report of a deadlock
  Where at{};
  std::uintptr_t detail = 0;                     // which mbarrier or barrier
  std::uint32_t time = 1, fenced = 0;            // own clock; own clock at the last fence.proxy.async
  View view;                                     // what it knows of the block's agents, beyond the block's floor
  Published published, acquired, pending;        // across blocks: what a fence released, what it may rely on, what awaits its fence
  Groups<Copy> copies;
  Groups<std::shared_ptr<Store>> stores;
};

using Combine = void (*)(void* const* data, unsigned mask);
// Lanes of a warp that come together; data[lane] is what each brought.
struct Meeting {
  char const* kind = nullptr;
  Where at{};
  unsigned mask = 0, arrived = 0;
  Thread* who[32];
  void* data[32];
};
struct Ballot { bool in; int yes, of; };
struct Barrier {
  int expected = 0, arrived = 0;                 // expected 0: every thread that still runs
  Where at{};
  std::vector<Thread*> waiting;
  std::vector<Ballot*> ballots;
  Clock released;                                // by threads that only arrive
};
struct MBarrier {
  unsigned expected = 0, missing = 0, agent = 0;
  std::int64_t bytes = 0;                        // expected and not yet arrived
  unsigned phase = 0;
  Thread* initialised_by = nullptr;
  std::uint32_t initialised_at = 0;
  bool fenced = false;
  Clock collected;
  View over;                                     // what the last phase released
  std::vector<Thread*> waiting;
};
struct WarpProducts;                             // wgmma.cpp

struct Block {
  Kernel* kernel = nullptr;
  uint3 index{};
  std::uint32_t serial = 0;
  char* shared = nullptr;                        // its window of shared memory: dynamic, then variables
  std::size_t dynamic_bytes = 0, used_bytes = 0;
  std::vector<Thread*> threads;
  int running = 0;
  std::vector<std::vector<std::unique_ptr<Meeting>>> meetings;          // by warp
  Barrier barriers[16];
  std::map<std::uint64_t*, MBarrier> mbarriers;
  std::vector<std::unique_ptr<WarpProducts>> products;                  // by warp
  std::map<unsigned, unsigned> bulk_agents_of;                          // by rank of the thread that stores
  std::map<void const*, char*> variables;
  Clock floor, async_times;                      // what every thread knows; clocks of the asynchronous agents
  bool triggered = false;
  int free_registers = 0;                        // of the multiprocessor's 64 Ki, as setmaxnreg sees them
  std::vector<int> registers;                    // per thread, by warp
  std::vector<Thread*> want_registers;
};

struct Kernel {
  std::shared_ptr<Op> op;
  KernelLaunch const* launch = nullptr;
  std::vector<unsigned> todo;                    // blocks that have not started
  int resident = 0;
  unsigned untriggered = 0;                      // blocks that have not let a dependent kernel start
  bool waited = false, waited_at_trigger = false;
  std::uint32_t clear = 0, clear_early = 0;      // serials below are over before its accesses; before grid_dependency_wait
  std::vector<Thread*> want_dependency;
  std::unordered_map<std::uintptr_t, Published> atomics;
};

// Something that takes place at a moment of its own: a TMA copy, a product.
struct Flight {
  Block* block = nullptr;                        // null: its block is over
  Kernel* kernel = nullptr;
  virtual ~Flight() = default;
  virtual void land() = 0;
};

enum class Context : std::uint8_t { host, kernel, engine };
struct Engine {
  Config config;
  Statistics statistics;
  Context context = Context::host;
  bool aborting = false, to_host = false;
  Thread* self = nullptr;
  void* host_stack = nullptr;
  Kernel* entered = nullptr;                     // whose gridDim and blockDim are set
  std::deque<Thread*> ready;
  std::vector<Block*> blocks;
  std::vector<std::unique_ptr<Kernel>> kernels;  // under way
  std::vector<std::shared_ptr<Flight>> flights;
  std::uint64_t random_state = 1, idle_turns = 0;
  std::uint32_t next_serial = 1;
};
extern Engine engine;
extern bool instrumented;                       // code with memory hooks is linked in

// Between entering the engine from a kernel or the host and leaving it, memory hooks are silent.
struct Inside {
  Inside() { engine.context = Context::engine; }
  ~Inside() { engine.context = engine.self ? Context::kernel : Context::host; }
};

// scheduler.cpp
std::uint32_t random_below(std::uint32_t n);
bool one_in(std::uint32_t n);
void wake(Thread&);
void suspend(char const* waits_for, Where, std::uintptr_t detail = 0);
void let_others_run(bool spinning);
void progress();                                 // something happened that a spinning thread may wait for
[[noreturn]] void stop(std::string finding);
void resume_from_host(Thread&);
Thread* next_thread();
[[noreturn]] void thread_over();

// rendezvous.cpp
void meet(unsigned mask, char const* kind, void* data, Combine, bool orders, bool anywhere, Where);
void check_barrier(Block&, int id);

inline std::uint32_t known(Thread const& t, unsigned agent) {
  std::uint32_t const floor = t.block->floor[agent];
  return t.view ? std::max(floor, (*t.view)[agent]) : floor;
}

// launch.cpp
void start_kernel(std::shared_ptr<Op> const&);
void start_blocks();
bool retire_blocks();
void abandon_everything();
void report_deadlock();

// wgmma.cpp, tma.cpp, async.cpp: what a thread or a block leaves behind
void check_block_end(Block&);
void check_products_at_end(Block&);
void check_copies_at_end(Thread&);
void check_stores_at_end(Thread&);
void flush_stores(Kernel&);
void require_sm(int version, char const* instruction);

// report.cpp
std::string format(char const* pattern, ...) __attribute__((format(printf, 1, 2)));
std::string site(std::uintptr_t pc);
std::string place(Where);
std::string who(Thread const&);
void find(std::string text, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t kind = 0);
std::uintptr_t image_begin();
bool is_constant(std::uintptr_t address, std::size_t bytes);               // of the program

inline std::uintptr_t caller_of(void* return_address) { return reinterpret_cast<std::uintptr_t>(return_address); }
#define SIMT_CALLER ::simt::caller_of(__builtin_return_address(0))

}

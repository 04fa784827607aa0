#include "shadow.hpp"
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/mman.h>
#include "fiber.hpp"
#include "memory.hpp"

namespace simt {
namespace {

struct Slot {
  std::uint32_t time, pc, serial;                // pc from the start of the program
  std::uint16_t agent;
  std::uint8_t bytes : 4, write : 1, atomic : 1, async : 1, used : 1;
};
static_assert(sizeof(Slot) == 16);
struct Cell { Slot slots[4]; };                  // accesses to four bytes that matter still

template <class T> T* reserve(std::size_t count) {
  void* const memory = mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("simt: shadow memory");
    std::abort();
  }
  return static_cast<T*>(memory);
}
std::uint8_t* states;                            // a Byte for every byte of the device
Cell* cells;
std::uint8_t* state(void const* p) { return states + device_offset(p); }

// Has what the slot says happened before everything the actor does now?
bool ordered(Slot const& s, Actor const& me, bool shared) {
  if (s.serial < me.clear) return true;
  if (s.serial == me.serial) return !me.thread || s.agent == me.thread->rank || s.time <= known(*me.thread, s.agent);
  if (shared) return true;                       // a block that had this window before
  Op const* const other = op_of(s.serial);
  if (!other) return true;
  if (other != me.op) return (me.late ? me.op->past : me.op->early).contains(other->id);
  if (!me.thread || !me.thread->acquired) return false;
  auto const it = me.thread->acquired->find(s.serial);
  return it != me.thread->acquired->end() && s.agent < it->second.size() && it->second[s.agent] >= s.time;
}

std::string describe(Slot const& s, Actor const& me) {
  std::string const what = std::string(s.async ? "asynchronous " : s.atomic ? "atomic " : "") + (s.write ? "write" : "read");
  Op const* const op = op_of(s.serial);
  std::string by = "an earlier operation";
  if (op == me.op || s.serial == me.serial) by = s.serial == me.serial ? "the same block" : "another block";
  else if (op && op->work->kernel) by = "another kernel";
  else if (op) by = "a copy or fill";
  if (!s.async && (!op || op->work->kernel)) by = format("thread %u of ", s.agent) + by;
  return what + (s.pc ? " at " + site(image_begin() + s.pc) : "") + " by " + by;
}
std::string describe(Actor const& me) { return me.thread ? who(*me.thread) : "a copy or fill"; }

bool is_built_in(void const* p) {
  for (void const* variable : {static_cast<void const*>(&threadIdx), static_cast<void const*>(&blockIdx), static_cast<void const*>(&blockDim),
                               static_cast<void const*>(&gridDim)})
    if (static_cast<std::size_t>(static_cast<char const*>(p) - static_cast<char const*>(variable)) < sizeof(uint3)) return true;
  return false;
}

}

char const* space_of(void const* p) { return in_shared(p) ? "shared" : "global"; }

void make_shadow() {
  states = reserve<std::uint8_t>(device_bytes);
  cells = reserve<Cell>(device_bytes / 4);
}
void set_bytes(void const* p, std::size_t bytes, Byte b) {
  if (instrumented) std::memset(state(p), static_cast<int>(b), bytes);
}
bool all_bytes(void const* p, std::size_t bytes, Byte b) {
  std::uint8_t const* const s = state(p);
  for (std::size_t i = 0; i < bytes; ++i)
    if (s[i] != static_cast<std::uint8_t>(b)) return false;
  return true;
}
Byte byte_at(void const* p) { return static_cast<Byte>(*state(p)); }
void arrive(char* to, char const* from, std::size_t bytes) {
  if (!instrumented) return;
  for (std::size_t i = 0; i < bytes; ++i) {
    bool const good = byte_at(from + i) == Byte::initialised;
    if (!good) to[i] = static_cast<char>(0xff);
    *state(to + i) = static_cast<std::uint8_t>(good ? Byte::initialised : Byte::garbage);
  }
}
void copy_states(void* to, void const* from, std::size_t bytes) { std::memmove(state(to), state(from), bytes); }
void forget_accesses(void const* p, std::size_t bytes) {
  if (!instrumented) return;
  std::size_t const first = device_offset(p) / 4, last = (device_offset(p) + bytes + 3) / 4;
  for (std::size_t i = first; i < last; ++i)                               // reading an untouched page costs no memory; writing does
    for (Slot& s : cells[i].slots)
      if (s.used) s = {};
}
void return_pages(void* p, std::size_t bytes) {
  auto const give = [](void* memory, std::size_t size) {
    std::uintptr_t const page = 4096, from = (reinterpret_cast<std::uintptr_t>(memory) + page - 1) & ~(page - 1),
                         to = (reinterpret_cast<std::uintptr_t>(memory) + size) & ~(page - 1);
    if (to > from) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  };
  give(p, bytes);
  if (instrumented) give(cells + device_offset(p) / 4, bytes / 4 * sizeof(Cell));
}

Actor as_thread(Thread& t) {
  Block const& b = *t.block;
  Kernel const& kernel = *b.kernel;
  bool const late = !kernel.op->primary || known(t, static_cast<unsigned>(b.threads.size()) + dependency) > 0;
  return {.op = kernel.op.get(), .thread = &t, .serial = b.serial, .agent = static_cast<std::uint16_t>(t.rank), .time = t.time,
          .async = false, .late = late, .clear = late ? kernel.clear : kernel.clear_early};
}
Actor as_agent(Thread& t, unsigned agent) {
  Actor me = as_thread(t);
  me.agent = static_cast<std::uint16_t>(t.block->threads.size() + agent);
  me.time = ++t.block->async_times[agent];
  me.async = true;
  return me;
}
Actor as_operation(Op const& op) { return {.op = &op, .serial = op.first, .time = 1, .clear = first_unordered(op.past)}; }

void record(Actor const& me, void const* p, std::size_t bytes, bool write, bool atomic, std::uintptr_t pc) {
  std::size_t const offset = device_offset(p), end = offset + bytes;
  bool const shared = offset < shared_bytes;
  std::uint32_t const my_pc = pc ? static_cast<std::uint32_t>(pc - image_begin()) : 0;
  for (std::size_t g = offset / 4; g <= (end - 1) / 4; ++g) {
    unsigned mask = 15;
    if (g == offset / 4) mask &= 15u << offset % 4;
    if (g == (end - 1) / 4) mask &= 15u >> (3 - (end - 1) % 4);
    mask &= 15;
    Slot mine{me.time, my_pc, me.serial, me.agent, 0, 0, 0, 0, 1};
    mine.bytes = mask & 15, mine.write = write, mine.atomic = atomic, mine.async = me.async;
    Slot* put = nullptr;
    Cell& cell = cells[g];
    for (Slot& s : cell.slots) {
      if (!s.used) {
        if (!put) put = &s;
        continue;
      }
      bool const conflict = (s.bytes & mask) && (s.write || write) && !(s.atomic && atomic), covered = !(s.bytes & ~mask);
      // An older access stays only while something could race with it and not with this one.
      bool const same = covered && s.agent == me.agent && s.serial == me.serial && s.async == me.async && s.write == write && s.atomic == atomic;
      bool const replaceable = covered && !atomic && (write || !s.write);
      bool const before = (conflict || (replaceable && !same)) && ordered(s, me, shared);
      if (conflict && !before)
        find(format("race on %s memory: %s%s at %s by %s, unordered with %s", space_of(p), me.async ? "asynchronous " : atomic ? "atomic " : "",
                    write ? "write" : "read", pc ? site(pc).c_str() : "a copy or fill", describe(me).c_str(), describe(s, me).c_str()),
             my_pc, s.pc, 1u + write);
      if (conflict && before && me.async && s.write && !s.async && s.serial == me.serial && me.thread->block->threads[s.agent]->fenced < s.time)
        find(format("missing fence.proxy.async: thread %u wrote %s memory at %s, and a copy or product at %s, by %s, uses it through the async proxy",
                    s.agent, space_of(p), site(image_begin() + s.pc).c_str(), site(pc).c_str(), describe(me).c_str()), my_pc, s.pc, 9);
      if (same || (replaceable && before)) {
        if (put) s.used = 0;
        else put = &s;
      }
    }
    if (!put) put = &cell.slots[random_below(4)];
    *put = mine;
  }
}

void check_access(void const* p, std::size_t bytes, Access access, std::uintptr_t pc) {
  Thread& t = *engine.self;
  bool const write = access == Access::write, reads = access == Access::read || access == Access::copy;
  char const* const verb = reads ? "read" : write ? "write" : "atomic";
  auto const address = reinterpret_cast<std::uintptr_t>(p);
  if (!on_device(p)) {
    if (address - reinterpret_cast<std::uintptr_t>(t.stack) < stack_bytes) return;
    if (reads && (is_constant(address, bytes) || is_built_in(p))) return;
    stop(format("%s of host memory or of another thread's locals at %s by %s", verb, site(pc).c_str(), who(t).c_str()));
  }
  if (bytes > 1 && bytes <= 16 && (bytes & (bytes - 1)) == 0 && address % bytes)
    stop(format("misaligned %zu-byte %s at %s by %s", bytes, verb, site(pc).c_str(), who(t).c_str()));
  ++engine.statistics.accesses;
  bool const shared = in_shared(p);
  if (shared && device_offset(p) / window_bytes != device_offset(t.block->shared) / window_bytes)
    stop(format("%s of another block's shared memory at %s by %s", verb, site(pc).c_str(), who(t).c_str()));
  std::uint8_t* const s = state(p);
  for (std::size_t i = 0; i < bytes; ++i) {
    Byte const b = static_cast<Byte>(s[i]);
    if (b == Byte::initialised) continue;
    if (b == Byte::unallocated)
      stop(format("out of bounds: %zu-byte %s of %s memory at %s by %s", bytes, verb, space_of(p), site(pc).c_str(), who(t).c_str()));
    if (b == Byte::in_flight)
      find(format("missing wait: %s at %s by %s of bytes that an asynchronous copy has in flight", verb, site(pc).c_str(), who(t).c_str()), pc, 3);
    else if (!write && !(access == Access::copy && (b == Byte::garbage || !shared)))
      find(format("%s of uninitialised %s memory at %s by %s", verb, space_of(p), site(pc).c_str(), who(t).c_str()), pc, 4);
  }
  if (!reads) std::memset(s, static_cast<int>(Byte::initialised), bytes);
  record(as_thread(t), p, bytes, !reads, access == Access::atomic, pc);
  if (engine.config.patterns && access != Access::atomic) note_pattern(t, p, bytes, write, pc);
  if (engine.config.preempt && one_in(static_cast<std::uint32_t>(engine.config.preempt))) let_others_run(false);
}

}

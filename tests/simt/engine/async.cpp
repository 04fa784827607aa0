// Loads and stores through wrappers, atomics, and cp.async, whose bytes are in flight until the wait.
#include <algorithm>
#include <cstring>
#include "memory.hpp"
#include "shadow.hpp"

namespace simt {
namespace {

void access(void const* p, std::size_t bytes, Access how, std::uintptr_t pc) {
  if (instrumented) return check_access(p, bytes, how, pc);
  if (reinterpret_cast<std::uintptr_t>(p) % bytes)
    stop(format("misaligned %zu-byte %s at %s by %s", bytes, how == Access::read ? "read" : how == Access::write ? "write" : "atomic", site(pc).c_str(),
                who(*engine.self).c_str()));
}
void land(Copy& c) {
  if (c.done) return;
  c.done = true;
  if (c.valid) std::memcpy(c.to, c.from, c.bytes);
  else std::memset(c.to, 0, c.bytes);
}

}

void load(void const* from, void* to, std::size_t bytes) {
  Inside const inside;
  access(from, bytes, Access::read, SIMT_CALLER);
  std::memcpy(to, from, bytes);
}
void store(void* to, void const* from, std::size_t bytes) {
  Inside const inside;
  access(to, bytes, Access::write, SIMT_CALLER);
  std::memcpy(to, from, bytes);
}

// The new value is read and written between the two: nobody else runs there.
void before_atomic(void* p, std::size_t bytes, std::uintptr_t pc) {
  Inside const inside;
  Thread& t = *engine.self;
  if (one_in(4)) let_others_run(true);
  access(p, bytes, Access::atomic, pc);
  if (!instrumented) return;
  auto& atomics = t.block->kernel->atomics;
  auto const key = reinterpret_cast<std::uintptr_t>(p);
  auto const it = atomics.find(key);
  if (it != atomics.end()) t.pending = joined(t.pending, it->second);
  if (t.published) {
    Published& here = it != atomics.end() ? it->second : atomics[key];
    here = joined(here, t.published);
  }
}
void after_atomic(void*, bool changed) {
  if (changed) progress();
}

void cp_async(void* shared, void const* global, std::size_t bytes, bool valid) {
  Inside const inside;
  Thread& t = *engine.self;
  auto const pc = SIMT_CALLER;
  require_sm(80, "cp.async");
  if ((reinterpret_cast<std::uintptr_t>(shared) | reinterpret_cast<std::uintptr_t>(global)) % bytes)
    stop(format("misaligned cp.async at %s by %s", site(pc).c_str(), who(t).c_str()));
  if (!on_device(shared) || !in_shared(shared)) stop(format("cp.async to memory that is not shared at %s by %s", site(pc).c_str(), who(t).c_str()));
  if (instrumented) {
    if (valid) check_access(global, bytes, Access::copy, pc);
    check_access(shared, bytes, Access::write, pc);
    set_bytes(shared, bytes, Byte::in_flight);
  }
  Copy copy{static_cast<char*>(shared), static_cast<char const*>(global), bytes, valid, false, pc};
  std::memset(shared, 0xff, bytes);              // NaN until it lands
  Landing const when = engine.config.landing;
  if (when == Landing::early || (when == Landing::any && one_in(2))) land(copy);
  t.copies.open.push_back(copy);
}
void cp_async_commit() {
  Inside const inside;
  Groups<Copy>& copies = engine.self->copies;
  copies.committed.push_back(std::move(copies.open));
  copies.open.clear();
}
void cp_async_wait(int pending) {
  Inside const inside;
  Thread& t = *engine.self;
  auto& committed = t.copies.committed;
  std::size_t const over = committed.size() - std::min(committed.size(), static_cast<std::size_t>(pending));
  for (std::size_t i = 0; i < over; ++i)
    for (Copy& c : committed[i]) {
      land(c);
      if (!instrumented) continue;
      if (c.valid) arrive(c.to, c.from, c.bytes);
      else set_bytes(c.to, c.bytes, Byte::initialised);
      if (c.valid) record(as_thread(t), c.from, c.bytes, false, false, c.pc);
      record(as_thread(t), c.to, c.bytes, true, false, c.pc);
    }
  committed.erase(committed.begin(), committed.begin() + static_cast<std::ptrdiff_t>(over));
}
void check_copies_at_end(Thread& t) {
  if (t.copies.open.empty() && t.copies.committed.empty()) return;
  bool left = !t.copies.open.empty();
  for (auto const& group : t.copies.committed) left = left || !group.empty();
  if (left) find(who(t) + " ends with cp.async copies that it never waited for", 0, 0, 20);
  t.copies = {};
}

}

// mbarriers: phases of arrivals and bytes; and the fences that go with them.
#include "mbarrier.hpp"
#include <algorithm>
#include "memory.hpp"
#include "shadow.hpp"

namespace simt {
namespace {

constexpr std::int64_t most_bytes = (std::int64_t{1} << 20) - 1;

void touch(std::uint64_t* bar, Access how, std::uintptr_t pc) {
  Thread& t = *engine.self;
  if (reinterpret_cast<std::uintptr_t>(bar) % 8 || !on_device(bar) || !in_shared(bar))
    stop(format("an mbarrier must be 8 aligned bytes of shared memory, at %s by %s", site(pc).c_str(), who(t).c_str()));
  if (instrumented) check_access(bar, 8, how, pc);
}

}

MBarrier& mbarrier_at(std::uint64_t* bar, char const* what, std::uintptr_t pc) {
  Block& b = *engine.self->block;
  auto const it = b.mbarriers.find(bar);
  if (it == b.mbarriers.end())
    stop(format("%s at %s on an mbarrier that was never initialised, by %s", what, site(pc).c_str(), who(*engine.self).c_str()));
  return it->second;
}
// Ends the phase if nothing is missing.
void advance(MBarrier& m) {
  if (m.missing || m.bytes) return;
  m.phase ^= 1;
  m.missing = m.expected;
  if (!m.collected.empty()) m.over = std::make_shared<Clock>(m.collected);
  for (Thread* t : m.waiting) wake(*t);
  m.waiting.clear();
  progress();
}

void mbarrier_init(std::uint64_t* bar, unsigned count) {
  Inside const inside;
  auto const pc = SIMT_CALLER;
  Thread& t = *engine.self;
  touch(bar, Access::write, pc);
  if (count == 0 || count >= 1u << 20) stop(format("mbarrier for %u arrivals at %s by %s", count, site(pc).c_str(), who(t).c_str()));
  MBarrier m;
  m.expected = m.missing = count;
  m.agent = first_load + static_cast<unsigned>(t.block->mbarriers.size()) % load_agents;
  m.initialised_by = &t;
  m.initialised_at = t.time;
  if (instrumented) m.collected.assign(t.block->floor.size(), 0);
  t.block->mbarriers[bar] = std::move(m);
}
void mbarrier_arrive(std::uint64_t* bar, unsigned bytes, bool expects) {
  Inside const inside;
  auto const pc = SIMT_CALLER;
  Thread& t = *engine.self;
  if (expects) require_sm(90, "mbarrier.arrive.expect_tx");
  MBarrier& m = mbarrier_at(bar, "arrival", pc);
  touch(bar, Access::atomic, pc);
  if (m.missing == 0) stop(format("more arrivals than the mbarrier expects at %s by %s", site(pc).c_str(), who(t).c_str()));
  release(t, m.collected);
  m.bytes += bytes;
  if (m.bytes > most_bytes) stop(format("an mbarrier expects more than 2^20 - 1 bytes at %s by %s", site(pc).c_str(), who(t).c_str()));
  --m.missing;
  advance(m);
  if (engine.config.order == Order::random && one_in(4)) let_others_run(false);
}
bool mbarrier_test(std::uint64_t* bar, unsigned parity) {
  Inside const inside;
  auto const pc = SIMT_CALLER;
  MBarrier& m = mbarrier_at(bar, "wait", pc);
  touch(bar, Access::atomic, pc);
  bool const over = m.phase != (parity & 1);
  if (over) acquire(*engine.self, m.over);
  else let_others_run(true);
  return over;
}
void mbarrier_wait(std::uint64_t* bar, unsigned parity, Where at) {
  Inside const inside;
  auto const pc = SIMT_CALLER;
  for (;;) {
    MBarrier& m = mbarrier_at(bar, "wait", pc);
    touch(bar, Access::atomic, pc);
    if (m.phase != (parity & 1)) return acquire(*engine.self, m.over);
    m.waiting.push_back(engine.self);
    suspend("an mbarrier", at, reinterpret_cast<std::uintptr_t>(bar));
  }
}

void fence_proxy_async() {
  Inside const inside;
  Thread& t = *engine.self;
  t.fenced = t.time++;
}
// Makes this thread's mbarriers known to the async proxy; fence_proxy_async does as well.
void fence_barrier_init() {
  Inside const inside;
  Thread& t = *engine.self;
  for (auto& [bar, m] : t.block->mbarriers)
    if (m.initialised_by == &t) m.fenced = true;
}

}

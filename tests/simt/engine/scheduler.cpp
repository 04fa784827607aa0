#include "engine.hpp"
#include "fiber.hpp"
#include <cstdio>
#include <cstdlib>

namespace simt {

Engine engine;

namespace {
// Turns without anything happening that a spinning thread could wait for, until the run counts as stuck.
constexpr std::uint64_t patience = 2'000'000;

void enter(Thread& t) {
  engine.self = &t;
  threadIdx = t.index;
  blockIdx = t.block->index;
  Kernel* const kernel = t.block->kernel;
  if (kernel != engine.entered) {
    engine.entered = kernel;
    blockDim = kernel->launch->block;
    gridDim = kernel->launch->grid;
  }
}
void leave() {                                   // the processor goes to whoever is next, or to the host
  Thread* const me = engine.self;
  Thread* const next = next_thread();
  if (next == me) return;
  if (next) {
    enter(*next);
    simt_switch(&me->stack_pointer, next->stack_pointer);
  } else {
    engine.self = nullptr;
    simt_switch(&me->stack_pointer, engine.host_stack);
  }
}
}

std::uint32_t random_below(std::uint32_t n) {    // splitmix64
  std::uint64_t z = engine.random_state += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return static_cast<std::uint32_t>(((z ^ z >> 31) >> 32) * n >> 32);
}
bool one_in(std::uint32_t n) { return random_below(n) == 0; }

void progress() { engine.idle_turns = 0; }
void wake(Thread& t) {
  t.waits_for = nullptr;
  engine.ready.push_back(&t);
}

// Who runs next; null: the host, to start or end a block, or because nobody can.
Thread* next_thread() {
  if (engine.aborting || engine.to_host) {
    engine.to_host = false;
    return nullptr;
  }
  ++engine.statistics.switches;
  if (++engine.idle_turns > patience) {
    report_deadlock();
    engine.aborting = true;
    return nullptr;
  }
  auto& flights = engine.flights;
  while (!flights.empty() && (engine.ready.empty() || (engine.config.landing == Landing::any && one_in(8)))) {
    std::size_t const i = random_below(static_cast<std::uint32_t>(flights.size()));
    std::shared_ptr<Flight> const flight = std::move(flights[i]);
    flights[i] = std::move(flights.back());
    flights.pop_back();
    if (flight->block || flight->kernel) flight->land();
  }
  auto& ready = engine.ready;
  if (ready.empty()) return nullptr;
  if (engine.config.order == Order::random) std::swap(ready.back(), ready[random_below(static_cast<std::uint32_t>(ready.size()))]);
  bool const last = engine.config.order != Order::first_in;
  Thread* const t = last ? ready.back() : ready.front();
  last ? ready.pop_back() : ready.pop_front();
  return t;
}

void suspend(char const* waits_for, Where at, std::uintptr_t detail) {
  engine.self->waits_for = waits_for;
  engine.self->at = at;
  engine.self->detail = detail;
  leave();
}
// A thread that spins goes behind the others, whatever the order.
void let_others_run(bool spinning) {
  Thread& me = *engine.self;
  if (spinning && engine.config.order == Order::last_in) engine.ready.push_front(&me);
  else engine.ready.push_back(&me);
  leave();
}

void stop(std::string finding) {
  if (!engine.self) {
    std::fprintf(stderr, "simt: %s\n", finding.c_str());
    std::abort();
  }
  find(std::move(finding));
  engine.aborting = true;
  void* abandoned = nullptr;
  engine.self = nullptr;
  simt_switch(&abandoned, engine.host_stack);
  __builtin_unreachable();
}
void thread_over() {
  leave();
  __builtin_unreachable();
}
void resume_from_host(Thread& t) {
  enter(t);
  simt_switch(&engine.host_stack, t.stack_pointer);
  engine.self = nullptr;
  engine.context = Context::engine;
}

void yield() {
  Inside const inside;
  let_others_run(true);
}
void trap(char const* why) {
  Inside const inside;
  stop(std::string(why) + " by " + who(*engine.self));
}
unsigned lane() { return engine.self->lane; }

}

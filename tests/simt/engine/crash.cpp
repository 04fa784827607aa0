#include "crash.hpp"
#include <csignal>
#include <cstdint>
#include <pthread.h>
#include <sys/time.h>
#include <ucontext.h>
#include "engine.hpp"
#include "fiber.hpp"
#include "streams.hpp"

namespace simt {
namespace {

constexpr int ticks_per_second = 5;              // of processor time
constexpr int signals[]{SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGVTALRM};
struct sigaction before[5];
int depth = 0, ticks = 0;
pthread_t runner;                                // who runs the fibers, while depth is not 0
std::uint64_t switches_then = 0;
alignas(16) char handler_stack[64 << 10], report_stack[256 << 10];
volatile std::uintptr_t fault_address = 0, fault_pc = 0;
volatile int fault_signal = 0;

[[noreturn]] void report_crash() {               // on a stack of its own: the fiber's may be what overflowed
  engine.context = Context::engine;
  Thread const& t = *engine.self;
  auto const stack = reinterpret_cast<std::uintptr_t>(t.stack);
  std::string const line = site(fault_pc + 1), by = who(t);
  if (fault_signal == SIGVTALRM)
    stop(format("no progress: a thread runs for %d s without a barrier, a copy or an atomic, at %s by %s", engine.config.stuck_seconds, line.c_str(),
                by.c_str()));
  if (fault_signal == SIGFPE) stop(format("integer division by zero at %s by %s", line.c_str(), by.c_str()));
  if (fault_address < stack && fault_address + 4096 >= stack)
    stop(format("the thread's local variables need more than %zu bytes at %s by %s", stack_bytes, line.c_str(), by.c_str()));
  stop(format("access to address %#lx, which is nothing, at %s by %s", static_cast<unsigned long>(fault_address), line.c_str(), by.c_str()));
}
void handle(int signal, siginfo_t* info, void* state) {
  auto& registers = static_cast<ucontext_t*>(state)->uc_mcontext.gregs;
  bool const here = this_thread_runs_fibers();
  bool const in_kernel = here && engine.self != nullptr; // or in what the engine does for it with its addresses
  if (signal == SIGVTALRM) {
    if (!here) {                                 // the timer's signal goes to any thread of the process
      if (depth) pthread_kill(runner, SIGVTALRM);
      return;
    }
    bool const moved = engine.statistics.switches != switches_then;
    switches_then = engine.statistics.switches;
    ticks = moved || !in_kernel ? 0 : ticks + 1;
    if (ticks < engine.config.stuck_seconds * ticks_per_second) return;
    ticks = 0;
  } else if (!in_kernel) {                       // not ours: it happens again, for whoever was there before
    for (int i = 0; i < 5; ++i)
      if (signals[i] == signal) sigaction(signal, &before[i], nullptr);
    return;
  }
  fault_signal = signal;
  fault_address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  fault_pc = static_cast<std::uintptr_t>(registers[REG_RIP]);
  registers[REG_RIP] = reinterpret_cast<greg_t>(&report_crash);
  registers[REG_RSP] = reinterpret_cast<greg_t>(report_stack + sizeof report_stack - 64 - 8);
}
void set_timer(bool on) {
  timeval const tick{0, on ? 1'000'000 / ticks_per_second : 0};
  itimerval const timer{tick, tick};
  setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

}

CrashGuard::CrashGuard() {
  if (depth++) return;
  runner = pthread_self();
  stack_t stack{};
  if (sigaltstack(nullptr, &stack) == 0 && stack.ss_flags & SS_DISABLE) {
    stack = {.ss_sp = handler_stack, .ss_flags = 0, .ss_size = sizeof handler_stack};
    sigaltstack(&stack, nullptr);
  }
  struct sigaction action{};
  action.sa_sigaction = &handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (int i = 0; i < 5; ++i) sigaction(signals[i], &action, &before[i]);
  ticks = 0;
  set_timer(true);
}
CrashGuard::~CrashGuard() {
  if (--depth) return;
  set_timer(false);
  for (int i = 0; i < 5; ++i) sigaction(signals[i], &before[i], nullptr);
}

}

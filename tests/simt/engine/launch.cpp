// Kernels and blocks: how they start, end, and are given up.
#include <algorithm>
#include <cstring>
#include <map>
#include "fiber.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "streams.hpp"
#include "wgmma.hpp"

namespace simt {
namespace {

void run_thread() {                              // where a fiber begins
  engine.self->block->kernel->launch->body->call();
  engine.context = Context::engine;
  Thread& t = *engine.self;
  Block& b = *t.block;
  check_copies_at_end(t);
  check_stores_at_end(t);
  t.done = true;
  --b.running;
  progress();
  if (b.running) check_barrier(b, 0);
  else engine.to_host = true;
  thread_over();
}

std::vector<Thread*> unused_threads;             // with their stacks: most blocks follow blocks of the same shape

Thread* take_thread() {
  if (unused_threads.empty()) {
    auto const t = new Thread;
    t->stack = take_stack();
    return t;
  }
  Thread* const t = unused_threads.back();
  unused_threads.pop_back();
  char* const stack = t->stack;
  *t = {};
  t->stack = stack;
  return t;
}

std::uint64_t volume(dim3 d) { return std::uint64_t{d.x} * d.y * d.z; }

void start_block(Kernel& kernel, unsigned i) {
  KernelLaunch const& launch = *kernel.launch;
  auto b = new Block;
  auto const count = static_cast<unsigned>(volume(launch.block));
  b->kernel = &kernel;
  b->index = {i % launch.grid.x, i / launch.grid.x % launch.grid.y, i / launch.grid.x / launch.grid.y};
  b->serial = kernel.op->first + i;
  b->running = static_cast<int>(count);
  b->floor.assign(count + async_agents, 0);
  b->async_times.assign(async_agents, 0);
  b->meetings.resize((count + 31) / 32);
  b->products.resize((count + 31) / 32);
  b->shared = take_window() + window_start;
  b->dynamic_bytes = b->used_bytes = launch.shared;
  set_bytes(b->shared, launch.shared, Byte::uninitialised);
  std::memset(b->shared, 0xff, launch.shared);   // NaN
  int const at_launch = static_cast<int>(std::min(255u, 65536 / ((count + 31) / 32 * 32) / 8 * 8));
  b->registers.assign((count + 31) / 32, at_launch);
  b->free_registers = 65536 - at_launch * static_cast<int>((count + 31) / 32 * 32);
  for (unsigned rank = 0; rank < count; ++rank) {
    Thread* const t = take_thread();
    t->block = b;
    t->rank = rank, t->lane = rank % 32, t->warp = rank / 32;
    t->index = {rank % launch.block.x, rank / launch.block.x % launch.block.y, rank / launch.block.x / launch.block.y};
    t->stack_pointer = prepare(t->stack, &run_thread);
    b->threads.push_back(t);
    engine.ready.push_back(t);
  }
  engine.blocks.push_back(b);
  ++kernel.resident;
  ++engine.statistics.blocks;
}

void end_block(Block* b) {
  if (engine.config.patterns && instrumented) fold_patterns(*b);
  unused_threads.insert(unused_threads.end(), b->threads.begin(), b->threads.end());
  set_bytes(b->shared, b->used_bytes, Byte::unallocated);
  give_window(b->shared - window_start);
  --b->kernel->resident;
  for (auto& flight : engine.flights)
    if (flight->block == b) flight->block = nullptr;
  std::erase_if(engine.flights, [](auto const& flight) { return !flight->block && !flight->kernel; });
  delete b;
}

void end_kernel(Kernel& kernel) {
  flush_stores(kernel);
  kernel.op->may_start = true;
  over(kernel.op);
}

}

void start_kernel(std::shared_ptr<Op> const& op) {
  auto kernel = std::make_unique<Kernel>();
  kernel->op = op;
  kernel->launch = op->work->kernel.get();
  auto const count = static_cast<std::uint32_t>(volume(kernel->launch->grid));
  op->first = serials(count, op);
  kernel->clear = first_unordered(op->past);
  kernel->clear_early = first_unordered(op->early);
  kernel->untriggered = count;
  kernel->todo.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) kernel->todo[i] = engine.config.order == Order::last_in ? i : count - 1 - i;
  if (engine.config.order == Order::random)
    for (std::uint32_t i = count; i > 1; --i) std::swap(kernel->todo[i - 1], kernel->todo[random_below(i)]);
  engine.kernels.push_back(std::move(kernel));
}
void start_blocks() {
  for (auto& kernel : engine.kernels)
    while (kernel->resident < std::max(1, engine.config.resident) && !kernel->todo.empty() && engine.blocks.size() < windows) {
      unsigned const i = kernel->todo.back();
      kernel->todo.pop_back();
      start_block(*kernel, i);
    }
}
bool retire_blocks() {
  bool any = false;
  for (std::size_t i = engine.blocks.size(); i-- > 0;) {
    Block* const b = engine.blocks[i];
    if (b->running || engine.aborting) continue;
    check_block_end(*b);
    if (!b->triggered) block_triggers(*b);
    engine.blocks.erase(engine.blocks.begin() + static_cast<std::ptrdiff_t>(i));
    end_block(b);
    any = true;
  }
  for (std::size_t i = engine.kernels.size(); i-- > 0;) {
    Kernel& kernel = *engine.kernels[i];
    if (kernel.resident || !kernel.todo.empty() || engine.aborting) continue;
    end_kernel(kernel);
    if (engine.entered == &kernel) engine.entered = nullptr;
    engine.kernels.erase(engine.kernels.begin() + static_cast<std::ptrdiff_t>(i));
    any = true;
  }
  return any;
}

void abandon_everything() {
  engine.ready.clear();
  engine.flights.clear();
  for (Block* b : engine.blocks) end_block(b);
  engine.blocks.clear();
  for (auto& kernel : engine.kernels) over(kernel->op);
  engine.kernels.clear();
  engine.entered = nullptr;
  forget_queued();
  engine.aborting = engine.to_host = false;
  set_device_error(cudaErrorLaunchFailure);
}

void report_deadlock() {
  std::map<std::string, int> reasons;
  for (Block const* b : engine.blocks)
    for (Thread const* t : b->threads) {
      if (t->done) continue;
      std::string reason = t->waits_for ? std::string("wait for ") + t->waits_for + " at " + place(t->at) : "run without getting anywhere";
      if (t->waits_for && std::strcmp(t->waits_for, "an mbarrier") == 0) {
        auto const it = b->mbarriers.find(reinterpret_cast<std::uint64_t*>(t->detail));
        if (it != b->mbarriers.end())
          reason += format(" (%u arrivals and %lld bytes missing)", it->second.missing, static_cast<long long>(it->second.bytes));
      } else if (t->waits_for && t->detail > 15) {
        reason += format(" (mask %08x)", static_cast<unsigned>(t->detail));
      } else if (t->waits_for && t->detail) {
        reason += format(" (barrier %u: %d of %d)", static_cast<unsigned>(t->detail), b->barriers[t->detail].arrived, b->barriers[t->detail].expected);
      }
      ++reasons[reason + format(" in block (%u,%u,%u)", b->index.x, b->index.y, b->index.z)];
    }
  std::string text = "deadlock:";
  for (auto const& [reason, count] : reasons) text += format(" %d thread%s ", count, count == 1 ? "" : "s") + reason + ";";
  find(text);
}

void kernel_begins() { engine.context = Context::kernel; }

// ---- what a block allocates, and grids that depend on grids ----
void* dynamic_shared(std::size_t bytes) {
  Inside const inside;
  Block& b = *engine.self->block;
  if (bytes > b.dynamic_bytes)
    find(format("the kernel's shared memory has %zu bytes, its launch gives %zu, %s", bytes, b.dynamic_bytes, who(*engine.self).c_str()), bytes,
         b.dynamic_bytes, 21);
  return b.shared;
}
void* shared_variable(void const* key, std::size_t bytes, std::size_t alignment) {
  Inside const inside;
  Block& b = *engine.self->block;
  char*& variable = b.variables[key];
  if (!variable) {
    std::size_t const gap = 16, at = (b.used_bytes + gap + alignment - 1) / alignment * alignment;           // neighbours are out of bounds
    variable = b.shared + at;
    b.used_bytes = at + bytes;
    if (b.used_bytes > engine.config.device.shared)
      stop(format("more than %zu bytes of shared memory, %s", engine.config.device.shared, who(*engine.self).c_str()));
    set_bytes(variable, bytes, Byte::uninitialised);
    std::memset(variable, 0xff, bytes);
  }
  return variable;
}

void block_triggers(Block& b) {
  Kernel& kernel = *b.kernel;
  b.triggered = true;
  kernel.op->waited_at_trigger = kernel.op->waited_at_trigger || kernel.op->waited;
  if (--kernel.untriggered == 0) {
    kernel.op->may_start = true;
    engine.to_host = true;
  }
}
void grid_dependency_launch() {
  Inside const inside;
  if (engine.config.device.major < 9 || engine.self->block->triggered) return;
  block_triggers(*engine.self->block);
  if (engine.to_host) let_others_run(false);
}
void grid_dependency_wait() {
  Inside const inside;
  Thread& t = *engine.self;
  Kernel& kernel = *t.block->kernel;
  if (engine.config.device.major < 9 || !kernel.op->primary) return;
  while (kernel.op->primary->state != Op::over) {
    kernel.want_dependency.push_back(&t);
    suspend("the kernel before", {}, 0);
  }
  if (!kernel.op->waited) {
    kernel.op->waited = true;
    kernel.op->past.add(kernel.op->primary->left());
    kernel.clear = first_unordered(kernel.op->past);
  }
  learn(t, static_cast<unsigned>(t.block->threads.size()) + dependency, 1);
}

bool kept(Sync& sync) {
  Inside const inside;
  if (!sync.seen) note_sync(sync);
  return engine.config.deleted.empty() || engine.config.deleted != sync.name;
}

}

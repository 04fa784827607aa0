#include "streams.hpp"
#include <algorithm>
#include "crash.hpp"

namespace simt {
namespace {

struct Device {
  Ops queued;                                    // not started, oldest first
  Past host;                                     // what the host has waited for
  std::uint32_t next_id = 1;
  std::uint64_t kernels_started = 0;
};
Device device;

void add_chain(Ops& to, std::shared_ptr<Op> op) {
  // Who follows a programmatic kernel also follows the kernel that one need not have waited for.
  std::size_t const first = to.size();
  for (; op; op = op->primary) to.push_back(op);
  // One that is over and waited speaks for both, unless there is somebody for whom the other cannot speak. Oldest first.
  for (std::size_t i = to.size(); i-- > first;)
    if (to[i]->state == Op::over && to[i]->waited && to[i]->primary && !to[i]->primary->primary) to[i]->primary.reset();
}
void begin(std::shared_ptr<Op> const& op) {
  op->past = op->known;
  for (auto const& before : op->follows) op->past.add(before->left());
  op->follows.clear();
  if (op->primary) op->past.add(op->primary->waited_at_trigger ? op->primary->past : op->primary->early);
  op->early = op->past;
  op->state = Op::running;
  if (op->work && op->work->kernel) {
    engine.random_state = engine.config.seed * 0x2545f4914f6cdd1du + 0x9e3779b97f4a7c15u * ++device.kernels_started;
    progress();
    if (!engine.kernels.empty()) ++engine.statistics.overlaps;
    return start_kernel(op);
  }
  op->first = serials(1, op);
  if (op->work && op->work->act) op->work->act(*op);
  over(op);
}
bool can_start(Op const& op) {
  if (op.primary && op.primary->state != Op::over && !op.primary->may_start) return false;
  return std::all_of(op.follows.begin(), op.follows.end(), [](auto const& before) { return before->state == Op::over; });
}
bool start_some() {
  bool any = false;
  for (;;) {
    Ops candidates;
    for (auto const& op : device.queued)
      if (can_start(*op)) candidates.push_back(op);
    if (candidates.empty()) return any;
    bool const must = engine.kernels.empty(), random = engine.config.order == Order::random;
    if (!must && (engine.kernels.size() >= 4 || (random && one_in(3)))) return any;
    std::size_t const last = candidates.size() - 1, oldest = engine.config.order == Order::first_in ? 0 : last;
    auto const op = candidates[random ? random_below(static_cast<std::uint32_t>(candidates.size())) : oldest];
    device.queued.erase(std::find(device.queued.begin(), device.queued.end(), op));
    begin(op);
    any = true;
    if (random && !engine.kernels.empty()) return any;
  }
}

}

void over(std::shared_ptr<Op> const& op) {
  op->state = Op::over;
  op->may_start = true;
  progress();
  for (auto& kernel : engine.kernels)
    if (kernel->op->primary == op) {
      for (Thread* t : kernel->want_dependency) wake(*t);
      kernel->want_dependency.clear();
    }
}
void forget_queued() {
  for (auto const& op : device.queued) op->state = Op::over, op->may_start = true, op->follows.clear();
  device.queued.clear();
  device.host = {.all = device.next_id - 1, .some = {}};                   // whatever comes now comes after all that was given up
  forget_serials();
}
void restart_schedule() { device.kernels_started = 0; }
bool busy() { return !device.queued.empty() || !engine.kernels.empty(); }

// The host's part of the scheduler: until there is enough, or nothing left to do. The caller is Inside.
void run_device(std::function<bool()> const& enough) {
  if (engine.self) return;                       // asked from inside a kernel
  if (enough()) return;
  RunsFibers const fibers;
  CrashGuard const guard;
  while (!enough()) {
    if (engine.aborting) {
      abandon_everything();
      break;
    }
    bool const started = start_some();
    start_blocks();
    engine.to_host = false;
    if (Thread* const t = next_thread()) {
      resume_from_host(*t);
      retire_blocks();
    } else if (!retire_blocks() && !started && !engine.aborting) {
      if (engine.blocks.empty() && engine.kernels.empty()) break;
      report_deadlock();
      engine.aborting = true;
    }
  }
}
void drain() {
  run_device([] { return !busy(); });
}
bool all_over(Ops const& ops) {
  return std::all_of(ops.begin(), ops.end(), [](auto const& op) { return op->state == Op::over; });
}
void wait_for(Ops const& ops) {
  run_device([&] { return all_over(ops); });
  for (auto const& op : ops) device.host.add(op->left());
  if (!busy() && device.host.all + 1 == device.next_id) forget_serials();
}
void host_waits_for_everything() {
  drain();
  device.host = {.all = device.next_id - 1, .some = {}};
  forget_serials();
}

Stream& legacy_stream() {
  static Stream legacy;
  return legacy;
}
std::vector<Stream*>& streams() {
  static std::vector<Stream*> all;
  return all;
}
bool is_stream(cudaStream_t s) {
  if (s == nullptr || s == cudaStreamLegacy || s == cudaStreamPerThread) return true;
  return std::find(streams().begin(), streams().end(), reinterpret_cast<Stream*>(s)) != streams().end();
}
Stream& stream_of(cudaStream_t s) {
  static Stream per_thread;
  if (s == cudaStreamPerThread) return per_thread;
  return s == nullptr || s == cudaStreamLegacy ? legacy_stream() : *reinterpret_cast<Stream*>(s);
}
Ops everything(Stream const& s) {
  Ops ops;
  for (auto const& op : s.tail) add_chain(ops, op);
  return ops;
}
void forget_stream(Stream& s) { std::erase(streams(), &s); }

namespace {
std::shared_ptr<Op> make_op(std::shared_ptr<Work const> work) {
  auto op = std::make_shared<Op>();
  op->id = device.next_id++;
  op->work = std::move(work);
  op->known = device.host;
  device.queued.push_back(op);
  return op;
}
void follow_default_streams(Stream const& s, Ops& follows) {
  auto const add = [&](Stream const& other) {
    for (auto const& op : everything(other)) follows.push_back(op);
  };
  if (&s == &legacy_stream()) {
    for (Stream const* other : streams())
      if (other->blocking && !other->capture) add(*other);
  } else if (s.blocking) {
    add(legacy_stream());
  }
}
}

std::shared_ptr<Op> enqueue(Stream& s, std::shared_ptr<Work const> work, bool programmatic) {
  if (s.capture) {
    Capture& c = *s.capture;
    GraphNode node{std::move(work), s.captured_tail, -1};
    if (programmatic && node.follows.size() == 1 && c.graph.nodes[static_cast<std::size_t>(node.follows[0])].work->kernel) {
      node.primary = node.follows[0];
      node.follows.clear();
    }
    c.graph.nodes.push_back(std::move(node));
    s.captured_tail = {static_cast<int>(c.graph.nodes.size()) - 1};
    return nullptr;
  }
  auto op = make_op(std::move(work));
  // Only the kernel right before may overlap; what came earlier has let that one start.
  if (programmatic && s.tail.size() == 1 && s.tail[0]->work && s.tail[0]->work->kernel) op->primary = s.tail[0];
  else op->follows = everything(s);
  follow_default_streams(s, op->follows);
  s.tail = {op};
  return op;
}

void launch_graph(Executable& e, Stream& s) {
  Ops const before = [&] {
    Ops ops = everything(s);
    follow_default_streams(s, ops);
    for (auto const& op : e.last) add_chain(ops, op);
    return ops;
  }();
  Ops nodes, ends;
  std::vector<bool> followed(e.graph.nodes.size());
  for (GraphNode const& node : e.graph.nodes) {
    auto op = make_op(node.work);
    for (int i : node.follows) add_chain(op->follows, nodes[static_cast<std::size_t>(i)]), followed[static_cast<std::size_t>(i)] = true;
    if (node.primary >= 0) op->primary = nodes[static_cast<std::size_t>(node.primary)], followed[static_cast<std::size_t>(node.primary)] = true;
    else if (node.follows.empty()) op->follows = before;
    nodes.push_back(std::move(op));
  }
  for (std::size_t i = 0; i < nodes.size(); ++i)
    if (!followed[i]) ends.push_back(nodes[i]);
  if (!ends.empty()) s.tail = ends;
  e.last = ends;
}

bool capturing_globally() {
  auto const global = [](Stream const& s) { return s.capture && s.capture->mode != cudaStreamCaptureModeRelaxed; };
  return std::any_of(streams().begin(), streams().end(), [&](Stream const* s) { return global(*s); });
}
void break_captures() {
  for (Stream* s : streams())
    if (s->capture) s->capture->broken = true;
}

// Depending on the order, what was queued runs now, later, or in part.
void after_enqueue() {
  if (engine.config.order == Order::first_in || engine.self) return;
  if (engine.config.order == Order::last_in) return drain();
  std::uint32_t const choice = random_below(4);
  if (choice == 0) return drain();
  if (choice == 1) return;
  run_device([turns = random_below(20)]() mutable { return turns-- == 0 || !busy(); });
}

}

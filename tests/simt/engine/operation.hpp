// Work of a stream: a kernel, a copy, a fill, or nothing but an order. Operations form a graph; one may run when those it follows are
// over, and what it may rely on is what is over by then.
#pragma once
#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>
#include "../operations.hpp"

namespace simt {

// A set of operations by number: all up to one, and some beyond.
struct Past {
  std::uint32_t all = 0;
  std::vector<std::uint32_t> some;               // ascending, > all + 1
  bool contains(std::uint32_t id) const { return id <= all || std::binary_search(some.begin(), some.end(), id); }
  void add(std::uint32_t id);
  void add(Past const& other);

 private:
  void tidy();
};

struct KernelLaunch {
  std::unique_ptr<Closure> body;
  dim3 grid, block;
  std::size_t shared = 0;
};
// What an operation does; a graph's node is one, and may run many times.
struct Op;
struct Work {
  std::shared_ptr<KernelLaunch> kernel;
  std::function<void(Op&)> act;
};

struct Op {
  enum State { queued, running, over };
  std::uint32_t id = 0, first = 0;               // its number; the first of its blocks' serial numbers
  State state = queued;
  std::shared_ptr<Work const> work;
  std::vector<std::shared_ptr<Op>> follows;
  std::shared_ptr<Op> primary;                   // programmatic: the kernel whose end it does not await
  Past known;                                    // by the host when it enqueued this
  Past early, past;                              // over before its accesses; past: also what its grid_dependency_wait waited for
  bool may_start = false;                        // kernel: a programmatic kernel behind it may start
  bool waited = false, waited_at_trigger = false;
  // What is over for those who follow it. A programmatic kernel that never waited cannot speak for the kernel before it.
  Past left() const {
    Past p = past;
    p.add(id);
    return p;
  }
};

// operation.cpp
std::uint32_t serials(std::uint32_t count, std::shared_ptr<Op> const&);    // for so many blocks: the first of them
Op const* op_of(std::uint32_t serial);                                     // null: one that the host has waited for
std::uint32_t first_unordered(Past const&);                                // serials below belong to operations of this past
void forget_serials();                                                     // the host has waited for everything

// streams.cpp
void over(std::shared_ptr<Op> const&);
bool busy();
void run_device(std::function<bool()> const& enough);
void drain();
void forget_queued();
void restart_schedule();                         // the next kernels run as a function of the seed alone

}

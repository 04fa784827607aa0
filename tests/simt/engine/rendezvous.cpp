// Where threads come together: warp functions, block and named barriers. The last to arrive does the work for all.
#include <bit>
#include <cstring>
#include "engine.hpp"

namespace simt {
namespace {

template <class F> void for_lanes(unsigned mask, F f) {
  for (; mask; mask &= mask - 1) f(std::countr_zero(mask));
}
bool same_text(char const* a, char const* b) { return a == b || std::strcmp(a, b) == 0; }
bool same_line(Where a, Where b) { return a.line == b.line && same_text(a.file, b.file); }
void run_on_or_queue() {                         // who arrived last need not be who continues first
  if (engine.config.order == Order::random ? one_in(2) : engine.config.order == Order::first_in) let_others_run(false);
}

}

void meet(unsigned mask, char const* kind, void* data, Combine combine, bool orders, bool anywhere, Where at) {
  Thread& t = *engine.self;
  Block& b = *t.block;
  if (!(mask >> t.lane & 1)) stop(format("%s at %s: lane %u is not in its own mask %08x, %s", kind, place(at).c_str(), t.lane, mask, who(t).c_str()));
  auto& meetings = b.meetings[t.warp];
  Meeting* m = nullptr;
  for (auto& other : meetings)
    if (other->kind && other->mask == mask) m = other.get();
  if (!m) {
    for (auto& other : meetings)
      if (!other->kind) m = other.get();
    if (!m) m = meetings.emplace_back(std::make_unique<Meeting>()).get();
    m->kind = kind, m->at = at, m->mask = mask, m->arrived = 0;
  } else if (!same_text(m->kind, kind) || (!anywhere && !same_line(m->at, at))) {
    stop(format("divergent warp: lane %u is in %s at %s, others in %s at %s, %s", t.lane, kind, place(at).c_str(), m->kind, place(m->at).c_str(),
                who(t).c_str()));
  }
  m->arrived |= 1u << t.lane;
  m->who[t.lane] = &t;
  m->data[t.lane] = data;
  if (m->arrived != mask) return suspend(kind, at, mask);
  ++engine.statistics.collectives;
  progress();
  if (combine) combine(m->data, mask);
  if (orders) {
    Thread* members[32];
    std::size_t count = 0;
    for_lanes(mask, [&](int i) { members[count++] = m->who[i]; });
    order(b, members, count, static_cast<int>(count) == b.running);
  }
  m->kind = nullptr;
  for_lanes(mask, [&](int i) {
    if (m->who[i] != &t) wake(*m->who[i]);
  });
  run_on_or_queue();
}

void warp_barrier(unsigned mask, Where at) {
  Inside const inside;
  meet(mask, "__syncwarp", nullptr, nullptr, true, true, at);
}

namespace {
struct Shuffle { void const* in; void* out; std::size_t bytes; int source; };
struct Value { void const* in; std::size_t bytes; unsigned peers; bool all; };
struct Predicate { bool in; unsigned out; };
template <class T> struct Folded { T value; Fold fold; };

template <class T> T folded(Fold fold, T a, T b) {
  switch (fold) {
    case Fold::add: return static_cast<T>(static_cast<unsigned>(a) + static_cast<unsigned>(b));
    case Fold::min: return b < a ? b : a;
    case Fold::max: return a < b ? b : a;
    case Fold::bit_and: return a & b;
    case Fold::bit_or: return a | b;
    case Fold::bit_xor: return a ^ b;
  }
  return a;
}
template <class T> T fold_lanes(unsigned mask, Fold fold, T v, Where at) {
  Inside const inside;
  static char const* const names[]{"__reduce_add_sync", "__reduce_min_sync", "__reduce_max_sync", "__reduce_and_sync", "__reduce_or_sync",
                                   "__reduce_xor_sync"};
  Folded<T> mine{v, fold};
  meet(mask, names[static_cast<int>(fold)], &mine, [](void* const* data, unsigned lanes) {
    bool first = true;
    T all{};
    for_lanes(lanes, [&](int i) {
      auto const& one = *static_cast<Folded<T>*>(data[i]);
      all = first ? one.value : folded(one.fold, all, one.value);
      first = false;
    });
    for_lanes(lanes, [&](int i) { static_cast<Folded<T>*>(data[i])->value = all; });
  }, false, false, at);
  return mine.value;
}
}
unsigned reduce(unsigned mask, Fold fold, unsigned v, Where at) { return fold_lanes(mask, fold, v, at); }
int reduce(unsigned mask, Fold fold, int v, Where at) { return fold_lanes(mask, fold, v, at); }

void shuffle(unsigned mask, void const* in, void* out, std::size_t bytes, int source, char const* kind, Where at) {
  Inside const inside;
  if (!(mask >> source & 1))
    stop(format("%s at %s reads lane %d, which is not in the mask %08x, %s", kind, place(at).c_str(), source, mask, who(*engine.self).c_str()));
  Shuffle mine{in, out, bytes, source};
  meet(mask, kind, &mine, [](void* const* data, unsigned lanes) {
    for_lanes(lanes, [&](int i) {
      auto const& to = *static_cast<Shuffle*>(data[i]);
      std::memcpy(to.out, static_cast<Shuffle*>(data[to.source])->in, to.bytes);
    });
  }, false, false, at);
}

unsigned ballot(unsigned mask, bool p, char const* kind, Where at) {
  Inside const inside;
  Predicate mine{p, 0};
  meet(mask, kind, &mine, [](void* const* data, unsigned lanes) {
    unsigned votes = 0;
    for_lanes(lanes, [&](int i) { votes |= static_cast<unsigned>(static_cast<Predicate*>(data[i])->in) << i; });
    for_lanes(lanes, [&](int i) { static_cast<Predicate*>(data[i])->out = votes; });
  }, false, false, at);
  return mine.out;
}

unsigned match(unsigned mask, void const* value, std::size_t bytes, bool all, Where at) {
  Inside const inside;
  Value mine{value, bytes, 0, all};
  meet(mask, all ? "__match_all_sync" : "__match_any_sync", &mine, [](void* const* data, unsigned lanes) {
    for_lanes(lanes, [&](int i) {
      auto& me = *static_cast<Value*>(data[i]);
      for_lanes(lanes, [&](int j) { me.peers |= static_cast<unsigned>(std::memcmp(me.in, static_cast<Value*>(data[j])->in, me.bytes) == 0) << j; });
      if (me.all && me.peers != lanes) me.peers = 0;
    });
  }, false, false, at);
  return mine.peers;
}

// The hardware elects the same lane every time, but does not say which.
bool elect(Where at) {
  Inside const inside;
  require_sm(90, "elect.sync");
  meet(~0u, "elect.sync", nullptr, nullptr, false, false, at);
  return engine.self->lane == engine.config.seed % 32;
}

// ---- barriers of a block ----
namespace {
void arrive(Thread& t, int id, int expected, bool wait, Ballot* ballot, Where at) {
  Block& b = *t.block;
  Barrier& barrier = b.barriers[id];
  if (barrier.arrived == 0) {
    barrier.expected = expected, barrier.at = at;
  } else if (barrier.expected != expected) {
    stop(format("barrier %d: %d threads at %s, %d at %s, by %s", id, expected, place(at).c_str(), barrier.expected, place(barrier.at).c_str(),
                who(t).c_str()));
  } else if (expected == 0 && !same_line(barrier.at, at)) {
    find(format("divergent __syncthreads: some threads at %s, some at %s", place(at).c_str(), place(barrier.at).c_str()),
         static_cast<unsigned>(at.line), static_cast<unsigned>(barrier.at.line), 7);
  }
  ++barrier.arrived;
  if (wait) barrier.waiting.push_back(&t);
  else release(t, barrier.released);
  if (ballot) barrier.ballots.push_back(ballot);
  check_barrier(b, id);
  if (!wait) return;
  if (barrier.arrived == 0) run_on_or_queue();
  else suspend(id ? "a named barrier" : "__syncthreads", at, static_cast<std::uintptr_t>(id));
}
}

void check_barrier(Block& b, int id) {
  Barrier& barrier = b.barriers[id];
  int const needed = barrier.expected ? barrier.expected : b.running;
  if (barrier.arrived == 0 || barrier.arrived < needed) return;
  ++engine.statistics.collectives;
  progress();
  int yes = 0;
  for (Ballot const* ballot : barrier.ballots) yes += ballot->in;
  for (Ballot* ballot : barrier.ballots) ballot->yes = yes, ballot->of = static_cast<int>(barrier.ballots.size());
  order(b, barrier.waiting.data(), barrier.waiting.size(), static_cast<int>(barrier.waiting.size()) == b.running, &barrier.released);
  for (Thread* t : barrier.waiting)
    if (t != engine.self) wake(*t);
  barrier.waiting.clear();
  barrier.ballots.clear();
  barrier.released.clear();
  barrier.arrived = 0;
}

void block_barrier(Where at) {
  Inside const inside;
  arrive(*engine.self, 0, 0, true, nullptr, at);
}
int block_vote(Vote vote, bool p, Where at) {
  Inside const inside;
  Ballot ballot{p, 0, 0};
  arrive(*engine.self, 0, 0, true, &ballot, at);
  return vote == Vote::count ? ballot.yes : vote == Vote::all ? ballot.yes == ballot.of : ballot.yes > 0;
}
void named_barrier(int id, int threads, bool wait, Where at) {
  Inside const inside;
  if (id < 1 || id > 15 || threads <= 0 || threads % 32)
    stop(format("barrier %d for %d threads at %s by %s", id, threads, place(at).c_str(), who(*engine.self).c_str()));
  arrive(*engine.self, id, threads, wait, nullptr, at);
}

}

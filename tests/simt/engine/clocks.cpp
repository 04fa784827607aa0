#include <algorithm>
#include "engine.hpp"

namespace simt {

void join(Clock& into, Clock const& from) {
  for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
}
View joined(View const& a, View const& b) {
  if (!a || a == b) return b;
  if (!b) return a;
  auto both = std::make_shared<Clock>(*a);
  join(*both, *b);
  return both;
}
Published joined(Published const& a, Published const& b) {
  if (!a || a == b) return b;
  if (!b) return a;
  auto both = std::make_shared<std::map<std::uint32_t, Clock>>(*a);
  for (auto const& [serial, clock] : *b) {
    auto const [mine, fresh] = both->try_emplace(serial, clock);
    if (!fresh) join(mine->second, clock);
  }
  return both;
}

void learn(Thread& t, unsigned agent, std::uint32_t time) {
  if (!instrumented || known(t, agent) >= time) return;
  auto mine = t.view ? std::make_shared<Clock>(*t.view) : std::make_shared<Clock>(t.block->floor.size());
  (*mine)[agent] = time;
  t.view = std::move(mine);
}

void order(Block& b, Thread* const* threads, std::size_t count, bool whole, Clock const* more) {
  if (!instrumented) return;
  Published published, acquired;
  View last;
  std::shared_ptr<Clock> shared;
  Clock& all = whole ? b.floor : *(shared = std::make_shared<Clock>(b.floor.size()));
  if (more && !more->empty()) join(all, *more);
  for (std::size_t i = 0; i < count; ++i) {
    Thread& t = *threads[i];
    if (t.view && t.view != last) join(all, *(last = t.view));             // threads that met before share one view
    all[t.rank] = std::max(all[t.rank], t.time++);
    published = joined(published, t.published);
    acquired = joined(acquired, t.acquired);
  }
  for (std::size_t i = 0; i < count; ++i) {
    threads[i]->view = shared;                                             // null: the floor says it all
    threads[i]->published = published;
    threads[i]->acquired = acquired;
  }
}

void release(Thread& t, Clock& into) {
  if (!instrumented) return;
  if (into.empty()) into.assign(t.block->floor.size(), 0);
  if (t.view) join(into, *t.view);
  into[t.rank] = std::max(into[t.rank], t.time++);
}
void acquire(Thread& t, View const& view) {
  if (instrumented) t.view = joined(t.view, view);
}

// A fence makes what the thread knows, of its own block and of others, ready to be passed on by its next atomic; and lets it rely on
// what earlier atomics brought.
void fence_device() {
  if (!instrumented) return;
  Inside const inside;
  Thread& t = *engine.self;
  Block& b = *t.block;
  if (t.pending) {
    t.acquired = joined(t.acquired, t.pending);
    auto const own = t.pending->find(b.serial);
    if (own != t.pending->end()) acquire(t, std::make_shared<Clock>(own->second));
    t.pending = nullptr;
  }
  Clock mine = b.floor;
  if (t.view) join(mine, *t.view);
  mine[t.rank] = std::max(mine[t.rank], t.time++);
  auto all = std::make_shared<std::map<std::uint32_t, Clock>>();
  (*all)[b.serial] = std::move(mine);
  t.published = joined(t.published, joined(Published{all}, t.acquired));
}

}

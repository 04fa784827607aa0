// Sets of operations, and which operation a block's serial number belongs to.
#include "operation.hpp"
#include <iterator>
#include "engine.hpp"

namespace simt {
namespace {

struct Range { std::uint32_t first; std::shared_ptr<Op> op; };
std::vector<Range> started;                      // by serial number

}

void Past::add(std::uint32_t id) {
  if (contains(id)) return;
  some.insert(std::upper_bound(some.begin(), some.end(), id), id);
  tidy();
}
void Past::add(Past const& other) {
  std::vector<std::uint32_t> both;
  std::set_union(some.begin(), some.end(), other.some.begin(), other.some.end(), std::back_inserter(both));
  some = std::move(both);
  all = std::max(all, other.all);
  tidy();
}
void Past::tidy() {
  std::size_t gone = 0;
  while (gone < some.size() && some[gone] <= all + 1) all = std::max(all, some[gone++]);
  some.erase(some.begin(), some.begin() + static_cast<std::ptrdiff_t>(gone));
}

std::uint32_t serials(std::uint32_t count, std::shared_ptr<Op> const& op) {
  std::uint32_t const first = engine.next_serial;
  engine.next_serial += count;
  started.push_back({first, op});
  return first;
}
Op const* op_of(std::uint32_t serial) {
  auto const it = std::upper_bound(started.begin(), started.end(), serial, [](std::uint32_t s, Range const& r) { return s < r.first; });
  return it == started.begin() ? nullptr : std::prev(it)->op.get();
}
std::uint32_t first_unordered(Past const& past) {
  for (Range const& r : started)
    if (!past.contains(r.op->id)) return r.first;
  return engine.next_serial;
}
void forget_serials() { started.clear(); }

}

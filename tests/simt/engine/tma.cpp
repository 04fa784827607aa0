// TMA: tiles copied between global and shared memory by an agent of their own, some time after the instruction.
#include <algorithm>
#include <cstring>
#include "mbarrier.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "tensor_map.hpp"

namespace simt {
namespace {

constexpr std::size_t grain = 16;                // the swizzle moves 16 bytes at a time

TensorMap map_of(CUtensorMap const* map, int rank, char const* what, std::uintptr_t pc) {
  TensorMap m;
  std::memcpy(static_cast<void*>(&m), map, sizeof m);
  if (reinterpret_cast<std::uintptr_t>(map) % 64 || m.magic != TensorMap::valid)
    stop(format("%s at %s: not a tensor map, by %s", what, site(pc).c_str(), who(*engine.self).c_str()));
  if (m.rank != rank)
    stop(format("%s at %s: %d coordinates for a tensor map of rank %d, by %s", what, site(pc).c_str(), rank, m.rank, who(*engine.self).c_str()));
  if (m.span && m.box[0] * m.element != m.span)
    stop(format("%s at %s: the box has rows of %d bytes, its swizzle rows of %d, by %s", what, site(pc).c_str(), m.box[0] * m.element, m.span,
                who(*engine.self).c_str()));
  return m;
}
void check_tile(void const* tile, TensorMap const& m, char const* what, std::uintptr_t pc) {
  Block const& b = *engine.self->block;
  auto const p = static_cast<char const*>(tile);
  if (device_offset(p) % 128 || p < b.shared || p + m.box_bytes() > b.shared + b.used_bytes)
    stop(format("%s at %s: the tile must be 128-byte aligned and inside the block's shared memory, by %s", what, site(pc).c_str(),
                who(*engine.self).c_str()));
}
// Visits the box in pieces of at most 16 bytes: f(shared piece, global piece or null when outside, bytes).
template <class F> void for_pieces(TensorMap const& m, int const* at, char* tile, F f) {
  std::size_t const row = std::size_t{m.box[0]} * m.element, rows = m.box_bytes() / row;
  char* const window = device_base + device_offset(tile) / window_bytes * window_bytes;
  for (std::size_t r = 0; r < rows; ++r) {
    std::uint64_t address = m.base;
    bool inside = true;
    for (std::size_t rest = r, i = 1; i < m.rank; rest /= m.box[i], ++i) {
      std::int64_t const c = at[i] + static_cast<std::int64_t>(rest % m.box[i]);
      inside = inside && c >= 0 && static_cast<std::uint64_t>(c) < m.extent(static_cast<int>(i));
      address += static_cast<std::uint64_t>(c) * m.stride[i - 1];           // modulo 2^64, as maps of ragged groups rely on
    }
    for (std::size_t byte = 0; byte < row; byte += grain) {
      auto const linear = static_cast<std::uint32_t>(tile - window + static_cast<std::ptrdiff_t>(r * row + byte));
      char* const shared = window + swizzled(linear, m.span);
      for (std::size_t e = 0; e < grain;) {                               // runs of elements that are all inside or all outside
        auto const column = [&](std::size_t i) { return at[0] + static_cast<std::int64_t>((byte + i) / m.element); };
        auto const in = [&](std::size_t i) { return inside && column(i) >= 0 && static_cast<std::uint64_t>(column(i)) < m.extent(0); };
        std::size_t end = e + m.element;
        while (end < grain && in(end) == in(e)) end += m.element;
        f(shared + e, in(e) ? reinterpret_cast<char*>(address + static_cast<std::uint64_t>(column(e)) * m.element) : nullptr, end - e);
        e = end;
      }
    }
  }
}
void check_global(char const* p, std::size_t n, char const* what, std::uintptr_t pc) {
  if (!on_device(p) || in_shared(p)) stop(format("%s at %s leaves device memory, by %s", what, site(pc).c_str(), who(*engine.self).c_str()));
  if (!instrumented) return;
  for (std::size_t i = 0; i < n; ++i) {
    Byte const b = byte_at(p + i);
    if (b == Byte::unallocated) stop(format("%s at %s: out of bounds of global memory, by %s", what, site(pc).c_str(), who(*engine.self).c_str()));
    if (b == Byte::in_flight)
      find(format("missing wait: %s at %s touches global memory with another copy in flight", what, site(pc).c_str()), pc, 0, 3);
  }
}

struct Load final : Flight {
  TensorMap map;
  int at[5]{};
  char* to = nullptr;
  std::uint64_t* bar = nullptr;
  unsigned agent = 0;
  std::uint32_t time = 0;
  void land() override {
    for_pieces(map, at, to, [](char* shared, char const* global, std::size_t n) {
      if (global) std::memcpy(shared, global, n), arrive(shared, global, n);
      else std::memset(shared, 0, n), set_bytes(shared, n, Byte::initialised);
    });
    MBarrier& m = block->mbarriers.at(bar);
    if (instrumented) m.collected[block->threads.size() + agent] = std::max(m.collected[block->threads.size() + agent], time);
    m.bytes -= static_cast<std::int64_t>(map.box_bytes());
    advance(m);
  }
};

unsigned store_agent(Thread const& t) {
  auto& known = t.block->bulk_agents_of;
  return known.try_emplace(t.rank, static_cast<unsigned>(known.size()) % store_agents).first->second;
}

}

struct Store final : Flight {
  TensorMap map;
  int at[5]{};
  char* from = nullptr;
  std::vector<char> data;                        // what was read of shared memory
  bool has_read = false, has_written = false, awaited = false;
  std::uint32_t read_time = 0, write_time = 0;
  void read() {
    if (has_read) return;
    has_read = true;
    for_pieces(map, at, from, [&](char const* shared, char const*, std::size_t n) { data.insert(data.end(), shared, shared + n); });
  }
  void land() override {
    read();
    if (has_written) return;
    has_written = true;
    char const* piece = data.data();
    for_pieces(map, at, from, [&](char*, char* global, std::size_t n) {
      if (global) {
        std::memcpy(global, piece, n);
        set_bytes(global, n, Byte::initialised);
      }
      piece += n;
    });
  }
};

void tma_prefetch(CUtensorMap const* map) {
  Inside const inside;
  require_sm(90, "prefetch.tensormap");
  TensorMap m;
  std::memcpy(static_cast<void*>(&m), map, sizeof m);
  if (m.magic != TensorMap::valid) stop(format("prefetch of what is no tensor map at %s by %s", site(SIMT_CALLER).c_str(), who(*engine.self).c_str()));
}

void tma_load(void* to, CUtensorMap const* map, std::uint64_t* bar, int rank, int const* at) {
  Inside const inside;
  auto const pc = SIMT_CALLER;
  Thread& t = *engine.self;
  Block& b = *t.block;
  require_sm(90, "a TMA load");
  auto load = std::make_shared<Load>();
  load->map = map_of(map, rank, "TMA load", pc);
  std::copy(at, at + rank, load->at);
  load->to = static_cast<char*>(to);
  load->bar = bar;
  load->block = &b;
  check_tile(to, load->map, "TMA load", pc);
  MBarrier& m = mbarrier_at(bar, "TMA load", pc);
  if (instrumented) check_access(bar, 8, Access::atomic, pc);
  if (!m.fenced && m.initialised_by->fenced < m.initialised_at)
    find(format("missing fence: an mbarrier is used by a TMA load at %s, and nobody made its initialisation visible to it (fence_barrier_init)",
                site(pc).c_str()), pc, 0, 10);
  load->agent = m.agent;
  if (instrumented) {
    Actor const me = as_agent(t, m.agent);
    load->time = me.time;
    std::size_t const bytes = load->map.box_bytes();
    for (std::size_t i = 0; i < bytes; i += 4)
      if (byte_at(load->to + i) == Byte::in_flight) {
        find(format("missing wait: TMA load at %s over bytes that another copy has in flight", site(pc).c_str()), pc, 0, 5);
        break;
      }
    record(me, to, bytes, true, false, pc);
    for_pieces(load->map, at, load->to, [&](char*, char const* global, std::size_t n) {
      if (!global) return;
      check_global(global, n, "TMA load", pc);
      record(me, global, n, false, false, pc);
    });
    set_bytes(to, bytes, Byte::in_flight);
  } else {
    for_pieces(load->map, at, load->to, [&](char*, char const* global, std::size_t n) {
      if (global) check_global(global, n, "TMA load", pc);
    });
  }
  std::memset(to, 0xff, load->map.box_bytes());
  if (engine.config.landing == Landing::early) load->land();
  else engine.flights.push_back(std::move(load));
}

void tma_store(CUtensorMap const* map, void const* from, int rank, int const* at) {
  Inside const inside;
  auto const pc = SIMT_CALLER;
  Thread& t = *engine.self;
  require_sm(90, "a TMA store");
  auto store = std::make_shared<Store>();
  store->map = map_of(map, rank, "TMA store", pc);
  std::copy(at, at + rank, store->at);
  store->from = static_cast<char*>(const_cast<void*>(from));
  store->block = t.block;
  store->kernel = t.block->kernel;
  check_tile(from, store->map, "TMA store", pc);
  if (instrumented) {
    Actor const reader = as_agent(t, first_store_read + store_agent(t)), writer = as_agent(t, first_store_write + store_agent(t));
    store->read_time = reader.time, store->write_time = writer.time;
    record(reader, from, store->map.box_bytes(), false, false, pc);
    bool complete = true;
    for_pieces(store->map, at, store->from, [&](char const* shared, char* global, std::size_t n) {
      if (!global) return;
      complete = complete && all_bytes(shared, n, Byte::initialised);
      check_global(global, n, "TMA store", pc);
      record(writer, global, n, true, false, pc);
      set_bytes(global, n, Byte::in_flight);
    });
    if (!complete)
      find(format("TMA store at %s reads shared memory that is uninitialised or has a copy in flight, by %s", site(pc).c_str(), who(t).c_str()), pc,
           0, 6);
  } else {
    for_pieces(store->map, at, store->from, [&](char*, char* global, std::size_t n) {
      if (global) check_global(global, n, "TMA store", pc);
    });
  }
  t.stores.open.push_back(store);
  if (engine.config.landing == Landing::early) store->land();
  else engine.flights.push_back(std::move(store));
}
void bulk_commit() {
  Inside const inside;
  Groups<std::shared_ptr<Store>>& stores = engine.self->stores;
  stores.committed.push_back(std::move(stores.open));
  stores.open.clear();
}
void bulk_wait(int pending, bool read_only) {
  Inside const inside;
  Thread& t = *engine.self;
  auto& committed = t.stores.committed;
  auto const threads = static_cast<unsigned>(t.block->threads.size());
  std::size_t const over = committed.size() - std::min(committed.size(), static_cast<std::size_t>(pending));
  for (std::size_t i = 0; i < over; ++i)
    for (auto const& store : committed[i]) {
      read_only ? store->read() : store->land();
      store->awaited = true;
      learn(t, threads + first_store_read + store_agent(t), store->read_time);
      if (!read_only) learn(t, threads + first_store_write + store_agent(t), store->write_time);
    }
  if (!read_only) committed.erase(committed.begin(), committed.begin() + static_cast<std::ptrdiff_t>(over));
}
void check_stores_at_end(Thread& t) {
  if (t.stores.open.empty() && t.stores.committed.empty()) return;
  bool left = !t.stores.open.empty();
  for (auto const& group : t.stores.committed)
    for (auto const& store : group) {
      left = left || !store->awaited;
      store->read();
    }
  for (auto const& store : t.stores.open) store->read();
  if (left) find(who(t) + " ends with TMA stores that may not have read their shared memory yet (tma_store_commit, tma_store_wait_read)", 0, 0, 23);
  t.stores = {};
}
// The end of a kernel waits for what its stores write.
void flush_stores(Kernel& kernel) {
  for (auto& flight : engine.flights)
    if (flight->kernel == &kernel) flight->land();
  std::erase_if(engine.flights, [&](auto const& flight) { return flight->kernel == &kernel; });
}
void check_block_end(Block& b) {
  for (auto const& flight : engine.flights)
    if (flight->block == &b && dynamic_cast<Load const*>(flight.get()))
      find(format("block (%u,%u,%u) ends with a TMA load in flight", b.index.x, b.index.y, b.index.z), 0, 0, 24);
  check_products_at_end(b);
}

}

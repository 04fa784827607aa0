// wgmma m64nNk16 with both operands in shared memory, K-major or (128-byte swizzle only) MN-major; and setmaxnreg.
#include "wgmma.hpp"
#include <algorithm>
#include <cstring>
#include <limits>
#include "half.hpp"
#include "memory.hpp"
#include "shadow.hpp"
#include "tensor_map.hpp"

namespace simt {
namespace {

char* window_of(Block const& b) { return b.shared - window_start; }
WarpProducts& products_of(Thread const& t) {
  auto& mine = t.block->products[t.warp];
  if (!mine) mine = std::make_unique<WarpProducts>(WarpProducts{.block = t.block, .warp = t.warp, .open = {}, .committed = {}, .busy = {}, .log = {}});
  return *mine;
}

// The bits of a descriptor: address / 16 in 0-13, LBO / 16 in 16-29, SBO / 16 in 32-45, base offset in 49-51, layout in 62-63.
struct Layout { std::uint32_t start, leading, stride; unsigned span; };
Layout layout_of(std::uint64_t d) {
  unsigned const code = static_cast<unsigned>(d >> 62);
  return {static_cast<std::uint32_t>(d & 0x3fff) << 4, static_cast<std::uint32_t>(d >> 16 & 0x3fff) << 4,
          static_cast<std::uint32_t>(d >> 32 & 0x3fff) << 4,
          code == 1 ? 128u : code == 2 ? 64u : code == 3 ? 32u : 0u};
}
// Where 16 bytes of a row are: elements k to k + 7.
std::uint32_t address_of(Layout const& l, int row, int k) {
  auto const r = static_cast<std::uint32_t>(row), bytes = static_cast<std::uint32_t>(k) * 2;
  if (l.span) return swizzled(l.start + r / 8 * l.stride + r % 8 * l.span + bytes, l.span);
  return l.start + r / 8 * l.stride + bytes / 16 * l.leading + r % 8 * 16;
}
// The same of an MN-major tile: rows row to row + 7 of one k. Swizzled rows hold 64 along M or N; LBO leads to the next 64, SBO to the next 8 along K.
std::uint32_t mn_address_of(Layout const& l, int row, int k) {
  auto const r = static_cast<std::uint32_t>(row), u = static_cast<std::uint32_t>(k);
  return swizzled(l.start + r / 64 * l.leading + u / 8 * l.stride + u % 8 * 128 + r % 64 * 2, 128);
}
// f(row, k, address) of 8 elements, along K or, MN-major, along the rows.
template <class F> void for_chunks(Operand const& operand, int first, int rows, F f) {
  Layout const layout = layout_of(operand.descriptor);
  if (operand.mn_major) {
    for (int k = 0; k < 16; ++k)
      for (int row = first; row < first + rows; row += 8) f(row - first, k, mn_address_of(layout, row, k));
    return;
  }
  for (int row = first; row < first + rows; ++row)
    for (int k = 0; k < 16; k += 8) f(row - first, k, address_of(layout, row, k));
}
template <class F> void for_values(char const* window, Half type, Operand const& operand, int first, int rows, F f) {
  for_chunks(operand, first, rows, [&](int row, int k, std::uint32_t address) {
    for (int i = 0; i < 8; ++i) {
      std::uint16_t v;
      std::memcpy(&v, window + address + 2 * i, 2);
      f(operand.mn_major ? row + i : row, operand.mn_major ? k : k + i, value_of(v, type));
    }
  });
}

void compute(WarpProducts const& w, Product& p) {
  if (p.done) return;
  p.done = true;
  static thread_local std::vector<float> a, b;
  a.resize(16 * 16), b.resize(static_cast<std::size_t>(16 * p.width));
  char const* const window = window_of(*w.block);
  for_values(window, p.type, p.a, static_cast<int>(w.warp % 4) * 16, 16, [&](int row, int k, float v) { a[static_cast<std::size_t>(row * 16 + k)] = v; });
  for_values(window, p.type, p.b, 0, p.width, [&](int row, int k, float v) { b[static_cast<std::size_t>(k * p.width + row)] = v; });
  if (!p.accumulate) std::fill(p.to->value.begin(), p.to->value.end(), 0.f);
  multiply_add(p.to->value.data(), a.data(), b.data(), 16, p.width, matrix_unit(9));
}
// All up to this one: products of a warp take place in order.
void compute_up_to(WarpProducts const& w, Product const* last) {
  auto const visit = [&](auto const& group) {
    for (auto const& p : group) {
      compute(w, *p);
      if (p.get() == last) return true;
    }
    return false;
  };
  for (auto const& group : w.committed)
    if (visit(group)) return;
  visit(w.open);
}
struct ProductFlight final : Flight {
  WarpProducts* warp = nullptr;
  std::shared_ptr<Product> product;
  void land() override {
    if (!product->done) compute_up_to(*warp, product.get());
  }
};

// f(value, accumulator of its lane): D's element map.
template <class F> void for_elements(Accumulators& acc, F f) {
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < acc.width / 2; ++i) {
      int const row = lane / 4 + 8 * (i / 2 % 2), column = i / 4 * 8 + 2 * (lane % 4) + i % 2;
      f(acc.value[static_cast<std::size_t>(row * acc.width + column)], acc.of_lane[lane][i]);
    }
}

struct Call { float* d; int width; Operand a, b; bool accumulate; Half type; std::uintptr_t pc; };

// The hardware takes more than these; but what TMA writes with the 128-byte swizzle is always so.
void check_mn_layout(Thread const& t, Layout const& l, int rows, std::uintptr_t pc) {
  auto const refuse = [&](char const* why) { stop(format("wgmma at %s: an MN-major tile %s, by %s", site(pc).c_str(), why, who(t).c_str())); };
  if (l.span != 128) refuse("without the 128-byte swizzle is not modelled");
  if (l.start % 1024) refuse("must start at a multiple of 1024 bytes");
  if (l.stride == 0 || l.stride % 1024) refuse("needs a stride byte offset (to the next 8 along K) that is a multiple of 1024");
  if (rows > 64 && (l.leading == 0 || l.leading % 1024)) refuse("needs a leading byte offset (to the next 64 along M or N) that is a multiple of 1024");
}
void check_operand(Thread const& t, Actor const& me, Operand const& operand, int first, int rows, std::uintptr_t pc) {
  Block const& b = *t.block;
  Layout const l = layout_of(operand.descriptor);
  if (operand.mn_major) check_mn_layout(t, l, rows, pc);
  if (operand.descriptor >> 49 & 7 || (l.span && l.start % 16))
    stop(format("wgmma at %s: a tile that does not start where its swizzle does is not modelled, by %s", site(pc).c_str(), who(t).c_str()));
  for_chunks(operand, first, rows, [&](int, int, std::uint32_t address) {
    char const* const p = window_of(b) + address;
    if (p < b.shared || p + 16 > b.shared + b.used_bytes)
      stop(format("wgmma at %s reads outside the block's shared memory, by %s", site(pc).c_str(), who(t).c_str()));
    if (!instrumented) return;
    bool flying = false, missing = false;
    for (int i = 0; i < 16; ++i) flying = flying || byte_at(p + i) == Byte::in_flight, missing = missing || byte_at(p + i) == Byte::uninitialised;
    if (flying || missing)
      find(format("%s at %s by the warp of %s", flying ? "missing wait: wgmma of bytes that a copy has in flight," : "wgmma reads uninitialised shared memory",
                  site(pc).c_str(), who(t).c_str()), pc, flying, 6);
    record(me, p, 16, false, false, pc);
  });
}

void start_product(void* const* lanes, unsigned) {
  Thread& t = *engine.self;
  Block& b = *t.block;
  auto const& call = *static_cast<Call*>(lanes[0]);
  WarpProducts& w = products_of(t);
  for (int i = 1; i < 32; ++i) {
    auto const& other = *static_cast<Call*>(lanes[i]);
    if (other.a.descriptor != call.a.descriptor || other.b.descriptor != call.b.descriptor || other.accumulate != call.accumulate)
      stop(format("wgmma at %s: lanes disagree, by the warp of %s", site(call.pc).c_str(), who(t).c_str()));
  }
  if ((t.warp / 4 + 1) * 128 > b.threads.size())
    stop(format("wgmma at %s needs whole warpgroups of 128 threads, by %s", site(call.pc).c_str(), who(t).c_str()));

  std::shared_ptr<Accumulators> acc;
  for (auto const& busy : w.busy)
    if (busy->of_lane[0] == call.d) acc = busy;
  if (!acc && !w.fenced)
    find(format("missing wgmma_fence before the first product on its accumulators, at %s by the warp of %s", site(call.pc).c_str(), who(t).c_str()),
         call.pc, 0, 11);
  if (acc && acc->width != call.width)
    stop(format("wgmma at %s: products of different widths on the same accumulators, by %s", site(call.pc).c_str(), who(t).c_str()));
  if (!acc) {
    acc = std::make_shared<Accumulators>();
    acc->width = call.width;
    for (int i = 0; i < 32; ++i) acc->of_lane[i] = static_cast<Call*>(lanes[i])->d;
    acc->value.resize(static_cast<std::size_t>(16 * call.width));
    for_elements(*acc, [](float& value, float& d) { value = d, d = std::numeric_limits<float>::quiet_NaN(); });
    w.busy.push_back(acc);
  }
  ++acc->pending;
  auto product = std::make_shared<Product>(Product{.a = call.a, .b = call.b, .width = call.width, .accumulate = call.accumulate, .type = call.type,
                                                   .to = acc});
  Actor const me = instrumented ? as_agent(t, first_product + t.warp % product_agents) : Actor{};
  product->time = me.time;
  check_operand(t, me, call.a, static_cast<int>(t.warp % 4) * 16, 16, call.pc);
  check_operand(t, me, call.b, 0, call.width, call.pc);
  w.log.push_back((call.a.descriptor * 31 + call.b.descriptor) * 31 + static_cast<unsigned>(call.width) * 8 + call.a.mn_major * 4u + call.b.mn_major * 2u + call.accumulate);
  w.open.push_back(product);
  if (engine.config.landing == Landing::early) {
    compute_up_to(w, product.get());
  } else if (engine.config.landing == Landing::any) {
    auto flight = std::make_shared<ProductFlight>();
    flight->block = &b;
    flight->warp = &w;
    flight->product = std::move(product);
    engine.flights.push_back(std::move(flight));
  }
}

}

std::uint64_t descriptor(void const* tile, std::uint32_t leading_bytes) {
  Inside const inside;
  Block const& b = *engine.self->block;
  auto const p = static_cast<char const*>(tile);
  if (p < b.shared || p >= b.shared + b.used_bytes)
    stop(format("descriptor at %s of what is not in the block's shared memory, by %s", site(SIMT_CALLER).c_str(), who(*engine.self).c_str()));
  auto const address = static_cast<std::uint64_t>(p - window_of(b));
  return address >> 4 | std::uint64_t{leading_bytes >> 4} << 16 | std::uint64_t{1024 >> 4} << 32 | std::uint64_t{1} << 62;
}
void wgmma_fence(Where at) {
  Inside const inside;
  require_sm(90, "wgmma");
  meet(~0u, "wgmma.fence", nullptr, [](void* const*, unsigned) { products_of(*engine.self).fenced = true; }, false, false, at);
}
void wgmma(float* d, int width, Operand a, Operand b, bool accumulate, Half type, Where at) {
  Inside const inside;
  require_sm(90, "wgmma");
  Call call{d, width, a, b, accumulate, type, SIMT_CALLER};
  meet(~0u, "wgmma", &call, &start_product, false, false, at);
}
void wgmma_commit(Where at) {
  Inside const inside;
  meet(~0u, "wgmma.commit_group", nullptr, [](void* const*, unsigned) {
    WarpProducts& w = products_of(*engine.self);
    w.committed.push_back(std::move(w.open));
    w.open.clear();
  }, false, false, at);
}
void wgmma_wait(int pending, Where at) {
  Inside const inside;
  meet(~0u, "wgmma.wait_group", &pending, [](void* const* lanes, unsigned) {
    Thread& t = *engine.self;
    Block& b = *t.block;
    WarpProducts& w = products_of(t);
    std::uint32_t latest = 0;
    while (w.committed.size() > static_cast<std::size_t>(*static_cast<int*>(lanes[0]))) {
      for (auto const& p : w.committed.front()) {
        compute(w, *p);
        latest = std::max(latest, p->time);
        if (--p->to->pending) continue;
        for_elements(*p->to, [](float const& value, float& d) { d = value; });
        std::erase(w.busy, p->to);
      }
      w.committed.pop_front();
    }
    w.fenced = false;                            // ordinary code may touch the accumulators now
    for (unsigned i = 0; i < 32 && latest; ++i)
      learn(*b.threads[t.warp * 32 + i], static_cast<unsigned>(b.threads.size()) + first_product + t.warp % product_agents, latest);
  }, false, false, at);
}
void check_products_at_end(Block& b) {
  for (unsigned warp = 0; warp < b.products.size(); ++warp) {
    unsigned const leader = warp / 4 * 4;
    WarpProducts const *const w = b.products[warp].get(), *const first = b.products[leader].get();
    if (w && !w->busy.empty())
      find(format("warp %u of block (%u,%u,%u) ends with products that it never waited for", warp, b.index.x, b.index.y, b.index.z), 0, 0, 25);
    if ((w || first) && (!w || !first || w->log != first->log))
      find(format("warps %u and %u of block (%u,%u,%u) are of one warpgroup and did not issue the same products", leader, warp, b.index.x, b.index.y,
                  b.index.z), 0, 0, 26);
  }
}

// Registers come out of what is left of the multiprocessor's; `more` waits until somebody gave enough back.
void set_registers(int count, bool more, Where at) {
  Inside const inside;
  require_sm(90, "setmaxnreg");
  Thread& t = *engine.self;
  Block& b = *t.block;
  static char const* const kinds[]{"setmaxnreg.dec", "setmaxnreg.inc"};
  meet(~0u, kinds[more], nullptr, nullptr, false, false, at);
  int& mine = b.registers[t.warp];
  if (more) {
    while (mine < count && b.free_registers < (count - mine) * 32) {
      b.want_registers.push_back(&t);
      suspend("registers (setmaxnreg.inc)", at);
    }
    if (mine < count) b.free_registers -= (count - mine) * 32, mine = count;
  } else if (mine > count) {
    b.free_registers += (mine - count) * 32, mine = count;
    for (Thread* waiting : b.want_registers) wake(*waiting);
    b.want_registers.clear();
  }
}

}

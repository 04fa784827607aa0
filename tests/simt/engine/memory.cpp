#include "memory.hpp"
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <iterator>
#include <map>
#include <sys/mman.h>
#include <vector>
#include "shadow.hpp"

namespace simt {
namespace {
constexpr std::size_t grain = 512;               // allocations start at multiples of it, as cudaMalloc's do at 256 or more
constexpr std::size_t quarantine_bytes = std::size_t{4} << 20;
struct Space {
  std::map<char*, std::size_t> used, unused;     // by address; unused holds room, used holds bytes asked for
  std::deque<char*> freed;                       // not reused yet, so that a use after free is found
  std::map<char*, std::size_t> freed_room;
  std::size_t freed_bytes = 0, in_use = 0;
  std::vector<char*> windows_unused;
};
Space& space() {
  static Space s;
  return s;
}
std::size_t room_for(std::size_t bytes) { return (bytes + grain - 1) / grain * grain + grain; }              // and a gap

void merge(char* p, std::size_t room) {
  auto& unused = space().unused;
  auto after = unused.lower_bound(p);
  if (after != unused.end() && p + room == after->first) room += after->second, after = unused.erase(after);
  if (after != unused.begin()) {
    auto const before = std::prev(after);
    if (before->first + before->second == p) {
      before->second += room;
      return;
    }
  }
  unused[p] = room;
}
}

char* device_base;
void make_device_memory() {
  if (device_base) return;
  constexpr std::size_t alignment = std::size_t{1} << 20;
  void* const memory = mmap(nullptr, device_bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("simt: device memory");
    std::abort();
  }
  device_base = static_cast<char*>(memory) + (alignment - reinterpret_cast<std::uintptr_t>(memory) % alignment) % alignment;
  space().unused[device_base + shared_bytes + grain] = global_bytes - 2 * grain;
  if (instrumented) make_shadow();
  for (std::size_t i = windows; i-- > 0;) space().windows_unused.push_back(device_base + i * window_bytes);
}

char* take_window() {
  make_device_memory();
  auto& unused = space().windows_unused;
  if (unused.empty()) {
    std::fprintf(stderr, "simt: more than %zu blocks alive\n", windows);
    std::abort();
  }
  char* const window = unused.back();
  unused.pop_back();
  return window;
}
void give_window(char* window) { space().windows_unused.push_back(window); }

void* allocate_global(std::size_t bytes) {
  make_device_memory();
  Space& s = space();
  std::size_t const room = room_for(bytes);
  for (auto& [p, size] : s.unused) {
    if (size < room) continue;
    char* const at = p;
    std::size_t const rest = size - room;
    s.unused.erase(at);
    if (rest) s.unused[at + room] = rest;
    s.used[at] = bytes;
    s.in_use += bytes;
    return at;
  }
  return nullptr;
}
std::size_t free_global(void* p) {
  Space& s = space();
  auto const it = s.used.find(static_cast<char*>(p));
  if (it == s.used.end()) return 0;
  std::size_t const bytes = it->second, room = room_for(bytes);
  s.in_use -= bytes;
  s.used.erase(it);
  s.freed.push_back(static_cast<char*>(p));
  s.freed_room[static_cast<char*>(p)] = room;
  s.freed_bytes += room;
  if (room >= (std::size_t{64} << 10)) return_pages(p, bytes);
  while (s.freed_bytes > quarantine_bytes) {
    char* const oldest = s.freed.front();
    s.freed.pop_front();
    auto const entry = s.freed_room.find(oldest);
    s.freed_bytes -= entry->second;
    merge(oldest, entry->second);
    s.freed_room.erase(entry);
  }
  return bytes;
}
void* allocation_of(void const* address, std::size_t* bytes) {
  auto const p = const_cast<char*>(static_cast<char const*>(address));
  auto after = space().used.upper_bound(p);
  if (after == space().used.begin()) return nullptr;
  --after;
  if (p >= after->first + after->second) return nullptr;
  if (bytes) *bytes = after->second;
  return after->first;
}
std::size_t global_in_use() { return space().in_use; }
int allocation_count() { return static_cast<int>(space().used.size()); }

}

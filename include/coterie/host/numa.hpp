// Memory nodes: which there are, which processors each has, and weights placed on the node that reads them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#if defined(__linux__)
#include <fcntl.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace coterie { inline namespace v0 { namespace host {

#if defined(__linux__)
using Processors = cpu_set_t;
#else
struct Processors {};
#endif

// The nodes that have processors for this process, in the order of their ids. Whatever is split among them is split into
// contiguous shares in proportion to their processors: by one rule, so that who packs and who computes agree.
struct Nodes {
  static constexpr int most = 64, ids = 1024;
  int count = 1;
  int id[most] = {};
  int before[most + 1] = {0, 1};                 // processors of the nodes before the i-th; of all
  Processors processors[most] = {};              // empty where there is one node

  // The first of n things that is the i-th node's; the last one's end is first(count, n) == n.
  std::int64_t first(int i, std::int64_t n) const { return n / before[count] * before[i] + n % before[count] * before[i] / before[count]; }
  // Which node has the j-th of n things.
  int of(std::int64_t j, std::int64_t n) const {
    int i = 0;
    while (i + 1 < count && j >= first(i + 1, n)) ++i;
    return i;
  }
  // Which node has this processor; the first where none does.
  int with(int processor) const {
#if defined(__linux__)
    for (int i = 0; i < count && processor >= 0 && processor < CPU_SETSIZE; ++i)
      if (CPU_ISSET(static_cast<unsigned>(processor), &processors[i])) return i;
#endif
    (void)processor;
    return 0;
  }
};

// Calls each(number) for "0-3,8": a list as the kernel writes it. False, perhaps after some calls, where it is none.
template <class Each> bool parse_list(std::string_view text, Each const& each) {
  constexpr int limit = 1 << 20;
  std::size_t at = 0;
  auto const number = [&](int& n) {
    std::size_t const start = at;
    for (n = 0; at < text.size() && text[at] >= '0' && text[at] <= '9' && n < limit; ++at) n = n * 10 + (text[at] - '0');
    return at > start && n < limit;
  };
  while (at < text.size() && text[at] != '\n') {
    int first = 0, last = 0;
    if (!number(first)) return false;
    last = first;
    if (at < text.size() && text[at] == '-' && (++at, !number(last) || last < first)) return false;
    for (int n = first; n <= last; ++n) each(n);
    if (at < text.size() && text[at] == ',') ++at;
    else break;
  }
  return at >= text.size() || text[at] == '\n';
}

#if defined(__linux__)
// A short text file of the kernel's; empty where it cannot be read.
inline std::string read_line(std::string const& path) {
  char room[4096];
  int const d = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t const n = d < 0 ? 0 : ::read(d, room, sizeof room);
  if (d >= 0) ::close(d);
  return n > 0 ? std::string(room, static_cast<std::size_t>(n)) : std::string();
}

// Nodes under `root` that have some of the processors `allowed`. One node where there is only one, or where they cannot be
// read.
inline Nodes nodes(Processors const& allowed, std::string const& root = "/sys/devices/system/node") {
  Nodes found, one;
  found.count = 0;
  bool read = true;
  bool const listed = parse_list(read_line(root + "/online"), [&](int id) {
    Processors mine;
    CPU_ZERO(&mine);
    read = read && parse_list(read_line(root + "/node" + std::to_string(id) + "/cpulist"), [&](int p) {
      if (p < CPU_SETSIZE && CPU_ISSET(static_cast<unsigned>(p), &allowed)) CPU_SET(static_cast<unsigned>(p), &mine);
    });
    if (int const n = CPU_COUNT(&mine); n > 0 && found.count < Nodes::most && id < Nodes::ids) {           // a node may have memory only
      found.id[found.count] = id, found.processors[found.count] = mine;
      found.before[found.count + 1] = found.before[found.count] + n;
      ++found.count;
    }
  });
  return listed && read && found.count > 1 ? found : one;
}
#endif

// Those of this process.
inline Nodes nodes() {
#if defined(__linux__)
  Processors allowed;
  if (read_line("/sys/devices/system/node/online") != "0\n" && sched_getaffinity(0, sizeof allowed, &allowed) == 0) return nodes(allowed);
#endif
  return {};
}

// Bytes [begin, end) from `data` on whose pages are to be the i-th node's, where `bytes` bytes are read by tasks of
// `task_bytes`: from the page on which its share begins to that on which the next one's does. Shares of many huge pages are
// cut between two of them.
struct Share { std::intptr_t begin, end; };
inline Share share(Nodes const& nodes, int i, std::byte const* data, std::size_t bytes, std::size_t task_bytes, std::size_t page) {
  constexpr std::size_t huge = std::size_t{2} << 20;
  std::size_t const cut = bytes / static_cast<std::size_t>(nodes.count) >= 8 * huge ? huge : page;
  auto const start = reinterpret_cast<std::uintptr_t>(data), from = start / page * page;
  auto const tasks = static_cast<std::int64_t>((bytes + task_bytes - 1) / task_bytes);
  auto const edge = [&](int n) {
    if (n == nodes.count) return static_cast<std::intptr_t>(bytes);
    std::uintptr_t const at = n == 0 ? from : (start + static_cast<std::uintptr_t>(nodes.first(n, tasks)) * task_bytes) / cut * cut;
    return static_cast<std::intptr_t>((at < from ? from : at) - start);
  };
  return {edge(i), edge(i + 1)};
}

// Before they are written: pages of [data, data + bytes) go to the nodes whose tasks read them, and those that are there
// already move. Preferred, not bound: a full node is no error. Nothing where there is one node.
// place() splits the kernel's record of the mapping; settle(), once all is written, makes it whole again, and the pages stay.
inline void place(Nodes const& nodes, std::byte* data, std::size_t bytes, std::size_t task_bytes) {
#if defined(__linux__) && defined(SYS_mbind)
  if (nodes.count == 1 || bytes == 0) return;
  constexpr int preferred = 1, move = 1 << 1;              // of linux/mempolicy.h
  auto const page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < nodes.count; ++i) {
    Share const s = share(nodes, i, data, bytes, task_bytes, page);
    constexpr int word = 8 * sizeof(unsigned long);
    unsigned long mask[Nodes::ids / word] = {};
    mask[nodes.id[i] / word] = 1ul << nodes.id[i] % word;
    if (s.begin < s.end) ::syscall(SYS_mbind, data + s.begin, static_cast<unsigned long>(s.end - s.begin), preferred, mask, 8 * sizeof mask, move);
  }
#else
  (void)nodes, (void)data, (void)bytes, (void)task_bytes;
#endif
}
inline void settle(Nodes const& nodes, std::byte* data, std::size_t bytes) {
#if defined(__linux__) && defined(SYS_mbind)
  if (nodes.count == 1 || bytes == 0) return;
  auto const page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE)), at = reinterpret_cast<std::uintptr_t>(data) % page;
  ::syscall(SYS_mbind, data - at, bytes + at, 0, nullptr, 0ul, 0);       // the default policy
#else
  (void)nodes, (void)data, (void)bytes;
#endif
}

}}}

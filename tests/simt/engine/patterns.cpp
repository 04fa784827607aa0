// Access patterns: what the n-th execution of one instruction by the lanes of one warp touched together.
#include <algorithm>
#include "memory.hpp"
#include "shadow.hpp"

namespace simt {
namespace {

struct Touch { unsigned lane; std::size_t bytes; std::uintptr_t address; };
struct Key {
  std::uint32_t serial, warp, repeat;
  std::uintptr_t pc;                             // and, in the lowest bit, whether it writes
  bool operator==(Key const&) const = default;
};
struct Hash {
  std::size_t operator()(Key const& k) const { return (k.pc * 31 + k.serial) * 0x9e3779b97f4a7c15u + (std::size_t{k.repeat} << 8 | k.warp); }
};
std::unordered_map<Key, std::vector<Touch>, Hash> touches;
std::unordered_map<Key, std::uint32_t, Hash> repeats;                      // by thread: `repeat` is the rank
std::unordered_map<std::uintptr_t, Pattern> patterns;

// 32 banks of 4 bytes; accesses of 8 bytes go by half warps, of 16 by quarters.
void add_shared(std::vector<Touch> const& request, Pattern& p) {
  std::size_t const bytes = request[0].bytes;
  unsigned const group = bytes == 16 ? 8 : bytes == 8 ? 16 : 32;
  for (unsigned first = 0; first < 32; first += group) {
    std::vector<std::uintptr_t> words;
    for (Touch const& t : request)
      if (t.lane / group == first / group)
        for (std::uintptr_t w = t.address / 4; w <= (t.address + t.bytes - 1) / 4; ++w) words.push_back(w);
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    std::uint64_t per_bank[32]{};
    for (std::uintptr_t w : words) ++per_bank[w % 32];
    p.cost += *std::max_element(per_bank, per_bank + 32);
    p.ideal += !words.empty();
  }
}
void add_global(std::vector<Touch> const& request, Pattern& p) {
  std::vector<std::uintptr_t> sectors, bytes;
  for (Touch const& t : request)
    for (std::size_t i = 0; i < t.bytes; ++i) bytes.push_back(t.address + i);
  std::sort(bytes.begin(), bytes.end());
  bytes.erase(std::unique(bytes.begin(), bytes.end()), bytes.end());
  for (std::uintptr_t b : bytes)
    if (sectors.empty() || sectors.back() != b / 32) sectors.push_back(b / 32);
  p.cost += sectors.size();
  p.ideal += (bytes.size() + 31) / 32;
}

}

void note_pattern(Thread const& t, void const* p, std::size_t bytes, bool write, std::uintptr_t pc) {
  std::uintptr_t const key = pc << 1 | static_cast<unsigned>(write);
  std::uint32_t const repeat = repeats[{t.block->serial, t.warp, t.rank, key}]++;
  touches[{t.block->serial, t.warp, repeat, key}].push_back({t.lane, bytes, reinterpret_cast<std::uintptr_t>(p)});
}
void fold_patterns(Block const& b) {             // one block ends: its requests are complete
  std::erase_if(repeats, [&](auto const& entry) { return entry.first.serial == b.serial; });
  std::erase_if(touches, [&](auto const& entry) {
    if (entry.first.serial != b.serial) return false;
    Pattern& p = patterns[entry.first.pc];
    p.shared = in_shared(reinterpret_cast<void const*>(entry.second[0].address));
    ++p.requests;
    p.shared ? add_shared(entry.second, p) : add_global(entry.second, p);
    return true;
  });
}

std::map<std::string, Pattern> access_patterns() {
  Inside const inside;
  drain();
  std::map<std::string, Pattern> lines;
  for (auto const& [pc, p] : patterns) {
    Pattern& line = lines[site(pc >> 1) + (pc & 1 ? " write" : " read")];
    line.shared = p.shared, line.requests += p.requests, line.cost += p.cost, line.ideal += p.ideal;
  }
  patterns.clear();
  return lines;
}

}

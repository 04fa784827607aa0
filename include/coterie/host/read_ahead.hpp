// Experts that may be a mapping of a file: what will be read next is asked of the disk while what came before is computed.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace coterie { inline namespace v0 { namespace host {

// Asks the system to read [at, at + bytes) of a mapped file; returns at once unless the disk's queue is full. A hint: nothing
// depends on it.
inline void ask_for(std::byte const* at, std::size_t bytes) {
#if defined(__linux__)
  // One madvise reads no more than the device's read-ahead or largest request, 128 KiB by default, whatever it is asked for.
  constexpr std::size_t request = std::size_t{128} << 10;
  auto const page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE)), from = reinterpret_cast<std::uintptr_t>(at), end = from + bytes;
  for (std::uintptr_t p = from / page * page; p < end; p += request)
    madvise(reinterpret_cast<void*>(p), end - p < request ? end - p : request, MADV_WILLNEED);
#else
  (void)at, (void)bytes;
#endif
}

// Whether the page at `at` is in memory. Who may neither own nor write the file is told that all of it is, and then has the
// system's own read-ahead only.
inline bool in_memory(std::byte const* at) {
#if defined(__linux__)
  auto const page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  unsigned char present = 0;
  return mincore(reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(at) / page * page), 1, &present) != 0 || (present & 1);
#else
  (void)at;
  return true;
#endif
}

// The experts that were hit, in the order in which an ffn reads them: gate and up of every one, then down of every one. As
// tasks begin they say how far the reading is, and ReadAhead keeps up to `window` bytes ahead of it on their way: a deep
// queue for the disk, and not so much that a small memory gives up what comes next for what comes later. A task asks for
// two pieces at most, so that nobody waits for the whole window at the beginning.
class ReadAhead {
 public:
  // A Qwen3-30B-A3B layer of 75 MB hit at T = 1, nothing in memory, disk of 1.5 GB/s: 96 ms without, 60 ms with a window of
  // 8, 32 or 128 MiB and pieces of 1 or 4 MiB (50 ms is what the disk takes). All of it in memory: a piece costs one mincore,
  // 0.7 us; with pieces of 1 MiB that could be seen (2 to 5 % of 2.1 ms), with 4 MiB not.
  static constexpr std::uint64_t window = std::uint64_t{32} << 20, piece = std::uint64_t{4} << 20;
  static constexpr int pieces_a_task = 2;

  // hit[hits]: numbers of experts, the first of which stands at `weights`, `stride` bytes apart; each holds gate and up in
  // [0, down) and down in [down, stride).
  ReadAhead(std::byte const* weights, std::size_t stride, std::size_t down, std::int32_t const* hit, std::int64_t hits)
      : weights_(weights), down_(down), rest_(stride - down), hit_(hit), half_(static_cast<std::uint64_t>(hits) * down), end_(static_cast<std::uint64_t>(hits) * stride) {}

  // Task `task` of `tasks` equal ones begins, of those that read gate and up, or of those that read down.
  void reads_gate_up(std::int64_t task, std::int64_t tasks) { reads(half_ * static_cast<std::uint64_t>(task) / static_cast<std::uint64_t>(tasks)); }
  void reads_down(std::int64_t task, std::int64_t tasks) { reads(half_ + (end_ - half_) * static_cast<std::uint64_t>(task) / static_cast<std::uint64_t>(tasks)); }

 private:
  // Bytes [0, half) of what is read are gate and up, [half, end) down.
  void reads(std::uint64_t position) {
    for (int n = 0; n < pieces_a_task;) {
      std::uint64_t at = asked_.load(std::memory_order_relaxed);
      std::uint64_t const from = at < position ? position : at;
      if (from >= end_ || from > position + window) return;
      std::uint64_t const part = from < half_ ? down_ : rest_, left = part - (from < half_ ? from : from - half_) % part, size = left < piece ? left : piece;
      if (!asked_.compare_exchange_weak(at, from + size, std::memory_order_relaxed)) continue;
      std::byte const* const to = place(from);
      if (!in_memory(to + size / 2)) ask_for(to, static_cast<std::size_t>(size));
      ++n;
    }
  }
  std::byte const* place(std::uint64_t at) const {
    bool const gate_up = at < half_;
    if (!gate_up) at -= half_;
    std::uint64_t const part = gate_up ? down_ : rest_;
    return weights_ + static_cast<std::uint64_t>(hit_[at / part]) * (down_ + rest_) + (gate_up ? 0 : down_) + at % part;
  }

  std::byte const* weights_;
  std::uint64_t down_, rest_;
  std::int32_t const* hit_;
  std::uint64_t half_, end_;
  std::atomic<std::uint64_t> asked_{0};
};

}}}

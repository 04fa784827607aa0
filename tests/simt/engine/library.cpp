#include "library.hpp"
#include <algorithm>
#include <cub/device/device_radix_sort.cuh>
#include <numeric>

namespace simt {

bool LibraryWork::inside(void const* p, std::size_t bytes, char const* verb) {
  std::size_t size = 0;
  auto const begin = static_cast<char const*>(on_device(p) ? allocation_of(p, &size) : nullptr);
  if (begin && static_cast<char const*>(p) + bytes <= begin + size) return true;
  find(std::string(name_) + (begin ? " out of bounds: " : on_device(p) ? " of memory that is not allocated: " : " of host memory: ") + verb + " of " + std::to_string(bytes) + " bytes", 0, 0, 31);
  return false;
}
bool LibraryWork::reads(void const* p, std::size_t bytes, bool numbers) {
  if (bytes == 0) return true;
  if (!inside(p, bytes, "read")) return false;
  if (!instrumented) return true;
  for (std::size_t i = 0; i < bytes; ++i) {
    Byte const b = byte_at(static_cast<char const*>(p) + i);
    if (b == Byte::initialised || (numbers && b == Byte::garbage)) continue;
    find(std::string(name_) + ": read of uninitialised global memory", 0, 0, 32);
    break;
  }
  record(as_operation(op_), p, bytes, false, false, 0);
  return true;
}
bool LibraryWork::writes(void* p, std::size_t bytes) {
  if (bytes == 0) return true;
  if (!inside(p, bytes, "write")) return false;
  if (!instrumented) return true;
  record(as_operation(op_), p, bytes, true, false, 0);
  set_bytes(p, bytes, Byte::initialised);
  return true;
}

cudaError_t queue_library_call(char const* name, cudaStream_t s, std::function<void(LibraryWork&)> f) {
  return stream_call(name, s, [&] {
    auto work = std::make_shared<Work>();
    work->act = [name, f = std::move(f)](Op& op) {
      LibraryWork memory(op, name);
      f(memory);
    };
    enqueue(stream_of(s), std::move(work), false);
    after_enqueue();
    return cudaSuccess;
  });
}

// CUB: a stable sort by some bits of the keys. The real one may leave its result in either of the buffers, and so does this one.
cudaError_t sort_pairs(void* temporary, std::size_t temporary_bytes, std::uint32_t* const (&keys)[2], std::int32_t* const (&values)[2], bool swaps, int n, int begin_bit, int end_bit, cudaStream_t s) {
  auto const to = swaps ? 1 : 0;
  return queue_library_call("cub::DeviceRadixSort::SortPairs", s, [=, k = std::to_array({keys[0], keys[1]}), v = std::to_array({values[0], values[1]})](LibraryWork& memory) {
    auto const count = static_cast<std::size_t>(n), bytes = count * 4;
    if (!memory.reads(k[0], bytes) || !memory.reads(v[0], bytes)) return;
    for (int i : {0, 1})
      if (!memory.writes(k[static_cast<std::size_t>(i)], bytes) || !memory.writes(v[static_cast<std::size_t>(i)], bytes)) return;
    if (!memory.writes(temporary, temporary_bytes)) return;
    std::vector<std::uint32_t> const key(k[0], k[0] + n);
    std::vector<std::int32_t> const value(v[0], v[0] + n);
    std::vector<std::size_t> order(count);
    std::iota(order.begin(), order.end(), std::size_t{0});
    auto const digits = [&](std::size_t i) { return key[i] >> begin_bit & static_cast<std::uint32_t>((std::uint64_t{1} << (end_bit - begin_bit)) - 1); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return digits(a) < digits(b); });
    std::fill(k[1 - to], k[1 - to] + n, ~0u), std::fill(v[1 - to], v[1 - to] + n, -1), std::fill_n(static_cast<char*>(temporary), temporary_bytes, '\xff');
    for (std::size_t i = 0; i < count; ++i) k[to][i] = key[order[i]], v[to][i] = value[order[i]];
  });
}

}

// One list answers both "how many bytes" and "where": carve() runs over an Arena with or without memory.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace coterie { inline namespace v0 {

class Arena {
 public:
  static constexpr std::size_t alignment = 256;
  Arena() = default;
  explicit Arena(std::span<std::byte> memory) {
    auto const at = reinterpret_cast<std::uintptr_t>(memory.data());
    base_ = memory.data() + (alignment - at % alignment) % alignment;
  }
  // n elements, aligned; null while counting.
  template <class T> T* take(std::int64_t n) {
    used_ = (used_ + alignment - 1) / alignment * alignment;
    T* const piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
    used_ += static_cast<std::size_t>(n) * sizeof(T);
    return piece;
  }
  // A nested stage's workspace of n bytes.
  std::span<std::byte> rest(std::size_t n) {
    std::byte* const piece = take<std::byte>(static_cast<std::int64_t>(n));
    return piece ? std::span<std::byte>{piece, n} : std::span<std::byte>{};
  }
  // Bytes a caller must give: any alignment of the caller's memory will do.
  std::size_t used() const { return used_ ? used_ + alignment - 1 : 0; }

 private:
  std::byte* base_ = nullptr;
  std::size_t used_ = 0;
};

}}

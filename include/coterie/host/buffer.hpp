// Memory that owns itself: aligned to a page, in huge pages where the system gives them.
#pragma once
#include <cstddef>
#include <new>
#include <span>
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace coterie { inline namespace v0 { namespace host {

class Buffer {
 public:
  static constexpr std::size_t alignment = 4096, huge = std::size_t{2} << 20;
  Buffer() = default;
  explicit Buffer(std::size_t bytes) : size_(bytes), align_(bytes >= huge ? huge : alignment) {
    data_ = static_cast<std::byte*>(::operator new(bytes ? bytes : 1, std::align_val_t{align_}));
#if defined(__linux__)
    if (align_ == huge) madvise(data_, bytes, MADV_HUGEPAGE);              // a hint: nothing depends on it
#endif
  }
  Buffer(Buffer&& other) noexcept : data_(other.data_), size_(other.size_), align_(other.align_) { other.data_ = nullptr, other.size_ = 0; }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer moved{static_cast<Buffer&&>(other)};
    auto const data = data_;
    auto const size = size_, align = align_;
    data_ = moved.data_, size_ = moved.size_, align_ = moved.align_;
    moved.data_ = data, moved.size_ = size, moved.align_ = align;
    return *this;
  }
  ~Buffer() {
    if (data_) ::operator delete(data_, std::align_val_t{align_});
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<std::byte> span() const { return {data_, size_}; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, align_ = alignment;
};

}}}

// A file as memory: read through a mapping, or written through one under another name until it is whole. POSIX.
#pragma once
#include <cstdio>

#include <sys/mman.h>

#include "file.hpp"

namespace coterie { inline namespace v0 { namespace io {

// Owns a shared mapping of a whole file.
class Mapping {
 public:
  Mapping() = default;
  // Throws Error when the file cannot be mapped. writable: the descriptor must be open for both.
  Mapping(int descriptor, std::uint64_t bytes, bool writable, std::string const& path, Where at) : size_(static_cast<std::size_t>(bytes)) {
    void* const data = ::mmap(nullptr, size_, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, descriptor, 0);
    if (data == MAP_FAILED) fail(printable(path, 4096) + ": cannot be mapped: " + std::generic_category().message(errno), at);
    data_ = static_cast<std::byte*>(data);
  }
  Mapping(Mapping&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    Mapping moved{std::move(other)};
    std::swap(data_, moved.data_), std::swap(size_, moved.size_);
    return *this;
  }
  ~Mapping() { if (data_) ::munmap(data_, size_); }

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

// A file of a known size that is written through a mapping. It stands beside `path` under a name of its own and takes that
// name, replacing what had it, when publish() has brought all of it to the disk: who opens `path` sees a whole file or
// none. Without publish() it is removed.
class NewFile {
 public:
  NewFile(std::string path, std::uint64_t bytes, Where at) : path_(std::move(path)) {
    for (int n = 0; part_.descriptor < 0; ++n) {
      part_.name = path_ + "." + std::to_string(::getpid()) + "-" + std::to_string(n) + ".part";
      part_.descriptor = ::open(part_.name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (part_.descriptor < 0 && errno != EEXIST) reject("cannot be created", errno, at);
    }
    // Blocks of the disk now, or a full one would be a signal in the middle of packing.
    if (int const error = ::posix_fallocate(part_.descriptor, 0, static_cast<off_t>(bytes))) reject("no room for " + std::to_string(bytes) + " bytes", error, at);
    mapping_ = Mapping{part_.descriptor, bytes, true, part_.name, at};
  }

  std::byte* data() const { return mapping_.data(); }
  std::string const& path() const { return path_; }

  // Sends bytes [offset, offset + size) on their way to the disk.
  void start_writing(std::size_t offset, std::size_t size) const {
#if defined(__linux__)
    ::sync_file_range(part_.descriptor, static_cast<off_t>(offset), static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE);
#else
    (void)offset, (void)size;
#endif
  }
  // Waits for them and lets go of their pages, which the system may then take; the file stays as it is. Both are hints:
  // publish() is what reports errors.
  void let_go(std::size_t offset, std::size_t size) const {
#if defined(__linux__)
    ::sync_file_range(part_.descriptor, static_cast<off_t>(offset), static_cast<off_t>(size), SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER);
    std::size_t const page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)), first = offset / page * page;
    ::madvise(mapping_.data() + first, offset + size - first, MADV_DONTNEED);
#else
    (void)offset, (void)size;
#endif
  }
  void publish(Where at) {
    if (::msync(mapping_.data(), mapping_.size(), MS_SYNC) != 0 || ::fsync(part_.descriptor) != 0) reject("cannot be written", errno, at);
    if (std::rename(part_.name.c_str(), path_.c_str()) != 0) reject("cannot take its name", errno, at);
    part_.published = true;
    // The name too, where the file system has that to give.
    std::size_t const slash = path_.rfind('/');
    std::string const folder = slash == path_.npos ? "." : path_.substr(0, slash + 1);
    if (int const d = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); d >= 0) ::fsync(d), ::close(d);
  }

 private:
  struct Part {
    std::string name;
    int descriptor = -1;
    bool published = false;
    Part() = default;
    Part(Part&& other) noexcept : name(std::move(other.name)), descriptor(std::exchange(other.descriptor, -1)), published(other.published) {}
    Part& operator=(Part&&) = delete;
    ~Part() {
      if (descriptor < 0) return;
      if (!published) ::unlink(name.c_str());
      ::close(descriptor);
    }
  };
  [[noreturn]] void reject(std::string const& what, int error, Where at) const {
    fail(printable(path_, 4096) + ": " + what + ": " + std::generic_category().message(error), at);
  }

  std::string path_;
  Part part_;
  Mapping mapping_;
};

}}}

// A read-only file by offset, and how a name from a file may stand in an error sentence. POSIX.
#pragma once
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../error.hpp"

namespace coterie { inline namespace v0 { namespace io {

// Quoted, printable ASCII, at most `limit` bytes of the name: a hostile name can neither forge nor flood a message.
inline std::string printable(std::string_view name, std::size_t limit = 100) {
  constexpr std::string_view hex = "0123456789abcdef";
  std::string out = "'";
  for (char c : name.substr(0, limit)) {
    auto const byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) out += c;
    else (out += "\\x") += {hex[byte >> 4], hex[byte & 15]};
  }
  return out + (name.size() > limit ? "...'" : "'");
}

// Fills `into` from `offset` on by calls of pread_at(void*, size, offset), which answers as pread(2) does; short
// reads and EINTR are carried on. Returns the bytes read: fewer than asked at the end of the file, or after an
// error, which is then in `error` (an errno; 0 otherwise).
template <class Pread>
std::size_t read_fully(Pread pread_at, std::uint64_t offset, std::span<std::byte> into, int& error) {
  constexpr std::size_t chunk = std::size_t{1} << 30;   // one call reads less than 2 GiB on Linux anyway
  std::size_t done = 0;
  error = 0;
  while (done < into.size()) {
    std::size_t const ask = into.size() - done < chunk ? into.size() - done : chunk;
    auto const got = pread_at(into.data() + done, ask, static_cast<off_t>(offset + done));
    if (got > 0) done += static_cast<std::size_t>(got);
    else if (got == 0) break;
    else if (errno != EINTR) { error = errno; break; }
  }
  return done;
}

// Owns a descriptor. Reads are const and by offset, so threads may share one File.
class File {
 public:
  // Throws Error when the path cannot be opened or is not a regular file.
  explicit File(std::string path, Where at = Where::here())
      : path_(std::move(path)), descriptor_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)) {   // no wait on a pipe
    if (descriptor_ < 0) reject("cannot be opened: " + std::generic_category().message(errno), at);
    struct stat status {};
    bool const known = ::fstat(descriptor_, &status) == 0;
    if (!known || !S_ISREG(status.st_mode)) {
      ::close(std::exchange(descriptor_, -1));   // the destructor of a constructor that throws does not run
      reject("is not a regular file", at);
    }
    bytes_ = static_cast<std::uint64_t>(status.st_size);
  }
  File(File&& other) noexcept
      : path_(std::move(other.path_)), descriptor_(std::exchange(other.descriptor_, -1)), bytes_(other.bytes_) {}
  File& operator=(File&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(descriptor_, other.descriptor_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~File() { if (descriptor_ >= 0) ::close(descriptor_); }

  std::string const& path() const { return path_; }
  std::uint64_t bytes() const { return bytes_; }   // when it was opened
  int descriptor() const { return descriptor_; }

  // Reads into.size() bytes at `offset`; throws Error when the file holds fewer (it was cut since) or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> into, Where at = Where::here()) const {
    int error = 0;
    std::size_t const got = read_fully(
        [this](void* to, std::size_t size, off_t from) { return ::pread(descriptor_, to, size, from); }, offset, into, error);
    if (got == into.size()) return;
    reject("reading at byte " + std::to_string(offset) + ": got " + std::to_string(got) + " bytes, want " +
               std::to_string(into.size()) + (error ? ": " + std::generic_category().message(error) : ": the file was cut"),
           at);
  }

  [[noreturn]] void reject(std::string const& sentence, Where at) const { fail(printable(path_, 4096) + ": " + sentence, at); }

 private:
  static_assert(sizeof(off_t) == 8, "checkpoints are larger than 2 GiB: compile with _FILE_OFFSET_BITS=64");
  std::string path_;
  int descriptor_ = -1;
  std::uint64_t bytes_ = 0;
};

inline bool is_folder(std::string const& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

// The whole of a text file; throws Error, before it allocates, when there are more than `limit` bytes.
inline std::string read_text(std::string const& path, std::uint64_t limit, Where at = Where::here()) {
  File const file(path, at);
  if (file.bytes() > limit)
    file.reject("size: got " + std::to_string(file.bytes()) + " bytes, want at most " + std::to_string(limit), at);
  std::string text(static_cast<std::size_t>(file.bytes()), '\0');
  file.read(0, std::as_writable_bytes(std::span(text)), at);
  return text;
}

}}}

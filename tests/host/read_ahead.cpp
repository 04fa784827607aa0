// Read-ahead of mapped experts: what is asked for is what will be read, a bounded way ahead of it. Whether the disk obeys is
// tested where the system lets a test take pages from memory.
#include <coterie/host/read_ahead.hpp>
#include <coterie/host/pool.hpp>
#include <doctest/doctest.h>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>

#if defined(__linux__)
namespace {
using namespace coterie;
namespace fs = std::filesystem;
constexpr std::size_t MiB = std::size_t{1} << 20;

// A file of `bytes` bytes, mapped, and none of it in memory where the file system allows that.
class Mapped {
 public:
  explicit Mapped(std::size_t bytes) : bytes_(bytes) {
    fs::path const build = fs::is_directory("build") ? fs::path("build") : fs::temp_directory_path();        // a disk, where /tmp may be memory
    path_ = (build / ("coterie_read_ahead_" + std::to_string(::getpid()))).string();
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600);
    REQUIRE(descriptor_ >= 0);
    std::vector<char> const some(MiB, 'x');
    for (std::size_t at = 0; at < bytes; at += MiB) REQUIRE(::write(descriptor_, some.data(), MiB) == static_cast<ssize_t>(MiB));
    REQUIRE(::fsync(descriptor_) == 0);
    data_ = static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor_, 0));
    REQUIRE(data_ != MAP_FAILED);
    evict();
  }
  Mapped(Mapped const&) = delete;
  Mapped& operator=(Mapped const&) = delete;
  ~Mapped() { ::munmap(data_, bytes_), ::close(descriptor_), ::unlink(path_.c_str()); }
  void evict() {
    ::madvise(data_, bytes_, MADV_DONTNEED);
    ::posix_fadvise(descriptor_, 0, 0, POSIX_FADV_DONTNEED);
  }
  std::byte const* data() const { return data_; }
  bool cold() const { return present(0, bytes_) == 0; }
  // Pages of [first, last) that are in memory, of those at every 64 KiB.
  int present(std::size_t first, std::size_t last) const {
    int n = 0;
    for (std::size_t at = first; at < last; at += MiB / 16) n += host::in_memory(data_ + at);
    return n;
  }
  // The disk has its time.
  bool arrives(std::size_t first, std::size_t last) const {
    for (int n = 0; n < 2000; ++n, std::this_thread::sleep_for(std::chrono::milliseconds(5)))
      if (present(first, last) == static_cast<int>((last - first) / (MiB / 16))) return true;
    return false;
  }

 private:
  std::size_t bytes_;
  std::string path_;
  int descriptor_ = -1;
  std::byte* data_ = nullptr;
};
}

TEST_SUITE("host") {
  TEST_CASE("read-ahead: the pages asked for come, and no others") {
    Mapped file{64 * MiB};
    if (!file.cold()) {
      MESSAGE("skipped: this file system keeps its pages");
      return;
    }
    host::ask_for(file.data() + 20 * MiB + 100, 4 * MiB);                // of any alignment
    CHECK(file.arrives(20 * MiB, 24 * MiB));
    CHECK(file.present(0, 18 * MiB) == 0);
    CHECK(file.present(40 * MiB, 64 * MiB) == 0);                        // a system may round up, not by this much
  }
  TEST_CASE("read-ahead: experts that were hit, gate and up first, a window ahead") {
    constexpr std::size_t stride = 24 * MiB, down = 16 * MiB;            // 5 experts of 16 + 8 MiB
    Mapped file{5 * stride};
    if (!file.cold()) {
      MESSAGE("skipped: this file system keeps its pages");
      return;
    }
    std::int32_t const hit[]{1, 3, 4};
    host::ReadAhead ahead{file.data(), stride, down, hit, 3};
    constexpr std::int64_t tasks = 24;                                   // 2 MiB each: 48 MiB of gate and up
    ahead.reads_gate_up(0, tasks);
    CHECK(file.arrives(stride, stride + 8 * MiB));                       // a task asks for two pieces
    CHECK(file.present(3 * stride, 5 * stride) == 0);
    for (int again = 0; again < 20; ++again) ahead.reads_gate_up(1, tasks);
    CHECK(file.arrives(stride, stride + down));
    CHECK(file.arrives(3 * stride, 3 * stride + down));                  // 2 + 32 MiB of what is read: experts 1 and 3, the beginning of 4
    CHECK(file.present(4 * stride + 8 * MiB, 5 * stride) == 0);
    CHECK(file.present(stride + down + 2 * MiB, 2 * stride) == 0);       // down comes after all of gate and up
    CHECK(file.present(0, stride - 4 * MiB) == 0);                       // an expert without rows
    CHECK(file.present(2 * stride, 3 * stride - 4 * MiB) == 0);
    for (std::int64_t t = 2; t < tasks; ++t) ahead.reads_gate_up(t, tasks);
    CHECK(file.arrives(4 * stride, 4 * stride + down));
    CHECK(file.arrives(stride + down, 2 * stride));                      // and down of the first before the first task of down
    for (std::int64_t t = 0; t < 12; ++t) ahead.reads_down(t, 12);
    for (std::size_t e : {1, 3, 4}) CHECK(file.arrives(e * stride, (e + 1) * stride));
    CHECK(file.present(0, stride - 4 * MiB) == 0);
    CHECK(file.present(2 * stride, 3 * stride - 4 * MiB) == 0);
  }
  TEST_CASE("read-ahead: sizes that fit nothing, ordinary memory, many tasks at once") {
    for (std::size_t down : {std::size_t{1}, std::size_t{4097}, 3 * MiB + 5})
      for (std::size_t rest : {std::size_t{1}, MiB - 1, 2 * MiB + 64}) {
        std::vector<std::byte> memory(4 * (down + rest), std::byte{7});
        std::int32_t const hit[]{0, 2, 3};
        host::ReadAhead ahead{memory.data(), down + rest, down, hit, 3};
        host::Pool pool{3};
        pool.run(100, [&](std::int64_t t) { ahead.reads_gate_up(t, 100); });
        pool.run(100, [&](std::int64_t t) { ahead.reads_down(t, 100); });
        CHECK(memory == std::vector<std::byte>(memory.size(), std::byte{7}));
        host::ReadAhead none{memory.data(), down + rest, down, hit, 0};
        none.reads_gate_up(0, 1), none.reads_down(0, 1);
      }
  }
}
#endif

// A packed layer larger than the memory that the program may take: packed, mapped and computed under a limit, while its
// pages are taken away. The limit is on memory of the program's own (RLIMIT_DATA), which needs no privilege; one that counts
// the page cache too is set from outside, as docs/checkpoints.md says.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COTERIE_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COTERIE_SANITIZED
#endif
#if defined(__linux__) && !defined(COTERIE_SANITIZED)      // a sanitizer takes memory of its own
#include <coterie/coterie.hpp>
#include <coterie/io/packed_file.hpp>
#include <doctest/doctest.h>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>

namespace {
using namespace coterie;
namespace fs = std::filesystem;

// Experts given by the caller, and numbers small enough that every sum is exact, in whatever order: 64 experts of which
// every eighth has the same weights compute what 8 experts compute, and those fit into memory.
constexpr Config layer_of(int experts) {
  return {.experts = experts, .top_k = 4, .hidden = 1024, .ffn = 704, .router = {.input = RouterInput::given, .normalise = Normalise::none}, .expert = {.act = Act::relu_mul}};
}
constexpr Config large = layer_of(64), small = layer_of(8);
constexpr std::int64_t tokens = 48;
constexpr std::size_t expert_bytes = host::PackedLayout<large>::make(64, 0).expert_stride;                 // 4.3 MB, 277 MB in all

// A line of /proc/self/status, in bytes.
std::size_t status(std::string const& name) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(name + ":")) return std::stoul(line.substr(name.size() + 1)) * 1024;
  return 0;
}

struct Data {
  std::vector<bf16> experts, x;
  std::vector<std::int32_t> ids;
  std::vector<float> shares;
  Data() {
    std::uint32_t state = 5;
    auto const next = [&] { return (state = state * 1664525u + 1013904223u) >> 16; };
    constexpr std::size_t expert = std::size_t{3} * large.hidden * large.ffn;
    for (std::size_t i = 0; i < 8 * expert; ++i) experts.push_back(from_float<bf16>(static_cast<float>(next() % 3) - 1));
    for (std::int64_t i = 0; i < tokens * large.hidden; ++i) x.push_back(from_float<bf16>(static_cast<float>(next() % 5) - 2));
    for (std::int64_t t = 0; t < tokens; ++t)
      for (int k = 0; k < 4; ++k) ids.push_back(static_cast<std::int32_t>((next() % 8 * 8 + static_cast<unsigned>(t) + 3 * static_cast<unsigned>(k)) % 64)), shares.push_back(0.5f / static_cast<float>(1 << k));
  }
  // Expert e of the large layer has the weights of expert e % 8 of the small one.
  template <Config C, class P> void pack_into(P& packer) const {
    constexpr std::size_t one = std::size_t{large.hidden} * large.ffn;
    packer.router(Weights<C>{});
    for (int e = 0; e < C.experts; ++e) {
      bf16 const* const at = &experts[static_cast<std::size_t>(e % 8) * 3 * one];
      packer.template expert<DType::bf16>(e, {at}, {at + one}, {at + 2 * one});
    }
  }
  template <Config C> std::vector<bf16> forward(Host const& on, PackedView<C, Host> view, std::span<std::byte> workspace) const {
    std::vector<bf16> y(x.size());
    std::vector<std::int32_t> expert;
    for (std::int32_t const id : ids) expert.push_back(id % C.experts);
    Layer<C, Host> const layer{view};
    Inputs<C> in{.x = rows<C.hidden>(x.data(), tokens)};
    in.routing.expert = {expert.data(), tokens}, in.routing.weight = {const_cast<float*>(shares.data()), tokens};
    layer.forward(on, in, rows<C.hidden>(y.data(), tokens), workspace);
    return y;
  }
};

// Takes the mapped pages from memory, as a system that needs them does.
void evict(PackedFile<large> const& file) {
  auto* const start = const_cast<std::byte*>(file.view().data) - io::PackedFileHeader::page;
  std::size_t const bytes = io::PackedFileHeader::page + Packer<large, Host>::bytes();
  madvise(start, bytes, MADV_DONTNEED);
  int const d = open(file.path().c_str(), O_RDONLY | O_CLOEXEC);
  posix_fadvise(d, 0, 0, POSIX_FADV_DONTNEED);
  close(d);
}

// In a child process: the number of the step that failed.
int run_limited(std::string const& path) {
  Data const data;
  Host const on{.threads = 2};
  Packer<small, Host> in_memory{on};
  data.pack_into<small>(in_memory);
  auto const packed = in_memory.finish();
  std::vector<std::byte> workspace(Layer<large, Host>{{}}.workspace_bytes(on, tokens));
  auto const want = data.forward(on, packed.view(), workspace);

  std::size_t const own = status("VmData"), allowed = own + (std::size_t{64} << 20);
  rlimit const limit{.rlim_cur = allowed, .rlim_max = allowed};
  if (own == 0 || setrlimit(RLIMIT_DATA, &limit) != 0) return 1;
  try {
    Packer<large, Host> refused{on};             // the layer does not fit
    return 2;
  } catch (std::bad_alloc const&) {
  }
  FilePacker<large> packer{on, path};
  data.pack_into<large>(packer);
  std::size_t const mapped_while_packing = status("RssFile") + status("RssShmem");
  PackedFile<large> const file = packer.finish();
  if (mapped_while_packing > 8 * expert_bytes + (std::size_t{16} << 20)) return 3;                           // experts that are on the disk are let go

  std::atomic<bool> over{false};
  std::thread thief([&] {
    while (!over) evict(file), std::this_thread::sleep_for(std::chrono::milliseconds(3));
  });
  int different = 0;
  for (int round = 0; round < 2; ++round) different += std::memcmp(data.forward(on, file.view(), workspace).data(), want.data(), want.size() * sizeof(bf16)) != 0;
  over = true;
  thief.join();
  different += std::memcmp(data.forward(on, file.view(), workspace).data(), want.data(), want.size() * sizeof(bf16)) != 0;
  int nonzero = 0;
  for (bf16 const v : want) nonzero += to_float(v) != 0;
  std::printf("packed 277 MB, of which %zu MB were mapped at the end, computed with %zu MB of memory of its own; limit %zu MB\n", mapped_while_packing >> 20, status("VmData") >> 20, allowed >> 20);
  std::fflush(stdout);
  return different ? 4 : nonzero < 1000 ? 5 : 0;
}
}

TEST_SUITE("packed file") {
  TEST_CASE("packed file: a layer larger than the memory allowed is packed, mapped and computed") {
    fs::path const build = fs::is_directory("build") ? fs::path("build") : fs::temp_directory_path();        // a disk, where /tmp may be memory
    std::string const path = (build / ("coterie_packed_" + std::to_string(::getpid()))).string();
    pid_t const child = fork();
    if (child == 0) {
      alarm(120);
      int step = 9;
      try {
        step = run_limited(path);
      } catch (std::exception const& e) {
        std::printf("%s\n", e.what()), std::fflush(stdout);
      }
      unlink(path.c_str());
      _exit(step);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    unlink(path.c_str());
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
}
#endif

// The bytes are a config.json beside the tensors of the golden whose model_type it has: every layer is described, its
// tensors are placed and their types looked at. What is refused ends in Error, at the place that was handed in.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -DCOTERIE_TESTS_DIR='"tests"' tests/fuzz/checkpoint.cpp -o build/fuzz_checkpoint
//   mkdir -p build/corpus && build/fuzz_checkpoint -max_len=8192 -max_total_time=60 build/corpus tests/golden
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <string_view>

#include <fcntl.h>
#include <unistd.h>

#include <coterie/io/checkpoint_files.hpp>

namespace {

namespace fs = std::filesystem;
using namespace coterie;

constexpr Where here{"fuzz", 1};

// Folders with links to the goldens' tensors, by model_type, gone at the end.
struct Folders {
  fs::path base = (fs::temp_directory_path() / "coterie-fuzz-XXXXXX").string();
  std::map<std::string, fs::path, std::less<>> by_type;
  Folders() {
    std::string name = base.string();
    if (!::mkdtemp(name.data())) std::abort();
    base = name;
    for (auto const& golden : fs::directory_iterator(fs::absolute(COTERIE_TESTS_DIR "/golden"))) {
      if (!fs::exists(golden.path() / "config.json")) continue;
      fs::path const folder = base / golden.path().filename();
      fs::create_directory(folder);
      for (auto const& file : fs::directory_iterator(golden))
        if (file.path().filename().string().starts_with("model")) fs::create_symlink(file, folder / file.path().filename());
      by_type.emplace(Json::read((golden.path() / "config.json").string()).at("model_type").string(), folder);
    }
    if (by_type.empty()) std::abort();
  }
  ~Folders() { fs::remove_all(base); }
};

}

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static Folders const folders;
  std::string_view const bytes(reinterpret_cast<char const*>(data), size);
  auto folder = folders.by_type.begin();
  for (auto i = folders.by_type.begin(); i != folders.by_type.end(); ++i)
    if (bytes.find('"' + i->first + '"') != bytes.npos) folder = i;
  std::string const config = (folder->second / "config.json").string();
  int const file = ::open(config.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (file < 0 || ::write(file, data, size) != static_cast<ssize_t>(size) || ::close(file) != 0) std::abort();

  auto const attempt = [](auto const& call) {
    try {
      call();
    } catch (Error const& error) {
      std::string_view const text = error.what();
      if (text.size() > 8192 || !text.ends_with("(fuzz:1)")) std::abort();
    }
  };
  attempt([&] {
    Checkpoint const checkpoint{folder->second.string(), here};
    for (int layer = 0; layer < std::min(checkpoint.layers(), 4); ++layer) {
      attempt([&] { (void)source(checkpoint.config(layer, here), "layer"); });
      attempt([&] { (void)checkpoint.tensors(layer, here); });
      attempt([&] { checkpoint.check_types(layer, here); });
    }
  });
  return 0;
}

// The bytes are a model.safetensors.index.json.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/index.cpp -o build/fuzz_index
//   build/accepts --write build/crafted          (tests/io/accepts.cpp makes the seeds)
//   mkdir -p build/corpus && build/fuzz_index -max_len=8192 -max_total_time=60 build/corpus build/crafted
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <coterie/io/shard_index.hpp>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  try {
    auto const index = coterie::io::parse_shard_index({reinterpret_cast<char const*>(data), size}, "fuzz");
    for (std::string const& file : index.files)
      if (file.empty() || file.find('/') != file.npos || file.find('\0') != file.npos || file == "." || file == "..") std::abort();
    for (std::size_t i = 0; i < index.entries.size(); ++i) {
      auto const& [tensor, file] = index.entries[i];
      if (file < 0 || static_cast<std::size_t>(file) >= index.files.size()) std::abort();
      if (i && !(index.entries[i - 1].tensor < tensor)) std::abort();
    }
  } catch (coterie::Error const& e) {
    if (std::string_view(e.what()).size() > 8192) std::abort();
  }
  return 0;
}

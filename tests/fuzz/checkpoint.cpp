// The bytes are a config.json beside the tensors of the golden whose model_type it has, or of a quantised Mixtral whose
// method it names: every layer is described, its tensors are placed and their types looked at. What is refused ends in Error, at the place that was handed in.
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
#include <vector>

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
  std::map<std::string, fs::path, std::less<>> by_type, by_method;
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
      if (golden.path().filename() == "gpt_oss_mxfp4") by_method.emplace("mxfp4", folder);
      by_type.emplace(Json::read((golden.path() / "config.json").string()).at("model_type").string(), folder);
    }
    if (by_type.empty()) std::abort();
    mixtral("gptq", R"({"qweight":["I32",[16,256],[32,128]],"scales":["F16",[2,256],[4,128]],"qzeros":["I32",[2,32],[4,16]]})");
    mixtral("awq", R"({"qweight":["I32",[128,32],[256,16]],"scales":["F16",[2,256],[4,128]],"qzeros":["I32",[2,32],[4,16]]})");
    mixtral("compressed-tensors", R"({"weight_packed":["I32",[256,16],[128,32]],"weight_scale":["BF16",[256,4],[128,8]]})");
    mixtral("fp8", R"({"weight":["F8_E4M3",[256,128],[128,256]],"weight_scale_inv":["F32",[2,1],[1,2]]})");
  }
  // Experts of hidden 128 and ffn 256, all zero. tensors: name, type, shape of gate and up, shape of down.
  void mixtral(char const* method, std::string const& tensors) {
    std::string header;
    std::uint64_t end = 0;
    auto const add = [&](std::string const& name, Json const& type, Json const& shape) {
      std::vector<std::int64_t> sizes;
      for (Json const d : shape) sizes.push_back(d.integer());
      std::uint64_t const begin = end;
      end += *io::tensor_bytes(*stored(type.string()), sizes);
      header += (header.empty() ? "{\"model.layers.0.block_sparse_moe." : ",\"model.layers.0.block_sparse_moe.") + name + R"(":{"dtype":")" + type.string() + R"(","shape":)" +
                io::shape_text(sizes) + ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
    };
    Json const router = Json::parse(R"(["BF16",[8,128]])", "router");
    add("gate.weight", *router.begin(), *++router.begin());
    for (int e = 0; e < 8; ++e)
      for (char const* matrix : {"w1", "w2", "w3"})
        for (Json const tensor : Json::parse(tensors, "tensors")) {
          auto shape = ++tensor.begin();
          if (std::string(matrix) == "w2") ++shape;
          add("experts." + std::to_string(e) + "." + matrix + "." + tensor.key(), *tensor.begin(), *shape);
        }
    header += "}";
    fs::path const folder = base / method;
    fs::create_directory(folder);
    std::ofstream file(folder / "model.safetensors", std::ios::binary);
    for (int i = 0; i < 8; ++i) file.put(static_cast<char>(header.size() >> (8 * i)));
    file << header << std::string(end, '\0');
    by_method.emplace(method, folder);
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
  fs::path chosen = folder->second;
  for (auto const& [method, of] : folders.by_method)
    if (bytes.find('"' + method + '"') != bytes.npos) chosen = of;
  std::string const config = (chosen / "config.json").string();
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
    Checkpoint const checkpoint{chosen.string(), here};
    for (int layer = 0; layer < std::min(checkpoint.layers(), 4); ++layer) {
      attempt([&] { (void)source(checkpoint.config(layer, here), "layer"); });
      attempt([&] { (void)checkpoint.tensors(layer, here); });
      attempt([&] { checkpoint.check_types(layer, here); });
    }
  });
  return 0;
}

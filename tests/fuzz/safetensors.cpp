// The bytes are a whole safetensors file, in memory but opened and read as from disk.
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude tests/fuzz/safetensors.cpp -o build/fuzz_safetensors
//   build/accepts --write build/crafted          (tests/io/accepts.cpp makes the seeds)
//   mkdir -p build/corpus && build/fuzz_safetensors -max_len=8192 -max_total_time=60 build/corpus build/crafted
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/mman.h>
#include <unistd.h>

#include <coterie/io/safetensors.hpp>

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
  static int const memory = ::memfd_create("fuzz", 0);
  static std::string const path = "/proc/self/fd/" + std::to_string(memory);
  if (::ftruncate(memory, 0) != 0 || ::pwrite(memory, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
  try {
    coterie::Safetensors const file(path);
    // Accepted: then the tensors tile the end of the file, and a read gives exactly those bytes.
    std::uint64_t sum = 0;
    for (coterie::TensorInfo const& t : file.tensors()) sum += t.bytes();
    if (sum > size) std::abort();
    for (coterie::TensorInfo const& t : file.tensors()) {
      if (file.find(t.name) != &t || coterie::io::tensor_bytes(t.dtype, t.shape) != t.bytes()) std::abort();
      std::vector<std::byte> bytes(static_cast<std::size_t>(t.bytes()));
      file.read(t, bytes);
      if (!bytes.empty() && std::memcmp(bytes.data(), data + (size - sum) + t.begin, bytes.size()) != 0) std::abort();
    }
  } catch (coterie::Error const& e) {
    if (std::string(e.what()).size() > 8192) std::abort();   // a hostile name does not flood the message
  }
  return 0;
}

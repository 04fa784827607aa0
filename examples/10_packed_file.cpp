// A layer packed into a file once and mapped from then on: how it starts, and what its experts cost when they must come from
// the disk and when the page cache has them.
//   10_packed_file [FILE]      75 MB; FILE stays for the next run, without one a temporary file is used
#include <coterie/coterie.hpp>
#include <coterie/io/packed_file.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <vector>

namespace {

namespace ct = coterie;
constexpr ct::Config C{.experts = 32, .top_k = 4, .hidden = 1024, .ffn = 384};
constexpr std::int64_t tokens = 2;

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::vector<ct::bf16> numbers(std::size_t n, std::uint32_t seed, float size) {
  std::vector<ct::bf16> all(n);
  for (ct::bf16& v : all) seed = seed * 1664525u + 1013904223u, v = ct::from_float<ct::bf16>((static_cast<float>(seed >> 16) / 32768 - 1) * size);
  return all;
}

void pack(ct::Host const& on, std::string const& path) {
  double const start = seconds();
  auto const router = numbers(std::size_t{C.experts} * C.hidden, 1, 0.05f);
  ct::Weights<C> rest;
  rest.router = {router.data()};
  ct::FilePacker<C> packer{on, path};
  packer.router(rest);
  for (int e = 0; e < C.experts; ++e) {                    // one expert in memory at a time, from wherever a model's come
    auto const raw = numbers(std::size_t{3} * C.hidden * C.ffn, static_cast<std::uint32_t>(e + 2), 0.05f);
    std::size_t const one = std::size_t{C.hidden} * C.ffn;
    packer.expert<ct::DType::bf16>(e, {raw.data()}, {raw.data() + one}, {raw.data() + 2 * one});
  }
  packer.finish();
  std::printf("packed %.0f MB into %s in %.2f s\n", static_cast<double>(std::filesystem::file_size(path)) / 1e6, path.c_str(), seconds() - start);
}

}

int main(int count, char** arguments) try {
  bool const keep = count > 1;
  std::string const path = keep ? arguments[1] : (std::filesystem::temp_directory_path() / ("coterie_example_" + std::to_string(::getpid()))).string();
  ct::Host const on{};
  if (!std::filesystem::exists(path)) pack(on, path);

  double const start = seconds();
  ct::PackedFile<C> const file{path};                      // refuses a file of another layer, or half a file
  ct::Layer<C, ct::Host> const layer{file.view()};
  std::printf("opened in %.2f ms\n", (seconds() - start) * 1e3);

  auto const x = numbers(tokens * C.hidden, 99, 1.7f);
  std::vector<ct::bf16> y(x.size());
  std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
  for (char const* which : {"first", "second", "third"}) { // pages are mapped by the first, and read by it if they are not in memory
    double const before = seconds();
    layer.forward(on, ct::rows<C.hidden>(x.data(), tokens), ct::rows<C.hidden>(y.data(), tokens), workspace);
    std::printf("%-6s forward of %d tokens: %.2f ms\n", which, static_cast<int>(tokens), (seconds() - before) * 1e3);
  }
  if (!keep) std::filesystem::remove(path);
} catch (std::exception const& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}

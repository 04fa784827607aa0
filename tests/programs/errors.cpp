// Refusals at run time. With an argument: makes that mistake and lets the error go where it goes.
#include "filled.hpp"
#include <cstdio>
#include <cstdlib>
#include <cstring>

constexpr ct::Config mini{.experts = 4, .top_k = 2, .hidden = 32, .ffn = 32};
constexpr char const* sentences[] = {
  "pack: Weights::router is not set", "Layer::forward: workspace is too small", "Layer::forward: y must have as many rows as x",
  "Layer::forward: y must not overlap x", "Packer::finish: not every expert has been packed"};

void make(int mistake) {
  ct::Host const on{.threads = 1};
  Filled<mini> const filled;
  if (mistake == 0) return (void)ct::pack(on, ct::Weights<mini>{});
  if (mistake == 4) {
    ct::Packer<mini, ct::Host> packer{on};
    packer.router(filled.raw);
    packer.expert(0, filled.raw.gate[0], filled.raw.up[0], filled.raw.down[0]);
    return (void)packer.finish();
  }
  auto const packed = ct::pack(on, filled.raw);
  ct::Layer<mini, ct::Host> const layer{packed.view()};
  std::vector<ct::bf16> x(3 * 32), y(3 * 32);
  std::vector<std::byte> workspace(layer.workspace_bytes(on, 3) - (mistake == 1));
  layer.forward(on, ct::rows<32>(x.data(), 3), ct::rows<32>(mistake == 3 ? x.data() + 32 : y.data(), mistake == 2 ? 2 : 3), workspace);
}

int main(int count, char** arguments) {
  if (count > 1) {
    make(std::atoi(arguments[1]));
    std::puts("nothing was refused");
    return 0;
  }
  int failures = 0;
#if defined(__cpp_exceptions)
  for (int m = 0; m < 5; ++m) {
    std::string said = "nothing";
    try {
      make(m);
    } catch (ct::Error const& e) {
      said = e.what();
    }
    bool const ok = said.find(std::string("coterie: ") + sentences[m]) == 0 && said.find("errors.cpp:") != said.npos;
    if (!ok) std::printf("errors: want '%s' and this file's name, got: %s\n", sentences[m], said.c_str()), ++failures;
  }
#else
  for (int m = 0; m < 5; ++m) {                  // prints the sentence and aborts: asked of a child
    std::FILE* const child = popen((std::string(arguments[0]) + " " + std::to_string(m) + " 2>&1").c_str(), "r");
    char said[512]{};
    std::size_t const n = child ? std::fread(said, 1, sizeof said - 1, child) : 0;
    int const status = child ? pclose(child) : 0;
    bool const ok = n && status != 0 && std::strstr(said, sentences[m]) && std::strstr(said, "errors.cpp:");
    if (!ok) std::printf("errors: want '%s' and an abort, got status %d: %s\n", sentences[m], status, said), ++failures;
  }
#endif
  std::printf("errors: %d failures\n", failures);
  return failures != 0;
}

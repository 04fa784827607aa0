// Writes a layer of a model's folder as a header for 03_checkpoint.cpp:    describe_checkpoint DIRECTORY [LAYER] >layer.hpp
// Without LAYER: the first one that is a mixture. A layer that load() could not read is refused before anything is compiled.
#include <coterie/io/checkpoint_files.hpp>
#include <charconv>
#include <cstdio>
#include <cstring>

int main(int count, char** arguments) try {
  if (count < 2 || count > 3) return std::fprintf(stderr, "usage: describe_checkpoint DIRECTORY [LAYER]\n"), 2;
  coterie::Checkpoint const checkpoint{arguments[1]};
  int layer = 0;
  if (count == 3) {
    char const* const end = arguments[2] + std::strlen(arguments[2]);
    auto const read = std::from_chars(arguments[2], end, layer);
    if (read.ec != std::errc{} || read.ptr != end)
      coterie::fail("LAYER: got " + coterie::io::printable(arguments[2]) + ", want a number of 0 to " + std::to_string(checkpoint.layers() - 1));
  } else {
    while (layer < checkpoint.layers() && !checkpoint.is_moe(layer)) ++layer;
    if (layer == checkpoint.layers()) coterie::fail(checkpoint.directory() + ": has no mixture-of-experts layer");
  }
  coterie::Config const config = checkpoint.config(layer);
  std::fprintf(stderr, "%s, layer %d of %d: %s\n", checkpoint.model_type().c_str(), layer, checkpoint.layers(), coterie::describe(config).c_str());
  checkpoint.check_types(layer);
  std::printf("#pragma once\n#include <coterie/config.hpp>\n%sinline constexpr int layer_number = %d;\n", coterie::source(config, "layer_config").c_str(), layer);
  return 0;
} catch (coterie::Error const& e) {
  return std::fprintf(stderr, "%s\n", e.what()), 1;
}

// Writes a layer of a model's folder as a header for 03_checkpoint.cpp:    describe_checkpoint DIRECTORY [LAYER] >layer.hpp
// Without LAYER: the first one that is a mixture.
#include <coterie/io/checkpoint_files.hpp>
#include <cstdio>
#include <cstdlib>

int main(int count, char** arguments) try {
  if (count < 2 || count > 3) return std::fprintf(stderr, "usage: describe_checkpoint DIRECTORY [LAYER]\n"), 2;
  coterie::Checkpoint const checkpoint{arguments[1]};
  int layer = count > 2 ? std::atoi(arguments[2]) : 0;
  while (count == 2 && layer < checkpoint.layers() && !checkpoint.is_moe(layer)) ++layer;
  if (layer == checkpoint.layers()) coterie::fail(checkpoint.directory() + ": has no mixture-of-experts layer");
  coterie::Config const config = checkpoint.config(layer);
  std::fprintf(stderr, "%s, layer %d of %d: %s\n", checkpoint.model_type().c_str(), layer, checkpoint.layers(), coterie::describe(config).c_str());
  std::printf("#pragma once\n#include <coterie/config.hpp>\n%sinline constexpr int layer_number = %d;\n", coterie::source(config, "layer_config").c_str(), layer);
} catch (coterie::Error const& e) {
  return std::fprintf(stderr, "%s\n", e.what()), 1;
}

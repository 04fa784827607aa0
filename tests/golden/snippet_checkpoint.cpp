// The code that docs/checkpoints.md quotes, run on a golden.
#include "golden.hpp"
#include <coterie/io/load_to_file.hpp>
#include <cstring>
#include <filesystem>
#include <unistd.h>

// [docs/checkpoints.md
#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>

#include <cstdio>

namespace ct = coterie;

constexpr ct::Config layer_config{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};   // or what ct::source() printed

void run_layer(std::string const& folder, ct::Rows<ct::bf16 const, 128> x, ct::Rows<ct::bf16, 128> y) {
  ct::Checkpoint const checkpoint{folder};                     // config.json and *.safetensors; nothing is read yet
  for (int i = 0; i < checkpoint.layers(); ++i)
    if (checkpoint.is_moe(i)) std::printf("layer %d: %s\n", i, ct::describe(checkpoint.config(i)).c_str());

  ct::Host const on{};
  auto const packed = ct::load<layer_config>(on, checkpoint, 0);   // refuses a Config that the files do not mean
  ct::Layer<layer_config, ct::Host> const layer{packed.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(on, x.rows));
  layer.forward(on, x, y, workspace);
}
// docs/checkpoints.md]

TEST_CASE("the snippet of docs/checkpoints.md") {
  std::vector<ct::bf16> x(3 * 128, ct::from_float<ct::bf16>(0.5f)), y(x.size());
  run_layer(golden::folder("mixtral"), ct::rows<128>(static_cast<ct::bf16 const*>(x.data()), 3), ct::rows<128>(y.data(), 3));
  CHECK(y[0].bits == y[128].bits);
  CHECK(ct::to_float(y[0]) != 0);
}

TEST_CASE("a checkpoint's layer straight into a packed file is the layer that load() makes") {
  ct::Checkpoint const checkpoint{golden::folder("mixtral")};
  ct::Host const on{.threads = 1};
  std::string const path = (std::filesystem::temp_directory_path() / ("coterie_layer_" + std::to_string(::getpid()))).string();
  std::uint64_t read = 0;
  auto const file = ct::load_to_file<layer_config>(on, checkpoint, 0, path, {.call = [](void* to, std::uint64_t done, std::uint64_t) { *static_cast<std::uint64_t*>(to) = done; }, .context = &read});
  auto const packed = ct::load<layer_config>(on, checkpoint, 0);
  using Layout = ct::host::PackedLayout<layer_config>;
  auto const layout = Layout::make(layer_config.experts, 0);
  std::size_t const experts = layout.expert_panels;                      // what stands before them says that it is mapped
  CHECK(std::memcmp(file.view().data + experts, packed.view().data + experts, layout.bytes - experts) == 0);
  CHECK(std::memcmp(file.view().data + layout.router_panels, packed.view().data + layout.router_panels, experts - layout.router_panels) == 0);
  CHECK(read > 0);
  std::filesystem::remove(path);
}

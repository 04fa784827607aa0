// One layer of a model of your own: read from its folder, timed stage by stage.
//   examples/run.sh --checkpoint DIRECTORY [--layer N] writes checkpoint_config.hpp from config.json and compiles this file with it;
//   03_checkpoint [DIRECTORY] [--layer N] [--x FILE TENSOR]      tokens: hidden states of a safetensors file, or 1 and 256 random ones
#include <coterie/io/checkpoint.hpp>
#include <charconv>
#include "recorded.hpp"
#include "terminal.hpp"
#if __has_include("checkpoint_config.hpp")
#include "checkpoint_config.hpp"
#else
inline constexpr coterie::Config layer_config{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256};    // tests/golden/mixtral
inline constexpr int layer_number = 0;
#endif

namespace {

namespace ct = coterie;
constexpr ct::Config C = layer_config;
using V = ct::element_t<C.dtype>;

int number(std::string_view text) {
  int n = 0;
  auto const read = std::from_chars(text.data(), text.data() + text.size(), n);
  if (read.ec != std::errc{} || read.ptr != text.data() + text.size()) ct::fail("--layer: got " + ct::io::printable(text) + ", want a number");
  return n;
}

// Hidden states as the layer's type, of a file that holds fp32 or the type itself.
std::vector<V> hidden_states(char const* path, char const* name) {
  ct::Safetensors const file{path};
  if (ct::bits(file.at(name).dtype) == 8 * sizeof(V)) return example::read<V>(file, name);
  std::vector<V> x;
  for (float const v : example::read<float>(file, name)) x.push_back(ct::from_float<V>(v));
  return x;
}

// Ids for a layer that routes by a table, drawn from its vocabulary.
std::vector<std::int32_t> token_ids(ct::Checkpoint const& checkpoint, int layer, std::int64_t tokens) {
  std::int64_t vocabulary = 1;
  for (ct::TensorPlace const& p : checkpoint.tensors(layer))
    if (p.part == ct::Part::table) vocabulary = p.tensor->shape.back() == C.top_k && p.tensor->shape.size() > 1 ? p.tensor->shape[p.tensor->shape.size() - 2] : 1;
  std::vector<std::int32_t> ids;
  for (std::int64_t t = 0; t < tokens; ++t) ids.push_back(static_cast<std::int32_t>(t * 7919 % vocabulary));
  return ids;
}

void run(ct::Host const& on, ct::Checkpoint const& checkpoint, int layer, std::vector<V> const& given) {
  double const start = bench::wall_seconds();
  auto const packed = ct::load<C>(on, checkpoint, layer, {.call = [](void*, std::uint64_t done, std::uint64_t all) {
    example::progress("reading MB", int(done >> 20), int(all >> 20));
  }});
  double const loading = bench::wall_seconds() - start, bytes = double(ct::Packer<C, ct::Host>::bytes());
  std::printf("  %.2f GB read and packed in %.1f s\n", bytes / 1e9, loading);

  auto const sweep = example::random_values<float>(on, 1 << 26, 3, 1);                                // 256 MB to read
  auto const machine = example::this_machine(on, C.weights, std::as_bytes(std::span(sweep)));
  std::printf("  %d threads, %s; this machine: %.0f GFLOP/s multiply-adds, %.1f GB/s read%s%s\n", on.pool->size(), ct::name(on.path()), machine.flops_per_second / 1e9,
              machine.bytes_per_second / 1e9, bytes < 64e6 ? " (so small a layer lives in the caches)" : "", machine.remark());
  auto const measure = [&](std::vector<V> const& x) {
    auto const tokens = static_cast<std::int64_t>(x.size()) / C.hidden;
    auto const ids = token_ids(checkpoint, layer, tokens);
    auto const in = ct::rows<C.hidden>(x.data(), tokens);
    ct::Inputs<C> inputs{.x = in, .token_ids = ids.data()};
    if constexpr (C.router.input == ct::RouterInput::separate) inputs.router_x = in;
    auto const measured = example::measure<C>(on, packed.view(), inputs, 0.5);
    example::print_stages(measured, machine);
    if (tokens > 1) example::print_load(measured.load);
  };
  if (!given.empty()) return measure(given);
  for (std::int64_t const tokens : {1, 256}) measure(example::random_values<V>(on, tokens * C.hidden, 99, 1.7f));
}

}

int main(int count, char** arguments) try {
  std::string directory = (example::root() / "tests/golden/mixtral").string();
  int layer = layer_number;
  std::vector<V> given;
  for (int i = 1; i < count; ++i) {
    std::string_view const a = arguments[i];
    if (a == "--layer" && i + 1 < count) layer = number(arguments[++i]);
    else if (a == "--x" && i + 2 < count) given = hidden_states(arguments[i + 1], arguments[i + 2]), i += 2;
    else if (!a.starts_with("--")) directory = a;
    else return std::fprintf(stderr, "usage: 03_checkpoint [DIRECTORY] [--layer N] [--x FILE TENSOR]\n"), 2;
  }
  ct::Checkpoint const checkpoint{directory};
  std::printf("%s, layer %d of %d: %s\n", checkpoint.model_type().c_str(), layer, checkpoint.layers(), ct::describe(C).c_str());
  double const free = example::free_memory(), need = 1.2 * double(ct::Packer<C, ct::Host>::bytes()) + 1e9;
  if (free < need) return std::fprintf(stderr, "03_checkpoint: %.1f GB of memory are free, this layer needs %.1f\n", free / 1e9, need / 1e9), 1;
  run(ct::Host{.threads = 0}, checkpoint, layer, given);
} catch (ct::Error const& e) {
  return std::fprintf(stderr, "%s\n", e.what()), 1;
}

// The main job: a Mixtral layer against transformers, then at full size against the roofline.
//   01_mixtral [--quick] [--pictures DIR]        --quick: no full-size layer (also when less than 5 GB of memory are free)
#include <coterie/io/checkpoint.hpp>
#include "pictures.hpp"
#include "recorded.hpp"

namespace {

namespace ct = coterie;

// The committed checkpoint, computed in fp32 as the recording was.
constexpr ct::Config small{.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256, .dtype = ct::DType::fp32, .weights = ct::DType::bf16};
constexpr ct::Config big = ct::presets::mixtral_8x7b;
constexpr ct::Config dense = example::dense_of(big);

// fp32 sums of 128 and 256 products in another order than transformers': measured 7.7e-7 of the largest output.
constexpr double tolerance = 2e-6;

bool against_transformers(ct::Host const& on, std::filesystem::path const& root, std::filesystem::path const& pictures) {
  auto const folder = root / "tests/golden/mixtral";
  ct::Checkpoint const checkpoint{folder.string()};
  auto const packed = ct::load<small>(on, checkpoint, 0);
  ct::Layer<small, ct::Host> const layer{packed.view()};

  ct::Safetensors const recorded{(folder / "text.safetensors").string()};
  auto const x = example::read<float>(recorded, "fp32.x"), want = example::read<float>(recorded, "fp32.y");            // [T,H]
  auto const want_expert = example::read<std::int32_t>(recorded, "fp32.topk_index");                                   // [T,K]
  auto const tokens = static_cast<std::int64_t>(x.size()) / small.hidden;
  std::vector<float> y(x.size());                                                                                      // [T,H]
  std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens));
  auto const in = ct::rows<small.hidden>(x.data(), tokens);
  layer.forward(on, in, ct::rows<small.hidden>(y.data(), tokens), workspace);

  example::Between<small> between{tokens};
  auto const routing = between.routing();
  ct::Router<small, ct::Host>{}(on, {.x = in}, packed.view(), routing, workspace);
  std::vector<std::int32_t> const expert(routing.expert[0], routing.expert[tokens]);                                   // [T,K]
  std::string const text = example::text_of(example::read<std::int32_t>(recorded, "token_ids"));

  auto const error = example::compare(y, want);
  std::printf("A small Mixtral layer (%d experts, top-%d, %d x %d), checkpoint and recording by transformers\n", small.experts, small.top_k, small.hidden, small.ffn);
  std::int64_t const agreeing = example::agreeing(expert, want_expert, small.top_k);
  std::printf("  %lld tokens: largest difference %.1e, %.1e of the largest output; the same experts for %lld tokens\n",
              static_cast<long long>(tokens), error.most, error.relative, static_cast<long long>(agreeing));
  example::print_choices(std::string_view(text).substr(0, 64), expert.data(), small.top_k);
  example::picture_of_experts(pictures / "experts.svg", "A small Mixtral layer (8 experts, top-2) on " + std::to_string(tokens) +
                              " characters; weights and recorded hidden states by transformers, routed by Coterie", text, expert, small.experts, small.top_k);
  return error.relative <= tolerance && agreeing == tokens;
}

void full_size(ct::Host const& on, std::filesystem::path const& pictures) {
  constexpr ct::Footprint f = ct::footprint(big);
  std::printf("\nOne layer of Mixtral 8x7B: %d experts, top-%d, %d x %d, bf16, %.2f GB of random weights\n", big.experts, big.top_k, big.hidden, big.ffn, f.weight_bytes() / 1e9);
  double const start = bench::wall_seconds();
  auto const packed_dense = example::random_layer<dense>(on, 7, [](int) {});
  auto const packed = example::random_layer<big>(on, 1, [](int e) { example::progress("packing expert", e, big.experts); });
  double const packing = bench::wall_seconds() - start;
  auto const machine = example::this_machine(on, big.weights, {packed.view().data, ct::Packer<big, ct::Host>::bytes()});
  std::printf("  made and packed in %.1f s; %d threads, %s; this machine: %.0f GFLOP/s multiply-adds, %.1f GB/s read%s\n", packing, on.pool->size(), ct::name(on.path()),
              machine.flops_per_second / 1e9, machine.bytes_per_second / 1e9, machine.remark());

  std::vector<example::Panel> panels;
  for (std::int64_t const tokens : {1, 256}) {
    auto const x = example::random_values<ct::bf16>(on, tokens * big.hidden, 99, 1.7f);                                // [T,H]
    auto const in = ct::rows<big.hidden>(x.data(), tokens);
    auto const measured = example::measure<big>(on, packed.view(), {.x = in}, 0.5);
    auto const ffn = example::measure_dense<dense>(on, packed_dense.view(), in, 0.5);
    example::print_stages(measured, machine);
    example::print_stage(ffn, machine);
    auto const tax = example::tax(measured, ffn, machine);
    std::printf("  MoE tax: %.2f times the dense FFN of the same arithmetic; physics asks for %.2f\n", tax.measured, tax.floor);
    if (tokens > 1) example::print_load(measured.load);
    panels.push_back({measured, ffn});
  }
  example::picture_of_stages(pictures / "stages.svg", "One Mixtral 8x7B layer (8 experts, top-2, 4096 × 14336, bf16) on " + std::to_string(on.pool->size()) +
                             " CPU threads (" + ct::name(on.path()) + "); dense FFN: the same arithmetic in one piece", panels, machine);
}

}

int main(int count, char** arguments) try {
  std::filesystem::path const root = example::root();
  auto pictures = root / "build/pictures";
  bool quick = false;
  for (int i = 1; i < count; ++i) {
    if (std::string_view(arguments[i]) == "--quick") quick = true;
    else if (std::string_view(arguments[i]) == "--pictures" && i + 1 < count) pictures = arguments[++i];
    else return std::fprintf(stderr, "usage: 01_mixtral [--quick] [--pictures DIR]\n"), 2;
  }
  ct::Host const on{.threads = 0};
  double const start = bench::wall_seconds();
  bool const agrees = against_transformers(on, root, pictures);
  double const free = example::free_memory();
  if (quick || free < 5e9) std::printf("\nNo full-size layer: %s\n", quick ? "--quick" : example::format("%.1f GB of memory are free, it needs 5", free / 1e9).c_str());
  else full_size(on, pictures);
  std::printf("\npictures: %s\n%.0f s, at most %.1f GB of memory\n", pictures.string().c_str(), bench::wall_seconds() - start, example::peak_memory() / 1e9);
  if (!agrees) return std::fprintf(stderr, "01_mixtral: the layer does not agree with transformers (to %.0e of the largest output, and in every choice)\n", tolerance), 1;
} catch (ct::Error const& e) {
  return std::fprintf(stderr, "%s\n", e.what()), 1;
}

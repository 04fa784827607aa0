// One layer on the CPU, and every way to say it: the same bits each time.
#include "filled.hpp"
#include <cstdio>

constexpr ct::Config mini{.experts = 8, .top_k = 2, .hidden = 64, .ffn = 96};
constexpr ct::Config mixtral = ct::presets::mixtral_8x7b;
static_assert(ct::footprint(ct::models::mixtral_8x7b).total_parameters == 46'702'792'704);
static_assert(ct::footprint(ct::models::mixtral_8x7b).active_parameters == 12'879'925'248);
static_assert(ct::roofline(ct::footprint(mixtral), {.flops_per_second = 790e12, .bytes_per_second = 4.3e12}, 1) > 160e-6);
static_assert(mixtral.experts == 8 && mixtral.top_k == 2 && mixtral.hidden == 4096 && mixtral.ffn == 14336);

constexpr ct::Config as(ct::DType d) {
  ct::Config c = mini;
  c.dtype = c.weights = c.router.weights = d;
  return c;
}

constexpr ct::Config coded = [] {
  ct::Config c = mini;
  c.weights = ct::DType::mxfp4;
  return c;
}();

int failures = 0;
void expect(bool ok, char const* what) {
  if (!ok) std::printf("layer: %s\n", what), ++failures;
}

// A layer of another type, from the same stored weights.
template <ct::Config C> void other_type(ct::Host const& on, ct::Weights<mini> const& raw) {
  static constexpr ct::Config config = C;
  using V = ct::element_t<C.dtype>;
  Filled<mini> const filled;
  std::vector<V> router(filled.router.size()), x(3 * 64), y(3 * 64, ct::from_float<V>(1e4f));
  for (std::size_t i = 0; i < router.size(); ++i) router[i] = ct::from_float<V>(ct::to_float(filled.router[i]));
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = ct::from_float<V>(static_cast<float>(i % 11) / 8);
  ct::Weights<config, ct::DType::bf16> mixed{};
  mixed.router.data = router.data();
  mixed.gate = raw.gate, mixed.up = raw.up, mixed.down = raw.down;
  auto const packed = ct::pack(on, mixed);
  ct::Layer<config, ct::Host> const layer{packed.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(on, 3));
  layer.forward(on, ct::rows<64>(x.data(), 3), ct::rows<64>(y.data(), 3), workspace);
  for (V v : y) expect(ct::to_float(v) < 1e3f && ct::to_float(v) > -1e3f, "a layer of another type writes small numbers");
}

// explain() has a line for every stage, which names the path and the block or tile that would run.
constexpr ct::Config every_stage = [] {
  ct::Config c = mini;
  c.expert.latent = 48, c.shared.ffn = 32;
  return c;
}();
void explained() {
  ct::Layer<every_stage, ct::Host> const layer{ct::PackedView<every_stage, ct::Host>{}};
  for (ct::Isa isa : {ct::Isa::portable, ct::Isa::avx2, ct::Isa::avx512, ct::Isa::avx512_bf16, ct::Isa::amx}) {
    if (!ct::host::supports(isa)) continue;
    std::string text = layer.explain(ct::Host{.threads = 1, .isa = isa}, 5);
    std::string const own = isa == ct::Isa::amx ? "tiles of up to 32 rows" : isa == ct::Isa::avx512_bf16 ? "blocks of up to 12 rows" : "blocks of up to 48 rows";
    std::string const path = ct::name(isa), vectors = isa > ct::Isa::avx512 ? "AVX-512" : path, by_token = isa == ct::Isa::portable ? "portable" : "AVX2";
    auto const next = [&](std::string const& stage, std::string const& runs_on, std::string const& block) {
      std::string const line = text.substr(0, text.find('\n'));
      expect(line.find(stage + ": ") == 0 && line.find(runs_on) != line.npos && line.find(block) != line.npos, ("explain() of " + stage + " by " + path + ": " + line).c_str());
      text.erase(0, line.size() + 1);
    };
    next("router", vectors, "blocks of 48 rows"), next("dispatch", "one thread", "counting sort"), next("latent", vectors, "blocks of 48 rows");
    next("experts", path, own), next("shared", path, own);
    next("combine", by_token, "blocks of 256 columns");
    expect(text.empty(), "explain() has a line for every stage and no other");
  }
}

int main() {
  constexpr std::int64_t tokens = 5;
  Filled<mini> const filled;
  std::vector<ct::bf16> const in = activations(tokens * 64);
  ct::Rows<ct::bf16 const, 64> const x{in.data(), tokens};
  auto const run = [&](ct::Host const& on, ct::Layer<mini, ct::Host> const& layer, auto const& input) {
    std::vector<ct::bf16> y(tokens * 64, ct::bf16{0x7fc1});
    std::vector<std::byte> workspace(layer.workspace_bytes(on, tokens), std::byte{0xff});
    layer.forward(on, input, ct::rows<64>(y.data(), tokens), workspace);
    return y;
  };

  ct::Host const on{.threads = 2};
  ct::Packed<mini, ct::Host> const packed = ct::pack(on, filled.raw);
  ct::Layer<mini, ct::Host> const layer{packed.view()};
  std::vector<ct::bf16> const want = run(on, layer, x);
  for (ct::bf16 v : want) expect(!ct::is_nan(ct::to_float(v)), "every element of y is written");
  expect(same(run(on, layer, ct::Inputs<mini>{.x = x}), want), "Inputs says the same as x");
  expect(same(run(on, layer, ct::Inputs<mini>{.x = x, .token_ids = nullptr, .seed = 7}), want), "a layer without noise ignores the seed");
  expect(same(run(ct::Host{.threads = 1}, layer, x), want), "the number of threads does not matter");
  expect(same(run(on, layer, ct::rows<64>(in.data(), tokens)), want), "rows() makes the same view");

  ct::Packer<mini, ct::Host> packer{on};
  packer.router(filled.raw);
  for (int e = mini.experts; e-- > 0;) {
    auto const i = static_cast<std::size_t>(e);
    packer.expert(e, filled.raw.gate[i], filled.raw.up[i], filled.raw.down[i]);
  }
  ct::Packed<mini, ct::Host> const streamed = packer.finish();
  expect(same(run(on, ct::Layer<mini, ct::Host>{streamed.view()}, x), want), "packing piece by piece gives the same layer");

  expect(layer.workspace_bytes(on, 0) <= layer.workspace_bytes(on, 1) && layer.workspace_bytes(on, 1) <= layer.workspace_bytes(on, 100), "workspaces grow with tokens");
  expect(layer.workspace_bytes(tokens) == layer.workspace_bytes(on, tokens), "the host's workspace does not depend on the threads");
  explained();
  other_type<as(ct::DType::fp16)>(on, filled.raw);
  other_type<coded>(on, filled.raw);
  other_type<as(ct::DType::fp32)>(on, filled.raw);
  std::printf("layer: %d failures\n", failures);
  return failures != 0;
}

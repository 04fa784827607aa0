// What every family's golden is compared with: the original's record, and the reference on the same stored weights.
#include "golden.hpp"

#include <cstdio>
#include <cstdlib>
#include <map>

#include <coterie/reference.hpp>

namespace golden {

std::string folder(std::string const& family) {
#ifdef COTERIE_GOLDEN_DIR
  return std::string(COTERIE_GOLDEN_DIR) + "/" + family;
#else
  std::string const here = __FILE__;
  return here.substr(0, here.rfind('/') + 1) + family;
#endif
}

int moe_layer(Checkpoint const& checkpoint) {
  for (int i = 0; i < checkpoint.layers(); ++i)
    if (checkpoint.is_moe(i)) return i;
  FAIL("no MoE layer");
  return -1;
}

namespace {

std::vector<float> floats(ShardedSafetensors const& files, std::string const& name) { return io::read_all_as<float>(files, files.at(name), Where::here()); }
std::vector<std::int32_t> ids(ShardedSafetensors const& files, std::string const& name) {
  TensorInfo const& t = files.at(name);
  REQUIRE(t.dtype == Stored::i32);
  std::vector<std::int32_t> all(static_cast<std::size_t>(t.bytes() / 4));
  files.read(t, std::as_writable_bytes(std::span(all)));
  return all;
}
int sequences(ShardedSafetensors const& files) {
  constexpr std::string_view word = "sequences ";
  for (auto const& [key, value] : files.files().front().metadata())
    if (auto const at = value.find(word); key == "about" && at != value.npos) return std::atoi(value.c_str() + at + word.size());
  return 1;
}
// X.weight, of what stands in its place: X.qweight, X.weight_packed.
std::string name_as_floats(TensorPlace const& p) { return p.tensor->name.substr(0, p.tensor->name.rfind('.')) + ".weight"; }

// gpt-oss's blocks [E,out,in/32,16], low nibble first, scales 2^(s - 127), as what they stand for: [E,in,out].
std::vector<float> unpacked_blocks(ShardedSafetensors const& files, TensorPlace const& p) {
  auto const bytes = [&](TensorInfo const& t) {
    std::vector<unsigned char> all(static_cast<std::size_t>(t.bytes()));
    files.read(t, std::as_writable_bytes(std::span(all)));
    return all;
  };
  auto const blocks = bytes(*p.tensor), scales = bytes(*p.scale);
  auto const& shape = p.tensor->shape;
  std::size_t const out = static_cast<std::size_t>(shape[1]), in = static_cast<std::size_t>(shape[2]) * 32;
  std::vector<float> to(blocks.size() * 2);
  for (std::size_t i = 0; i < to.size(); ++i) {
    unsigned const code = i % 2 ? blocks[i / 2] >> 4 : blocks[i / 2] & 15u;
    std::size_t const e = i / (out * in), o = i / in % out;
    to[(e * in + i % in) * out + o] = static_cast<float>(reference::coded(DType::mxfp4, code, -1) * std::ldexp(1., int{scales[i / 32]} - 127));
  }
  return to;
}

}

reference::Weights stored_weights(Checkpoint const& checkpoint, ShardedSafetensors const& record, int layer, Config const& c) {
  reference::Weights w;
  std::map<std::pair<Part, int>, std::vector<float>> all;
  for (TensorPlace const& p : checkpoint.tensors(layer)) {
    if (p.part == Part::table) w.table = io::read_table(checkpoint.files(), *p.tensor, c.experts, Where::here());
    else if (p.coding.format == io::Format::numbers) all[{p.part, p.expert}] = read_floats(checkpoint, *p.tensor);
    else if (p.coding.format == io::Format::blocks) all[{p.part, p.expert}] = unpacked_blocks(checkpoint.files(), p);
    else {
      std::vector<float>& numbers = all[{p.part, p.expert}] = floats(record, name_as_floats(p));
      if (p.expert >= 0) w.expert_roundoff = reference::unit;
      else if (c.shared.weights == DType::bf16)
        for (float& v : numbers) v = rounded<bf16>(v);
    }
  }
  auto const get = [&](Part part, int expert = -1) { return reference::Numbers(all[{part, expert}].begin(), all[{part, expert}].end()); };
  w.router = get(Part::router), w.router_bias = get(Part::router_bias), w.select_bias = get(Part::select_bias), w.expert_scale = get(Part::expert_scale);
  w.shared_gate = get(Part::shared_gate), w.shared_up = get(Part::shared_up), w.shared_down = get(Part::shared_down), w.mix = get(Part::shared_mix);
  w.mix_bias = {0, 0}, w.latent_down = get(Part::latent_down), w.latent_up = get(Part::latent_up), w.latent_epsilon = 1e-6;
  std::size_t const F = static_cast<std::size_t>(c.ffn), W = static_cast<std::size_t>(width(c));
  io::Layout const layout = checkpoint.names(layer).layout;
  bool const separate = layout == io::Layout::separate, in_out = layout == io::Layout::halves_in_out || layout == io::Layout::interleaved_in_out;
  for (std::size_t e = 0; e < static_cast<std::size_t>(c.experts); ++e) {
    int const own = separate ? static_cast<int>(e) : -1;
    auto const& gate_up = all[{Part::gate_up, -1}];
    auto const fused = [&](std::size_t half, std::size_t f, std::size_t i) {
      std::size_t const wide = layout == io::Layout::interleaved_in_out ? 2 * f + half : half * F + f;
      return double{in_out ? gate_up[(e * W + i) * 2 * F + wide] : gate_up[(e * 2 * F + wide) * W + i]};
    };
    auto const matrix = [&](Part part, std::size_t half) {
      auto const& t = all[{part, own}];
      reference::Numbers m;
      for (std::size_t f = 0; f < F; ++f)
        for (std::size_t i = 0; i < W; ++i) m.push_back(!gate_up.empty() ? fused(half, f, i) : t.empty() ? 0 : double{t[((separate ? 0 : e) * F + f) * W + i]});
      return m;
    };
    w.gate.push_back(matrix(Part::gate, 0)), w.up.push_back(matrix(Part::up, 1));
    auto const& down = all[{Part::down, own}];
    reference::Numbers d;
    for (std::size_t o = 0; o < W; ++o)
      for (std::size_t f = 0; f < F; ++f)
        d.push_back(double{down[separate ? o * F + f : in_out || layout == io::Layout::flat ? (e * F + f) * W + o : (e * W + o) * F + f]});
    w.down.push_back(d);
    if (!c.expert.bias) continue;
    auto const& both = all[{Part::gate_up_bias, -1}];
    reference::Numbers gate_bias(F), up_bias(F), down_bias(W);
    for (std::size_t f = 0; f < F; ++f) {
      gate_bias[f] = both.empty() ? 0 : double{both[e * 2 * F + 2 * f]};
      up_bias[f] = both.empty() ? double{all[{Part::up_bias, own}][f]} : double{both[e * 2 * F + 2 * f + 1]};
    }
    for (std::size_t o = 0; o < W; ++o) down_bias[o] = double{all[{Part::down_bias, own}][separate ? o : e * W + o]};
    w.gate_bias.push_back(gate_bias), w.up_bias.push_back(up_bias), w.down_bias.push_back(down_bias);
  }
  return w;
}

namespace {

// What Gemma 4 does to the residual before its router: RMS norm without a weight, times a learned scale, times hidden^-1/2.
void scale_router_input(std::vector<float>& x, std::vector<float> const& scale, bool bf16_steps) {
  auto const step = [&](double v) { return bf16_steps ? double{rounded<bf16>(static_cast<float>(v))} : v; };
  std::size_t const hidden = scale.size();
  for (std::size_t first = 0; first < x.size(); first += hidden) {
    double square = 0;
    for (std::size_t h = 0; h < hidden; ++h) square += double{x[first + h]} * double{x[first + h]};
    double const r = 1 / std::sqrt(square / static_cast<double>(hidden) + 1e-6);
    for (std::size_t h = 0; h < hidden; ++h)
      x[first + h] = static_cast<float>(step(step(step(double{x[first + h]} * r) * double{scale[h]}) / std::sqrt(static_cast<double>(hidden))));
  }
}

// Largest |a - b| over the largest |b|; infinite where there is NaN.
double relative_error(std::vector<float> const& a, std::vector<float> const& b) {
  REQUIRE(a.size() == b.size());
  double error = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const e = std::abs(double{a[i]} - double{b[i]});
    error = std::isnan(e) ? INFINITY : std::max(error, e);
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  return error / largest;
}

// The same experts for every token, in any order; the error of their weights.
double compare_routing(Result const& r, std::size_t k, std::vector<std::int32_t> const& expert, std::vector<float> const& weight) {
  REQUIRE(r.expert.size() == expert.size());
  std::vector<float> mine, theirs;
  for (std::size_t t = 0; t < expert.size() / k; ++t) {
    std::multimap<int, float> a, b;
    for (std::size_t i = t * k; i < (t + 1) * k; ++i)
      a.emplace(r.expert[i], r.expert[i] < 0 ? 0.f : r.weight[i]), b.emplace(expert[i], expert[i] < 0 ? 0.f : weight[i]);
    auto j = b.begin();
    for (auto const& [e, w] : a) {
      CHECK_MESSAGE(e == j->first, "token ", t);
      mine.push_back(w), theirs.push_back((j++)->second);
    }
  }
  return relative_error(mine, theirs);
}

// Largest |y - reference| over the reference's own bound, per element. A token whose choice of experts is within rounding
// of another (of 609 tokens of text there is one) is not looked at.
double bound_ratio(std::vector<float> const& y, reference::Result const& r) {
  REQUIRE(y.size() == r.y.size());
  std::size_t const width = y.size() / r.routing.margin.size();
  std::size_t unsure = 0;
  for (double margin : r.routing.margin) unsure += !(margin > 1);
  CHECK(unsure * 100 <= r.routing.margin.size());
  double worst = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (!(r.routing.margin[i / width] > 1)) continue;
    double const e = std::abs(double{y[i]} - r.y[i]);
    worst = std::isnan(e) ? INFINITY : e == 0 ? worst : std::max(worst, e / r.bound[i]);
  }
  return worst;
}

// Relative to the largest value. fp32: the order of sums. bf16: where the definition rounds an expert's hidden values, its
// row and y, the originals also round gate, up and the activated gate, of the shared expert too, the logits or weights,
// every weighted row and every step of the sum: twelve times half an ulp.
constexpr double fp32_weight = 1e-6, fp32_y = 2e-6, bf16_both = 12 * 0x1p-9;

}

void same_meaning(std::string const& family, Config const& config) {
  CAPTURE(family);
  Checkpoint const checkpoint{folder(family)};
  CHECK(source(checkpoint.config(moe_layer(checkpoint)), "layer") == source(config, "layer"));
}

void compare(std::string const& family, std::string const& file, std::string const& dtype, Computed const& of) {
  CAPTURE(family);
  CAPTURE(dtype);
  Config const& c = of.config;
  Checkpoint const checkpoint{folder(family)};
  ShardedSafetensors const record{folder(family) + "/" + file};
  int const layer = moe_layer(checkpoint);
  Given given;
  given.x = floats(record, dtype + ".x");
  if (record.find(dtype + ".router_x")) given.router_x = floats(record, dtype + ".router_x");
  if (record.find("token_ids")) given.token_ids = ids(record, "token_ids");
  auto const tokens = static_cast<std::int64_t>(given.x.size()) / c.hidden;
  given.sequence = c.capacity.rounding == Rounding::flaxformer ? tokens / sequences(record) : 0;   // Switch counts places by sequence
  for (TensorPlace const& p : checkpoint.tensors(layer))
    if (p.part == Part::outside && p.tensor->name.ends_with("router.scale"))
      scale_router_input(given.router_x, read_floats(checkpoint, *p.tensor), dtype == "bf16");
  Result r = of.run(checkpoint, layer, given);

  reference::Inputs in;
  in.tokens = tokens, in.token_ids = given.token_ids, in.sequence = given.sequence;
  in.x.assign(given.x.begin(), given.x.end()), in.router_x.assign(given.router_x.begin(), given.router_x.end());
  reference::Result const truth = reference::layer(c, stored_weights(checkpoint, record, layer, c), in);
  double const ratio = bound_ratio(r.y, truth);

  for (TensorPlace const& p : checkpoint.tensors(layer))
    if (p.part == Part::outside && p.tensor->name.ends_with(".bias")) {        // JetMoE: one bias on the sum
      auto const bias = read_floats(checkpoint, *p.tensor);
      for (std::size_t i = 0; i < r.y.size(); ++i) r.y[i] += bias[i % bias.size()];
    }
  double const weight = compare_routing(r, static_cast<std::size_t>(slots(c)), ids(record, dtype + ".topk_index"), floats(record, dtype + ".topk_weight"));
  double const y = relative_error(r.y, floats(record, dtype + ".y"));
  std::printf("golden %-32s %s  weights %.1e  y %.1e  of the reference's bound %.2f\n", family.c_str(), dtype.c_str(), weight, y, ratio);
  CHECK(ratio <= 1);
  CHECK(weight <= (dtype == "fp32" ? fp32_weight : bf16_both));
  CHECK(y <= (dtype == "fp32" ? fp32_y : bf16_both));
}

std::vector<float> read_by_original(std::string const& family, Part part, int expert) {
  Checkpoint const checkpoint{folder(family)};
  ShardedSafetensors const record{folder(family) + "/record.safetensors"};
  for (TensorPlace const& p : checkpoint.tensors(moe_layer(checkpoint)))
    if (p.part == part && p.expert == expert) return floats(record, name_as_floats(p));
  FAIL("no such matrix");
  return {};
}

void compare_output(std::string const& family, std::string const& file, Computed const& of) {
  CAPTURE(family);
  Checkpoint const checkpoint{folder(family)};
  ShardedSafetensors const record{folder(family) + "/record.safetensors"}, output{folder(family) + "/" + file};
  Given given;
  given.x = floats(record, "fp32.x");
  double const y = relative_error(of.run(checkpoint, moe_layer(checkpoint), given).y, floats(output, "y"));
  std::printf("golden %-32s fp32  y %.1e  %s\n", family.c_str(), y, file.c_str());
  CHECK(y <= fp32_y);
}

}

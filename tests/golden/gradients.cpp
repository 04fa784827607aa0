// Gradients that torch's autograd found in the original MoE blocks (gradients.py), against the backward pass in fp32 and the derivative of the
// reference; and the balance losses of the originals with their gradients.
#include "golden.hpp"

#include <cstdio>
#include <map>

#include <coterie/balance.hpp>
#include <coterie/reference.hpp>
#include <coterie/training.hpp>

namespace {

using namespace coterie;
using namespace golden;
using Floats = std::vector<float>;

// What a layer is given, and gives, with its type forgotten.
struct Question {
  Floats x, dy, logits;                // [T,H], [T,H], [T,E]
  std::vector<std::int32_t> expert;    // [T,S] as the original chose, dropped ones too
  std::int64_t sequence = 0;
};
struct Answer {
  std::map<std::string, Floats> gradient;        // dx, and d.<word>: experts one after the other
  std::map<std::string, Floats> loss;            // <word>.value, <word>.dlogits
};

template <Config C> Answer learn(Checkpoint const& checkpoint, int layer_index, Question const& q) {
  static_assert(C.dtype == DType::fp32);
  Host const on{.threads = 1};
  auto const packed = load<C>(on, checkpoint, layer_index);
  auto const n = static_cast<std::int64_t>(q.x.size()) / C.hidden;
  Answer a;
  auto const take = [&](std::string const& word, std::int64_t size) {
    Floats& v = a.gradient[word];
    v.assign(static_cast<std::size_t>(size), 0);
    return v.data();
  };
  auto const owner = std::make_unique<Gradients<C>>();
  Gradients<C>& to = *owner;
  constexpr std::int64_t E = C.experts, F = C.ffn, H = C.hidden, S = C.shared.ffn;
  to.router = take("d.router", E * H);
  if constexpr (C.router.bias != 0) to.router_bias = take("d.router_bias", E);
  float *const gate = gated(C.expert.act) ? take("d.gate", E * F * H) : nullptr, *const up = take("d.up", E * F * H), *const down = take("d.down", E * H * F);
  for (std::size_t e = 0; e < to.up.size(); ++e) {
    auto const first = static_cast<std::int64_t>(e) * F * H;
    if (gate) to.gate[e].data = gate + first;
    to.up[e].data = up + first, to.down[e].data = down + first;
  }
  if constexpr (C.expert.bias != 0) {
    float *const gate_bias = take("d.gate_bias", E * F), *const up_bias = take("d.up_bias", E * F), *const down_bias = take("d.down_bias", E * H);
    for (std::size_t e = 0; e < to.up.size(); ++e) {
      auto const i = static_cast<std::int64_t>(e);
      to.gate_bias[e] = gate_bias + i * F, to.up_bias[e] = up_bias + i * F, to.down_bias[e] = down_bias + i * H;
    }
  }
  if constexpr (S > 0) to.shared.gate.data = take("d.shared_gate", S * H), to.shared.up.data = take("d.shared_up", S * H), to.shared.down.data = take("d.shared_down", H * S);
  if constexpr (C.shared.mix == SharedMix::sigmoid_gate) to.shared.mix = take("d.shared_mix", H);
  float* const dx = take("dx", n * H);

  Layer<C, Host> const layer{packed.view()};
  std::vector<std::byte> cache(layer.cache_bytes(on, n)), workspace(layer.training_workspace_bytes(on, n));
  Floats y(q.x.size());
  Inputs<C> const in{.x = {q.x.data(), n}, .sequence = q.sequence};
  layer.forward(on, in, rows<C.hidden>(y.data(), n), cache, workspace);
  layer.backward(on, in, cache, rows<C.hidden>(q.dy.data(), n), rows<C.hidden>(dx, n), to, workspace);

  auto expert = q.expert;
  auto logits = q.logits;
  balance::Losses<C> const losses{.routing = {.expert = {expert.data(), n}, .logits = {logits.data(), n}}, .sequence = q.sequence};
  auto const loss = [&](std::string const& word, auto const& call) {
    Floats& d = a.loss[word + ".dlogits"];
    d.assign(logits.size(), 0);
    a.loss[word + ".value"] = {static_cast<float>(call(rows<logit_columns(C)>(d.data(), n)))};
  };
  loss("load", [&](auto const& d) { return losses.load(d); });
  loss("sequence_wise", [&](auto const& d) { return losses.sequence_wise(d); });
  if constexpr (balance::Probabilities<C>::softmax) loss("z", [&](auto const& d) { return losses.z(d); });
  return a;
}

double largest(Floats const& v) {
  double most = 0;
  for (float f : v) most = std::max(most, std::abs(double{f}));
  return most;
}
// Largest |a - b| over the largest |b|; infinite where there is NaN.
double error_of(Floats const& a, Floats const& b) {
  REQUIRE(a.size() == b.size());
  double error = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    double const e = std::abs(double{a[i]} - double{b[i]});
    error = std::isnan(e) ? INFINITY : std::max(error, e);
  }
  return error / largest(b);
}

// Where the reference has what is behind a word: of experts every `step`-th hidden column.
std::vector<double*> places(std::string const& word, reference::Weights& w, reference::Inputs& in, Config const& c, std::int64_t step) {
  std::vector<double*> all;
  auto const plain = [&](reference::Numbers& v) {
    for (double& d : v) all.push_back(&d);
  };
  auto const experts = [&](std::vector<reference::Numbers>& v, std::int64_t columns, bool by_row) {
    for (reference::Numbers& m : v)
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(m.size()); ++i)
        if ((by_row ? i / columns : i % columns) % step == 0) all.push_back(&m[static_cast<std::size_t>(i)]);
  };
  if (word == "dx") plain(in.x);
  if (word == "d.router") plain(w.router);
  if (word == "d.router_bias") plain(w.router_bias);
  if (word == "d.gate") experts(w.gate, c.hidden, true);
  if (word == "d.up") experts(w.up, c.hidden, true);
  if (word == "d.down") experts(w.down, c.ffn, false);
  if (word == "d.gate_bias") experts(w.gate_bias, 1, true);
  if (word == "d.up_bias") experts(w.up_bias, 1, true);
  if (word == "d.down_bias") experts(w.down_bias, 1, true);
  if (word == "d.shared_gate") plain(w.shared_gate);
  if (word == "d.shared_up") plain(w.shared_up);
  if (word == "d.shared_down") plain(w.shared_down);
  if (word == "d.shared_mix") plain(w.mix);
  return all;
}

// Relative to the largest of each kind. Sums in fp32 of at most 256 products and 13 tokens in another order than ours, behind an activation's
// slope; the originals' routers are in fp32 although the rest is in double. Of a derivative along a direction: relative to the gradient's length.
constexpr double fp32_gradient = 4e-6, fp32_loss = 1e-6, along_direction = 2e-6;

void compare_gradients(std::string const& family, Config const& c, Answer (*learn_it)(Checkpoint const&, int layer, Question const&)) {
  CAPTURE(family);
  Checkpoint const checkpoint{folder(family)};
  ShardedSafetensors const record{folder(family) + "/record.safetensors"}, file{folder(family) + "/gradients.safetensors"};
  int const layer = moe_layer(checkpoint);
  auto const floats = [](ShardedSafetensors const& from, std::string const& name) { return io::read_all_as<float>(from, from.at(name), Where::here()); };
  Question q{.x = floats(record, "fp32.x"), .dy = floats(file, "dy"), .logits = floats(record, "fp32.logits"), .expert = {}};
  auto const tokens = static_cast<std::int64_t>(q.x.size()) / c.hidden;
  TensorInfo const& index = record.at("fp32.topk_index");
  q.expert.resize(static_cast<std::size_t>(index.bytes() / 4));
  record.read(index, std::as_writable_bytes(std::span(q.expert)));
  if (c.capacity.rounding != Rounding::none) {
    q.sequence = tokens / 2;                     // Switch: two sequences; its loss counts a choice that found no place as it was
    for (std::size_t t = 0; t < q.expert.size(); ++t) q.expert[t] = static_cast<std::int32_t>(std::max_element(&q.logits[t * c.experts], &q.logits[t * c.experts] + c.experts) - &q.logits[t * c.experts]);
  }
  Answer const got = learn_it(checkpoint, layer, q);

  reference::Inputs in;
  in.tokens = tokens, in.sequence = q.sequence, in.x.assign(q.x.begin(), q.x.end());
  reference::Weights w = stored_weights(checkpoint, record, layer, c);
  auto const loss = [&] {
    reference::Result const r = reference::layer(c, w, in);
    double sum = 0;
    for (std::size_t i = 0; i < r.y.size(); ++i) sum += double{q.dy[i]} * r.y[i];
    return sum;
  };
  double worst = 0, worst_along = 0, worst_loss = 0;
  std::size_t compared = 0;
  for (auto const& gradient : got.gradient) {
    std::string const& word = gradient.first;
    Floats const& whole = gradient.second;
    CAPTURE(word);
    TensorInfo const& info = file.at(word);
    Floats const want = floats(file, word);
    std::int64_t const step = word == "d.gate" || word == "d.up" ? c.ffn / info.shape[1] : word == "d.down" ? c.ffn / info.shape[2] : 1;
    Floats mine;
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(whole.size()); ++i)
      if (std::int64_t const f = word == "d.down" ? i % c.ffn : i / c.hidden % c.ffn; step == 1 || f % step == 0) mine.push_back(whole[static_cast<std::size_t>(i)]);
    double const error = error_of(mine, want);
    CHECK(error <= fp32_gradient);
    worst = std::max(worst, error), ++compared;

    std::vector<double*> const at = places(word, w, in, c, step);
    REQUIRE(at.size() == want.size());
    double along = 0, length = 0, h = 1e-6;
    std::vector<double> was, direction;
    for (std::size_t i = 0; i < at.size(); ++i) {
      direction.push_back(std::cos(static_cast<double>(7 * i + i * i % 11)) > 0 ? 1 : -1), was.push_back(*at[i]);
      along += double{want[i]} * direction[i], length += double{want[i]} * double{want[i]};
    }
    double value[2];
    for (int side = 0; side < 2; ++side) {
      for (std::size_t i = 0; i < at.size(); ++i) *at[i] = was[i] + (side ? -h : h) * direction[i];
      value[side] = loss();
    }
    for (std::size_t i = 0; i < at.size(); ++i) *at[i] = was[i];
    double const off = std::abs((value[0] - value[1]) / (2 * h) - along) / std::sqrt(length);
    CHECK(off <= along_direction);
    worst_along = std::max(worst_along, off);
  }
  for (auto const& t : file.files().front().tensors())
    if (t.name.starts_with("d.") || t.name == "dx") CHECK(got.gradient.contains(t.name));
    else if (t.name != "dy") {
      CAPTURE(t.name);
      double const error = error_of(got.loss.at(t.name), floats(file, t.name));
      CHECK(error <= fp32_loss);
      worst_loss = std::max(worst_loss, error);
    }
  std::printf("golden gradients %-20s %zu kinds, backward %.1e  reference %.1e  losses %.1e\n", family.c_str(), compared, worst, worst_along, worst_loss);
}

template <Config C> void gradients(std::string const& family) { compare_gradients(family, C, &learn<C>); }

constexpr Config in_fp32(Config c) { return with_dtype(c, DType::fp32); }
constexpr RouterConfig grouped = [] {
  RouterConfig r = presets::balanced_by_bias(2.5f);
  r.select = Select::group_top_k, r.groups = 4, r.groups_kept = 2;
  return r;
}();

TEST_CASE("golden gradients mixtral") { gradients<in_fp32({.experts = 8, .top_k = 2, .hidden = 128, .ffn = 256})>("mixtral"); }
TEST_CASE("golden gradients qwen2_moe") {
  gradients<in_fp32({.experts = 10, .top_k = 4, .hidden = 48, .ffn = 20, .router = presets::qwen2_57b_a14b.router, .shared = {.ffn = 36, .mix = SharedMix::sigmoid_gate}})>("qwen2_moe");
}
TEST_CASE("golden gradients deepseek_v3") { gradients<in_fp32({.experts = 16, .top_k = 4, .hidden = 40, .ffn = 14, .router = grouped, .shared = {.ffn = 14}})>("deepseek_v3"); }
TEST_CASE("golden gradients gpt_oss") { gradients<in_fp32({.experts = 8, .top_k = 3, .hidden = 72, .ffn = 20, .router = presets::gpt_oss_20b.router, .expert = presets::gpt_oss_20b.expert})>("gpt_oss"); }
TEST_CASE("golden gradients switch_transformers") {
  gradients<in_fp32({.experts = 4, .top_k = 1, .hidden = 40, .ffn = 52, .router = {.precision = Precision::fp32, .normalise = Normalise::none, .round_weight = 1},
                     .capacity = {.rounding = Rounding::flaxformer, .factor = 1e-9f, .minimum = 4}, .expert = {.act = Act::relu}})>("switch_transformers");
}

}

// Random layers' gradients against central differences of the definition in double: along random directions, a direction for every kind of
// weight and input. The definition is taken without roundings to dtype, so that it has a derivative; choices are those that the layer makes,
// and cases where one hangs on a rounding, or where an activation's kink is within one, are drawn again.
// Environment: COTERIE_SEED, COTERIE_CASES (2,048 layers: a quarter of them learn), COTERIE_GRADIENT (one line of a failing case).
#include <doctest/doctest.h>
#include <algorithm>
#include <coterie/reference.hpp>
#include <cstdio>
#include <cstring>
#include "gradients.hpp"

namespace cases {

static std::map<int, Learn>& known() {
  static std::map<int, Learn> all = [] {
    std::map<int, Learn> made;
    learn_0(made), learn_1(made);
    return made;
  }();
  return all;
}
std::map<int, Learn> const& learners() { return known(); }
More::More(void (*add)(std::map<int, Learn>&)) { add(known()); }

Sink::Place Sink::piece(ref::Numbers& to, ct::DType type, std::int64_t out, std::int64_t in, std::int64_t out_stride, std::int64_t in_stride) {
  std::int64_t const size = (out - 1) * out_stride + (in - 1) * in_stride + 3;
  Piece& p = pieces_.emplace_back(Piece{type, Bytes(static_cast<std::size_t>(size) * bytes_of(type)), size, out, in, out_stride, in_stride, &to});
  for (std::int64_t i = 0; i < size; ++i) p.put(i, gap);
  for (std::int64_t o = 0; o < out; ++o)
    for (std::int64_t i = 0; i < in; ++i) p.put(1 + o * out_stride + i * in_stride, start_);
  return {p.memory.data() + bytes_of(type), out_stride, in_stride};
}
Sink::Place Sink::matrix(ref::Numbers& to, ct::DType type, std::int64_t out, std::int64_t in) {
  int const layout = random_.below(3);
  return piece(to, type, out, in, layout == 1 ? 1 : layout == 2 ? in + 3 : in, layout == 1 ? out : 1);
}
Sink::Place Sink::vector(ref::Numbers& to, std::int64_t n) { return piece(to, ct::DType::fp32, 1, n, n, 1); }
bool Sink::collect() {
  bool intact = true;
  for (Piece& p : pieces_) {
    for (std::int64_t o = 0; o < p.out; ++o)
      for (std::int64_t i = 0; i < p.in; ++i) {
        std::int64_t const at = 1 + o * p.out_stride + i * p.in_stride;
        p.to->push_back(p.at(at) - (overwrite ? 0 : start_)), p.put(at, gap);
      }
    for (std::int64_t i = 0; i < p.size; ++i) intact = intact && p.at(i) == gap;
  }
  return intact;
}

namespace {

// Everything that has a gradient: where its numbers stand, and what was found.
struct Part {
  std::string name;
  std::vector<double*> at;
  ref::Numbers found;
};

class Gradients {
 public:
  // Empty, or what is wrong; `again`: the case says nothing and is to be drawn again.
  std::string check(Case const& k, bool& again) {
    Subject& s = *subjects().at(static_cast<std::size_t>(k.config));
    ct::Config const& c = s.config;
    wrong_.clear(), again = false;
    Tensors const tensors = make_tensors(s, k);
    Feed const feed = make_feed(s, k);
    weights_ = s.weights(tensors), in_ = s.inputs(feed);
    smooth_ = c;
    smooth_.dtype = ct::DType::fp32, smooth_.router.precision = ct::Precision::fp32, smooth_.router.round_weight = 0, smooth_.combine = ct::Accumulate::fp32;
    if (!sure(c)) return again = true, "";
    upstream(c, k, feed);
    ct::Host on = pooled_host(k.threads, k.isa);
    Found found;
    Bytes y, dx;
    try {
      s.pack(on, tensors);
      run(s, k, on, tensors, feed, {k.seed ^ 0xff, 0, 0}, 0xff, found, y, dx);
      others(s, k, tensors, feed, found, y, dx);
    } catch (ct::Error const& e) {
      return std::string("threw ") + e.what();
    }
    if (!wrong_.empty()) return wrong_;
    compare(c, k, found);
    ++cases_;
    return wrong_;
  }
  // Empty, or the kind of gradient that is off too often.
  std::string report() const {
    std::string off;
    double worst = 0;
    std::printf("gradients: |difference| / length    cases       p50       p99       max  (where)\n");
    for (auto const& [key, all] : errors_) {
      std::vector<double> v;
      for (auto const& [error, config] : all) v.push_back(error);
      std::sort(v.begin(), v.end());
      std::string const name = key.first + " " + ct::name(key.second);
      std::printf("%-34s %7zu %9.1e %9.1e %9.1e  (config %d)\n", name.c_str(), v.size(), v[v.size() / 2], v[v.size() * 99 / 100], v.back(), std::max_element(all.begin(), all.end())->second);
      if (v.size() > 4 && v[v.size() / 2] > 32 * roundoff(key.second)) off = name;
      if (key.second == ct::DType::fp32) worst = std::fmax(worst, v.back());
    }
    std::printf("gradients: %lld cases, %lld drawn again, %lld central differences along directions, worst relative error of fp32 %.1e\n", cases_, again_, differences_, worst);
    return off;
  }
  void drawn_again() { ++again_; }

 private:
  void fail(std::string const& what) { if (wrong_.empty()) wrong_ = what; }
  static std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n); }
  static bool has_logits(ct::Config const& c) { return c.router.input != ct::RouterInput::given && c.router.input != ct::RouterInput::token_ids; }
  // Of a result of this type: what one rounding is; and how far a gradient may be off (seen in 50,000 cases: 2e-4, 0.2, 0.1, where a norm or a
  // sum cancels). Of every kind of gradient half must stay within 32 roundings (seen: 8).
  static double roundoff(ct::DType d) { return d == ct::DType::fp32 ? 0x1p-24 : d == ct::DType::bf16 ? 0x1p-9 : 0x1p-12; }
  static double bound(ct::DType d) { return d == ct::DType::fp32 ? 2e-3 : d == ct::DType::bf16 ? 0.5 : 0.25; }

  // Whether the layer chooses as the smooth definition does, and nothing is near a kink.
  bool sure(ct::Config const& c) {
    ref::Result const layer = ref::layer(c, weights_, in_), smooth = ref::layer(smooth_, weights_, in_);
    if (!(layer.margin > 1) || !(smooth.margin > 64)) return false;
    if (layer.routing.expert != smooth.routing.expert || layer.kept != smooth.kept) return false;
    for (double v : smooth.y) if (!std::isfinite(v)) return false;
    for (double v : layer.y) if (!std::isfinite(v) || (c.dtype == ct::DType::fp16 && std::fabs(v) > 1e3)) return false;
    for (std::size_t i = 0; i < layer.kept.size(); ++i) {                // a probability of fp16 that is subnormal has few digits
      double const a = layer.routing.weight[i].value, b = smooth.routing.weight[i].value;
      if (std::fabs(a - b) > 64 * roundoff(c.dtype) * std::fabs(b)) return false;
    }
    y_ = smooth.y, expert_ = smooth.routing.expert, kept_ = smooth.kept;
    return away_from_kinks(c, smooth);
  }
  bool away_from_kinks(ct::Config const& c, ref::Result const& r) const {
    double const near = std::fmax(16 * roundoff(c.dtype), 1e-4);       // a step along a direction moves it by less
    auto const clear = [near](ct::ExpertConfig const& x, double g, double u) {
      using ct::Act;
      auto const off = [near](double v, double kink) { return std::fabs(v - kink) > near * (1 + std::fabs(kink)); };
      switch (x.act) {
        case Act::relu_mul: return off(g, 0);
        case Act::relu: return off(u, 0);
        case Act::oai_mul: case Act::silu_mul_clamp_before: return off(g, double{x.limit}) && off(std::fabs(u), double{x.limit});
        case Act::silu_mul_clamp_after: return off(g * ref::sigmoid(g), double{x.limit}) && off(std::fabs(u), double{x.limit});
        default: return true;
      }
    };
    auto const dot = [](ref::Numbers const& m, std::size_t row, ref::Numbers const& x, double bias) {
      for (std::size_t i = 0; i < x.size() && !m.empty(); ++i) bias += m[row * x.size() + i] * x[i];
      return bias;
    };
    int const s = ct::slots(c);
    ct::ExpertConfig shared = c.expert;
    if (c.shared.limit > 0) shared.limit = c.shared.limit;
    for (std::int64_t t = 0; t < in_.tokens; ++t) {
      ref::Numbers const x(in_.x.begin() + t * c.hidden, in_.x.begin() + (t + 1) * c.hidden);
      ref::Numbers z = x;
      if (c.expert.latent) {
        z.clear();
        for (std::size_t o = 0; o < count(c.expert.latent); ++o) z.push_back(dot(weights_.latent_down, o, x, 0));
      }
      for (std::size_t at = count(t * s); at < count((t + 1) * s); ++at) {
        if (!r.kept[at]) continue;
        auto const e = static_cast<std::size_t>(r.routing.expert[at]);
        ref::Numbers a = z;
        if (c.router.place == ct::Place::input) for (double& v : a) v *= r.routing.weight[at].value;
        for (std::size_t f = 0; f < count(c.ffn); ++f) {
          bool const gated = ct::gated(c.expert.act), biased = c.expert.bias != 0;
          if (!clear(c.expert, gated ? dot(weights_.gate[e], f, a, biased ? weights_.gate_bias[e][f] : 0) : 0, dot(weights_.up[e], f, a, biased ? weights_.up_bias[e][f] : 0))) return false;
        }
      }
      for (std::size_t f = 0; f < count(c.shared.ffn); ++f)
        if (!clear(shared, dot(weights_.shared_gate, f, x, 0), dot(weights_.shared_up, f, x, 0))) return false;
    }
    return true;
  }

  // dy, and in half of the cases gradients of the logits.
  void upstream(ct::Config const& c, Case const& k, Feed const& feed) {
    Random random{k.seed ^ 0xd1};
    dy_.assign(count(feed.tokens * feed.y_stride) * bytes_of(c.dtype), std::byte{0xff}), dy_numbers_.clear(), dlogits_.clear();
    for (std::int64_t t = 0; t < feed.tokens; ++t)
      for (std::int64_t h = 0; h < c.hidden; ++h) {
        save(c.dtype, dy_.data(), t * feed.y_stride + h, random.normal());
        dy_numbers_.push_back(load(c.dtype, dy_.data(), t * feed.y_stride + h));
      }
    columns_ = ct::logit_columns(c), dlogits_stride_ = columns_ + random.below(4);
    if (has_logits(c) && random.one_in(2))
      for (std::int64_t i = 0; i < feed.tokens * dlogits_stride_; ++i) dlogits_.push_back(i % dlogits_stride_ < columns_ ? static_cast<float>(0.25 * random.normal()) : std::nanf(""));
  }

  // One forward and backward pass in memory of its own.
  void run(Subject const& s, Case const& k, ct::Host const& on, Tensors const& tensors, Feed const& feed, Sink sink, unsigned char poison, Found& found, Bytes& y, Bytes& dx) {
    ct::DType const d = s.config.dtype;
    Guarded to_y{count(feed.tokens * feed.y_stride) * bytes_of(d), poison}, to_x{count(feed.tokens * feed.x_stride) * bytes_of(d), poison};
    Lesson lesson{to_y.data(), dy_.data(), to_x.data(), dlogits_.empty() ? nullptr : dlogits_.data(), dlogits_stride_, poison == 0xff && k.seed % 2, poison, sink, found};
    learners().at(k.config)(on, tensors, feed, lesson);
    if (!lesson.intact || !to_y.intact() || !to_x.intact()) fail("a pass writes outside its memory, or between the rows of a gradient");
    rows(s.config, to_y.span(), feed.tokens, feed.y_stride, poison, y), rows(s.config, to_x.span(), feed.tokens, feed.x_stride, poison, dx);
    for (std::int64_t i = 0; i < feed.tokens * s.config.hidden; ++i) found.x.push_back(load(d, dx.data(), i));
  }
  void rows(ct::Config const& c, std::span<std::byte const> from, std::int64_t tokens, std::int64_t stride, unsigned char poison, Bytes& to) {
    std::size_t const size = bytes_of(c.dtype), wide = count(c.hidden) * size;
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::byte const* const row = from.data() + count(t * stride) * size;
      to.insert(to.end(), row, row + wide);
      for (std::size_t i = wide; i < count(stride) * size; ++i)
        if (row[i] != std::byte{poison}) fail("a pass writes between the rows of y or dx");
    }
  }
  // y is the layer's own; the same bits with other threads, other memory, the pre-activations made again and gradients written over NaN; added
  // to what is there.
  void others(Subject const& s, Case const& k, Tensors const& tensors, Feed const& feed, Found const& found, Bytes const& y, Bytes const& dx) {
    Bytes layer, y_again, dx_again, y_added, dx_added;
    Guarded plain{count(feed.tokens * feed.y_stride) * bytes_of(s.config.dtype), 0xff};
    ct::Host const on = pooled_host(k.threads, k.isa), other = pooled_host(k.threads % 3 + 1, k.isa);
    Bytes workspace(s.workspace_bytes(on, feed.tokens));
    s.forward(on, feed, plain.data(), workspace);
    rows(s.config, plain.span(), feed.tokens, feed.y_stride, 0xff, layer);
    if (y != layer) fail("y of the forward pass that keeps is not the layer's");
    Found again, added;
    run(s, k, other, tensors, feed, {k.seed ^ 0x7f, std::nan(""), 1}, 0x7f, again, y_again, dx_again);
    if (y != y_again || dx != dx_again) fail("bits of y or dx depend on threads, memory or what is kept");
    if (k.seed % 4 == 0) run(s, k, on, tensors, feed, {k.seed ^ 0xff, 2, 0}, 0xff, added, y_added, dx_added);
    std::vector<Part> const first = parts(s.config, found), second = parts(s.config, again), third = k.seed % 4 == 0 ? parts(s.config, added) : first;
    for (std::size_t p = 0; p < first.size(); ++p) {
      for (double v : first[p].found) if (!std::isfinite(v)) fail("the gradient of " + first[p].name + " is " + std::to_string(v));
      if (first[p].found != second[p].found) fail("bits of the gradient of " + first[p].name + " depend on threads, memory, what is kept or what was there");
      double largest = 1, near = std::fmax(1e-5, 4 * roundoff(s.config.dtype));      // matrices have dtype
      for (double v : first[p].found) largest = std::fmax(largest, std::fabs(v));
      for (std::size_t i = 0; i < first[p].found.size(); ++i)
        if (!(std::fabs(first[p].found[i] - third[p].found[i]) <= near * largest)) fail("the gradient of " + first[p].name + " is not added to what is there");
    }
  }

  std::vector<Part> parts(ct::Config const& c, Found const& found) {
    std::vector<Part> all;
    auto const part = [&](char const* name, ref::Numbers& at, ref::Numbers const& got) {
      if (got.empty()) return;
      if (all.empty() || all.back().name != name) all.push_back({name, {}, {}});
      for (std::size_t i = 0; i < got.size(); ++i) all.back().at.push_back(&at[i]), all.back().found.push_back(got[i]);
    };
    auto const experts = [&](char const* name, std::vector<ref::Numbers>& at, std::vector<ref::Numbers> const& got) {
      for (std::size_t e = 0; e < got.size(); ++e) part(name, at[e], got[e]);
    };
    ref::Weights& w = weights_;
    ref::Weights const& g = found.w;
    part("router", w.router, g.router), part("noise", w.noise, g.noise), part("router bias", w.router_bias, g.router_bias), part("expert scale", w.expert_scale, g.expert_scale);
    experts("gate", w.gate, g.gate), experts("up", w.up, g.up), experts("down", w.down, g.down);
    experts("gate bias", w.gate_bias, g.gate_bias), experts("up bias", w.up_bias, g.up_bias), experts("down bias", w.down_bias, g.down_bias);
    part("shared gate", w.shared_gate, g.shared_gate), part("shared up", w.shared_up, g.shared_up), part("shared down", w.shared_down, g.shared_down);
    part("mix", w.mix, g.mix), part("mix bias", w.mix_bias, g.mix_bias);
    part("latent down", w.latent_down, g.latent_down), part("latent up", w.latent_up, g.latent_up), part("latent norm", w.latent_norm, g.latent_norm);
    part("x", in_.x, found.x), part("router_x", in_.router_x, found.router_x), part("logits", in_.logits, found.logits);
    if (c.router.input != ct::RouterInput::given && !ct::normalises_after_drop(c)) all.push_back({"router scale", {&w.router_scale}, {g.router_scale}});
    if (!found.given_weight.empty()) {
      all.push_back({"given weight", {}, found.given_weight});
      for (ref::Real& v : in_.given.weight) all.back().at.push_back(&v.value);
    }
    return all;
  }

  // <dy, y> + <dlogits, logits>. Tokens that cannot be told apart are, once they have moved.
  double loss() {
    ref::Routing const r = ref::route(smooth_, weights_, in_);
    ref::Result const result = ref::finish(smooth_, weights_, in_, r);
    same_choices_ = same_choices_ && r.expert == expert_ && result.kept == kept_;
    double sum = 0;
    for (std::size_t i = 0; i < dy_numbers_.size(); ++i) sum += dy_numbers_[i] * result.y[i];
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(r.logits.size()) && !dlogits_.empty(); ++i)
      sum += double{dlogits_[count(i / columns_ * dlogits_stride_ + i % columns_)]} * r.logits[count(i)].value;
    return sum;
  }
  // d loss / d length along a direction.
  double difference(std::vector<double*> const& at, ref::Numbers const& direction, double h) {
    ref::Numbers was;
    for (double* v : at) was.push_back(*v);
    auto const moved = [&](double by) {
      for (std::size_t i = 0; i < at.size(); ++i) *at[i] = was[i] + by * direction[i];
      return loss();
    };
    double const high = moved(h), low = moved(-h);
    for (std::size_t i = 0; i < at.size(); ++i) *at[i] = was[i];
    return (high - low) / (2 * h);
  }
  void compare(ct::Config const& c, Case const& k, Found const& found) {
    Random random{k.seed ^ 0xd2};
    double scale = 0;                            // what dy . y is made of: below its rounding a gradient is noise
    for (std::size_t i = 0; i < y_.size(); ++i) scale += dy_numbers_[i] * dy_numbers_[i] * y_[i] * y_[i];
    std::vector<Part> all = parts(c, found);
    for (int i = 0; i < 4 && !all.empty(); ++i) {
      auto const which = static_cast<std::ptrdiff_t>(random.below(static_cast<std::int64_t>(all.size())));
      Part const part = all[static_cast<std::size_t>(which)];
      all.erase(all.begin() + which);
      ref::Numbers direction;
      double along = 0, length = 0;
      for (double v : part.found) {
        direction.push_back(random.one_in(2) ? 1 : -1);
        along += v * direction.back(), length += v * v;
      }
      same_choices_ = true;
      double const size = std::sqrt(length) + 0.05 * std::sqrt(scale) + 0.01, want = difference(part.at, direction, 1e-7);
      double const error = std::fabs(along - want) / size;
      if (!same_choices_) continue;
      ++differences_;
      errors_[{part.name, c.dtype}].push_back({error, k.config});
      if (!(error <= bound(c.dtype))) fail("the gradient of " + part.name + " is " + std::to_string(along) + " along a direction, want " + std::to_string(want) + ", of length " + std::to_string(std::sqrt(length)));
    }
  }

  ref::Weights weights_;
  ref::Inputs in_;
  ct::Config smooth_;
  ref::Numbers y_, dy_numbers_;
  std::vector<std::int32_t> expert_;
  std::vector<bool> kept_;
  bool same_choices_ = true;
  Bytes dy_;
  std::vector<float> dlogits_;
  std::int64_t dlogits_stride_ = 0, columns_ = 1;
  std::map<std::pair<std::string, ct::DType>, std::vector<std::pair<double, int>>> errors_;     // and the config
  std::string wrong_;
  long long cases_ = 0, again_ = 0, differences_ = 0;
};

Case draw_lesson(std::uint64_t index, std::uint64_t attempt) {
  Random random{base_seed() * 0x9e3779b97f4a7c15u + index * 64 + attempt + (std::uint64_t{1} << 40)};
  auto at = learners().begin();
  std::advance(at, static_cast<std::ptrdiff_t>(index % learners().size()));
  Case c;
  c.config = at->first;
  ct::Config const& layer = subjects()[static_cast<std::size_t>(c.config)]->config;
  constexpr std::int64_t sizes[]{1, 2, 3, 4, 5, 7};
  std::int64_t const token = std::int64_t{ct::slots(layer)} * layer.ffn * ct::width(layer) * 3 + std::int64_t{3 * layer.shared.ffn + layer.experts} * layer.hidden;
  do c.tokens = sizes[random.below(6)];
  while (c.tokens > 1 && c.tokens * token > 60'000);
  constexpr Trace kinds[]{Trace::uniform, Trace::uniform, Trace::zipf, Trace::one_expert, Trace::sorted, Trace::new_expert};
  c.trace = kinds[random.below(6)];
  c.threads = 1 + random.below(3);
  std::vector<ct::Isa> const all = paths();
  c.isa = all[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(all.size())))];
  c.seed = random.next();
  return c;
}

}

}

TEST_CASE("gradients of random layers are central differences of the definition") {
  using namespace cases;
  Gradients gradients;
  bool again = false;
  if (char const* one = std::getenv("COTERIE_GRADIENT")) {
    std::string const what = gradients.check(parse(one), again);
    CHECK_MESSAGE(what.empty(), "COTERIE_GRADIENT=\"" << parse(one).line() << "\": " << what);
    CHECK(!again);
    gradients.report();
    return;
  }
  char const* const text = std::getenv("COTERIE_CASES");
  std::uint64_t const count = std::max<std::uint64_t>((text ? std::strtoull(text, nullptr, 10) : 2048) / 4, learners().size());
  int failures = 0;
  for (std::uint64_t i = 0; i < count && failures < 50; ++i)
    for (std::uint64_t attempt = 0; attempt < 32; ++attempt) {
      Case const c = draw_lesson(i, attempt);
      std::string const what = gradients.check(c, again);
      if (again) {
        gradients.drawn_again();
        continue;
      }
      failures += !what.empty();
      CHECK_MESSAGE(what.empty(), "COTERIE_GRADIENT=\"" << c.line() << "\": " << what);
      break;
    }
  CHECK(gradients.report() == "");
}

// A backward pass of routed or shared experts: its data on the device, and what must come out, from the definition: gate and up before the
// activation are given (rounded to the layer's type, as a forward pass keeps them), the rest is derived in double with bounds.
#pragma once
#include <coterie/experts/backward.cuh>
#include <coterie/experts/shared_backward.cuh>
#include <memory>
#include "experts_case.hpp"
#include "product_syncs.hpp"

namespace cuda_tests {

namespace ref = ct::reference;
using ref::Real;

// Gradients of matrices of one kind for each group, with strides of their own: those of odd groups are transposed; numbers that are nobody's lie
// between rows and behind. Filled with `start` (or NaN), so that what is added to, and what must not be touched, is known.
template <class Element> class GradientMatrices {
 public:
  // extra: numbers between rows; without any no matrix is transposed.
  GradientMatrices(int groups, int outputs, int inputs, int extra = 3) : outputs_(outputs), inputs_(inputs), stride_((outputs > inputs && extra ? outputs : inputs) + extra), turns_(extra != 0),
                                                                         each_(stride_ * (outputs > inputs ? outputs : inputs)), memory_(static_cast<std::size_t>(groups * each_)) {}
  template <ct::DType D, int Out, int In> void place(int group, ct::Matrix<D, Out, In, true>& m) const {
    m.data = memory_.data() + group * each_, m.out_stride = turned(group) ? 1 : stride_, m.in_stride = turned(group) ? stride_ : 1;
  }
  std::vector<Element> get() const { return memory_.get(); }
  void fill(float with) const { memory_.put(std::vector<Element>(memory_.size(), ct::from_float<Element>(with))); }
  // want(group, output, input)
  template <class Want> std::string compared(char const* what, ct::DType type, float filled, Want const& want) const {
    std::vector<Element> const got = memory_.get();
    for (std::size_t i = 0; i < got.size(); ++i) {
      std::int64_t const group = static_cast<std::int64_t>(i) / each_, at = static_cast<std::int64_t>(i) % each_, a = at / stride_, b = at % stride_, o = turned(group) ? b : a, n = turned(group) ? a : b;
      double const is = ref::number(got[i]);
      bool const inside = o < outputs_ && n < inputs_;
      ref::Range const range = inside ? ref::range(type, want(static_cast<std::size_t>(group), static_cast<std::size_t>(o), static_cast<std::size_t>(n)))
                                      : ref::Range{ref::number(ct::from_float<Element>(filled)), ref::number(ct::from_float<Element>(filled))};
      if (std::isnan(range.low) ? std::isnan(is) : is >= range.low && is <= range.high) continue;
      return std::string(what) + " of group " + std::to_string(group) + ", output " + std::to_string(o) + ", input " + std::to_string(n) + " is " + std::to_string(is) +
             (inside ? ", want " + std::to_string(range.low) + " to " + std::to_string(range.high) : ", which is nobody's");
    }
    return "";
  }

 private:
  bool turned(std::int64_t group) const { return turns_ && group % 2; }
  std::int64_t outputs_, inputs_, stride_;
  bool turns_;
  std::int64_t each_;
  simt::Array<Element> memory_;
};

inline std::string compared(char const* what, std::vector<float> const& got, std::vector<Real> const& want) {
  for (std::size_t i = 0; i < want.size(); ++i) {
    Real const a = want[i];
    if (std::isnan(a.value) ? std::isnan(got[i]) : double{got[i]} >= a.value - a.error && double{got[i]} <= a.value + a.error) continue;
    return std::string(what) + " " + std::to_string(i) + " is " + std::to_string(got[i]) + ", want " + std::to_string(a.value) + " +- " + std::to_string(a.error);
  }
  return "";
}

// One ffn a group, as the definition has it. F, W: ffn, width.
struct FfnCase {
  ct::ExpertConfig expert;
  ct::DType dtype;
  std::size_t F, W;
  std::vector<ref::Numbers> const *gate, *up, *down, *gate_bias, *up_bias, *down_bias;   // [groups]; biases null: none
};
struct FfnRow {
  std::size_t group;
  std::vector<Real> x, dy;                       // [W]; x as the layer multiplies it: weighed and rounded (Place::input)
  std::vector<double> gate, up;                  // [F] as kept
  double weight = 1, in_weight = 1;
  std::vector<double> raw_x{}, gamma{};          // [W]; [F]: empty, 1
};
struct FfnWant {
  std::vector<std::vector<Real>> dx;             // [R][W]
  std::vector<Real> dout, din;                   // [R]
  std::vector<std::vector<Real>> products;       // [R][F] parts of the gradient of gamma
  std::vector<ref::Sum> gate, up, down;          // [groups][F][W], [groups][F][W], [groups][W][F]
  std::vector<ref::Sum> gate_bias, up_bias, down_bias;
};
// The activation's slopes are the library's own (tests/experts/activation_gradient.cpp has them): exact for relu's, within some units
// otherwise, more where a GPU's sigmoid is its faster one.
inline Real slope(ct::ExpertConfig const& x, ct::DType layer, float v) {
  bool const exact = x.act == ct::Act::relu || x.act == ct::Act::relu2 || x.act == ct::Act::relu_mul;
  return {double{v}, exact ? 0 : (layer == ct::DType::fp32 ? 16 : 32) * ref::unit * (1 + std::fabs(double{v}))};
}
template <ct::ExpertConfig X> FfnWant wanted(FfnCase const& c, std::size_t groups, std::vector<FfnRow> const& rows) {
  FfnWant to;
  ref::Sum const none{c.dtype};
  to.gate.resize(groups * c.F * c.W, none), to.up.resize(groups * c.F * c.W, none), to.down.resize(groups * c.F * c.W, none);
  to.gate_bias.resize(groups * c.F, none), to.up_bias.resize(groups * c.F, none), to.down_bias.resize(groups * c.W, none);
  for (FfnRow const& r : rows) {
    auto const exact = [](double v) { return Real{v, 0}; };
    std::vector<Real> d_gate, d_up;
    ref::Sum dout{c.dtype};
    to.products.emplace_back();
    for (std::size_t f = 0; f < c.F; ++f) {
      ref::Sum sum{c.dtype};
      for (std::size_t o = 0; o < c.W; ++o) sum.add(r.dy[o], exact((*c.down)[r.group][o * c.F + f]));
      ct::ActivationGradient const a = ct::activation_gradient<X>(static_cast<float>(r.gate[f]), static_cast<float>(r.up[f]));
      Real const h = ref::to(c.dtype, slope(X, c.dtype, a.hidden)), gamma = exact(r.gamma.empty() ? 1 : r.gamma[f]), d = sum.total() * gamma, along = d * exact(r.weight);
      d_gate.push_back(ref::to(c.dtype, along * slope(X, c.dtype, a.gate))), d_up.push_back(ref::to(c.dtype, along * slope(X, c.dtype, a.up)));
      dout.add(d, h);
      to.products.back().push_back(exact(r.weight) * sum.total() * h);
      Real const weighed = ref::to(c.dtype, exact(r.weight) * gamma * h);
      for (std::size_t o = 0; o < c.W; ++o) to.down[(r.group * c.W + o) * c.F + f].add(r.dy[o], weighed);
      to.gate_bias[r.group * c.F + f].add(d_gate[f]), to.up_bias[r.group * c.F + f].add(d_up[f]);
      for (std::size_t i = 0; i < c.W; ++i) to.gate[(r.group * c.F + f) * c.W + i].add(d_gate[f], r.x[i]), to.up[(r.group * c.F + f) * c.W + i].add(d_up[f], r.x[i]);
    }
    for (std::size_t o = 0; o < c.W; ++o) {
      if (c.down_bias) dout.add(r.dy[o], exact((*c.down_bias)[r.group][o]));
      to.down_bias[r.group * c.W + o].add(exact(r.weight), r.dy[o]);
    }
    to.dout.push_back(dout.total());
    to.dx.emplace_back();
    ref::Sum din{c.dtype};
    for (std::size_t i = 0; i < c.W; ++i) {
      ref::Sum sum{c.dtype};
      for (std::size_t f = 0; f < c.F; ++f) {
        if (ct::gated(X.act)) sum.add(d_gate[f], exact((*c.gate)[r.group][f * c.W + i]));
        sum.add(d_up[f], exact((*c.up)[r.group][f * c.W + i]));
      }
      Real const d = sum.total();
      if (!r.raw_x.empty()) din.add(d, exact(r.raw_x[i]));
      to.dx.back().push_back(r.in_weight == 1 ? d : exact(r.in_weight) * d);
    }
    to.din.push_back(din.total());
  }
  return to;
}

// How gradients are asked for.
struct Asked {
  int overwrite = 0, calls = 1;                  // calls: so often in a row, with the same results
  float start = 0;                               // what memory holds
};

template <ct::Config C, ct::DType D = ct::DType::fp32> class BackwardCase {
 public:
  using V = ct::element_t<C.dtype>;
  using G = ct::element_t<D>;
  using Backward = ct::ExpertsBackward<C, ct::Cuda>;
  static constexpr int W = ct::width(C), F = C.ffn, E = C.experts;
  static constexpr bool weigh_input = C.router.place == ct::Place::input, biased = C.expert.bias != 0;

  BackwardCase(Checkpoint<C> const& w, cases::Random& random, Numbers kind, std::int64_t tokens, std::vector<int> const& counts, int extra = 8, int between = 3)
      : w_(w), tokens_(tokens), bound_(ct::rows_bound(C, tokens)), x_(tokens + 1, extra), x_from_(tokens + 1, extra), dy_(tokens + 1, extra), dy_from_(tokens + 1, extra), dx_(bound_ + 1, extra ? 3 : 0), begin_(E + 1),
        token_(static_cast<std::size_t>(bound_ + 1)), weight_(static_cast<std::size_t>(bound_ + 1)), dweight_(static_cast<std::size_t>(bound_ + 1)), pre_(static_cast<std::size_t>(bound_ * Backward::columns + 1)),
        gate_(E, F, W, between), up_(E, F, W, between), down_(E, W, F, between), gate_bias_(E * F), up_bias_(E * F), down_bias_(E * W), scratch_(Backward{}.workspace_bytes(ct::Cuda{}, tokens)) {
    std::vector<V> const x = numbers<V>(random, (tokens + 1) * W, kind), dy = numbers<V>(random, (tokens + 1) * W, kind);
    std::vector<V> pre(pre_.size(), ct::from_float<V>(__builtin_nanf("")));
    std::vector<std::int32_t> begin{0}, token;
    std::vector<float> weight;
    std::vector<FfnRow> rows;
    for (int e = 0; e < E; ++e) {
      for (int i = 0; i < counts[static_cast<std::size_t>(e)]; ++i) {
        token.push_back(random.below(tokens)), weight.push_back(static_cast<float>(kind == Numbers::whole ? random.below(2) + 1 : 0.2 + random.uniform()));
        double const by = double{weight.back()};
        FfnRow r{.group = static_cast<std::size_t>(e), .x = reals(x, token.back(), W), .dy = reals(dy, token.back(), W), .gate = {}, .up = {}, .weight = weigh_input ? 1 : by, .in_weight = weigh_input ? by : 1};
        if (weigh_input) {
          for (Real const& v : r.x) r.raw_x.push_back(v.value);
          for (Real& v : r.x) v = ref::to(C.dtype, v * Real{by, 0});
        }
        std::size_t const row = token.size() - 1;
        for (int f = 0; f < F; ++f) {
          float const g = ct::rounded<V>(static_cast<float>(kind == Numbers::whole ? random.below(4) - 1 : random.normal())), u = ct::rounded<V>(static_cast<float>(kind == Numbers::whole ? random.below(4) - 1 : random.normal()));
          r.gate.push_back(double{g}), r.up.push_back(double{u});
          constexpr int paired = ct::gated(C.expert.act);
          std::size_t const at = row * static_cast<std::size_t>(Backward::columns) + static_cast<std::size_t>(ct::device::pre_column<paired>(f));
          if (paired) pre[at] = ct::from_float<V>(g);
          pre[at + (paired ? 8 : 0)] = ct::from_float<V>(u);
        }
        rows.push_back(r);
      }
      begin.push_back(static_cast<std::int32_t>(token.size()));
    }
    REQUIRE(static_cast<std::int64_t>(token.size()) <= bound_);
    routed_ = token.size();
    token.resize(token_.size(), -1), weight.resize(weight_.size(), __builtin_nanf(""));                // beyond the batch: nobody looks
    x_from_.put(x), dy_from_.put(dy), begin_.put(begin), token_.put(token), weight_.put(weight), pre_.put(pre);
    FfnCase const c{.expert = C.expert, .dtype = C.dtype, .F = F, .W = W, .gate = &w.weights.gate, .up = &w.weights.up, .down = &w.weights.down, .gate_bias = nullptr, .up_bias = nullptr,
                    .down_bias = biased ? &w.weights.down_bias : nullptr};
    want_ = wanted<C.expert>(c, E, rows);
  }
  void run(ct::Arch path, Asked const& asked) const {
    ct::Cuda const on{.arch = path};
    dx_.poison(), x_.poison(), dy_.poison(), dweight_.put(std::vector<float>(dweight_.size(), -7));
    gate_.fill(asked.start), up_.fill(asked.start), down_.fill(asked.start);
    for (auto const* b : {&gate_bias_, &up_bias_, &down_bias_}) b->put(std::vector<float>(b->size(), asked.start));
    auto to = std::make_unique<ct::Gradients<C, D>>();
    to->overwrite = asked.overwrite;
    for (int e = 0; e < E; ++e) {
      auto const i = static_cast<std::size_t>(e);
      gate_.place(e, to->gate[i]), up_.place(e, to->up[i]), down_.place(e, to->down[i]);
      if constexpr (biased) to->gate_bias[i] = gate_bias_.data() + e * F, to->up_bias[i] = up_bias_.data() + e * F, to->down_bias[i] = down_bias_.data() + e * W;
    }
    if (unwanted_) to->gate[0].data = nullptr, to->down[1].data = nullptr;
    ahead(x_.view().data, x_from_.view().data, x_.elements()), ahead(dy_.view().data, dy_from_.view().data, dy_.elements());
    ct::Batch<C> const batch{.begin = begin_.data(), .token = token_.data(), .weight = weight_.data(), .slot = {}};
    auto dx = dx_.view();
    dx.rows = bound_;
    for (int i = 0; i < asked.calls; ++i)
      Backward{}(on, {x_.view().data, tokens_, x_.view().stride}, w_.packed.view(), batch, pre_.data(), {dy_.view().data, tokens_, dy_.view().stride}, dx, dweight_.data(), *to, scratch_.span());
  }
  std::string failure(ct::Arch path, Asked const& asked = {}) const {
    run(path, asked);
    static std::vector<Real> const nothing;
    std::string wrong = dx_.compared(C.dtype, [&](std::int64_t r) -> std::vector<Real> const& { return r < static_cast<std::int64_t>(routed_) ? want_.dx[static_cast<std::size_t>(r)] : nothing; });
    if (!wrong.empty()) return "dx: " + wrong;
    std::vector<Real> dweight = weigh_input ? want_.din : want_.dout;
    dweight.resize(dweight_.size(), {-7, 0});
    if (wrong = compared_to("dweight", dweight_, dweight); !wrong.empty()) return wrong;
    auto const sum = [&](ref::Sum s) {
      if (asked.overwrite) return s.total();
      return s.total() + Real{double{asked.start}, 0};
    };
    auto const matrix = [&](std::vector<ref::Sum> const& all, std::size_t outputs, std::size_t inputs, std::size_t none) {
      return [&, outputs, inputs, none](std::size_t e, std::size_t o, std::size_t i) { return unwanted_ && e == none ? Real{double{asked.start}, 0} : sum(all[(e * outputs + o) * inputs + i]); };
    };
    constexpr std::size_t f = F, w = W;
    if (wrong = gate_.compared("gate", D, asked.start, matrix(want_.gate, f, w, 0)); !wrong.empty()) return wrong;
    if (wrong = up_.compared("up", D, asked.start, matrix(want_.up, f, w, E)); !wrong.empty()) return wrong;
    if (wrong = down_.compared("down", D, asked.start, matrix(want_.down, w, f, 1)); !wrong.empty()) return wrong;
    if (!biased) return "";
    auto const bias = [&](std::vector<ref::Sum> const& all) {
      std::vector<Real> to;
      for (ref::Sum const& s : all) to.push_back(sum(s));
      return to;
    };
    if (wrong = compared_to("gate bias", gate_bias_, bias(want_.gate_bias)); !wrong.empty()) return wrong;
    if (wrong = compared_to("up bias", up_bias_, bias(want_.up_bias)); !wrong.empty()) return wrong;
    return compared_to("down bias", down_bias_, bias(want_.down_bias));
  }
  // All that is written, for comparing bits: as double, which holds them.
  std::vector<double> stored(ct::Arch path) const {
    run(path, {});
    std::vector<double> to;
    auto const add = [&to](auto const& values) {
      for (auto v : values) to.push_back(ref::number(v));
    };
    add(dx_.get()), add(dweight_.get()), add(gate_.get()), add(up_.get()), add(down_.get()), add(gate_bias_.get()), add(up_bias_.get()), add(down_bias_.get());
    return to;
  }
  // gate's gradient of expert 0 and down's of expert 1 are not asked for.
  void leave_out() { unwanted_ = true; }

 private:
  static std::string compared_to(char const* what, simt::Array<float> const& got, std::vector<Real> const& want) { return cuda_tests::compared(what, got.get(), want); }

  Checkpoint<C> const& w_;
  std::int64_t tokens_, bound_;
  DeviceRows<V, W> x_, x_from_, dy_, dy_from_, dx_;
  simt::Array<std::int32_t> begin_, token_;
  simt::Array<float> weight_, dweight_;
  simt::Array<V> pre_;
  GradientMatrices<G> gate_, up_, down_;
  simt::Array<float> gate_bias_, up_bias_, down_bias_;
  Scratch scratch_;
  FfnWant want_;
  std::size_t routed_ = 0;
  bool unwanted_ = false;
};

}

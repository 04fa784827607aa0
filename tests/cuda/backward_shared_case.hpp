// Shared experts backwards, what a forward pass keeps, and the products by themselves.
#pragma once
#include "backward_case.hpp"

namespace cuda_tests {

template <ct::Config C> class SharedBackwardCase {
 public:
  using V = ct::element_t<C.dtype>;
  using Backward = ct::SharedBackward<C, ct::Cuda>;
  static constexpr int H = C.hidden, F = C.shared.ffn, count = ct::shared_rows(C);
  static constexpr ct::ExpertConfig expert = Backward::Forward::expert;

  SharedBackwardCase(Checkpoint<C> const& w, cases::Random& random, Numbers kind, std::int64_t tokens)
      : w_(w), tokens_(tokens), x_(tokens, 8), dy_(tokens, 0), dx_(tokens, 3), pre_(numbers<V>(random, tokens * Backward::columns, kind)), mix_(static_cast<std::size_t>(tokens)), dmix_(static_cast<std::size_t>(tokens)),
        rows_(static_cast<std::size_t>(tokens * (count + 1))), drows_(rows_.size()), gate_(1, F, H), up_(1, F, H), down_(1, H, F), scratch_(Backward{}.workspace_bytes(ct::Cuda{}, tokens)) {
    std::vector<V> const x = numbers<V>(random, tokens * H, kind), dy = numbers<V>(random, tokens * H, kind), pre = pre_.get();
    std::vector<float> mix, rows;
    std::vector<FfnRow> all;
    auto const weight = [&] { return static_cast<float>(kind == Numbers::whole ? random.below(2) + 1 : 0.2 + random.uniform()); };
    for (std::int64_t t = 0; t < tokens; ++t) {
      mix.push_back(weight());
      FfnRow r{.group = 0, .x = reals(x, t, H), .dy = reals(dy, t, H), .gate = {}, .up = {}, .weight = double{mix.back()}};
      std::vector<float> gamma;
      for (int i = 0; i <= count; ++i) gamma.push_back(weight()), rows.push_back(gamma.back());
      constexpr int paired = ct::gated(expert.act);
      for (int f = 0; f < F; ++f) {
        auto const at = static_cast<std::size_t>(t * Backward::columns + ct::device::pre_column<paired>(f));
        r.gate.push_back(paired ? ref::number(pre[at]) : 0), r.up.push_back(ref::number(pre[at + (paired ? 8 : 0)]));
        if (count) r.gamma.push_back(double{gamma[static_cast<std::size_t>(f / (F / (count ? count : 1)))]});
      }
      all.push_back(r);
    }
    x_.put(x), dy_.put(dy), mix_.put(mix), rows_.put(rows);
    std::vector<ref::Numbers> const gate{w.weights.shared_gate}, up{w.weights.shared_up}, down{w.weights.shared_down};
    want_ = wanted<expert>({.expert = expert, .dtype = C.dtype, .F = F, .W = H, .gate = &gate, .up = &up, .down = &down, .gate_bias = nullptr, .up_bias = nullptr, .down_bias = nullptr}, 1, all);
  }
  std::string failure(ct::Arch path, float start) const {
    dx_.poison(), dmix_.put(std::vector<float>(dmix_.size())), drows_.put(std::vector<float>(drows_.size(), -7));
    gate_.fill(start), up_.fill(start), down_.fill(start);
    auto to = std::make_unique<ct::Gradients<C>>();
    gate_.place(0, to->shared.gate), up_.place(0, to->shared.up), down_.place(0, to->shared.down);
    ct::Routing<C> routing{};
    if constexpr (count > 0) routing.shared = {rows_.data(), tokens_, count + 1};
    Backward{}(ct::Cuda{.arch = path}, {.x = x_.view()}, w_.packed.view(), routing, pre_.data(), ct::Rows<V const, H>(dy_.view()), mix_.data(), dx_.view(), dmix_.data(), count ? drows_.data() : nullptr, *to, scratch_.span());
    std::string wrong = dx_.compared(C.dtype, [&](std::int64_t t) -> std::vector<Real> const& { return want_.dx[static_cast<std::size_t>(t)]; });
    if (!wrong.empty()) return "dx: " + wrong;
    if (wrong = compared("dmix", dmix_.get(), want_.dout); !wrong.empty()) return wrong;
    std::vector<Real> drows;
    for (std::vector<Real> const& row : want_.products) {
      for (int i = 0; i < count; ++i) {
        ref::Sum sum{C.dtype};
        for (int f = 0; f < F / (count ? count : 1); ++f) sum.add(row[static_cast<std::size_t>(i * (F / (count ? count : 1)) + f)]);
        drows.push_back(sum.total());
      }
      drows.push_back({-7, 0});
    }
    if (wrong = compared("drows", drows_.get(), drows); !wrong.empty()) return wrong;
    auto const matrix = [start](std::vector<ref::Sum> const& all, std::size_t inputs) {
      return [&all, inputs, start](std::size_t, std::size_t o, std::size_t i) { return all[o * inputs + i].total() + Real{double{start}, 0}; };
    };
    if (wrong = gate_.compared("gate", ct::DType::fp32, start, matrix(want_.gate, H)); !wrong.empty()) return wrong;
    if (wrong = up_.compared("up", ct::DType::fp32, start, matrix(want_.up, H)); !wrong.empty()) return wrong;
    return down_.compared("down", ct::DType::fp32, start, matrix(want_.down, F));
  }

 private:
  Checkpoint<C> const& w_;
  std::int64_t tokens_;
  DeviceRows<V, H> x_, dy_, dx_;
  simt::Array<V> pre_;
  simt::Array<float> mix_, dmix_, rows_, drows_;
  GradientMatrices<float> gate_, up_, down_;
  Scratch scratch_;
  FfnWant want_;
};

// The forward pass gives the same bits when it keeps gate and up, keeps what the definition says, and makes it again to the same bits.
template <ct::Config C> std::string kept(Checkpoint<C> const& w, cases::Random& random, ct::Arch path, std::int64_t tokens) {
  using V = ct::element_t<C.dtype>;
  using Backward = ct::ExpertsBackward<C, ct::Cuda>;
  constexpr int W = ct::width(C);
  constexpr bool paired = ct::gated(C.expert.act);
  std::int64_t const rows = ct::rows_bound(C, tokens);
  ct::Cuda const on{.arch = path};
  std::vector<V> const x = numbers<V>(random, tokens * W, Numbers::real);
  std::vector<std::int32_t> begin{0}, token;
  for (int e = 0; e < C.experts; ++e) begin.push_back(static_cast<std::int32_t>(e == 0 ? 0 : e == 1 ? rows / 2 : rows));
  for (std::int64_t r = 0; r < rows; ++r) token.push_back(random.below(tokens));
  simt::Array<std::int32_t> const begins(begin), tokens_of(token);
  simt::Array<float> const weight(std::vector<float>(token.size(), 0.5f));
  DeviceRows<V, W> const from(tokens, 8), out(rows, 0), plain(rows, 0);
  from.put(x);
  simt::Array<V> const pre(static_cast<std::size_t>(rows * Backward::columns)), again(pre.size());
  Scratch const scratch(ct::Experts<C, ct::Cuda>{}.workspace_bytes(on, tokens)), backwards(Backward{}.workspace_bytes(on, tokens));
  ct::Batch<C> const batch{.begin = begins.data(), .token = tokens_of.data(), .weight = weight.data(), .slot = {}};
  ct::Rows<V const, W> const in(from.view());
  ct::check(cudaMemset(pre.data(), 0xff, pre.size() * sizeof(V))), ct::check(cudaMemset(again.data(), 0x55, pre.size() * sizeof(V)));       // the padding is written, too
  ct::Experts<C, ct::Cuda>{}(on, in, w.packed.view(), batch, plain.view(), scratch.span());
  ct::Experts<C, ct::Cuda>{}.keeping(on, in, w.packed.view(), batch, out.view(), pre.data(), scratch.span());
  Backward{}.recompute(on, in, w.packed.view(), batch, again.data(), backwards.span());
  std::vector<V> const a = out.get(), b = plain.get(), p = pre.get(), q = again.get();
  if (std::memcmp(a.data(), b.data(), a.size() * sizeof(V)) != 0) return "other results where gate and up are kept";
  if (std::memcmp(p.data(), q.data(), p.size() * sizeof(V)) != 0) return "other numbers where they are made again";
  for (std::int64_t r = 0; r < rows; ++r) {
    auto const e = static_cast<std::size_t>(r < rows / 2 ? 1 : 2);
    for (int f = 0; f < C.ffn; ++f)
      for (int second = 0; second <= paired; ++second) {
        bool const up = !paired || second;
        ref::Sum sum{C.dtype};
        for (int i = 0; i < W; ++i) {
          Real v{ref::number(x[static_cast<std::size_t>(token[static_cast<std::size_t>(r)] * W + i)]), 0};
          if (Backward::weigh_input) v = ref::to(C.dtype, v * Real{0.5, 0});
          sum.add(v, {(up ? w.weights.up : w.weights.gate)[e][static_cast<std::size_t>(f * W + i)], 0});
        }
        if (C.expert.bias) sum.add({(up ? w.weights.up_bias : w.weights.gate_bias)[e][static_cast<std::size_t>(f)], 0});
        ref::Range const range = ref::range(C.dtype, sum.total());
        double const is = ref::number(p[static_cast<std::size_t>(r * Backward::columns + ct::device::pre_column<paired>(f) + (paired && up ? 8 : 0))]);
        if (!(is >= range.low && is <= range.high)) return "row " + std::to_string(r) + ", column " + std::to_string(f) + " kept as " + std::to_string(is);
      }
  }
  return "";
}

// One group of dense rows of whole numbers: fp32 by bf16 as a caller would have it, with strides and maps.
template <class A, class B> std::string dense(ct::Arch path, int rows, int depth, int columns) {
  namespace device = ct::device;
  cases::Random random{static_cast<std::uint64_t>(rows + depth)};
  std::int64_t const a_stride = (depth + 7) / 8 * 8, b_stride = (columns + 7) / 8 * 8;
  std::vector<A> a(static_cast<std::size_t>(rows * a_stride));
  std::vector<B> b(static_cast<std::size_t>((depth > rows ? depth : rows) * b_stride));
  std::vector<std::int32_t> map;
  for (std::int64_t i = 0; i < rows * a_stride; ++i) a[static_cast<std::size_t>(i)] = ct::from_float<A>(static_cast<float>(i % a_stride < depth ? random.below(5) - 2 : 0));
  for (B& v : b) v = ct::from_float<B>(static_cast<float>(random.below(5) - 2));
  for (int r = 0; r < rows; ++r) map.push_back(random.below(rows));
  simt::Array<A> const from_a(a);
  simt::Array<B> const from_b(b);
  simt::Array<std::int32_t> const maps(map);
  simt::Array<float> const out(std::vector<float>(static_cast<std::size_t>(rows * columns), -77)), gradient(std::vector<float>(static_cast<std::size_t>(depth * columns), 3));
  ct::Cuda const on{.arch = path};
  ct::Where const at = ct::Where::here();
  device::multiply_backward(on, path, device::BackwardProduct<A, B, device::StoreRows<float>>{.a = from_a.data(), .a_stride = a_stride, .map = maps.data(), .b = from_b.data(), .b_group = 0, .b_pitch = b_stride,
                                                                                               .inputs = depth, .groups = {.rows = rows}, .epilogue = {.to = out.data(), .stride = columns, .columns = columns}}, at);
  device::add_gradient(on, path, device::GradientProduct<A, B, device::DenseGradient<float>>{.p = from_a.data(), .p_stride = a_stride, .p_map = maps.data(), .q = from_b.data(), .q_stride = b_stride, .q_map = nullptr,
                                                                                              .outputs = depth, .inputs = columns, .groups = {.rows = rows}, .to = {.data = gradient.data(), .out_stride = columns, .in_stride = 1}}, at);
  auto const number_a = [&](int r, int i) { return ct::to_float(a[static_cast<std::size_t>(map[static_cast<std::size_t>(r)] * a_stride + i)]); };
  auto const number_b = [&](int r, int i) { return ct::to_float(b[static_cast<std::size_t>(r * b_stride + i)]); };
  std::vector<float> const got = out.get(), sums = gradient.get();
  for (int r = 0; r < rows; ++r)
    for (int n = 0; n < columns; ++n) {
      float want = 0;
      for (int k = 0; k < depth; ++k) want += number_a(r, k) * number_b(k, n);
      if (got[static_cast<std::size_t>(r * columns + n)] != want) return "row " + std::to_string(r) + ", column " + std::to_string(n);
    }
  for (int o = 0; o < depth; ++o)
    for (int n = 0; n < columns; ++n) {
      float want = 3;
      for (int r = 0; r < rows; ++r) want += number_a(r, o) * number_b(r, n);
      if (sums[static_cast<std::size_t>(o * columns + n)] != want) return "output " + std::to_string(o) + ", input " + std::to_string(n);
    }
  return "";
}

}

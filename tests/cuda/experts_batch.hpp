// What the stages around the experts are tested with: a batch of rows for the experts, tokens for the shared ones and for the latent width.
#pragma once
#include "experts_case.hpp"
#include "product_syncs.hpp"

namespace cuda_tests {

namespace ref = ct::reference;

// A batch made by hand for the experts of a checkpoint: counts[e] rows of expert e, each of a token that chance picks.
template <ct::Config C> class ExpertsCase {
 public:
  using V = ct::element_t<C.dtype>;
  static constexpr int W = ct::width(C);

  ExpertsCase(Checkpoint<C> const& w, cases::Random& random, Numbers kind, std::int64_t tokens, std::vector<int> const& counts, int extra = 8)
      : w_(w), tokens_(tokens), rows_(ct::rows_bound(C, tokens)), x_(tokens, extra), from_(tokens, extra), out_(rows_ + 1, 3), begin_(C.experts + 1), token_(static_cast<std::size_t>(rows_)),
        weight_(static_cast<std::size_t>(rows_)), scratch_(ct::Experts<C, ct::Cuda>{}.workspace_bytes(ct::Cuda{}, tokens)) {
    std::vector<V> const& x = values_ = numbers<V>(random, tokens * W, kind);
    std::vector<std::int32_t> begin{0}, token;
    std::vector<float> weight;
    for (int e = 0; e < C.experts; ++e) {
      for (int i = 0; i < counts[static_cast<std::size_t>(e)]; ++i) {
        token.push_back(random.below(tokens)), weight.push_back(static_cast<float>(kind == Numbers::whole ? random.below(3) + 1 : random.uniform()));
        std::vector<ref::Real> a = reals(x, token.back(), W);
        if (C.router.place == ct::Place::input)
          for (ref::Real& v : a) v = ref::to(C.dtype, v * ref::Real{double{weight.back()}, 0});
        want_.push_back(ref::expert(C, w.weights, e, a));
        expert_.push_back(e), tokens_of_.push_back(token.back());
      }
      begin.push_back(static_cast<std::int32_t>(token.size()));
    }
    REQUIRE(static_cast<std::int64_t>(token.size()) <= rows_);
    token.resize(static_cast<std::size_t>(rows_), -1), weight.resize(static_cast<std::size_t>(rows_), __builtin_nanf(""));            // beyond the batch: nobody looks
    from_.put(x), begin_.put(begin), token_.put(token), weight_.put(weight);
  }
  // What is wrong on this path, with experts [first, first + count) at hand.
  std::string failure(ct::Arch path, int first = 0, int count = C.experts) const {
    run(path, first, count);
    static std::vector<ref::Real> const nothing;
    return out_.compared(C.dtype, [&](std::int64_t r) -> std::vector<ref::Real> const& {
      bool const mine = r < static_cast<std::int64_t>(want_.size()) && expert_[static_cast<std::size_t>(r)] >= first && expert_[static_cast<std::size_t>(r)] < first + count;
      return mine ? want_[static_cast<std::size_t>(r)] : nothing;
    });
  }
  void run(ct::Arch path, int first = 0, int count = C.experts) const {
    ct::Cuda const on{.arch = path};
    out_.poison(), x_.poison();
    ahead(x_.view().data, from_.view().data, x_.elements());                     // x comes from a kernel ahead
    ct::Batch<C> const batch{.begin = begin_.data(), .token = token_.data(), .weight = weight_.data(), .slot = {}};
    auto out = out_.view();
    out.rows = rows_;
    ct::Experts<C, ct::Cuda>{}(on, ct::Rows<V const, W>(x_.view()), {w_.packed.view().data, first, count}, batch, out, scratch_.span());
  }
  std::vector<V> rows() const { return out_.get(); }
  std::size_t routed() const { return want_.size(); }
  // Expert and token of a row.
  std::pair<int, int> who(std::size_t row) const { return {expert_[row], tokens_of_[row]}; }
  // Its x becomes NaN; -1: nobody's.
  void poison_token(int token) {
    std::vector<V> x = values_;
    for (int i = 0; i < W && token >= 0; ++i) x[static_cast<std::size_t>(token * W + i)] = ct::from_float<V>(__builtin_nanf(""));
    from_.put(x);
  }

 private:
  Checkpoint<C> const& w_;
  std::int64_t tokens_, rows_;
  DeviceRows<V, W> x_, from_, out_;
  simt::Array<std::int32_t> begin_, token_;
  simt::Array<float> weight_;
  Scratch scratch_;
  std::vector<std::vector<ref::Real>> want_;
  std::vector<int> expert_, tokens_of_;
  std::vector<V> values_;
};

// Tokens for a stage that gives each one a row: x of a kernel ahead, what must come out, and where.
template <ct::Config C, int N> class TokensCase {
 public:
  using V = ct::element_t<C.dtype>;
  TokensCase(cases::Random& random, Numbers kind, std::int64_t tokens, int extra) : tokens_(tokens), x_(tokens, extra), from_(tokens, extra), out_(tokens, 3), values_(numbers<V>(random, tokens * C.hidden, kind)) {
    from_.put(values_);
  }
  std::vector<ref::Real> x(std::int64_t t) const { return reals(values_, t, C.hidden); }
  void wants(std::vector<ref::Real> row) { want_.push_back(static_cast<std::vector<ref::Real>&&>(row)); }
  // call(x, out)
  template <class F> std::string failure(F const& call) const {
    out_.poison(), x_.poison();
    ahead(x_.view().data, from_.view().data, x_.elements());
    call(ct::Rows<V const, C.hidden>(x_.view()), out_.view());
    return out_.compared(C.dtype, [&](std::int64_t t) -> std::vector<ref::Real> const& { return want_[static_cast<std::size_t>(t)]; });
  }

 private:
  std::int64_t tokens_;
  DeviceRows<V, C.hidden> x_, from_;
  DeviceRows<V, N> out_;
  std::vector<V> values_;
  std::vector<std::vector<ref::Real>> want_;
};

}

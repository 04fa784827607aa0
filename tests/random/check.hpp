// One case, checked every way there is; figures collected over all of them.
#pragma once
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <coterie/reference.hpp>
#include "../cases.hpp"

namespace cases {

class Checker {
 public:
  // Empty, or what is wrong.
  std::string check(Case const& k) {
    Subject& s = *subjects().at(static_cast<std::size_t>(k.config));
    return check(s, k, make_tensors(s, k), make_feed(s, k));
  }
  // The same of any layer and numbers; of k the threads, the path and the seed count.
  std::string check(Subject& s, Case const& k, Tensors const& tensors, Feed const& feed) {
    wrong_.clear();
    ++cases_;
    ct::Host const on = pooled_host(k.threads, k.isa);
    try {
      s.pack(on, tensors);
      ref::Weights const weights = s.weights(tensors);
      ref::Inputs const inputs = s.inputs(feed);
      layer(s, k, on, feed, weights, inputs);
    } catch (ct::Error const& e) {
      wrong_ = std::string("threw ") + e.what();
    }
    return wrong_;
  }

  // The same bits; of NaN only that it is one (which sign it has is counted).
  bool same(ct::DType d, Bytes const& a, Bytes const& b) {
    if (a == b) return true;
    for (std::size_t i = 0; i < a.size() / bytes_of(d); ++i) {
      if (std::memcmp(a.data() + i * bytes_of(d), b.data() + i * bytes_of(d), bytes_of(d)) == 0) continue;
      auto const at = static_cast<std::int64_t>(i);
      if (!std::isnan(load(d, a.data(), at)) || !std::isnan(load(d, b.data(), at))) return false;
      ++nan_bits_;
    }
    return true;
  }

  void report() const {
    std::printf("%lld cases; %lld elements compared, %lld of them with ==, %lld unbounded; %lld margin tokens of %lld; %lld NaN signs differ\n", cases_, compared_, equal_, unbounded_, margin_tokens_, tokens_, nan_bits_);
    std::printf("|difference| / bound        cases       p50       p99       max\n");
    for (auto const& [name, all] : ratios_) {
      std::vector<double> v = all;
      std::sort(v.begin(), v.end());
      std::printf("%-24s %8zu %9.4f %9.4f %9.4f\n", name.c_str(), v.size(), v[v.size() / 2], v[v.size() * 99 / 100], v.back());
    }
  }

 private:
  void fail(std::string const& what) { if (wrong_.empty()) wrong_ = what; }
  static std::string shown(double v) {
    char text[40];
    std::snprintf(text, sizeof text, "%.9g", v);
    return text;
  }

  // One element that the definition gives as `want`, stored as `d`.
  void element(char const* what, std::int64_t row, std::int64_t column, double got, ref::Real want, ct::DType d, double& worst) {
    ++compared_;
    if (!ref::known(want)) return void(++unbounded_);
    ref::Range const r = ref::range(d, want);
    bool const nan = std::isnan(want.value), ok = nan ? std::isnan(got) : got >= r.low && got <= r.high;
    if (nan || r.low == r.high) ++equal_;
    double const bound = ref::stored_bound(d, want), off = std::fabs(got - want.value);
    if (std::isfinite(want.value) && bound > 0 && std::isfinite(bound)) worst = std::fmax(worst, off / bound);
    if (!ok) fail(std::string(what) + "[" + std::to_string(row) + "][" + std::to_string(column) + "] is " + shown(got) + ", want " + shown(want.value) + " +- " + shown(want.error) + " (" + shown(r.low) + " to " + shown(r.high) + ")");
  }
  void keep(char const* stage, ct::DType d, double worst) { ratios_[std::string(stage) + " " + ct::name(d)].push_back(worst); }

  void layer(Subject& s, Case const& k, ct::Host const& on, Feed const& feed, ref::Weights const& weights, ref::Inputs const& inputs) {
    ct::Config const& c = s.config;
    std::int64_t const n = feed.tokens;
    std::size_t const want = s.workspace_bytes(on, n);
    if (s.workspace_bytes(on, n + 1) < want) fail("workspace_bytes decreases with tokens");
    Bytes const y = run(s, on, feed, want, 0xff, k.seed % 64);
    if (!same(c.dtype, y, run(s, on, feed, want, 0xfe, k.seed / 64 % 64))) fail("a second run on other memory gives other bits");
    bool const small = n * ct::logit_columns(c) < 4'000'000;             // the reference keeps what it knows of every logit
    for (int threads = 1; threads <= 3; ++threads)
      if (threads != k.threads && (small || threads == 1) && !same(c.dtype, y, run(s, pooled_host(threads, k.isa), feed, want, 0xff, 0))) fail("bits depend on the number of threads");
    if (k.isa == ct::Isa::avx2)
      if (ct::host::supports(ct::Isa::avx512) && !same(c.dtype, y, run(s, pooled_host(k.threads, ct::Isa::avx512), feed, want, 0xff, 0))) fail("AVX2 and AVX-512 give other bits");
    if (want > 0 && n > 0) {
      bool threw = false;
      try { run(s, on, feed, want - 1, 0xff, 0); } catch (ct::Error const&) { threw = true; }
      if (!threw) fail("a workspace of one byte less is accepted");
    }
    if (n == 0) return;
    if (!ct::is_float(c.weights) || !ct::is_float(c.shared.weights)) int8(s, k, feed, want);

    StageRun staged;
    s.stages(on, feed, staged, 0xff);
    if (!staged.intact) fail("a stage wrote outside its scratch");
    ref::Routing const routing = small ? ref::route(c, weights, inputs) : ref::Routing{};
    router(c, n, staged, routing);
    if (!wrong_.empty()) return;
    // Everything after the router from the routing that the router really made: no margin there.
    ref::Result const r = ref::finish(c, weights, inputs,
                                      ref::facts(n, ct::slots(c), ct::shared_rows(c), staged.expert.data(), staged.before_drop.data(), staged.shared_weight.data()));
    dispatch(c, n, staged, r);
    if (!wrong_.empty()) return;
    experts(c, n, staged, r);
    double worst = 0;
    for (std::int64_t t = 0; t < n; ++t)
      for (int h = 0; h < c.hidden; ++h)
        element("y", t, h, load(c.dtype, y.data(), t * feed.y_stride + h), r.sum[static_cast<std::size_t>(t * c.hidden + h)], c.dtype, worst);
    keep("layer", c.dtype, worst);
    for (std::int64_t t = 0; t < n; ++t)
      if (std::size_t const size = bytes_of(c.dtype), width = static_cast<std::size_t>(c.hidden) * size, row = static_cast<std::size_t>(t);
          !same(c.dtype, Bytes(&staged.y[row * width], &staged.y[row * width] + width), Bytes(&y[row * static_cast<std::size_t>(feed.y_stride) * size], &y[row * static_cast<std::size_t>(feed.y_stride) * size] + width)))
        fail("the stages one by one give other bits than the layer");
    if (small && k.seed % 8 == 0) whole(c, n, feed, y, ref::finish(c, weights, inputs, routing));
  }

  // With 8-bit activations, whose values are the business of tests/experts/int8.cpp: the same workspace, and bits that depend on nothing else.
  void int8(Subject const& s, Case const& k, Feed const& feed, std::size_t bytes) {
    ct::Host on = pooled_host(k.threads, k.isa);
    on.int8_activations = 1;
    if (s.workspace_bytes(on, feed.tokens) != bytes) fail("8-bit activations take another workspace");
    Bytes const y = run(s, on, feed, bytes, 0xff, k.seed % 64);
    ct::Host other = pooled_host(k.threads % 3 + 1, k.isa == ct::Isa::avx2 && ct::host::supports(ct::Isa::avx512) ? ct::Isa::avx512 : k.isa);
    other.int8_activations = 1;
    if (!same(s.config.dtype, y, run(s, other, feed, bytes, 0xfe, 0))) fail("bits with 8-bit activations depend on memory, threads or AVX2");
  }

  // y[T,stride] of one run; checks guard bands, gaps between rows, and that the workspace is not touched outside.
  Bytes run(Subject const& s, ct::Host const& on, Feed const& feed, std::size_t bytes, unsigned char poison, std::size_t shift) {
    std::size_t const size = bytes_of(s.config.dtype), length = static_cast<std::size_t>(feed.tokens * feed.y_stride) * size;
    Guarded y{length, poison}, memory{bytes + 64, poison};
    Bytes const before = feed.x;
    s.forward(on, feed, y.data(), memory.span().subspan(shift, bytes));
    for (std::size_t i = 0; i < 64; ++i)
      if ((i < shift && memory.data()[i] != std::byte{poison}) || (i >= shift && memory.data()[bytes + i] != std::byte{poison})) fail("forward writes outside its workspace");
    if (!y.intact() || !memory.intact()) fail("forward writes outside y or its workspace");
    if (before != feed.x) fail("forward changes x");
    for (std::int64_t t = 0; t < feed.tokens; ++t)
      for (std::size_t i = static_cast<std::size_t>(t * feed.y_stride + s.config.hidden) * size; i < static_cast<std::size_t>((t + 1) * feed.y_stride) * size; ++i) {
        if (y.data()[i] != std::byte{poison}) fail("forward writes between the rows of y");
        y.data()[i] = std::byte{0};
      }
    return Bytes(y.data(), y.data() + length);
  }

  void router(ct::Config const& c, std::int64_t n, StageRun const& run, ref::Routing const& want) {
    int const s = ct::slots(c), columns = ct::logit_columns(c);
    double worst = 0, worst_logit = 0;
    bool const token_choice = c.router.input != ct::RouterInput::given && c.router.select != ct::Select::table;
    for (std::int64_t t = 0; t < n; ++t) {
      ++tokens_;
      bool const sure = !want.margin.empty() && want.margin[static_cast<std::size_t>(t)] > 1;
      if (!sure) ++margin_tokens_;
      for (int i = 0; i < s; ++i) {
        std::size_t const at = static_cast<std::size_t>(t * s + i);
        std::int32_t const got = run.expert[at];
        if (got < -1 || got >= ct::candidates(c)) fail("expert[" + std::to_string(t) + "][" + std::to_string(i) + "] is out of range: " + std::to_string(got));
        for (int j = 0; j < i && token_choice; ++j)
          if (got >= 0 && run.expert[at] == run.expert[static_cast<std::size_t>(t * s + j)]) fail("expert[" + std::to_string(t) + "] holds " + std::to_string(got) + " twice");
        if (!sure) continue;
        if (got != want.expert[at]) fail("expert[" + std::to_string(t) + "][" + std::to_string(i) + "] is " + std::to_string(got) + ", want " + std::to_string(want.expert[at]) + ", margin " + shown(want.margin[static_cast<std::size_t>(t)]));
        else element("weight", t, i, ref::number(run.before_drop[at]), want.weight[at], ct::DType::fp32, worst);
      }
      for (int i = 0; sure && i < ct::shared_rows(c); ++i) {
        std::size_t const at = static_cast<std::size_t>(t * ct::shared_rows(c) + i);
        element("routing.shared", t, i, ref::number(run.shared_weight[at]), want.shared[at], ct::DType::fp32, worst);
      }
      for (int e = 0; !want.logits.empty() && e < columns; ++e) {
        std::size_t const at = static_cast<std::size_t>(t * columns + e);
        element("logits", t, e, ref::number(run.logits[at]), want.logits[at], ct::DType::fp32, worst_logit);
      }
    }
    if (c.router.input != ct::RouterInput::given) keep("router", c.dtype, worst);
    if (!want.logits.empty()) keep("logits", c.dtype, worst_logit);
  }

  // The maps: each kept choice has a row of its own among its expert's, in the order of tokens; nothing else has one.
  void dispatch(ct::Config const& c, std::int64_t n, StageRun const& run, ref::Result const& want) {
    int const s = ct::slots(c);
    std::vector<std::int64_t> last(static_cast<std::size_t>(c.experts), -1);
    std::int64_t rows = 0;
    double worst = 0;
    for (std::int64_t t = 0; t < n; ++t)
      for (int i = 0; i < s; ++i) {
        std::size_t const at = static_cast<std::size_t>(t * s + i);
        std::string const place = "slot[" + std::to_string(t) + "][" + std::to_string(i) + "]";
        element("weight after dispatch", t, i, ref::number(run.weight[at]), want.routing.weight[at], ct::DType::fp32, worst);
        std::int32_t const row = run.slot[at];
        if ((row >= 0) != want.kept[at]) return fail(place + " is " + std::to_string(row) + ", but the choice is " + (want.kept[at] ? "kept" : "not kept"));
        if (row < 0) continue;
        ++rows;
        auto const e = static_cast<std::size_t>(run.expert[at]);
        if (row < run.begin[e] || row >= run.begin[e + 1] || row <= last[e]) return fail(place + " is not the next row of its expert");
        last[e] = row;
        if (run.token[static_cast<std::size_t>(row)] != t) fail("batch.token disagrees with " + place);
        if (std::memcmp(&run.row_weight[static_cast<std::size_t>(row)], &run.weight[at], sizeof(float)) != 0) fail("batch.weight disagrees with " + place);
      }
    if (run.begin.front() != 0 || run.begin.back() != rows) fail("batch.begin ends at " + std::to_string(run.begin.back()) + ", want " + std::to_string(rows));
    if (ref::deferred(c)) keep("after drop", c.dtype, worst);
  }

  void experts(ct::Config const& c, std::int64_t n, StageRun const& run, ref::Result const& want) {
    int const s = ct::slots(c), w = ct::width(c);
    double worst = 0, worst_shared = 0;
    for (std::int64_t t = 0; t < n; ++t)
      for (int i = 0; i < s; ++i) {
        std::size_t const at = static_cast<std::size_t>(t * s + i);
        for (int o = 0; want.kept[at] && o < w; ++o)
          element("expert row", run.slot[at], o, load(c.dtype, run.out.data(), std::int64_t{run.slot[at]} * w + o), want.out[at][static_cast<std::size_t>(o)], c.dtype, worst);
      }
    keep("experts", c.dtype, worst);
    if (!c.shared.ffn) return;
    for (std::int64_t t = 0; t < n; ++t)
      for (int h = 0; h < c.hidden; ++h)
        element("shared", t, h, load(c.dtype, run.shared.data(), t * c.hidden + h), want.shared[static_cast<std::size_t>(t)][static_cast<std::size_t>(h)], c.dtype, worst_shared);
    keep("shared", c.dtype, worst_shared);
  }

  // From x to y by the definition alone, where no choice hangs on a rounding.
  void whole(ct::Config const& c, std::int64_t n, Feed const& feed, Bytes const& y, ref::Result const& r) {
    if (r.margin <= 1) return;
    double worst = 0;
    for (std::int64_t t = 0; t < n; ++t)
      for (int h = 0; h < c.hidden; ++h)
        element("y end to end", t, h, load(c.dtype, y.data(), t * feed.y_stride + h), r.sum[static_cast<std::size_t>(t * c.hidden + h)], c.dtype, worst);
    keep("end to end", c.dtype, worst);
  }

  std::map<std::string, std::vector<double>> ratios_;
  std::string wrong_;
  long long cases_ = 0, compared_ = 0, equal_ = 0, unbounded_ = 0, margin_tokens_ = 0, tokens_ = 0, nan_bits_ = 0;
};

}

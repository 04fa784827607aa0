// A layer of a few tokens by the kernels for few tokens, and by its stages one after the other.
#pragma once
#include "support.hpp"
#include <cstring>
#include <random/compiled_cuda.hpp>

namespace cases {
std::string check(Subject&, Case const&);        // random/check.cpp
}
namespace decodes {

using namespace coterie;

constexpr Config small(Config c, int experts, int top_k, int hidden, int ffn, int shared = 0) {
  c.experts = experts, c.top_k = top_k, c.hidden = hidden, c.ffn = ffn;
  if (c.shared.ffn) c.shared.ffn = shared;
  c.weights = c.dtype, c.quant = {};
  return c;
}
// gap: elements between the rows of x.
template <Config C> class Both {
  static constexpr Config config = C;            // nvcc wants other templates named with it
  using V = element_t<C.dtype>;

 public:
  explicit Both(cases::Case c, Arch arch = Arch::best, std::int64_t gap = 0) {
    of_.arch = arch;
    for (feed_ = cases::make_feed(of_, c); feed_.x_stride != C.hidden + gap; ++c.seed) feed_ = cases::make_feed(of_, c);
    of_.pack(Host{.threads = 1}, cases::make_tensors(of_, c));
    cases::StageRun run;
    of_.stages(Host{.threads = 1}, feed_, run, 0xff);
    want_ = run.y;
  }
  // The layer's y under the next schedule: empty, or where it is not the stages'.
  std::string operator()() const {
    Host const on{.threads = 1};
    std::vector<V> y(static_cast<std::size_t>(feed_.tokens * feed_.y_stride));
    std::vector<std::byte> workspace(of_.workspace_bytes(on, feed_.tokens));
    of_.schedule = turn_++ % 18;
    of_.forward(on, feed_, y.data(), workspace);
    auto const* const want = reinterpret_cast<V const*>(want_.data());
    for (std::int64_t t = 0; t < feed_.tokens; ++t)
      for (int h = 0; h < C.hidden; ++h) {
        V const &a = y[static_cast<std::size_t>(t * feed_.y_stride + h)], &b = want[t * C.hidden + h];
        if (std::memcmp(&a, &b, sizeof a) != 0 && !(is_nan(to_float(a)) && is_nan(to_float(b))))           // which NaN is the compiler's choice
          return "y[" + std::to_string(t) + "][" + std::to_string(h) + "] is " + std::to_string(to_float(a)) + ", the stages' " + std::to_string(to_float(b));
      }
    return "";
  }

 private:
  mutable cases::CompiledCuda<config> of_;
  mutable int turn_ = 0;
  cases::Feed feed_;
  cases::Bytes want_;
};

// Every number of tokens, tokens of every kind; and the definition's y.
template <Config C> void all() {
  CAPTURE(C.experts);
  CAPTURE(C.top_k);
  for (std::int64_t tokens : {0, 1, 2, 3, 7, 8, 9}) {
    CAPTURE(tokens);
    CHECK(simt::failure_of(Both<C>({.tokens = tokens, .seed = static_cast<std::uint64_t>(tokens) + 5})) == "");
  }
  for (cases::Trace trace : {cases::Trace::one_expert, cases::Trace::ties, cases::Trace::nan_rows, cases::Trace::infinite, cases::Trace::huge}) {
    CAPTURE(std::string(cases::trace_names[static_cast<int>(trace)]));
    CHECK(simt::failure_of(Both<C>({.tokens = 8, .trace = trace, .seed = 3})) == "");
    cases::CompiledCuda<C> layer;
    cases::Case c{.tokens = 6, .trace = trace, .seed = 8};
    while (cases::make_feed(layer, c).x_stride % 8 != 0) c.seed += 8;                          // every eighth is checked from end to end
    CHECK(simt::failure_of([&] { return cases::check(layer, c); }) == "");
  }
}

#if defined(COTERIE_SIMT)
inline std::int64_t launches() {
  std::int64_t n = 0;
  for (std::string const& call : simt::calls()) n += call == "cudaLaunchKernelEx";
  return n;
}
#endif

}

// The router and the tokens of a small layer as bench_cuda makes them, in bits; tokens.py must print the same.      bench_cuda_tokens
#include <cstdio>
#include <cstring>
#include "../trace.hpp"
#include "noise.hpp"

namespace {
using namespace bench;
constexpr Config small{.experts = 60, .top_k = 4, .hidden = 72, .ffn = 8};
constexpr std::int64_t tokens = 33;

void print(bf16 value) {
  std::uint16_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  std::printf(" %04x", bits);
}
}

int main() {
  Random random{1};
  std::vector<bf16> const router = steered_router<small>(random);
  for (std::size_t i = 0; i < router.size(); ++i) {
    if (i % small.hidden == 0) std::printf("%srouter", i ? "\n" : "");
    print(router[i]);
  }
  for (Trace trace : {Trace::uniform, Trace::zipf, Trace::one}) {
    std::printf("\n%s", name(trace));
    for (std::int64_t i = 0; i < tokens * small.hidden; ++i) print(from_float<bf16>(i % small.hidden < steering ? steer(trace, static_cast<int>(i % small.hidden)) : noise_at(i, token_seed(tokens))));
  }
  std::printf("\n");
}

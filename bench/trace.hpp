// The way in which tokens choose experts, on any backend.
#pragma once
#include <cmath>
#include <coterie/coterie.hpp>
#include <cstdint>
#include <vector>

namespace bench {

using namespace coterie;                         // a benchmark is a user of the library

// uniform: random tokens through a random router. zipf: expert e is chosen about as often as 1 / (e + 1). one: every
// token chooses the same top_k experts. replayed: recorded choices, from the file that COTERIE_TRACE names (a token per
// line, its experts' numbers), or made up: a token keeps each choice of the token before it half of the time.
enum class Trace : int { uniform, zipf, one, replayed };
inline constexpr Trace traces[] = {Trace::uniform, Trace::zipf, Trace::one, Trace::replayed};
constexpr char const* name(Trace t) { return t == Trace::uniform ? "uniform" : t == Trace::zipf ? "zipf" : t == Trace::one ? "one" : "replayed"; }

// xorshift*; a normal variate is the sum of a word's four quarters.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}
  std::uint64_t word() {
    state_ ^= state_ >> 12, state_ ^= state_ << 25, state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1du;
  }
  double unit() { return static_cast<double>(word() >> 11) * 0x1p-53; }
  float normal() {
    std::uint64_t const w = word();
    std::int64_t const sum = static_cast<std::int64_t>((w & 0xffff) + (w >> 16 & 0xffff) + (w >> 32 & 0xffff) + (w >> 48));
    return static_cast<float>(sum - 131070) * static_cast<float>(1.7320508 / 65536);
  }

 private:
  std::uint64_t state_;
};

// The first elements of a token are not noise but steer the router.
inline constexpr int steering = 2;
constexpr float steer(Trace trace, int h) { return trace == (h == 0 ? Trace::zipf : Trace::one) ? 1.f : 0.f; }
// A router [N,H] whose rows are N(0,1/H) but for the steering columns: log(1/(e+1)), and a landslide for the first top_k experts.
template <Config C> std::vector<element_t<C.router.weights>> steered_router(Random& random) {
  using R = element_t<C.router.weights>;
  constexpr int N = logit_columns(C), H = C.hidden;
  std::vector<R> router(static_cast<std::size_t>(N) * H);
  for (R& r : router) r = from_float<R>(random.normal() / std::sqrt(static_cast<float>(H)));
  for (int e = 0; e < N && H >= steering; ++e) {
    R* const row = router.data() + static_cast<std::size_t>(e) * H;
    row[0] = from_float<R>(-std::log(static_cast<float>(e + 1))), row[1] = from_float<R>(e < C.top_k ? 40.f : 0.f);
  }
  return router;
}

}

// Random cases: numbers for any config, with their types forgotten, so that one check serves every compiled layer.
// A case is reproduced by one line: COTERIE_CASE="config=17 T=33 trace=zipf threads=2 isa=AVX2 seed=…".
// COTERIE_SEED repeats a whole run, COTERIE_CASES says how many cases it has.
#pragma once
#include <coterie/coterie.hpp>
#include <coterie/reference/weights.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace cases {

namespace ct = coterie;
namespace ref = coterie::reference;
using Bytes = std::vector<std::byte>;

inline std::uint64_t base_seed() {
  static std::uint64_t const seed = [] {
    if (char const* text = std::getenv("COTERIE_SEED")) return static_cast<std::uint64_t>(std::strtoull(text, nullptr, 10));
    return static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count()) / 1000 % 1'000'000'000'000u;
  }();
  return seed;
}

// The paths this machine runs.
inline std::vector<ct::Isa> paths() {
  std::vector<ct::Isa> all;
  for (ct::Isa isa : {ct::Isa::portable, ct::Isa::avx2, ct::Isa::avx512, ct::Isa::avx512_bf16, ct::Isa::amx})
    if (ct::host::supports(isa)) all.push_back(isa);
  return all;
}
// One of three pools, of so many threads, on this path.
inline ct::Host pooled_host(int threads, ct::Isa isa) {
  static ct::Host const pools[]{ct::Host{.threads = 1}, ct::Host{.threads = 2}, ct::Host{.threads = 3}};
  ct::Host on = pools[std::clamp(threads, 1, 3) - 1];
  on.isa = isa;
  return on;
}

// splitmix64: small, seedable, the same everywhere (standard distributions are not).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
  }
  int below(std::int64_t n) { return static_cast<int>(next() % static_cast<std::uint64_t>(n)); }
  bool one_in(int n) { return below(n) == 0; }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  double normal() {                                                      // a sum of uniforms: light tails are welcome here
    double s = -6;
    for (int i = 0; i < 12; ++i) s += uniform();
    return s;
  }

 private:
  std::uint64_t state_;
};

enum class Trace : int { uniform, zipf, one_expert, sorted, ties, integers, nan_rows, infinite, denormal, huge, new_expert, negative_zero };
inline constexpr char const* trace_names[]{"uniform", "zipf", "one_expert", "sorted", "ties", "integers", "nan_rows", "infinite", "denormal", "huge", "new_expert", "negative_zero"};
inline constexpr int traces = 12;

struct Case {
  int config = 0;
  std::int64_t tokens = 0;
  Trace trace = Trace::uniform;
  int threads = 1;
  ct::Isa isa = ct::Isa::portable;
  std::uint64_t seed = 0;
  std::string line() const;
};
Case parse(std::string const& line);

// A matrix as a checkpoint may hold it: strides, padding and order of its own.
struct Stored {
  Bytes data;
  std::int64_t out_stride = 0, in_stride = 1;
  std::vector<float> scale{};                      // quantised
  std::vector<std::uint8_t> zero{};
};
struct Tensors {
  Stored router, noise;
  std::vector<float> router_bias, select_bias, expert_scale;
  std::vector<std::int32_t> table;
  std::vector<Stored> gate, up, down;
  std::vector<std::vector<float>> gate_bias, up_bias, down_bias;
  Stored shared_gate, shared_up, shared_down, mix, latent_down, latent_up;
  std::vector<float> mix_bias, latent_norm;
  float latent_epsilon = 1e-6f, router_scale = 1;
};
// A layer's inputs.
struct Feed {
  std::int64_t tokens = 0, x_stride = 0, y_stride = 0, sequence = 0;
  Bytes x, router_x;
  std::vector<float> logits, given_weight;
  std::vector<std::int32_t> token_ids, given_expert;
  std::uint64_t seed = 0;
};

// Memory with guard bands, poisoned: what is not written stays visible, what is written outside shows.
class Guarded {
 public:
  static constexpr std::size_t band = 320;
  Guarded(std::size_t size, unsigned char poison) : poison_(poison), size_(size), memory_(size + 2 * band, std::byte{poison}) {}
  template <class T = std::byte> T* data() { return reinterpret_cast<T*>(memory_.data() + band); }
  std::size_t size() const { return size_; }
  std::span<std::byte> span() { return {data(), size_}; }
  bool intact() const {
    for (std::size_t i = 0; i < band; ++i)
      if (memory_[i] != std::byte{poison_} || memory_[memory_.size() - 1 - i] != std::byte{poison_}) return false;
    return true;
  }

 private:
  unsigned char poison_;
  std::size_t size_;
  Bytes memory_;
};

// What the stages produce when they are called one by one.
struct StageRun {
  std::vector<std::int32_t> expert, slot, begin, token;
  std::vector<float> weight, before_drop, shared_weight, logits, row_weight;
  Bytes out, shared, y;
  bool intact = true;                            // every stage stayed inside its scratch
};

// One compiled layer.
class Subject {
 public:
  explicit Subject(ct::Config const& c, ct::DType stored_type) : config(c), stored(stored_type) {}
  virtual ~Subject() = default;
  virtual void pack(ct::Host const& on, Tensors const& from) = 0;
  virtual ref::Weights weights(Tensors const& from) const = 0;
  virtual ref::Inputs inputs(Feed const& from) const = 0;
  virtual std::size_t workspace_bytes(ct::Host const& on, std::int64_t tokens) const = 0;
  virtual void forward(ct::Host const& on, Feed const& feed, void* y, std::span<std::byte> workspace) const = 0;
  virtual void stages(ct::Host const& on, Feed const& feed, StageRun& run, unsigned char poison) const = 0;
  ct::Config config;
  ct::DType stored;                              // how the checkpoint holds the experts
};
std::vector<std::unique_ptr<Subject>> const& subjects();

inline std::size_t bytes_of(ct::DType d) { return static_cast<std::size_t>(ct::bits(d)) / 8; }
inline double load(ct::DType d, void const* from, std::int64_t i) {
  if (d == ct::DType::fp32) return ref::number(static_cast<float const*>(from)[i]);
  if (d == ct::DType::bf16) return ref::number(static_cast<ct::bf16 const*>(from)[i]);
  return ref::number(static_cast<ct::fp16 const*>(from)[i]);
}
inline void save(ct::DType d, void* to, std::int64_t i, double v) {
  auto const f = static_cast<float>(v);
  if (d == ct::DType::fp32) static_cast<float*>(to)[i] = f;
  else if (d == ct::DType::bf16) static_cast<ct::bf16*>(to)[i] = ct::from_float<ct::bf16>(f);
  else static_cast<ct::fp16*>(to)[i] = ct::from_float<ct::fp16>(f);
}

// Numbers for a case: weights depend on (config, trace, seed), inputs on the rest too.
Tensors make_tensors(Subject const& of, Case const& c);
Feed make_feed(Subject const& of, Case const& c);

}

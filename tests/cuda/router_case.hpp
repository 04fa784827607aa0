// A router's case on both sides: the same inputs and weights for the host's router and for CUDA's, and what each makes of them.
#pragma once
#include <cuda/support.hpp>
#include <cstring>
#include <string>
#include <type_traits>
#include <vector>
#include "../cases.hpp"

namespace cuda_tests {

using Ids = std::vector<std::int32_t>;
using Floats = std::vector<float>;
template <ct::Config C> using On = std::type_identity<ct::Router<C, ct::Cuda>>;

// Elements of an array; one where there is nothing, so that there is a pointer.
inline std::size_t sized(std::int64_t n) { return static_cast<std::size_t>(n > 1 ? n : 1); }

// What logits are like: any; with many ties; all the same; with NaN and infinities here and there and in whole rows; large ones.
enum class Like : int { any, ties, equal, broken, huge };

struct Asked {
  std::int64_t tokens = 0;
  Like like = Like::any;
  std::uint64_t seed = 0;                        // Inputs::seed
  std::int64_t sequence = 0, gap = 0, x_gap = 0; // gap: elements between the rows of everything but x
  int replay = 0;                                // flag: the caller's ids for Select::table
  int whole = 0;                                 // flag: small whole numbers for x and the router, so that every sum is exact
  int logits = 1;                                // flag: ask for Routing::logits
  ct::Arch arch = ct::Arch::best;
};

// Weights and inputs in host memory.
template <ct::Config C> struct RouterCase {
  using T = ct::element_t<C.dtype>;
  using R = ct::element_t<C.router.weights>;
  static constexpr int S = ct::slots(C), N = ct::logit_columns(C), H = C.hidden, vocabulary = 11;
  Asked asked;
  std::vector<T> x;
  Floats logits, given_weight, bias, select_bias, expert_scale;
  Ids token_ids, given, table;
  std::vector<R> router, noise;

  explicit RouterCase(Asked a) : asked(a) {
    cases::Random random{static_cast<std::uint64_t>(C.experts * 1009 + C.top_k) + static_cast<std::uint64_t>(a.tokens) * 31 + static_cast<std::uint64_t>(a.like) * 7};
    auto const normals = [&](std::int64_t n, double size, double middle) {
      Floats v;
      for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(middle + size * random.normal()));
      return v;
    };
    bias = normals(N, 1, 0), select_bias = normals(ct::candidates(C), 0.25, -0.25), expert_scale = normals(C.experts, 0.3, 1);
    for (int i = 0; i < vocabulary * C.top_k; ++i) table.push_back(random.below(ct::candidates(C)));
    for (std::int64_t i = 0; i < std::int64_t{N} * H; ++i) router.push_back(number<R>(random)), noise.push_back(number<R>(random));
    std::int64_t const n = a.tokens;
    for (std::int64_t t = 0; t < n; ++t)
      for (std::int64_t h = 0; h < H + a.x_gap; ++h) x.push_back(h < H ? number<T>(random) : ct::from_float<T>(ct::math::quiet_nan));
    if (n == 0) x.resize(1);
    logits.assign(sized(n * (N + a.gap)), -5), given.assign(sized(n * (S + a.gap)), -5), given_weight.assign(sized(n * (S + a.gap)), -5), token_ids.assign(sized(n), 0);
    for (std::int64_t t = 0; t < n; ++t) {
      bool const broken_row = a.like == Like::broken && random.one_in(3);
      for (int e = 0; e < N; ++e) logits[static_cast<std::size_t>(t * (N + a.gap) + e)] = logit(random, broken_row);
      for (int s = 0; s < S; ++s) {
        std::int32_t const id = random.one_in(5) ? -1 : C.router.select == ct::Select::expert_choice ? s : random.below(ct::candidates(C));
        given[static_cast<std::size_t>(t * (S + a.gap) + s)] = id, given_weight[static_cast<std::size_t>(t * (S + a.gap) + s)] = static_cast<float>(random.normal());
      }
      token_ids[static_cast<std::size_t>(t)] = random.below(vocabulary);
    }
  }

  ct::Weights<C> raw() const {
    ct::Weights<C> w{};
    w.router.data = router.data(), w.noise.data = noise.data(), w.router_bias = bias.data(), w.select_bias = select_bias.data(), w.expert_scale = expert_scale.data();
    w.table = {table.data(), vocabulary}, w.router_scale = scale;
    static ct::element_t<C.shared.weights> const nothing[256]{};
    if constexpr (C.shared.ffn > 0) w.shared.gate.data = w.shared.up.data = w.shared.down.data = nothing;
    return w;
  }
  static constexpr float scale = C.capacity.normalise == ct::When::after ? 1.f : 0.75f;

 private:
  template <class V> V number(cases::Random& random) const {
    return ct::from_float<V>(asked.whole ? static_cast<float>(random.below(7) - 3) / 4 : static_cast<float>(random.normal()) / 2);
  }
  float logit(cases::Random& random, bool broken_row) const {
    if (asked.like == Like::equal) return -0.625f;
    if (asked.like == Like::ties) return static_cast<float>(random.below(5) - 2) * (random.one_in(2) ? 0.5f : -0.5f);        // zeros of both signs
    if (asked.like == Like::huge) return static_cast<float>(random.normal() * (random.one_in(4) ? 1e37 : 80));
    if (broken_row || (asked.like == Like::broken && random.one_in(19))) {
      int const kind = random.below(3);
      return kind == 0 ? ct::math::quiet_nan : kind == 1 ? ct::math::infinity : -ct::math::infinity;
    }
    return static_cast<float>(2 * random.normal());
  }
};

// What a router makes: rows with the gaps between them, which nobody touches.
struct Routed {
  Ids expert;
  Floats weight, shared, logits;
};
template <ct::Config C> Routed blank(Asked const& a) {
  std::int64_t const n = a.tokens;
  auto const size = [&](int columns) { return sized(n * (columns + a.gap)); };
  return {Ids(size(ct::slots(C)), -9), Floats(size(ct::slots(C)), -9), Floats(size(ct::shared_rows(C)), -9), Floats(size(ct::logit_columns(C)), -9)};
}
template <ct::Config C> ct::Routing<C> routing_of(Asked const& a, std::int32_t* expert, float* weight, float* shared, float* logits) {
  std::int64_t const n = a.tokens;
  return {.expert = {expert, n, ct::slots(C) + a.gap}, .weight = {weight, n, ct::slots(C) + a.gap}, .logits = {a.logits ? logits : nullptr, n, ct::logit_columns(C) + a.gap},
          .shared = {shared, n, ct::shared_rows(C) + a.gap}};
}
template <ct::Config C> ct::Inputs<C> inputs_of(Asked const& a, ct::element_t<C.dtype> const* x, float const* logits, std::int32_t const* token_ids, std::int32_t* given, float* given_weight) {
  std::int64_t const n = a.tokens;
  ct::Inputs<C> in{.x = {nullptr, n}, .logits = {logits, n, ct::logit_columns(C) + a.gap}, .token_ids = token_ids, .sequence = a.sequence, .seed = a.seed};
  if (C.router.input == ct::RouterInput::hidden) in.x = {x, n, C.hidden + a.x_gap};
  if (C.router.input == ct::RouterInput::separate) in.router_x = {x, n, C.hidden + a.x_gap};
  if (a.replay || C.router.input == ct::RouterInput::given) in.routing = {.expert = {given, n, ct::slots(C) + a.gap}, .weight = {given_weight, n, ct::slots(C) + a.gap}};
  return in;
}

template <ct::Config C> Routed by_host(RouterCase<C> const& k) {
  Routed r = blank<C>(k.asked);
  ct::Host const on{.threads = 1};
  using Pack = ct::Packer<C, ct::Host>;
  std::vector<std::byte> memory(Pack::bytes(k.vocabulary) + 256), scratch(ct::Router<C, ct::Host>{}.workspace_bytes(on, k.asked.tokens));
  std::byte* const packed = memory.data() + (256 - reinterpret_cast<std::uintptr_t>(memory.data()) % 256) % 256;
  Pack pack{on, {packed, Pack::bytes(k.vocabulary)}, k.vocabulary};
  pack.router(k.raw());
  Ids given = k.given;
  Floats given_weight = k.given_weight;
  ct::Router<C, ct::Host>{}(on, inputs_of<C>(k.asked, k.x.data(), k.logits.data(), k.token_ids.data(), given.data(), given_weight.data()), {.data = packed},
                            routing_of<C>(k.asked, r.expert.data(), r.weight.data(), r.shared.data(), r.logits.data()), scratch);
  return r;
}

// What a layer ahead may be: a kernel that writes all that the router is about to read.
template <class T> struct Copied {
  T const* from;
  T* to;
  std::int64_t n;
  COTERIE_DEVICE void copy() const {
    for (std::int64_t i = threadIdx.x; i < n; i += blockDim.x) to[i] = from[i];
  }
};
template <class T> __global__ void give_kernel(Copied<T> x, Copied<float> logits, Copied<float> weight, Copied<std::int32_t> expert, Copied<std::int32_t> ids) {
  x.copy(), logits.copy(), weight.copy(), expert.copy(), ids.copy();
}

// A case on the device, with nothing behind any of its memory.
template <ct::Config C, class Stage = ct::Router<C, ct::Cuda>> struct OnDevice {
  template <class T> struct Given {
    explicit Given(std::vector<T> const& v) : from(v), to(v.size()) {}
    Copied<T> copied() const { return {from.data(), to.data(), static_cast<std::int64_t>(to.size())}; }
    simt::Array<T> from, to;
  };
  Asked asked;
  std::size_t shift, bytes;
  simt::Array<std::byte> packed;
  Given<ct::element_t<C.dtype>> x;
  Given<float> logits_in, given_weight;
  Given<std::int32_t> given, token_ids;
  simt::Array<std::int32_t> expert;
  simt::Array<float> weight, shared, logits;
  simt::Array<std::byte> scratch;

  OnDevice(ct::Cuda const& on, RouterCase<C> const& k, std::size_t scratch_shift = 0)
      : asked(k.asked), shift(scratch_shift), bytes(Stage{}.workspace_bytes(on, asked.tokens)), packed(ct::Packer<C, ct::Cuda>::bytes(k.vocabulary)),
        x(k.x), logits_in(k.logits), given_weight(k.given_weight), given(k.given), token_ids(k.token_ids), expert(blank<C>(asked).expert),
        weight(blank<C>(asked).weight), shared(blank<C>(asked).shared), logits(blank<C>(asked).logits), scratch(sized(static_cast<std::int64_t>(shift + bytes))) {
    ct::Packer<C, ct::Cuda> pack{on, {packed.data(), packed.size()}, k.vocabulary};
    pack.router(k.raw());
  }
  ct::Inputs<C> inputs() const { return inputs_of<C>(asked, x.to.data(), logits_in.to.data(), token_ids.to.data(), given.to.data(), given_weight.to.data()); }
  ct::Routing<C> routing() const { return routing_of<C>(asked, expert.data(), weight.data(), shared.data(), logits.data()); }
  ct::PackedView<C, ct::Cuda> view() const { return {.data = packed.data()}; }
  std::span<std::byte> workspace() const { return {scratch.data() + shift, bytes}; }
  // Enqueues only.
  void run(ct::Cuda const& on) const {
    ct::launch(give_kernel<ct::element_t<C.dtype>>, ct::Launch{.grid = 1, .block = 64}, on.stream, ct::Where::here(), x.copied(), logits_in.copied(),
               given_weight.copied(), given.copied(), token_ids.copied());
    Stage{}(on, inputs(), view(), routing(), workspace());
  }
  Routed routed() const { return {expert.get(), weight.get(), shared.get(), logits.get()}; }
};

// The first element that differs; NaN is NaN.
inline std::string difference(Routed const& got, Routed const& want) {
  auto const first = [](char const* name, Floats const& a, Floats const& b) {
    for (std::size_t i = 0; i < b.size(); ++i)
      if (std::memcmp(&a[i], &b[i], sizeof a[i]) != 0 && !(ct::is_nan(a[i]) && ct::is_nan(b[i])))
        return std::string(name) + "[" + std::to_string(i) + "] is " + std::to_string(a[i]) + ", want " + std::to_string(b[i]) + ", bits apart: " +
               std::to_string(ct::math::bits_of(a[i]) - ct::math::bits_of(b[i]));
    return std::string();
  };
  for (std::size_t i = 0; i < want.expert.size(); ++i)
    if (got.expert[i] != want.expert[i]) return "expert[" + std::to_string(i) + "] is " + std::to_string(got.expert[i]) + ", want " + std::to_string(want.expert[i]);
  for (std::string const& s : {first("logits", got.logits, want.logits), first("weight", got.weight, want.weight), first("shared", got.shared, want.shared)})
    if (!s.empty()) return s;
  return {};
}

// A case, run by the device as configured: empty, or how it differs from the host's routing, bit for bit.
template <ct::Config C, class Stage = ct::Router<C, ct::Cuda>> struct Same {
  RouterCase<C> k;
  Routed want;
  explicit Same(Asked const& a) : k(a), want(by_host(k)) {}
  std::string operator()() const {
    ct::Cuda on{};
    on.arch = k.asked.arch;
    OnDevice<C, Stage> const at(on, k);
    at.run(on);
    return difference(at.routed(), want);
  }
};
template <ct::Config C> void check(On<C>, Asked const& a, int schedules = 18) {
  CAPTURE(C.experts);
  CAPTURE(C.top_k);
  CAPTURE(a.tokens);
  CAPTURE(a.like);
  CAPTURE(a.seed);
  CAPTURE(ct::name(a.arch));
  CHECK(simt::survives(schedules, Same<C>(a)) == "");
}

#if defined(COTERIE_SIMT)
// All kernels of a router, but the one that gives it its inputs and who is behind that: cuda_tests::overlapping.
template <ct::Config C> std::string overlapping(On<C>, Asked const& a) {
  ct::Cuda const on{};
  OnDevice<C> const at(on, RouterCase<C>(a));
  return overlapping(2, [&] {
    at.run(on);
    ct::Router<C, ct::Cuda>{}(on, at.inputs(), at.view(), at.routing(), at.workspace());                 // behind the last kernel of the first
    ct::check(cudaDeviceSynchronize());
  });
}
#endif

// A config that routes the caller's logits, unless r says what it reads: the experts behind it are as small as can be.
constexpr ct::Config of(int experts, int top_k, ct::RouterConfig r) {
  r.input = r.input == ct::RouterInput::hidden ? ct::RouterInput::logits : r.input;
  return {.experts = experts, .top_k = top_k, .hidden = 1, .ffn = 1, .dtype = ct::DType::fp32, .weights = ct::DType::fp32, .router = r};
}
constexpr ct::Config with_null(ct::Config c, int identity, int skip) {
  c.expert.identity = identity, c.expert.skip = skip;
  return c;
}
constexpr ct::Config with_shared(ct::Config c, int count) {
  c.shared.ffn = count, c.shared.count = count, c.shared.mix = ct::SharedMix::router_rows;
  return c;
}
constexpr ct::Config with_capacity(ct::Config c, ct::CapacityConfig capacity) {
  c.capacity = capacity;
  return c;
}
constexpr ct::Config in_bf16(ct::Config c) {
  c.dtype = ct::DType::bf16, c.router.precision = ct::Precision::model, c.router.round_weight = 1;
  return c;
}
constexpr ct::RouterConfig groups(ct::RouterConfig r, int groups, int kept, ct::GroupScore score, ct::Fill fill) {
  r.select = ct::Select::group_top_k, r.groups = groups, r.groups_kept = kept, r.group_score = score, r.group_fill = fill;
  return r;
}

template <ct::Config C> void all(On<C> on, Asked a = {}) {
  for (std::int64_t tokens : {0, 1, 7, 64, 257}) {
    a.tokens = tokens, a.gap = tokens % 3, a.logits = tokens != 7;
    check(on, a, tokens == 64 ? 18 : 3);
  }
  a.tokens = 33;
  for (Like like : {Like::ties, Like::equal, Like::broken, Like::huge}) {
    a.like = like;
    check(on, a, 3);
  }
}

}

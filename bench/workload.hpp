// What a benchmark feeds a layer: weights that are neither zero nor uniform, and new tokens before every call.
#pragma once
#include <algorithm>
#include <cmath>
#include <coterie/coterie.hpp>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>
#include "machine.hpp"
#include "trace.hpp"

namespace bench {

// The presets timed here, and a small one for quick runs.
inline constexpr Config small{.experts = 16, .top_k = 4, .hidden = 512, .ffn = 1024};
constexpr Config with_dtype(Config c, DType d) {
  c.dtype = c.weights = c.router.weights = d;
  return c;
}
constexpr Config with_weights(Config c, DType d, QuantConfig q = {}) {
  c.weights = d, c.quant = q;
  return c;
}
// The same routing over experts that take no room: for the stages that read no expert weights.
constexpr Config without_experts(Config c) {
  c.ffn = 16;
  c.shared = {};
  return c;
}

// A recorded sequence of choices, walked through call by call.
class Replay {
 public:
  Replay(int experts, int top_k) : top_k_(top_k) {
    if (char const* const file = std::getenv("COTERIE_TRACE")) read(file, experts);
    else invent(experts);
  }
  template <Config C> void next(Routing<C> const& to) {
    for (std::int64_t t = 0; t < to.expert.rows; ++t, at_ = (at_ + 1) % (ids_.size() / static_cast<std::size_t>(top_k_)))
      for (int k = 0; k < top_k_; ++k) to.expert[t][k] = ids_[at_ * static_cast<std::size_t>(top_k_) + static_cast<std::size_t>(k)];
  }

 private:
  void read(char const* file, int experts) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
      std::istringstream fields(line);
      int n = 0;
      for (int e; n < top_k_ && fields >> e && e >= 0 && e < experts; ++n) ids_.push_back(e);
      require(n == top_k_, "COTERIE_TRACE: every line must hold top_k expert numbers of this preset", n, top_k_);
    }
    require(!ids_.empty(), "COTERIE_TRACE: the file must hold at least one token", 0, 1);
  }
  void invent(int experts) {
    Random random{7};
    std::vector<std::int32_t> last, now;
    for (int t = 0; t < 4096; ++t, last = now) {
      now.clear();
      for (std::int32_t e : last) if (random.unit() < 0.5) now.push_back(e);
      while (static_cast<int>(now.size()) < top_k_) {
        auto const e = static_cast<std::int32_t>(std::pow(experts + 1.0, random.unit())) - 1;        // about 1 / (e + 1)
        if (e < experts && std::find(now.begin(), now.end(), e) == now.end()) now.push_back(e);
      }
      ids_.insert(ids_.end(), now.begin(), now.end());
    }
  }
  int top_k_;
  std::size_t at_ = 0;
  std::vector<std::int32_t> ids_;
};

// A router stage that answers with recorded choices, weights 1 / top_k; the layer's own otherwise.
template <Config C> struct ReplayRouter {
  static constexpr Config config = C;
  Replay* replay = nullptr;
  Routing<C> const* copy = nullptr;              // the choices, for the caller as well
  void operator()(Host const&, Inputs<config> const&, PackedView<config, Host>, Routing<config> const& to, std::span<std::byte>) const {
    replay->next(to);
    for (std::int64_t t = 0; t < to.weight.rows; ++t)
      for (int k = 0; k < C.top_k; ++k) {
        to.weight[t][k] = 1.f / C.top_k;
        if (copy) copy->expert[t][k] = to.expert[t][k];
      }
  }
};
template <Config C> struct ReplayStages : Stages<C, Host> { ReplayRouter<C> router; };

// Packed weights of a layer, in as many copies as it takes to outgrow every cache; packing is streamed.
template <Config C> class Workload {
 public:
  static constexpr Config config = C;
  static constexpr int E = C.experts, H = C.hidden, F = C.ffn, N = logit_columns(C);
  using V = element_t<C.dtype>;
  static constexpr std::size_t cold = std::size_t{256} << 20;
  // As packed, but without the padding of odd sizes, which no preset has.
  static constexpr double expert_bytes = is_float(C.weights) ? (gated(C.expert.act) ? 3. : 2.) * H * F * bits(C.weights) / 8
                                                             : static_cast<double>(host::PackedLayout<config>::make(E, 0).expert_stride);
  static constexpr double expert_flops = (gated(C.expert.act) ? 6. : 4.) * H * F;                    // of one row
  static std::size_t packed_bytes() { return (Packer<config, Host>::bytes() + 4095) / 4096 * 4096; }
  // Without experts a copy is what stands before them; what they would take is reserved once and never touched.
  static std::size_t copied_bytes(bool experts) { return experts ? packed_bytes() : host::PackedLayout<config>::make(E, 0).expert_panels; }
  static std::size_t copies(bool experts) { return std::min<std::size_t>(4096, (cold + copied_bytes(experts) - 1) / copied_bytes(experts)); }
  static std::size_t reserved_bytes(bool experts) { return packed_bytes() + (copies(experts) - 1) * copied_bytes(experts); }
  static double bytes_needed(bool experts) { return static_cast<double>(copies(experts) * copied_bytes(experts)); }

  explicit Workload(Host const& on, bool experts = true)
      : memory_(reserved_bytes(experts)), copied_(copied_bytes(experts)), copies_(copies(experts)), replay_(E, C.top_k) {
    Packer<config, Host> packer{on, memory_.span()};
    pack_router(packer);
    if (experts) pack_experts(packer);
    for (std::size_t i = 1; i < copies_; ++i) std::memcpy(memory_.data() + i * copied_, memory_.data(), copied_);
  }

  // Another copy at every call.
  PackedView<config, Host> next() { return {.data = memory_.data() + turn_++ % copies_ * copied_}; }
  Replay& replay() { return replay_; }

  // n new tokens, N(0,1), but for what steers the router.
  Rows<V const, H> tokens(std::int64_t n, Trace trace) {
    x_.resize(static_cast<std::size_t>(n * H));
    for (V& v : x_) v = from_float<V>(random_.normal());
    for (std::int64_t t = 0; t < n; ++t)
      for (int h = 0; h < std::min(H, steering); ++h) x_[static_cast<std::size_t>(t * H + h)] = from_float<V>(steer(trace, h));
    return {x_.data(), n};
  }

 private:
  void pack_router(Packer<config, Host>& packer) {
    auto const router = steered_router<config>(random_);
    std::vector<float> const zeros(static_cast<std::size_t>(N));
    auto const own = std::make_unique<Weights<config>>();                           // large with thousands of experts
    Weights<config>& raw = *own;
    raw.router = {.data = router.data()};
    if constexpr (C.router.bias) raw.router_bias = zeros.data();
    if constexpr (C.router.select_bias) raw.select_bias = zeros.data();
    packer.router(raw);
  }
  // Every row of every matrix is another window of one block of noise, N(0,1/inputs): setting up costs the packing alone.
  void pack_experts(Packer<config, Host>& packer) {
    constexpr DType stored = is_float(C.weights) ? C.weights : DType::bf16;          // quantised ones are packed from bf16
    using T = element_t<stored>;
    constexpr std::int64_t slide = 97, per_expert = 61;
    auto const noise = [&](std::int64_t out, std::int64_t in) {
      std::vector<T> block(static_cast<std::size_t>(out * slide + in + (E + 2) * per_expert));
      for (T& v : block) v = from_float<T>(random_.normal() / std::sqrt(static_cast<float>(in)));
      return block;
    };
    auto const up = noise(F, H), down = noise(H, F);
    for (int e = 0; e < E; ++e) {
      T const *const u = up.data() + e * per_expert, *const d = down.data() + e * per_expert;
      packer.template expert<stored>(e, {.data = u, .out_stride = slide}, {.data = u + 2 * per_expert, .out_stride = slide}, {.data = d, .out_stride = slide});
    }
  }

  host::Buffer memory_;
  std::size_t copied_, copies_, turn_ = 0;
  Replay replay_;
  Random random_{1};
  std::vector<V> x_;
};

// Memory for the maps between the stages, and the stages before the one that is timed.
template <Config C> struct Routed {
  static constexpr Config config = C;
  std::vector<std::int32_t> expert, slot, begin, token;
  std::vector<float> weight, row_weight;
  Routing<config> routing;
  Batch<config> batch;
  host::Buffer scratch;

  Routed(Host const& on, std::int64_t n)
      : expert(count(n)), slot(count(n)), begin(C.experts + 1), token(count(n)), weight(count(n)), row_weight(count(n)),
        routing{.expert = {expert.data(), n}, .weight = {weight.data(), n}},
        batch{.begin = begin.data(), .token = token.data(), .weight = row_weight.data(), .slot = {slot.data(), n}},
        scratch(std::max(Router<config, Host>{}.workspace_bytes(on, n), Dispatch<config, Host>{}.workspace_bytes(on, n))) {}
  static std::size_t count(std::int64_t n) { return static_cast<std::size_t>(n * slots(C)); }

  void route(Host const& on, Inputs<config> const& in, PackedView<config, Host> packed, Replay* replay) {
    if (replay) ReplayRouter<config>{.replay = replay}(on, in, packed, routing, scratch.span());
    else Router<config, Host>{}(on, in, packed, routing, scratch.span());
  }
  void dispatch(Host const& on, Inputs<config> const& in) { Dispatch<config, Host>{}(on, in, routing, batch, scratch.span()); }
  std::vector<std::int64_t> rows_of_experts_hit() const {
    std::vector<std::int64_t> all(C.experts), hit;
    for (std::int32_t const e : expert)
      if (e >= 0 && e < C.experts) ++all[static_cast<std::size_t>(e)];
    for (std::int64_t const r : all)
      if (r) hit.push_back(r);
    return hit;
  }
  std::int64_t experts_hit() const { return static_cast<std::int64_t>(std::set<std::int32_t>(expert.begin(), expert.end()).size()); }
  std::int64_t rows() const { return begin[C.experts]; }
};

}

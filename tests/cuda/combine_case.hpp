// What combine reads, on the device: T tokens whose slots hold real experts' rows in an order of their own, null experts or nothing;
// and what must come out, by the definition and by the host's stage.
#pragma once
#include "experts_case.hpp"
#include "product_syncs.hpp"

namespace cuda_tests {

namespace ref = ct::reference;

template <ct::Config C> class CombineCase {
 public:
  using V = ct::element_t<C.dtype>;
  static constexpr int S = ct::slots(C), W = ct::width(C), H = C.hidden;
  // Where host and device do the same arithmetic in the same order.
  static constexpr bool same_arithmetic = C.expert.latent == 0 && (C.shared.ffn == 0 || C.shared.mix == ct::SharedMix::sum || C.shared.mix == ct::SharedMix::average || C.shared.mix == ct::SharedMix::router_rows);

  // extra: between rows, beyond their columns; a multiple of 8 leaves them aligned.
  explicit CombineCase(std::int64_t tokens, Numbers kind = Numbers::real, int extra = 8, std::uint64_t seed = 1)
      : tokens_(tokens), random_(seed * 1000003 + static_cast<std::uint64_t>(H + tokens)), w_(random_, kind), x_(tokens, extra), out_(tokens * S, extra), out_from_(tokens * S, extra),
        shared_(tokens, extra), y_(tokens, extra), expert_(static_cast<std::size_t>(tokens * S)), slot_from_(expert_.size()), slot_(expert_.size()), weight_(expert_.size()),
        scratch_(ct::Combine<C, ct::Cuda>{}.workspace_bytes(ct::Cuda{}, tokens)) {
    for (std::int64_t i = 0; i < tokens * S; ++i) {
      int const e = random_.one_in(9) ? -1 : random_.below(ct::candidates(C));
      experts.push_back(e);
      slots.push_back(e >= 0 && e < C.experts ? static_cast<std::int32_t>(tokens * S - 1 - i) : -1);
      weights.push_back(static_cast<float>(kind == Numbers::whole ? random_.below(3) + 1 : random_.normal()));
    }
    x = numbers<V>(random_, tokens * H, kind, 1), out = numbers<V>(random_, tokens * S * W, kind, 1), shared = numbers<V>(random_, tokens * H, kind, 1);
  }
  std::vector<std::int32_t> experts, slots;      // [T,S]
  std::vector<float> weights;                    // [T,S]
  std::vector<V> x, out, shared;                 // [T,H], [T*S,W], [T,H]

  // After experts, slots, ... were set by hand, or at once: puts them on the device and asks the reference.
  void finish() {
    expert_.put(experts), slot_from_.put(slots), weight_.put(weights);
    x_.put(x), out_from_.put(out), shared_.put(shared);
    want_.clear();
    for (std::int64_t t = 0; t < tokens_; ++t) want_.push_back(wanted(t));
  }
  // What is wrong on this path.
  std::string failure(ct::Arch path) const {
    run(path);
    return y_.compared(C.dtype, [&](std::int64_t t) -> std::vector<ref::Real> const& { return want_[static_cast<std::size_t>(t)]; });
  }
  void run(ct::Arch path) const {
    y_.poison(), out_.poison();
    ahead(out_.view().data, out_from_.view().data, out_.elements());
    ahead(slot_.data(), slot_from_.data(), tokens_ * S);
    ct::Routing<C> routing{};
    routing.expert = {expert_.data(), tokens_}, routing.weight = {weight_.data(), tokens_};
    ct::Batch<C> batch{};
    batch.slot = {slot_.data(), tokens_};
    ct::Combine<C, ct::Cuda>{}(ct::Cuda{.arch = path}, ct::Inputs<C>{.x = x_.view()}, w_.packed.view(), routing, batch, ct::Rows<V const, W>(out_.view()), ct::Rows<V const, H>(shared_.view()),
                               y_.view(), scratch_.span());
  }
  std::vector<V> y() const { return y_.get(); }
  // The host's stage on the same numbers.
  std::vector<V> host() {
    static_assert(same_arithmetic);
    ct::Host const on{.threads = 1};
    std::vector<V> to(x.size());
    ct::Routing<C> routing{};
    routing.expert = {experts.data(), tokens_}, routing.weight = {weights.data(), tokens_};
    ct::Batch<C> batch{};
    batch.slot = {slots.data(), tokens_};
    ct::Combine<C, ct::Host>{}(on, ct::Inputs<C>{.x = {x.data(), tokens_}}, {}, routing, batch, {out.data(), tokens_ * S}, {shared.data(), tokens_}, {to.data(), tokens_}, {});
    return to;
  }

 private:
  std::vector<ref::Real> wanted(std::int64_t t) const {
    auto const first = static_cast<std::size_t>(t * S);
    std::vector<std::vector<ref::Real>> rows;
    std::vector<ref::Real> weight;
    for (std::size_t s = 0; s < static_cast<std::size_t>(S); ++s) {
      std::int32_t const row = slots[first + s];
      rows.push_back(row >= 0 ? reals(out, row, W) : std::vector<ref::Real>{});
      weight.push_back({ref::number(weights[first + s]), 0});
    }
    std::vector<ref::Real> const in = reals(x, t, H);
    std::vector<ref::Real> y = ref::routed_sum(C, &experts[first], weight.data(), rows, in);
    if (C.expert.latent) {
      if (C.expert.latent_norm == ct::LatentNorm::rms) y = ref::rms_norm(w_.weights, y);
      y = ref::to(C.dtype, y);
      std::vector<ref::Real> up;
      for (std::size_t o = 0; o < static_cast<std::size_t>(H); ++o) up.push_back(ref::to(C.dtype, ref::product(C.dtype, w_.weights.latent_up, o, y)));
      y = up;
    }
    if (C.shared.ffn) {
      std::vector<ref::Real> const add = reals(shared, t, H);
      ref::Mix const mix = ref::mix_of(C, w_.weights, in);
      for (std::size_t o = 0; o < y.size(); ++o) {
        ref::Real const a = mix.routed * y[o], b = mix.shared * add[o];
        y[o] = C.combine == ct::Accumulate::model ? ref::to(C.dtype, ref::to(C.dtype, a) + ref::to(C.dtype, b)) : a + b;
      }
    }
    return y;
  }

  std::int64_t tokens_;
  cases::Random random_;
  Checkpoint<C> w_;
  DeviceRows<V, H> x_;
  DeviceRows<V, W> out_, out_from_;
  DeviceRows<V, H> shared_, y_;
  simt::Array<std::int32_t> expert_, slot_from_, slot_;
  simt::Array<float> weight_;
  Scratch scratch_;
  std::vector<std::vector<ref::Real>> want_;
};

}

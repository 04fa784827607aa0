// A training step on the device, and its comparison with the host's.
#pragma once
#include <cuda/support.hpp>
#include <coterie/training.cuh>
#include <cstdio>
#include <cstring>
#include <memory>
#include "case.hpp"

namespace steps {

using namespace coterie;
using ct::Arch;

inline bool same(Floats const& a, Floats const& b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0; }

template <Config C, DType D = DType::fp32> class Step {
  static constexpr Config config = C;            // nvcc wants other templates named with it
  using V = element_t<C.dtype>;

 public:
  Step(Data<config> const& data, Arch arch, TrainingOptions options = {}, cudaStream_t stream = nullptr, int gap = 0)
      : data_(data), stride_(C.hidden + gap), on_{stream, arch}, raw_(filled(data)), packed_(ct::pack(Cuda{}, *raw_)), layer_(packed_.view(), {}, options), to_(new Gradients<config, D>) {
    in_ = data.inputs([&](auto const& v) { return keep(v); });
    if (gap > 0) in_.x = {keep(apart(data.x)), data.tokens, stride_};
    data.places(*to_, [&]<class E>(std::string const& name, std::int64_t n) {
      Taken t{name, static_cast<std::size_t>(n), sizeof(E), bytes(static_cast<std::size_t>(n) * sizeof(E))};
      taken_.push_back(t);
      return reinterpret_cast<E*>(t.memory);
    });
    std::int64_t const n = data.tokens;
    dy_ = keep(apart(data.dy)), dlogits_ = keep(data.dlogits), dnoise_ = keep(data.dnoise);
    y_ = reinterpret_cast<V*>(bytes(size() * sizeof(V))), dx_ = reinterpret_cast<V*>(bytes(size() * sizeof(V)));
    cache_ = scratch(layer_.cache_bytes(on_, n)), workspace_ = scratch(layer_.training_workspace_bytes(on_, n));
  }
  Result operator()(float start = 0, int overwrite = 0) const {
    for (Taken const& t : taken_) {
      if (t.size == 4) fill<float>(t, start);
      else fill<bf16>(t, start);
    }
    enqueue(overwrite);
    return result();
  }
  void put_x(std::vector<V> const& x) const { check(cudaMemcpy(const_cast<V*>(in_.x.data), x.data(), x.size() * sizeof(V), cudaMemcpyHostToDevice)); }
  void enqueue(int overwrite = 0) const {
    to_->overwrite = overwrite;
    std::int64_t const n = data_.tokens;
    layer_.forward(on_, in_, Rows<V, C.hidden>{y_, n}, cache_, workspace_);
    Rows<float const, logit_columns(C)> dlogits{}, dnoise{};
    if constexpr (Data<config>::has_logits) dlogits = {dlogits_, n};
    if constexpr (Data<config>::noisy) dnoise = {dnoise_, n};
    layer_.backward(on_, in_, cache_, Rows<V const, C.hidden>{dy_, n, stride_}, Rows<V, C.hidden>{dx_, n}, *to_, workspace_, dlogits, dnoise);
  }
  Result result() const {
    Result r;
    check(cudaDeviceSynchronize());
    for (Taken const& t : taken_) r.parts.push_back({t.name, t.size == 4 ? fetch<float>(t.memory, t.n) : fetch<bf16>(t.memory, t.n)});
    r.parts.push_back({"x", fetch<V>(reinterpret_cast<std::byte*>(dx_), size())}), r.y = fetch<V>(reinterpret_cast<std::byte*>(y_), size());
    return r;
  }
  // The same numbers at other places, for calls that are to be refused.
  struct Call {
    Cuda on;
    Inputs<config> in;
    Rows<V, C.hidden> y, dx;
    Rows<V const, C.hidden> dy;
    std::span<std::byte> cache, workspace;
    Gradients<config, D> const* to;
  };
  Call call() const {
    std::int64_t const n = data_.tokens;
    return {on_, in_, {y_, n}, {dx_, n}, {dy_, n, stride_}, cache_, workspace_, to_.get()};
  }
  Layer<config, Cuda> const& layer() const { return layer_; }
  // What differs from the router's own choices in what the cache says was chosen, after a forward pass that kept all logits.
  std::string wrongly_chosen() const {
    std::int64_t const n = data_.tokens;
    auto const k = static_cast<std::size_t>(n * slots(C)), l = static_cast<std::size_t>(n * logit_columns(C));
    std::byte *const expert = bytes(4 * k), *const weight = bytes(4 * k), *const logits = bytes(4 * l);
    Routing<config> want{.expert = {reinterpret_cast<std::int32_t*>(expert), n}, .weight = {reinterpret_cast<float*>(weight), n}, .logits = {reinterpret_cast<float*>(logits), n}};
    Router<config, Cuda>{}(on_, in_, packed_.view(), want, workspace_);
    Chosen<config> const got = layer_.chosen(on_, cache_, n);
    check(cudaDeviceSynchronize());
    auto const as_bytes = [](auto* p) { return reinterpret_cast<std::byte const*>(p); };
    if (!same(fetch<float>(as_bytes(got.routing.expert.data), k), fetch<float>(expert, k))) return "experts";
    if (!same(fetch<float>(as_bytes(got.routing.weight.data), k), fetch<float>(weight, k))) return "weights";
    return same(fetch<float>(as_bytes(got.routing.logits.data), l), fetch<float>(logits, l)) ? "" : "logits";
  }
  // y of a forward pass that keeps nothing.
  Floats plain_y() const {
    std::span<std::byte> const memory = scratch(layer_.workspace_bytes(on_, data_.tokens));
    layer_.forward(on_, in_, Rows<V, C.hidden>{y_, data_.tokens}, memory);
    check(cudaDeviceSynchronize());
    return fetch<V>(reinterpret_cast<std::byte*>(y_), size());
  }

 private:
  struct Taken {
    std::string name;
    std::size_t n, size;
    std::byte* memory;
  };
  static std::unique_ptr<Weights<config>> filled(Data<config> const& data) {
    auto raw = std::make_unique<Weights<config>>();
    data.raw(*raw);
    return raw;
  }
  std::size_t size() const { return static_cast<std::size_t>(data_.tokens * C.hidden); }
  std::byte* bytes(std::size_t n) const { return memory_.emplace_back(new simt::Array<std::byte>(n ? n : 1))->data(); }
  std::span<std::byte> scratch(std::size_t n) const { return {bytes(n + 13) + 13, n}; }      // aligned to nothing, and no byte more
  // Rows of the caller's, stride_ apart, with NaN between them; behind the last one is nothing.
  std::vector<V> apart(std::vector<V> const& v) const {
    auto const width = static_cast<std::size_t>(C.hidden), stride = static_cast<std::size_t>(stride_);
    std::vector<V> to;
    for (std::size_t t = 0; t * width < v.size() && v.size() >= width; ++t) {
      to.resize(t * stride, from_float<V>(__builtin_nanf("")));
      to.insert(to.end(), v.begin() + static_cast<std::ptrdiff_t>(t * width), v.begin() + static_cast<std::ptrdiff_t>((t + 1) * width));
    }
    if (to.empty()) to.resize(1);
    return to;
  }
  template <class T> T* keep(std::vector<T> const& v) const {
    T* const to = reinterpret_cast<T*>(bytes(v.size() * sizeof(T)));
    check(cudaMemcpy(to, v.data(), v.size() * sizeof(T), cudaMemcpyHostToDevice));
    return to;
  }
  template <class T> static void fill(Taken const& t, float value) {
    std::vector<T> const v(t.n, ct::from_float<T>(value));
    check(cudaMemcpy(t.memory, v.data(), t.n * sizeof(T), cudaMemcpyHostToDevice));
  }
  template <class T> static Floats fetch(std::byte const* from, std::size_t n) {
    std::vector<T> v(n);
    check(cudaMemcpy(v.data(), from, n * sizeof(T), cudaMemcpyDeviceToHost));
    return floats(v);
  }

  Data<config> const& data_;
  std::int64_t stride_;
  Cuda on_;
  std::unique_ptr<Weights<config>> raw_;
  Packed<config, Cuda> packed_;
  Layer<config, Cuda> layer_;
  std::unique_ptr<Gradients<config, D>> to_;
  Inputs<config> in_;
  mutable std::vector<std::unique_ptr<simt::Array<std::byte>>> memory_;
  std::vector<Taken> taken_;
  float const *dlogits_, *dnoise_;
  V const* dy_;
  V *y_, *dx_;
  std::span<std::byte> cache_, workspace_;
};

inline std::string other_bits(Result const& a, Result const& b) {
  for (std::size_t i = 0; i < a.parts.size(); ++i)
    if (!same(a.parts[i].values, b.parts[i].values)) return "other bits in " + a.parts[i].name;
  return same(a.y, b.y) ? "" : "other bits in y";
}

// bound: relative to the largest of each kind, of `least` at least.
template <Config C> void agree(char const* name, double bound, double least = 0.02, std::int64_t tokens = 13) {
  Data<C> const data(tokens, 21);
  Result const want = on_host<C>(data, 0, 0);
  for (Arch arch : cuda_tests::arches()) {
    Step<C> const step(data, arch);
    Result got;
    CHECK(simt::failure_of([&] { got = step(); }) == "");
    Apart const a = apart(got, want, least);
    INFO(std::string(name), " on ", std::string(ct::name(arch)), ": ", a.where);
    CHECK(a.error < bound);
    std::printf("training on cuda, %s, %s: worst difference from the host's %.1e (%s)\n", name, ct::name(arch), a.error, a.where.c_str());
    CHECK(same(step.plain_y(), got.y));
    CHECK(simt::failure_of([&] { return other_bits(got, Step<C>(data, arch, {.recompute = 1, .logits = 1})()); }) == "");
    CHECK(simt::failure_of([&] { return other_bits(got, step(__builtin_nanf(""), 1)); }) == "");       // overwritten: what was there is not read
  }
}

}

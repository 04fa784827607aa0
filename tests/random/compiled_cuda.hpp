// One config's layer on the GPU, or in the emulator, behind the interface of cases.hpp: what comes and goes is host memory.
#pragma once
#include <coterie/cuda.cuh>
#include <simt/array.hpp>
#if defined(COTERIE_SIMT)
#include "schedules.hpp"
#endif
#include "compiled.hpp"

namespace cases {

template <ct::Config C, ct::DType S = C.weights>
class CompiledCuda final : public Compiled<C, S> {
  static constexpr ct::Config mine = C;          // nvcc wants other templates named with it
  using Base = Compiled<mine, S>;
  using V = ct::element_t<mine.dtype>;

 public:
  ct::Arch arch = ct::Arch::best;
  int schedule = 0;                              // of 18, in the emulator; each number of threads that the host would use adds 5

  ct::Layer<mine, ct::Cuda> layer() const { return ct::Layer<mine, ct::Cuda>{packed_->view()}; }       // once packed

  void pack(ct::Host const&, Tensors const& from) override { packed_.reset(new ct::Packed<mine, ct::Cuda>{ct::pack(ct::Cuda{}, Base::raw(from))}); }
  std::size_t workspace_bytes(ct::Host const&, std::int64_t tokens) const override { return layer().workspace_bytes(ct::Cuda{}, tokens); }

  void forward(ct::Host const& host, Feed const& feed, void* y, std::span<std::byte> workspace) const override {
    use_schedule(host);
    Given const given{feed};
    Memory const to{y, static_cast<std::size_t>(feed.tokens * feed.y_stride) * sizeof(V)};
    // As far from a round address as the caller's, and ending with the allocation, so that nothing is hidden behind it.
    std::size_t const shift = reinterpret_cast<std::uintptr_t>(workspace.data()) % 256;
    simt::Array<std::byte> const memory{shift + workspace.size()};
    layer().forward(gpu(feed), given.in, ct::Rows<V, C.hidden>{to.values(), feed.tokens, feed.y_stride}, {memory.data() + shift, workspace.size()});
    to.fetch(y);
  }

  void stages(ct::Host const& host, Feed const& feed, StageRun& run, unsigned char poison) const override {
    use_schedule(host);
    constexpr int slots = ct::slots(C), width = ct::width(C), shared_rows = ct::shared_rows(C), columns = ct::logit_columns(C);
    ct::Cuda const on = gpu(feed);
    std::int64_t const n = feed.tokens, rows = ct::rows_bound(C, n);
    auto const count = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    auto const ints = [&](std::vector<std::int32_t>& v, std::int64_t size) { v.assign(count(size), -7); return Memory{v.data(), v.size() * 4}; };
    auto const floats = [&](std::vector<float>& v, std::int64_t size) { v.assign(count(size), -7); return Memory{v.data(), v.size() * 4}; };
    auto const values = [&](Bytes& v, std::int64_t size) { v.assign(count(size) * sizeof(V), std::byte{poison}); return Memory{v.data(), v.size()}; };
    Memory const expert = ints(run.expert, n * slots), slot = ints(run.slot, n * slots), begin = ints(run.begin, C.experts + 1), token = ints(run.token, rows);
    Memory const weight = floats(run.weight, n * slots), row_weight = floats(run.row_weight, rows), shared_weight = floats(run.shared_weight, n * shared_rows), logits = floats(run.logits, n * columns);
    Bytes latent;
    Memory const out_rows = values(run.out, rows * width), shared_out = values(run.shared, C.shared.ffn ? n * C.hidden : 0), y_rows = values(run.y, n * C.hidden),
                 z = values(latent, C.expert.latent ? n * width : 0);
    Given const given{feed};
    auto const scratch = [&](auto const& stage, auto const& call) {
      simt::Array<std::byte> const memory{ct::scratch_bytes(stage, on, n)};
      call(std::span<std::byte>{memory.data(), memory.size()});
    };
    ct::Stages<mine, ct::Cuda> const stage{};
    auto const packed = packed_->view();
    ct::Routing<mine> const routing{.expert = {expert.ints(), n}, .weight = {weight.floats(), n}, .logits = {logits.floats(), n}, .shared = {shared_weight.floats(), n}};
    ct::Batch<mine> const batch{.begin = begin.ints(), .token = token.ints(), .weight = row_weight.floats(), .slot = {slot.ints(), n}};
    ct::Rows<V, width> const out{out_rows.values(), rows};
    scratch(stage.router, [&](std::span<std::byte> s) { stage.router(on, given.in, packed, routing, s); });
    run.before_drop = run.weight;
    weight.fetch(run.before_drop.data());
    scratch(stage.dispatch, [&](std::span<std::byte> s) { stage.dispatch(on, given.in, routing, batch, s); });
    ct::Rows<V const, width> x{};
    if constexpr (C.expert.latent > 0) {
      ct::Rows<V, width> const to{z.values(), n};
      scratch(stage.latent, [&](std::span<std::byte> s) { stage.latent(on, given.in.x, packed, to, s); });
      x = to;
    } else {
      x = given.in.x;
    }
    scratch(stage.experts, [&](std::span<std::byte> s) { stage.experts(on, x, packed, batch, out, s); });
    ct::Rows<V, C.hidden> shared{};
    if constexpr (C.shared.ffn > 0) {
      shared = {shared_out.values(), n};
      scratch(stage.shared, [&](std::span<std::byte> s) { stage.shared(on, given.in, packed, routing, shared, s); });
    }
    scratch(stage.combine, [&](std::span<std::byte> s) { stage.combine(on, given.in, packed, routing, batch, out, shared, ct::Rows<V, C.hidden>{y_rows.values(), n}, s); });
    expert.fetch(run.expert.data()), slot.fetch(run.slot.data()), begin.fetch(run.begin.data()), token.fetch(run.token.data());
    weight.fetch(run.weight.data()), row_weight.fetch(run.row_weight.data()), shared_weight.fetch(run.shared_weight.data()), logits.fetch(run.logits.data());
    out_rows.fetch(run.out.data()), shared_out.fetch(run.shared.data()), y_rows.fetch(run.y.data());
  }

 private:
  // Device memory that begins as a copy of host memory.
  class Memory {
   public:
    Memory(void const* from, std::size_t bytes) : array_(bytes ? bytes : 1), bytes_(bytes) {
      if (bytes) ct::check(cudaMemcpy(array_.data(), from, bytes, cudaMemcpyHostToDevice));
    }
    std::int32_t* ints() const { return reinterpret_cast<std::int32_t*>(array_.data()); }
    float* floats() const { return reinterpret_cast<float*>(array_.data()); }
    V* values() const { return reinterpret_cast<V*>(array_.data()); }
    void fetch(void* to) const {
      if (bytes_) ct::check(cudaMemcpy(to, array_.data(), bytes_, cudaMemcpyDeviceToHost));
    }

   private:
    simt::Array<std::byte> array_;
    std::size_t bytes_;
  };
  // A feed on the device.
  struct Given {
    explicit Given(Feed const& f)
        : x(f.x.data(), f.x.size()), router_x(f.router_x.data(), f.router_x.size()), logits(f.logits.data(), f.logits.size() * 4), weight(f.given_weight.data(), f.given_weight.size() * 4),
          token_ids(f.token_ids.data(), f.token_ids.size() * 4), expert(f.given_expert.data(), f.given_expert.size() * 4), in(Base::feed_view(f)) {
      if (in.x.data) in.x.data = x.values();
      if (in.router_x.data) in.router_x.data = router_x.values();
      if (in.logits.data) in.logits.data = logits.floats();
      if (in.token_ids) in.token_ids = token_ids.ints();
      if (in.routing.expert.data) in.routing.expert.data = expert.ints();
      if (in.routing.weight.data) in.routing.weight.data = weight.floats();
    }
    Memory x, router_x, logits, weight, token_ids, expert;
    ct::Inputs<mine> in;
  };

  void use_schedule([[maybe_unused]] ct::Host const& host) const {
#if defined(COTERIE_SIMT)
    simt::use_schedule((schedule + 5 * host.threads) % 18);
#endif
  }
  // The fast paths refuse rows of 16-bit values that are not aligned.
  ct::Cuda gpu(Feed const& feed) const {
    ct::Cuda on{};
    on.arch = feed.x_stride * static_cast<std::int64_t>(sizeof(V)) % 16 ? ct::Arch::plain : arch;
    return on;
  }
  std::unique_ptr<ct::Packed<mine, ct::Cuda>> packed_;
};

}

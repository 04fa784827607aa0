// A layer from a checkpoint's files straight into the packed layout: one expert at a time, only this layer's tensors.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "../host/pack.hpp"
#include "checkpoint_files.hpp"
#include "coded.hpp"
#include "slices.hpp"

namespace coterie { inline namespace v0 {

// Called after every tensor or expert with the bytes read so far and in all.
struct Progress {
  void (*call)(void* context, std::uint64_t done, std::uint64_t total) = nullptr;
  void* context = nullptr;
};

namespace io {

// P: what packs, router() and expert() as Packer has them.
template <Config C, class P> class Loader {
 public:
  static constexpr Config config = C;
  static constexpr std::size_t E = C.experts, F = C.ffn, H = C.hidden, W = width(C), S = C.shared.ffn;

  Loader(Checkpoint const& from, int layer, Progress progress, Where at)
      : files_(from.files()), layout_(from.names(layer, at).layout), progress_(progress), at_(at) {
    for (TensorPlace const& p : from.tensors(layer, at)) {
      by_part_[static_cast<std::size_t>(p.part)].push_back(p);                 // of experts, in their order
      total_ += p.part == Part::outside ? 0 : p.bytes();
    }
  }

  // Rows of the layer's table, which a packer must know beforehand.
  std::int64_t table_rows() const {
    TensorInfo const* const table = find(Part::table);
    return table ? table_rows(*table) : 0;
  }
  void pack_into(P& packer) {
    pack_rest(packer);
    for (int e = 0; e < C.experts; ++e) {
      if (place(Part::down, e)->coding.format != Format::numbers) {
        pack_coded(packer, e);
        continue;
      }
      ExpertSlices of{{.tensor = find(Part::gate, e)}, {.tensor = find(Part::up, e)}, {.tensor = find(Part::down, e)}};
      if (TensorInfo const* const fused = find(Part::gate_up)) of.gate.tensor = of.up.tensor = fused;
      of = slices(layout_, of, e, C.ffn, width(C));
      switch (of.up.tensor->dtype) {
        case Stored::f32: pack_expert<DType::fp32>(packer, e, of); break;
        case Stored::bf16: pack_expert<DType::bf16>(packer, e, of); break;
        case Stored::f16: pack_expert<DType::fp16>(packer, e, of); break;
        default: refuse_type(files_, *of.up.tensor, at_);
      }
    }
  }

 private:
  TensorPlace const* place(Part part, int expert = -1) const {
    auto const& of_part = by_part_[static_cast<std::size_t>(part)];
    std::size_t const place = layout_ == Layout::separate && expert >= 0 ? static_cast<std::size_t>(expert) : 0;
    return place < of_part.size() ? &of_part[place] : nullptr;
  }
  TensorInfo const* find(Part part, int expert = -1) const {
    TensorPlace const* const p = place(part, expert);
    return p ? p->tensor : nullptr;
  }
  // Not the first dimension: leading ones of a file's shape mean nothing.
  static std::int64_t table_rows(TensorInfo const& t) { return static_cast<std::int64_t>(t.bytes() * 8 / static_cast<std::uint64_t>(bits(t.dtype))) / C.top_k; }
  void report(std::uint64_t bytes) {
    done_ += bytes;
    if (progress_.call) progress_.call(progress_.context, done_, total_);
  }
  template <class T> std::vector<T> read(Part part, int expert = -1) {
    TensorInfo const* const t = find(part, expert);
    if (!t) return {};
    std::vector<T> all = read_all_as<T>(files_, *t, at_);
    report(t->bytes());
    return all;
  }
  // The same of a matrix, which may be quantised.
  template <class T> std::vector<T> read_matrix(Part part, MatrixShape m) {
    TensorPlace const* const p = place(part);
    if (!p || p->coding.format == Format::numbers) return read<T>(part);
    CodedMatrix coded;
    coded.read(files_, *p, 0, 1, m, false, coded_scratch_, at_);
    std::vector<T> all(static_cast<std::size_t>(m.outputs * m.inputs));
    dequantise(coded.codes(), p->coding, all.data());
    report(p->bytes());
    return all;
  }

  void pack_rest(P& packer) {
    using Router = element_t<C.router.weights>;
    using Shared = element_t<C.shared.weights>;
    using Latent = element_t<C.dtype>;
    auto const router = read<Router>(Part::router);
    auto const router_bias = read<float>(Part::router_bias), select_bias = read<float>(Part::select_bias), expert_scale = read<float>(Part::expert_scale);
    auto const gate = read_matrix<Shared>(Part::shared_gate, {S, H}), up = read_matrix<Shared>(Part::shared_up, {S, H}), down = read_matrix<Shared>(Part::shared_down, {H, S});
    auto const mix = read<Shared>(Part::shared_mix);
    auto const latent_down = read_matrix<Latent>(Part::latent_down, {W, H}), latent_up = read_matrix<Latent>(Part::latent_up, {H, W});
    std::vector<std::int32_t> table;
    Weights<config> raw;
    raw.router.data = router.data();
    raw.router_bias = router_bias.data(), raw.select_bias = select_bias.data(), raw.expert_scale = expert_scale.data();
    raw.shared.gate.data = gate.data(), raw.shared.up.data = up.data(), raw.shared.down.data = down.data(), raw.shared.mix.data = mix.data();
    raw.latent.down.data = latent_down.data(), raw.latent.up.data = latent_up.data();
    if (TensorInfo const* const t = find(Part::table)) {
      table = read_table(files_, *t, candidates(C), at_);
      raw.table = {table.data(), table_rows(*t)};
      report(t->bytes());
    }
    std::vector<float> const biases = read_biases(raw);
    packer.router(raw, at_);
  }
  // Per-expert biases as fp32: gate [E][F], up [E][F], down [E][W], one after the other.
  std::vector<float> read_biases(Weights<config>& raw) {
    std::vector<float> all;
    if constexpr (C.expert.bias) {
      all.resize(E * (2 * F + W));
      float *const gate = all.data(), *const up = gate + E * F, *const down = up + E * F;
      auto const fused = read<float>(Part::gate_up_bias), all_down = layout_ == Layout::separate ? std::vector<float>() : read<float>(Part::down_bias);
      for (std::size_t e = 0; e < E; ++e) {
        auto const put = [&](Part part, float* to, std::size_t n) {
          auto const one = read<float>(part, static_cast<int>(e));
          if (!one.empty()) std::memcpy(to, one.data(), n * sizeof(float));
        };
        if (!fused.empty())                                                    // gpt-oss: gate and up in turn
          for (std::size_t j = 0; j < F; ++j) gate[e * F + j] = fused[(e * F + j) * 2], up[e * F + j] = fused[(e * F + j) * 2 + 1];
        if (layout_ == Layout::separate)
          put(Part::gate_bias, gate + e * F, F), put(Part::up_bias, up + e * F, F), put(Part::down_bias, down + e * W, W);
        else std::memcpy(down + e * W, all_down.data() + e * W, W * sizeof(float));
        raw.gate_bias[e] = gate + e * F, raw.up_bias[e] = up + e * F, raw.down_bias[e] = down + e * W;
      }
    }
    return all;
  }

  template <DType D> void pack_expert(P& packer, int e, ExpertSlices const& of) {
    using T = element_t<D>;
    auto const view = [&](Slice const& s, std::vector<std::byte>& scratch, bool read) -> T const* {
      if (!s.tensor) return nullptr;
      if (dtype_of(s.tensor->dtype) != D)
        files_.reject(*s.tensor, std::string(" is stored as ") + std::string(coterie::name(s.tensor->dtype)) + ", want " + coterie::name(D) + ", as its expert's others", at_);
      scratch.resize(static_cast<std::size_t>(s.elements) * sizeof(T));
      if (read) {
        files_.read(*s.tensor, s.first * sizeof(T), scratch, at_);
        report(scratch.size());
      }
      return reinterpret_cast<T const*>(scratch.data()) + s.offset;
    };
    bool const fused = of.gate.tensor == of.up.tensor;
    Matrix<D, C.ffn, width(C)> const gate{view(of.gate, scratch_[0], true), of.gate.out_stride, of.gate.in_stride};
    Matrix<D, C.ffn, width(C)> const up{view(of.up, scratch_[fused ? 0 : 1], !fused), of.up.out_stride, of.up.in_stride};
    Matrix<D, width(C), C.ffn> const down{view(of.down, scratch_[2], true), of.down.out_stride, of.down.in_stride};
    packer.expert(e, gate, up, down, at_);
  }

  // Quantised as the Config has it: codes as they are. As anything else: numbers, rounded or quantised anew.
  void pack_coded(P& packer, int e) {
    std::int64_t const experts = layout_ == Layout::separate ? 1 : C.experts, own = layout_ == Layout::separate ? 0 : e;
    auto const read_coded = [&](CodedMatrix& into, Part part, MatrixShape m, bool interleaved) {
      TensorPlace const& p = *place(part, e);
      into.read(files_, p, own, experts, m, interleaved, coded_scratch_, at_);
      report(p.bytes() / static_cast<std::uint64_t>(experts));
    };
    bool const fused = place(Part::gate_up) != nullptr;
    if (fused) read_coded(coded_[0], Part::gate_up, {2 * C.ffn, W}, true);
    else if (gated(C.expert.act)) read_coded(coded_[0], Part::gate, {F, W}, false);
    if (!fused) read_coded(coded_[1], Part::up, {F, W}, false);
    read_coded(coded_[2], Part::down, {W, F}, false);
    Codes const gate = fused ? coded_[0].codes(0) : gated(C.expert.act) ? coded_[0].codes() : Codes{}, up = fused ? coded_[0].codes(1) : coded_[1].codes(), down = coded_[2].codes();
    Coding const& of = place(Part::down, e)->coding;
    if constexpr (!is_float(C.weights)) {
      auto const grouped = [&](std::int64_t inputs) { return group_inputs(C.weights, C.quant, inputs) == group_inputs(of.type, of.quant, inputs); };
      if (of.type == C.weights && of.quant.group_rows == C.quant.group_rows && of.quant.zero_points == C.quant.zero_points && grouped(W) && grouped(F)) {
        auto const as_is = [](auto& to, Codes const& c) {
          to.data = reinterpret_cast<element_t<C.weights> const*>(c.data);
          to.out_stride = c.out_stride, to.in_stride = c.in_stride, to.scale = c.scale, to.zero = c.zero;
        };
        Matrix<C.weights, C.ffn, width(C)> own_gate, own_up;
        Matrix<C.weights, width(C), C.ffn> own_down;
        as_is(own_gate, gate), as_is(own_up, up), as_is(own_down, down);
        return packer.expert(e, own_gate, own_up, own_down, at_);
      }
    }
    auto const numbers = [&](Codes const& c, std::vector<float>& to) -> float const* {
      to.resize(static_cast<std::size_t>(c.outputs) * static_cast<std::size_t>(c.inputs));
      if (c.data) dequantise(c, of, to.data());
      return c.data ? to.data() : nullptr;
    };
    Matrix<DType::fp32, C.ffn, width(C)> wide_gate, wide_up;
    Matrix<DType::fp32, width(C), C.ffn> wide_down;
    wide_gate.data = numbers(gate, numbers_[0]), wide_up.data = numbers(up, numbers_[1]), wide_down.data = numbers(down, numbers_[2]);
    packer.expert(e, wide_gate, wide_up, wide_down, at_);
  }

  ShardedSafetensors const& files_;
  Layout layout_;
  std::array<std::vector<TensorPlace>, 20> by_part_{};
  std::array<CodedMatrix, 3> coded_{};
  CodedScratch coded_scratch_;
  std::array<std::vector<float>, 3> numbers_{};
  std::array<std::vector<std::byte>, 3> scratch_{};
  Progress progress_;
  std::uint64_t done_ = 0, total_ = 0;
  Where at_;
};

}

// Reads one layer for the backend of `on`: Host, or Cuda where coterie/cuda.cuh is included. The Config must mean what the
// files mean (check()); types may differ: what is stored in another float type is rounded to the Config's, and so is what
// is quantised otherwise. Memory: the packed layer, one expert as stored (quantised otherwise: and in fp32), and the router
// and shared experts once.
template <Config C, class B>
Packed<C, B> load(B const& on, Checkpoint const& from, int layer, Progress progress = {}, Where at = Where::here()) {
  check(C, from.config(layer, at), at);
  from.check_types(layer, at);
  io::Loader<C, Packer<C, B>> loader{from, layer, progress, at};
  Packer<C, B> packer{on, {}, loader.table_rows(), at};
  loader.pack_into(packer);
  return packer.finish(at);
}

// A whole float tensor as fp32: for what tensors() lists as `outside`, which the caller applies.
inline std::vector<float> read_floats(Checkpoint const& from, TensorInfo const& tensor, Where at = Where::here()) {
  return io::read_all_as<float>(from.files(), tensor, at);
}

}}

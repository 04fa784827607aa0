// A layer from a checkpoint's files straight into the packed layout: one expert at a time, only this layer's tensors.
#pragma once
#include <cstring>
#include <string>
#include <vector>

#include "../host/pack.hpp"
#include "checkpoint_files.hpp"

namespace coterie { inline namespace v0 {

// Called after every tensor or expert with the bytes read so far and in all.
struct Progress {
  void (*call)(void* context, std::uint64_t done, std::uint64_t total) = nullptr;
  void* context = nullptr;
};

namespace io {

template <class From, class To> void convert(From const* from, To* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = from_float<To>(to_float(from[i]));
}

// Reads `n` numbers from element `first` on, as T: bit for bit where they are stored so, rounded to nearest where not.
template <class T>
void read_as(ShardedSafetensors const& files, TensorInfo const& t, std::uint64_t first, std::size_t n, T* to, Where at) {
  auto const from = [&]<class From>(From) {
    if constexpr (std::is_same_v<From, T>) {
      files.read(t, first * sizeof(T), std::as_writable_bytes(std::span(to, n)), at);
    } else {
      std::array<From, 8192> part;
      for (std::size_t done = 0; done < n; done += part.size()) {
        std::size_t const some = n - done < part.size() ? n - done : part.size();
        files.read(t, (first + done) * sizeof(From), std::as_writable_bytes(std::span(part).first(some)), at);
        convert(part.data(), to + done, some);
      }
    }
  };
  switch (t.dtype) {
    case Stored::f32: return from(float{});
    case Stored::bf16: return from(bf16{});
    case Stored::f16: return from(fp16{});
    default: refuse_type(files, t, at);
  }
}
template <class T> std::vector<T> read_all_as(ShardedSafetensors const& files, TensorInfo const& t, Where at) {
  std::uint64_t n = 1;
  for (std::int64_t d : t.shape) n *= static_cast<std::uint64_t>(d);           // of a tensor whose bytes are in the file
  std::vector<T> all(static_cast<std::size_t>(n));
  read_as(files, t, 0, all.size(), all.data(), at);
  return all;
}
// A table of expert ids, I32 or I64, each below `experts`.
inline std::vector<std::int32_t> read_table(ShardedSafetensors const& files, TensorInfo const& t, int experts, Where at) {
  if (t.dtype != Stored::i64 && t.dtype != Stored::i32) files.reject(t, " is stored as " + std::string(name(t.dtype)) + ", want I64 or I32", at);
  std::size_t const size = t.dtype == Stored::i64 ? 8 : 4;
  std::vector<std::byte> raw(static_cast<std::size_t>(t.bytes()));
  files.read(t, raw, at);
  std::vector<std::int32_t> ids(raw.size() / size);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    std::int64_t id = 0;
    std::int32_t narrow = 0;
    if (size == 8) std::memcpy(&id, raw.data() + i * size, size);
    else std::memcpy(&narrow, raw.data() + i * size, size), id = narrow;
    if (id < 0 || id >= experts)
      files.reject(t, ": expert " + std::to_string(i) + ": got " + std::to_string(id) + ", want 0 to " + std::to_string(experts - 1), at);
    ids[i] = static_cast<std::int32_t>(id);
  }
  return ids;
}

// Where one expert's matrix stands: elements to read of a tensor, and how element (output, input) lies within them.
struct Slice {
  TensorInfo const* tensor = nullptr;
  std::uint64_t first = 0, elements = 0;
  std::int64_t offset = 0, out_stride = 0, in_stride = 1;
};

// gate, up and down of one expert of width f that works at width w. Fused gate and up are one slice read once.
struct ExpertSlices { Slice gate, up, down; };
inline ExpertSlices slices(Layout layout, ExpertSlices of, int expert, std::int64_t f, std::int64_t w) {
  auto const e = static_cast<std::uint64_t>(expert), matrix = static_cast<std::uint64_t>(f * w);
  bool const fused = layout == Layout::halves || layout == Layout::halves_in_out || layout == Layout::interleaved_in_out;
  std::uint64_t const wide = fused ? 2 * matrix : matrix, skip = layout == Layout::separate ? 0 : e;
  auto const set = [](Slice& s, std::uint64_t first, std::uint64_t elements, std::int64_t offset, std::int64_t out, std::int64_t in) {
    s.first = first, s.elements = elements, s.offset = offset, s.out_stride = out, s.in_stride = in;
  };
  set(of.gate, skip * wide, wide, 0, w, 1);
  set(of.up, skip * wide, wide, layout == Layout::halves ? f * w : 0, w, 1);
  set(of.down, skip * matrix, matrix, 0, f, 1);
  if (layout == Layout::flat) of.down.out_stride = 1, of.down.in_stride = w;
  if (layout == Layout::halves_in_out || layout == Layout::interleaved_in_out) {
    std::int64_t const step = layout == Layout::halves_in_out ? 1 : 2;
    set(of.gate, skip * wide, wide, 0, step, 2 * f);
    set(of.up, skip * wide, wide, layout == Layout::halves_in_out ? f : 1, step, 2 * f);
    of.down.out_stride = 1, of.down.in_stride = w;
  }
  return of;
}

template <Config C, class B> class Loader {
 public:
  static constexpr Config config = C;
  static constexpr std::size_t E = C.experts, F = C.ffn, H = C.hidden, W = width(C), S = C.shared.ffn;

  Loader(Checkpoint const& from, int layer, Progress progress, Where at)
      : files_(from.files()), layout_(from.names(layer, at).layout), progress_(progress), at_(at) {
    for (TensorPlace const& p : from.tensors(layer, at)) {
      by_part_[static_cast<std::size_t>(p.part)].push_back(p.tensor);          // of experts, in their order
      total_ += p.part == Part::outside ? 0 : p.tensor->bytes();
    }
  }

  Packed<config, B> run(B const& on) {
    TensorInfo const* const table = find(Part::table);
    Packer<config, B> packer{on, {}, table ? table_rows(*table) : 0, at_};
    pack_rest(packer);
    for (int e = 0; e < C.experts; ++e) {
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
    return packer.finish(at_);
  }

 private:
  TensorInfo const* find(Part part, int expert = -1) const {
    auto const& of_part = by_part_[static_cast<std::size_t>(part)];
    std::size_t const place = layout_ == Layout::separate && expert >= 0 ? static_cast<std::size_t>(expert) : 0;
    return place < of_part.size() ? of_part[place] : nullptr;
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

  void pack_rest(Packer<config, B>& packer) {
    using Router = element_t<C.router.weights>;
    using Shared = element_t<C.shared.weights>;
    using Latent = element_t<C.dtype>;
    auto const router = read<Router>(Part::router);
    auto const router_bias = read<float>(Part::router_bias), select_bias = read<float>(Part::select_bias), expert_scale = read<float>(Part::expert_scale);
    auto const gate = read<Shared>(Part::shared_gate), up = read<Shared>(Part::shared_up), down = read<Shared>(Part::shared_down), mix = read<Shared>(Part::shared_mix);
    auto const latent_down = read<Latent>(Part::latent_down), latent_up = read<Latent>(Part::latent_up);
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

  template <DType D> void pack_expert(Packer<config, B>& packer, int e, ExpertSlices const& of) {
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

  ShardedSafetensors const& files_;
  Layout layout_;
  std::array<std::vector<TensorInfo const*>, 20> by_part_{};
  std::array<std::vector<std::byte>, 3> scratch_{};
  Progress progress_;
  std::uint64_t done_ = 0, total_ = 0;
  Where at_;
};

}

// Reads one layer for the backend of `on`: Host, or Cuda where coterie/cuda.cuh is included. The Config must mean what the
// files mean (check()); types may differ: what is stored in another float type is rounded to the Config's. Memory: the
// packed layer, one expert as stored, and the router and shared experts once.
template <Config C, class B>
Packed<C, B> load(B const& on, Checkpoint const& from, int layer, Progress progress = {}, Where at = Where::here()) {
  check(C, from.config(layer, at), at);
  from.check_types(layer, at);
  return io::Loader<C, B>(from, layer, progress, at).run(on);
}

// A whole float tensor as fp32: for what tensors() lists as `outside`, which the caller applies.
inline std::vector<float> read_floats(Checkpoint const& from, TensorInfo const& tensor, Where at = Where::here()) {
  return io::read_all_as<float>(from.files(), tensor, at);
}

}}

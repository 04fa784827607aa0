// Packing on the host: checkpoint layout in, panels out, one expert at a time; never a second copy of all weights.
#pragma once
#include "buffer.hpp"
#include "packed.hpp"

namespace coterie { inline namespace v0 {

template <Config C, class B> class Packed;
template <Config C, class B> class Packer;

// Packed weights that own their memory.
template <Config C>
class Packed<C, Host> {
 public:
  static constexpr Config config = C;
  Packed(host::Buffer own, PackedView<config, Host> view) : own_(static_cast<host::Buffer&&>(own)), view_(view) {}
  PackedView<config, Host> view() const& { return view_; }
  PackedView<config, Host> view() const&& = delete;                      // would outlive its memory

 private:
  host::Buffer own_;
  PackedView<config, Host> view_;
};

// Packs piece by piece into its own memory, or into the caller's (which then must outlive the Packed):
//   Packer<C, Host> p{on}; p.router(raw); for each expert p.expert(e, gate, up, down); auto packed = p.finish();
// router() takes everything in Weights that is not an expert's matrix. table_rows: the vocabulary of Select::table.
template <Config C>
class Packer<C, Host> {
 public:
  static constexpr Config config = C;
  using Layout = host::PackedLayout<config>;

  static constexpr std::size_t bytes(std::int64_t table_rows = 0) { return Layout::make(C.experts, table_rows).bytes; }

  explicit Packer(Host const& on, std::span<std::byte> memory = {}, std::int64_t table_rows = 0, Where at = Where::here())
      : on_(on), layout_(Layout::make(C.experts, counted(table_rows, at))) {
    if constexpr (!host::computable<config>)
      fail(std::string("Packer: the host backend does not hold ") + name(C.weights) + " expert weights yet", at);
    if (memory.data()) {
      require(memory.size() >= layout_.bytes, "Packer: memory is too small", static_cast<std::int64_t>(memory.size()), static_cast<std::int64_t>(layout_.bytes), at);
      auto const misaligned = reinterpret_cast<std::uintptr_t>(memory.data()) % 64;
      require(misaligned == 0, "Packer: memory must be aligned to 64 bytes", static_cast<std::int64_t>(misaligned), 0, at);
      data_ = memory.data();
    } else {
      own_ = host::Buffer{layout_.bytes};
      data_ = own_.data();
    }
    *at_<typename Layout::Header>(layout_.header) = {.router_scale = 1, .latent_epsilon = 0, .table_rows = table_rows};
  }

  // Everything but the experts' matrices: router, biases, scales, table, shared and latent weights.
  template <DType Stored> void router(Weights<config, Stored> const& raw, Where at = Where::here()) {
    require(!finished_, "Packer::router: finish() has been called", 1, 0, at);
    auto* const header = at_<typename Layout::Header>(layout_.header);
    if constexpr (C.capacity.rounding != Rounding::none && C.capacity.normalise == When::after)
      if (raw.router_scale != 1) fail("pack: Weights::router_scale cannot be combined with normalisation after dropping", at);
    header->router_scale = raw.router_scale;
    header->latent_epsilon = raw.latent.norm_epsilon;
    if constexpr (Layout::has_router) {
      require(raw.router.data != nullptr, "pack: Weights::router is not set", 0, 1, at);
      panels(at_<typename Layout::RouterT>(layout_.router_panels), Layout::router, raw.router, raw.router);
    }
    if constexpr (C.router.noise == Noise::softplus) {
      require(raw.noise.data != nullptr, "pack: Weights::noise is not set", 0, 1, at);
      panels(at_<typename Layout::RouterT>(layout_.noise_panels), Layout::router, raw.noise, raw.noise);
    }
    if constexpr (C.router.bias) copy(layout_.router_bias, raw.router_bias, Layout::N, "pack: Weights::router_bias is not set", at);
    if constexpr (C.router.select_bias) copy(layout_.select_bias, raw.select_bias, candidates(C), "pack: Weights::select_bias is not set", at);
    if constexpr (C.router.expert_scale) copy(layout_.expert_scale, raw.expert_scale, C.experts, "pack: Weights::expert_scale is not set", at);
    if constexpr (C.expert.bias)
      for (int e = 0; e < C.experts; ++e) {
        auto const i = static_cast<std::size_t>(e);
        if constexpr (Layout::has_gate) copy(layout_.gate_bias + i * C.ffn * sizeof(float), raw.gate_bias[i], C.ffn, "pack: Weights::gate_bias is not set", at);
        copy(layout_.up_bias + i * C.ffn * sizeof(float), raw.up_bias[i], C.ffn, "pack: Weights::up_bias is not set", at);
        copy(layout_.down_bias + i * width(C) * sizeof(float), raw.down_bias[i], width(C), "pack: Weights::down_bias is not set", at);
      }
    if constexpr (C.router.select == Select::table)
      if (header->table_rows || raw.table.data) {
        require(raw.table.rows == header->table_rows, "pack: Weights::table must have the rows that the Packer was made for", raw.table.rows, header->table_rows, at);
        require(raw.table.data || header->table_rows == 0, "pack: Weights::table is not set", 0, 1, at);
        auto* const table = at_<std::int32_t>(layout_.table);
        for (std::int64_t r = 0; r < raw.table.rows; ++r)
          for (int k = 0; k < C.top_k; ++k) table[r * C.top_k + k] = raw.table[r][k];
      }
    if constexpr (C.shared.ffn > 0) {
      require(raw.shared.up.data && raw.shared.down.data && (!Layout::has_gate || raw.shared.gate.data), "pack: Weights::shared is not set", 0, 1, at);
      panels(at_<typename Layout::SharedT>(layout_.shared_gate_up_panels), Layout::shared_gate_up, Layout::has_gate ? raw.shared.gate : raw.shared.up, raw.shared.up);
      panels(at_<typename Layout::SharedT>(layout_.shared_down_panels), Layout::shared_down, raw.shared.down, raw.shared.down);
      constexpr int mixes = C.shared.mix == SharedMix::sigmoid_gate ? 1 : C.shared.mix == SharedMix::coefficients ? 2 : 0;
      if constexpr (mixes > 0) {
        require(raw.shared.mix.data != nullptr, "pack: Weights::shared.mix is not set", 0, 1, at);
        for (int m = 0; m < mixes; ++m) {
          for (int h = 0; h < C.hidden; ++h)
            at_<float>(layout_.shared_mix)[m * C.hidden + h] = to_float(raw.shared.mix.data[m * raw.shared.mix.out_stride + h * raw.shared.mix.in_stride]);
          at_<float>(layout_.shared_mix_bias)[m] = raw.shared.mix_bias ? raw.shared.mix_bias[m] : 0;
        }
      }
    }
    if constexpr (C.expert.latent > 0) {
      require(raw.latent.down.data && raw.latent.up.data, "pack: Weights::latent is not set", 0, 1, at);
      panels(at_<typename Layout::LatentT>(layout_.latent_down_panels), Layout::latent_down, raw.latent.down, raw.latent.down);
      panels(at_<typename Layout::LatentT>(layout_.latent_up_panels), Layout::latent_up, raw.latent.up, raw.latent.up);
      if constexpr (C.expert.latent_norm == LatentNorm::rms) copy(layout_.latent_norm, raw.latent.norm, width(C), "pack: Weights::latent.norm is not set", at);
    }
    router_packed_ = true;
  }

  // One expert's matrices, in any stored floating-point type; gate is ignored by ungated activations.
  template <DType D>
  void expert(int e, Matrix<D, C.ffn, width(C)> gate, Matrix<D, C.ffn, width(C)> up, Matrix<D, width(C), C.ffn> down, Where at = Where::here()) {
    require(!finished_, "Packer::expert: finish() has been called", 1, 0, at);
    if (e < 0 || e >= C.experts) fail("pack: expert out of range: got " + std::to_string(e) + ", want 0 to " + std::to_string(C.experts - 1), at);
    if (!up.data || !down.data || (Layout::has_gate && !gate.data))
      fail("pack: expert " + std::to_string(e) + "'s gate, up or down is not set", at);
    if constexpr (is_float(D) && host::computable<config>) {
      std::size_t const base = layout_.expert_panels + static_cast<std::size_t>(e) * layout_.expert_stride;
      panels(at_<typename Layout::ExpertT>(base), Layout::gate_up, Layout::has_gate ? gate : up, up);
      panels(at_<typename Layout::ExpertT>(base + layout_.expert_down), Layout::down, down, down);
    } else {
      fail(std::string("pack: the host backend does not pack ") + name(D) + " weights into " + name(C.weights) + " yet", at);
    }
    if (!packed_(e)) ++experts_packed_;
    seen_.data()[e] = std::byte{1};
  }

  // Refuses a layer of which a part was never packed.
  Packed<config, Host> finish(Where at = Where::here()) {
    require(!finished_, "Packer::finish: has been called already", 1, 0, at);
    require(router_packed_, "Packer::finish: router() has not been called", 0, 1, at);
    require(experts_packed_ == C.experts, "Packer::finish: not every expert has been packed", experts_packed_, C.experts, at);
    finished_ = true;
    return {static_cast<host::Buffer&&>(own_), {.data = data_}};
  }

 private:
  // Token ids are 32-bit, so no table has more rows, and bytes() cannot overflow.
  static std::int64_t counted(std::int64_t table_rows, Where at) {
    constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
    require(table_rows >= 0, "Packer: table_rows must not be negative", table_rows, 0, at);
    require(table_rows <= most, "Packer: table_rows must be below 2^31", table_rows, most, at);
    return table_rows;
  }
  template <class T> T* at_(std::size_t offset) const { return reinterpret_cast<T*>(data_ + offset); }
  bool packed_(int e) const { return seen_.data()[e] != std::byte{0}; }

  void copy(std::size_t offset, float const* from, std::int64_t n, char const* missing, Where at) {
    require(from != nullptr, missing, 0, 1, at);
    std::memcpy(data_ + offset, from, static_cast<std::size_t>(n) * sizeof(float));
  }
  template <class T, DType D, int Out, int In>
  void panels(T* to, host::PanelShape shape, Matrix<D, Out, In> const& first, Matrix<D, Out, In> const& second) {
    host::pack_panels(*on_.pool, to, shape, host::strided(first), host::strided(second));
  }
  static host::Buffer zeros(std::size_t n) {
    host::Buffer b{n};
    std::memset(b.data(), 0, n);
    return b;
  }

  Host on_;
  Layout layout_;
  host::Buffer own_;
  std::byte* data_ = nullptr;
  host::Buffer seen_ = zeros(C.experts);
  int experts_packed_ = 0;
  bool router_packed_ = false, finished_ = false;
};

// All at once, from views of a whole layer.
template <Config C, DType Stored>
Packed<C, Host> pack(Host const& on, Weights<C, Stored> const& raw, Where at = Where::here()) {
  Packer<C, Host> packer{on, {}, raw.table.rows, at};
  packer.router(raw, at);
  for (int e = 0; e < C.experts; ++e) {
    auto const i = static_cast<std::size_t>(e);
    packer.expert(e, raw.gate[i], raw.up[i], raw.down[i], at);
  }
  return packer.finish(at);
}

}}

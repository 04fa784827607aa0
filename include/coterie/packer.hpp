// Packing: checkpoint layout in, the backend's layout out, one expert at a time; never a second copy of all weights.
// What must be given and when, for every backend; Sink knows the backend's memory and how to write a matrix into it.
#pragma once
#include "packed.hpp"
#include "quant.hpp"

namespace coterie { inline namespace v0 {

// Memory of a backend that owns itself.
template <class B> struct memory_of;

// Packed weights that own their memory.
template <Config C, class B>
class Packed {
 public:
  static constexpr Config config = C;
  using Memory = typename memory_of<B>::type;
  Packed(Memory own, PackedView<config, B> view) : own_(static_cast<Memory&&>(own)), view_(view) {}
  PackedView<config, B> view() const& { return view_; }
  PackedView<config, B> view() const&& = delete;                         // would outlive its memory

 private:
  Memory own_;
  PackedView<config, B> view_;
};

// Packs piece by piece into its own memory, or into the caller's (which then must outlive the Packed):
//   Packer<C, B> p{on}; p.router(raw); for each expert p.expert(e, gate, up, down); auto packed = p.finish();
// router() takes everything in Weights that is not an expert's matrix. table_rows: the vocabulary of Select::table.
template <Config C, class B, class Sink>
class PackerOf {
 public:
  static constexpr Config config = C;
  using Layout = PackedLayout<config, typename Sink::Shape>;

  static constexpr std::size_t bytes(std::int64_t table_rows = 0) { return Layout::make(C.experts, table_rows).bytes; }

  // Where weight (output, input) of an expert's matrix stands, in bytes from the beginning of the packed layer, as an element_t<C.weights>. A step
  // that writes new weights there has nothing to pack; padding stays zero. Not of quantised weights.
  COTERIE_HD static constexpr std::size_t offset(int expert, ExpertMatrix which, std::int64_t output, std::int64_t input) {
    static_assert(is_float(C.weights), "coterie::Packer::offset: quantised weights do not stand one by one");
    using T = element_t<is_float(C.weights) ? C.weights : C.dtype>;
    constexpr Layout l = experts_at;
    constexpr typename Sink::Shape gate_up = Layout::gate_up, down = Layout::down;
    std::size_t const base = l.expert_panels + static_cast<std::size_t>(expert) * l.expert_stride;
    if (which == ExpertMatrix::down) return base + l.expert_down + sizeof(T) * static_cast<std::size_t>(Sink::Shape::template place<T>(down, 0, output, input));
    return base + sizeof(T) * static_cast<std::size_t>(Sink::Shape::template place<T>(gate_up, which == ExpertMatrix::up, output, input));
  }

  explicit PackerOf(B const& on, std::span<std::byte> memory = {}, std::int64_t table_rows = 0, Where at = Where::here())
      : layout_(Layout::make(C.experts, counted(table_rows, at))), sink_(on, memory, layout_.bytes, at) {
    header_.table_rows = table_rows;
  }

  // Everything but the experts' matrices: router, biases, scales, table, shared and latent weights.
  template <DType Stored> void router(Weights<config, Stored> const& raw, Where at = Where::here()) {
    require(!finished_, "Packer::router: finish() has been called", 1, 0, at);
    if constexpr (C.capacity.rounding != Rounding::none && C.capacity.normalise == When::after)
      if (raw.router_scale != 1) fail("pack: Weights::router_scale cannot be combined with normalisation after dropping", at);
    if constexpr (std::is_same_v<B, Host>) {                             // between the pieces too: files hold nothing of the process's memory
      sink_.zero(layout_.header, layout_.expert_panels - layout_.header, at);
      if (layout_.bytes > layout_.table) sink_.zero(layout_.bytes - Sink::Shape::alignment, Sink::Shape::alignment, at);
    }
    header_.router_scale = raw.router_scale;
    header_.latent_epsilon = raw.latent.norm_epsilon;
    if constexpr (Layout::has_router) {
      require(raw.router.data != nullptr, "pack: Weights::router is not set", 0, 1, at);
      matrix<typename Layout::RouterT>(layout_.router_panels, Layout::router, raw.router, at);
    }
    if constexpr (C.router.noise == Noise::softplus) {
      require(raw.noise.data != nullptr, "pack: Weights::noise is not set", 0, 1, at);
      matrix<typename Layout::RouterT>(layout_.noise_panels, Layout::router, raw.noise, at);
    }
    if constexpr (C.router.bias) floats(layout_.router_bias, raw.router_bias, Layout::N, "pack: Weights::router_bias is not set", at);
    if constexpr (C.router.select_bias) floats(layout_.select_bias, raw.select_bias, candidates(C), "pack: Weights::select_bias is not set", at);
    if constexpr (C.router.expert_scale) floats(layout_.expert_scale, raw.expert_scale, C.experts, "pack: Weights::expert_scale is not set", at);
    if constexpr (C.expert.bias)
      for (int e = 0; e < C.experts; ++e) {
        auto const i = static_cast<std::size_t>(e);
        if constexpr (Layout::has_gate) floats(layout_.gate_bias + i * C.ffn * sizeof(float), raw.gate_bias[i], C.ffn, "pack: Weights::gate_bias is not set", at);
        floats(layout_.up_bias + i * C.ffn * sizeof(float), raw.up_bias[i], C.ffn, "pack: Weights::up_bias is not set", at);
        floats(layout_.down_bias + i * width(C) * sizeof(float), raw.down_bias[i], width(C), "pack: Weights::down_bias is not set", at);
      }
    if constexpr (C.router.select == Select::table)
      if (header_.table_rows || raw.table.data) {
        require(raw.table.rows == header_.table_rows, "pack: Weights::table must have the rows that the Packer was made for", raw.table.rows, header_.table_rows, at);
        require(raw.table.data || header_.table_rows == 0, "pack: Weights::table is not set", 0, 1, at);
        sink_.table(layout_.table, raw.table, at);
      }
    if constexpr (C.shared.ffn > 0) {
      require(raw.shared.up.data && raw.shared.down.data && (!Layout::has_gate || raw.shared.gate.data), "pack: Weights::shared is not set", 0, 1, at);
      matrices<typename Layout::SharedT>(layout_.shared_gate_up_panels, Layout::shared_gate_up, raw.shared.gate, raw.shared.up, at);
      matrix<typename Layout::SharedT>(layout_.shared_down_panels, Layout::shared_down, raw.shared.down, at);
      if constexpr (Layout::mixes > 0) {
        require(raw.shared.mix.data != nullptr, "pack: Weights::shared.mix is not set", 0, 1, at);
        sink_.rows_as_floats(layout_.shared_mix, raw.shared.mix, Layout::mixes, at);
        if (raw.shared.mix_bias) sink_.floats(layout_.shared_mix_bias, raw.shared.mix_bias, Layout::mixes, at);
        else sink_.zero(layout_.shared_mix_bias, Layout::mixes * sizeof(float), at);
      }
    }
    if constexpr (C.expert.latent > 0) {
      require(raw.latent.down.data && raw.latent.up.data, "pack: Weights::latent is not set", 0, 1, at);
      matrix<typename Layout::LatentT>(layout_.latent_down_panels, Layout::latent_down, raw.latent.down, at);
      matrix<typename Layout::LatentT>(layout_.latent_up_panels, Layout::latent_up, raw.latent.up, at);
      if constexpr (C.expert.latent_norm == LatentNorm::rms) floats(layout_.latent_norm, raw.latent.norm, width(C), "pack: Weights::latent.norm is not set", at);
    }
    sink_.value(layout_.header, header_, at);
    router_packed_ = true;
  }

  // One expert's matrices, in any stored floating-point type; gate is ignored by ungated activations.
  template <DType D>
  void expert(int e, Matrix<D, C.ffn, width(C)> gate, Matrix<D, C.ffn, width(C)> up, Matrix<D, width(C), C.ffn> down, Where at = Where::here()) {
    require(!finished_, "Packer::expert: finish() has been called", 1, 0, at);
    if (e < 0 || e >= C.experts) fail("pack: expert out of range: got " + std::to_string(e) + ", want 0 to " + std::to_string(C.experts - 1), at);
    if (!up.data || !down.data || (Layout::has_gate && !gate.data)) fail("pack: expert " + std::to_string(e) + "'s gate, up or down is not set", at);
    if constexpr (Sink::template holds<config> && Sink::template packs<D, C.weights>) {
      if constexpr (!is_float(D)) {
        if constexpr (Layout::has_gate) scales(e, "gate", gate, at);
        scales(e, "up", up, at), scales(e, "down", down, at);
      }
      std::size_t const base = layout_.expert_panels + static_cast<std::size_t>(e) * layout_.expert_stride;
      sink_.template experts<config>(base, Layout::gate_up, Layout::has_gate ? gate : up, up, at);
      sink_.template experts<config>(base + layout_.expert_down, Layout::down, down, down, at);
    } else {
      fail(std::string("pack: the ") + Sink::backend + " backend does not pack " + name(D) + " weights into " + name(C.weights) + " yet", at);
    }
    if (!seen_[e]) ++experts_packed_;
    seen_.set(e);
  }

  // Refuses a layer of which a part was never packed.
  Packed<config, B> finish(Where at = Where::here()) {
    require(!finished_, "Packer::finish: has been called already", 1, 0, at);
    require(router_packed_, "Packer::finish: router() has not been called", 0, 1, at);
    require(experts_packed_ == C.experts, "Packer::finish: not every expert has been packed", experts_packed_, C.experts, at);
    using Memory = typename memory_of<B>::type;
    PackedView<config, B> const view{.data = sink_.data()};
    Memory memory = sink_.finish(at);
    finished_ = true;
    return Packed<config, B>{static_cast<Memory&&>(memory), view};
  }

 private:
  static constexpr Layout experts_at = Layout::make(C.experts, 0);      // for device code, which calls no make()
  // Token ids are 32-bit, so no table has more rows, and bytes() cannot overflow.
  static std::int64_t counted(std::int64_t table_rows, Where at) {
    if constexpr (!Sink::template holds<config>) fail(std::string("Packer: the ") + Sink::backend + " backend does not hold " + Sink::template refusal<config>(), at);
    constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
    require(table_rows >= 0, "Packer: table_rows must not be negative", table_rows, 0, at);
    require(table_rows <= most, "Packer: table_rows must be below 2^31", table_rows, most, at);
    return table_rows;
  }
  template <class T, class M> void matrix(std::size_t offset, typename Sink::Shape shape, M const& m, Where at) {
    sink_.template matrices<T>(offset, shape, m, m, at);
  }
  template <class T, class M> void matrices(std::size_t offset, typename Sink::Shape shape, M const& gate, M const& up, Where at) {
    sink_.template matrices<T>(offset, shape, Layout::has_gate ? gate : up, up, at);
  }
  // Quantised weights bring scales that packed weights can hold, and zero points where the config has them.
  template <class M> static void scales(int e, char const* what, M const& m, Where at) {
    std::string const matrix = "pack: expert " + std::to_string(e) + "'s " + what;
    if (!m.scale) fail(matrix + " has no scales", at);
    if (C.quant.zero_points && !m.zero) fail(matrix + " has no zero points", at);
    Codes const all = codes<C.quant>(m);
    for (std::int64_t i = 0; i < all.scales(); ++i) {
      if (!holds_scale<M::type>(m.scale[i]))
        fail(matrix + ": scale " + std::to_string(i) + " is " + std::to_string(m.scale[i]) + ", want " +
             (M::type == DType::mxfp4 ? "a power of two from 2^-127 to 2^127" : M::type == DType::int4 ? "a number up to 65504 that fp16 holds within 2^-11" : M::type == DType::fp8_e4m3 ? "a size below 2^119" : "a finite number"), at);
      if (C.quant.zero_points && M::type == DType::int4 && m.zero[i] > 15)
        fail(matrix + ": zero point " + std::to_string(i) + " is " + std::to_string(m.zero[i]) + ", want at most 15", at);
    }
  }
  void floats(std::size_t offset, float const* from, std::int64_t n, char const* missing, Where at) {
    require(from != nullptr, missing, 0, 1, at);
    sink_.floats(offset, from, n, at);
  }

  // Which experts have been packed. (std::bitset costs an include.)
  struct Seen {
    std::array<std::uint64_t, (C.experts + 63) / 64> words{};
    bool operator[](int e) const { return words[static_cast<std::size_t>(e) / 64] >> (e % 64) & 1; }
    void set(int e) { words[static_cast<std::size_t>(e) / 64] |= std::uint64_t{1} << (e % 64); }
  };

  Layout layout_;
  Sink sink_;
  typename Layout::Header header_{};
  Seen seen_;
  int experts_packed_ = 0;
  bool router_packed_ = false, finished_ = false;
};

// Declared here, defined by each backend: Packer<C, B> is a PackerOf.
template <Config C, class B> class Packer;

// All at once, from views of a whole layer.
template <Config C, DType Stored, class B>
Packed<C, B> pack(B const& on, Weights<C, Stored> const& raw, Where at = Where::here()) {
  Packer<C, B> packer{on, {}, raw.table.rows, at};
  packer.router(raw, at);
  for (int e = 0; e < C.experts; ++e) {
    auto const i = static_cast<std::size_t>(e);
    packer.expert(e, raw.gate[i], raw.up[i], raw.down[i], at);
  }
  return packer.finish(at);
}

}}

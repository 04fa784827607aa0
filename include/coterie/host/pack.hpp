// Packing on the host: matrices into panels, on the pool.
#pragma once
#include "../packer.hpp"
#include "buffer.hpp"
#include "pack_panels.hpp"
#include "packed.hpp"

namespace coterie { inline namespace v0 {

template <> struct memory_of<Host> { using type = host::Buffer; };

namespace host {

class PackSink {
 public:
  using Shape = PanelShape;
  static constexpr char const* backend = "host";

  PackSink(Host const& on, std::span<std::byte> memory, std::size_t bytes, Where at) : on_(on), path_(on.path(at)), streams_(static_cast<std::int64_t>(bytes) > streamed_bytes) {
    if (memory.data()) {
      require(memory.size() >= bytes, "Packer: memory is too small", static_cast<std::int64_t>(memory.size()), static_cast<std::int64_t>(bytes), at);
      auto const misaligned = reinterpret_cast<std::uintptr_t>(memory.data()) % Shape::alignment;
      require(misaligned == 0, "Packer: memory must be aligned to 64 bytes", static_cast<std::int64_t>(misaligned), 0, at);
      data_ = memory.data();
    } else {
      own_ = Buffer{bytes};
      data_ = own_.data();
    }
  }

  std::byte* data() const { return data_; }
  // Which expert weights fit into packed ones.
  template <Config C> static constexpr bool holds = computable<C>;
  template <Config C> static std::string refusal() { return host::refusal<C>(); }
  template <DType From, DType To> static constexpr bool packs = is_float(From) || From == To;
  template <class T, class M> void matrices(std::size_t offset, PanelShape shape, M const& first, M const& second, Where) {
    pack_panels(*on_.pool, path_, streams_, at<T>(offset), shape, strided(first), strided(second));
  }
  // An expert's matrices, from numbers or from codes.
  template <Config C, class M> void experts(std::size_t offset, PanelShape shape, M const& first, M const& second, Where at) {
    using T = PanelShape::expert_t<C>;
    std::size_t const bytes = PanelShape::bytes<T>(shape);
    place(on_.pool->nodes(), data_ + offset, bytes, bytes / static_cast<std::size_t>(shape.panels()) * ffn_panels);
    if constexpr (is_float(C.weights)) matrices<T>(offset, shape, first, second, at);
    else if constexpr (is_float(M::type)) pack_quantised(*on_.pool, this->at<T>(offset), shape, Quantiser<C.weights, C.quant, typename M::value>{strided(first)}, Quantiser<C.weights, C.quant, typename M::value>{strided(second)});
    else pack_quantised(*on_.pool, this->at<T>(offset), shape, Copier<C.weights, C.quant>{codes<C.quant>(first)}, Copier<C.weights, C.quant>{codes<C.quant>(second)});
    settle(on_.pool->nodes(), data_ + offset, bytes);
  }
  void floats(std::size_t offset, float const* from, std::int64_t n, Where) { std::memcpy(at<float>(offset), from, static_cast<std::size_t>(n) * sizeof(float)); }
  template <class M> void rows_as_floats(std::size_t offset, M const& m, int rows, Where) {
    for (int r = 0; r < rows; ++r)
      for (int i = 0; i < M::inputs; ++i) at<float>(offset)[r * M::inputs + i] = to_float(m.data[r * m.out_stride + i * m.in_stride]);
  }
  template <int K> void table(std::size_t offset, Rows<std::int32_t const, K> from, Where) {
    for (std::int64_t r = 0; r < from.rows; ++r)
      for (int k = 0; k < K; ++k) at<std::int32_t>(offset)[r * K + k] = from[r][k];
  }
  template <class T> void value(std::size_t offset, T const& v, Where) { *at<T>(offset) = v; }
  void zero(std::size_t offset, std::size_t bytes, Where) { std::memset(data_ + offset, 0, bytes); }
  Buffer finish(Where) { return static_cast<Buffer&&>(own_); }

 private:
  template <class T> T* at(std::size_t offset) const { return reinterpret_cast<T*>(data_ + offset); }
  Host on_;
  Isa path_;
  int streams_;
  Buffer own_;
  std::byte* data_ = nullptr;
};

}

template <Config C>
class Packer<C, Host> : public PackerOf<C, Host, host::PackSink> {
 public:
  static constexpr Config config = C;
  using PackerOf<config, Host, host::PackSink>::PackerOf;
};

}}

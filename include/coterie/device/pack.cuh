// Packing on the GPU, from host or device memory: one matrix at a time is staged, the rest streams through a kernel. Of device memory router()
// and expert() only enqueue, and can be captured; finish() waits.
#pragma once
#include "../packer.hpp"
#include "memory.cuh"
#include "packed.cuh"

namespace coterie { inline namespace v0 {

template <> struct memory_of<Cuda> { using type = device::Buffer; };

namespace device { inline namespace COTERIE_CUDA_BUILD {

// A checkpoint matrix as kernels see it: element (o, i) at data[o * out_stride + i * in_stride].
template <class T> struct Strided {
  T* data;
  std::int64_t out_stride, in_stride;
};

// Row r of a packed matrix: which of a pair's matrices, and which of its outputs.
struct PackedRow { int second; std::int64_t output; };
COTERIE_DEVICE PackedRow packed_row(RowShape const& shape, std::int64_t r) {
  if (!shape.paired) return {0, r};
  return {static_cast<int>(r / interleave % 2), r / (2 * interleave) * interleave + r % interleave};
}

// Neighbouring threads write neighbouring inputs. Where those do not lie side by side in the checkpoint (transposed matrices) each value
// read costs a sector, most of which the cache must keep for later rows: packing happens once, and is not worth a second kernel.
template <class To, class From> __global__ void pack_kernel(To* to, RowShape shape, Strided<From const> first, Strided<From const> second) {
  std::int64_t const pitch = shape.pitch(), n = shape.elements(), step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) {
    std::int64_t const r = at / pitch, i = at % pitch;
    PackedRow const row = packed_row(shape, r);
    Strided<From const> const from = row.second ? second : first;
    bool const inside = r < shape.rows() && row.output < shape.outputs && i < shape.inputs;
    if constexpr (std::is_same_v<To, From>) to[at] = inside ? from.data[row.output * from.out_stride + i * from.in_stride] : To{};   // NaN payloads too
    else to[at] = inside ? from_float<To>(to_float(from.data[row.output * from.out_stride + i * from.in_stride])) : To{};
  }
}
template <class To> __global__ void unpack_kernel(To const* from, RowShape shape, Strided<To> first, Strided<To> second) {
  std::int64_t const pitch = shape.pitch(), n = shape.rows() * pitch, step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < n; at += step) {
    std::int64_t const i = at % pitch;
    PackedRow const row = packed_row(shape, at / pitch);
    Strided<To> const to = row.second ? second : first;
    if (row.output < shape.outputs && i < shape.inputs) to.data[row.output * to.out_stride + i * to.in_stride] = from[at];
  }
}
// Rows without padding, as fp32.
template <class From> __global__ void floats_kernel(float* to, Strided<From const> from, std::int64_t rows, std::int64_t inputs) {
  std::int64_t const step = std::int64_t{gridDim.x} * blockDim.x;
  for (std::int64_t at = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x; at < rows * inputs; at += step)
    to[at] = to_float(from.data[at / inputs * from.out_stride + at % inputs * from.in_stride]);
}
// What only the host knows, as a parameter of the launch.
template <class T> __global__ void value_kernel(T* to, T const value) { *to = value; }
inline Launch elementwise(std::int64_t n) {
  constexpr std::int64_t threads = 256, most = 4096;
  std::int64_t const blocks = ceil_div(n, threads);
  return {.grid = dim3(static_cast<unsigned>(blocks < 1 ? 1 : blocks < most ? blocks : most)), .block = dim3(threads)};
}

class PackSink {
 public:
  using Shape = RowShape;
  static constexpr char const* backend = "CUDA";

  PackSink(Cuda const& on, std::span<std::byte> memory, std::size_t bytes, Where at) : on_(on) {
    (void)on.path(at);
    if (memory.data()) {
      require(memory.size() >= bytes, "Packer: memory is too small", static_cast<std::int64_t>(memory.size()), static_cast<std::int64_t>(bytes), at);
      auto const misaligned = reinterpret_cast<std::uintptr_t>(memory.data()) % Shape::alignment;
      require(misaligned == 0, "Packer: memory must be aligned to 256 bytes", static_cast<std::int64_t>(misaligned), 0, at);
      on.needs_device_memory("Packer", "memory", memory.data(), at);
      data_ = memory.data();
    } else {
      own_ = Buffer{bytes, at};
      data_ = own_.data();
    }
  }

  std::byte* data() const { return data_; }
  template <Config C> static constexpr bool holds = is_float(C.weights);
  template <Config C> static std::string refusal() { return std::string(name(C.weights)) + " expert weights yet"; }
  template <DType From, DType To> static constexpr bool packs = is_float(From) && is_float(To);
  template <Config C, class M> void experts(std::size_t offset, RowShape shape, M const& first, M const& second, Where where) {
    matrices<RowShape::expert_t<C>>(offset, shape, first, second, where);
  }
  template <class T, class M> void matrices(std::size_t offset, RowShape shape, M const& first, M const& second, Where where) {
    using From = std::remove_pointer_t<decltype(M::data)>;
    auto const a = staged<From>({first.data, first.out_stride, first.in_stride}, M::outputs, M::inputs, 0, where);
    bool const same = second.data == first.data && second.out_stride == first.out_stride && second.in_stride == first.in_stride;
    auto const b = same ? a : staged<From>({second.data, second.out_stride, second.in_stride}, M::outputs, M::inputs, 1, where);
    launch(pack_kernel<T, std::remove_const_t<From>>, elementwise(shape.elements()), on_.stream, where, at<T>(offset), shape, a, b);
  }
  void floats(std::size_t offset, float const* from, std::int64_t n, Where where) {
    copy(offset, from, static_cast<std::size_t>(n) * sizeof(float), where);
  }
  template <class M> void rows_as_floats(std::size_t offset, M const& m, int rows, Where where) {
    using From = std::remove_pointer_t<decltype(M::data)>;
    auto const a = staged<From>({m.data, m.out_stride, m.in_stride}, rows, M::inputs, 0, where);
    launch(floats_kernel<std::remove_const_t<From>>, elementwise(std::int64_t{rows} * M::inputs), on_.stream, where, at<float>(offset), a, std::int64_t{rows}, std::int64_t{M::inputs});
  }
  template <int K> void table(std::size_t offset, Rows<std::int32_t const, K> from, Where where) {
    constexpr std::size_t row = K * sizeof(std::int32_t);
    bool const whole = from.stride == K;         // as loaders give it: one copy
    for (std::int64_t r = 0; r < (whole ? from.rows > 0 : from.rows); ++r)
      copy(offset + static_cast<std::size_t>(r) * row, from[r], whole ? static_cast<std::size_t>(from.rows) * row : row, where);
  }
  template <class T> void value(std::size_t offset, T const& v, Where where) {
    launch(value_kernel<T>, {.grid = dim3(1), .block = dim3(1)}, on_.stream, where, at<T>(offset), v);
  }
  void zero(std::size_t offset, std::size_t bytes, Where where) { check(cudaMemsetAsync(data_ + offset, 0, bytes, on_.stream), where); }
  Buffer finish(Where where) {
    check(cudaStreamSynchronize(on_.stream), where);
    stage_[0] = Buffer{}, stage_[1] = Buffer{};
    return static_cast<Buffer&&>(own_);
  }

 private:
  template <class T> T* at(std::size_t offset) const { return reinterpret_cast<T*>(data_ + offset); }

  // What is not device memory the caller may change afterwards.
  void copy(std::size_t offset, void const* from, std::size_t bytes, Where where) {
    check(cudaMemcpyAsync(data_ + offset, from, bytes, cudaMemcpyDefault, on_.stream), where);
    if (bytes > 0 && kind_of(from, where) != MemoryKind::device) check(cudaStreamSynchronize(on_.stream), where);
  }
  // The same matrix in device memory: itself, or a copy of the span of host memory that it touches. Once copied the caller may change
  // it, which is why pinned and managed memory is not read where it is, later, by the kernel.
  template <class From> Strided<From> staged(Strided<From> m, std::int64_t outputs, std::int64_t inputs, int which, Where where) {
    if (kind_of(m.data, where) == MemoryKind::device) return m;
    std::size_t const bytes = static_cast<std::size_t>((outputs - 1) * m.out_stride + (inputs - 1) * m.in_stride + 1) * sizeof(From);
    Buffer& stage = stage_[which];
    if (stage.size() < bytes) stage = Buffer{}, stage = Buffer{bytes, where};                            // freeing waits for the kernel that reads it
    check(cudaMemcpyAsync(stage.data(), m.data, bytes, cudaMemcpyDefault, on_.stream), where);           // and so does a copy, in its stream
    check(cudaStreamSynchronize(on_.stream), where);
    return {reinterpret_cast<From*>(stage.data()), m.out_stride, m.in_stride};
  }

  Cuda on_;
  Buffer own_, stage_[2];
  std::byte* data_ = nullptr;
};

}}

template <Config C>
class Packer<C, Cuda> : public PackerOf<C, Cuda, device::PackSink> {
 public:
  static constexpr Config config = C;
  using PackerOf<config, Cuda, device::PackSink>::PackerOf;
};

// The inverse of packing, bit for bit, into device memory; gate is not written for ungated activations.
template <Config C>
void unpack_expert(Cuda const& on, PackedView<C, Cuda> packed, int expert, Matrix<C.weights, C.ffn, width(C), true> gate,
                   Matrix<C.weights, C.ffn, width(C), true> up, Matrix<C.weights, width(C), C.ffn, true> down, Where at = Where::here()) {
  using Layout = device::PackedLayout<C>;
  using T = typename Layout::ExpertT;
  require(packed.data != nullptr, "unpack: packed weights are not set", 0, 1, at);
  require(expert >= packed.first_expert && expert < packed.first_expert + packed.experts && expert < C.experts, "unpack: expert is not in this view", expert, packed.experts, at);
  require(up.data && down.data && (!Layout::has_gate || gate.data), "unpack: a matrix to write is not set", 0, 1, at);
  device::Reader<C> const weights{packed.data};
  std::size_t const base = weights.layout.expert_panels + static_cast<std::size_t>(expert) * weights.layout.expert_stride;
  auto const unpack = [&](std::size_t offset, device::RowShape shape, auto const& first, auto const& second) {
    device::Strided<T> const a{first.data, first.out_stride, first.in_stride}, b{second.data, second.out_stride, second.in_stride};
    launch(device::unpack_kernel<T>, device::elementwise(shape.rows() * shape.pitch()), on.stream, at, weights.template at<T>(offset), shape, a, b);
  };
  unpack(base, Layout::gate_up, Layout::has_gate ? gate : up, up);
  unpack(base + weights.layout.expert_down, Layout::down, down, down);
}

}}

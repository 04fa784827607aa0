// What the backward pass moves: transposes of panels and of rows, and sums to gradients through the caches and past them, on every path, element by element.
#include <coterie/host/buffer.hpp>
#include <coterie/host/store_sums.hpp>
#include <coterie/host/transpose.hpp>
#include <doctest/doctest.h>
#include <vector>
#include "../cases.hpp"

namespace {
using namespace coterie;

template <class T> T numbered(std::int64_t i) {
  if constexpr (sizeof(T) == 4) return static_cast<float>(i);
  else return T{static_cast<std::uint16_t>(i * 40503)};
}
template <class T> bool same(T a, T b) { return std::memcmp(&a, &b, sizeof a) == 0; }

template <class T> void panels(Isa isa) {
  for (host::PanelShape const shape : {host::PanelShape{.outputs = 40, .inputs = 70}, host::PanelShape{.outputs = 33, .inputs = 96, .paired = 1}, host::PanelShape{.outputs = 128, .inputs = 32}}) {
    std::vector<T> packed(static_cast<std::size_t>(shape.elements()));
    for (std::size_t i = 0; i < packed.size(); ++i) packed[i] = numbered<T>(static_cast<std::int64_t>(i));
    for (std::int64_t t = 0; t < shape.padded_inputs() / 32; ++t)
      for (std::int64_t first : {std::int64_t{0}, shape.panels() - 1}) {
        std::vector<T> turned(static_cast<std::size_t>((shape.panels() - first) * 32 * 32));
        host::transpose_panel(isa, packed.data(), shape, t, first, shape.panels(), turned.data());
        bool right = true;
        for (std::int64_t p = first; p < shape.panels(); ++p)
          for (int column = 0; column < 32; ++column)
            for (int i = 0; i < 32; ++i)
              right &= same(turned[static_cast<std::size_t>(host::panel_offset<T>(i, (p - first) * 32 + column))], packed[static_cast<std::size_t>(p * shape.panel_elements() + host::panel_offset<T>(column, t * 32 + i))]);
        CHECK(right);
      }
  }
}
template <class T> void rows(Isa isa) {
  for (std::int64_t n : {1, 7, 8, 16, 33, 48})
    for (std::int64_t columns : {1, 15, 16, 32, 45}) {
      std::int64_t const pitch = columns + 3, padded = n + 5, to_pitch = padded + 2;
      std::vector<T> from(static_cast<std::size_t>(n * pitch)), to(static_cast<std::size_t>(columns * to_pitch), numbered<T>(77));
      for (std::size_t i = 0; i < from.size(); ++i) from[i] = numbered<T>(static_cast<std::int64_t>(i));
      host::transpose_rows(isa, from.data(), pitch, to.data(), to_pitch, n, columns, padded);
      bool right = true;
      for (std::int64_t c = 0; c < columns; ++c)
        for (std::int64_t r = 0; r < to_pitch; ++r)
          right &= same(to[static_cast<std::size_t>(c * to_pitch + r)], r < n ? from[static_cast<std::size_t>(r * pitch + c)] : r < padded ? T{} : numbered<T>(77));
      CHECK(right);
    }
}

TEST_CASE("transposes are what they say, on every path") {
  for (Isa isa : cases::paths()) {
    panels<bf16>(isa), panels<float>(isa), panels<fp16>(isa);
    rows<bf16>(isa), rows<float>(isa), rows<fp16>(isa);
  }
}

template <class T> void sums(Isa isa, host::GradientKind kind, bool streams) {
  for (std::int64_t n : {0, 1, 16, 33, 64, 96})
    for (std::int64_t offset : {0, 1, 8})
      for (std::int64_t stride : {1, 3}) {
        host::Buffer const memory{4096};
        T* const to = reinterpret_cast<T*>(memory.data()) + offset;
        std::vector<float> from(static_cast<std::size_t>(n) + 1);
        auto const before = [](std::int64_t i) { return rounded<T>(static_cast<float>(i) + 0.0625f); };
        for (std::int64_t i = 0; i < 300; ++i) to[i] = from_float<T>(before(i));
        for (std::int64_t i = 0; i < n; ++i) from[static_cast<std::size_t>(i)] = i == 2 ? NAN : i == 3 ? -INFINITY : i == 4 ? -1e-42f : 0.3f * static_cast<float>(i * i);
        host::SumStore const store{isa, kind, streams};
        store(from.data(), n, {reinterpret_cast<std::byte*>(to), stride}, {reinterpret_cast<std::byte*>(to), stride});
        host::after_streams();
        bool right = true;
        for (std::int64_t i = 0; i < 300; ++i) {
          bool const summed = i % stride == 0 && i / stride < n;
          float const old = kind.overwrite ? 0.f : before(i);
          right &= same(to[i], from_float<T>(summed ? old + from[static_cast<std::size_t>(i / stride)] : before(i)));
        }
        CHECK(right);
      }
}
TEST_CASE("sums are added or written wherever they stand, through the caches and past them") {
  for (Isa isa : cases::paths())
    for (bool streams : {false, true})
      for (int overwrite : {0, 1})
        sums<float>(isa, {DType::fp32, overwrite}, streams), sums<bf16>(isa, {DType::bf16, overwrite}, streams), sums<fp16>(isa, {DType::fp16, overwrite}, streams);
}

}

// load() knows no backend: on one that is made here, which writes as the host does, it writes what it writes for the Host.
#include <cstring>

#include <doctest/doctest.h>

#include <coterie/coterie.hpp>
#include <coterie/io/checkpoint.hpp>

#include "copy.hpp"

namespace {

struct Piece { std::size_t first, bytes; };
struct Noted {
  coterie::Host host{.threads = 1};
  std::vector<Piece>* pieces = nullptr;          // all that was written
};

class NotedSink : public coterie::host::PackSink {
  using Base = coterie::host::PackSink;
  using Where = coterie::Where;

 public:
  NotedSink(Noted const& on, std::span<std::byte> memory, std::size_t bytes, Where at) : Base(on.host, memory, bytes, at), pieces_(*on.pieces) {}
  template <class T, class M> void matrices(std::size_t offset, Shape shape, M const& first, M const& second, Where at) {
    note(offset, static_cast<std::size_t>(shape.elements()) * sizeof(T)), Base::matrices<T>(offset, shape, first, second, at);
  }
  template <coterie::Config C, class M> void experts(std::size_t offset, Shape shape, M const& first, M const& second, Where at) {
    note(offset, Shape::bytes<Shape::expert_t<C>>(shape)), Base::experts<C>(offset, shape, first, second, at);
  }
  void floats(std::size_t offset, float const* from, std::int64_t n, Where at) { note(offset, static_cast<std::size_t>(n) * 4), Base::floats(offset, from, n, at); }
  template <class M> void rows_as_floats(std::size_t offset, M const& m, int rows, Where at) {
    note(offset, std::size_t{4} * static_cast<std::size_t>(rows * M::inputs)), Base::rows_as_floats(offset, m, rows, at);
  }
  template <int K> void table(std::size_t offset, coterie::Rows<std::int32_t const, K> from, Where at) {
    note(offset, std::size_t{4} * K * static_cast<std::size_t>(from.rows)), Base::table(offset, from, at);
  }
  template <class T> void value(std::size_t offset, T const& v, Where at) { note(offset, sizeof v), Base::value(offset, v, at); }
  void zero(std::size_t offset, std::size_t bytes, Where at) { note(offset, bytes), Base::zero(offset, bytes, at); }

 private:
  void note(std::size_t first, std::size_t bytes) { pieces_.push_back({first, bytes}); }
  std::vector<Piece>& pieces_;
};

}

namespace coterie { inline namespace v0 {
template <> struct memory_of<Noted> { using type = host::Buffer; };
template <Config C> class Packer<C, Noted> : public PackerOf<C, Noted, NotedSink> {
 public:
  static constexpr Config config = C;
  using PackerOf<config, Noted, NotedSink>::PackerOf;
};
}}

using namespace copies;

namespace {

template <Config C> void same_as_host(char const* golden) {
  CAPTURE(golden);
  Checkpoint const checkpoint{(goldens() / golden).string()};
  int layer = 0;
  while (!checkpoint.is_moe(layer)) ++layer;
  std::vector<Piece> pieces;
  int reports = 0;
  Noted const on{.pieces = &pieces};
  auto const host = load<C>(on.host, checkpoint, layer);
  auto const noted = load<C>(on, checkpoint, layer, {[](void* context, std::uint64_t, std::uint64_t) { ++*static_cast<int*>(context); }, &reports});
  static_assert(std::is_same_v<decltype(noted), Packed<C, Noted> const>);
  CHECK(reports > C.experts);
  CHECK(pieces.size() > 2 * C.experts);
  for (Piece const& p : pieces) CHECK(std::memcmp(host.view().data + p.first, noted.view().data + p.first, p.bytes) == 0);
}

constexpr Config gpt_oss{.experts = 8, .top_k = 3, .hidden = 72, .ffn = 20, .router = presets::gpt_oss_20b.router, .expert = presets::gpt_oss_20b.expert};
constexpr Config mxfp4{.experts = 8, .top_k = 3, .hidden = 64, .ffn = 32, .weights = DType::mxfp4, .quant = {.group = 32}, .router = presets::gpt_oss_20b.router,
                       .expert = presets::gpt_oss_20b.expert};
constexpr Config by_table{.experts = 12, .top_k = 3, .hidden = 40, .ffn = 22, .router = presets::deepseek_v4_flash_hash.router,
                          .expert = {.act = Act::silu_mul_clamp_before, .limit = 2}, .shared = {.ffn = 22}};
constexpr Config latent{.experts = 8, .top_k = 3, .hidden = 48, .ffn = 30, .router = presets::balanced_by_bias(2.5f),
                        .expert = {.act = Act::relu2, .latent = 20}, .shared = {.ffn = 20}};

}

TEST_CASE("load packs for any backend what it packs for the host") {
  same_as_host<gpt_oss>("gpt_oss");                          // fused experts, biases
  same_as_host<mxfp4>("gpt_oss_mxfp4");                      // codes
  same_as_host<by_table>("deepseek_v4_hash");                // a table, a shared expert
  same_as_host<latent>("nemotron_h_latent");                 // a latent width, a bias for selection
}

TEST_CASE("a backend's load says where it was called") {
  std::vector<Piece> pieces;
  Checkpoint const checkpoint{(goldens() / "gpt_oss").string()};
  CHECK(sentence([&] { load<by_table>(Noted{.pieces = &pieces}, checkpoint, 0); }).find("backends.cpp:") != std::string::npos);
  CHECK(pieces.empty());                                     // refused before it packs
}

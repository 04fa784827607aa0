// Packing and its inverse: every element comes back bit for bit, from any strides, whatever the sizes.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <cstring>
#include <vector>
#include "cases.hpp"

namespace {
using namespace coterie;

template <class T> auto bits_of(T v) {
  if constexpr (std::is_same_v<T, float>) return bit_cast<std::uint32_t>(v);
  else return v.bits;
}

// transposed: the checkpoint stores [inputs][outputs].
template <Config C> void round_trip(bool transposed) {
  using T = element_t<C.weights>;
  using R = element_t<C.router.weights>;
  constexpr std::size_t n = std::size_t{C.ffn} * width(C), e = C.experts, r = std::size_t{logit_columns(C)} * C.hidden;
  std::vector<T> raw(3 * n * e);
  std::vector<R> router(r);
  std::uint32_t state = 9;
  auto const next = [&] { return state = state * 1664525u + 1013904223u; };
  for (T& v : raw) v = bit_cast<T>(static_cast<decltype(bits_of(T{}))>(next()));             // any bits, NaN payloads too
  for (R& v : router) v = from_float<R>(static_cast<float>(next()));
  Weights<C> weights{};
  weights.router = {router.data()};
  auto const view = [&](T* data, auto matrix, int out, int in) {
    matrix.data = data;
    matrix.out_stride = transposed ? 1 : in, matrix.in_stride = transposed ? out : 1;
    return matrix;
  };
  for (std::size_t i = 0; i < e; ++i) {
    weights.gate[i] = view(&raw[3 * i * n], weights.gate[i], C.ffn, width(C));
    weights.up[i] = view(&raw[(3 * i + 1) * n], weights.up[i], C.ffn, width(C));
    weights.down[i] = view(&raw[(3 * i + 2) * n], weights.down[i], width(C), C.ffn);
  }
  Host const on{.threads = 2};
  auto const packed = pack(on, weights);
  std::size_t elsewhere = 0;
  auto const stands = [&](int expert, ExpertMatrix which, auto matrix) {
    for (int o = 0; o < matrix.outputs; ++o)
      for (int i = 0; i < matrix.inputs; ++i)
        elsewhere += std::memcmp(packed.view().data + Packer<C, Host>::offset(expert, which, o, i), &matrix.data[o * matrix.out_stride + i * matrix.in_stride], sizeof(T)) != 0;
  };
  for (std::size_t i = 0; i < e; ++i) {
    if constexpr (gated(C.expert.act)) stands(static_cast<int>(i), ExpertMatrix::gate, weights.gate[i]);
    stands(static_cast<int>(i), ExpertMatrix::up, weights.up[i]), stands(static_cast<int>(i), ExpertMatrix::down, weights.down[i]);
  }
  CHECK(elsewhere == 0);
  for (int i = 0; i < C.experts; ++i) {
    std::vector<T> back(3 * n);
    std::size_t const k = static_cast<std::size_t>(i);
    unpack_expert<C>(on, packed.view(), i, view(&back[0], Matrix<C.weights, C.ffn, width(C), true>{}, C.ffn, width(C)),
                     view(&back[n], Matrix<C.weights, C.ffn, width(C), true>{}, C.ffn, width(C)), view(&back[2 * n], Matrix<C.weights, width(C), C.ffn, true>{}, width(C), C.ffn));
    std::size_t different = 0;
    for (std::size_t j = gated(C.expert.act) ? 0 : n; j < 3 * n; ++j) different += bits_of(back[j]) != bits_of(raw[3 * k * n + j]);
    CHECK(different == 0);
  }
  std::vector<R> back(r);
  unpack_router<C>(on, packed.view(), {back.data()});
  std::size_t different = 0;
  for (std::size_t j = 0; j < r; ++j) different += bits_of(back[j]) != bits_of(router[j]);
  CHECK(different == 0);
}

// Matrices of any bits, pitch apart, by every path, through the caches and past them, against one tile after another.
template <class T, class Value> void same_bits(int outputs, int inputs, int pitch, bool paired) {
  host::PanelShape const shape{.outputs = outputs, .inputs = inputs, .paired = paired};
  std::vector<Value> raw(2 * static_cast<std::size_t>(outputs * pitch));
  std::uint32_t state = 5;
  for (Value& v : raw) v = bit_cast<Value>(static_cast<decltype(bits_of(Value{}))>((state = state * 1664525u + 1013904223u) >> (sizeof(Value) == 2 ? 16 : 0)));
  host::Strided<Value const> const first{raw.data(), pitch, 1, outputs, inputs}, second{raw.data() + outputs * pitch, pitch, 1, outputs, inputs};
  std::size_t const bytes = host::PanelShape::bytes<T>(shape);
  host::Buffer want{bytes}, got{bytes};
  for (std::int64_t p = 0; p < shape.panels(); ++p)
    host::for_tiles(reinterpret_cast<T*>(want.data()), shape, p, [&](T* tile, int which, std::int64_t o, std::int64_t i) { host::pack_tile(tile, which ? second : first, o, i); });
  for (Isa isa : cases::paths())
    for (int streams : {0, 1}) {
      std::memset(got.data(), 0xa5, bytes);
      host::pack_panels(*Host{.threads = 2}.pool, isa, streams, reinterpret_cast<T*>(got.data()), shape, first, second);
      CHECK(std::memcmp(got.data(), want.data(), bytes) == 0);
    }
}
}

TEST_SUITE("host") {
  TEST_CASE("every path packs the same bits, from numbers of any type") {
    auto const all = []<class T>(T) {
      for (int pitch : {96, 97, 130}) same_bits<T, T>(80, 96, pitch, false), same_bits<T, float>(33, 70, pitch, true), same_bits<T, bf16>(48, 96, pitch, true), same_bits<T, fp16>(31, 64, pitch, false);
    };
    all(float{}), all(bf16{}), all(fp16{});
  }
  TEST_CASE("unpacking inverts packing, bit for bit") {
    for (bool transposed : {false, true}) {
      round_trip<Config{.experts = 3, .top_k = 1, .hidden = 1, .ffn = 1}>(transposed);
      round_trip<Config{.experts = 2, .top_k = 1, .hidden = 33, .ffn = 7, .dtype = DType::fp32, .weights = DType::fp32, .router = {.weights = DType::fp32}}>(transposed);
      round_trip<Config{.experts = 5, .top_k = 2, .hidden = 64, .ffn = 49, .dtype = DType::fp16, .weights = DType::fp16}>(transposed);
      round_trip<Config{.experts = 4, .top_k = 2, .hidden = 70, .ffn = 96, .expert = {.act = Act::relu2}}>(transposed);
    }
  }
  TEST_CASE("a caller's buffer is refreshed in place") {
    constexpr Config c{.experts = 2, .top_k = 1, .hidden = 32, .ffn = 32};
    std::vector<bf16> zero(32 * 32), one(32 * 32, from_float<bf16>(1));
    host::Buffer memory{Packer<c, Host>::bytes()};
    Host const on{.threads = 1};
    auto const fill = [&](std::vector<bf16> const& w) {
      Packer<c, Host> packer{on, memory.span()};
      Weights<c> raw{};
      raw.router = {w.data()};
      packer.router(raw);
      for (int e = 0; e < c.experts; ++e) packer.expert<DType::bf16>(e, {w.data()}, {w.data()}, {w.data()});
      return packer.finish();
    };
    auto const first = fill(zero), second = fill(one);
    CHECK(first.view().data == second.view().data);
    std::vector<bf16> back(32 * 32);
    unpack_router<c>(on, first.view(), {std::vector<bf16>(2 * 32).data()});
    unpack_expert<c>(on, first.view(), 1, {back.data()}, {back.data()}, {back.data()});
    CHECK(to_float(back[5]) == 1);
  }
  TEST_CASE("packing and unpacking refuse what would write or read elsewhere") {
    constexpr Config c{.experts = 2, .top_k = 1, .hidden = 32, .ffn = 32};
    constexpr Config table{.experts = 2, .top_k = 1, .hidden = 32, .ffn = 32, .router = {.select = Select::table}};
    Host const on{.threads = 1};
    std::vector<bf16> const w(32 * 32);
    std::vector<bf16> back(32 * 32);
    auto const sentence = [](auto const& act) -> std::string {
      try {
        act();
      } catch (Error const& e) {
        return e.what();
      }
      return {};
    };
    auto const says = [](std::string const& text, char const* part) { return text.find(part) != text.npos && text.find("pack.cpp:") != text.npos; };
    Packer<c, Host> packer{on};
    Weights<c> raw{};
    raw.router = {w.data()};
    packer.router(raw);
    CHECK(says(sentence([&] { packer.expert<DType::bf16>(1, {w.data()}, {}, {w.data()}); }), "expert 1's gate, up or down is not set"));
    CHECK(says(sentence([&] { packer.expert<DType::bf16>(2, {w.data()}, {w.data()}, {w.data()}); }), "expert out of range"));
    for (int e = 0; e < c.experts; ++e) packer.expert<DType::bf16>(e, {w.data()}, {w.data()}, {w.data()});
    auto const packed = packer.finish();
    CHECK(says(sentence([&] { packer.router(raw); }), "Packer::router: finish() has been called"));
    CHECK(says(sentence([&] { packer.expert<DType::bf16>(0, {w.data()}, {w.data()}, {w.data()}); }), "Packer::expert: finish() has been called"));

    std::int64_t volatile const many = (std::int64_t{1} << 61) - 1024;   // volatile: g++ would warn of an allocation that is never made
    CHECK(says(sentence([&] { Packer<table, Host>{on, {}, many}; }), "table_rows must be below 2^31"));
    CHECK(says(sentence([&] { Packer<table, Host>{on, {}, -1}; }), "table_rows must not be negative"));

    auto view = packed.view();
    auto const unpack = [&](int first, int experts, int e) {
      view.first_expert = first, view.experts = experts;
      return sentence([&] { unpack_expert<c>(on, view, e, {back.data()}, {back.data()}, {back.data()}); });
    };
    CHECK(unpack(0, 2, 1).empty());
    CHECK(says(unpack(0, 400, 300), "must lie within the config's experts"));
    CHECK(says(unpack(-1, 2, 0), "must lie within the config's experts"));
    CHECK(says(unpack(1, 1, 0), "before the first"));
    CHECK(says(unpack(0, 1, 1), "behind the last"));
  }
}

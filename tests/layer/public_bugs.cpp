// Bugs that other MoE implementations had in public, by their numbers in the project's list of 21, each as a test. One is
// left out: #17, host synchronisation that breaks CUDA graphs, needs a device. Of #15, a rank without tokens that hangs, and
// #19, kernels of the wrong architecture, the parts that a host can have stand here: a shard without rows, a path of the
// wrong instruction set or one that is skipped.
#include <coterie/coterie.hpp>
#include <coterie/reference.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <cmath>
#include <set>
#include <sys/mman.h>
#include <thread>
#include <vector>
#include "../cases.hpp"
#include "addresses.hpp"

namespace {
using namespace coterie;
using Ids = std::vector<std::int32_t>;
using Floats = std::vector<float>;

constexpr Config routing_only(int experts, int top_k, RouterConfig r = {}) {
  r.input = RouterInput::logits;
  return {.experts = experts, .top_k = top_k, .hidden = 1, .ffn = 1, .dtype = DType::fp32, .weights = DType::fp32, .router = r};
}
// Router and dispatch on the caller's logits.
struct Routed {
  Ids expert, begin, token, slot;
  Floats weight;
};
template <Config C> Routed route_logits(Floats const& z, Isa isa = Isa::best) {
  auto const n = static_cast<std::int64_t>(z.size()) / logit_columns(C);
  auto const size = static_cast<std::size_t>(n * slots(C));
  Host const on{.threads = 1, .isa = isa};
  Routed r{Ids(size, -7), Ids(C.experts + 1, -7), Ids(size, -7), Ids(size, -7), Floats(size, -7)};
  Floats row_weight(size);
  Routing<C> const routing{.expert = {r.expert.data(), n}, .weight = {r.weight.data(), n}};
  Router<C, Host> const router;
  Dispatch<C, Host> const dispatch;
  std::vector<std::byte> scratch(router.workspace_bytes(on, n) + dispatch.workspace_bytes(on, n));
  Inputs<C> const in{.x = {nullptr, n}, .logits = {z.data(), n}};
  router(on, in, {}, routing, scratch);
  dispatch(on, in, routing, {r.begin.data(), r.token.data(), row_weight.data(), {r.slot.data(), n}}, scratch);
  return r;
}
// In range, and no expert twice in a row.
template <Config C> void check_valid(Routed const& r) {
  long wrong = 0;
  for (std::size_t i = 0; i < r.expert.size(); i += static_cast<std::size_t>(C.top_k)) {
    std::set<int> const row(r.expert.begin() + static_cast<std::ptrdiff_t>(i), r.expert.begin() + static_cast<std::ptrdiff_t>(i) + C.top_k);
    wrong += static_cast<int>(row.size()) != C.top_k || *row.begin() < 0 || *row.rbegin() >= C.experts;
  }
  CHECK(wrong == 0);
  CHECK(r.begin.back() == static_cast<int>(r.expert.size()));
}

// A layer with random weights, all of one type.
template <Config C> struct Subject {
  using V = element_t<C.dtype>;
  std::vector<std::vector<V>> gate, up, down;
  std::vector<V> router;
  Weights<C> raw{};
  Packed<C, Host> packed;
  Layer<C, Host> layer{packed.view()};
  explicit Subject(std::uint64_t seed = 1) : packed(make(seed)) {}
  static std::vector<V> numbers(cases::Random& random, int n, double size) {
    std::vector<V> to;
    for (int i = 0; i < n; ++i) to.push_back(from_float<V>(static_cast<float>(size * random.normal())));
    return to;
  }
  std::vector<V> x(int tokens, std::uint64_t seed = 2) const {
    cases::Random random{seed};
    return numbers(random, tokens * C.hidden, 1);
  }
  std::vector<V> forward(Host const& on, std::vector<V> const& from, Routing<C> given = {}) const {
    auto const n = static_cast<std::int64_t>(from.size()) / C.hidden;
    std::vector<V> y(from.size(), from_float<V>(NAN));
    std::vector<std::byte> workspace(layer.workspace_bytes(on, n));
    layer.forward(on, Inputs<C>{.x = {from.data(), n}, .routing = given}, Rows<V, C.hidden>{y.data(), n}, workspace);
    return y;
  }

 private:
  Packed<C, Host> make(std::uint64_t seed) {
    cases::Random random{seed};
    for (std::size_t e = 0; e < C.experts; ++e) {
      gate.push_back(numbers(random, C.ffn * C.hidden, 0.3)), up.push_back(numbers(random, C.ffn * C.hidden, 0.3)), down.push_back(numbers(random, C.hidden * C.ffn, 0.3));
      raw.gate[e].data = gate[e].data(), raw.up[e].data = up[e].data(), raw.down[e].data = down[e].data();
    }
    router = numbers(random, C.experts * C.hidden, 0.3);
    raw.router.data = router.data();
    return pack(Host{.threads = 1}, raw);
  }
};
constexpr Config small(int experts, int top_k, DType dtype, RouterInput input = RouterInput::hidden) {
  return {.experts = experts, .top_k = top_k, .hidden = 24, .ffn = 20, .dtype = dtype, .weights = dtype, .router = {.input = input, .weights = dtype}};
}

// Address space without memory behind it: pages appear where they are touched.
class Virtual {
 public:
  explicit Virtual(std::size_t bytes) : bytes_(bytes), data_(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  Virtual(Virtual const&) = delete;
  Virtual& operator=(Virtual const&) = delete;
  ~Virtual() {
    if (data_ != MAP_FAILED) munmap(data_, bytes_);
  }
  explicit operator bool() const { return data_ != MAP_FAILED; }
  template <class T> T* as() const { return static_cast<T*>(data_); }

 private:
  std::size_t bytes_;
  void* data_;
};

// The winners are the last experts, best last; then all experts tie.
template <int E> void many_experts() {
  constexpr int K = E < 8 ? E : 8;
  constexpr Config c = routing_only(E, K);
  Floats z;
  for (int t = 0; t < 3; ++t)
    for (int e = 0; e < E; ++e) z.push_back(static_cast<float>(e) * 0.01f + static_cast<float>(t));
  z.insert(z.end(), E, 0.5f);
  Routed const r = route_logits<c>(z);
  CAPTURE(E);
  check_valid<c>(r);
  for (int k = 0; k < K; ++k) {
    for (int t = 0; t < 3; ++t) CHECK(r.expert[static_cast<std::size_t>(t * K + k)] == E - 1 - k);
    CHECK(r.expert[static_cast<std::size_t>(3 * K + k)] == k);
  }
}
template <Config C> void broken_logits() {
  float const inf = INFINITY;
  std::vector<Floats> rows(7, Floats(C.experts, 0.25f));
  rows[0].assign(C.experts, NAN), rows[1].back() = NAN, rows[2].front() = inf, rows[3].assign(C.experts, -inf), rows[4].assign(C.experts, inf);
  rows[5].assign(C.experts, -NAN), rows[6] = rows[1], rows[6][0] = -inf;
  Floats z;
  for (Floats const& r : rows) z.insert(z.end(), r.begin(), r.end());
  check_valid<C>(route_logits<C>(z));
}
}

TEST_SUITE("layer") {
  TEST_CASE("#1: NaN and infinite logits never make an index out of range") {
    broken_logits<routing_only(8, 2)>();
    broken_logits<routing_only(8, 3, {.score = Score::sigmoid})>();
    broken_logits<routing_only(8, 2, {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none})>();
    broken_logits<routing_only(8, 3, {.score = Score::sqrt_softplus})>();
    broken_logits<routing_only(8, 2, {.score = Score::identity, .select = Select::sparse_mixer, .normalise = Normalise::none, .noise_size = 0.01f})>();
    broken_logits<routing_only(8, 4, {.score = Score::sigmoid, .select = Select::group_top_k, .groups = 4, .groups_kept = 2})>();
    broken_logits<routing_only(8, 4, {.score = Score::sigmoid, .select = Select::group_top_k, .groups = 4, .groups_kept = 2, .group_fill = Fill::zero})>();
  }
  TEST_CASE("#2: padding rows of NaN and infinities leave the real rows alone") {
    Subject<small(13, 3, DType::bf16)> const m;
    Host const on{.threads = 2};
    auto const real = m.x(20), want = m.forward(on, real);
    for (bf16 bad : {bf16{0x7fc0}, bf16{0xffff}, bf16{0x7f80}, bf16{0xff80}, bf16{0x7f7f}}) {
      auto padded = real;
      padded.resize(64 * 24, bad);
      auto const y = m.forward(on, padded);
      CHECK(std::memcmp(y.data(), want.data(), want.size() * sizeof(bf16)) == 0);
    }
  }
  TEST_CASE("#3: top_k has no limit of its own: every expert, and far more than 256") {
    // top_k = 0 and top_k > experts are refused at compile time.
    constexpr Config all = routing_only(300, 300, {.normalise = Normalise::none}), one = routing_only(1, 1);
    cases::Random random{1};
    Floats z;
    for (int i = 0; i < 5 * 300; ++i) z.push_back(static_cast<float>(random.normal()));
    Routed const r = route_logits<all>(z);
    check_valid<all>(r);
    for (std::size_t t = 0; t < 5; ++t) {
      double sum = 0;
      for (std::size_t k = 0; k < 300; ++k) sum += double{r.weight[t * 300 + k]};
      CHECK(sum == doctest::Approx(1).epsilon(302 * 0x1p-24));
      CHECK(std::is_sorted(r.weight.begin() + static_cast<std::ptrdiff_t>(t * 300), r.weight.begin() + static_cast<std::ptrdiff_t>((t + 1) * 300), std::greater<>{}));
    }
    CHECK(route_logits<one>({-4, 4}).weight == Floats{1, 1});
  }
  TEST_CASE("#4, #5: any number of experts, more than 256, no powers of two; the winners at the end") {
    many_experts<1>(), many_experts<2>(), many_experts<3>(), many_experts<7>(), many_experts<8>(), many_experts<60>(), many_experts<64>(), many_experts<128>(), many_experts<255>();
    many_experts<256>(), many_experts<257>(), many_experts<384>(), many_experts<512>(), many_experts<1024>();
  }
  TEST_CASE("#6: an expert named twice in a row counts twice") {
    Subject<small(5, 2, DType::fp32, RouterInput::given)> const m;
    Host const on{.threads = 1};
    auto const x = m.x(1);
    Ids twice{3, 3}, once{3, -1};
    Floats halves{0.5f, 0.25f}, whole{0.75f, 0};
    auto const a = m.forward(on, x, {.expert = {twice.data(), 1}, .weight = {halves.data(), 1}}), b = m.forward(on, x, {.expert = {once.data(), 1}, .weight = {whole.data(), 1}});
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::fabs(a[i] - b[i]) <= 0x1p-23f * std::fabs(b[i]));
  }
  TEST_CASE("#7: -1 is nobody; any other id outside the experts is an error, never an index") {
    Subject<small(5, 2, DType::fp32, RouterInput::given)> const m;
    Host const on{.threads = 1};
    auto const x = m.x(1);
    Floats weight{1, 1};
    auto const run = [&](Ids ids) { return m.forward(on, x, {.expert = {ids.data(), 1}, .weight = {weight.data(), 1}}); };
    CHECK(run({-1, -1}) == Floats(24, 0));
    for (int bad : {-2, 5, 1 << 30, INT32_MIN, INT32_MAX}) CHECK_THROWS_WITH_AS(run({0, bad}), doctest::Contains("out of range"), Error);
  }
  TEST_CASE("#8: the last expert is not lost, counts sum to tokens times slots") {
    constexpr Config c = routing_only(9, 2);
    Floats z;
    for (int t = 0; t < 1000; ++t)
      for (int e = 0; e < 9; ++e) z.push_back(e == 8 || e == t % 8 ? 1.f : 0.f);
    Routed const r = route_logits<c>(z);
    CHECK(r.begin == Ids{0, 125, 250, 375, 500, 625, 750, 875, 1000, 2000});
  }
  TEST_CASE("#9: rows times stride beyond 2^31 and 2^32 elements") {
    using M = Subject<small(5, 2, DType::bf16)>;
    M const m;
    Host const on{.threads = 2};
    std::int64_t const stride = (std::int64_t{1} << 31) + 64;            // the third row begins beyond 2^32
    Virtual const far{static_cast<std::size_t>(3 * stride) * sizeof(bf16)}, away{static_cast<std::size_t>(3 * stride) * sizeof(bf16)};
    if (!far || !away) {
      MESSAGE("no address space: skipped");
      return;
    }
    auto const x = m.x(3), want = m.forward(on, x);
    for (std::int64_t t = 0; t < 3; ++t) std::copy_n(x.data() + t * 24, 24, far.as<bf16>() + t * stride);
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 3));
    m.layer.forward(on, Rows<bf16 const, 24>{far.as<bf16>(), 3, stride}, Rows<bf16, 24>{away.as<bf16>(), 3, stride}, workspace);
    for (std::int64_t t = 0; t < 3; ++t) CHECK(std::memcmp(away.as<bf16>() + t * stride, want.data() + t * 24, 24 * sizeof(bf16)) == 0);
  }
  TEST_CASE("#9: routed rows times width beyond 2^31") {
    constexpr Config c = small(5, 2, DType::fp32, RouterInput::given);
    using Stage = Experts<c, Host>;
    Subject<c> const m;
    Host const on{.threads = 2};
    auto const x = m.x(3);
    std::int32_t const rows = (1 << 28) + 3;                             // times 24 columns, 32 padded hidden values: 2^33
    Virtual const token{std::size_t{rows} * 4}, out{std::size_t{rows} * 24 * 4}, hidden{std::size_t{rows} * 32 * 4};
    if (!token || !out || !hidden) {
      MESSAGE("no address space: skipped");
      return;
    }
    Ids begin{0, rows - 3, rows - 3, rows - 3, rows - 3, rows}, hit(5);  // expert 0 belongs to another shard
    for (int i = 0; i < 3; ++i) token.as<std::int32_t>()[rows - 3 + i] = i;
    Floats a(3 * 32);
    PackedView<c, Host> shard = m.packed.view();
    shard.first_expert = 1, shard.experts = 4;
    Stage::run(on, host::VectorEngine{on.path()}, {x.data(), 3}, shard, {.begin = begin.data(), .token = token.as<std::int32_t>(), .slot = {}}, {out.as<float>(), rows}, {.a = a.data(), .h = hidden.as<float>(), .records = nullptr, .hit = hit.data()});
    Ids ids{4, -1, 4, -1, 4, -1};
    Floats ones(6, 1);
    auto const want = m.forward(on, x, {.expert = {ids.data(), 3}, .weight = {ones.data(), 3}});
    CHECK(std::memcmp(out.as<float>() + std::int64_t{rows - 3} * 24, want.data(), want.size() * sizeof(float)) == 0);
  }
  TEST_CASE("#10: experts times the size of one beyond 2^31") {
    constexpr Config c{.experts = 8192, .top_k = 1, .hidden = 256, .ffn = 512, .router = {.input = RouterInput::given}};
    using P = Packer<c, Host>;
    static_assert(P::bytes() > std::size_t{8192} * 3 * 256 * 512 * 2);   // 6.4 GB, 3.2e9 elements
    Virtual const memory{P::bytes()};
    if (!memory) {
      MESSAGE("no address space: skipped");
      return;
    }
    Host const on{.threads = 1};
    P packer{on, {memory.as<std::byte>(), P::bytes()}};
    std::vector<bf16> const one(256 * 512, from_float<bf16>(1)), small_one(256 * 512, from_float<bf16>(0x1p-8f));
    packer.expert(8191, Matrix<DType::bf16, 512, 256>{one.data()}, {small_one.data()}, Matrix<DType::bf16, 256, 512>{one.data()});
    Layer<c, Host> const layer{{memory.as<std::byte>()}};
    std::vector<bf16> const x(256, from_float<bf16>(1));
    std::vector<bf16> y(256);
    std::vector<std::byte> workspace(layer.workspace_bytes(on, 1));
    std::int32_t expert = 8191;
    float weight = 1;
    layer.forward(on, Inputs<c>{.x = {x.data(), 1}, .routing = {.expert = {&expert, 1}, .weight = {&weight, 1}}}, Rows<bf16, 256>{y.data(), 1}, workspace);
    for (bf16 v : y) CHECK(to_float(v) == 512 * 256);                    // gate 256, silu(256) = 256; up 1; down 512 * 256
  }
  TEST_CASE("#11: a hundred runs, the same bits") {
    Subject<small(7, 4, DType::bf16)> const m;
    Host const on{.threads = 4};
    auto const x = m.x(80), first = m.forward(on, x);
    long wrong = 0;
    for (int i = 0; i < 100; ++i) wrong += std::memcmp(m.forward(on, x).data(), first.data(), first.size() * sizeof(bf16)) != 0;
    CHECK(wrong == 0);
  }
  TEST_CASE("#12: ties, also at the cutoff, go to the lower index on every path") {
    constexpr Config c = routing_only(384, 6, {.score = Score::sigmoid, .normalise = Normalise::none});
    Floats z(384, 0.5f);
    for (int e : {100, 200, 300}) z[static_cast<std::size_t>(e)] = 1;
    Floats const reversed(z.rbegin(), z.rend());
    for (Isa isa : cases::paths()) {
      CAPTURE(name(isa));
      CHECK(route_logits<c>(z, isa).expert == Ids{100, 200, 300, 0, 1, 2});
      CHECK(route_logits<c>(reversed, isa).expert == Ids{83, 183, 283, 0, 1, 2});
    }
    // The same where the router computes the logits: all its rows are the same, so every expert ties.
    constexpr Config learned = small(9, 4, DType::bf16);
    Subject<learned> m;
    for (std::size_t e = 1; e < 9; ++e) std::copy_n(m.router.begin(), 24, m.router.begin() + static_cast<std::ptrdiff_t>(24 * e));
    auto const packed = pack(Host{.threads = 1}, m.raw);
    auto const x = m.x(40);
    for (Isa isa : cases::paths()) {
      CAPTURE(name(isa));
      Host const on{.threads = 1, .isa = isa};
      Ids expert(160, -7);
      Floats weight(160);
      std::vector<std::byte> scratch(Router<learned, Host>{}.workspace_bytes(on, 40));
      Router<learned, Host>{}(on, {.x = {x.data(), 40}}, packed.view(), {.expert = {expert.data(), 40}, .weight = {weight.data(), 40}}, scratch);
      for (std::size_t i = 0; i < 160; ++i) CHECK(expert[i] == static_cast<int>(i % 4));
    }
  }
  TEST_CASE("#13: softmax before top-k and after it are two named policies") {
    constexpr Config before = routing_only(4, 2, {.normalise = Normalise::none}), after = routing_only(4, 2, {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none}),
                     renormalised = routing_only(4, 2);
    Floats const z{0, 1, 2, 3};
    double const e1 = std::exp(-1), e2 = std::exp(-2), e3 = std::exp(-3);
    CHECK(double{route_logits<before>(z).weight[0]} == doctest::Approx(1 / (1 + e1 + e2 + e3)).epsilon(1e-6));
    CHECK(double{route_logits<after>(z).weight[0]} == doctest::Approx(1 / (1 + e1)).epsilon(1e-6));
    CHECK(double{route_logits<renormalised>(z).weight[0]} == doctest::Approx(1 / (1 + e1)).epsilon(1e-6));
  }
  TEST_CASE("#14, #21: the host's layers are the reference's, top-1 and deeper in a stack, on every path") {
    auto const check = []<Config C>(std::type_identity<Layer<C, Host>>) {
      Subject<C> const m;
      reference::Weights const w = reference::weights(m.raw);
      for (Isa isa : cases::paths()) {
        Host const on{.threads = 2, .isa = isa};
        auto x = m.x(9);
        for (int depth = 0; depth < 4; ++depth) {                        // each layer reads what the one before wrote
          auto const y = m.forward(on, x);
          reference::Result const want = reference::layer(C, w, reference::inputs(Inputs<C>{.x = {x.data(), 9}}));
          double worst = 0;
          for (std::size_t i = 0; i < y.size(); ++i)
            if (want.routing.margin[i / 24] > 1 && want.bound[i] > 0) worst = std::fmax(worst, std::fabs(double{to_float(y[i])} - want.y[i]) / want.bound[i]);
          CAPTURE(name(isa));
          CAPTURE(depth);
          CHECK(worst <= 1);
          CHECK(std::ranges::count_if(want.routing.margin, [](double d) { return d > 1; }) > 5);
          for (std::size_t i = 0; i < y.size(); ++i) x[i] = from_float<typename Subject<C>::V>(to_float(x[i]) / 2 + to_float(y[i]));
        }
      }
    };
    check(std::type_identity<Layer<small(6, 1, DType::fp32), Host>>{});
    check(std::type_identity<Layer<small(9, 3, DType::bf16), Host>>{});
  }
  TEST_CASE("#15: a shard without rows computes nothing and touches nothing") {
    constexpr Config c = small(6, 2, DType::bf16, RouterInput::given);
    Subject<c> const m;
    Host const on{.threads = 2};
    auto const x = m.x(8);
    Ids begin{0, 0, 0, 16, 16, 16, 16}, token(16, 3);
    std::vector<bf16> out(16 * 24, bf16{0x1234});
    std::vector<std::byte> scratch(Experts<c, Host>{}.workspace_bytes(on, 8));
    PackedView<c, Host> const shard{m.packed.view().data, 3, 3};
    Experts<c, Host>{}(on, {x.data(), 8}, shard, {.begin = begin.data(), .token = token.data(), .slot = {}}, {out.data(), 16}, scratch);
    CHECK(std::all_of(out.begin(), out.end(), [](bf16 v) { return v.bits == 0x1234; }));
  }
  TEST_CASE("#16: groups of any size give every row the same bits") {
    constexpr Config c = small(2, 1, DType::bf16, RouterInput::given);
    Subject<c> const m;
    auto const x = m.x(150);
    Floats ones(150, 1);
    Ids all(150, 1);
    Host const on{.threads = 2};
    auto const want = m.forward(on, x, {.expert = {all.data(), 150}, .weight = {ones.data(), 150}});
    for (std::size_t n : {1, 2, 3, 5, 7, 11, 12, 13, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 65, 95, 97, 127, 128, 129}) {
      std::vector<bf16> const part(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(n * 24));
      auto const y = m.forward(on, part, {.expert = {all.data(), static_cast<std::int64_t>(n)}, .weight = {ones.data(), static_cast<std::int64_t>(n)}});
      CHECK(std::memcmp(y.data(), want.data(), y.size() * sizeof(bf16)) == 0);
    }
  }
  TEST_CASE("#18: any alignment of x and y, aligned or not, takes a path that works") {
    using M = Subject<small(5, 2, DType::bf16)>;
    M const m;
    Host const on{.threads = 1};
    auto const x = m.x(7), want = m.forward(on, x);
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 7));
    std::vector<bf16> from(7 * 24 + 32), to(7 * 24 + 32);
    for (std::size_t offset = 0; offset < 32; ++offset) {
      std::copy(x.begin(), x.end(), from.begin() + static_cast<std::ptrdiff_t>(offset));
      m.layer.forward(on, rows<24>(from.data() + offset, 7), rows<24>(to.data() + (31 - offset), 7), workspace);
      CHECK(std::memcmp(to.data() + (31 - offset), want.data(), want.size() * sizeof(bf16)) == 0);
    }
  }
  TEST_CASE("#19: the path that was asked for runs and writes everything, or there is an error; it is never skipped") {
    using M = Subject<small(9, 3, DType::bf16)>;
    M const m;
    auto const x = m.x(33);
    for (Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx}) {
      CAPTURE(name(isa));
      Host const on{.threads = 2, .isa = isa};
      if (!host::supports(isa)) {
        CHECK_THROWS_WITH_AS(m.forward(on, x), doctest::Contains(name(isa)), Error);
        CHECK_THROWS_WITH_AS(m.layer.explain(on, 33), doctest::Contains(name(isa)), Error);
        continue;
      }
      for (bf16 v : m.forward(on, x)) CHECK(!is_nan(to_float(v)));      // y was NaN before
      CHECK(m.layer.explain(on, 33).find(std::string("experts:  ") + name(isa) + " on bf16 panels") != std::string::npos);
    }
    CHECK(host::supports(host::best()));
  }
  TEST_CASE("#20: two translation units with all headers link, and share one definition of every function") {
    CHECK(cases::addresses_here() == cases::addresses_elsewhere());
  }
}

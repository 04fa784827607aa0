// The promises of the design, each as a test, as far as the host keeps them.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <string>
#include <thread>
#include <vector>
#include "../cases.hpp"

// Every allocation of the program passes here, so that one inside forward() shows.
namespace {
std::atomic<bool> counting{false};
std::atomic<long> allocations{0};
void* allocate_or_null(std::size_t bytes, std::size_t alignment = alignof(std::max_align_t)) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  return std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
}
void* allocate(std::size_t bytes, std::size_t alignment) {
  void* const p = allocate_or_null(bytes, alignment);
  if (!p) throw std::bad_alloc{};
  return p;
}
}
[[gnu::noinline]] void* operator new(std::size_t n) { return allocate(n, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return allocate(n, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a) { return allocate(n, static_cast<std::size_t>(a)); }
[[gnu::noinline]] void* operator new(std::size_t n, std::nothrow_t const&) noexcept { return allocate_or_null(n); }
[[gnu::noinline]] void* operator new[](std::size_t n, std::nothrow_t const&) noexcept { return allocate_or_null(n); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::nothrow_t const&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace {
using namespace coterie;

// Sizes that fit nothing: no power of two, no multiple of a tile, a shared expert.
constexpr Config shared_layer{.experts = 13, .top_k = 3, .hidden = 70, .ffn = 90, .shared = {.ffn = 38}};
// Groups, a bias for selection, capacity with normalisation after the drop, fp32.
constexpr Config dropping{.experts = 12, .top_k = 2, .hidden = 33, .ffn = 40, .dtype = DType::fp32, .weights = DType::fp32,
                          .router = {.precision = Precision::fp32, .weights = DType::fp32, .score = Score::sigmoid, .select_bias = 1, .select = Select::group_top_k, .groups = 4,
                                     .groups_kept = 2, .epsilon = 1e-20f, .scale = 2.5f},
                          .capacity = {.rounding = Rounding::deepspeed, .factor = 0.75f, .minimum = 1, .order = Order::probability, .normalise = When::after}};
// Latent experts with biases, mixed coefficients, roundings of the model's type.
constexpr Config latent{.experts = 5, .top_k = 2, .hidden = 50, .ffn = 20, .router = {.score = Score::identity, .post = Post::softmax, .normalise = Normalise::none},
                        .expert = {.bias = 1, .latent = 24, .latent_norm = LatentNorm::rms}, .shared = {.ffn = 16, .mix = SharedMix::coefficients}, .combine = Accumulate::model};
constexpr Config by_experts{.experts = 6, .top_k = 2, .hidden = 40, .ffn = 24, .router = {.select = Select::expert_choice, .normalise = Normalise::none}};

template <DType D> using List = std::vector<element_t<D>>;
template <DType D> List<D> numbers(cases::Random& random, std::int64_t n, double size) {
  List<D> to;
  for (std::int64_t i = 0; i < n; ++i) to.push_back(from_float<element_t<D>>(static_cast<float>(size * random.normal())));
  return to;
}

// A layer with random weights.
template <Config C> struct Checkpoint {
  static constexpr std::int64_t H = C.hidden, F = C.ffn, W = width(C), S = C.shared.ffn, E = C.experts, N = logit_columns(C);
  List<C.router.weights> router;
  List<DType::fp32> select_bias, norm;
  std::vector<List<C.weights>> gate, up, down;
  std::vector<std::vector<float>> bias;
  List<C.shared.weights> shared_gate, shared_up, shared_down, mix;
  List<C.dtype> latent_down, latent_up;
  Weights<C> raw{};
  explicit Checkpoint(std::uint64_t seed) {
    cases::Random random{seed};
    router = numbers<C.router.weights>(random, N * H, 0.3), raw.router.data = router.data();
    select_bias = numbers<DType::fp32>(random, N, 0.2), norm = numbers<DType::fp32>(random, W, 0.5);
    if (C.router.select_bias) raw.select_bias = select_bias.data();
    for (std::size_t e = 0; e < E; ++e) {
      gate.push_back(numbers<C.weights>(random, F * W, 0.2)), up.push_back(numbers<C.weights>(random, F * W, 0.2)), down.push_back(numbers<C.weights>(random, W * F, 0.2));
      bias.push_back(numbers<DType::fp32>(random, F + W, 0.1));
      raw.gate[e].data = gate[e].data(), raw.up[e].data = up[e].data(), raw.down[e].data = down[e].data();
    }
    for (std::size_t e = 0; e < (C.expert.bias ? C.experts : 0); ++e) raw.gate_bias[e] = raw.up_bias[e] = raw.down_bias[e] = bias[e].data();
    shared_gate = numbers<C.shared.weights>(random, S * H, 0.2), shared_up = numbers<C.shared.weights>(random, S * H, 0.2);
    shared_down = numbers<C.shared.weights>(random, H * S, 0.2), mix = numbers<C.shared.weights>(random, 2 * H, 0.2);
    raw.shared.gate.data = shared_gate.data(), raw.shared.up.data = shared_up.data(), raw.shared.down.data = shared_down.data(), raw.shared.mix.data = mix.data();
    latent_down = numbers<C.dtype>(random, W * H, 0.2), latent_up = numbers<C.dtype>(random, H * W, 0.2);
    raw.latent.down.data = latent_down.data(), raw.latent.up.data = latent_up.data(), raw.latent.norm = norm.data();
  }
};

template <Config C> struct Subject {
  using V = element_t<C.dtype>;
  static constexpr int H = C.hidden;
  Checkpoint<C> checkpoint{7};
  Packed<C, Host> packed{pack(Host{.threads = 1}, checkpoint.raw)};
  Layer<C, Host> layer{packed.view()};
  std::vector<V> x(std::int64_t tokens, std::uint64_t seed = 3) const {
    cases::Random random{seed};
    return numbers<C.dtype>(random, tokens * H, 1);
  }
};
// y of a forward whose workspace and y stand between guard bands and were poisoned.
template <Config C> std::vector<element_t<C.dtype>> forward(Subject<C> const& m, Host const& on, std::vector<element_t<C.dtype>> const& x, std::uint64_t seed = 0, unsigned char poison = 0xa5) {
  using V = element_t<C.dtype>;
  auto const tokens = static_cast<std::int64_t>(x.size()) / C.hidden;
  cases::Guarded workspace{m.layer.workspace_bytes(on, tokens), poison}, y{x.size() * sizeof(V), poison};
  m.layer.forward(on, Inputs<C>{.x = {x.data(), tokens}, .seed = seed}, Rows<V, C.hidden>{y.data<V>(), tokens}, workspace.span());
  bool const intact = workspace.intact() && y.intact();
  if (!intact) FAIL("a guard band was written");
  return {y.data<V>(), y.data<V>() + x.size()};
}
template <class T> bool same(std::vector<T> const& a, std::vector<T> const& b) { return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0; }

template <class F> std::string message(F const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.what();
  }
  return "";
}
bool names(std::string const& text, int line) { return text.find(std::string("(") + __FILE__ + ":" + std::to_string(line) + ")") != std::string::npos; }

template <Config C> void same_on_any_threads() {
  Subject<C> const m;
  for (Isa isa : cases::paths())
    for (std::int64_t tokens : {1, 2, 17, 130}) {
      auto const x = m.x(tokens);
      auto const once = forward(m, Host{.threads = 1, .isa = isa}, x, 1);
      CAPTURE(name(isa));
      CAPTURE(tokens);
      for (int threads : {2, 3, 5}) CHECK(same(forward(m, Host{.threads = threads, .isa = isa}, x, 1, 0x5a), once));
    }
}
template <Config C> void nothing_for_nobody() {
  Subject<C> const m;
  using V = element_t<C.dtype>;
  Host const on{.threads = 2};
  std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 0));
  CHECK_NOTHROW(m.layer.forward(on, Rows<V const, C.hidden>{nullptr, 0}, Rows<V, C.hidden>{nullptr, 0}, workspace));
  CHECK_NOTHROW(m.layer.forward(on, Inputs<C>{.x = {nullptr, 0}}, Rows<V, C.hidden>{nullptr, 0}, workspace));
}
template <Config C> void exact_workspace() {
  Subject<C> const m;
  using V = element_t<C.dtype>;
  Host const on{.threads = 2};
  for (std::int64_t tokens : {1, 7, 40}) {
    auto const x = m.x(tokens);
    std::vector<V> y(x.size());
    std::size_t const bytes = m.layer.workspace_bytes(on, tokens);
    auto const run = [&](std::span<std::byte> workspace) { m.layer.forward(on, Rows<V const, C.hidden>{x.data(), tokens}, Rows<V, C.hidden>{y.data(), tokens}, workspace); };
    auto const want = forward(m, on, x);
    for (std::size_t offset = 0; offset < 260; offset += offset < 8 ? 1 : 21) {                    // any alignment
      std::vector<std::byte> memory(bytes + offset + 64, std::byte{0xa5});
      run(std::span(memory).subspan(offset, bytes));
      CHECK(same(y, want));
      CHECK(std::all_of(memory.begin(), memory.begin() + static_cast<std::ptrdiff_t>(offset), [](std::byte b) { return b == std::byte{0xa5}; }));
      CHECK(std::all_of(memory.end() - 64, memory.end(), [](std::byte b) { return b == std::byte{0xa5}; }));
    }
    std::vector<std::byte> memory(bytes);
    CHECK_THROWS_WITH_AS(run(std::span(memory).first(bytes - 1)), doctest::Contains(("got " + std::to_string(bytes - 1) + ", want " + std::to_string(bytes)).c_str()), Error);
    CHECK_THROWS_AS(run({}), Error);
  }
  std::size_t last = 0;
  long wrong = 0;
  for (std::int64_t tokens = 0; tokens < 400; ++tokens) {
    std::size_t const now = m.layer.workspace_bytes(on, tokens);
    wrong += now < last || now != m.layer.workspace_bytes(tokens) || now != m.layer.workspace_bytes(Host{.threads = 1, .isa = Isa::portable}, tokens);
    last = now;
  }
  CHECK(wrong == 0);
  // More than needed will do, and changes nothing.
  auto const x = m.x(5);
  std::vector<V> y(x.size());
  std::vector<std::byte> more(m.layer.workspace_bytes(on, 300));
  m.layer.forward(on, Rows<V const, C.hidden>{x.data(), 5}, Rows<V, C.hidden>{y.data(), 5}, more);
  CHECK(same(y, forward(m, on, x)));
}
template <Config C> void nan_rows(bool dropless) {
  Subject<C> const m;
  Host const on{.threads = 2};
  auto const x = m.x(33);
  auto const clean = forward(m, on, x);
  for (int column : {0, C.hidden / 2, C.hidden - 1, -1}) {               // one element, or all of the row
    auto dirty = x;
    for (int h = 0; h < C.hidden; ++h)
      if (column < 0 || h == column) dirty[static_cast<std::size_t>(5 * C.hidden + h)] = from_float<element_t<C.dtype>>(NAN);
    auto const y = forward(m, on, dirty);
    long nan = 0, other = 0;
    for (std::size_t i = 0; i < y.size(); ++i) {
      if (i / C.hidden == 5) nan += is_nan(to_float(y[i]));
      else other += to_float(y[i]) != to_float(clean[i]);
    }
    if (dropless) CHECK(nan == C.hidden);
    if (dropless) CHECK(other == 0);                                     // where places are few, a row of NaN may take one or free one
    for (int threads : {1, 5}) CHECK(same(forward(m, Host{.threads = threads}, dirty), y));        // to the bit, NaN too
  }
}
}

TEST_SUITE("layer") {
  TEST_CASE("1. the same bits on 1, 2, 3 and 5 threads, on every path") {
    same_on_any_threads<shared_layer>();
    same_on_any_threads<dropping>();
    same_on_any_threads<latent>();
    same_on_any_threads<by_experts>();
  }
  TEST_CASE("1. the same bits run after run, also under load") {
    Subject<shared_layer> const m;
    Host const on{.threads = 4};
    auto const x = m.x(61), first = forward(m, on, x);
    std::atomic<bool> stop{false};
    std::vector<std::thread> load;
    for (int i = 0; i < 3; ++i) load.emplace_back([&] { while (!stop.load()) std::this_thread::yield(); });
    long wrong = 0;
    for (int run = 0; run < 100; ++run) wrong += !same(forward(m, on, x, 0, static_cast<unsigned char>(run)), first);
    stop = true;
    for (auto& t : load) t.join();
    CHECK(wrong == 0);
  }
  TEST_CASE("1. on the host a token does not depend on its neighbours") {
    Subject<shared_layer> const m;
    for (Isa isa : cases::paths()) {
      Host const on{.threads = 2, .isa = isa};
      auto const x = m.x(50), all = forward(m, on, x);
      for (std::size_t t : {0, 1, 31, 49}) {
        std::vector<bf16> const one(x.begin() + static_cast<std::ptrdiff_t>(t * 70), x.begin() + static_cast<std::ptrdiff_t>((t + 1) * 70)), y = forward(m, on, one);
        CHECK(std::memcmp(y.data(), &all[t * 70], 70 * sizeof(bf16)) == 0);
      }
    }
  }
  TEST_CASE("2. ties go to the lower index") {
    Subject<shared_layer> m;
    for (auto& w : m.checkpoint.router) w = {0};
    m.packed = pack(Host{.threads = 1}, m.checkpoint.raw);
    auto const x = m.x(20);
    for (Isa isa : cases::paths()) {
      Host const on{.threads = 1, .isa = isa};
      std::vector<std::int32_t> expert(60);
      std::vector<float> weight(60);
      Router<shared_layer, Host> const router;
      std::vector<std::byte> scratch(router.workspace_bytes(on, 20));
      router(on, {.x = {x.data(), 20}}, m.packed.view(), {.expert = {expert.data(), 20}, .weight = {weight.data(), 20}}, scratch);
      for (std::size_t i = 0; i < 60; ++i) CHECK(expert[i] == static_cast<int>(i % 3));
    }
  }
  TEST_CASE("2. a row of NaN selects valid experts and shows in y; every other row keeps its bits") {
    nan_rows<shared_layer>(true);
    nan_rows<latent>(true);
    nan_rows<dropping>(false);
    nan_rows<by_experts>(false);
  }
  TEST_CASE("3. no tokens, null pointers") {
    nothing_for_nobody<shared_layer>();
    nothing_for_nobody<dropping>();
    nothing_for_nobody<latent>();
    nothing_for_nobody<by_experts>();
  }
  TEST_CASE("3. all tokens on the same experts, the others empty") {
    Subject<shared_layer> const m;
    Host const on{.threads = 3};
    auto const one = m.x(1), y = forward(m, on, one);
    std::vector<bf16> many;
    for (int t = 0; t < 300; ++t) many.insert(many.end(), one.begin(), one.end());
    auto const all = forward(m, on, many);
    long wrong = 0;
    for (std::size_t i = 0; i < all.size(); ++i) wrong += all[i].bits != y[i % 70].bits;
    CHECK(wrong == 0);
  }
  TEST_CASE("4. workspace: exact, any alignment, never less for more tokens") {
    exact_workspace<shared_layer>();
    exact_workspace<dropping>();
    exact_workspace<latent>();
    exact_workspace<by_experts>();
  }
  TEST_CASE("4. workspace: sizes in 64 bits; negative and too many tokens are refused") {
    Subject<shared_layer> const m;
    Host const on{.threads = 1};
    std::int64_t const most = ((std::int64_t{1} << 31) - 1) / 3;
    CHECK(m.layer.workspace_bytes(on, most) > static_cast<std::size_t>(most) * 3 * 70 * sizeof(bf16));
    CHECK_THROWS_WITH_AS(m.layer.workspace_bytes(on, most + 1), doctest::Contains("below 2^31"), Error);
    CHECK_THROWS_AS(m.layer.workspace_bytes(on, INT64_MAX), Error);
    CHECK_THROWS_AS(m.layer.workspace_bytes(on, -1), Error);
  }
  TEST_CASE("4. forward allocates nothing, from the first call on") {
    auto const check = []<Config C>(std::type_identity<Layer<C, Host>>) {
      using V = element_t<C.dtype>;
      Subject<C> const m;
      Host const on{.threads = 3};
      auto const x = m.x(40);
      std::vector<V> y(x.size());
      std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 40));
      allocations = 0;
      counting = true;
      m.layer.forward(on, Rows<V const, C.hidden>{x.data(), 40}, Rows<V, C.hidden>{y.data(), 40}, workspace);
      std::size_t const bytes = m.layer.workspace_bytes(on, 40);
      counting = false;
      CHECK(allocations == 0);
      CHECK(bytes == workspace.size());
    };
    check(std::type_identity<Layer<shared_layer, Host>>{});
    check(std::type_identity<Layer<dropping, Host>>{});
    check(std::type_identity<Layer<latent, Host>>{});
    check(std::type_identity<Layer<by_experts, Host>>{});
    counting = true;                                                     // the counter counts
    ::operator delete(::operator new(3));
    counting = false;
    CHECK(allocations == 1);
  }
  TEST_CASE("4. packing never holds a second copy of all weights") {
    Checkpoint<shared_layer> const c{7};
    Host const on{.threads = 1};
    cases::Guarded memory{Packer<shared_layer, Host>::bytes() + 64, 0};
    auto* const start = reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64);
    Packer<shared_layer, Host> packer{on, {start, Packer<shared_layer, Host>::bytes()}};
    allocations = 0;
    counting = true;
    packer.router(c.raw);
    for (std::size_t e = 0; e < 13; ++e) packer.expert(static_cast<int>(e), c.raw.gate[e], c.raw.up[e], c.raw.down[e]);
    counting = false;
    CHECK(allocations == 0);
    auto const packed = packer.finish();
    CHECK(packed.view().data == start);
    CHECK(memory.intact());
  }
  TEST_CASE("4. rows may be further apart than their columns; what lies between is not touched") {
    Subject<shared_layer> const m;
    Host const on{.threads = 2};
    auto const x = m.x(21), want = forward(m, on, x);
    std::vector<bf16> wide(21 * 77, bf16{0x7fc0}), y(21 * 93, bf16{0x1234});                      // NaN between the rows of x
    for (std::size_t t = 0; t < 21; ++t) std::copy_n(&x[t * 70], 70, &wide[t * 77]);
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 21));
    m.layer.forward(on, Rows<bf16 const, 70>{wide.data(), 21, 77}, Rows<bf16, 70>{y.data(), 21, 93}, workspace);
    long wrong = 0;
    for (std::size_t i = 0; i < y.size(); ++i) wrong += y[i].bits != (i % 93 < 70 ? want[i / 93 * 70 + i % 93].bits : 0x1234);
    CHECK(wrong == 0);
  }
  TEST_CASE("4. inputs and packed weights are unchanged") {
    Subject<shared_layer> const m;
    Host const on{.threads = 3};
    auto const x = m.x(40), before = x;
    std::size_t const bytes = Packer<shared_layer, Host>::bytes();
    std::vector<std::byte> const weights(m.packed.view().data, m.packed.view().data + bytes);
    forward(m, on, x);
    CHECK(same(x, before));
    CHECK(std::memcmp(weights.data(), m.packed.view().data, bytes) == 0);
  }
  TEST_CASE("5. callers at the same time, on one Host and one layer, each with its workspace") {
    Subject<shared_layer> const m;
    Host const on{.threads = 3};
    std::vector<std::vector<bf16>> x, want;
    for (std::uint64_t c = 0; c < 5; ++c) x.push_back(m.x(7 + 9 * static_cast<std::int64_t>(c), c + 1)), want.push_back(forward(m, on, x.back()));
    std::atomic<long> wrong{0};
    std::vector<std::thread> callers;
    for (std::size_t c = 0; c < 5; ++c)
      callers.emplace_back([&, c] {
        Host const own = on;                                             // copies of a Host use the same threads
        for (int i = 0; i < 20; ++i) wrong += !same(forward(m, i % 2 ? on : own, x[c]), want[c]);
      });
    for (auto& t : callers) t.join();
    CHECK(wrong == 0);
  }
  TEST_CASE("5. copies of Host, layers inside tasks of the same pool") {
    Subject<latent> const m;
    auto const x = m.x(20);
    std::vector<Host> hosts{Host{.threads = 3}};
    auto const want = forward(m, hosts[0], x);
    hosts.push_back(hosts[0]);
    hosts.erase(hosts.begin());
    CHECK(same(forward(m, hosts[0], x), want));
    std::atomic<long> wrong{0};
    hosts[0].pool->run(6, [&](std::int64_t) { wrong += !same(forward(m, hosts[0], x), want); });
    CHECK(wrong == 0);
  }

  TEST_CASE("errors: y over x") {
    Subject<shared_layer> const m;
    Host const on{.threads = 1};
    std::vector<bf16> memory(400 * 70);
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 4));
    auto const run = [&](std::int64_t x, std::int64_t x_stride, std::int64_t y, std::int64_t y_stride) {
      m.layer.forward(on, Rows<bf16 const, 70>{memory.data() + x, 4, x_stride}, Rows<bf16, 70>{memory.data() + y, 4, y_stride}, workspace);
    };
    CHECK_THROWS_WITH_AS(run(0, 70, 0, 70), doctest::Contains("overlap"), Error);
    CHECK_THROWS_AS(run(0, 70, 279, 70), Error);                         // by one element
    CHECK_THROWS_AS(run(279, 70, 0, 70), Error);
    CHECK_THROWS_AS(run(0, 140, 70, 140), Error);                        // y between the rows of x: refused, too
    CHECK_THROWS_AS(run(500, 70, 0, 400), Error);
    CHECK_NOTHROW(run(0, 70, 280, 70));                                  // side by side
    CHECK_NOTHROW(run(280, 70, 0, 70));
  }
  TEST_CASE("errors: null, misaligned, too narrow, of another height") {
    Subject<shared_layer> const m;
    Host const on{.threads = 1};
    std::vector<bf16> x(4 * 70 + 1), y(4 * 70 + 1);
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 4));
    auto const odd = [](std::vector<bf16>& v) { return reinterpret_cast<bf16*>(reinterpret_cast<std::byte*>(v.data()) + 1); };
    auto const run = [&](Rows<bf16 const, 70> from, Rows<bf16, 70> to) { m.layer.forward(on, from, to, workspace); };
    CHECK_THROWS_WITH_AS(run({nullptr, 4}, {y.data(), 4}), doctest::Contains("x is not set"), Error);
    CHECK_THROWS_WITH_AS(run({x.data(), 4}, {nullptr, 4}), doctest::Contains("y is not set"), Error);
    CHECK_THROWS_WITH_AS(run({odd(x), 4}, {y.data(), 4}), doctest::Contains("x must be aligned"), Error);
    CHECK_THROWS_WITH_AS(run({x.data(), 4}, {odd(y), 4}), doctest::Contains("y must be aligned"), Error);
    CHECK_THROWS_WITH_AS(run({x.data(), 4, 69}, {y.data(), 4}), doctest::Contains("got 69, want 70"), Error);
    CHECK_THROWS_WITH_AS(run({x.data(), 4}, {y.data(), 4, -70}), doctest::Contains("stride"), Error);
    CHECK_THROWS_WITH_AS(run({x.data(), 4}, {y.data(), 3}), doctest::Contains("as many rows"), Error);
    CHECK_THROWS_AS(run({x.data(), -4}, {y.data(), -4}), Error);
    CHECK_NOTHROW(run({x.data(), 4}, {y.data(), 4}));                    // after all that, as before
  }
  TEST_CASE("errors: a path that the processor lacks") {
    Subject<shared_layer> const m;
    auto const x = m.x(2);
    for (Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx})
      if (!host::supports(isa)) CHECK_THROWS_WITH_AS(forward(m, Host{.threads = 1, .isa = isa}, x), doctest::Contains(name(isa)), Error);
  }
  TEST_CASE("errors: they carry the caller's file and line") {
    Subject<shared_layer> const m;
    Host const on{.threads = 1};
    std::vector<bf16> x(140), y(140);
    std::vector<std::byte> few(3);
    Rows<bf16 const, 70> const from{x.data(), 2};
    Rows<bf16, 70> const to{y.data(), 2};
    Weights<shared_layer> const unset{};
    CHECK(names(message([&] { m.layer.forward(on, from, to, few); }), __LINE__));
    CHECK(names(message([&] { m.layer.forward(on, Inputs<shared_layer>{.x = from}, to, few); }), __LINE__));
    CHECK(names(message([&] { (void)m.layer.workspace_bytes(on, -1); }), __LINE__));
    CHECK(names(message([&] { (void)m.layer.workspace_bytes(-1); }), __LINE__));
    CHECK(names(message([&] { (void)pack(on, unset); }), __LINE__));
    using P = Packer<shared_layer, Host>;
    P p{on};
    CHECK(names(message([&] { P{on, few}; }), __LINE__));
    CHECK(names(message([&] { p.router(unset); }), __LINE__));
    CHECK(names(message([&] { p.expert(99, unset.gate[0], unset.up[0], unset.down[0]); }), __LINE__));
    CHECK(names(message([&] { (void)p.finish(); }), __LINE__));
    // Stages on their own.
    Routing<shared_layer> const none{};
    Batch<shared_layer> const batch{};
    CHECK(names(message([&] { Router<shared_layer, Host>{}(on, {.x = from}, m.packed.view(), none, few); }), __LINE__));
    CHECK(names(message([&] { Dispatch<shared_layer, Host>{}(on, {.x = from}, none, batch, few); }), __LINE__));
    CHECK(names(message([&] { Experts<shared_layer, Host>{}(on, from, {}, batch, {}, few); }), __LINE__));
    CHECK(names(message([&] { Shared<shared_layer, Host>{}(on, {.x = from}, {}, none, {}, few); }), __LINE__));
    CHECK(names(message([&] { Combine<shared_layer, Host>{}(on, {.x = from}, {}, none, batch, {}, {}, {}, few); }), __LINE__));
    // Deep inside a forward: the path, the caller's expert ids.
    for (Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512_bf16, Isa::amx})
      if (!host::supports(isa)) {
        Host const lacking{.threads = 1, .isa = isa};
        std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 2));
        CHECK(names(message([&] { m.layer.forward(lacking, from, to, workspace); }), __LINE__));
      }
  }
  TEST_CASE("errors: deep inside a forward they carry the caller's file and line, too") {
    constexpr Config given{.experts = 3, .top_k = 1, .hidden = 2, .ffn = 2, .router = {.input = RouterInput::given}};
    Subject<given> const m;
    Host const on{.threads = 1};
    std::vector<bf16> x(2), y(2);
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 1));
    std::int32_t expert = 3;
    float weight = 1;
    Inputs<given> in{.x = {x.data(), 1}};
    Rows<bf16, 2> const to{y.data(), 1};
    CHECK(names(message([&] { m.layer.forward(on, in, to, workspace); }), __LINE__));                // no routing given
    in.routing = {.expert = {&expert, 1}, .weight = {&weight, 1}};
    CHECK(names(message([&] { m.layer.forward(on, in, to, workspace); }), __LINE__));                // no such expert
    expert = 2;
    CHECK(message([&] { m.layer.forward(on, in, to, workspace); }) == "");
  }
  TEST_CASE("errors: a negative number of threads") {
    CHECK(message([] { Host const on{.threads = -1}; }).find("got -1") != std::string::npos);
  }

  TEST_CASE("Packer: a forgotten expert or router, wrong pieces, wrong memory") {
    using P = Packer<dropping, Host>;
    Checkpoint<dropping> const c{7};
    Host const on{.threads = 2};
    auto const expert = [&](P& p, int e) {
      auto const i = static_cast<std::size_t>(e);
      p.expert(e, c.raw.gate[i], c.raw.up[i], c.raw.down[i]);
    };
    P p{on};
    CHECK_THROWS_WITH_AS(p.finish(), doctest::Contains("router() has not been called"), Error);
    p.router(c.raw);
    for (int e = 0; e < 11; ++e) expert(p, e), expert(p, 0);             // one of them many times
    CHECK_THROWS_WITH_AS(p.finish(), doctest::Contains("got 11, want 12"), Error);
    CHECK_THROWS_AS(p.expert(-1, c.raw.gate[0], c.raw.up[0], c.raw.down[0]), Error);
    CHECK_THROWS_AS(p.expert(12, c.raw.gate[0], c.raw.up[0], c.raw.down[0]), Error);
    CHECK_THROWS_AS(p.expert(11, {}, c.raw.up[0], c.raw.down[0]), Error);
    CHECK_THROWS_AS(p.expert(11, c.raw.gate[0], c.raw.up[0], {}), Error);
    CHECK_THROWS_AS(p.finish(), Error);                                  // what was refused does not count
    expert(p, 11);
    CHECK_NOTHROW(p.finish());
    Weights<dropping> lacking = c.raw;
    lacking.select_bias = nullptr;
    CHECK_THROWS_WITH_AS(pack(on, lacking), doctest::Contains("select_bias is not set"), Error);
    lacking = c.raw, lacking.router.data = nullptr;
    CHECK_THROWS_WITH_AS(pack(on, lacking), doctest::Contains("router is not set"), Error);
    host::Buffer const memory{P::bytes() + 64};
    auto const on_memory = [&](std::size_t offset, std::size_t bytes) { P const q{on, {memory.data() + offset, bytes}}; };
    CHECK_NOTHROW(on_memory(0, P::bytes()));
    CHECK_NOTHROW(on_memory(64, P::bytes()));
    CHECK_THROWS_WITH_AS(on_memory(0, P::bytes() - 1), doctest::Contains("memory is too small"), Error);
    CHECK_THROWS_AS(on_memory(0, 0), Error);
    CHECK_THROWS_WITH_AS(on_memory(32, P::bytes()), doctest::Contains("aligned to 64"), Error);
    auto const table = [&] { P const q{on, {}, -1}; };
    CHECK_THROWS_WITH_AS(table(), doctest::Contains("table_rows"), Error);
  }
  TEST_CASE("Packer: piece by piece, in any order, is pack()") {
    using P = Packer<latent, Host>;
    Subject<latent> const m;
    host::Buffer const forwards{P::bytes()}, backwards{P::bytes()};
    for (host::Buffer const* b : {&forwards, &backwards}) std::memset(b->data(), 0, b->size());
    Host const on{.threads = 3};
    P a{on, forwards.span()}, b{on, backwards.span()};
    auto const& raw = m.checkpoint.raw;
    a.router(raw);
    for (int e = 0; e < 5; ++e) a.expert(e, raw.gate[static_cast<std::size_t>(e)], raw.up[static_cast<std::size_t>(e)], raw.down[static_cast<std::size_t>(e)]);
    for (int e = 4; e >= 0; --e) b.expert(e, raw.gate[static_cast<std::size_t>(e)], raw.up[static_cast<std::size_t>(e)], raw.down[static_cast<std::size_t>(e)]);
    b.router(raw);
    auto const first = a.finish(), second = b.finish();
    CHECK(std::memcmp(forwards.data(), backwards.data(), P::bytes()) == 0);
    auto const x = m.x(30);
    std::vector<bf16> y(x.size());
    std::vector<std::byte> workspace(m.layer.workspace_bytes(on, 30));
    Layer<latent, Host>{first.view()}.forward(on, Rows<bf16 const, 50>{x.data(), 30}, Rows<bf16, 50>{y.data(), 30}, workspace);
    CHECK(same(y, forward(m, on, x)));
    CHECK(second.view().data == backwards.data());
  }
  TEST_CASE("Packer: strides of the checkpoint, transposed and interleaved, need no copy") {
    Subject<dropping> const m;
    Checkpoint<dropping> turned{7};
    constexpr std::size_t H = 33, F = 40;
    std::vector<std::vector<float>> store;
    for (std::size_t e = 0; e < 12; ++e) {
      store.emplace_back(2 * H * F), store.emplace_back(H * F);
      std::vector<float>&both = store[2 * e], &down = store[2 * e + 1];
      for (std::size_t f = 0; f < F; ++f)
        for (std::size_t h = 0; h < H; ++h) {
          both[h * 2 * F + 2 * f] = turned.gate[e][f * H + h], both[h * 2 * F + 2 * f + 1] = turned.up[e][f * H + h];        // [H,2F], gate and up by turns
          down[f * H + h] = turned.down[e][h * F + f];                                                                       // [F,H]
        }
    }
    for (std::size_t e = 0; e < 12; ++e) {
      turned.raw.gate[e] = {.data = store[2 * e].data(), .out_stride = 2, .in_stride = 2 * F};
      turned.raw.up[e] = {.data = store[2 * e].data() + 1, .out_stride = 2, .in_stride = 2 * F};
      turned.raw.down[e] = {.data = store[2 * e + 1].data(), .out_stride = 1, .in_stride = H};
    }
    Subject<dropping> other;
    other.packed = pack(Host{.threads = 2}, turned.raw);
    other.layer = Layer<dropping, Host>{other.packed.view()};
    Host const on{.threads = 1};
    CHECK(same(forward(other, on, m.x(30)), forward(m, on, m.x(30))));
  }
}

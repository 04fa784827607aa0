// Every argument of every stage called alone, and of the layer, in turn: not set, misaligned, rows too close to each other,
// over another argument. All arguments of the legal call stand side by side, without a gap.
#include <coterie/coterie.hpp>
#include <doctest/doctest.h>
#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace {
using namespace coterie;

// Latent experts with weighted inputs, two shared experts that the router weighs: every argument there is.
constexpr Config whole{.experts = 4, .top_k = 2, .hidden = 6, .ffn = 5, .dtype = DType::fp32, .weights = DType::fp32,
                       .router = {.weights = DType::fp32, .score = Score::sigmoid, .place = Place::input}, .expert = {.latent = 3},
                       .shared = {.ffn = 4, .count = 2, .mix = SharedMix::router_rows, .weights = DType::fp32}};
constexpr Config routing_only(RouterConfig r, CapacityConfig capacity = {}) {
  r.weights = DType::fp32;
  return {.experts = 4, .top_k = 2, .hidden = 3, .ffn = 2, .dtype = DType::fp32, .weights = DType::fp32, .router = r, .capacity = capacity};
}
constexpr std::int64_t tokens = 5, routed = tokens * 2;

struct Argument {
  std::string name;
  bool output, aligned = true, optional = false;
  std::function<std::byte*()> get;
  std::function<void(std::byte*)> set;
  std::function<void(std::int64_t)> widen;       // changes the row stride; empty: no rows
  std::string missing{};                         // the sentence where it is not set; empty: "<stage>: <name> is not set"
};

// One stage's arguments in one block of memory, and its call.
class Bench {
 public:
  explicit Bench(std::string stage) : stage_(std::move(stage)), memory_(1 << 16) {}
  template <class T, int N> Argument& rows(char const* name, bool output, Rows<T, N>& r, std::int64_t n = tokens) {
    r = {reinterpret_cast<T*>(take(static_cast<std::size_t>(n * N) * sizeof(T))), n};
    return add({.name = name, .output = output, .get = [&r] { return bytes(r.data); }, .set = [&r](std::byte* p) { r.data = reinterpret_cast<T*>(p); },
                .widen = [&r](std::int64_t by) { r.stride += by; }});
  }
  template <class T> Argument& list(char const* name, bool output, T*& data, std::int64_t n) {
    data = reinterpret_cast<T*>(take(static_cast<std::size_t>(n) * sizeof(T)));
    return add({.name = name, .output = output, .get = [&data] { return bytes(data); }, .set = [&data](std::byte* p) { data = reinterpret_cast<T*>(p); }, .widen = {}});
  }
  void scratch(char const* name, std::span<std::byte>& span, std::size_t size) {
    if (size == 0) return;
    span = {take(size), size};
    add({.name = name, .output = true, .aligned = false, .get = [&span] { return span.data(); }, .set = [&span](std::byte* p) { span = {p, span.size()}; }, .widen = {}});
    small_ = [&span, size](bool small) { span = {span.data(), size - small}; };
    scratch_ = name;
  }
  template <Config C> void packed(PackedView<C, Host>& view) {
    shift_packed_ = [&view, from = view.data](int by) { view.data = by < 0 ? nullptr : from + by; };
  }
  std::function<void()> call;

  void check() {
    CAPTURE(stage_);
    CHECK(said() == "");
    for (Argument& a : arguments_) {
      CAPTURE(a.name);
      std::byte* const place = a.get();
      a.set(nullptr);
      CHECK(says(a.optional ? "" : a.missing.empty() ? stage_ + ": " + a.name + " is not set" : a.missing));
      a.set(place + 1);
      if (a.aligned) CHECK(says(stage_ + ": " + a.name + " must be aligned to its elements: got 1, want 0"));
      else CHECK(says(""));
      a.set(place);
      if (a.widen) {
        a.widen(-1);
        CHECK(says(stage_ + ": " + a.name + "'s row stride must be at least its columns: got"));
        a.widen(1);
      }
      for (Argument const& b : arguments_) {
        if (&a == &b || !(a.output || b.output)) continue;
        CAPTURE(b.name);
        a.set(b.get() + 4);
        std::string const text = said(), clash = " must not overlap ";     // a stands over b, and perhaps over b's neighbours
        CHECK((text.find(stage_ + ": " + a.name + clash) != text.npos || (text.find(stage_ + ": ") != text.npos && text.find(clash + a.name + ": got ") != text.npos)));
        a.set(place);
      }
      CHECK(said() == "");                                               // after each refusal as before
    }
    if (small_) {
      small_(true);
      CHECK(says(stage_ + ": " + scratch_ + " is too small: got"));
      small_(false);
    }
    if (shift_packed_) {
      shift_packed_(-1);
      CHECK(says(stage_ + ": packed weights are not set"));
      shift_packed_(8);
      CHECK(says(stage_ + ": packed weights must be aligned to 64 bytes: got 8, want 0"));
      shift_packed_(0);
    }
    CHECK(said() == "");
  }
  bool says(std::string const& what) {
    std::string const text = said();
    if (what.empty()) return text.empty();
    bool const ok = text.find("coterie: " + what) == 0 && text.find(__FILE__) != text.npos;
    if (!ok) MESSAGE("said: " << text);
    return ok;
  }

 private:
  template <class T> static std::byte* bytes(T* p) { return reinterpret_cast<std::byte*>(const_cast<std::remove_const_t<T>*>(p)); }
  Argument& add(Argument a) {
    arguments_.push_back(std::move(a));
    return arguments_.back();
  }
  std::byte* take(std::size_t size) {                                    // every size is a multiple of four, or the last one
    std::byte* const piece = memory_.data() + used_;
    used_ += size;
    REQUIRE(used_ + 4096 < memory_.size());
    return piece;
  }
  std::string said() {
    std::fill(memory_.begin(), memory_.end(), std::byte{0});
    try {
      call();
    } catch (Error const& e) {
      return e.what();
    }
    return "";
  }
  std::string stage_, scratch_;
  std::vector<std::byte> memory_;
  std::size_t used_ = 0;
  std::vector<Argument> arguments_;
  std::function<void(bool)> small_;
  std::function<void(int)> shift_packed_;
};

Host const on{.threads = 1};
template <Config C> Packed<C, Host> packed_zeros() {
  static float const zeros[256]{};
  Weights<C> raw{};
  raw.router.data = zeros;
  for (std::size_t e = 0; e < C.experts; ++e) raw.gate[e].data = raw.up[e].data = raw.down[e].data = zeros;
  if constexpr (C.shared.ffn > 0) raw.shared.gate.data = raw.shared.up.data = raw.shared.down.data = zeros;
  if constexpr (C.expert.latent > 0) raw.latent.down.data = raw.latent.up.data = zeros;
  static std::int32_t const ids[]{0, 1};
  if constexpr (C.router.select == Select::table) raw.table = {ids, 1};
  return pack(on, raw);
}

// A router, with what `more` adds to its inputs.
template <Config C> struct RouterBench {
  Packed<C, Host> const own = packed_zeros<C>();
  PackedView<C, Host> packed = own.view();
  Inputs<C> in{.x = {nullptr, tokens}};
  Routing<C> to{};
  std::span<std::byte> scratch{};
  Bench bench{"Router"};
  void check(std::function<void()> const& more) {
    more();
    bench.rows("routing.expert", true, to.expert), bench.rows("routing.weight", true, to.weight);
    if constexpr (Router<C, Host>::has_logits) bench.rows("routing.logits", true, to.logits).optional = true;
    if constexpr (shared_rows(C) > 0) bench.rows("routing.shared", true, to.shared);
    bench.scratch("scratch", scratch, Router<C, Host>{}.workspace_bytes(on, tokens));
    if constexpr (host::PackedLayout<C>::has_router || C.router.select == Select::table) bench.packed(packed);
    bench.call = [this] { Router<C, Host>{}(on, in, packed, to, scratch); };
    bench.check();
    in.x.rows = -1, to.expert.rows = to.weight.rows = -1;
    CHECK(bench.says("Router: tokens must not be negative: got -1, want 0"));
    in.x.rows = to.expert.rows = to.weight.rows = std::int64_t{1} << 30;
    CHECK(bench.says("Router: tokens times slots must stay below 2^31: got 1073741824, want 1073741823"));
  }
};
template <Config C> void check_dispatch() {
  Inputs<C> const in{};
  Routing<C> routing{};
  Batch<C> batch{};
  std::span<std::byte> scratch{};
  Bench bench{"Dispatch"};
  bench.rows("routing.expert", false, routing.expert), bench.rows("routing.weight", route::Program<C>::deferred, routing.weight);
  bench.list("batch.begin", true, batch.begin, C.experts + 1), bench.rows("batch.slot", true, batch.slot);
  bench.list("batch.token", true, batch.token, routed), bench.list("batch.weight", true, batch.weight, routed);
  bench.scratch("scratch", scratch, Dispatch<C, Host>{}.workspace_bytes(on, tokens));
  bench.call = [&] { Dispatch<C, Host>{}(on, in, routing, batch, scratch); };
  bench.check();
  routing.expert.rows = routing.weight.rows = batch.slot.rows = -1;
  CHECK(bench.says("Dispatch: tokens must not be negative: got -1, want 0"));
}
template <Config C> void check_layer(auto const& more) {
  auto const own = packed_zeros<C>();
  Layer<C, Host> const layer{own.view()};
  Inputs<C> in{};
  Rows<float, C.hidden> y{};
  std::span<std::byte> workspace{};
  Bench bench{"Layer::forward"};
  bench.rows("x", false, in.x), bench.rows("y", true, y), more(bench, in);
  bench.scratch("workspace", workspace, layer.workspace_bytes(on, tokens));
  bench.call = [&] { layer.forward(on, in, y, workspace); };
  bench.check();
}
}

TEST_SUITE("layer") {
  TEST_CASE("arguments of Router: x, router_x, logits, ids, a routing, what it writes") {
    RouterBench<whole> hidden;
    hidden.check([&] { hidden.bench.rows("x", false, hidden.in.x); });
    RouterBench<routing_only({.input = RouterInput::separate})> separate;
    separate.check([&] { separate.bench.rows("Inputs::router_x", false, separate.in.router_x).missing = "Router: RouterInput::separate needs Inputs::router_x"; });
    RouterBench<routing_only({.input = RouterInput::logits})> logits;
    logits.check([&] { logits.bench.rows("Inputs::logits", false, logits.in.logits).missing = "Router: RouterInput::logits needs Inputs::logits"; });
    RouterBench<routing_only({.input = RouterInput::token_ids, .select = Select::table})> table, replay;
    table.check([&] { table.bench.list("Inputs::token_ids", false, table.in.token_ids, tokens).missing = "Router: Select::table needs Inputs::token_ids"; });
    replay.check([&] { replay.bench.rows("Inputs::routing.expert", false, replay.in.routing.expert).missing = "Router: Select::table needs Inputs::token_ids"; });
    RouterBench<routing_only({.input = RouterInput::given})> given;
    given.check([&] {
      given.bench.rows("Inputs::routing.expert", false, given.in.routing.expert).missing = "Router: RouterInput::given needs Inputs::routing";
      given.bench.rows("Inputs::routing.weight", false, given.in.routing.weight).missing = "Router: RouterInput::given needs Inputs::routing";
    });
  }
  TEST_CASE("arguments of Router: logits and a routing may be replaced where they stand") {
    constexpr Config by_logits = routing_only({.input = RouterInput::logits, .soft_cap = 2}), given = routing_only({.input = RouterInput::given});
    std::vector<float> z{0, 3, 1, 2, 2, 1, 0, 4}, weight(4), own{0.5f, 0.25f, 1, 2};
    std::vector<float> const before = z, own_before = own;
    std::vector<std::int32_t> expert(4), ids{3, 1, 0, 0};
    std::vector<std::byte> scratch(Router<by_logits, Host>{}.workspace_bytes(on, 2));
    auto const packed = packed_zeros<by_logits>();
    Router<by_logits, Host>{}(on, {.x = {nullptr, 2}, .logits = {z.data(), 2}}, packed.view(), {.expert = {expert.data(), 2}, .weight = {weight.data(), 2}, .logits = {z.data(), 2}}, scratch);
    CHECK(expert == std::vector<std::int32_t>{1, 3, 3, 0});
    CHECK(z == before);
    Routing<given> const same{.expert = {ids.data(), 2}, .weight = {own.data(), 2}};
    Router<given, Host>{}(on, {.x = {nullptr, 2}, .routing = same}, {}, same, {});
    CHECK(ids == std::vector<std::int32_t>{3, 1, 0, 0});
    CHECK(own == own_before);
  }
  TEST_CASE("arguments of Dispatch, which may rewrite the weights") {
    check_dispatch<routing_only({})>();
    check_dispatch<routing_only({}, {.rounding = Rounding::deepspeed, .order = Order::probability, .normalise = When::after})>();
  }
  TEST_CASE("arguments of Experts") {
    auto const own = packed_zeros<whole>();
    PackedView<whole, Host> packed = own.view();
    Rows<float const, width(whole)> x{};
    Batch<whole> batch{};
    Rows<float, width(whole)> out{};
    std::span<std::byte> scratch{};
    Bench bench{"Experts"};
    bench.rows("x", false, x), bench.list("batch.begin", false, batch.begin, whole.experts + 1), bench.list("batch.token", false, batch.token, routed);
    bench.list("batch.weight", false, batch.weight, routed), bench.rows("out", true, out, routed);
    bench.scratch("scratch", scratch, Experts<whole, Host>{}.workspace_bytes(on, tokens));
    bench.packed(packed);
    bench.call = [&] {
      if (batch.begin && reinterpret_cast<std::uintptr_t>(batch.begin) % 4 == 0)
        for (int e = 0; e <= whole.experts; ++e) batch.begin[e] = e == whole.experts ? routed : 0;
      Experts<whole, Host>{}(on, x, packed, batch, out, scratch);
    };
    bench.check();
    x.rows = -1;
    CHECK(bench.says("Experts: tokens must not be negative: got -1, want 0"));
  }
  TEST_CASE("arguments of Latent") {
    auto const own = packed_zeros<whole>();
    PackedView<whole, Host> packed = own.view();
    Rows<float const, whole.hidden> x{};
    Rows<float, width(whole)> z{};
    std::span<std::byte> scratch{};
    Bench bench{"Latent"};
    bench.rows("x", false, x), bench.rows("the output", true, z);
    bench.scratch("scratch", scratch, Latent<whole, Host>{}.workspace_bytes(on, tokens));
    bench.packed(packed);
    bench.call = [&] { Latent<whole, Host>{}(on, x, packed, z, scratch); };
    bench.check();
    x.rows = z.rows = -1;
    CHECK(bench.says("Latent: tokens must not be negative: got -1, want 0"));
  }
  TEST_CASE("arguments of Shared") {
    auto const own = packed_zeros<whole>();
    PackedView<whole, Host> packed = own.view();
    Inputs<whole> in{};
    Routing<whole> routing{};
    Rows<float, whole.hidden> shared{};
    std::span<std::byte> scratch{};
    Bench bench{"Shared"};
    bench.rows("x", false, in.x), bench.rows("routing.shared", false, routing.shared), bench.rows("the output", true, shared);
    bench.scratch("scratch", scratch, Shared<whole, Host>{}.workspace_bytes(on, tokens));
    bench.packed(packed);
    bench.call = [&] { Shared<whole, Host>{}(on, in, packed, routing, shared, scratch); };
    bench.check();
    in.x.rows = routing.shared.rows = shared.rows = -1;
    CHECK(bench.says("Shared: tokens must not be negative: got -1, want 0"));
  }
  TEST_CASE("arguments of Combine") {
    auto const own = packed_zeros<whole>();
    PackedView<whole, Host> packed = own.view();
    Inputs<whole> in{};
    Routing<whole> routing{};
    Batch<whole> batch{};
    Rows<float const, width(whole)> out{};
    Rows<float const, whole.hidden> shared{};
    Rows<float, whole.hidden> y{};
    std::span<std::byte> scratch{};
    Bench bench{"Combine"};
    bench.rows("x", false, in.x), bench.rows("routing.expert", false, routing.expert), bench.rows("routing.weight", false, routing.weight), bench.rows("batch.slot", false, batch.slot);
    bench.rows("out", false, out, routed), bench.rows("shared", false, shared), bench.rows("y", true, y);
    bench.scratch("scratch", scratch, Combine<whole, Host>{}.workspace_bytes(on, tokens));
    bench.packed(packed);
    bench.call = [&] { Combine<whole, Host>{}(on, in, packed, routing, batch, out, shared, y, scratch); };
    bench.check();
    out = {};                                                            // memory of zeros: slots 0, though there is no row
    CHECK(bench.says("Combine: out is not set: got 0, want 1"));
    in.x.rows = routing.expert.rows = routing.weight.rows = batch.slot.rows = shared.rows = y.rows = -1;
    CHECK(bench.says("Combine: tokens must not be negative: got -1, want 0"));
  }
  TEST_CASE("arguments of the layer: y and the workspace overlap nothing that it reads") {
    check_layer<whole>([](Bench&, auto&) {});
    check_layer<routing_only({.input = RouterInput::separate})>([](Bench& bench, auto& in) { bench.rows("Inputs::router_x", false, in.router_x).missing = "Router: RouterInput::separate needs Inputs::router_x"; });
    check_layer<routing_only({.input = RouterInput::given})>([](Bench& bench, auto& in) {
      bench.rows("Inputs::routing.expert", false, in.routing.expert).missing = "Router: RouterInput::given needs Inputs::routing";
      bench.rows("Inputs::routing.weight", false, in.routing.weight).missing = "Router: RouterInput::given needs Inputs::routing";
    });
  }
}

// Few tokens in fewer kernels than stages: the bits of the stages one after the other, whoever runs first; and what holds the kernels together.
#include "decode_case.hpp"
#include "experts_case.hpp"

namespace decodes {
namespace {
constexpr Config mixtral = small(presets::mixtral_8x7b, 8, 2, 64, 96);
constexpr Config qwen3 = small(presets::qwen3_30b_a3b, 40, 8, 40, 24);
constexpr Config deepseek_v3 = small(presets::deepseek_v3, 16, 6, 64, 16, 24);

// What leaves a layer to its stages.
template <Config C> constexpr bool suits = Decode<C, Cuda>::suits;
constexpr Config with(auto const& change) {
  Config c = mixtral;
  change(c);
  return c;
}
static_assert(suits<mixtral> && suits<qwen3> && suits<deepseek_v3> && !Decode<mixtral, Host>::suits);
static_assert(!suits<with([](Config& c) { c.hidden = 60; })> && !suits<with([](Config& c) { c.batch_invariant = 1; })> && !suits<with([](Config& c) { c.expert.latent = 32; })>);
static_assert(!suits<with([](Config& c) { c.router.place = Place::input; })> && !suits<with([](Config& c) { c.capacity.rounding = Rounding::mesh; })>);
static_assert(!suits<with([](Config& c) { c.router.select = Select::expert_choice; })> && !suits<with([](Config& c) { c.router.input = RouterInput::given; })>);
static_assert(!suits<with([](Config& c) { c.weights = DType::int8; })>);

#if defined(COTERIE_SIMT)
// The library's router, but not by its name.
struct Mine : Stages<mixtral, Cuda> {
  struct MyRouter {
    void operator()(Cuda const& on, Inputs<mixtral> const& in, PackedView<mixtral, Cuda> packed, Routing<mixtral> const& to, std::span<std::byte> scratch) const {
      Router<mixtral, Cuda>{}(on, in, packed, to, scratch);
    }
    std::size_t workspace_bytes(Cuda const& on, std::int64_t tokens) const { return Router<mixtral, Cuda>{}.workspace_bytes(on, tokens); }
  };
  [[no_unique_address]] MyRouter router;
};
#endif
// A layer with inputs and memory of its own.
template <Config C, class Bundle = void> struct Run {
  static constexpr Config config = C;
  using V = element_t<C.dtype>;
  Layer<config, Cuda, Bundle> layer;
  Cuda on;
  std::int64_t tokens;
  simt::Array<V> x, y;
  simt::Array<std::byte> workspace;
  Run(Layer<config, Cuda, Bundle> const& of, std::int64_t n, Arch arch = Arch::best)
      : layer(of), on{.arch = arch}, tokens(n), x(std::vector<V>(static_cast<std::size_t>(n * C.hidden), from_float<V>(0.5f))), y(x.size()), workspace(layer.workspace_bytes(on, n)) {}
  void operator()(std::int64_t sequence = 0) const {
    layer.forward(on, Inputs<config>{.x = {x.data(), tokens}, .sequence = sequence}, rows<C.hidden>(y.data(), tokens), {workspace.data(), workspace.size()});
  }
};
}

TEST_CASE("decode: the stages' bits, and the definition's numbers") {
  all<mixtral>();
  all<qwen3>();
  all<deepseek_v3>();
}
TEST_CASE("decode: the same under every schedule, on every path") {
  for (Arch arch : cuda_tests::arches()) {
    if (arch == Arch::plain) continue;           // the stages' business
    CAPTURE(name(arch));
    Both<qwen3> const many({.tokens = 8, .seed = 5}, arch);
    Both<deepseek_v3> const shared({.tokens = 3, .seed = 6}, arch);
    for (int schedule = 0; schedule < (arch == cuda_tests::arches().back() ? 18 : 6); ++schedule) {
      CAPTURE(schedule);
      CHECK(simt::failure_of(many) == "");
      CHECK(simt::failure_of(shared) == "");
    }
  }
}
TEST_CASE("decode: what the stages refuse is refused, in their words") {
  cases::Random random{7};
  cuda_tests::Checkpoint<mixtral> const weights(random, cuda_tests::Numbers::whole);
  Run<mixtral> const run(Layer<mixtral, Cuda>{weights.packed.view()}, 3);
  CHECK_THROWS_WITH_AS(run(-1), doctest::Contains("Dispatch: Inputs::sequence must not be negative: got -1, want 0"), Error);
}
TEST_CASE("decode: a failing call of the runtime throws and leaves nothing behind") {
  cases::CompiledCuda<deepseek_v3> of;
  of.pack(Host{.threads = 1}, cases::make_tensors(of, {.tokens = 3, .seed = 5}));
  Run<deepseek_v3> const run(of.layer(), 3);
  CHECK(simt::survives_failing_calls([&] { run(), check(cudaDeviceSynchronize()); }, cudaErrorLaunchFailure) == "");
}
#if defined(COTERIE_SIMT)
TEST_CASE("decode: how many launches, and when they are the stages'") {
  auto const launched = [](auto const& run) {
    simt::clear_calls();
    CHECK(simt::failure_of([&] { run(), check(cudaDeviceSynchronize()); }) == "");
    return launches();
  };
  cases::Random random{7};
  cuda_tests::Checkpoint<mixtral> const weights(random, cuda_tests::Numbers::real);
  cases::CompiledCuda<deepseek_v3> with_shared;
  with_shared.pack(Host{.threads = 1}, cases::make_tensors(with_shared, {.tokens = 8, .seed = 5}));
  Layer<mixtral, Cuda> const plain{weights.packed.view()};
  auto const shared = with_shared.layer();
  for (std::int64_t tokens : {1, 8}) {
    CHECK(launched(Run<mixtral>(plain, tokens)) == 3);
    CHECK(launched(Run<deepseek_v3>(shared, tokens)) == 5);
    CHECK(launched(Run<mixtral>(plain, tokens, Arch::plain)) == 6);
  }
  CHECK(launched(Run<mixtral>(plain, 9)) == 6);
  CHECK(launched(Run<deepseek_v3>(shared, 9)) == 8);
  Run<mixtral, Mine> const own(Layer<mixtral, Cuda, Mine>{weights.packed.view()}, 3);          // a stage of the caller's stays in
  Run<mixtral> const ours(plain, 3);
  CHECK(launched(own) == 6);
  CHECK(launched(ours) == 3);
  auto const a = own.y.get(), b = ours.y.get();
  CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0);
  // Rows of x where no 16-byte load may begin are the stages' business, of which experts of 16 bits refuse them.
  CHECK(plain.explain(ours.on, 3).find("for rows of x at multiples of 16 bytes") != std::string::npos);
  CHECK_THROWS_WITH_AS(plain.forward(ours.on, Inputs<mixtral>{.x = {ours.x.data() + 1, 2}}, rows<mixtral.hidden>(ours.y.data(), 2), {ours.workspace.data(), ours.workspace.size()}),
                       doctest::Contains("must be aligned to 16 bytes"), Error);
  CHECK(simt::failure_of([] { check(cudaDeviceSynchronize()); }) == "");
}
TEST_CASE("decode: without any of its synchronisations it is noticed") {
  if (!simt::checked()) return;
  simt::Config const before = simt::config();
  simt::config().device.multiprocessors = 1;     // then a block takes columns more than once
  Both<qwen3> const both({.tokens = 8, .seed = 5});
  simt::clear_syncs();
  CHECK(simt::failure_of(both) == "");
  int own = 0;
  for (std::string const& sync : simt::syncs()) {
    if (sync.find("decode") != 0) continue;
    ++own;
    simt::config().deleted = sync;
    CHECK_MESSAGE(simt::survives(18, both) != "", sync << " can be left out, and nobody notices");
  }
  simt::config() = before;
  CHECK(own == 7);
}
// But for what is written where the sort says, and for hidden values, one a row.
TEST_CASE("decode: memory accesses: no bank conflict, whole sectors") {
  if (!simt::checked()) return;
  Both<qwen3> const both({.tokens = 8, .seed = 5});
  for (std::string const& line : simt::wasteful_lines(both)) CHECK_MESSAGE((line.find("decode.cuh") != 0 || line.find(" write") != line.npos), line);
}
#endif

}

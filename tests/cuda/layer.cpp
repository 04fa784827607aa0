// The whole layer on the GPU, or in the emulator: layers of published models against the definition and against the host's layer, the same
// bits under every schedule, the exact workspace, what is refused, and what forward() asks of the runtime.
#include "support.hpp"
#include <algorithm>
#include <cmath>
#include <cstring>
#include "layer/model.hpp"

namespace cases {
std::string check(Subject&, Case const&);        // random/check.cpp
}
namespace layers {

std::vector<std::unique_ptr<cases::Subject>> on_host();                  // layer/host.cpp

namespace {
using namespace coterie;

struct OnCuda {
  char const* name;
  std::unique_ptr<cases::Subject> subject;
  Arch* arch;
  int* schedule;
};
std::vector<OnCuda>& on_cuda() {
  // Never destroyed: the weights are device memory, and the device may be gone by then.
  static std::vector<OnCuda>& all = *[] {
    auto* const made = new std::vector<OnCuda>;
    visit([&]<Config C>(char const* name) {
      auto* const one = new cases::CompiledCuda<C>;
      made->push_back({name, std::unique_ptr<cases::Subject>(one), &one->arch, &one->schedule});
    });
    return made;
  }();
  return all;
}

// Inputs whose rows no path refuses.
cases::Feed feed_of(cases::Subject const& of, cases::Case c) {
  for (;; ++c.seed) {
    cases::Feed f = cases::make_feed(of, c);
    if (f.x_stride % 8 == 0) return f;
  }
}
cases::Bytes forward(cases::Subject const& s, Host const& host, cases::Feed const& feed) {
  cases::Bytes y(static_cast<std::size_t>(feed.tokens * feed.y_stride) * cases::bytes_of(s.config.dtype), std::byte{0xff});
  std::vector<std::byte> workspace(s.workspace_bytes(host, feed.tokens));
  s.forward(host, feed, y.data(), workspace);
  return y;
}
std::string sentence(auto const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.what();
  }
  return "";
}
// The first value of y that is not the host's.
std::string apart(ct::Config const& c, cases::Feed const& feed, cases::Bytes const& got, cases::Bytes const& want) {
  auto const at = [&](cases::Bytes const& from, std::int64_t t, std::int64_t h) { return cases::load(c.dtype, from.data(), t * feed.y_stride + h); };
  for (std::int64_t t = 0; t < feed.tokens; ++t) {
    double most = 0;                             // of the row: four roundings to bf16 stand between x and y
    for (int h = 0; h < c.hidden; ++h) most = std::fmax(most, std::fabs(at(want, t, h)));
    for (int h = 0; h < c.hidden; ++h)
      if (double const off = std::fabs(at(got, t, h) - at(want, t, h)); !(off <= most * 4 / 256))
        return "y[" + std::to_string(t) + "][" + std::to_string(h) + "] is " + std::to_string(at(got, t, h)) + ", the host's " + std::to_string(at(want, t, h));
  }
  return "";
}
bool says(std::string const& text, std::string const& what) { return text.find(what) != std::string::npos; }

}

#if defined(COTERIE_SIMT)
// The first test: nothing has been asked yet of this program's runtime.
TEST_CASE("layer: any runtime call may fail before anything is known: making a backend, packing, the first forward; and nothing leaks") {
  CHECK(simt::survives_failing_first_calls([] { (void)Model<llama4>(3, Arch::best).on.path(); }) == "");                     // a backend says so where it is used
  Model<mixtral> const few(3, Arch::best);
  Model<llama4> const many(120, Arch::best);     // more than 16 rows an expert: by TMA
  auto const first = [&] { few.forward(), many.forward(), check(cudaStreamSynchronize(nullptr)); };
  CHECK(simt::survives_failing_first_calls(first) == "");
  simt::clear_calls();
  first();
  for (std::string const once : {"cudaGetDriverEntryPointByVersion", "cuTensorMapEncodeTiled", "cudaPointerGetAttributes"}) {
    CAPTURE(once);
    CHECK(std::ranges::count(simt::calls(), once) > 0);                  // nothing had asked before
  }
}
#endif
TEST_CASE("layer: published layers agree with the definition, whatever the tokens") {
  auto const arches = cuda_tests::arches();
  for (std::size_t i = 0; i < on_cuda().size(); ++i)
    for (std::size_t a = 0; a < arches.size(); ++a)
      for (std::int64_t tokens : {0, 1, 7, 64, 257}) {
        if (tokens != 7 && i % arches.size() != a) continue;             // each layer on one path,
        if ((tokens > 64 || (tokens > 7 && simt::checked())) && i >= arches.size()) continue;  // each path one layer,
        if (tokens > 64 && simt::checked() && i != 1) continue;
        OnCuda& one = on_cuda()[i];
        cases::Case c{.tokens = tokens, .seed = static_cast<std::uint64_t>(tokens) * 8 + 8};
        while (cases::make_feed(*one.subject, c).x_stride % 8 != 0) c.seed += 8;               // every eighth is checked from end to end
        *one.arch = arches[a], *one.schedule = static_cast<int>(tokens) % 18;
        std::string const what = simt::failure_of([&] { return cases::check(*one.subject, c); });
        CHECK_MESSAGE(what == "", one.name << " " << name(arches[a]) << " T=" << tokens << ": " << what);
      }
}
// Whole numbers: logits are exact on both sides, so the same experts are chosen, ties among them.
TEST_CASE("layer: the host's layer says the same") {
  auto const host = on_host();
  Host const on{.threads = 1};
  for (std::size_t i = 0; i < host.size(); ++i) {
    OnCuda& one = on_cuda()[i];
    for (std::int64_t tokens : {7, 40}) {
      cases::Case const c{.tokens = tokens, .trace = cases::Trace::integers, .seed = 77};
      auto const tensors = cases::make_tensors(*one.subject, c);
      auto const feed = feed_of(*one.subject, c);
      host[i]->pack(on, tensors), one.subject->pack(on, tensors);
      cases::Bytes const want = forward(*host[i], on, feed);
      for (Arch arch : cuda_tests::arches()) {
        *one.arch = arch;
        std::string const what = simt::failure_of([&] { return apart(one.subject->config, feed, forward(*one.subject, on, feed), want); });
        CHECK_MESSAGE(what == "", one.name << " " << name(arch) << " T=" << tokens << ": " << what);
      }
    }
  }
}
// Every layer under all schedules, and every path under all schedules by one layer or another.
TEST_CASE("layer: the same bits under every schedule, and nothing to report") {
  Host const host{.threads = 1};
  auto const arches = cuda_tests::arches();
  for (std::size_t i = 0; i < on_cuda().size(); ++i) {
    OnCuda& one = on_cuda()[i];
    cases::Case const c{.tokens = 10, .trace = cases::Trace::zipf, .seed = 11};
    one.subject->pack(host, cases::make_tensors(*one.subject, c));
    auto const feed = feed_of(*one.subject, c);
    auto few = feed;                             // the streaming path
    few.tokens = 3;
    for (auto const& from : {feed, few}) {
      std::vector<cases::Bytes> first(arches.size());
      for (std::size_t schedule = 0; schedule < 18; ++schedule) {
        std::size_t const a = (schedule / 2 + i) % arches.size();
        *one.arch = arches[a], *one.schedule = static_cast<int>(schedule);
        std::string const what = simt::failure_of([&] {
          cases::Bytes y = forward(*one.subject, host, from);
          if (first[a].empty()) first[a] = y;
          return first[a] == y;
        });
        CHECK_MESSAGE(what == "", one.name << " " << name(arches[a]) << " T=" << from.tokens << " schedule " << schedule << ": " << what);
      }
    }
  }
}
TEST_CASE("layer: batch_invariant, a token's bits do not depend on the tokens beside it") {
  for (Arch arch : cuda_tests::arches()) {
    Model<invariant> const all(70, arch);
    all.forward();
    auto const want = all.y.get();
    constexpr std::size_t H = invariant.hidden;
    for (std::int64_t tokens : {1, 8, 9, 65})
      for (std::int64_t first : {std::int64_t{0}, 70 - tokens}) {
        simt::Array<bf16> y(static_cast<std::size_t>(tokens) * H);
        all.layer.forward(all.on, ct::rows<invariant.hidden>(static_cast<bf16 const*>(all.x.data()) + first * invariant.hidden, tokens), ct::rows<invariant.hidden>(y.data(), tokens),
                          {all.workspace.data(), all.workspace.size()});
        auto const got = y.get();
        CHECK_MESSAGE(std::memcmp(got.data(), want.data() + first * invariant.hidden, got.size() * 2) == 0, name(arch) << " " << tokens << " tokens from " << first);
      }
  }
}
TEST_CASE("layer: the workspace is exact, at any address, and never falls") {
  Model<deepseek_v3> const m(9, Arch::best);
  std::size_t const bytes = m.layer.workspace_bytes(m.on, m.tokens);
  m.forward();
  auto const want = m.y.get();
  for (std::size_t shift : {0, 1, 128, 255}) {
    simt::Array<std::byte> memory(shift + bytes);                        // ends where the allocation ends
    m.y.put(std::vector<bf16>(want.size()));
    CHECK(simt::failure_of([&] { m.forward(m.x.data(), m.y.data(), {memory.data() + shift, bytes}); }) == "");
    CHECK(std::memcmp(m.y.get().data(), want.data(), want.size() * 2) == 0);
    CHECK(says(sentence([&] { m.forward(m.x.data(), m.y.data(), {memory.data() + shift, bytes - 1}); }), "workspace is too small: got " + std::to_string(bytes - 1) + ", want " + std::to_string(bytes)));
  }
  std::size_t last = 0;
  bool grows = true;
  for (std::int64_t n = 0; n < 300; ++n) {
    std::size_t const now = m.layer.workspace_bytes(m.on, n);
    grows = grows && now >= last, last = now;
  }
  CHECK(grows);
}
TEST_CASE("layer: host memory is refused by name") {
  Model<mixtral> const m(5, Arch::best);
  std::vector<bf16> host(m.y.size());
  std::vector<std::byte> workspace(m.workspace.size());
  std::span<std::byte> const scratch{m.workspace.data(), m.workspace.size()};
  m.forward();
  auto const want = m.y.get();
  for (int round = 0; round < 2; ++round) {      // also once the device's memory is known
    CHECK(says(sentence([&] { m.forward(host.data(), m.y.data(), scratch); }), "Layer::forward: x must be device memory, this is host memory"));
    CHECK(says(sentence([&] { m.forward(m.x.data(), host.data(), scratch); }), "Layer::forward: y must be device memory, this is host memory"));
    CHECK(says(sentence([&] { m.forward(m.x.data(), m.y.data(), workspace); }), "Layer::forward: workspace must be device memory, this is host memory"));
    PackedView<mixtral, Cuda> const view{.data = reinterpret_cast<std::byte const*>((reinterpret_cast<std::uintptr_t>(workspace.data()) + 255) / 256 * 256)};
    CHECK(says(sentence([&] { Layer<mixtral, Cuda>{view}.forward(m.on, rows<64>(static_cast<bf16 const*>(m.x.data()), m.tokens), rows<64>(m.y.data(), m.tokens), scratch); }),
               "Layer::forward: the packed weights must be device memory, this is host memory"));
  }
  CHECK(std::memcmp(m.y.get().data(), want.data(), want.size() * 2) == 0);
}
TEST_CASE("layer: explain names the path and the kernels") {
  for (Arch arch : cuda_tests::arches()) {
    Model<deepseek_v3> const m(1, arch);
    for (std::int64_t tokens : {1, 100}) {
      std::string const text = m.layer.explain(m.on, tokens);
      CAPTURE(text);
      bool const decode = tokens == 1 && arch != Arch::plain;
      for (char const* stage : {"router:   ", "shared:   "}) CHECK(says(text, stage));
      for (char const* stage : {"dispatch: ", "experts:  ", "combine:  "}) CHECK(says(text, stage) == !decode);
      CHECK(says(text, "decode:   ") == decode);
      CHECK(says(text, std::string(name(arch)) + ": gate, up and activation"));
      CHECK(says(text, arch == Arch::plain ? "plain tiles" : tokens == 1 ? "weights streamed" : arch == Arch::sm_80 ? "mma.sync" : "wgmma"));
    }
  }
}
#if defined(COTERIE_SIMT)
// Mixtral's six: logits, selection, dispatch, two products, combine. Dispatch has a second above 16,384 pairs (dispatch.cpp); few tokens need three
// (decode.cpp).
TEST_CASE("layer: forward enqueues only: six launches or three, no allocation, no synchronisation, no question once memory is known") {
  for (Arch arch : cuda_tests::arches())
    for (std::int64_t tokens : {1, 7, 90}) {
      Model<mixtral> const m(tokens, arch);
      m.forward();
      simt::Live const held = simt::live();
      simt::clear_calls();
      m.forward();
      auto const calls = simt::calls();
      int launches = 0;
      std::string others;
      for (std::string const& call : calls)
        if (call == "cudaLaunchKernelEx") ++launches;
        else if (call != "cudaGetDevice" && call != "cudaGetDriverEntryPointByVersion" && call != "cuTensorMapEncodeTiled") others += call + " ";
      CAPTURE(name(arch));
      CAPTURE(tokens);
      CHECK(launches == (arch != Arch::plain && tokens <= 8 ? 3 : 6));
      CHECK(others == "");
      CHECK(simt::live() == held);
      CHECK(simt::failure_of([] { check(cudaDeviceSynchronize()); }) == "");
    }
}
TEST_CASE("layer: each kernel lets the next one begin beside it") {
  auto const overlapping = [](auto const& m) {
    m.forward();                                 // from here on the device's memory is known
    check(cudaDeviceSynchronize());
    return cuda_tests::overlapping(1, [&] { m.forward(), m.forward(), check(cudaDeviceSynchronize()); });          // the second behind the last kernel of the first
  };
  for (Arch arch : cuda_tests::arches())
    for (std::int64_t tokens : {3, 40}) {
      CAPTURE(name(arch));
      CAPTURE(tokens);
      CHECK(overlapping(Model<mixtral>(tokens, arch)) == "");
      CHECK(overlapping(Model<deepseek_v3>(tokens, arch)) == "");
      CHECK(overlapping(Model<llama4>(tokens, arch)) == "");             // weights on the input: rows are staged
    }
}
TEST_CASE("layer: a device of 9.0 whose program has no code for sm_90a takes the kernels of sm_80, says which flag gives the fast ones, and agrees with the host") {
  auto const host = on_host();
  Host const on{.threads = 1};
  for (int programmatic : {0, 1})                // compiled for 8.0; for plain 9.0
    for (std::int64_t tokens : {3, 40}) {
      Model<mixtral> m(tokens, Arch::best);
      m.on.device.hopper = 0, m.on.device.programmatic = programmatic;
      CHECK(m.on.path() == Arch::sm_80);
      std::string const text = m.layer.explain(m.on, tokens);
      CHECK(says(text, "sm_80: gate, up and activation"));
      CHECK(says(text, "compiled without -gencode arch=compute_90a,code=sm_90a, which gives the Hopper kernels"));
      cases::Case c{.tokens = tokens, .trace = cases::Trace::integers, .seed = 77};
      cases::Feed feed = cases::make_feed(m.made, c);
      for (; feed.x_stride != m.H || feed.y_stride != m.H; ++c.seed) feed = cases::make_feed(m.made, c);
      auto const tensors = cases::make_tensors(m.made, c);
      cases::Subject& of = *host[0];             // mixtral
      of.pack(on, tensors), m.made.pack(on, tensors);
      cases::Bytes const want = forward(of, on, feed);
      cases::Bytes got(want.size());
      check(cudaMemcpy(m.x.data(), feed.x.data(), feed.x.size(), cudaMemcpyHostToDevice));
      CHECK(simt::failure_of([&] {
        m.made.layer().forward(m.on, rows<m.H>(static_cast<bf16 const*>(m.x.data()), tokens), rows<m.H>(m.y.data(), tokens), {m.workspace.data(), m.workspace.size()});
        check(cudaMemcpy(got.data(), m.y.data(), got.size(), cudaMemcpyDeviceToHost));
        return apart(m.config, feed, got, want);
      }) == "");
      Cuda forced = m.on;
      forced.arch = Arch::sm_90a;
      CHECK(says(sentence([&] { (void)forced.path(); }), "Arch::sm_90a needs a device of compute capability 9.0 and a program compiled with -gencode arch=compute_90a,code=sm_90a"));
    }
}
TEST_CASE("layer: a program without code for the device says which flags it needs") {
  Model<mixtral> const m(5, Arch::best);
  m.forward();
  check(cudaDeviceSynchronize());
  for (cudaError_t code : {cudaErrorNoKernelImageForDevice, cudaErrorInvalidDeviceFunction}) {
    CHECK(simt::survives_failing_calls([&] { m.forward(); }, code) == "");
    simt::clear_calls();
    simt::config().fail_call = 1, simt::config().fail_code = code;
    CHECK(says(sentence([&] { m.forward(); }), "this program holds no code for the device; compile it with nvcc -gencode arch=compute_90a,code=sm_90a"));
    simt::config() = {};
    Cuda none = m.on;
    none.device.error = code;                    // what the runtime says of this program's kernels when the backend is made
    CHECK(says(sentence([&] { (void)none.path(); }), "this program holds no code for the device"));
  }
}
TEST_CASE("layer: devices that it runs on, and those that are refused") {
  simt::Config const before = simt::config();
  auto const on = [&](int major, int minor, std::size_t shared) { simt::config().device.major = major, simt::config().device.minor = minor, simt::config().device.shared = shared; };
  auto const run = [](Arch arch) {
    return simt::failure_of([&] {
      Model<mixtral> const few(3, arch), many(40, arch);
      few.forward(), many.forward();
      check(cudaDeviceSynchronize());
    });
  };
  on(8, 0, 163 * 1024);
  CHECK(run(Arch::best) == "");
  on(8, 6, 99 * 1024);
  CHECK(run(Arch::best) == "");
  on(8, 9, 99 * 1024);
  CHECK(run(Arch::best) == "");
  on(10, 0, 227 * 1024);
  CHECK(run(Arch::best) == "");
  CHECK(says(run(Arch::sm_90a), "Arch::sm_90a needs a device of compute capability 9.0"));
  on(7, 5, 64 * 1024);
  CHECK(says(run(Arch::best), "compute capability 7.5, the kernels need 8.0 or later"));
  simt::config() = before;
}
TEST_CASE("layer: any runtime call may fail, and nothing leaks") {
  for (Arch arch : cuda_tests::arches())
    for (std::int64_t tokens : {3, 40}) {
      Model<llama4> const m(tokens, arch);
      m.forward();                               // from here on the device's memory is known
      CHECK(simt::survives_failing_calls([&] { m.forward(), check(cudaStreamSynchronize(nullptr)); }, cudaErrorLaunchFailure) == "");
    }
}
// A stage's first kernel may begin beside the stage ahead: what waits for it can only be missed here.
TEST_CASE("layer: every wait for the kernel ahead is noticed when it is left out") {
  if (!simt::checked()) return;
  auto const unnoticed = [](int waits, auto const& run) {
    simt::Config const before = simt::config();
    simt::clear_syncs();
    CHECK(simt::failure_of(run) == "");
    std::string survivors;
    int met = 0;
    for (std::string const& sync : simt::syncs()) {
      if (sync.find("the kernel ahead") == std::string::npos) continue;
      ++met;
      simt::config().deleted = sync;
      if (simt::survives(18, run).empty()) survivors += sync + "; ";
    }
    simt::config() = before;
    CHECK(met == waits);                         // none is passed over
    return survivors;
  };
  for (Arch arch : cuda_tests::arches()) {
    Model<deepseek_v3> const many(arch == Arch::sm_90a ? 48 : 12, arch), few(3, arch);                 // 48: more than 16 rows an expert
    auto const two_layers = [](auto const& m) { m.forward(), m.forward(m.y.data(), m.x.data(), {m.workspace.data(), m.workspace.size()}); };
    CHECK(unnoticed(arch == Arch::plain ? 4 : arch == Arch::sm_80 ? 8 : 9, [&] { two_layers(many), two_layers(few), check(cudaDeviceSynchronize()); }) == "");
  }
}
#endif

}

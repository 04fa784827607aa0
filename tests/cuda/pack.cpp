// Packing on the GPU: every element of the packed layout by a map that is written here once more, whatever memory the checkpoint is in.
#include "support.hpp"
#include <algorithm>
#include <cstring>
#include "../cases.hpp"

namespace {
using namespace coterie;

template <class T> auto bits_of(T v) {
  if constexpr (std::is_same_v<T, float>) return bit_cast<std::uint32_t>(v);
  else return v.bits;
}
template <DType D> using List = std::vector<element_t<D>>;
// Any bits, NaN payloads too.
template <DType D> List<D> any_bits(cases::Random& random, std::size_t n) {
  List<D> v(n);
  for (auto& x : v) x = bit_cast<element_t<D>>(static_cast<decltype(bits_of(x))>(random.next()));
  return v;
}
template <DType D> List<D> finite(cases::Random& random, std::size_t n) {
  List<D> v(n);
  for (auto& x : v) x = from_float<element_t<D>>(static_cast<float>(random.normal()));
  return v;
}

// How a checkpoint matrix [out][in] lies in memory.
enum class Strides : int { plain, transposed, gaps };
// Where it is.
enum class Home : int { pageable, pinned, device };
constexpr Home everywhere[]{Home::pageable, Home::pinned, Home::device};

// Memory for one matrix of any of these kinds, written by the host.
class Source {
 public:
  Source(Home where, std::size_t bytes) : where_(where), bytes_(bytes) {
    if (where == Home::pageable) data_ = ::operator new(bytes);
    if (where == Home::pinned) check(cudaMallocHost(&data_, bytes));
    if (where == Home::device) check(cudaMalloc(&data_, bytes));
  }
  Source(Source const&) = delete;
  Source& operator=(Source const&) = delete;
  ~Source() {
    if (where_ == Home::pageable) ::operator delete(data_);
    if (where_ == Home::pinned) (void)cudaFreeHost(data_);
    if (where_ == Home::device) (void)cudaFree(data_);
  }
  void write(void const* from, std::size_t bytes) {
    if (bytes > bytes_) fail("the test's source is too small");
    if (where_ == Home::device) check(cudaMemcpy(data_, from, bytes, cudaMemcpyHostToDevice));
    else std::memcpy(data_, from, bytes);
  }
  void* data() const { return data_; }

 private:
  Home where_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

// A matrix of the checkpoint: its values in order, and how they lie.
template <DType D> struct Values {
  List<D> v;                                     // [out][in]
  std::int64_t out, in;
  Strides order;
  std::int64_t out_stride() const { return order == Strides::plain ? in : order == Strides::transposed ? 1 : in + 3; }
  std::int64_t in_stride() const { return order == Strides::transposed ? out : 1; }
  List<D> laid_out() const {
    List<D> m(static_cast<std::size_t>((out - 1) * out_stride() + (in - 1) * in_stride() + 1), bit_cast<element_t<D>>(static_cast<decltype(bits_of(v[0]))>(~0u)));
    for (std::int64_t o = 0; o < out; ++o)
      for (std::int64_t i = 0; i < in; ++i) m[static_cast<std::size_t>(o * out_stride() + i * in_stride())] = v[static_cast<std::size_t>(o * in + i)];
    return m;
  }
  template <class M> M view(Source& at) const {
    List<D> const m = laid_out();
    at.write(m.data(), m.size() * sizeof(m[0]));
    return {.data = static_cast<element_t<D> const*>(at.data()), .out_stride = out_stride(), .in_stride = in_stride()};
  }
  std::size_t bytes() const { return static_cast<std::size_t>(out * (in + 3)) * sizeof(v[0]); }
};
template <DType D> Values<D> matrix(cases::Random& random, std::int64_t out, std::int64_t in, Strides order, bool any) {
  auto const n = static_cast<std::size_t>(out * in);
  return {any ? any_bits<D>(random, n) : finite<D>(random, n), out, in, order};
}

// What the packed bytes must be; where nothing was said, anything may stand.
struct Expected {
  std::vector<unsigned char> bytes, said;
  explicit Expected(std::size_t n) : bytes(n), said(n) {}
  template <class T> void set(std::size_t offset, std::int64_t element, T v) {
    std::size_t const at = offset + static_cast<std::size_t>(element) * sizeof(T);
    std::memcpy(&bytes.at(at), &v, sizeof v);
    std::fill_n(said.begin() + static_cast<std::ptrdiff_t>(at), sizeof v, static_cast<unsigned char>(1));
  }
  // Rows of inputs, padded to 8 with zeros; a second matrix shares blocks of 16 rows with the first, 8 and 8. The whole is a multiple of 64.
  template <class To, DType D> void rows(std::size_t offset, Values<D> const& first, Values<D> const* second) {
    std::int64_t const pitch = (first.in + 7) / 8 * 8, high = second ? (first.out + 7) / 8 * 16 : first.out, all = (high * pitch + 63) / 64 * 64;
    for (std::int64_t i = 0; i < all; ++i) set(offset, i, To{});
    for (std::int64_t o = 0; o < first.out; ++o)
      for (std::int64_t i = 0; i < first.in; ++i) {
        auto const from = static_cast<std::size_t>(o * first.in + i);
        auto const as = [](auto v) {
          if constexpr (std::is_same_v<decltype(v), To>) return v;
          else return from_float<To>(to_float(v));
        };
        std::int64_t const row = second ? o / 8 * 16 + o % 8 : o;
        set(offset, row * pitch + i, as(first.v[from]));
        if (second) set(offset, (row + 8) * pitch + i, as(second->v[from]));
      }
  }
  // The first difference.
  std::string differs(std::byte const* packed) const {
    std::vector<unsigned char> got(bytes.size());
    check(cudaMemcpy(got.data(), packed, got.size(), cudaMemcpyDeviceToHost));
    for (std::size_t i = 0; i < got.size(); ++i)
      if (said[i] && got[i] != bytes[i]) return "byte " + std::to_string(i) + " of " + std::to_string(got.size()) + " is " + std::to_string(got[i]) + ", want " + std::to_string(bytes[i]);
    return "";
  }
};

// Checkpoint of C held as Stored, and what it packs to.
template <Config C, DType Stored> struct Checkpoint {
  static constexpr Config config = C;            // nvcc wants other templates named with it
  using Layout = device::PackedLayout<config>;
  static constexpr std::int64_t H = C.hidden, F = C.ffn, W = width(C), S = C.shared.ffn, N = logit_columns(C), E = C.experts;
  static constexpr bool has_gate = gated(C.expert.act), exact = Stored == C.weights;
  static constexpr Layout layout = Layout::make(C.experts, 0);
  std::vector<Values<Stored>> gate, up, down;
  Values<C.router.weights> router;
  Values<C.shared.weights> shared_gate, shared_up, shared_down, mix;
  Values<C.dtype> latent_down, latent_up;
  List<DType::fp32> bias, norm;
  Expected want{layout.bytes};

  Checkpoint(std::uint64_t seed, Strides order)
      : Checkpoint(cases::Random{seed}, order) {}
  Checkpoint(cases::Random random, Strides order)
      : router(matrix<C.router.weights>(random, N, H, order, true)), shared_gate(matrix<C.shared.weights>(random, S, H, order, true)), shared_up(matrix<C.shared.weights>(random, S, H, order, true)),
        shared_down(matrix<C.shared.weights>(random, H, S, order, true)), mix(matrix<C.shared.weights>(random, 2, H, Strides::plain, false)),
        latent_down(matrix<C.dtype>(random, W, H, order, true)), latent_up(matrix<C.dtype>(random, H, W, order, true)),
        bias(any_bits<DType::fp32>(random, static_cast<std::size_t>(E * (2 * F + W)))), norm(any_bits<DType::fp32>(random, static_cast<std::size_t>(W))) {
    using T = typename Layout::ExpertT;
    for (std::int64_t e = 0; e < E; ++e) {
      gate.push_back(matrix<Stored>(random, F, W, order, exact)), up.push_back(matrix<Stored>(random, F, W, order, exact)), down.push_back(matrix<Stored>(random, W, F, order, exact));
      std::size_t const at = layout.expert_panels + static_cast<std::size_t>(e) * layout.expert_stride;
      want.template rows<T>(at, has_gate ? gate.back() : up.back(), has_gate ? &up.back() : nullptr);
      want.template rows<T>(at + layout.expert_down, down.back(), static_cast<Values<Stored>*>(nullptr));
    }
    auto const* const none = static_cast<Values<C.router.weights>*>(nullptr);
    want.template rows<typename Layout::RouterT>(layout.router_panels, router, none);
    if (C.expert.bias)
      for (std::int64_t i = 0; i < E * F; ++i) {
        if (has_gate) want.set(layout.gate_bias, i, bias[static_cast<std::size_t>(i)]);
        want.set(layout.up_bias, i, bias[static_cast<std::size_t>(E * F + i)]);
      }
    if (C.expert.bias)
      for (std::int64_t i = 0; i < E * W; ++i) want.set(layout.down_bias, i, bias[static_cast<std::size_t>(2 * E * F + i)]);
    if constexpr (S > 0) {
      using Sh = typename Layout::SharedT;
      want.template rows<Sh>(layout.shared_gate_up_panels, has_gate ? shared_gate : shared_up, has_gate ? &shared_up : nullptr);
      want.template rows<Sh>(layout.shared_down_panels, shared_down, static_cast<Values<C.shared.weights>*>(nullptr));
      for (std::int64_t i = 0; i < Layout::mixes * H; ++i) want.set(layout.shared_mix, i, to_float(mix.v[static_cast<std::size_t>(i)]));
      for (int i = 0; i < Layout::mixes; ++i) want.set(layout.shared_mix_bias, i, 0.f);
    }
    if constexpr (C.expert.latent > 0) {
      want.template rows<typename Layout::LatentT>(layout.latent_down_panels, latent_down, static_cast<Values<C.dtype>*>(nullptr));
      want.template rows<typename Layout::LatentT>(layout.latent_up_panels, latent_up, static_cast<Values<C.dtype>*>(nullptr));
      if (C.expert.latent_norm == LatentNorm::rms)
        for (std::int64_t i = 0; i < W; ++i) want.set(layout.latent_norm, i, norm[static_cast<std::size_t>(i)]);
    }
  }

  // Everything through three buffers that are used again and overwritten as soon as each call has returned: what a loader does.
  Packed<config, Cuda> pack(Cuda const& on, Home where, std::span<std::byte> memory = {}) const {
    using W_ = Weights<config, Stored>;
    Packer<config, Cuda> packer{on, memory};
    {
      auto const source = [&](std::size_t bytes) { return Source(where, bytes ? bytes : 1); };
      W_ raw{};
      Source r = source(router.bytes()), sg = source(shared_gate.bytes()), su = source(shared_up.bytes()), sd = source(shared_down.bytes()), m = source(mix.bytes()), ld = source(latent_down.bytes()),
             lu = source(latent_up.bytes()), b = source(bias.size() * 4), n = source(norm.size() * 4);
      raw.router = router.template view<decltype(raw.router)>(r);
      if constexpr (S > 0) {
        raw.shared.gate = shared_gate.template view<decltype(raw.shared.gate)>(sg), raw.shared.up = shared_up.template view<decltype(raw.shared.up)>(su);
        raw.shared.down = shared_down.template view<decltype(raw.shared.down)>(sd), raw.shared.mix = mix.template view<decltype(raw.shared.mix)>(m);
      }
      if constexpr (C.expert.latent > 0) {
        raw.latent.down = latent_down.template view<decltype(raw.latent.down)>(ld), raw.latent.up = latent_up.template view<decltype(raw.latent.up)>(lu);
        n.write(norm.data(), norm.size() * 4), raw.latent.norm = static_cast<float const*>(n.data());
      }
      if constexpr (C.expert.bias > 0) {
        b.write(bias.data(), bias.size() * 4);
        auto const* const at = static_cast<float const*>(b.data());
        for (std::size_t e = 0; e < E; ++e) raw.gate_bias[e] = at + e * F, raw.up_bias[e] = at + (E + e) * F, raw.down_bias[e] = at + 2 * E * F + e * W;
      }
      packer.router(raw);
      for (Source* s : {&r, &sg, &su, &sd, &m, &ld, &lu, &b, &n})
        if (where != Home::device) std::memset(s->data(), 0x5a, 1);
    }
    Source g{where, gate[0].bytes()}, u{where, up[0].bytes()}, d{where, down[0].bytes()};
    for (int i = 0; i < 2 * C.experts; ++i) {              // from the last one on, then once more: refreshed in place
      one(packer, i < C.experts ? C.experts - 1 - i : i - C.experts, g, u, d);
      if (where == Home::device) check(cudaStreamSynchronize(on.stream));                       // device memory is read in the stream's order
    }
    return packer.finish();
  }
  void one(Packer<config, Cuda>& packer, int e, Source& g, Source& u, Source& d) const {
    auto const i = static_cast<std::size_t>(e);
    using Up = Matrix<Stored, C.ffn, width(C)>;
    using Down = Matrix<Stored, width(C), C.ffn>;
    packer.expert(e, has_gate ? gate[i].template view<Up>(g) : Up{}, up[i].template view<Up>(u), down[i].template view<Down>(d));
  }
};

template <Config C, DType Stored = C.weights> void packs() {
  for (Strides order : {Strides::plain, Strides::transposed, Strides::gaps}) {
    Checkpoint<C, Stored> const checkpoint{static_cast<std::uint64_t>(order) + 1, order};
    for (Home where : everywhere)
      CHECK(simt::survives(18, [&] {
        auto const packed = checkpoint.pack(Cuda{}, where);
        return checkpoint.want.differs(packed.view().data);
      }) == "");
  }
}

constexpr Config small{.experts = 4, .top_k = 2, .hidden = 24, .ffn = 17};
constexpr Config odd{.experts = 3, .top_k = 1, .hidden = 33, .ffn = 9, .dtype = DType::fp32, .weights = DType::fp32, .router = {.weights = DType::fp32}, .expert = {.act = Act::relu2, .bias = 1}};
constexpr Config every_part{.experts = 2, .top_k = 2, .hidden = 20, .ffn = 8, .dtype = DType::fp16, .weights = DType::bf16, .router = {.weights = DType::fp16},
                     .expert = {.bias = 1, .latent = 12, .latent_norm = LatentNorm::rms}, .shared = {.ffn = 10, .mix = SharedMix::coefficients, .weights = DType::fp16}};
constexpr Config one_by_one{.experts = 1, .top_k = 1, .hidden = 1, .ffn = 1};

std::string sentence(auto const& f) {
  try {
    f();
  } catch (Error const& e) {
    return e.what();
  }
  return "";
}
bool says(std::string const& text, char const* what) { return text.find(what) != std::string::npos; }

// Host weights of `small`.
struct SmallWeights {
  List<DType::bf16> values = List<DType::bf16>(24 * 17, from_float<bf16>(1));
  Weights<small> raw{};
  SmallWeights() {
    raw.router.data = values.data();
    for (std::size_t e = 0; e < 4; ++e) raw.gate[e].data = raw.up[e].data = raw.down[e].data = values.data();
  }
};
}

TEST_CASE("pack: every element stands where the layout says, from host and device memory, which may be used again at once") {
  packs<small>();
  packs<odd>();
  packs<every_part>();
  packs<every_part, DType::fp32>();
  packs<one_by_one>();
  packs<small, DType::fp16>();
}
TEST_CASE("pack: one matrix given twice with other strides is two matrices") {
  SmallWeights w;
  cases::Random random{5};
  w.values = finite<DType::bf16>(random, 24 * 17);
  w.raw.router.data = w.values.data();
  for (std::size_t e = 0; e < 4; ++e) {
    w.raw.gate[e].data = w.raw.up[e].data = w.raw.down[e].data = w.values.data();
    w.raw.up[e].out_stride = 1, w.raw.up[e].in_stride = 17;
  }
  auto const packed = pack(Cuda{}, w.raw);
  Values<DType::bf16> const gate{w.values, 17, 24, Strides::plain};
  Values<DType::bf16> up = gate;
  for (std::size_t o = 0; o < 17; ++o)
    for (std::size_t i = 0; i < 24; ++i) up.v[o * 24 + i] = w.values[i * 17 + o];
  constexpr auto layout = device::PackedLayout<small>::make(4, 0);
  Expected want{layout.bytes};
  want.rows<bf16>(layout.expert_panels, gate, &up);
  CHECK(want.differs(packed.view().data) == "");
}
TEST_CASE("pack: what is written can be read back, bit for bit") {
  CHECK(simt::survives(18, [&] {
    Checkpoint<small, DType::bf16> const checkpoint{9, Strides::plain};
    Cuda const on{};
    auto const packed = checkpoint.pack(on, Home::pageable);
    simt::Array<bf16> gate(24 * 17), up(24 * 17), down(24 * 17);
    for (int e = 0; e < 4; ++e) {
      unpack_expert<small>(on, packed.view(), e, {.data = gate.data()}, {.data = up.data()}, {.data = down.data()});
      auto const same = [](List<DType::bf16> const& a, List<DType::bf16> const& b) { return std::memcmp(a.data(), b.data(), a.size() * 2) == 0; };
      auto const i = static_cast<std::size_t>(e);
      if (!same(gate.get(), checkpoint.gate[i].v) || !same(up.get(), checkpoint.up[i].v) || !same(down.get(), checkpoint.down[i].v)) return false;
    }
    return says(sentence([&] { unpack_expert<small>(on, packed.view(), 4, {.data = gate.data()}, {.data = up.data()}, {.data = down.data()}); }), "expert is not in this view");
  }) == "");
}
TEST_CASE("pack: the caller's memory is filled in place, and nothing beside it") {
  constexpr std::size_t bytes = Packer<small, Cuda>::bytes();
  simt::Array<std::byte> memory(256 + bytes + 256);
  memory.put(std::vector<std::byte>(memory.size(), std::byte{0xa5}));
  Checkpoint<small, DType::bf16> const first{1, Strides::plain}, second{2, Strides::plain};
  for (auto const* checkpoint : {&first, &second}) {
    auto const packed = checkpoint->pack(Cuda{}, Home::pageable, {memory.data() + 256, bytes});
    CHECK(packed.view().data == memory.data() + 256);
    CHECK(checkpoint->want.differs(packed.view().data) == "");
  }
  auto const after = memory.get();
  std::size_t touched = 0;
  for (std::size_t i = 0; i < 256; ++i) touched += (after[i] != std::byte{0xa5}) + (after[256 + bytes + i] != std::byte{0xa5});
  CHECK(touched == 0);
}
namespace {
// What an optimiser does: new weights go where they stand.
template <Config C> struct Update {
  static constexpr Config config = C;
  using T = element_t<C.weights>;
  std::byte* packed;
  T const *gate, *up, *down;                     // [E][F][W], [E][F][W], [E][W][F]
};
template <class P> __global__ void update_kernel(P const p) {
  using Where = Packer<P::config, Cuda>;
  constexpr int F = P::config.ffn, W = width(P::config);
  int const e = static_cast<int>(blockIdx.x);
  auto const at = [&](ExpertMatrix which, int o, int i) -> typename P::T& { return *reinterpret_cast<typename P::T*>(p.packed + Where::offset(e, which, o, i)); };
  for (int n = static_cast<int>(threadIdx.x); n < F * W; n += static_cast<int>(blockDim.x)) {
    at(ExpertMatrix::gate, n / W, n % W) = p.gate[e * F * W + n], at(ExpertMatrix::up, n / W, n % W) = p.up[e * F * W + n];
    at(ExpertMatrix::down, n / F, n % F) = p.down[e * F * W + n];
  }
}
}
TEST_CASE("pack: weights written where they stand are packed") {
  constexpr std::size_t bytes = Packer<small, Cuda>::bytes(), experts = device::PackedLayout<small>::make(4, 0).expert_panels;
  simt::Array<std::byte> memory(bytes);
  Checkpoint<small, DType::bf16> const first{1, Strides::plain}, second{2, Strides::plain};
  Cuda const on{};
  (void)first.pack(on, Home::pageable, {memory.data(), bytes});
  List<DType::bf16> gate, up, down;
  for (std::size_t e = 0; e < 4; ++e)
    for (auto [to, from] : {std::pair{&gate, &second.gate[e].v}, {&up, &second.up[e].v}, {&down, &second.down[e].v}}) to->insert(to->end(), from->begin(), from->end());
  simt::Array<bf16> const all_gate(gate), all_up(up), all_down(down);
  launch(update_kernel<Update<small>>, {.grid = dim3(4), .block = dim3(64)}, on.stream, Where::here(), Update<small>{memory.data(), all_gate.data(), all_up.data(), all_down.data()});
  check(cudaDeviceSynchronize());
  auto const want = second.pack(on, Home::pageable);
  simt::Array<std::byte> const wanted(bytes);
  check(cudaMemcpy(wanted.data(), want.view().data, bytes, cudaMemcpyDeviceToDevice));
  CHECK(std::memcmp(memory.get().data() + experts, wanted.get().data() + experts, bytes - experts) == 0);
}
TEST_CASE("pack: device memory is packed in place without waiting, in a graph that reads what is there when it runs") {
  constexpr std::size_t bytes = Packer<odd, Cuda>::bytes(), E = odd.experts, F = odd.ffn, H = odd.hidden, each = F * H;
  Checkpoint<odd, DType::fp32> const first{1, Strides::plain}, second{2, Strides::plain};
  simt::Array<std::byte> memory(bytes);
  simt::Array<float> router(E * H), up(E * each), down(E * each), bias(first.bias.size());
  auto const put = [&](Checkpoint<odd, DType::fp32> const& from) {
    List<DType::fp32> ups, downs;
    for (std::size_t e = 0; e < E; ++e) ups.insert(ups.end(), from.up[e].v.begin(), from.up[e].v.end()), downs.insert(downs.end(), from.down[e].v.begin(), from.down[e].v.end());
    router.put(from.router.v), up.put(ups), down.put(downs), bias.put(from.bias);
  };
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  Packer<odd, Cuda> packer{Cuda{stream}, {memory.data(), bytes}};
  Weights<odd> raw{};
  raw.router.data = router.data();
  for (std::size_t e = 0; e < E; ++e) raw.up_bias[e] = bias.data() + (E + e) * F, raw.down_bias[e] = bias.data() + 2 * E * F + e * H;
  packer.router(raw);
  for (std::size_t e = 0; e < E; ++e) packer.expert<DType::fp32>(static_cast<int>(e), {}, {.data = up.data() + e * each}, {.data = down.data() + e * each});
  check(cudaStreamEndCapture(stream, &graph));
  check(cudaGraphInstantiate(&executable, graph, 0));
  for (auto const* checkpoint : {&first, &second}) {
    put(*checkpoint);
    check(cudaGraphLaunch(executable, stream));
    check(cudaStreamSynchronize(stream));
    CHECK(checkpoint->want.differs(memory.data()) == "");
  }
  check(cudaGraphExecDestroy(executable)), check(cudaGraphDestroy(graph)), check(cudaStreamDestroy(stream));
}
TEST_CASE("pack: a table of ids, whole or row by row") {
  constexpr Config c{.experts = 2, .top_k = 2, .hidden = 8, .ffn = 8, .router = {.select = Select::table}};
  std::vector<std::int32_t> ids(7 * 5);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i * 37 % 2);
  List<DType::bf16> const values(64, from_float<bf16>(1));
  Weights<c> raw{};
  raw.router.data = values.data();
  for (std::size_t e = 0; e < 2; ++e) raw.gate[e].data = raw.up[e].data = raw.down[e].data = values.data();
  simt::Array<std::int32_t> const on_device(ids);
  for (std::int64_t stride : {2, 5})
    for (bool device : {false, true})
      CHECK(simt::survives(18, [&] {
        raw.table = {device ? on_device.data() : ids.data(), 7, stride};
        auto const packed = pack(Cuda{}, raw);
        Expected want{device::PackedLayout<c>::make(2, 7).bytes};
        for (std::int64_t i = 0; i < 14; ++i) want.set(device::PackedLayout<c>::make(2, 7).table, i, ids[static_cast<std::size_t>(i / 2 * stride + i % 2)]);
        return want.differs(packed.view().data);
      }) == "");
  CHECK(says(sentence([&] { Packer<c, Cuda> packer{Cuda{}}; packer.router(raw); }), "Weights::table must have the rows that the Packer was made for"));
}
TEST_CASE("pack: what is missing or does not fit is named") {
  SmallWeights const w;
  Cuda const on{};
  constexpr std::size_t bytes = Packer<small, Cuda>::bytes();
  simt::Array<std::byte> const memory(bytes + 256);
  std::vector<std::byte> host(bytes + 256);
  std::byte* const aligned = host.data() + (256 - reinterpret_cast<std::uintptr_t>(host.data()) % 256) % 256;
  auto const packer = [&](std::byte* at, std::size_t n) { return sentence([&] { Packer<small, Cuda>(on, {at, n}); }); };
  CHECK(packer(memory.data(), bytes) == "");
  CHECK(says(packer(memory.data(), bytes - 1), ("memory is too small: got " + std::to_string(bytes - 1) + ", want " + std::to_string(bytes)).c_str()));
  CHECK(says(packer(memory.data() + 16, bytes), "memory must be aligned to 256 bytes: got 16, want 0"));
  CHECK(says(packer(aligned, bytes), "Packer: memory must be device memory, this is host memory"));
  auto const without = [&](auto const& change) {
    return sentence([&] {
      SmallWeights other;
      change(other.raw);
      (void)pack(on, other.raw);
    });
  };
  CHECK(without([](auto&) {}) == "");
  CHECK(says(without([](auto& raw) { raw.router.data = nullptr; }), "Weights::router is not set"));
  CHECK(says(without([](auto& raw) { raw.gate[2].data = nullptr; }), "expert 2's gate, up or down is not set"));
  CHECK(says(without([](auto& raw) { raw.down[3].data = nullptr; }), "expert 3's gate, up or down is not set"));
  CHECK(says(sentence([&] { Packer<small, Cuda> p{on}; (void)p.finish(); }), "router() has not been called"));
  CHECK(says(sentence([&] { Packer<small, Cuda> p{on}; p.router(w.raw); (void)p.finish(); }), "not every expert has been packed: got 0, want 4"));
  CHECK(says(sentence([&] { Packer<small, Cuda> p{on}; p.expert(4, w.raw.gate[0], w.raw.up[0], w.raw.down[0]); }), "expert out of range: got 4"));
}
TEST_CASE("pack: pageable memory is host memory, even where the device could read it") {
  cudaPointerAttributes a{};
  int x = 0;
  a.type = cudaMemoryTypeUnregistered, a.device = 0, a.devicePointer = a.hostPointer = &x;     // as with HMM and ATS
  CHECK(device::kind_of(a) == device::MemoryKind::host);
  a.type = cudaMemoryTypeHost;
  CHECK(device::kind_of(a) == device::MemoryKind::pinned);
  a.devicePointer = nullptr;
  CHECK(device::kind_of(a) == device::MemoryKind::host);
  a.type = cudaMemoryTypeManaged;
  CHECK(device::kind_of(a) == device::MemoryKind::managed);
  a.type = cudaMemoryTypeDevice;
  CHECK(device::kind_of(a) == device::MemoryKind::device);
}
TEST_CASE("pack: where device memory is, is remembered for the gradients of many experts side by side") {
  auto const at = [](std::uintptr_t n) { return reinterpret_cast<void const*>(n); };
  constexpr std::uintptr_t first = 0x7f0000000000, mib = 1 << 20;
  for (std::uintptr_t size : {6 * mib, 112 * mib, 224 * mib, 336 * mib}) {         // a matrix: Qwen3's, gpt-oss's, Mixtral's in bf16, others
    device::KnownMemory known;
    std::uintptr_t const count = std::min<std::uintptr_t>(384, (std::uintptr_t{128} << 30) / size);
    for (std::uintptr_t i = 0; i < count; ++i) {
      CHECK(!known.has(at(first + i * size)));
      known.add(at(first + i * size));
    }
    std::uintptr_t still = 0;
    for (std::uintptr_t i = 0; i < count; ++i) still += known.has(at(first + i * size + 2 * mib - 1));   // to the end of what is mapped at once
    CHECK(still == count);
    CHECK(!known.has(at(first + 2 * mib)));      // what is beside it is not known
    CHECK(!known.has(at(first - 1)));
    CHECK(!known.has(at(first + (std::uintptr_t{128} << 30))));
    known.add(at(first + (std::uintptr_t{128} << 30)));                  // further ones take the places of others, and are not taken for them
    CHECK(known.has(at(first + (std::uintptr_t{128} << 30))));
    CHECK(!known.has(at(first)));
    CHECK(!known.has(nullptr));
  }
}
#if defined(COTERIE_SIMT)
TEST_CASE("pack: the runtime is asked once about device memory, and always about other memory") {
  Source const memory{Home::device, std::size_t{8} << 20};
  std::vector<std::byte> const host(100);
  Cuda const on;
  auto const asked = [&](void const* p) {
    simt::clear_calls();
    std::string const refused = sentence([&] { on.needs_device_memory("Stage", "x", p, Where::here()); });
    auto const calls = simt::calls();
    return std::to_string(std::ranges::count(calls, std::string("cudaPointerGetAttributes"))) + (says(refused, "Stage: x must be device memory, this is host memory") ? " refused" : "");
  };
  for (int i = 0; i < 4; ++i) (void)asked(static_cast<char*>(memory.data()) + i * (2 << 20));
  for (int i = 0; i < 4; ++i) CHECK(asked(static_cast<char*>(memory.data()) + i * (2 << 20)) == "0");
  for (int i = 0; i < 2; ++i) CHECK(asked(host.data()) == "1 refused");
  CHECK(asked(nullptr) == "1 refused");
}
#endif
TEST_CASE("pack: contiguous matrices are read and written in full sectors") {
  if (!simt::checked()) return;
  auto const waste = []<class From>(From, int paired) {
    device::RowShape const shape{.outputs = 40, .inputs = 64, .paired = paired};
    simt::Array<From> const first(std::vector<From>(40 * 64)), second(std::vector<From>(40 * 64));
    simt::Array<bf16> const to(static_cast<std::size_t>(shape.elements()));
    return simt::wasteful_lines([&] {
      launch(device::pack_kernel<bf16, From>, device::elementwise(shape.elements()), nullptr, Where::here(), to.data(), shape, device::Strided<From const>{first.data(), 64, 1},
             device::Strided<From const>{second.data(), 64, 1});
    });
  };
  for (int paired : {0, 1}) {
    CHECK(waste(bf16{}, paired).empty());
    CHECK(waste(0.f, paired).empty());
  }
}
TEST_CASE("pack: any runtime call may fail, and nothing leaks") {
  for (Home where : everywhere) {
    Checkpoint<every_part, DType::bf16> const checkpoint{3, Strides::gaps};
    CHECK(simt::survives_failing_calls([&] { (void)checkpoint.pack(Cuda{}, where); }) == "");
  }
}

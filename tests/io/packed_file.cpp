// Packed layers in files: what is mapped is what the Packer makes, other files are refused by a sentence, and a name never
// stands for half a file.
#include <coterie/coterie.hpp>
#include <coterie/io/packed_file.hpp>
#include <doctest/doctest.h>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <type_traits>
#include <vector>

#include <sys/resource.h>
#include <sys/wait.h>

namespace {
using namespace coterie;
namespace fs = std::filesystem;

// A folder of the test's own, gone with it.
class Folder {
 public:
  Folder() {
    static int made = 0;
    path_ = fs::temp_directory_path() / ("coterie_packed_" + std::to_string(::getpid()) + "_" + std::to_string(made++));
    fs::remove_all(path_), fs::create_directories(path_);
  }
  Folder(Folder const&) = delete;
  Folder& operator=(Folder const&) = delete;
  ~Folder() { fs::remove_all(path_); }
  std::string operator/(char const* name) const { return (path_ / name).string(); }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(path_), fs::directory_iterator())); }

 private:
  fs::path path_;
};

std::string read(std::string const& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(std::string const& path, std::string const& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

constexpr Config plain{.experts = 6, .top_k = 2, .hidden = 96, .ffn = 72};
constexpr Config odd{.experts = 3, .top_k = 1, .hidden = 33, .ffn = 7, .dtype = DType::fp32, .weights = DType::fp32, .router = {.weights = DType::fp32}};
constexpr Config rich{.experts = 5, .top_k = 2, .hidden = 50, .ffn = 20, .router = {.bias = 1, .score = Score::sigmoid, .select_bias = 1, .expert_scale = 1},
                      .expert = {.bias = 1, .latent = 24, .latent_norm = LatentNorm::rms}, .shared = {.ffn = 16, .mix = SharedMix::coefficients}};
constexpr Config by_table{.experts = 4, .top_k = 2, .hidden = 40, .ffn = 24, .router = {.select = Select::table, .normalise = Normalise::none}};
constexpr Config in_int4{.experts = 4, .top_k = 2, .hidden = 96, .ffn = 64, .weights = DType::int4, .quant = {.group = 32, .zero_points = 1}};
constexpr Config in_mxfp4{.experts = 4, .top_k = 2, .hidden = 96, .ffn = 64, .weights = DType::mxfp4, .quant = {.group = 32}};
constexpr std::int64_t vocabulary = 50;

// Weights of any config from one run of numbers; of quantised ones as bf16, for the Packer to quantise.
template <Config C> struct Source {
  static constexpr DType stored = is_float(C.weights) ? C.weights : DType::bf16;
  std::vector<float> floats;
  std::vector<element_t<stored>> experts;
  std::vector<element_t<C.router.weights>> router;
  std::vector<element_t<C.shared.weights>> shared;
  std::vector<element_t<C.dtype>> latent;
  std::vector<std::int32_t> table;
  Weights<C, stored> weights{};

  explicit Source(std::uint32_t seed) {
    constexpr std::size_t h = C.hidden, f = C.ffn, w = width(C), e = C.experts, s = C.shared.ffn;
    auto const fill = [&seed](auto& values, std::size_t n) {
      values.resize(n);
      for (auto& v : values) seed = seed * 1664525u + 1013904223u, v = from_float<std::remove_reference_t<decltype(v)>>((static_cast<float>(seed >> 16 & 255) - 128) / 512);
    };
    fill(experts, 3 * e * f * w), fill(router, std::size_t{logit_columns(C)} * h), fill(shared, 5 * s * h + 1), fill(latent, 2 * w * h);
    fill(floats, e * (2 * f + w) + 4 * std::size_t{logit_columns(C)} + w);
    weights.router = {router.data()};
    float const* at = floats.data();
    auto const some = [&at](std::size_t n) { return std::exchange(at, at + n); };
    weights.router_bias = some(logit_columns(C)), weights.select_bias = some(logit_columns(C)), weights.expert_scale = some(logit_columns(C)), weights.latent.norm = some(w);
    for (std::size_t i = 0; i < e; ++i) {
      weights.gate[i] = {&experts[3 * i * f * w]}, weights.up[i] = {&experts[(3 * i + 1) * f * w]}, weights.down[i] = {&experts[(3 * i + 2) * f * w]};
      if constexpr (C.expert.bias) weights.gate_bias[i] = some(f), weights.up_bias[i] = some(f), weights.down_bias[i] = some(w);
    }
    weights.shared.gate = {&shared[0]}, weights.shared.up = {&shared[s * h]}, weights.shared.down = {&shared[2 * s * h]}, weights.shared.mix = {&shared[3 * s * h]};
    weights.latent.down = {&latent[0]}, weights.latent.up = {&latent[w * h]};
    for (std::int64_t i = 0; i < vocabulary * C.top_k; ++i) table.push_back(static_cast<std::int32_t>((i * 7 + i / 3) % C.experts));
    if constexpr (C.router.select == Select::table) weights.table = {table.data(), vocabulary};
  }
};

template <Config C> using Layout = host::PackedLayout<C>;

// Packed into zeroed memory, so that what lies between the pieces is defined, as it is in a new file.
template <Config C> std::vector<std::byte> in_memory(Host const& on, Source<C> const& from, std::int64_t rows) {
  std::vector<std::byte> room(Packer<C, Host>::bytes(rows) + 64);
  void* start = room.data();
  std::size_t space = room.size();
  std::align(64, space - 64, start, space);
  Packer<C, Host> packer{on, {static_cast<std::byte*>(start), space}, rows};
  packer.router(from.weights);
  for (std::size_t e = 0; e < C.experts; ++e) packer.expert(static_cast<int>(e), from.weights.gate[e], from.weights.up[e], from.weights.down[e]);
  (void)packer.finish();
  return {static_cast<std::byte*>(start), static_cast<std::byte*>(start) + Packer<C, Host>::bytes(rows)};
}

template <Config C> void round_trip(std::int64_t rows = 0) {
  Folder const folder;
  Host const on{.threads = 2};
  Source<C> const from{C.hidden};
  auto const want = in_memory(on, from, rows);
  PackedFile<C> const file = pack_to_file(on, from.weights, folder / "layer");
  auto const l = Layout<C>::make(C.experts, rows);
  REQUIRE(fs::file_size(folder / "layer") == 4096 + want.size());
  CHECK(folder.files() == 1);
  std::byte const* const got = file.view().data;
  CHECK(reinterpret_cast<std::uintptr_t>(got) % 4096 == 0);
  typename Layout<C>::Header header;
  std::memcpy(&header, got + l.header, sizeof header);
  CHECK(header.mapped == 1);
  CHECK(header.table_rows == rows);
  header.mapped = 0;
  CHECK(std::memcmp(&header, want.data() + l.header, sizeof header) == 0);
  std::size_t const rest = l.header + sizeof header;
  CHECK(std::memcmp(got + rest, want.data() + rest, want.size() - rest) == 0);

  PackedFile<C> const again{folder / "layer"};                           // as another process would
  CHECK(std::memcmp(again.view().data, got, want.size()) == 0);
  CHECK(again.path() == folder / "layer");

  Packed<C, Host> const packed = pack(on, from.weights);
  Layer<C, Host> const mapped{again.view()}, in_ram{packed.view()};
  using V = element_t<C.dtype>;
  for (Isa isa : {Isa::portable, Isa::best}) {
    Host const path{.threads = 2, .isa = isa, .pool = on.pool};
    for (std::int64_t tokens : {1, 5, 40}) {
      std::vector<V> x, y(static_cast<std::size_t>(tokens * C.hidden)), z(y.size());
      std::vector<std::int32_t> ids;
      for (std::size_t i = 0; i < y.size(); ++i) x.push_back(from_float<V>(static_cast<float>(i * 37 % 101) / 50 - 1));
      for (std::int64_t t = 0; t < tokens; ++t) ids.push_back(static_cast<std::int32_t>(t * 13 % vocabulary));
      Inputs<C> const in{.x = coterie::rows<C.hidden>(static_cast<V const*>(x.data()), tokens), .token_ids = ids.data()};
      std::vector<std::byte> workspace(mapped.workspace_bytes(path, tokens));
      mapped.forward(path, in, coterie::rows<C.hidden>(y.data(), tokens), workspace);
      in_ram.forward(path, in, coterie::rows<C.hidden>(z.data(), tokens), workspace);
      CHECK(std::memcmp(y.data(), z.data(), y.size() * sizeof(V)) == 0);
      CHECK(to_float(y[0]) != 0);
    }
  }
}

// What opening the file as a PackedFile<C> says; empty: it opened.
template <Config C> std::string refusal(std::string const& path) {
  try {
    PackedFile<C> const file{path};
    return {};
  } catch (Error const& e) {
    return e.what();
  }
}
constexpr Config with_k(int k) {
  Config c = plain;
  c.top_k = k;
  return c;
}
constexpr Config with_act() {
  Config c = plain;
  c.expert.act = Act::gelu_mul;
  return c;
}
constexpr Config with_scale() {
  Config c = plain;
  c.router.scale = 2.5f;
  return c;
}
constexpr Config with_ffn() {
  Config c = plain;
  c.ffn = 71;                                    // pads to the same panels: only the Config tells
  return c;
}
}

namespace ct = coterie;
constexpr ct::Config mini{.experts = 8, .top_k = 2, .hidden = 256, .ffn = 512};

// [docs/checkpoints.md
void pack_once(ct::Host const& on, ct::Weights<mini> const& weights, std::string const& path) {
  ct::FilePacker<mini> p{on, path};                            // a Packer whose memory is a file; takes the room on the disk
  p.router(weights);
  for (std::size_t e = 0; e < mini.experts; ++e)               // one expert in memory at a time: read it, pack it, let it go
    p.expert(static_cast<int>(e), weights.gate[e], weights.up[e], weights.down[e]);
  p.finish();                                                  // path now stands for the whole file, on the disk
}

void run_mapped(ct::Host const& on, std::string const& path, ct::Rows<ct::bf16 const, 256> x, ct::Rows<ct::bf16, 256> y) {
  ct::PackedFile<mini> const file{path};                       // refuses another Config, another version, half a file
  ct::Layer<mini, ct::Host> const layer{file.view()};
  std::vector<std::byte> workspace(layer.workspace_bytes(on, x.rows));
  layer.forward(on, x, y, workspace);
}
// docs/checkpoints.md]

static_assert(!std::is_copy_constructible_v<PackedFile<plain>> && std::is_nothrow_move_constructible_v<PackedFile<plain>> && std::is_nothrow_move_assignable_v<PackedFile<plain>>);

TEST_SUITE("packed file") {
  TEST_CASE("packed file: what is mapped is what the Packer makes, bit for bit, and computes the same") {
    round_trip<plain>();
    round_trip<odd>();
    round_trip<rich>();
    round_trip<by_table>(vocabulary);
    round_trip<in_int4>();
    round_trip<in_mxfp4>();
  }

  TEST_CASE("packed file: the snippet of docs/checkpoints.md") {
    Folder const folder;
    Host const on{.threads = 2};
    Source<mini> const from{3};
    pack_once(on, from.weights, folder / "layer0.packed");
    std::vector<bf16> const x(3 * 256, from_float<bf16>(0.5f));
    std::vector<bf16> y(x.size());
    run_mapped(on, folder / "layer0.packed", rows<256>(x.data(), 3), rows<256>(y.data(), 3));
    CHECK(y[0].bits == y[256].bits);
    CHECK(to_float(y[0]) != 0);
  }

  TEST_CASE("packed file: another Config is refused by the first field that differs") {
    Folder const folder;
    (void)pack_to_file(Host{.threads = 1}, Source<plain>{1}.weights, folder / "layer");
    CHECK(refusal<plain>(folder / "layer") == "");
    auto const says = [&](std::string const& what, std::string const& sentence) { CHECK_MESSAGE(what.find("layer': " + sentence) != what.npos, what); };
    says(refusal<with_k(3)>(folder / "layer"), "field top_k: got 2 (file), want 3 (Config) (");
    says(refusal<with_ffn()>(folder / "layer"), "field ffn: got 72 (file), want 71 (Config) (");
    says(refusal<with_act()>(folder / "layer"), "field expert.act: got silu_mul (file), want gelu_mul (Config) (");
    says(refusal<with_scale()>(folder / "layer"), "field router.scale: got 1.000000 (file), want 2.500000 (Config) (");
    says(refusal<odd>(folder / "layer"), "field experts: got 6 (file), want 3 (Config) (");
  }

  TEST_CASE("packed file: what is no packed file, or not all of one, is refused") {
    Folder const folder;
    (void)pack_to_file(Host{.threads = 1}, Source<plain>{1}.weights, folder / "layer");
    std::string const good = read(folder / "layer");
    using H = io::PackedFileHeader;
    auto const l = Layout<plain>::make(plain.experts, 0);
    auto const says = [&](std::string const& bytes, std::string const& sentence) {
      write(folder / "bad", bytes);
      std::string const what = refusal<plain>(folder / "bad");
      CHECK_MESSAGE(what.find("bad': " + sentence) != what.npos, what << "  for  " << sentence);
    };
    auto const changed = [&](std::size_t at, auto value) {
      std::string bytes = good;
      std::memcpy(bytes.data() + at, &value, sizeof value);
      return bytes;
    };
    says("", "size: got 0 bytes, want at least 4096");
    says(good.substr(0, 4095), "size: got 4095 bytes, want at least 4096");
    says(good.substr(0, 4096), "size: got 4096, want " + std::to_string(good.size()) + " bytes");
    says(good.substr(0, good.size() - 1), "size: got " + std::to_string(good.size() - 1) + ", want " + std::to_string(good.size()) + " bytes");
    says(good + '\0', "size: got " + std::to_string(good.size() + 1) + ", want " + std::to_string(good.size()) + " bytes");
    says(std::string(8192, '\0'), "is not a packed layer: got '\\x00\\x00");
    says(std::string(8192, 'x'), "is not a packed layer: got 'xxxxxxxxxxxxxxx' at first, want 'coterie packed'");
    says(changed(offsetof(H, byte_order), 0x04030201u), "was packed on a machine of another byte order");
    says(changed(offsetof(H, layout_version), packed_layout_version + 1),
         "version of the packed layout: got " + std::to_string(packed_layout_version + 1) + ", want " + std::to_string(packed_layout_version) + "; pack it again");
    says(changed(offsetof(H, fields), 52u), "fields of the Config: got 52, want 51; pack it again");
    says(changed(offsetof(H, alignment), 32u), "alignment: got 32, want 64");
    says(changed(offsetof(H, config), -6), "field experts: got -6 (file), want 6 (Config)");
    says(changed(offsetof(H, config) + 16, 77), "field dtype: got 77 (file), want bf16 (Config)");          // no enumerator
    says(changed(offsetof(H, config) + 16, -1), "field dtype: got -1 (file), want bf16 (Config)");
    says(changed(offsetof(H, table_rows), std::int64_t{1}), "rows of the table: got 1, want 0");
    says(changed(offsetof(H, expert_panels), ~std::uint64_t{0}), "place of the first expert: got 18446744073709551615, want " + std::to_string(l.expert_panels));
    says(changed(offsetof(H, expert_down), std::uint64_t{0}), "place of down in an expert: got 0, want " + std::to_string(l.expert_down));
    says(changed(offsetof(H, expert_stride), std::uint64_t{64}), "bytes of an expert: got 64, want " + std::to_string(l.expert_stride));
    says(changed(offsetof(H, bytes), std::uint64_t{1} << 63), "bytes of the packed layer: got 9223372036854775808, want " + std::to_string(l.bytes));
    using Scalars = Layout<plain>::Header;
    says(changed(4096 + offsetof(Scalars, mapped), std::int64_t{0}), "flag of a mapped layer: got 0, want 1");
    says(changed(4096 + offsetof(Scalars, table_rows), std::int64_t{9}), "rows of the table in the packed layer: got 9, want 0");

    std::size_t accepted = 0;                                            // every bit of the header but those that mean nothing
    for (std::size_t bit = 0; bit < 8 * sizeof(H); ++bit) {
      if (bit / 8 >= offsetof(H, unused) && bit / 8 < offsetof(H, table_rows)) continue;
      write(folder / "bad", changed(bit / 8, static_cast<char>(good[bit / 8] ^ (1 << bit % 8))));
      accepted += refusal<plain>(folder / "bad").empty();
    }
    CHECK(accepted == 0);
    write(folder / "bad", good);
    CHECK(refusal<plain>(folder / "bad") == "");

    CHECK(refusal<plain>(folder / "none").find("none': cannot be opened: No such file") != std::string::npos);
    CHECK(refusal<plain>(folder / ".").find("is not a regular file") != std::string::npos);
  }

  TEST_CASE("packed file: a table has the rows it was packed with") {
    Folder const folder;
    (void)pack_to_file(Host{.threads = 1}, Source<by_table>{1}.weights, folder / "layer");
    std::string const good = read(folder / "layer");
    auto const says = [&](std::int64_t rows, std::string const& sentence) {
      std::string bytes = good;
      std::memcpy(bytes.data() + offsetof(io::PackedFileHeader, table_rows), &rows, sizeof rows);
      write(folder / "bad", bytes);
      std::string const what = refusal<by_table>(folder / "bad");
      CHECK_MESSAGE(what.find(sentence) != what.npos, what);
    };
    says(-1, "rows of the table: got -1, want 0 to 2147483647");
    says(std::int64_t{1} << 40, "rows of the table: got 1099511627776, want 0 to 2147483647");
    says(vocabulary + 1000, "bytes of the packed layer: got ");
    CHECK_THROWS_WITH_AS((FilePacker<by_table>{Host{.threads = 1}, folder / "other", -1}), doctest::Contains("FilePacker: table_rows must be 0 to 2^31 - 1: got -1"), Error);
    CHECK(!fs::exists(folder / "other"));
  }

  TEST_CASE("packed file: the name stands for the old file until the new one is whole") {
    Folder const folder;
    Host const on{.threads = 1};
    Source<plain> const first{1}, second{2};
    PackedFile<plain> const old = pack_to_file(on, first.weights, folder / "layer");
    std::string const before = read(folder / "layer");
    auto const put = [&](FilePacker<plain>& p, std::size_t e) { p.expert(static_cast<int>(e), second.weights.gate[e], second.weights.up[e], second.weights.down[e]); };
    {
      FilePacker<plain> abandoned{on, folder / "layer"};
      abandoned.router(second.weights);
      put(abandoned, 0);
      CHECK(folder.files() == 2);
      CHECK(read(folder / "layer") == before);
      CHECK_THROWS_WITH_AS((void)abandoned.finish(), doctest::Contains("Packer::finish: not every expert has been packed: got 1, want 6"), Error);
      CHECK(read(folder / "layer") == before);
    }
    CHECK(folder.files() == 1);                                          // nothing is left of it
    {
      FilePacker<plain> one{on, folder / "layer"}, other{on, folder / "layer"};                              // two at once: the last to finish stays
      CHECK(folder.files() == 3);
      one.router(first.weights), other.router(second.weights);
      for (std::size_t e = plain.experts; e-- > 0;) put(one, e), put(other, e), put(other, e);               // in any order, also twice
      (void)one.finish(), (void)other.finish();
      CHECK_THROWS_WITH_AS((void)other.finish(), doctest::Contains("Packer::finish: has been called already"), Error);
    }
    CHECK(folder.files() == 1);
    auto const want = in_memory(on, second, 0);
    std::string const after = read(folder / "layer");
    CHECK(std::memcmp(after.data() + 4096 + 64, want.data() + 64, want.size() - 64) == 0);
    CHECK(std::memcmp(old.view().data, before.data() + 4096, before.size() - 4096) == 0);                    // who had it open keeps the old one
    PackedFile<plain> moved = PackedFile<plain>{folder / "layer"};
    PackedFile<plain> last = std::move(moved);
    CHECK(std::memcmp(last.view().data, after.data() + 4096, after.size() - 4096) == 0);
    last = PackedFile<plain>{folder / "layer"};
    CHECK(last.view().data != nullptr);
  }

  TEST_CASE("packed file: where it cannot be written") {
    Folder const folder;
    Host const on{.threads = 1};
    CHECK_THROWS_WITH_AS((FilePacker<plain>{on, folder / "none/layer"}), doctest::Contains("none/layer': cannot be created: No such file"), Error);
    fs::create_directories(folder / "taken");
    CHECK_THROWS_WITH_AS((void)pack_to_file(on, Source<plain>{1}.weights, folder / "taken"), doctest::Contains("taken': cannot take its name: Is a directory"), Error);
    CHECK(folder.files() == 1);
#if !defined(__SANITIZE_THREAD__)
    pid_t const child = fork();                                          // a limit as a full disk
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      rlimit const limit{.rlim_cur = 20'000, .rlim_max = 20'000};
      bool refused = setrlimit(RLIMIT_FSIZE, &limit) == 0;
      try {
        FilePacker<plain> const packer{on, folder / "layer"};
        refused = false;
      } catch (Error const& e) {
        refused = refused && std::string(e.what()).find("layer': no room for ") != std::string::npos;
      }
      _exit(refused && folder.files() == 1 ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
#endif
  }
}

// Our side of the comparison with peers: one layer that is told on stdin what to do and answers in JSON, a line for a line.
//   ours FOLDER SHAPE TYPE THREADS        ours --list
// input T: reads x and chooses experts for the peers that have no router; run: the whole layer, timed; output: writes y.
// Files in FOLDER, written by exchange.py: gate_up.bf16 [E,2,F,H], down.bf16 [E,H,F], router.f32 [E,H], x.f32 [T,H]; written
// here: expert.i32 [T,K], weight.f32 [T,K], y.f32 [T,H].
#include <coterie/coterie.hpp>
#include <fstream>
#include <iostream>
#include <sys/mman.h>
#include "../machine.hpp"

namespace {

using namespace coterie;

// Rows of a table: a shape in one type. Routing is the same for all: fp32 logits, softmax, top-k, weights that sum to 1.
inline constexpr Config tiny{.experts = 4, .top_k = 2, .hidden = 32, .ffn = 48};                    // for tests
constexpr Config typed(Config c, DType activations, DType weights, QuantConfig quant = {}) {
  c.dtype = activations, c.weights = weights, c.quant = quant;
  c.router = {.precision = Precision::fp32, .weights = DType::fp32};
  return c;
}

struct Options { std::string folder; int threads = 0; };
struct Row { char const *shape, *type; int (*serve)(Options const&, int int8); int int8 = 0; };

template <class T> std::vector<T> read(std::string const& file, std::int64_t count) {
  std::vector<T> to(static_cast<std::size_t>(count));
  std::ifstream in(file, std::ios::binary);
  auto const bytes = static_cast<std::streamsize>(to.size() * sizeof(T));
  in.read(reinterpret_cast<char*>(to.data()), bytes);
  if (in.gcount() != bytes) throw std::runtime_error(file + " is shorter than the shape wants");
  return to;
}
template <class T> void write(std::string const& file, std::vector<T> const& from) {
  std::ofstream out(file, std::ios::binary);
  if (!out.write(reinterpret_cast<char const*>(from.data()), static_cast<std::streamsize>(from.size() * sizeof(T)))) throw std::runtime_error("cannot write " + file);
}

// A file of weights, in memory while it is packed and no longer.
class Mapped {
 public:
  Mapped(std::string const& file, std::int64_t elements) : bytes_(static_cast<std::size_t>(elements) * sizeof(bf16)) {
    FILE* const f = std::fopen(file.c_str(), "rb");
    if (!f) throw std::runtime_error("cannot open " + file);
    std::fseek(f, 0, SEEK_END);
    bool const whole = static_cast<std::size_t>(std::ftell(f)) == bytes_;
    if (whole) data_ = mmap(nullptr, bytes_, PROT_READ, MAP_SHARED, fileno(f), 0);
    std::fclose(f);
    if (!whole || data_ == MAP_FAILED) throw std::runtime_error(file + " does not have the size that the shape wants");
  }
  ~Mapped() { munmap(data_, bytes_); }
  Mapped(Mapped const&) = delete;
  Mapped& operator=(Mapped const&) = delete;
  bf16 const* at(std::int64_t element) const { return static_cast<bf16 const*>(data_) + element; }

 private:
  std::size_t bytes_;
  void* data_ = MAP_FAILED;
};

// int8: Host::int8_activations.
template <Config C> class Session {
 public:
  static constexpr Config config = C;
  static constexpr std::int64_t E = C.experts, K = C.top_k, H = C.hidden, F = C.ffn;
  // Of one weight as packed, its share of a scale included.
  static constexpr double weight_bits = is_float(C.weights) ? bits(C.weights) : 8. * static_cast<double>(host::PackedLayout<config>::make(C.experts, 0).expert_stride) / (3. * H * F);
  using V = element_t<C.dtype>;

  Session(Options const& o, int int8) : folder_(o.folder + "/"), on_{.threads = o.threads, .int8_activations = int8}, packed_(pack()), layer_(packed_.view()) {}

  void input(std::int64_t tokens) {
    auto const x = read<float>(folder_ + "x.f32", tokens * H);
    tokens_ = tokens;
    x_.resize(x.size()), y_.resize(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) x_[i] = round_to<V>::from(x[i]);
    workspace_ = host::Buffer{layer_.workspace_bytes(on_, tokens)};
    std::memset(workspace_.data(), 1, workspace_.size());                          // no page is cold
    std::vector<std::int32_t> expert(static_cast<std::size_t>(tokens * K));
    std::vector<float> weight(expert.size());
    Router<config, Host> const router;
    std::vector<std::byte> scratch(router.workspace_bytes(on_, tokens));
    router(on_, Inputs<config>{.x = in()}, packed_.view(), Routing<config>{.expert = {expert.data(), tokens}, .weight = {weight.data(), tokens}}, scratch);
    write(folder_ + "expert.i32", expert);
    write(folder_ + "weight.f32", weight);
  }
  void run() { layer_.forward(on_, in(), Rows<V, C.hidden>{y_.data(), tokens_}, workspace_.span()); }
  void output() const {
    std::vector<float> y;
    y.reserve(y_.size());
    for (V v : y_) y.push_back(to_float(v));
    write(folder_ + "y.f32", y);
  }
  std::string explain() const { return layer_.explain(on_, 1); }

 private:
  Rows<V const, C.hidden> in() const { return {x_.data(), tokens_}; }
  Packed<config, Host> pack() {
    Mapped const gate_up(folder_ + "gate_up.bf16", E * 2 * F * H), down(folder_ + "down.bf16", E * H * F);
    auto const router = read<float>(folder_ + "router.f32", E * H);
    Packer<config, Host> packer{on_};
    auto const raw = std::make_unique<Weights<config>>();
    raw->router = {.data = router.data()};
    packer.router(*raw);
    for (int e = 0; e < C.experts; ++e) {
      bf16 const* const gate = gate_up.at(e * 2 * F * H);
      packer.template expert<DType::bf16>(e, {.data = gate}, {.data = gate + F * H}, {.data = down.at(e * H * F)});
    }
    return packer.finish();
  }

  std::string folder_;
  Host on_;
  Packed<config, Host> packed_;
  Layer<config, Host> layer_;
  std::int64_t tokens_ = 0;
  std::vector<V> x_, y_;                         // [T,H]
  host::Buffer workspace_;
};

std::string quoted(std::string const& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '\n') out += "\\n";
    else if (c == '"' || c == '\\') (out += '\\') += c;
    else out += c;
  }
  return out + '"';
}

template <Config C> int serve(Options const& o, int int8) {
  std::cout.precision(9);
  Session<C> session{o, int8};
  bench::Limits const& l = bench::limits(o.threads);
  std::cout << "{\"ready\": \"coterie\", \"shape\": [" << C.experts << ", " << C.top_k << ", " << C.hidden << ", " << C.ffn << "], \"bits\": " << Session<C>::weight_bits
            << ", \"path\": " << quoted(name(host::best())) << ", \"explain\": " << quoted(session.explain()) << ", \"processor\": " << quoted(bench::processor())
            << ", \"compiler\": " << quoted(bench::compiler()) << ", \"commit\": " << quoted(bench::commit()) << ", \"date\": " << quoted(bench::today())
            << ", \"read\": " << l.read.wall << ", \"peak\": " << l.peak(host::best(), C.weights, int8) << "}" << std::endl;
  std::string command;
  while (std::cin >> command) {
    if (command == "input") {
      std::int64_t tokens = 0;
      std::cin >> tokens;
      session.input(tokens);
      std::cout << "{}" << std::endl;
    } else if (command == "run") {
      double const wall = bench::wall_seconds(), cpu = bench::cpu_seconds();
      session.run();
      double const end = bench::wall_seconds();
      std::cout << "{\"wall\": " << end - wall << ", \"cpu\": " << bench::cpu_seconds() - cpu << "}" << std::endl;
    } else if (command == "output") {
      session.output();
      std::cout << "{}" << std::endl;
    } else {
      throw std::runtime_error("unknown command " + command);
    }
  }
  return 0;
}

// Every type that is compared, in every shape.
template <Config Shape> void add(std::vector<Row>& rows, char const* shape) {
  rows.push_back({shape, "f32", serve<typed(Shape, DType::fp32, DType::fp32)>});
  rows.push_back({shape, "bf16", serve<typed(Shape, DType::bf16, DType::bf16)>});
  rows.push_back({shape, "int8", serve<typed(Shape, DType::bf16, DType::int8, {.group = 128})>});
  rows.push_back({shape, "fp8", serve<typed(Shape, DType::bf16, DType::fp8_e4m3, {.group = 128, .group_rows = 128})>});
  rows.push_back({shape, "int4", serve<typed(Shape, DType::bf16, DType::int4, {.group = 32})>});
  rows.push_back({shape, "mxfp4", serve<typed(Shape, DType::bf16, DType::mxfp4)>});
  // With 8-bit activations: int8 of one scale a row, int4 in groups of 32.
  rows.push_back({shape, "int8a8", serve<typed(Shape, DType::bf16, DType::int8)>, 1});
  rows.push_back({shape, "int4a8", serve<typed(Shape, DType::bf16, DType::int4, {.group = 32})>, 1});
}

}

int main(int argc, char** argv) {
  std::vector<Row> rows;
  add<tiny>(rows, "tiny");
  add<presets::qwen3_30b_a3b>(rows, "qwen3_30b_a3b");
  add<presets::mixtral_8x7b>(rows, "mixtral_8x7b");
  if (argc == 2 && argv[1] == std::string("--list")) {
    for (Row const& r : rows) std::cout << r.shape << ' ' << r.type << '\n';
    return 0;
  }
  if (argc != 5) return std::cerr << "usage: ours FOLDER SHAPE TYPE THREADS, or ours --list\n", 2;
  try {
    for (Row const& r : rows)
      if (r.shape == std::string(argv[2]) && r.type == std::string(argv[3])) return r.serve({.folder = argv[1], .threads = std::atoi(argv[4])}, r.int8);
    std::cerr << "ours: no row " << argv[2] << ' ' << argv[3] << ": see ours --list\n";
  } catch (std::exception const& e) {
    std::cerr << "ours: " << e.what() << '\n';
  }
  return 1;
}

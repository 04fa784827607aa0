// Random layers against the definition. Environment: COTERIE_SEED, COTERIE_CASES (2,048), COTERIE_CASE (one line of a
// failing case). Every case checks: each stage and the layer against the reference's derived bounds; guard bands, gaps
// between rows and poisoned memory; the exact workspace; the same bits again, on other threads and other vector units.
#include <doctest/doctest.h>
#include "check.hpp"
#include <configs.hpp>

namespace cases {

std::vector<std::unique_ptr<Subject>> const& subjects() {
  static Subjects const all = [] {
    Subjects made(configs);
    compile_all(made);
    return made;
  }();
  return all;
}

namespace {

std::string field(std::string const& line, std::string const& name) {
  std::size_t const at = (" " + line).find(" " + name + "=");
  if (at == std::string::npos) return {};
  std::size_t const from = at + name.size() + 1;
  return line.substr(from, line.find(' ', from) - from);
}

Case draw(std::uint64_t index) {
  Random random{base_seed() * 0x9e3779b97f4a7c15u + index};
  Case c;
  c.config = static_cast<int>(index % configs);
  c.trace = static_cast<Trace>((index / configs + index) % traces);
  ct::Config const& layer = subjects()[static_cast<std::size_t>(c.config)]->config;
  constexpr std::int64_t sizes[]{0, 1, 2, 3, 5, 8, 13, 17, 31, 32, 33, 49, 64};
  // Sizes are bounded by what the reference costs: a few million products.
  std::int64_t const token = std::int64_t{layer.top_k} * layer.ffn * ct::width(layer) * 3 + std::int64_t{layer.shared.ffn + layer.experts} * layer.hidden * 2;
  do c.tokens = sizes[random.below(13)];
  while (c.tokens > 1 && c.tokens * token > 600'000);
  c.threads = 1 + random.below(3);
  std::vector<ct::Isa> const all = paths();
  c.isa = all[static_cast<std::size_t>(random.below(static_cast<std::int64_t>(all.size())))];
  c.seed = random.next();
  return c;
}

}

std::string Case::line() const {
  return "config=" + std::to_string(config) + " T=" + std::to_string(tokens) + " trace=" + trace_names[static_cast<int>(trace)] + " threads=" + std::to_string(threads) +
         " isa=" + ct::name(isa) + " seed=" + std::to_string(seed);
}
Case parse(std::string const& line) {
  Case c;
  c.config = std::atoi(field(line, "config").c_str()), c.tokens = std::atoll(field(line, "T").c_str()), c.threads = std::atoi(field(line, "threads").c_str());
  c.seed = std::strtoull(field(line, "seed").c_str(), nullptr, 10);
  for (int t = 0; t < traces; ++t) if (field(line, "trace") == trace_names[t]) c.trace = static_cast<Trace>(t);
  for (ct::Isa isa : paths()) if (field(line, "isa") == ct::name(isa)) c.isa = isa;
  return c;
}

}

TEST_CASE("random layers agree with the definition") {
  using namespace cases;
  Checker checker;
  if (char const* one = std::getenv("COTERIE_CASE")) {
    std::string const what = checker.check(parse(one));
    CHECK_MESSAGE(what.empty(), "COTERIE_CASE=\"" << parse(one).line() << "\": " << what);
    checker.report();
    return;
  }
  char const* const text = std::getenv("COTERIE_CASES");
  std::uint64_t const count = text ? std::strtoull(text, nullptr, 10) : 2048;
  int failures = 0;
  for (std::uint64_t i = 0; i < count && failures < 50; ++i) {
    Case const c = draw(i);
    std::string const what = checker.check(c);
    failures += !what.empty();
    CHECK_MESSAGE(what.empty(), "COTERIE_CASE=\"" << c.line() << "\": " << what);
  }
  checker.report();
}

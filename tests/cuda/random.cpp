// Random layers on the GPU, or in the emulator, against the definition: the room random's checks, configs and numbers. Environment:
// COTERIE_SEED, COTERIE_CASES, COTERIE_CASE (one line of a failing case). Every case runs under three schedules.
// COTERIE_RANDOM_PART: the configs of configs_<part>.hpp; without it, a few that have every value of every axis among them.
#include "support.hpp"
#include <random/compiled_cuda.hpp>
#include <random/configs_0.hpp>
#include <random/configs_1.hpp>
#include <random/configs_2.hpp>
#include <random/configs_3.hpp>
#include <random/configs_4.hpp>
#include <random/configs_5.hpp>
#include <random/configs_6.hpp>
#include <random/configs_7.hpp>

namespace cases {

std::string check(Subject&, Case const&);        // random/check.cpp, which is compiled without the kernels' checks
void report();

namespace {

constexpr bool wanted(int number) {
#if defined(COTERIE_RANDOM_PART)
  return number % 8 == COTERIE_RANDOM_PART;
#else
  for (int one : {12, 27, 29, 62, 70, 76, 79, 85, 96, 100, 105, 119})
    if (number == one) return true;
  return false;
#endif
}

// One layer of the covering array, behind its number.
struct Made {
  int number;
  std::unique_ptr<Subject> subject;
  ct::Arch* arch;
  int* schedule;
};
std::vector<Made> const& made() {
  // Never destroyed: the weights are device memory, and the device may be gone by then.
  static std::vector<Made> const& all = *[] {
    auto* const made = new std::vector<Made>;
    std::vector<Made>& to = *made;
    auto const add = [&]<int number, ct::Config C, ct::DType Stored> {
      if constexpr (wanted(number)) {
        auto* const one = new CompiledCuda<C, Stored>;
        to.push_back({number, std::unique_ptr<Subject>(one), &one->arch, &one->schedule});
      }
    };
    visit_0(add), visit_1(add), visit_2(add), visit_3(add), visit_4(add), visit_5(add), visit_6(add), visit_7(add);
    return made;
  }();
  return all;
}

struct CudaCase {
  Case numbers;                                  // config: a place in made()
  ct::Arch arch = ct::Arch::best;
  int schedule = 0;

  std::string line() const {
    return "config=" + std::to_string(made()[static_cast<std::size_t>(numbers.config)].number) + " T=" + std::to_string(numbers.tokens) + " trace=" + trace_names[static_cast<int>(numbers.trace)] +
           " arch=" + ct::name(arch) + " schedule=" + std::to_string(schedule) + " seed=" + std::to_string(numbers.seed);
  }
};

std::string field(std::string const& line, std::string const& name) {
  std::size_t const at = (" " + line).find(" " + name + "=");
  if (at == std::string::npos) return {};
  std::size_t const from = at + name.size() + 1;
  return line.substr(from, line.find(' ', from) - from);
}
CudaCase parsed(std::string const& line) {
  CudaCase c;
  int const number = std::atoi(field(line, "config").c_str());
  c.numbers.config = -1;
  for (std::size_t i = 0; i < made().size(); ++i)
    if (made()[i].number == number) c.numbers.config = static_cast<int>(i);
  c.numbers.tokens = std::atoll(field(line, "T").c_str()), c.numbers.seed = std::strtoull(field(line, "seed").c_str(), nullptr, 10);
  c.schedule = std::atoi(field(line, "schedule").c_str());
  for (int t = 0; t < traces; ++t)
    if (field(line, "trace") == trace_names[t]) c.numbers.trace = static_cast<Trace>(t);
  for (ct::Arch arch : {ct::Arch::plain, ct::Arch::sm_80, ct::Arch::sm_90a})
    if (field(line, "arch") == ct::name(arch)) c.arch = arch;
  return c;
}

CudaCase draw(std::uint64_t index) {
  Random random{base_seed() * 0x9e3779b97f4a7c15u + index};
  static std::vector<ct::Arch> const arches = cuda_tests::arches();
  std::uint64_t const layers = made().size();
  CudaCase c;
  c.numbers.config = static_cast<int>(index % layers);
  c.numbers.trace = static_cast<Trace>(random.below(traces));
  ct::Config const& layer = made()[index % layers].subject->config;
  constexpr std::int64_t sizes[]{0, 1, 2, 3, 5, 8, 9, 13, 17, 32, 33, 40, 65};
  // Sizes are bounded by what the emulator costs: some products, and the rounds that each slot takes.
  std::int64_t const token = std::int64_t{layer.top_k} * layer.ffn * ct::width(layer) * 3 + std::int64_t{layer.shared.ffn + layer.experts} * layer.hidden * 2;
  do c.numbers.tokens = sizes[random.below(13)];
  while (c.numbers.tokens > 1 && c.numbers.tokens * token > 300'000);
  c.arch = arches[static_cast<std::size_t>(index / layers + index) % arches.size()];
  c.schedule = random.below(18);
  c.numbers.seed = random.next();
  return c;
}

std::string failure(CudaCase const& c) {
  if (c.numbers.config < 0) return "this program has no such config";
  Made const& one = made()[static_cast<std::size_t>(c.numbers.config)];
  *one.arch = c.arch, *one.schedule = c.schedule;
  return simt::failure_of([&] { return check(*one.subject, c.numbers); });
}

}

}

TEST_CASE("random layers on the GPU agree with the definition") {
  using namespace cases;
  if (char const* one = std::getenv("COTERIE_CASE")) {
    CudaCase const c = parsed(one);
    std::string const what = failure(c);
    CHECK_MESSAGE(what == "", "COTERIE_CASE=\"" << one << "\": " << what);
    report();
    return;
  }
  char const* const text = std::getenv("COTERIE_CASES");
  std::uint64_t const count = text ? std::strtoull(text, nullptr, 10) : 3 * made().size();
  MESSAGE("COTERIE_SEED=" << base_seed());
  int failures = 0;
  for (std::uint64_t i = 0; i < count && failures < 50; ++i) {
    CudaCase const c = draw(i);
    std::string const what = failure(c);
    failures += !what.empty();
    CHECK_MESSAGE(what == "", "COTERIE_CASE=\"" << c.line() << "\": " << what);
  }
  report();
}

// A model that learns: a byte-level language model of Coterie layers, trained without balancing, with an auxiliary loss and with loss-free
// biases, beside dense models of its active and of its total size.
//   examples/run.sh --train [--quick] [--steps N] [--out DIR] [--text FILE...]     under ten minutes on two cores; --quick: one seed, three
#include "checkpoint.hpp"
#include "report.hpp"
#include <atomic>
#include <mutex>
#include <thread>

namespace {

using namespace lm;

struct Options {
  int seeds = 3, mixture_steps = 1000, held_out = 8, threads = 0;
  fs::path out = "build/train_lm";
  std::vector<std::string> text;
};
Options options_of(int count, char** arguments) {
  Options o;
  for (int i = 1; i < count; ++i) {
    std::string const a = arguments[i];
    if (a == "--quick") o.seeds = 1;
    else if (a == "--smoke") o.seeds = o.held_out = 1, o.mixture_steps = 2;        // that it runs, for the tests
    else if (a == "--out" && i + 1 < count) o.out = arguments[++i];
    else if (a == "--steps" && i + 1 < count) o.mixture_steps = std::max(1, std::atoi(arguments[++i]));
    else if (a == "--threads" && i + 1 < count) o.threads = std::atoi(arguments[++i]);
    else if (a == "--text" && i + 1 < count && arguments[i + 1][0] != '-') while (i + 1 < count && arguments[i + 1][0] != '-') o.text.push_back(arguments[++i]);
    else ct::fail("train_lm: got " + a + ", want --quick, --steps N, --out DIR, --threads N or --text FILE...");
  }
  return o;
}

// Every run with one thread, as many at once as there are processors: no run waits for its own threads, and each is the same on any machine
// with the same instructions.
class Trainer {
 public:
  Trainer(Options const& o, Corpus const& corpus) : corpus_(corpus) {
    plan_.flops = cost(mixture).flops * tokens * o.mixture_steps, plan_.held_out = o.held_out;
    for (int seed = 1; seed <= o.seeds; ++seed)
      for (std::size_t v = std::size(variants); v-- > 0;)                          // the longest first, and that of one seed only
        if (seed == 1 || !variants[v].equal_tokens) jobs_.push_back({v, seed}), all_ += work(variants[v]);
    runs_.resize(jobs_.size());
    unsigned const own = std::max(1u, o.threads > 0 ? static_cast<unsigned>(o.threads) : std::thread::hardware_concurrency());
    std::printf("%zu runs of %.2f TFLOP, %u at once\n", jobs_.size(), plan_.flops / 1e12, own);
    std::vector<std::thread> workers;
    for (unsigned i = 0; i < own; ++i) workers.emplace_back([this] { work_off(); });
    for (std::thread& w : workers) w.join();
    if (!failed_.empty()) ct::fail(failed_);
  }
  std::vector<Run>& runs() { return runs_; }
  Model& saved() { return *saved_; }

 private:
  struct Job { std::size_t variant; int seed; };
  double work(Variant const& v) const { return plan_.steps(v) * cost(v.config).flops * tokens; }
  void work_off() try {
    for (std::size_t i; (i = next_++) < jobs_.size();) {
      Job const job = jobs_[i];
      Variant const& v = variants[job.variant];
      auto model = std::make_unique<Model>(static_cast<std::uint64_t>(job.seed), [&](Parameters& to, int l) { return make_ffn(on_, v, to, l); });
      double said = 0;
      runs_[i] = train(*model, v, job.seed, plan_, corpus_, [&](Run const& r) {
        std::lock_guard const one{lock_};
        Point const& p = r.points.back();
        example::progress("", 1, 1);
        std::printf("%-27s seed %d  step %4d of %4d  loss %.3f  held out %.3f", v.name, job.seed, p.step, r.steps, p.loss, p.held_out);
        if (v.config.experts > 1) std::printf("  MaxVio %.2f  dead %d of %d", p.max_violation, p.dead, layers * v.config.experts);
        std::puts("");
        std::fflush(stdout);
        done_ += p.flops - said, said = p.flops;
        example::progress("training, GFLOP", int(done_ / 1e9), int(all_ / 1e9) + 1);
      });
      if (job.variant == saved_variant && job.seed == 1) saved_ = std::move(model);
    }
  } catch (ct::Error const& e) {
    std::lock_guard const one{lock_};
    failed_ = e.what(), next_ = jobs_.size();
  }
  ct::Host const on_{.threads = 1};
  Corpus const& corpus_;
  Plan plan_;
  std::vector<Job> jobs_;
  std::vector<Run> runs_;
  std::atomic<std::size_t> next_{0};
  std::mutex lock_;
  double done_ = 0, all_ = 0;
  std::string failed_;
  std::unique_ptr<Model> saved_;
};

std::string processor() {
  std::string name = bench::value_of("/proc/cpuinfo", "model name");
  return (name.empty() ? "this processor" : name) + ", " + ct::name(ct::Host{.threads = 1}.path());
}

void generate(ct::Host const& on, Corpus const& corpus, fs::path const& folder, Trainer& trainer, Result& result) {
  Speaker speaker{on, folder};
  Agreement const a = compare_paths(trainer.saved(), speaker, corpus);
  result.agreement = "Training path against inference path of the loaded checkpoint, " + std::to_string(context) + " bytes: largest difference of a logit " +
                     format("%.1e at once, ", a.at_once) + format("%.1e one by one (bound: ", a.one_by_one) + format("%.1e).", a.bound);
  std::printf("\n%s\n", result.agreement.c_str());
  ct::require(a.at_once <= a.bound && a.one_by_one <= a.bound, "train_lm: the two paths agree", 0, 1);
  for (Source const& s : corpus.sources()) {
    std::size_t const middle = s.held_out.size() / 2, line = s.held_out.find('\n', middle) + 1;
    std::string const prompt = s.held_out.substr(line + 24 < s.held_out.size() ? line : middle, 24);
    result.samples.push_back({prompt, speaker.say(prompt, context, 1)});
    std::string shown = result.samples.back().text;
    shown.insert(prompt.size(), "|");
    for (char& c : shown)
      if (!std::isprint(static_cast<unsigned char>(c)) && c != '\n' && c != '\t') c = '?';
    std::printf("\n%s: %s\n", s.name.c_str(), shown.c_str());
  }
}

}

int main(int count, char** arguments) try {
  Options const o = options_of(count, arguments);
  Corpus const corpus = o.text.empty() ? Corpus::of_this_machine() : Corpus::of_files(o.text);
  for (Source const& s : corpus.sources()) std::printf("%-10s %4d files, %7zu bytes to train, %7zu held out\n", s.name.c_str(), s.files, s.train.size(), s.held_out.size());
  for (std::string const& name : corpus.missing()) std::printf("%-10s is missing or too short; the run goes on without it\n", name.c_str());
  if (corpus.sources().empty()) ct::fail("train_lm: no text found; give some with --text FILE...");

  Trainer trainer{o, corpus};
  Result result{.runs = std::move(trainer.runs()), .samples = {}, .about = processor() + ".", .agreement = {}};
  std::printf("\n%-27s %10s %7s %10s %6s %24s %7s %8s %6s\n", "model", "parameters", "active", "MFLOP/tok.", "steps", "held-out loss (range)", "MaxVio", "dead", "CPU s");
  auto const all = summaries(result.runs);
  for (Summary const& s : all) {
    auto const c = cells(s);
    std::printf("%-27s %10s %7s %10s %6s %24s %7s %8s %6s\n", c[0].c_str(), c[1].c_str(), c[2].c_str(), c[3].c_str(), c[4].c_str(), c[7].c_str(), c[8].c_str(), c[9].c_str(), c[10].c_str());
  }
  for (std::string const& f : findings(all)) std::printf("* %s\n", f.c_str());

  save(trainer.saved().parameters, o.out / "checkpoint");
  generate(ct::Host{.threads = 1}, corpus, o.out / "checkpoint", trainer, result);
  draw(result, trainer.saved(), corpus, o.out / "pictures");
  write_report(result, o.out);
  std::printf("\ncheckpoint: %s (Mixtral's layout)\nreport:     %s\n", (o.out / "checkpoint").c_str(), fs::absolute(o.out / "report.html").c_str());
} catch (ct::Error const& e) {
  return std::fprintf(stderr, "%s\n", e.what()), 1;
}

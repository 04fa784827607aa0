// The report: pictures of all runs, tables, samples, as one HTML file without anything from elsewhere.
#pragma once
#include "specialise.hpp"
#include <map>
#include <sstream>

namespace lm {

struct Sample { std::string prompt, text; };
struct Result {
  std::vector<Run> runs;
  std::vector<Sample> samples;
  std::string about, agreement;                  // the machine and the text; how the two paths compare
};

// The runs of one variant: what the tables have.
struct Summary {
  Variant variant{};
  int seeds = 0, steps = 0, dead = 0;
  double loss = 0, first = 0, least = 1e9, most = 0, max_violation = 0, cpu_seconds = 0, pack_share = 0;
  std::size_t cached_bytes = 0;
};
inline std::vector<Summary> summaries(std::vector<Run> const& runs) {
  std::vector<Summary> to;
  for (Variant const& v : variants) {
    Summary s;
    s.variant = v;
    for (Run const& r : runs) {
      if (r.variant.name != v.name) continue;
      ++s.seeds, s.steps = r.steps, s.cached_bytes = r.cached_bytes;
      if (r.seed == 1) s.first = r.final_loss;
      s.loss += r.final_loss, s.least = std::min(s.least, r.final_loss), s.most = std::max(s.most, r.final_loss);
      s.max_violation += r.points.back().max_violation, s.dead = std::max(s.dead, r.points.back().dead), s.cpu_seconds += r.cpu_seconds, s.pack_share += r.pack_seconds / r.cpu_seconds;
    }
    if (!s.seeds) continue;
    for (double* mean : {&s.loss, &s.max_violation, &s.cpu_seconds, &s.pack_share}) *mean /= s.seeds;
    to.push_back(s);
  }
  return to;
}
inline constexpr char const* columns[] = {"model", "parameters", "active", "MFLOP a token", "steps", "tokens", "TFLOP", "held-out loss (range)", "MaxVio", "dead",
                                          "CPU s", "packing", "cache B/token"};
inline std::vector<std::string> cells(Summary const& s) {
  Cost const c = cost(s.variant.config);
  bool const one = s.variant.config.experts == 1;
  return {s.variant.name, format("%.2f M", c.total / 1e6), format("%.2f M", c.active / 1e6), format("%.2f", c.flops / 1e6), std::to_string(s.steps),
          format("%.2f M", s.steps * double{tokens} / 1e6),
          format("%.2f", s.steps * c.flops * tokens / 1e12), format("%.3f", s.loss) + (s.seeds > 1 ? format(" (%.3f", s.least) + format(" to %.3f)", s.most) : ""),
          one ? "" : format("%.2f", s.max_violation), one ? "" : std::to_string(s.dead) + " of " + std::to_string(layers * s.variant.config.experts), format("%.0f", s.cpu_seconds),
          format("%.1f %%", 100 * s.pack_share), std::to_string(s.cached_bytes)};
}
// The common claim, from the numbers.
inline std::vector<std::string> findings(std::vector<Summary> const& all) {
  auto const find = [&](std::size_t i) -> Summary const* {
    for (Summary const& s : all)
      if (s.variant.name == variants[i].name) return &s;
    return nullptr;
  };
  Summary const *const none = find(0), *const loss = find(1), *const bias = find(2), *const active = find(3), *const total = find(4), *const reference = find(5);
  std::vector<std::string> to;
  if (!none || !loss || !bias || !active || !total) return to;
  Summary const& best = loss->loss < bias->loss ? *loss : *bias;
  to.push_back("At equal FLOPs the " + std::string(best.variant.name) + format(" ends at %.3f nats per byte, ", best.loss) +
               format("%+.3f against the dense model of its active size, ", best.loss - active->loss) + format("%+.3f against the dense model of its total size.", best.loss - total->loss));
  if (reference)                                                           // of one seed: compared with that seed
    to.push_back("On as many tokens, for " + format("%.1f times the FLOPs, ", cost(large).flops / cost(mixture).flops) +
                 format("the dense model of the total size ends at %.3f; ", reference->first) + "with the same seed the " + best.variant.name + format(" has %.3f and ", best.first) +
                 format("the dense model of the active size %.3f.", active->first));
  to.push_back("Balancing (none, auxiliary loss, bias): MaxVio " + format("%.2f, ", none->max_violation) + format("%.2f, ", loss->max_violation) + format("%.2f; ", bias->max_violation) +
               "dead experts, worst seed, " + std::to_string(none->dead) + ", " + std::to_string(loss->dead) + ", " + std::to_string(bias->dead) + " of " +
               std::to_string(layers * mixture.experts) + "; loss " + format("%.3f, ", none->loss) + format("%.3f, ", loss->loss) + format("%.3f.", bias->loss));
  return to;
}

inline std::string const colours[] = {"#ee6677", "#4477aa", "#228833", "#b8a22b", "#aa3377", "#7f7f7f"};
inline std::string const dashes[] = {"", "", "", "7 4", "2 4", "10 3 2 3"};

template <class Get> std::vector<Curve> curves_of(std::vector<Run> const& runs, int mixtures_only, Get const& get) {
  std::vector<Curve> to;
  for (std::size_t i = 0; i < std::size(variants); ++i) {
    Curve c{.label = variants[i].name, .colour = colours[i], .dash = dashes[i], .runs = {}};
    for (Run const& r : runs) {
      if (r.variant.name != variants[i].name || (mixtures_only && r.variant.config.experts == 1)) continue;
      auto& line = c.runs.emplace_back();
      for (Point const& p : r.points) line.push_back(get(p));
    }
    if (!c.runs.empty()) to.push_back(c);
  }
  return to;
}

inline void draw(Result const& result, Model& model, Corpus const& corpus, fs::path const& to) {
  std::string const about = "Held-out text; thin lines are single seeds, thick ones their mean. " + result.about;
  double low = 1e9, flops = 0, held_tokens = 0, worst = 1;
  for (Run const& r : result.runs) {
    for (Point const& p : r.points) low = std::min(low, p.held_out), worst = std::max(worst, p.max_violation);
    if (!r.variant.equal_tokens) flops = std::max(flops, r.points.back().flops);
    held_tokens = std::max(held_tokens, double(r.steps) * tokens);
  }
  double const floor = std::floor(low * 10 - 0.3) / 10;
  Axis const loss{"loss (nats per byte)", floor, floor + 1.4, 0.2, "%.1f"};
  auto const axis = [](std::string label, double high) { return Axis{std::move(label), 0, high, tidy_step(high), high < 1 ? "%.2f" : "%.1f"}; };
  Axis const millions = axis("tokens (millions)", held_tokens / 1e6);
  curves(to / "loss_tokens.svg", "Loss against tokens", about, millions, loss, curves_of(result.runs, 0, [](Point const& p) { return Curve::At{p.step * double{tokens} / 1e6, p.held_out}; }));
  std::vector<Run> equal;
  for (Run const& r : result.runs)
    if (!r.variant.equal_tokens) equal.push_back(r);
  curves(to / "loss_flops.svg", "Loss against FLOPs", about, axis("training FLOPs, forwards and backwards (10¹²)", flops / 1e12), loss,
         curves_of(equal, 0, [](Point const& p) { return Curve::At{p.flops / 1e12, p.held_out}; }));
  curves(to / "max_violation.svg", "MaxVio: how far the fullest expert is above the even share",
         "0: all experts get the same; 7: two experts get everything. Means over steps and layers. " + result.about, millions,
         {"MaxVio (largest load / mean − 1)", 0, std::ceil(worst), worst > 4 ? 1. : 0.5, "%.1f"},
         curves_of(result.runs, 1, [](Point const& p) { return Curve::At{p.step * double{tokens} / 1e6, p.max_violation}; }));
  std::vector<HeatMap> maps;
  for (int l = 0; l < layers; ++l)
    for (std::size_t i = 0; i < 3; ++i)
      for (Run const& r : result.runs)
        if (r.variant.name == variants[i].name && r.seed == 1) maps.push_back({std::string(variants[i].name) + ", layer " + std::to_string(l), &r.load[l]});
  heat_maps(to / "load.svg", "Load of each expert over time", "Share of the choices, against the even share of 1/16; training text, seed 1. " + result.about, "tokens (millions)",
            held_tokens / 1e6, maps, 3);
  picture_of_specialities(to / "specialities.svg", specialities(model, corpus, 8));
  for (int l = 0; l < layers; ++l) picture_of_text(to / ("text_layer" + std::to_string(l) + ".svg"), model, corpus, l);
}

inline std::string escaped(std::string const& text) {
  std::string to;
  for (char const c : text)
    if (c == '<') to += "&lt;";
    else if (c == '&') to += "&amp;";
    else to += static_cast<unsigned char>(c) > 126 || (static_cast<unsigned char>(c) < 32 && c != '\n' && c != '\t') ? '?' : c;
  return to;
}
inline void write_report(Result const& result, fs::path const& folder) {
  std::ofstream out(folder / "report.html");
  out << "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>A model that learns</title>\n<style>"
         "body{font:16px/1.5 system-ui,sans-serif;color:#24292f;background:#fff;max-width:960px;margin:2em auto;padding:0 1em}table{border-collapse:collapse;font-size:13px}td,th{padding:.25em .5em;border-bottom:1px solid #d0d7de;text-align:right}td:first-child,th:first-child{text-align:left}"
         "pre{background:#f6f8fa;padding:.8em;white-space:pre-wrap}svg{max-width:100%;height:auto;margin:1em 0}</style>\n"
         "<h1>A model that learns</h1>\n<p>A byte-level transformer of " << layers << " layers, " << hidden << " hidden, whose feed-forward parts are Coterie layers: a mixture of "
      << mixture.experts << " experts of " << mixture.ffn << ", top-" << mixture.top_k << ", against a dense FFN of the same active and of the same total size. " << escaped(result.about) << "</p>\n<ul>\n";
  auto const all = summaries(result.runs);
  for (std::string const& f : findings(all)) out << "<li>" << f << "</li>\n";
  out << "</ul>\n<table><tr>";
  for (char const* c : columns) out << "<th>" << c << "</th>";
  out << "</tr>\n";
  for (Summary const& s : all) {
    out << "<tr>";
    for (std::string const& c : cells(s)) out << "<td>" << c << "</td>";
    out << "</tr>\n";
  }
  out << "</table>\n<p>Loss in nats per byte (divide by 0.693 for bits). MaxVio: mean over the last sixteenth of the run. Packing: weights into the packed layout after every step. "
         "Cache: bytes that the layers' forward passes keep for the backward pass.</p>\n";
  for (char const* name : {"loss_flops", "loss_tokens", "load", "max_violation", "specialities", "text_layer0", "text_layer1"}) {
    std::stringstream svg;
    svg << std::ifstream(folder / "pictures" / (std::string(name) + ".svg")).rdbuf();
    out << svg.str();
  }
  out << "<h2>What it writes</h2>\n<p>From the saved checkpoint (" << variants[saved_variant].name
      << ", seed 1), through <code>coterie/io</code> and <code>Layer::forward</code>, byte by byte at a temperature of 0.7; the prompts (bold) are held-out text. "
      << escaped(result.agreement) << "</p>\n";
  for (Sample const& s : result.samples) out << "<pre><b>" << escaped(s.prompt) << "</b>" << escaped(s.text.substr(s.prompt.size())) << "</pre>\n";
  out << "</html>\n";
  if (!out.flush()) ct::fail("cannot write " + (folder / "report.html").string());
}

}

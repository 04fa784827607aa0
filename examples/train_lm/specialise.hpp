// What each expert specialises in: held-out bytes by class and by source, against the experts they went to; and text, coloured by expert.
#pragma once
#include "charts.hpp"
#include "train.hpp"
#include <cctype>
#include <fstream>
#include <iterator>

namespace lm {

inline constexpr char const* class_names[] = {"lower case", "upper case", "digit", "space", "newline, tab", ". , ; : ' \"", "( ) [ ] { } < >", "_", "/ * # - + = …", "beyond ASCII"};
inline constexpr int class_count = 10;
inline int class_of(std::uint8_t c) {
  if (c >= 128) return 9;
  if (std::islower(c)) return 0;
  if (std::isupper(c)) return 1;
  if (std::isdigit(c)) return 2;
  if (c == ' ') return 3;
  if (c == '\n' || c == '\t' || c == '\r') return 4;
  if (std::strchr(".,;:'\"", c)) return 5;
  if (std::strchr("()[]{}<>", c)) return 6;
  return c == '_' ? 7 : 8;
}

// Of one layer: by group (a class of bytes, or a source) how many bytes, and how many of them each expert took as one of its choices.
struct Specialities {
  std::vector<std::string> group;
  std::vector<double> bytes;                     // [groups]
  std::vector<std::vector<double>> took;         // [groups][E]
};
inline std::vector<Specialities> specialities(Model& model, Corpus const& corpus, int batches) {
  Specialities empty{.group = {class_names, class_names + class_count}, .bytes = {}, .took = {}};
  for (Source const& s : corpus.sources()) empty.group.push_back(s.name);
  auto const experts = static_cast<std::size_t>(model.ffn(0).choices().experts), top_k = static_cast<std::size_t>(model.ffn(0).choices().top_k);
  empty.bytes.resize(empty.group.size()), empty.took.resize(empty.group.size(), std::vector<double>(experts));
  std::vector<Specialities> to(layers, empty);
  std::vector<std::uint8_t> input(tokens), target(tokens);
  for (int b = 0; b < batches; ++b) {
    for (int i = 0; i < sequences; ++i) corpus.held_out(b * sequences + i, batches * sequences, context, input.data() + i * context, target.data() + i * context);
    model.forward(input.data(), target.data());
    for (std::size_t t = 0; t < tokens; ++t) {
      std::size_t const source = class_count + (static_cast<std::size_t>(b) * sequences + t / context) % corpus.sources().size();
      for (std::size_t l = 0; l < layers; ++l)
        for (std::size_t const group : {static_cast<std::size_t>(class_of(input[t])), source}) {
          ++to[l].bytes[group];
          for (std::size_t k = 0; k < top_k; ++k) ++to[l].took[group][static_cast<std::size_t>(model.ffn(static_cast<int>(l)).choices().expert[t * top_k + k])];
        }
    }
  }
  return to;
}

inline void picture_of_specialities(std::filesystem::path const& to, std::vector<Specialities> const& of) {
  constexpr double width = 930, left = 168, gap = 34, row = 21;
  std::size_t const experts = of[0].took[0].size();
  double const panel = (width - left - 32 - gap) / 2, cell = panel / double(experts), height = 150 + double(of[0].group.size()) * row + 44;
  Svg svg{width, height};
  svg.text(32, 40, "What each expert takes", "class='title'");
  svg.text(32, 64, "Per class of byte and per source (rows): the share of its bytes that went to each expert (columns); every byte goes to two experts. Held-out text.", "class='small'");
  scale_of_shades(svg, width - 378, 88, 100, " % of the row's bytes", false);
  for (std::size_t l = 0; l < of.size(); ++l) {
    double const x = left + double(l) * (panel + gap);
    svg.text(x, 116, "layer " + std::to_string(l), "class='label' font-weight='600'");
    for (std::size_t e = 0; e < experts; ++e) svg.text(x + (double(e) + 0.5) * cell, 134, std::to_string(e), "class='small' text-anchor='middle'");
    for (std::size_t g = 0; g < of[l].group.size(); ++g) {
      double const y = 142 + double(g) * row + (g >= class_count ? 16 : 0);
      if (l == 0) svg.text(left - 10, y + 15, of[l].group[g], "class='label' text-anchor='end'");
      for (std::size_t e = 0; e < experts; ++e) {
        double const share = of[l].bytes[g] >= 20 ? 100 * of[l].took[g][e] / of[l].bytes[g] : 0;   // fewer say nothing
        svg.rect(x + double(e) * cell, y, cell - 1, row - 1.5, shade(share, 100));
        std::string const ink = share > 55 ? "#ffffff" : "#24292f";
        if (share >= 20) svg.text(x + (double(e) + 0.5) * cell - 0.5, y + 14, format("%.0f", share), "text-anchor='middle' style='font-size:11px;fill:" + ink + "'");
      }
    }
    svg.text(x + panel / 2, height - 12, "expert", "class='label' text-anchor='middle'");
  }
  svg.save(to, "What each expert takes");
}

// Text to colour, by kind: from the project's own files, which no corpus has read; where the program runs without them, held-out text.
inline std::vector<std::pair<std::string, std::string>> text_to_colour(Corpus const& corpus) {
  std::vector<std::pair<std::string, std::string>> to;
  for (auto const& [name, file] : {std::pair{"English", "docs/combine.md"}, {"C++", "include/coterie/view.hpp"}, {"Python", "bench/cuda/peers.py"}, {"shell", "examples/run.sh"}}) {
    std::ifstream in(file, std::ios::binary);
    std::string const text{std::istreambuf_iterator<char>(in), {}};
    std::size_t const line = text.find('\n', text.size() / 2) + 1;
    if (line + context <= text.size()) to.emplace_back(name, text.substr(line, context));
  }
  if (to.empty())
    for (Source const& s : corpus.sources())
      if (s.held_out.size() >= context) to.emplace_back(s.name, s.held_out.substr((s.held_out.size() - context) / 2, context));
  to.resize(std::min(to.size(), std::size_t{sequences}));
  return to;
}
// Each byte on the colour of its first expert, whose number (hexadecimal) stands below.
inline void picture_of_text(std::filesystem::path const& to, Model& model, Corpus const& corpus, int of_layer) {
  constexpr double left = 106, cell = 12.4, row = 36, width = 930;
  constexpr int across = context / 2;
  auto const samples = text_to_colour(corpus);
  auto const count = static_cast<int>(samples.size());
  std::vector<std::uint8_t> input(tokens), target(tokens);
  for (int i = 0; i < count; ++i) std::copy_n(samples[static_cast<std::size_t>(i)].second.data(), context, input.data() + i * context);
  model.forward(input.data(), target.data());
  Choices const& c = model.ffn(of_layer).choices();
  Svg svg{width, 92 + count * (2 * row + 16) + 8.0};
  svg.text(32, 40, "Text that no model has read, coloured by the first expert of layer " + std::to_string(of_layer), "class='title'");
  svg.text(32, 64, "The expert's number (hexadecimal) stands below each byte; experts 8 to f have the colours of 0 to 7, fainter. ⏎ is a newline, ⇥ a tab.", "class='small'");
  for (int i = 0; i < count; ++i) {
    svg.text(32, 92 + i * (2 * row + 16) + 17, samples[static_cast<std::size_t>(i)].first, "class='label' font-weight='600'");
    for (int t = 0; t < context; ++t) {
      double const x = left + t % across * cell, y = 92 + i * (2 * row + 16) + t / across * row;
      int const e = c.expert[static_cast<std::size_t>((i * context + t) * c.top_k)];
      std::uint8_t const byte = input[static_cast<std::size_t>(i * context + t)];
      svg.rect(x, y, cell + 0.2, row - 5, std::string("fill='") + example::palette[e % example::palette_size] + "' fill-opacity='" + (e < example::palette_size ? "0.55" : "0.22") + "'");
      std::string const shown = byte == '\n' ? "⏎" : byte == '\t' ? "⇥" : byte < 32 || byte > 126 ? "·" : std::string(1, static_cast<char>(byte));
      if (byte != ' ') svg.text(x + cell / 2, y + 15, shown, "class='mono' text-anchor='middle'");
      svg.text(x + cell / 2, y + 28, std::string(1, "0123456789abcdefghijklmnopqrstuvwxyz"[e % 36]), "text-anchor='middle' style='font-size:9.5px'");
    }
  }
  svg.save(to, "Text coloured by expert");
}

}

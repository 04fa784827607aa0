// Pictures of a run as SVG that stands alone: readable on a light and on a dark page, no fonts or scripts from elsewhere.
#pragma once
#include "terminal.hpp"
#include <array>
#include <cmath>

namespace example {

class Svg {
 public:
  Svg(double width, double height) : width_(width), height_(height) {}
  void rect(double x, double y, double w, double h, std::string const& how) {
    body_ += "<rect x=\"" + n(x) + "\" y=\"" + n(y) + "\" width=\"" + n(w) + "\" height=\"" + n(h) + "\" " + how + "/>\n";
  }
  void line(double x0, double y0, double x1, double y1, std::string const& how) {
    body_ += "<line x1=\"" + n(x0) + "\" y1=\"" + n(y0) + "\" x2=\"" + n(x1) + "\" y2=\"" + n(y1) + "\" " + how + "/>\n";
  }
  void dot(double x, double y, double r, std::string const& how) {
    body_ += "<circle cx=\"" + n(x) + "\" cy=\"" + n(y) + "\" r=\"" + n(r) + "\" " + how + "/>\n";
  }
  // how: "class='small' text-anchor='end'"; the classes are title, label, small, mono.
  void text(double x, double y, std::string const& words, std::string const& how = "class='label'") {
    body_ += "<text x=\"" + n(x) + "\" y=\"" + n(y) + "\" " + how + ">" + escaped(words) + "</text>\n";
  }
  void save(std::filesystem::path const& to, std::string const& title) const {
    std::filesystem::create_directories(to.parent_path());
    std::ofstream(to) << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << n(width_) << ' ' << n(height_) << "\" width=\"" << n(width_)
                      << "\" height=\"" << n(height_) << "\" role=\"img\">\n<title>" << escaped(title) << "</title>\n<style>" << style << "</style>\n"
                      << "<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"" << n(width_ - 1) << "\" height=\"" << n(height_ - 1) << "\" rx=\"10\"/>\n"
                      << body_ << "</svg>\n";
  }
  static std::string n(double v) { return format(v == std::floor(v) ? "%.0f" : "%.1f", v); }

 private:
  static std::string escaped(std::string const& text) {
    std::string out;
    for (char const c : text) {
      if (c == '<') out += "&lt;";
      else if (c == '>') out += "&gt;";
      else if (c == '&') out += "&amp;";
      else out += c;
    }
    return out;
  }
  static constexpr char const* style =
      "text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;fill:#24292f}"
      ".page{fill:#ffffff;stroke:#d0d7de}.title{font-size:19px;font-weight:600}.label{font-size:14px}.small{font-size:12px;fill:#57606a}"
      ".mono{font-family:ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace;font-size:15px}"
      ".grid{stroke:#d8dee4}.axis{stroke:#8c959f}.floor{stroke:#57606a;stroke-width:2.5}"
      "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.page{fill:#0d1117;stroke:#30363d}.small{fill:#9198a1}.grid{stroke:#272d35}"
      ".axis{stroke:#6e7681}.floor{stroke:#9198a1}}";
  double width_, height_;
  std::string body_;
};

// The text with each character on the colour of its first expert, and what each expert took.
inline void picture_of_experts(std::filesystem::path const& to, std::string const& about, std::string_view text, std::vector<std::int32_t> const& expert, int experts, int top_k) {
  constexpr double left = 32, cell = 9.4, row = 25, right = 300, bar_row = 30;
  // Lines end at a space.
  std::vector<std::pair<std::size_t, std::size_t>> lines;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.size(), at + 92);
    if (end < text.size()) end = text.rfind(' ', end - 1) + 1;
    lines.push_back({at, end}), at = end;
  }
  double const top = 96, bars = top + double(lines.size()) * row + 62, width = 930, height = bars + experts * bar_row + 66;
  Svg svg{width, height};
  svg.text(left, 40, "Which expert takes which character", "class='title'");
  svg.text(left, 64, about, "class='small'");
  std::vector<std::array<int, 2>> took(static_cast<std::size_t>(experts));
  std::vector<std::array<int, 256>> letters(static_cast<std::size_t>(experts));
  for (std::size_t l = 0; l < lines.size(); ++l)
    for (std::size_t i = lines[l].first; i < lines[l].second; ++i) {
      double const x = left + double(i - lines[l].first) * cell, y = top + double(l) * row;
      auto const first = static_cast<std::size_t>(expert[i * static_cast<std::size_t>(top_k)]);
      svg.rect(x, y, cell + 0.2, row - 4, std::string("fill='") + palette[first % palette_size] + "' fill-opacity='0.42'");
      if (text[i] != ' ') svg.text(x + cell / 2, y + 15.5, std::string(1, text[i]), "class='mono' text-anchor='middle'");
      for (int k = 0; k < top_k; ++k) {
        auto const e = static_cast<std::size_t>(expert[i * static_cast<std::size_t>(top_k) + static_cast<std::size_t>(k)]);
        ++took[e][k > 0], ++letters[e][static_cast<unsigned char>(text[i])];
      }
    }
  int most = 1;
  for (auto const& t : took) most = std::max(most, t[0] + t[1]);
  double const x0 = left + 78, scale = (width - right - x0) / most, step = most > 400 ? 100 : most > 150 ? 50 : most > 60 ? 20 : 10;
  svg.text(left, bars - 20, "Characters taken: first choice strong, further choices faint", "class='label'");
  svg.text(width - right + 56, bars - 20, "most often", "class='label'");
  for (double v = 0; v <= most; v += step) {
    svg.line(x0 + v * scale, bars - 6, x0 + v * scale, bars + experts * bar_row, "class='grid'");
    svg.text(x0 + v * scale, bars + experts * bar_row + 18, format("%.0f", v), "class='small' text-anchor='middle'");
  }
  svg.text(x0, bars + experts * bar_row + 40, "characters (every character goes to " + std::to_string(top_k) + " experts)", "class='small'");
  for (int e = 0; e < experts; ++e) {
    auto const i = static_cast<std::size_t>(e);
    double const y = bars + e * bar_row;
    std::string const fill = std::string("fill='") + palette[e % palette_size] + "'";
    svg.text(x0 - 12, y + 17, "expert " + std::to_string(e), "class='label' text-anchor='end'");
    svg.rect(x0, y + 3, took[i][0] * scale, bar_row - 10, fill);
    svg.rect(x0 + took[i][0] * scale, y + 3, took[i][1] * scale, bar_row - 10, fill + " fill-opacity='0.42'");
    svg.text(x0 + (took[i][0] + took[i][1]) * scale + 7, y + 17, std::to_string(took[i][0] + took[i][1]), "class='small'");
    std::array<int, 256> order;
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) { return letters[i][static_cast<std::size_t>(a)] > letters[i][static_cast<std::size_t>(b)]; });
    for (int k = 0; k < 7 && letters[i][static_cast<std::size_t>(order[static_cast<std::size_t>(k)])]; ++k) {
      char const c = static_cast<char>(order[static_cast<std::size_t>(k)]);
      svg.text(width - right + 62 + k * 24, y + 17, c == ' ' ? "␣" : std::string(1, c), "class='mono' text-anchor='middle'");
    }
  }
  svg.save(to, "Which expert takes which character");
}

// Measured time of each stage against its floor, on one logarithmic axis; a panel per measurement.
struct Panel { Measured measured; Stage dense; };
inline void picture_of_stages(std::filesystem::path const& to, std::string const& about, std::vector<Panel> const& panels, ThisMachine const& machine) {
  constexpr double left = 32, width = 930, x0 = 150, x1 = 700, row = 34;
  constexpr double low = -7;                                           // 100 ns
  double high = low + 1;
  std::size_t rows = 0;
  for (Panel const& p : panels) {
    rows += p.measured.stages.size() + 1;
    high = std::max(high, std::ceil(std::log10(std::max(machine.seconds(p.measured.layer().time), machine.seconds(p.dense.time)))));
  }
  auto const x = [&](double seconds) { return x0 + std::max(0., (std::log10(seconds) - low) / (high - low)) * (x1 - x0); };
  double const top = 118, height = top + double(rows) * row + double(panels.size()) * 62 + 54;
  Svg svg{width, height};
  svg.text(left, 40, "Stage by stage, against the roofline of the same run", "class='title'");
  svg.text(left, 64, about, "class='small'");
  svg.line(left, 83, left, 95, "class='floor'");
  svg.text(left + 10, 94, "what arithmetic and memory allow", "class='small'");
  svg.dot(left + 250, 89, 6, std::string("fill='") + palette[0] + "'");
  svg.text(left + 262, 94, "measured", "class='small'");
  svg.text(x1 + 96, 94, "time", "class='small' text-anchor='end'");
  svg.text(width - left, 94, "of roofline", "class='small' text-anchor='end'");
  double y = top;
  for (Panel const& p : panels) {
    double const first = y + 30, last = first + double(p.measured.stages.size() + 1) * row;
    svg.text(left, y + 14, std::to_string(p.measured.tokens) + (p.measured.tokens == 1 ? " token" : " tokens"), "class='label' font-weight='600'");
    Tax const t = tax(p.measured, p.dense, machine);
    svg.text(x1, y + 14, "MoE tax " + format("%.2f", t.measured) + " × the dense FFN; its floor " + format("%.2f", t.floor) + " ×", "class='label' text-anchor='end'");
    for (double d = low; d <= high + 1e-9; d += 1) {
      double const s = std::pow(10, d);
      svg.line(x(s), first - 4, x(s), last, "class='grid'");
      svg.text(x(s), last + 16, s < 0.9e-6 ? format("%.0f ns", s * 1e9) : s < 0.9e-3 ? format("%.0f µs", s * 1e6) : s < 0.9 ? format("%.0f ms", s * 1e3) : format("%.0f s", s),
               "class='small' text-anchor='middle'");
    }
    auto stages = p.measured.stages;
    stages.push_back(p.dense);
    for (std::size_t i = 0; i < stages.size(); ++i) {
      Stage const& s = stages[i];
      double const at = first + (double(i) + 0.5) * row, floor = x(s.floor(machine)), time = x(machine.seconds(s.time));
      bool const whole = i + 2 >= stages.size();
      std::string const colour = palette[i + 1 == stages.size() ? 7 : whole ? 1 : 0];
      svg.text(x0 - 14, at + 5, s.name, whole ? "class='label' text-anchor='end' font-weight='600'" : "class='label' text-anchor='end'");
      bool const cached = s.in_cache(machine);
      if (!cached) svg.line(floor, at, time, at, "stroke='" + colour + "' stroke-width='5' stroke-opacity='0.35'");
      if (!cached && floor > x0) svg.line(floor, at - 9, floor, at + 9, "class='floor'");
      svg.dot(time, at, 6.5, "fill='" + colour + "'");
      std::string text = time_text(machine.seconds(s.time));
      if (auto const u = text.find(" us"); u != text.npos) text.replace(u, 3, " µs");
      svg.text(x1 + 96, at + 5, text, "class='label' text-anchor='end'");
      svg.text(width - left, at + 5, cached ? "in cache" : format("%.0f %%", 100 * s.share(machine)), "class='label' text-anchor='end'");
    }
    y = last + 32;
  }
  svg.text(left, height - 42, std::string("Time on a logarithmic axis") + (machine.busy ? "; the machine was busy: processor time per thread from 1 ms up." : "."), "class='small'");
  svg.text(left, height - 22, "Roofline: " + format("%.0f GFLOP/s of multiply-adds and ", machine.flops_per_second / 1e9) +
           format("%.1f GB/s read from memory, measured in the same run.", machine.bytes_per_second / 1e9), "class='small'");
  svg.save(to, "Stage by stage, against the roofline of the same run");
}

}

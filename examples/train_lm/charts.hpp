// Curves and heat maps as SVG that stands alone, with axes, units and labels at the lines' ends.
#pragma once
#include "../pictures.hpp"

namespace lm {

using example::format;
using example::Svg;

struct Curve {
  std::string label, colour, dash;               // dash: of stroke-dasharray, or none
  struct At { double x, y; };
  std::vector<std::vector<At>> runs;             // one per seed, of equal length: drawn faintly; their mean drawn over them
};
struct Axis { std::string label; double low, high, step; char const* how; };

// 1, 2 or 5 times a power of ten, so that the range has four to ten steps.
inline double tidy_step(double range) {
  double const power = std::pow(10., std::floor(std::log10(range / 4)));
  for (double const by : {5., 2.})
    if (range / (power * by) >= 4) return power * by;
  return power;
}

inline void curves(std::filesystem::path const& to, std::string const& title, std::string const& about, Axis const& x, Axis const& y, std::vector<Curve> const& all) {
  constexpr double width = 930, height = 520, left = 82, right = 682, top = 92, bottom = 446;
  auto const px = [&](double v) { return left + (v - x.low) / (x.high - x.low) * (right - left); };
  auto const py = [&](double v) { return bottom - (std::clamp(v, y.low, y.high) - y.low) / (y.high - y.low) * (bottom - top); };
  Svg svg{width, height};
  svg.text(32, 40, title, "class='title'");
  svg.text(32, 64, about, "class='small'");
  for (double v = std::ceil(y.low / y.step) * y.step; v <= y.high + 1e-9; v += y.step) {
    svg.line(left, py(v), right, py(v), "class='grid'");
    svg.text(left - 10, py(v) + 5, format(y.how, v), "class='small' text-anchor='end'");
  }
  for (double v = x.low; v <= x.high + 1e-9; v += x.step) {
    svg.line(px(v), bottom, px(v), bottom + 5, "class='axis'");
    svg.text(px(v), bottom + 21, format(x.how, v), "class='small' text-anchor='middle'");
  }
  svg.line(left, bottom, right, bottom, "class='axis'");
  svg.text((left + right) / 2, bottom + 46, x.label, "class='label' text-anchor='middle'");
  svg.text(24, (top + bottom) / 2, y.label, "class='label' text-anchor='middle' transform='rotate(-90 24 " + Svg::n((top + bottom) / 2) + ")'");
  auto const draw = [&](std::vector<Curve::At> const& points, std::string const& how) {
    for (std::size_t i = 1; i < points.size(); ++i)
      if (points[i - 1].y <= y.high || points[i].y <= y.high) svg.line(px(points[i - 1].x), py(points[i - 1].y), px(points[i].x), py(points[i].y), how);
  };
  struct Label { double at; std::size_t curve; };
  std::vector<Label> labels;
  for (std::size_t c = 0; c < all.size(); ++c) {
    Curve const& curve = all[c];
    std::vector<Curve::At> mean = curve.runs.at(0);
    for (std::size_t i = 0; i < mean.size(); ++i) {
      mean[i].y = 0;
      for (auto const& run : curve.runs) mean[i].y += run[i].y / double(curve.runs.size());
    }
    if (curve.runs.size() > 1)
      for (auto const& run : curve.runs) draw(run, "stroke='" + curve.colour + "' stroke-width='1' stroke-opacity='0.45'");
    draw(mean, "stroke='" + curve.colour + "' stroke-width='2.6' stroke-linecap='round'" + (curve.dash.empty() ? "" : " stroke-dasharray='" + curve.dash + "'"));
    svg.dot(px(mean.back().x), py(mean.back().y), 4, "fill='" + curve.colour + "'");
    labels.push_back({py(mean.back().y), c});
  }
  // Labels in the order of the lines' ends, none on another.
  std::stable_sort(labels.begin(), labels.end(), [](Label const& a, Label const& b) { return a.at < b.at; });
  for (std::size_t i = 1; i < labels.size(); ++i) labels[i].at = std::max(labels[i].at, labels[i - 1].at + 20);
  for (std::size_t i = labels.size(); i-- > 0;) labels[i].at = std::min(labels[i].at, i + 1 < labels.size() ? labels[i + 1].at - 20 : bottom - 4);
  for (Label const& l : labels) {
    Curve const& curve = all[l.curve];
    svg.line(right + 14, l.at, right + 40, l.at, "stroke='" + curve.colour + "' stroke-width='2.6'" + (curve.dash.empty() ? "" : " stroke-dasharray='" + curve.dash + "'"));
    svg.text(right + 46, l.at + 5, curve.label, "class='label'");
  }
  svg.save(to, title);
}

// Light to dark blue in 16 steps: from 0 to `most`.
inline std::string shade(double value, double most) {
  static constexpr double stops[][3] = {{238, 243, 248}, {158, 202, 225}, {66, 130, 190}, {8, 48, 107}};
  double const at = std::round(std::clamp(value / most, 0., 1.) * 16) / 16 * 3;
  int const i = std::min(2, static_cast<int>(at));
  std::string colour = "#";
  for (int c = 0; c < 3; ++c) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", static_cast<unsigned>(stops[i][c] + (at - i) * (stops[i + 1][c] - stops[i][c]) + 0.5));
    colour += text;
  }
  return "fill='" + colour + "'";
}
inline constexpr char const* nothing = "fill='#ee8844'";                    // an expert that gets (nearly) nothing

// The scale of shade() in boxes.
inline void scale_of_shades(Svg& svg, double x, double y, double most, std::string const& unit, bool with_nothing) {
  if (with_nothing) {
    svg.rect(x, y - 11, 16, 13, nothing);
    svg.text(x + 22, y, "below 2 % of the even share", "class='small'");
    x += 214;
  }
  for (int i = 0; i <= 8; ++i) svg.rect(x + 22 * i, y - 11, 22, 13, shade(most * i / 8, most));
  svg.text(x - 6, y, "0", "class='small' text-anchor='end'");
  svg.text(x + 204, y, format("%g", most) + unit, "class='small'");
}

// Panels of [columns][rows] shares of the choices: expert upwards, time to the right.
struct HeatMap { std::string title; std::vector<std::vector<double>> const* share; };
inline void heat_maps(std::filesystem::path const& to, std::string const& title, std::string const& about, std::string const& x_label, double x_high,
                      std::vector<HeatMap> const& maps, int across) {
  constexpr double left = 66, width = 930, gap = 30, cell_height = 11;
  double const panel = (width - left - 32 - gap * (across - 1)) / across, rows = double(maps.at(0).share->at(0).size()), tall = rows * cell_height;
  double const down = std::ceil(double(maps.size()) / across), height = 104 + down * (tall + 64) + 14;
  Svg svg{width, height};
  svg.text(32, 40, title, "class='title'");
  svg.text(32, 64, about, "class='small'");
  scale_of_shades(svg, width - 544, 86, 4, " × even share", true);
  for (std::size_t m = 0; m < maps.size(); ++m) {
    double const x = left + double(m % static_cast<std::size_t>(across)) * (panel + gap), y = 120 + std::floor(double(m) / across) * (tall + 64);
    svg.text(x, y - 8, maps[m].title, "class='label'");
    auto const& share = *maps[m].share;
    double const w = panel / double(share.size());
    for (std::size_t e = 0; e < share[0].size(); ++e) {
      auto const colour = [&](std::size_t i) { return share[i][e] * rows < 0.02 ? std::string(nothing) : shade(share[i][e] * rows, 4); };
      for (std::size_t i = 0, end; i < share.size(); i = end) {                // neighbours of one colour are one box
        for (end = i + 1; end < share.size() && colour(end) == colour(i);) ++end;
        svg.rect(x + double(i) * w, y + double(e) * cell_height, double(end - i) * w + 0.15, cell_height - 0.6, colour(i));
      }
    }
    if (m % static_cast<std::size_t>(across) == 0) {
      for (int e = 0; e < int(rows); e += 5) svg.text(x - 6, y + (e + 0.85) * cell_height, std::to_string(e), "class='small' text-anchor='end'");
      svg.text(30, y + tall / 2, "expert", "class='label' text-anchor='middle' transform='rotate(-90 30 " + Svg::n(y + tall / 2) + ")'");
    }
    svg.text(x, y + tall + 16, "0", "class='small'");
    svg.text(x + panel, y + tall + 16, format("%.1f", x_high), "class='small' text-anchor='end'");
    svg.text(x + panel / 2, y + tall + 16, x_label, "class='small' text-anchor='middle'");
  }
  svg.save(to, title);
}

}

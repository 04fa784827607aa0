// What the examples print: tables, bars, text coloured by expert, progress. Colour and progress on a terminal only.
#pragma once
#include "stages.hpp"
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <string_view>
#include <unistd.h>

namespace example {

// Colours that differ also without red and green (Paul Tol's, muted), for the first eight experts; then again.
inline constexpr char const* palette[] = {"#4477aa", "#ee6677", "#228833", "#b8a22b", "#66ccee", "#aa3377", "#ee8844", "#7f7f7f"};
inline constexpr int palette_size = 8;
inline constexpr int terminal_palette[palette_size] = {67, 204, 28, 142, 81, 126, 208, 245};   // the nearest of xterm's 256

inline bool colourful() {
  static bool const yes = isatty(1) && !std::getenv("NO_COLOR");
  return yes;
}
inline std::string coloured(int expert, std::string const& text) {
  if (!colourful() || expert < 0) return text;
  return "\033[38;5;" + std::to_string(terminal_palette[expert % palette_size]) + "m" + text + "\033[0m";
}
inline std::string format(char const* how, double a) {
  char buffer[64];
  std::snprintf(buffer, sizeof buffer, how, a);
  return buffer;
}
inline std::string time_text(double s) { return s < 1e-6 ? format("%.0f ns", s * 1e9) : s < 1e-3 ? format("%.1f us", s * 1e6) : s < 1 ? format("%.2f ms", s * 1e3) : format("%.2f s", s); }

// A bar in eighths of a character.
inline std::string bar(double fraction, int width) {
  static char const* const parts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  int const eighths = static_cast<int>(std::clamp(fraction, 0., 1.) * width * 8 + 0.5);
  std::string text;
  for (int i = 0; i < eighths / 8; ++i) text += "█";
  return text + parts[eighths % 8];
}

// One line that is rewritten; nothing when the output is not a terminal.
inline void progress(char const* what, int done, int all) {
  if (!isatty(2)) return;
  std::fprintf(stderr, "\r\033[K");
  if (done < all) std::fprintf(stderr, "  %s ▕%s▏ %d/%d", what, (bar(double(done) / all, 24) + std::string(static_cast<std::size_t>(24 - done * 24 / all), ' ')).c_str(), done, all);
  std::fflush(stderr);
}

inline void print_load(std::vector<std::int32_t> const& load) {
  std::int32_t const most = std::max(1, *std::max_element(load.begin(), load.end())), all = std::accumulate(load.begin(), load.end(), 0);
  std::printf("  rows per expert: %d of %zu experts hit, the fullest has %.2f times its even share\n",
              int(load.size() - static_cast<std::size_t>(std::count(load.begin(), load.end(), 0))), load.size(), double(most) * double(load.size()) / std::max(1, all));
  if (load.size() <= 16) {
    for (std::size_t e = 0; e < load.size(); ++e)
      std::printf("    %2zu %5d %s\n", e, load[e], coloured(int(e), bar(double(load[e]) / most, 48)).c_str());
    return;
  }
  static char const* const heights[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};      // many experts: one character each
  for (std::size_t e = 0; e < load.size(); e += 64) {
    std::printf("    %4zu ", e);
    for (std::size_t i = e; i < std::min(e + 64, load.size()); ++i) std::printf("%s", load[i] ? heights[load[i] * 7 / most] : " ");
    std::puts("");
  }
}

inline void print_stage(Stage const& s, ThisMachine const& m) {
  auto const rate = [](double v) { return v > 0 ? format("%9.2f", v / 1e9) : std::string("        -"); };
  double const time = m.seconds(s.time);
  std::printf("    %-10s %10s %s %s  ", s.name, time_text(time).c_str(), rate(s.flops / time).c_str(), rate(s.bytes / time).c_str());
  if (s.in_cache(m)) std::puts("in cache");
  else std::printf("%6.1f %%  %s\n", 100 * s.share(m), bar(s.share(m), 20).c_str());
}
inline void print_stages(Measured const& m, ThisMachine const& machine) {
  std::printf("\n%lld token%s\n    %-10s %10s %9s %9s %9s\n", static_cast<long long>(m.tokens), m.tokens == 1 ? "" : "s", "stage", "time", "GFLOP/s", "GB/s", "roofline");
  for (Stage const& s : m.stages) print_stage(s, machine);
}
// How much longer the mixture takes than one dense FFN of the same arithmetic, and how much longer it must take.
struct Tax { double measured, floor; };
inline Tax tax(Measured const& m, Stage const& dense, ThisMachine const& machine) {
  return {machine.seconds(m.layer().time) / machine.seconds(dense.time), m.layer().floor(machine) / dense.floor(machine)};
}

// Two lines for a text: the expert of each character's first and second choice below it.
inline void print_choices(std::string_view text, std::int32_t const* expert, int top_k) {
  std::printf("    %-14s%.*s\n", "text", int(text.size()), text.data());
  for (int k = 0; k < std::min(top_k, 2); ++k) {
    std::printf("    %-14s", k ? "second choice" : "first choice");
    for (std::size_t i = 0; i < text.size(); ++i) {
      int const e = expert[i * static_cast<std::size_t>(top_k) + static_cast<std::size_t>(k)];
      std::printf("%s", coloured(e, std::to_string(e % 10)).c_str());
    }
    std::puts("");
  }
}

}

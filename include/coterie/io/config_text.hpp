// A Config as C++ source, as one line for people, and against another one.
#pragma once
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <type_traits>

#include "../error.hpp"
#include "config_fields.hpp"

namespace coterie { inline namespace v0 {

namespace io {

// The shortest text that reads back as the same float; `source`: as a literal of C++.
inline std::string text(float value, bool source) {
  std::array<char, 32> room{};
  auto const end = std::to_chars(room.data(), room.data() + room.size(), value).ptr;
  std::string out(room.data(), end);
  bool const whole = out.find_first_of(".en") == out.npos;
  return source && !whole ? out + "f" : out;
}
template <class T> std::string text(T value, bool source) {
  if constexpr (std::is_enum_v<T>) return (source ? "coterie::" + std::string(EnumNames<T>::type) + "::" : std::string()) + std::string(enumerator(value));
  else return std::to_string(value);
}
inline std::string path(std::string_view group, std::string_view field) {
  return group.empty() ? std::string(field) : std::string(group) + "." + std::string(field);
}

}

// `inline constexpr coterie::Config <name>{…};` with what differs from the defaults; `name` must be an identifier.
inline std::string source(Config const& config, std::string_view name) {
  Config const c = io::canonical(config);
  std::string out = "inline constexpr coterie::Config " + std::string(name) + "{", open;
  bool first = true, first_in_group = true;
  io::each_field(c, Config{}, [&](std::string_view group, std::string_view field, auto value, auto standard) {
    if (value == standard) return;
    if (group != open && !open.empty()) out += "}", open.clear();
    if (group != open || group.empty()) out += first ? "" : ",";
    if (group != open) {
      out += "\n  ." + std::string(group) + " = {";
      open = group, first_in_group = true;
    } else if (group.empty()) out += first ? "" : " ";
    if (!group.empty() && !first_in_group) out += ", ";
    out += "." + std::string(field) + " = " + io::text(value, true);
    first = false, first_in_group = false;
  });
  return out + (open.empty() ? "};\n" : "}};\n");
}

// One line: the sizes, and what differs from the defaults.
inline std::string describe(Config const& config) {
  Config const c = io::canonical(config);
  std::string out = std::to_string(c.experts) + " experts, top-" + std::to_string(c.top_k) + ", hidden " + std::to_string(c.hidden) + ", ffn " +
                    std::to_string(c.ffn) + ", " + name(c.dtype) + " (" + name(c.weights) + " weights)";
  io::each_field(c, Config{}, [&](std::string_view group, std::string_view field, auto value, auto standard) {
    if (value == standard || (group.empty() && field != "combine" && field != "batch_invariant")) return;
    out += ", " + io::path(group, field) + " " + io::text(value, false);
  });
  return out;
}

// Throws Error unless a layer of config `want` computes what a checkpoint of config `got` means: the sentence names the
// first field that differs. Types are free (a layer may compute in fp32 from a bf16 file), but for the router, whose
// weights must not be narrower than the file's. Noise for training is not in a checkpoint's meaning and is free, but for
// Noise::softplus: its W_noise is a weight, and no checkpoint holds one.
inline void check(Config const& want, Config const& got, Where at = Where::here()) {
  auto const meaning = [](Config c) {
    c.dtype = c.weights = c.router.weights = c.shared.weights = DType::bf16;
    c.quant = {}, c.combine = Accumulate::fp32, c.batch_invariant = 0;
    c.router.noise = Noise::none;
    if (c.shared.mix != SharedMix::router_rows) c.shared.count = 1;      // one wide expert or several: the same sum
    return io::canonical(c);
  };
  io::each_field(meaning(got), meaning(want), [&](std::string_view group, std::string_view field, auto in_file, auto in_config) {
    if (in_file != in_config)
      fail("checkpoint: field " + io::path(group, field) + ": got " + io::text(in_file, false) + " (file), want " + io::text(in_config, false) + " (Config)", at);
  });
  if (want.router.noise == Noise::softplus && got.router.noise != Noise::softplus)
    fail("checkpoint: field router.noise: got " + io::text(got.router.noise, false) + " (file), want softplus (Config), whose W_noise no checkpoint holds", at);
  bool const holds = want.router.weights == got.router.weights || want.router.weights == DType::fp32;
  if (!holds)
    fail(std::string("checkpoint: field router.weights: got ") + name(got.router.weights) + " (file), want " + name(want.router.weights) +
         " (Config), which cannot hold it", at);
}

}}

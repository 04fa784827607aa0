// JSON as events, over nlohmann's SAX parser: what the safetensors header, the shard index and config.json share.
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

#include "../error.hpp"
#include "file.hpp"

namespace coterie { inline namespace v0 {

// Integers are those of 64 bits with a sign; every other number is real (2^63, -0, 1.0).
enum class JsonKind : int { null, boolean, integer, real, string, array, object };

constexpr char const* describe(JsonKind kind) {
  switch (kind) {
    case JsonKind::null: return "null";
    case JsonKind::boolean: return "a boolean";
    case JsonKind::integer: return "an integer";
    case JsonKind::real: return "a real number";
    case JsonKind::string: return "a string";
    case JsonKind::array: return "an array";
    default: return "an object";
  }
}

namespace io {

struct Scalar {
  JsonKind kind = JsonKind::null;
  std::int64_t integer = 0;   // a boolean too: 0 or 1
  double real = 0;
  std::string_view text{};    // valid during the event
};

// Turns nlohmann's callbacks into four events; what is not JSON, or too deep, ends in Error. Deriving classes reject
// what their format does not allow. Time is linear in the text; no recursion.
class JsonReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  void parse(std::string_view text) {
    // nlohmann takes a NUL for the end of its input and would not look at what follows.
    if (auto const nul = text.find('\0'); nul != text.npos) reject("is not JSON: byte " + std::to_string(nul) + " is NUL");
    nlohmann::json_sax<nlohmann::json>* const events = this;
    if (!nlohmann::json::sax_parse(text.data(), text.data() + text.size(), events)) reject("is not JSON");
  }

  [[noreturn]] void reject(std::string const& sentence) const { fail(source_ + ": " + sentence, at_); }

 protected:
  // `source` begins every sentence; deeper nesting than `depth` is rejected.
  JsonReader(std::string source, int depth, Where at) : source_(std::move(source)), room_(depth), depth_(depth), at_(at) {}

  virtual void open(JsonKind kind) = 0;   // array or object
  virtual void close() = 0;
  virtual void name(std::string_view key) = 0;
  virtual void scalar(Scalar const& value) = 0;

 private:
  bool down(JsonKind kind) {
    if (room_-- == 0) reject("nests deeper than " + std::to_string(depth_) + " levels");
    open(kind);
    return true;
  }
  bool up() {
    ++room_;
    close();
    return true;
  }
  bool event(Scalar const& value) {
    scalar(value);
    return true;
  }
  bool real(double value) {
    // By bits, because -ffast-math may drop a comparison with infinity.
    if ((std::bit_cast<std::uint64_t>(value) >> 52 & 0x7ff) == 0x7ff) reject("holds a number out of range");
    return event({.kind = JsonKind::real, .real = value});
  }

  bool null() final { return event({}); }
  bool boolean(bool value) final { return event({.kind = JsonKind::boolean, .integer = value}); }
  bool number_integer(std::int64_t value) final {
    return value == 0 ? real(-0.0) : event({.kind = JsonKind::integer, .integer = value});
  }
  bool number_unsigned(std::uint64_t value) final {
    return value >> 63 ? real(static_cast<double>(value))
                       : event({.kind = JsonKind::integer, .integer = static_cast<std::int64_t>(value)});
  }
  bool number_float(double value, std::string const&) final { return real(value); }
  bool string(std::string& value) final { return event({.kind = JsonKind::string, .text = value}); }
  bool binary(nlohmann::json::binary_t&) final { reject("is not JSON text"); }
  bool start_object(std::size_t) final { return down(JsonKind::object); }
  bool start_array(std::size_t) final { return down(JsonKind::array); }
  bool end_object() final { return up(); }
  bool end_array() final { return up(); }
  bool key(std::string& value) final {
    name(value);
    return true;
  }
  bool parse_error(std::size_t position, std::string const& token, nlohmann::detail::exception const&) final {
    reject("is not JSON: at byte " + std::to_string(position) + ", at " + printable(token));
  }

  std::string source_;
  int room_, depth_;
  Where at_;
};

}
}}

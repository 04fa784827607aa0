// The header of a safetensors file: parsed and checked whole, without the file.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "file.hpp"
#include "json_reader.hpp"

namespace coterie { inline namespace v0 {

// The element types of the format, by the names of its files in lower case (boolean: BOOL).
enum class Stored : int { boolean, f4, f6_e2m3, f6_e3m2, u8, i8, f8_e5m2, f8_e4m3, f8_e8m0, f8_e4m3fnuz, f8_e5m2fnuz,
                          i16, u16, f16, bf16, i32, u32, f32, c64, f64, i64, u64 };

namespace io {
struct StoredName { std::string_view name; int bits; };
inline constexpr std::array<StoredName, 22> stored_names{{
    {"BOOL", 8}, {"F4", 4}, {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8}, {"I8", 8}, {"F8_E5M2", 8}, {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16}, {"U16", 16}, {"F16", 16}, {"BF16", 16},
    {"I32", 32}, {"U32", 32}, {"F32", 32}, {"C64", 64}, {"F64", 64}, {"I64", 64}, {"U64", 64}}};
static_assert(stored_names[static_cast<std::size_t>(Stored::u64)].name == "U64");
}

constexpr std::string_view name(Stored s) { return io::stored_names[static_cast<std::size_t>(s)].name; }
constexpr int bits(Stored s) { return io::stored_names[static_cast<std::size_t>(s)].bits; }
constexpr std::optional<Stored> stored(std::string_view name) {
  for (std::size_t i = 0; i < io::stored_names.size(); ++i)
    if (io::stored_names[i].name == name) return static_cast<Stored>(i);
  return std::nullopt;
}

struct TensorInfo {
  std::string name{};
  Stored dtype = Stored::u8;
  std::vector<std::int64_t> shape{};    // none: a scalar
  std::uint64_t begin = 0, end = 0;     // bytes, counted from the end of the header
  int file = 0;                         // which shard

  std::uint64_t bytes() const { return end - begin; }
};

struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;                              // sorted by name
  std::vector<std::pair<std::string, std::string>> metadata;    // sorted by name
};

namespace io {

inline constexpr std::uint64_t safetensors_prefix = 8;                // bytes before the header: its length
inline constexpr std::uint64_t safetensors_max_header = 100'000'000;  // bytes, the format's limit

// The one place where sizes from a file are multiplied. False: the product does not fit, and `into` is unspecified.
[[nodiscard]] constexpr bool multiply(std::uint64_t& into, std::uint64_t by) {
  return !__builtin_mul_overflow(into, by, &into);
}

// Bytes of a tensor; nothing when they are no whole number or do not fit 64 bits. Dimensions are not negative.
constexpr std::optional<std::uint64_t> tensor_bytes(Stored dtype, std::vector<std::int64_t> const& shape) {
  std::uint64_t size = 1;
  for (std::int64_t d : shape) if (!multiply(size, static_cast<std::uint64_t>(d))) return std::nullopt;
  if (!multiply(size, static_cast<std::uint64_t>(bits(dtype))) || size % 8) return std::nullopt;
  return size / 8;
}

// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__": {"name": "text", …}}
class SafetensorsReader final : public JsonReader {
 public:
  SafetensorsReader(SafetensorsHeader& into, std::string const& source, Where at) : JsonReader(source, 3, at), into_(into) {}

 private:
  enum class In : int { nothing, header, metadata, tensor, shape, offsets };

  void open(JsonKind kind) override {
    bool const object = kind == JsonKind::object;
    if (in_ == In::nothing && object) in_ = In::header;
    else if (in_ == In::header && object && key_ == "__metadata__") {
      if (std::exchange(has_metadata_, true)) reject("name '__metadata__' stands twice");
      in_ = In::metadata;
    } else if (in_ == In::header && object) {
      in_ = In::tensor;
      tensor_ = {.name = key_};
      found_ = 0, offsets_ = 0;
    } else if (in_ == In::tensor && !object && key_ == "shape") in_ = In::shape;
    else if (in_ == In::tensor && !object && key_ == "data_offsets") in_ = In::offsets;
    else unwanted(kind);
  }

  void close() override {
    if (in_ == In::offsets && offsets_ != 2) reject(here() + ": got " + std::to_string(offsets_) + " numbers, want 2");
    if (in_ == In::tensor) {
      constexpr std::array<char const*, 3> fields{"'dtype'", "'shape'", "'data_offsets'"};
      for (unsigned i = 0; i < fields.size(); ++i)
        if (!(found_ >> i & 1)) reject("tensor " + printable(tensor_.name) + " has no " + fields[i]);
      into_.tensors.push_back(std::move(tensor_));
    }
    in_ = in_ == In::shape || in_ == In::offsets ? In::tensor : in_ == In::header ? In::nothing : In::header;
  }

  void name(std::string_view key) override {
    key_ = key;
    if (in_ == In::tensor) {
      unsigned const field = key == "dtype" ? 1 : key == "shape" ? 2 : key == "data_offsets" ? 4 : 0;
      if (!field) reject(here() + " is no field of a tensor");
      if (found_ & field) reject(here() + " stands twice");
      found_ |= field;
    }
  }

  void scalar(Scalar const& value) override {
    if (in_ == In::metadata && value.kind == JsonKind::string) into_.metadata.emplace_back(key_, value.text);
    else if (in_ == In::tensor && key_ == "dtype" && value.kind == JsonKind::string) {
      auto const known = stored(value.text);
      if (!known) reject(here() + ": got " + printable(value.text) + ", want a type of the format, such as 'BF16'");
      tensor_.dtype = *known;
    } else if ((in_ == In::shape || in_ == In::offsets) && value.kind == JsonKind::integer) {
      if (value.integer < 0) reject(here() + ": got " + std::to_string(value.integer) + ", want at least 0");
      if (in_ == In::shape) tensor_.shape.push_back(value.integer);
      else if (offsets_++ < 2) (offsets_ == 1 ? tensor_.begin : tensor_.end) = static_cast<std::uint64_t>(value.integer);
    } else unwanted(value.kind);
  }

  std::string here() const {
    if (in_ == In::nothing) return "header";
    if (in_ == In::header) return "tensor " + printable(key_);
    if (in_ == In::metadata) return "metadata " + printable(key_);
    return "tensor " + printable(tensor_.name) + ": " + printable(key_);
  }
  [[noreturn]] void unwanted(JsonKind got) const {
    bool const numbers = in_ == In::shape || in_ == In::offsets;
    char const* const want = in_ == In::nothing || in_ == In::header ? "an object"
                             : in_ == In::metadata || key_ == "dtype" ? "a string"
                             : numbers ? "integers of 63 bits" : "an array";
    reject(here() + ": got " + describe(got) + ", want " + want);
  }

  SafetensorsHeader& into_;
  TensorInfo tensor_;
  std::string key_;
  In in_ = In::nothing;
  unsigned found_ = 0;   // fields of the tensor: 1 dtype, 2 shape, 4 data_offsets
  int offsets_ = 0;
  bool has_metadata_ = false;
};

// Sorts by name; the first name that stands twice, or null. Sorted, not hashed: no choice of names makes it slow.
template <class Named, class Name>
std::string const* sort_by_name(std::vector<Named>& all, Name Named::* member) {
  std::sort(all.begin(), all.end(), [=](Named const& a, Named const& b) { return a.*member < b.*member; });
  auto const twice = std::adjacent_find(all.begin(), all.end(),
                                        [=](Named const& a, Named const& b) { return a.*member == b.*member; });
  return twice == all.end() ? nullptr : &((*twice).*member);
}

// Sorted by offset, tensors follow each other from 0 to data_bytes, each as long as its shape and type say.
inline void check_offsets(std::vector<TensorInfo>& tensors, std::uint64_t data_bytes, std::string const& source, Where at) {
  std::sort(tensors.begin(), tensors.end(), [](TensorInfo const& a, TensorInfo const& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t next = 0;
  for (TensorInfo const& t : tensors) {
    auto const want = tensor_bytes(t.dtype, t.shape);
    auto const say = [&](std::string const& what) { fail(source + ": tensor " + printable(t.name) + ": " + what, at); };
    if (!want) say("shape times type is no whole number of bytes below 2^61");
    if (t.begin != next)
      say("begins at byte " + std::to_string(t.begin) + ", want " + std::to_string(next) +
          (t.begin < next ? " (an overlap)" : " (a hole)"));
    if (t.end < t.begin) say("ends at byte " + std::to_string(t.end) + ", before it begins at " + std::to_string(t.begin));
    if (t.bytes() != *want) say("size: got " + std::to_string(t.bytes()) + " bytes, want " + std::to_string(*want));
    next = t.end;
  }
  if (next != data_bytes)
    fail(source + ": data: got " + std::to_string(data_bytes) + " bytes, want " + std::to_string(next), at);
}

// `text` is the header without its length, `data_bytes` what follows it in the file; `source` names the file in errors.
// Throws Error unless the header is right in every detail. Time is linear but for two sorts.
inline SafetensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes, std::string const& source,
                                                  Where at = Where::here()) {
  if (text.empty() || text.front() != '{') fail(source + ": header: got " + printable(text.substr(0, 1)) + " at first, want '{'", at);
  SafetensorsHeader header;
  SafetensorsReader(header, source, at).parse(text);
  if (auto const* twice = sort_by_name(header.metadata, &std::pair<std::string, std::string>::first))
    fail(source + ": metadata " + printable(*twice) + " stands twice", at);
  if (auto const* twice = sort_by_name(header.tensors, &TensorInfo::name))
    fail(source + ": tensor " + printable(*twice) + " stands twice", at);
  check_offsets(header.tensors, data_bytes, source, at);
  sort_by_name(header.tensors, &TensorInfo::name);
  return header;
}

}}}

// model.safetensors.index.json: which shard holds which tensor.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "file.hpp"
#include "json_reader.hpp"
#include "safetensors_header.hpp"

namespace coterie { inline namespace v0 {

struct ShardIndex {
  struct Entry {
    std::string tensor;
    int file = 0;   // into files
  };
  std::vector<Entry> entries;        // sorted by tensor
  std::vector<std::string> files;    // sorted; plain names without a folder
};

namespace io {

inline constexpr std::uint64_t index_max_bytes = 100'000'000;   // as the header of a safetensors file

// {"metadata": {…}, "weight_map": {"tensor": "file", …}}; what else stands beside them is not looked at.
class ShardIndexReader final : public JsonReader {
 public:
  ShardIndexReader(std::vector<std::pair<std::string, std::string>>& into, std::string const& source, Where at)
      : JsonReader(source, 32, at), into_(into) {}
  bool has_map() const { return has_map_; }

 private:
  void open(JsonKind kind) override {
    if (level_ == 0 && kind != JsonKind::object) unwanted("index", kind, "an object");
    if (in_map()) unwanted("tensor " + printable(key_), kind, "a string");
    if (level_ == 1 && key_ == "weight_map") {
      if (kind != JsonKind::object) unwanted("'weight_map'", kind, "an object");
      if (std::exchange(has_map_, true)) reject("'weight_map' stands twice");
      map_level_ = 2;
    }
    ++level_;
  }
  void close() override {
    if (in_map()) map_level_ = -1;
    --level_;
  }
  void name(std::string_view key) override { if (level_ == 1 || in_map()) key_ = key; }
  void scalar(Scalar const& value) override {
    if (level_ == 0) unwanted("index", value.kind, "an object");
    if (level_ == 1 && key_ == "weight_map") unwanted("'weight_map'", value.kind, "an object");
    if (!in_map()) return;
    if (value.kind != JsonKind::string) unwanted("tensor " + printable(key_), value.kind, "a string");
    check_file(value.text);
    into_.emplace_back(key_, value.text);
  }

  // A name must stay in the index's own folder, whatever the system.
  void check_file(std::string_view file) const {
    auto const say = [&](char const* what) { reject("tensor " + printable(key_) + ": file " + printable(file) + " " + what); };
    if (file.find_first_of("/\\:") != file.npos) say("has a path separator");
    if (file.find("..") != file.npos) say("has '..' in its name");
    if (file.size() > 255) say("has a name longer than 255 bytes");
    if (file.find('\0') != file.npos) say("has NUL in its name");
    if (file.size() <= suffix.size() || !file.ends_with(suffix)) say("does not end in '.safetensors'");
  }
  [[noreturn]] void unwanted(std::string const& what, JsonKind got, char const* want) const {
    reject(what + ": got " + describe(got) + ", want " + want);
  }
  bool in_map() const { return level_ == map_level_; }

  static constexpr std::string_view suffix = ".safetensors";
  std::vector<std::pair<std::string, std::string>>& into_;
  std::string key_;
  int level_ = 0, map_level_ = -1;   // -1: not in the map
  bool has_map_ = false;
};

// `source` names the index in errors. Throws Error unless every tensor stands once, with the plain name of a
// .safetensors file. Time is linear but for two sorts.
inline ShardIndex parse_shard_index(std::string_view text, std::string const& source, Where at = Where::here()) {
  std::vector<std::pair<std::string, std::string>> map;
  ShardIndexReader reader(map, source, at);
  reader.parse(text);
  if (!reader.has_map()) fail(source + ": index has no 'weight_map'", at);
  if (auto const* twice = sort_by_name(map, &std::pair<std::string, std::string>::first))
    fail(source + ": tensor " + printable(*twice) + " stands twice", at);

  ShardIndex index;
  std::vector<std::string_view> files;
  files.reserve(map.size());
  for (auto const& [tensor, file] : map) files.push_back(file);
  std::sort(files.begin(), files.end());
  files.erase(std::unique(files.begin(), files.end()), files.end());
  index.files.assign(files.begin(), files.end());
  index.entries.reserve(map.size());
  for (auto& [tensor, file] : map) {
    auto const place = std::lower_bound(files.begin(), files.end(), std::string_view(file)) - files.begin();
    index.entries.push_back({std::move(tensor), static_cast<int>(place)});
  }
  return index;
}

}}}

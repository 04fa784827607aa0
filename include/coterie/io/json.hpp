// A small immutable JSON document, for config.json and its like, whose getters name the field in their errors.
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "file.hpp"
#include "json_reader.hpp"

namespace coterie { inline namespace v0 {

struct JsonLimits {
  std::uint32_t bytes = 1u << 24;    // of the text
  std::int32_t values = 1 << 18;     // scalars, arrays and objects
  int depth = 64;
};

namespace io {

// All values in the order of the text; names and strings stand in one pool, so a value costs 48 bytes.
struct JsonTree {
  struct Node {
    JsonKind kind = JsonKind::null;
    std::int32_t parent = -1, first = -1, next = -1, children = 0;
    std::uint32_t key = 0, key_size = 0;     // in the pool
    std::uint32_t text = 0, text_size = 0;   // in the pool
    std::int64_t bits = 0;                   // an integer, a boolean, or a double's bits
  };
  std::string source, pool;
  std::vector<Node> nodes;

  std::string_view key(Node const& n) const { return std::string_view(pool).substr(n.key, n.key_size); }
  std::string_view text(Node const& n) const { return std::string_view(pool).substr(n.text, n.text_size); }
};

class JsonTreeReader final : public JsonReader {
 public:
  JsonTreeReader(JsonTree& tree, JsonLimits limits, Where at)
      : JsonReader(tree.source, limits.depth, at), tree_(tree), limits_(limits) {}

 private:
  void name(std::string_view key) override { key_ = put(key), key_size_ = static_cast<std::uint32_t>(key.size()); }
  void scalar(Scalar const& value) override {
    std::uint32_t const text = put(value.text);
    JsonTree::Node& added = add(value.kind);
    added.text = text, added.text_size = static_cast<std::uint32_t>(value.text.size());
    added.bits = value.kind == JsonKind::real ? std::bit_cast<std::int64_t>(value.real) : value.integer;
  }
  void open(JsonKind kind) override {
    add(kind);
    open_.push_back({static_cast<std::int32_t>(tree_.nodes.size()) - 1, -1});
  }
  void close() override {
    JsonTree::Node const& closed = node(open_.back().node);
    if (closed.kind == JsonKind::object) reject_duplicates(closed);
    open_.pop_back();
  }

  // Sorted, not hashed: no choice of names makes it slow.
  void reject_duplicates(JsonTree::Node const& object) {
    keys_.clear();
    for (std::int32_t i = object.first; i >= 0; i = node(i).next) keys_.push_back(tree_.key(node(i)));
    std::sort(keys_.begin(), keys_.end());
    auto const twice = std::adjacent_find(keys_.begin(), keys_.end());
    if (twice != keys_.end()) reject("name " + printable(*twice) + " stands twice in one object");
  }

  JsonTree::Node& node(std::int32_t i) { return tree_.nodes[static_cast<std::size_t>(i)]; }
  std::uint32_t put(std::string_view text) {
    auto const begin = static_cast<std::uint32_t>(tree_.pool.size());   // the pool is no longer than the text was
    tree_.pool += text;
    return begin;
  }
  JsonTree::Node& add(JsonKind kind) {
    auto const index = static_cast<std::int32_t>(tree_.nodes.size());
    if (index == limits_.values) reject("holds more than " + std::to_string(limits_.values) + " values");
    JsonTree::Node next{.kind = kind, .key = key_, .key_size = std::exchange(key_size_, 0u)};
    if (!open_.empty()) {
      auto& [parent, last] = open_.back();
      next.parent = parent;
      ++node(parent).children;
      (last < 0 ? node(parent).first : node(last).next) = index;
      last = index;
    }
    tree_.nodes.push_back(next);
    return tree_.nodes.back();
  }

  struct Open { std::int32_t node, last; };   // an array or object being read, and its last value so far
  JsonTree& tree_;
  JsonLimits limits_;
  std::vector<Open> open_;
  std::vector<std::string_view> keys_;
  std::uint32_t key_ = 0, key_size_ = 0;
};

}

// One value of a document; copies are cheap and keep the document alive. Every getter throws Error, with the file and
// the path of the field, when the value is of another kind.
class Json {
 public:
  // `source` names the text in errors. Throws Error on what is not JSON, on a name that stands twice in one object,
  // and past a limit. Time and memory are linear in the text, but for the sort of each object's names.
  static Json parse(std::string_view text, std::string const& source, JsonLimits limits = {}, Where at = Where::here()) {
    auto tree = std::make_shared<io::JsonTree>();
    tree->source = source;
    if (text.size() > limits.bytes)
      fail(source + ": size: got " + std::to_string(text.size()) + " bytes, want at most " + std::to_string(limits.bytes), at);
    io::JsonTreeReader(*tree, limits, at).parse(text);
    return {std::move(tree), 0};
  }
  // The same of a file.
  static Json read(std::string const& path, JsonLimits limits = {}, Where at = Where::here()) {
    return parse(io::read_text(path, limits.bytes, at), io::printable(path, 4096), limits, at);
  }

  JsonKind kind() const { return node().kind; }
  bool is_null() const { return kind() == JsonKind::null; }

  std::int64_t integer(Where at = Where::here()) const { return expect(JsonKind::integer, at).bits; }
  bool boolean(Where at = Where::here()) const { return expect(JsonKind::boolean, at).bits != 0; }
  std::string string(Where at = Where::here()) const { return std::string(tree_->text(expect(JsonKind::string, at))); }
  double number(Where at = Where::here()) const {   // an integer too, rounded
    if (kind() == JsonKind::integer) return static_cast<double>(node().bits);
    return std::bit_cast<double>(expect(JsonKind::real, at).bits);
  }

  // The field of an object; an error, or nothing, when there is none. Linear in the object's fields.
  Json at(std::string_view key, Where at = Where::here()) const {
    if (auto const field = find(key, at)) return *field;
    reject("has no field " + io::printable(key), at);
  }
  std::optional<Json> find(std::string_view key, Where at = Where::here()) const {
    expect(JsonKind::object, at);
    for (Json const field : *this) if (tree_->key(field.node()) == key) return field;
    return std::nullopt;
  }
  // The field, or `fallback` when there is none or it is null.
  std::int64_t integer_or(std::string_view key, std::int64_t fallback, Where at = Where::here()) const {
    auto const field = given(key, at);
    return field ? field->integer(at) : fallback;
  }
  double number_or(std::string_view key, double fallback, Where at = Where::here()) const {
    auto const field = given(key, at);
    return field ? field->number(at) : fallback;
  }
  bool boolean_or(std::string_view key, bool fallback, Where at = Where::here()) const {
    auto const field = given(key, at);
    return field ? field->boolean(at) : fallback;
  }
  std::string string_or(std::string_view key, std::string const& fallback, Where at = Where::here()) const {
    auto const field = given(key, at);
    return field ? field->string(at) : fallback;
  }

  // The values of an array or object, in the order of the text; none in a scalar.
  class Iterator {
   public:
    Json operator*() const { return {tree_, index_}; }
    Iterator& operator++() {
      index_ = tree_->nodes[static_cast<std::size_t>(index_)].next;
      return *this;
    }
    bool operator!=(Iterator const& other) const { return index_ != other.index_; }

   private:
    friend class Json;
    Iterator(std::shared_ptr<io::JsonTree const> tree, std::int32_t index) : tree_(std::move(tree)), index_(index) {}
    std::shared_ptr<io::JsonTree const> tree_;
    std::int32_t index_;
  };
  Iterator begin() const { return {tree_, node().first}; }
  Iterator end() const { return {tree_, -1}; }
  std::int64_t size() const { return node().children; }
  std::string key() const { return std::string(tree_->key(node())); }   // its name in its object, or nothing

  // Where it stands, such as text_config.layer_types[3]; empty for the whole document.
  std::string path() const {
    if (node().parent < 0) return {};
    Json const parent(tree_, node().parent);
    if (parent.kind() == JsonKind::object) return (parent.node().parent < 0 ? "" : parent.path() + ".") + key();
    std::int64_t place = 0;
    for (Json const value : parent) {
      if (value.index_ == index_) break;
      ++place;
    }
    return parent.path() + "[" + std::to_string(place) + "]";
  }

  // Throws Error: the file, this field, then the sentence.
  [[noreturn]] void reject(std::string const& sentence, Where at = Where::here()) const {
    fail(tree_->source + ": " + (node().parent < 0 ? "" : "field " + io::printable(path()) + ": ") + sentence, at);
  }

 private:
  Json(std::shared_ptr<io::JsonTree const> tree, std::int32_t index) : tree_(std::move(tree)), index_(index) {}
  io::JsonTree::Node const& node() const { return tree_->nodes[static_cast<std::size_t>(index_)]; }
  io::JsonTree::Node const& expect(JsonKind want, Where at) const {
    if (kind() != want) reject(std::string("got ") + describe(kind()) + ", want " + describe(want), at);
    return node();
  }
  std::optional<Json> given(std::string_view key, Where at) const {
    auto field = find(key, at);
    if (field && field->is_null()) field.reset();
    return field;
  }

  std::shared_ptr<io::JsonTree const> tree_;
  std::int32_t index_ = 0;
};

}}

// Checkpoints in safetensors files: opened and checked whole, read by ranges, so that a caller can stream one expert
// at a time. Nothing is mapped, so a file that is cut while open gives an Error and no signal.
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "file.hpp"
#include "safetensors_header.hpp"
#include "shard_index.hpp"

namespace coterie { inline namespace v0 {

// One open file. Const members may be called by many threads at once.
class Safetensors {
 public:
  // Throws Error unless the file is right in every detail: header, names, types, shapes, and data that the tensors cover
  // without holes or overlaps. Reads the header only; memory while opening stays below ten times its size.
  explicit Safetensors(std::string path, Where at = Where::here()) : file_(std::move(path), at) {
    std::uint64_t const size = file_.bytes();
    std::array<unsigned char, io::safetensors_prefix> prefix{};
    if (size < prefix.size()) file_.reject("size: got " + std::to_string(size) + " bytes, want at least 8", at);
    file_.read(0, std::as_writable_bytes(std::span(prefix)), at);
    std::uint64_t length = 0;
    for (std::size_t i = 0; i < prefix.size(); ++i) length |= std::uint64_t{prefix[i]} << (8 * i);   // little-endian
    std::uint64_t const most = std::min(io::safetensors_max_header, size - prefix.size());
    if (length > most)
      file_.reject("header length: got " + std::to_string(length) + " bytes, want at most " + std::to_string(most), at);

    std::string text(static_cast<std::size_t>(length), '\0');
    file_.read(prefix.size(), std::as_writable_bytes(std::span(text)), at);
    data_ = prefix.size() + length;
    header_ = io::parse_safetensors_header(text, size - data_, io::printable(file_.path(), 4096), at);
  }

  std::string const& path() const { return file_.path(); }
  std::span<TensorInfo const> tensors() const { return header_.tensors; }   // sorted by name
  std::span<std::pair<std::string, std::string> const> metadata() const { return header_.metadata; }   // sorted by name

  std::vector<std::string> names() const {   // sorted
    std::vector<std::string> all;
    all.reserve(header_.tensors.size());
    for (TensorInfo const& t : header_.tensors) all.push_back(t.name);
    return all;
  }
  // The tensor, or null; valid as long as this object.
  TensorInfo const* find(std::string_view name) const {
    auto const place = std::lower_bound(header_.tensors.begin(), header_.tensors.end(), name,
                                        [](TensorInfo const& t, std::string_view n) { return t.name < n; });
    return place != header_.tensors.end() && place->name == name ? &*place : nullptr;
  }
  // The tensor; throws Error when there is none of that name.
  TensorInfo const& at(std::string_view name, Where at = Where::here()) const {
    TensorInfo const* const found = find(name);
    if (!found) file_.reject("has no tensor " + io::printable(name), at);
    return *found;
  }

  // Reads into.size() bytes of a tensor from its byte `offset` on. Throws Error when they are not all within the
  // tensor, or the file was cut since it was opened.
  void read(TensorInfo const& tensor, std::uint64_t offset, std::span<std::byte> into, Where at = Where::here()) const {
    std::uint64_t const data_bytes = file_.bytes() - data_;
    if (tensor.begin > tensor.end || tensor.end > data_bytes)
      file_.reject("tensor " + io::printable(tensor.name) + " is not of this file", at);
    if (offset > tensor.bytes() || into.size() > tensor.bytes() - offset)
      file_.reject("tensor " + io::printable(tensor.name) + ": read of " + std::to_string(into.size()) + " bytes at byte " +
                       std::to_string(offset) + ": got " + std::to_string(tensor.bytes()) + " bytes in the tensor", at);
    file_.read(data_ + tensor.begin + offset, into, at);
  }
  // Reads a whole tensor; throws Error unless into.size() is its size.
  void read(TensorInfo const& tensor, std::span<std::byte> into, Where at = Where::here()) const {
    if (into.size() != tensor.bytes())
      file_.reject("tensor " + io::printable(tensor.name) + ": read: got room for " + std::to_string(into.size()) +
                       " bytes, want " + std::to_string(tensor.bytes()), at);
    read(tensor, 0, into, at);
  }

 private:
  friend class ShardedSafetensors;
  io::File file_;
  std::uint64_t data_ = 0;   // where the data begin in the file
  SafetensorsHeader header_;
};

// All files of one checkpoint, open together, as if they were one.
class ShardedSafetensors {
 public:
  // `path` is a .safetensors file, an index (.json), or a folder of any name that holds model.safetensors.index.json or
  // else model.safetensors. Throws Error unless every shard is right and the index and the shards name the same tensors.
  explicit ShardedSafetensors(std::string const& path, Where at = Where::here()) {
    std::string const index = path + "/model.safetensors.index.json";
    bool const folder = io::is_folder(path);
    if (!folder && path.ends_with(".safetensors")) add(path, at);
    else if (!folder && path.ends_with(".json")) open_index(path, at);
    else if (::access(index.c_str(), F_OK) == 0) open_index(index, at);
    else add(path + "/model.safetensors", at);
    merge();
  }
  ShardedSafetensors(ShardedSafetensors&&) = default;   // not to be copied: it owns open files
  ShardedSafetensors& operator=(ShardedSafetensors&&) = default;

  std::span<Safetensors const> files() const { return files_; }   // TensorInfo::file counts these
  std::vector<std::string> names() const {                        // sorted
    std::vector<std::string> all;
    all.reserve(all_.size());
    for (TensorInfo const* t : all_) all.push_back(t->name);
    return all;
  }
  // All tensors, sorted by name; valid as long as this object, also when it is moved.
  std::span<TensorInfo const* const> tensors() const { return all_; }
  // Those whose names begin so.
  std::span<TensorInfo const* const> tensors(std::string_view prefix) const {
    auto const first = lower_bound(prefix);
    return {first, std::partition_point(first, all_.end(), [=](TensorInfo const* t) { return t->name.starts_with(prefix); })};
  }
  TensorInfo const* find(std::string_view name) const {
    auto const place = lower_bound(name);
    return place != all_.end() && (*place)->name == name ? *place : nullptr;
  }
  TensorInfo const& at(std::string_view name, Where at = Where::here()) const {
    TensorInfo const* const found = find(name);
    if (!found) fail(io::printable(source_, 4096) + ": has no tensor " + io::printable(name), at);
    return *found;
  }

  // Throws Error: the tensor's file, its name, then the sentence.
  [[noreturn]] void reject(TensorInfo const& tensor, std::string const& sentence, Where at) const {
    file(tensor, at).file_.reject("tensor " + io::printable(tensor.name) + sentence, at);
  }

  // As in Safetensors.
  void read(TensorInfo const& tensor, std::uint64_t offset, std::span<std::byte> into, Where at = Where::here()) const {
    file(tensor, at).read(tensor, offset, into, at);
  }
  void read(TensorInfo const& tensor, std::span<std::byte> into, Where at = Where::here()) const {
    file(tensor, at).read(tensor, into, at);
  }

 private:
  void add(std::string path, Where at) {
    int const number = static_cast<int>(files_.size());
    if (source_.empty()) source_ = path;
    files_.emplace_back(std::move(path), at);
    for (TensorInfo& t : files_.back().header_.tensors) t.file = number;
  }

  void open_index(std::string const& path, Where at) {
    source_ = path;
    std::string const source = io::printable(path, 4096);
    ShardIndex const index = io::parse_shard_index(io::read_text(path, io::index_max_bytes, at), source, at);
    auto const slash = path.rfind('/');
    std::string const folder = slash == path.npos ? std::string() : path.substr(0, slash + 1);
    for (std::string const& file : index.files) add(folder + file, at);

    // Both ways: each entry is in its file, and the files hold no more tensors than there are entries.
    std::size_t held = 0;
    for (Safetensors const& f : files_) held += f.tensors().size();
    for (auto const& [tensor, file] : index.entries)
      if (!files_[static_cast<std::size_t>(file)].find(tensor))
        fail(source + ": tensor " + io::printable(tensor) + " is not in " + io::printable(index.files[static_cast<std::size_t>(file)]), at);
    if (held != index.entries.size()) {
      for (Safetensors const& f : files_)
        for (TensorInfo const& t : f.tensors()) expect_entry(index, t, source, at);
    }
  }
  static void expect_entry(ShardIndex const& index, TensorInfo const& t, std::string const& source, Where at) {
    auto const place = std::lower_bound(index.entries.begin(), index.entries.end(), t.name,
                                        [](ShardIndex::Entry const& e, std::string const& n) { return e.tensor < n; });
    std::string const in = " in " + io::printable(index.files[static_cast<std::size_t>(t.file)]);
    if (place == index.entries.end() || place->tensor != t.name)
      fail(source + ": tensor " + io::printable(t.name) + in + " is not in the index", at);
    if (place->file != t.file)
      fail(source + ": tensor " + io::printable(t.name) + in + " is in the index with another file", at);
  }

  std::vector<TensorInfo const*>::const_iterator lower_bound(std::string_view name) const {
    return std::lower_bound(all_.begin(), all_.end(), name, [](TensorInfo const* t, std::string_view n) { return t->name < n; });
  }
  void merge() {
    for (Safetensors const& f : files_) for (TensorInfo const& t : f.tensors()) all_.push_back(&t);
    std::sort(all_.begin(), all_.end(), [](TensorInfo const* a, TensorInfo const* b) { return a->name < b->name; });
  }
  Safetensors const& file(TensorInfo const& tensor, Where at) const {
    if (tensor.file < 0 || static_cast<std::size_t>(tensor.file) >= files_.size())
      fail(io::printable(source_, 4096) + ": tensor " + io::printable(tensor.name) + " is not of this checkpoint", at);
    return files_[static_cast<std::size_t>(tensor.file)];
  }

  std::string source_;
  std::vector<Safetensors> files_;
  std::vector<TensorInfo const*> all_;   // into files_
};

}}

// Goldens, changed: a copy of one's folder with another config.json or other tensors, gone with its object.
#pragma once
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include <unistd.h>

#include <doctest/doctest.h>

#include <coterie/io/checkpoint_files.hpp>

#include "hostile.hpp"

namespace copies {

namespace fs = std::filesystem;
using namespace coterie;

inline fs::path goldens() { return fs::path(__FILE__).parent_path().parent_path() / "golden"; }
// Every golden that is a checkpoint, sorted.
inline std::vector<std::string> all_goldens() {
  std::vector<std::string> all;
  for (auto const& folder : fs::directory_iterator(goldens()))
    if (fs::exists(folder.path() / "config.json")) all.push_back(folder.path().filename().string());
  std::sort(all.begin(), all.end());
  return all;
}

inline std::string bytes_of(fs::path const& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream all;
  all << in.rdbuf();
  return all.str();
}
inline void write(fs::path const& path, std::string const& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

class Copy {
 public:
  explicit Copy(std::string const& family) {
    static int made = 0;
    folder_ = fs::temp_directory_path() / ("coterie_checkpoint_" + std::to_string(::getpid()) + "_" + std::to_string(made++));
    fs::remove_all(folder_), fs::create_directories(folder_);
    for (auto const& file : fs::directory_iterator(goldens() / family)) {
      std::string const name = file.path().filename().string();
      if (name.starts_with("model") || name == "config.json") fs::copy(file, folder_ / name);
    }
  }
  Copy(Copy const&) = delete;
  Copy& operator=(Copy const&) = delete;
  ~Copy() { fs::remove_all(folder_); }
  std::string path() const { return folder_.string(); }

  // Replaces every `from` in a file; what stands in a safetensors header must keep its length.
  Copy& replace(char const* file, std::string const& from, std::string const& to) {
    std::string bytes = bytes_of(folder_ / file);
    REQUIRE(bytes.find(from) != bytes.npos);
    for (std::size_t at = 0; (at = bytes.find(from, at)) != bytes.npos; at += to.size()) bytes.replace(at, from.size(), to);
    write(folder_ / file, bytes);
    return *this;
  }
  Copy& config(std::string const& from, std::string const& to) { return replace("config.json", from, to); }
  Copy& tensors(std::string const& from, std::string const& to) {
    REQUIRE(from.size() == to.size());
    return replace("model.safetensors", from, to);
  }
  // Changes config.json as a document.
  template <class Change> Copy& document(Change const& change) {
    auto whole = nlohmann::json::parse(bytes_of(folder_ / "config.json"));
    change(whole);
    write(folder_ / "config.json", whole.dump());
    return *this;
  }
  // Changes every tensor: change(TensorInfo& name, type and shape; std::string& bytes).
  template <class Change> Copy& store(Change const& change) {
    return split([&](TensorInfo t, std::string bytes, auto const& put) {
      change(t, bytes);
      put(t, bytes);
    });
  }
  // Writes in place of every tensor what change(TensorInfo, bytes, put) gives to put(TensorInfo, bytes).
  template <class Change> Copy& split(Change const& change) {
    std::string header, data;
    auto const put = [&](TensorInfo const& t, std::string const& bytes) {
      header += (header.empty() ? "{\"" : ",\"") + t.name + "\":{\"dtype\":\"" + std::string(name(t.dtype)) + "\",\"shape\":" + io::shape_text(t.shape) +
                ",\"data_offsets\":[" + std::to_string(data.size()) + "," + std::to_string(data.size() + bytes.size()) + "]}";
      data += bytes;
    };
    {
      ShardedSafetensors const files{path()};
      for (TensorInfo const* const t : files.tensors()) {
        std::string bytes(static_cast<std::size_t>(t->bytes()), '\0');
        files.read(*t, std::as_writable_bytes(std::span(bytes)));
        change(*t, bytes, put);
      }
    }
    fs::remove(folder_ / "model.safetensors.index.json");
    write(folder_ / "model.safetensors", crafted::safetensors(header + "}", data));
    return *this;
  }

 private:
  fs::path folder_;
};

// A matrix of floats as zeros of another type of `bits`, in the same shape.
inline void as_zeros(TensorInfo& t, std::string& bytes, Stored type) {
  bytes.assign(bytes.size() * 8 / static_cast<std::size_t>(bits(t.dtype)) * static_cast<std::size_t>(bits(type)) / 8, '\0');
  t.dtype = type;
}

template <class Call> std::string sentence(Call const& call) {
  try {
    call();
  } catch (Error const& error) {
    return error.what();
  }
  return {};
}
template <class Call, class Words> void refused(Call const& call, Words const& words) {
  std::string const text = sentence(call);
  CHECK_MESSAGE(!text.empty(), "not refused");
  for (std::string const word : words) CHECK_MESSAGE(text.find(word) != text.npos, text, " lacks ", word);
}
template <class Call> void refused(Call const& call, std::initializer_list<char const*> words) { refused<Call, std::initializer_list<char const*>>(call, words); }

}

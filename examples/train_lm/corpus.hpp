// Text that a fresh machine with a compiler has: licences, headers, Perl and Python sources. Which files is the same on every run.
#pragma once
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace lm {

namespace fs = std::filesystem;

// One kind of text; every tenth file is held out. Too few files: the last tenth of the text.
struct Source {
  std::string name;
  std::string train, held_out;
  int files = 0;
};

// Text of a folder and below, of files whose names end so; "": see wanted().
struct Place { char const* name; std::vector<char const*> folders; char const* ending; };

class Corpus {
 public:
  static constexpr std::size_t most_of_a_file = 64 << 10, most_of_a_source = 2 << 20;

  // What the machine has.
  static Corpus of_this_machine() {
    Place const places[] = {{"English", {"/usr/share/common-licenses", "/usr/share/doc"}, ""},
                            {"C", {"/usr/include/linux", "/usr/include/asm-generic"}, ".h"},
                            {"C++", {"/usr/include/c++"}, ""},
                            {"Perl", {"/usr/share/perl"}, ".pm"},
                            {"Python", {"/usr/lib/python3", "/usr/lib/python3.11", "/usr/lib/python3.12", "/usr/lib/python3.13"}, ".py"}};
    Corpus c;
    for (Place const& p : places) c.add(p.name, files_of(p));
    return c;
  }
  // Each of the caller's files is a source.
  static Corpus of_files(std::vector<std::string> const& paths) {
    Corpus c;
    for (std::string const& p : paths) c.add(fs::path(p).filename().string(), {p});
    return c;
  }
  std::vector<Source> const& sources() const { return sources_; }            // those with enough text
  std::vector<std::string> const& missing() const { return missing_; }

  // input[n * length] and target, one byte further: random places of the training text, every source as often as the others.
  void sample(std::mt19937_64& random, int n, int length, std::uint8_t* input, std::uint8_t* target) const {
    for (int i = 0; i < n; ++i) {
      std::string const& text = sources_[random() % sources_.size()].train;
      copy(text, random() % (text.size() - static_cast<std::size_t>(length)), length, input + i * length, target + i * length);
    }
  }
  // Sequence i of n: held-out text, the sources in turn, from places that are spread evenly.
  void held_out(int i, int n, int length, std::uint8_t* input, std::uint8_t* target) const {
    auto const count = static_cast<int>(sources_.size());
    std::string const& text = sources_[static_cast<std::size_t>(i % count)].held_out;
    std::size_t const room = text.size() - static_cast<std::size_t>(length);
    copy(text, room * static_cast<std::size_t>(i / count) / static_cast<std::size_t>(std::max(1, n / count)), length, input, target);
  }

 private:
  static constexpr std::size_t least = 4096;
  static void copy(std::string const& text, std::size_t at, int length, std::uint8_t* input, std::uint8_t* target) {
    auto const* const from = reinterpret_cast<std::uint8_t const*>(text.data()) + at;
    std::copy(from, from + length, input), std::copy(from + 1, from + length + 1, target);
  }
  static bool wanted(Place const& place, std::string const& folder, fs::path const& file) {
    if (folder == "/usr/share/doc") return file.filename() == "copyright";
    if (*place.ending) return file.extension() == place.ending;
    return std::string(place.name) != "C++" || !file.has_extension() || file.extension() == ".h";
  }
  static std::vector<std::string> files_of(Place const& place) {
    std::vector<std::string> found;
    for (char const* folder : place.folders) {
      std::error_code unreadable;
      for (fs::recursive_directory_iterator i{folder, fs::directory_options::skip_permission_denied, unreadable}, end; i != end; i.increment(unreadable)) {
        if (wanted(place, folder, i->path()) && !i->is_symlink(unreadable) && i->is_regular_file(unreadable)) found.push_back(i->path().string());
      }
    }
    std::sort(found.begin(), found.end());
    return found;
  }
  void add(std::string name, std::vector<std::string> const& paths) {
    Source s{.name = std::move(name), .train = {}, .held_out = {}};
    // Of many files every n-th, so that the text is of all of them.
    std::size_t const step = std::max<std::size_t>(1, paths.size() / 400);
    for (std::size_t i = 0; i < paths.size() && s.train.size() < most_of_a_source; i += step) {
      std::ifstream in(paths[i], std::ios::binary);
      std::string text(paths.size() > 1 ? most_of_a_file : most_of_a_source, '\0');
      in.read(text.data(), static_cast<std::streamsize>(text.size()));
      text.resize(static_cast<std::size_t>(in.gcount()));
      (s.files % 10 == 9 ? s.held_out : s.train) += text;
      ++s.files;
    }
    if (s.held_out.size() < least) {
      s.train += s.held_out;
      std::size_t const cut = s.train.size() - s.train.size() / 10;
      s.held_out = s.train.substr(cut), s.train.resize(cut);
    }
    if (s.held_out.size() < least / 8 || s.train.size() < least) missing_.push_back(s.name);
    else sources_.push_back(std::move(s));
  }
  std::vector<Source> sources_;
  std::vector<std::string> missing_;
};

}

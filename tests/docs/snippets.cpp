// Every C++ block of the documents stands, line for line, in a file that is compiled.
#include <doctest/doctest.h>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {
namespace fs = std::filesystem;

fs::path root() { return fs::path(__FILE__).parent_path().parent_path().parent_path(); }
std::string read(fs::path const& p) {
  std::ifstream in(p);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}
std::vector<std::string> lines(std::string const& text) {
  std::vector<std::string> all;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    auto const first = line.find_first_not_of(' ');
    if (first == std::string::npos) continue;                            // blank lines and indentation do not count
    all.push_back(line.substr(first));
  }
  return all;
}
bool stands_in(std::vector<std::string> const& block, std::vector<std::string> const& file) {
  for (std::size_t at = 0; at + block.size() <= file.size(); ++at)
    if (std::equal(block.begin(), block.end(), file.begin() + static_cast<std::ptrdiff_t>(at))) return true;
  return false;
}
}

TEST_SUITE("docs") {
  TEST_CASE("every code block of the documents is compiled somewhere") {
    std::vector<std::vector<std::string>> sources;
    for (char const* folder : {"examples", "tests", "bench"})
      for (auto const& entry : fs::recursive_directory_iterator(root() / folder))
        if (auto const e = entry.path().extension(); e == ".cpp" || e == ".hpp" || e == ".cu" || e == ".cuh") sources.push_back(lines(read(entry.path())));
    std::vector<fs::path> documents{root() / "README.md"};
    for (auto const& entry : fs::directory_iterator(root() / "docs"))
      if (entry.path().extension() == ".md") documents.push_back(entry.path());
    int blocks = 0;
    for (fs::path const& document : documents) {
      std::istringstream in(read(document));
      std::string block;
      bool inside = false;
      for (std::string line; std::getline(in, line);) {
        if (inside && line.starts_with("```")) {
          inside = false, ++blocks;
          auto const wanted = lines(block);
          bool found = false;
          for (auto const& source : sources) found |= stands_in(wanted, source);
          CHECK_MESSAGE(found, document.filename().string() << ": no compiled file holds the block that begins: " << (wanted.empty() ? "" : wanted[0]));
        } else if (inside) block += line + "\n";
        else if (line == "```cpp") inside = true, block.clear();
      }
    }
    CHECK(blocks >= 3);
  }
}

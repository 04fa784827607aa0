// Crafted files: hostile ones, each with a piece of the sentence it must end in, and valid ones at the edges of the
// formats. The tests, the seeds of the fuzzers and the comparison with the reference reader all use these.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <coterie/io/json.hpp>

namespace crafted {

enum class Kind : int { safetensors, index, config };

struct Case {
  Kind kind{};
  std::string name{};       // of a folder for it
  std::string bytes{};
  std::string error{};      // a piece of the sentence; empty: must be accepted
  std::vector<std::pair<std::string, std::string>> beside{};   // names and bytes of files in its folder
  std::uint64_t grow_to = 0;                                   // bytes, by a hole at the end
};

std::vector<Case> hostile();
std::vector<Case> valid();

// A safetensors file of a header and data.
std::string safetensors(std::string const& header, std::string const& data = {});

// Writes the case below `folder`; returns the path to open.
std::string write(Case const& c, std::string const& folder);

// Opens it as a user would; throws coterie::Error when it is refused.
void open(Kind kind, std::string const& path);

// Reads the fields of a config.json as a loader would.
void read_config(coterie::Json const& config);

}

// Errors of the host API: a sentence with what, got and want, and where the caller stands.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#if !defined(__cpp_exceptions)
#include <cstdio>
#include <cstdlib>
#endif

namespace coterie { inline namespace v0 {

// The caller's file and line. std::source_location needs clang 15.
struct Where {
  char const* file;
  int line;
  static constexpr Where here(char const* file = __builtin_FILE(), int line = __builtin_LINE()) { return {file, line}; }
};

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Throws Error("coterie: <sentence> (file:line)"); without exceptions prints it and aborts.
[[noreturn]] inline void fail(std::string const& sentence, Where at = Where::here()) {
  std::string const text = "coterie: " + sentence + " (" + at.file + ":" + std::to_string(at.line) + ")";
#if defined(__cpp_exceptions)
  throw Error(text);
#else
  std::fprintf(stderr, "%s\n", text.c_str());
  std::abort();
#endif
}

inline void require(bool ok, char const* what, std::int64_t got, std::int64_t want, Where at = Where::here()) {
  if (!ok) [[unlikely]]
    fail(std::string(what) + ": got " + std::to_string(got) + ", want " + std::to_string(want), at);
}

}}

// Findings, and the source lines they name.
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <link.h>
#include <set>
#include <sys/wait.h>
#include <unistd.h>
#include <unordered_map>
#include "engine.hpp"
#include "streams.hpp"

namespace simt {
namespace {

constexpr std::size_t most_findings = 100;
std::vector<std::string> found;
std::set<std::array<std::uint64_t, 3>> known_findings;

struct Image { std::uintptr_t begin = 0, constants_end = 0; };
Image const& image() {                           // where the program itself lies: code and constants first
  static Image const program = [] {
    Image i;
    dl_iterate_phdr([](dl_phdr_info* info, std::size_t, void* to) {
      auto& it = *static_cast<Image*>(to);
      it.begin = info->dlpi_addr;
      for (int k = 0; k < info->dlpi_phnum; ++k) {
        ElfW(Phdr) const& segment = info->dlpi_phdr[k];
        if (segment.p_type == PT_LOAD && !(segment.p_flags & PF_W)) it.constants_end = it.begin + segment.p_vaddr + segment.p_memsz;
      }
      return 1;                                  // the program comes first
    }, &i);
    return i;
  }();
  return program;
}

// One addr2line for the whole run; an address it cannot know marks the end of each answer.
class Addr2line {
 public:
  Addr2line() {
    int to[2], from[2];
    if (pipe(to) || pipe(from)) return;
    pid_t const child = fork();
    if (child == 0) {
      dup2(to[0], 0), dup2(from[1], 1);
      for (int fd : {to[0], to[1], from[0], from[1]}) close(fd);
      execlp("addr2line", "addr2line", "-a", "-i", "-e", program().c_str(), static_cast<char*>(nullptr));
      _exit(127);
    }
    close(to[0]), close(from[1]);
    questions_ = fdopen(to[1], "w"), answers_ = fdopen(from[0], "r");
    process_ = child;
  }
  ~Addr2line() {
    if (questions_) std::fclose(questions_);
    if (answers_) std::fclose(answers_);
    if (process_ > 0) waitpid(process_, nullptr, 0);
  }
  // "file:line" of each inlined frame, innermost first.
  std::vector<std::string> ask(std::uintptr_t address) {
    std::vector<std::string> frames;
    if (!questions_ || !answers_) return frames;
    std::fprintf(questions_, "%#lx\n0\n", address);
    std::fflush(questions_);
    char line[4096];
    for (int addresses = 0; std::fgets(line, sizeof line, answers_);) {
      if (std::strncmp(line, "0x", 2) == 0) {
        ++addresses;
      } else if (addresses == 2) {
        break;
      } else {
        std::string frame = line;
        frame = frame.substr(frame.find_last_of('/') + 1);
        frames.push_back(frame.substr(0, frame.find_first_of(" \n")));
      }
    }
    return frames;
  }

 private:
  static std::string program() {
    char path[4096];
    ssize_t const n = readlink("/proc/self/exe", path, sizeof path - 1);
    return n > 0 ? std::string(path, static_cast<std::size_t>(n)) : std::string();
  }
  FILE *questions_ = nullptr, *answers_ = nullptr;
  pid_t process_ = -1;
};

bool is_wrapper(std::string const& frame) {
  for (char const* file : {"vocabulary.hpp:", "instructions.hpp:", "operations.hpp:", "cuda_", "vector_"})
    if (frame.starts_with(file)) return true;
  return false;
}

}

std::uintptr_t image_begin() { return image().begin; }
bool is_constant(std::uintptr_t address, std::size_t bytes) { return address >= image().begin && address + bytes <= image().constants_end; }

std::string format(char const* pattern, ...) {
  va_list arguments;
  va_start(arguments, pattern);
  char text[1024];
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}
std::string site(std::uintptr_t pc) {
  static std::unordered_map<std::uintptr_t, std::string> sites;
  static Addr2line lines;
  if (!pc) return "?";
  std::string& line = sites[pc];
  if (line.empty()) {
    line.assign(1, '?');                          // (from a literal, g++ 12 warns without reason)
    for (std::string const& frame : lines.ask(pc - 1 - image_begin())) {
      line = frame;
      if (!is_wrapper(frame)) break;
    }
  }
  return line;
}
std::string place(Where at) {
  if (!at.file) return "?";
  char const* const slash = std::strrchr(at.file, '/');
  return format("%s:%d", slash ? slash + 1 : at.file, at.line);
}
std::string who(Thread const& t) {
  uint3 const& b = t.block->index;
  return format("block (%u,%u,%u) thread %u", b.x, b.y, b.z, t.rank);
}
void find(std::string text, std::uint64_t a, std::uint64_t b, std::uint64_t kind) {
  if ((a || b || kind) && !known_findings.insert({a, b, kind}).second) return;
  if (found.size() < most_findings) found.push_back(std::move(text));
}

std::vector<std::string> const& findings() {
  Inside const inside;
  drain();
  return found;
}
void clear_findings() {
  Inside const inside;
  drain();
  found.clear();
  known_findings.clear();
  clear_device_error();
}
bool checked() { return instrumented; }
Config& config() { return engine.config; }
Statistics& statistics() { return engine.statistics; }

}

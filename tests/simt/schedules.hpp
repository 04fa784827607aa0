// Many schedules of one test, every synchronisation left out once, every runtime call made to fail once.
#pragma once
#include <coterie/device/launch.cuh>
#include <exception>
#include <sys/wait.h>
#include <type_traits>
#include <unistd.h>
#include "simt.hpp"

namespace simt {

// Schedule i: the orders, the landings, one or two or three blocks at a time, some with a change of thread in the middle of everything.
inline void use_schedule(int i) {
  Config& c = config();
  c.seed = static_cast<std::uint64_t>(i) + 1;
  c.order = static_cast<Order>(i % 3);
  c.landing = static_cast<Landing>(i / 3 % 3);
  c.resident = 1 + i % 4;
  c.preempt = i % 4 == 3 ? 50 : 0;
}

// Runs f once, as configured: what was found, or what f says. f returns a bool (right?), a string (what is wrong), or nothing.
template <class F> std::string failure_of(F&& f) {
  clear_findings();
  std::string wrong;
  try {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) f();
    else if constexpr (std::is_same_v<std::invoke_result_t<F&>, bool>) wrong = f() ? "" : "wrong result";
    else wrong = f();
  } catch (std::exception const& e) {
    wrong = e.what();
  }
  if (!findings().empty()) wrong = findings()[0];
  clear_findings();
  return wrong;
}

// The first failure of f under `schedules` schedules (18: every order with every landing, twice), with the number that repeats it;
// empty when it survives all. The device and what is deleted stay as configured.
template <class F> std::string survives(int schedules, F&& f) {
  Config const before = config();
  std::string failure;
  for (int i = 0; i < schedules && failure.empty(); ++i) {
    use_schedule(i);
    failure = failure_of(f);
    if (!failure.empty()) failure += " (schedule " + std::to_string(i) + ")";
  }
  config() = before;
  return failure;
}

// Leaves out each COTERIE_SYNC that f's kernels run through, one at a time; the names of those that nothing noticed.
template <class F> std::vector<std::string> unnoticed(int schedules, F&& f) {
  Config const before = config();
  clear_syncs();
  if (std::string const failure = failure_of(f); !failure.empty()) return {"nothing deleted, and yet: " + failure};
  std::vector<std::string> survivors;
  for (std::string const& name : syncs()) {
    config().deleted = name;
    if (survives(schedules, f).empty()) survivors.push_back(name);
  }
  config() = before;
  return survivors;
}

// The lines of f's kernels that took more than their accesses need: bank conflicts, sectors of which only a part is used. Needs checked().
template <class F> std::vector<std::string> wasteful_lines(F&& f) {
  Config const before = config();
  access_patterns();
  config().patterns = true;
  f();
  std::vector<std::string> lines;
  for (auto const& [line, p] : access_patterns())
    if (p.cost > p.ideal)
      lines.push_back(line + ": " + std::to_string(p.cost) + (p.shared ? " wavefronts" : " sectors") + " where " + std::to_string(p.ideal) + " would do");
  config() = before;
  return lines;
}

// f with its n-th runtime call failing with this code, if it makes as many (calls() says): what went wrong; empty: nothing.
template <class F> std::string failing_at(std::size_t n, F& f, cudaError_t code) {
  Live const held = live();
  clear_findings(), clear_calls();
  config().fail_call = static_cast<int>(n), config().fail_code = code;
  bool threw = false, right = true;
  std::string said;
  try {
    f();
  } catch (coterie::CudaError const& e) {
    threw = true, right = e.code == code, said = e.what();
  } catch (std::exception const& e) {
    threw = true, said = e.what();
    right = calls().size() >= n && calls()[n - 1].starts_with("cublas") && said.find("CUBLAS_STATUS_INTERNAL_ERROR") != std::string::npos;
  }
  config().fail_call = 0;
  std::string const name = calls().size() < n ? "" : calls()[n - 1], which = name.empty() ? "no call" : "call " + std::to_string(n) + " (" + name + ")";
  bool const release = name.empty() || name.find("Free") != std::string::npos || name.find("Destroy") != std::string::npos;
  std::string failure;
  if (!threw && !release) failure = which + " failed, and nothing was thrown";
  else if (threw && (!right || name.empty())) failure = which + " failed, and what was thrown does not say so: " + said;
  else if (live() != held) failure = which + " failed, and something leaked";
  else if (!findings().empty()) failure = which + " failed, and then: " + findings()[0];
  clear_findings();
  return failure;
}

// Lets each runtime call that f makes fail once, with this code (a call of cuBLASLt with its CUBLAS_STATUS_INTERNAL_ERROR). f must throw
// CudaError with the code, or the library's error, and must hold nothing of the runtime afterwards that it did not before. What went
// wrong first; empty: nothing.
template <class F> std::string survives_failing_calls(F&& f, cudaError_t code = cudaErrorMemoryAllocation) {
  Config const before = config();
  f();                                           // what is asked once in a program's life is known from here on
  std::string failure;
  for (std::size_t n = 1; failure.empty(); ++n) {
    failure = failing_at(n, f, code);
    if (calls().size() < n) break;               // nothing has failed
  }
  config() = before;
  clear_calls();
  return failure;
}

// The same where nothing is known yet that is asked once in a program's life, each failure in a process of its own, where f must then work:
// a test calls this before anything like f has run.
template <class F> std::string survives_failing_first_calls(F&& f, cudaError_t code = cudaErrorMemoryAllocation) {
  for (std::size_t n = 1;; ++n) {
    int ends[2];
    if (pipe(ends) != 0) return "pipe() failed";
    pid_t const child = fork();
    if (child == 0) {
      std::string said = failing_at(n, f, code);
      bool const last = calls().size() < n;
      if (said.empty() && !last) {
        std::string const name = calls()[n - 1];
        if (said = failure_of(f); !said.empty()) said = "call " + std::to_string(n) + " (" + name + ") failed, and the next time: " + said;
      }
      said.insert(0, last ? "." : "+");
      _exit(write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size()) ? 0 : 1);
    }
    close(ends[1]);
    std::string said;
    char some[256];
    for (ssize_t size; (size = read(ends[0], some, sizeof some)) > 0;) said.append(some, static_cast<std::size_t>(size));
    close(ends[0]);
    if (child < 0 || waitpid(child, nullptr, 0) != child || said.empty()) return "call " + std::to_string(n) + " failed, and the process ended";
    if (said.size() > 1) return said.substr(1);
    if (said == ".") return "";
  }
}

}

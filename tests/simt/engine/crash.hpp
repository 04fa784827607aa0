#pragma once

namespace simt {

// While the device runs: a kernel that faults or never lets go ends with a finding instead of ending the program.
class CrashGuard {
 public:
  CrashGuard();
  ~CrashGuard();
  CrashGuard(CrashGuard const&) = delete;
  CrashGuard& operator=(CrashGuard const&) = delete;
};

}

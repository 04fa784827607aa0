// The program's presets: one file each, so that they compile side by side.
#pragma once
#include <stdexcept>
#include "dense.cuh"
#include "rows.hpp"

namespace bench {

using Benchmark = void (*)(Cuda const&, Options const&, Limits const&, Stopwatch&);
void add_benchmark(char const* preset, Benchmark);             // main.cu

// M: CudaLayer or CudaStep of a config.
template <class M> struct Added {
  static inline char const* preset;
  explicit Added(char const* name) {
    preset = name;
    add_benchmark(name, [](Cuda const& on, Options const& options, Limits const& limits, Stopwatch& time) { M{on}.measure(preset, options, limits, time); });
  }
};

inline Trace trace_named(std::string const& s) {
  for (Trace t : traces)
    if (s == name(t)) return t;
  throw std::runtime_error("no such trace: " + s);
}

}

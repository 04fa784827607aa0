// Where a layer runs.
#pragma once
#include "host/cpu.hpp"
#include "host/pool.hpp"

namespace coterie { inline namespace v0 {

// The CPU. Made once, shared by any number of callers and copies: it holds the threads.
struct Host {
  int threads = 0;                               // 0: every processor this process may use
  Isa isa = Isa::best;                           // force a path; one that the processor lacks is refused when used
  // 1: experts whose weights are integers times a scale (int8, int4, mxfp4) get x and hidden values rounded to int8, with one scale a row:
  // several times the arithmetic for an error of half a step (docs/experts.md). Other weights ignore it; explain() says what is used.
  int int8_activations = 0;
  host::PoolRef pool{threads};

  // The path the kernels take.
  Isa path(Where at = Where::here()) const {
    if (isa == Isa::best) return host::best();
    if (!host::supports(isa)) fail(std::string("Host: this processor does not support Host::isa = ") + name(isa), at);
    return isa;
  }
};
struct Cuda;                                     // defined by cuda.cuh

template <class B> inline constexpr bool provided = false;
template <> inline constexpr bool provided<Host> = true;

}}

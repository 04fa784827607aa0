// What a planted fault is expected to be reported as.
#pragma once
#include <coterie/device/launch.cuh>
#include <doctest/doctest.h>
#include "../schedules.hpp"

namespace samples {

template <class... P, class... A> void run(void (*kernel)(P...), unsigned blocks, unsigned threads, A&&... arguments) {
  coterie::launch(kernel, coterie::Launch{.grid = blocks, .block = threads}, nullptr, coterie::Where::here(), static_cast<A&&>(arguments)...);
}
// One block with dynamic shared memory.
template <class... P, class... A> void run_shared(void (*kernel)(P...), std::size_t bytes, unsigned threads, A&&... arguments) {
  coterie::launch(kernel, coterie::Launch{.grid = 1, .block = threads, .shared = bytes}, nullptr, coterie::Where::here(),
                  static_cast<A&&>(arguments)...);
}

// Under several schedules each, the first finding of f has all these parts.
template <class F> void check_found(std::initializer_list<std::string> parts, F f) {
  for (int i = 0; i < 9; ++i) {
    simt::use_schedule(i);
    std::string const found = simt::failure_of(f);
    INFO("schedule " << i << " found: " << found);
    for (std::string const& part : parts) CHECK(found.find(part) != std::string::npos);
  }
  simt::config() = {};
}

}

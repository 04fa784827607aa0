// What a planted fault is expected to be reported as.
#pragma once
#include <doctest/doctest.h>
#include "../schedules.hpp"

namespace samples {

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

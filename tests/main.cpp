// The test program: doctest's own arguments, and the seed that reproduces this run's random cases.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <cstdio>
#include "cases.hpp"

int main(int count, char** arguments) {
  doctest::Context context{count, arguments};
  std::printf("COTERIE_SEED=%llu\n", static_cast<unsigned long long>(cases::base_seed()));
  std::fflush(stdout);
  return context.run();
}

// Compiles the passes of a quarter of all configs but those that learn anyway, for a long run.
#include <configs_0.hpp>
#include <configs_1.hpp>
#include <configs_2.hpp>
#include <configs_3.hpp>
#include <configs_4.hpp>
#include <configs_5.hpp>
#include <configs_6.hpp>
#include <configs_7.hpp>
#include "../learn.hpp"

namespace cases {
namespace {
More const more{[](std::map<int, Learn>& to) {
  auto const visit = [&]<int number, ct::Config C, ct::DType Stored> {
    if constexpr (place(number) < 0 && number % 4 == 3) to[number] = &learn<C, Stored>;
  };
  visit_0(visit), visit_1(visit), visit_2(visit), visit_3(visit), visit_4(visit), visit_5(visit), visit_6(visit), visit_7(visit);
}};
}
}

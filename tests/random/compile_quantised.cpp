// Compiles the layers of configs_quantised.hpp, and nothing else.
#include <configs.hpp>
#include <configs_quantised.hpp>
#include "compiled.hpp"

namespace cases {
void compile_quantised(Subjects& to) {
  visit_quantised([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

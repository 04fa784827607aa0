// Compiles the layers of configs_0.hpp, and nothing else.
#include <configs.hpp>
#include <configs_0.hpp>
#include "compiled.hpp"

namespace cases {
void compile_0(Subjects& to) {
  visit_0([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

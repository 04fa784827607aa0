// Compiles the layers of configs_1.hpp, and nothing else.
#include <configs.hpp>
#include <configs_1.hpp>
#include "compiled.hpp"

namespace cases {
void compile_1(Subjects& to) {
  visit_1([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

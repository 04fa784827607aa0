// Compiles the layers of configs_3.hpp, and nothing else.
#include <configs.hpp>
#include <configs_3.hpp>
#include "compiled.hpp"

namespace cases {
void compile_3(Subjects& to) {
  visit_3([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

// Compiles the layers of configs_6.hpp, and nothing else.
#include <configs.hpp>
#include <configs_6.hpp>
#include "compiled.hpp"

namespace cases {
void compile_6(Subjects& to) {
  visit_6([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

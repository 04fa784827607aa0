// Compiles the layers of configs_7.hpp, and nothing else.
#include <configs.hpp>
#include <configs_7.hpp>
#include "compiled.hpp"

namespace cases {
void compile_7(Subjects& to) {
  visit_7([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

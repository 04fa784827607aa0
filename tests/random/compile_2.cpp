// Compiles the layers of configs_2.hpp, and nothing else.
#include <configs.hpp>
#include <configs_2.hpp>
#include "compiled.hpp"

namespace cases {
void compile_2(Subjects& to) {
  visit_2([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

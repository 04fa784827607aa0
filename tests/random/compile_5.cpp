// Compiles the layers of configs_5.hpp, and nothing else.
#include <configs.hpp>
#include <configs_5.hpp>
#include "compiled.hpp"

namespace cases {
void compile_5(Subjects& to) {
  visit_5([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

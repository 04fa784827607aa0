// Compiles the layers of configs_4.hpp, and nothing else.
#include <configs.hpp>
#include <configs_4.hpp>
#include "compiled.hpp"

namespace cases {
void compile_4(Subjects& to) {
  visit_4([&]<int number, ct::Config C, ct::DType Stored> { to[number].reset(new Compiled<C, Stored>); });
}
}

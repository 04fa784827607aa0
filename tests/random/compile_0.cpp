// Compiles the layers of configs_0.hpp, and nothing else.
#include <configs.hpp>
#include <configs_0.hpp>

namespace cases {
void compile_0(Subjects& to) { add_0(to); }
}

// Compiles the layers of configs_1.hpp, and nothing else.
#include <configs.hpp>
#include <configs_1.hpp>

namespace cases {
void compile_1(Subjects& to) { add_1(to); }
}

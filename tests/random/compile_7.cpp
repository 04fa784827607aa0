// Compiles the layers of configs_7.hpp, and nothing else.
#include <configs.hpp>
#include <configs_7.hpp>

namespace cases {
void compile_7(Subjects& to) { add_7(to); }
}

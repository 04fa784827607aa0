// Compiles the layers of configs_6.hpp, and nothing else.
#include <configs.hpp>
#include <configs_6.hpp>

namespace cases {
void compile_6(Subjects& to) { add_6(to); }
}

// Compiles the layers of configs_2.hpp, and nothing else.
#include <configs.hpp>
#include <configs_2.hpp>

namespace cases {
void compile_2(Subjects& to) { add_2(to); }
}

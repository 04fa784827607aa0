// Compiles the layers of configs_3.hpp, and nothing else.
#include <configs.hpp>
#include <configs_3.hpp>

namespace cases {
void compile_3(Subjects& to) { add_3(to); }
}

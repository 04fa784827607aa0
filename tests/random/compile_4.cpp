// Compiles the layers of configs_4.hpp, and nothing else.
#include <configs.hpp>
#include <configs_4.hpp>

namespace cases {
void compile_4(Subjects& to) { add_4(to); }
}

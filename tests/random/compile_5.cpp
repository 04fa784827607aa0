// Compiles the layers of configs_5.hpp, and nothing else.
#include <configs.hpp>
#include <configs_5.hpp>

namespace cases {
void compile_5(Subjects& to) { add_5(to); }
}

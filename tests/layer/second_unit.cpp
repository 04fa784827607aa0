// A second translation unit with all headers, for public_bugs.cpp.
#include "addresses.hpp"

namespace cases {
std::vector<Address> addresses_elsewhere() { return addresses_here(); }
}

// Where functions of the headers stand, as one translation unit sees them: templates, static members, plain functions.
#pragma once
#include <coterie/coterie.hpp>
#include <coterie/reference.hpp>
#include <vector>

namespace cases {

using Address = void (*)();
static std::vector<Address> addresses_here() {
  using namespace coterie;
  static constexpr Config mini{.experts = 2, .top_k = 1, .hidden = 2, .ffn = 2};
  return {reinterpret_cast<Address>(&fail), reinterpret_cast<Address>(&host::supports), reinterpret_cast<Address>(&host::best), reinterpret_cast<Address>(&route::softmax),
          reinterpret_cast<Address>(&route::tokens_portable<mini>), reinterpret_cast<Address>(&combine::tokens_portable<mini>), reinterpret_cast<Address>(&reference::route)};
}
std::vector<Address> addresses_elsewhere();

}

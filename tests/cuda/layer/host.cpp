// The same layers on the host.
#include <random/compiled.hpp>
#include "configs.hpp"

namespace layers {

std::vector<std::unique_ptr<cases::Subject>> on_host() {
  std::vector<std::unique_ptr<cases::Subject>> all;
  visit([&]<ct::Config C>(char const*) { all.emplace_back(new cases::Compiled<C>); });
  return all;
}

}

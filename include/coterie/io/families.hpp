// All families, and which one a model_type is.
#pragma once
#include <span>

#include "families/early.hpp"
#include "families/selected.hpp"
#include "families/sigmoid.hpp"
#include "families/softmax.hpp"

namespace coterie { inline namespace v0 { namespace io {

inline constexpr std::array<std::span<Family const>, 4> all_families{families::softmax, families::sigmoid, families::selected, families::early};

inline Family const* find_family(std::string_view model_type) {
  for (std::span<Family const> const some : all_families)
    for (Family const& family : some)
      for (std::string_view const type : family.types)
        if (!type.empty() && type == model_type) return &family;
  return nullptr;
}
// Every model_type there is, for an error.
inline std::string family_names() {
  std::string all;
  for (std::span<Family const> const some : all_families)
    for (Family const& family : some)
      for (std::string_view const type : family.types)
        if (!type.empty()) all += (all.empty() ? "" : ", ") + std::string(type);
  return all;
}

}}}

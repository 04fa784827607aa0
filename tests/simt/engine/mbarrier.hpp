#pragma once
#include "engine.hpp"

namespace simt {

MBarrier& mbarrier_at(std::uint64_t* bar, char const* what, std::uintptr_t pc);
void advance(MBarrier&);

}

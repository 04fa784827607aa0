#include "layer.cuh"
#include <coterie/presets.hpp>

static bench::Added<coterie::presets::mixtral_8x7b> const added{"mixtral_8x7b"};

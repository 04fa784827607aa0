#include "layer.cuh"
#include <coterie/presets.hpp>

static bench::Added<bench::CudaLayer<coterie::presets::mixtral_8x7b>> const added{"mixtral_8x7b"};

#include "layer.cuh"
#include <coterie/presets.hpp>

static bench::Added<bench::CudaLayer<coterie::presets::deepseek_v3>> const added{"deepseek_v3"};

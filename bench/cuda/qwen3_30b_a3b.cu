#include "layer.cuh"
#include <coterie/presets.hpp>

static bench::Added<bench::CudaLayer<coterie::presets::qwen3_30b_a3b>> const added{"qwen3_30b_a3b"};

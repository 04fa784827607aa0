#include <coterie/presets.hpp>
#include "training.cuh"

static bench::Added<bench::CudaStep<coterie::presets::mixtral_8x7b>> const added{"training/mixtral_8x7b"};

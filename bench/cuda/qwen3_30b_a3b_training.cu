#include <coterie/presets.hpp>
#include "training.cuh"

static bench::Added<bench::CudaStep<coterie::presets::qwen3_30b_a3b>> const added{"training/qwen3_30b_a3b"};

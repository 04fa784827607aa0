#include "layer.cuh"
#include <coterie/presets.hpp>

// The published weights are MXFP4; this is the shape in bf16.
static constexpr coterie::Config in_bf16(coterie::Config c) {
  c.weights = coterie::DType::bf16, c.quant = {};
  return c;
}
static bench::Added<bench::CudaLayer<in_bf16(coterie::presets::gpt_oss_120b)>> const added{"gpt_oss_120b/bf16"};

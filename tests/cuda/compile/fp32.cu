// Mixtral's layer in fp32: the plain and the streaming kernels.
#include "layer.hpp"

constexpr ct::Config mixtral_fp32{.experts = 8, .top_k = 2, .hidden = 4096, .ffn = 14336, .dtype = ct::DType::fp32, .weights = ct::DType::fp32, .router = {.weights = ct::DType::fp32}};
auto* use_mixtral_fp32 = &use_layer<mixtral_fp32>;

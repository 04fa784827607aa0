// Mixtral's layer in fp16.
// opcodes sm_80 mma_product_kernel swapped_product_kernel: HMMA LDGSTS LDSM
// opcodes sm_80 split_product_kernel: HMMA
// opcodes sm_90a mma_product_kernel swapped_product_kernel: HMMA LDGSTS LDSM ACQBULK PREEXIT
// opcodes sm_90a split_product_kernel: HMMA ACQBULK PREEXIT
// opcodes sm_90a wgmma_product_kernel: HGMMA UTMALDG LDGSTS SYNCS WARPGROUP USETMAXREG FENCE ACQBULK PREEXIT
#include "layer.hpp"

constexpr ct::Config mixtral_fp16{.experts = 8, .top_k = 2, .hidden = 4096, .ffn = 14336, .dtype = ct::DType::fp16, .weights = ct::DType::fp16, .router = {.weights = ct::DType::fp16}};
auto* use_mixtral_fp16 = &use_layer<mixtral_fp16>;

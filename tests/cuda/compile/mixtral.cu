// Mixtral's layer in bf16: every path of every stage.
// opcodes sm_80 mma_product_kernel: HMMA LDGSTS LDSM
// opcodes sm_90a mma_product_kernel: HMMA LDGSTS LDSM
// opcodes sm_80 swapped_product_kernel: HMMA LDGSTS LDSM
// opcodes sm_90a swapped_product_kernel: HMMA LDGSTS LDSM ACQBULK
// opcodes sm_90a wgmma_product_kernel: HGMMA UTMALDG LDGSTS SYNCS WARPGROUP USETMAXREG FENCE ACQBULK
#include "layer.hpp"

auto* use_mixtral = &use_layer<ct::presets::mixtral_8x7b>;

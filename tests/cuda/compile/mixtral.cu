// Mixtral's layer in bf16: every path of every stage.
// opcodes sm_80 mma_product_kernel swapped_product_kernel: HMMA LDGSTS LDSM
// opcodes sm_80 split_product_kernel: HMMA
// opcodes sm_90a mma_product_kernel swapped_product_kernel: HMMA LDGSTS LDSM ACQBULK PREEXIT
// opcodes sm_90a split_product_kernel: HMMA ACQBULK PREEXIT
// opcodes sm_90a wgmma_product_kernel: HGMMA UTMALDG LDGSTS SYNCS WARPGROUP USETMAXREG FENCE ACQBULK PREEXIT
// opcodes sm_90a decode_hidden_kernel decode_out_kernel stream_product_kernel plain_product_kernel logits_kernel route_warp_kernel: ACQBULK PREEXIT
// opcodes sm_90a sort_count_kernel sort_kernel combine_kernel: ACQBULK PREEXIT
#include "layer.hpp"

auto* use_mixtral = &use_layer<ct::presets::mixtral_8x7b>;

// Experts that choose their tokens.
// opcodes sm_90a choose_kernel: ACQBULK PREEXIT
#include "layer.hpp"

auto* use_choice = &use_layer<ct::presets::expert_choice>;

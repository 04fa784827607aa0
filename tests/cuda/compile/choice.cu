// Experts that choose their tokens.
#include "layer.hpp"

auto* use_choice = &use_layer<ct::presets::expert_choice>;

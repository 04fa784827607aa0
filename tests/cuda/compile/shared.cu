// DeepSeek-V3: many small experts beside a shared one, groups of experts, sigmoid scores, a bias that only selects.
#include "layer.hpp"

auto* use_shared = &use_layer<ct::presets::deepseek_v3>;

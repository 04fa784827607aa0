// Load balancing: losses with gradients, biases without losses, and statistics (docs/balance.md). Included on its own.
#pragma once
#include "balance/bias.hpp"
#include "balance/losses.hpp"
